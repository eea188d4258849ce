//! A controller with the API server and the Ceph cluster it works on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use poolwright::api::crd::Kind;
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, sleep};

use super::controller::{Controller, Start, tail};
use super::{Ceph, ControlPlane, LIMIT, apply, ceph, kubeconfig_of_chart, variable};

/// Own worlds cost 500 MB and two processors for some seconds.
static OWN: Semaphore = Semaphore::const_new(2);
/// What a grant can allow.
const EVERYTHING: [&str; 6] = ["Create", "Update", "Adopt", "Rename", "Delete", "TakeOver"];
/// Namespace of the controller's ServiceAccount and of the Secrets with keys, as the chart's release has.
const SYSTEM: &str = "poolwright-system";

/// What a world of one's own is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// Options of `ceph-cluster.sh`, such as `("PROPOSE_INTERVAL", "")` for Ceph's defaults.
    pub(crate) ceph: Vec<(&'static str, &'static str)>,
    /// More arguments of `poolwright run`.
    pub(crate) args: Vec<String>,
    /// More variables in its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Arguments of its REST API, if it is not to be served without TLS.
    pub(crate) rest: Vec<String>,
    /// More of the spec of the connection `main`.
    pub(crate) connection: Value,
}

/// The shared one, or one of a test's own, which ends with the value.
#[derive(Debug)]
pub(crate) struct World {
    // In the order in which they are ended.
    controller: Mutex<Option<Arc<Controller>>>,
    plane: ControlPlane,
    ceph: Ceph,
    start: Start,
    _place: Option<SemaphorePermit<'static>>,
}

impl World {
    /// The one that all tests share, started by the first that asks.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<World>> = OnceCell::const_new();
        let start = || async {
            let world = Self::start(
                ControlPlane::shared(),
                Ceph::shared(),
                &Own::default(),
                None,
            )
            .await;
            Arc::new(world)
        };
        Arc::clone(SHARED.get_or_init(start).await)
    }

    /// One of its own, with everything: for tests that measure, or that kill the controller.
    pub(crate) async fn own(own: Own) -> Arc<Self> {
        let place = OWN.acquire().await.expect("it is never closed");
        let (plane, ceph) = tokio::join!(ControlPlane::own(), Ceph::own(&own.ceph));
        Arc::new(Self::start(plane, ceph, &own, Some(place)).await)
    }

    async fn start(
        plane: ControlPlane,
        ceph: Ceph,
        own: &Own,
        place: Option<SemaphorePermit<'static>>,
    ) -> Self {
        let client = plane.client().await;
        install_crds(&client).await;
        namespace(&client, SYSTEM).await;
        let log = PathBuf::from(variable("POOLWRIGHT_TEST_DIR"))
            .join(format!("controller-{}.log", plane.port(0)));
        let world = Self {
            start: Start {
                kubeconfig: kubeconfig_of_chart(&plane, &client, SYSTEM).await,
                port: plane.port(0),
                log,
                args: own.args.clone(),
                env: own.env.clone(),
                rest: own.rest.clone(),
            },
            controller: Mutex::new(None),
            plane,
            ceph,
            _place: place,
        };
        world.start_controller().await;
        world
            .connect("main", &world.ceph, own.connection.clone())
            .await;
        world
    }

    /// The Ceph cluster of the connection `main`.
    pub(crate) fn ceph(&self) -> &Ceph {
        &self.ceph
    }

    /// The control plane.
    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Makes a `ClusterConnection` to a cluster, with a user that may do what it has to, open to
    /// all namespaces for everything, and waits until it is Ready. `more` is merged into its spec.
    pub(crate) async fn connect(&self, name: &str, ceph: &Ceph, more: Value) {
        let key = ceph.user(&format!("poolwright-{name}"), &ceph::CAPS).await;
        let mut spec = json!({
            "monitors": [ceph.monitors()],
            "user": format!("poolwright-{name}"),
            "keySecretRef": {"namespace": SYSTEM, "name": format!("ceph-{name}")},
            "grants": [{"name": "all", "namespaces": {"all": true}, "allow": EVERYTHING}],
        });
        merge(&mut spec, more);
        let client = self.plane.client().await;
        self.secret(&client, &format!("ceph-{name}"), &key).await;
        make_connection(&client, name, &spec).await;
        let connections: Api<ClusterConnection> = Api::all(client);
        let began = Instant::now();
        loop {
            let found = connections.get(name).await.expect("the connection");
            let status = found.status.clone().unwrap_or_default();
            let ready = status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True");
            if ready && status.observed_generation == found.metadata.generation {
                return;
            }
            assert!(
                began.elapsed() < LIMIT,
                "the connection is not Ready: {status:#?}\n{}",
                self.log_tail(60, name)
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes a Secret with a key, beside those of the connections.
    pub(crate) async fn secret(&self, client: &Client, name: &str, key: &str) {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(client.clone(), SYSTEM);
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": key},
        });
        apply(&secrets, name, &object)
            .await
            .expect("the secret is accepted");
    }

    /// Makes a namespace, which may be there already.
    pub(crate) async fn namespace(&self, client: &Client, name: &str) {
        namespace(client, name).await;
    }

    /// Ends the controller with SIGKILL. For worlds of one's own.
    pub(crate) fn kill_controller(&self) {
        if let Some(controller) = self.running() {
            controller.kill();
        }
        *self.controller.lock().expect("no panic") = None;
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn start_controller(&self) {
        let controller = Controller::start(&self.start).await;
        *self.controller.lock().expect("no panic") = Some(Arc::new(controller));
    }

    /// Starts it with a fail point, for as long as it lives.
    pub(crate) async fn armed_controller(&self, point: &str) -> Controller {
        let mut start = self.start.clone();
        start
            .env
            .push((poolwright::failpoint::VARIABLE.to_owned(), point.to_owned()));
        Controller::start(&start).await
    }

    /// Starts another replica beside it, and waits until it is ready. It writes into the same log.
    pub(crate) async fn another_controller(&self, number: u16) -> Arc<Controller> {
        let start = Start {
            port: self.plane.port(number),
            ..self.start.clone()
        };
        Arc::new(Controller::start(&start).await)
    }

    /// Writes to objects of our three kinds since the API server started, whoever made them: from
    /// the API server's own `apiserver_request_total`, status and dry runs included.
    pub(crate) async fn api_writes(&self, client: &Client) -> u64 {
        let request = axum::http::Request::get("/metrics")
            .body(Vec::new())
            .expect("a request");
        let text = client
            .request_text(request)
            .await
            .expect("the API server's metrics");
        text.lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
            .filter(|line| line.contains("group=\"poolwright.dev\""))
            .filter(|line| {
                ["GET", "LIST", "WATCH", "WATCHLIST", "CONNECT"]
                    .iter()
                    .all(|verb| !line.contains(&format!("verb=\"{verb}\"")))
            })
            .map(|line| {
                let number = line
                    .rsplit(' ')
                    .next()
                    .and_then(|number| number.parse::<f64>().ok());
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                {
                    number.expect("a number") as u64
                }
            })
            .sum()
    }

    /// The controller's metrics: each line's name with its labels, and its value.
    pub(crate) async fn controller_metrics(&self) -> BTreeMap<String, f64> {
        let controller = self.running().expect("the controller runs");
        controller.metrics().await.expect("its metrics")
    }

    /// How many commands the controller has sent, by prefix, whatever the answer.
    pub(crate) async fn commands(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (name, value) in self.controller_metrics().await {
            let prefix = name
                .strip_prefix("poolwright_commands_total{")
                .and_then(|labels| labels.split_once("prefix=\""))
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(prefix, _)| prefix.to_owned());
            if let Some(prefix) = prefix {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                {
                    *counts.entry(prefix).or_default() += value as u64;
                }
            }
        }
        counts
    }

    /// How many of them may have changed something.
    pub(crate) async fn mutating_commands(&self) -> u64 {
        self.commands()
            .await
            .iter()
            .filter(|(prefix, _)| prefix.starts_with("osd pool "))
            .map(|(_, count)| count)
            .sum()
    }

    /// The end of the controller's log, and the lines before it that name something.
    pub(crate) fn log_tail(&self, lines: usize, name: &str) -> String {
        tail(&self.start.log, lines, name)
    }

    /// The controller, while it runs.
    pub(crate) fn running(&self) -> Option<Arc<Controller>> {
        self.controller.lock().expect("no panic").clone()
    }
}

/// Makes a connection of just this spec, whatever comes of it.
pub(crate) async fn make_connection(client: &Client, name: &str, spec: &Value) {
    let connections: Api<ClusterConnection> = Api::all(client.clone());
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "ClusterConnection",
        "metadata": {"name": name}, "spec": spec,
    });
    apply(&connections, name, &object)
        .await
        .expect("the connection is accepted");
}

/// Makes a namespace, which may be there already.
async fn namespace(client: &Client, name: &str) {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    apply(&namespaces, name, &object)
        .await
        .expect("the namespace is accepted");
}

/// Installs our CRDs, and waits until they are served.
pub(crate) async fn install_crds(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in Kind::ALL {
        let crd = kind.crd();
        let name = crd.name_any();
        apply(&crds, &name, crd).await.expect("the CRD is accepted");
        let began = Instant::now();
        let established = |crd: &CustomResourceDefinition| {
            let conditions = crd
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone());
            conditions
                .unwrap_or_default()
                .iter()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
        };
        while !established(&crds.get(&name).await.expect("the CRD")) {
            assert!(began.elapsed() < LIMIT, "CRD {name} is not established");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Puts `more` over `base`, object into object.
pub(super) fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, more) => *base = more,
    }
}
