//! A session with the monitors that many commands share, and the threads they block on.
//!
//! Every command blocks a thread of its own until its reply, about one paxos proposal for one
//! that changes something. Threads are made on demand and go when idle; commands are taken up
//! in the order in which they came, and with their distance in time: one that was sent some
//! milliseconds after another on purpose must reach the monitor after it. A handle for changes is **retired** by the first command
//! of unknown outcome: it takes no more, and is closed when all have returned, for which
//! librados has a timeout of its own. Only then can it not send that command again.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::ffi::{Cluster, RawReply};
use crate::ceph::client::Leave;
use crate::ceph::errno::ETIMEDOUT;

/// Linux's number for a missing permission.
const EACCES: i32 = 13;
/// Enough for librados, which was measured with a quarter of it; hundreds of them are cheap.
const STACK: usize = 128 * 1024;

/// A command that came so long after another follows it into librados by as much: less is
/// no distance but chance, more needs no keeping.
const KEPT_DISTANCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// What a handle is on: librados, or a fake in tests.
pub(super) trait Session: Send + Sync + 'static {
    /// Blocks until the reply; `None` when closed, with nothing sent.
    fn command(&self, command: &CStr) -> Option<RawReply>;
    /// Closes. Nothing is inside, and nothing is sent after it.
    fn close(&self);
}

impl Session for Arc<Cluster> {
    fn command(&self, command: &CStr) -> Option<RawReply> {
        self.mon_command(command)
    }

    fn close(&self) {
        self.shutdown();
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads: a late one harms nobody.
    Read,
    /// It changes something: an unknown outcome retires the handle.
    Change,
}

/// How a handle works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// What its threads are called.
    pub(super) name: &'static str,
    /// As many commands are inside librados at most.
    pub(super) most_threads: usize,
    /// A thread without work ends after this long.
    pub(super) idle_for: Duration,
    /// A handle older than this is retired by a reply that permission is denied: a session
    /// keeps the capabilities its user had when it was opened, and they may be more by now.
    pub(super) renew_after: Duration,
}

/// Counts the sessions of a client that are not closed yet.
#[derive(Clone, Debug)]
pub(super) struct Sessions(Arc<watch::Sender<usize>>);

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Counts one more for as long as the token lives.
    pub(super) fn open(&self) -> SessionToken {
        self.0.send_modify(|count| *count += 1);
        SessionToken(self.clone())
    }

    /// Waits until all are closed.
    pub(super) async fn all_closed(&self) {
        // The sender is held by `self`, so this ends only when the count does.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    /// How many are open or closing.
    pub(super) fn count(&self) -> usize {
        *self.0.borrow()
    }
}

/// A session that is not closed yet.
pub(super) struct SessionToken(Sessions);

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.0
            .0
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A session and its threads. Retired when dropped.
pub(super) struct Handle(Arc<Shared>);

struct Shared {
    session: Box<dyn Session>,
    settings: Settings,
    /// Asked for every change, when it leaves the line.
    leave: Leave,
    opened: Instant,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// When the last that was taken up came, and when it was taken up.
    last: Option<(Instant, Instant)>,
    /// What is inside librados.
    inside: HashMap<u64, Kind>,
    next_id: u64,
    threads: usize,
    idle: usize,
    retired: bool,
    closing: bool,
    /// Goes when the session is closed.
    token: Option<SessionToken>,
}

impl State {
    /// When the first in line may be taken up; `None` when nobody is.
    fn due(&self) -> Option<Instant> {
        let came = self.queue.front()?.came;
        let Some((before, taken)) = self.last else {
            return Some(came);
        };
        let (least, most) = KEPT_DISTANCE;
        let distance = came.saturating_duration_since(before);
        Some(if distance < least {
            taken
        } else {
            taken + distance.min(most)
        })
    }
}

struct Job {
    id: u64,
    came: Instant,
    kind: Kind,
    command: Arc<CStr>,
    reply: oneshot::Sender<Option<RawReply>>,
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Answer {
    /// With a reply.
    Reply(RawReply),
    /// The handle was retired first: it was not sent and can go to another.
    Retired,
    /// There was no leave for it any more when its turn came: it was not sent.
    Forbidden,
    /// No thread took it up in time: it was not sent.
    NotSent,
    /// It was sent, and its outcome is unknown.
    TimedOut,
}

impl Handle {
    /// Takes a connected session into service.
    pub(super) fn new(
        session: impl Session,
        settings: Settings,
        leave: Leave,
        sessions: &Sessions,
    ) -> Self {
        Self(Arc::new(Shared {
            session: Box::new(session),
            settings,
            leave,
            opened: Instant::now(),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                last: None,
                inside: HashMap::new(),
                next_id: 0,
                threads: 0,
                idle: 0,
                retired: false,
                closing: false,
                token: Some(sessions.open()),
            }),
            work: Condvar::new(),
        }))
    }

    /// Puts a command in line that came at `came`; `None` from a retired handle.
    pub(super) fn submit(&self, command: Arc<CStr>, kind: Kind, came: Instant) -> Option<Ticket> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.0.state();
        if state.retired {
            return None;
        }
        state.next_id += 1;
        let id = state.next_id;
        state.queue.push_back(Job {
            id,
            came,
            kind,
            command,
            reply,
        });
        if state.queue.len() > state.idle && state.threads < self.0.settings.most_threads {
            // Without a thread to be had the command waits for another's, or its deadline.
            if Shared::spawn(&self.0) {
                state.threads += 1;
            }
        }
        drop(state);
        self.0.work.notify_one();
        Some(Ticket {
            id,
            answer,
            handle: Arc::clone(&self.0),
            settled: false,
        })
    }

    /// Takes no more commands and closes when those inside have returned.
    pub(super) fn retire(&self) {
        let mut state = self.0.state();
        Shared::retire(&self.0, &mut state);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(this: &Arc<Self>) -> bool {
        let shared = Arc::clone(this);
        thread::Builder::new()
            .name(this.settings.name.into())
            .stack_size(STACK)
            .spawn(move || Self::work(&shared))
            .inspect_err(|error| tracing::warn!(%error, "no thread for a ceph command"))
            .is_ok()
    }

    /// What a thread does until there has been nothing to do for a while.
    fn work(this: &Arc<Self>) {
        while let Some(job) = this.next() {
            let forbidden = job.kind == Kind::Change && !this.leave.is_given();
            let reply = if forbidden {
                None
            } else {
                this.session.command(&job.command)
            };
            let mut state = this.state();
            state.inside.remove(&job.id);
            let retires = match reply.as_ref().map(|reply| -reply.code) {
                Some(ETIMEDOUT) => job.kind == Kind::Change,
                Some(EACCES) => this.opened.elapsed() >= this.settings.renew_after,
                _ => false,
            };
            if retires {
                Self::retire(this, &mut state);
            }
            Self::close_when_done(this, &mut state);
            drop(state);
            if reply.is_some() || forbidden {
                // Nobody listens where the deadline came first.
                let _ = job.reply.send(reply);
            }
        }
    }

    /// The next command, noted as being inside. `None`: the thread ends, and is not counted any more.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let due = state.due();
            if due.is_some_and(|due| due <= now)
                && let Some(job) = state.queue.pop_front()
            {
                state.last = Some((job.came, now));
                state.inside.insert(job.id, job.kind);
                return Some(job);
            }
            if due.is_none() && state.retired {
                state.threads -= 1;
                return None;
            }
            let pause = due.map_or(self.settings.idle_for, |due| due.duration_since(now));
            state.idle += 1;
            let (woken, wait) = self
                .work
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if due.is_none() && wait.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }

    fn retire(this: &Arc<Self>, state: &mut State) {
        state.retired = true;
        // Dropping a job tells its ticket that it was not sent.
        state.queue.clear();
        this.work.notify_all();
        Self::close_when_done(this, state);
    }

    fn close_when_done(this: &Arc<Self>, state: &mut State) {
        if !state.retired || state.closing || !state.inside.is_empty() {
            return;
        }
        state.closing = true;
        let shared = Arc::clone(this);
        let closer = thread::Builder::new().name("rados-close".into());
        let closer = closer.spawn(move || {
            shared.session.close();
            shared.state().token = None;
        });
        if let Err(error) = closer {
            // Whoever lets go of the session last closes it then.
            tracing::warn!(%error, "no thread to close a ceph session");
        }
    }

    /// Gives up a command; whether it may have been sent.
    fn abandon(this: &Arc<Self>, id: u64) -> bool {
        let mut state = this.state();
        if let Some(place) = state.queue.iter().position(|job| job.id == id) {
            state.queue.remove(place);
            return false;
        }
        if state.inside.get(&id) == Some(&Kind::Change) {
            Self::retire(this, &mut state);
        }
        true
    }
}

/// A command in line or under way. Dropping it gives the command up, as its deadline does.
pub(super) struct Ticket {
    id: u64,
    /// Nothing in it: forbidden. Closed: retired.
    answer: oneshot::Receiver<Option<RawReply>>,
    handle: Arc<Shared>,
    settled: bool,
}

impl Ticket {
    /// Waits for the reply until `end`.
    pub(super) async fn wait(mut self, end: Instant) -> Answer {
        let answer = timeout_at(end, &mut self.answer).await;
        self.settled = true;
        match answer {
            Ok(Ok(reply)) => reply.map_or(Answer::Forbidden, Answer::Reply),
            Ok(Err(_)) => Answer::Retired,
            Err(_) if !Shared::abandon(&self.handle, self.id) => Answer::NotSent,
            // The reply may have come between the two.
            Err(_) => match self.answer.try_recv() {
                Ok(reply) => reply.map_or(Answer::Forbidden, Answer::Reply),
                Err(oneshot::error::TryRecvError::Empty | oneshot::error::TryRecvError::Closed) => {
                    Answer::TimedOut
                }
            },
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            Shared::abandon(&self.handle, self.id);
        }
    }
}

#[cfg(test)]
mod tests;
