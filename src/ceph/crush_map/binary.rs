//! Decodes the CRUSH map that stands in an encoded OSD map.
//!
//! It tells neither a version nor lengths: later releases have only added at the end, and what
//! stands behind the device classes (weight sets, newer tunables) is of no use here.
//! Source of the rules: Ceph's `src/crush/CrushWrapper.cc` (`CrushWrapper::encode`) and
//! `src/crush/crush.h`.

mod encode;

use std::collections::BTreeMap;

pub(crate) use self::encode::encode;
use super::{Bucket, CrushMap, Device, Item, Rule, Step, Tunables};
use crate::ceph::encoding::{Cursor, DecodeError};

/// What a CRUSH map begins with.
const MAGIC: u32 = 0x0001_0000;

/// The ways in which a bucket may keep its items.
const UNIFORM: u8 = 1;
const LIST: u8 = 2;
const TREE: u8 = 3;
const STRAW: u8 = 4;
const STRAW2: u8 = 5;

/// Tunables of maps that do not tell them: Ceph's first ones.
const LEGACY: Tunables = Tunables {
    choose_local_tries: 2,
    choose_local_fallback_tries: 5,
    choose_total_tries: 19,
    chooseleaf_descend_once: 0,
    chooseleaf_vary_r: 0,
    chooseleaf_stable: 0,
    straw_calc_version: 0,
    allowed_bucket_algs: 1 << UNIFORM | 1 << LIST | 1 << STRAW,
};

/// Reads a CRUSH map that goes to the end of the place's structure.
pub fn decode(mut map: Cursor<'_>) -> Result<CrushMap, DecodeError> {
    let map = &mut map;
    let magic = map.u32()?;
    if magic != MAGIC {
        return Err(map.unknown("its first number", magic));
    }
    let bucket_places = usize::try_from(map.i32()?).unwrap_or(0);
    let rule_places = map.u32()?;
    let device_places = map.i32()?;
    map.expect_items(bucket_places, 4)?;
    let mut nameless = Vec::new();
    for _ in 0..bucket_places {
        nameless.extend(bucket(map)?);
    }
    map.expect_items(usize::try_from(rule_places).unwrap_or(usize::MAX), 4)?;
    let mut encoded_rules = Vec::new();
    for number in 0..i64::from(rule_places) {
        encoded_rules.extend(rule(map)?.map(|rule| (number, rule)));
    }
    let types = names(map)?;
    let item_names = names(map)?;
    let rule_names = names(map)?;
    let tunables = tunables(map)?;
    let classes = classes(map)?;

    let rules = encoded_rules.into_iter().map(|(number, (kind, steps))| {
        let steps = steps.into_iter();
        let steps = steps.map(|(step, arguments)| Step::from_numbers(step, arguments, &types));
        let name = i32::try_from(number).ok();
        let rule = Rule {
            name: name
                .and_then(|number| rule_names.get(&number).cloned())
                .unwrap_or_default(),
            kind,
            steps: steps.collect(),
        };
        (number, rule)
    });
    let rules = rules.collect();
    let buckets = nameless.into_iter().map(|(id, mut bucket)| {
        bucket.name = item_names.get(&id).cloned().unwrap_or_default();
        (id, bucket)
    });
    Ok(CrushMap {
        rules,
        buckets: buckets.collect(),
        devices: devices(device_places, &item_names, &classes),
        types,
        tunables,
    })
}

/// A bucket without its name; `None` for a number that no bucket has.
fn bucket(map: &mut Cursor<'_>) -> Result<Option<(i32, Bucket)>, DecodeError> {
    if map.u32()? == 0 {
        return Ok(None);
    }
    let id = map.i32()?;
    let kind = i32::from(map.u16()?);
    let algorithm = map.u8()?;
    let _hash = map.u8()?;
    let weight = map.u32()?;
    let ids = map.list(4, Cursor::i32)?;
    let weights = weights(map, algorithm, ids.len())?;
    let items = ids.into_iter().zip(weights);
    let bucket = Bucket {
        name: String::new(),
        kind,
        weight,
        items: items.map(|(id, weight)| Item { id, weight }).collect(),
    };
    Ok(Some((id, bucket)))
}

/// The weights of a bucket's items.
fn weights(map: &mut Cursor<'_>, algorithm: u8, items: usize) -> Result<Vec<u32>, DecodeError> {
    match algorithm {
        UNIFORM => {
            let weight = map.u32()?;
            Ok(vec![weight; items])
        }
        // A weight, and a sum or a length that follows from it.
        LIST | STRAW => (0..items)
            .map(|_| {
                let weight = map.u32()?;
                map.skip(4)?;
                Ok(weight)
            })
            .collect(),
        TREE => {
            let nodes = usize::from(map.u8()?);
            let nodes = (0..nodes)
                .map(|_| map.u32())
                .collect::<Result<Vec<_>, _>>()?;
            // The leaves are every second node, from the second on.
            let leaf = |place: usize| nodes.get(2 * place + 1).copied().unwrap_or(0);
            Ok((0..items).map(leaf).collect())
        }
        STRAW2 => (0..items).map(|_| map.u32()).collect(),
        other => Err(map.unknown("a bucket's algorithm", other)),
    }
}

type EncodedRule = (u8, Vec<(u32, [i32; 2])>);

/// A rule without its name; `None` for a number that no rule has.
fn rule(map: &mut Cursor<'_>) -> Result<Option<EncodedRule>, DecodeError> {
    if map.u32()? == 0 {
        return Ok(None);
    }
    let length = map.u32()?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let _number = map.u8()?;
    let kind = map.u8()?;
    let _sizes = map.u16()?;
    map.expect_items(length, 12)?;
    let steps = (0..length)
        .map(|_| Ok((map.u32()?, [map.i32()?, map.i32()?])))
        .collect::<Result<_, _>>()?;
    Ok(Some((kind, steps)))
}

/// Names by number. Some old maps have numbers of 64 bits: there the first half of a length
/// seems to be 0, and no name is empty.
fn names(map: &mut Cursor<'_>) -> Result<BTreeMap<i32, String>, DecodeError> {
    let list = map.list(8, |map| {
        let number = map.i32()?;
        let mut length = map.u32()?;
        if length == 0 {
            length = map.u32()?;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok((number, map.text_of(length)?))
    })?;
    Ok(list.into_iter().collect())
}

/// Each came with a release: an old map ends before some of them.
fn tunables(map: &mut Cursor<'_>) -> Result<Tunables, DecodeError> {
    let mut tunables = LEGACY;
    if !map.is_at_end() {
        tunables.choose_local_tries = map.u32()?;
        tunables.choose_local_fallback_tries = map.u32()?;
        tunables.choose_total_tries = map.u32()?;
    }
    if !map.is_at_end() {
        tunables.chooseleaf_descend_once = map.u32()?;
    }
    if !map.is_at_end() {
        tunables.chooseleaf_vary_r = map.u8()?.into();
    }
    if !map.is_at_end() {
        tunables.straw_calc_version = map.u8()?.into();
    }
    if !map.is_at_end() {
        tunables.allowed_bucket_algs = map.u32()?;
    }
    if !map.is_at_end() {
        tunables.chooseleaf_stable = map.u8()?.into();
    }
    Ok(tunables)
}

/// The classes of devices. That of a bucket is in its name.
fn classes(map: &mut Cursor<'_>) -> Result<BTreeMap<i32, String>, DecodeError> {
    if map.is_at_end() {
        return Ok(BTreeMap::new());
    }
    let of_items = map.list(8, |map| Ok((map.i32()?, map.i32()?)))?;
    let class_names = names(map)?;
    Ok(of_items
        .into_iter()
        .filter_map(|(item, class)| class_names.get(&class).map(|name| (item, name.clone())))
        .collect())
}

/// A device with a class and no name has the one that dumps give it.
fn devices(
    places: i32,
    names: &BTreeMap<i32, String>,
    classes: &BTreeMap<i32, String>,
) -> BTreeMap<i32, Device> {
    let known = |id: &i32| (0..places).contains(id);
    let ids = names.keys().chain(classes.keys()).filter(|id| known(id));
    ids.map(|id| {
        let name = names.get(id).cloned();
        let device = Device {
            name: name.unwrap_or_else(|| format!("device{id}")),
            class: classes.get(id).cloned(),
        };
        (*id, device)
    })
    .filter(|(id, device)| !device.is_gap(*id))
    .collect()
}
