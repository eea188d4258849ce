//! Writes a CRUSH map, for the simulated cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAGIC, STRAW2};
use crate::ceph::crush_map::{Bucket, CrushMap, Device, Rule, Tunables};
use crate::ceph::encoding::Writer;

/// Writes a CRUSH map as far as the model goes, all buckets as `straw2`.
pub(crate) fn encode(writer: &mut Writer, map: &CrushMap) {
    let places = map.buckets.keys().next().map_or(0, |lowest| -lowest);
    let rule_places = map.rules.keys().next_back().map_or(0, |last| last + 1);
    let devices = map.devices.keys().next_back().map_or(0, |last| last + 1);
    writer.u32(MAGIC);
    writer.i32(places);
    writer.u32(u32::try_from(rule_places).unwrap_or_default());
    writer.i32(devices);
    for place in 0..places {
        match map.buckets.get(&(-1 - place)) {
            Some(bucket) => write_bucket(writer, -1 - place, bucket),
            None => writer.u32(0),
        }
    }
    for number in 0..rule_places {
        match map.rules.get(&number) {
            Some(rule) => write_rule(writer, number, rule, &map.types),
            None => writer.u32(0),
        }
    }
    write_names(writer, map.types.iter());
    let buckets = map.buckets.iter().map(|(id, bucket)| (id, &bucket.name));
    let devices = map.devices.iter().map(|(id, device)| (id, &device.name));
    write_names(writer, buckets.chain(devices));
    let rules: BTreeMap<i32, &String> = map
        .rules
        .iter()
        .filter_map(|(number, rule)| Some((i32::try_from(*number).ok()?, &rule.name)))
        .collect();
    write_names(writer, rules.iter().map(|(number, name)| (number, *name)));
    write_tunables(writer, &map.tunables);

    let names: BTreeSet<&String> = map.devices.values().flat_map(|d| &d.class).collect();
    let names: Vec<&String> = names.into_iter().collect();
    let class_of = |device: &Device| {
        let class = device.class.as_ref()?;
        let place = names.iter().position(|name| *name == class)?;
        i32::try_from(place).ok()
    };
    let of_devices: Vec<(i32, i32)> = map
        .devices
        .iter()
        .filter_map(|(id, device)| Some((*id, class_of(device)?)))
        .collect();
    writer.list(of_devices.iter(), |writer, (id, class)| {
        writer.i32(*id);
        writer.i32(*class);
    });
    let numbers: Vec<i32> = (0..).take(names.len()).collect();
    write_names(writer, numbers.iter().zip(names));
    // No shadow tree is told apart from others, and there are no weight sets.
    writer.zeros(2 * 4);
}

fn write_bucket(writer: &mut Writer, id: i32, bucket: &Bucket) {
    writer.u32(STRAW2.into());
    writer.i32(id);
    writer.u16(u16::try_from(bucket.kind).unwrap_or_default());
    writer.u8(STRAW2);
    let rjenkins = 0;
    writer.u8(rjenkins);
    writer.u32(bucket.weight);
    writer.list(bucket.items.iter(), |writer, item| writer.i32(item.id));
    for item in &bucket.items {
        writer.u32(item.weight);
    }
}

fn write_rule(writer: &mut Writer, number: i64, rule: &Rule, types: &BTreeMap<i32, String>) {
    writer.u32(1);
    writer.count(rule.steps.len());
    writer.u8(u8::try_from(number).unwrap_or_default());
    writer.u8(rule.kind);
    writer.u16(0);
    for step in &rule.steps {
        let (step, [first, second]) = step.to_numbers(types);
        writer.u32(step);
        writer.i32(first);
        writer.i32(second);
    }
}

fn write_names<'a>(writer: &mut Writer, names: impl Iterator<Item = (&'a i32, &'a String)>) {
    // A name that is not there is not written: an empty one would be read as half a number.
    let names: Vec<_> = names.filter(|(_, name)| !name.is_empty()).collect();
    writer.list(names.into_iter(), |writer, (number, name)| {
        writer.i32(*number);
        writer.text(name);
    });
}

fn write_tunables(writer: &mut Writer, tunables: &Tunables) {
    let byte = |number: u32| u8::try_from(number).unwrap_or_default();
    writer.u32(tunables.choose_local_tries);
    writer.u32(tunables.choose_local_fallback_tries);
    writer.u32(tunables.choose_total_tries);
    writer.u32(tunables.chooseleaf_descend_once);
    writer.u8(byte(tunables.chooseleaf_vary_r));
    writer.u8(byte(tunables.straw_calc_version));
    writer.u32(tunables.allowed_bucket_algs);
    writer.u8(byte(tunables.chooseleaf_stable));
}
