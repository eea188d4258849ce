//! The look at an object that is deleted and still has our finalizer.
//!
//! * [`unpublished`]: its pool has only its private name, and goes with it
//! * [`published`]: its pool goes with it under `deletionPolicy: Delete`, if nothing is lost by that
//! * else the pool stays, with its mark: that is `deletionPolicy: Retain`

mod published;
mod unpublished;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asked;
use super::look::{known_record, observes, wanted_name};
use super::prepare::PATIENCE;
use super::proceed::access;
use super::subject::{Look, SOON, Subject};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{FINALIZER_POOL, Management, Operation};
use crate::ceph::command::MonCommand;
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::controller::file::is_paused;
use crate::controller::journal::PoolJournal;
use crate::controller::pools::{PoolEntry, removes_pool};
use crate::controller::registry::Session;
use crate::controller::status::Standing;
use crate::monitor::NotUsable;
use crate::request::executor::Aim;
use crate::request::factory::Next;
use crate::request::placement::rule_field;
use crate::request::pool_factory::{Leftover, leftover_round};
use crate::request::preview::Plan;
use crate::request::refusal::Refusal;
use crate::request::round::POOL_FIELD;
use crate::request::user_request::UserRequest;
use crate::request::wish::{Record, Wish};
use crate::request::work::PoolWork;

/// How soon a blocked deletion is looked at again: emptiness is not in the map.
const AGAIN: Duration = Duration::from_secs(30);

/// Looks at a deleted object that still has our finalizer.
pub(super) fn look(subject: &Subject<'_>) -> Look {
    let record = known_record(subject.work, subject.object);
    asked::give_deletion(subject, Timestamp::now());
    end_requests(subject.work, |request| {
        (request.operation != Operation::Delete).then_some("the object was deleted")
    });
    if record.unpublished {
        unpublished::look(subject, record)
    } else if removes_pool(subject.object) || record.removal.is_some() || is_removing(subject.work)
    {
        published::look(subject, record)
    } else {
        end_requests(subject.work, |_| Some(KEPT));
        released(record)
    }
}

/// What a request for a removal ends with when the policy became Retain.
const KEPT: &str = "the pool is kept, since deletionPolicy is Retain";

/// Fails the requests that cannot go on, each in its words.
fn end_requests(work: &PoolWork, words: impl Fn(&UserRequest) -> Option<&'static str>) {
    for request in &mut work.state().requests {
        if let Some(words) = words(request) {
            request.fail(words.to_owned(), Timestamp::now());
        }
    }
}

/// Whether the run that is under way is a removal.
fn is_removing(work: &PoolWork) -> bool {
    let state = work.state();
    let open = state.open_request();
    state.running && open.is_some_and(|request| request.operation == Operation::Delete)
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
fn blocked(record: &Record, why: Refusal) -> Look {
    let standing = Standing::DeletionBlocked {
        reason: why.reason,
        message: why.message,
        token: why.token.map(|token| *token),
    };
    Look {
        record: Some(record.clone()),
        finalizer: true,
        ..Look::at(standing, AGAIN)
    }
}

/// Too little is known yet to say anything.
fn unclear(record: Record) -> Look {
    Look {
        quiet: true,
        ..under_way(record, SOON)
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

/// A rule that Ceph did not let go does not keep the object: it is only a rule that nobody uses.
fn without_refused_rules(work: &PoolWork, mut record: Record) -> Record {
    for rejection in &work.state().rejections {
        if let MonCommand::RuleRemove { rule } = &rejection.command
            && record.applied.remove(&rule_field(rule))
        {
            tracing::warn!(%rule, %rejection, "a CRUSH rule of ours stays behind");
        }
    }
    record
}

/// How a person ends a deletion that cannot be done.
fn give_up(pool: &PoolName) -> String {
    format!(
        "to give it up, remove {FINALIZER_POOL} from the object's finalizers, and the pool {pool} by hand"
    )
}

/// Where people asked for nothing to be sent.
fn paused(subject: &Subject<'_>, what: &str) -> Option<Refusal> {
    let message = format!(
        "paused by the annotation poolwright.dev/paused, and {what} is still there; remove the annotation to go on"
    );
    is_paused(subject.object).then(|| Refusal::new(Reason::Paused, None, message))
}

/// Why a cluster may not be changed now.
enum NotReached {
    /// A restart, or a moment without a view, is no news.
    Soon,
    /// In words that stay the same while it lasts.
    Because(Refusal),
}

/// The cluster, if it may be changed now.
fn reach(
    subject: &Subject<'_>,
    record: &Record,
) -> Result<(Arc<Session>, Arc<ClusterView>), NotReached> {
    let pools = subject.pools;
    let connection = &subject.object.spec.connection_ref.name;
    let because = |reason, message: &str| NotReached::Because(Refusal::new(reason, None, message));
    let early = pools.just_started(PATIENCE);
    let session = pools.registry.session(connection).map_err(|none| {
        let passing = matches!(
            none.reason,
            Reason::ConnectionNotFound | Reason::Connecting | Reason::Pending | Reason::Unreachable
        );
        if early && passing {
            NotReached::Soon
        } else {
            because(none.reason, &none.message)
        }
    })?;
    if observes(&session) {
        let words = format!("the connection {connection} only observes");
        return Err(because(Reason::ObserveOnly, &words));
    }
    if subject.object.spec.management == Management::Observe {
        let words = "the object's management is Observe";
        return Err(because(Reason::ObserveOnly, words));
    }
    if let Some(pool) = record.identity.as_ref()
        && pool.fsid != session.fsid
    {
        let words = format!(
            "the pool is in cluster {}, and the connection {connection} reaches cluster {}; correct the connection",
            pool.fsid, session.fsid
        );
        return Err(because(Reason::FsidMismatch, &words));
    }
    if !pools.knows_namespace(&subject.key.namespace) {
        // Its labels decide about grants, and are on their way.
        return Err(NotReached::Soon);
    }
    let view = session.usable_view().map_err(|why| match why {
        NotUsable::Stale { age } if age < PATIENCE => NotReached::Soon,
        NotUsable::NoView if early => NotReached::Soon,
        NotUsable::WentBack { .. } => because(
            Reason::EpochWentBack,
            "the cluster's OSD map is older than one seen before",
        ),
        NotUsable::Unreadable(_) => because(Reason::MapUnreadable, "the OSD map cannot be decoded"),
        NotUsable::OtherCluster { .. } => because(Reason::FsidMismatch, "another cluster answers"),
        _ => because(Reason::Unreachable, "no monitor answers"),
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
            let mut request = UserRequest::new(
                id,
                Operation::Delete,
                wish.generation,
                &wish,
                &plan,
                Timestamp::now(),
            );
            // Proven empty, renamed, proven again, removed: whatever the first look has come to.
            let absent = (POOL_FIELD.to_owned(), "absent".to_owned());
            request.fields = BTreeMap::from([absent]);
            request.rounds_planned = if aim == Aim::Remove { 2 } else { 1 };
            state.requests.push(request);
        }
        state.wish = Some(Arc::new(wish));
    }
    let journal = PoolJournal::new(Arc::clone(pools), Arc::clone(entry), key.clone(), aim);
    let access = access(session, &pools.collection, aim);
    pools.collection.start(key, access, Arc::new(journal));
}

/// What was made for a pool that is gone, or that never came to be, goes after it. Tried once: the object does not wait
/// for what others may use.
fn tidy_up(
    subject: &Subject<'_>,
    wish: &Wish,
    view: &ClusterView,
    session: &Session,
    aim: Aim,
) -> bool {
    let left = Leftover::wished(wish, view);
    if leftover_round(&left, view).is_empty() || subject.entry.side().tidied {
        return false;
    }
    subject.entry.side().tidied = true;
    remove(subject, wish.clone(), Next::default(), session, aim);
    true
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
