//! Safety rules 1 to 4: identity, not the name; what is gone is not made again; creation is published by rename; the
//! mark says whose a pool is.

mod marks;
mod publication;

use kube::ResourceExt;
use serde_json::Value;

use super::steps::{
    PLAIN, annotation, create, delete, make_annotated, marks, pending, ready, remove, status,
};
use super::support::{Case, LIMIT, condition, holds};

/// Rule 4: a pool of the name that nobody marked is refused, and stays as it is to the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_exists_is_refused() {
    let case = Case::shared("exists").await;
    let name = case.pool_name("a");
    let before = case.by_hand("a").await;
    case.apply(
        "a",
        "{replicated: {size: 2}, applications: [{name: rbd}], quota: {maxObjects: 3}}",
    )
    .await;
    let message = case.stalled("a", "PoolExists").await;
    let sentence = format!(
        "pool {name} (id {}) exists and was not made by this object; choose another poolName",
        before["pool"]
    );
    assert!(message.contains(&sentence), "{message}");
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(case.sent().await, Vec::<Value>::new());
    assert!(
        case.object("a").await.finalizers().is_empty(),
        "nothing keeps the object"
    );

    // The harm: Ceph answers a create of that name with success, and what follows lands on the stranger's pool.
    let said = case
        .cluster()
        .try_ceph(&["osd", "pool", "create", &name, "2"])
        .await;
    assert!(said.ok && said.err.contains("already exists"), "{said:?}");
    case.set("a", "size", "2").await;
    assert_ne!(case.its_pool("a").await["size"], before["size"]);
}

/// Rule 2: a pool that was ours and is gone is told, and is never made again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_gone_is_not_made_again() {
    let case = Case::shared("gone").await;
    case.apply("a", PLAIN).await;
    let object = case.ready("a").await;
    let id = status(&object).pool_id.expect("an id");
    let sent = case.sent().await.len();
    case.hand(&remove(&case.pool_name("a"))).await;
    let message = case.stalled("a", "PoolMissing").await;
    assert!(
        message.contains(&format!(
            "(id {id}) is gone from the cluster and is not silently made again"
        )),
        "{message}"
    );
    let object = case.looked("a").await;
    assert!(
        pending(&object, "poolName").is_some(),
        "{:#?}",
        status(&object).pending
    );
    // Also a changed manifest does not make it again.
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}]}")
        .await;
    case.stalled("a", "PoolMissing").await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    assert_eq!(case.sent().await.len(), sent);

    // Another object of the same name is the same owner, while the annotation says what it had.
    let identity = annotation(&case.object("a").await);
    delete(&case, "a").await;
    make_annotated(&case, "a", PLAIN, &identity).await;
    case.stalled("a", "PoolMissing").await;
    delete(&case, "a").await;
    case.apply("a", PLAIN).await;
    let object = case.ready("a").await;
    assert_ne!(status(&object).pool_id, Some(id));
}

/// Rules 1 and 2: another pool of the same name is not ours, however soon it came, and is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_was_replaced_is_not_touched() {
    let case = Case::shared("replaced").await;
    case.apply("a", PLAIN).await;
    let object = case.ready("a").await;
    let id = status(&object).pool_id.expect("an id");
    let sent = case.sent().await.len();
    let name = case.pool_name("a");
    case.hand(&remove(&name)).await;
    case.hand(&create(&name)).await;
    let message = case.stalled("a", "PoolReplaced").await;
    let stranger = case.made("a").await;
    let sentence = format!("had id {id}, this has id {};", stranger["pool"]);
    assert!(message.contains(&sentence), "{message}");
    case.apply(
        "a",
        "{replicated: {size: 2}, applications: [{name: rbd}], quota: {maxObjects: 3}}",
    )
    .await;
    case.stalled("a", "PoolReplaced").await;
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, stranger);
    assert_eq!(case.sent().await.len(), sent);

    // The harm: the same change by name lands on the stranger's pool.
    case.set("a", "size", "2").await;
    assert_ne!(case.its_pool("a").await["size"], stranger["size"]);
}

/// Rule 4: of several objects for one pool one wins, the others say whose it is, and nothing is left of their tries.
#[tokio::test(flavor = "multi_thread")]
async fn several_objects_for_one_pool() {
    let case = Case::shared("same").await;
    let names = ["a", "b", "c", "d"];
    let spec = format!(
        "{{poolName: {}, replicated: {{size: 3}}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: 4}}}}",
        case.pool_name("shared")
    );
    futures::future::join_all(names.map(|name| case.apply(name, &spec))).await;
    let mut winners = Vec::new();
    for name in names {
        let object = case
            .until(name, "is settled", |object| {
                let (status, reason, _) = condition(object, "Ready").unwrap_or_default();
                status == "True" || ["OwnedByAnother", "PoolExists", "Conflict"].contains(&reason)
            })
            .await;
        if ready(&object).0 == "True" {
            winners.push(name);
        }
    }
    let [winner] = winners[..] else {
        panic!("one owner, not {winners:?}")
    };
    for name in names.into_iter().filter(|name| *name != winner) {
        let message = case.stalled(name, "OwnedByAnother").await;
        assert!(
            message.contains(&format!("the mark of {}/{winner}", case.namespace)),
            "{message}"
        );
    }
    case.wait_for("no private name is left", LIMIT, async || {
        let left = case.pool_names().await;
        holds(left == [case.pool_name("shared")], &left)
    })
    .await;
    let pool = case.its_pool("shared").await;
    assert_eq!(marks(&pool).1, Some(format!("{}/{winner}", case.namespace)));
    case.ready(winner).await;
}
