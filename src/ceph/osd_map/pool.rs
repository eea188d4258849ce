//! One pool of the map.

use std::collections::{BTreeMap, BTreeSet};

use crate::ceph::types::{CreateTime, Epoch, PoolId, PoolName};

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
    /// Keys and values of each enabled application.
    pub applications: BTreeMap<String, BTreeMap<String, String>>,
    /// The profile's name; empty for a replicated pool.
    pub erasure_code_profile: String,
    /// Bytes that are cut into chunks at a time; 0 for a replicated pool.
    pub stripe_width: i64,
    /// Whether reads of an erasure-coded pool ask all chunks and take the first.
    pub fast_read: bool,
    /// What its maker expected; 0 is no word on it.
    pub expected_num_objects: i64,
    /// In how many CRUSH buckets a placement group must be to be active; 0 unless the pool
    /// itself is stretched over sites.
    pub peering_bucket_count: i64,
    /// Its snapshots.
    pub snapshots: Snapshots,
    /// What it is in a cache tier, and how it caches.
    pub tiering: Tiering,
}

/// The snapshots of a pool. Which kind it has is told by its flags `pool_snaps` and `selfmanaged_snaps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// The number of the newest; 0 if there never was one.
    pub newest: u64,
    /// Names of those of the whole pool, by number.
    pub of_pool: BTreeMap<u64, String>,
}

/// A pool's part in cache tiering, and the settings that only a cache has.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiering {
    /// Its tiers.
    pub tiers: BTreeSet<PoolId>,
    /// The pool that it is a tier of.
    pub tier_of: Option<PoolId>,
    /// The tier that reads go to.
    pub read_tier: Option<PoolId>,
    /// The tier that writes go to.
    pub write_tier: Option<PoolId>,
    /// How it caches.
    pub cache_mode: CacheMode,
    /// `target_max_bytes`.
    pub target_max_bytes: i64,
    /// `target_max_objects`.
    pub target_max_objects: i64,
    /// `cache_target_dirty_ratio`, in millionths.
    pub dirty_ratio_micro: i64,
    /// `cache_target_dirty_high_ratio`, in millionths.
    pub dirty_high_ratio_micro: i64,
    /// `cache_target_full_ratio`, in millionths.
    pub full_ratio_micro: i64,
    /// `cache_min_flush_age`, in seconds.
    pub min_flush_age: i64,
    /// `cache_min_evict_age`, in seconds.
    pub min_evict_age: i64,
    /// `min_read_recency_for_promote`.
    pub min_read_recency: i64,
    /// `min_write_recency_for_promote`.
    pub min_write_recency: i64,
    /// `hit_set_type` and what belongs to it.
    pub hit_set: HitSet,
    /// `hit_set_period`, in seconds.
    pub hit_set_period: i64,
    /// `hit_set_count`.
    pub hit_set_count: i64,
    /// `use_gmt_hitset`.
    pub use_gmt_hit_set: bool,
    /// `hit_set_grade_decay_rate`.
    pub hit_set_grade_decay_rate: i64,
    /// `hit_set_search_last_n`.
    pub hit_set_search_last_n: i64,
}

impl Default for Tiering {
    /// What a pool has that never was a tier.
    fn default() -> Self {
        Self {
            tiers: BTreeSet::new(),
            tier_of: None,
            read_tier: None,
            write_tier: None,
            cache_mode: CacheMode::None,
            target_max_bytes: 0,
            target_max_objects: 0,
            dirty_ratio_micro: 400_000,
            dirty_high_ratio_micro: 600_000,
            full_ratio_micro: 800_000,
            min_flush_age: 0,
            min_evict_age: 0,
            min_read_recency: 0,
            min_write_recency: 0,
            hit_set: HitSet::None,
            hit_set_period: 0,
            hit_set_count: 0,
            use_gmt_hit_set: true,
            hit_set_grade_decay_rate: 0,
            hit_set_search_last_n: 0,
        }
    }
}

/// How a tier caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Not at all.
    #[default]
    None,
    /// Writes too, flushed later.
    Writeback,
    /// What is missing is asked of the base pool.
    Forward,
    /// Reads only.
    ReadOnly,
    /// Writes; reads of what is missing are forwarded.
    ReadForward,
    /// Writes; reads of what is missing are done for the client.
    ReadProxy,
    /// What is missing is done for the client.
    Proxy,
}

/// How a cache remembers what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum HitSet {
    /// It does not.
    #[default]
    None,
    /// Hashes of names.
    ExplicitHash,
    /// Names.
    ExplicitObject,
    /// A Bloom filter.
    Bloom {
        /// `hit_set_fpp`, in millionths.
        false_positives_micro: u32,
    },
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
