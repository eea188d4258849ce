//! Requests that are asked for by their ID, as the REST server asks: each comes to its end, whatever becomes of the change.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use poolwright::api::v1alpha1::{
    ANNOTATION_DELETION_REQUEST_ID, ANNOTATION_REQUEST_ID, CephPool, CephRequest, LABEL_ORIGIN,
    Operation, Outcome,
};
use serde_json::{Value, json};

use super::steps::{PLAIN, SMALL};
use super::support::{Case, LIMIT, Own, World, apply, holds, rounds};

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn quota(spec: &str, quota: &str) -> String {
    spec.replacen('{', &format!("{{quota: {quota}, "), 1)
}

/// Applies a manifest with the ID in an annotation: what the REST server does first.
async fn ask(case: &Case, name: &str, spec: &str, annotation: &str, id: &str) -> CephPool {
    let mut object = case.manifest(name, spec);
    object["metadata"]["annotations"] = json!({annotation: id});
    apply(&case.pools(), name, &object).await.expect("accepted")
}

fn requests(case: &Case) -> Api<CephRequest> {
    Api::namespaced(case.client.clone(), &case.namespace)
}

/// The record, as the REST server makes it second.
async fn record(
    case: &Case,
    pool: &CephPool,
    id: &str,
    operation: &str,
    desired: Value,
) -> Result<CephRequest, kube::Error> {
    let fields: Vec<_> = desired
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, _)| field.clone())
        .collect();
    let object = serde_json::from_value(json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest",
        "metadata": {"name": id, "labels": {
            LABEL_ORIGIN: "rest", "poolwright.dev/pool-uid": pool.uid()}},
        "spec": {
            "poolRef": {"name": pool.name_any(), "uid": pool.uid(), "generation": pool.metadata.generation},
            "connection": case.connection(), "operation": operation, "requestedBy": "alice",
            "changedFields": fields, "desired": desired,
        },
    }))
    .expect("a CephRequest");
    requests(case).create(&PostParams::default(), &object).await
}

/// Waits until a request has ended.
async fn ended(case: &Case, id: &str) -> CephRequest {
    case.wait_for(&format!("request {id} ends"), LIMIT, async || {
        let found = requests(case)
            .get_opt(id)
            .await
            .map_err(|error| error.to_string())?;
        let found = found.ok_or("no record")?;
        match found.status.as_ref().and_then(|status| status.outcome) {
            Some(_) => Ok(found),
            None => Err(format!("{found:#?}")),
        }
    })
    .await
}

fn outcome(request: &CephRequest) -> (Option<Outcome>, String) {
    let status = request.status.clone().unwrap_or_default();
    (status.outcome, status.error.unwrap_or_default())
}

/// The annotation alone is enough: who asked may have been ended before the record was made. The ID is that of the first
/// generation that has it, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_annotation() {
    let case = Case::shared("asked").await;
    let create = id();
    ask(&case, "a", PLAIN, ANNOTATION_REQUEST_ID, &create).await;
    let object = case.ready("a").await;
    let status = object.status.expect("a status");
    assert_eq!(status.last_handled_request_id.as_ref(), Some(&create));
    assert_eq!(status.request_id.as_ref(), Some(&create));
    let made = ended(&case, &create).await;
    assert_eq!(outcome(&made), (Some(Outcome::Succeeded), String::new()));
    assert_eq!(
        (made.spec.operation, rounds(&made).len()),
        (Operation::Create, 3)
    );

    // In sync already: done at once, with no command.
    let again = id();
    ask(&case, "a", PLAIN, ANNOTATION_REQUEST_ID, &again).await;
    let done = ended(&case, &again).await;
    assert_eq!(outcome(&done), (Some(Outcome::Succeeded), String::new()));
    assert!(rounds(&done).is_empty(), "{done:#?}");

    // A change by somebody else leaves the annotation where it is, and has an ID of its own.
    let object = case.manifest("a", &quota(PLAIN, "{maxObjects: 7}"));
    let patch = json!({"spec": object["spec"]});
    case.pools()
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("accepted");
    let status = case.ready("a").await.status.expect("a status");
    assert_ne!(status.request_id.as_ref(), Some(&again));
    // Nor is one given twice, when it comes back later.
    ask(
        &case,
        "a",
        &quota(PLAIN, "{maxObjects: 8}"),
        ANNOTATION_REQUEST_ID,
        &create,
    )
    .await;
    let status = case.ready("a").await.status.expect("a status");
    assert_ne!(status.request_id.as_ref(), Some(&create));
    assert_eq!(rounds(&ended(&case, &create).await), rounds(&made));
    assert_eq!(case.requests("a").await.len(), 4);
}

/// What is no ID, or another pool's, is not taken, and that is told.
#[tokio::test(flavor = "multi_thread")]
async fn not_an_id() {
    let case = Case::shared("noid").await;
    let first = id();
    ask(&case, "a", PLAIN, ANNOTATION_REQUEST_ID, &first).await;
    case.ready("a").await;
    ask(&case, "b", PLAIN, ANNOTATION_REQUEST_ID, &first).await;
    let status = case.ready("b").await.status.expect("a status");
    assert_ne!(status.request_id.as_ref(), Some(&first));
    ask(&case, "a", PLAIN, ANNOTATION_REQUEST_ID, "not-a-uuid").await;
    for (name, words) in [
        ("b", "is the request of another object"),
        ("a", "has to be a UUID"),
    ] {
        case.wait_for(words, LIMIT, async || {
            let args = [
                "get",
                "events",
                "--field-selector",
                &format!("involvedObject.name={name}"),
                "-o",
                "json",
            ];
            let said = case.kubectl(&args).await;
            holds(
                said.contains("AnnotationIgnored") && said.contains(words),
                &said,
            )
        })
        .await;
    }
}

/// Changes that came faster than they were looked at: each has its end, and the last one of a field wins.
#[tokio::test(flavor = "multi_thread")]
async fn overtaken() {
    let world = World::own(Own::default()).await;
    let case = Case::new(world, "overtaken").await;
    case.apply("a", SMALL).await;
    case.ready("a").await;
    case.world.kill_controller();
    let (kept, lost, last) = (id(), id(), id());
    let objects = ask(
        &case,
        "a",
        &quota(SMALL, "{maxObjects: 7}"),
        ANNOTATION_REQUEST_ID,
        &kept,
    )
    .await;
    record(
        &case,
        &objects,
        &kept,
        "Update",
        json!({"quota.maxObjects": "7"}),
    )
    .await
    .expect("a record");
    let first = ask(
        &case,
        "a",
        &quota(SMALL, "{maxObjects: 7, maxBytes: 1Mi}"),
        ANNOTATION_REQUEST_ID,
        &lost,
    )
    .await;
    record(
        &case,
        &first,
        &lost,
        "Update",
        json!({"quota.maxBytes": "1048576"}),
    )
    .await
    .expect("a record");
    let second = ask(
        &case,
        "a",
        &quota(SMALL, "{maxObjects: 7, maxBytes: 2Mi}"),
        ANNOTATION_REQUEST_ID,
        &last,
    )
    .await;
    record(
        &case,
        &second,
        &last,
        "Update",
        json!({"quota.maxBytes": "2097152"}),
    )
    .await
    .expect("a record");
    case.world.start_controller().await;
    assert_eq!(
        outcome(&ended(&case, &last).await).0,
        Some(Outcome::Succeeded)
    );
    let ended_well = ended(&case, &kept).await;
    assert_eq!(
        outcome(&ended_well),
        (Some(Outcome::Succeeded), String::new()),
        "{ended_well:#?}"
    );
    let (overtaken, error) = outcome(&ended(&case, &lost).await);
    assert_eq!(overtaken, Some(Outcome::Superseded));
    assert!(
        error.contains(&last) || error.contains("generation"),
        "{error}"
    );

    // The same, told by the watch: the annotation of the first is never seen.
    let (seen, late) = (id(), id());
    let changed = ask(
        &case,
        "a",
        &quota(SMALL, "{maxObjects: 9}"),
        ANNOTATION_REQUEST_ID,
        &late,
    )
    .await;
    case.ready("a").await;
    let mut before = changed.clone();
    before.metadata.generation = changed.metadata.generation.map(|generation| generation - 1);
    record(
        &case,
        &before,
        &seen,
        "Update",
        json!({"quota.maxObjects": "9"}),
    )
    .await
    .expect("a record");
    assert_eq!(
        outcome(&ended(&case, &seen).await).0,
        Some(Outcome::Succeeded)
    );

    // Of an object that is gone.
    case.world.kill_controller();
    let gone = id();
    case.pools()
        .delete("a", &DeleteParams::default())
        .await
        .expect("deleted");
    record(&case, &changed, &gone, "Update", json!({}))
        .await
        .expect("a record");
    case.world.start_controller().await;
    let (failed, error) = outcome(&ended(&case, &gone).await);
    assert_eq!(
        (failed, error.as_str()),
        (Some(Outcome::Failed), "the CephPool is gone")
    );
    let gone = id();
    record(&case, &changed, &gone, "Update", json!({}))
        .await
        .expect("a record");
    assert_eq!(outcome(&ended(&case, &gone).await).0, Some(Outcome::Failed));
}

/// What cannot be done is told by the request that asked for it, also where nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn not_done() {
    let case = Case::shared("notdone").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let unsafe_size = id();
    ask(
        &case,
        "a",
        &PLAIN.replace("size: 3", "size: 1"),
        ANNOTATION_REQUEST_ID,
        &unsafe_size,
    )
    .await;
    let (failed, error) = outcome(&ended(&case, &unsafe_size).await);
    assert!(
        failed == Some(Outcome::Failed) && error.contains("poolwright.dev/confirm"),
        "{error}"
    );
    let paused = id();
    case.annotate("a", super::steps::PAUSED, Some("true")).await;
    ask(
        &case,
        "a",
        &quota(PLAIN, "{maxObjects: 7}"),
        ANNOTATION_REQUEST_ID,
        &paused,
    )
    .await;
    let (failed, error) = outcome(&ended(&case, &paused).await);
    assert!(
        failed == Some(Outcome::Failed) && error.contains("paused"),
        "{error}"
    );
    let unknown = id();
    let object = PLAIN.replacen('{', "{connectionRef: {name: nowhere}, ", 1);
    ask(&case, "b", &object, ANNOTATION_REQUEST_ID, &unknown).await;
    let (failed, error) = outcome(&ended(&case, &unknown).await);
    assert!(
        failed == Some(Outcome::Failed) && error.contains("nowhere"),
        "{error}"
    );
}

/// A deletion has the ID that was asked for, also when the controller is ended meanwhile; and not before it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion() {
    let world = World::own(Own {
        connection: json!({"grants": [{"name": "all", "namespaces": {"all": true},
            "allow": ["Create", "Update", "Adopt", "Rename", "Delete"]}]}),
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "askdel").await;
    let caps = [
        "auth",
        "caps",
        "client.poolwright-main",
        "mon",
        "allow *",
        "osd",
        "allow r",
    ];
    case.world.ceph().ceph(&caps).await;
    let spec = SMALL.replacen('{', "{deletionPolicy: Delete, ", 1);
    case.apply("a", &spec).await;
    case.ready("a").await;
    let deletion = id();
    let object = ask(&case, "a", &spec, ANNOTATION_DELETION_REQUEST_ID, &deletion).await;
    case.looked("a").await;
    assert!(
        requests(&case)
            .get_opt(&deletion)
            .await
            .expect("an answer")
            .is_none()
    );
    case.world.kill_controller();
    record(
        &case,
        &object,
        &deletion,
        "Delete",
        json!({"pool": "absent"}),
    )
    .await
    .expect("a record");
    case.pools()
        .delete("a", &DeleteParams::default())
        .await
        .expect("deleted");
    case.world.start_controller().await;
    let done = ended(&case, &deletion).await;
    assert_eq!(
        outcome(&done),
        (Some(Outcome::Succeeded), String::new()),
        "{done:#?}"
    );
    assert_eq!(rounds(&done).len(), 2, "{done:#?}");
    assert!(case.ceph_pool("a").await.is_none());
    let all = case.requests("a").await;
    let deletions = all
        .iter()
        .filter(|request| request.spec.operation == Operation::Delete);
    assert_eq!(deletions.count(), 1, "{all:#?}");
}
