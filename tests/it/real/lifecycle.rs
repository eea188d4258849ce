//! What people do with objects during their life: pause, only look, ask again, change their mind, take fields out,
//! delete records and namespaces.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use poolwright::api::v1alpha1::{CephRequest, Operation, Outcome, RequestState};
use serde_json::Value;
use tokio::time::Duration;

use super::steps::{PLAIN, create, enable, marks, pending, ready, slow_case, status};
use super::support::{Case, LIMIT, condition, holds};

const PAUSED: &str = "poolwright.dev/paused";
const RECONCILE: &str = "poolwright.dev/reconcile-requested-at";
const FLUX: &str = "reconcile.fluxcd.io/requestedAt";

/// A small pool for the slow cluster, which has two OSDs.
const SMALL: &str = "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}";

/// A pool with a quota.
fn with_quota(objects: u32) -> String {
    format!(
        "{{replicated: {{size: 2}}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: 2}}, quota: {{maxObjects: {objects}}}}}"
    )
}

/// Waits until an object says that it is paused.
async fn paused(case: &Case, name: &str) -> poolwright::api::v1alpha1::CephPool {
    case.until(name, "Paused", |object| {
        condition(object, "Ready").is_some_and(|ready| ready.1 == "Paused")
    })
    .await
}

/// Paused: nothing is sent, neither for the spec nor against drift; the status says so and what is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn pausing() {
    let case = Case::shared("pause").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.annotate("a", PAUSED, Some("true")).await;
    let object = paused(&case, "a").await;
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
    paused(&case, "b").await;
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
        case.until(name, "the creation is recorded", |object| {
            let request = object
                .status
                .as_ref()
                .and_then(|status| status.request.as_ref());
            request.is_some_and(|request| request.nonce.is_some())
        })
        .await;
        case.annotate(name, PAUSED, Some("true")).await;
    }
    for name in ["a", "b"] {
        paused(&case, name).await;
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
    case.pools()
        .delete("b", &DeleteParams::default())
        .await
        .expect("it is deleted");
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
    case.wait_for("b is gone", LIMIT, async || {
        let found = case
            .pools()
            .get_opt("b")
            .await
            .map_err(|error| error.to_string())?;
        holds(found.is_none(), &found)
    })
    .await;
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
}

/// Observe: differences are told with the commands that would be sent, and nothing is; without differences it is Ready.
#[tokio::test(flavor = "multi_thread")]
async fn observing() {
    let case = Case::shared("observe").await;
    // A pool that nobody manages.
    let name = case.pool_name("a");
    case.hand(&create(&name)).await;
    case.hand(&enable(&name, "rbd")).await;
    case.seen().await;
    let spec = |size: u8| {
        format!(
            "{{replicated: {{size: {size}}}, minSize: 2, management: Observe, quota: {{maxObjects: 5}}}}"
        )
    };
    case.apply("a", &spec(2)).await;
    let message = case.stalled("a", "ObserveOnly").await;
    assert_eq!(
        message,
        "only observed: size is 3 and should be 2; quota.maxObjects is 0 and should be 5"
    );
    let object = case.object("a").await;
    assert_eq!((ready(&object).0, ready(&object).1), ("False", "Drifted"));
    let size = pending(&object, "size").expect("it differs");
    assert_eq!(
        size.command,
        Some(format!("ceph osd pool set {name} size 2"))
    );
    assert_eq!(
        (size.observed.as_deref(), size.desired.as_deref()),
        (Some("3"), Some("2"))
    );
    let min_size = pending(&object, "minSize").expect("it would have to be set after the size");
    assert_eq!(min_size.observed.as_deref(), Some("2"), "what it is now");

    // As `pending` says, by hand.
    for change in &status(&object).pending {
        let command = change.command.as_ref().expect("a command");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        case.ceph(&words).await;
    }
    let object = case.ready("a").await;
    assert_eq!(status(&object).pending, []);
    assert_eq!(case.sent().await, Vec::<Value>::new());
    assert_eq!(
        marks(&case.its_pool("a").await),
        (None, None),
        "it is not ours"
    );
    assert_eq!(status(&object).pool_id, None);

    // One that is not there: the whole plan, each step once.
    case.apply("b", "{replicated: {size: 2}, management: Observe, applications: [{name: rbd}], quota: {maxObjects: 5}}").await;
    let message = case.stalled("b", "ObserveOnly").await;
    let absent = case.pool_name("b");
    assert_eq!(
        message,
        format!("only observed: there is no pool {absent}, and it would be created")
    );
    let object = case.object("b").await;
    let commands: Vec<&str> = status(&object)
        .pending
        .iter()
        .filter_map(|change| change.command.as_deref())
        .collect();
    let unique: BTreeSet<&str> = commands.iter().copied().collect();
    assert_eq!(commands.len(), unique.len(), "{commands:#?}");
    assert!(
        commands[0].starts_with("ceph osd pool create "),
        "{commands:#?}"
    );
    assert!(
        commands
            .iter()
            .any(|command| command.starts_with("ceph osd pool rename ")),
        "{commands:#?}"
    );
    assert!(case.pool_names().await.iter().all(|pool| *pool == name));

    // From looking to keeping, and back.
    let kept = |management: &str| {
        format!(
            "{{replicated: {{size: 2}}, management: {management}, applications: [{{name: rbd}}], quota: {{maxObjects: 5}}}}"
        )
    };
    case.apply("b", &kept("Manage")).await;
    case.ready("b").await;
    case.apply("b", &kept("Observe")).await;
    case.ready("b").await;
    case.set("b", "max_objects", "6").await;
    case.stalled("b", "ObserveOnly").await;
    case.seen().await;
    assert_eq!(case.its_pool("b").await["quota_max_objects"], 6);
    case.apply("b", &kept("Manage")).await;
    case.ready("b").await;
    assert_eq!(case.its_pool("b").await["quota_max_objects"], 5);
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

/// What a request came to.
fn outcome(request: &CephRequest) -> Option<Outcome> {
    request.status.as_ref().and_then(|status| status.outcome)
}

/// Somebody changes their mind in the middle of a run: it goes on towards the newest wish, and the request that was
/// overtaken names the one that did it.
#[tokio::test(flavor = "multi_thread")]
async fn changing_ones_mind() {
    let case = slow_case("mind").await;
    case.apply("a", &with_quota(5)).await;
    // During the creation.
    case.until("a", "the creation is recorded", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| request.nonce.is_some())
    })
    .await;
    case.apply("a", &with_quota(6)).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 6);
    assert_eq!(case.pool_names().await, [case.pool_name("a")], "one pool");
    // During an update, whose round is on its way.
    let before: BTreeSet<String> = case
        .requests("a")
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    case.apply("a", &with_quota(7)).await;
    case.wait_for("its request is recorded", LIMIT, async || {
        let all = case.requests("a").await;
        holds(all.len() > before.len(), &all)
    })
    .await;
    case.apply("a", &with_quota(8)).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 8);
    let newer = case
        .wait_for("all have ended", LIMIT, async || {
            let mut all = case.requests("a").await;
            holds(all.iter().all(|request| outcome(request).is_some()), &all)?;
            all.retain(|request| !before.contains(&request.name_any()));
            Ok(all)
        })
        .await;
    let of = |generation: i64| {
        newer
            .iter()
            .find(|request| request.spec.pool_ref.generation == generation)
    };
    let [overtaken, last] =
        [3, 4].map(|generation| of(generation).unwrap_or_else(|| panic!("{newer:#?}")));
    assert_eq!(
        outcome(overtaken),
        Some(Outcome::Superseded),
        "{overtaken:#?}"
    );
    let error = overtaken
        .status
        .as_ref()
        .and_then(|status| status.error.clone());
    assert_eq!(
        error,
        Some(format!("superseded by request {}", last.name_any()))
    );
    assert_eq!(outcome(last), Some(Outcome::Succeeded), "{last:#?}");
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
    assert!(
        !pool["flags_names"]
            .as_str()
            .unwrap_or_default()
            .contains("noscrub"),
        "{pool}"
    );
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
    case.ceph(&[
        "osd",
        "pool",
        "application",
        "disable",
        &case.pool_name("a"),
        "rgw",
        "--yes-i-really-mean-it",
    ])
    .await;
    case.until("a", "says nothing more of it", |object| {
        condition(object, "Ready")
            .is_some_and(|ready| ready.2 == format!("pool {} is as declared", case.pool_name("a")))
    })
    .await;
}

/// The history: one record for each change, corrections share one, and deleting records loses nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_history() {
    let case = Case::shared("history").await;
    case.apply("a", &with_quota(5)).await;
    case.ready("a").await;
    case.apply("a", &with_quota(6)).await;
    case.ready("a").await;
    for objects in ["7", "8"] {
        case.set("a", "max_objects", objects).await;
        case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 6)
            .await;
        case.ready("a").await;
    }
    let requests = case
        .wait_for("the requests", LIMIT, async || {
            let all = case.requests("a").await;
            let corrections = all
                .iter()
                .filter(|request| request.spec.operation == Operation::Correct)
                .map(|request| {
                    request
                        .status
                        .as_ref()
                        .map_or(0, |status| status.rounds.len())
                });
            holds(
                corrections.sum::<usize>() == 2
                    && all.iter().all(|request| outcome(request).is_some()),
                &all,
            )
            .map(|()| all)
        })
        .await;
    let mut operations: Vec<Operation> = requests
        .iter()
        .map(|request| request.spec.operation)
        .collect();
    operations.sort_by_key(|operation| format!("{operation:?}"));
    assert_eq!(
        operations,
        [Operation::Correct, Operation::Create, Operation::Update]
    );
    let object = case.ready("a").await;
    for request in &requests {
        assert!(
            uuid::Uuid::parse_str(&request.name_any()).is_ok(),
            "{}",
            request.name_any()
        );
        assert_eq!(request.spec.pool_ref.uid, object.uid().expect("a uid"));
        let done = request.status.as_ref().expect("a status");
        assert_eq!(
            (done.state, done.outcome),
            (RequestState::Complete, Some(Outcome::Succeeded))
        );
        assert!(done.observed_epoch >= done.awaited_epoch, "{done:#?}");
        assert!(done.completed_at.is_some());
        for command in done.rounds.iter().flat_map(|round| &round.commands) {
            assert!(
                command.command.starts_with("ceph osd pool ") && command.code == Some(0),
                "{command:#?}"
            );
        }
    }
    let update = requests
        .iter()
        .find(|request| request.spec.operation == Operation::Update)
        .expect("it");
    assert_eq!(update.spec.changed_fields, ["quota.maxObjects"]);
    let line = &update.status.as_ref().expect("a status").rounds[0].commands[0].command;
    assert_eq!(
        *line,
        format!(
            "ceph osd pool set-quota {} max_objects 6",
            case.pool_name("a")
        )
    );
    let correct = requests
        .iter()
        .find(|request| request.spec.operation == Operation::Correct)
        .expect("it");
    assert_eq!(status(&object).request_id, Some(correct.name_any()));

    // Deleted, they are gone, and that is all.
    let api: Api<CephRequest> = Api::namespaced(case.client.clone(), &case.namespace);
    for request in &requests {
        api.delete(&request.name_any(), &DeleteParams::default())
            .await
            .expect("it is deleted");
    }
    case.ready("a").await;
    case.apply("a", &with_quota(9)).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 9);
    let left = case.requests("a").await;
    assert_eq!(left.len(), 1, "{left:#?}");
}

/// A record that is deleted while its request is under way keeps nothing from coming to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_deleted_under_way() {
    let case = slow_case("record").await;
    case.apply("a", SMALL).await;
    let request = case
        .wait_for("its record", LIMIT, async || {
            case.requests("a").await.pop().ok_or("none".to_owned())
        })
        .await;
    let api: Api<CephRequest> = Api::namespaced(case.client.clone(), &case.namespace);
    api.delete(&request.name_any(), &DeleteParams::default())
        .await
        .expect("it is deleted");
    let object = case.ready("a").await;
    assert_eq!(status(&object).request_id, Some(request.name_any()));
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
}

/// A namespace that is deleted goes: its published pools stay in Ceph with their marks, a creation under way is undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_deleted() {
    let case = slow_case("space").await;
    case.apply("a", SMALL).await;
    case.ready("a").await;
    let before = case.made("a").await;
    case.apply("b", SMALL).await;
    case.until("b", "the creation is recorded", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| request.nonce.is_some())
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(case.client.clone());
    namespaces
        .delete(&case.namespace, &DeleteParams::default())
        .await
        .expect("it is deleted");
    case.wait_for(
        "the namespace is gone",
        Duration::from_secs(90),
        async || {
            let found = namespaces
                .get_opt(&case.namespace)
                .await
                .map_err(|error| error.to_string())?;
            holds(found.is_none(), &found)
        },
    )
    .await;
    let pool = case.its_pool("a").await;
    assert_eq!(pool["application_metadata"], before["application_metadata"]);
    let names = case.pool_names().await;
    assert!(
        !names.iter().any(|name| name.contains(".poolwright-")),
        "{names:?}"
    );
}
