//! Safety rules 5 to 7: a pool goes with its object only if nothing is lost by that, or a person says so; and whatever
//! happens on the way, nobody else's pool does, and none is left under a private name.

mod elsewhere;
mod halfway;
mod in_use;
mod quorum;
mod support;
mod told;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use poolwright::api::v1alpha1::{ClusterConnection, Outcome, RequestState};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use self::support::{
    Client, GONE, RECONCILE, blocked, case, case_on, command_in, delete, delete_request, gone,
    rados, verbs,
};
use super::steps::{create, enable, marks, remove, status};
use super::support::{Ceph, LIMIT, World, has_all, holds, rounds};

const FINALIZER: &str = "poolwright.dev/pool";

/// A small pool that goes with its object.
const GOES: &str = "{replicated: {size: 2}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 2}, deletionPolicy: Delete}";
/// The same pool, which stays.
const STAYS: &str = "{replicated: {size: 2}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 2}, deletionPolicy: Retain}";

/// An empty pool is renamed, looked into again, and removed; soon, also when it was just made; nothing else is touched.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_pool_goes() {
    let case = case("rm").await;
    let other = case.pool_name("other");
    case.hand(&create(&other)).await;
    case.made("other").await;
    case.apply("a", GOES).await;
    let object = case.ready("a").await;
    assert_eq!(object.finalizers(), [FINALIZER]);
    let stranger = case.its_pool("other").await;
    let name = case.pool_name("a");
    let began = Instant::now();
    delete(&case, "a").await;
    gone(&case, "a", LIMIT).await;
    println!("gone after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(case.pool_names().await, [other]);
    assert_eq!(case.its_pool("other").await, stranger);
    // One request, which says what was done.
    let request = delete_request(&case, "a").await;
    let private = format!("{name}.poolwright-del-");
    let lines = rounds(&request);
    let [[away], [removed]] = [lines[0].as_slice(), lines[1].as_slice()] else {
        panic!("{lines:?}")
    };
    assert!(
        away.starts_with(&format!("ceph osd pool rename {name} {private}")),
        "{away}"
    );
    assert!(
        removed.starts_with(&format!("ceph osd pool rm {private}")),
        "{removed}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    let done = request.status.expect("a status");
    assert_eq!(
        (done.state, done.outcome),
        (RequestState::Complete, Some(Outcome::Succeeded))
    );
    assert_eq!(
        request.spec.reason.as_deref(),
        Some("the object was deleted")
    );
    assert_eq!(request.spec.changed_fields, ["poolName"]);
}

/// With Retain the pool stays as it is, with its mark; nothing keeps the object.
#[tokio::test(flavor = "multi_thread")]
async fn retained() {
    let case = case("keep").await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    case.apply("a", STAYS).await;
    case.until("a", "nothing keeps it", |object| {
        object.finalizers().is_empty()
    })
    .await;
    let before = case.made("a").await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    gone(&case, "a", LIMIT).await;
    assert_eq!(case.its_pool("a").await, before);
    assert!(marks(&before).0.is_some());
    assert_eq!(case.sent().await.len(), sent);
}

/// The finalizer follows the policy, also while there is no connection; what was never made goes at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_finalizer_follows_the_policy() {
    let case = case("finalizer").await;
    let nowhere = |spec: &str| spec.replacen('{', "{connectionRef: {name: nowhere}, ", 1);
    for (spec, finalizers) in [(GOES, &[FINALIZER][..]), (STAYS, &[]), (GOES, &[FINALIZER])] {
        case.apply("a", &nowhere(spec)).await;
        case.until("a", "has just these finalizers", |object| {
            object.finalizers() == finalizers
        })
        .await;
    }
    delete(&case, "a").await;
    gone(&case, "a", LIMIT).await;
    assert!(case.requests("a").await.is_empty());
}

/// Data is not lost: the deletion waits, says why, and goes on by itself when the data is gone.
#[tokio::test(flavor = "multi_thread")]
async fn data_keeps_the_pool() {
    let case = case("data").await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    rados(&case, &["-p", &name, "put", "precious", "-"], Some("words")).await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    let message = blocked(&case, "a", "NotEmpty").await;
    println!("{message}");
    assert!(
        message.contains(&format!("pool {name} is not empty: ")),
        "{message}"
    );
    has_all(
        &message,
        ["precious", "empty it and it is removed by itself"],
    );
    assert_eq!(
        rados(&case, &["-p", &name, "get", "precious", "-"], None).await,
        "words"
    );
    assert_eq!(case.sent().await.len(), sent, "not one command");
    let version = case.object("a").await.resource_version();
    rados(&case, &["-p", &name, "rm", "precious"], None).await;
    assert_eq!(case.object("a").await.resource_version(), version);
    gone(&case, "a", GONE).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// A person says that it may be lost, with the command that the condition prints, and it goes at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_it_go() {
    let case = case("token").await;
    for name in ["a", "b"] {
        case.apply(name, GOES).await;
        case.ready(name).await;
        rados(
            &case,
            &["-p", &case.pool_name(name), "put", "x", "-"],
            Some("y"),
        )
        .await;
        delete(&case, name).await;
    }
    blocked(&case, "b", "NotEmpty").await;
    let message = blocked(&case, "a", "NotEmpty").await;
    let command = command_in(&message, "kubectl ", "confirm");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let began = Instant::now();
    case.kubectl(&words).await;
    gone(&case, "a", LIMIT).await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        case.pool_names().await,
        [case.pool_name("b")],
        "the token is for one pool"
    );
    let request = delete_request(&case, "a").await;
    assert_eq!(rounds(&request).len(), 2);
    // The other way, by the other command of the message.
    let message = blocked(&case, "b", "NotEmpty").await;
    let keep = command_in(&message, "kubectl ", "Retain");
    let (words, patch) = keep.split_once(" -p ").expect("a patch");
    let mut words: Vec<&str> = words.split(' ').skip(1).collect();
    words.extend(["-p", patch.trim_matches('\'')]);
    case.kubectl(&words).await;
    gone(&case, "b", LIMIT).await;
    let kept = rados(&case, &["-p", &case.pool_name("b"), "get", "x", "-"], None).await;
    assert_eq!(kept, "y");
    let done = delete_request(&case, "b").await.status.unwrap_or_default();
    assert!(done.rounds.is_empty(), "{done:?}");
}

/// The flag `nodelete` forbids it, whoever set it, and says how to lift it.
#[tokio::test(flavor = "multi_thread")]
async fn the_flag_nodelete() {
    let case = case("flag").await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    case.set("a", "nodelete", "true").await;
    case.seen().await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    let message = blocked(&case, "a", "Blocked").await;
    assert_eq!(case.sent().await.len(), sent, "not one command");
    let command = command_in(&message, "ceph ", "nodelete");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    case.ceph(&words).await;
    gone(&case, "a", GONE).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// Monitors that forbid removals: the pool has its name back, the deletion says so, and is tried again when asked.
#[tokio::test(flavor = "multi_thread")]
async fn monitors_that_forbid_it() {
    let options = [("ALLOW_DELETE", "false"), ("OSDS", "2")];
    let (case, _) = case_on("forbid", Ceph::own(&options).await, json!({})).await;
    case.apply("a", GOES).await;
    let object = case.ready("a").await;
    delete(&case, "a").await;
    let message = blocked(&case, "a", "Blocked").await;
    println!("{message}");
    has_all(
        &message,
        [
            "Ceph refuses to remove pool",
            "mon_allow_pool_delete true",
            RECONCILE,
        ],
    );
    assert_eq!(case.pool_names().await, [case.pool_name("a")], "its name");
    let pool = case.its_pool("a").await;
    assert_eq!(pool["pool"].as_i64(), status(&object).pool_id);
    // Not in a loop: its name would go away again and again.
    let removals = async || case.sent_by_prefix().await.get("osd pool rm").copied();
    let tried = removals().await;
    for name in ["x", "y", "z"] {
        case.hand(&create(&case.pool_name(name))).await;
        case.seen().await;
    }
    assert_eq!(removals().await, tried);
    case.allow_removals("true").await;
    case.annotate("a", RECONCILE, Some("now")).await;
    gone(&case, "a", Duration::from_secs(20)).await;
    let request = delete_request(&case, "a").await;
    let lines = rounds(&request);
    assert_eq!(verbs(&lines), ["rename", "rm", "rename", "rename", "rm"]);
    assert!(
        lines[2][0].ends_with(&format!(" {}", case.pool_name("a"))),
        "{lines:?}"
    );
}

/// Told not to act, by the object or by its connection, nothing is sent; told otherwise it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn told_not_to_act() {
    let world = World::shared().await;
    let (case, connection) = case_on("told", Ceph::shared(), json!({})).await;
    for name in ["paused", "observed", "other"] {
        case.apply(name, GOES).await;
        case.ready(name).await;
    }
    let sent = case.sent().await.len();
    case.annotate("paused", "poolwright.dev/paused", Some("true"))
        .await;
    case.apply("observed", &GOES.replacen('{', "{management: Observe, ", 1))
        .await;
    case.ready("observed").await;
    for name in ["paused", "observed"] {
        delete(&case, name).await;
    }
    let message = blocked(&case, "paused", "Paused").await;
    assert!(
        message.contains("remove the annotation to go on"),
        "{message}"
    );
    let message = blocked(&case, "observed", "ObserveOnly").await;
    assert!(
        message.contains("the object's management is Observe"),
        "{message}"
    );
    assert!(message.contains("deletionPolicy"), "{message}");
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let change = async |patch: Value| {
        connections
            .patch(
                &connection,
                &PatchParams::default(),
                &Patch::Merge(&json!({"spec": patch})),
            )
            .await
            .expect("the connection is accepted");
    };
    let granted = |verbs: Value| json!({"grants": [{"name": "all", "namespaces": {"all": true}, "allow": verbs}]});
    change(json!({"management": "Observe"})).await;
    delete(&case, "other").await;
    let message = blocked(&case, "other", "ObserveOnly").await;
    assert!(
        message.contains(&format!("the connection {connection} only observes")),
        "{message}"
    );
    change(json!({"management": "Manage"})).await;
    change(granted(json!(["Create", "Update"]))).await;
    case.annotate("other", RECONCILE, Some("again")).await;
    // What was under way when the grant was taken back may have ended.
    let message = case
        .wait_for("not granted, or gone before that", LIMIT, async || {
            let object = case
                .pools()
                .get_opt("other")
                .await
                .map_err(|error| error.to_string())?;
            let Some(object) = object else {
                return Ok(None);
            };
            let found = super::support::condition(&object, "DeletionBlocked");
            match found {
                Some((_, "NotGranted", message)) => Ok(Some(message.to_owned())),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    if let Some(message) = message {
        assert!(message.contains("Delete"), "{message}");
    }
    assert!(case.sent().await.len() <= sent + 3);
    case.annotate("paused", "poolwright.dev/paused", None).await;
    blocked(&case, "paused", "NotGranted").await;
    change(granted(json!(["Create", "Update", "Delete"]))).await;
    for name in ["paused", "other"] {
        gone(&case, name, GONE).await;
    }
    case.apply("observed", GOES).await;
    gone(&case, "observed", GONE).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    drop(world);
}

/// A connection that is deleted first waits for the pools of its objects; one whose cluster is away keeps the object,
/// which can be let go by Retain.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_go_or_do_not_answer() {
    let (case, connection) = case_on("away", Ceph::own(&[("OSDS", "2")]).await, json!({})).await;
    for name in ["a", "b", "c"] {
        case.apply(name, GOES).await;
        case.ready(name).await;
    }
    let mon = support::Frozen::mon(case.cluster(), "a");
    delete(&case, "a").await;
    delete(&case, "b").await;
    let message = blocked(&case, "a", "Unreachable").await;
    println!("{message}");
    has_all(
        &message,
        [FINALIZER, "from the object's finalizers", "deletionPolicy"],
    );
    case.apply("b", STAYS).await;
    gone(&case, "b", LIMIT).await;
    drop(mon);
    gone(&case, "a", GONE).await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    connections
        .delete(&connection, &DeleteParams::default())
        .await
        .expect("it is deleted");
    delete(&case, "c").await;
    gone(&case, "c", GONE).await;
    case.wait_for("the connection is gone", LIMIT, async || {
        let found = connections
            .get_opt(&connection)
            .await
            .map_err(|error| error.to_string())?;
        holds(found.is_none(), &found)
    })
    .await;
    assert_eq!(case.pool_names().await, [case.pool_name("b")]);
}

/// What is not this object's, or not there any more, lets the object go, and is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn not_ours_any_more() {
    let case = case("notours").await;
    for name in ["gone", "replaced", "marked"] {
        case.apply(name, GOES).await;
        case.ready(name).await;
    }
    case.made("marked").await;
    let [gone_by_hand, replaced, _marked] =
        ["gone", "replaced", "marked"].map(|name| case.pool_name(name));
    for name in [&gone_by_hand, &replaced] {
        case.hand(&remove(name)).await;
    }
    case.hand(&create(&replaced)).await;
    case.hand(&enable(&replaced, "rbd")).await;
    case.mark_of_another("marked").await;
    case.seen().await;
    let strangers = [case.made("replaced").await, case.its_pool("marked").await];
    let sent = case.sent().await.len();
    for name in ["gone", "replaced", "marked"] {
        delete(&case, name).await;
        gone(&case, name, LIMIT).await;
    }
    assert_eq!(
        [
            case.its_pool("replaced").await,
            case.its_pool("marked").await
        ],
        strangers
    );
    assert_eq!(case.sent().await.len(), sent, "not one command");
}

/// A namespace takes its pools with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes() {
    let case = case("space").await;
    let names: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
    for name in &names {
        case.apply(name, GOES).await;
    }
    for name in &names {
        case.ready(name).await;
    }
    case.delete_namespace().await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// A key that may not read objects proves nothing, and the condition names what it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_look() {
    let (case, connection) = case_on("caps", Ceph::shared(), json!({})).await;
    let user = format!("client.poolwright-{connection}");
    case.ceph(&["auth", "caps", &user, "mon", &super::support::CAPS])
        .await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    case.until("a", "names the capability", |object| {
        let found = super::support::condition(object, "DeletionBlocked");
        found.is_some_and(|(_, reason, message)| {
            reason == "NotProven" && message.contains("osd \"allow r\"")
        })
    })
    .await;
    assert_eq!(case.sent().await.len(), sent, "not one command");
    case.ceph(&[
        "auth",
        "caps",
        &user,
        "mon",
        &super::support::CAPS,
        "osd",
        "allow r",
    ])
    .await;
    gone(&case, "a", GONE).await;
}

/// A client that has the pool open writes on, whatever its name is: what it wrote is found by the second look, and the
/// pool has its name back.
#[tokio::test(flavor = "multi_thread")]
async fn filled_between_the_looks() {
    let case = support::slow_case("filled").await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    support::has_figures(&case, &name).await;
    let mut client = Client::open(case.cluster(), &name).await;
    delete(&case, "a").await;
    support::begun(&case, "a").await;
    client.write("late", "words").await;
    let message = blocked(&case, "a", "NotEmpty").await;
    assert!(
        message.contains("late") && !message.contains("At this moment"),
        "{message}"
    );
    assert_eq!(
        case.pool_names().await,
        std::slice::from_ref(&name),
        "its name"
    );
    assert_eq!(client.read("late").await, "words");
    assert_eq!(
        rados(&case, &["-p", &name, "get", "late", "-"], None).await,
        "words"
    );
    rados(&case, &["-p", &name, "rm", "late"], None).await;
    gone(&case, "a", GONE).await;
    let request = delete_request(&case, "a").await;
    let lines = rounds(&request);
    assert_eq!(
        verbs(&lines),
        ["rename", "rename", "rename", "rm"],
        "{lines:?}"
    );
    assert_ne!(lines[0], lines[2], "another private name");
}
