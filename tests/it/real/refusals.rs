//! Valid, and not possible: what is refused, by whom, with which words, and that nothing else happens.

mod grants;

use std::time::Duration;

use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};

use super::steps::{
    PLAIN, RECONCILE, enable, gone, has_flag, own_connection, pending, status, tag,
};
use super::support::{Case, LIMIT, holds};

/// "Bad input": what Ceph refuses stands at its field with Ceph's own words and what to do; the rest is applied; and it
/// is not sent again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_ceph_refuses() {
    let case = Case::shared("limits").await;
    // At creation there is one command for it.
    case.apply("new", "{replicated: {size: 3}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 65536}}").await;
    let message = case.stalled("new", "LimitReached").await;
    let words = "65536 size 3 would mean";
    assert!(
        message.starts_with("Ceph refused to create the pool: "),
        "{message}"
    );
    assert!(
        message.contains(words) && message.contains("mon_max_pg_per_osd"),
        "{message}"
    );
    assert!(message.contains("(code -34)"), "{message}");
    assert!(
        message.ends_with(
            "; ask for less (placementGroups.count or size), raise the limit with `ceph config set global \
             mon_max_pg_per_osd N`, or add OSDs"
        ),
        "{message}"
    );
    let object = case.object("new").await;
    let change = pending(&object, "poolName").expect("the creation is pending");
    assert!(
        change
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains(words)),
        "{change:?}"
    );
    assert!(
        change
            .command
            .as_ref()
            .is_some_and(|command| command.starts_with("ceph osd pool create ")),
        "{change:?}"
    );
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    let failed = case
        .requests("new")
        .await
        .pop()
        .expect("a request")
        .status
        .expect("a status");
    assert!(
        failed
            .error
            .as_ref()
            .is_some_and(|error| error.contains(words)),
        "{failed:?}"
    );

    // Nothing of it can come late: the refusal was an answer.
    case.begin_deletion("new").await;
    gone(&case, "new", Duration::from_secs(15)).await;

    // Of several fields, one.
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    for application in ["b", "c", "d"] {
        case.hand(&enable(&case.pool_name("a"), application)).await;
    }
    let spec = "{replicated: {size: 2}, applications: [{name: rbd, metadata: {team: x}}, {name: fifth}], quota: {maxObjects: 7}, \
        placementGroups: {autoscale: Disabled, count: 65536}}";
    case.apply("a", spec).await;
    let message = case.stalled("a", "LimitReached").await;
    assert!(
        message.contains("placementGroups.count: Ceph refused 65536: "),
        "{message}"
    );
    assert!(
        message.contains("applications[fifth]: Ceph refused enabled: "),
        "{message}"
    );
    let object = case.object("a").await;
    for (field, words) in [
        ("placementGroups.count", "would mean"),
        ("applications[fifth]", "too many enabled applications"),
    ] {
        let change = pending(&object, field).unwrap_or_else(|| panic!("{field} is pending"));
        let reason = change.reason.as_deref().unwrap_or_default();
        assert!(
            reason.starts_with("Ceph refused it: ") && reason.contains(words),
            "{change:?}"
        );
    }
    let pool = case.its_pool("a").await;
    assert_eq!(
        [&pool["size"], &pool["min_size"], &pool["quota_max_objects"]],
        [2, 2, 7]
    );
    assert_eq!(pool["application_metadata"]["rbd"]["team"], "x");
    assert_eq!(pool["pg_num_target"], 4);

    // Nothing is sent again for another look, until something changes.
    let sent = case.sent().await.len();
    case.set("a", "noscrub", "true").await;
    case.until_pool("a", "has the flag", |pool| has_flag(pool, "noscrub"))
        .await;
    case.seen().await;
    assert_eq!(case.sent().await.len(), sent);
    // A person may ask for another try: each is sent once more.
    case.looked("a").await;
    case.stalled("a", "LimitReached").await;
    case.wait_for("both were tried once more", LIMIT, async || {
        let now = case.sent().await.len();
        holds(now == sent + 2, &(sent, now))
    })
    .await;
    let retry = case.requests("a").await;
    assert!(
        retry.iter().any(|request| request.spec.retry_of.is_some()),
        "{retry:#?}"
    );

    // And when the fields are taken back, all is well.
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd, metadata: {team: x}}], quota: {maxObjects: 7}, \
        placementGroups: {autoscale: Disabled, count: 4}}").await;
    let object = case.ready("a").await;
    assert_eq!(status(&object).pending, []);
}

/// What Ceph refused before does not hide what is worse now.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_refusal_hides_nothing() {
    let case = Case::shared("worse").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.apply("a", "{replicated: {size: 3}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 65536}}").await;
    case.stalled("a", "LimitReached").await;
    case.hand(&super::steps::remove(&case.pool_name("a"))).await;
    case.stalled("a", "PoolMissing").await;
    case.hand(&super::steps::create(&case.pool_name("a"))).await;
    case.stalled("a", "PoolReplaced").await;
}

/// A key that may not do everything: the missing capability is named, the other fields are applied, and when it has it
/// the rest follows.
#[tokio::test(flavor = "multi_thread")]
async fn missing_capabilities() {
    let case = own_connection("caps").await;
    let caps: Vec<&str> = super::support::CAPS
        .split(", ")
        .filter(|cap| !cap.contains("set-quota"))
        .collect();
    let key = case
        .cluster()
        .user("poolwright-few", &caps.join(", "))
        .await;
    case.world.secret(&case.client, "ceph-few", &key).await;
    let more = json!({"user": "poolwright-few", "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-few"}});
    case.world.connect("caps", case.cluster(), more).await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}], quota: {maxObjects: 7}, placementGroups: {autoscale: Disabled, count: 4}}").await;
    let message = case.stalled("a", "PermissionDenied").await;
    assert!(
        message.starts_with("quota.maxObjects: Ceph refused 7: "),
        "{message}"
    );
    assert!(message.contains("(code -13)"), "{message}");
    assert!(
        message.contains("allow command \"osd pool set-quota\""),
        "{message}"
    );
    assert_eq!(case.its_pool("a").await["size"], 2);
    let object = case.object("a").await;
    let fields: Vec<&str> = status(&object)
        .pending
        .iter()
        .map(|change| change.field.as_str())
        .collect();
    assert_eq!(fields, ["quota.maxObjects"]);

    // As the message says.
    case.ceph(&[
        "auth",
        "caps",
        "client.poolwright-few",
        "mon",
        super::support::CAPS,
    ])
    .await;
    case.annotate("a", RECONCILE, Some("allowed")).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 7);
}

/// Rule 9: one copy, or writes acknowledged by one, are refused at creation and later; Ceph itself takes them.
#[tokio::test(flavor = "multi_thread")]
async fn unsafe_sizes() {
    let case = Case::shared("unsafe").await;
    // The harm: the monitors make such a pool, and lower min_size, without a word.
    let naive = case.pool_name("naive");
    case.ceph(&[
        "osd",
        "pool",
        "create",
        &naive,
        "2",
        "2",
        "replicated",
        "--size",
        "1",
        "--autoscale-mode",
        "off",
    ])
    .await;
    let pool = case.pool_called(&naive).await.expect("it is made");
    assert_eq!([&pool["size"], &pool["min_size"]], [1, 1]);

    let table = [
        (
            "one",
            "{replicated: {size: 1}, applications: [{name: rbd}]}",
            "size: a pool of size 1 loses data",
        ),
        (
            "two-one",
            "{replicated: {size: 2}, minSize: 1, applications: [{name: rbd}]}",
            "minSize 1 acknowledges writes that only one OSD holds",
        ),
        (
            "three-one",
            "{replicated: {size: 3}, minSize: 1, applications: [{name: rbd}]}",
            "not set on a pool of size 3",
        ),
        (
            "default-one",
            "{replicated: {}, minSize: 1, applications: [{name: rbd}]}",
            "minSize 1 acknowledges",
        ),
    ];
    for (name, spec, _) in table {
        case.apply(name, spec).await;
    }
    for (name, _, sentence) in table {
        let message = case.stalled(name, "Unsafe").await;
        assert!(message.contains(sentence), "{message}");
        let way = format!(
            "or confirm it: `kubectl -n {} annotate cephpool {name} poolwright.dev/confirm=",
            case.namespace
        );
        assert!(message.contains(&way), "{message}");
        assert!(case.ceph_pool(name).await.is_none());
    }
    assert_eq!(case.sent().await, Vec::<Value>::new());

    // The same of a pool that is there: it stays as it is.
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    for spec in [table[0].1, table[1].1, table[2].1] {
        case.apply("a", spec).await;
        case.stalled("a", "Unsafe").await;
        case.looked("a").await;
        assert_eq!(case.its_pool("a").await, before, "{spec}");
    }
    assert_eq!(case.sent().await.len(), sent);
}

/// Rule 14, the other half: keys that were written by hand and that could not be declared are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_are_left_alone() {
    let case = Case::shared("keys").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let pool = case.pool_name("a");
    case.hand_all(&[
        tag(&pool, "their key", "their value"),
        tag(&pool, "theirs", "1"),
    ])
    .await;
    case.hand(&MonCommand::ApplicationEnable {
        pool: PoolName::new(&*pool),
        application: "other".to_owned(),
        confirmed: true,
    })
    .await;
    case.looked("a").await;
    case.ready("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        pool["application_metadata"]["rbd"]["their key"],
        "their value"
    );
    assert_eq!(pool["application_metadata"]["rbd"]["theirs"], "1");
    assert_eq!(pool["application_metadata"]["other"], json!({}));
}
