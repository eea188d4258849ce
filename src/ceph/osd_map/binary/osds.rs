//! What the map says of OSDs, and the part of it that only they need.

use std::collections::BTreeMap;

use crate::ceph::encoding::{Cursor, DecodeError};
use crate::ceph::osd_map::{FullRatios, Osd, StretchMode};

/// The newest version that is known, and the oldest that is read. Releases write 9 for as long
/// as neither stretch mode nor anything later is in use.
const OSD_PART: (u8, u8) = (12, 9);

/// Bits of an OSD's state.
const EXISTS: u32 = 1;
const UP: u32 = 1 << 1;

/// An address of old times behind its marker: a byte, two, a nonce, and room for any socket address.
const LEGACY_ADDRESS: usize = 1 + 2 + 4 + 128;
/// An OSD's epochs, with a version before them.
const INFO: usize = 1 + 6 * 4;
const TIME: usize = 8;
const UUID: usize = 16;

/// States and weights by the OSDs' numbers.
pub(super) struct States {
    states: Vec<u32>,
    weights: Vec<u32>,
}

impl States {
    pub(super) fn read(part: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let _most = part.i32()?;
        Ok(Self {
            states: part.list(4, Cursor::u32)?,
            weights: part.list(4, Cursor::u32)?,
        })
    }

    /// Those that exist.
    pub(super) fn osds(&self) -> BTreeMap<i32, Osd> {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(0));
        let all = (0..).zip(self.states.iter().zip(weights));
        all.filter(|(_, (state, _))| *state & EXISTS != 0)
            .map(|(number, (state, weight))| {
                let up = state & UP != 0;
                (number, Osd { up, weight })
            })
            .collect()
    }
}

/// Passes over the addresses of all OSDs, a list for each.
pub(super) fn addresses(part: &mut Cursor<'_>) -> Result<(), DecodeError> {
    part.skip_list(1, |part| match part.u8()? {
        0 => part.skip(LEGACY_ADDRESS),
        1 => part.skip_structure(),
        2 => part.skip_list(1, address),
        other => Err(part.unknown("the form of an OSD's addresses", other)),
    })
}

fn address(part: &mut Cursor<'_>) -> Result<(), DecodeError> {
    match part.u8()? {
        0 => part.skip(LEGACY_ADDRESS),
        1 => part.skip_structure(),
        other => Err(part.unknown("the form of an address", other)),
    }
}

/// What is of use in the part for OSDs.
pub(super) struct OsdPart {
    pub(super) ratios: FullRatios,
    pub(super) require_osd_release: u8,
    pub(super) stretch_mode: StretchMode,
}

/// Enters the part, which is read later.
pub(super) fn open<'a>(map: &mut Cursor<'a>) -> Result<(u8, Cursor<'a>), DecodeError> {
    let (version, part) = map.structure("OSD part of the OSD map", OSD_PART.0)?;
    part.at_least(version, OSD_PART.1)?;
    Ok((version, part))
}

pub(super) fn osd_part((version, part): (u8, Cursor<'_>)) -> Result<OsdPart, DecodeError> {
    let mut part = part;
    // Addresses for heartbeats, and what is known of each OSD.
    addresses(&mut part)?;
    part.skip_items(INFO)?;
    // Clients that are kept out.
    part.skip_list(1 + TIME, |part| {
        address(part)?;
        part.skip(TIME)
    })?;
    // Addresses among OSDs.
    addresses(&mut part)?;
    let _snapshot_epoch = part.u32()?;
    let _snapshot_name = part.blob("name of a snapshot of the cluster")?;
    part.skip_items(UUID)?;
    // More of each OSD, and the other addresses for heartbeats.
    part.skip_list(6, Cursor::skip_structure)?;
    addresses(&mut part)?;
    let ratios = FullRatios {
        nearfull: part.f32()?,
        full: part.f32()?,
        backfillfull: part.f32()?,
    };
    let _require_min_compat_client = part.u8()?;
    let require_osd_release = part.u8()?;
    // Snapshots that are being removed, by pool.
    part.skip_list(12, |part| {
        part.skip(8)?;
        part.skip_items(16)
    })?;
    // Flags of CRUSH nodes and of device classes.
    part.skip_items(8)?;
    part.skip_items(8)?;
    let mut stretch_mode = StretchMode::default();
    if version >= 10 {
        stretch_mode = StretchMode {
            enabled: part.bool()?,
            bucket_count: part.u32()?,
            degraded: part.u32()?,
            recovering: part.u32()?,
            bucket: part.i32()?,
        };
    }
    Ok(OsdPart {
        ratios,
        require_osd_release,
        stretch_mode,
    })
}
