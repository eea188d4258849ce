//! What one test works with: names of its own in a world.

use std::path::PathBuf;
use std::sync::Arc;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use poolwright::api::v1alpha1::{CephPool, CephRequest, Operation};
use poolwright::ceph::client::{MonClient, Reply};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::rados::RadosClient;
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::world::{World, merge};
use super::{Ceph, LIMIT, Said, apply, next, run, variable};

/// How long a command by hand may take.
const COMMAND: Duration = Duration::from_secs(30);

/// One test's part of a world: a namespace, and pool names that begin like it.
pub(crate) struct Case {
    /// The world it is in.
    pub(crate) world: Arc<World>,
    /// Its namespace, which is also the prefix of its pools.
    pub(crate) namespace: String,
    /// The administrator of the API server.
    pub(crate) client: Client,
    connection: String,
    ceph: CephOf,
    mon: RadosClient,
}

/// The cluster of a case's connection.
enum CephOf {
    World,
    Other(Arc<Ceph>),
}

impl Case {
    /// In the shared world.
    pub(crate) async fn shared(name: &str) -> Self {
        Self::new(World::shared().await, name).await
    }

    /// In a world of its own.
    pub(crate) async fn new(world: Arc<World>, name: &str) -> Self {
        Self::build(world, name, "main", CephOf::World).await
    }

    /// In a world, on another cluster that [`World::connect`] has made a connection to.
    pub(crate) async fn with_connection(
        world: Arc<World>,
        name: &str,
        connection: &str,
        ceph: Arc<Ceph>,
    ) -> Self {
        Self::build(world, name, connection, CephOf::Other(ceph)).await
    }

    async fn build(world: Arc<World>, name: &str, connection: &str, ceph: CephOf) -> Self {
        let client = world.plane().client().await;
        // The process is in it, so that an environment that is kept can be used again.
        let namespace = format!("{name}-{}-{}", std::process::id(), next());
        world.namespace(&client, &namespace).await;
        let mon = match &ceph {
            CephOf::World => world.ceph().connect().await,
            CephOf::Other(ceph) => ceph.connect().await,
        };
        Self {
            world,
            namespace,
            client,
            connection: connection.to_owned(),
            ceph,
            mon,
        }
    }

    // ---- our objects

    /// Applies a `CephPool` whose spec is this YAML, as field manager `test`. Unless the spec says
    /// otherwise, `connectionRef` is the case's, `type` Replicated and `poolName` [`Case::pool_name`].
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> CephPool {
        self.try_apply(name, spec)
            .await
            .expect("the object is accepted")
    }

    /// The same, whatever the API server says.
    pub(crate) async fn try_apply(&self, name: &str, spec: &str) -> Result<CephPool, kube::Error> {
        let object = self.manifest(name, spec);
        apply(&self.pools(), name, &object).await
    }

    /// The manifest that [`Case::apply`] applies.
    pub(crate) fn manifest(&self, name: &str, spec: &str) -> Value {
        let mut whole = json!({
            "connectionRef": {"name": self.connection}, "poolName": self.pool_name(name), "type": "Replicated",
        });
        merge(&mut whole, serde_yaml::from_str(spec).expect("YAML"));
        json!({
            "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephPool",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": whole,
        })
    }

    /// Sets an annotation of a `CephPool`, or takes it off.
    pub(crate) async fn annotate(&self, name: &str, key: &str, value: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.pools()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("the annotation is accepted");
    }

    /// A `CephPool` as it is now.
    pub(crate) async fn object(&self, name: &str) -> CephPool {
        self.pools().get(name).await.expect("the object")
    }

    /// Waits until a `CephPool` is so.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        mut so: impl FnMut(&CephPool) -> bool,
    ) -> CephPool {
        self.wait_for(&format!("{name}: {what}"), LIMIT, async || {
            let object = self
                .pools()
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            if so(&object) {
                return Ok(object);
            }
            Err(format!(
                "{:#?}",
                object.status.map(|status| status.conditions)
            ))
        })
        .await
    }

    /// Waits until its present generation is Ready.
    pub(crate) async fn ready(&self, name: &str) -> CephPool {
        self.until(name, "Ready", |object| {
            let current = object.metadata.generation;
            object
                .status
                .as_ref()
                .is_some_and(|status| status.observed_generation == current)
                && condition(object, "Ready").is_some_and(|ready| ready.0 == "True")
        })
        .await
    }

    /// Waits until its present generation is Stalled for this reason; gives the message.
    pub(crate) async fn stalled(&self, name: &str, reason: &str) -> String {
        let object = self
            .until(name, &format!("Stalled {reason}"), |object| {
                let current = object.metadata.generation;
                object
                    .status
                    .as_ref()
                    .is_some_and(|status| status.observed_generation == current)
                    && condition(object, "Stalled")
                        .is_some_and(|stalled| stalled.0 == "True" && stalled.1 == reason)
            })
            .await;
        condition(&object, "Stalled")
            .expect("just seen")
            .2
            .to_owned()
    }

    /// The `CephRequest`s of a `CephPool`, oldest first.
    pub(crate) async fn requests(&self, name: &str) -> Vec<CephRequest> {
        let api: Api<CephRequest> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut found = api
            .list(&ListParams::default())
            .await
            .expect("the requests")
            .items;
        found.retain(|request| request.spec.pool_ref.name == name);
        // Times are to the second; corrections of a generation come after its change.
        found.sort_by_key(|request| {
            let correction = request.spec.operation == Operation::Correct;
            (
                request.spec.pool_ref.generation,
                correction,
                request.creation_timestamp(),
            )
        });
        found
    }

    /// The connection of its pools.
    pub(crate) fn connection(&self) -> &str {
        &self.connection
    }

    /// The `CephPool`s of the case.
    pub(crate) fn pools(&self) -> Api<CephPool> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What the pool of a `CephPool` of this name is called in Ceph.
    pub(crate) fn pool_name(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    // ---- what Ceph has

    /// The cluster.
    pub(crate) fn cluster(&self) -> &Ceph {
        match &self.ceph {
            CephOf::World => self.world.ceph(),
            CephOf::Other(ceph) => ceph,
        }
    }

    /// The epoch of the OSD map.
    pub(crate) async fn epoch(&self) -> u64 {
        let stat = self.read(&MonCommand::OsdStat).await;
        stat["epoch"].as_u64().expect("an epoch")
    }

    /// `osd dump` as the monitors give it.
    pub(crate) async fn dump(&self) -> Value {
        self.read(&MonCommand::OsdDump).await
    }

    /// The entry of a `CephPool`'s pool in `osd dump`, by its name there.
    pub(crate) async fn ceph_pool(&self, name: &str) -> Option<Value> {
        let name = self.pool_name(name);
        pools_of(&self.dump().await)
            .find(|pool| pool["pool_name"] == *name)
            .cloned()
    }

    /// The names of the case's pools, private ones too.
    pub(crate) async fn pool_names(&self) -> Vec<String> {
        let prefix = format!("{}-", self.namespace);
        pools_of(&self.dump().await)
            .filter_map(|pool| pool["pool_name"].as_str())
            .filter(|name| name.starts_with(&prefix))
            .map(str::to_owned)
            .collect()
    }

    async fn read(&self, command: &MonCommand) -> Value {
        let reply = self.hand(command).await;
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    // ---- by hand

    /// A command as the administrator, which has to succeed.
    pub(crate) async fn hand(&self, command: &MonCommand) -> Reply {
        let reply = self.mon.send(command, COMMAND).await.expect("a reply");
        assert!(
            reply.code == 0,
            "{}: {} ({})",
            command.to_line(),
            reply.text,
            reply.code
        );
        reply
    }

    /// Commands handed over together: one round.
    pub(crate) async fn hand_all(&self, commands: &[MonCommand]) {
        futures::future::join_all(commands.iter().map(|command| self.hand(command))).await;
    }

    /// `osd pool set` of a `CephPool`'s pool.
    pub(crate) async fn set(&self, name: &str, variable: &str, value: &str) {
        self.hand(&self.setting(name, variable, value)).await;
    }

    /// The command of [`Case::set`]; `osd pool set-quota` for the two quotas.
    pub(crate) fn setting(&self, name: &str, variable: &str, value: &str) -> MonCommand {
        let pool = PoolName::new(self.pool_name(name));
        if ["max_bytes", "max_objects"].contains(&variable) {
            MonCommand::PoolSetQuota {
                pool,
                field: variable.to_owned(),
                value: value.to_owned(),
            }
        } else {
            MonCommand::PoolSet {
                pool,
                variable: variable.to_owned(),
                value: value.to_owned(),
            }
        }
    }

    /// The `ceph` of people, as the administrator; fails when it fails. Takes half a second.
    pub(crate) async fn ceph(&self, args: &[&str]) -> String {
        self.cluster().ceph(args).await
    }

    /// The real kubectl, in the case's namespace; fails when it fails.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(args, None)
            .await
            .expect(&format!("kubectl {}", args.join(" ")))
    }

    /// The same with input, whatever comes of it.
    pub(crate) async fn kubectl_with(&self, args: &[&str], input: Option<&str>) -> Said {
        let mut command =
            Command::new(PathBuf::from(variable("KUBEBUILDER_ASSETS")).join("kubectl"));
        command
            .env("KUBECONFIG", self.world.plane().kubeconfig())
            .args(["-n", &self.namespace])
            .args(args);
        run(&mut command, input).await
    }

    // ---- waiting

    /// Looks until it gives `Ok`. After the limit the test fails with what was seen last, the
    /// case's objects, requests and events, its pools, and the end of the controller's log.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Result<T, String>,
    ) -> T {
        let began = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            let seen = match timeout(COMMAND, look()).await {
                Ok(Ok(found)) => return found,
                Ok(Err(seen)) => seen,
                Err(_) => format!("a look took over {COMMAND:?}"),
            };
            if began.elapsed() > limit {
                self.fail(&format!(
                    "not so within {limit:?}: {what}\nseen last: {seen}"
                ))
                .await;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(300));
        }
    }

    /// Fails with a dump of everything.
    pub(crate) async fn fail(&self, why: &str) -> ! {
        let mut dump = String::new();
        for args in [
            ["get", "cephpools,cephrequests", "-o", "yaml"],
            ["get", "events", "--sort-by", ".lastTimestamp"],
            ["get", "clusterconnections", "-o", "wide"],
        ] {
            let said = self.kubectl_with(&args, None).await;
            dump += &format!("--- kubectl {}\n{}{}\n", args.join(" "), said.out, said.err);
        }
        let pools: Vec<Value> = match timeout(COMMAND, self.dump()).await {
            Ok(dump) => pools_of(&dump)
                .filter(|pool| {
                    pool["pool_name"]
                        .as_str()
                        .is_some_and(|name| name.starts_with(&self.namespace))
                })
                .cloned()
                .collect(),
            Err(_) => Vec::new(),
        };
        dump += &format!("--- pools\n{pools:?}\n");
        panic!(
            "{why}\n{dump}--- log of the controller\n{}",
            self.world.log_tail(60, &self.namespace)
        );
    }
}

/// The lines of a request's commands, round by round.
pub(crate) fn rounds(request: &CephRequest) -> Vec<Vec<&str>> {
    let status = request.status.as_ref();
    let rounds = status.into_iter().flat_map(|status| &status.rounds);
    rounds
        .map(|round| {
            round
                .commands
                .iter()
                .map(|command| command.command.as_str())
                .collect()
        })
        .collect()
}

/// Status, reason and message of a condition.
pub(crate) fn condition<'a>(
    object: &'a CephPool,
    type_: &str,
) -> Option<(&'a str, &'a str, &'a str)> {
    object
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| {
            (
                condition.status.as_str(),
                condition.reason.as_str(),
                condition.message.as_str(),
            )
        })
}

/// The pools of a dump.
pub(crate) fn pools_of(dump: &Value) -> impl Iterator<Item = &Value> {
    dump["pools"].as_array().into_iter().flatten()
}
