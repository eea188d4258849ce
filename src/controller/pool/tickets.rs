//! Which requests there are for a pool: opened for what a plan changes, taken up again after a
//! restart, failed when nothing more can be done.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Error;
use crate::api::v1alpha1::{CephPool, Operation, RequestState};
use crate::ceph::types::Epoch;
use crate::controller::pools::{PoolEntry, Pools};
use crate::controller::requests;
use crate::request::preview::Plan;
use crate::request::user_request::{Kind, UserRequest};
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
        let unknown = request.fields.is_empty() && request.generation == wish.generation;
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
    let unmade = plan.now.found.as_ref().is_none_or(|found| !found.published);
    let operation = if unmade {
        Operation::Create
    } else if drifted {
        Operation::Correct
    } else {
        Operation::Update
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
    if operation == Operation::Correct
        && let Some(shared) = side
            .correction
            .take()
            .filter(|shared| shared.generation == wish.generation)
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

/// Fails what is open: nothing more can be done for it.
pub(super) fn fail_open(work: &PoolWork, words: &str) {
    let mut state = work.state();
    if state.running {
        return;
    }
    let now = Timestamp::now();
    for request in &mut state.requests {
        request.fail(words.to_owned(), now);
    }
}

/// Takes up the request that an earlier process did not end.
pub(super) async fn resume(
    pools: &Pools,
    entry: &PoolEntry,
    work: &PoolWork,
    object: &CephPool,
) -> Result<(), Error> {
    if entry.side().resumed {
        return Ok(());
    }
    let recorded = object
        .status
        .as_ref()
        .and_then(|status| status.request.clone());
    if let Some(before) = recorded {
        let found = requests::find(&pools.client, object, &before.id)
            .await
            .map_err(|source| Error::Request {
                what: "read",
                id: before.id.clone(),
                source: Box::new(source),
            })?;
        let fields: BTreeMap<String, String> = found
            .iter()
            .flat_map(|found| &found.spec.changed_fields)
            .map(|field| (field.clone(), String::new()))
            .collect();
        let request = UserRequest {
            id: before.id.clone(),
            kind: match before.operation {
                Operation::Create => Kind::PoolCreating,
                _ if fields.contains_key("placementGroups.count") => Kind::PgChanging,
                _ => Kind::OsdMapModifying,
            },
            operation: before.operation,
            generation: before.generation,
            fields,
            state: before.state,
            outcome: None,
            error: before.error.clone(),
            headline: before.headline.clone(),
            rounds: found
                .as_ref()
                .and_then(|found| found.status.as_ref())
                .map_or_else(Vec::new, requests::sent_rounds),
            rounds_sent: before
                .round
                .and_then(|round| usize::try_from(round).ok())
                .map_or(0, |round| round.saturating_sub(1)),
            rounds_planned: 0,
            following: false,
            awaited_epoch: before
                .awaited_epoch
                .map(|epoch| Epoch(epoch.unsigned_abs())),
            observed_epoch: None,
            started_at: before.started_at.map_or_else(Timestamp::now, |time| time.0),
            completed_at: before.completed_at.map(|time| time.0),
            retry_of: None,
        };
        let mut side = entry.side();
        if found.is_some() {
            side.recorded.insert(before.id.clone());
        }
        if before.state == RequestState::Complete {
            if before.operation == Operation::Correct {
                side.correction = Some(request);
            }
        } else {
            drop(side);
            work.state().requests.push(request);
        }
    }
    entry.side().resumed = true;
    Ok(())
}
