//! What several files of tests do by hand, and how they find out what the controller did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use poolwright::api::v1alpha1::{CephPool, CephPoolStatus, PendingChange};
use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::Duration;

use super::support::{Case, Ceph, LIMIT, World, condition, pools_of};

/// A small pool.
pub(crate) const PLAIN: &str = "{replicated: {size: 3}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 4}}";

/// The annotation with a pool's identity.
pub(crate) const ANNOTATION: &str = "poolwright.dev/pool";

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
        let options = [("PROPOSE_INTERVAL", ""), ("MIN_WAIT", ""), ("OSDS", "2")];
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

/// `osd pool create` of a name, with little in it.
pub(crate) fn create(name: &str) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate {
        pool: PoolName::new(name),
        pg_num: 2,
        size: None,
        autoscale_mode: Some("off".to_owned()),
        pg_num_min: None,
        pg_num_max: None,
        bulk: None,
        target_size_bytes: None,
        target_size_ratio: None,
        profile: None,
        rule: None,
    })
}

/// `osd pool rm` of a name.
pub(crate) fn remove(name: &str) -> MonCommand {
    MonCommand::PoolRemove {
        pool: PoolName::new(name),
    }
}

/// `osd pool rename`.
pub(crate) fn rename(from: &str, to: &str) -> MonCommand {
    MonCommand::PoolRename {
        from: PoolName::new(from),
        to: PoolName::new(to),
    }
}

/// `osd pool application enable` of a pool by its name.
pub(crate) fn enable(pool: &str, application: &str) -> MonCommand {
    MonCommand::ApplicationEnable {
        pool: PoolName::new(pool),
        application: application.to_owned(),
        confirmed: true,
    }
}

/// `osd pool application set` of a pool by its name, under `rbd`.
pub(crate) fn tag(pool: &str, key: &str, value: &str) -> MonCommand {
    MonCommand::ApplicationSet {
        pool: PoolName::new(pool),
        application: "rbd".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// `osd pool application rm` of a pool by its name, under `rbd`.
pub(crate) fn untag(pool: &str, key: &str) -> MonCommand {
    MonCommand::ApplicationRemove {
        pool: PoolName::new(pool),
        application: "rbd".to_owned(),
        key: key.to_owned(),
    }
}

/// The status of an object, which has to have one.
pub(crate) fn status(object: &CephPool) -> &CephPoolStatus {
    object.status.as_ref().expect("a status")
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
    case.pools()
        .delete(name, &DeleteParams::default())
        .await
        .expect("it is deleted");
    gone(case, name, LIMIT).await;
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
    case.pools()
        .patch(
            name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(&object),
        )
        .await
        .expect("the object is accepted");
}

impl Case {
    /// Does what a message says, as a person would who copies it; gives the token in it.
    pub(crate) async fn as_told(&self, message: &str) -> String {
        let line = message.split('`').find(|part| part.starts_with("kubectl "));
        let line = line.unwrap_or_else(|| panic!("no command in {message}"));
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        self.kubectl(&words).await;
        token_in(message)
    }

    /// Waits until an object that is made from now on is younger than this one: they tell their age to the second.
    pub(crate) async fn a_second_after(&self, name: &str) {
        let made = self.object(name).await.creation_timestamp();
        let made = made.expect("a time").0.as_second();
        self.wait_for("the next second", LIMIT, async || {
            let now = jiff::Timestamp::now().as_second();
            if now > made {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
    }

    /// What the controller has sent for this case's pools: each command's JSON, by the monitors' own audit log.
    pub(crate) async fn sent(&self) -> Vec<Value> {
        self.sent_by("poolwright").await
    }

    /// The same of Ceph users whose names begin so.
    pub(crate) async fn sent_by(&self, user: &str) -> Vec<Value> {
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
        let prefix = format!("\"{}-", self.namespace);
        let user = format!("entity='client.{user}");
        text.lines()
            .filter(|line| line.contains(&user) && line.ends_with("dispatch"))
            .filter(|line| line.contains(&prefix))
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
        self.annotate(name, "poolwright.dev/reconcile-requested-at", Some(&token))
            .await;
        self.until(name, "looked at", |object| {
            object
                .status
                .as_ref()
                .is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(&token))
        })
        .await
    }

    /// Waits until the Ready of an object has this reason; gives the message.
    pub(crate) async fn says(&self, name: &str, reason: &str) -> String {
        let object = self
            .until(name, reason, |object| {
                condition(object, "Ready").is_some_and(|ready| ready.1 == reason)
            })
            .await;
        ready(&object).2.to_owned()
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
        let creating = |pool: &Value| {
            pool["flags_names"]
                .as_str()
                .is_some_and(|flags| flags.contains("creating"))
        };
        self.until_pool(name, "made", |pool| !creating(pool)).await
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
