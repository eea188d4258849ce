//! What a connection grants, and what is refused without a grant.

use serde_json::{Value, json};

use crate::real::steps::{PLAIN, own_connection, ready};
use crate::real::support::{LIMIT, holds};

/// Grants: which namespace, which pool names and which verbs; without one nothing is sent, and the message says what is
/// missing.
#[tokio::test(flavor = "multi_thread")]
async fn grants() {
    let case = own_connection("grants").await;
    let here = case.namespace.clone();
    let grant = |namespaces: Value, names: Value, allow: Value| json!([{"name": "g", "namespaces": namespaces, "poolNames": names, "allow": allow}]);
    let all = || json!({"all": true});
    let both = || json!(["Create", "Update"]);
    let refused = [
        (json!([]), "grants nothing to anybody"),
        (
            grant(json!({"names": ["another"]}), json!(["*"]), both()),
            "no grant covers namespace",
        ),
        (
            grant(
                json!({"selector": {"matchLabels": {"team": "b"}}}),
                json!(["*"]),
                both(),
            ),
            "no grant covers namespace",
        ),
        (
            grant(all(), json!(["other-*"]), both()),
            "covers the pool name",
        ),
        (
            grant(all(), json!([format!("{here}-?")]), both()),
            "covers the pool name",
        ),
        (
            grant(all(), json!(["*"]), json!(["Update"])),
            "no grant allows Create",
        ),
        (
            grant(all(), json!(["*"]), json!([])),
            "no grant allows Create",
        ),
    ];
    let name = "new";
    case.world
        .connect("grants", case.cluster(), json!({"grants": []}))
        .await;
    case.apply(name, PLAIN).await;
    for (grants, sentence) in refused {
        case.world
            .connect("grants", case.cluster(), json!({"grants": grants}))
            .await;
        case.wait_for(sentence, LIMIT, async || {
            let object = case.object(name).await;
            let (_, reason, message) = ready(&object);
            holds(
                reason == "NotGranted" && message.contains(sentence),
                &message,
            )
        })
        .await;
    }
    assert_eq!(case.sent().await, Vec::<Value>::new());

    // What matches lets it through: by a label of the namespace and a pattern of the name.
    let label = format!("team={here}");
    case.kubectl(&["label", "namespace", &here, &label]).await;
    let fits = grant(
        json!({"selector": {"matchLabels": {"team": here}}}),
        json!([format!("{here}-n?w")]),
        both(),
    );
    case.world
        .connect("grants", case.cluster(), json!({"grants": fits}))
        .await;
    case.ready(name).await;

    // Taken back during its life: nothing is changed any more, neither by the spec nor against drift.
    let sent = case.sent().await.len();
    let allow = async |grants: Value| {
        case.world
            .connect("grants", case.cluster(), json!({"grants": grants}))
            .await;
    };
    allow(json!([])).await;
    case.stalled(name, "NotGranted").await;
    // With any other grant it may be told that the pool is as it should be.
    allow(grant(all(), json!(["*"]), json!(["Create"]))).await;
    case.ready(name).await;
    case.set(name, "size", "2").await;
    case.apply(name, "{replicated: {size: 3}, applications: [{name: rbd}], quota: {maxObjects: 5}, placementGroups: {autoscale: Disabled, count: 4}}").await;
    case.stalled(name, "NotGranted").await;
    case.seen().await;
    case.stalled(name, "NotGranted").await;
    let pool = case.its_pool(name).await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [2, 0]);
    assert_eq!(case.sent().await.len(), sent);
    case.world
        .connect(
            "grants",
            case.cluster(),
            json!({"grants": grant(all(), json!(["*"]), both())}),
        )
        .await;
    case.ready(name).await;
    let pool = case.its_pool(name).await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [3, 5]);
}

/// A grant of Create alone is enough to make a pool, to its real name; changing it takes Update.
#[tokio::test(flavor = "multi_thread")]
async fn create_alone() {
    let case = own_connection("makers").await;
    let grants = json!([{"name": "g", "namespaces": {"all": true}, "allow": ["Create"]}]);
    case.world
        .connect("makers", case.cluster(), json!({"grants": grants}))
        .await;
    for name in ["a", "b", "c"] {
        case.apply(name, PLAIN).await;
    }
    for name in ["a", "b", "c"] {
        case.until_pool(name, "is there", |_| true).await;
    }
    let mut names = case.pool_names().await;
    names.sort();
    assert_eq!(
        names,
        ["a", "b", "c"].map(|name| case.pool_name(name)),
        "no private one is left"
    );
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 4}}").await;
    let message = case.stalled("a", "NotGranted").await;
    assert!(message.contains("no grant allows Update"), "{message}");
}

/// A grant by selector follows the namespace's labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_grants() {
    let case = own_connection("labels").await;
    let here = case.namespace.clone();
    let grants = json!([{"name": "g", "namespaces": {"selector": {"matchExpressions": [
        {"key": "team", "operator": "In", "values": [here]},
    ]}}}]);
    case.world
        .connect("labels", case.cluster(), json!({"grants": grants}))
        .await;
    case.apply("a", PLAIN).await;
    case.stalled("a", "NotGranted").await;
    case.kubectl(&["label", "namespace", &here, &format!("team={here}")])
        .await;
    case.ready("a").await;
}

/// A pool may come before its connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_comes_later() {
    let case = own_connection("early").await;
    case.apply("a", PLAIN).await;
    let message = case.says("a", "ConnectionNotFound").await;
    assert!(message.contains("early"), "{message}");
    case.world.connect("early", case.cluster(), json!({})).await;
    case.ready("a").await;
}

/// Sums over a grant: of two pools made at once one is too much, a lower limit takes nothing away, and a higher one lets
/// the other pool be made. A setting that can stop clients has to be named by the grant.
#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    let case = own_connection("limits").await;
    let allow = async |more: Value| {
        let mut grant =
            json!({"name": "team", "namespaces": {"all": true}, "allow": ["Create", "Update"]});
        for (key, value) in more.as_object().expect("fields") {
            grant[key] = value.clone();
        }
        case.world
            .connect("limits", case.cluster(), json!({"grants": [grant]}))
            .await;
    };
    let spec = |count: u32, more: &str| {
        format!(
            "{{replicated: {{size: 2}}, applications: [{{name: rbd}}], \
             placementGroups: {{autoscale: Disabled, count: {count}}}{more}}}"
        )
    };
    allow(json!({"limits": {"pools": 1, "placementGroups": 6, "quotaBytes": "10Gi"}})).await;
    case.apply("a", &spec(4, ", quota: {maxBytes: 4Gi}")).await;
    case.ready("a").await;
    case.apply("b", &spec(2, ", quota: {maxBytes: 6Gi}")).await;
    let message = case.stalled("b", "NotGranted").await;
    assert!(
        message.contains("the grant allows 1 pools in all; other pools have 1"),
        "{message}"
    );
    // Not even its private name.
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
    for (count, quota, sentence) in [
        (
            8,
            "4Gi",
            "allows 6 placement groups in all; other pools have 0, and this one asks for 8",
        ),
        (4, "11Gi", "bytes of quota in all"),
    ] {
        case.apply(
            "a",
            &spec(count, &format!(", quota: {{maxBytes: {quota}}}")),
        )
        .await;
        let message = case.stalled("a", "NotGranted").await;
        assert!(message.contains(sentence), "{message}");
    }
    let pool = case.its_pool("a").await;
    assert_eq!(
        (&pool["pg_num_target"], &pool["quota_max_bytes"]),
        (&json!(4), &json!(4_294_967_296_i64))
    );
    case.apply("a", &spec(4, ", quota: {maxBytes: 4Gi}")).await;
    case.ready("a").await;

    allow(json!({"limits": {"pools": 2, "placementGroups": 6, "quotaBytes": "10Gi"}})).await;
    case.ready("b").await;
    // A lower limit: what there is stays and is looked after.
    allow(json!({"limits": {"pools": 1, "placementGroups": 1, "quotaBytes": "1Gi"}})).await;
    case.set("a", "size", "3").await;
    case.until_pool("a", "is corrected", |pool| pool["size"] == 2)
        .await;
    case.ready("b").await;

    // Settings by name.
    case.apply(
        "b",
        &spec(
            2,
            ", quota: {maxBytes: 6Gi}, parameters: {fingerprint_algorithm: sha1}",
        ),
    )
    .await;
    let message = case.stalled("b", "NotGranted").await;
    assert!(message.contains("so a grant has to name it"), "{message}");
    allow(json!({"parameters": ["fingerprint_algorithm"]})).await;
    case.ready("b").await;
    let pool = case.its_pool("b").await;
    assert_eq!(pool["options"]["fingerprint_algorithm"], "sha1");
}
