//! `RequestCollection`: the work on all pools. One run a pool, many pools at once.
//!
//! It knows no Kubernetes. A reconcile hands the newest wish in and reads out how far the
//! run is; the run itself is in [`super::executor`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::executor::{Access, run};
use super::journal::Journal;
use super::locks::NameLocks;
use super::moves::Moves;
use super::work::{PoolKey, PoolWork, RunEnd};

/// The work on all pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestCollection {
    pools: Arc<Mutex<BTreeMap<PoolKey, Arc<PoolWork>>>>,
    runs: TaskTracker,
    ended: mpsc::UnboundedSender<PoolKey>,
    stop: CancellationToken,
    /// Names that commands without an answer may still use.
    pub locks: NameLocks,
    /// Whose turn it is to move data, or to name a profile or a rule.
    pub moves: Moves,
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
            locks: NameLocks::default(),
            moves: Moves::default(),
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

    /// The objects of one name that there is work for: more than one after an object was made again.
    pub fn of_name(&self, namespace: &str, name: &str) -> Vec<PoolKey> {
        PoolKey::of_name(&self.pools(), namespace, name)
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
            let end = run(&finish.key, &work, &access, journal.as_ref(), &stop).await;
            tracing::debug!(pool = %finish.key, ?end, "run ended");
            work.state().end = Some(end);
        });
    }

    /// Waits until all runs have ended; new ones are not started after `stop`.
    pub async fn drained(&self) {
        self.runs.close();
        self.runs.wait().await;
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<PoolKey, Arc<PoolWork>>> {
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
        {
            let mut state = self.work.state();
            state.running = false;
            if state.end.is_none() {
                state.end = Some(RunEnd::Later(
                    "the run ended unexpectedly; see the log".to_owned(),
                ));
            }
        }
        // Nobody listens any more only when the process ends.
        let _ = self.ended.send(self.key.clone());
    }
}
