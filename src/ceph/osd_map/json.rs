//! Decodes `osd dump --format json`: recorded maps, and the way that is left when the encoded
//! map cannot be read.
//!
//! One application key with a quote in it makes the whole dump invalid JSON on every
//! release, so a dump that does not decode is an ordinary answer of a cluster.

mod dump;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use self::dump::{Dump, DumpHitSet, DumpOsd, DumpPlace, DumpPool};
use super::{
    CacheMode, FullRatios, HitSet, OptionType, OptionValue, Osd, OsdMap, PlacementGroups, Pool,
    PoolKind, Snapshots, StretchMode, Tiering, pool_option,
};
use crate::ceph::types::{CreateTime, Epoch, Fsid, PoolId, PoolName, Release};

/// Why a dump is not an OSD map.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON that `osd dump` gives.
    #[error("osd dump is not valid JSON of an OSD map")]
    Json(#[from] serde_json::Error),
    /// A time that cannot be read.
    #[error("create time {text:?} of pool {pool} cannot be read")]
    Time {
        /// The pool's number.
        pool: i64,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        source: jiff::Error,
    },
    /// A kind of pool that this program does not know.
    #[error("pool {pool} is of type {kind}, which is neither replicated (1) nor erasure (3)")]
    Kind {
        /// The pool's number.
        pool: i64,
        /// Its type's number.
        kind: i64,
    },
}

/// Reads a dump.
pub fn decode(bytes: &[u8]) -> Result<OsdMap, DecodeError> {
    let dump: Dump = serde_json::from_slice(bytes)?;
    let pools = dump
        .pools
        .into_iter()
        .map(|pool| model(pool).map(|pool| (pool.id, Arc::new(pool))))
        .collect::<Result<_, _>>()?;
    Ok(OsdMap {
        fsid: Fsid::new(&dump.fsid),
        epoch: Epoch(dump.epoch),
        created: time(&dump.created),
        modified: time(&dump.modified),
        flags: names(&dump.flags),
        ratios: FullRatios {
            nearfull: dump.nearfull_ratio,
            backfillfull: dump.backfillfull_ratio,
            full: dump.full_ratio,
        },
        require_osd_release: Release::from_name(&dump.require_osd_release),
        require_osd_release_name: dump.require_osd_release,
        stretch_mode: StretchMode {
            enabled: dump.stretch_mode.stretch_mode_enabled,
            bucket_count: dump.stretch_mode.stretch_bucket_count,
            degraded: dump.stretch_mode.degraded_stretch_mode,
            recovering: dump.stretch_mode.recovering_stretch_mode,
            bucket: dump.stretch_mode.stretch_mode_bucket,
        },
        pools,
        osds: dump.osds.iter().map(osd).collect(),
        moving: dump.pg_temp.iter().filter_map(pool_of).collect(),
        erasure_code_profiles: dump.erasure_code_profiles,
    })
}

fn pool_of(place: &DumpPlace) -> Option<PoolId> {
    let (pool, _) = place.pgid.split_once('.')?;
    pool.parse().ok().map(PoolId)
}

fn osd(osd: &DumpOsd) -> (i32, Osd) {
    let full = f64::from(Osd::FULL_WEIGHT);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast keeps to the bounds of the type"
    )]
    let weight = (osd.weight * full).round() as u32;
    let up = osd.up != 0;
    (osd.osd, Osd { up, weight })
}

fn model(dump: DumpPool) -> Result<Pool, DecodeError> {
    let kind = match dump.kind {
        1 => PoolKind::Replicated,
        3 => PoolKind::Erasure,
        kind => {
            return Err(DecodeError::Kind {
                pool: dump.pool,
                kind,
            });
        }
    };
    let create_time = microseconds(&dump.create_time).map_err(|source| DecodeError::Time {
        pool: dump.pool,
        text: dump.create_time.clone(),
        source,
    })?;
    let tiering = tiering(&dump);
    let options = dump.options.into_iter();
    let snapshots = dump.pool_snaps.into_iter();
    Ok(Pool {
        id: PoolId(dump.pool),
        name: PoolName::new(dump.pool_name),
        create_time,
        // The dump writes it as a string.
        last_change: Epoch(dump.last_change.parse().unwrap_or_default()),
        kind,
        size: dump.size,
        min_size: dump.min_size,
        placement_groups: PlacementGroups {
            pg_num: dump.pg_num,
            pg_num_pending: dump.pg_num_pending,
            pg_num_target: dump.pg_num_target,
            pgp_num: dump.pg_placement_num,
            pgp_num_target: dump.pg_placement_num_target,
        },
        autoscale_mode: dump.pg_autoscale_mode,
        crush_rule: dump.crush_rule,
        quota_max_bytes: amount(dump.quota_max_bytes),
        quota_max_objects: amount(dump.quota_max_objects),
        flags: names(&dump.flags_names),
        options: options
            .filter_map(|(name, value)| option_value(&name, &value).map(|value| (name, value)))
            .collect(),
        applications: dump.application_metadata,
        erasure_code_profile: dump.erasure_code_profile,
        stripe_width: dump.stripe_width,
        fast_read: dump.fast_read,
        expected_num_objects: amount(dump.expected_num_objects),
        peering_bucket_count: dump.peering_crush_bucket_count,
        snapshots: Snapshots {
            newest: dump.snap_seq,
            of_pool: snapshots.map(|snap| (snap.snapid, snap.name)).collect(),
        },
        tiering,
    })
}

fn tiering(dump: &DumpPool) -> Tiering {
    let default = Tiering::default();
    let tier = |id: Option<i64>| id.filter(|id| *id >= 0).map(PoolId);
    Tiering {
        tiers: dump.tiers.iter().copied().map(PoolId).collect(),
        tier_of: tier(dump.tier_of),
        read_tier: tier(dump.read_tier),
        write_tier: tier(dump.write_tier),
        cache_mode: CacheMode::from_name(&dump.cache_mode).unwrap_or_default(),
        target_max_bytes: amount(dump.target_max_bytes),
        target_max_objects: amount(dump.target_max_objects),
        dirty_ratio_micro: dump
            .cache_target_dirty_ratio_micro
            .unwrap_or(default.dirty_ratio_micro),
        dirty_high_ratio_micro: dump
            .cache_target_dirty_high_ratio_micro
            .unwrap_or(default.dirty_high_ratio_micro),
        full_ratio_micro: dump
            .cache_target_full_ratio_micro
            .unwrap_or(default.full_ratio_micro),
        min_flush_age: dump.cache_min_flush_age,
        min_evict_age: dump.cache_min_evict_age,
        min_read_recency: dump.min_read_recency_for_promote,
        min_write_recency: dump.min_write_recency_for_promote,
        hit_set: hit_set(&dump.hit_set_params),
        hit_set_period: dump.hit_set_period,
        hit_set_count: dump.hit_set_count,
        use_gmt_hit_set: dump.use_gmt_hitset.unwrap_or(default.use_gmt_hit_set),
        hit_set_grade_decay_rate: dump.hit_set_grade_decay_rate,
        hit_set_search_last_n: dump.hit_set_search_last_n,
    }
}

fn hit_set(params: &DumpHitSet) -> HitSet {
    match params.kind.as_str() {
        "explicit_hash" => HitSet::ExplicitHash,
        "explicit_object" => HitSet::ExplicitObject,
        "bloom" => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast keeps to the bounds of the type"
            )]
            let false_positives_micro = (params.false_positive_probability * 1e6).round() as u32;
            HitSet::Bloom {
                false_positives_micro,
            }
        }
        _ => HitSet::None,
    }
}

/// 64 bits without a sign: the model has one, and no cluster so much.
fn amount(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time that decides nothing: 1970 where it is not told.
fn time(text: &str) -> Timestamp {
    microseconds(text)
        .ok()
        .and_then(|time| Timestamp::from_microsecond(time.0).ok())
        .unwrap_or_default()
}

/// `2026-11-23T03:36:16.123456+0000` in whatever zone the monitor has, as microseconds UTC.
///
/// A time near 1970, such as that of a pool from before there were create times, is printed as seconds.
fn microseconds(text: &str) -> Result<CreateTime, jiff::Error> {
    if let Some((seconds, micros)) = text.split_once('.')
        && let (Ok(seconds), Ok(micros), 6) =
            (seconds.parse::<i64>(), micros.parse::<i64>(), micros.len())
    {
        return Ok(CreateTime(seconds.saturating_mul(1_000_000) + micros));
    }
    text.parse::<Timestamp>()
        .or_else(|_| {
            jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text)
                .and_then(|parsed| parsed.to_timestamp())
        })
        .map(|time| CreateTime(time.as_microsecond()))
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Options are numbers and words; anything else is not one this program could manage. A decimal
/// that happens to be whole is printed without a point.
fn option_value(name: &str, value: &Value) -> Option<OptionValue> {
    let decimal = pool_option(name).is_some_and(|option| option.kind == OptionType::Double);
    match value {
        Value::Number(number) if decimal => number.as_f64().map(OptionValue::Double),
        Value::Number(number) => number
            .as_i64()
            .map(OptionValue::Integer)
            .or_else(|| number.as_f64().map(OptionValue::Double)),
        Value::String(text) => Some(OptionValue::Text(text.clone())),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zone in the text does not change the identity.
    #[test]
    fn create_time_ignores_the_zone() {
        let utc = microseconds("2026-11-23T03:36:16.123456+0000").expect("a time");
        let berlin = microseconds("2026-11-23T04:36:16.123456+0100").expect("a time");
        assert_eq!(utc, berlin);
        assert_eq!(utc.0 % 1_000_000, 123_456);
    }

    /// A pool that is older than create times does not make the map unreadable.
    #[test]
    fn a_time_of_zero_is_printed_as_seconds() {
        assert_eq!(microseconds("0.000000").expect("a time"), CreateTime(0));
        assert_eq!(microseconds("1.000002").expect("a time").0, 1_000_002);
        assert!(microseconds("yesterday").is_err());
    }

    /// An odd application key in the cluster is an error of its own, not a panic.
    #[test]
    fn invalid_json_is_an_error() {
        assert!(matches!(
            decode(br#"{"epoch": 1, "bad"key": 2}"#),
            Err(DecodeError::Json(_))
        ));
    }
}
