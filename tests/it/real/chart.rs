//! The Helm chart: what it renders, what it refuses, and its life in a real control plane.

mod rights;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use super::support::{CHART, ControlPlane, LIMIT, Said, helm, run};

/// Sets every value.
const FULL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/chart-values.yaml"
);

/// What the release `poolwright` is made of, as text.
async fn render(more: &[&str]) -> Said {
    let mut args = vec!["template", "poolwright", CHART];
    args.extend(["--namespace", "poolwright-system"]);
    args.extend(more);
    helm(None, &args).await
}

/// The documents of a text, as Helm separates them.
fn documents(text: &str) -> Vec<&str> {
    text.split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .collect()
}

fn parse(document: &str) -> Value {
    let document = serde_yaml::Deserializer::from_str(document);
    Value::deserialize(document).expect("YAML")
}

fn is_crd(document: &str) -> bool {
    parse(document)["kind"] == "CustomResourceDefinition"
}

/// Helm finds nothing to say about the chart, with its own values and with others.
#[tokio::test]
async fn it_is_clean() {
    for more in [&[][..], &["--values", FULL]] {
        let mut args = vec!["lint", "--strict", "--quiet", CHART];
        args.extend(more);
        let said = helm(None, &args).await.expect("helm lint");
        assert_eq!(said.trim(), "");
    }
    let chart = std::fs::read_to_string(Path::new(CHART).join("Chart.yaml")).expect("Chart.yaml");
    let chart = parse(&chart);
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// What it renders, by itself and with every value set.
#[tokio::test]
async fn what_it_renders() {
    for (name, more) in [("defaults", &[][..]), ("all_values", &["--values", FULL])] {
        let text = render(more).await.expect("helm template");
        let mut shown = documents(&text);
        shown.retain(|document| !is_crd(document));
        insta::assert_snapshot!(name, shown.join("\n---\n"));
    }
}

/// The CRDs are those in crds/, with the annotation that keeps them when the chart goes.
#[tokio::test]
async fn the_crds_are_ours() {
    let text = render(&[]).await.expect("helm template");
    let mut rendered: Vec<Value> = documents(&text)
        .into_iter()
        .filter(|document| is_crd(document))
        .map(parse)
        .collect();
    assert_eq!(rendered.len(), 3);
    for crd in &mut rendered {
        let metadata = crd["metadata"].as_object_mut().expect("metadata");
        assert_eq!(
            metadata.remove("annotations"),
            Some(json!({"helm.sh/resource-policy": "keep"}))
        );
        let plural = crd["spec"]["names"]["plural"].as_str().expect("a name");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{plural}.yaml"));
        let stored = std::fs::read_to_string(path).expect("the CRD");
        assert_eq!(*crd, parse(&stored));
    }
    let text = render(&["--set", "crds.install=false"])
        .await
        .expect("helm template");
    assert!(!documents(&text).into_iter().any(is_crd));
}

/// A value that cannot be meant is refused by name.
#[tokio::test]
async fn values_that_are_refused() {
    for (value, expected) in [
        (
            "replicaCount=3",
            "at '': additional properties 'replicaCount' not allowed",
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        (
            "image.digest=latest",
            "at '/image/digest': 'latest' does not match pattern",
        ),
        (
            "secretNamespaces={Team_A}",
            "at '/secretNamespaces/0': 'Team_A' does not match pattern",
        ),
        (
            "crds.enabled=true",
            "at '/crds': additional properties 'enabled' not allowed",
        ),
        (
            "serviceAccount.create=false",
            "serviceAccount.name is needed when serviceAccount.create is false",
        ),
        (
            "rest.enabled=true",
            "rest.tls.secretName is needed when rest.enabled is true",
        ),
    ] {
        let said = render(&["--set", value]).await;
        assert!(
            !said.ok && said.err.contains(expected),
            "--set {value}: wanted {expected}, said {said:?}"
        );
    }
}

/// The program knows every argument that the Deployment gives it.
#[tokio::test]
async fn the_program_knows_its_arguments() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_poolwright"));
    let help = run(help.args(["run", "--help"]), None).await.expect("help");
    for more in [&[][..], &["--values", FULL]] {
        let text = render(more).await.expect("helm template");
        let pod = pod_of(&text);
        let args = pod["spec"]["containers"][0]["args"].as_array();
        let (command, flags) = args.expect("arguments").split_first().expect("a command");
        assert_eq!(command, "run");
        for flag in flags {
            let flag = flag.as_str().expect("text");
            let name = flag.split('=').next().unwrap_or(flag);
            assert!(
                help.split_whitespace().any(|word| word == name),
                "{name} in {help}"
            );
        }
    }
}

/// The pod of the Deployment in a rendered chart.
fn pod_of(text: &str) -> Value {
    let deployment = documents(text)
        .into_iter()
        .map(parse)
        .find(|object| object["kind"] == "Deployment")
        .expect("a Deployment");
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("poolwright-0");
    pod
}

/// A control plane with the chart in it.
struct Installed {
    plane: ControlPlane,
}

/// Namespace of the release; only pods that pass the restricted Pod Security Standard may be in it.
const NAMESPACE: &str = "storage";
/// The controller, as RBAC names it.
const CONTROLLER: &str = "system:serviceaccount:storage:poolwright";

impl Installed {
    async fn new() -> Self {
        let here = Self {
            plane: ControlPlane::own().await,
        };
        here.kubectl(&["create", "namespace", NAMESPACE]).await;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        here.kubectl(&["label", "namespace", NAMESPACE, restricted])
            .await;
        here.helm("install", &[CHART]).await;
        here
    }

    async fn helm(&self, command: &str, more: &[&str]) -> String {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.extend(["--namespace", NAMESPACE, "poolwright"]);
        args.extend(more);
        helm(Some(&self.plane), &args).await.expect(command)
    }

    async fn try_kubectl(&self, args: &[&str], input: Option<&Value>) -> Said {
        let mut command = Command::new("kubectl");
        command
            .env("KUBECONFIG", self.plane.kubeconfig())
            .args(args);
        run(&mut command, input.map(Value::to_string).as_deref()).await
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args, None).await.expect(&args.join(" "))
    }

    /// Whether somebody may do something, such as `list secrets -n default`.
    async fn may(&self, who: &str, what: &str) -> bool {
        let mut args = vec!["auth", "can-i", "--as", who];
        args.extend(what.split(' '));
        // It ends with 1 where the answer is no.
        let said = self.try_kubectl(&args, None).await;
        match said.out.trim() {
            "yes" => true,
            answer => {
                assert!(answer.starts_with("no"), "{who}, {what}: {said:?}");
                false
            }
        }
    }

    /// The controller's pod passes the admission of pods; one that may do a little more does not.
    async fn admits_the_pod(&self) {
        let text = self.helm("get manifest", &[]).await;
        let create = ["create", "-n", NAMESPACE, "--dry-run=server", "-f", "-"];
        let mut pod = pod_of(&text);
        let said = self.try_kubectl(&create, Some(&pod)).await;
        assert_eq!(
            said.expect("the pod"),
            "pod/poolwright-0 created (server dry run)\n"
        );
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let said = self.try_kubectl(&create, Some(&pod)).await;
        assert!(
            !said.ok
                && said
                    .err
                    .contains("violates PodSecurity \"restricted:latest\""),
            "{said:?}"
        );
    }

    /// The controller reads Secrets where it was told to, and nothing else of theirs.
    async fn limits_the_secrets(&self, more: &[(&str, bool)]) {
        for (what, expected) in [
            ("watch secrets -n storage", true),
            ("get secrets -n storage", false),
            ("create secrets -n storage", false),
            ("list secrets -n default", false),
            ("list secrets -A", false),
            ("update leases/poolwright -n storage", true),
            ("update leases/another -n storage", false),
            ("create leases -n default", false),
            ("patch cephpools -n default", true),
            ("delete cephpools -n default", false),
            ("create cephpools -n default", false),
            ("patch clusterconnections", true),
            ("update customresourcedefinitions", false),
            ("create pods -n storage", false),
        ]
        .iter()
        .chain(more)
        {
            assert_eq!(self.may(CONTROLLER, what).await, *expected, "{what}");
        }
    }

    /// The connection in the notes is one: the API server takes it as it stands there.
    async fn shows_the_next_steps(&self) {
        let notes = self.helm("get notes", &[]).await;
        let (_, rest) = notes.split_once("<<END\n").expect("a manifest");
        let (manifest, _) = rest.split_once("END\n").expect("its end");
        let manifest = parse(manifest.trim_end());
        assert_eq!(manifest["spec"]["keySecretRef"]["namespace"], NAMESPACE);
        let create = ["create", "--dry-run=server", "-f", "-"];
        let said = self.try_kubectl(&create, Some(&manifest)).await;
        said.expect("the ClusterConnection");
    }

    /// People have what their roles of Kubernetes' own say, in their namespace.
    async fn lets_people_in(&self) {
        for role in ["view", "edit"] {
            let (role, who) = (format!("--clusterrole={role}"), format!("--user={role}er"));
            self.kubectl(&["create", "rolebinding", &who[7..], &role, &who])
                .await;
        }
        let began = Instant::now();
        // kube-controller-manager puts the roles together, which takes it a moment.
        while !self.may("editer", "create cephpools").await {
            assert!(began.elapsed() < LIMIT, "the roles are not put together");
            sleep(Duration::from_millis(100)).await;
        }
        for (who, what, expected) in [
            ("viewer", "watch cephpools", true),
            ("viewer", "list cephrequests", true),
            ("viewer", "create cephpools", false),
            ("viewer", "patch cephrequests", false),
            ("viewer", "list cephpools -n storage", false),
            ("editer", "get cephpools", true),
            ("editer", "delete cephpools", true),
            ("editer", "patch cephrequests", true),
            ("editer", "create cephrequests", false),
            ("editer", "update cephpools --subresource=status", false),
            ("editer", "create clusterconnections", false),
            ("editer", "create cephpools -n storage", false),
        ] {
            assert_eq!(self.may(who, what).await, expected, "{who}: {what}");
        }
    }
}

/// Issue, "Helm": installed, upgraded, uninstalled without losing a CephPool, and installed again.
#[tokio::test(flavor = "multi_thread")]
async fn its_life() {
    let here = Installed::new().await;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
    ];
    for plural in ["cephpools", "cephrequests", "clusterconnections"] {
        here.kubectl(&[&established[..], &[&format!("{plural}.poolwright.dev")]].concat())
            .await;
    }
    here.admits_the_pod().await;
    here.limits_the_secrets(&[("watch secrets -n team-a", false)])
        .await;
    here.lets_people_in().await;
    here.shows_the_next_steps().await;

    let pools = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pools.yaml");
    here.kubectl(&["apply", "-f", pools]).await;
    let before = here.kubectl(&["get", "cpool", "-A", "-o", "name"]).await;
    assert!(before.contains("cephpool.poolwright.dev/"), "{before}");
    here.kubectl(&["create", "namespace", "team-a"]).await;
    let values = ["--set", "secretNamespaces={team-a},replicas=1"];
    here.helm("upgrade", &[&[CHART], &values[..]].concat())
        .await;
    here.limits_the_secrets(&[("watch secrets -n team-a", true)])
        .await;
    let alone = here.kubectl(&["get", "pdb", "-n", NAMESPACE, "-o", "name"]);
    assert_eq!(alone.await, "", "one pod needs no budget");

    let said = here.helm("uninstall", &[]).await;
    assert!(
        said.contains("These resources were kept due to the resource policy"),
        "{said}"
    );
    let left = "deployment,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding";
    let ours = [
        "-l",
        "app.kubernetes.io/instance=poolwright",
        "-A",
        "-o",
        "name",
    ];
    assert_eq!(
        here.kubectl(&[&["get", left], &ours[..]].concat()).await,
        ""
    );
    let after = here.kubectl(&["get", "cpool", "-A", "-o", "name"]).await;
    assert_eq!(after, before, "the CephPools are still there");

    here.helm("install", &[CHART]).await;
    let again = here.kubectl(&["get", "deployment", "-n", NAMESPACE, "-o", "name"]);
    assert_eq!(again.await, "deployment.apps/poolwright\n");
}
