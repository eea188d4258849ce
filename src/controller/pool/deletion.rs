//! The look at an object that is deleted and still has our finalizer.
//!
//! * [`unpublished`]: its pool has only its private name, and goes with it
//! * [`published`]: its pool goes with it under `deletionPolicy: Delete`, if nothing is lost by that
//! * else the pool stays, with its mark: that is `deletionPolicy: Retain`

mod published;
mod unpublished;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::look::{known_record, observes, wanted_name};
use super::proceed::access;
use super::subject::{Look, Subject};
use crate::api::v1alpha1::{FINALIZER_POOL, Management, Operation, Verb};
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::controller::file::is_paused;
use crate::controller::journal::PoolJournal;
use crate::controller::pools::{PoolEntry, removes_pool};
use crate::controller::registry::Session;
use crate::controller::status::Standing;
use crate::request::executor::Aim;
use crate::request::factory::Next;
use crate::request::preview::Plan;
use crate::request::token::AskedToken;
use crate::request::user_request::UserRequest;
use crate::request::wish::{Record, Wish};

/// How soon a blocked deletion is looked at again: emptiness is not in the map.
const AGAIN: Duration = Duration::from_secs(30);

/// Looks at a deleted object that still has our finalizer.
pub(super) fn look(subject: &Subject<'_>) -> Look {
    let record = known_record(subject.work, subject.object);
    for request in &mut subject.work.state().requests {
        if request.operation != Operation::Delete {
            request.fail("the object was deleted".to_owned(), Timestamp::now());
        }
    }
    if record.unpublished {
        unpublished::look(subject, record)
    } else if removes_pool(subject.object) || record.removal.is_some() {
        published::look(subject, record)
    } else {
        released(record)
    }
}

/// Nothing is left to do in Ceph: the object may go.
fn released(record: Record) -> Look {
    Look {
        record: Some(record),
        finalizer: false,
        ..Look::at(Standing::Deleting, AGAIN)
    }
}

/// It cannot go on, for this reason, until somebody does something.
fn blocked(record: &Record, message: String, token: Option<AskedToken>) -> Look {
    Look {
        record: Some(record.clone()),
        finalizer: true,
        ..Look::at(Standing::DeletionBlocked { message, token }, AGAIN)
    }
}

/// It is under way.
fn under_way(record: Record, wait: Duration) -> Look {
    Look {
        record: Some(record),
        finalizer: true,
        ..Look::at(Standing::Deleting, wait)
    }
}

/// How a person ends a deletion that cannot be done.
fn give_up(pool: &PoolName) -> String {
    format!(
        "to give it up, remove {FINALIZER_POOL} from the object's finalizers, and the pool {pool} by hand"
    )
}

/// The message where people asked for nothing to be sent.
fn paused(subject: &Subject<'_>, what: &str) -> Option<String> {
    is_paused(subject.object).then(|| {
        format!(
            "paused by the annotation poolwright.dev/paused, and {what} is still there; remove the annotation to go on"
        )
    })
}

/// The cluster, if it may be changed now; else why not, in words that stay the same while it lasts.
fn reach(
    subject: &Subject<'_>,
    name: &PoolName,
    verb: Verb,
) -> Result<(Arc<Session>, Arc<ClusterView>), String> {
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
    subject
        .pools
        .granted(&session, &subject.key.namespace, name, verb)
        .map_err(|refusal| refusal.message)?;
    let view = session.usable_view().map_err(|why| {
        tracing::debug!(%why, "no view for a deletion");
        "the cluster cannot be seen right now".to_owned()
    })?;
    Ok((session, view))
}

/// Starts the run that removes the pool, under the deletion's request.
fn remove(subject: &Subject<'_>, wish: Wish, next: Next, session: &Session, aim: Aim) {
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
    let journal = PoolJournal::new(Arc::clone(pools), Arc::clone(entry), key.clone(), aim);
    let access = access(session, &pools.collection, aim);
    pools.collection.start(key, access, Arc::new(journal));
}

/// What a person has said so far about a removal, remembered by what was tried.
fn said(entry: &PoolEntry, subject: &Subject<'_>, wish: &Wish) -> bool {
    let now = crate::controller::pools::RemovalTry {
        generation: subject.object.metadata.generation,
        given: wish.confirmations.given.clone(),
        token: crate::controller::status::reconcile_token(subject.object),
    };
    let mut side = entry.side();
    let news = side.removal_tried.as_ref() != Some(&now);
    side.removal_tried = Some(now);
    news
}

/// The name a pool is removed from, or has its private name from.
fn base_name(subject: &Subject<'_>, record: &Record) -> PoolName {
    record
        .private_base
        .clone()
        .unwrap_or_else(|| wanted_name(subject.object))
}
