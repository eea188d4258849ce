//! Decodes `osd getmap`: the map as Ceph itself keeps and sends it.
//!
//! Half a millisecond of a monitor's time at 1,000 pools and six at 10,000, where `osd dump`
//! takes minutes on some releases, and no odd name in it can make it unreadable. The CRUSH map
//! stands in it, of the same epoch.
//!
//! ```text
//!  OSD map ─┬─ client part   fsid, epoch, pools, names, flags, states and weights of OSDs,
//!           │                ── CRUSH map ── erasure-code profiles …
//!           ├─ OSD part      … full ratios, releases … stretch mode
//!           └─ checksum      over everything but itself
//! ```
//!
//! Each part tells its version and its length, so what later releases add at the end of one is
//! passed over. Sources of the rules: Ceph's `src/osd/OSDMap.cc` (`OSDMap::encode`),
//! `src/osd/osd_types.cc` (`pg_pool_t`, `pool_opts_t`), `src/msg/msg_types.h` and
//! `src/include/utime.h`, as of releases 16, 18 and 20.

mod encode;
mod osds;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

pub use self::encode::encode;
use self::osds::{States, osd_part};
use super::{OsdMap, Pool, names};
use crate::ceph::crush_map::{self, CrushMap};
use crate::ceph::encoding::{Cursor, DecodeError, Fault};
use crate::ceph::types::{Epoch, Fsid, PoolId, PoolName};

/// The newest versions that this program knows, and the oldest that it reads. Releases since
/// Nautilus write at least the oldest ones for clients of their time.
const MAP: (u8, u8) = (8, 8);
const CLIENT_PART: (u8, u8) = (10, 8);

/// A placement group's ID: a version, its pool, its number, and a preferred OSD of old.
const PLACEMENT_GROUP: usize = 1 + 8 + 4 + 4;

/// Reads a full map and the CRUSH map in it.
pub fn decode(bytes: &[u8]) -> Result<(OsdMap, CrushMap), DecodeError> {
    let (parts, checksum_at) = open(bytes)?;
    checksum(bytes, checksum_at)?;
    decode_parts(parts)
}

/// The two parts of a map.
struct Parts<'a> {
    client: Cursor<'a>,
    osd: (u8, Cursor<'a>),
}

/// Takes a map apart; the place of its checksum comes with it.
fn open(bytes: &[u8]) -> Result<(Parts<'_>, Cursor<'_>), DecodeError> {
    let mut input = Cursor::new(bytes, "OSD map");
    let (version, mut map) = input.structure("OSD map", MAP.0)?;
    map.at_least(version, MAP.1)?;
    let (version, client) = map.structure("client part of the OSD map", CLIENT_PART.0)?;
    client.at_least(version, CLIENT_PART.1)?;
    let osd = osds::open(&mut map)?;
    Ok((Parts { client, osd }, map))
}

/// The checksum is over what stands before it and behind it.
fn checksum(bytes: &[u8], mut at: Cursor<'_>) -> Result<(), DecodeError> {
    let place = at.clone();
    let expected = at.u32()?;
    let front = bytes.get(..place.position()).unwrap_or_default();
    let tail = at.take(at.left())?;
    // Ceph begins with all bits set, as everybody, and does not turn the result round.
    let found = !crc32c::crc32c_append(crc32c::crc32c(front), tail);
    if found == expected {
        Ok(())
    } else {
        Err(place.error(Fault::Checksum { found, expected }))
    }
}

fn decode_parts(parts: Parts<'_>) -> Result<(OsdMap, CrushMap), DecodeError> {
    let mut part = parts.client;
    let fsid = fsid(&mut part)?;
    let epoch = Epoch(part.u32()?.into());
    let created = time(&mut part)?;
    let modified = time(&mut part)?;
    let mut pools = part
        .list(12, |part| {
            let id = PoolId(part.i64()?);
            pool::pool(part, id)
        })?
        .into_iter()
        .map(|pool| (pool.id, pool))
        .collect::<BTreeMap<PoolId, Pool>>();
    part.skip_list(12, |part| {
        let id = PoolId(part.i64()?);
        let name = part.text()?;
        if let Some(pool) = pools.get_mut(&id) {
            pool.name = PoolName::new(name);
        }
        Ok(())
    })?;
    let _highest_pool = part.i32()?;
    let flags = names::cluster_flags(part.u32()?);
    let states = States::read(&mut part)?;
    osds::addresses(&mut part)?;
    // Where placement groups are for the moment, by hand of the OSDs.
    let moving = part.list(PLACEMENT_GROUP + 4, |part| {
        part.skip(1)?;
        let pool = PoolId(part.i64()?);
        part.skip(PLACEMENT_GROUP - 1 - 8)?;
        part.skip_items(4)?;
        Ok(pool)
    })?;
    part.skip_items(PLACEMENT_GROUP + 4)?;
    // And which OSDs are less liked as primary.
    part.skip_items(4)?;
    let crush = crush_map::binary::decode(part.blob("CRUSH map")?)?;
    let erasure_code_profiles = part.groups_of_texts()?;

    let more = osd_part(parts.osd)?;
    let (require_osd_release, require_osd_release_name) = names::release(more.require_osd_release);
    let map = OsdMap {
        fsid,
        epoch,
        created,
        modified,
        flags,
        ratios: more.ratios,
        require_osd_release,
        require_osd_release_name,
        stretch_mode: more.stretch_mode,
        pools: pools
            .into_iter()
            .map(|(id, pool)| (id, Arc::new(pool)))
            .collect(),
        osds: states.osds(),
        moving: moving.into_iter().collect(),
        erasure_code_profiles,
    };
    Ok((map, crush))
}

/// 16 bytes, printed in groups of 4, 2, 2, 2 and 6.
fn fsid(part: &mut Cursor<'_>) -> Result<Fsid, DecodeError> {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(36);
    for (place, byte) in part.take(16)?.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Fsid::new(&text))
}

/// Seconds and nanoseconds, as microseconds: dumps show no more.
fn microseconds(part: &mut Cursor<'_>) -> Result<i64, DecodeError> {
    let seconds = i64::from(part.u32()?);
    let nanoseconds = i64::from(part.u32()?);
    Ok(seconds * 1_000_000 + nanoseconds / 1_000)
}

fn time(part: &mut Cursor<'_>) -> Result<Timestamp, DecodeError> {
    // 32 bits of seconds are within the range of any calendar.
    microseconds(part).map(|time| Timestamp::from_microsecond(time).unwrap_or_default())
}
