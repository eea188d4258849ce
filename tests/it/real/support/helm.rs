//! Helm, and the chart's rights for the controllers under test.

use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{ControlPlane, Said, run, variable};

/// Folder of the chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/poolwright");

/// The release, its ServiceAccount and its roles.
const RELEASE: &str = "poolwright";

/// What of the chart says who the controller is and what it may do.
const RIGHTS: &[&str] = &[
    "templates/serviceaccount.yaml",
    "templates/clusterrole.yaml",
    "templates/roles.yaml",
    "templates/rest-role.yaml",
];

/// With the REST API, which every controller under test serves.
const REST: [&str; 4] = [
    "--set",
    "rest.enabled=true",
    "--set",
    "rest.tls.secretName=rest-tls",
];

/// Runs helm, with nothing of the user's own. Without a control plane there is no cluster.
pub(crate) async fn helm(plane: Option<&ControlPlane>, args: &[&str]) -> Said {
    let home = PathBuf::from(variable("POOLWRIGHT_TEST_DIR")).join("helm");
    let kubeconfig = plane.map_or("/nonexistent".into(), ControlPlane::kubeconfig);
    let mut command = Command::new("helm");
    command
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .env("KUBECONFIG", kubeconfig)
        .args(args);
    run(&mut command, None).await
}

/// Gives a control plane the rights that the chart gives, and writes the kubeconfig of a controller that has no others:
/// what a verb is missing for fails where it is needed, in whichever test that is.
///
/// Rendered and applied, not installed: that can be done again, and at the same time.
pub(crate) async fn kubeconfig_of_chart(
    plane: &ControlPlane,
    client: &Client,
    namespace: &str,
) -> PathBuf {
    let mut args = vec!["template", RELEASE, CHART, "--namespace", namespace];
    args.extend(REST);
    args.extend(RIGHTS.iter().flat_map(|file| ["--show-only", file]));
    let rights = helm(None, &args).await.expect("the chart is rendered");
    let mut apply = Command::new("kubectl");
    apply.env("KUBECONFIG", plane.kubeconfig()).args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
    ]);
    run(&mut apply, Some(&rights))
        .await
        .expect("the chart's rights are accepted");
    let token = token(client, namespace).await;
    let path = plane.dir().join("controller.kubeconfig");
    write_kubeconfig(&plane.kubeconfig(), namespace, &token, &path);
    path
}

/// A token as the kubelet gives one to the controller's pod, for longer than any test takes.
async fn token(client: &Client, namespace: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(24 * 3600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(RELEASE, &PostParams::default(), &request)
        .await
        .expect("a token of the chart's ServiceAccount");
    let status = answer.status.expect("an answer");
    status.token.expect("the token")
}

/// The administrator's kubeconfig, with this token instead of the administrator, in this namespace.
fn write_kubeconfig(admin: &Path, namespace: &str, token: &str, path: &Path) {
    let text = std::fs::read_to_string(admin).expect("the administrator's kubeconfig");
    let mut config: Value = serde_yaml::from_str(&text).expect("YAML");
    config["users"][0]["user"] = json!({"token": token});
    config["contexts"][0]["context"]["namespace"] = json!(namespace);
    // JSON is YAML. Read again by controllers that are started later, so it is there whole or not at all.
    let new = path.with_extension("new");
    std::fs::write(&new, config.to_string()).expect("a kubeconfig");
    std::fs::rename(&new, path).expect("a kubeconfig");
}
