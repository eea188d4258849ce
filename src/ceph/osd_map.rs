//! The OSD map as this program needs it: one model, whatever it was decoded from.
//!
//! [`binary`] reads what `osd getmap` gives, [`json`] what `osd dump` gives. The first is the
//! way on a running cluster: a dump costs the monitors up to a minute of their time.

pub mod binary;
pub mod json;
mod names;
mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

pub use self::names::{OPTIONS, OptionType, PoolOption, pool_option};
pub use self::pool::{
    CacheMode, HitSet, OptionValue, PlacementGroups, Pool, PoolKind, Snapshots, Tiering,
};
use super::types::{Epoch, Fsid, PoolId, PoolIdentity, PoolName, Release};

/// A cluster's OSD map at an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct OsdMap {
    /// The cluster.
    pub fsid: Fsid,
    /// The map's version.
    pub epoch: Epoch,
    /// When the cluster's first map was made; 1970 where a recorded map does not tell.
    pub created: Timestamp,
    /// When this version was made; 1970 where a recorded map does not tell.
    pub modified: Timestamp,
    /// The cluster's flags, such as `noautoscale`.
    pub flags: BTreeSet<String>,
    /// When OSDs count as full.
    pub ratios: FullRatios,
    /// The oldest release an OSD may have; `None` for a name this program does not know.
    pub require_osd_release: Option<Release>,
    /// The name as it stands in the map.
    pub require_osd_release_name: String,
    /// A cluster over two sites: where it is on, size, `min_size` and rule are the monitors'.
    pub stretch_mode: StretchMode,
    /// The pools by ID. Behind `Arc`, since most stay the same from one epoch to the next.
    pub pools: BTreeMap<PoolId, Arc<Pool>>,
    /// The OSDs that exist, by number.
    pub osds: BTreeMap<i32, Osd>,
    /// Pools of which placement groups are for the moment on other OSDs than they shall be, until their data has moved.
    pub moving: BTreeSet<PoolId>,
    /// Keys and values of each erasure-code profile.
    pub erasure_code_profiles: BTreeMap<String, BTreeMap<String, String>>,
}

/// Parts of an OSD's room from which on it counts as full.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FullRatios {
    /// `mon_osd_nearfull_ratio`: a warning.
    pub nearfull: f32,
    /// `mon_osd_backfillfull_ratio`: no data moves there any more.
    pub backfillfull: f32,
    /// `mon_osd_full_ratio`: writes stop.
    pub full: f32,
}

/// How it stands with stretch mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StretchMode {
    /// Whether it is on.
    pub enabled: bool,
    /// How many sites there are.
    pub bucket_count: u32,
    /// Sites that are up while one is lost; 0 while none is.
    pub degraded: u32,
    /// Not 0 while a lost site comes back.
    pub recovering: u32,
    /// The type of the CRUSH buckets that are the sites.
    pub bucket: i32,
}

/// One OSD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Osd {
    /// Whether it is running.
    pub up: bool,
    /// Its share of data, of 65536: 0 is `out`.
    pub weight: u32,
}

impl Osd {
    /// The weight of an OSD that gets its full share.
    pub const FULL_WEIGHT: u32 = 0x1_0000;

    /// Whether it holds data, or would if it ran.
    pub const fn is_in(&self) -> bool {
        self.weight > 0
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
