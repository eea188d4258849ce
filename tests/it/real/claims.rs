//! Who has a name, and what is corrected: claims of objects that come in each other's way, over renames and connections, and a
//! field that somebody else keeps changing beside others.

use std::sync::Arc;

use kube::Api;
use kube::api::{Patch, PatchParams};
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::json;

use super::steps::{delete, make_with};
use super::support::{Case, Ceph, LIMIT, World, condition, holds};

const PAUSED: &str = "poolwright.dev/paused";

/// A small pool of this name.
fn named(pool: &str, more: &str) -> String {
    format!(
        "{{poolName: {pool}, replicated: {{size: 2}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 2}}{more}}}"
    )
}

/// A name that an older object wishes for is not taken by a rename either, though no pool has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_does_not_take_an_older_wish() {
    let case = Case::shared("claims").await;
    let (wanted, own) = (case.pool_name("wanted"), case.pool_name("own"));
    make_with(&case, "old", &named(&wanted, ""), PAUSED, "true").await;
    case.a_second_after("old").await;
    case.apply("young", &named(&own, "")).await;
    case.ready("young").await;
    let before = case.its_pool("own").await;
    case.apply("young", &named(&wanted, "")).await;
    let message = case.stalled("young", "Conflict").await;
    let sentence = format!(
        "the older CephPool {}/old wishes for pool {wanted} of the same cluster, too",
        case.namespace
    );
    assert!(message.contains(&sentence), "{message}");
    case.looked("young").await;
    assert_eq!(case.its_pool("own").await, before);
    // The older one lets the name go.
    delete(&case, "old").await;
    case.ready("young").await;
    assert_eq!(case.its_pool("wanted").await["pool"], before["pool"]);
    assert_eq!(case.pool_names().await, [wanted]);
}

/// Two connections to one cluster, of which one cannot be reached: its objects still wish for what they wish for.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_over_a_connection_that_is_away() {
    let world = World::shared().await;
    world.connect("claims", &Ceph::shared(), json!({})).await;
    let case = Case::with_connection(world, "claims", "claims", Arc::new(Ceph::shared())).await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let monitors = case.cluster().monitors();
    let reach = async |monitors: &str| {
        let patch = json!({"spec": {"monitors": [monitors]}});
        connections
            .patch("claims", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("the connection is accepted");
    };
    // Nobody listens there.
    reach("127.0.0.1:9").await;
    case.wait_for("there is no session", LIMIT, async || {
        let found = connections.get("claims").await;
        let status = found.map_err(|error| error.to_string())?.status;
        let conditions = status.unwrap_or_default().conditions;
        let lost = conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "False");
        holds(lost, &conditions)
    })
    .await;
    let wanted = case.pool_name("wanted");
    case.apply("old", &named(&wanted, "")).await;
    case.a_second_after("old").await;
    let other = named(&wanted, ", connectionRef: {name: main}");
    case.apply("young", &other).await;
    let message = case.stalled("young", "Conflict").await;
    assert!(message.contains("/old wishes for pool"), "{message}");
    case.annotate(
        "young",
        "poolwright.dev/reconcile-requested-at",
        Some("now"),
    )
    .await;
    case.until("young", "looked at", |object| {
        let status = object.status.as_ref();
        status.is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some("now"))
    })
    .await;
    case.stalled("young", "Conflict").await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    reach(&monitors).await;
    case.ready("old").await;
    let message = case.stalled("young", "OwnedByAnother").await;
    assert!(message.contains("/old"), "{message}");
}

/// One field is fought over, and left alone for a while; what else is changed is put back all the same, and the condition
/// names the one.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_corrected_beside_a_contested_field() {
    let case = Case::shared("contested").await;
    let both = named(
        &case.pool_name("a"),
        ", quota: {maxObjects: 5, maxBytes: 1Gi}, flags: {noDelete: true}",
    );
    case.apply("a", &both).await;
    case.ready("a").await;
    for _ in 0..3 {
        case.set("a", "max_objects", "7").await;
        case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 5)
            .await;
        case.ready("a").await;
    }
    case.set("a", "max_objects", "7").await;
    let message = case.stalled("a", "Contested").await;
    assert!(message.contains("quota.maxObjects"), "{message}");
    for _ in 0..2 {
        case.set("a", "max_bytes", "77").await;
        case.set("a", "nodelete", "false").await;
        let pool = case
            .until_pool("a", "is corrected but for one", |pool| {
                let flags = pool["flags_names"].as_str().unwrap_or_default();
                pool["quota_max_bytes"] == 1 << 30 && flags.contains("nodelete")
            })
            .await;
        assert_eq!(pool["quota_max_objects"], 7);
        let object = case
            .until("a", "Contested", |object| {
                condition(object, "Stalled").is_some_and(|found| found.1 == "Contested")
            })
            .await;
        let (_, _, message) = condition(&object, "Stalled").expect("Stalled");
        assert!(message.contains("quota.maxObjects"), "{message}");
        assert!(!message.contains("quota.maxBytes"), "{message}");
    }
    // A person who wants it done now says so.
    case.looked("a").await;
    case.until_pool("a", "is as wished", |pool| pool["quota_max_objects"] == 5)
        .await;
    case.ready("a").await;
}
