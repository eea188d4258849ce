//! The status of a `ClusterConnection` from what is known about it, and when it is worth a write. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::conditions::{self, ConditionStatus, ConditionType, NewCondition, Reason};
use crate::api::v1alpha1::{
    CephPool, ClusterConnectionSpec, ClusterConnectionStatus, Management, PRIVATE_DELETE,
    PRIVATE_NEW,
};
use crate::ceph::command::permissions::Permission;
use crate::ceph::types::{Epoch, Fsid, PoolName};
use crate::ceph::view::ClusterView;
use crate::controller::record::REMOVAL_NONCE;
use crate::request::needs;

/// Numbers that follow the work on pools are written no more often than this.
const COUNTS_EVERY: Duration = Duration::from_secs(5);
/// More leftovers than this are not listed: somebody has to look at the cluster anyway.
const MOST_LEFTOVERS: usize = 100;

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The reason of the condition.
    pub reason: Reason,
    /// A sentence with the cause and the remedy.
    pub message: String,
}

impl Problem {
    /// A reason and its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// Whether it is likely to pass without anybody changing anything. Everything is tried again
    /// in any case; this decides between `Reconciling` and `Stalled`.
    ///
    /// A Secret often comes a moment after the connection that refers to it, in the same apply.
    fn passes(&self) -> bool {
        matches!(self.reason, Reason::Unreachable | Reason::SecretNotFound)
    }
}

/// How it stands with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The first contact, or the first map, is under way.
    Connecting {
        /// What is waited for.
        message: String,
    },
    /// There is a session and a view.
    Connected {
        /// The user, without `client.`.
        user: String,
        /// Whether commands that change something may be sent.
        observe_only: bool,
    },
    /// It cannot be used.
    Failed(Problem),
}

/// What a `CephPool` means to its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it has a finalizer: it needs the connection to let go of its pool.
    pub has_finalizer: bool,
    /// Whether it has a pool (`status.poolId`).
    pub has_pool: bool,
    /// The cluster its pool is in.
    pub fsid: Option<Fsid>,
    /// The highest epoch its status speaks of.
    pub observed_epoch: Option<Epoch>,
    /// The random part of the private name that its status records.
    pub nonce: Option<String>,
    /// What the Ceph user has to be allowed for it.
    pub needs: BTreeSet<Permission>,
}

impl From<&CephPool> for PoolUse {
    fn from(pool: &CephPool) -> Self {
        let status = pool.status.as_ref();
        let epoch = status.and_then(|status| status.observed_osd_epoch);
        Self {
            namespace: pool.metadata.namespace.clone().unwrap_or_default(),
            name: pool.metadata.name.clone().unwrap_or_default(),
            has_finalizer: pool
                .metadata
                .finalizers
                .as_ref()
                .is_some_and(|names| !names.is_empty()),
            has_pool: status.is_some_and(|status| status.pool_id.is_some()),
            fsid: status
                .and_then(|status| status.fsid.as_deref())
                .map(Fsid::new),
            observed_epoch: epoch.and_then(|epoch| u64::try_from(epoch).ok()).map(Epoch),
            nonce: status
                .and_then(|status| status.request.as_ref())
                .and_then(|request| request.nonce.clone()),
            needs: needs::of_pool(&pool.spec),
        }
    }
}

/// What the Ceph user of a connection has to be allowed: for its grants, and for its pools.
pub fn needed(spec: &ClusterConnectionSpec, uses: &[PoolUse]) -> BTreeSet<Permission> {
    let mut needed = needs::of_connection(spec);
    if spec.management == Management::Manage {
        needed.extend(uses.iter().flat_map(|pool| &pool.needs));
    }
    needed
}

/// What the user is denied of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The user, without `client.`.
    pub user: String,
    /// The commands.
    pub permissions: BTreeSet<Permission>,
}

impl Missing {
    /// The commands by their names, as the status lists them.
    fn commands(&self) -> Vec<String> {
        let commands = self.permissions.iter().map(|missing| missing.command());
        commands.map(str::to_owned).collect()
    }

    /// What is missing, and how to give it.
    fn sentence(&self) -> String {
        let Self { user, permissions } = self;
        let capabilities: Vec<String> = permissions.iter().map(|p| p.capability()).collect();
        format!(
            "client.{user} may not send {commands}, which the grants or the CephPools of this connection need; give it the \
             mon capabilities {capabilities} (`ceph auth caps` replaces all that it has; `poolwright permissions` prints \
             the whole line), or take what needs them out of spec.grants and the CephPools",
            commands = quoted(&self.commands()),
            capabilities = capabilities.join(", "),
        )
    }
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}

/// What a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The generation of the object.
    pub generation: Option<i64>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// How it stands.
    pub standing: &'a Standing,
    /// The cluster that answered, if it is the right one.
    pub fsid: Option<&'a Fsid>,
    /// The release of the monitors.
    pub release: Option<&'a str>,
    /// The newest view of this session.
    pub view: Option<&'a ClusterView>,
    /// The CephPools that refer to it.
    pub uses: &'a [PoolUse],
    /// Private pools that nothing records, for long enough.
    pub leftovers: &'a [String],
    /// The epoch from which the map went back, as a person has confirmed; 0 where it did not.
    pub went_back_from: Epoch,
    /// What the user is denied of what is needed, if that is known.
    pub missing: Option<&'a Missing>,
    /// The replica that acts, where they elect one.
    pub leader: Option<&'a str>,
}

/// The status that follows. What cannot be seen now stays as it was seen last.
pub fn compute(
    old: &ClusterConnectionStatus,
    observation: &Observation<'_>,
    now: &Time,
) -> ClusterConnectionStatus {
    let Observation {
        generation,
        deleting,
        standing,
        fsid,
        release,
        view,
        uses,
        leftovers,
        went_back_from,
        missing,
        leader,
    } = *observation;
    let fsid = fsid
        .map(|fsid| fsid.as_str().to_owned())
        .or_else(|| old.fsid.clone());
    let same_cluster = old.fsid.is_none() || fsid == old.fsid;
    let kept = if same_cluster {
        old.clone()
    } else {
        ClusterConnectionStatus::default()
    };
    let epoch = view.and_then(|view| i64::try_from(view.epoch().0).ok());
    let from = i64::try_from(went_back_from.0).unwrap_or_default();
    let mut wanted = conditions_of(standing, fsid.as_deref(), missing);
    if deleting && let Some(ready) = wanted.first_mut() {
        ready.message = format!("{}; {}", held_by(uses), ready.message);
    }
    ClusterConnectionStatus {
        observed_generation: generation,
        conditions: conditions::set(&old.conditions, wanted, generation, now),
        fsid,
        // What was recorded of a map that went back counts no more.
        epoch: kept.epoch.filter(|epoch| *epoch > from).max(epoch),
        went_back_from: Some(from)
            .filter(|from| *from > 0 && epoch.or(kept.epoch).is_none_or(|epoch| epoch <= *from)),
        release: release.map(str::to_owned).or(kept.release),
        require_osd_release: view
            .map(|view| view.map().require_osd_release_name.clone())
            .or(kept.require_osd_release),
        pools: Some(count(uses)),
        missing_permissions: missing.map_or(kept.missing_permissions, Missing::commands),
        leftovers: if view.is_some() {
            leftovers.to_vec()
        } else {
            kept.leftovers
        },
        leader: leader.map(str::to_owned),
    }
}

/// What an event says of a status: its type, the reason of `Ready` and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether it is a warning.
    pub warning: bool,
    /// The reason of `Ready`.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// Whether a status is news after the reason that was told last. That the contact is being made is none: it is made
/// anew by every process, and what comes of it is told.
pub fn news(told: Option<&str>, status: &ClusterConnectionStatus) -> Option<News> {
    let ready = conditions::find(&status.conditions, ConditionType::Ready)?;
    let passing = ready.reason == Reason::Connecting.as_str();
    (!passing && told != Some(ready.reason.as_str())).then(|| News {
        warning: ready.status != "True" || ready.reason == Reason::PermissionDenied.as_str(),
        reason: ready.reason.clone(),
        message: ready.message.clone(),
    })
}

/// The pools that are managed: those that have one.
fn count(uses: &[PoolUse]) -> i32 {
    i32::try_from(uses.iter().filter(|pool| pool.has_pool).count()).unwrap_or(i32::MAX)
}

fn conditions_of(
    standing: &Standing,
    fsid: Option<&str>,
    missing: Option<&Missing>,
) -> Vec<NewCondition> {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Ready, Reconciling, Stalled};
    match standing {
        Standing::Connecting { message } => vec![
            NewCondition::new(Ready, Unknown, Reason::Connecting, message.clone()),
            NewCondition::new(Reconciling, True, Reason::Connecting, message.clone()),
        ],
        Standing::Connected { user, observe_only } => {
            let cluster = fsid.unwrap_or_default();
            let nothing = if *observe_only {
                "; management is Observe: nothing is changed"
            } else {
                ""
            };
            let message = format!("connected to cluster {cluster} as client.{user}{nothing}");
            // What does not need it goes on.
            match missing.filter(|missing| !missing.permissions.is_empty()) {
                Some(missing) => {
                    let message = format!("{message}; {}", missing.sentence());
                    vec![NewCondition::new(
                        Ready,
                        True,
                        Reason::PermissionDenied,
                        message,
                    )]
                }
                None => vec![NewCondition::new(Ready, True, Reason::Connected, message)],
            }
        }
        Standing::Failed(problem) => {
            let message = || problem.message.clone();
            let second = if problem.passes() {
                NewCondition::new(Reconciling, True, Reason::ProgressingWithRetry, message())
            } else {
                NewCondition::new(Stalled, True, problem.reason, message())
            };
            vec![
                NewCondition::new(Ready, False, problem.reason, message()),
                second,
            ]
        }
    }
}

/// Who keeps a deleted connection: the finalizer says that somebody does.
fn held_by(uses: &[PoolUse]) -> String {
    const NAMED: usize = 5;
    let mut holders: Vec<String> = uses
        .iter()
        .filter(|pool| pool.has_finalizer)
        .map(|pool| format!("{}/{}", pool.namespace, pool.name))
        .collect();
    holders.sort();
    let more = holders.len().saturating_sub(NAMED);
    holders.truncate(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "deleted, and kept for the CephPools that still need it: {}{more}",
        holders.join(", ")
    )
}

/// The pools under a private name whose random part no CephPool records, by name.
pub fn leftovers(view: &ClusterView, recorded: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> = view
        .map()
        .pools
        .values()
        .map(|pool| &pool.name)
        .filter(|name| word_of(name).is_some_and(|word| !recorded.contains(&word)))
        .map(ToString::to_string)
        .collect();
    found.sort();
    found.truncate(MOST_LEFTOVERS);
    found
}

/// The random part of a private name as a CephPool records it, a removal's with what says so; `None` for any other name.
fn word_of(name: &PoolName) -> Option<String> {
    let after = |infix| name.as_str().rsplit_once(infix).map(|(_, nonce)| nonce);
    after(PRIVATE_DELETE)
        .map(|nonce| format!("{REMOVAL_NONCE}{nonce}"))
        .or_else(|| after(PRIVATE_NEW).map(str::to_owned))
}

/// When a status is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Now.
    Now,
    /// Not before this much more time has gone.
    After(Duration),
    /// There is nothing new.
    Never,
}

/// Whether a status is worth a write: at once where it says something else, after some seconds
/// where only numbers of pools moved, and once a resync where only the epoch did.
pub fn worth_writing(
    old: &ClusterConnectionStatus,
    new: &ClusterConnectionStatus,
    since_last: Duration,
    resync: Duration,
) -> Write {
    let wait = if old == new {
        return Write::Never;
    } else if with_numbers_of(new, old, false) == *old {
        resync
    } else if with_numbers_of(new, old, true) == *old {
        COUNTS_EVERY
    } else {
        return Write::Now;
    };
    match wait.checked_sub(since_last) {
        Some(left) if !left.is_zero() => Write::After(left),
        Some(_) | None => Write::Now,
    }
}

/// A status with the epoch, or also the numbers of pools, of another one.
fn with_numbers_of(
    status: &ClusterConnectionStatus,
    other: &ClusterConnectionStatus,
    counts_too: bool,
) -> ClusterConnectionStatus {
    let mut status = status.clone();
    status.epoch = other.epoch;
    if counts_too {
        status.pools = other.pools;
        status.leftovers.clone_from(&other.leftovers);
    }
    status
}

#[cfg(test)]
mod tests;
