//! The example that Calamari's documentation gives, on a real cluster where the pool has id 7.

use std::sync::Arc;

use poolwright::api::v1alpha1::Operation;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::steps::create_of;
use super::support::{Case, Ceph, LIMIT, World, holds, pools_of, rounds};

const COMMANDS: [&str; 2] = [
    "ceph osd pool set-quota foopool max_bytes 1024000000",
    "ceph osd pool set-quota foopool max_objects 1000000",
];

/// The pool with id 7.
async fn seven(case: &Case) -> Option<Value> {
    let dump = case.dump().await;
    pools_of(&dump).find(|pool| pool["pool"] == 7).cloned()
}

/// The epoch, once it has not moved for three seconds: nobody else is at work on the cluster.
async fn resting(case: &Case) -> u64 {
    let mut last = (case.epoch().await, Instant::now());
    case.wait_for("the epoch rests", LIMIT, async || {
        let epoch = case.epoch().await;
        if epoch != last.0 {
            last = (epoch, Instant::now());
        }
        holds(last.1.elapsed() > Duration::from_secs(3), &epoch)?;
        Ok(epoch)
    })
    .await
}

/// Must show: pool 7, `foopool`: an update of both quotas is exactly two commands in one round,
/// and one epoch. The same when somebody has taken both off.
#[tokio::test(flavor = "multi_thread")]
async fn documented_example() {
    // Ceph's own intervals: commands that are handed over together are one proposal, however busy the machine is.
    let ceph =
        Arc::new(Ceph::own(&[("OSDS", "3"), ("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")]).await);
    let world = World::shared().await;
    let connection = format!("calamari-{}", std::process::id());
    world.connect(&connection, &ceph, json!({})).await;
    let case = Case::with_connection(world, "calamari", &connection, ceph).await;
    let next_id = async || {
        case.dump().await["pool_max"]
            .as_i64()
            .expect("the highest id")
            + 1
    };
    while next_id().await < 7 {
        case.hand(&create_of(
            &format!("filler-{}", next_id().await),
            1,
            Some(2),
        ))
        .await;
    }
    case.apply(
        "foo",
        "{poolName: foopool, replicated: {size: 2}, placementGroups: {autoscale: Disabled, count: 1}, applications: [{name: rbd}]}",
    )
    .await;
    let object = case.ready("foo").await;
    assert_eq!(object.status.expect("a status").pool_id, Some(7));
    assert_eq!(seven(&case).await.expect("pool 7")["pool_name"], "foopool");

    let before = resting(&case).await;
    let patch = r#"{"spec": {"quota": {"maxBytes": 1024000000, "maxObjects": 1000000}}}"#;
    case.kubectl(&["patch", "cephpool", "foo", "--type", "merge", "-p", patch])
        .await;
    let object = case.ready("foo").await;
    assert_eq!(case.epoch().await, before + 1, "one epoch");
    let pool = seven(&case).await.expect("pool 7");
    assert_eq!(
        (&pool["quota_max_bytes"], &pool["quota_max_objects"]),
        (&json!(1_024_000_000), &json!(1_000_000))
    );
    let requests = case.requests("foo").await;
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let update = requests.last().expect("the update");
    assert_eq!(update.spec.operation, Operation::Update);
    assert_eq!(
        update.spec.changed_fields,
        ["quota.maxBytes", "quota.maxObjects"]
    );
    assert_eq!(rounds(update), [COMMANDS]);
    let (status, told) = (
        object.status.expect("a status"),
        update.status.clone().expect("a status"),
    );
    assert_eq!(status.request_id, update.metadata.name);
    assert_eq!(status.observed_osd_epoch, i64::try_from(before + 1).ok());
    assert_eq!(told.observed_epoch, status.observed_osd_epoch);

    // Drift of both, in one epoch, is the same round again, and one epoch.
    let pool_name = PoolName::new("foopool");
    let off = |field: &str| MonCommand::PoolSetQuota {
        pool: pool_name.clone(),
        field: field.to_owned(),
        value: "0".to_owned(),
    };
    case.hand_all(&[off("max_bytes"), off("max_objects")]).await;
    case.until("foo", "corrected", |object| {
        object
            .status
            .as_ref()
            .is_some_and(|status| status.drift.is_some())
    })
    .await;
    case.ready("foo").await;
    assert_eq!(
        case.epoch().await,
        before + 3,
        "one epoch by hand and one of the correction"
    );
    let requests = case.requests("foo").await;
    assert_eq!(rounds(requests.last().expect("the correction")), [COMMANDS]);
}
