//! Two replicas of the controller, of which one acts: killed, ended and frozen in the middle of creations.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::ResourceExt;
use poolwright::api::v1alpha1::{ClusterConnection, Operation, Outcome};
use tokio::time::{Duration, Instant};

use super::support::{Case, Controller, LIMIT, Own, World, holds, pools_of};

/// Times that a busy machine keeps, too.
const DURATION: Duration = Duration::from_secs(6);
const SPEC: &str = "{replicated: {size: 2}, minSize: 2, placementGroups: {autoscale: Disabled, count: 1}, \
    quota: {maxObjects: 100}, applications: [{name: rbd, metadata: {team: storage}}]}";
const POOLS: u64 = 10;

/// A world with two replicas: first the one that leads, then the one that stands by.
struct Pair {
    case: Case,
    leader: Arc<Controller>,
    standby: Arc<Controller>,
}

impl Pair {
    async fn new(name: &str) -> Self {
        let args = [
            "--leader-elect",
            "--leader-elect-namespace=poolwright-system",
            "--leader-elect-lease-duration=6s",
            "--leader-elect-renew-deadline=4s",
            "--leader-elect-retry-period=1s",
        ];
        let world = World::own(Own {
            // Ceph's own intervals, so that there is something to interrupt.
            ceph: vec![("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")],
            args: args.map(str::to_owned).to_vec(),
            ..Own::default()
        })
        .await;
        let leader = world.running().expect("the controller runs");
        let standby = world.another_controller(1).await;
        let case = Case::new(world, name).await;
        let pair = Self {
            case,
            leader,
            standby,
        };
        assert!(leads(&pair.leader).await);
        assert!(!leads(&pair.standby).await, "it is ready and does not lead");
        // Warm: it has a view of its own.
        pair.case
            .wait_for("the standby has a view", LIMIT, async || {
                let metrics = pair.standby.metrics().await?;
                let view = metrics.get("poolwright_view_epoch{connection=\"main\"}");
                holds(view.is_some(), &metrics.keys())
            })
            .await;
        pair
    }

    /// Begins to create pools, and waits until so many are there under whatever name.
    async fn begin(&self, prefix: &str, reached: usize) -> Vec<String> {
        let names: Vec<String> = (0..POOLS).map(|i| format!("{prefix}{i}")).collect();
        let before = self.case.pool_names().await.len();
        join_all(names.iter().map(|name| self.case.apply(name, SPEC))).await;
        self.case
            .wait_for("the creations have begun", LIMIT, async || {
                let now = self.case.pool_names().await;
                holds(now.len() >= before + reached, &now)
            })
            .await;
        names
    }

    /// All are Ready, there is no other pool, and each has one request that succeeded.
    async fn created(&self, names: &[String]) {
        for name in names {
            self.case.ready(name).await;
        }
        let found: BTreeSet<String> = self.case.pool_names().await.into_iter().collect();
        for name in names {
            assert!(found.contains(&self.case.pool_name(name)), "{found:?}");
            let requests = self.case.requests(name).await;
            let [request] = requests.as_slice() else {
                panic!("{requests:#?}")
            };
            assert_eq!(request.spec.operation, Operation::Create);
            let outcome = request.status.as_ref().and_then(|status| status.outcome);
            assert_eq!(outcome, Some(Outcome::Succeeded), "{}", request.name_any());
        }
        let dump = self.case.dump().await;
        let private: Vec<_> = pools_of(&dump)
            .filter_map(|pool| pool["pool_name"].as_str())
            .filter(|name| name.contains(".poolwright-"))
            .collect();
        assert!(private.is_empty(), "{private:?}");
    }

    /// Waits until a replica leads; how long that took.
    async fn takes_over(&self, replica: &Controller, since: Instant) -> Duration {
        self.case
            .wait_for("the other leads", LIMIT, async || {
                holds(leads(replica).await, &replica.ended())
            })
            .await;
        since.elapsed()
    }

    async fn lease(&self) -> LeaseSpec {
        let api: Api<Lease> = Api::namespaced(self.case.client.clone(), "poolwright-system");
        let lease = api.get("poolwright").await.expect("the lease");
        lease.spec.expect("a spec")
    }

    /// Waits until a replica has ended; how.
    async fn end_of(&self, replica: &Controller) -> String {
        self.case
            .wait_for("it has ended", LIMIT, async || {
                replica.ended().ok_or_else(|| "it runs".to_owned())
            })
            .await
    }
}

async fn leads(replica: &Controller) -> bool {
    replica
        .metrics()
        .await
        .is_ok_and(|metrics| metrics.get("poolwright_leader") == Some(&1.0))
}

/// How many commands that may change something, and looks at pools, a replica counts.
async fn acts(replica: &Controller) -> (f64, f64) {
    let metrics = replica.metrics().await.expect("its metrics");
    let sum = |name: &str, label: &str| {
        let found = metrics
            .iter()
            .filter(|(line, _)| line.starts_with(name) && line.contains(label));
        found.map(|(_, value)| value).sum()
    };
    (
        sum("poolwright_commands_total{", "prefix=\"osd pool "),
        sum("poolwright_reconciles_total{", "kind=\"CephPool\""),
    )
}

/// Only one acts, and says so; told to end, it ends its rounds and hands over, and the other goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn one_acts_and_hands_over() {
    let pair = Pair::new("hand").await;
    let names = pair.begin("a", 1).await;
    pair.created(&names).await;
    assert!(acts(&pair.leader).await.0 >= 10.0 * 7.0);
    assert_eq!(acts(&pair.standby).await, (0.0, 0.0));
    let first = pair.lease().await;
    assert_eq!(first.lease_transitions, Some(0), "{first:?}");
    let connections: Api<ClusterConnection> = Api::all(pair.case.client.clone());
    let leader = async || {
        let connection = connections.get("main").await.expect("the connection");
        connection.status.and_then(|status| status.leader)
    };
    assert_eq!(leader().await, first.holder_identity);

    let names = pair.begin("b", 1).await;
    pair.leader.signal("TERM");
    let took = pair.takes_over(&pair.standby, Instant::now()).await;
    println!("handed over {took:?} after SIGTERM");
    // Not by waiting for the lease to expire; the rounds under way are ended first.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let end = pair.end_of(&pair.leader).await;
    assert!(end.contains("unix_wait_status(0)"), "{end}");
    pair.created(&names).await;
    let second = pair.lease().await;
    assert_ne!(second.holder_identity, first.holder_identity);
    assert_eq!(second.lease_transitions, Some(1));
    pair.case
        .wait_for("the connection names it", LIMIT, async || {
            let now = leader().await;
            holds(now == second.holder_identity, &now)
        })
        .await;
}

/// Killed in the middle of creating ten pools: the other goes on when the lease has expired, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_create_of_ten() {
    let pair = Pair::new("kill").await;
    let names = pair.begin("a", 3).await;
    pair.leader.kill();
    let killed = Instant::now();
    assert_eq!(acts(&pair.standby).await, (0.0, 0.0));
    let took = pair.takes_over(&pair.standby, killed).await;
    println!("took over {took:?} after SIGKILL");
    // The last renewal was at most a retry before the kill.
    assert!(took + Duration::from_secs(2) > DURATION, "{took:?}");
    pair.created(&names).await;
    println!("all Ready {:?} after SIGKILL", killed.elapsed());
}

/// Frozen in the middle of it for longer than the lease: the other takes over, and what the first does when it goes on
/// is to end, with an error and without a command.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_for_longer_than_the_lease() {
    let pair = Pair::new("freeze").await;
    let names = pair.begin("a", 3).await;
    pair.leader.signal("STOP");
    let took = pair.takes_over(&pair.standby, Instant::now()).await;
    println!("took over {took:?} after SIGSTOP");
    pair.created(&names).await;
    // Something to do for it, that nobody else does: its runs are in the middle, and its map is an old one.
    let sent = pair.case.sent().await.len();
    let epoch = pair.case.epoch().await;
    let writes = pair.case.world.api_writes(&pair.case.client).await;
    pair.leader.signal("CONT");
    let resumed = Instant::now();
    let end = pair.end_of(&pair.leader).await;
    println!("ended {:?} after SIGCONT", resumed.elapsed());
    assert!(end.contains("unix_wait_status(256)"), "{end}");
    let log = pair.case.world.log_tail(200, "ERROR");
    assert!(
        log.contains("lost the lease poolwright-system/poolwright"),
        "{log}"
    );
    assert_eq!(pair.case.sent().await.len(), sent, "no command");
    assert_eq!(pair.case.epoch().await, epoch, "no epoch");
    let now = pair.case.world.api_writes(&pair.case.client).await;
    assert_eq!(now, writes, "no write to an object");
    // And the one that leads still works.
    pair.created(&names).await;
    pair.case.apply("more", SPEC).await;
    pair.case.ready("more").await;
    assert!(leads(&pair.standby).await);
}
