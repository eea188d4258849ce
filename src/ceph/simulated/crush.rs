//! The simulated cluster's CRUSH map: all OSDs on one host, below one root.

use std::collections::BTreeMap;

use crate::ceph::crush_map::{Bucket, Choice, CrushMap, Device, Item, Rule, Step, Tunables};

const ROOT: i32 = -1;
const HOST: i32 = -2;
const CLASS_HOST: i32 = -3;
const CLASS_ROOT: i32 = -4;
const HOST_TYPE: i32 = 1;
const ROOT_TYPE: i32 = 11;
/// One terabyte, of 65536.
const WEIGHT: u32 = 0x1_0000;

/// Whoever wants more OSDs wants room for placement groups, and no longer maps.
const MOST_LISTED: i64 = 64;

/// The numbers of so many OSDs, as far as the maps list them.
pub(super) fn numbers(osds: i64) -> impl Iterator<Item = i32> + Clone {
    0..i32::try_from(osds.min(MOST_LISTED)).unwrap_or(0)
}

/// A rule as `osd crush rule create-replicated NAME default osd` makes it.
pub(super) fn rule(name: &str) -> Rule {
    let steps = vec![
        Step::Take { item: ROOT },
        Step::Choose {
            way: Choice::FirstN,
            count: 0,
            bucket_type: "osd".to_owned(),
        },
        Step::Emit,
    ];
    Rule {
        kind: 1,
        steps,
        ..Rule::named(name)
    }
}

/// The map of a cluster with so many OSDs.
pub(super) fn flat(osds: i64) -> CrushMap {
    let items: Vec<Item> = numbers(osds)
        .map(|id| Item { id, weight: WEIGHT })
        .collect();
    let weight = items.iter().map(|item| item.weight).sum();
    let bucket = |name: &str, kind, items| Bucket {
        name: name.to_owned(),
        kind,
        weight,
        items,
    };
    let devices = numbers(osds).map(|id| {
        let device = Device {
            name: format!("osd.{id}"),
            class: Some("hdd".to_owned()),
        };
        (id, device)
    });
    let types = [(0, "osd"), (HOST_TYPE, "host"), (ROOT_TYPE, "root")];
    CrushMap {
        rules: BTreeMap::from([(0, rule("replicated_rule"))]),
        types: types.map(|(id, name)| (id, name.to_owned())).into(),
        devices: devices.collect(),
        buckets: BTreeMap::from([
            (HOST, bucket("host", HOST_TYPE, items.clone())),
            (
                ROOT,
                bucket("default", ROOT_TYPE, vec![Item { id: HOST, weight }]),
            ),
            (CLASS_HOST, bucket("host~hdd", HOST_TYPE, items)),
            (
                CLASS_ROOT,
                bucket(
                    "default~hdd",
                    ROOT_TYPE,
                    vec![Item {
                        id: CLASS_HOST,
                        weight,
                    }],
                ),
            ),
        ]),
        tunables: Tunables {
            choose_total_tries: 50,
            chooseleaf_descend_once: 1,
            chooseleaf_vary_r: 1,
            chooseleaf_stable: 1,
            straw_calc_version: 1,
            allowed_bucket_algs: 54,
            ..Tunables::default()
        },
    }
}
