//! `RequestCollection`: the work on all pools. One run a pool, many pools at once.
//!
//! It knows no Kubernetes. A reconcile hands the newest wish in and reads out how far the
//! run is; the run itself is in [`super::executor`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::contest::Contest;
use super::executor::{Access, RunEnd, run};
use super::journal::Journal;
use super::rejection::Rejection;
use super::user_request::{Observation, UserRequest};
use super::wish::{Record, Wish};

/// The object a pool's work belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: an object made again is another one.
    pub uid: String,
}

impl fmt::Display for PoolKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The work on all pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestCollection {
    pools: Arc<Mutex<HashMap<PoolKey, Arc<PoolWork>>>>,
    runs: TaskTracker,
    ended: mpsc::UnboundedSender<PoolKey>,
    stop: CancellationToken,
}

/// The work on one pool.
#[derive(Debug, Default)]
pub struct PoolWork(Mutex<State>);

/// What is known of the work on one pool.
#[derive(Debug, Default)]
pub struct State {
    /// What is written down of the pool, or about to be.
    pub record: Option<Record>,
    /// What it is to become: the newest wish.
    pub wish: Option<Arc<Wish>>,
    /// The open requests, oldest first, and those that ended and are not written down yet.
    pub requests: Vec<UserRequest>,
    /// Whether a run is under way.
    pub running: bool,
    /// How the last run ended; `None` before the first and during one.
    pub end: Option<RunEnd>,
    /// Commands that Ceph refused for this wish; they are not sent again as they are.
    pub rejections: Vec<Rejection>,
    /// Who else changes its fields.
    pub contest: Contest,
}

impl PoolWork {
    /// The state, locked. Never held over an `await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Shows a view to the open requests.
    pub fn observe(&mut self, seen: Observation<'_>, now: Timestamp) {
        for request in &mut self.requests {
            request.observe(seen, now);
        }
    }

    /// The newest request, open or just ended.
    pub fn newest(&self) -> Option<&UserRequest> {
        self.requests.last()
    }

    /// The newest request of a generation that is not complete.
    pub fn open_request(&self) -> Option<&UserRequest> {
        self.requests
            .iter()
            .rev()
            .find(|request| !request.is_complete())
    }
}

impl RequestCollection {
    /// An empty collection. The keys of runs that end go to `ended`; `stop` ends runs between
    /// two rounds.
    pub fn new(ended: mpsc::UnboundedSender<PoolKey>, stop: CancellationToken) -> Self {
        Self {
            pools: Arc::default(),
            runs: TaskTracker::new(),
            ended,
            stop,
        }
    }

    /// The work on a pool, made when there is none.
    pub fn pool(&self, key: &PoolKey) -> Arc<PoolWork> {
        Arc::clone(self.pools().entry(key.clone()).or_default())
    }

    /// Forgets the pool of an object that is gone. A run of it ends by itself: its object
    /// cannot be written any more.
    pub fn forget(&self, key: &PoolKey) {
        self.pools().remove(key);
    }

    /// How many runs are under way.
    pub fn running(&self) -> usize {
        self.runs.len()
    }

    /// Starts a run, unless one is under way: that one sees the newest wish before its next round.
    pub fn start(&self, key: &PoolKey, access: Access, journal: Arc<dyn Journal>) {
        let work = self.pool(key);
        {
            let mut state = work.state();
            if state.running || self.stop.is_cancelled() {
                return;
            }
            state.running = true;
            state.end = None;
        }
        let (key, ended, stop) = (key.clone(), self.ended.clone(), self.stop.clone());
        self.runs.spawn(async move {
            // A panic in a run must not leave the pool locked for ever.
            let finish = Finish {
                work: Arc::clone(&work),
                key,
                ended,
            };
            let end = run(&work, &access, journal.as_ref(), &stop).await;
            tracing::debug!(pool = %finish.key, ?end, "run ended");
            work.state().end = Some(end);
        });
    }

    /// Waits until all runs have ended; new ones are not started after `stop`.
    pub async fn drained(&self) {
        self.runs.close();
        self.runs.wait().await;
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<PoolKey, Arc<PoolWork>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the pool for the next run, however this one ended.
struct Finish {
    work: Arc<PoolWork>,
    key: PoolKey,
    ended: mpsc::UnboundedSender<PoolKey>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.work.state().running = false;
        // Nobody listens any more only when the process ends.
        let _ = self.ended.send(self.key.clone());
    }
}
