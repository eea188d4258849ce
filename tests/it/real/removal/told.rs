//! What a deletion that waits tells of itself.

use kube::ResourceExt;
use poolwright::api::v1alpha1::Operation;

use super::super::support::{LIMIT, holds};
use super::GOES;
use super::support::{blocked, case, delete, gone, rados};

/// The request ID in the status of a deletion that waits can be followed, though nothing was sent for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_there() {
    let case = case("told").await;
    case.apply("a", GOES).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    rados(&case, &["-p", &name, "put", "precious", "-"], Some("words")).await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    blocked(&case, "a", "NotEmpty").await;
    let told = case.object("a").await.status.and_then(|it| it.request_id);
    let request = case
        .wait_for("the request that is told of", LIMIT, async || {
            let all = case.requests("a").await;
            let found = all.iter().find(|it| Some(it.name_any()) == told).cloned();
            found.ok_or_else(|| format!("{told:?} is not in {all:#?}"))
        })
        .await;
    assert_eq!(request.spec.operation, Operation::Delete);
    assert_eq!(case.sent().await.len(), sent, "not one command");
    rados(&case, &["-p", &name, "rm", "precious"], None).await;
    gone(&case, "a", super::GONE).await;
    case.wait_for("it is the one that ends", LIMIT, async || {
        let all = case.requests("a").await;
        let of_removal = all
            .iter()
            .filter(|it| it.spec.operation == Operation::Delete);
        let ended: Vec<_> = of_removal
            .map(|it| (it.name_any(), it.status.as_ref().and_then(|it| it.outcome)))
            .collect();
        let only = [(
            request.name_any(),
            Some(poolwright::api::v1alpha1::Outcome::Succeeded),
        )];
        holds(ended == only, &ended)
    })
    .await;
}
