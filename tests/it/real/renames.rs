//! Names: a pool gets another one when its manifest says so, keeps its identity, and never takes a name from another.

use std::sync::Arc;

use kube::ResourceExt;
use poolwright::api::v1alpha1::Operation;
use serde_json::{Value, json};

use super::steps::{
    ANNOTATION, PLAIN, annotation, create, marks, pending, rename, slow_case, status,
};
use super::support::{Case, Ceph, LIMIT, World, holds, rounds};

/// A small pool of this name, with more in its spec.
fn named(pool: &str, more: &str) -> String {
    format!(
        "{{poolName: {pool}, replicated: {{size: 3}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 4}}{more}}}"
    )
}

/// Waits until an object has the annotation with its pool's identity; gives it.
async fn identity(case: &Case, name: &str) -> String {
    let object = case
        .until(name, "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    annotation(&object)
}

/// The id of a pool by its name.
async fn id_of(case: &Case, pool: &str) -> Option<i64> {
    case.pool_called(pool).await?["pool"].as_i64()
}

/// Another name in the manifest: one command, then the rest; all that the pool has stays.
#[tokio::test(flavor = "multi_thread")]
async fn another_name() {
    let case = Case::shared("rename").await;
    let (name, other) = (case.pool_name("a"), case.pool_name("other"));
    case.apply("a", &named(&name, ", quota: {maxObjects: 5}"))
        .await;
    case.ready("a").await;
    let before = case.its_pool("a").await;
    let known = identity(&case, "a").await;
    case.apply("a", &named(&other, ", quota: {maxObjects: 6}"))
        .await;
    let object = case.ready("a").await;
    let after = case.its_pool("other").await;
    assert_eq!(case.pool_names().await, [other.as_str()]);
    assert_eq!(after["pool"], before["pool"]);
    assert_eq!(after["quota_max_objects"], 6);
    assert_eq!(
        after["application_metadata"],
        before["application_metadata"]
    );
    assert_eq!(annotation(&object), known);
    assert_eq!(status(&object).pool_name.as_ref(), Some(&other));
    let table = case.kubectl(&["get", "cpool", "a"]).await;
    assert!(table.contains(&other), "{table}");
    let requests = case
        .wait_for("the request has ended", LIMIT, async || {
            let all = case.requests("a").await;
            let ended = all.iter().all(|request| {
                let outcome = request.status.as_ref().and_then(|status| status.outcome);
                outcome.is_some()
            });
            holds(ended && all.len() == 2, &all).map(|()| all)
        })
        .await;
    assert_eq!(requests[1].spec.operation, Operation::Rename);
    assert_eq!(
        rounds(&requests[1]),
        [
            [format!("ceph osd pool rename {name} {other}")],
            [format!("ceph osd pool set-quota {other} max_objects 6")]
        ]
    );
    // It is looked after under that name.
    case.set("other", "max_objects", "7").await;
    case.until_pool("other", "is corrected", |pool| {
        pool["quota_max_objects"] == 6
    })
    .await;
    case.ready("a").await;
    assert_eq!(marks(&case.its_pool("other").await), marks(&before));
}

/// A grant has to allow it for both names.
#[tokio::test(flavor = "multi_thread")]
async fn both_names_need_a_grant() {
    let world = World::shared().await;
    let case = Case::with_connection(world, "renamers", "renamers", Arc::new(Ceph::shared())).await;
    let (name, other) = (case.pool_name("a"), case.pool_name("b"));
    let allow = async |here: &[&str], there: &[&str]| {
        let grants = json!([
            {"name": "here", "namespaces": {"all": true}, "poolNames": [name], "allow": here},
            {"name": "there", "namespaces": {"all": true}, "poolNames": [other], "allow": there},
        ]);
        case.world
            .connect("renamers", case.cluster(), json!({"grants": grants}))
            .await;
    };
    let all = ["Create", "Update", "Rename"];
    let some = ["Create", "Update"];
    allow(&all, &[]).await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    case.apply("a", &named(&other, "")).await;
    for (here, there, missing) in [
        (&all[..], &[][..], &other),
        (&all, &some, &other),
        (&some, &all, &name),
    ] {
        allow(here, there).await;
        case.wait_for("what is missing is said", LIMIT, async || {
            let object = case.object("a").await;
            let (_, reason, message) = super::steps::ready(&object);
            holds(
                reason == "NotGranted" && message.contains(&format!("for pool {missing:?}")),
                &message,
            )
        })
        .await;
        let object = case.looked("a").await;
        assert_eq!(case.its_pool("a").await, before);
        assert_eq!(
            status(&object).pool_name.as_ref(),
            Some(&name),
            "the name that it has"
        );
    }
    assert_eq!(case.sent().await.len(), sent);
    allow(&["Rename"], &["Rename"]).await;
    case.ready("a").await;
    assert_eq!(case.pool_names().await, [other.as_str()]);
}

/// A name that another pool has is not taken from it; when it is free it is given.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_taken() {
    let case = Case::shared("names").await;
    let other = case.pool_name("b");
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.hand(&create(&other)).await;
    let stranger = case.made("b").await;
    case.seen().await;
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    case.apply("a", &named(&other, "")).await;
    let message = case.stalled("a", "PoolExists").await;
    let sentence = format!(
        "pool {} (id {}) cannot be renamed to {other}: a pool of that name (id {}) exists",
        case.pool_name("a"),
        before["pool"],
        stranger["pool"]
    );
    assert!(message.contains(&sentence), "{message}");
    let object = case.looked("a").await;
    assert!(pending(&object, "poolName").is_some());
    assert_eq!(status(&object).pool_name, Some(case.pool_name("a")));
    assert_eq!(case.its_pool("b").await, stranger);
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(case.sent().await.len(), sent);
    case.hand(&rename(&other, &case.pool_name("c"))).await;
    case.ready("a").await;
    assert_eq!(id_of(&case, &other).await, before["pool"].as_i64());
    assert_eq!(
        id_of(&case, &case.pool_name("c")).await,
        stranger["pool"].as_i64()
    );
}

/// Two objects that want each other's name: both are refused and nothing is lost; over a third name it works.
#[tokio::test(flavor = "multi_thread")]
async fn two_swap_their_names() {
    let case = Case::shared("swap").await;
    let [a, b, c] = ["a", "b", "c"].map(|name| case.pool_name(name));
    for (object, objects) in [("a", 1), ("b", 2)] {
        let own = named(
            &case.pool_name(object),
            &format!(", quota: {{maxObjects: {objects}}}"),
        );
        case.apply(object, &own).await;
    }
    for object in ["a", "b"] {
        case.ready(object).await;
    }
    let before = (case.its_pool("a").await, case.its_pool("b").await);
    let sent = case.sent().await.len();
    let first = |pool: &str| named(pool, ", quota: {maxObjects: 1}");
    let second = named(&a, ", quota: {maxObjects: 2}");
    case.apply("a", &first(&b)).await;
    case.apply("b", &second).await;
    for (object, other) in [("a", "b"), ("b", "a")] {
        let message = case.stalled(object, "PoolExists").await;
        let owner = format!("which belongs to {}/{other},", case.namespace);
        assert!(message.contains(&owner), "{message}");
        assert!(message.contains("over a third name"), "{message}");
        case.looked(object).await;
    }
    assert_eq!((case.its_pool("a").await, case.its_pool("b").await), before);
    assert_eq!(case.sent().await.len(), sent);
    // As the message says.
    case.apply("a", &first(&c)).await;
    case.ready("b").await;
    case.ready("a").await;
    case.apply("a", &first(&b)).await;
    case.ready("a").await;
    let mut names = case.pool_names().await;
    names.sort();
    assert_eq!(names, [a, b]);
    for (now, then, objects) in [("a", &before.1, 2), ("b", &before.0, 1)] {
        let pool = case.its_pool(now).await;
        assert_eq!(pool["pool"], then["pool"]);
        assert_eq!(pool["application_metadata"], then["application_metadata"]);
        assert_eq!(pool["quota_max_objects"], objects);
    }
    case.ready("b").await;
}

/// Rules 1 and 4: a pool that people rename is still ours by its identity, and gets its name back where that is granted.
#[tokio::test(flavor = "multi_thread")]
async fn renamed_by_hand() {
    let world = World::shared().await;
    let case = Case::with_connection(world, "renamed", "renamed", Arc::new(Ceph::shared())).await;
    let allow = async |verbs: &[&str]| {
        let grants = json!([{"name": "g", "namespaces": {"all": true}, "allow": verbs}]);
        case.world
            .connect("renamed", case.cluster(), json!({"grants": grants}))
            .await;
    };
    allow(&["Create", "Update"]).await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let (name, other) = (case.pool_name("a"), case.pool_name("other"));
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    case.hand(&rename(&name, &other)).await;
    let message = case.stalled("a", "NotGranted").await;
    assert!(message.contains("no grant allows Rename"), "{message}");
    let object = case.looked("a").await;
    assert_eq!(
        status(&object).pool_name.as_ref(),
        Some(&other),
        "the name that it has"
    );
    assert_eq!(
        case.pool_names().await,
        [other.as_str()],
        "no second one is made"
    );
    assert_eq!(case.sent().await.len(), sent);
    allow(&["Create", "Update", "Rename"]).await;
    case.ready("a").await;
    let mut after = case.its_pool("a").await;
    after["last_change"] = before["last_change"].clone();
    assert_eq!(after, before);
    let object = case.object("a").await;
    assert_eq!(status(&object).pool_name.as_ref(), Some(&name));

    // Not over another pool that has the name by now.
    case.annotate("a", "poolwright.dev/paused", Some("true"))
        .await;
    case.hand(&rename(&name, &other)).await;
    case.hand(&create(&name)).await;
    let stranger = case.made("a").await;
    case.seen().await;
    let sent = case.sent().await.len();
    case.annotate("a", "poolwright.dev/paused", None).await;
    let message = case.stalled("a", "PoolExists").await;
    assert!(
        message.contains(&format!(
            "pool {other} (id {}) cannot be renamed to {name}",
            before["pool"]
        )),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, stranger);
    assert_eq!(case.sent().await.len(), sent);
    case.hand(&super::steps::remove(&name)).await;
    case.ready("a").await;
    assert_eq!(id_of(&case, &name).await, before["pool"].as_i64());
}

/// Another name in the middle of a creation, and in the middle of a change.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle() {
    let case = slow_case("midway").await;
    let spec = |name: &str, objects: u32| {
        format!(
            "{{poolName: {}, replicated: {{size: 2}}, applications: [{{name: rbd}}], \
             placementGroups: {{autoscale: Disabled, count: 2}}, quota: {{maxObjects: {objects}}}}}",
            case.pool_name(name)
        )
    };
    case.apply("a", &spec("a", 5)).await;
    case.begun("a").await;
    case.apply("a", &spec("b", 5)).await;
    let object = case.ready("a").await;
    assert_eq!(case.pool_names().await, [case.pool_name("b")]);
    assert_eq!(status(&object).pool_name, Some(case.pool_name("b")));
    let id = case.its_pool("b").await["pool"].clone();

    let known = case.requests("a").await.len();
    case.apply("a", &spec("b", 6)).await;
    case.wait_for("its request is recorded", LIMIT, async || {
        let all = case.requests("a").await;
        holds(all.len() > known, &all)
    })
    .await;
    case.apply("a", &spec("c", 7)).await;
    let object = case.ready("a").await;
    assert_eq!(case.pool_names().await, [case.pool_name("c")]);
    let pool = case.its_pool("c").await;
    assert_eq!(
        [&pool["pool"], &pool["quota_max_objects"]],
        [&id, &json!(7)]
    );
    assert_eq!(status(&object).pool_name, Some(case.pool_name("c")));
    assert_eq!(status(&object).pending, []);
}

/// The harm of names: they change hands between a look and a command.
#[tokio::test(flavor = "multi_thread")]
async fn names_change_hands() {
    let case = Case::shared("hands").await;
    let [a, b, c, x] = ["a", "b", "c", "x"].map(|name| case.pool_name(name));
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.hand(&create(&b)).await;
    let ours = id_of(&case, &a).await;
    let stranger = case.made("b").await["pool"].as_i64();
    // Somebody looked, and is about to rename "our" pool; meanwhile the names change hands.
    case.annotate("a", "poolwright.dev/paused", Some("true"))
        .await;
    case.apply("a", &named(&c, "")).await;
    case.hand(&rename(&a, &x)).await;
    case.hand(&rename(&b, &a)).await;
    case.seen().await;
    let naive = case.pool_name("naive");
    case.ceph(&["osd", "pool", "rename", &a, &naive]).await;
    assert_eq!(
        id_of(&case, &naive).await,
        stranger,
        "it was the stranger's"
    );
    case.hand(&rename(&naive, &a)).await;
    case.seen().await;
    // Ours goes by the identity.
    case.annotate("a", "poolwright.dev/paused", None).await;
    case.ready("a").await;
    assert_eq!(id_of(&case, &c).await, ours);
    assert_eq!(id_of(&case, &a).await, stranger);
    let touched: Vec<Value> = case.sent().await;
    let lines: Vec<&Value> = touched
        .iter()
        .filter(|command| command["prefix"] == "osd pool rename" && command["srcpool"] == *a)
        .collect();
    assert!(lines.is_empty(), "{lines:#?}");
}
