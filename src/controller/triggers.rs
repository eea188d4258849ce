//! What makes a pool be looked at besides its own object: its cluster moved, its run ended, its
//! connection changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::Stream;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pools::{GuardedPool, Pools};
use super::registry::{Change, RegistryEvent};
use crate::api::conditions::{ConditionType, Reason};
use crate::api::v1alpha1::{CephPool, PoolType};
use crate::ceph::types::{PoolId, PoolName};
use crate::ceph::view::ClusterView;
use crate::request::work::PoolKey;

/// Where references to pools go.
pub(super) type Urgent = mpsc::UnboundedSender<ObjectRef<GuardedPool>>;

/// A channel whose other end is a stream.
pub(super) fn channel() -> (
    Urgent,
    impl Stream<Item = ObjectRef<GuardedPool>> + Send + 'static,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|reference| (reference, receiver))
    });
    (sender, stream)
}

/// Told of namespaces, has the pools of one looked at when its labels have changed: grants choose by them.
pub(super) fn relabelled(
    objects: Store<GuardedPool>,
    urgent: Urgent,
) -> impl FnMut(&PartialObjectMeta<Namespace>) + Send + 'static {
    let mut known: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    move |namespace| {
        let name = namespace.name_any();
        if namespace.meta().deletion_timestamp.is_some() {
            known.remove(&name);
            return;
        }
        let labels = namespace.labels().clone();
        let before = known.insert(name.clone(), labels.clone());
        if before.is_some_and(|before| before != labels) {
            for object in objects.state() {
                if object.namespace().as_deref() == Some(name.as_str()) {
                    send(&urgent, &name, &object.name_any());
                }
            }
        }
    }
}

/// Passes on what concerns pools, until `shutdown`.
pub(super) async fn follow(
    pools: Arc<Pools>,
    mut ended: mpsc::UnboundedReceiver<PoolKey>,
    urgent: Urgent,
    shutdown: CancellationToken,
) {
    let mut events = pools.registry.subscribe();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            key = ended.recv() => match key {
                Some(key) => send(&urgent, &key.namespace, &key.name),
                None => return,
            },
            event = events.recv() => match event {
                Ok(event) => pass_on(&pools, &event, &urgent),
                // Events were missed: everything may have changed.
                Err(RecvError::Lagged(_)) => all(&pools, &urgent, |_| true),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn pass_on(pools: &Pools, event: &RegistryEvent, urgent: &Urgent) {
    let of_connection = |pool: &CephPool| pool.spec.connection_ref.name == event.connection;
    match &event.change {
        Change::Appeared
        | Change::Vanished
        | Change::SpecChanged
        | Change::Contact(_)
        | Change::View { old: None, .. } => all(pools, urgent, of_connection),
        Change::View {
            old: Some(old),
            new,
        } => {
            all(pools, urgent, |pool| {
                of_connection(pool) && concerns(pool, old, new)
            });
        }
    }
}

/// Whether a pool's part of the map moved between two views: by its identity, its name, or its private name.
fn concerns(pool: &CephPool, old: &ClusterView, new: &ClusterView) -> bool {
    let status = pool.status.as_ref();
    let id_moved = status
        .and_then(|status| status.pool_id)
        .map(PoolId)
        .is_some_and(|id| old.pool(id) != new.pool(id));
    let name = PoolName::new(pool.wanted_pool_name());
    let name_moved = old.pool_named(&name) != new.pool_named(&name);
    let nonce = status
        .and_then(|status| status.request.as_ref())
        .and_then(|request| request.nonce.as_deref());
    // Not the weights in the tree, which are of no use to any plan.
    let rule_moved = old.crush().rules != new.crush().rules;
    let under_way = nonce.is_some_and(|nonce| {
        let private = name.while_creating(nonce);
        old.pool_named(&private) != new.pool_named(&private)
    });
    id_moved || name_moved || under_way || rule_moved || coding_moved(pool, old, new)
}

/// Whether what an erasure-coded pool is made with has moved: a profile, and the tree as long as there is no pool.
fn coding_moved(pool: &CephPool, old: &ClusterView, new: &ClusterView) -> bool {
    let made = pool.status.as_ref().and_then(|status| status.pool_id);
    let (before, now) = (old.map(), new.map());
    pool.spec.pool_type == PoolType::ErasureCoded
        && (before.erasure_code_profiles != now.erasure_code_profiles
            || (made.is_none() && old.crush() != new.crush()))
}

/// An object is gone: its claim or its mark may have stood in another one's way.
pub(super) fn left(pools: &Pools, urgent: &Urgent) {
    all(pools, urgent, |pool| {
        let conditions = pool.status.iter().flat_map(|status| &status.conditions);
        let mut stalled =
            conditions.filter(|condition| condition.type_ == ConditionType::Stalled.as_str());
        stalled.any(|stalled| {
            [Reason::Conflict, Reason::OwnedByAnother]
                .iter()
                .any(|reason| reason.as_str() == stalled.reason)
        })
    });
}

fn all(pools: &Pools, urgent: &Urgent, wanted: impl Fn(&CephPool) -> bool) {
    for object in pools.objects.state() {
        let Ok(pool) = &object.0 else { continue };
        if wanted(pool) {
            let meta = &pool.metadata;
            send(
                urgent,
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            );
        }
    }
}

pub(super) fn send(urgent: &Urgent, namespace: &str, name: &str) {
    // Nobody listens any more only when the controller ends.
    let _ = urgent.send(ObjectRef::new(name).within(namespace));
}
