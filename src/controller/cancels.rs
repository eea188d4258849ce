//! Requests that a person cancels, by the annotation `poolwright.dev/cancel: "true"` on a `CephRequest`.
//!
//! Nothing more is sent for its generation, until the spec or `reconcile-requested-at` changes. What was sent is
//! not taken back, and a deletion is stopped by setting `Retain`, not here.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::chain;
use super::pools::{Pools, key};
use super::requests::POOL_UID_LABEL;
use super::triggers::{Urgent, send};
use crate::api::v1alpha1::{ANNOTATION_CANCEL, CephRequest};

/// Watches for cancelled requests, until `shutdown`. Only their metadata is kept in mind, and only while it is read.
pub(super) async fn watch(
    client: Client,
    pools: Arc<Pools>,
    urgent: Urgent,
    listed: CancellationToken,
    shutdown: CancellationToken,
) {
    // Before the pools are known, a request's pool would not be found.
    tokio::select! {
        () = listed.cancelled() => {}
        () = shutdown.cancelled() => return,
    }
    let api: Api<PartialObjectMeta<CephRequest>> = Api::all(client);
    let stream = watcher(api, watcher::Config::default().any_semantic())
        .default_backoff()
        .applied_objects();
    let mut stream = pin!(stream);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            event = stream.next() => match event {
                Some(Ok(request)) => cancel(&pools, &urgent, &request),
                Some(Err(error)) => tracing::warn!(error = chain(&error), "watching CephRequests"),
                None => return,
            },
        }
    }
}

fn cancel(pools: &Pools, urgent: &Urgent, request: &PartialObjectMeta<CephRequest>) {
    let asked = request.annotations().get(ANNOTATION_CANCEL);
    let (Some("true"), Some(uid)) = (
        asked.map(String::as_str),
        request.labels().get(POOL_UID_LABEL),
    ) else {
        return;
    };
    let objects = pools.objects.state();
    let pool = objects
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .find(|pool| {
            pool.metadata.uid.as_ref() == Some(uid)
                && pool.metadata.namespace == request.metadata.namespace
        });
    let Some(pool) = pool else { return };
    let work = pools.collection.pool(&key(pool));
    if work.state().cancel(&request.name_any()) {
        tracing::info!(request = request.name_any(), "cancelled");
        send(
            urgent,
            &pool.namespace().unwrap_or_default(),
            &pool.name_any(),
        );
    }
}
