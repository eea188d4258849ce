//! What others change is put back; what leaves the manifest is unset or let go.

mod each_field;
mod removed_fields;

use poolwright::api::v1alpha1::{CephRequest, Operation, RequestState};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::time::Duration;

use super::steps::{PAUSED, operations};
use super::support::{Case, LIMIT, holds, rounds};

/// Ten times one poll and one round.
const AGAIN: Duration = Duration::from_secs(15);

/// Every row of the settings table but the locks, which would keep people from changing the rest.
const OPEN: &str = r#"{
    replicated: {size: 3}, minSize: 2,
    placementGroups: {autoscale: Disabled, count: 8, min: 4, max: 16, bias: "1.5", targetSizeBytes: 1Gi, bulk: true},
    quota: {maxBytes: 1Gi, maxObjects: 1000},
    applications: [{name: rbd, metadata: {team: storage, tier: fast}}],
    flags: {noScrub: true, noDeepScrub: true},
}"#;

/// The locks, and the one setting that excludes another.
const LOCKED: &str = r#"{
    replicated: {size: 2}, minSize: 2,
    placementGroups: {autoscale: Disabled, count: 8, targetSizeRatio: "0.3"},
    applications: [{name: rbd}],
    flags: {noSizeChange: true, noPgChange: true, noDelete: true},
}"#;

fn metadata(case: &Case, name: &str, key: &str, value: Option<&str>) -> MonCommand {
    let pool = PoolName::new(case.pool_name(name));
    let (application, key) = ("rbd".to_owned(), key.to_owned());
    match value {
        Some(value) => MonCommand::ApplicationSet {
            pool,
            application,
            key,
            value: value.to_owned(),
        },
        None => MonCommand::ApplicationRemove {
            pool,
            application,
            key,
        },
    }
}

/// A pool's entry without what moves by itself.
fn settled(mut pool: Value) -> Value {
    for moving in [
        "last_change",
        "last_force_op_resend",
        "last_force_op_resend_prenautilus",
        "last_force_op_resend_preluminous",
        "pg_num",
        "pg_num_pending",
        "pg_placement_num",
        "last_pg_merge_meta",
    ] {
        pool.as_object_mut().expect("a pool").remove(moving);
    }
    // What `create` was given is kept in 32 bits, what `set` was given in 64.
    if let Some(ratio) = pool["options"]["target_size_ratio"].as_f64() {
        pool["options"]["target_size_ratio"] = json!(format!("{ratio:.6}"));
    }
    // A list of names whose order is Ceph's.
    let mut flags: Vec<&str> = pool["flags_names"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .collect();
    flags.retain(|flag| *flag != "creating");
    flags.sort_unstable();
    let flags = flags.join(",");
    pool["flags_names"] = json!(flags);
    pool.as_object_mut().expect("a pool").remove("flags");
    pool
}

async fn records(case: &Case, name: &str) -> Vec<CephRequest> {
    let mut requests = case.requests(name).await;
    requests.retain(|request| request.spec.operation == Operation::Correct);
    requests
}

/// Many fields changed at once are one correction, in one round.
#[tokio::test(flavor = "multi_thread")]
async fn many_fields_are_one_round() {
    let case = Case::shared("drifts").await;
    case.apply("open", OPEN).await;
    case.ready("open").await;
    let before = settled(case.ceph_pool("open").await.expect("the pool"));
    // Commands by hand come in one epoch or in two; looked at after the last, they are one difference.
    case.annotate("open", PAUSED, Some("true")).await;
    case.until_says("open", "Paused").await;
    case.hand_all(&[
        case.setting("open", "min_size", "3"),
        case.setting("open", "bulk", "0"),
        case.setting("open", "max_bytes", "5"),
        case.setting("open", "max_objects", "5"),
        case.setting("open", "noscrub", "false"),
        case.setting("open", "pg_num_max", "12"),
        metadata(&case, "open", "team", None),
    ])
    .await;
    case.seen().await;
    case.annotate("open", PAUSED, None).await;
    case.wait_for("all of it is back", AGAIN, async || {
        let pool = settled(case.ceph_pool("open").await.ok_or("no pool")?);
        holds(pool == before, &pool)
    })
    .await;
    case.until("open", "told of", |object| {
        let drift = object
            .status
            .as_ref()
            .and_then(|status| status.drift.as_ref());
        drift.is_some_and(|drift| drift.last_fields.len() == 7)
    })
    .await;
    case.ready("open").await;
    let requests = records(&case, "open").await;
    assert_eq!(requests.len(), 1);
    assert_eq!(
        rounds(&requests[0])
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [7],
        "{requests:#?}"
    );
}

/// Placement groups follow for a while, with much data for hours. What others change meanwhile is
/// put back and recorded, too: of a correction in its own record, of an update in another.
#[tokio::test(flavor = "multi_thread")]
async fn corrections_while_placement_groups_follow() {
    let case = Case::shared("following").await;
    let spec = |count: u8| {
        format!(
            "{{replicated: {{size: 2}}, placementGroups: {{autoscale: Disabled, count: {count}}}, \
             quota: {{maxObjects: 1000}}, applications: [{{name: rbd}}]}}"
        )
    };
    case.apply("a", &spec(16)).await;
    case.ready("a").await;
    // Merging goes one group at a time, some seconds each.
    case.apply("a", &spec(8)).await;
    case.ready("a").await;
    for correction in 1..=2 {
        case.set("a", "max_objects", "5").await;
        case.corrected("a", correction).await;
        case.ready("a").await;
    }
    let pool = case.ceph_pool("a").await.expect("the pool");
    assert!(
        pool["pg_num"].as_i64() > Some(8),
        "it was over too soon to show anything: {pool}"
    );
    assert_eq!(pool["quota_max_objects"], 1000);
    let complete = |request: &CephRequest| {
        request
            .status
            .as_ref()
            .is_some_and(|status| status.state == RequestState::Complete)
    };
    let requests = case
        .wait_for("the correction is complete", LIMIT, async || {
            let requests = case.requests("a").await;
            let done = requests.get(2).is_some_and(complete);
            holds(done, &requests).map(|()| requests)
        })
        .await;
    assert_eq!(
        operations(&requests),
        [Operation::Create, Operation::Update, Operation::Correct],
        "{requests:#?}"
    );
    assert!(!complete(&requests[1]), "{requests:#?}");
    assert_eq!(rounds(&requests[2]).len(), 2, "{requests:#?}");

    // By hand the other way: that correction is not complete before they are back, the next one is in its record.
    case.set("a", "pg_num", "12").await;
    case.until("a", "the number is put back", |object| {
        let drift = object
            .status
            .as_ref()
            .and_then(|status| status.drift.as_ref());
        drift.is_some_and(|drift| drift.last_fields == ["placementGroups.count"])
    })
    .await;
    case.ready("a").await;
    case.set("a", "max_objects", "5").await;
    case.corrected("a", 4).await;
    case.ready("a").await;
    let requests = case
        .wait_for("all is complete", LIMIT * 2, async || {
            let requests = case.requests("a").await;
            // The record of a request follows the pool's status.
            let written = requests.get(2).is_some_and(|last| rounds(last).len() == 4);
            holds(written && requests.iter().all(complete), &requests)?;
            Ok(requests)
        })
        .await;
    assert_eq!(requests.len(), 3, "{requests:#?}");
    // The update was not complete then, so what put its number back is its work, too.
    let pool = case.pool_name("a");
    let number = format!("ceph osd pool set {pool} pg_num 8");
    assert_eq!(
        rounds(&requests[1]),
        [[&number], [&number]],
        "{requests:#?}"
    );
    let lines: Vec<&str> = rounds(&requests[2]).into_iter().flatten().collect();
    let quota = format!("ceph osd pool set-quota {pool} max_objects 1000");
    assert_eq!(lines, [&quota, &quota, &number, &quota]);
}

/// Of a disabled application the keys and the mark (rule 4) are gone too. Monitors take keys only of what
/// is enabled already, so this is the one change that costs two rounds.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_application_is_enabled_again() {
    let case = Case::shared("disabled").await;
    case.apply(
        "a",
        "{replicated: {size: 2}, applications: [{name: rbd, metadata: {team: a}}]}",
    )
    .await;
    case.ready("a").await;
    let before = settled(case.ceph_pool("a").await.expect("the pool"));
    case.disable("a", "rbd").await;
    case.wait_for("it is enabled and marked again", AGAIN, async || {
        let pool = settled(case.ceph_pool("a").await.ok_or("no pool")?);
        holds(
            pool["application_metadata"] == before["application_metadata"],
            &pool,
        )
    })
    .await;
    case.corrected("a", 1).await;
    case.ready("a").await;
    let requests = records(&case, "a").await;
    assert_eq!(
        rounds(&requests[0])
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [1, 3],
        "{requests:#?}"
    );
}
