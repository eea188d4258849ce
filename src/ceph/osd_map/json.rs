//! Decodes `osd dump --format json`.
//!
//! One application key with a quote in it makes the whole dump invalid JSON on every
//! release, so a dump that does not decode is an ordinary answer of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{OptionValue, OsdMap, PlacementGroups, Pool, PoolKind};
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

#[derive(Deserialize)]
struct Dump {
    epoch: u64,
    fsid: String,
    #[serde(default)]
    flags: String,
    #[serde(default)]
    require_osd_release: String,
    #[serde(default)]
    stretch_mode: DumpStretch,
    pools: Vec<DumpPool>,
}

#[derive(Default, Deserialize)]
struct DumpStretch {
    #[serde(default)]
    stretch_mode_enabled: bool,
}

#[derive(Deserialize)]
struct DumpPool {
    pool: i64,
    pool_name: String,
    create_time: String,
    flags_names: String,
    #[serde(rename = "type")]
    kind: i64,
    size: i64,
    min_size: i64,
    crush_rule: i64,
    pg_autoscale_mode: String,
    pg_num: i64,
    pg_num_pending: i64,
    pg_num_target: i64,
    pg_placement_num: i64,
    pg_placement_num_target: i64,
    last_change: String,
    quota_max_bytes: i64,
    quota_max_objects: i64,
    #[serde(default)]
    fast_read: bool,
    #[serde(default)]
    erasure_code_profile: String,
    #[serde(default)]
    options: BTreeMap<String, Value>,
    #[serde(default)]
    application_metadata: BTreeMap<String, BTreeMap<String, String>>,
}

/// Reads a dump.
pub fn decode(bytes: &[u8]) -> Result<OsdMap, DecodeError> {
    let dump: Dump = serde_json::from_slice(bytes)?;
    let pools = dump
        .pools
        .into_iter()
        .map(|pool| pool.model().map(|pool| (pool.id, Arc::new(pool))))
        .collect::<Result<_, _>>()?;
    Ok(OsdMap {
        fsid: Fsid::new(&dump.fsid),
        epoch: Epoch(dump.epoch),
        flags: names(&dump.flags),
        require_osd_release: Release::from_name(&dump.require_osd_release),
        require_osd_release_name: dump.require_osd_release,
        stretch_mode: dump.stretch_mode.stretch_mode_enabled,
        pools,
    })
}

impl DumpPool {
    fn model(self) -> Result<Pool, DecodeError> {
        let kind = match self.kind {
            1 => PoolKind::Replicated,
            3 => PoolKind::Erasure,
            kind => {
                return Err(DecodeError::Kind {
                    pool: self.pool,
                    kind,
                });
            }
        };
        let create_time = microseconds(&self.create_time).map_err(|source| DecodeError::Time {
            pool: self.pool,
            text: self.create_time.clone(),
            source,
        })?;
        Ok(Pool {
            id: PoolId(self.pool),
            name: PoolName::new(self.pool_name),
            create_time,
            // The dump writes it as a string.
            last_change: Epoch(self.last_change.parse().unwrap_or_default()),
            kind,
            size: self.size,
            min_size: self.min_size,
            placement_groups: PlacementGroups {
                pg_num: self.pg_num,
                pg_num_pending: self.pg_num_pending,
                pg_num_target: self.pg_num_target,
                pgp_num: self.pg_placement_num,
                pgp_num_target: self.pg_placement_num_target,
            },
            autoscale_mode: self.pg_autoscale_mode,
            crush_rule: self.crush_rule,
            quota_max_bytes: self.quota_max_bytes,
            quota_max_objects: self.quota_max_objects,
            flags: names(&self.flags_names),
            options: self
                .options
                .into_iter()
                .filter_map(|(name, value)| option_value(&value).map(|value| (name, value)))
                .collect(),
            fast_read: self.fast_read,
            applications: self.application_metadata,
            erasure_code_profile: self.erasure_code_profile,
        })
    }
}

/// `2026-11-23T03:36:16.123456+0000` in whatever zone the monitor has, as microseconds UTC.
fn microseconds(text: &str) -> Result<CreateTime, jiff::Error> {
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

/// Options are numbers and words; anything else is not one this program could manage.
fn option_value(value: &Value) -> Option<OptionValue> {
    match value {
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

    /// An odd application key in the cluster is an error of its own, not a panic.
    #[test]
    fn invalid_json_is_an_error() {
        assert!(matches!(
            decode(br#"{"epoch": 1, "bad"key": 2}"#),
            Err(DecodeError::Json(_))
        ));
    }
}
