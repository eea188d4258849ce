//! Requests: what is recorded of each change, and what becomes of the records.

use std::collections::BTreeSet;

use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use poolwright::api::v1alpha1::{CephRequest, Operation, Outcome, RequestState};

use super::with_quota;
use crate::real::steps::{SMALL, operations, outcome, slow_case, status};
use crate::real::support::{Case, LIMIT, holds};

/// Somebody changes their mind in the middle of a run: it goes on towards the newest wish, and the request that was
/// overtaken names the one that did it.
#[tokio::test(flavor = "multi_thread")]
async fn changing_ones_mind() {
    let case = slow_case("mind").await;
    case.apply("a", &with_quota(5)).await;
    // During the creation.
    case.begun("a").await;
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
    let mut newer = case.all_ended("a").await;
    newer.retain(|request| !before.contains(&request.name_any()));
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
    let mut operations = operations(&requests);
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
