//! Which requests there are for a pool: opened for what a plan changes, taken up again after a
//! restart, failed when nothing more can be done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use super::Error;
use crate::api::conditions::{ConditionType, Reason, find};
use crate::api::v1alpha1::{
    ANNOTATION_CANCEL, CephPool, CephPoolStatus, CephRequest, Operation, Outcome,
    PoolRequestStatus, RequestState, Verb,
};
use crate::ceph::types::Epoch;
use crate::controller::pools::{PoolEntry, Pools};
use crate::controller::requests;
use crate::request::preview::Plan;
use crate::request::user_request::{CANCELLED, Kind, UserRequest};
use crate::request::wish::Wish;
use crate::request::work::{PoolWork, State};

/// The open request of a generation.
pub(super) fn of_generation(state: &State, generation: i64) -> Option<String> {
    state
        .requests
        .iter()
        .rev()
        .find(|request| request.generation == generation)
        .map(|request| request.id.clone())
}

/// An earlier process may have been ended between writing down a request's ID and making its record: then nothing was
/// sent for it yet, and what it changes is what this plan says.
pub(super) fn complete_fields(state: &mut State, wish: &Wish, plan: &Plan) {
    for request in &mut state.requests {
        // Of an earlier generation that was never worked on: whatever it changed is part of this plan.
        let unknown = request.fields.is_empty() && request.generation <= wish.generation;
        if unknown && !request.is_complete() {
            request.take_on(plan);
        }
    }
}

/// Makes sure that what a plan changes has a request: the open one of this generation, or a new one.
/// Returns whether it made one.
pub(super) fn open_for(
    entry: &PoolEntry,
    work: &PoolWork,
    wish: &Wish,
    plan: &Plan,
    now: Timestamp,
) -> bool {
    let mut side = entry.side();
    let mut state = work.state();
    let drifted = side.settled == Some(wish.generation);
    // One that only waits for placement groups to follow, which can take hours, does not speak for what differs since.
    let open = state.requests.iter_mut().find(|request| {
        !request.is_complete()
            && request.generation == wish.generation
            && !(drifted && request.following && request.operation != Operation::Correct)
    });
    if let Some(open) = open {
        let again = drifted && open.following;
        if again {
            open.take_on(plan);
        }
        return again;
    }
    let operation = match operation(plan) {
        Operation::Update if drifted => Operation::Correct,
        operation => operation,
    };
    let id = uuid::Uuid::new_v4().to_string();
    let mut request = UserRequest::new(id, operation, wish.generation, wish, plan, now);
    // What an older request still works on, towards the same values, is that request's.
    for older in state
        .requests
        .iter()
        .filter(|request| !request.is_complete() && !request.following)
    {
        request
            .fields
            .retain(|field, desired| older.fields.get(field) != Some(desired));
    }
    if request.fields.is_empty() {
        return false;
    }
    for older in &mut state.requests {
        older.name_successor(wish.generation, &request.id);
    }
    if operation == Operation::Correct
        && let Some(shared) = side
            .correction
            .take()
            .filter(|shared| shared.generation == wish.generation)
            .filter(|shared| shared.outcome != Some(Outcome::Cancelled))
    {
        // Corrections share one record a generation, so that they never push a user's request out.
        request.id = shared.id;
        request.rounds = shared.rounds;
        request.started_at = shared.started_at;
    } else if let Some((generation, failed)) = &side.failed
        && *generation == wish.generation
    {
        request.retry_of = Some(failed.clone());
    }
    state.requests.push(request);
    true
}

/// What a plan does to the pool, if it is a user who asks for it.
pub(super) fn operation(plan: &Plan) -> Operation {
    let unmade = plan.now.found.as_ref().is_none_or(|found| !found.published);
    if plan.now.verb == Verb::Rename {
        Operation::Rename
    } else if matches!(plan.now.verb, Verb::Adopt | Verb::TakeOver) {
        Operation::Adopt
    } else if unmade {
        Operation::Create
    } else {
        Operation::Update
    }
}

/// Ends what is open, since nothing more can be done for this generation: its own request fails with these words; those of
/// earlier ones were overtaken.
pub(super) fn fail_open(work: &PoolWork, generation: Option<i64>, words: &str) {
    let mut state = work.state();
    if state.running {
        return;
    }
    let now = Timestamp::now();
    let State {
        requests,
        rejections,
        ..
    } = &mut *state;
    for request in requests {
        let its_own = rejections
            .iter()
            .any(|rejection| request.fields.contains_key(&rejection.field));
        match generation {
            Some(newest) if request.generation < newest && !its_own => {
                request.supersede(newest, now);
            }
            _ => request.fail(words.to_owned(), now),
        }
    }
}

/// Takes up the requests that an earlier process did not end.
pub(super) async fn resume(
    pools: &Pools,
    entry: &PoolEntry,
    work: &PoolWork,
    object: &CephPool,
) -> Result<(), Error> {
    if entry.side().resumed {
        return Ok(());
    }
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let Some(mut left) = pools.take_left_open(uid) else {
        // They have not been read yet; before that there is no cluster either.
        return Ok(());
    };
    left.sort_by_key(|request| {
        let made = request.metadata.creation_timestamp.as_ref();
        made.map_or(Timestamp::MIN, |made| made.0)
    });
    let asked_to_cancel: Vec<String> = left
        .iter()
        .filter(|request| {
            let asked = request.annotations().get(ANNOTATION_CANCEL);
            asked.map(String::as_str) == Some("true")
        })
        .map(ResourceExt::name_any)
        .collect();
    // Only these: an earlier process may have been ended before it made the record of the newest.
    let mut known: BTreeSet<String> = left.iter().map(ResourceExt::name_any).collect();
    let status = object.status.as_ref();
    let newest = status.and_then(|status| status.request.as_ref());
    let mut requests: Vec<UserRequest> = left
        .iter()
        .filter(|request| newest.is_none_or(|newest| newest.id != request.name_any()))
        .map(taken_up)
        .collect();
    let mut correction = None;
    // One whose record was still to be made has it made before the next round.
    let mut missing = None;
    let mut cancelled = None;
    if let Some(newest) = newest {
        let open = left
            .into_iter()
            .find(|request| newest.id == request.name_any());
        let complete = newest.state == RequestState::Complete;
        // The record of a correction goes on with the next one; that of any other may have been completed just before the
        // status was to say so.
        let recorded = if open.is_none() && (!complete || newest.operation == Operation::Correct) {
            requests::find(&pools.client, object, &newest.id)
                .await
                .map_err(|source| Error::Request {
                    what: "read",
                    id: newest.id.clone(),
                    source: Box::new(source),
                })?
        } else {
            open
        };
        let outcome = recorded
            .as_ref()
            .and_then(|recorded| recorded.status.as_ref())
            .filter(|status| status.state == RequestState::Complete)
            .and_then(|status| status.outcome);
        cancelled = recorded
            .as_ref()
            .filter(|_| !complete)
            .and_then(|recorded| recorded.status.as_ref())
            .filter(|status| status.error.as_deref() == Some(CANCELLED))
            .map(|_| newest.generation);
        let mut request = newest_taken_up(newest, recorded.as_ref());
        // The record of a correction that was cancelled is not gone on with: its annotation would cancel the next one, too.
        request.outcome = outcome;
        if outcome.is_some() && !complete {
            // It has ended: only the status does not say so.
            request.state = RequestState::Complete;
            request.completed_at = Some(Timestamp::now());
        }
        missing = recorded.is_none().then(|| newest.id.clone());
        known.extend(recorded.as_ref().map(ResourceExt::name_any));
        if !complete {
            requests.push(request);
        } else if newest.operation == Operation::Correct {
            correction = Some(request);
        }
    }
    // Nothing is to be removed before the object is deleted: until then they wait for that.
    let waits = object.metadata.deletion_timestamp.is_none();
    let (deletions, requests): (Vec<UserRequest>, Vec<UserRequest>) = requests
        .into_iter()
        .partition(|request| waits && request.operation == Operation::Delete);
    let mut side = entry.side();
    let known = requests
        .iter()
        .chain(&deletions)
        .chain(&correction)
        .map(|request| &request.id);
    let known = known.filter(|id| Some(*id) != missing.as_ref());
    side.recorded.extend(known.cloned());
    side.correction = correction;
    side.resumed = true;
    let mut state = work.state();
    state.requests = requests;
    for deletion in deletions {
        await_deletion(&mut side.deletion, &mut state.requests, deletion);
    }
    state.cancel_asked.extend(asked_to_cancel);
    state.cancelled = status.and_then(cancelled_before).or(cancelled);
    Ok(())
}

/// A deletion was asked for of an object that is not deleted yet. One that waits already is not worked on any more.
pub(super) fn await_deletion(
    waiting: &mut Option<UserRequest>,
    requests: &mut Vec<UserRequest>,
    request: UserRequest,
) {
    if waiting.as_ref().is_some_and(|one| one.id == request.id) {
        return;
    }
    if let Some(mut before) = waiting.replace(request) {
        before.fail(ASKED_AGAIN.to_owned(), Timestamp::now());
        requests.push(before);
    }
}

/// What a deletion ends with that is asked for again before the object is deleted.
const ASKED_AGAIN: &str = "the deletion was asked for again, by a later request";

/// The generation that was cancelled in the time of an earlier process, if nothing was asked for since: what the status
/// says of the request is taken back when the cancel holds no more. The condition may tell of something else by now,
/// such as that it is paused.
fn cancelled_before(status: &CephPoolStatus) -> Option<i64> {
    let stalled = find(&status.conditions, ConditionType::Stalled)
        .filter(|stalled| stalled.reason == Reason::Cancelled.as_str())
        .and_then(|stalled| stalled.observed_generation);
    stalled.or_else(|| {
        let newest = status.request.as_ref();
        newest
            .filter(|newest| newest.error.as_deref() == Some(CANCELLED))
            .map(|newest| newest.generation)
    })
}

/// An older request as its record has it.
pub(super) fn taken_up(recorded: &CephRequest) -> UserRequest {
    let fields = fields_of(Some(recorded));
    let spec = &recorded.spec;
    UserRequest {
        id: recorded.name_any(),
        kind: kind_of(spec.operation, &fields),
        operation: spec.operation,
        generation: spec.pool_ref.generation,
        fields,
        state: RequestState::AwaitingOsdMap,
        outcome: None,
        error: None,
        headline: recorded
            .status
            .as_ref()
            .map_or_else(String::new, |status| status.headline.clone()),
        rounds: Vec::new(),
        rounds_sent: 0,
        rounds_planned: 0,
        following: false,
        awaited_epoch: None,
        observed_epoch: None,
        started_at: spec
            .requested_at
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0),
        completed_at: None,
        retry_of: spec.retry_of.clone(),
    }
}

/// The newest request as the status has it, with the rounds and fields of its record.
fn newest_taken_up(newest: &PoolRequestStatus, recorded: Option<&CephRequest>) -> UserRequest {
    let fields = fields_of(recorded);
    UserRequest {
        id: newest.id.clone(),
        kind: kind_of(newest.operation, &fields),
        operation: newest.operation,
        generation: newest.generation,
        fields,
        state: newest.state,
        outcome: None,
        error: newest.error.clone(),
        headline: newest.headline.clone(),
        rounds: recorded
            .and_then(|recorded| recorded.status.as_ref())
            .map_or_else(Vec::new, requests::sent_rounds),
        rounds_sent: newest
            .round
            .and_then(|round| usize::try_from(round).ok())
            .map_or(0, |round| round.saturating_sub(1)),
        rounds_planned: 0,
        following: false,
        awaited_epoch: newest
            .awaited_epoch
            .map(|epoch| Epoch(epoch.unsigned_abs())),
        observed_epoch: None,
        started_at: newest
            .started_at
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0),
        completed_at: newest.completed_at.as_ref().map(|time| time.0),
        retry_of: None,
    }
}

/// The values that a record says a change gives its fields.
pub(super) fn desired_of(recorded: &CephRequest) -> BTreeMap<String, String> {
    let desired = recorded.spec.desired.iter();
    desired
        .map(|(field, value)| (field.clone(), value.0.clone()))
        .collect()
}

/// The fields in a record. Values that are not in it come with the next plan.
fn fields_of(recorded: Option<&CephRequest>) -> BTreeMap<String, String> {
    let Some(recorded) = recorded else {
        return BTreeMap::new();
    };
    let named = recorded.spec.changed_fields.iter();
    named
        .map(|field| (field.clone(), String::new()))
        .chain(desired_of(recorded))
        .collect()
}

fn kind_of(operation: Operation, fields: &BTreeMap<String, String>) -> Kind {
    match operation {
        Operation::Create => Kind::PoolCreating,
        _ if fields.contains_key("placementGroups.count") => Kind::PgChanging,
        _ => Kind::OsdMapModifying,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::user_request::{CANCEL_LIFTED, CANCELLED_LATE};

    fn request(generation: i64) -> UserRequest {
        let status = PoolRequestStatus {
            id: format!("of {generation}"),
            generation,
            ..PoolRequestStatus::default()
        };
        newest_taken_up(&status, None)
    }

    /// What the status says of the newest request is what a later process goes by.
    #[test]
    fn only_a_cancel_that_holds_is_taken_up_again() {
        let says = |error: &str| {
            cancelled_before(&CephPoolStatus {
                request: Some(PoolRequestStatus {
                    generation: 3,
                    error: Some(error.to_owned()),
                    ..PoolRequestStatus::default()
                }),
                ..CephPoolStatus::default()
            })
        };
        assert_eq!(says(CANCELLED), Some(3));
        assert_eq!(says(CANCELLED_LATE), None);
        assert_eq!(says(CANCEL_LIFTED), None);
        assert_eq!(cancelled_before(&CephPoolStatus::default()), None);
    }

    /// One deletion waits for its object; one before it comes to an end.
    #[test]
    fn the_newest_deletion_waits() {
        let (mut waiting, mut requests) = (None, Vec::new());
        await_deletion(&mut waiting, &mut requests, request(3));
        await_deletion(&mut waiting, &mut requests, request(3));
        assert!(requests.is_empty(), "{requests:#?}");
        await_deletion(&mut waiting, &mut requests, request(4));
        assert_eq!(waiting.map(|one| one.generation), Some(4));
        let ended: Vec<_> = requests
            .iter()
            .map(|one| (one.generation, one.outcome))
            .collect();
        assert_eq!(ended, [(3, Some(Outcome::Failed))]);
    }

    /// What cannot be done of a generation is what its own request fails of, not an earlier one's.
    #[test]
    fn each_fails_of_its_own() {
        let work = PoolWork::default();
        work.state().requests = vec![request(3), request(4)];
        fail_open(&work, Some(4), "a size of 9 fits nowhere");
        let state = work.state();
        let ended = state
            .requests
            .iter()
            .map(|request| (request.outcome, request.error.as_deref()));
        assert_eq!(
            ended.collect::<Vec<_>>(),
            [
                (
                    Some(Outcome::Superseded),
                    Some("superseded by generation 4")
                ),
                (Some(Outcome::Failed), Some("a size of 9 fits nowhere")),
            ]
        );
    }
}
