//! The dump as it stands in JSON, as far as it is read. What a pool is planned by must be there;
//! the rest may be missing in what somebody recorded.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Dump {
    pub(super) epoch: u64,
    pub(super) fsid: String,
    #[serde(default)]
    pub(super) created: String,
    #[serde(default)]
    pub(super) modified: String,
    #[serde(default)]
    pub(super) flags: String,
    #[serde(default)]
    pub(super) nearfull_ratio: f32,
    #[serde(default)]
    pub(super) backfillfull_ratio: f32,
    #[serde(default)]
    pub(super) full_ratio: f32,
    #[serde(default)]
    pub(super) require_osd_release: String,
    #[serde(default)]
    pub(super) stretch_mode: DumpStretch,
    pub(super) pools: Vec<DumpPool>,
    #[serde(default)]
    pub(super) osds: Vec<DumpOsd>,
    #[serde(default)]
    pub(super) pg_temp: Vec<DumpPlace>,
    #[serde(default)]
    pub(super) erasure_code_profiles: BTreeMap<String, BTreeMap<String, String>>,
}

/// A placement group that is elsewhere for the moment.
#[derive(Deserialize)]
pub(super) struct DumpPlace {
    /// The pool's number, a point, and the group's.
    pub(super) pgid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DumpStretch {
    pub(super) stretch_mode_enabled: bool,
    pub(super) stretch_bucket_count: u32,
    pub(super) degraded_stretch_mode: u32,
    pub(super) recovering_stretch_mode: u32,
    pub(super) stretch_mode_bucket: i32,
}

#[derive(Deserialize)]
pub(super) struct DumpOsd {
    pub(super) osd: i32,
    pub(super) up: u8,
    pub(super) weight: f64,
}

#[derive(Deserialize)]
pub(super) struct DumpPool {
    pub(super) pool: i64,
    pub(super) pool_name: String,
    pub(super) create_time: String,
    pub(super) flags_names: String,
    #[serde(rename = "type")]
    pub(super) kind: i64,
    pub(super) size: i64,
    pub(super) min_size: i64,
    pub(super) crush_rule: i64,
    pub(super) pg_autoscale_mode: String,
    pub(super) pg_num: i64,
    pub(super) pg_num_pending: i64,
    pub(super) pg_num_target: i64,
    pub(super) pg_placement_num: i64,
    pub(super) pg_placement_num_target: i64,
    pub(super) last_change: String,
    pub(super) quota_max_bytes: u64,
    pub(super) quota_max_objects: u64,
    #[serde(default)]
    pub(super) erasure_code_profile: String,
    #[serde(default)]
    pub(super) stripe_width: i64,
    #[serde(default)]
    pub(super) fast_read: bool,
    #[serde(default)]
    pub(super) expected_num_objects: u64,
    #[serde(default)]
    pub(super) peering_crush_bucket_count: i64,
    #[serde(default)]
    pub(super) options: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) application_metadata: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) snap_seq: u64,
    #[serde(default)]
    pub(super) pool_snaps: Vec<DumpSnapshot>,
    #[serde(default)]
    pub(super) tiers: Vec<i64>,
    pub(super) tier_of: Option<i64>,
    pub(super) read_tier: Option<i64>,
    pub(super) write_tier: Option<i64>,
    #[serde(default)]
    pub(super) cache_mode: String,
    #[serde(default)]
    pub(super) target_max_bytes: u64,
    #[serde(default)]
    pub(super) target_max_objects: u64,
    pub(super) cache_target_dirty_ratio_micro: Option<i64>,
    pub(super) cache_target_dirty_high_ratio_micro: Option<i64>,
    pub(super) cache_target_full_ratio_micro: Option<i64>,
    #[serde(default)]
    pub(super) cache_min_flush_age: i64,
    #[serde(default)]
    pub(super) cache_min_evict_age: i64,
    #[serde(default)]
    pub(super) min_read_recency_for_promote: i64,
    #[serde(default)]
    pub(super) min_write_recency_for_promote: i64,
    #[serde(default)]
    pub(super) hit_set_params: DumpHitSet,
    #[serde(default)]
    pub(super) hit_set_period: i64,
    #[serde(default)]
    pub(super) hit_set_count: i64,
    pub(super) use_gmt_hitset: Option<bool>,
    #[serde(default)]
    pub(super) hit_set_grade_decay_rate: i64,
    #[serde(default)]
    pub(super) hit_set_search_last_n: i64,
}

#[derive(Deserialize)]
pub(super) struct DumpSnapshot {
    pub(super) snapid: u64,
    pub(super) name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DumpHitSet {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) false_positive_probability: f64,
}
