//! What an earlier process left on its way.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Duration;

use super::support::{Case, LIMIT, Own, World, condition};

const SMALL: &str = "{replicated: {size: 2}, applications: [{name: rbd}], \
    placementGroups: {autoscale: Disabled, count: 1}}";

/// Must show: a command that was sent for an object whose connection is gone may still come, so after a restart no
/// other object gives a pool the name in it before half a minute has passed.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_object_that_is_not_worked_on() {
    let case = Case::new(World::own(Own::default()).await, "left").await;
    let mut manifest = case.manifest("a", SMALL);
    manifest["spec"]["connectionRef"]["name"] = "gone".into();
    manifest["spec"]["poolName"] = case.pool_name("b").into();
    let said = case
        .kubectl_with(&["apply", "-f", "-"], Some(&manifest.to_string()))
        .await;
    assert!(said.ok, "{said:?}");
    case.world.kill_controller();
    let begun = json!({"status": {"poolName": case.pool_name("b"), "request": {
        "id": "7d6b4f0e-0d5c-4f0c-9d0e-6f1c2b3a4d5e", "generation": 1, "operation": "Create", "state": "Submitted",
        "headline": "Creating pool", "nonce": "ab12cd34",
    }}});
    case.pools()
        .patch_status("a", &PatchParams::default(), &Patch::Merge(begun))
        .await
        .expect("the status");
    case.world.start_controller().await;
    case.apply("b", SMALL).await;
    case.apply("c", SMALL).await;
    case.until("b", "it waits", |object| {
        condition(object, "Reconciling").is_some_and(|(_, _, message)| {
            message.contains(&format!("the name {} is left alone", case.pool_name("b")))
        })
    })
    .await;
    // Nobody else does.
    case.ready("c").await;
    assert!(case.ceph_pool("b").await.is_none());
    let limit = LIMIT + Duration::from_secs(60);
    case.wait_for("b goes on", limit, async || {
        let object = case.object("b").await;
        let ready = condition(&object, "Ready").is_some_and(|ready| ready.0 == "True");
        ready.then_some(()).ok_or_else(|| format!("{object:?}"))
    })
    .await;
}
