//! What is looked at, and what a look has come to.

use std::sync::Arc;
use std::time::Duration;

use crate::api::v1alpha1::CephPool;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::PoolIdentity;
use crate::controller::pools::{PoolEntry, Pools};
use crate::controller::status::Standing;
use crate::request::ownership::ForeignMark;
use crate::request::preview::Plan;
use crate::request::wish::Record;
use crate::request::work::{PoolKey, PoolWork};

/// How long an object that is in sync is left alone when nothing happens.
pub(super) const RESYNC: Duration = Duration::from_secs(600);

/// How soon to look again at what is about to change by itself.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// What all looks share.
    pub(super) pools: &'a Arc<Pools>,
    /// What is kept about the object.
    pub(super) entry: &'a Arc<PoolEntry>,
    /// The work on its pool.
    pub(super) work: &'a PoolWork,
    /// Which object.
    pub(super) key: &'a PoolKey,
    /// The object.
    pub(super) object: &'a Arc<CephPool>,
}

/// What a look has come to.
#[derive(Debug)]
pub(super) struct Look {
    /// In one word for the status.
    pub(super) standing: Standing,
    /// What is left to do, where that is to be shown.
    pub(super) plan: Option<Plan>,
    /// The pool, with the name of its rule.
    pub(super) seen: Option<(Arc<Pool>, String)>,
    /// The name it is published under.
    pub(super) pool_name: Option<String>,
    /// When to look again if nothing happens.
    pub(super) requeue: Duration,
    /// What is to be recorded; `None` leaves the metadata alone.
    pub(super) record: Option<Record>,
    /// Whether the object needs its finalizer.
    pub(super) finalizer: bool,
    /// Whether nothing is to be written: too little is known yet.
    pub(super) quiet: bool,
    /// Whether it only tells how far a run is, which writes down its rounds itself.
    pub(super) progress: bool,
    /// A mark that stands in the way, and whose owner may be gone.
    pub(super) doubtful: Option<ForeignMark>,
    /// The pool that carries it.
    pub(super) marked: Option<PoolIdentity>,
}

impl Look {
    /// A look that came to this standing, and knows nothing more.
    pub(super) fn at(standing: Standing, requeue: Duration) -> Self {
        Self {
            standing,
            plan: None,
            seen: None,
            pool_name: None,
            requeue,
            record: None,
            finalizer: false,
            quiet: false,
            progress: false,
            doubtful: None,
            marked: None,
        }
    }
}
