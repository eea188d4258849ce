//! The journal of a run: the status of its object.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::timeout;

use super::file::{WriteError, is_paused};
use super::pools::{PoolEntry, Pools, verb};
use super::status::{self, Inputs, Standing};
use super::{events, record, requests};
use crate::api::v1alpha1::Management;
use crate::metrics::RunGuard;
use crate::request::journal::{Entry, Journal, JournalError};
use crate::request::work::PoolKey;

/// Nothing that is written down before a round takes longer.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// Writes down what a run of one pool is about to do.
#[derive(Debug)]
pub struct PoolJournal {
    pools: Arc<Pools>,
    entry: Arc<PoolEntry>,
    key: PoolKey,
    discard: bool,
    /// Counts the run for as long as it has a journal.
    _run: RunGuard,
}

impl PoolJournal {
    /// The journal of an object; `discard` when the object is deleted and its private pool goes with it.
    pub fn new(pools: Arc<Pools>, entry: Arc<PoolEntry>, key: PoolKey, discard: bool) -> Self {
        Self {
            _run: pools.metrics.run(),
            pools,
            entry,
            key,
            discard,
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
        if object.metadata.deletion_timestamp.is_some() != self.discard {
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
        self.pools
            .granted(
                &session,
                &self.key.namespace,
                &entry.wish.pool,
                verb(entry.found.is_some_and(|found| found.published)),
            )
            .map_err(JournalError::Refused)?;
        let wanted = &entry.wish.record;
        file.write_metadata(record::annotation(wanted).as_deref(), wanted.unpublished)
            .await
            .map_err(|error| unwritten(&error))?;
        let status = status::compute(&Inputs {
            object: file.object(),
            standing: match status::blocked(file.object()) {
                // Said until it works.
                Some(message) if self.discard => Standing::DeletionBlocked { message },
                None if self.discard => Standing::Deleting,
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
            now: Timestamp::now(),
        });
        file.write_status(status)
            .await
            .map_err(|error| unwritten(&error))?;
        let object = Arc::clone(file.object());
        drop(file);
        // The ID stands in the status by now; the history beside it comes second.
        let known = self.entry.side().recorded.contains(&entry.request.id);
        if !known {
            requests::create(&self.pools.client, &object, entry.request)
                .await
                .map_err(|error| JournalError::Unavailable(super::chain(&error)))?;
            self.entry.side().recorded.insert(entry.request.id.clone());
            events::begin(&self.pools, &self.entry, &object, &entry.request.headline);
        }
        Ok(())
    }
}

fn unwritten(error: &WriteError) -> JournalError {
    match error {
        WriteError::Moved | WriteError::Gone => JournalError::Moved(error.to_string()),
        WriteError::Api { .. } => JournalError::Unavailable(super::chain(error)),
    }
}
