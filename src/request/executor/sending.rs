//! Sending a round, and seeing what it did.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Access, Aim, away};
use crate::ceph::client::{ClientError, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::errno::{Verdict, judge, map_moved};
use crate::ceph::types::PoolId;
use crate::ceph::view::ClusterView;
use crate::request::factory::Next;
use crate::request::rejection::Rejection;
use crate::request::round::{Round, Step};
use crate::request::token::UsedToken;
use crate::request::user_request::{SentCommand, SentRound};
use crate::request::work::{PoolKey, PoolWork, RunEnd};

/// A late `application set` would miss the name that the rename takes away.
const RENAME_LAG: Duration = Duration::from_millis(5);

/// Sends a round and waits until a view shows the epoch after it.
pub(super) async fn send(
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
        let fsid = access.client.fsid();
        match &answer.result {
            Ok(_) => access.locks.answered(fsid, key, &step.command, answer.took),
            Err(error) if error.outcome_unknown() => access.locks.lock(fsid, key, &step.command),
            Err(_) => {}
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
pub(super) struct Answer {
    result: Result<Reply, ClientError>,
    sent: SentCommand,
    took: Duration,
}

pub(super) async fn hand_over(access: &Access, step: &Step) -> Answer {
    if step.last {
        sleep(RENAME_LAG).await;
    }
    let (started_at, began) = (Timestamp::now(), Instant::now());
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
        took: began.elapsed(),
        result,
    }
}

/// After every round, a name that resolves to another id than before ends the run; so does a rename that gave its name to
/// another pool, which had taken the present name meanwhile.
pub(super) fn names_hold(
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
