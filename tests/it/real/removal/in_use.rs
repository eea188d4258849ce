//! A pool that only Ceph knows to be in use: the user that looks into it may not see by whom.

use kube::Api;
use kube::api::{Patch, PatchParams};
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::json;

use super::support::{RECONCILE, blocked, case_on, delete, gone, has_figures};
use crate::real::steps::{create, status};
use crate::real::support::{Case, Ceph, LIMIT, holds};

/// An empty pool that a file system may have, and that goes with its object.
const GOES: &str = "{replicated: {size: 2}, applications: [{name: cephfs}], \
    placementGroups: {autoscale: Disabled, count: 2}, deletionPolicy: Delete}";

/// Has the controller's user see no file system but one that there is not, and has it log in anew. One grant that is not
/// bound to a file system would show them all.
async fn may_not_see_file_systems(case: &Case) {
    let user = format!("client.poolwright-{}", case.connection());
    let caps = "allow rwx fsname=elsewhere";
    case.ceph(&["auth", "caps", &user, "mon", caps, "osd", "allow r"])
        .await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let patch = json!({"spec": {"client": {"commandTimeout": "29s"}}});
    connections
        .patch(
            case.connection(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
        .expect("the connection is accepted");
    case.wait_for("there is another session", LIMIT, async || {
        let found = connections.get(case.connection()).await;
        let found = found.map_err(|error| error.to_string())?;
        let status = found.status.clone().unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let current = status.observed_generation == found.metadata.generation;
        holds(ready && current, &status)
    })
    .await;
}

/// Both looks find nothing, and Ceph itself refuses: the pool has its name back, the condition has Ceph's words, and it goes
/// when it is not in use any more.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_file_system_that_may_not_be_seen() {
    let ceph = Ceph::own(&[("OSDS", "2")]).await;
    let (case, _) = case_on("in-use", ceph, json!({})).await;
    may_not_see_file_systems(&case).await;
    case.apply("a", GOES).await;
    let object = case.ready("a").await;
    let (name, meta) = (case.pool_name("a"), case.pool_name("meta"));
    case.hand(&create(&meta)).await;
    case.made("meta").await;
    has_figures(&case, &name).await;
    case.ceph(&["fs", "new", "kept", &meta, &name]).await;
    let before = case.its_pool("a").await;
    delete(&case, "a").await;
    let message = blocked(&case, "a", "Blocked").await;
    assert!(
        message.contains("is in use by CephFS") && message.contains("(code -16)"),
        "{message}"
    );
    assert!(message.contains("take away what Ceph names"), "{message}");
    // It has lost nothing but its name for a moment.
    let after = case.its_pool("a").await;
    assert_eq!(after["pool"].as_i64(), status(&object).pool_id);
    for what in ["create_time", "application_metadata", "size", "pg_num"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    let listed = case.ceph(&["fs", "ls"]).await;
    assert!(listed.contains(&name), "{listed}");

    case.ceph(&["fs", "fail", "kept"]).await;
    case.ceph(&["fs", "rm", "kept", "--yes-i-really-mean-it"])
        .await;
    case.annotate("a", RECONCILE, Some("now")).await;
    gone(&case, "a", LIMIT).await;
    assert_eq!(case.pool_names().await, [meta]);
}
