//! Two control planes with one Ceph cluster: a pool has one owner, and who lost it stops.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::steps::{
    ANNOTATION, PLAIN, annotation, delete, make_annotated, marks, ready, status, token_in,
};
use super::support::{Case, Ceph, LIMIT, Own, World, holds, install_crds};

/// A second control plane with a controller of its own, on the cluster that all share.
async fn another_plane(name: &str, args: &[&str]) -> Case {
    let world = World::own(Own {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Own::default()
    })
    .await;
    let ceph = Arc::new(Ceph::shared());
    world.connect("theirs", &ceph, json!({})).await;
    Case::with_connection(world, name, "theirs", ceph).await
}

/// A pool changes hands between two control planes: who lost it stops, says whose it is, and may take it back.
#[tokio::test(flavor = "multi_thread")]
async fn from_one_control_plane_to_another() {
    let here = Case::shared("loser").await;
    let there = another_plane("winner", &[]).await;
    let pool = here.pool_name("a");
    here.apply("a", PLAIN).await;
    here.ready("a").await;
    let theirs = format!(
        "{{poolName: {pool}, adoptionPolicy: IfUnowned, replicated: {{size: 3}}, applications: [{{name: rbd}}], \
         quota: {{maxObjects: 5}}}}"
    );
    there.seen().await;
    there.apply("b", &theirs).await;
    let message = there.stalled("b", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/a,", here.namespace)),
        "{message}"
    );
    assert_eq!(here.sent_by("poolwright-theirs").await, Vec::<Value>::new());
    let token = there.as_told(&message).await;
    there.ready("b").await;
    let message = here.stalled("a", "OwnedByAnother").await;
    let owner = format!("the mark of {}/b,", there.namespace);
    assert!(message.contains(&owner), "{message}");

    // The former owner sends nothing more, whatever its manifest says and others do.
    let sent = here.sent_by("poolwright-main").await.len();
    let changed = PLAIN.replace("{replicated", "{quota: {maxObjects: 9}, replicated");
    here.apply("a", &changed).await;
    here.stalled("a", "OwnedByAnother").await;
    here.set("a", "max_objects", "6").await;
    here.until_pool("a", "is corrected by its owner", |pool| {
        pool["quota_max_objects"] == 5
    })
    .await;
    here.looked("a").await;
    assert_eq!(here.sent_by("poolwright-main").await.len(), sent);

    // And back.
    let changed = changed.replace("{quota", "{adoptionPolicy: IfUnowned, quota");
    here.apply("a", &changed).await;
    let message = here.stalled("a", "OwnedByAnother").await;
    here.as_told(&message).await;
    here.ready("a").await;
    let message = there.stalled("b", "OwnedByAnother").await;
    assert_ne!(
        token_in(&message),
        token,
        "that word was for the other time"
    );
    here.until_pool("a", "is as its owner says", |pool| {
        pool["quota_max_objects"] == 9
    })
    .await;
    here.ready("a").await;
}

/// A copied control plane: the same instance, the same object. With the same annotation both are the owner; under
/// another claim one of them is not, and a person can say which.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_control_plane() {
    let here = Case::shared("copied").await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(here.client.clone());
    let system = namespaces.get("kube-system").await.expect("it is there");
    let instance = system.uid().expect("a uid");
    let mut there = another_plane("copy", &["--instance-id", &instance]).await;
    there.world.namespace(&there.client, &here.namespace).await;
    there.namespace.clone_from(&here.namespace);
    here.apply("a", PLAIN).await;
    here.ready("a").await;
    let first = here
        .until("a", "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    let (before, sent) = (here.its_pool("a").await, here.sent().await.len());
    make_annotated(&there, "a", PLAIN, &annotation(&first)).await;
    let copy = there.ready("a").await;
    assert_eq!(status(&copy).pool_id, status(&first).pool_id);
    assert_eq!(here.its_pool("a").await, before);
    assert_eq!(here.sent().await.len(), sent, "neither has anything to do");

    // Another claim is another owner, though the name is the same.
    delete(&there, "a").await;
    let identity = annotation(&first);
    let wrong = format!("{}/00000000", identity.rsplit_once('/').expect("a claim").0);
    make_annotated(&there, "a", PLAIN, &wrong).await;
    let message = there.stalled("a", "OwnedByAnother").await;
    assert!(
        message.contains("a copy of this control plane, or a second controller, has taken it over"),
        "{message}"
    );
    assert_eq!(here.its_pool("a").await, before);
    there.as_told(&message).await;
    there.ready("a").await;
    // Taking it over is a new claim: neither the first one, nor the one that somebody wrote into an annotation.
    let theirs = annotation(&there.object("a").await);
    let claim = theirs.rsplit_once('/').expect("a claim").1;
    assert!(
        ![&identity, &wrong]
            .iter()
            .any(|known| known.ends_with(claim)),
        "{theirs}"
    );
    let message = here.stalled("a", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("under another claim ({claim})")),
        "{message}"
    );
    let sent = here.sent_by("poolwright-main").await.len();
    here.set("a", "size", "2").await;
    here.until_pool("a", "is corrected by its owner", |pool| pool["size"] == 3)
        .await;
    here.looked("a").await;
    assert_eq!(here.sent_by("poolwright-main").await.len(), sent);
    assert_eq!(ready(&here.object("a").await).1, "OwnedByAnother");
    // As the message says.
    here.as_told(&message).await;
    here.ready("a").await;
    there.stalled("a", "OwnedByAnother").await;
    let mark = marks(&here.its_pool("a").await).0.expect("a mark");
    let mine = annotation(&here.object("a").await);
    assert!(
        mine.ends_with(mark.split('/').nth(1).expect("a claim")),
        "{mine}, {mark}"
    );
}

/// The kind itself is deleted, with all objects, and made again: the pools stay, and each object that is applied again
/// has its own, without a command.
#[tokio::test(flavor = "multi_thread")]
async fn the_kind_is_made_again() {
    let case = another_plane("kinds", &[]).await;
    let mut pools = Vec::new();
    for name in ["a", "b"] {
        case.apply(name, PLAIN).await;
        case.ready(name).await;
        pools.push(case.its_pool(name).await);
    }
    let first = case
        .until("a", "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    let sent = case.sent().await.len();
    let crds: Api<CustomResourceDefinition> = Api::all(case.client.clone());
    let kind = "cephpools.poolwright.dev";
    crds.delete(kind, &DeleteParams::default())
        .await
        .expect("it is deleted");
    case.wait_for("the kind is gone", LIMIT, async || {
        let found = crds
            .get_opt(kind)
            .await
            .map_err(|error| error.to_string())?;
        holds(found.is_none(), &found.map(|found| found.status))
    })
    .await;
    install_crds(&case.client).await;
    for name in ["a", "b"] {
        case.wait_for("the object is accepted", LIMIT, async || {
            let applied = case.try_apply(name, PLAIN).await;
            applied.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
    }
    for (name, pool) in [("a", &pools[0]), ("b", &pools[1])] {
        case.ready(name).await;
        assert_eq!(case.its_pool(name).await, *pool);
    }
    let again = case
        .until("a", "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    assert_eq!(annotation(&again), annotation(&first));
    assert_eq!(case.sent().await.len(), sent);
}
