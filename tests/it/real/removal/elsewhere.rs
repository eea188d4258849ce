//! A connection that reaches another cluster than the one that the pool is in.

use super::super::steps::make_annotated;
use super::super::support::has_all;
use super::support::{GONE, blocked, case, delete, gone};
use super::{GOES, STAYS};

/// A pool that is in another cluster is not taken for one that is gone: the object waits until the connection is right,
/// or until a person says that the pool stays.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_is_in_another_cluster() {
    let case = case("elsewhere").await;
    let there = "0a1b2c3d-1111-4222-8333-444455556666";
    make_annotated(
        &case,
        "a",
        GOES,
        &format!("{there}/7/1795441994701364/d6d59394"),
    )
    .await;
    case.stalled("a", "FsidMismatch").await;
    delete(&case, "a").await;
    let message = blocked(&case, "a", "FsidMismatch").await;
    has_all(
        &message,
        [
            &format!("the pool is in cluster {there}"),
            "correct the connection",
        ],
    );
    case.apply("a", STAYS).await;
    gone(&case, "a", GONE).await;
}
