//! An object that is deleted with `deletionPolicy: Delete`: its pool goes with it, if it is proven empty or a
//! person confirms that what is in it may be lost.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{AGAIN, base_name, blocked, give_up, paused, reach, released, remove, said, under_way};
use crate::api::v1alpha1::Verb;
use crate::controller::pool::subject::{Look, Subject};
use crate::controller::pools::{PoolEntry, removes_pool};
use crate::controller::{record, status};
use crate::request::executor::Aim;
use crate::request::pool_factory::removal_round;
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::token::AskedToken;
use crate::request::wish::{Record, Wish};
use crate::request::work::{PoolWork, RunEnd};

/// A removal that Ceph refuses is tried at most this seldom: each try takes the pool's name away for a moment.
const LONGEST_REFUSED: Duration = Duration::from_secs(3600);

pub(super) fn look(subject: &Subject<'_>, known: Record) -> Look {
    let Subject {
        pools,
        entry,
        work,
        key,
        object,
    } = *subject;
    let status = object.status.as_ref();
    if known.identity.is_none() && status.is_none_or(|status| status.request.is_none()) {
        // Nothing was ever done for it.
        return released(known);
    }
    let base = base_name(subject, &known);
    let wish = Wish {
        remove: removes_pool(object),
        confirmations: record::confirmations(object),
        ..Wish::for_removal(
            pools.owner(key),
            base.clone(),
            object.metadata.generation.unwrap_or_default(),
            known.clone(),
        )
    };
    if work.state().running {
        // Another policy, or a person's word, counts from its next round on.
        work.state().wish = Some(std::sync::Arc::new(wish));
        return Look {
            quiet: status::blocked(object).is_some(),
            ..under_way(known, AGAIN)
        };
    }
    let keep = "to keep the pool, set deletionPolicy: Retain";
    let still = |why: String, token: Option<AskedToken>| blocked(&known, why, token);
    if let Some(message) = paused(subject, "its pool") {
        return still(message, None);
    }
    let (session, view) = match reach(subject, &base, Verb::Delete) {
        Ok(reached) => reached,
        Err(why) => {
            let message = format!(
                "pool {base} cannot be removed: {why}; {keep}; {}",
                give_up(&base)
            );
            return still(message, None);
        }
    };
    let news = said(entry, subject, &wish);
    let denied = work.state().rejections.iter().any(Rejection::denied);
    if let Some((held, wait)) = held(entry, work, news) {
        let message = format!("{}; {keep}", held.message);
        return Look {
            requeue: wait,
            ..still(message, held.token.map(|token| *token))
        };
    }
    if denied {
        pools.registry.renew(&session.name);
    }
    let next = removal_round(&wish, &view, None, None);
    let done = next.round.is_empty() && next.refusals.is_empty() && next.unproven.is_none();
    if done {
        for request in &mut work.state().requests {
            request.succeed(view.epoch(), Timestamp::now());
        }
        return released(Record {
            removal: None,
            ..known
        });
    }
    remove(subject, wish, next, &session, Aim::Remove);
    Look {
        quiet: status::blocked(object).is_some(),
        ..under_way(known, AGAIN)
    }
}

/// Why the last try came to nothing, and how long until the next one; nothing when it may be tried now.
fn held(entry: &PoolEntry, work: &PoolWork, news: bool) -> Option<(Refusal, Duration)> {
    let mut side = entry.side();
    let mut state = work.state();
    let refused_by_ceph = !state.rejections.is_empty();
    let why = match &state.end {
        Some(RunEnd::Refused(refusals)) => refusals.first().cloned(),
        Some(
            RunEnd::Away(why) | RunEnd::NotRecorded(why) | RunEnd::Later(why) | RunEnd::Unsafe(why),
        ) => Some(passing(format!(
            "the removal did not work: {why}; it is tried again"
        ))),
        Some(RunEnd::Rejected) => {
            let words: Vec<String> = state.rejections.iter().map(ToString::to_string).collect();
            Some(passing(format!("Ceph refused: {}", words.join("; "))))
        }
        Some(RunEnd::NotConverging) => Some(passing(
            "the removal did not end within the longest allowed number of rounds".to_owned(),
        )),
        Some(RunEnd::InSync | RunEnd::Moved(_) | RunEnd::Stopped) | None => None,
    };
    if let Some(why) = why
        && !news
    {
        let now = Instant::now();
        let due = if let Some(due) = side.next_try {
            due
        } else {
            let mut wait = AGAIN;
            if refused_by_ceph {
                wait = (AGAIN * 2_u32.pow(side.rejected_tries.min(7))).min(LONGEST_REFUSED);
                side.rejected_tries = side.rejected_tries.saturating_add(1);
            }
            *side.next_try.insert(now + wait)
        };
        if now < due {
            return Some((why, (due - now).min(AGAIN)));
        }
    }
    side.next_try = None;
    if news {
        side.rejected_tries = 0;
    }
    state.rejections.clear();
    state.end = None;
    None
}

fn passing(message: String) -> Refusal {
    Refusal::new(
        crate::api::conditions::Reason::DeletionBlocked,
        None,
        message,
    )
}
