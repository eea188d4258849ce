//! What people do with objects during their life: pause, only look, ask again, change their mind, take fields out,
//! delete records and namespaces.

mod history;
mod observing;

use kube::ResourceExt;

use super::steps::{
    PAUSED, PLAIN, RECONCILE, SMALL, gone, has_flag, pending, ready, slow_case, status,
};
use super::support::{Case, LIMIT, condition, holds};

const FLUX: &str = "reconcile.fluxcd.io/requestedAt";

/// A pool with a quota.
fn with_quota(objects: u32) -> String {
    format!(
        "{{replicated: {{size: 2}}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: 2}}, quota: {{maxObjects: {objects}}}}}"
    )
}

/// Paused: nothing is sent, neither for the spec nor against drift; the status says so and what is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn pausing() {
    let case = Case::shared("pause").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.annotate("a", PAUSED, Some("true")).await;
    let object = case.until_says("a", "Paused").await;
    assert_eq!(ready(&object).0, "True", "what is known of it stays");
    let sent = case.sent().await.len();
    case.set("a", "size", "2").await;
    let changed = case.apply("a", "{replicated: {size: 3}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 4}, quota: {maxObjects: 5}}").await;
    let object = case
        .until("a", "what is waiting", |object| {
            ["size", "quota.maxObjects"]
                .iter()
                .all(|field| pending(object, field).is_some())
        })
        .await;
    let (_, reason, message) = ready(&object);
    assert_eq!(reason, "Paused");
    assert!(
        message.contains("nothing is sent; remove it to go on"),
        "{message}"
    );
    assert!(
        status(&object).observed_generation < changed.metadata.generation,
        "the new generation is not observed"
    );
    assert_eq!(case.sent().await.len(), sent);
    // A new object too.
    let mut manifest = case.manifest("b", PLAIN);
    manifest["metadata"]["annotations"] = serde_json::json!({PAUSED: "true"});
    let said = case
        .kubectl_with(&["apply", "-f", "-"], Some(&manifest.to_string()))
        .await;
    assert!(said.ok, "{said:?}");
    case.until_says("b", "Paused").await;
    case.seen().await;
    assert!(case.ceph_pool("b").await.is_none());

    case.annotate("a", PAUSED, None).await;
    // Anything but "true" does not pause.
    case.annotate("b", PAUSED, Some("no")).await;
    case.ready("a").await;
    case.ready("b").await;
    let pool = case.its_pool("a").await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [3, 5]);
}

/// Paused in the middle of a creation: it stops between two rounds, holds the object when that is deleted, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn pausing_in_the_middle() {
    let case = slow_case("middle").await;
    for name in ["a", "b"] {
        case.apply(name, SMALL).await;
    }
    for name in ["a", "b"] {
        case.begun(name).await;
        case.annotate(name, PAUSED, Some("true")).await;
    }
    for name in ["a", "b"] {
        case.until_says(name, "Paused").await;
    }
    let private = |names: &[String]| {
        names
            .iter()
            .filter(|name| name.contains(".poolwright-new-"))
            .count()
    };
    case.wait_for("both are there, under private names", LIMIT, async || {
        let names = case.pool_names().await;
        holds(private(&names) == 2 && names.len() == 2, &names)
    })
    .await;
    case.begin_deletion("b").await;
    let object = case
        .until("b", "DeletionBlocked", |object| {
            condition(object, "DeletionBlocked").is_some()
        })
        .await;
    let message = condition(&object, "DeletionBlocked").expect("just seen").2;
    assert!(
        message.starts_with("paused by the annotation poolwright.dev/paused"),
        "{message}"
    );
    let sent = case.sent().await.len();
    case.seen().await;
    assert_eq!(private(&case.pool_names().await), 2);
    assert_eq!(case.sent().await.len(), sent);

    for name in ["a", "b"] {
        case.annotate(name, PAUSED, None).await;
    }
    case.ready("a").await;
    gone(&case, "b", LIMIT).await;
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
}

/// A wish for another look is echoed, in our words and in Flux's, and costs nothing when all is well.
#[tokio::test(flavor = "multi_thread")]
async fn asking_again() {
    let case = Case::shared("again").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let sent = case.sent().await.len();
    for (annotation, token) in [
        (FLUX, "2026-11-23T05:00:00Z"),
        (FLUX, "2026-11-23T05:00:01Z"),
        (RECONCILE, "mine"),
    ] {
        case.annotate("a", annotation, Some(token)).await;
        case.until("a", "echoes it", |object| {
            let echoed = object
                .status
                .as_ref()
                .and_then(|status| status.last_handled_reconcile_at.as_deref());
            echoed == Some(token)
        })
        .await;
    }
    let object = case.ready("a").await;
    assert_eq!(case.sent().await.len(), sent);
    assert_eq!(case.requests("a").await.len(), 1);
    // Nothing is written for it twice.
    case.seen().await;
    assert_eq!(
        case.object("a").await.resource_version(),
        object.resource_version()
    );
}

/// Fields that leave the manifest: unset where Ceph has an unset, else released; an application stays, and is told.
#[tokio::test(flavor = "multi_thread")]
async fn taking_fields_out() {
    let case = Case::shared("fields").await;
    case.apply("a", "{replicated: {size: 2}, minSize: 2, quota: {maxObjects: 5, maxBytes: 1Gi}, flags: {noScrub: true}, \
        placementGroups: {autoscale: Disabled, count: 4, min: 2, targetSizeRatio: '0.5'}, \
        applications: [{name: rbd, metadata: {team: x, kept: y}}, {name: rgw}]}").await;
    case.ready("a").await;
    // As most people do it; of a server-side apply the API server makes `replicated: null` here, and refuses that.
    let manifest = case.manifest(
        "a",
        "{replicated: {}, applications: [{name: rbd, metadata: {kept: y}}]}",
    );
    let said = case
        .kubectl_with(&["replace", "-f", "-"], Some(&manifest.to_string()))
        .await;
    assert!(said.ok, "{said:?}");
    let object = case.ready("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        [&pool["quota_max_objects"], &pool["quota_max_bytes"]],
        [0, 0]
    );
    assert!(!has_flag(&pool, "noscrub"), "{pool}");
    for option in ["pg_num_min", "target_size_ratio"] {
        assert!(pool["options"].get(option).is_none(), "{option}: {pool}");
    }
    let keys = &pool["application_metadata"]["rbd"];
    assert_eq!((keys["kept"].as_str(), keys.get("team")), (Some("y"), None));
    assert!(keys["poolwright"].is_string(), "the mark stays");
    // Released: as they were, and no longer looked after.
    assert_eq!(
        [&pool["size"], &pool["min_size"], &pool["pg_num_target"]],
        [2, 2, 4]
    );
    assert_eq!(pool["pg_autoscale_mode"], "off");
    let message = ready(&object).2;
    assert!(
        message.contains("application rgw left the manifest and stays enabled"),
        "{message}"
    );
    assert!(
        message.contains(&format!(
            "ceph osd pool application disable {} rgw",
            case.pool_name("a")
        )),
        "{message}"
    );
    case.set("a", "size", "3").await;
    case.set("a", "max_objects", "9").await;
    case.looked("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [3, 9]);
    // As the message says; then there is nothing to tell.
    case.disable("a", "rgw").await;
    case.until("a", "says nothing more of it", |object| {
        condition(object, "Ready")
            .is_some_and(|ready| ready.2 == format!("pool {} is as declared", case.pool_name("a")))
    })
    .await;
}

/// A namespace that is deleted goes: its published pools stay in Ceph with their marks, a creation under way is undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_deleted() {
    let case = slow_case("space").await;
    case.apply("a", SMALL).await;
    case.ready("a").await;
    let before = case.made("a").await;
    case.apply("b", SMALL).await;
    case.begun("b").await;
    case.delete_namespace().await;
    let pool = case.its_pool("a").await;
    assert_eq!(pool["application_metadata"], before["application_metadata"]);
    let names = case.pool_names().await;
    assert!(
        !names.iter().any(|name| name.contains(".poolwright-")),
        "{names:?}"
    );
}
