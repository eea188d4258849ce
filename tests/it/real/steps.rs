//! What several files of tests do by hand, and how they find out what the controller did.

mod commands;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::ResourceExt;
use poolwright::api::v1alpha1::{
    CephPool, CephPoolStatus, CephRequest, Operation, Outcome, PendingChange, RequestState,
};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::Duration;

pub(crate) use self::commands::{create, create_of, enable, remove, rename, tag, untag};
use super::support::{Case, Ceph, LIMIT, World, apply, condition, holds, pools_of, run};

/// A small pool.
pub(crate) const PLAIN: &str = "{replicated: {size: 3}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 4}}";

/// A small pool for the slow cluster, and for clusters of a test's own, which have two OSDs.
pub(crate) const SMALL: &str = "{replicated: {size: 2}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 2}}";

/// A key in the right form that no cluster knows.
pub(crate) const WRONG_KEY: &str = "AQDvxRhnAAAAABAAnN5Ejt1oyuvbCNVvyPS9ug==";
/// The form of a key as a new cluster of Ceph 20 makes it, which librados before that cannot use.
pub(crate) const KEY_OF_20: &str = "AgAAAAAAAAAAACAABwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// The annotation with a pool's identity.
pub(crate) const ANNOTATION: &str = "poolwright.dev/pool";

/// The annotation that pauses an object.
pub(crate) const PAUSED: &str = "poolwright.dev/paused";

/// The annotation by which another look is asked for.
pub(crate) const RECONCILE: &str = "poolwright.dev/reconcile-requested-at";

/// A number that no other step has.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A cluster whose monitors work at their own pace, one change a second, so that there is an "in the middle" of a
/// creation. Its connection in the shared world is called `slow`.
pub(crate) async fn slow() -> (Arc<World>, Arc<Ceph>) {
    static SLOW: OnceCell<Arc<Ceph>> = OnceCell::const_new();
    let world = World::shared().await;
    let start = || async {
        let options = [("PROPOSE_INTERVAL", ""), ("MIN_WAIT", ""), ("OSDS", "3")];
        let ceph = Arc::new(Ceph::own(&options).await);
        World::shared()
            .await
            .connect("slow", &ceph, json!({}))
            .await;
        ceph
    };
    let ceph = Arc::clone(SLOW.get_or_init(start).await);
    (world, ceph)
}

/// A case on that cluster.
pub(crate) async fn slow_case(name: &str) -> Case {
    let (world, ceph) = slow().await;
    Case::with_connection(world, name, "slow", ceph).await
}

/// A case on the shared cluster whose objects refer to a connection of their own, which is still to be made.
pub(crate) async fn own_connection(name: &str) -> Case {
    let world = World::shared().await;
    Case::with_connection(world, name, name, Arc::new(Ceph::shared())).await
}

/// The status of an object, which has to have one.
pub(crate) fn status(object: &CephPool) -> &CephPoolStatus {
    object.status.as_ref().expect("a status")
}

/// How often a pool was put back after changes by others.
pub(crate) fn corrections(object: &CephPool) -> i64 {
    status(object)
        .drift
        .as_ref()
        .map_or(0, |drift| drift.corrections)
}

/// What a request came to.
pub(crate) fn outcome(request: &CephRequest) -> Option<Outcome> {
    request.status.as_ref().and_then(|status| status.outcome)
}

/// Whether a request has ended well.
pub(crate) fn succeeded(request: &CephRequest) -> bool {
    let status = request.status.clone().unwrap_or_default();
    (status.state, status.outcome) == (RequestState::Complete, Some(Outcome::Succeeded))
}

/// What requests were for.
pub(crate) fn operations(requests: &[CephRequest]) -> Vec<Operation> {
    requests
        .iter()
        .map(|request| request.spec.operation)
        .collect()
}

/// Whether a pool has a flag.
pub(crate) fn has_flag(pool: &Value, flag: &str) -> bool {
    pool["flags_names"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .any(|name| name == flag)
}

/// The token that a message names.
pub(crate) fn token_in(message: &str) -> String {
    let (_, rest) = message
        .split_once("poolwright.dev/confirm=")
        .unwrap_or_else(|| panic!("no token in {message}"));
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// What is pending for a field.
pub(crate) fn pending<'a>(object: &'a CephPool, field: &str) -> Option<&'a PendingChange> {
    status(object)
        .pending
        .iter()
        .find(|change| change.field == field)
}

/// The reason and message of an object's Ready.
pub(crate) fn ready(object: &CephPool) -> (&str, &str, &str) {
    condition(object, "Ready").expect("Ready")
}

/// What marks a pool, under `rbd`.
pub(crate) fn marks(pool: &Value) -> (Option<String>, Option<String>) {
    let keys = &pool["application_metadata"]["rbd"];
    let key = |name: &str| keys[name].as_str().map(str::to_owned);
    (key("poolwright"), key("poolwright.object"))
}

/// The identity annotation of an object.
pub(crate) fn annotation(object: &CephPool) -> String {
    object
        .annotations()
        .get(ANNOTATION)
        .expect("an identity")
        .clone()
}

/// Deletes an object and waits until it is gone.
pub(crate) async fn delete(case: &Case, name: &str) {
    case.begin_deletion(name).await;
    gone(case, name, LIMIT).await;
}

/// The `rados` of people, as the administrator.
pub(crate) async fn rados(case: &Case, args: &[&str], input: Option<&str>) -> String {
    let mut command = Command::new("rados");
    command.arg("-c").arg(case.cluster().conf()).args(args);
    run(&mut command, input)
        .await
        .expect(&format!("rados {}", args.join(" ")))
}

/// Waits until an object is gone.
pub(crate) async fn gone(case: &Case, name: &str, limit: Duration) {
    case.wait_for(&format!("{name} is gone"), limit, async || {
        match case
            .pools()
            .get_opt(name)
            .await
            .map_err(|error| error.to_string())?
        {
            None => Ok(()),
            Some(object) => Err(format!("{:#?}", object.status)),
        }
    })
    .await;
}

/// Makes an object with an identity from its first moment on.
pub(crate) async fn make_annotated(case: &Case, name: &str, spec: &str, identity: &str) {
    make_with(case, name, spec, ANNOTATION, identity).await;
}

/// Makes an object with an annotation from its first moment on.
pub(crate) async fn make_with(case: &Case, name: &str, spec: &str, key: &str, value: &str) {
    let mut object = case.manifest(name, spec);
    object["metadata"]["annotations"] = json!({key: value});
    apply(&case.pools(), name, &object)
        .await
        .expect("the object is accepted");
}

impl Case {
    /// What the controller has sent for this case's pools: each command's JSON, by the monitors' own audit log.
    pub(crate) async fn sent(&self) -> Vec<Value> {
        self.sent_by("poolwright").await
    }

    /// The same of Ceph users whose names begin so.
    pub(crate) async fn sent_by(&self, user: &str) -> Vec<Value> {
        self.sent_with(user, &format!("\"{}-", self.namespace))
            .await
    }

    /// The same of those that have this text in them, whoever's pools they are for.
    pub(crate) async fn sent_with(&self, user: &str, text_within: &str) -> Vec<Value> {
        // Removing what is not there changes nothing, and is logged.
        let marker = format!("{}-marker-{}", self.namespace, number());
        self.hand(&remove(&marker)).await;
        let log = self.cluster().dir().join("log/cluster.log");
        let text = self
            .wait_for("the monitors have written their log", LIMIT, async || {
                let text =
                    String::from_utf8_lossy(&std::fs::read(&log).expect("the monitors' log"))
                        .into_owned();
                if text.contains(&marker) {
                    Ok(text)
                } else {
                    Err(format!("{} has no {marker}", log.display()))
                }
            })
            .await;
        let user = format!("entity='client.{user}");
        // Each monitor writes every line.
        let mut seen = BTreeSet::new();
        text.lines()
            .filter(|line| seen.insert(*line))
            .filter(|line| line.contains(&user) && line.ends_with("dispatch"))
            .filter(|line| line.contains(text_within))
            // Those of what is not there only ask what its key may do.
            .filter(|line| !line.contains("\"poolwright-probe-"))
            .map(|line| {
                let (from, to) = (
                    line.find('{').expect("a command"),
                    line.rfind('}').expect("its end"),
                );
                serde_json::from_str(&line[from..=to])
                    .unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect()
    }

    /// How many commands it has sent for this case's pools, by prefix.
    pub(crate) async fn sent_by_prefix(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for command in self.sent().await {
            let prefix = command["prefix"].as_str().expect("a prefix").to_owned();
            *counts.entry(prefix).or_default() += 1;
        }
        counts
    }

    /// Waits until the controller knows the cluster as it is now.
    pub(crate) async fn seen(&self) {
        let epoch = self.epoch().await;
        let metric = format!(
            "poolwright_view_epoch{{connection=\"{}\"}}",
            self.connection()
        );
        self.wait_for("the controller knows the newest map", LIMIT, async || {
            let metrics = self.world.controller_metrics().await;
            #[expect(clippy::cast_precision_loss, reason = "epochs are small")]
            let epoch = epoch as f64;
            match metrics.get(&metric) {
                Some(seen) if *seen >= epoch => Ok(()),
                seen => Err(format!("{seen:?}, not {epoch}")),
            }
        })
        .await;
    }

    /// Waits until the controller has looked at an object that it leaves alone, knowing the cluster as it is now.
    pub(crate) async fn looked(&self, name: &str) -> CephPool {
        self.seen().await;
        let token = format!("look-{}", number());
        self.annotate(name, RECONCILE, Some(&token)).await;
        self.until(name, "looked at", |object| {
            object
                .status
                .as_ref()
                .is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(&token))
        })
        .await
    }

    /// Waits until the creation of a pool is recorded, which is before anything of it is sent.
    pub(crate) async fn begun(&self, name: &str) -> CephPool {
        self.until(name, "the creation is recorded", |object| {
            let request = object
                .status
                .as_ref()
                .and_then(|status| status.request.as_ref());
            request.is_some_and(|request| request.nonce.is_some())
        })
        .await
    }

    /// Waits until all requests of an object have ended; gives them.
    pub(crate) async fn all_ended(&self, name: &str) -> Vec<CephRequest> {
        self.wait_for(
            &format!("{name}: all requests have ended"),
            LIMIT,
            async || {
                let requests = self.requests(name).await;
                let ended = requests.iter().all(|request| outcome(request).is_some());
                holds(ended, &requests).map(|()| requests)
            },
        )
        .await
    }

    /// Waits until the pool of an object was put back so often.
    pub(crate) async fn corrected(&self, name: &str, times: i64) -> CephPool {
        self.until(name, &format!("{times} corrections"), |object| {
            object.status.is_some() && corrections(object) == times
        })
        .await
    }

    /// Waits until the Ready of an object has this reason.
    pub(crate) async fn until_says(&self, name: &str, reason: &str) -> CephPool {
        self.until(name, reason, |object| {
            condition(object, "Ready").is_some_and(|ready| ready.1 == reason)
        })
        .await
    }

    /// The same; gives the message.
    pub(crate) async fn says(&self, name: &str, reason: &str) -> String {
        ready(&self.until_says(name, reason).await).2.to_owned()
    }

    /// A pool of any name, as `osd dump` has it.
    pub(crate) async fn pool_called(&self, name: &str) -> Option<Value> {
        pools_of(&self.dump().await)
            .find(|pool| pool["pool_name"] == name)
            .cloned()
    }

    /// The entry of a `CephPool`'s pool, which has to be there.
    pub(crate) async fn its_pool(&self, name: &str) -> Value {
        self.ceph_pool(name)
            .await
            .unwrap_or_else(|| panic!("no pool of {name}"))
    }

    /// The entry of a `CephPool`'s pool, when its placement groups are there.
    pub(crate) async fn made(&self, name: &str) -> Value {
        self.until_pool(name, "made", |pool| !has_flag(pool, "creating"))
            .await
    }

    /// Waits until the pool of a `CephPool` is so.
    pub(crate) async fn until_pool(
        &self,
        name: &str,
        what: &str,
        mut so: impl FnMut(&Value) -> bool,
    ) -> Value {
        self.wait_for(&format!("pool of {name}: {what}"), LIMIT, async || {
            let pool = self.ceph_pool(name).await.ok_or("no pool")?;
            if so(&pool) {
                Ok(pool)
            } else {
                Err(pool.to_string())
            }
        })
        .await
    }
}
