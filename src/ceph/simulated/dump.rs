//! The simulated cluster's maps in the JSON of real monitors.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::SimulatedCluster;
use crate::ceph::crush_map::CrushMap;
use crate::ceph::osd_map::{OptionValue, OsdMap, Pool, PoolKind};
use crate::ceph::types::CreateTime;

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

/// `osd dump --format json`, as far as this program reads it.
pub fn osd_dump(map: &OsdMap) -> Value {
    json!({
        "epoch": map.epoch,
        "fsid": map.fsid,
        "flags": joined(&map.flags),
        "flags_set": map.flags,
        "pool_max": map.pools.keys().next_back(),
        "require_osd_release": map.require_osd_release_name,
        "stretch_mode": {
            "stretch_mode_enabled": map.stretch_mode,
            "stretch_bucket_count": 0,
            "degraded_stretch_mode": 0,
            "recovering_stretch_mode": 0,
            "stretch_mode_bucket": 0,
        },
        "pools": map.pools.values().map(|pool| dump_pool(pool)).collect::<Vec<_>>(),
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

/// `osd crush dump --format json`, as far as this program reads it.
pub fn crush_dump(crush: &CrushMap) -> Value {
    let rules: Vec<Value> = crush
        .rules
        .iter()
        .map(|(number, name)| json!({"rule_id": number, "rule_name": name}))
        .collect();
    json!({"devices": [], "types": [], "buckets": [], "rules": rules})
}

/// `version --format json`, with the release the map requires.
pub fn version(map: &OsdMap) -> Value {
    let release = map.require_osd_release;
    let number = release.map_or(0, |release| release as u8);
    let name = &map.require_osd_release_name;
    json!({"version": format!("ceph version {number}.2.0 (simulated) {name} (stable)")})
}

fn dump_pool(pool: &Pool) -> Value {
    let groups = pool.placement_groups;
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

/// The time as a monitor in UTC prints it.
fn create_time(time: CreateTime) -> String {
    Timestamp::from_microsecond(time.0)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S.%6f%z")
        .to_string()
}
