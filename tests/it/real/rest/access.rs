//! Who may call, and what he sees.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{SPEC, admin, fsid, request_of};
use crate::real::support::{Case, LIMIT, Rest, apply, holds, run, token};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Gives a ServiceAccount of a case rights in a namespace.
async fn in_namespace(case: &Case, account: &str, namespace: &str, rules: Value) {
    let name = format!("{account}-of-{}", case.namespace);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules,
    });
    let roles: Api<Role> = Api::namespaced(case.client.clone(), namespace);
    apply(&roles, &name, &role).await.expect("a Role");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": case.namespace}],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(case.client.clone(), namespace);
    apply(&bindings, &name, &binding)
        .await
        .expect("a RoleBinding");
}

/// Gives a ServiceAccount of a case rights in the whole cluster.
async fn everywhere(case: &Case, account: &str, rules: Value) -> ClusterRoleBinding {
    let name = format!("{account}-of-{}", case.namespace);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
    });
    let roles: Api<ClusterRole> = Api::all(case.client.clone());
    apply(&roles, &name, &role).await.expect("a ClusterRole");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": case.namespace}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(case.client.clone());
    apply(&bindings, &name, &binding)
        .await
        .expect("a ClusterRoleBinding")
}

async fn caller(case: &Case, account: &str) -> Rest {
    let token = token(&case.client, &case.namespace, account, &[]).await;
    let controller = case.world.running().expect("the controller runs");
    controller.rest().with(&token)
}

/// A token that was good an hour ago: another one of the same account with earlier times, signed with the API server's
/// own key.
async fn expired(case: &Case, good: &str) -> String {
    let mut parts = good.split('.');
    let (head, body) = (parts.next().expect("a head"), parts.next().expect("a body"));
    let body = URL_SAFE_NO_PAD.decode(body).expect("base64");
    let mut claims: Value = serde_json::from_slice(&body).expect("claims");
    for claim in ["exp", "iat", "nbf"] {
        let time = claims[claim].as_i64().expect("a time");
        claims[claim] = json!(time - 7200);
    }
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = case.world.plane().dir().join("pki/sa.key");
    let mut sign = Command::new("sh");
    sign.arg("-c")
        .arg("openssl dgst -sha256 -sign \"$0\" | openssl base64 -A")
        .arg(key);
    let signature = run(&mut sign, Some(&signed)).await.expect("a signature");
    let signature = signature.trim().replace('+', "-").replace('/', "_");
    format!("{signed}.{}", signature.trim_end_matches('='))
}

/// Only a token that the API server accepts, and accepts now, lets anybody in.
#[tokio::test(flavor = "multi_thread")]
async fn tokens() {
    let case = Case::shared("resttokens").await;
    let nobody = case.world.running().expect("it runs").rest();
    let none = nobody.get("/cluster").await;
    assert_eq!(
        none.headers["www-authenticate"],
        "Bearer realm=\"poolwright\""
    );
    assert!(none.problem(401).contains("kubectl create token"));
    for header in ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer ", "abc"] {
        let answer = nobody
            .call("GET", "/cluster", &[("Authorization", header)], "")
            .await;
        assert!(answer.headers["www-authenticate"].ends_with("error=\"invalid_request\""));
        answer.problem(401);
    }

    let good = token(&case.client, &case.namespace, "a", &[]).await;
    nobody.with(&good).get("/cluster").await.expect(200);
    let (start, signature) = good.rsplit_once('.').expect("a signature");
    let (head, _) = start.split_once('.').expect("a body");
    let elsewhere = token(&case.client, &case.namespace, "a", &["vault"]).await;
    let past = expired(&case, &good).await;
    for (what, wrong) in [
        ("made up", "abc".to_owned()),
        ("another body", format!("{head}.e30.{signature}")),
        ("for another audience", elsewhere),
        ("expired", past),
    ] {
        let answer = nobody.with(&wrong).get("/cluster").await;
        assert!(
            answer.headers["www-authenticate"].ends_with("error=\"invalid_token\""),
            "{what}"
        );
        let said = answer.problem(401);
        assert!(!said.contains(&wrong), "{what}: {said}");
    }

    // A token of an account that goes is believed for some seconds at most.
    let gone = token(&case.client, &case.namespace, "gone", &[]).await;
    nobody.with(&gone).get("/cluster").await.expect(200);
    let accounts: Api<ServiceAccount> = Api::namespaced(case.client.clone(), &case.namespace);
    accounts
        .delete("gone", &DeleteParams::default())
        .await
        .expect("it goes");
    case.wait_for("the token is refused", LIMIT, async || {
        let answer = nobody.with(&gone).get("/cluster").await;
        holds(answer.status == 401, &answer)
    })
    .await;
}

/// The signing above is no nonsense: with its own times the token is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn it_expired_and_nothing_else() {
    let case = Case::shared("restexpired").await;
    let nobody = case.world.running().expect("it runs").rest();
    let good = token(&case.client, &case.namespace, "a", &[]).await;
    let past = expired(&case, &good).await;
    let mut parts: Vec<&str> = past.split('.').collect();
    assert_eq!(parts.len(), 3);
    // Signed again over the good body, by the same key: the good token itself.
    let again = signed_again(&case, &good).await;
    assert_eq!(again, good);
    parts.pop();
    nobody.with(&again).get("/cluster").await.expect(200);
    nobody.with(&past).get("/cluster").await.problem(401);
}

/// The token with a signature made here.
async fn signed_again(case: &Case, good: &str) -> String {
    let (signed, _) = good.rsplit_once('.').expect("a signature");
    let key = case.world.plane().dir().join("pki/sa.key");
    let mut sign = Command::new("sh");
    sign.arg("-c")
        .arg("openssl dgst -sha256 -sign \"$0\" | openssl base64 -A")
        .arg(key);
    let signature = run(&mut sign, Some(signed)).await.expect("a signature");
    let signature = signature.trim().replace('+', "-").replace('/', "_");
    format!("{signed}.{}", signature.trim_end_matches('='))
}

/// What somebody sees is what Kubernetes lets him see: nothing, a namespace, the cluster, everything.
#[tokio::test(flavor = "multi_thread")]
async fn rights() {
    let case = Case::shared("restrights").await;
    case.apply("a", SPEC).await;
    let request = request_of(&case, "a").await;
    let other = format!("{}-other", case.namespace);
    case.world.namespace(&case.client, &other).await;
    let fsid = fsid(&case).await;
    let reads = [
        format!("/cluster/{fsid}"),
        format!("/cluster/{fsid}/pool"),
        format!("/cluster/{fsid}/pool/1"),
        format!("/cluster/{fsid}/crush_rule"),
        format!("/cluster/{fsid}/request"),
    ];
    let sees_requests = async |who: &Rest| {
        let list = who.get("/request?page_size=1000").await.expect(200);
        let one = who.get(&format!("/request/{request}")).await.status;
        let results = list["results"].as_array().expect("results").clone();
        let ours = results.iter().any(|found| found["id"] == request.as_str());
        assert_eq!(ours, one == 200, "{one}");
        assert_eq!(list["count"], results.len());
        (ours, results)
    };

    // No rights: a name, and nothing else.
    let stranger = caller(&case, "stranger").await;
    assert_eq!(stranger.get("/cluster").await.expect(200), json!([]));
    let name = format!("system:serviceaccount:{}:stranger", case.namespace);
    for path in &reads {
        let said = stranger.get(path).await.problem(403);
        let expected =
            format!("{name} may not get clusterconnections.poolwright.dev of a cluster {fsid}");
        assert_eq!(said, expected, "{path}");
    }
    // A cluster that there is not looks the same.
    let none = "00000000-0000-4000-8000-000000000000";
    let said = stranger.get(&format!("/cluster/{none}")).await.problem(403);
    assert_eq!(
        said,
        format!("{name} may not get clusterconnections.poolwright.dev of a cluster {none}")
    );
    let (sees, others) = sees_requests(&stranger).await;
    assert!(!sees && others.is_empty(), "{others:?}");
    stranger
        .get(&format!("/request/{request}"))
        .await
        .problem(404);

    // View only, of the namespace.
    let viewer = caller(&case, "viewer").await;
    let view = json!([{"apiGroups": ["poolwright.dev"], "resources": ["cephpools", "cephrequests"], "verbs": ["get", "list", "watch"]}]);
    in_namespace(&case, "viewer", &case.namespace, view).await;
    let (sees, all) = sees_requests(&viewer).await;
    assert!(sees);
    assert!(
        all.iter()
            .all(|found| found["namespace"] == case.namespace.as_str()),
        "{all:?}"
    );
    viewer.get(&reads[1]).await.problem(403);

    // Everything, but in another namespace.
    let neighbour = caller(&case, "neighbour").await;
    let edit = json!([{"apiGroups": ["poolwright.dev"], "resources": ["*"], "verbs": ["*"]}]);
    in_namespace(&case, "neighbour", &other, edit).await;
    let (sees, all) = sees_requests(&neighbour).await;
    assert!(!sees && all.is_empty(), "{all:?}");
    neighbour.get(&reads[1]).await.problem(403);

    // The cluster, by the name of its connection, and no requests.
    let operator = caller(&case, "operator").await;
    let connection = json!([{
        "apiGroups": ["poolwright.dev"], "resources": ["clusterconnections"], "resourceNames": ["main"], "verbs": ["get"],
    }]);
    everywhere(&case, "operator", connection).await;
    let clusters = operator.get("/cluster").await.expect(200);
    assert_eq!(clusters.as_array().map(Vec::len), Some(1), "{clusters}");
    operator.get(&reads[1]).await.expect(200);
    let listed = operator.get(&reads[4]).await.expect(200);
    assert_eq!(listed["count"], 0);
    operator.get(&format!("/cluster/{none}")).await.problem(403);

    // Everything.
    let admin = admin(&case).await;
    assert!(sees_requests(&admin).await.0);
    admin.get(&reads[1]).await.expect(200);
    admin.get(&format!("/cluster/{none}")).await.problem(404);
}

/// A right that is taken away is gone within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn revoked() {
    let case = Case::shared("restrevoked").await;
    let fsid = fsid(&case).await;
    let who = caller(&case, "somebody").await;
    let connection = json!([{"apiGroups": ["poolwright.dev"], "resources": ["clusterconnections"], "verbs": ["get"]}]);
    let binding = everywhere(&case, "somebody", connection).await;
    let path = format!("/cluster/{fsid}/pool");
    who.get(&path).await.expect(200);
    let bindings: Api<ClusterRoleBinding> = Api::all(case.client.clone());
    let name = binding.metadata.name.expect("a name");
    bindings
        .delete(&name, &DeleteParams::default())
        .await
        .expect("it goes");
    case.wait_for("he may not any more", LIMIT, async || {
        let answer = who.get(&path).await;
        holds(answer.status == 403, &answer.status)
    })
    .await;
}
