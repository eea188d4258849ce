//! Something is left to do for a pool: it is being done, or may be begun, or has to wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::subject::{Look, SOON, Subject};
use super::tickets;
use crate::api::conditions::Reason;
use crate::ceph::view::ClusterView;
use crate::controller::journal::PoolJournal;
use crate::controller::pools::{PoolEntry, retry_delay};
use crate::controller::registry::Session;
use crate::controller::status::Standing;
use crate::request::collection::RequestCollection;
use crate::request::executor::{Access, Aim};
use crate::request::preview::{self, Plan};
use crate::request::refusal::Refusal;
use crate::request::registry::{ObjectType, factory};
use crate::request::rejection::Rejection;
use crate::request::wish::Wish;
use crate::request::work::{PoolWork, RunEnd};

/// The longest time between two tries of what fails for a passing reason.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// When refused commands are tried again: doubled up to an hour.
const RETRY_REJECTED: Duration = Duration::from_secs(300);
/// What the key may not do is tried again sooner: a capability is given by a person who waits.
const RETRY_DENIED: Duration = Duration::from_secs(15);

/// What a decision about a run needs.
pub(super) struct Scene<'a> {
    pub(super) wish: &'a Wish,
    pub(super) plan: &'a Plan,
    pub(super) session: &'a Session,
    pub(super) view: &'a ClusterView,
    pub(super) now: Timestamp,
}

/// Something is left to do: is it being done, may it be begun, or does it have to wait?
pub(super) fn proceed(subject: &Subject<'_>, scene: &Scene<'_>, base: Look) -> Look {
    let Subject {
        pools,
        entry,
        work,
        key,
        object: _,
    } = *subject;
    let Scene {
        wish,
        plan,
        session,
        view,
        now,
    } = *scene;
    let (running, end, rejections) = {
        let state = work.state();
        (state.running, state.end.clone(), state.rejections.clone())
    };
    if running {
        tickets::open_for(entry, work, wish, plan, now);
        return Look {
            standing: Standing::Working,
            progress: true,
            ..base
        };
    }
    let retry_in = rejected_wait(entry, work, !rejections.is_empty());
    if retry_in.is_none() && rejections.iter().any(Rejection::denied) {
        pools.registry.renew(&session.name);
    }
    let rejections = work.state().rejections.clone();
    let blocked = |command| {
        rejections
            .iter()
            .any(|rejection| rejection.command == command)
    };
    let something = plan
        .now
        .round
        .steps
        .iter()
        .any(|step| !blocked(step.command.clone()));
    if !something {
        return stuck(work, scene, rejections, retry_in, base);
    }
    if let Some(held) = ended_badly(entry, work, end.as_ref()) {
        return Look {
            standing: held.0,
            plan: Some(plan.clone()),
            requeue: held.1,
            ..base
        };
    }
    let drifted = entry.side().settled == Some(wish.generation);
    let contested = if drifted {
        contested(work, plan, now)
    } else {
        Vec::new()
    };
    let left_alone: BTreeSet<String> = contested
        .iter()
        .map(|(field, _, _)| field.clone())
        .collect();
    let rest = (!left_alone.is_empty()).then(|| without(wish, view, &left_alone));
    if let (Some(rest), Some((field, observed, until))) = (&rest, contested.into_iter().next()) {
        let mut steps = rest.now.round.steps.iter();
        // The other fields do not wait for this one.
        if !steps.any(|step| !blocked(step.command.clone())) {
            let wait = until.duration_since(now).unsigned_abs();
            return Look {
                standing: Standing::Contested {
                    field,
                    observed,
                    until,
                },
                plan: Some(plan.clone()),
                requeue: wait.max(SOON),
                ..base
            };
        }
    }
    let plan = rest.as_ref().unwrap_or(plan);
    work.state().left_alone = left_alone;
    let opened = tickets::open_for(entry, work, wish, plan, now);
    if drifted && opened {
        let fields: BTreeSet<String> = plan.steps().map(|step| step.field.clone()).collect();
        work.state()
            .contest
            .corrected(fields.iter().map(String::as_str), now);
        pools.metrics.corrected(fields.len());
        entry.side().corrected = Some((fields, now));
    }
    let journal = PoolJournal::new(Arc::clone(pools), Arc::clone(entry), key.clone(), Aim::Keep);
    let access = access(session, &pools.collection, Aim::Keep);
    pools.collection.start(key, access, Arc::new(journal));
    // The run writes down its first round itself.
    Look {
        quiet: true,
        ..Look::at(Standing::Working, base.requeue)
    }
}

/// Nothing of what is left can be sent.
fn stuck(
    work: &PoolWork,
    scene: &Scene<'_>,
    mut rejections: Vec<Rejection>,
    retry_in: Option<Duration>,
    base: Look,
) -> Look {
    let Scene { plan, wish, .. } = *scene;
    // What Ceph refused of an earlier plan must not hide what stands in the way of this one.
    rejections.retain(|rejection| {
        let mut steps = plan.now.round.steps.iter();
        steps.any(|step| step.command == rejection.command)
    });
    let standing = if plan.now.refusals.is_empty() {
        Standing::Rejected(rejections)
    } else {
        let words = rejections.iter().map(|rejection| {
            Refusal::new(
                Reason::Rejected,
                Some(&rejection.field),
                rejection.to_string(),
            )
        });
        Standing::Refused(plan.now.refusals.iter().cloned().chain(words).collect())
    };
    tickets::fail_open(work, Some(wish.generation), &status_words(&standing));
    Look {
        standing,
        plan: Some(plan.clone()),
        requeue: retry_in.unwrap_or(base.requeue),
        ..base
    }
}

/// The way to the cluster for a run.
pub(super) fn access(session: &Session, collection: &RequestCollection, aim: Aim) -> Access {
    Access {
        aim,
        locks: collection.locks.clone(),
        moves: collection.moves.clone(),
        client: Arc::clone(&session.client),
        monitor: session.monitor.clone(),
        floor: session.floor.get(),
        command_timeout: session
            .spec
            .client
            .command_timeout
            .value()
            .unwrap_or(Duration::from_secs(30)),
    }
}

/// A run that ended for a reason that passes by itself is followed by another one after a while.
pub(super) fn ended_badly(
    entry: &PoolEntry,
    work: &PoolWork,
    end: Option<&RunEnd>,
) -> Option<(Standing, Duration)> {
    let (standing, longest) = match end? {
        RunEnd::Away(message) => (retrying(Reason::Unreachable, message), LONGEST_WAIT),
        RunEnd::NotRecorded(message) | RunEnd::Later(message) => (
            retrying(Reason::ProgressingWithRetry, message),
            LONGEST_WAIT,
        ),
        RunEnd::NotConverging => (Standing::NotConverging, Duration::from_secs(600)),
        RunEnd::Unsafe(message) => (
            Standing::Refused(vec![Refusal::new(
                Reason::PoolReplaced,
                None,
                message.clone(),
            )]),
            LONGEST_WAIT,
        ),
        RunEnd::Refused(_)
        | RunEnd::Rejected
        | RunEnd::InSync
        | RunEnd::Moved(_)
        | RunEnd::Stopped => return None,
    };
    let mut side = entry.side();
    let now = Instant::now();
    match side.next_try {
        Some(at) if at > now => Some((standing, at - now)),
        Some(_) => {
            side.next_try = None;
            drop(side);
            work.state().end = None;
            None
        }
        None => {
            side.failures = side.failures.saturating_add(1);
            let wait = if longest > LONGEST_WAIT {
                longest
            } else {
                retry_delay(side.failures)
            };
            side.next_try = Some(now + wait);
            if matches!(standing, Standing::NotConverging) {
                drop(side);
                let generation = work.state().wish.as_ref().map(|wish| wish.generation);
                tickets::fail_open(
                    work,
                    generation,
                    "the plan did not end within the longest allowed number of rounds",
                );
            }
            Some((standing, wait))
        }
    }
}

fn retrying(reason: Reason, message: &str) -> Standing {
    Standing::Retrying {
        reason,
        message: message.to_owned(),
    }
}

/// When refused commands are tried again; forgets them when that time has come.
fn rejected_wait(entry: &PoolEntry, work: &PoolWork, any: bool) -> Option<Duration> {
    if !any {
        return None;
    }
    let mut side = entry.side();
    let now = Instant::now();
    match side.retry_rejected {
        Some(at) if at > now => Some(at - now),
        Some(_) => {
            side.retry_rejected = None;
            drop(side);
            work.state().rejections.clear();
            None
        }
        None => {
            let denied = work.state().rejections.iter().any(Rejection::denied);
            let first = if denied { RETRY_DENIED } else { RETRY_REJECTED };
            let wait = first * 2_u32.pow(side.rejected_tries.min(6));
            let wait = wait.min(Duration::from_secs(3600));
            side.rejected_tries += 1;
            side.retry_rejected = Some(now + wait);
            Some(wait)
        }
    }
}

/// The fields that somebody else keeps changing, what they are set to, and until when they are left alone.
fn contested(work: &PoolWork, plan: &Plan, now: Timestamp) -> Vec<(String, String, Timestamp)> {
    let state = work.state();
    let held = plan.steps().filter_map(|step| {
        let until = state.contest.held_until(&step.field, now)?;
        Some((step.field.clone(), step.observed.clone(), until))
    });
    held.collect()
}

/// The plan for all fields but these.
fn without(wish: &Wish, view: &ClusterView, left_alone: &BTreeSet<String>) -> Plan {
    let wish = Wish {
        left_alone: left_alone.clone(),
        ..wish.clone()
    };
    preview::plan(factory(ObjectType::Pool), &wish, view)
}

fn status_words(standing: &Standing) -> String {
    match standing {
        Standing::Refused(refusals) => text(refusals),
        Standing::Rejected(rejections) => rejections
            .iter()
            .map(|rejection| format!("{}: {rejection}", rejection.field))
            .collect::<Vec<_>>()
            .join("; "),
        _ => String::new(),
    }
}

pub(super) fn text(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(|refusal| refusal.message.clone())
        .collect::<Vec<_>>()
        .join("; ")
}
