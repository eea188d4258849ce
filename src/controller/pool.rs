//! The reconcile of a `CephPool`. It never waits: it looks, hands the newest wish to the pool's
//! run, computes the status and returns.
//!
//! * [`look`]: what is the case, and what is to be done; no writes
//! * [`prepare`]: what has to be right before a plan can be made
//! * [`permit`]: whether that may be done: grants, older claims, cancels
//! * [`proceed`]: begins runs, and knows when not to
//! * [`deletion`]: the same for an object that is deleted
//! * [`invalid`]: what is said of an object that cannot be read
//! * [`asked`]: which of them were asked for by their ID
//! * [`tickets`]: which requests there are for it
//! * this file: the order of the writes

pub(in crate::controller) mod asked;
mod deletion;
mod invalid;
mod look;
mod permit;
mod prepare;
mod proceed;
mod subject;
mod tickets;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::{Instant, timeout};

use self::subject::{Look, Subject};
use super::file::WriteError;
use super::pools::{GuardedPool, PoolEntry, Pools, key, removes_pool, retry_delay};
use super::status::{self, Inputs, Standing};
use super::{chain, events, owners, record as records, requests};
use crate::api::crd::Kind;
use crate::api::v1alpha1::{CephPool, CephPoolStatus, FINALIZER_POOL, Operation};
use crate::metrics::ReconcileOutcome;
use crate::request::user_request::UserRequest;
use crate::request::work::PoolKey;

/// Nothing in one look takes longer: the client's own retries could hang for minutes.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How far a run is, is written between its rounds at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How soon what is asked for is looked at again, when that failed.
const TAKE_IN_AGAIN: Duration = Duration::from_secs(10);
/// Whether the owner of a pool that somebody else wishes for is still there, is looked at so often.
const OWNERS_EVERY: Duration = Duration::from_secs(60);
/// `status.observed` is written for its own sake at most this often.
const OBSERVED_EVERY: Duration = Duration::from_secs(30);

/// Why a look did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The record of a request could not be read or written.
    #[error("cannot {what} the CephRequest {id}")]
    Request {
        /// What was tried.
        what: &'static str,
        /// Which one.
        id: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// It took too long.
    #[error("the look at the pool took longer than {} s", LOOK_LIMIT.as_secs())]
    TimedOut,
    /// It panicked.
    #[error("the look at the pool panicked")]
    Panicked,
}

/// One look at one pool. Neither a panic nor a hanging call ends more than this look.
pub async fn reconcile(object: Arc<GuardedPool>, pools: Arc<Pools>) -> Result<Action, Error> {
    let started = Instant::now();
    let pool = match &object.0 {
        Ok(pool) => Arc::new(pool.clone()),
        Err(invalid) => {
            // The schema keeps such objects out; one from an older schema is left alone until it changes.
            tracing::warn!(pool = object.name_any(), error = %invalid.error, "cannot read the CephPool");
            invalid::tell(&pools, &object, &invalid.error).await;
            return Ok(Action::await_change());
        }
    };
    let result = match AssertUnwindSafe(timeout(LOOK_LIMIT, attend(&pools, &pool)))
        .catch_unwind()
        .await
    {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::TimedOut),
        Err(_) => Err(Error::Panicked),
    };
    let outcome = match &result {
        Ok(_) => ReconcileOutcome::Succeeded,
        Err(Error::Write(WriteError::Moved | WriteError::Gone)) => ReconcileOutcome::Waiting,
        Err(Error::TimedOut) => ReconcileOutcome::TimedOut,
        Err(Error::Panicked) => ReconcileOutcome::Panicked,
        Err(Error::Write(WriteError::Api { .. }) | Error::Request { .. }) => {
            ReconcileOutcome::Failed
        }
    };
    pools
        .metrics
        .reconciled(Kind::CephPool, outcome, started.elapsed());
    match result {
        // Somebody was faster: the event of that change, or this, brings the next look.
        Err(Error::Write(WriteError::Moved)) => {
            let entry = pools.entry(&key(pool.as_ref()), &pool);
            let work = pools.collection.pool(&key(pool.as_ref()));
            let mut state = work.state();
            if !state.running {
                // The record is read again from the object as it is now.
                state.record = None;
            }
            drop(state);
            drop(entry);
            Ok(Action::requeue(Duration::from_millis(50)))
        }
        Err(Error::Write(WriteError::Gone)) => Ok(Action::await_change()),
        other => other,
    }
}

async fn attend(pools: &Arc<Pools>, seen: &Arc<CephPool>) -> Result<Action, Error> {
    let key = key(seen.as_ref());
    // One that lost its finalizer and was made again within a moment was never seen to be gone.
    pools.forget(&key.namespace, &key.name, Some(&key.uid));
    let entry = pools.entry(&key, seen);
    let work = pools.collection.pool(&key);
    let object = {
        let mut file = entry.file.lock().await;
        file.refresh(seen);
        Arc::clone(file.object())
    };
    if object.metadata.uid.as_deref() != Some(key.uid.as_str()) {
        return Ok(Action::await_change());
    }
    tickets::resume(pools, &entry, &work, &object).await?;
    let subject = Subject {
        pools,
        entry: &entry,
        work: &work,
        key: &key,
        object: &object,
    };
    let not_taken_in = match asked::take_in(&subject).await {
        Ok(()) => false,
        Err(error) => {
            // Who asked waits longer; the pool is looked after all the same.
            tracing::warn!(
                pool = object.name_any(),
                error = chain(&error),
                "cannot take in what is asked for; trying again"
            );
            true
        }
    };
    let mut look = if object.metadata.deletion_timestamp.is_some() {
        if !object
            .finalizers()
            .iter()
            .any(|name| name == crate::api::v1alpha1::FINALIZER_POOL)
        {
            return Ok(Action::await_change());
        }
        deletion::look(&subject)
    } else {
        let mut look = look::look(&subject);
        if owner_gone(&subject, &look).await {
            look = look::look(&subject);
        }
        asked::delete_when_due(&subject, &look).await?;
        if look.doubtful.is_some() {
            // That another object lets a pool go is told by nobody.
            Look {
                requeue: look.requeue.min(OWNERS_EVERY),
                ..look
            }
        } else {
            look
        }
    };
    if not_taken_in {
        look.requeue = look.requeue.min(TAKE_IN_AGAIN);
    }
    write(&subject, look).await
}

/// Whether the pool that was looked for carries the mark of an object that is found to be gone.
async fn owner_gone(subject: &Subject<'_>, look: &Look) -> bool {
    let Some(mark) = &look.doubtful else {
        return false;
    };
    let name = look::wanted_name(subject.object);
    let pool = look.marked.as_ref();
    let gone = owners::is_gone(&subject.pools.client, mark, pool, &name).await;
    if gone {
        tracing::info!(pool = %name, owner = mark.owner(), "the owner of the mark is gone");
        subject.entry.side().dead_marks.insert(mark.mark.clone());
    }
    gone
}

/// Writes what a look has come to: requests that ended first, then the status, then the metadata.
async fn write(subject: &Subject<'_>, look: Look) -> Result<Action, Error> {
    if look.quiet {
        return Ok(Action::requeue(look.requeue));
    }
    let Subject {
        pools,
        entry,
        work,
        object,
        key: _,
    } = *subject;
    let now = Timestamp::now();
    if look.progress
        && let Some(since) = entry.file.lock().await.told_since()
        && let Some(wait) = PROGRESS_EVERY.checked_sub(since)
    {
        return Ok(Action::requeue(wait));
    }
    let ended: Vec<UserRequest> = {
        let state = work.state();
        let ended = state
            .requests
            .iter()
            .filter(|request| request.is_complete());
        ended.cloned().collect()
    };
    for request in &ended {
        finish(pools, entry, object, request).await?;
    }
    let mut file = entry.file.lock().await;
    if file.object().metadata.generation != object.metadata.generation {
        // What was found out is about a spec that is no more.
        return Err(WriteError::Moved.into());
    }
    // A run may have written down more than this look knew of. What it knows is always the newer.
    let known = work.state().record.clone();
    let look = Look {
        record: look.record.map(|record| known.unwrap_or(record)),
        ..look
    };
    let metadata = look.record.as_ref().map(|record| {
        let finalizer = match object.metadata.deletion_timestamp {
            Some(_) => look.finalizer,
            None => record.unpublished || removes_pool(object),
        };
        (records::kept_annotation(record, file.object()), finalizer)
    });
    if let Some((annotation, finalizer)) = &metadata {
        // The identity stands in the annotation before the status says Ready; the finalizer goes last.
        let has = file
            .object()
            .finalizers()
            .iter()
            .any(|name| name == FINALIZER_POOL);
        file.write_metadata(annotation.as_deref(), *finalizer || has)
            .await?;
    }
    let status = status_of(subject, file.object(), &look, now);
    let before = file.object().status.clone();
    file.write_status(status.clone()).await?;
    remember(entry, object, &look, before.as_ref(), &status);
    {
        // In this order everywhere: what a look keeps, then the work.
        let mut side = entry.side();
        let mut state = work.state();
        state.requests.retain(|request| {
            !ended
                .iter()
                .any(|ended| ended.id == request.id && request.is_complete())
        });
        // Of the others nobody asks again whether their records are there.
        let correction = side.correction.as_ref().map(|last| last.id.clone());
        side.recorded.retain(|id| {
            state.requests.iter().any(|request| request.id == *id)
                || status.request_id.as_ref() == Some(id)
                || correction.as_ref() == Some(id)
        });
    }
    if let Some((annotation, finalizer)) = metadata {
        file.write_metadata(annotation.as_deref(), finalizer)
            .await?;
    }
    let object = Arc::clone(file.object());
    drop(file);
    record_told(subject, &object, &status).await?;
    events::tell(pools, entry, &object, &status).await;
    if !ended.is_empty()
        && let Err(error) = requests::prune(&pools.client, &object, now).await
    {
        tracing::warn!(
            pool = object.name_any(),
            error = chain(&error),
            "cannot remove old CephRequests"
        );
    }
    let seen = look.seen.map(|(pool, rule)| status::observe(&pool, &rule));
    let held_back = seen.is_some() && seen != status.observed;
    Ok(Action::requeue(if held_back {
        look.requeue.min(OBSERVED_EVERY)
    } else {
        look.requeue
    }))
}

/// Makes the record of the request whose ID the status tells by now, where no run has: people follow that ID, also while
/// nothing is sent for it, as in a deletion that waits.
async fn record_told(
    subject: &Subject<'_>,
    object: &CephPool,
    status: &CephPoolStatus,
) -> Result<(), Error> {
    let request = {
        let state = subject.work.state();
        let told = |request: &&UserRequest| status.request_id.as_ref() == Some(&request.id);
        state.requests.iter().find(told).cloned()
    };
    match request {
        Some(request) => record(subject.pools, subject.entry, object, &request).await,
        None => Ok(()),
    }
}

/// Makes the record of a request, if it is not there.
async fn record(
    pools: &Pools,
    entry: &PoolEntry,
    object: &CephPool,
    request: &UserRequest,
) -> Result<(), Error> {
    if entry.side().recorded.contains(&request.id) {
        return Ok(());
    }
    requests::create(&pools.client, object, request)
        .await
        .map_err(|source| Error::Request {
            what: "create",
            id: request.id.clone(),
            source: Box::new(source),
        })?;
    entry.side().recorded.insert(request.id.clone());
    Ok(())
}

/// The status that a look asks for.
fn status_of(
    subject: &Subject<'_>,
    object: &CephPool,
    look: &Look,
    now: Timestamp,
) -> CephPoolStatus {
    let (newest, rejections) = {
        let state = subject.work.state();
        // An older request that only waits for placement groups to follow is not the last change.
        let told = object
            .status
            .as_ref()
            .and_then(|status| status.request_id.as_ref());
        let newest = state.newest();
        let newest =
            newest.filter(|newest| !newest.following || told.is_none_or(|told| *told == newest.id));
        (newest.cloned(), state.rejections.clone())
    };
    let handled = asked::handled(subject.entry);
    let (refresh_observed, corrected, cancel_lifted) = {
        // Before the requests of an earlier process are taken up, nothing is known of their cancels.
        let cancelled = subject.work.state().cancelled;
        let side = subject.entry.side();
        let lifted = side.resumed && cancelled != object.metadata.generation;
        let due = side
            .observed_at
            .is_none_or(|at| at.elapsed() >= OBSERVED_EVERY);
        (due, side.corrected.clone(), lifted)
    };
    status::compute(&Inputs {
        object,
        standing: look.standing.clone(),
        record: look.record.as_ref(),
        pool_name: look.pool_name.as_deref(),
        request: newest.as_ref(),
        plan: look.plan.as_ref(),
        rejections: &rejections,
        seen: look
            .seen
            .as_ref()
            .map(|(pool, rule)| (pool.as_ref(), rule.clone())),
        refresh_observed,
        corrected,
        cancel_lifted,
        handled,
        now,
    })
}

/// Keeps for the next look what the written status says.
fn remember(
    entry: &PoolEntry,
    object: &CephPool,
    look: &Look,
    before: Option<&CephPoolStatus>,
    after: &CephPoolStatus,
) {
    let mut side = entry.side();
    side.corrected = None;
    if before.and_then(|before| before.observed.as_ref()) != after.observed.as_ref() {
        side.observed_at = Some(Instant::now());
    }
    if matches!(look.standing, Standing::InSync { .. }) {
        side.settled = object.metadata.generation;
        side.failures = 0;
        side.next_try = None;
        side.retry_rejected = None;
        side.rejected_tries = 0;
    }
}

/// Writes the end of a request into its record, and remembers what the next one has to know.
async fn finish(
    pools: &Pools,
    entry: &PoolEntry,
    object: &CephPool,
    request: &UserRequest,
) -> Result<(), Error> {
    // A crash can have come between the status and the record.
    record(pools, entry, object, request).await?;
    requests::complete(&pools.client, object, request)
        .await
        .map_err(|source| Error::Request {
            what: "complete",
            id: request.id.clone(),
            source: Box::new(source),
        })?;
    if let Some(outcome) = request.outcome {
        let error = request.error.as_deref();
        tracing::info!(
            request = request.id,
            ?outcome,
            error,
            "{}",
            request.headline
        );
        pools.metrics.request(request.operation, outcome);
    }
    asked::ended(entry, &request.id);
    let mut side = entry.side();
    if request.operation == Operation::Correct {
        side.correction = Some(request.clone());
    }
    side.failed = (request.outcome == Some(crate::api::v1alpha1::Outcome::Failed))
        .then(|| (request.generation, request.id.clone()));
    Ok(())
}

/// What to do after a look that failed: try again, ever more slowly.
pub fn again_after_error(object: &Arc<GuardedPool>, error: &Error, pools: &Pools) -> Action {
    let failures = match &object.0 {
        Ok(pool) => {
            let entry = pools.entry(&key(pool), &Arc::new(pool.clone()));
            let mut side = entry.side();
            side.failures = side.failures.saturating_add(1);
            side.failures
        }
        Err(_) => 6,
    };
    tracing::warn!(
        pool = object.name_any(),
        error = chain(error),
        "cannot look after the pool; trying again"
    );
    Action::requeue(retry_delay(failures))
}

/// The key of a pool, for those who only have the object.
pub fn pool_key(object: &CephPool) -> PoolKey {
    key(object)
}
