//! One pool: `pg_pool_t`.

use std::collections::{BTreeMap, BTreeSet};

use super::microseconds;
use crate::ceph::encoding::{Cursor, DecodeError};
use crate::ceph::osd_map::names::{self, OPTIONS, POOL_SNAPS, SELF_MANAGED_SNAPS};
use crate::ceph::osd_map::{
    CacheMode, HitSet, OptionValue, PlacementGroups, Pool, PoolKind, Snapshots, Tiering,
};
use crate::ceph::types::{CreateTime, Epoch, PoolId, PoolName};

/// The newest versions that are known, and the oldest that are read: a pool got its targets of
/// placement groups with version 28, long before Ceph 16.
const POOL: (u8, u8) = (32, 28);
const OPTIONS_VERSION: u8 = 2;
const SNAPSHOT_VERSION: u8 = 2;
const HIT_SET_VERSION: u8 = 1;

/// The name of a pool that has none, as monitors print it.
const UNNAMED: &str = "<unknown>";

/// Bytes of two placement group numbers that stand in some places only for old readers.
const TWO_NUMBERS: usize = 8;

/// Reads a pool; its name stands elsewhere.
pub(super) fn pool(part: &mut Cursor<'_>, id: PoolId) -> Result<Pool, DecodeError> {
    let (version, mut pool) = part.structure("pool", POOL.0)?;
    pool.at_least(version, POOL.1)?;
    let pool = &mut pool;
    let kind = match pool.u8()? {
        1 => PoolKind::Replicated,
        3 => PoolKind::Erasure,
        other => return Err(pool.unknown("its type", other)),
    };
    let size = i64::from(pool.u8()?);
    let crush_rule = i64::from(pool.u8()?);
    let _object_hash = pool.u8()?;
    let mut placement_groups = PlacementGroups {
        pg_num: pool.u32()?.into(),
        pgp_num: pool.u32()?.into(),
        ..PlacementGroups::default()
    };
    pool.skip(TWO_NUMBERS)?;
    let last_change = Epoch(pool.u32()?.into());
    let newest = pool.u64()?;
    let _snapshot_epoch = pool.u32()?;
    let of_pool = snapshots(pool)?;
    let removed_snapshots = pool.count(16)?;
    pool.skip(removed_snapshots * 16)?;
    let _owner = pool.u64()?;
    let mut flags = names::pool_flags(pool.u64()?);
    add_snapshot_flag(&mut flags, newest, removed_snapshots);
    let _crash_replay_interval = pool.u32()?;
    let min_size = i64::from(pool.u8()?);
    let quota_max_bytes = amount(pool)?;
    let quota_max_objects = amount(pool)?;
    let mut tiering = Tiering {
        tiers: tiers(pool)?,
        tier_of: tier(pool)?,
        cache_mode: cache_mode(pool)?,
        read_tier: tier(pool)?,
        write_tier: tier(pool)?,
        ..Tiering::default()
    };
    let _properties = pool.texts()?;
    tiering.hit_set = hit_set(pool)?;
    tiering.hit_set_period = pool.u32()?.into();
    tiering.hit_set_count = pool.u32()?.into();
    let stripe_width = i64::from(pool.u32()?);
    tiering.target_max_bytes = amount(pool)?;
    tiering.target_max_objects = amount(pool)?;
    tiering.dirty_ratio_micro = pool.u32()?.into();
    tiering.full_ratio_micro = pool.u32()?.into();
    tiering.min_flush_age = pool.u32()?.into();
    tiering.min_evict_age = pool.u32()?.into();
    let erasure_code_profile = pool.text()?;
    let _last_forced_resend = pool.u32()?;
    tiering.min_read_recency = pool.i32()?.into();
    let expected_num_objects = amount(pool)?;
    tiering.dirty_high_ratio_micro = pool.u32()?.into();
    tiering.min_write_recency = pool.i32()?.into();
    tiering.use_gmt_hit_set = pool.bool()?;
    let fast_read = pool.bool()?;
    tiering.hit_set_grade_decay_rate = pool.i32()?.into();
    tiering.hit_set_search_last_n = pool.i32()?.into();
    let options = options(pool)?;
    let _last_forced_resend = pool.u32()?;
    let applications = pool.groups_of_texts()?;
    let create_time = CreateTime(microseconds(pool)?);
    placement_groups.pg_num_target = pool.u32()?.into();
    placement_groups.pgp_num_target = pool.u32()?.into();
    placement_groups.pg_num_pending = pool.u32()?.into();
    pool.skip(TWO_NUMBERS)?;
    let _last_forced_resend = pool.u32()?;
    let autoscale_mode = names::autoscale_mode(pool.u8()?).to_owned();
    if version >= 29 {
        // The last merge of placement groups.
        pool.skip_structure()?;
    }
    // Of a pool that is stretched itself. Version 30 was written for such pools only; the later
    // ones, which Ceph 20 writes for all, say first whether it is one.
    let stretched = version == 30 || version > 30 && pool.bool()?;
    let peering_bucket_count = if stretched { pool.u32()? } else { 0 };

    Ok(Pool {
        id,
        name: PoolName::new(UNNAMED),
        create_time,
        last_change,
        kind,
        size,
        min_size,
        placement_groups,
        autoscale_mode,
        crush_rule,
        quota_max_bytes,
        quota_max_objects,
        flags,
        options,
        applications,
        erasure_code_profile,
        stripe_width,
        fast_read,
        expected_num_objects,
        peering_bucket_count: peering_bucket_count.into(),
        snapshots: Snapshots { newest, of_pool },
        tiering,
    })
}

/// 64 bits without a sign: the model has one, and no cluster so much.
fn amount(pool: &mut Cursor<'_>) -> Result<i64, DecodeError> {
    Ok(i64::try_from(pool.u64()?).unwrap_or(i64::MAX))
}

/// A pool with snapshots from before there were flags for it gets one, as when monitors read it.
fn add_snapshot_flag(flags: &mut BTreeSet<String>, newest: u64, removed: usize) {
    if newest > 0 && !flags.contains(SELF_MANAGED_SNAPS) && !flags.contains(POOL_SNAPS) {
        let flag = if removed > 0 {
            SELF_MANAGED_SNAPS
        } else {
            POOL_SNAPS
        };
        flags.insert(flag.to_owned());
    }
}

fn snapshots(pool: &mut Cursor<'_>) -> Result<BTreeMap<u64, String>, DecodeError> {
    let list = pool.list(14, |pool| {
        let id = pool.u64()?;
        let (_, mut snapshot) = pool.structure("pool snapshot", SNAPSHOT_VERSION)?;
        let _id = snapshot.u64()?;
        let _taken = microseconds(&mut snapshot)?;
        Ok((id, snapshot.text()?))
    })?;
    Ok(list.into_iter().collect())
}

fn tiers(pool: &mut Cursor<'_>) -> Result<BTreeSet<PoolId>, DecodeError> {
    let list = pool.list(8, |pool| pool.i64().map(PoolId))?;
    Ok(list.into_iter().collect())
}

/// A pool's number, or -1.
fn tier(pool: &mut Cursor<'_>) -> Result<Option<PoolId>, DecodeError> {
    let id = pool.i64()?;
    Ok((id >= 0).then_some(PoolId(id)))
}

fn cache_mode(pool: &mut Cursor<'_>) -> Result<CacheMode, DecodeError> {
    let number = pool.u8()?;
    CacheMode::from_number(number).ok_or_else(|| pool.unknown("its cache mode", number))
}

fn hit_set(pool: &mut Cursor<'_>) -> Result<HitSet, DecodeError> {
    let (_, mut hit_set) = pool.structure("hit set", HIT_SET_VERSION)?;
    Ok(match hit_set.u8()? {
        0 => HitSet::None,
        1 => HitSet::ExplicitHash,
        2 => HitSet::ExplicitObject,
        3 => {
            let (_, mut filter) = hit_set.structure("Bloom filter", HIT_SET_VERSION)?;
            HitSet::Bloom {
                false_positives_micro: filter.u32()?,
            }
        }
        other => return Err(hit_set.unknown("its type", other)),
    })
}

/// `pool_opts_t`. One that this program has no name for is one it cannot manage: it is left out.
fn options(pool: &mut Cursor<'_>) -> Result<BTreeMap<String, OptionValue>, DecodeError> {
    let (version, mut options) = pool.structure("options of a pool", OPTIONS_VERSION)?;
    let list = options.list(12, |options| {
        let number = options.i32()?;
        let value = match options.i32()? {
            0 => OptionValue::Text(options.text()?),
            1 if version >= 2 => OptionValue::Integer(options.i64()?),
            1 => OptionValue::Integer(options.i32()?.into()),
            2 => OptionValue::Double(options.f64()?),
            other => return Err(options.unknown("a value's type", other)),
        };
        let name = usize::try_from(number)
            .ok()
            .and_then(|number| OPTIONS.get(number));
        Ok(name.map(|option| (option.name.to_owned(), value)))
    })?;
    Ok(list.into_iter().flatten().collect())
}
