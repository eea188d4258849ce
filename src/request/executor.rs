//! A run: the work on one pool until it is in sync.
//!
//! Plan, look once more, write down, send, wait for the epoch, plan again. No script is
//! stored, so there is nothing to resume: a restart, a lost reply and somebody else's change
//! are all handled by planning again from a newer view and the newest wish.

mod removal;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::removal::{Looked, given_back, gives_back};
use super::factory::Next;
use super::guard;
use super::journal::{Entry, Journal, JournalError};
use super::locks::NameLocks;
use super::pool_factory::{Proof, discard_round, removal_round};
use super::preview::MAX_ROUNDS;
use super::refusal::Refusal;
use super::registry::{ObjectType, factory};
use super::rejection::Rejection;
use super::round::{POOL_FIELD, Round, Step};
use super::token::{UsedToken, spend};
use super::user_request::{SentCommand, SentRound, UserRequest};
use super::wish::{Record, Wish};
use super::work::{PoolKey, PoolWork, RunEnd};
use crate::ceph::client::{ClientError, MonClient, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::errno::{Verdict, judge, map_moved};
use crate::ceph::types::{Epoch, PoolId};
use crate::ceph::view::ClusterView;
use crate::monitor::{ClusterMonitor, NotUsable};

/// A view that was not confirmed for so long is not acted on.
const VIEW_AGE: Duration = Duration::from_secs(5);
/// How long a run that may not go on waits before it ends, so that it does not begin again at once.
const MOVED_PAUSE: Duration = Duration::from_millis(200);
/// How often a view that is being read is looked for.
const VIEW_LOOK: Duration = Duration::from_millis(10);
/// A late `application set` would miss the name that the rename takes away.
const RENAME_LAG: Duration = Duration::from_millis(5);

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
    for _ in 0..MAX_ROUNDS {
        if stop.is_cancelled() {
            return Ok(RunEnd::Stopped);
        }
        let view = access.view().await?;
        let before = work.state().record.clone();
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
            return Ok(ended(work, access.aim, next.refusals));
        }
        let held = access
            .locks
            .holds_back(&round, &wish.pool, key, &view, Instant::now());
        if let Some((name, wait)) = held {
            not_begun(work, before, &round);
            tracing::info!(%name, ?wait, "a locked name");
            return Err(RunEnd::Later(format!(
                "the name {name} is left alone for half a minute, since a command that uses it was not answered and may \
                 still be executed"
            )));
        }
        // Creates are throttled by what they do to the monitor, before anything is written down.
        let _permit = if round.creates() {
            let turn = stop.run_until_cancelled(access.monitor.creates().acquire());
            match turn.await {
                Some(permit) => Some(permit),
                None => return Ok(RunEnd::Stopped),
            }
        } else {
            None
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
            not_begun(work, before, &round);
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
        let view = access.view().await?;
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
        let after = sent?;
        if access.aim == Aim::Remove && gives_back(&round, &wish) {
            given_back(work, &wish, &after);
            return Ok(ended(work, access.aim, next.refusals));
        }
    }
    // The cap is only an end when something is left.
    let view = access.view().await?;
    let (_, next) = plan(work, access, &view, Looked::proof(looked.as_ref()))?;
    if without_rejected(work, next.round).is_empty() {
        Ok(ended(work, access.aim, next.refusals))
    } else {
        Ok(RunEnd::NotConverging)
    }
}

impl Access {
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
}

/// Plans for the newest wish, with the record as this run knows it.
fn plan(
    work: &PoolWork,
    access: &Access,
    view: &ClusterView,
    proof: Option<&Proof>,
) -> Result<(Arc<Wish>, Next), RunEnd> {
    let mut state = work.state();
    let Some(newest) = state.wish.clone() else {
        return Err(RunEnd::Moved("there is no wish any more".into()));
    };
    if access.aim == Aim::Keep && state.cancelled == Some(newest.generation) {
        return Err(RunEnd::Moved("its request was cancelled".into()));
    }
    if newest.observe {
        return Err(RunEnd::Moved("management is Observe now".into()));
    }
    let mut record = state
        .record
        .clone()
        .unwrap_or_else(|| newest.record.clone());
    // A private pool that is gone is forgotten: the next one gets a name never used before, so
    // that a late command for the old name cannot mean it.
    if record.never_published()
        && let Some(identity) = &record.identity
        && view.identified(identity).is_none()
    {
        record.identity = None;
        record.nonce = fresh_word();
        record.unpublished = false;
        record.private_base = None;
    }
    if record.identity.is_some() && !record.unpublished && record.removal.is_none() {
        // A pool that gets a private name again gets one that was never used before.
        record.nonce = fresh_word();
    }
    let mut wish = Wish {
        record,
        ..(*newest).clone()
    };
    wish.confirmations.open = state.open_requests();
    let next = match access.aim {
        Aim::Discard => discard_round(&wish, view),
        Aim::Remove => {
            let refused = state
                .rejections
                .iter()
                .find(|rejection| matches!(rejection.command, MonCommand::PoolRemove { .. }));
            removal_round(&wish, view, proof, refused)
        }
        Aim::Keep => factory(ObjectType::Pool).next_round(&wish, view),
    };
    let mut wish = next.advance(wish);
    if next.found.as_ref().is_some_and(|found| found.adopting) {
        // Before a pool is ours, nothing of it was applied by us: not even what was meant for another one before.
        wish.record.applied.clear();
    } else if access.aim == Aim::Keep {
        wish.record.applied.extend(wish.fields());
    }
    for step in &next.round.steps {
        match step.command {
            // From now on the pool may have its real name, and be in use, whatever the reply says.
            MonCommand::PoolRename { .. } => {
                wish.record.applied.insert(POOL_FIELD.to_owned());
            }
            MonCommand::PoolRemove { .. } => {
                wish.record.applied.remove(POOL_FIELD);
            }
            _ => {}
        }
    }
    state.record = Some(wish.record.clone());
    Ok((Arc::new(wish), next))
}

/// Remembers the tokens that let this round's steps pass, before they are sent.
fn spend_tokens(
    work: &PoolWork,
    wish: Arc<Wish>,
    round: &Round,
    confirmed: &[String],
    request: &str,
) -> Arc<Wish> {
    let tokens: Vec<&String> = round
        .steps
        .iter()
        .filter_map(|step| step.token.as_ref())
        .chain(confirmed)
        .collect();
    if tokens.is_empty() {
        return wish;
    }
    let mut wish = (*wish).clone();
    for token in tokens {
        spend(&mut wish.record.used, token, request);
    }
    work.state().record = Some(wish.record.clone());
    Arc::new(wish)
}

/// A creation that nothing was sent for has not begun: a pool that a person wants made again is still the recorded one.
fn not_begun(work: &PoolWork, before: Option<Record>, round: &Round) {
    let again = before
        .as_ref()
        .is_some_and(|record| record.identity.is_some());
    if again && round.creates() {
        work.state().record = before;
    }
}

/// Eight hexadecimal digits that were never used before.
pub fn fresh_word() -> String {
    let mut word = uuid::Uuid::new_v4().simple().to_string();
    word.truncate(8);
    word
}

/// Marks the requests that the round is for, and gives the one it is written down under.
fn submitted(work: &PoolWork, access: &Access, round: &Round) -> UserRequest {
    let mut state = work.state();
    for request in &mut state.requests {
        if access.aim != Aim::Keep || request.concerns(round) {
            let left = request
                .rounds_planned
                .saturating_sub(request.rounds_sent + 1);
            request.submit(left);
        }
    }
    if let Some(open) = state.open_request() {
        return open.clone();
    }
    // The map moved in between: the round belongs to the newest request all the same.
    state.newest().cloned().unwrap_or_else(|| {
        let wish = state.wish.clone();
        orphan(wish.as_deref())
    })
}

/// A run is started with a request; this one only stands in should it be gone.
fn orphan(wish: Option<&Wish>) -> UserRequest {
    UserRequest {
        id: uuid::Uuid::new_v4().to_string(),
        kind: super::user_request::Kind::OsdMapModifying,
        operation: crate::api::v1alpha1::Operation::Correct,
        generation: wish.map_or(0, |wish| wish.generation),
        fields: std::collections::BTreeMap::new(),
        state: crate::api::v1alpha1::RequestState::New,
        outcome: None,
        error: None,
        headline: String::new(),
        rounds: Vec::new(),
        rounds_sent: 0,
        rounds_planned: 0,
        following: false,
        awaited_epoch: None,
        observed_epoch: None,
        started_at: Timestamp::now(),
        completed_at: None,
        retry_of: None,
    }
}

/// Sends a round and waits until a view shows the epoch after it.
async fn send(
    key: &PoolKey,
    work: &PoolWork,
    access: &Access,
    round: &Round,
    next: &Next,
    before: &ClusterView,
) -> Result<Arc<ClusterView>, RunEnd> {
    let pool = next.found.as_ref().map(|found| found.identity.id);
    let answers = join_all(round.steps.iter().map(|step| hand_over(access, step))).await;
    for (step, answer) in round.steps.iter().zip(&answers) {
        if let Err(error) = &answer.result
            && error.outcome_unknown()
        {
            access.locks.lock(access.client.fsid(), key, &step.command);
        }
    }
    let epoch = access.monitor.read_epoch().await;
    let sent = SentRound {
        commands: answers.iter().map(|answer| answer.sent.clone()).collect(),
        epoch: epoch.as_ref().ok().copied(),
    };
    {
        let mut state = work.state();
        let state = &mut *state;
        for request in &mut state.requests {
            if access.aim != Aim::Keep || request.concerns(round) {
                request.answered(sent.clone());
            }
        }
        for (step, answer) in round.steps.iter().zip(&answers) {
            if let Ok(reply) = &answer.result
                && let Some(rejection) = Rejection::of(step, reply, answer.sent.completed_at)
            {
                state
                    .rejections
                    .retain(|before| before.command != rejection.command);
                state.rejections.push(rejection);
                // What was confirmed did not happen, so the word is still good.
                if access.aim == Aim::Keep
                    && let Some(record) = &mut state.record
                {
                    let good = |used: &UsedToken| {
                        step.token.as_ref() == Some(&used.token)
                            || next.confirmed.contains(&used.token)
                    };
                    record.used.retain(|used| !good(used));
                }
            }
        }
    }
    let unanswered = answers
        .iter()
        .find_map(|answer| answer.result.as_ref().err());
    let epoch = epoch.map_err(|error| RunEnd::Away(error.to_string()))?;
    let view = access
        .monitor
        .await_epoch(epoch, access.command_timeout)
        .await
        .map_err(|why| away(&why))?;
    if let Some(error) = unanswered {
        // It may still be executed. The record stays, and the next run starts from a newer view.
        return Err(RunEnd::Away(error.to_string()));
    }
    names_hold(round, before, &view, pool)?;
    // Planning again at once would only ask the same again.
    let busy = round
        .steps
        .iter()
        .zip(&answers)
        .filter(|(step, _)| !matches!(step.command, MonCommand::PoolRemove { .. }))
        .filter_map(|(_, answer)| answer.result.as_ref().ok())
        .find(|reply| judge(reply.code) == Verdict::Later && !map_moved(reply.code));
    match busy {
        Some(reply) => Err(RunEnd::Later(format!(
            "Ceph cannot do it just now: {} (code {})",
            reply.text.trim(),
            reply.code
        ))),
        None => Ok(view),
    }
}

/// The answer to one command, as it happened and as it is kept.
struct Answer {
    result: Result<Reply, ClientError>,
    sent: SentCommand,
}

async fn hand_over(access: &Access, step: &Step) -> Answer {
    if step.last {
        sleep(RENAME_LAG).await;
    }
    let started_at = Timestamp::now();
    let result = match &step.command {
        // On a handle of its own: it must not be executed when its name means another pool.
        command @ MonCommand::PoolRemove { .. } => {
            access
                .client
                .send_alone(command, access.command_timeout)
                .await
        }
        command => access.client.send(command, access.command_timeout).await,
    };
    let (code, text) = match &result {
        Ok(reply) => (Some(reply.code), reply.text.clone()),
        Err(error) => (None, error.to_string()),
    };
    tracing::debug!(command = %step.command.to_line(), ?code, %text, "answered");
    Answer {
        sent: SentCommand {
            line: step.command.to_line(),
            code,
            text,
            started_at,
            completed_at: Timestamp::now(),
        },
        result,
    }
}

/// After every round, a name that resolves to another id than before ends the run; so does a rename that gave its name to
/// another pool, which had taken the present name meanwhile.
fn names_hold(
    round: &Round,
    before: &ClusterView,
    view: &ClusterView,
    pool: Option<PoolId>,
) -> Result<(), RunEnd> {
    let Some(pool) = pool else { return Ok(()) };
    for step in &round.steps {
        // A removal gives such a pool its name back itself.
        if let MonCommand::PoolRename { from, to } = &step.command
            && !to.is_private()
            && before.pool_named(to).is_none()
            && let Some(found) = view.pool_named(to)
            && found.id != pool
            && view.pool_named(from).is_none()
        {
            return Err(RunEnd::Unsafe(format!(
                "the rename of pool {pool} from {from} to {to} was sent, and pool {} has the name {to} now: it had taken \
                 the name {from} meanwhile, and has lost it by that, or was made under it; look at both, and give them \
                 their names back, before going on",
                found.id
            )));
        }
        // A name that the round would have given meant nothing before; if it was taken, the next plan says so.
        let names = match &step.command {
            // Who takes the old name of a pool that has its new one is no matter of ours.
            MonCommand::PoolRename { to, .. }
                if view.pool_named(to).is_some_and(|found| found.id == pool) =>
            {
                continue;
            }
            MonCommand::PoolRename { from, .. } => vec![from],
            command => command.pools(),
        };
        for name in names {
            if let Some(found) = view.pool_named(name)
                && found.id != pool
            {
                return Err(RunEnd::Unsafe(format!(
                    "the name {name} meant pool {pool} when the commands were sent and means pool {} now; \
                     look at both before going on",
                    found.id
                )));
            }
        }
    }
    Ok(())
}

/// Leaves out what Ceph has refused in just this form.
fn without_rejected(work: &PoolWork, mut round: Round) -> Round {
    let state = work.state();
    round.steps.retain(|step| {
        !state
            .rejections
            .iter()
            .any(|rejection| rejection.command == step.command)
    });
    drop(state);
    round
}

fn ended(work: &PoolWork, aim: Aim, refusals: Vec<Refusal>) -> RunEnd {
    if aim == Aim::Remove && !refusals.is_empty() {
        RunEnd::Refused(refusals)
    } else if !work.state().rejections.is_empty() {
        RunEnd::Rejected
    } else if refusals.is_empty() {
        RunEnd::InSync
    } else {
        RunEnd::Refused(refusals)
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
