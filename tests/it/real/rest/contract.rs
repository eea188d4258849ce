//! The description of the API against what is answered, by Schemathesis: thousands of calls that are made up from it, right
//! ones and wrong ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, timeout};

use super::SPEC;
use crate::real::support::{Case, Ceph, World, apply, token, variable};

const RBAC: &str = "rbac.authorization.k8s.io";

/// What an answer is held against. `positive_data_acceptance` is not among them: whether a pool can be made depends on what
/// is there.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,\
    allow_header_conformance,ignored_auth";

/// It makes so many calls, and no more.
const LONGEST: Duration = Duration::from_secs(900);

/// Somebody with all rights in the namespace of a case, and none elsewhere: what is made up must not reach the pools of
/// other tests.
async fn tenant(case: &Case) -> String {
    let token = token(&case.client, &case.namespace, "tenant", &[]).await;
    let name = format!("tenant-of-{}", case.namespace);
    let subjects =
        json!([{"kind": "ServiceAccount", "name": "tenant", "namespace": case.namespace}]);
    let api = "rbac.authorization.k8s.io/v1";
    let roles: Api<Role> = Api::namespaced(case.client.clone(), &case.namespace);
    let role = json!({"apiVersion": api, "kind": "Role", "metadata": {"name": name}, "rules": [
        {"apiGroups": ["poolwright.dev"], "resources": ["*"], "verbs": ["*"]},
    ]});
    apply(&roles, &name, &role).await.expect("a Role");
    let bindings: Api<RoleBinding> = Api::namespaced(case.client.clone(), &case.namespace);
    let binding = json!({
        "apiVersion": api, "kind": "RoleBinding", "metadata": {"name": name}, "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
    });
    apply(&bindings, &name, &binding)
        .await
        .expect("a RoleBinding");
    let roles: Api<ClusterRole> = Api::all(case.client.clone());
    let role = json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [
        {"apiGroups": ["poolwright.dev"], "resources": ["clusterconnections"], "resourceNames": [case.connection()],
            "verbs": ["get"]},
    ]});
    apply(&roles, &name, &role).await.expect("a ClusterRole");
    let bindings: Api<ClusterRoleBinding> = Api::all(case.client.clone());
    let binding = json!({
        "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": name}, "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
    });
    apply(&bindings, &name, &binding)
        .await
        .expect("a ClusterRoleBinding");
    token
}

/// What it draws from, beside what it makes up: most calls have to get past the path to say anything.
fn drawn_from(fsid: &str, namespace: &str, pools: &[i64], requests: &[String]) -> String {
    let words = |values: &[String]| Value::from(values).to_string();
    let numbers: Vec<String> = pools.iter().map(ToString::to_string).collect();
    format!(
        r#"[dictionaries]
fsid.values = [{fsid:?}]
namespace.values = [{namespace:?}]
pool.values = [{pools}]
request.values = {requests}
name.values = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
type.values = ["replicated"]
application.values = ["rbd"]
connection.values = ["contract"]
small.values = [1, 2]
copies.values = [2, 3]
rule.values = ["replicated_rule"]

[parameters]
"path.fsid" = {{ dictionary = "fsid", probability = 0.9 }}
"path.pool_id" = {{ dictionary = "pool", probability = 0.8 }}
"path.request_id" = {{ dictionary = "request", probability = 0.8 }}
"body.namespace" = {{ dictionary = "namespace", probability = 0.9 }}
"body.name" = {{ dictionary = "name", probability = 0.9 }}
"body.type" = {{ dictionary = "type", probability = 0.9 }}
"body.application" = {{ dictionary = "application", probability = 0.9 }}
"body.connection" = {{ dictionary = "connection", probability = 0.9 }}
"body.pg_num" = {{ dictionary = "small", probability = 0.9 }}
"body.pgp_num" = {{ dictionary = "small", probability = 0.9 }}
"body.min_size" = {{ dictionary = "small", probability = 0.9 }}
"body.size" = {{ dictionary = "copies", probability = 0.9 }}
"body.crush_rule" = {{ dictionary = "rule", probability = 0.9 }}
"#,
        pools = numbers.join(", "),
        requests = words(requests),
    )
}

/// No answer is a 500, and none has a status, a header or a body that the description does not have.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_holds() {
    let world = World::shared().await;
    let ceph = Arc::new(Ceph::own(&[]).await);
    world.connect("contract", &ceph, json!({})).await;
    let case = Case::with_connection(world, "contract", "contract", ceph).await;
    let (mut pools, mut requests) = (Vec::new(), Vec::new());
    // Some are removed on the way.
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for name in names {
        case.apply(name, SPEC).await;
    }
    for name in names {
        requests.push(super::request_of(&case, name).await);
        let pool = case.its_pool(name).await;
        pools.push(pool["pool"].as_i64().expect("an id"));
    }
    case.ceph(&["osd", "pool", "create", "made by hand", "1"])
        .await;
    pools.push(pools.iter().max().expect("some") + 1);

    let said = case.ceph(&["fsid"]).await;
    let folder = PathBuf::from(variable("POOLWRIGHT_TEST_DIR")).join("schemathesis");
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = folder.join("schemathesis.toml");
    let text = drawn_from(said.trim(), &case.namespace, &pools, &requests);
    std::fs::write(&config, text).expect("written");

    let report = folder.join("calls.har");
    let token = tenant(&case).await;
    let port = (case.world.running())
        .expect("the controller runs")
        .rest()
        .port();
    let mut command = Command::new(variable("POOLWRIGHT_TEST_SCHEMATHESIS"));
    command
        .current_dir(&folder)
        .env("NO_COLOR", "1")
        .args(["--config-file"])
        .arg(&config)
        .arg("run")
        .arg(format!("http://127.0.0.1:{port}/api/v2/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args([
            "--checks",
            CHECKS,
            "--phases",
            "examples,coverage,fuzzing,stateful",
        ])
        // The same calls each time, as far as the answers are the same.
        .args([
            "--seed",
            "20",
            "--max-examples",
            "40",
            "--continue-on-failure",
        ])
        .args(["--request-timeout", "90"])
        .args(["--generation-database", "none", "--no-shrink"])
        .args(["--report", "har", "--report-har-path"])
        .arg(&report);
    let ended = timeout(LONGEST, command.kill_on_drop(true).output()).await;
    let ended = ended.expect("it ends by itself").expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        ended.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    println!("{said}");
    let answers = answers(&report);
    println!("{answers:#?}");
    // Otherwise what is answered to what is right was never seen.
    for (method, path) in [
        ("POST", "pool"),
        ("PATCH", "pool/#"),
        ("DELETE", "pool/#"),
        ("POST", "cancel"),
    ] {
        let good = (answers.iter()).find(|((found, at, status), _)| {
            found == method && at.ends_with(path) && [200, 202, 304].contains(status)
        });
        assert!(good.is_some(), "{method} {path}");
    }
}

/// How many calls there were by method, path and status.
fn answers(report: &Path) -> BTreeMap<(String, String, i64), usize> {
    let text = std::fs::read_to_string(report).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let mut answers = BTreeMap::new();
    for entry in report["log"]["entries"].as_array().expect("calls") {
        let text = |at: &str| {
            let value = entry.pointer(at).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let url = text("/request/url");
        let path = url.split('?').next().unwrap_or_default();
        let parts = path.split('/').skip(3).map(|part| {
            let word = part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if word || part == "v2" { part } else { "#" }
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let status = entry["response"]["status"].as_i64().unwrap_or_default();
        *answers
            .entry((text("/request/method"), path, status))
            .or_default() += 1;
    }
    answers
}
