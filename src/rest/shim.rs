//! What all calls share.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use moka::future::Cache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Act;
use super::caller::{Access, Caller};
use super::memory::Requests;
use super::problem::{Kind, Problem};
use super::writes::Locks;
use crate::api::v1alpha1::ClusterConnectionSpec;
use crate::ceph::types::{Epoch, Fsid};
use crate::ceph::view::ClusterView;
use crate::controller::memory::Memory;
use crate::controller::registry::{NoSession, Session};
use crate::metrics::Metrics;
use crate::monitor::Contact;

/// In how many seconds to try again what needs a cluster or an API server that does not answer.
pub const AWAY: u32 = 5;
/// How long it is believed what the defaults of a cluster are: nobody changes them often, and everybody may ask.
const DEFAULTS: Duration = Duration::from_secs(30);

/// What the API is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the CephPools that are made where a call names none.
    pub namespace: Option<String>,
    /// The application of pools that are made where a call names none.
    pub application: String,
    /// How callers reach it: https, or http.
    pub scheme: &'static str,
    /// How many calls one caller may have under way.
    pub calls_per_caller: usize,
    /// Counts.
    pub metrics: Metrics,
    /// What the controller has in memory.
    pub memory: watch::Receiver<Option<Memory>>,
}

/// The state of the router. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Shim(Arc<Shared>);

struct Shared {
    settings: Settings,
    client: Client,
    access: Access,
    requests: Requests,
    turns: Mutex<HashMap<String, usize>>,
    locks: Locks,
    defaults: Cache<Fsid, [String; 4]>,
    shutdown: CancellationToken,
}

impl fmt::Debug for Shim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shim")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// A ClusterConnection as the API sees it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Its spec: grants and management.
    pub spec: Arc<ClusterConnectionSpec>,
    /// Its session, or why there is none.
    pub session: Result<Arc<Session>, NoSession>,
}

impl Connection {
    /// Its session.
    ///
    /// # Errors
    ///
    /// 503 when there is none.
    pub fn open(&self) -> Result<&Arc<Session>, Problem> {
        self.session.as_ref().map_err(|why| {
            Problem::unavailable(
                format!(
                    "the cluster of the ClusterConnection {} cannot be reached: {why}",
                    self.name
                ),
                AWAY,
            )
        })
    }

    /// The newest view of its cluster, however old it is: for reading.
    ///
    /// # Errors
    ///
    /// 503 when there is none.
    pub fn view(&self) -> Result<Arc<ClusterView>, Problem> {
        self.open()?.monitor.snapshot().view.ok_or_else(|| {
            Problem::unavailable(
                format!(
                    "no map of the cluster of the ClusterConnection {} has been read yet",
                    self.name
                ),
                AWAY,
            )
        })
    }

    /// Whether it is in contact with its cluster, and the epoch of the view it has.
    fn knows(&self) -> (bool, Option<Epoch>) {
        let snapshot = self
            .session
            .as_ref()
            .ok()
            .map(|session| session.monitor.snapshot());
        let Some(snapshot) = snapshot else {
            return (false, None);
        };
        let epoch = snapshot.view.map(|view| view.epoch());
        (
            epoch.is_some() && snapshot.contact == Contact::Connected,
            epoch,
        )
    }

    /// The newest view, if it may be acted on: for changes.
    ///
    /// # Errors
    ///
    /// 503 when there is none, or it is too old.
    pub fn usable_view(&self) -> Result<Arc<ClusterView>, Problem> {
        self.open()?.usable_view().map_err(|why| {
            Problem::unavailable(
                format!(
                    "the cluster of the ClusterConnection {} is away: {why}",
                    self.name
                ),
                AWAY,
            )
        })
    }
}

impl Shim {
    /// Puts it together.
    pub fn new(
        settings: Settings,
        client: Client,
        requests: Requests,
        shutdown: CancellationToken,
    ) -> Self {
        let access = Access::new(client.clone());
        Self(Arc::new(Shared {
            settings,
            client,
            access,
            requests,
            turns: Mutex::default(),
            locks: Locks::default(),
            defaults: Cache::builder().time_to_live(DEFAULTS).build(),
            shutdown,
        }))
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A client of the API server that writes whether or not this replica leads.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The requests in memory.
    pub fn requests(&self) -> &Requests {
        &self.0.requests
    }

    /// One change of an object at a time.
    pub fn locks(&self) -> &Locks {
        &self.0.locks
    }

    /// What the monitors of a cluster said lately of the defaults of pools.
    pub fn defaults(&self) -> &Cache<Fsid, [String; 4]> {
        &self.0.defaults
    }

    /// Cancelled when the program ends: what waits answers with what there is.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// Who a token belongs to.
    ///
    /// # Errors
    ///
    /// 401 when nobody does; 503 when the API server does not answer.
    pub async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let user: UserInfo = self.0.access.identify(token).await?;
        Ok(Caller::new(user, self.0.access.clone()))
    }

    /// What the controller has in memory.
    ///
    /// # Errors
    ///
    /// 503 until it has it.
    pub fn memory(&self) -> Result<Memory, Problem> {
        let memory = self.0.settings.memory.borrow();
        memory
            .clone()
            .ok_or_else(|| Problem::unavailable("the controller has not read the objects yet", 2))
    }

    /// The connections to a cluster, by name, whoever asks.
    ///
    /// # Errors
    ///
    /// 503 until connections are known.
    pub fn connections(&self, fsid: &Fsid) -> Result<Vec<Connection>, Problem> {
        let mut found = self.all_connections()?;
        found.retain(|(its, _)| its == fsid);
        Ok(found
            .into_iter()
            .map(|(_, connection)| connection)
            .collect())
    }

    /// All connections whose cluster is known, with its ID.
    ///
    /// # Errors
    ///
    /// 503 until connections are known.
    pub fn all_connections(&self) -> Result<Vec<(Fsid, Connection)>, Problem> {
        let registry = self.memory()?.registry;
        let known = registry.all_known().into_iter();
        Ok(known
            .filter_map(|(name, known)| {
                let session = registry.session(&name);
                let fsid = known
                    .fsid
                    .or_else(|| session.as_ref().ok().map(|session| session.fsid.clone()))?;
                let connection = Connection {
                    name,
                    spec: known.spec,
                    session,
                };
                Some((fsid, connection))
            })
            .collect())
    }

    /// The connection by which a caller may read a cluster: of several the one that knows the newest of it, for the map is
    /// read by those that somebody uses.
    ///
    /// # Errors
    ///
    /// 404 for a cluster that nobody knows, and 403 for one that he may not see. The two look the same to whoever may
    /// not see all connections, so that nobody learns which clusters there are.
    pub async fn readable(&self, caller: &Caller, fsid: &str) -> Result<Connection, Problem> {
        let mut readable = Vec::new();
        for connection in self.connections(&Fsid::new(fsid))? {
            let act = Act::on_all("get", "clusterconnections").named(&connection.name);
            if caller.may(&act).await? {
                readable.push(connection);
            }
        }
        let places = readable.iter().map(Connection::knows).enumerate();
        let newest = places.max_by_key(|(place, knows)| (*knows, Reverse(*place)));
        if let Some((newest, _)) = newest {
            return Ok(readable.swap_remove(newest));
        }
        let any = Act::on_all("get", "clusterconnections");
        if caller.may(&any).await? {
            return Err(Problem::not_found(format!(
                "no ClusterConnection leads to a cluster {fsid}; GET /api/v2/cluster lists those there are"
            )));
        }
        let detail = format!("{} may not {any} of a cluster {fsid}", caller.name());
        Err(Problem::new(Kind::Forbidden, detail))
    }

    /// Lets a caller begin a call, until the turn is dropped.
    ///
    /// # Errors
    ///
    /// 429 when he has too many under way.
    pub fn turn(&self, caller: &str) -> Result<Turn, Problem> {
        let mut turns = self.turns();
        let under_way = turns.entry(caller.to_owned()).or_default();
        if *under_way >= self.0.settings.calls_per_caller {
            let mut problem = Problem::new(
                Kind::TooManyRequests,
                format!("{caller} has {under_way} calls under way, which is the most there may be"),
            );
            problem.retry_after = Some(1);
            return Err(problem);
        }
        *under_way += 1;
        Ok(Turn {
            shim: self.clone(),
            caller: caller.to_owned(),
        })
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way.
#[derive(Debug)]
#[must_use = "the call counts as ended when this is dropped"]
pub struct Turn {
    shim: Shim,
    caller: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.shim.turns();
        if let Some(under_way) = turns.get_mut(&self.caller) {
            *under_way -= 1;
            if *under_way == 0 {
                turns.remove(&self.caller);
            }
        }
    }
}

/// How long a call may take that does not wait for anything.
pub const CALL: Duration = Duration::from_secs(30);
