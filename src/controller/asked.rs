//! `CephRequest`s that the REST shim made: the pools they are about are told of them.
//!
//! A pool mostly knows already, by the annotation that came with the change. One that was overtaken by a later change
//! before it was looked at is known by its record alone, and so is one whose object is gone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::chain;
use super::pool::asked;
use super::pools::Pools;
use super::requests;
use super::triggers::{Urgent, send};
use crate::api::v1alpha1::{
    ANNOTATION_DELETION_REQUEST_ID, ANNOTATION_REQUEST_ID, CephPool, CephRequest, LABEL_ORIGIN,
    ORIGIN_REST, RequestState,
};

/// How often all of them are looked through, for what a watch has missed.
pub(super) const SWEEP: Duration = Duration::from_secs(600);
/// What was reserved so long ago and was not applied will not be.
const RESERVED: Duration = Duration::from_secs(600);
/// How often an object that was made a moment ago is looked for, until the watch has brought it.
const LOOKS: u32 = 10;
/// How long each time.
const PAUSE: Duration = Duration::from_secs(1);

/// What a change ends with that was reserved and, as far as is known, never applied.
const NEVER_APPLIED: &str =
    "the REST server was ended before it applied the change; ask for it again";

/// Whether the REST shim made a request.
pub(super) fn is_asked_for(request: &PartialObjectMeta<CephRequest>) -> bool {
    let origin = request.labels().get(LABEL_ORIGIN);
    origin.map(String::as_str) == Some(ORIGIN_REST)
}

/// The watch has brought one.
pub(super) async fn told(
    pools: &Arc<Pools>,
    urgent: &Urgent,
    request: &PartialObjectMeta<CephRequest>,
) {
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<CephRequest> = Api::namespaced(pools.client.clone(), &namespace);
    match api.get_opt(&request.name_any()).await {
        Ok(Some(record)) => take(pools, urgent, record).await,
        Ok(None) => {}
        Err(error) => tracing::warn!(
            request = request.name_any(),
            error = chain(&error),
            "cannot read a CephRequest; it is looked at again within {} min",
            SWEEP.as_secs() / 60
        ),
    }
}

/// Looks through all of them.
pub(super) async fn sweep(pools: &Arc<Pools>, urgent: &Urgent) {
    let label = format!("{LABEL_ORIGIN}={ORIGIN_REST}");
    match requests::unfinished(&pools.client, Some(&label)).await {
        Ok(left) => {
            for record in left {
                take(pools, urgent, record).await;
            }
        }
        Err(error) => tracing::warn!(error = chain(&error), "cannot list the CephRequests"),
    }
}

async fn take(pools: &Arc<Pools>, urgent: &Urgent, record: CephRequest) {
    let state = record.status.as_ref().map(|status| status.state);
    if state == Some(RequestState::Complete) {
        return;
    }
    if record.spec.pool_ref.uid.is_empty() {
        let made = record.creation_timestamp();
        let now = Timestamp::now();
        if let Some(object) = showing(pools, &record) {
            // It was applied. The watch brings the record again when it is filled in.
            if let Err(error) = requests::bind(&pools.client, &object, &record).await {
                tracing::warn!(
                    request = record.name_any(),
                    error = chain(&error),
                    "cannot fill in the CephRequest; it is tried again within {} min",
                    SWEEP.as_secs() / 60
                );
            }
        } else if made.is_some_and(|made| now.duration_since(made.0).unsigned_abs() > RESERVED) {
            requests::fail_record(&pools.client, &record, NEVER_APPLIED, now).await;
        }
        return;
    }
    if reaches(pools, urgent, &record) {
        return;
    }
    match lives(pools, &record).await {
        Some(true) => {
            let (pools, urgent) = (Arc::clone(pools), urgent.clone());
            tokio::spawn(async move {
                for _ in 0..LOOKS {
                    tokio::time::sleep(PAUSE).await;
                    if reaches(&pools, &urgent, &record) {
                        return;
                    }
                }
            });
        }
        Some(false) => {
            let now = Timestamp::now();
            requests::fail_record(&pools.client, &record, requests::GONE, now).await;
        }
        None => {}
    }
}

/// The object of a reserved record, if it shows that its change was applied.
fn showing(pools: &Pools, record: &CephRequest) -> Option<CephPool> {
    let namespace = record.namespace().unwrap_or_default();
    let found = pools
        .objects
        .get(&ObjectRef::new(&record.spec.pool_ref.name).within(&namespace));
    let object = found.as_ref().and_then(|found| found.0.as_ref().ok())?;
    let id = record.name_any();
    let annotations = [ANNOTATION_REQUEST_ID, ANNOTATION_DELETION_REQUEST_ID];
    annotations
        .into_iter()
        .any(|annotation| object.annotations().get(annotation) == Some(&id))
        .then(|| object.clone())
}

/// Tells the pool of a record, if the watch of pools has brought it.
fn reaches(pools: &Arc<Pools>, urgent: &Urgent, record: &CephRequest) -> bool {
    let namespace = record.namespace().unwrap_or_default();
    let pool = &record.spec.pool_ref;
    let found = pools
        .objects
        .get(&ObjectRef::new(&pool.name).within(&namespace));
    let Some(object) = found.as_ref().and_then(|found| found.0.as_ref().ok()) else {
        return false;
    };
    if object.uid().as_deref() != Some(pool.uid.as_str()) {
        return false;
    }
    if asked::tell(pools, object, record) {
        send(urgent, &namespace, &pool.name);
    }
    true
}

/// Whether the object of a record is there; nothing while that cannot be told.
async fn lives(pools: &Pools, record: &CephRequest) -> Option<bool> {
    let namespace = record.namespace().unwrap_or_default();
    match pools.lives(&namespace, &record.spec.pool_ref).await {
        Ok(lives) => Some(lives),
        Err(error) => {
            tracing::warn!(
                request = record.name_any(),
                error = chain(&error),
                "cannot look for the CephPool of a CephRequest"
            );
            None
        }
    }
}
