//! What is kept in memory about each `CephPool`, and what all reconciles share.

mod take_over;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::Instant;

use super::file::PoolFile;
use super::grants::contents::{self, Usage};
use super::pool::asked::Asked;
use super::registry::{Known, Registry, Session};
use super::requests;
use crate::api::conditions::{self, ConditionType, Reason};
use crate::api::v1alpha1::{
    CephPool, CephRequest, ClusterConnectionSpec, DeletionPolicy, Management, Verb,
};
use crate::api::validate;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::{Fsid, PoolName};
use crate::metrics::Metrics;
use crate::request::collection::RequestCollection;
use crate::request::ownership::Owner;
use crate::request::refusal::Refusal;
use crate::request::user_request::UserRequest;
use crate::request::wish::Wish;
use crate::request::work::PoolKey;

/// How long ending the requests of an object that is gone may take.
const ORPHANS: Duration = Duration::from_secs(60);

/// A pool as it is watched: one that does not parse must not blind us to the others.
pub type GuardedPool = DeserializeGuard<CephPool>;

/// What all looks at pools share.
pub struct Pools {
    /// The API server.
    pub client: Client,
    /// The connections' sessions.
    pub registry: Registry,
    /// The work on the pools.
    pub collection: RequestCollection,
    /// The objects.
    pub objects: Store<GuardedPool>,
    /// The namespaces' labels, for grants by selector.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The control plane, in the marks.
    pub instance: String,
    /// Who tells events.
    pub reporter: Reporter,
    /// Counts.
    pub metrics: Metrics,
    /// When connections began to be looked at.
    connecting_since: OnceLock<Instant>,
    /// Open requests that an earlier process left, by the uid of their pools.
    left_open: OnceLock<Mutex<HashMap<String, Vec<CephRequest>>>>,
    entries: Mutex<BTreeMap<PoolKey, Arc<PoolEntry>>>,
}

/// What is kept about one object.
pub struct PoolEntry {
    /// The only way to write it.
    pub file: tokio::sync::Mutex<PoolFile>,
    side: Mutex<Side>,
}

/// What a look leaves for the next one.
#[derive(Debug, Default)]
pub struct Side {
    /// Whether an open request of an earlier process was looked for.
    pub resumed: bool,
    /// The generation that was in sync last: what differs from it now is drift.
    pub settled: Option<i64>,
    /// The value of `reconcile-requested-at` that was acted on.
    pub token: Option<String>,
    /// Runs that ended for a passing reason, one after the other.
    pub failures: u32,
    /// When the next run may start.
    pub next_try: Option<Instant>,
    /// When refused commands may be tried again, and how often they were.
    pub retry_rejected: Option<Instant>,
    /// How often refused commands were tried again.
    pub rejected_tries: u32,
    /// The client that was there at the last look: another one may be allowed what that one was not.
    pub incarnation: Option<u64>,
    /// The request that corrections of this generation share.
    pub correction: Option<UserRequest>,
    /// Corrections that the status does not tell of yet.
    pub corrected: Option<(BTreeSet<String>, Timestamp)>,
    /// When `status.observed` was written last.
    pub observed_at: Option<Instant>,
    /// The last request that failed, for `retryOf`.
    pub failed: Option<(i64, String)>,
    /// Requests whose `CephRequest` is there.
    pub recorded: BTreeSet<String>,
    /// Marks whose owners were found to be gone.
    pub dead_marks: BTreeSet<String>,
    /// How often it could not be seen whether the pool is empty, or a pool that is half removed was left so.
    pub looks_failed: u32,
    /// What stood in the object when its removal was tried last: another word of a person is worth another try at once.
    pub removal_tried: Option<RemovalTry>,
    /// When the deletion of an object with an unfinished creation was first looked at.
    pub deleting_since: Option<Instant>,
    /// Whether what was made for the pool was looked for after it had gone.
    pub tidied: bool,
    /// The values of annotations that do nothing, as far as that was told.
    pub ignored: BTreeSet<(&'static str, String)>,
    /// The ID that an annotation asks for, and what came of it.
    pub asked: Option<Asked>,
    /// The deletion that was asked for of an object that is not deleted yet.
    pub deletion: Option<UserRequest>,
    /// Records of requests that were asked for, not taken up yet.
    pub told_of: Vec<CephRequest>,
    /// The IDs of requests that have ended, the newest last.
    pub ended: VecDeque<String>,
    /// What the last event was about, so that events come on changes only.
    pub told: Option<String>,
}

/// The pool that is there for an object.
#[derive(Clone, Copy, Debug)]
pub struct FoundPool<'a> {
    /// It, in the view that the plan was made from.
    pub pool: Option<&'a Pool>,
    /// Whether it is this object's already, and not to be adopted.
    pub ours: bool,
    /// The fields that were applied to it.
    pub applied: &'a BTreeSet<String>,
}

/// What a person can change about a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalTry {
    /// The generation of the object.
    pub generation: Option<i64>,
    /// The tokens in its annotation.
    pub given: BTreeSet<String>,
    /// The value by which another look was asked for.
    pub token: Option<String>,
}

impl PoolEntry {
    /// What the last look left. Never held over an `await`.
    pub fn side(&self) -> MutexGuard<'_, Side> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pools {
    /// Puts together what the looks share.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing of the shell, named at the one place that calls this"
    )]
    pub fn new(
        client: Client,
        registry: Registry,
        collection: RequestCollection,
        objects: Store<GuardedPool>,
        namespaces: Store<PartialObjectMeta<Namespace>>,
        instance: String,
        reporter: Reporter,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            registry,
            collection,
            objects,
            namespaces,
            instance,
            reporter,
            metrics,
            connecting_since: OnceLock::new(),
            left_open: OnceLock::new(),
            entries: Mutex::default(),
        }
    }

    /// What is kept about an object.
    pub fn entry(&self, key: &PoolKey, object: &Arc<CephPool>) -> Arc<PoolEntry> {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_insert_with(|| {
            let api = Api::namespaced(self.client.clone(), &key.namespace);
            let ready = object
                .status
                .as_ref()
                .and_then(|status| conditions::find(&status.conditions, ConditionType::Ready));
            Arc::new(PoolEntry {
                file: tokio::sync::Mutex::new(PoolFile::new(api, Arc::clone(object))),
                side: Mutex::new(Side {
                    settled: ready
                        .filter(|ready| ready.status == "True")
                        .and_then(|ready| ready.observed_generation),
                    token: object
                        .status
                        .as_ref()
                        .and_then(|status| status.last_handled_reconcile_at.clone()),
                    told: ready.map(super::status::subject_of),
                    ..Side::default()
                }),
            })
        });
        Arc::clone(entry)
    }

    /// Forgets the objects of this name that are gone: all but the one with the uid that is left.
    ///
    /// Their open requests end as failed: there is nobody left to end them. That takes calls to the API server,
    /// which nobody waits for. The names that their commands may still use stay locked for as long as for anybody's.
    pub fn forget(&self, namespace: &str, name: &str, left: Option<&str>) {
        let mut gone = PoolKey::of_name(&self.entries(), namespace, name);
        gone.extend(self.collection.of_name(namespace, name));
        gone.sort();
        gone.dedup();
        gone.retain(|key| Some(key.uid.as_str()) != left);
        for key in gone {
            self.entries().remove(&key);
            self.collection.forget(&key);
            let _ = self.take_left_open(&key.uid);
            let client = self.client.clone();
            tokio::spawn(async move {
                let ending = requests::fail_orphans(&client, &key.namespace, &key.uid);
                match tokio::time::timeout(ORPHANS, ending).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(
                        pool = %key,
                        error = super::chain(&error),
                        "cannot end the requests of an object that is gone"
                    ),
                    Err(_) => tracing::warn!(
                        pool = %key,
                        "the requests of an object that is gone are not ended: the API server does not answer"
                    ),
                }
            });
        }
    }

    /// Connections are looked at from now on.
    pub fn connecting(&self) {
        let _ = self.connecting_since.set(Instant::now());
    }

    /// Whether connections have been looked at for less than this.
    pub fn just_started(&self, limit: Duration) -> bool {
        let since = self.connecting_since.get();
        since.is_none_or(|since| since.elapsed() < limit)
    }

    /// Whether the labels of a namespace are known.
    pub fn knows_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get(&ObjectRef::new(namespace)).is_some()
    }

    /// The owner that the mark of an object's pool names.
    pub fn owner(&self, key: &PoolKey) -> Owner {
        Owner {
            instance: self.instance.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }

    /// Whether the connection's owner lets this namespace do this to a pool of this name.
    pub fn granted(
        &self,
        session: &Session,
        namespace: &str,
        pool: &PoolName,
        verb: Verb,
    ) -> Result<(), Refusal> {
        self.permits(&session.spec, namespace, pool, verb)
    }

    fn permits(
        &self,
        spec: &ClusterConnectionSpec,
        namespace: &str,
        pool: &PoolName,
        verb: Verb,
    ) -> Result<(), Refusal> {
        let labels = self.labels(namespace);
        super::grants::permits(spec, namespace, &labels, pool, verb)
            .map_err(|denied| Refusal::new(Reason::NotGranted, None, denied.to_string()))
    }

    /// Whether the connection's owner lets this namespace do anything at all with a pool of this name; if not, what is
    /// said of the `likely` verb.
    pub fn granted_any(
        &self,
        session: &Session,
        namespace: &str,
        pool: &PoolName,
        likely: Verb,
    ) -> Result<(), Refusal> {
        self.permits_any(&session.spec, namespace, pool, likely)
    }

    fn permits_any(
        &self,
        spec: &ClusterConnectionSpec,
        namespace: &str,
        pool: &PoolName,
        likely: Verb,
    ) -> Result<(), Refusal> {
        use Verb::{Adopt, Create, Delete, Rename, TakeOver, Update};
        let others = [Update, Create, Adopt, Rename, Delete, TakeOver];
        let granted = |verb| self.permits(spec, namespace, pool, verb);
        if others.into_iter().any(|verb| granted(verb).is_ok()) {
            Ok(())
        } else {
            granted(likely)
        }
    }

    /// Whether the connection's owner lets a pool be as its object says: parameters, rules, classes, and sums over a
    /// grant. What is there already is not asked for again.
    ///
    /// Of the objects that have no pool yet the older ones come first.
    pub fn granted_contents(
        &self,
        session: &Session,
        object: &CephPool,
        pool: &PoolName,
        verb: Verb,
        found: FoundPool<'_>,
    ) -> Result<(), Refusal> {
        let namespace = object.namespace().unwrap_or_default();
        let labels = self.labels(&namespace);
        let asked = contents::Asked {
            namespace: &namespace,
            labels: &labels,
            pool: pool.as_str(),
            verb,
            spec: &object.spec,
            before: found
                .pool
                .filter(|_| found.ours)
                .map(Usage::of_pool)
                .unwrap_or_default(),
            after: Usage::of_spec(&object.spec, found.pool, found.applied),
        };
        contents::permits(&session.spec, &asked, || self.others(session, object))
            .map_err(|denied| Refusal::new(Reason::NotGranted, None, denied.to_string()))
    }

    /// What the other objects of a connection take of its grants.
    fn others(&self, session: &Session, object: &CephPool) -> Vec<contents::Other> {
        let own = age(object);
        let objects = self.objects.state();
        let others = objects.iter().filter_map(|other| other.0.as_ref().ok());
        others
            .filter(|other| {
                let status = other.status.as_ref();
                let has_pool = status.is_some_and(|status| {
                    let request = status.request.as_ref();
                    status.pool_id.is_some()
                        || request.is_some_and(|request| request.nonce.is_some())
                });
                other.spec.connection_ref.name == session.name
                    && other.uid() != object.uid()
                    && other.spec.management == Management::Manage
                    && (has_pool
                        || (age(other) < own && other.metadata.deletion_timestamp.is_none()))
            })
            .map(|other| {
                let namespace = other.namespace().unwrap_or_default();
                contents::Other {
                    labels: self.labels(&namespace),
                    namespace,
                    pool: other.wanted_pool_name().to_owned(),
                    usage: Usage::of_object(other),
                }
            })
            .collect()
    }

    fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let found = self.namespaces.get(&ObjectRef::new(namespace));
        found
            .map(|found| found.labels().clone())
            .unwrap_or_default()
    }

    /// The older object that wishes for the same pool of the same cluster, and may have it.
    ///
    /// Over all connections: two of them can reach one cluster, and one that cannot be reached just now still belongs to
    /// the cluster it belonged to. Objects that only observe, that are being deleted, that
    /// are not valid or have no grant claim nothing.
    pub fn older_claim(&self, object: &CephPool, fsid: &Fsid, pool: &PoolName) -> Option<String> {
        let own = age(object);
        self.objects.state().iter().find_map(|other| {
            let other = other.0.as_ref().ok()?;
            let claims = other.wanted_pool_name() == pool.as_str()
                && age(other) < own
                && other.metadata.deletion_timestamp.is_none()
                && other.spec.management == Management::Manage
                && validate::check_pool(other).is_ok();
            if !claims {
                return None;
            }
            let connection = &other.spec.connection_ref.name;
            let known = match self.registry.session(connection) {
                Ok(session) => Some(Known {
                    spec: Arc::clone(&session.spec),
                    fsid: Some(session.fsid.clone()),
                }),
                Err(_) => self.registry.known(connection),
            };
            let namespace = other.namespace().unwrap_or_default();
            let told = other.status.as_ref();
            let told = told.and_then(|status| status.fsid.as_deref());
            let may = match known {
                Some(Known { spec, fsid: known }) => {
                    known.or_else(|| told.map(Fsid::new)).as_ref() == Some(fsid)
                        && spec.management == Management::Manage
                        && self
                            .permits_any(&spec, &namespace, pool, Verb::Create)
                            .is_ok()
                }
                // Its connection was not looked at yet, or is no more: what it had a grant for once, it has.
                None => told.map(Fsid::new).as_ref() == Some(fsid),
            };
            may.then(|| format!("{namespace}/{}", other.name_any()))
        })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<PoolKey, Arc<PoolEntry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pools")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// What says which of two objects is the older one.
fn age(object: &CephPool) -> (Option<Timestamp>, Option<String>) {
    let made = object.metadata.creation_timestamp.as_ref();
    (made.map(|made| made.0), object.uid())
}

/// The key of an object.
pub fn key(object: &impl Resource) -> PoolKey {
    let meta = object.meta();
    PoolKey {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

/// The names that a grant has to cover: of a pool that gets another name both, of one that is removed the one it has.
pub fn names_to_grant<'a>(
    verb: Verb,
    wish: &'a Wish,
    present: Option<&'a PoolName>,
) -> Vec<&'a PoolName> {
    match (verb, present) {
        (Verb::Rename, Some(present)) => vec![present, &wish.pool],
        (Verb::Delete, Some(present)) if !present.is_private() => vec![present],
        (Verb::Delete, _) => vec![wish.record.private_base.as_ref().unwrap_or(&wish.pool)],
        _ => vec![&wish.pool],
    }
}

/// Whether the pool goes with its object.
pub fn removes_pool(object: &CephPool) -> bool {
    object.spec.deletion_policy == DeletionPolicy::Delete
}

/// A second, doubled with every failure up to a minute.
pub fn retry_delay(failures: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(failures.min(6)).unwrap_or(60).min(60))
}

#[cfg(test)]
mod tests;
