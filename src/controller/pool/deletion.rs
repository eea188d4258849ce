//! The look at an object that is deleted while its creation is not finished.
//!
//! A published pool stays, with its mark: that is `deletionPolicy: Retain`. A pool that was
//! never published goes with its object: it has only its private name and cannot hold data.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::look::{known_record, observes, wanted_name};
use super::proceed::{access, ended_badly};
use super::subject::{Look, Subject};
use crate::api::v1alpha1::{CephPool, Management, Operation, Verb};
use crate::ceph::view::ClusterView;
use crate::controller::file::is_paused;
use crate::controller::journal::PoolJournal;
use crate::controller::pools::PoolEntry;
use crate::controller::registry::Session;
use crate::controller::status::{self, Standing};
use crate::request::executor::Access;
use crate::request::factory::Next;
use crate::request::pool_factory::discard_round;
use crate::request::preview::Plan;
use crate::request::rejection::Rejection;
use crate::request::user_request::UserRequest;
use crate::request::wish::{Record, Wish};
use crate::request::work::{PoolWork, RunEnd};

/// How soon a blocked deletion is looked at again.
const AGAIN: Duration = Duration::from_secs(30);
/// A creation whose answer never came may still be executed: so long its object stays, so that the pool would be seen.
const LATE: Duration = Duration::from_secs(30);

/// Looks at a deleted object that still has our finalizer.
pub(super) fn look(subject: &Subject<'_>) -> Look {
    let Subject {
        pools,
        entry,
        work,
        key,
        object,
    } = *subject;
    let record = known_record(work, object);
    if work.state().running {
        return removing(object, record);
    }
    for request in &mut work.state().requests {
        if request.operation != Operation::Delete {
            request.fail("the object was deleted".to_owned(), Timestamp::now());
        }
    }
    if !record.unpublished {
        return released(record);
    }
    let base = record
        .private_base
        .clone()
        .unwrap_or_else(|| wanted_name(object));
    let wish = Wish::for_removal(
        pools.owner(key),
        base,
        object.metadata.generation.unwrap_or_default(),
        record.clone(),
    );
    let blocked = |message: String| Look {
        record: Some(record.clone()),
        finalizer: true,
        ..Look::at(Standing::DeletionBlocked { message }, AGAIN)
    };
    let give_up = format!(
        "to give it up, remove {} from the object's finalizers, and the pool {} by hand",
        crate::api::v1alpha1::FINALIZER_POOL,
        wish.private_name()
    );
    if is_paused(object) {
        return blocked(
            "paused by the annotation poolwright.dev/paused, and its unfinished pool is still there; remove the \
             annotation to go on"
                .to_owned(),
        );
    }
    let (session, view) = match reach(subject) {
        Ok(reached) => reached,
        Err(why) => {
            return blocked(format!(
                "the unfinished pool cannot be removed: {why}; {give_up}"
            ));
        }
    };
    let next = discard_round(&wish, &view);
    if let Some(refusal) = next.refusals.first() {
        tracing::warn!(pool = %key, message = refusal.message, "not removing a pool that is not ours");
        return released(record);
    }
    if next.round.is_empty() {
        for request in &mut work.state().requests {
            request.succeed(view.epoch(), Timestamp::now());
        }
        return absent(entry, work, record);
    }
    let denied = work.state().rejections.iter().any(Rejection::denied);
    if let Some((why, wait)) = failed(entry, work) {
        return Look {
            requeue: wait,
            ..blocked(format!("{why}; or {give_up}"))
        };
    }
    if denied {
        // For the try after this one.
        pools.registry.renew(&session.name);
    }
    let end = work.state().end.clone();
    if let Some((_, wait)) = ended_badly(entry, work, end.as_ref()) {
        return Look {
            record: Some(record),
            finalizer: true,
            ..Look::at(Standing::Deleting, wait)
        };
    }
    remove(subject, wish, next, access(&session, true));
    removing(object, record)
}

/// While the removal is tried again, the object keeps saying why it did not work before.
fn removing(object: &CephPool, record: Record) -> Look {
    Look {
        record: Some(record),
        finalizer: true,
        quiet: status::blocked(object).is_some(),
        ..Look::at(Standing::Deleting, AGAIN)
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
        Some(RunEnd::Away(why) | RunEnd::NotRecorded(why) | RunEnd::Unsafe(why)) => Some(format!(
            "the unfinished pool could not be removed: {why}; it is tried again"
        )),
        _ => None,
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

/// The cluster, if it may be changed now; else why not, in words that stay the same while it lasts.
fn reach(subject: &Subject<'_>) -> Result<(Arc<Session>, Arc<ClusterView>), String> {
    let connection = &subject.object.spec.connection_ref.name;
    let session = subject
        .pools
        .registry
        .session(connection)
        .map_err(|none| none.message)?;
    if observes(&session) {
        return Err(format!("the connection {connection} only observes"));
    }
    if subject.object.spec.management == Management::Observe {
        return Err("the object's management is Observe".to_owned());
    }
    let name = wanted_name(subject.object);
    subject
        .pools
        .granted(&session, &subject.key.namespace, &name, Verb::Create)
        .map_err(|refusal| refusal.message)?;
    let view = session.usable_view().map_err(|why| {
        tracing::debug!(%why, "no view for a deletion");
        "the cluster cannot be seen right now".to_owned()
    })?;
    Ok((session, view))
}

/// Starts the run that removes the private pool.
fn remove(subject: &Subject<'_>, wish: Wish, next: Next, access: Access) {
    let Subject {
        pools,
        entry,
        work,
        key,
        object: _,
    } = *subject;
    let plan = Plan {
        now: next,
        later: Vec::new(),
        converges: true,
    };
    {
        let mut state = work.state();
        let open = state
            .open_request()
            .is_some_and(|request| request.operation == Operation::Delete);
        if !open {
            let id = uuid::Uuid::new_v4().to_string();
            let request = UserRequest::new(
                id,
                Operation::Delete,
                wish.generation,
                &wish,
                &plan,
                Timestamp::now(),
            );
            state.requests.push(request);
        }
        state.wish = Some(Arc::new(wish));
    }
    let journal = PoolJournal::new(Arc::clone(pools), Arc::clone(entry), key.clone(), true);
    pools.collection.start(key, access, Arc::new(journal));
}

/// The private pool is not in the map: it was removed, or never made, or is still to be made by a command
/// whose answer was lost.
fn absent(entry: &PoolEntry, work: &PoolWork, record: Record) -> Look {
    // Whether its answer came is not recorded, so it counts as lost while no pool was ever seen.
    let unanswered = record.identity.is_none();
    let since = *entry.side().deleting_since.get_or_insert_with(Instant::now);
    let removed = work.state().end == Some(RunEnd::InSync);
    if unanswered && !removed && since.elapsed() < LATE {
        return Look {
            record: Some(record),
            finalizer: true,
            quiet: true,
            ..Look::at(Standing::Deleting, LATE.saturating_sub(since.elapsed()))
        };
    }
    released(record)
}

/// Nothing is left to do in Ceph: the object may go.
fn released(record: Record) -> Look {
    Look {
        record: Some(record),
        finalizer: false,
        ..Look::at(Standing::Deleting, AGAIN)
    }
}
