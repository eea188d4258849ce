//! The REST API: what it reads, and how it says that something is wrong.

mod access;
mod away;
mod contract;
mod ended;
mod many;
mod removals;
mod tls;
mod write;

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::support::{Answer, Case, LIMIT, Rest, apply, holds, token};

/// A pool that is made at once.
const SPEC: &str = "{replicated: {size: 2}, placementGroups: {autoscale: Disabled, count: 1}, \
    applications: [{name: rbd}], quota: {maxObjects: 5}}";

/// Somebody who may do everything, at the shared controller.
async fn admin(case: &Case) -> Rest {
    let mine = token(&case.client, &case.namespace, "admin", &[]).await;
    let name = format!("rest-admin-{}", case.namespace);
    let everything = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "admin", "namespace": case.namespace}],
    });
    let bindings =
        kube::Api::<k8s_openapi::api::rbac::v1::ClusterRoleBinding>::all(case.client.clone());
    apply(&bindings, &name, &everything)
        .await
        .expect("the binding is accepted");
    let controller = case.world.running().expect("the controller runs");
    controller.rest().with(&mine)
}

/// The fsid of the shared cluster.
async fn fsid(case: &Case) -> String {
    let said = case.ceph(&["fsid"]).await;
    said.trim().to_owned()
}

/// The request of a CephPool's last change.
async fn request_of(case: &Case, name: &str) -> String {
    let object = case.ready(name).await;
    let id = object.status.and_then(|status| status.request_id);
    id.expect("a request")
}

/// Anybody may know what this is and how to call it; everything else needs a token.
#[tokio::test(flavor = "multi_thread")]
async fn the_open_door() {
    let case = Case::shared("restopen").await;
    let nobody = case.world.running().expect("it runs").rest();
    let info = nobody.get("/info").await.expect(200);
    assert_eq!(info["name"], "poolwright");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    let document = nobody.get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let closed = document["paths"].as_object().expect("paths").iter();
    let mut asked = 0;
    for (path, calls) in closed {
        for method in calls.as_object().expect("calls").keys() {
            if path.ends_with("/info") || path.ends_with("/openapi.json") {
                continue;
            }
            asked += 1;
            let path = path
                .strip_prefix("/api/v2")
                .expect("below /api/v2")
                .replace("{pool_id}", "1")
                .replace(['{', '}'], "");
            let answer = nobody.call(&method.to_uppercase(), &path, &[], "").await;
            assert_eq!(
                answer.headers["www-authenticate"], "Bearer realm=\"poolwright\"",
                "{method} {path}"
            );
            answer.problem(401);
        }
    }
    assert!(asked >= 8, "{asked}");
}

/// Clusters, pools and rules are those of the OSD map; a pool that has not changed is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is() {
    let case = Case::shared("restread").await;
    case.apply("a", SPEC).await;
    case.ready("a").await;
    let (admin, fsid) = (admin(&case).await, fsid(&case).await);

    let clusters = admin.get("/cluster").await.expect(200);
    let ours = clusters
        .as_array()
        .expect("a list")
        .iter()
        .find(|cluster| cluster["id"] == fsid.as_str())
        .expect("the cluster");
    assert_eq!(ours["contact"], "connected");
    let cluster = admin.get(&format!("/cluster/{fsid}")).await.expect(200);
    assert_eq!(cluster["name"], ours["name"]);
    assert!(
        cluster["release"].is_string() && cluster["epoch"].is_u64(),
        "{cluster}"
    );
    let upper = fsid.to_uppercase();
    admin.get(&format!("/cluster/{upper}")).await.expect(200);

    let name = case.pool_name("a");
    let pools = admin
        .get(&format!("/cluster/{fsid}/pool"))
        .await
        .expect(200);
    let pools = pools.as_array().expect("a list");
    let pool = pools.iter().find(|pool| pool["name"] == name.as_str());
    let pool = pool.expect("the pool").clone();
    let in_ceph = case.ceph_pool("a").await.expect("the pool");
    let dumped = |field: &str| in_ceph[field].clone();
    for (field, expected) in [
        ("id", dumped("pool")),
        ("size", json!(2)),
        ("min_size", dumped("min_size")),
        ("pg_num", json!(1)),
        ("pgp_num", json!(1)),
        ("type", json!("replicated")),
        ("quota_max_objects", json!(5)),
        ("quota_max_bytes", json!(0)),
        ("hashpspool", json!(true)),
        ("full", json!(false)),
        ("erasure_code_profile", json!("")),
        ("applications", json!(["rbd"])),
    ] {
        assert_eq!(pool[field], expected, "{field}");
    }
    // All of the map, also what no object manages.
    let unmanaged = case.pool_name("unmanaged");
    case.ceph(&["osd", "pool", "create", &unmanaged, "1"]).await;
    case.wait_for("a pool made by hand is seen", LIMIT, async || {
        let pools = admin
            .get(&format!("/cluster/{fsid}/pool"))
            .await
            .expect(200);
        let mut names = pools.as_array().expect("a list").iter();
        holds(names.any(|pool| pool["name"] == unmanaged.as_str()), &pools)
    })
    .await;

    let defaults = admin.get(&format!("/cluster/{fsid}/pool?defaults")).await;
    let defaults = defaults.expect(200);
    let said = async |key: &str| {
        let said = case.ceph(&["config", "get", "mon", key]).await;
        said.trim().to_owned()
    };
    let size = said("osd_pool_default_size").await;
    assert_eq!(defaults["size"].to_string(), size);
    assert_eq!(
        defaults["hashpspool"].to_string(),
        said("osd_pool_default_flag_hashpspool").await
    );
    assert_eq!(defaults["crush_rule"], "replicated_rule");
    assert_eq!(
        (&defaults["name"], &defaults["quota_max_bytes"]),
        (&json!(null), &json!(0))
    );

    let path = format!("/cluster/{fsid}/pool/{}", pool["id"]);
    let one = admin.get(&path).await;
    let etag = one.headers["etag"].clone();
    assert_eq!(one.json(), pool);
    assert_eq!(etag, format!("\"{}\"", pool["last_change"]));
    let known: Answer = admin
        .call("GET", &path, &[("If-None-Match", &etag)], "")
        .await;
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    assert_eq!(known.headers["etag"], etag);
    case.apply("a", &SPEC.replace("maxObjects: 5", "maxObjects: 6"))
        .await;
    case.ready("a").await;
    let changed = admin
        .call("GET", &path, &[("If-None-Match", &etag)], "")
        .await;
    assert_ne!(changed.headers["etag"], etag);
    assert_eq!(changed.expect(200)["quota_max_objects"], 6);

    let rules = admin
        .get(&format!("/cluster/{fsid}/crush_rule"))
        .await
        .expect(200);
    let rule = rules.as_array().expect("a list").iter();
    let rule = rule
        .map(|rule| &rule["name"])
        .find(|name| **name == pool["crush_rule"]);
    assert!(rule.is_some(), "{rules}");
}

/// A request is told with its commands and epochs, and lists of them are paged and filtered.
#[tokio::test(flavor = "multi_thread")]
async fn requests() {
    let case = Case::shared("restrequests").await;
    case.apply("a", SPEC).await;
    let created = request_of(&case, "a").await;
    case.apply("a", &SPEC.replace("maxObjects: 5", "maxObjects: 7"))
        .await;
    let changed = request_of(&case, "a").await;
    assert_ne!(created, changed);
    let (admin, fsid) = (admin(&case).await, fsid(&case).await);

    let wait = format!("/request/{changed}?wait=30s");
    let told = admin.get(&wait).await.expect(200);
    for (field, expected) in [
        ("id", json!(changed)),
        ("state", json!("complete")),
        ("error", json!(false)),
        ("error_message", json!("")),
        ("status", json!("Completed successfully")),
        ("operation", json!("update")),
        ("outcome", json!("succeeded")),
        ("namespace", json!(case.namespace)),
        ("object", json!("a")),
        ("changed_fields", json!(["quota.maxObjects"])),
    ] {
        assert_eq!(told[field], expected, "{field} of {told}");
    }
    let rounds = told["rounds"].as_array().expect("rounds");
    assert_eq!(rounds.len(), 1);
    let command = rounds[0]["commands"][0]["command"].as_str().expect("text");
    assert!(
        command.contains("set-quota") && command.contains("max_objects"),
        "{command}"
    );
    assert!(
        told["observed_epoch"].as_i64() >= told["awaited_epoch"].as_i64(),
        "{told}"
    );
    // The same for whoever has it in capitals: a UUID is one.
    let upper = changed.to_uppercase();
    admin.get(&format!("/request/{upper}")).await.expect(200);

    // Two of this namespace at least, the newest first; each page leads to the next.
    for list in ["/request".to_owned(), format!("/cluster/{fsid}/request")] {
        let mut next = Some(format!("{list}?state=complete&page_size=50"));
        let mut seen: Vec<Value> = Vec::new();
        while let Some(path) = next {
            let page = admin.get(&path).await.expect(200);
            seen.extend(page["results"].as_array().expect("results").clone());
            next = page["next"].as_str().map(|address| {
                let (start, path) = address.split_once("/api/v2").expect("an address");
                assert_eq!(start, format!("http://localhost:{}", admin.port()));
                path.to_owned()
            });
        }
        let ours: Vec<&Value> = seen
            .iter()
            .filter(|request| request["namespace"] == case.namespace.as_str())
            .map(|request| &request["id"])
            .collect();
        assert_eq!(ours.len(), 2, "{list}");
        let times: Vec<&str> = seen
            .iter()
            .filter_map(|request| request["requested_at"].as_str())
            .collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    }
    let page = admin.get("/request?page_size=1").await.expect(200);
    assert_eq!(page["results"].as_array().map(Vec::len), Some(1));
    let other = "00000000-0000-4000-8000-000000000000";
    admin
        .get(&format!("/cluster/{other}/request"))
        .await
        .problem(404);
}

/// An answer is held until the request is complete, or for as long as was asked for, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn waiting() {
    let case = Case::shared("restwait").await;
    let admin = admin(&case).await;
    // A pool that is to be made of placement groups for which there is nothing, so that it never ends.
    let id = "6f1f2a1e-6a8a-4d3c-9a8e-2f3f6d9c0a11";
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest", "metadata": {"name": id},
        "spec": {
            "poolRef": {"name": "none", "uid": "none", "generation": 1}, "connection": "main", "operation": "Update",
        },
    });
    let api = kube::Api::<poolwright::api::v1alpha1::CephRequest>::namespaced(
        case.client.clone(),
        &case.namespace,
    );
    apply(&api, id, &object)
        .await
        .expect("the request is accepted");
    let began = Instant::now();
    let told = admin
        .get(&format!("/request/{id}?wait=2s"))
        .await
        .expect(200);
    assert!(
        (2.0..20.0).contains(&began.elapsed().as_secs_f64()),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(told["state"], "new");

    let path = format!("/request/{id}?wait=60s");
    let waits = admin.get(&path);
    let ends = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let status =
            json!({"status": {"state": "Complete", "outcome": "Failed", "error": "no room"}});
        let patch = kube::api::Patch::Merge(&status);
        api.patch_status(id, &kube::api::PatchParams::default(), &patch)
            .await
            .expect("the status is accepted");
    };
    let began = Instant::now();
    let (told, ()) = tokio::join!(waits, ends);
    let told = told.expect(200);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (&told["error"], &told["error_message"]),
        (&json!(true), &json!("no room"))
    );
    for wrong in ["30", "61s", "-1s", "1h", ""] {
        let answer = admin.get(&format!("/request/{id}?wait={wrong}")).await;
        assert_eq!(answer.json()["field"], "wait", "{wrong:?}");
        answer.problem(400);
    }
}

/// Whatever is wrong is said as a problem, and what the caller did is never called the server's fault.
#[tokio::test(flavor = "multi_thread")]
async fn problems() {
    let case = Case::shared("restproblems").await;
    let (admin, fsid) = (admin(&case).await, fsid(&case).await);
    let none = "00000000-0000-4000-8000-000000000000";
    for path in [
        "/nothing".to_owned(),
        "/cluster/".to_owned(),
        format!("/cluster/{none}"),
        "/cluster/main".to_owned(),
        format!("/cluster/{none}/pool"),
        format!("/cluster/{fsid}/pool/999999"),
        format!("/cluster/{fsid}/pool/-1"),
        format!("/cluster/{fsid}/pool/one"),
        format!("/cluster/{fsid}/pool/99999999999999999999"),
        format!("/cluster/{fsid}/pool/%ff"),
        format!("/request/{none}"),
        "/request/x".to_owned(),
        "/request/%2e%2e%2fadmin".to_owned(),
    ] {
        let said = admin.get(&path).await.problem(404);
        assert!(said.len() > 10, "{path}: {said}");
    }
    for (path, field) in [
        ("/request?state=done", "state"),
        ("/request?page=0", "page"),
        ("/request?page=999999", "page"),
        ("/request?page_size=x", "page_size"),
    ] {
        let answer = admin.get(path).await;
        assert_eq!(answer.json()["field"], field, "{path}");
        answer.problem(400);
    }
    for method in ["PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = admin.call(method, "/cluster", &[], "").await;
        assert_eq!(answer.headers["allow"], "GET,HEAD", "{method}");
        answer.problem(405);
    }
    let answer = admin.send("POST", "/cluster", &json!({})).await;
    answer.problem(405);
    let long = "x".repeat(300_000);
    let answer = admin
        .call("GET", "/cluster", &[("X-Long", &long)], "")
        .await;
    assert_eq!(answer.status, 431, "{answer:?}");
    let answer = admin.raw("NONSENSE\r\n\r\n").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    // Each was counted under its route, and made-up paths under one name.
    let metrics = case.world.controller_metrics().await;
    let counted = |line: &str| metrics.get(line).copied().unwrap_or_default();
    assert!(
        counted("poolwright_rest_calls_total{method=\"GET\",route=\"none\",status=\"404\"}") >= 1.0,
        "{:?}",
        metrics
            .keys()
            .filter(|line| line.contains("rest"))
            .collect::<Vec<_>>()
    );
    assert!(
        counted(
            "poolwright_rest_calls_total{method=\"GET\",route=\"/api/v2/request\",status=\"400\"}"
        ) >= 4.0
    );
}
