//! The simulated cluster's maps in the JSON of real monitors.

mod crush;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::crush::crush_dump;
use super::SimulatedCluster;
use crate::ceph::osd_map::{HitSet, OptionValue, Osd, OsdMap, Pool, PoolKind, Tiering};
use crate::ceph::types::{CreateTime, PoolId};

/// `osd stat --format json`.
pub fn osd_stat(cluster: &SimulatedCluster) -> Value {
    let osds = cluster.osds.unwrap_or_default();
    json!({
        "epoch": cluster.map.epoch,
        "num_osds": osds,
        "num_up_osds": osds,
        "osd_up_since": 0,
        "num_in_osds": osds,
        "osd_in_since": 0,
        "num_remapped_pgs": 0,
    })
}

/// `quorum_status --format json` of the one monitor there is, as far as this program reads it.
pub fn quorum_status() -> Value {
    json!({"quorum_names": ["a"], "monmap": {"mons": [{"rank": 0, "name": "a"}]}})
}

/// `osd dump --format json`, as far as this program reads it.
pub fn osd_dump(map: &OsdMap) -> Value {
    let stretch = map.stretch_mode;
    json!({
        "epoch": map.epoch,
        "fsid": map.fsid,
        "created": time(map.created),
        "modified": time(map.modified),
        "full_ratio": map.ratios.full,
        "backfillfull_ratio": map.ratios.backfillfull,
        "nearfull_ratio": map.ratios.nearfull,
        "flags": joined(&map.flags),
        "flags_set": map.flags,
        "pool_max": map.pools.keys().next_back(),
        "require_osd_release": map.require_osd_release_name,
        "stretch_mode": {
            "stretch_mode_enabled": stretch.enabled,
            "stretch_bucket_count": stretch.bucket_count,
            "degraded_stretch_mode": stretch.degraded,
            "recovering_stretch_mode": stretch.recovering,
            "stretch_mode_bucket": stretch.bucket,
        },
        "pools": map.pools.values().map(|pool| dump_pool(pool)).collect::<Vec<_>>(),
        "osds": map.osds.iter().map(osd).collect::<Vec<_>>(),
        "erasure_code_profiles": map.erasure_code_profiles,
    })
}

/// The same as bytes on the wire. Monitors do not escape names and keys of applications, so
/// one with a quote, a backslash or a control character in it makes this invalid JSON.
pub fn osd_dump_bytes(map: &OsdMap) -> Vec<u8> {
    let applications = map.pools.values().flat_map(|pool| &pool.applications);
    let words = applications.flat_map(|(name, keys)| std::iter::once(name).chain(keys.keys()));
    let mut text = osd_dump(map).to_string();
    for word in words {
        let escaped = json!(word).to_string();
        if escaped.len() > word.len() + 2 {
            text = text.replace(&format!("{escaped}:"), &format!("\"{word}\":"));
        }
    }
    text.into_bytes()
}

/// `version --format json`, with the release the map requires.
pub fn version(map: &OsdMap) -> Value {
    let release = map.require_osd_release;
    let number = release.map_or(0, |release| release as u8);
    let name = &map.require_osd_release_name;
    json!({"version": format!("ceph version {number}.2.0 (simulated) {name} (stable)")})
}

fn osd((number, osd): (&i32, &Osd)) -> Value {
    let weight = f64::from(osd.weight) / f64::from(Osd::FULL_WEIGHT);
    json!({
        "osd": number,
        "up": i32::from(osd.up),
        "in": i32::from(osd.is_in()),
        "weight": double(weight),
    })
}

fn dump_pool(pool: &Pool) -> Value {
    let mut fields = pool_fields(pool);
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, tiering(&pool.tiering)) {
        fields.extend(more);
    }
    fields
}

fn tiering(tiering: &Tiering) -> Value {
    let tier = |tier: Option<PoolId>| tier.map_or(-1, |pool| pool.0);
    json!({
        "tiers": tiering.tiers,
        "tier_of": tier(tiering.tier_of),
        "read_tier": tier(tiering.read_tier),
        "write_tier": tier(tiering.write_tier),
        "cache_mode": tiering.cache_mode.name(),
        "target_max_bytes": tiering.target_max_bytes,
        "target_max_objects": tiering.target_max_objects,
        "cache_target_dirty_ratio_micro": tiering.dirty_ratio_micro,
        "cache_target_dirty_high_ratio_micro": tiering.dirty_high_ratio_micro,
        "cache_target_full_ratio_micro": tiering.full_ratio_micro,
        "cache_min_flush_age": tiering.min_flush_age,
        "cache_min_evict_age": tiering.min_evict_age,
        "min_read_recency_for_promote": tiering.min_read_recency,
        "min_write_recency_for_promote": tiering.min_write_recency,
        "hit_set_params": hit_set(tiering.hit_set),
        "hit_set_period": tiering.hit_set_period,
        "hit_set_count": tiering.hit_set_count,
        "use_gmt_hitset": tiering.use_gmt_hit_set,
        "hit_set_grade_decay_rate": tiering.hit_set_grade_decay_rate,
        "hit_set_search_last_n": tiering.hit_set_search_last_n,
    })
}

fn hit_set(hit_set: HitSet) -> Value {
    match hit_set {
        HitSet::None => json!({"type": "none"}),
        HitSet::ExplicitHash => json!({"type": "explicit_hash"}),
        HitSet::ExplicitObject => json!({"type": "explicit_object"}),
        HitSet::Bloom {
            false_positives_micro,
        } => json!({
            "type": "bloom",
            "false_positive_probability": f64::from(false_positives_micro) / 1e6,
        }),
    }
}

fn pool_fields(pool: &Pool) -> Value {
    let groups = pool.placement_groups;
    let snapshots = pool.snapshots.of_pool.iter();
    json!({
        "pool": pool.id,
        "pool_name": pool.name,
        "create_time": create_time(pool.create_time),
        "flags_names": joined(&pool.flags),
        "type": match pool.kind {
            PoolKind::Replicated => 1,
            PoolKind::Erasure => 3,
        },
        "size": pool.size,
        "min_size": pool.min_size,
        "crush_rule": pool.crush_rule,
        "object_hash": 2,
        "fast_read": pool.fast_read,
        "pg_autoscale_mode": pool.autoscale_mode,
        "pg_num": groups.pg_num,
        "pg_placement_num": groups.pgp_num,
        "pg_placement_num_target": groups.pgp_num_target,
        "pg_num_target": groups.pg_num_target,
        "pg_num_pending": groups.pg_num_pending,
        "last_change": pool.last_change.to_string(),
        "quota_max_bytes": pool.quota_max_bytes,
        "quota_max_objects": pool.quota_max_objects,
        "erasure_code_profile": pool.erasure_code_profile,
        "stripe_width": pool.stripe_width,
        "expected_num_objects": pool.expected_num_objects,
        "peering_crush_bucket_count": pool.peering_bucket_count,
        "snap_seq": pool.snapshots.newest,
        "pool_snaps": snapshots
            .map(|(id, name)| json!({"snapid": id, "name": name}))
            .collect::<Vec<_>>(),
        "options": pool.options.iter().map(option).collect::<Map<_, _>>(),
        "application_metadata": pool.applications,
    })
}

fn option((name, value): (&String, &OptionValue)) -> (String, Value) {
    let value = match value {
        OptionValue::Integer(number) => json!(number),
        OptionValue::Double(number) => double(*number),
        OptionValue::Text(text) => json!(text),
    };
    (name.clone(), value)
}

/// Monitors write a whole number without a point, whatever its type.
fn double(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
        let whole = number as i64;
        json!(whole)
    } else {
        json!(number)
    }
}

fn joined(names: &std::collections::BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(",")
}

fn create_time(create_time: CreateTime) -> String {
    time(Timestamp::from_microsecond(create_time.0).unwrap_or_default())
}

/// The time as a monitor in UTC prints it.
fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f%z").to_string()
}
