//! Requests that people cancel.

use kube::ResourceExt;
use poolwright::api::v1alpha1::{ANNOTATION_CANCEL, ANNOTATION_RECONCILE_REQUESTED_AT, Outcome};

use super::steps::remove;
use super::support::{Case, Ceph, Own, World, condition, holds, rounds};

const SPEC: &str = "{replicated: {size: 2}, minSize: 2, placementGroups: {autoscale: Disabled, count: 1}, \
    quota: {maxObjects: 100}, applications: [{name: rbd}]}";

/// The command that a person types.
async fn cancel(case: &Case, request: &str) {
    case.kubectl(&[
        "annotate",
        "cephrequest",
        request,
        &format!("{ANNOTATION_CANCEL}=true"),
    ])
    .await;
}

/// A creation that is cancelled stops between two rounds, stays stopped over a restart, and goes on when a person asks for
/// it. A request that has ended is not touched by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation() {
    // Ceph's own intervals, so that there is something to cancel.
    let world = World::own(Own {
        ceph: vec![("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "cancel").await;
    case.apply("a", SPEC).await;
    let request = case
        .wait_for("a request", super::support::LIMIT, async || {
            let found = case.requests("a").await;
            found
                .first()
                .map(ResourceExt::name_any)
                .ok_or_else(|| "none".to_owned())
        })
        .await;
    cancel(&case, &request).await;
    let message = case.stalled("a", "Cancelled").await;
    assert!(message.contains("reconcile-requested-at"), "{message}");
    let all = case.requests("a").await;
    let status = all[0].status.clone().unwrap_or_default();
    assert_eq!(
        (all.len(), status.outcome),
        (1, Some(Outcome::Cancelled)),
        "{all:#?}"
    );
    assert!(rounds(&all[0]).len() < 3, "{all:#?}");
    assert!(
        case.ceph_pool("a").await.is_none(),
        "nothing half-made has its name"
    );

    // Nothing more is sent for it, whoever looks.
    case.world.kill_controller();
    case.world.start_controller().await;
    // Another pool is made meanwhile: there was time.
    case.apply("b", SPEC).await;
    case.ready("b").await;
    case.stalled("a", "Cancelled").await;
    let all = case.requests("a").await;
    assert_eq!(all.len(), 1, "{all:#?}");

    case.annotate("a", ANNOTATION_RECONCILE_REQUESTED_AT, Some("go on"))
        .await;
    case.ready("a").await;
    let all = case.requests("a").await;
    assert_eq!(all.len(), 2, "{all:#?}");

    // One that has ended stays as it is, and so does its pool.
    let last = case
        .object("a")
        .await
        .status
        .and_then(|status| status.request_id);
    cancel(&case, &last.expect("a request")).await;
    case.looked("a").await;
    case.ready("a").await;
    let ended = |outcome| {
        move |request: &&poolwright::api::v1alpha1::CephRequest| {
            request.status.as_ref().and_then(|status| status.outcome) == Some(outcome)
        }
    };
    let all = case.requests("a").await;
    assert_eq!(
        all.iter().filter(ended(Outcome::Succeeded)).count(),
        1,
        "{all:#?}"
    );

    // Another spec goes on by itself.
    case.apply("a", &SPEC.replace("100", "200")).await;
    case.wait_for("the new quota", super::support::LIMIT, async || {
        let pool = case.ceph_pool("a").await.ok_or("no pool")?;
        holds(pool["quota_max_objects"] == 200, &pool["quota_max_objects"])
    })
    .await;
}

/// The OSDs of a cluster, frozen until this is dropped.
struct Frozen(Vec<String>);

impl Frozen {
    fn osds(ceph: &Ceph) -> Self {
        let files = std::fs::read_dir(ceph.dir().join("run")).expect("the folder of pids");
        let paths = files.map(|file| file.expect("a file").path());
        let osds = paths.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("osd.") && name.ends_with(".pid")
        });
        let pids = osds.map(|path| std::fs::read_to_string(path).expect("a pid"));
        let frozen = Self(pids.map(|pid| pid.trim().to_owned()).collect());
        assert!(!frozen.0.is_empty() && frozen.signal("-STOP"));
        frozen
    }

    fn signal(&self, signal: &str) -> bool {
        let done = std::process::Command::new("kill")
            .arg(signal)
            .args(&self.0)
            .status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// A creation of which everything was sent, and that waits for its placement groups, is not stopped by a cancel: what
/// differs later is corrected, and that the pool is gone is told, also by the next process.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_command() {
    let world = World::own(Own::default()).await;
    let case = Case::new(world, "late").await;
    let frozen = Frozen::osds(case.cluster());
    case.apply("a", SPEC).await;
    case.until("a", "waits for its placement groups", |pool| {
        condition(pool, "Ready").is_some_and(|(_, _, words)| words.contains("placement groups"))
    })
    .await;
    let request = case.requests("a").await[0].name_any();
    cancel(&case, &request).await;
    case.wait_for(
        "the end of the request",
        super::support::LIMIT,
        async || {
            let found = case.requests("a").await;
            let outcome = found[0].status.as_ref().and_then(|status| status.outcome);
            holds(outcome == Some(Outcome::Cancelled), &outcome)
        },
    )
    .await;
    drop(frozen);
    case.ready("a").await;

    case.world.kill_controller();
    case.world.start_controller().await;
    case.set("a", "min_size", "1").await;
    case.wait_for("the correction", super::support::LIMIT, async || {
        let pool = case.ceph_pool("a").await.ok_or("no pool")?;
        holds(pool["min_size"] == 2, &pool["min_size"])
    })
    .await;
    case.ready("a").await;

    case.hand(&remove(&case.pool_name("a"))).await;
    let message = case.stalled("a", "PoolMissing").await;
    case.world.kill_controller();
    case.world.start_controller().await;
    case.looked("a").await;
    assert_eq!(case.stalled("a", "PoolMissing").await, message);
}
