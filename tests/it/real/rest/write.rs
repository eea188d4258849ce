//! The REST API: what it changes.

use std::sync::Arc;

use kube::ResourceExt;

use poolwright::api::v1alpha1::{ANNOTATION_PAUSED, CephPool};
use serde_json::{Value, json};
use tokio::time::Duration;

use super::super::steps::create_of;
use super::super::support::{Answer, Case, Ceph, LIMIT, Rest, World, holds, pools_of, token};
use super::{admin, fsid};

/// Grants for everything.
pub(super) fn all_grants() -> Value {
    json!({"grants": [{"name": "all", "namespaces": {"all": true},
        "allow": ["Create", "Update", "Adopt", "Rename", "Delete"]}]})
}

/// The controller may list the objects of pools: what removals take.
pub(super) async fn may_list(case: &Case) {
    let caps = [
        "auth",
        "caps",
        "client.poolwright-main",
        "mon",
        "allow *",
        "osd",
        "allow r",
    ];
    case.world.ceph().ceph(&caps).await;
}

/// The ID in a 202, where the answer says that it is found.
pub(super) fn accepted(answer: Answer) -> String {
    let location = answer.headers.get("location").cloned();
    let body = answer.expect(202);
    let id = body["request_id"].as_str().expect("an ID").to_owned();
    assert_eq!(location, Some(format!("/api/v2/request/{id}")));
    id
}

/// A request, when it is complete.
pub(super) async fn complete(rest: &Rest, id: &str) -> Value {
    for _ in 0..6 {
        let told = rest
            .get(&format!("/request/{id}?wait=20s"))
            .await
            .expect(200);
        if told["state"] == "complete" {
            return told;
        }
    }
    panic!(
        "request {id} does not come to its end: {}",
        rest.get(&format!("/request/{id}")).await.text
    );
}

/// The same, which has to have gone well.
pub(super) async fn done(rest: &Rest, id: &str) -> Value {
    let told = complete(rest, id).await;
    assert_eq!(told["error"], false, "{told:#}");
    told
}

/// A pool made over REST, by its id.
pub(super) async fn made(case: &Case, rest: &Rest, fsid: &str, name: &str, more: Value) -> i64 {
    let mut body =
        json!({"name": case.pool_name(name), "namespace": case.namespace, "size": 2, "pg_num": 1});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let id = accepted(
        rest.send("POST", &format!("/cluster/{fsid}/pool"), &body)
            .await,
    );
    done(rest, &id).await;
    case.ceph_pool(name).await.expect("the pool")["pool"]
        .as_i64()
        .expect("an id")
}

/// The object of a pool.
pub(super) async fn object_of(case: &Case, pool: &str) -> CephPool {
    let all = case
        .pools()
        .list(&kube::api::ListParams::default())
        .await
        .expect("objects");
    let mut found = all
        .items
        .into_iter()
        .filter(|object| object.wanted_pool_name() == pool);
    let object = found.next().expect("an object");
    assert!(found.next().is_none(), "two objects for {pool}");
    object
}

/// Must show: Calamari's documented example by REST: 202, complete, two commands, one epoch.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_example() {
    let ceph =
        Arc::new(Ceph::own(&[("OSDS", "3"), ("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")]).await);
    let world = World::shared().await;
    let connection = format!("restcalamari-{}", std::process::id());
    world.connect(&connection, &ceph, json!({})).await;
    let case = Case::with_connection(world, "restseven", &connection, ceph).await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    loop {
        let next = case.dump().await["pool_max"]
            .as_i64()
            .expect("the highest id")
            + 1;
        if next >= 7 {
            break;
        }
        case.hand(&create_of(&format!("filler-{next}"), 1, Some(2)))
            .await;
    }
    case.wait_for("the cluster is told", LIMIT, async || {
        let answer = rest.get(&format!("/cluster/{fsid}/pool")).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    let body = json!({"name": "foopool", "namespace": case.namespace, "size": 2, "pg_num": 1});
    let id = accepted(
        rest.send("POST", &format!("/cluster/{fsid}/pool"), &body)
            .await,
    );
    let told = done(&rest, &id).await;
    assert_eq!(
        (&told["operation"], &told["object"]),
        (&json!("create"), &json!("foopool"))
    );
    let mut last = 0;
    case.wait_for("the epoch rests", LIMIT, async || {
        let before = std::mem::replace(&mut last, case.epoch().await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        holds(before == last, &last)
    })
    .await;
    let path = format!("/cluster/{fsid}/pool/7");
    let body = json!({"quota_max_bytes": 1_024_000_000, "quota_max_objects": 1_000_000});
    let id = accepted(rest.send("PATCH", &path, &body).await);
    // It is valid at once.
    let new = rest.get(&format!("/request/{id}")).await.expect(200);
    assert_eq!(
        new["requested_by"],
        format!("system:serviceaccount:{}:admin", case.namespace)
    );
    let told = done(&rest, &id).await;
    assert_eq!(case.epoch().await, last + 1, "one epoch");
    assert_eq!(
        told["changed_fields"],
        json!(["quota.maxBytes", "quota.maxObjects"])
    );
    let sent = told["rounds"].as_array().expect("rounds");
    let commands: Vec<&Value> = sent[0]["commands"]
        .as_array()
        .expect("commands")
        .iter()
        .map(|one| &one["command"])
        .collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        commands,
        [
            "ceph osd pool set-quota foopool max_bytes 1024000000",
            "ceph osd pool set-quota foopool max_objects 1000000",
        ]
    );
    let dump = case.dump().await;
    let pool = pools_of(&dump)
        .find(|pool| pool["pool"] == 7)
        .expect("pool 7");
    assert_eq!(
        (&pool["quota_max_bytes"], &pool["quota_max_objects"]),
        (&json!(1_024_000_000), &json!(1_000_000))
    );
    // What is so already is not asked for again.
    let answer = rest.send("PATCH", &path, &body).await;
    assert_eq!((answer.status, answer.text.as_str()), (304, ""));
    // Each field that was given stays when another one is.
    done(
        &rest,
        &accepted(
            rest.send("PATCH", &path, &json!({"quota_max_objects": 5}))
                .await,
        ),
    )
    .await;
    let spec = object_of(&case, "foopool").await.spec;
    let quota = spec.quota.expect("a quota");
    assert_eq!(
        (
            quota.max_bytes.and_then(|bytes| bytes.bytes()),
            quota.max_objects
        ),
        (Some(1_024_000_000), Some(5))
    );
    assert_eq!(spec.replicated.and_then(|block| block.size), Some(2));
}

/// Names, rights and bodies: what cannot be is said before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be() {
    let case = Case::shared("restwrong").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let pools = format!("/cluster/{fsid}/pool");
    let id = made(&case, &rest, &fsid, "a", json!({"size": 2, "min_size": 0})).await;
    let path = format!("{pools}/{id}");
    let taken = json!({"name": case.pool_name("a"), "namespace": case.namespace});
    let said = rest.send("POST", &pools, &taken).await;
    assert_eq!(said.json()["field"], "name");
    said.problem(409);
    // By an object whose pool is not there yet.
    case.apply("b", "{replicated: {size: 2}, management: Observe}")
        .await;
    let wished = json!({"name": case.pool_name("b"), "namespace": case.namespace});
    case.wait_for("the wish is told", LIMIT, async || {
        let answer = rest.send("POST", &pools, &wished).await;
        holds(answer.status == 409, &answer)
    })
    .await;
    for (body, field) in [
        (
            json!({"name": "x", "namespace": case.namespace, "crush_ruleset": 0}),
            "crush_ruleset",
        ),
        (
            json!({"name": "x", "namespace": case.namespace, "size": 99}),
            "size",
        ),
        (
            json!({"name": "x", "namespace": case.namespace, "size": "3"}),
            "size",
        ),
        (
            json!({"name": "x", "namespace": case.namespace, "crush_rule": "nowhere"}),
            "crush_rule",
        ),
        (
            json!({"name": "x", "namespace": "no-such-namespace"}),
            "namespace",
        ),
        (json!({"name": "x"}), "namespace"),
        (json!({"namespace": case.namespace}), "name"),
        (json!({"name": "", "namespace": case.namespace}), "name"),
        (
            json!({"name": "a/b\n", "namespace": case.namespace}),
            "name",
        ),
        (
            json!({"name": "x", "namespace": case.namespace, "connection": "nowhere"}),
            "connection",
        ),
    ] {
        let answer = rest.send("POST", &pools, &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.json()["field"], field, "{body}");
    }
    for (body, field) in [
        (json!({"crash_replay_interval": 1}), "crash_replay_interval"),
        (json!({"pgp_num": 7}), "pgp_num"),
        (json!({"hashpspool": false}), "hashpspool"),
        (json!({"quota_max_objects": -1}), "quota_max_objects"),
        (json!({"nope": 1}), "nope"),
    ] {
        let answer = rest.send("PATCH", &path, &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.json()["field"], field, "{body}");
    }
    rest.send("PATCH", &path, &json!({})).await.problem(400);
    rest.send("PATCH", &path, &json!([])).await.problem(400);
    rest.send("PATCH", &format!("{path}?force=maybe"), &json!({"size": 2}))
        .await
        .problem(400);
    rest.send("PATCH", &format!("{pools}/999999"), &json!({"size": 2}))
        .await
        .problem(404);
    rest.send("DELETE", &format!("{pools}/999999"), &json!({}))
        .await
        .problem(404);
    rest.send("DELETE", &path, &json!({"yes": true}))
        .await
        .problem(400);
    // The pool's own name is no collision; another one's is.
    let own = rest
        .send("PATCH", &path, &json!({"name": case.pool_name("a")}))
        .await;
    assert_eq!(own.status, 304, "{own:?}");
    case.hand(&create_of(&case.pool_name("c"), 1, Some(2)))
        .await;
    let other = case.ceph_pool("c").await.expect("the pool")["pool"].clone();
    case.wait_for("the other pool is told", LIMIT, async || {
        let answer = rest.get(&format!("{pools}/{other}")).await;
        holds(answer.status == 200, &answer)
    })
    .await;
    let answer = rest
        .send("PATCH", &path, &json!({"name": case.pool_name("c")}))
        .await;
    assert_eq!(answer.json()["field"], "name");
    answer.problem(409);
    // What changed since is not changed over.
    let etag = rest.get(&path).await.headers["etag"].clone();
    let call = async |tag: &str, body: Value| {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        rest.call("PATCH", &path, &headers, &body.to_string()).await
    };
    let id = accepted(call(&etag, json!({"quota_max_objects": 7})).await);
    done(&rest, &id).await;
    case.wait_for("the ETag is another", LIMIT, async || {
        let now = rest.get(&path).await.headers["etag"].clone();
        holds(now != etag, &now)
    })
    .await;
    call(&etag, json!({"quota_max_objects": 8}))
        .await
        .problem(412);
    // A dangerous step names its token, and passes with it.
    let id = accepted(rest.send("PATCH", &path, &json!({"min_size": 1})).await);
    let refused = complete(&rest, &id).await;
    let words = refused["error_message"].as_str().expect("words").to_owned();
    assert_eq!(refused["error"], true, "{refused}");
    let token = words
        .split("poolwright.dev/confirm=")
        .nth(1)
        .expect("a token");
    let token: String = token.chars().take_while(char::is_ascii_hexdigit).collect();
    let id = accepted(
        rest.send("PATCH", &path, &json!({"min_size": 1, "token": token}))
            .await,
    );
    complete(&rest, &id).await;
    case.wait_for("one copy is enough", LIMIT, async || {
        let pool = case.ceph_pool("a").await.ok_or("no pool")?;
        holds(pool["min_size"] == 1, &pool["min_size"])
    })
    .await;
    // An object that is paused takes no change.
    let object = object_of(&case, &case.pool_name("a")).await;
    case.annotate(&object.name_any(), ANNOTATION_PAUSED, Some("true"))
        .await;
    let said = rest
        .send("PATCH", &path, &json!({"quota_max_objects": 9}))
        .await
        .problem(409);
    assert!(said.contains("paused"), "{said}");
}

/// A field that somebody else manages is theirs, until it is taken over by whoever may; others can be changed beside it.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_others() {
    let case = Case::shared("restowned").await;
    let (rest, fsid) = (admin(&case).await, fsid(&case).await);
    let spec = "{replicated: {size: 2}, placementGroups: {autoscale: Disabled, count: 1}, applications: [{name: rbd}], \
                quota: {maxObjects: 5}}";
    case.apply("a", spec).await;
    case.ready("a").await;
    let id = case.ceph_pool("a").await.expect("the pool")["pool"].clone();
    let path = format!("/cluster/{fsid}/pool/{id}");
    let answer = rest
        .send("PATCH", &path, &json!({"quota_max_objects": 6}))
        .await;
    let told = answer.json();
    assert_eq!(
        (&told["field"], &told["manager"]),
        (&json!("quota_max_objects"), &json!("test")),
        "{told}"
    );
    answer.problem(409);
    done(
        &rest,
        &accepted(
            rest.send("PATCH", &path, &json!({"quota_max_bytes": 1024}))
                .await,
        ),
    )
    .await;
    // What they say anyway stays theirs.
    assert_eq!(
        rest.send("PATCH", &path, &json!({"quota_max_objects": 5}))
            .await
            .status,
        304
    );

    let editor = token(&case.client, &case.namespace, "editor", &[]).await;
    let editor = case.world.running().expect("it runs").rest().with(&editor);
    for (name, role, cluster) in [("edit", "edit", false), ("see", "poolwright-view", true)] {
        let kind = if cluster {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        let metadata = if cluster {
            json!({"name": format!("{name}-{}", case.namespace)})
        } else {
            json!({"name": name, "namespace": case.namespace})
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": case.namespace}],
        });
        let said = case
            .kubectl_with(&["apply", "-f", "-"], Some(&binding.to_string()))
            .await;
        assert!(said.ok, "{said:?}");
    }
    // The roles of the chart are not installed here: what people may do is said by the test.
    let roles = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "poolwright-view"},
         "rules": [{"apiGroups": ["poolwright.dev"], "resources": ["clusterconnections"], "verbs": ["get"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
         "metadata": {"name": "pools", "namespace": case.namespace},
         "rules": [{"apiGroups": ["poolwright.dev"], "resources": ["cephpools", "cephrequests"],
                    "verbs": ["get", "create", "patch", "delete"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "pools", "namespace": case.namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pools"},
         "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": case.namespace}]},
    ]});
    let said = case
        .kubectl_with(&["apply", "-f", "-"], Some(&roles.to_string()))
        .await;
    assert!(said.ok, "{said:?}");
    let force = format!("{path}?force=true");
    let body = json!({"quota_max_objects": 6});
    case.wait_for("the editor may patch, and not force", LIMIT, async || {
        let plain = editor.send("PATCH", &path, &body).await;
        holds(plain.status == 409, &plain)
    })
    .await;
    let said = editor.send("PATCH", &force, &body).await.problem(403);
    assert!(said.contains("force cephpools"), "{said}");
    done(&rest, &accepted(rest.send("PATCH", &force, &body).await)).await;
    assert_eq!(
        case.ceph_pool("a").await.expect("the pool")["quota_max_objects"],
        6
    );
}
