//! The watches of pools and namespaces, and the looks at pools that follow from them.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Config, Controller, Error as ControllerError};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pools::{GuardedPool, Pools};
use super::registry::Registry;
use super::{Settings, cancels, chain, levels, pool, triggers};
use crate::request::collection::RequestCollection;
use crate::request::work::PoolKey;

/// How many looks at pools go on at once; each may write to the API server.
const CONCURRENCY: u16 = 32;
/// The watches of pools and namespaces, and what follows from them.
pub(super) struct Watching {
    pub(super) pools: Arc<Pools>,
    pub(super) looks: JoinHandle<()>,
    pub(super) following: JoinHandle<()>,
    pub(super) labels: JoinHandle<()>,
    pub(super) cancels: JoinHandle<()>,
    all_pools: CancellationToken,
    all_namespaces: CancellationToken,
    /// Has the pools looked at.
    pub(super) begin: CancellationToken,
}

impl Watching {
    /// Ends when the first lists are complete.
    pub(super) async fn listed(&self) {
        self.all_pools.cancelled().await;
        self.all_namespaces.cancelled().await;
    }
}

/// Begins to watch. Pools are looked at when `begin` is cancelled.
pub(super) fn pools(
    client: &Client,
    instance: String,
    settings: &Settings,
    runs: &CancellationToken,
    shutdown: &CancellationToken,
) -> Watching {
    let registry = Registry::new();
    let (ended, ended_runs) = mpsc::unbounded_channel::<PoolKey>();
    let (objects, writer) = reflector::store::<GuardedPool>();
    let watch = watcher(
        Api::<GuardedPool>::all(client.clone()),
        watcher::Config::default().any_semantic(),
    )
    .modify(|object| object.managed_fields_mut().clear());
    let nudged = registry.clone();
    let all_pools = CancellationToken::new();
    let touched = reflector::reflector(writer, watch)
        .default_backoff()
        .inspect(first_list(all_pools.clone()))
        .touched_objects()
        .inspect(move |object| {
            if let Ok(object) = object
                && let Ok(pool) = &object.0
            {
                nudged.nudge(&pool.spec.connection_ref.name);
            }
        });
    let all_namespaces = CancellationToken::new();
    let (urgent, triggers) = triggers::channel();
    let relabelled = triggers::relabelled(objects.clone(), urgent.clone());
    let (namespaces, labels) =
        watch_namespaces(client, shutdown, all_namespaces.clone(), relabelled);
    levels::connect(&settings.metrics, registry.clone(), objects.clone());
    let reporter = Reporter {
        controller: "poolwright".to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    };
    let pools = Arc::new(Pools::new(
        client.clone(),
        registry,
        RequestCollection::new(ended, runs.clone()),
        objects.clone(),
        namespaces,
        instance,
        reporter,
        settings.metrics.clone(),
    ));
    let begin = CancellationToken::new();
    let cancels = tokio::spawn(cancels::watch(
        client.clone(),
        Arc::clone(&pools),
        urgent.clone(),
        all_pools.clone(),
        begin.clone(),
        shutdown.clone(),
    ));
    let following = tokio::spawn(triggers::follow(
        Arc::clone(&pools),
        ended_runs,
        urgent.clone(),
        shutdown.clone(),
    ));
    let looks = tokio::spawn(look_after_pools(
        Arc::clone(&pools),
        touched,
        objects,
        (urgent, triggers),
        begin.clone(),
        shutdown.clone(),
    ));
    Watching {
        pools,
        looks,
        following,
        labels,
        cancels,
        all_pools,
        all_namespaces,
        begin,
    }
}

async fn look_after_pools(
    pools: Arc<Pools>,
    touched: impl futures::Stream<Item = Result<GuardedPool, watcher::Error>> + Send + 'static,
    objects: Store<GuardedPool>,
    (urgent, triggers): (
        triggers::Urgent,
        impl futures::Stream<Item = ObjectRef<GuardedPool>> + Send + 'static,
    ),
    begin: CancellationToken,
    shutdown: CancellationToken,
) {
    let (mut touched, mut triggers) = (Box::pin(touched), Box::pin(triggers));
    // Until then the store is kept, and nothing else: all of it is looked at first.
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = begin.cancelled() => break,
            event = touched.next() => match event {
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(error = chain(&error), "watching CephPools"),
                None => return,
            },
            Some(_) = triggers.next() => {}
        }
    }
    let known = objects.state();
    let known = known
        .iter()
        .map(|object| ObjectRef::from_obj(object.as_ref()));
    let known: Vec<_> = known.collect();
    let results = Controller::for_stream(touched, objects.clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(futures::stream::iter(known).chain(triggers))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(
            pool::reconcile,
            |object, error, pools| pool::again_after_error(&object, error, &pools),
            Arc::clone(&pools),
        );
    let mut results = pin!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok((pool, _)) => tracing::trace!(%pool, "looked at"),
            Err(ControllerError::ObjectNotFound(gone)) => {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                let reference: ObjectRef<GuardedPool> =
                    ObjectRef::new(&gone.name).within(namespace);
                let left = objects.get(&reference).and_then(|object| object.uid());
                pools.forget(namespace, &gone.name, left.as_deref());
                triggers::left(&pools, &urgent);
            }
            // Told already, with the object's name, by the error policy.
            Err(ControllerError::ReconcilerFailed(..)) => {}
            Err(error) => tracing::warn!(error = chain(&error), "looking after pools"),
        }
    }
}

/// Tells when the first list is in the store.
///
/// `Store::wait_until_ready` wakes only the last of several that wait, and the controller waits too.
fn first_list<K>(
    complete: CancellationToken,
) -> impl FnMut(&Result<watcher::Event<K>, watcher::Error>) {
    move |event| {
        if let Ok(watcher::Event::InitDone) = event {
            complete.cancel();
        }
    }
}

/// Keeps the labels of all namespaces, for grants by selector.
fn watch_namespaces(
    client: &Client,
    shutdown: &CancellationToken,
    complete: CancellationToken,
    mut relabelled: impl FnMut(&PartialObjectMeta<Namespace>) + Send + 'static,
) -> (Store<PartialObjectMeta<Namespace>>, JoinHandle<()>) {
    let (reader, writer) = reflector::store::<PartialObjectMeta<Namespace>>();
    let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let watch = watcher(api, watcher::Config::default().any_semantic()).modify(|object| {
        object.managed_fields_mut().clear();
        object.annotations_mut().clear();
    });
    let stream = reflector::reflector(writer, watch)
        .default_backoff()
        .inspect(first_list(complete))
        .touched_objects();
    let shutdown = shutdown.clone();
    let task = tokio::spawn(async move {
        let mut stream = pin!(stream);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => match event {
                    Some(Ok(namespace)) => relabelled(&namespace),
                    Some(Err(error)) => tracing::warn!(error = chain(&error), "watching namespaces"),
                    None => return,
                },
            }
        }
    });
    (reader, task)
}
