//! The REST API: pools that are removed, taken over, and not made after all.

use kube::ResourceExt;
use poolwright::api::v1alpha1::CephPool;
use serde_json::json;

use super::super::steps::create_of;
use super::super::support::{Case, LIMIT, Own, World, holds};
use super::write::{accepted, all_grants, complete, done, made, may_list};
use super::{admin, fsid};

/// A pool goes by REST when it is empty; one that holds data says how it is confirmed; one without an object is taken over
/// first.
#[tokio::test(flavor = "multi_thread")]
async fn removals() {
    let world = World::own(Own {
        connection: all_grants(),
        args: vec!["--rest-namespace=rest-default".to_owned()],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "restremove").await;
    case.world.namespace(&case.client, "rest-default").await;
    may_list(&case).await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let pools = format!("/cluster/{fsid}/pool");
    let id = made(&case, &rest, &fsid, "a", json!({})).await;
    let removal = accepted(
        rest.send("DELETE", &format!("{pools}/{id}"), &json!({}))
            .await,
    );
    // A second call is about the same request.
    let again = rest
        .send("DELETE", &format!("{pools}/{id}"), &json!({}))
        .await;
    if again.status == 202 {
        assert_eq!(accepted(again), removal);
    }
    let told = done(&rest, &removal).await;
    assert_eq!(told["operation"], "delete");
    assert!(case.ceph_pool("a").await.is_none());
    rest.get(&format!("{pools}/{id}")).await.problem(404);

    let id = made(&case, &rest, &fsid, "full", json!({})).await;
    let pool = case.pool_name("full");
    let file = std::env::temp_dir().join(format!("{pool}.data"));
    std::fs::write(&file, "data").expect("a file");
    let conf = case.world.ceph().dir().join("ceph.conf");
    let put = super::super::support::run(
        tokio::process::Command::new("rados")
            .args(["-c"])
            .arg(conf)
            .args(["-p", &pool, "put", "thing"])
            .arg(&file),
        None,
    )
    .await;
    assert!(put.ok, "{put:?}");
    let removal = accepted(
        rest.send("DELETE", &format!("{pools}/{id}"), &json!({}))
            .await,
    );
    let words = case
        .wait_for("the refusal is told", LIMIT, async || {
            let told = rest.get(&format!("/request/{removal}")).await.expect(200);
            let status = told["status"].as_str().unwrap_or_default().to_owned();
            holds(status.contains("poolwright.dev/confirm="), &told)?;
            Ok(status)
        })
        .await;
    let token: String = words
        .split("poolwright.dev/confirm=")
        .nth(1)
        .expect("a token")
        .chars()
        .take_while(char::is_ascii_hexdigit)
        .collect();
    let said = rest
        .send("POST", &format!("/request/{removal}/cancel"), &json!({}))
        .await
        .problem(409);
    assert!(said.contains("Retain"), "{said}");
    let answer = rest
        .send("DELETE", &format!("{pools}/{id}"), &json!({"token": token}))
        .await;
    assert_eq!(accepted(answer), removal);
    done(&rest, &removal).await;
    assert!(case.ceph_pool("full").await.is_none());

    // Of nobody: adopted, then removed.
    case.hand(&create_of(&case.pool_name("hand"), 1, Some(2)))
        .await;
    let id = case.ceph_pool("hand").await.expect("the pool")["pool"].clone();
    case.wait_for("it is told", LIMIT, async || {
        let answer = rest.get(&format!("{pools}/{id}")).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    let removal = accepted(
        rest.send("DELETE", &format!("{pools}/{id}"), &json!({}))
            .await,
    );
    done(&rest, &removal).await;
    assert!(case.ceph_pool("hand").await.is_none());
}

/// A pool that no object has gets one by its first change, which names nothing but that.
#[tokio::test(flavor = "multi_thread")]
async fn adoption_by_change() {
    let world = World::own(Own {
        connection: all_grants(),
        args: vec!["--rest-namespace=rest-default".to_owned()],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "restadopt").await;
    case.world.namespace(&case.client, "rest-default").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    case.hand(&create_of(&case.pool_name("Hand_Made"), 1, Some(2)))
        .await;
    let id = case.ceph_pool("Hand_Made").await.expect("the pool")["pool"].clone();
    let path = format!("/cluster/{fsid}/pool/{id}");
    case.wait_for("it is told", LIMIT, async || {
        let answer = rest.get(&path).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    let said = rest
        .send("PATCH", &path, &json!({"quota_max_objects": 7}))
        .await;
    assert_eq!(
        said.json()["field"],
        "application",
        "without one there is no mark"
    );
    said.problem(409);
    let body = json!({"quota_max_objects": 7, "application": "rbd"});
    let adopted = accepted(rest.send("PATCH", &path, &body).await);
    // While it is under way, a second change goes to the same object.
    let second = accepted(
        rest.send("PATCH", &path, &json!({"quota_max_bytes": 4096}))
            .await,
    );
    done(&rest, &adopted).await;
    done(&rest, &second).await;
    let pool = case.ceph_pool("Hand_Made").await.expect("the pool");
    assert_eq!(
        (&pool["quota_max_objects"], &pool["quota_max_bytes"]),
        (&json!(7), &json!(4096))
    );
    assert_eq!(pool["pool"], id);
    let objects = kube::Api::<CephPool>::namespaced(case.client.clone(), "rest-default");
    let all = objects
        .list(&kube::api::ListParams::default())
        .await
        .expect("objects")
        .items;
    assert_eq!(all.len(), 1, "{all:#?}");
    let spec = serde_json::to_value(&all[0].spec).expect("JSON");
    assert_eq!(
        spec,
        json!({
            "connectionRef": {"name": "main"}, "poolName": case.pool_name("Hand_Made"), "type": "Replicated",
            "replicated": {}, "quota": {"maxObjects": 7, "maxBytes": 4096}, "applications": [{"name": "rbd"}],
            "adoptionPolicy": "IfUnowned", "deletionPolicy": "Retain", "management": "Manage",
        })
    );
    assert!(
        all[0].name_any().starts_with("restadopt-"),
        "{}",
        all[0].name_any()
    );
}

/// A request that is cancelled stops; one that is complete stays.
#[tokio::test(flavor = "multi_thread")]
async fn cancelling() {
    let world = World::own(Own {
        ceph: vec![("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "restcancel").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let body =
        json!({"name": case.pool_name("a"), "namespace": case.namespace, "size": 2, "pg_num": 1});
    let id = accepted(
        rest.send("POST", &format!("/cluster/{fsid}/pool"), &body)
            .await,
    );
    rest.send("POST", &format!("/request/{id}/cancel"), &json!({}))
        .await
        .expect(200);
    let told = complete(&rest, &id).await;
    assert_eq!(
        (&told["error"], &told["outcome"]),
        (&json!(true), &json!("cancelled")),
        "{told}"
    );
    let again = rest
        .send("POST", &format!("/request/{id}/cancel"), &json!({}))
        .await
        .expect(200);
    assert_eq!(again["completed_at"], told["completed_at"]);
    assert!(case.ceph_pool("a").await.is_none());
    let none = "00000000-0000-4000-8000-000000000000";
    rest.send("POST", &format!("/request/{none}/cancel"), &json!({}))
        .await
        .problem(404);
}
