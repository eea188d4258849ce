//! The watch of `CephRequest`s: those that were asked for, and those that a person cancels, by the annotation `poolwright.dev/cancel: "true"` on a `CephRequest`.
//!
//! Nothing more is sent for its generation, until the spec or `reconcile-requested-at` changes. What was sent is
//! not taken back, and a deletion is stopped by setting `Retain`, not here.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::PartialObjectMeta;
use kube::runtime::events::EventType;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::asked;
use super::chain;
use super::events::{IGNORED, publish_on};
use super::pools::{Pools, key};
use super::requests::POOL_UID_LABEL;
use super::status::ignored_cancel;
use super::triggers::{Urgent, send};
use crate::api::v1alpha1::{ANNOTATION_CANCEL, CephRequest, Operation, Outcome, RequestState};

/// Watches for cancelled requests, until `shutdown`. Only their metadata is kept in mind, and only while it is read.
pub(super) async fn watch(
    client: Client,
    pools: Arc<Pools>,
    urgent: Urgent,
    listed: CancellationToken,
    acts: CancellationToken,
    shutdown: CancellationToken,
) {
    // Before the pools are known, a request's pool would not be found.
    tokio::select! {
        () = listed.cancelled() => {}
        () = shutdown.cancelled() => return,
    }
    let api: Api<PartialObjectMeta<CephRequest>> = Api::all(client);
    let stream = watcher(api, watcher::Config::default().any_semantic()).default_backoff();
    let mut stream = pin!(stream);
    let mut told = BTreeSet::new();
    // The first time comes when this replica begins to act: what was made since the list of what an earlier one left.
    let mut sweeps = pin!(sweeps(&acts));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(()) = sweeps.next() => asked::sweep(&pools, &urgent).await,
            event = stream.next() => match event {
                // What stands there from before is heeded; it is no news to the person who wrote it.
                Some(Ok(Event::InitApply(request))) => {
                    cancel(&pools, &urgent, &request);
                }
                Some(Ok(Event::Apply(request))) => {
                    if acts.is_cancelled() && asked::is_asked_for(&request) {
                        asked::told(&pools, &urgent, &request).await;
                    }
                    match ignored(&pools, &request).await {
                        None => cancel(&pools, &urgent, &request),
                        // Only the replica that acts tells.
                        Some(note) if acts.is_cancelled() => {
                            tell_ignored(&pools, &request, note, &mut told).await;
                        }
                        Some(_) => {}
                    }
                }
                Some(Ok(Event::Delete(request))) => {
                    told.retain(|(uid, _)| Some(uid) != request.metadata.uid.as_ref());
                }
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(error)) => tracing::warn!(error = chain(&error), "watching CephRequests"),
                None => return,
            },
        }
    }
}

/// When to look through the requests that were asked for: at once when this replica acts, and then every ten minutes.
fn sweeps(acts: &CancellationToken) -> impl Stream<Item = ()> {
    futures::stream::unfold(None, async move |timer: Option<Interval>| {
        let mut timer = if let Some(timer) = timer {
            timer
        } else {
            acts.cancelled().await;
            tokio::time::interval(asked::SWEEP)
        };
        timer.tick().await;
        Some(((), Some(timer)))
    })
}

/// Why the value of the annotation does nothing, where it does nothing.
async fn ignored(pools: &Pools, request: &PartialObjectMeta<CephRequest>) -> Option<String> {
    let value = request.annotations().get(ANNOTATION_CANCEL)?;
    if let Some(ignored) = ignored_cancel(value) {
        return Some(ignored.note);
    }
    let api: Api<CephRequest> = Api::namespaced(
        pools.client.clone(),
        &request.namespace().unwrap_or_default(),
    );
    let found = api.get_opt(&request.name_any()).await.ok().flatten()?;
    let why = too_late(&found)?;
    Some(format!("{ANNOTATION_CANCEL} does nothing: {why}"))
}

/// Says once for each value of the annotation that it does nothing.
async fn tell_ignored(
    pools: &Pools,
    request: &PartialObjectMeta<CephRequest>,
    note: String,
    told: &mut BTreeSet<(String, String)>,
) {
    let (Some(value), Some(uid)) = (
        request.annotations().get(ANNOTATION_CANCEL),
        request.metadata.uid.clone(),
    ) else {
        return;
    };
    if told.contains(&(uid.clone(), value.clone())) {
        return;
    }
    told.insert((uid.clone(), value.clone()));
    tracing::warn!(request = request.name_any(), "{note}");
    let reference = ObjectReference {
        api_version: Some(CephRequest::api_version(&()).into_owned()),
        kind: Some(CephRequest::kind(&()).into_owned()),
        name: request.metadata.name.clone(),
        namespace: request.metadata.namespace.clone(),
        uid: Some(uid),
        ..ObjectReference::default()
    };
    let (client, reporter) = (&pools.client, &pools.reporter);
    publish_on(
        client,
        reporter,
        &reference,
        EventType::Warning,
        IGNORED,
        &note,
    )
    .await;
}

/// Why a request cannot be cancelled; nothing of one that can, or was.
fn too_late(request: &CephRequest) -> Option<&'static str> {
    if request.spec.operation == Operation::Delete {
        return Some("a deletion is stopped by setting deletionPolicy: Retain on the CephPool");
    }
    let status = request.status.as_ref()?;
    let ended = status
        .outcome
        .filter(|_| status.state == RequestState::Complete)?;
    (ended != Outcome::Cancelled).then_some("the request has ended before")
}

/// Has the pool stop for it, where it asks for that.
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
