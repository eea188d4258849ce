//! One object's file: the only place that writes a `CephPool`.
//!
//! A reconcile and a run both write the same object. They take turns here, each starting from
//! what the last write answered, so that neither undoes the other. Everything is written with
//! the resourceVersion that was read, and nothing here can create an object.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::v1alpha1::{
    ANNOTATION_PAUSED, ANNOTATION_POOL, CephPool, CephPoolStatus, FINALIZER_POOL,
};

/// Under which name the controller writes.
pub const FIELD_MANAGER: &str = "poolwright";

/// What was written last, and what a watch brought since.
#[derive(Debug)]
pub struct PoolFile {
    api: Api<CephPool>,
    newest: Arc<CephPool>,
    status_at: Option<Instant>,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object is not what it was: another generation, paused, deleted, or written by somebody else.
    #[error("the object has changed meanwhile")]
    Moved,
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The API server did not do it.
    #[error("cannot write the object's {what}")]
    Api {
        /// Which part.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
}

impl PoolFile {
    /// Opens the file of an object.
    pub fn new(api: Api<CephPool>, object: Arc<CephPool>) -> Self {
        Self {
            api,
            newest: object,
            status_at: None,
        }
    }

    /// How long ago the status was written, and about the generation that the object has now.
    pub fn told_since(&self) -> Option<Duration> {
        let status = self.newest.status.as_ref()?;
        (status.observed_generation == self.newest.meta().generation)
            .then_some(self.status_at?)
            .map(|at| at.elapsed())
    }

    /// The object as it is known best.
    pub fn object(&self) -> &Arc<CephPool> {
        &self.newest
    }

    /// Takes in what a watch brought, unless it is older than our own last write.
    pub fn refresh(&mut self, seen: &Arc<CephPool>) {
        if version(seen) >= version(&self.newest) || seen.uid() != self.newest.uid() {
            self.newest = Arc::clone(seen);
        }
    }

    /// Writes the status if it differs. Returns whether it did.
    ///
    /// # Errors
    ///
    /// [`WriteError::Moved`] when somebody changed the object in a way that the status must know of.
    pub async fn write_status(&mut self, status: CephPoolStatus) -> Result<bool, WriteError> {
        if self.newest.status.as_ref() == Some(&status) {
            return Ok(false);
        }
        for attempt in 0..2 {
            let mut object = (*self.newest).clone();
            object.status = Some(status.clone());
            let parameters = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            let written = self
                .api
                .replace_status(&self.newest.name_any(), &parameters, &object)
                .await;
            match written {
                Ok(object) => {
                    self.newest = Arc::new(object);
                    self.status_at = Some(Instant::now());
                    return Ok(true);
                }
                Err(kube::Error::Api(answer)) if answer.is_conflict() => {
                    if attempt > 0 {
                        return Err(WriteError::Moved);
                    }
                    self.reread().await?;
                }
                Err(error) => return Err(failed("status", error)),
            }
        }
        Err(WriteError::Moved)
    }

    /// Puts the identity annotation and the finalizer as they should be. Returns whether a write was needed.
    ///
    /// # Errors
    ///
    /// As [`PoolFile::write_status`].
    pub async fn write_metadata(
        &mut self,
        annotation: Option<&str>,
        finalizer: bool,
    ) -> Result<bool, WriteError> {
        for attempt in 0..2 {
            let Some(patch) = self.metadata_patch(annotation, finalizer) else {
                return Ok(false);
            };
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let written = self
                .api
                .patch(&self.newest.name_any(), &parameters, &Patch::Merge(patch))
                .await;
            match written {
                Ok(object) => {
                    self.newest = Arc::new(object);
                    return Ok(true);
                }
                Err(kube::Error::Api(answer)) if answer.is_conflict() => {
                    if attempt > 0 {
                        return Err(WriteError::Moved);
                    }
                    self.reread().await?;
                }
                Err(error) => return Err(failed("metadata", error)),
            }
        }
        Err(WriteError::Moved)
    }

    /// A merge patch with the resourceVersion: it fails on a newer object and never makes one.
    fn metadata_patch(&self, annotation: Option<&str>, finalizer: bool) -> Option<Value> {
        let meta = self.newest.meta();
        let present = self
            .newest
            .annotations()
            .get(ANNOTATION_POOL)
            .map(String::as_str);
        let has = self
            .newest
            .finalizers()
            .iter()
            .any(|name| name == FINALIZER_POOL);
        // A finalizer cannot be added to an object that is being deleted.
        let finalizer = finalizer && (has || meta.deletion_timestamp.is_none());
        let mut metadata = serde_json::Map::new();
        metadata.insert("uid".into(), json!(meta.uid));
        metadata.insert("resourceVersion".into(), json!(meta.resource_version));
        if present != annotation {
            metadata.insert("annotations".into(), json!({ANNOTATION_POOL: annotation}));
        }
        if has != finalizer {
            let mut finalizers: Vec<String> = self.newest.finalizers().to_vec();
            finalizers.retain(|name| name != FINALIZER_POOL);
            if finalizer {
                finalizers.push(FINALIZER_POOL.to_owned());
            }
            metadata.insert("finalizers".into(), json!(finalizers));
        }
        (present != annotation || has != finalizer).then(|| json!({"metadata": metadata}))
    }

    /// Asks the API server whether the object is still what it is taken for, where nothing had to be written.
    ///
    /// # Errors
    ///
    /// As [`PoolFile::write_status`].
    pub async fn confirm(&mut self) -> Result<(), WriteError> {
        self.reread().await
    }

    /// After a conflict: the same object, moved only in what does not matter here, may be written again.
    async fn reread(&mut self) -> Result<(), WriteError> {
        let fresh = match self.api.get_opt(&self.newest.name_any()).await {
            Ok(Some(fresh)) => fresh,
            Ok(None) => return Err(WriteError::Gone),
            Err(error) => return Err(failed("newest version", error)),
        };
        let old = std::mem::replace(&mut self.newest, Arc::new(fresh));
        let new = &self.newest;
        let same = old.uid() == new.uid()
            && old.meta().generation == new.meta().generation
            && old.meta().deletion_timestamp == new.meta().deletion_timestamp
            && is_paused(&old) == is_paused(new)
            && old.status == new.status;
        if same { Ok(()) } else { Err(WriteError::Moved) }
    }
}
/// Whether people asked for nothing to be sent.
pub fn is_paused(object: &CephPool) -> bool {
    object
        .annotations()
        .get(ANNOTATION_PAUSED)
        .map(String::as_str)
        == Some("true")
}

/// Versions of one object are numbers that grow; a text that is not one counts as the oldest.
fn version(object: &CephPool) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn failed(what: &'static str, error: kube::Error) -> WriteError {
    match error {
        kube::Error::Api(answer) if answer.is_not_found() => WriteError::Gone,
        error => WriteError::Api {
            what,
            source: Box::new(error),
        },
    }
}
