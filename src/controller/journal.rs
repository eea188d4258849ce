//! The journal of a run: the status of its object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::timeout;

use super::file::{WriteError, is_paused};
use super::pool::asked;
use super::pools::{PoolEntry, Pools, names_to_grant, removes_pool};
use super::registry::Session;
use super::status::{self, Inputs, Standing};
use super::{events, owners, record, requests};
use crate::api::v1alpha1::{Management, Operation};
use crate::ceph::command::MonCommand;
use crate::metrics::RunGuard;
use crate::request::executor::Aim;
use crate::request::journal::{Entry, Journal, JournalError};
use crate::request::refusal::Refusal;
use crate::request::work::PoolKey;

/// Nothing that is written down before a round takes longer.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// Writes down what a run of one pool is about to do.
#[derive(Debug)]
pub struct PoolJournal {
    pools: Arc<Pools>,
    entry: Arc<PoolEntry>,
    key: PoolKey,
    aim: Aim,
    /// Whether a round of this run was written down.
    begun: AtomicBool,
    /// Counts the run for as long as it has a journal.
    _run: RunGuard,
}

impl PoolJournal {
    /// The journal of an object, for a run with this aim.
    pub fn new(pools: Arc<Pools>, entry: Arc<PoolEntry>, key: PoolKey, aim: Aim) -> Self {
        Self {
            _run: pools.metrics.run(),
            pools,
            entry,
            key,
            aim,
            begun: AtomicBool::new(false),
        }
    }
}

impl std::fmt::Debug for PoolEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PoolEntry").finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for PoolJournal {
    async fn before_round(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        // The client retries for minutes, and a dead connection hangs for longer: the object's file would stay locked.
        timeout(WRITE_LIMIT, self.write_down(entry))
            .await
            .unwrap_or_else(|_| {
                Err(JournalError::Unavailable(
                    "the API server did not answer".to_owned(),
                ))
            })
    }

    fn after_round(&self, took: Duration) {
        self.pools.metrics.round(took);
    }
}

impl PoolJournal {
    async fn write_down(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        let moved = |what: &str| JournalError::Moved(what.to_owned());
        let mut file = self.entry.file.lock().await;
        let object = Arc::clone(file.object());
        if object.metadata.uid.as_deref() != Some(self.key.uid.as_str()) {
            return Err(moved("another object has its name now"));
        }
        let deleted = self.aim != Aim::Keep;
        if object.metadata.deletion_timestamp.is_some() != deleted {
            return Err(moved("it is deleted"));
        }
        if object.metadata.generation != Some(entry.wish.generation) {
            return Err(moved("its spec is another one"));
        }
        if is_paused(&object) {
            return Err(moved("it is paused"));
        }
        // Grants are looked at before every round: one that was taken back stops changes.
        let session = self
            .pools
            .registry
            .session(&object.spec.connection_ref.name)
            .map_err(|none| JournalError::Unavailable(none.message))?;
        if session.spec.management == Management::Observe {
            return Err(moved("its connection only observes now"));
        }
        if !self.pools.knows_namespace(&self.key.namespace) {
            return Err(JournalError::Unavailable(
                "the labels of its namespace are not known yet".to_owned(),
            ));
        }
        self.may(&session, &entry).map_err(JournalError::Refused)?;
        self.owner_is_gone(&entry).await?;
        let wanted = &entry.wish.record;
        let mut written = file
            .write_metadata(
                record::kept_annotation(wanted, &object).as_deref(),
                wanted.unpublished || wanted.removal.is_some() || removes_pool(&object),
            )
            .await
            .map_err(|error| unwritten(&error))?;
        let status = status::compute(&Inputs {
            object: file.object(),
            standing: match status::blocked(file.object()) {
                // Said until it works.
                Some((reason, message)) if deleted => Standing::DeletionBlocked {
                    reason,
                    message,
                    token: None,
                },
                None if deleted => Standing::Deleting,
                _ => Standing::Working,
            },
            record: Some(wanted),
            pool_name: Some(entry.wish.pool.as_str()),
            request: Some(entry.request),
            plan: None,
            rejections: &[],
            seen: None,
            refresh_observed: false,
            corrected: None,
            cancel_lifted: false,
            handled: asked::handled(&self.entry),
            now: Timestamp::now(),
        });
        written |= file
            .write_status(status)
            .await
            .map_err(|error| unwritten(&error))?;
        if !written && entry.round.is_grave() {
            // A round that was written down before and not sent: whether it still shall be, only a write would have told.
            file.confirm().await.map_err(|error| unwritten(&error))?;
        }
        let object = Arc::clone(file.object());
        drop(file);
        // The ID stands in the status by now; the history beside it comes second.
        let known = self.entry.side().recorded.contains(&entry.request.id);
        if !known {
            requests::create(&self.pools.client, &object, entry.request)
                .await
                .map_err(|error| JournalError::Unavailable(super::chain(&error)))?;
            self.entry.side().recorded.insert(entry.request.id.clone());
        }
        // Corrections share one request, and each is told.
        let first = !self.begun.swap(true, Ordering::Relaxed);
        if !known || (first && entry.request.operation == Operation::Correct) {
            events::begin(
                &self.pools,
                &self.entry,
                &object,
                entry.request,
                &told(&entry),
            );
        }
        Ok(())
    }
}

impl PoolJournal {
    /// Whether the grants allow the round, for every name that it is about.
    fn may(&self, session: &Session, entry: &Entry<'_>) -> Result<(), Refusal> {
        let wish = entry.wish;
        let back = wish.removal_name();
        let gives_back = entry.round.steps.iter().any(|step| {
            matches!(&step.command, MonCommand::PoolRename { from, .. } if Some(from) == back.as_ref())
        });
        if gives_back {
            // A grant that was taken back must not keep a pool from its name.
            return Ok(());
        }
        let present = entry.found.map(|found| &found.name);
        for name in names_to_grant(entry.verb, wish, present) {
            self.pools
                .granted(session, &self.key.namespace, name, entry.verb)?;
        }
        Ok(())
    }

    /// A pool whose owner was found to be gone: is it still?
    async fn owner_is_gone(&self, entry: &Entry<'_>) -> Result<(), JournalError> {
        let Some(mark) = entry.found.and_then(|found| found.replaces.as_ref()) else {
            return Ok(());
        };
        if !entry.wish.dead_marks.contains(&mark.mark) {
            return Ok(());
        }
        let identity = entry.found.map(|found| &found.identity);
        let gone = owners::is_gone(&self.pools.client, mark, identity, &entry.wish.pool).await;
        if gone {
            Ok(())
        } else {
            self.entry.side().dead_marks.remove(&mark.mark);
            Err(JournalError::Moved("the pool's owner is back".to_owned()))
        }
    }
}

/// What a person is told of the work that begins.
fn told(entry: &Entry<'_>) -> String {
    if entry.request.operation != Operation::Correct {
        return entry.request.headline.clone();
    }
    let changed: Vec<String> = entry
        .round
        .steps
        .iter()
        .map(|step| format!("{} from {} to {}", step.field, step.observed, step.desired))
        .collect();
    format!("Putting back what others changed: {}", changed.join(", "))
}

fn unwritten(error: &WriteError) -> JournalError {
    match error {
        WriteError::Moved | WriteError::Gone => JournalError::Moved(error.to_string()),
        WriteError::Api { .. } => JournalError::Unavailable(super::chain(error)),
    }
}
