//! The way back from names to numbers.

use std::collections::BTreeSet;

use super::{AUTOSCALE_MODES, CLUSTER_FLAGS, OLDER_RELEASES, POOL_FLAGS};
use crate::ceph::types::Release;

pub(in crate::ceph::osd_map) fn pool_flags(names: &BTreeSet<String>) -> u64 {
    bits(names, &POOL_FLAGS)
}

pub(in crate::ceph::osd_map) fn cluster_flags(names: &BTreeSet<String>) -> u32 {
    u32::try_from(bits(names, &CLUSTER_FLAGS)).unwrap_or_default()
}

fn bits(names: &BTreeSet<String>, table: &[&str]) -> u64 {
    let set = (0_u32..).zip(table);
    set.filter(|(_, name)| names.contains(**name))
        .fold(0, |bits, (place, _)| bits | 1 << place)
}

pub(in crate::ceph::osd_map) fn autoscale_mode(name: &str) -> u8 {
    place(&AUTOSCALE_MODES, name).unwrap_or(u8::MAX)
}

pub(in crate::ceph::osd_map) fn release(name: &str) -> u8 {
    let known = Release::from_name(name).map(|release| release as u8);
    known
        .or_else(|| place(&OLDER_RELEASES, name))
        .or_else(|| name.parse().ok())
        .unwrap_or_default()
}

fn place(table: &[&str], name: &str) -> Option<u8> {
    let place = table.iter().position(|known| *known == name)?;
    u8::try_from(place).ok()
}
