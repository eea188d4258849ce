//! The Kubernetes side: streams, reconcile, status, connections.
//!
//! ```text
//!  CephPool ───────────┐
//!  views that moved ───┼─► pool::reconcile ─► run (request::executor) ─► journal ─► status
//!  runs that ended ────┤         │
//!  connections ────────┘         └─► status::compute ─► status, CephRequest, events
//! ```

pub mod backoff;
pub mod connection;
pub mod connection_status;
mod events;
pub mod file;
pub mod grants;
pub mod journal;
pub mod keyring;
mod levels;
mod owners;
pub mod pool;
pub mod pools;
pub mod record;
pub mod registry;
pub mod requests;
pub mod status;
mod triggers;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Config, Controller, Error as ControllerError};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use self::connection::{ConnectionContext, Desired, Opened, Opener, RadosOpener};
use self::connection_status::PoolUse;
use self::pools::{GuardedPool, Pools};
use self::registry::Registry;
use crate::api::crd::Kind;
use crate::ceph::client::ClientError;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::metrics::client::CountingClient;
use crate::request::collection::RequestCollection;
use crate::request::work::PoolKey;

/// How many looks at pools go on at once; each may write to the API server.
const CONCURRENCY: u16 = 32;
/// How long runs may take to come to the end of their round when the program ends.
const DRAIN: Duration = Duration::from_secs(12);
/// How long what is being looked at may take then; all these limits together are less than what the process has.
const LAST_LOOKS: Duration = Duration::from_secs(4);
/// How long closing the sessions may take.
const CLOSE: Duration = Duration::from_secs(6);
/// How long the first lists of objects may take.
const FIRST_LIST: Duration = Duration::from_secs(120);
/// How often the CRDs are looked for while they are missing.
const CRD_WAIT: Duration = Duration::from_secs(5);

/// The gate of readiness that waits for the CRDs.
const CRDS: &str = "crds";

/// What the controller is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the control plane in the marks on pools; by default the uid of the namespace `kube-system`.
    pub instance_id: Option<String>,
    /// Counts.
    pub metrics: Metrics,
    /// Tells whether the controller lives and is ready.
    pub health: Health,
}

/// Why the controller cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig and no service account.
    #[error("cannot find out how to reach the Kubernetes API server")]
    Configuration(#[source] Box<kube::Error>),
    /// The uid of `kube-system` is what marks are made with.
    #[error(
        "cannot read the namespace kube-system, whose uid names this control plane; allow it, or give --instance-id"
    )]
    Instance(#[source] Box<kube::Error>),
    /// The CRDs cannot be looked for.
    #[error("cannot look for the CustomResourceDefinitions")]
    Crds(#[source] Box<kube::Error>),
    /// An instance ID that cannot stand in a mark.
    #[error("instance ID {0:?} must be 1 to 63 letters, digits, dots, dashes or underscores")]
    InstanceId(String),
    /// The CephRequests that an earlier process left cannot be read.
    #[error("cannot read the CephRequests")]
    Requests(#[source] Box<kube::Error>),
    /// The objects were not listed in time.
    #[error("the CephPools, ClusterConnections or namespaces could not be listed within {} s; see the log", FIRST_LIST.as_secs())]
    FirstList,
    /// A part that should go on for ever did not.
    #[error("{part} ended before it was told to")]
    Ended {
        /// Which.
        part: &'static str,
        /// The panic it ended with, if it did.
        #[source]
        source: Option<JoinError>,
    },
}

/// Runs the controller until `shutdown`.
///
/// # Errors
///
/// When it cannot start, or when a part of it ends early: then the process has to end, since
/// half a controller looks alive and does nothing.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Error> {
    let client = Client::try_default()
        .await
        .map_err(|source| Error::Configuration(Box::new(source)))?;
    settings.health.gate(CRDS);
    let objects_listed = settings.health.gate("objects");
    let Some(instance) =
        or_shutdown(instance(&client, settings.instance_id.clone()), &shutdown).await
    else {
        return Ok(());
    };
    let instance = instance?;
    match or_shutdown(wait_for_crds(&client, &settings.health), &shutdown).await {
        None => return Ok(()),
        Some(found) => found?,
    }
    tracing::info!(instance, "starting");

    let runs = CancellationToken::new();
    let sessions = CancellationToken::new();
    let watching = watch_pools(&client, instance, &settings, &runs, &shutdown);
    // The connections have to know all pools: a new session must not be behind the epochs they record.
    match or_shutdown(
        tokio::time::timeout(FIRST_LIST, watching.listed()),
        &shutdown,
    )
    .await
    {
        // Nothing was begun that would have to be ended.
        None => return Ok(()),
        Some(Ok(())) => objects_listed.set(),
        Some(Err(_)) => return Err(Error::FirstList),
    }
    let pools = watching.pools;
    match or_shutdown(
        tokio::time::timeout(FIRST_LIST, pools.take_over()),
        &shutdown,
    )
    .await
    {
        None => return Ok(()),
        Some(Ok(done)) => done.map_err(|source| Error::Requests(Box::new(source)))?,
        Some(Err(_)) => return Err(Error::FirstList),
    }
    pools.connecting();
    let connections = tokio::spawn(connection::run(
        ConnectionContext {
            client,
            registry: pools.registry.clone(),
            pool_uses: uses(pools.objects.clone()),
            opener: Arc::new(CountedOpener(settings.metrics.clone())),
        },
        sessions.clone(),
    ));
    let parts = Parts {
        looks: watching.looks,
        following: watching.following,
        labels: watching.labels,
        connections,
    };
    let connections = parts.go_on(&shutdown, &settings.health).await?;
    // Looks end first, then the runs come to the end of their round, then the sessions are closed.
    runs.cancel();
    if tokio::time::timeout(DRAIN, pools.collection.drained())
        .await
        .is_err()
    {
        tracing::warn!(
            runs = pools.collection.running(),
            "commands are still in flight; they are settled at the next start"
        );
    }
    sessions.cancel();
    if tokio::time::timeout(CLOSE, connections).await.is_err() {
        tracing::warn!("closing the sessions failed");
    }
    Ok(())
}

/// The watches of pools and namespaces, and what follows from them.
struct Watching {
    pools: Arc<Pools>,
    looks: JoinHandle<()>,
    following: JoinHandle<()>,
    labels: JoinHandle<()>,
    all_pools: CancellationToken,
    all_namespaces: CancellationToken,
}

impl Watching {
    /// Ends when the first lists are complete.
    async fn listed(&self) {
        self.all_pools.cancelled().await;
        self.all_namespaces.cancelled().await;
    }
}

/// Begins to watch. Pools are looked at from now on, and wait for their connections.
fn watch_pools(
    client: &Client,
    instance: String,
    settings: &Settings,
    runs: &CancellationToken,
    shutdown: &CancellationToken,
) -> Watching {
    let registry = Registry::new();
    let (ended, ended_runs) = mpsc::unbounded_channel::<PoolKey>();
    let (objects, writer) = reflector::store::<GuardedPool>();
    let watch = watcher(
        Api::<GuardedPool>::all(client.clone()),
        watcher::Config::default().any_semantic(),
    )
    .modify(|object| object.managed_fields_mut().clear());
    let nudged = registry.clone();
    let all_pools = CancellationToken::new();
    let touched = reflector::reflector(writer, watch)
        .default_backoff()
        .inspect(first_list(all_pools.clone()))
        .touched_objects()
        .inspect(move |object| {
            if let Ok(object) = object
                && let Ok(pool) = &object.0
            {
                nudged.nudge(&pool.spec.connection_ref.name);
            }
        });
    let all_namespaces = CancellationToken::new();
    let (urgent, triggers) = triggers::channel();
    let relabelled = triggers::relabelled(objects.clone(), urgent.clone());
    let (namespaces, labels) =
        watch_namespaces(client, shutdown, all_namespaces.clone(), relabelled);
    levels::connect(&settings.metrics, registry.clone(), objects.clone());
    let reporter = Reporter {
        controller: "poolwright".to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    };
    let pools = Arc::new(Pools::new(
        client.clone(),
        registry,
        RequestCollection::new(ended, runs.clone()),
        objects.clone(),
        namespaces,
        instance,
        reporter,
        settings.metrics.clone(),
    ));
    let following = tokio::spawn(triggers::follow(
        Arc::clone(&pools),
        ended_runs,
        urgent.clone(),
        shutdown.clone(),
    ));
    let looks = tokio::spawn(look_after_pools(
        Arc::clone(&pools),
        touched,
        objects,
        (urgent, triggers),
        shutdown.clone(),
    ));
    Watching {
        pools,
        looks,
        following,
        labels,
        all_pools,
        all_namespaces,
    }
}

/// Opens clients of librados whose commands are counted.
#[derive(Debug)]
struct CountedOpener(Metrics);

#[async_trait]
impl Opener for CountedOpener {
    async fn open(&self, desired: &Desired) -> Result<Opened, ClientError> {
        let opened = RadosOpener.open(desired).await?;
        Ok(Opened {
            client: Arc::new(CountingClient::new(opened.client, self.0.clone())),
            close: opened.close,
        })
    }
}

/// The tasks of the controller. One that ends early ends the process.
struct Parts {
    looks: JoinHandle<()>,
    following: JoinHandle<()>,
    labels: JoinHandle<()>,
    connections: JoinHandle<()>,
}

impl Parts {
    /// Until `shutdown`; gives back what has to end last.
    async fn go_on(
        mut self,
        shutdown: &CancellationToken,
        health: &Health,
    ) -> Result<JoinHandle<()>, Error> {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            let ended = tokio::select! {
                () = shutdown.cancelled() => {
                    // What is being looked at is looked at to its end.
                    if let Err(error) = tokio::time::timeout(LAST_LOOKS, self.looks).await {
                        tracing::warn!(%error, "looks at pools are still under way");
                    }
                    return Ok(self.connections);
                }
                _ = tick.tick() => {
                    health.tick();
                    continue;
                }
                ended = &mut self.looks => ("looking after pools", ended),
                ended = &mut self.following => ("following the clusters", ended),
                ended = &mut self.labels => ("watching namespaces", ended),
                ended = &mut self.connections => ("looking after connections", ended),
            };
            // All of them end on shutdown, and the order in which that is seen is chance.
            if !shutdown.is_cancelled() {
                return Err(Error::Ended {
                    part: ended.0,
                    source: ended.1.err(),
                });
            }
            return Ok(self.connections);
        }
    }
}

async fn look_after_pools(
    pools: Arc<Pools>,
    touched: impl futures::Stream<Item = Result<GuardedPool, watcher::Error>> + Send + 'static,
    objects: Store<GuardedPool>,
    (urgent, triggers): (
        triggers::Urgent,
        impl futures::Stream<Item = ObjectRef<GuardedPool>> + Send + 'static,
    ),
    shutdown: CancellationToken,
) {
    let results = Controller::for_stream(touched, objects.clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(triggers)
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(
            pool::reconcile,
            |object, error, pools| pool::again_after_error(&object, error, &pools),
            Arc::clone(&pools),
        );
    let mut results = pin!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok((pool, _)) => tracing::trace!(%pool, "looked at"),
            Err(ControllerError::ObjectNotFound(gone)) => {
                let gone: ObjectRef<GuardedPool> = ObjectRef::new(&gone.name)
                    .within(gone.namespace.as_deref().unwrap_or_default());
                let left = objects.get(&gone).and_then(|object| object.uid());
                pools.forget(&gone, left.as_deref());
                triggers::left(&pools, &urgent);
            }
            // Told already, with the object's name, by the error policy.
            Err(ControllerError::ReconcilerFailed(..)) => {}
            Err(error) => tracing::warn!(error = chain(&error), "looking after pools"),
        }
    }
}

/// Tells when the first list is in the store.
///
/// `Store::wait_until_ready` wakes only the last of several that wait, and the controller waits too.
fn first_list<K>(
    complete: CancellationToken,
) -> impl FnMut(&Result<watcher::Event<K>, watcher::Error>) {
    move |event| {
        if let Ok(watcher::Event::InitDone) = event {
            complete.cancel();
        }
    }
}

/// Keeps the labels of all namespaces, for grants by selector.
fn watch_namespaces(
    client: &Client,
    shutdown: &CancellationToken,
    complete: CancellationToken,
    mut relabelled: impl FnMut(&PartialObjectMeta<Namespace>) + Send + 'static,
) -> (Store<PartialObjectMeta<Namespace>>, JoinHandle<()>) {
    let (reader, writer) = reflector::store::<PartialObjectMeta<Namespace>>();
    let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let watch = watcher(api, watcher::Config::default().any_semantic()).modify(|object| {
        object.managed_fields_mut().clear();
        object.annotations_mut().clear();
    });
    let stream = reflector::reflector(writer, watch)
        .default_backoff()
        .inspect(first_list(complete))
        .touched_objects();
    let shutdown = shutdown.clone();
    let task = tokio::spawn(async move {
        let mut stream = pin!(stream);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => match event {
                    Some(Ok(namespace)) => relabelled(&namespace),
                    Some(Err(error)) => tracing::warn!(error = chain(&error), "watching namespaces"),
                    None => return,
                },
            }
        }
    });
    (reader, task)
}

/// What connections want to know about the pools that refer to them.
fn uses(objects: Store<GuardedPool>) -> connection::PoolUses {
    Arc::new(move |connection: &str| {
        objects
            .state()
            .iter()
            .filter_map(|object| object.0.as_ref().ok())
            .filter(|pool| pool.spec.connection_ref.name == connection)
            .map(PoolUse::from)
            .collect()
    })
}

/// The name of the control plane in the marks.
async fn instance(client: &Client, given: Option<String>) -> Result<String, Error> {
    if let Some(id) = given {
        let good = (1..=63).contains(&id.len())
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        return if good {
            Ok(id)
        } else {
            Err(Error::InstanceId(id))
        };
    }
    let found = Api::<PartialObjectMeta<Namespace>>::all(client.clone())
        .get("kube-system")
        .await
        .map_err(|source| Error::Instance(Box::new(source)))?;
    found.uid().ok_or_else(|| Error::InstanceId(String::new()))
}

/// Waits for the CRDs instead of ending: a restart does not make them appear.
async fn wait_for_crds(client: &Client, health: &Health) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut told = false;
    loop {
        let mut missing = Vec::new();
        for kind in [Kind::ClusterConnection, Kind::CephPool, Kind::CephRequest] {
            let name = kind.crd().name_any();
            let found = api
                .get_opt(&name)
                .await
                .map_err(|source| Error::Crds(Box::new(source)))?;
            let served = found.and_then(|crd| crd.status).is_some_and(|status| {
                status
                    .conditions
                    .unwrap_or_default()
                    .iter()
                    .any(|condition| condition.type_ == "Established" && condition.status == "True")
            });
            if !served {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            health.gate(CRDS).set();
            return Ok(());
        }
        if !told {
            tracing::warn!(
                missing = missing.join(", "),
                "waiting for CustomResourceDefinitions; install them with: poolwright crds | kubectl apply -f -"
            );
            told = true;
        }
        health.tick();
        tokio::time::sleep(CRD_WAIT).await;
    }
}

async fn or_shutdown<T>(work: impl Future<Output = T>, shutdown: &CancellationToken) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = shutdown.cancelled() => None,
    }
}

/// An error with all its causes, once each: some print their source themselves.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
