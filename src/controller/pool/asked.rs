//! Requests that are asked for by their ID: the annotations of an object, and `CephRequest`s that the REST shim made.
//!
//! Whoever got an ID follows it, so each of them comes to an end, whatever becomes of the change: done together with a
//! later one, found to be done already, refused, or gone with its object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use super::Error;
use super::subject::{Look, Subject};
use super::tickets;
use crate::api::rules::is_request_id;
use crate::api::v1alpha1::{
    ANNOTATION_DELETION_POOL, ANNOTATION_DELETION_REQUEST_ID, ANNOTATION_REQUEST_ID, CephPool,
    CephRequest, Operation, RequestState,
};
use crate::ceph::types::PoolIdentity;
use crate::controller::pools::{PoolEntry, Pools};
use crate::controller::requests;
use crate::controller::status::Standing;
use crate::request::preview::Plan;
use crate::request::round::POOL_FIELD;
use crate::request::user_request::UserRequest;
use crate::request::wish::Wish;
use crate::request::work::PoolWork;

/// How many IDs of requests that have ended are remembered: a record may have been read a moment before its end.
const ENDED_KEPT: usize = 256;

/// An ID that stands in an object's annotation, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The annotation.
    pub annotation: &'static str,
    /// The ID.
    pub id: String,
    /// What came of it.
    pub answer: Answer,
}

/// What came of an ID that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The request of this generation gets it, as soon as it is known what that is. With what its record says of it.
    Awaited {
        /// The generation that has to have it.
        generation: i64,
        /// The values in its record, where there are any.
        desired: BTreeMap<String, String>,
    },
    /// There is, or was, a request of that ID.
    Given,
    /// It is not given, for this reason.
    Refused(String),
}

/// Finds out which requests are asked for, before a look that gives them what they wait for.
pub(super) async fn take_in(subject: &Subject<'_>) -> Result<(), Error> {
    let Subject { entry, work, .. } = *subject;
    if !entry.side().resumed {
        // Those of an earlier process are not known yet.
        return Ok(());
    }
    if let Some((annotation, id)) = wanted(subject.object, work)
        && entry
            .side()
            .asked
            .as_ref()
            .is_none_or(|asked| asked.id != id)
        && let Some(answer) = answer(subject, &id).await?
    {
        let before = entry.side().asked.replace(Asked {
            annotation,
            id,
            answer,
        });
        overtaken(subject, before);
    }
    let told = std::mem::take(&mut entry.side().told_of);
    let mut early = Vec::new();
    for record in told {
        if record.spec.pool_ref.generation > subject.object.metadata.generation.unwrap_or_default()
        {
            // Of a change that the watch brings in a moment.
            early.push(record);
        } else {
            take_up(subject, &record);
        }
    }
    entry.side().told_of.extend(early);
    Ok(())
}

/// Another ID came before the last one was given: that one still comes to an end.
fn overtaken(subject: &Subject<'_>, before: Option<Asked>) {
    let Some(Asked {
        id,
        answer: Answer::Awaited {
            generation,
            desired,
        },
        ..
    }) = before
    else {
        return;
    };
    let pool = subject.object.wanted_pool_name();
    let request = UserRequest::asked_for(id, generation, pool, desired, Timestamp::now());
    subject.work.state().requests.push(request);
}

/// The ID that an object asks for, if it was not acted on yet.
fn wanted(object: &CephPool, work: &PoolWork) -> Option<(&'static str, String)> {
    let annotations = object.annotations();
    let of = |annotation: &'static str| {
        let id = annotations.get(annotation)?;
        Some((annotation, id.clone()))
    };
    let deleted = object.metadata.deletion_timestamp.is_some();
    let (annotation, id) = deleted
        .then(|| of(ANNOTATION_DELETION_REQUEST_ID))
        .flatten()
        .or_else(|| of(ANNOTATION_REQUEST_ID))?;
    let status = object.status.as_ref();
    let handled = status.and_then(|status| status.last_handled_request_id.as_ref());
    let told = status.and_then(|status| status.request_id.as_ref());
    let known = handled == Some(&id) || told == Some(&id) || is_open(work, &id);
    (is_request_id(&id) && !known).then_some((annotation, id))
}

fn is_open(work: &PoolWork, id: &str) -> bool {
    let state = work.state();
    state.requests.iter().any(|request| request.id == id)
}

/// Whether an ID may be given; nothing while that cannot be told.
async fn answer(subject: &Subject<'_>, id: &str) -> Result<Option<Answer>, Error> {
    let Subject {
        pools,
        entry,
        object,
        ..
    } = *subject;
    let generation = object.metadata.generation.unwrap_or_default();
    if entry.side().ended.iter().any(|ended| ended == id) {
        return Ok(Some(Answer::Given));
    }
    let found = requests::find(&pools.client, object, id)
        .await
        .map_err(|source| failed("read", id, source))?;
    let Some(record) = found else {
        // Who asked was ended before that could be written down, or is about to do it.
        return Ok(Some(Answer::Awaited {
            generation,
            desired: BTreeMap::new(),
        }));
    };
    let pool = &record.spec.pool_ref;
    if is_complete(&record) && (pool.uid.is_empty() || object.uid().as_ref() == Some(&pool.uid)) {
        return Ok(Some(Answer::Given));
    }
    if pool.uid.is_empty() && pool.name == object.name_any() {
        // Reserved before the change was applied, which is what this object shows.
        requests::bind(&pools.client, object, &record)
            .await
            .map_err(|source| failed("fill in", id, source))?;
        entry.side().recorded.insert(id.to_owned());
        return Ok(Some(Answer::Awaited {
            generation,
            desired: BTreeMap::new(),
        }));
    }
    if object.uid().as_ref() != Some(&pool.uid) {
        return Ok(Some(Answer::Refused(format!(
            "it is the request of another object, CephPool {} with the uid {}; this change has a request of its own",
            pool.name, pool.uid
        ))));
    }
    entry.side().recorded.insert(id.to_owned());
    let deletion = record.spec.operation == Operation::Delete;
    if pool.generation > generation && !deletion {
        return Ok(None);
    }
    if pool.generation < generation && !deletion {
        // A later change came before this one was looked at.
        take_up(subject, &record);
        return Ok(Some(Answer::Given));
    }
    Ok(Some(Answer::Awaited {
        generation,
        desired: tickets::desired_of(&record),
    }))
}

/// Takes up a request that its record tells of.
fn take_up(subject: &Subject<'_>, record: &CephRequest) {
    let Subject { entry, work, .. } = *subject;
    let mut side = entry.side();
    let id = record.name_any();
    let mut state = work.state();
    if side.ended.contains(&id) {
        return;
    }
    let desired = tickets::desired_of(record);
    if let Some(known) = state.requests.iter_mut().find(|known| known.id == id) {
        known.is_about(&desired);
        return;
    }
    side.recorded.insert(id.clone());
    if let Some(Asked {
        answer: Answer::Awaited { desired: known, .. },
        ..
    }) = side.asked.as_mut().filter(|asked| asked.id == id)
    {
        known.extend(desired);
        return;
    }
    let request = UserRequest {
        state: RequestState::New,
        ..tickets::taken_up(record)
    };
    if request.operation == Operation::Delete {
        // It is worked on when the object is deleted.
        tickets::await_deletion(&mut side.deletion, &mut state.requests, request);
        return;
    }
    // The newest is the last.
    let place = state
        .requests
        .iter()
        .position(|known| known.generation > request.generation)
        .unwrap_or(state.requests.len());
    state.requests.insert(place, request);
}

/// Whether an ID waits for the request of this generation.
pub(super) fn is_awaited(entry: &PoolEntry) -> bool {
    let side = entry.side();
    let asked = side.asked.as_ref();
    asked.is_some_and(|asked| matches!(asked.answer, Answer::Awaited { .. }))
}

/// Gives the ID that waits for it to the request of this generation: what a plan changes, or what is refused without one.
pub(super) fn give(subject: &Subject<'_>, plan: Option<(&Wish, &Plan)>, now: Timestamp) {
    let Subject {
        entry,
        work,
        object,
        ..
    } = *subject;
    let mut side = entry.side();
    let Some(asked) = side.asked.as_mut() else {
        return;
    };
    let Answer::Awaited {
        generation,
        desired,
    } = &asked.answer
    else {
        return;
    };
    let mut request = UserRequest::asked_for(
        asked.id.clone(),
        *generation,
        object.wanted_pool_name(),
        desired.clone(),
        now,
    );
    asked.answer = Answer::Given;
    drop(side);
    let mut state = work.state();
    if let Some((wish, plan)) = plan {
        request.plans(tickets::operation(plan), wish, plan);
    }
    for older in &mut state.requests {
        older.name_successor(request.generation, &request.id);
    }
    state.requests.push(request);
}

/// What is asked for is not done while nothing may be sent.
pub(super) fn fail_unsent(work: &PoolWork, words: &str) {
    let mut state = work.state();
    if state.running {
        return;
    }
    for request in &mut state.requests {
        if request.state == RequestState::New && request.rounds_sent == 0 {
            request.fail(words.to_owned(), Timestamp::now());
        }
    }
}

/// Gives a deletion the request that was asked for. Not while a run is under way, which takes its open request for
/// its own.
pub(super) fn give_deletion(subject: &Subject<'_>, now: Timestamp) {
    let Subject {
        entry,
        work,
        object,
        ..
    } = *subject;
    let mut side = entry.side();
    let mut state = work.state();
    if state.running {
        return;
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let pool = object.wanted_pool_name();
    let awaited = side
        .asked
        .as_mut()
        .filter(|asked| matches!(asked.answer, Answer::Awaited { .. }));
    let awaited = awaited.and_then(|asked| {
        let id = asked.id.clone();
        let before = std::mem::replace(&mut asked.answer, Answer::Given);
        if asked.annotation == ANNOTATION_DELETION_REQUEST_ID {
            return Some(id);
        }
        if let Answer::Awaited {
            generation,
            desired,
        } = before
            && state.requests.iter().all(|known| known.id != id)
        {
            // Of a change that the deletion was faster than. It fails with the others.
            let change = UserRequest::asked_for(id, generation, pool, desired, now);
            state.requests.push(change);
        }
        None
    });
    let told = side.deletion.take().map(|request| request.id);
    for id in awaited.into_iter().chain(told) {
        if state.requests.iter().any(|known| known.id == id) {
            continue;
        }
        let absent = BTreeMap::from([(POOL_FIELD.to_owned(), "absent".to_owned())]);
        let request = UserRequest::asked_for(id, generation, pool, absent, now);
        state.requests.push(UserRequest {
            operation: Operation::Delete,
            headline: format!("Removing pool {pool}"),
            rounds_planned: 2,
            ..request
        });
    }
}

/// A deletion that was asked for, of an object that has to have its pool before it can take that with it: it is
/// deleted when it has.
pub(super) async fn delete_when_due(subject: &Subject<'_>, look: &Look) -> Result<(), Error> {
    let Subject {
        pools,
        entry,
        work,
        key,
        object,
    } = *subject;
    let Some(request) = entry.side().deletion.clone() else {
        return Ok(());
    };
    let has = {
        let state = work.state();
        let record = state.record.as_ref().filter(|_| !state.running);
        let record = record.filter(|record| record.identity_proven && !record.unpublished);
        record.and_then(|record| record.identity.clone())
    };
    if let Some(has) = &has
        && let Some(why) = not_to_be_deleted(object, has, &request)
    {
        let mut request = request;
        request.fail(why, Timestamp::now());
        entry.side().deletion = None;
        work.state().requests.push(request);
        return Ok(());
    }
    let has_pool = has.is_some();
    if has_pool && crate::controller::pools::removes_pool(object) {
        let api = kube::Api::<CephPool>::namespaced(pools.client.clone(), &key.namespace);
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid: Some(key.uid.clone()),
            // As it is here, and not with another policy by now. Otherwise the watch brings the next look.
            resource_version: object.resource_version(),
        });
        return match api.delete(&key.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {
                Ok(())
            }
            Err(source) => Err(failed("delete the CephPool for", &request.id, source)),
        };
    }
    if let Standing::Refused(refusals) = &look.standing
        && !look.quiet
        && !has_pool
    {
        let mut request = request;
        let words = super::proceed::text(refusals);
        request.fail(
            format!("the pool is not this object's, so it is not removed: {words}"),
            Timestamp::now(),
        );
        entry.side().deletion = None;
        work.state().requests.push(request);
    }
    Ok(())
}

/// Why an object that has this pool is not deleted for a request.
fn not_to_be_deleted(
    object: &CephPool,
    has: &PoolIdentity,
    request: &UserRequest,
) -> Option<String> {
    let generation = object.metadata.generation.unwrap_or_default();
    if request.generation > generation {
        // Of a change that the watch brings in a moment.
        return None;
    }
    let annotations = object.annotations();
    let its = annotations.get(ANNOTATION_DELETION_REQUEST_ID) == Some(&request.id);
    let meant = annotations
        .get(ANNOTATION_DELETION_POOL)
        .filter(|meant| its && **meant != has.to_string());
    if let Some(meant) = meant {
        return Some(format!(
            "the deletion of pool {meant} was asked for, and the pool of this CephPool is {has}: another one had its \
             name by then; ask again, by the number of the pool that is to go"
        ));
    }
    (!crate::controller::pools::removes_pool(object)).then(|| {
        "deletionPolicy is Retain, so the pool is not removed: set it to Delete and ask again"
            .to_owned()
    })
}

/// Remembers that a request has ended.
pub(super) fn ended(entry: &PoolEntry, id: &str) {
    let mut side = entry.side();
    side.ended.push_back(id.to_owned());
    if side.ended.len() > ENDED_KEPT {
        side.ended.pop_front();
    }
}

/// The value of the annotation that was acted on, for the status.
pub(in crate::controller) fn handled(entry: &PoolEntry) -> Option<String> {
    let side = entry.side();
    let asked = side.asked.as_ref()?;
    let awaited = matches!(asked.answer, Answer::Awaited { .. });
    (!awaited).then(|| asked.id.clone())
}

/// Has a pool take up a request that its record tells of, unless it knows it. Says whether that is news.
pub(in crate::controller) fn tell(pools: &Pools, object: &CephPool, record: &CephRequest) -> bool {
    let key = crate::controller::pools::key(object);
    let entry = pools.entry(&key, &std::sync::Arc::new(object.clone()));
    let id = record.name_any();
    let mut side = entry.side();
    let known = side.ended.contains(&id) || side.told_of.iter().any(|told| told.name_any() == id);
    if known || is_complete(record) {
        return false;
    }
    side.told_of.push(record.clone());
    true
}

fn is_complete(record: &CephRequest) -> bool {
    let state = record.status.as_ref().map(|status| status.state);
    state == Some(RequestState::Complete)
}

fn failed(what: &'static str, id: &str, source: kube::Error) -> Error {
    Error::Request {
        what,
        id: id.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Only the pool that was meant goes, and only while the object says so.
    #[test]
    fn what_a_deletion_takes_with_it() {
        let object = |policy: &str, meant: Option<&str>| -> CephPool {
            let mut object = json!({
                "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephPool",
                "metadata": {"name": "a", "generation": 2, "annotations": {ANNOTATION_DELETION_REQUEST_ID: "one"}},
                "spec": {"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {},
                    "deletionPolicy": policy},
            });
            if let Some(meant) = meant {
                object["metadata"]["annotations"][ANNOTATION_DELETION_POOL] = json!(meant);
            }
            serde_json::from_value(object).expect("a CephPool")
        };
        let has: PoolIdentity = "f/7/100".parse().expect("an identity");
        let of = |id: &str, generation| {
            UserRequest::asked_for(
                id.to_owned(),
                generation,
                "a",
                BTreeMap::new(),
                Timestamp::UNIX_EPOCH,
            )
        };
        let why = |object: &CephPool, request| not_to_be_deleted(object, &has, &request);
        assert_eq!(why(&object("Delete", Some("f/7/100")), of("one", 2)), None);
        assert_eq!(why(&object("Delete", None), of("one", 2)), None);
        let other = why(&object("Delete", Some("f/5/100")), of("one", 2)).expect("a reason");
        assert!(
            other.contains("f/5/100") && other.contains("f/7/100"),
            "{other}"
        );
        // Of an earlier request.
        assert_eq!(why(&object("Delete", Some("f/5/100")), of("two", 2)), None);
        let kept = why(&object("Retain", None), of("one", 2)).expect("a reason");
        assert!(kept.contains("deletionPolicy is Retain"), "{kept}");
        assert_eq!(
            why(&object("Retain", None), of("one", 3)),
            None,
            "on its way"
        );
    }
}
