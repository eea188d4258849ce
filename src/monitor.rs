//! One [`ClusterMonitor`] per connection: keeps a fresh [`ClusterView`] of its cluster.
//!
//! It asks for the OSD map's epoch once a second, and every few milliseconds while somebody
//! waits for one (`hurry`). The map itself, which costs the monitors far more, is read when
//! the epoch has moved and somebody cares. Knows nothing of Kubernetes, and sends no command
//! that changes anything.

pub mod quorum;
pub mod throttle;

mod state;
mod tasks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::quorum::{Quorum, Watched};
use self::state::State;
use self::throttle::CreateThrottle;
use crate::ceph::client::{ClientError, MonClient};
use crate::ceph::command::MonCommand;
use crate::ceph::types::{Epoch, Fsid};
use crate::ceph::view::ClusterView;

/// How often and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Between two polls of the epoch.
    pub poll_interval: Duration,
    /// The same while somebody waits.
    pub hurried_interval: Duration,
    /// A poll without an answer for this long means that contact is lost.
    pub poll_timeout: Duration,
    /// How long reading the map may take.
    pub read_timeout: Duration,
    /// Two reads of the map are so many times a read's duration apart (the shorter of the last
    /// two), unless a run waits.
    pub read_spacing: u32,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            hurried_interval: Duration::from_millis(25),
            poll_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            read_spacing: 20,
        }
    }
}

/// What a monitor knows at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The newest view, whether or not it may be acted on (see [`ClusterMonitor::usable_view`]).
    pub view: Option<Arc<ClusterView>>,
    /// When a poll was sent whose answer was the view's epoch. Moves without waking subscribers.
    pub confirmed_at: Option<Instant>,
    /// How it stands with the cluster.
    pub contact: Contact,
}

/// How it stands with the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// No poll has been answered yet.
    Connecting,
    /// Polls are answered.
    Connected,
    /// Polls are not answered.
    Lost {
        /// What the first of them ended with.
        error: ClientError,
        /// When that one was sent.
        since: Instant,
    },
    /// Polls are answered, and the map cannot be had or not be decoded. The last view stays.
    MapUnreadable {
        /// Why.
        error: String,
    },
    /// The epoch is lower than it was, and has been for some seconds: the cluster was restored
    /// from an older state. The last view stays, until the epochs have passed it.
    WentBack {
        /// The epoch now.
        seen: Epoch,
        /// The highest epoch seen before.
        had: Epoch,
    },
    /// The map is another cluster's. The last view of the right one stays.
    OtherCluster {
        /// The cluster that answers.
        seen: Fsid,
        /// The cluster of this connection.
        expected: Fsid,
    },
}

/// Why there is no view to act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// No map has been read yet.
    #[error("the cluster's map has not been read yet")]
    NoView,
    /// The view has not been confirmed for too long, or the epoch has moved since and the map
    /// is not read yet.
    #[error("the view of the cluster is {} s old", .age.as_secs())]
    Stale {
        /// How long ago it was confirmed; [`Duration::MAX`] if never.
        age: Duration,
    },
    /// The cluster is behind an epoch that is known to have been.
    #[error("the cluster's epoch went back to {seen}, behind {floor}")]
    WentBack {
        /// The epoch now.
        seen: Epoch,
        /// What it must not be behind.
        floor: Epoch,
    },
    /// The map cannot be had or not be decoded.
    #[error("the cluster's map cannot be read: {0}")]
    Unreadable(String),
    /// The map is another cluster's.
    #[error("the monitors answer for cluster {seen}, not for {expected}")]
    OtherCluster {
        /// The cluster that answers.
        seen: Fsid,
        /// The cluster of this connection.
        expected: Fsid,
    },
    /// The awaited epoch did not come in time.
    #[error("epoch {awaited} was not seen in time")]
    TimedOut {
        /// What was waited for.
        awaited: Epoch,
        /// The newest epoch seen.
        seen: Option<Epoch>,
    },
    /// The monitor was stopped.
    #[error("the monitor of this cluster was stopped")]
    Stopped,
}

/// Why a poll gave no epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The monitors refused: a capability is missing.
    #[error("osd stat was refused with code {code}: {text}")]
    Refused {
        /// A negative errno.
        code: i32,
        /// The monitors' words.
        text: String,
    },
    /// The answer holds no epoch.
    #[error("osd stat did not answer with an epoch: {0}")]
    Garbled(String),
}

/// Watches one cluster. Cheap to clone; all clones are the same monitor.
#[derive(Clone)]
pub struct ClusterMonitor(Arc<Shared>);

struct Shared {
    client: Arc<dyn MonClient>,
    settings: MonitorSettings,
    state: Mutex<State>,
    quorum: Mutex<Watched>,
    published: watch::Sender<Snapshot>,
    creates: CreateThrottle,
    hurries: AtomicUsize,
    /// Wakes the polls: somebody is in a hurry.
    poll_wanted: Notify,
    /// Wakes the reads: an epoch came, or somebody cares.
    read_wanted: Notify,
    stop: CancellationToken,
    /// Cancelled when one of the two tasks panics.
    broken: CancellationToken,
}

impl ClusterMonitor {
    /// Starts watching, until `stop` is cancelled.
    pub fn start(
        client: Arc<dyn MonClient>,
        settings: MonitorSettings,
        stop: CancellationToken,
    ) -> Self {
        let state = State::new(client.fsid().clone());
        let shared = Arc::new(Shared {
            published: watch::Sender::new(state.snapshot(Instant::now())),
            state: Mutex::new(state),
            quorum: Mutex::default(),
            client,
            settings,
            creates: CreateThrottle::new(),
            hurries: AtomicUsize::new(0),
            poll_wanted: Notify::new(),
            read_wanted: Notify::new(),
            stop,
            broken: CancellationToken::new(),
        });
        tokio::spawn(tasks::poll(Arc::clone(&shared)));
        tokio::spawn(tasks::read(Arc::clone(&shared)));
        Self(shared)
    }

    /// Waits until one of its tasks has panicked: then there are no newer views, though the cluster may be well.
    pub async fn broken(&self) {
        self.0.broken.cancelled().await;
    }

    /// The session, for commands.
    pub fn client(&self) -> &Arc<dyn MonClient> {
        &self.0.client
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.published.borrow().clone()
    }

    /// Wakes on a new view and on a change of contact, and on nothing else. While there are
    /// subscribers the map is read whenever its epoch has moved.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        let receiver = self.0.published.subscribe();
        self.0.read_wanted.notify_one();
        receiver
    }

    /// The view, if it may be acted on: it was the cluster's newest at most `max_age` before
    /// `now`, and is not behind `floor`, the highest epoch recorded for the cluster.
    ///
    /// A view that is only stale becomes usable again with a poll, which wakes nobody: who is
    /// refused asks again after a second.
    pub fn usable_view(
        &self,
        now: Instant,
        max_age: Duration,
        floor: Epoch,
    ) -> Result<Arc<ClusterView>, NotUsable> {
        let mut state = self.0.state();
        let usable = state.usable(now, max_age, floor);
        if usable.is_err() {
            state.ask();
            drop(state);
            self.0.read_wanted.notify_one();
        }
        usable
    }

    /// The newest epoch that a monitor has told, of which there may be no view yet.
    pub fn newest_epoch(&self) -> Option<Epoch> {
        self.0.state().latest()
    }

    /// Waits for a view at or past an epoch, at most `deadline`, and hurries the polls meanwhile.
    pub async fn await_epoch(
        &self,
        epoch: Epoch,
        deadline: Duration,
    ) -> Result<Arc<ClusterView>, NotUsable> {
        let end = Instant::now() + deadline;
        let _hurry = self.hurry();
        let _waiter = Waiter::new(&self.0, epoch);
        let mut published = self.0.published.subscribe();
        loop {
            published.mark_unchanged();
            if let Some(view) = self.0.state().reached(epoch, Instant::now()) {
                return Ok(view);
            }
            tokio::select! {
                () = self.0.stop.cancelled() => return Err(NotUsable::Stopped),
                changed = timeout_at(end, published.changed()) => if changed.is_err() {
                    return Err(self.0.state().not_reached(epoch, Instant::now()));
                },
            }
        }
    }

    /// Asks for the epoch now, on the session that carries the changes: the answer is at or
    /// past the epoch of every change that was acknowledged before the call.
    pub async fn read_epoch(&self) -> Result<Epoch, PollError> {
        let sent = Instant::now();
        let reply = self
            .0
            .client
            .read_after_changes(&MonCommand::OsdStat, self.0.settings.poll_timeout)
            .await;
        let epoch = tasks::epoch_of(reply)?;
        self.0.update(|state, now| state.on_epoch(epoch, sent, now));
        self.0.read_wanted.notify_one();
        Ok(epoch)
    }

    /// What is known of the quorum. It is polled with the epoch for a quarter of an hour after each call, and not known at the first.
    pub fn quorum(&self) -> Quorum {
        self.0.quorum().ask(Instant::now())
    }

    /// Polls come fast for as long as the guard is held.
    pub fn hurry(&self) -> HurryGuard {
        self.0.hurries.fetch_add(1, Ordering::Relaxed);
        self.0.poll_wanted.notify_one();
        HurryGuard(Arc::clone(&self.0))
    }

    /// What limits the creates on this connection, by how long the polls take.
    pub fn creates(&self) -> &CreateThrottle {
        &self.0.creates
    }

    /// Why the map was last read as JSON, where the encoded one could not be decoded: a release
    /// that is newer than this program.
    pub fn read_by_json(&self) -> Option<String> {
        self.0.state().by_json.clone()
    }

    /// How long the last polls took, the newest last, timeouts included.
    pub fn last_polls(&self) -> Vec<Duration> {
        self.0.state().polls()
    }
}

impl fmt::Debug for ClusterMonitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClusterMonitor")
            .field("fsid", self.0.client.fsid())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quorum(&self) -> MutexGuard<'_, Watched> {
        self.quorum.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hurried(&self) -> bool {
        self.hurries.load(Ordering::Relaxed) > 0
    }

    /// Takes something in and publishes what follows; wakes subscribers where that is new.
    fn update(&self, change: impl FnOnce(&mut State, Instant)) {
        let now = Instant::now();
        let mut state = self.state();
        change(&mut state, now);
        let snapshot = state.snapshot(now);
        // Under the lock, so that an older snapshot cannot come after a newer one.
        self.published.send_if_modified(|published| {
            let same_view = match (&published.view, &snapshot.view) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let same = same_view && published.contact == snapshot.contact;
            *published = snapshot;
            !same
        });
    }
}

/// Keeps the polls fast.
#[must_use = "polls are fast for as long as the guard is held"]
pub struct HurryGuard(Arc<Shared>);

impl Drop for HurryGuard {
    fn drop(&mut self) {
        self.0.hurries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One who waits for an epoch.
struct Waiter<'a> {
    shared: &'a Shared,
    epoch: Epoch,
}

impl<'a> Waiter<'a> {
    fn new(shared: &'a Shared, epoch: Epoch) -> Self {
        shared.state().await_epoch(epoch);
        shared.read_wanted.notify_one();
        Self { shared, epoch }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.shared.state().stop_awaiting(self.epoch);
    }
}
