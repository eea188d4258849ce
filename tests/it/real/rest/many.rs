//! The REST API: many changes at once.

use kube::ResourceExt;
use poolwright::api::v1alpha1::Operation;
use serde_json::json;

use super::super::support::{Case, Own, World, pools_of};
use super::write::{accepted, done, made, object_of};
use super::{admin, fsid};

/// Must show: 200 changes of different fields over 20 pools at once: all hold in the end, none lost, none doubled.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    let world = World::own(Own::default()).await;
    let case = Case::new(world, "restmany").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}")).collect();
    let ids = futures::future::join_all(
        names
            .iter()
            .map(|name| made(&case, &rest, &fsid, name, json!({}))),
    )
    .await;
    let changes = [
        json!({"quota_max_objects": 11}),
        json!({"quota_max_bytes": 22_000_000}),
        json!({"pg_autoscale_mode": "warn"}),
        json!({"min_size": 2}),
        json!({"size": 3}),
        json!({"crush_rule": "replicated_rule"}),
        json!({"application": "cephfs"}),
        json!({"application": "rgw"}),
        json!({"quota_max_bytes": 22_000_000}),
        json!({"quota_max_objects": 11}),
    ];
    let began = tokio::time::Instant::now();
    let before = quotas(&case).await;
    let calls = ids
        .iter()
        .flat_map(|id| changes.iter().map(move |change| (id, change)));
    let answers = futures::future::join_all(calls.map(async |(id, change)| {
        rest.send("PATCH", &format!("/cluster/{fsid}/pool/{id}"), change)
            .await
    }))
    .await;
    let mut requests = Vec::new();
    for answer in answers {
        assert!([202, 304].contains(&answer.status), "{answer:?}");
        if answer.status == 202 {
            requests.push(accepted(answer));
        }
    }
    println!(
        "{} of 200 accepted, the others were so already, after {:?}",
        requests.len(),
        began.elapsed()
    );
    let mut unique = requests.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), requests.len(), "none doubled");
    futures::future::join_all(requests.iter().map(async |id| done(&rest, id).await)).await;
    println!("all complete after {:?}", began.elapsed());
    let dump = case.dump().await;
    for (name, id) in names.iter().zip(&ids) {
        let pool = pools_of(&dump)
            .find(|pool| pool["pool"] == *id)
            .expect("the pool");
        let shown = json!([
            pool["quota_max_objects"],
            pool["quota_max_bytes"],
            pool["pg_autoscale_mode"],
            pool["size"],
            pool["min_size"],
        ]);
        assert_eq!(shown, json!([11, 22_000_000, "warn", 3, 2]), "{name}");
        let applications: Vec<&String> = pool["application_metadata"]
            .as_object()
            .expect("applications")
            .keys()
            .collect();
        assert_eq!(applications, ["cephfs", "rbd", "rgw"], "{name}");
    }
    // Each quota was sent once.
    let sent = quotas(&case).await - before;
    assert_eq!(sent, 40, "two for each pool");
    for name in &names {
        let object = object_of(&case, &case.pool_name(name)).await;
        for request in case.requests(&object.name_any()).await {
            assert_ne!(request.spec.operation, Operation::Correct, "{request:#?}");
            let status = request.status.clone().unwrap_or_default();
            assert!(status.outcome.is_some(), "{request:#?}");
        }
    }
}

/// How often a quota was sent.
async fn quotas(case: &Case) -> u64 {
    let sent = case.world.commands().await;
    sent.get("osd pool set-quota").copied().unwrap_or_default()
}
