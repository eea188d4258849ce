//! The REST API: calls that are made again, and servers that are ended in the middle of one.

use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::Duration;

use super::super::support::{Case, LIMIT, Own, World, holds, rounds};
use super::write::{accepted, done, made, object_of};
use super::{admin, fsid};

/// The same call with the same key is one request, also after a restart; another call with it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn asked_twice() {
    let world = World::own(Own::default()).await;
    let case = Case::new(world, "resttwice").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let pools = format!("/cluster/{fsid}/pool");
    let body =
        json!({"name": case.pool_name("a"), "namespace": case.namespace, "size": 2, "pg_num": 1});
    let call = async |method: &str, path: &str, key: &str, body: &Value| {
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        rest.call(method, path, &headers, &body.to_string()).await
    };
    let first = accepted(call("POST", &pools, "one", &body).await);
    assert_eq!(accepted(call("POST", &pools, "one", &body).await), first);
    done(&rest, &first).await;
    // Though the pool exists by now.
    assert_eq!(accepted(call("POST", &pools, "one", &body).await), first);
    let other = json!({"name": case.pool_name("b"), "namespace": case.namespace});
    call("POST", &pools, "one", &other).await.problem(422);
    call("POST", &pools, "ä", &body).await.problem(400);
    let id = case.ceph_pool("a").await.expect("the pool")["pool"].clone();
    let path = format!("{pools}/{id}");
    let change = json!({"quota_max_objects": 7});
    // At once, from many.
    let all = futures::future::join_all((0..8).map(|_| call("PATCH", &path, "two", &change))).await;
    let mut ids: Vec<String> = all
        .into_iter()
        .filter(|answer| answer.status == 202)
        .map(accepted)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    done(&rest, &ids[0]).await;
    case.world.kill_controller();
    case.world.start_controller().await;
    case.wait_for("the cluster is told", LIMIT, async || {
        let answer = rest.get(&pools).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    assert_eq!(accepted(call("POST", &pools, "one", &body).await), first);
    assert_eq!(accepted(call("PATCH", &path, "two", &change).await), ids[0]);
    let all = case
        .requests(&object_of(&case, &case.pool_name("a")).await.name_any())
        .await;
    assert_eq!(all.len(), 2, "{all:#?}");
    // A key is the caller's own.
    assert!(all.iter().all(|request| {
        let key = request.spec.idempotency_key.as_deref().unwrap_or_default();
        key.len() == 129 && !key.contains("one")
    }));
    // What is refused frees its key.
    let taken = json!({"name": case.pool_name("a"), "namespace": case.namespace, "size": 3});
    call("POST", &pools, "three", &taken).await.problem(409);
    let new =
        json!({"name": case.pool_name("c"), "namespace": case.namespace, "size": 2, "pg_num": 1});
    done(&rest, &accepted(call("POST", &pools, "three", &new).await)).await;
}

/// Ended between what it applied and its record, the server loses nothing: the object tells the controller.
#[tokio::test(flavor = "multi_thread")]
async fn ended_in_between() {
    let world = World::own(Own::default()).await;
    let case = Case::new(world, "restkill").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let id = made(&case, &rest, &fsid, "a", json!({})).await;
    let path = format!("/cluster/{fsid}/pool/{id}");
    let object = object_of(&case, &case.pool_name("a")).await.name_any();
    for (number, (point, key)) in [
        ("before rest record#1", None),
        ("before rest record#1", Some("k1")),
        ("after rest record#1", Some("k2")),
        ("before rest apply#1", Some("k3")),
        ("after rest apply#1", None),
    ]
    .into_iter()
    .enumerate()
    {
        case.world.kill_controller();
        let controller = case.world.armed_controller(point).await;
        let known = async |what: &str| {
            case.wait_for(what, LIMIT, async || {
                let answer = rest.get(&path).await;
                holds(answer.status == 200, &answer)
            })
            .await;
        };
        known("the cluster is told").await;
        let body = json!({"quota_max_objects": 100 + number}).to_string();
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        // Nobody answers: the process is gone.
        let asked = tokio::spawn({
            let (rest, path, body) = (rest.clone(), path.clone(), body.clone());
            let headers: Vec<(String, String)> = headers
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            async move {
                let headers: Vec<(&str, &str)> = headers
                    .iter()
                    .map(|(a, b)| (a.as_str(), b.as_str()))
                    .collect();
                rest.call("PATCH", &path, &headers, &body).await
            }
        });
        case.wait_for("it is ended", LIMIT, async || {
            holds(controller.ended().is_some(), &point)
        })
        .await;
        assert!(asked.await.is_err(), "{point}: there was an answer");
        drop(controller);
        case.world.start_controller().await;
        known("the cluster is told again").await;
        // Whoever got no answer asks again.
        let answer = case
            .wait_for("an answer", Duration::from_secs(90), async || {
                let answer = rest.call("PATCH", &path, &headers, &body).await;
                holds(answer.status == 202 || answer.status == 304, &answer)?;
                Ok(answer)
            })
            .await;
        if answer.status == 202 {
            done(&rest, &accepted(answer)).await;
        }
        case.wait_for("the quota", LIMIT, async || {
            let pool = case.ceph_pool("a").await.ok_or("no pool")?;
            holds(
                pool["quota_max_objects"] == 100 + number,
                &pool["quota_max_objects"],
            )
        })
        .await;
        // Every request there is comes to its end.
        case.wait_for("all are complete", LIMIT, async || {
            let all = case.requests(&object).await;
            let open = all.iter().filter(|request| {
                request
                    .status
                    .as_ref()
                    .is_none_or(|status| status.outcome.is_none())
            });
            holds(open.count() == 0, &all)
        })
        .await;
        if key.is_some() {
            let all = case.requests(&object).await;
            let of_it = all.iter().filter(|request| {
                rounds(request)
                    .iter()
                    .flatten()
                    .any(|line| line.ends_with(&format!(" {}", 100 + number)))
            });
            assert_eq!(of_it.count(), 1, "{point}: sent once: {all:#?}");
        }
    }
    // Right after the 202.
    let body = json!({"quota_max_objects": 500});
    let id = accepted(rest.send("PATCH", &path, &body).await);
    case.world.kill_controller();
    case.world.start_controller().await;
    let told = case
        .wait_for("the request is known", LIMIT, async || {
            let answer = rest.get(&format!("/request/{id}")).await;
            holds(answer.status == 200, &answer)
        })
        .await;
    let () = told;
    done(&rest, &id).await;
    assert_eq!(
        case.ceph_pool("a").await.expect("the pool")["quota_max_objects"],
        500
    );
}
