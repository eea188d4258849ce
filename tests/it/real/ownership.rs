//! Safety rules 1 to 4: identity, not the name; what is gone is not made again; creation is published by rename; the
//! mark says whose a pool is.

use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use poolwright::api::v1alpha1::{ClusterConnection, Outcome};
use serde_json::Value;
use tokio::sync::RwLock;
use tokio::time::{Duration, Instant};

use super::steps::{
    ANNOTATION, PLAIN, annotation, create, delete, enable, gone, make_annotated, marks, pending,
    ready, remove, rename, slow_case, status, tag, untag,
};
use super::support::{Case, LIMIT, condition, holds};

/// Taken by the test that forbids the removal of pools on the slow cluster.
static REMOVAL: RwLock<()> = RwLock::const_new(());

/// Rule 4: a pool of the name that nobody marked is refused, and stays as it is to the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_exists_is_refused() {
    let case = Case::shared("exists").await;
    let name = case.pool_name("a");
    case.hand(&create(&name)).await;
    case.hand(&enable(&name, "rbd")).await;
    let before = case.made("a").await;
    case.seen().await;
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

/// Rule 4: while the pool carries somebody else's mark nothing is sent to it; without any mark ours is written again.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_others_are_respected() {
    let case = Case::shared("foreign").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    let ours = marks(&case.its_pool("a").await);
    assert_eq!(ours.1, Some(format!("{}/a", case.namespace)));
    for (key, value) in [
        ("poolwright", "another-cluster/12ab/34cd"),
        ("poolwright.object", "their/pool"),
    ] {
        case.hand(&tag(&name, key, value)).await;
    }
    let message = case.stalled("a", "OwnedByAnother").await;
    assert!(
        message.contains("carries the mark of their/pool, so nothing is sent to it"),
        "{message}"
    );
    let sent = case.sent().await.len();
    case.set("a", "size", "2").await;
    case.looked("a").await;
    case.stalled("a", "OwnedByAnother").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        marks(&pool).0.as_deref(),
        Some("another-cluster/12ab/34cd"),
        "never corrected"
    );
    assert_eq!(pool["size"], 2);
    assert_eq!(case.sent().await.len(), sent);

    // Taken off by its owner: the pool is the recorded one, so our mark and our size come back.
    case.hand(&untag(&name, "poolwright")).await;
    case.until_pool("a", "is marked as ours and has its size", |pool| {
        marks(pool) == ours && pool["size"] == 3
    })
    .await;
    case.ready("a").await;

    // A mark of ours under another application counts too: half of one is completed.
    case.hand(&untag(&name, "poolwright.object")).await;
    case.until_pool("a", "has the whole mark", |pool| marks(pool) == ours)
        .await;
    case.ready("a").await;
}

/// Rule 4: with the application goes the mark, and both come back.
#[tokio::test(flavor = "multi_thread")]
async fn marks_come_back() {
    let case = Case::shared("marks").await;
    case.apply("a", "{replicated: {size: 3}, applications: [{name: rbd, metadata: {team: x}}], placementGroups: {autoscale: Disabled, count: 4}}").await;
    case.ready("a").await;
    let before = case.its_pool("a").await;
    let name = case.pool_name("a");
    case.ceph(&[
        "osd",
        "pool",
        "application",
        "disable",
        &name,
        "rbd",
        "--yes-i-really-mean-it",
    ])
    .await;
    case.until_pool("a", "has its application, key and mark", |pool| {
        pool["application_metadata"] == before["application_metadata"]
    })
    .await;
    case.ready("a").await;
}

/// Rule 4, Retain: the pool and its mark outlive the object; the same object made again has its pool back, without a
/// single command; with the identity annotation of a backup too.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_object_has_its_pool_back() {
    let case = Case::shared("retain").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let first = case
        .until("a", "has its annotation, and nothing keeps it", |object| {
            object.annotations().contains_key(ANNOTATION) && object.finalizers().is_empty()
        })
        .await;
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    for identity in [None, Some(annotation(&first))] {
        delete(&case, "a").await;
        assert_eq!(case.its_pool("a").await, before, "Retain");
        match &identity {
            None => case.apply("a", PLAIN).await,
            Some(identity) => {
                make_annotated(&case, "a", PLAIN, identity).await;
                case.object("a").await
            }
        };
        case.ready("a").await;
        let again = case
            .until("a", "has its annotation", |object| {
                object.annotations().contains_key(ANNOTATION)
            })
            .await;
        assert_ne!(again.uid(), first.uid());
        assert_eq!(status(&again).pool_id, status(&first).pool_id);
        assert_eq!(
            status(&again).pool_create_time,
            status(&first).pool_create_time
        );
        assert_eq!(
            annotation(&again),
            annotation(&first),
            "the claim of the mark"
        );
        assert_eq!(status(&again).applied_fields, status(&first).applied_fields);
    }
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(case.sent().await.len(), sent);

    // Another claim than the mark's is another owner's annotation.
    let identity = annotation(&first);
    let wrong = format!("{}/00000000", identity.rsplit_once('/').expect("a claim").0);
    delete(&case, "a").await;
    make_annotated(&case, "a", PLAIN, &wrong).await;
    let message = case.stalled("a", "OwnedByAnother").await;
    assert!(message.contains("under another claim"), "{message}");
    assert_eq!(case.its_pool("a").await, before);
}

/// Users can write annotations: one that names a pool which does not carry this object's mark gives nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_annotation_gives_nothing() {
    let case = Case::shared("forged").await;
    case.apply("victim", PLAIN).await;
    let victim = case.ready("victim").await;
    let identity = annotation(&victim);
    let marked = case.its_pool("victim").await;
    let spec = format!(
        "{{poolName: {}, replicated: {{size: 2}}, applications: [{{name: rbd}}], quota: {{maxObjects: 1}}}}",
        case.pool_name("victim")
    );
    // A pool of another object.
    make_annotated(&case, "thief", &spec, &identity).await;
    let message = case.stalled("thief", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/victim", case.namespace)),
        "{message}"
    );
    case.looked("thief").await;
    assert_eq!(case.its_pool("victim").await, marked);
    delete(&case, "thief").await;
    case.ready("victim").await;

    // A pool that nobody marked.
    delete(&case, "victim").await;
    let name = case.pool_name("victim");
    for key in ["poolwright", "poolwright.object"] {
        case.hand(&untag(&name, key)).await;
    }
    let unmarked = case.its_pool("victim").await;
    case.seen().await;
    let sent = case.sent().await.len();
    for object in ["thief", "victim"] {
        make_annotated(&case, object, &spec, &identity).await;
        case.stalled(object, "PoolExists").await;
        case.looked(object).await;
        delete(&case, object).await;
    }
    // A name of its own beside it changes nothing: the annotation still names the stranger's pool.
    let spec = spec.replace(&format!("poolName: {name}"), &format!("poolName: {name}-2"));
    make_annotated(&case, "thief", &spec, &identity).await;
    case.stalled("thief", "PoolReplaced").await;
    assert_eq!(case.its_pool("victim").await, unmarked);
    assert_eq!(case.sent().await.len(), sent);
}

/// A lost status is written again as it was, without a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_status_comes_back() {
    let case = Case::shared("lost").await;
    case.apply("a", PLAIN).await;
    let before = case.ready("a").await;
    let sent = case.sent().await.len();
    let patch = r#"[{"op": "remove", "path": "/status"}]"#;
    for both in [false, true] {
        case.kubectl(&[
            "patch",
            "cpool",
            "a",
            "--subresource=status",
            "--type=json",
            "-p",
            patch,
        ])
        .await;
        if both {
            case.annotate("a", ANNOTATION, None).await;
        }
        let after = case
            .until("a", "has its status and its annotation", |object| {
                object
                    .status
                    .as_ref()
                    .is_some_and(|status| status.pool_id.is_some())
                    && condition(object, "Ready").is_some_and(|ready| ready.0 == "True")
                    && object.annotations().contains_key(ANNOTATION)
            })
            .await;
        assert_eq!(annotation(&after), annotation(&before));
        assert_eq!(status(&after).pool_id, status(&before).pool_id);
        assert_eq!(
            status(&after).applied_fields,
            status(&before).applied_fields
        );
    }
    assert_eq!(case.sent().await.len(), sent);
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

/// Rule 3: private names that nothing records are reported on the connection and never touched. They have a minute, in
/// which they may be somebody's creation under way.
#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_reported() {
    let case = Case::shared("left").await;
    let mut names = [".poolwright-new-0badcafe", ".poolwright-del-0badcafe"]
        .map(|end| case.pool_name("x") + end);
    names.sort();
    for name in &names {
        case.hand(&create(name)).await;
    }
    let look = async || {
        [
            case.pool_called(&names[0]).await,
            case.pool_called(&names[1]).await,
        ]
    };
    let before = case
        .wait_for("they are made", LIMIT, async || {
            let pools = look().await;
            let creating = pools
                .iter()
                .flatten()
                .any(|pool| pool["flags_names"].to_string().contains("creating"));
            holds(!creating, &pools).map(|()| pools)
        })
        .await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let began = Instant::now();
    let ours = |connection: &ClusterConnection| {
        let found = connection
            .status
            .as_ref()
            .map(|status| status.leftovers.clone());
        let mut found = found.unwrap_or_default();
        found.retain(|name| name.starts_with(&format!("{}-", case.namespace)));
        found
    };
    case.wait_for("the leftovers are reported", 2 * LIMIT, async || {
        let connection = connections
            .get(case.connection())
            .await
            .map_err(|error| error.to_string())?;
        holds(ours(&connection) == names, &connection.status)
    })
    .await;
    assert!(
        began.elapsed() > Duration::from_secs(50),
        "not before their minute is over"
    );
    assert_eq!(look().await, before);
    assert_eq!(case.sent().await, Vec::<Value>::new());
    for name in &names {
        case.hand(&remove(name)).await;
    }
    case.wait_for("they are forgotten", LIMIT, async || {
        let connection = connections
            .get(case.connection())
            .await
            .map_err(|error| error.to_string())?;
        holds(ours(&connection).is_empty(), &connection.status)
    })
    .await;
}

/// Waits until the pool of an object under creation has its private name in Ceph.
async fn private(case: &Case, name: &str) -> String {
    let prefix = format!("{}.poolwright-new-", case.pool_name(name));
    case.wait_for("there is a private pool", LIMIT, async || {
        let names = case.pool_names().await;
        names
            .iter()
            .find(|name| name.starts_with(&prefix))
            .cloned()
            .ok_or(format!("{names:?}"))
    })
    .await
}

/// Waits until an object's record says that a creation is under way.
async fn begun(case: &Case, name: &str) {
    case.until(name, "the creation is recorded", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| request.nonce.is_some())
    })
    .await;
}

/// Rule 3: somebody else's pool appears under the real name in the middle of the creation. It is theirs; our private
/// one goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_taken_meanwhile() {
    let _turn = REMOVAL.read().await;
    let case = slow_case("taken").await;
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}").await;
    begun(&case, "a").await;
    case.hand(&create(&case.pool_name("a"))).await;
    let message = case.stalled("a", "PoolExists").await;
    let stranger = case.made("a").await;
    assert!(
        message.contains(&format!("(id {})", stranger["pool"])),
        "{message}"
    );
    case.wait_for("the private pool is gone", LIMIT, async || {
        let names = case.pool_names().await;
        holds(names == [case.pool_name("a")], &names)
    })
    .await;
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, stranger);
    assert!(
        !case
            .sent()
            .await
            .iter()
            .any(|command| command["pool"] == *case.pool_name("a"))
    );
    let observed = status(&case.object("a").await).observed.clone();
    assert_eq!(observed, None, "nothing of the private pool is left");
    // The object is not kept, and when the name is free its pool is made.
    assert!(case.object("a").await.finalizers().is_empty());
    case.hand(&remove(&case.pool_name("a"))).await;
    case.ready("a").await;
}

/// Rule 7: an object that is deleted before its pool has its name takes the private, empty pool with it.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_before_publication() {
    let _turn = REMOVAL.read().await;
    let case = slow_case("unmade").await;
    let spec = "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}";
    for name in ["early", "late"] {
        case.apply(name, spec).await;
    }
    // With the create command on its way, and with the pool there.
    begun(&case, "early").await;
    case.pools()
        .delete("early", &DeleteParams::default())
        .await
        .expect("it is deleted");
    private(&case, "late").await;
    case.pools()
        .delete("late", &DeleteParams::default())
        .await
        .expect("it is deleted");
    for name in ["early", "late"] {
        gone(&case, name, LIMIT).await;
    }
    case.seen().await;
    assert_eq!(
        case.pool_names().await,
        Vec::<String>::new(),
        "no pool outlives its object here"
    );
    for name in ["early", "late"] {
        case.wait_for("its requests have ended", LIMIT, async || {
            let requests = case.requests(name).await;
            let outcomes: Vec<_> = requests
                .iter()
                .map(|request| request.status.as_ref().and_then(|status| status.outcome))
                .collect();
            holds(
                outcomes.iter().all(Option::is_some) && outcomes.contains(&Some(Outcome::Failed)),
                &requests,
            )
        })
        .await;
    }
}

/// Rule 7: monitors that do not allow it block that deletion, with the remedy in the message; it goes on when they do.
#[tokio::test(flavor = "multi_thread")]
async fn removal_is_not_allowed() {
    let _turn = REMOVAL.write().await;
    let case = slow_case("blocked").await;
    let allow = async |allowed: &str| {
        case.ceph(&[
            "tell",
            "mon.a",
            "config",
            "set",
            "mon_allow_pool_delete",
            allowed,
        ])
        .await;
    };
    allow("false").await;
    case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}").await;
    let name = private(&case, "a").await;
    case.pools()
        .delete("a", &DeleteParams::default())
        .await
        .expect("it is deleted");
    let object = case
        .until("a", "DeletionBlocked", |object| {
            condition(object, "DeletionBlocked").is_some()
        })
        .await;
    let (_, reason, message) = condition(&object, "DeletionBlocked").expect("just seen");
    assert_eq!(reason, "DeletionBlocked");
    for part in [
        format!("Ceph refused to remove {name}: "),
        "pool deletion is disabled".to_owned(),
        "ceph config set mon mon_allow_pool_delete true".to_owned(),
        "remove poolwright.dev/pool from the object's finalizers".to_owned(),
    ] {
        assert!(message.contains(&part), "{part} in {message}");
    }
    // Looked at every now and then, not in a loop.
    let removals = async || {
        case.sent_by_prefix()
            .await
            .get("osd pool rm")
            .copied()
            .unwrap_or_default()
    };
    let before = removals().await;
    let version = case.object("a").await.resource_version();
    let began = Instant::now();
    case.hand(&create(&case.pool_name("other"))).await;
    case.wait_for("some epochs have passed", LIMIT, async || {
        case.hand(&rename(&case.pool_name("other"), &case.pool_name("others")))
            .await;
        case.hand(&rename(&case.pool_name("others"), &case.pool_name("other")))
            .await;
        holds(began.elapsed() > Duration::from_secs(6), &began.elapsed())
    })
    .await;
    let tried = removals().await - before;
    assert!(tried <= 1, "{tried} removals in {:?}", began.elapsed());
    assert_eq!(
        case.object("a").await.resource_version(),
        version,
        "nothing new, nothing written"
    );
    assert!(case.pool_called(&name).await.is_some());
    allow("true").await;
    gone(&case, "a", LIMIT).await;
    assert_eq!(case.pool_names().await, [case.pool_name("other")]);
}
