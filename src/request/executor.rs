//! A run: the work on one pool until it is in sync.
//!
//! Plan, look once more, write down, send, wait for the epoch, plan again. No script is
//! stored, so there is nothing to resume: a restart, a lost reply and somebody else's change
//! are all handled by planning again from a newer view and the newest wish.

mod planning;
mod removal;
mod sending;
mod tidying;

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::planning::fresh_word;
use self::planning::{Before, ended, plan, spend_tokens, submitted, without_rejected};
use self::removal::{Looked, given_back, gives_back};
use self::sending::send;
use self::tidying::{left_by, tidy};
use super::guard;
use super::journal::{Entry, Journal, JournalError};
use super::locks::NameLocks;
use super::moves::{Busy, Moves, Turn};
use super::preview::MAX_ROUNDS;
use super::round::Round;
use super::work::{PoolKey, PoolWork, RunEnd};
use crate::ceph::client::MonClient;
use crate::ceph::types::{Epoch, PoolName};
use crate::ceph::view::ClusterView;
use crate::monitor::throttle::CreatePermit;
use crate::monitor::{ClusterMonitor, NotUsable};

/// A view that was not confirmed for so long is not acted on.
const VIEW_AGE: Duration = Duration::from_secs(5);
/// How long a run that may not go on waits before it ends, so that it does not begin again at once.
const MOVED_PAUSE: Duration = Duration::from_millis(200);
/// How long a run waits for the map of an epoch that a monitor has told of.
const NEWEST_LIMIT: Duration = Duration::from_secs(30);
/// How often a view that is being read is looked for.
const VIEW_LOOK: Duration = Duration::from_millis(10);

/// The way to a cluster.
#[derive(Clone, Debug)]
pub struct Access {
    /// Sends commands.
    pub client: Arc<dyn MonClient>,
    /// Gives views.
    pub monitor: ClusterMonitor,
    /// The highest epoch recorded for the cluster: a view behind it is not acted on.
    pub floor: Epoch,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// What the run is to come to.
    pub aim: Aim,
    /// Names that commands without an answer may still use.
    pub locks: NameLocks,
    /// Whose turn it is to move data, or to name a profile or a rule.
    pub moves: Moves,
}

/// What a run is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The pool is as wished.
    Keep,
    /// The object is deleted, and its pool, which was never published, goes with it.
    Discard,
    /// The object is deleted, and its pool goes with it if it is empty or a person confirms that.
    Remove,
}

/// Works on one pool until nothing is left that can be done.
pub async fn run(
    key: &PoolKey,
    work: &PoolWork,
    access: &Access,
    journal: &dyn Journal,
    stop: &CancellationToken,
) -> RunEnd {
    match rounds(key, work, access, journal, stop).await {
        Ok(end) | Err(end) => end,
    }
}

async fn rounds(
    key: &PoolKey,
    work: &PoolWork,
    access: &Access,
    journal: &dyn Journal,
    stop: &CancellationToken,
) -> Result<RunEnd, RunEnd> {
    // Polls are quick while a run is under way: every round waits for a view.
    let _hurry = access.monitor.hurry();
    let mut objections = 0;
    let mut looked: Option<Looked> = None;
    let mut left = None;
    for _ in 0..MAX_ROUNDS {
        if stop.is_cancelled() {
            return Ok(RunEnd::Stopped);
        }
        let view = access.view().await?;
        let before = Before::of(work);
        let (wish, mut next) = plan(work, access, &view, Looked::proof(looked.as_ref()))?;
        if let Some(name) = &next.unproven {
            let looking = stop.run_until_cancelled(Looked::into_pool(access, &view, name));
            looked = match looking.await {
                Some(found) => Some(found?),
                None => return Ok(RunEnd::Stopped),
            };
            continue;
        }
        let round = without_rejected(work, std::mem::take(&mut next.round));
        if round.is_empty() {
            if next.found.is_none() {
                tidy(key, work, access, journal, &wish, (left, stop)).await;
            }
            return Ok(ended(work, access.aim, next.refusals));
        }
        let turns = access.take_turn(key, &wish.pool, &round, &view);
        let _turn = match stop.run_until_cancelled(turns).await {
            Some(Ok(turn)) => turn,
            waiting => {
                before.put_back(work);
                return Err(waiting.and_then(Result::err).unwrap_or(RunEnd::Stopped));
            }
        };
        // Creates are throttled by what they do to the monitor, before anything is written down.
        let Some(_permit) = stop.run_until_cancelled(turn(access, &round)).await else {
            before.put_back(work);
            return Ok(RunEnd::Stopped);
        };
        let request = submitted(work, access, &round);
        let wish = spend_tokens(work, wish, &round, &next.confirmed, &request.id);
        let recorded = journal
            .before_round(Entry {
                wish: &wish,
                request: &request,
                round: &round,
                found: next.found.as_ref(),
                verb: next.verb,
            })
            .await;
        if let Err(error) = recorded {
            before.put_back(work);
            // What somebody else just wrote comes with the watch in a moment.
            sleep(MOVED_PAUSE).await;
            return Err(error.into());
        }
        // Writing it down took a while: what was true must still be.
        if looked
            .as_ref()
            .is_some_and(|looked| looked.is_too_old_for(&round))
        {
            looked = None;
            continue;
        }
        // A round that is written down is sent, also by a process that is to end; but that does not wait for it.
        let view = select! {
            biased;
            view = access.newest_view() => view?,
            () = stop.cancelled() => return Ok(RunEnd::Stopped),
        };
        left = left_by(&round, &view).or(left);
        let pool = next.found.as_ref().map(|found| found.identity.id);
        let proof = Looked::proof(looked.as_ref());
        match guard::check(&round, &wish, &view, pool, proof) {
            Ok(()) => objections = 0,
            // The map moved: plan again from the newer view. Twice in a row is no accident.
            Err(objection) if objections == 0 => {
                tracing::info!(pool = %wish.pool, %objection, "planning again");
                objections += 1;
                continue;
            }
            Err(objection) => return Err(RunEnd::Unsafe(objection.to_string())),
        }
        if access.aim == Aim::Keep && work.state().cancelled == Some(wish.generation) {
            return Err(RunEnd::Moved("its request was cancelled".into()));
        }
        let started = Instant::now();
        let sent = send(key, work, access, &round, &next, &view).await;
        journal.after_round(started.elapsed());
        before.forget_refused(work);
        let after = sent?;
        if access.aim == Aim::Remove && gives_back(&round, &wish) {
            given_back(work, &wish, &after);
            return Ok(ended(work, access.aim, next.refusals));
        }
    }
    // The cap is only an end when something is left.
    let view = access.view().await?;
    let (_, next) = plan(work, access, &view, Looked::proof(looked.as_ref()))?;
    if next.unproven.is_none() && without_rejected(work, next.round).is_empty() {
        Ok(ended(work, access.aim, next.refusals))
    } else {
        Ok(RunEnd::NotConverging)
    }
}

/// Waits for a round's turn to be sent; only creates have to.
async fn turn(access: &Access, round: &Round) -> Option<CreatePermit> {
    if round.creates() {
        Some(access.monitor.creates().acquire().await)
    } else {
        None
    }
}

/// Tells the locks which monitors take part, where it matters to them.
pub fn see_quorum(locks: &NameLocks, monitor: &ClusterMonitor) {
    let fsid = monitor.client().fsid();
    if locks.want_quorum(fsid) {
        locks.saw_quorum(fsid, monitor.quorum());
    }
}

/// What a person does about monitors that may still have a command.
pub fn still_missing(monitors: &[String]) -> String {
    let (it, is) = match monitors {
        [] => return String::new(),
        [_] => ("it", "monitor"),
        _ => ("them", "monitors"),
    };
    format!(
        ": by {is} {}, out of the quorum, when it goes on; bring {it} back, or remove {it} from the monitor map (ceph mon rm)",
        monitors.join(", ")
    )
}

impl Access {
    /// Takes the round's turn among those of other pools, and after commands that may still come.
    async fn take_turn(
        &self,
        key: &PoolKey,
        wanted: &PoolName,
        round: &Round,
        view: &ClusterView,
    ) -> Result<Turn, RunEnd> {
        let now = Instant::now();
        let fsid = self.client.fsid();
        see_quorum(&self.locks, &self.monitor);
        if let Some((name, wait)) = self.locks.holds_back(round, wanted, key, view, now) {
            tracing::info!(%name, ?wait, "a locked name");
            let missing = still_missing(&self.locks.missing(fsid));
            return Err(RunEnd::Later(format!(
                "the name {name} is left alone until half a minute has passed with all monitors, since a command that uses \
                 it was not answered in time and may still be executed{missing}"
            )));
        }
        let turn = self.wait_for_others(key, round).await;
        turn.map_err(|busy| {
            tracing::info!(%busy, "another pool's turn");
            RunEnd::Later(busy.to_string())
        })
    }

    /// Takes the round's turn. A round that removes what it names, or needs what it removes, is soon answered, and is
    /// waited for; data that moves is not.
    async fn wait_for_others(&self, key: &PoolKey, round: &Round) -> Result<Turn, Busy> {
        let patience = Instant::now() + self.command_timeout;
        loop {
            let now = Instant::now();
            match self.moves.take(self.client.fsid(), key, round, now) {
                Err(Busy::Named { .. }) if now < patience => sleep(VIEW_LOOK).await,
                taken => return taken,
            }
        }
    }

    /// The newest view that may be acted on. While the map of a new epoch is being read there is none for
    /// a moment, which is waited for.
    async fn view(&self) -> Result<Arc<ClusterView>, RunEnd> {
        let patience = Instant::now() + VIEW_AGE;
        loop {
            match self
                .monitor
                .usable_view(Instant::now(), VIEW_AGE, self.floor)
            {
                Ok(view) => return Ok(view),
                Err(NotUsable::Stale { .. } | NotUsable::NoView) if Instant::now() < patience => {
                    sleep(VIEW_LOOK).await;
                }
                Err(why) => return Err(away(&why)),
            }
        }
    }

    /// A view of the newest epoch that is known of at this moment: what is sent next is held against what the cluster is
    /// known to have become, not against what it was some seconds ago. One that moves on meanwhile is not waited for.
    async fn newest_view(&self) -> Result<Arc<ClusterView>, RunEnd> {
        if let Some(epoch) = self.monitor.newest_epoch() {
            let reached = self.monitor.await_epoch(epoch, NEWEST_LIMIT).await;
            reached.map_err(|why| away(&why))?;
        }
        self.view().await
    }
}

fn away(why: &NotUsable) -> RunEnd {
    RunEnd::Away(why.to_string())
}

impl From<JournalError> for RunEnd {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Moved(what) => Self::Moved(what),
            JournalError::Refused(refusal) => Self::Refused(vec![refusal]),
            JournalError::Unavailable(why) => Self::NotRecorded(why),
        }
    }
}
