//! An object that is deleted before its pool was published: the pool, which is empty, goes with it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    AGAIN, NotReached, base_name, blocked, give_up, paused, reach, released, remove, tidy_up,
    unclear, under_way, without_refused_rules,
};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{CephPool, Operation, Verb};
use crate::ceph::command::MonCommand;
use crate::controller::pool::proceed::ended_badly;
use crate::controller::pool::subject::{Look, Subject};
use crate::controller::pools::PoolEntry;
use crate::controller::status;
use crate::request::coding::Coding;
use crate::request::executor::Aim;
use crate::request::locks::LATE;
use crate::request::pool_factory::discard_round;
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::wish::{Record, Wish};
use crate::request::work::{PoolWork, RunEnd};

pub(super) fn look(subject: &Subject<'_>, record: Record) -> Look {
    let Subject {
        pools,
        entry,
        work,
        key,
        object,
    } = *subject;
    if work.state().running {
        return removing(object, record);
    }
    let base = base_name(subject, &record);
    let wish = Wish {
        coding: Coding::read(&object.spec),
        ..Wish::for_removal(
            pools.owner(key),
            base.clone(),
            object.metadata.generation.unwrap_or_default(),
            without_refused_rules(work, record.clone()),
        )
    };
    let give_up = give_up(&wish.private_name());
    if let Some(message) = paused(subject, "its unfinished pool") {
        return blocked(&record, message);
    }
    let still = |why: &str| {
        let message = format!("the unfinished pool cannot be removed: {why}; {give_up}");
        blocked(&record, dead_end(message))
    };
    let (session, view) = match reach(subject, &record) {
        Ok(reached) => reached,
        Err(NotReached::Soon) => return unclear(record),
        Err(NotReached::Because(why)) => return still(&why.message),
    };
    if let Err(refusal) = pools.granted(&session, &key.namespace, &base, Verb::Create) {
        return still(&refusal.message);
    }
    let next = discard_round(&wish, &view);
    if let Some(refusal) = next.refusals.first() {
        tracing::warn!(pool = %key, message = refusal.message, "not removing a pool that is not ours");
        return released(record);
    }
    let identity = record.identity.as_ref();
    if next.round.is_empty() && identity.is_some_and(|pool| view.identified(pool).is_some()) {
        // It has its real name: an earlier process, or its last run, was ended before it could write that down.
        let record = Record {
            unpublished: false,
            private_base: None,
            ..record
        };
        work.state().record = Some(record.clone());
        return super::look(subject);
    }
    if next.round.is_empty() && tidy_up(subject, &wish, &view, &session, Aim::Discard) {
        return removing(object, record);
    }
    if next.round.is_empty() {
        for request in &mut work.state().requests {
            request.succeed(view.epoch(), Timestamp::now());
        }
        let refused = was_refused(work, &wish)
            && pools
                .collection
                .locks
                .unsettled(key, &view, Instant::now())
                .is_none();
        return absent(entry, work, record, refused);
    }
    let denied = work.state().rejections.iter().any(Rejection::denied);
    if let Some((why, wait)) = failed(entry, work) {
        return Look {
            requeue: wait,
            ..blocked(&record, dead_end(format!("{why}; or {give_up}")))
        };
    }
    if denied {
        // For the try after this one.
        pools.registry.renew(&session.name);
    }
    let end = work.state().end.clone();
    if let Some((_, wait)) = ended_badly(entry, work, end.as_ref()) {
        return under_way(record, wait);
    }
    remove(subject, wish, next, &session, Aim::Discard);
    removing(object, record)
}

fn dead_end(message: String) -> Refusal {
    Refusal::new(Reason::DeletionBlocked, None, message)
}

/// While the removal is tried again, the object keeps saying why it did not work before.
fn removing(object: &CephPool, record: Record) -> Look {
    Look {
        quiet: status::blocked(object).is_some(),
        ..under_way(record, AGAIN)
    }
}

/// Why the last removal did not work, and how long until the next one; nothing when it may be tried now.
fn failed(entry: &PoolEntry, work: &PoolWork) -> Option<(String, Duration)> {
    let mut side = entry.side();
    let mut state = work.state();
    let tried = state
        .requests
        .iter()
        .any(|request| request.operation == Operation::Delete);
    let why = match state.end.as_ref().filter(|_| tried) {
        Some(RunEnd::Rejected) => {
            let words: Vec<String> = state.rejections.iter().map(ToString::to_string).collect();
            Some(format!(
                "{}; allow it with `ceph config set mon mon_allow_pool_delete true` and the mon capability: \
                 allow command \"osd pool rm\"",
                words.join("; ")
            ))
        }
        Some(
            RunEnd::Away(why)
            | RunEnd::NotRecorded(why)
            | RunEnd::Unsafe(why)
            | RunEnd::Later(why),
        ) => Some(format!(
            "the unfinished pool could not be removed: {why}; it is tried again"
        )),
        Some(RunEnd::Refused(refusals)) => {
            let words: Vec<&str> = refusals
                .iter()
                .map(|refusal| refusal.message.as_str())
                .collect();
            Some(format!(
                "the unfinished pool is not removed: {}",
                words.join("; ")
            ))
        }
        Some(RunEnd::NotConverging) => Some(
            "the unfinished pool was not gone within the longest allowed number of rounds; it is tried again"
                .to_owned(),
        ),
        Some(RunEnd::InSync | RunEnd::Moved(_) | RunEnd::Stopped) | None => None,
    };
    if let Some(why) = why {
        let now = Instant::now();
        let due = *side.next_try.get_or_insert(now + AGAIN);
        if now < due {
            return Some((why, due - now));
        }
    }
    side.next_try = None;
    state.rejections.clear();
    state.end = None;
    None
}

/// Whether Ceph's last answer to the creation was that it makes no such pool.
fn was_refused(work: &PoolWork, wish: &Wish) -> bool {
    let private = wish.private_name();
    work.state().rejections.iter().any(|rejection| {
        matches!(&rejection.command, MonCommand::PoolCreate(create) if create.pool == private)
    })
}

/// The private pool is not in the map: it was removed, or never made, or is still to be made by a command
/// whose answer was lost. One that was answered with a refusal is not waited for.
fn absent(entry: &PoolEntry, work: &PoolWork, record: Record, refused: bool) -> Look {
    // Whether its answer came is not recorded, so it counts as lost while no pool was ever seen.
    let unanswered = record.identity.is_none() && !refused;
    let since = *entry.side().deleting_since.get_or_insert_with(Instant::now);
    let removed = work.state().end == Some(RunEnd::InSync);
    if unanswered && !removed && since.elapsed() < LATE {
        return Look {
            quiet: true,
            ..under_way(record, LATE.saturating_sub(since.elapsed()))
        };
    }
    released(record)
}
