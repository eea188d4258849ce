//! Safety rules 9, 11, 14, 15, 16 and 17, each beside what the naive commands do. (Rule 18, how many creates are in
//! flight, needs monitors that are slow in a known way: `monitor::throttle` and the flows on the simulated cluster.)

mod late_commands;
mod locks;
mod sizes;

use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::Value;

use super::steps::{RECONCILE, create, ready, status};
use super::support::{Case, LIMIT, holds};

/// Two numbers of a pool.
fn sizes(pool: &Value) -> (i64, i64) {
    (
        pool["size"].as_i64().expect("a size"),
        pool["min_size"].as_i64().expect("a min_size"),
    )
}

/// `osd pool set` of any pool.
fn set(pool: &str, variable: &str, value: &str) -> MonCommand {
    MonCommand::PoolSet {
        pool: PoolName::new(pool),
        variable: variable.to_owned(),
        value: value.to_owned(),
    }
}

/// The values that the controller has sent for a variable, in order.
async fn sent_values(case: &Case, variable: &str) -> Vec<String> {
    let sent = case.sent().await;
    let of_it = sent.iter().filter(|command| command["var"] == variable);
    of_it
        .map(|command| command["val"].as_str().expect("a value").to_owned())
        .collect()
}

/// Rule 11: a bound that excludes the present number of placement groups moves that first; with autoscale Enabled the
/// number is the autoscaler's.
#[tokio::test(flavor = "multi_thread")]
async fn placement_groups_and_their_bounds() {
    let case = Case::shared("pgs").await;
    // The harm: in the order of the manifest, Ceph refuses the bound.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    for (bound, value) in [("pg_num_min", "4"), ("pg_num_max", "1")] {
        let said = case
            .cluster()
            .try_ceph(&["osd", "pool", "set", &naive, bound, value])
            .await;
        assert!(!said.ok && said.err.contains("EINVAL"), "{said:?}");
    }

    let spec = |groups: &str| {
        format!(
            "{{replicated: {{size: 3}}, applications: [{{name: rbd}}], placementGroups: {{{groups}}}}}"
        )
    };
    let numbers = |pool: &Value| {
        let option = |name: &str| pool["options"][name].as_i64().unwrap_or(0);
        (
            pool["pg_num_target"].as_i64().unwrap_or(0),
            option("pg_num_min"),
            option("pg_num_max"),
        )
    };
    case.apply("a", &spec("autoscale: Disabled, count: 4"))
        .await;
    case.ready("a").await;
    for (groups, expected) in [
        ("autoscale: Disabled, count: 8, min: 8", (8, 8, 0)),
        ("autoscale: Disabled, count: 4, min: 2, max: 4", (4, 2, 4)),
        ("autoscale: Disabled, count: 8, min: 8, max: 8", (8, 8, 8)),
        ("autoscale: Disabled, count: 2, min: 1, max: 2", (2, 1, 2)),
        // Without a count, the bound alone moves it.
        ("autoscale: Disabled, min: 4", (4, 4, 0)),
        ("autoscale: Disabled, max: 2", (2, 0, 2)),
    ] {
        case.apply("a", &spec(groups)).await;
        case.ready("a").await;
        assert_eq!(numbers(&case.its_pool("a").await), expected, "{groups}");
    }

    // Autoscaled: the count is for the creation, and then not ours. (Numbers that the cluster's own
    // autoscaler leaves alone, should it come by: it wants 32, or `max`, and moves what is off by
    // more than a factor of three.)
    case.apply("auto", &spec("autoscale: Enabled, count: 32"))
        .await;
    case.ready("auto").await;
    assert_eq!(numbers(&case.its_pool("auto").await), (32, 0, 0));
    let before = sent_values(&case, "pg_num").await;
    case.set("auto", "pg_num", "16").await;
    let object = case.looked("auto").await;
    assert_eq!(ready(&object).0, "True", "{:?}", ready(&object));
    assert_eq!(sent_values(&case, "pg_num").await, before);
    // A bound that excludes what it is moves it there, once.
    case.apply("auto", &spec("autoscale: Enabled, max: 8"))
        .await;
    case.ready("auto").await;
    assert_eq!(numbers(&case.its_pool("auto").await), (8, 0, 8));
    let mut moved = before.clone();
    moved.push("8".to_owned());
    assert_eq!(sent_values(&case, "pg_num").await, moved);
}

/// Rule 15: a field that somebody undoes again and again is corrected three times, then both are told apart by the
/// condition, which names the field and what it is set to.
#[tokio::test(flavor = "multi_thread")]
async fn fights_end() {
    let case = Case::shared("fight").await;
    let spec = "{replicated: {size: 3}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 4}, quota: {maxObjects: 100}}";
    case.apply("a", spec).await;
    case.ready("a").await;
    let corrections = async || {
        let sent = case.sent().await;
        sent.iter()
            .filter(|command| command["field"] == "max_objects")
            .count()
            - 1
    };
    for round in 1..=3 {
        case.set("a", "max_objects", "7").await;
        case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 100)
            .await;
        assert_eq!(corrections().await, round);
    }
    case.set("a", "max_objects", "7").await;
    let message = case.stalled("a", "Contested").await;
    assert!(
        message.starts_with("somebody else keeps setting quota.maxObjects to 7; "),
        "{message}"
    );
    assert!(
        message.contains("take quota.maxObjects out of the manifest, or stop the other"),
        "{message}"
    );
    assert!(
        message.contains("it is corrected again after "),
        "{message}"
    );
    case.set("a", "max_objects", "8").await;
    case.wait_for("the message follows", LIMIT, async || {
        let object = case.object("a").await;
        holds(
            ready(&object).2.contains("quota.maxObjects to 8"),
            &ready(&object),
        )
    })
    .await;
    assert_eq!(corrections().await, 3);
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 8);
    let object = case.object("a").await;
    let drift = status(&object).drift.as_ref().expect("it is counted");
    assert_eq!(
        (drift.corrections, drift.last_fields.as_slice()),
        (3, ["quota.maxObjects".to_owned()].as_slice())
    );
    // Corrections share one request.
    let requests = case.requests("a").await;
    assert_eq!(requests.len(), 2, "{requests:#?}");

    // The other gives in.
    case.set("a", "max_objects", "100").await;
    case.ready("a").await;
    // Or a person decides: a changed manifest, or a wish for another look, is a new start.
    case.set("a", "max_objects", "7").await;
    case.stalled("a", "Contested").await;
    case.annotate("a", RECONCILE, Some("again")).await;
    case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 100)
        .await;
    case.ready("a").await;
}
