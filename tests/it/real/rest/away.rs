//! A cluster that does not answer.

use serde_json::json;

use super::{SPEC, admin, fsid};
use crate::real::support::{Case, LIMIT, Own, Rest, World, holds};

/// What was seen is told for as long as it is in memory, with a word on it; nothing is made up, and nothing is the
/// server's fault. Another replica tells the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away() {
    let own = Own {
        args: vec![
            "--leader-elect".to_owned(),
            "--leader-elect-namespace=poolwright-system".to_owned(),
        ],
        ..Own::default()
    };
    let world = World::own(own).await;
    let case = Case::new(world, "restaway").await;
    case.apply("a", SPEC).await;
    let object = case.ready("a").await;
    let request = object.status.and_then(|status| status.request_id);
    let request = request.expect("a request");
    let (leader, fsid) = (admin(&case).await, fsid(&case).await);
    let path = format!("/cluster/{fsid}/pool");
    let pools = leader.get(&path).await.expect(200);

    // A replica that does not lead has a view, and the requests, of its own.
    let replica = case.world.another_controller(1).await;
    let standby = Rest::like(&leader, &replica.rest());
    case.wait_for("the other replica has a view", LIMIT, async || {
        let answer = standby.get(&path).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    assert_eq!(standby.get(&path).await.expect(200), pools);
    let told = leader.get(&format!("/request/{request}")).await.expect(200);
    let again = standby
        .get(&format!("/request/{request}"))
        .await
        .expect(200);
    assert_eq!(told, again);

    case.world.ceph().monitor("kill-mon").await;
    let one = format!("/cluster/{fsid}");
    for who in [&leader, &standby] {
        case.wait_for("it is said that contact is lost", LIMIT, async || {
            let cluster = who.get(&one).await.expect(200);
            holds(cluster["contact"] == "lost", &cluster)
        })
        .await;
        let cluster = who.get(&one).await.expect(200);
        let said = cluster["contact_message"].as_str().expect("words");
        assert!(said.contains("have not answered for"), "{said}");
        assert_eq!(
            who.get(&path).await.expect(200),
            pools,
            "as they were seen last"
        );
    }

    // A replica that has never seen it has nothing to tell.
    let new = case.world.another_controller(2).await;
    let new_one = Rest::like(&leader, &new.rest());
    case.wait_for("the new replica knows the connection", LIMIT, async || {
        let answer = new_one.get("/cluster").await;
        holds(answer.status == 200 && answer.json() != json!([]), &answer)
    })
    .await;
    let cluster = new_one.get(&one).await.expect(200);
    assert_eq!(
        (&cluster["epoch"], &cluster["update_time"]),
        (&json!(null), &json!(null))
    );
    assert_ne!(cluster["contact"], "connected", "{cluster}");
    for path in [
        &path,
        &format!("{path}/1"),
        &format!("/cluster/{fsid}/crush_rule"),
    ] {
        let answer = new_one.get(path).await;
        assert_eq!(answer.headers["retry-after"], "5");
        let said = answer.problem(503);
        assert!(said.contains("ClusterConnection main"), "{said}");
    }
    // Requests are Kubernetes' and are there all the same, those from before it was started too.
    let list = new_one.get("/request?page_size=1000").await.expect(200);
    let mut listed = list["results"].as_array().expect("results").iter();
    assert!(listed.any(|found| *found == told), "{list}");
    assert_eq!(
        new_one
            .get(&format!("/request/{request}"))
            .await
            .expect(200),
        told
    );

    case.world.ceph().monitor("start-mon").await;
    case.wait_for("all of them see it again", LIMIT * 2, async || {
        for who in [&leader, &standby, &new_one] {
            let cluster = who.get(&one).await;
            if cluster.status != 200 || cluster.json()["contact"] != "connected" {
                return Err(format!("{cluster:?}"));
            }
        }
        Ok(())
    })
    .await;
    new_one.get(&path).await.expect(200);
}
