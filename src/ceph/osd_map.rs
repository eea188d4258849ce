//! The OSD map as this program needs it: one model, whatever it was decoded from.

pub mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::types::{CreateTime, Epoch, Fsid, PoolId, PoolIdentity, PoolName, Release};

/// A cluster's OSD map at an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct OsdMap {
    /// The cluster.
    pub fsid: Fsid,
    /// The map's version.
    pub epoch: Epoch,
    /// The cluster's flags, such as `noautoscale`.
    pub flags: BTreeSet<String>,
    /// The oldest release an OSD may have; `None` for a name this program does not know.
    pub require_osd_release: Option<Release>,
    /// The name as it stands in the map.
    pub require_osd_release_name: String,
    /// Whether stretch mode is on: then size, `min_size` and rule are the monitors'.
    pub stretch_mode: bool,
    /// The pools by ID. Behind `Arc`, since most stay the same from one epoch to the next.
    pub pools: BTreeMap<PoolId, Arc<Pool>>,
}

/// One pool of the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its number.
    pub id: PoolId,
    /// Its name at this epoch.
    pub name: PoolName,
    /// When it was created.
    pub create_time: CreateTime,
    /// The epoch that changed it last.
    pub last_change: Epoch,
    /// How it keeps data.
    pub kind: PoolKind,
    /// Copies, or k+m.
    pub size: i64,
    /// Copies that must be there for I/O.
    pub min_size: i64,
    /// Placement groups there are, and what they are on their way to.
    pub placement_groups: PlacementGroups,
    /// `on`, `off` or `warn`.
    pub autoscale_mode: String,
    /// The number of its CRUSH rule.
    pub crush_rule: i64,
    /// Bytes; 0 is no quota.
    pub quota_max_bytes: i64,
    /// Objects; 0 is no quota.
    pub quota_max_objects: i64,
    /// All flags by name, the user's and the cluster's own.
    pub flags: BTreeSet<String>,
    /// What is set of the optional variables; absent is Ceph's default.
    pub options: BTreeMap<String, OptionValue>,
    /// Whether reads ask all chunks and use the first that suffice.
    pub fast_read: bool,
    /// Keys and values of each enabled application.
    pub applications: BTreeMap<String, BTreeMap<String, String>>,
    /// The profile's name; empty for a replicated pool.
    pub erasure_code_profile: String,
}

/// Actual numbers and targets. The monitors set the targets at once, the manager follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlacementGroups {
    /// `pg_num` now.
    pub pg_num: i64,
    /// What `pg_num` is about to be.
    pub pg_num_pending: i64,
    /// What `pool set pg_num` asked for.
    pub pg_num_target: i64,
    /// `pgp_num` now.
    pub pgp_num: i64,
    /// What it is on its way to.
    pub pgp_num_target: i64,
}

impl PlacementGroups {
    /// Whether all numbers have reached their targets.
    ///
    /// `pgp_num` never exceeds `pg_num`, though its target can: it was set apart by somebody, and
    /// `pg_num` went below it later.
    pub const fn settled(&self) -> bool {
        let pgp_target = if self.pgp_num_target < self.pg_num_target {
            self.pgp_num_target
        } else {
            self.pg_num_target
        };
        self.pg_num == self.pg_num_target
            && self.pg_num_pending == self.pg_num_target
            && self.pgp_num == pgp_target
    }
}

/// How a pool keeps data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Copies.
    Replicated,
    /// Chunks.
    Erasure,
}

/// A value in a pool's `options`.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A whole number.
    Integer(i64),
    /// A floating-point number; Ceph keeps some in 32 bits.
    Double(f64),
    /// A word.
    Text(String),
}

impl Pool {
    /// Whether the flag of this name is set.
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }

    /// Whether not all of its placement groups have been created on an OSD yet.
    pub fn is_creating(&self) -> bool {
        self.has_flag("creating")
    }
}

impl OsdMap {
    /// The pool that a command by this name would mean at this epoch.
    pub fn pool_named(&self, name: &PoolName) -> Option<&Arc<Pool>> {
        self.pools.values().find(|pool| pool.name == *name)
    }

    /// The identity of a pool of this map.
    pub fn identity(&self, pool: &Pool) -> PoolIdentity {
        PoolIdentity {
            fsid: self.fsid.clone(),
            id: pool.id,
            create_time: pool.create_time,
        }
    }
}
