//! Writes a map as monitors do, as far as the model goes: the simulated cluster answers
//! `osd getmap` with it, and what is read back from it must be the same.

use super::super::names::{OPTIONS, numbers};
use crate::ceph::crush_map::{self, CrushMap};
use crate::ceph::encoding::Writer;
use crate::ceph::osd_map::{HitSet, OptionValue, OsdMap, Pool, PoolKind, Tiering};
use crate::ceph::types::PoolId;

/// The versions of Ceph 18.
const MAP: (u8, u8) = (8, 7);
const CLIENT_PART: (u8, u8) = (10, 1);
const OSD_PART: (u8, u8) = (10, 1);
const POOL: (u8, u8) = (30, 5);

/// The first byte of an address list of today.
const ADDRESSES: u8 = 2;

/// A full map with its CRUSH map.
pub fn encode(map: &OsdMap, crush: &CrushMap) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.structure(MAP.0, MAP.1, |writer| {
        writer.structure(CLIENT_PART.0, CLIENT_PART.1, |writer| {
            client_part(writer, map, crush);
        });
        writer.structure(OSD_PART.0, OSD_PART.1, |writer| osd_part(writer, map));
        writer.u32(0);
    });
    // The checksum, over a map whose lengths are all known.
    let mut bytes = writer.into_bytes();
    let at = bytes.len().saturating_sub(4);
    let checksum = !crc32c::crc32c(bytes.get(..at).unwrap_or_default());
    bytes.truncate(at);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn client_part(writer: &mut Writer, map: &OsdMap, crush: &CrushMap) {
    let digits = map.fsid.as_str().replace('-', "");
    let fsid = u128::from_str_radix(&digits, 16).unwrap_or_default();
    writer.raw(&fsid.to_be_bytes());
    writer.u32(u32::try_from(map.epoch.0).unwrap_or(u32::MAX));
    time(writer, map.created.as_microsecond());
    time(writer, map.modified.as_microsecond());
    writer.list(map.pools.values(), |writer, each| {
        writer.i64(each.id.0);
        writer.structure(POOL.0, POOL.1, |writer| pool(writer, each));
    });
    writer.list(map.pools.values(), |writer, pool| {
        writer.i64(pool.id.0);
        writer.text(pool.name.as_str());
    });
    let highest = map.pools.keys().next_back().map_or(0, |id| id.0);
    writer.i32(i32::try_from(highest).unwrap_or(i32::MAX));
    writer.u32(numbers::cluster_flags(&map.flags));

    let places = map.osds.keys().next_back().map_or(0, |last| last + 1);
    writer.i32(places);
    let all = || (0..places).map(|number| map.osds.get(&number));
    let length = usize::try_from(places).unwrap_or(0);
    writer.count(length);
    for osd in all() {
        writer.u32(osd.map_or(0, |osd| 1 | u32::from(osd.up) << 1));
    }
    writer.count(length);
    for osd in all() {
        writer.u32(osd.map_or(0, |osd| osd.weight));
    }
    writer.count(length);
    for _ in all() {
        writer.u8(ADDRESSES);
        writer.count(0);
    }
    // The first placement group is on no OSD for the moment.
    writer.list(map.moving.iter(), |writer, pool| {
        writer.u8(1);
        writer.i64(pool.0);
        writer.u32(0);
        writer.i32(-1);
        writer.u32(0);
    });
    // No primary is preferred.
    writer.zeros(2 * 4);
    writer.blob(|writer| crush_map::binary::encode(writer, crush));
    writer.list(
        map.erasure_code_profiles.iter(),
        |writer, (name, profile)| {
            writer.text(name);
            writer.texts(profile.iter());
        },
    );
}

/// Behind empty lists: of addresses, facts and blocked clients before, of snapshots and flags after.
fn osd_part(writer: &mut Writer, map: &OsdMap) {
    writer.zeros(9 * 4);
    writer.f32(map.ratios.nearfull);
    writer.f32(map.ratios.full);
    writer.f32(map.ratios.backfillfull);
    writer.u8(0);
    writer.u8(numbers::release(&map.require_osd_release_name));
    writer.zeros(3 * 4);
    let stretch = map.stretch_mode;
    writer.u8(stretch.enabled.into());
    writer.u32(stretch.bucket_count);
    writer.u32(stretch.degraded);
    writer.u32(stretch.recovering);
    writer.i32(stretch.bucket);
}

fn pool(writer: &mut Writer, pool: &Pool) {
    let groups = pool.placement_groups;
    writer.u8(match pool.kind {
        PoolKind::Replicated => 1,
        PoolKind::Erasure => 3,
    });
    byte(writer, pool.size);
    byte(writer, pool.crush_rule);
    let rjenkins = 2;
    writer.u8(rjenkins);
    number(writer, groups.pg_num);
    number(writer, groups.pgp_num);
    writer.zeros(8);
    writer.u32(u32::try_from(pool.last_change.0).unwrap_or(u32::MAX));
    writer.u64(pool.snapshots.newest);
    writer.u32(0);
    writer.list(pool.snapshots.of_pool.iter(), |writer, (id, name)| {
        writer.u64(*id);
        writer.structure(2, 2, |writer| {
            writer.u64(*id);
            writer.zeros(8);
            writer.text(name);
        });
    });
    // No removed snapshots, and no owner.
    writer.zeros(4 + 8);
    writer.u64(numbers::pool_flags(&pool.flags));
    writer.u32(0);
    byte(writer, pool.min_size);
    amount(writer, pool.quota_max_bytes);
    amount(writer, pool.quota_max_objects);
    tiering(writer, &pool.tiering, pool.stripe_width);
    writer.text(&pool.erasure_code_profile);
    writer.u32(0);
    number(writer, pool.tiering.min_read_recency);
    amount(writer, pool.expected_num_objects);
    number(writer, pool.tiering.dirty_high_ratio_micro);
    number(writer, pool.tiering.min_write_recency);
    writer.u8(pool.tiering.use_gmt_hit_set.into());
    writer.u8(pool.fast_read.into());
    number(writer, pool.tiering.hit_set_grade_decay_rate);
    number(writer, pool.tiering.hit_set_search_last_n);
    writer.structure(2, 1, |writer| options(writer, pool));
    writer.u32(0);
    writer.list(pool.applications.iter(), |writer, (name, keys)| {
        writer.text(name);
        writer.texts(keys.iter());
    });
    time(writer, pool.create_time.0);
    number(writer, groups.pg_num_target);
    number(writer, groups.pgp_num_target);
    number(writer, groups.pg_num_pending);
    writer.zeros(8 + 4);
    writer.u8(numbers::autoscale_mode(&pool.autoscale_mode));
    writer.structure(1, 1, |_| {});
    number(writer, pool.peering_bucket_count);
}

fn tiering(writer: &mut Writer, tiering: &Tiering, stripe_width: i64) {
    let tier = |tier: Option<PoolId>| tier.map_or(-1, |pool| pool.0);
    writer.list(tiering.tiers.iter(), |writer, pool| writer.i64(pool.0));
    writer.i64(tier(tiering.tier_of));
    writer.u8(tiering.cache_mode.number());
    writer.i64(tier(tiering.read_tier));
    writer.i64(tier(tiering.write_tier));
    writer.u32(0);
    writer.structure(1, 1, |writer| match tiering.hit_set {
        HitSet::None => writer.u8(0),
        HitSet::ExplicitHash => writer.u8(1),
        HitSet::ExplicitObject => writer.u8(2),
        HitSet::Bloom {
            false_positives_micro,
        } => {
            writer.u8(3);
            writer.structure(1, 1, |writer| {
                writer.u32(false_positives_micro);
                writer.zeros(16);
            });
        }
    });
    number(writer, tiering.hit_set_period);
    number(writer, tiering.hit_set_count);
    number(writer, stripe_width);
    amount(writer, tiering.target_max_bytes);
    amount(writer, tiering.target_max_objects);
    number(writer, tiering.dirty_ratio_micro);
    number(writer, tiering.full_ratio_micro);
    number(writer, tiering.min_flush_age);
    number(writer, tiering.min_evict_age);
}

fn options(writer: &mut Writer, pool: &Pool) {
    let place = |name: &String| OPTIONS.iter().position(|option| option.name == name);
    let known: Vec<_> = pool
        .options
        .iter()
        .filter_map(|(name, value)| place(name).map(|place| (place, value)))
        .collect();
    writer.list(known.into_iter(), |writer, (place, value)| {
        writer.count(place);
        match value {
            OptionValue::Text(text) => {
                writer.u32(0);
                writer.text(text);
            }
            OptionValue::Integer(number) => {
                writer.u32(1);
                writer.i64(*number);
            }
            OptionValue::Double(number) => {
                writer.u32(2);
                writer.f64(*number);
            }
        }
    });
}

fn byte(writer: &mut Writer, number: i64) {
    writer.u8(u8::try_from(number).unwrap_or_default());
}

fn number(writer: &mut Writer, number: i64) {
    writer.u32(u32::try_from(number).unwrap_or_default());
}

fn amount(writer: &mut Writer, number: i64) {
    writer.u64(u64::try_from(number).unwrap_or_default());
}

fn time(writer: &mut Writer, microseconds: i64) {
    let part = |number: i64| u32::try_from(number).unwrap_or_default();
    writer.u32(part(microseconds.div_euclid(1_000_000)));
    writer.u32(part(microseconds.rem_euclid(1_000_000) * 1_000));
}
