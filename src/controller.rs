//! The Kubernetes side: streams, reconcile, status, connections.
//!
//! ```text
//!  CephPool ───────────┐
//!  views that moved ───┼─► pool::reconcile ─► run (request::executor) ─► journal ─► status
//!  runs that ended ────┤         │
//!  connections ────────┘         └─► status::compute ─► status, CephRequest, events
//! ```
//!
//! Of several replicas one acts. The others watch the same objects and keep sessions and views of their own, so that
//! they go on at once when they get the lease; pools are looked at only from then on, and the two ways out of the
//! process are open only while it is held (`fence`).

mod asked;
pub mod backoff;
mod cancels;
pub mod connection;
pub mod connection_status;
mod events;
mod fence;
pub mod file;
pub mod grants;
mod in_flight;
pub mod journal;
pub mod keyring;
mod levels;
pub mod memory;
mod owners;
pub mod pool;
pub mod pools;
pub mod record;
pub mod registry;
pub mod requests;
pub mod status;
mod triggers;
mod watch;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Config as ClientConfig, ResourceExt};
use tokio::sync::watch as channel;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use self::connection::ConnectionContext;
use self::connection_status::PoolUse;
use self::fence::DoorOpener;
use self::memory::Memory;
use self::pools::{GuardedPool, Pools};
use crate::api::crd::Kind;
use crate::health::Health;
use crate::lease::{Election, Leadership, Lost};
use crate::metrics::Metrics;

/// How long runs may take to come to the end of their round when the program ends.
const DRAIN: Duration = Duration::from_secs(12);
/// How long what is being looked at may take then; all these limits together are less than what the process has.
const LAST_LOOKS: Duration = Duration::from_secs(4);
/// How long letting go of the lease may take.
const LET_GO: Duration = Duration::from_secs(2);
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
    /// How one of several replicas is elected to act; without it this is the only one.
    pub election: Option<Election>,
    /// Counts.
    pub metrics: Metrics,
    /// Tells whether the controller lives and is ready.
    pub health: Health,
    /// Where it puts what it has in memory, when it has all of it.
    pub memory: channel::Sender<Option<Memory>>,
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
    /// Another replica acts now, or soon will.
    #[error(transparent)]
    Lost(#[from] Lost),
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
    let unreachable = |source| Error::Configuration(Box::new(source));
    let config = ClientConfig::infer()
        .await
        .map_err(|source| unreachable(kube::Error::InferConfig(source)))?;
    let leadership = match &settings.election {
        Some(_) => Leadership::candidate(),
        None => Leadership::alone(),
    };
    let leases = Client::try_from(config.clone()).map_err(unreachable)?;
    let client = fence::client(config, &leadership).map_err(unreachable)?;
    settings.health.gate(CRDS);
    let objects_listed = settings.health.gate("objects");
    let leads = leadership.clone();
    settings.metrics.leader_from(move || leads.holds());
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
    let leave = CancellationToken::new();
    let watching = watch::pools(&client, instance, &settings, &runs, &shutdown);
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
    pools.connecting();
    settings
        .memory
        .send_replace(Some(Memory::from(pools.as_ref())));
    let connections = tokio::spawn(connection::run(
        ConnectionContext {
            client,
            reporter: pools.reporter.clone(),
            registry: pools.registry.clone(),
            pool_uses: uses(pools.objects.clone()),
            opener: Arc::new(DoorOpener {
                metrics: settings.metrics.clone(),
                leadership: leadership.clone(),
            }),
            leadership: leadership.clone(),
        },
        sessions.clone(),
    ));
    // Only who could act wants to.
    let election = settings.election.unwrap_or_default();
    let keeping = tokio::spawn(leadership.clone().keep(leases, election, leave.clone()));
    let mut parts = Parts {
        looks: watching.looks,
        following: watching.following,
        labels: watching.labels,
        cancels: watching.cancels,
        connections,
        lease: keeping,
    };
    let take_over = take_over(&leadership, &pools, &watching.begin);
    let gone_on = parts.go_on(take_over, &shutdown, &settings.health).await;
    // Looks end first, then the runs come to the end of their round, then another replica may act, then the sessions
    // are closed.
    runs.cancel();
    gone_on?;
    if tokio::time::timeout(DRAIN, pools.collection.drained())
        .await
        .is_ok()
    {
        leave.cancel();
        match tokio::time::timeout(LET_GO, parts.lease).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "while ending"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the lease was not let go of in time"),
        }
    } else {
        // Nobody may act beside these: the lease is kept for as long as this process lives, and expires then.
        tracing::warn!(
            runs = pools.collection.running(),
            "commands are still in flight; they are settled at the next start"
        );
    }
    sessions.cancel();
    if tokio::time::timeout(CLOSE, parts.connections)
        .await
        .is_err()
    {
        tracing::warn!("closing the sessions failed");
    }
    Ok(())
}

/// Waits until this replica acts, reads what the last one left, and has the pools looked at.
async fn take_over(
    leadership: &Leadership,
    pools: &Pools,
    begin: &CancellationToken,
) -> Result<(), Error> {
    leadership.gained().await;
    let from_another = leadership.identity().is_some();
    match tokio::time::timeout(FIRST_LIST, pools.take_over(from_another)).await {
        Ok(done) => done.map_err(|source| Error::Requests(Box::new(source)))?,
        Err(_) => return Err(Error::FirstList),
    }
    begin.cancel();
    Ok(())
}

/// The tasks of the controller. One that ends early ends the process.
struct Parts {
    looks: JoinHandle<()>,
    following: JoinHandle<()>,
    labels: JoinHandle<()>,
    cancels: JoinHandle<()>,
    connections: JoinHandle<()>,
    lease: JoinHandle<Result<(), Lost>>,
}

impl Parts {
    /// Until `shutdown`; what has to end later goes on.
    async fn go_on(
        &mut self,
        take_over: impl Future<Output = Result<(), Error>>,
        shutdown: &CancellationToken,
        health: &Health,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        let mut take_over = pin!(take_over.fuse());
        loop {
            let (part, ended) = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = tick.tick() => {
                    health.tick();
                    continue;
                }
                done = &mut take_over => {
                    done?;
                    continue;
                }
                // Nothing is sent any more; why it was lost is why the process ends.
                ended = &mut self.lease => ("keeping the lease", match ended {
                    Ok(kept) => kept.map(Ok)?,
                    Err(panic) => Err(panic),
                }),
                ended = &mut self.looks => ("looking after pools", ended),
                ended = &mut self.following => ("following the clusters", ended),
                ended = &mut self.labels => ("watching namespaces", ended),
                ended = &mut self.cancels => ("watching for cancelled requests", ended),
                ended = &mut self.connections => ("looking after connections", ended),
            };
            // All of them end on shutdown, and the order in which that is seen is chance.
            if shutdown.is_cancelled() {
                break;
            }
            let source = ended.err();
            return Err(Error::Ended { part, source });
        }
        // What is being looked at is looked at to its end.
        if !self.looks.is_finished()
            && let Err(error) = tokio::time::timeout(LAST_LOOKS, &mut self.looks).await
        {
            tracing::warn!(%error, "looks at pools are still under way");
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests;
