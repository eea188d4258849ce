//! Which Ceph clusters are reached at this moment: connection name to session.
//!
//! The connection reconciler is the only writer. Everybody else asks by name before each piece of
//! work and holds no session longer than that, so that a replaced key, a revoked grant or a deleted
//! connection takes effect at once.

pub(super) mod nudges;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::nudges::Nudges;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::ClusterConnectionSpec;
use crate::ceph::client::MonClient;
use crate::ceph::types::{Epoch, Fsid};
use crate::ceph::view::ClusterView;
use crate::monitor::{ClusterMonitor, Contact, NotUsable};

/// How many events a slow reader may be behind before it is told that it missed some.
const EVENTS_KEPT: usize = 1024;

/// A view that was confirmed longer ago is not acted on.
const VIEW_AGE: Duration = Duration::from_secs(5);

/// An open way to one cluster, under the spec it was opened for.
///
/// When only the spec changes (a grant, say), a new `Session` over the same client and monitor
/// takes its place; `incarnation` tells whether the client is another one.
#[derive(Debug)]
pub struct Session {
    /// The connection's name.
    pub name: String,
    /// The connection's spec: grants, `management`, timeouts.
    pub spec: Arc<ClusterConnectionSpec>,
    /// The cluster, compared with the pinned one before the session was handed out.
    pub fsid: Fsid,
    /// The way to its monitors.
    pub client: Arc<dyn MonClient>,
    /// Its views, and the throttle of its creates (`monitor.creates()`).
    pub monitor: ClusterMonitor,
    /// Counts the clients opened by this process; another number is another client.
    pub incarnation: u64,
    /// The highest epoch that objects recorded for this cluster before the session was opened.
    pub floor: Arc<Floor>,
    /// The release of the monitors when the session was opened, for people.
    pub release: Option<String>,
    /// Cancelled when this client is given up: it takes no more commands, and what is in flight
    /// on it keeps its deadline.
    pub closed: CancellationToken,
}

impl Session {
    /// The newest view, if it may be acted on: confirmed less than 5 s ago, and not behind any
    /// recorded epoch.
    pub fn usable_view(&self) -> Result<Arc<ClusterView>, NotUsable> {
        self.monitor
            .usable_view(Instant::now(), VIEW_AGE, self.floor.get())
    }
}

/// The highest epoch recorded for a cluster. It only rises.
#[derive(Debug, Default)]
pub struct Floor {
    highest: AtomicU64,
    /// What was recorded up to this is of a map that has gone back since, which a person has confirmed.
    went_back_from: Epoch,
}

impl Floor {
    /// A floor that epochs up to this one do not raise.
    pub fn after(went_back_from: Epoch) -> Self {
        Self {
            highest: AtomicU64::default(),
            went_back_from,
        }
    }

    /// Raises it to an epoch that was read from an object or awaited by a run.
    pub fn raise(&self, epoch: Epoch) {
        if epoch > self.went_back_from {
            self.highest.fetch_max(epoch.0, Ordering::AcqRel);
        }
    }

    /// The epoch that a usable view has at least.
    pub fn get(&self) -> Epoch {
        Epoch(self.highest.load(Ordering::Acquire))
    }
}

/// Why there is no session, in the words the connection's own condition uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoSession {
    /// The reason for the condition.
    pub reason: Reason,
    /// A sentence with the remedy.
    pub message: String,
}

/// Something that the pools of a connection have to hear of.
#[derive(Clone, Debug)]
pub struct RegistryEvent {
    /// The connection's name.
    pub connection: String,
    /// What happened.
    pub change: Change,
}

/// What happened to a connection.
#[derive(Clone, Debug)]
pub enum Change {
    /// There is a session now, or another one than before.
    Appeared,
    /// There is none any more, or the reason why there is none is another.
    Vanished,
    /// The same session, another spec: grants or `management`.
    SpecChanged,
    /// A new view: its pools may differ from those of the old one.
    View {
        /// The view before, if there was one in this session.
        old: Option<Arc<ClusterView>>,
        /// The newest view.
        new: Arc<ClusterView>,
    },
    /// The monitors answer no more, or answer again: views went stale, or are usable again.
    Contact(Contact),
}

/// The sessions by connection name. Clones share them.
#[derive(Clone, Debug)]
pub struct Registry {
    entries: Arc<RwLock<BTreeMap<String, Entry>>>,
    events: broadcast::Sender<RegistryEvent>,
    nudges: Arc<Nudges>,
    renewals: Arc<Mutex<BTreeSet<String>>>,
    known: Arc<RwLock<BTreeMap<String, Known>>>,
}

/// What a connection says, also while there is no session.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its spec.
    pub spec: Arc<ClusterConnectionSpec>,
    /// The cluster that it belongs to, where that is known.
    pub fsid: Option<Fsid>,
}

#[derive(Clone, Debug)]
enum Entry {
    Open(Arc<Session>),
    Closed(NoSession),
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self {
            entries: Arc::default(),
            events: broadcast::channel(EVENTS_KEPT).0,
            nudges: Arc::default(),
            renewals: Arc::default(),
            known: Arc::default(),
        }
    }

    /// What a connection says, whether it can be reached or not; nothing before it was first looked at.
    pub fn known(&self, name: &str) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    /// What all connections say, by name.
    pub fn all_known(&self) -> BTreeMap<String, Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Notes what a connection says.
    pub(super) fn tell(&self, name: &str, known: Known) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), known);
    }

    /// The session of a connection, or why there is none.
    pub fn session(&self, name: &str) -> Result<Arc<Session>, NoSession> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(name) {
            Some(Entry::Open(session)) => Ok(Arc::clone(session)),
            Some(Entry::Closed(why)) => Err(why.clone()),
            None => Err(NoSession {
                reason: Reason::ConnectionNotFound,
                message: format!(
                    "there is no ClusterConnection {name}; `kubectl get cephconn` lists those there are"
                ),
            }),
        }
    }

    /// All sessions, in the order of their names.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .values()
            .filter_map(|entry| match entry {
                Entry::Open(session) => Some(Arc::clone(session)),
                Entry::Closed(_) => None,
            })
            .collect()
    }

    /// What happens from now on. A reader that is told `Lagged` has to look at all pools again.
    pub fn subscribe(&self) -> broadcast::Receiver<RegistryEvent> {
        self.events.subscribe()
    }

    /// Has a connection looked at within a second or two, since the CephPools that refer to it
    /// changed: their number, their finalizers, or the private names they record.
    pub fn nudge(&self, name: &str) {
        self.nudges.add(name);
    }

    /// Has a new client opened for a connection: monitors look at what a user may do when a session is opened, and
    /// never again.
    pub fn renew(&self, name: &str) {
        self.renewals().insert(name.to_owned());
        self.nudge(name);
    }

    /// Whether a new client was asked for since the last call.
    pub(super) fn takes_renewal(&self, name: &str) -> bool {
        self.renewals().remove(name)
    }

    fn renewals(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nudges, for the reconciler of connections.
    pub(super) fn nudges(&self) -> Arc<Nudges> {
        Arc::clone(&self.nudges)
    }

    /// Puts a session in place, for everybody who asks from now on.
    pub(super) fn open(&self, session: Arc<Session>) {
        let name = session.name.clone();
        let incarnation = session.incarnation;
        let before = self.put(&name, Entry::Open(session));
        let change = match before {
            Some(Entry::Open(old)) if old.incarnation == incarnation => Change::SpecChanged,
            Some(Entry::Open(_) | Entry::Closed(_)) | None => Change::Appeared,
        };
        self.announce(name, change);
    }

    /// Takes a session out of use, or says why there never was one.
    pub(super) fn refuse(&self, name: &str, why: &NoSession) {
        let before = self.put(name, Entry::Closed(why.clone()));
        if !matches!(before, Some(Entry::Closed(same)) if same == *why) {
            self.announce(name.to_owned(), Change::Vanished);
        }
    }

    /// Forgets a connection that is no more.
    pub(super) fn remove(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
        drop(known);
        let before = {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            entries.remove(name)
        };
        if before.is_some() {
            self.announce(name.to_owned(), Change::Vanished);
        }
    }

    /// Tells the readers; that there is none is no fault.
    pub(super) fn announce(&self, connection: String, change: Change) {
        let _ = self.events.send(RegistryEvent { connection, change });
    }

    fn put(&self, name: &str, entry: Entry) -> Option<Entry> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(name.to_owned(), entry)
    }
}

#[cfg(test)]
pub(super) mod tests;
