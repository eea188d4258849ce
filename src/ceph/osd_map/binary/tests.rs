//! Real maps of Ceph 16, the same maps damaged, and maps written by hand for what no cluster
//! here makes.

mod damaged;
mod versions;

use super::*;
use crate::ceph::crush_map::{Choice, Step};
use crate::ceph::encoding::Writer;
use crate::ceph::osd_map::{CacheMode, HitSet, OptionValue, PoolKind, Tiering, json};
use crate::ceph::types::Release;

/// A map with one of everything; `tests/it/data/README.md` tells how it was made.
const RICH: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/osd-map-16.bin"
));
const RICH_DUMP: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/osd-map-16.json"
));
const RICH_CRUSH: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/osd-map-16-crush.json"
));

/// A CRUSH map by itself, and its dump.
const ALGORITHMS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/crush-algorithms.bin"
));
const ALGORITHMS_DUMP: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/data/crush-algorithms.json"
));

fn rich() -> (OsdMap, CrushMap) {
    decode(RICH).expect("a real map")
}

fn pool<'a>(map: &'a OsdMap, name: &str) -> &'a Pool {
    map.pool_named(&PoolName::new(name)).expect("the pool")
}

/// The same bytes without the checksum in the way.
fn decode_unchecked(bytes: &[u8]) -> Result<(OsdMap, CrushMap), DecodeError> {
    decode_parts(open(bytes)?.0)
}

/// Both ways of reading a cluster's maps give the same.
#[test]
fn a_real_map_is_the_same_as_its_dump() {
    let (map, crush) = rich();
    let dump = json::decode(RICH_DUMP).expect("a dump");
    for (id, pool) in &dump.pools {
        assert_eq!(map.pools.get(id), Some(pool));
    }
    assert_eq!(map, dump);
    let dump = crush_map::json::decode(RICH_CRUSH).expect("a dump");
    assert_eq!(crush, dump);
}

/// Equal models could both have missed a thing: here is what the map was made to hold.
#[test]
fn a_real_map_holds_what_was_set() {
    let (map, crush) = rich();
    assert_eq!(map.require_osd_release, Some(Release::Pacific));
    let flags = ["noout", "nosnaptrim", "notieragent"];
    assert!(flags.iter().all(|flag| map.flags.contains(*flag)));
    assert!((map.ratios.nearfull - 0.8).abs() < 1e-6);
    let osds: Vec<_> = map.osds.values().map(|osd| (osd.up, osd.weight)).collect();
    assert_eq!(osds, [(true, 0x1_0000), (true, 0xc000), (true, 0)]);
    assert_eq!(map.erasure_code_profiles["ec21"]["k"], "2");

    let all = pool(&map, "all");
    assert_eq!(all.quota_max_bytes, 123_456_789_012);
    assert_eq!(all.quota_max_objects, 77);
    assert_eq!(all.applications["rbd"]["key1"], "value1");
    assert_eq!(all.autoscale_mode, "off");
    assert_eq!(crush.rule_name(all.crush_rule), Some("quick"));
    assert!(
        ["bulk", "nodelete", "noscrub", "nodeep-scrub"]
            .iter()
            .all(|flag| all.has_flag(flag))
    );
    let double = |name: &str| all.options[name] == OptionValue::Double(86_400.0);
    assert!(double("scrub_min_interval"), "{:?}", all.options);
    assert_eq!(all.options["recovery_priority"], OptionValue::Integer(-3));
    assert_eq!(
        all.options["compression_algorithm"],
        OptionValue::Text("zstd".into())
    );
    assert_eq!(all.options["pg_autoscale_bias"], OptionValue::Double(4.0));

    let erasure = pool(&map, "ecp");
    assert_eq!((erasure.kind, erasure.size), (PoolKind::Erasure, 3));
    assert_eq!(erasure.erasure_code_profile, "ec21");
    assert!(erasure.fast_read);
    assert_eq!(erasure.stripe_width, 8192);

    let ratio = pool(&map, "ratio");
    let names: Vec<_> = ratio.snapshots.of_pool.values().collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(ratio.snapshots.newest, 2);

    let (base, cache) = (pool(&map, "base"), pool(&map, "cache"));
    assert_eq!(base.tiering.tiers, [cache.id].into());
    assert_eq!(
        (base.tiering.read_tier, base.tiering.write_tier),
        (Some(cache.id), Some(cache.id))
    );
    assert_eq!(cache.tiering.tier_of, Some(base.id));
    assert_eq!(cache.tiering.cache_mode, CacheMode::Writeback);
    assert_eq!(
        cache.tiering.hit_set,
        HitSet::Bloom {
            false_positives_micro: 20_000
        }
    );
    assert_eq!(cache.tiering.min_evict_age, 1800);
    assert_eq!(cache.tiering.full_ratio_micro, 900_000);
    assert_eq!(all.tiering, Tiering::default());
}

/// The tree, the rules in it and the shadow trees of classes.
#[test]
fn a_real_crush_map_holds_what_was_set() {
    let (_, crush) = rich();
    let bucket = |name: &str| {
        let found = crush.buckets.values().find(|bucket| bucket.name == name);
        found.expect(name)
    };
    assert_eq!(bucket("default~ssd").shadow_of(), Some(("default", "ssd")));
    assert_eq!(bucket("default").shadow_of(), None);
    assert_eq!(crush.devices[&2].class.as_deref(), Some("ssd"));
    assert_eq!(crush.types[&bucket("rack1").kind], "rack");
    assert_eq!(crush.tunables.choose_total_tries, 50);
    let quick = &crush.rules[&crush.rule_named("quick").expect("the rule")];
    let Some(Step::Take { item }) = quick.steps.first() else {
        panic!("{quick:?}");
    };
    assert_eq!(crush.buckets[item].name, "default~ssd");
}

/// Every way of keeping weights, and every kind of step.
#[test]
fn a_crush_map_of_all_algorithms() {
    let crush = crush_map::binary::decode(Cursor::new(ALGORITHMS, "CRUSH map")).expect("a map");
    let dump = crush_map::json::decode(ALGORITHMS_DUMP).expect("a dump");
    assert_eq!(crush, dump);
    for (algorithm, expected) in [
        ("uniform", [0x1_8000, 0x1_8000, 0x1_8000]),
        ("list", [0x1_8000, 0x2_4000, 0x8000]),
        ("tree", [0x1_8000, 0x2_4000, 0x8000]),
        ("straw", [0x1_8000, 0x2_4000, 0x8000]),
    ] {
        let name = format!("h{algorithm}");
        let found = crush.buckets.values().find(|bucket| bucket.name == name);
        let items = found.expect("the bucket").items.iter();
        assert_eq!(
            items.map(|item| item.weight).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }
    let many = &crush.rules[&7];
    assert_eq!(
        (many.name.as_str(), many.kind, many.steps.len()),
        ("many", 3, 12)
    );
    assert_eq!(many.steps[2], Step::Set { step: 10, value: 1 });
    assert_eq!(
        many.steps[7],
        Step::Choose {
            way: Choice::LeafIndep,
            count: -1,
            bucket_type: "host".into()
        }
    );
}

/// What is written is what was read, as far as the model goes: all of a real map.
#[test]
fn a_map_survives_its_encoding() {
    let (map, crush) = rich();
    let (again, crush_again) = decode(&encode(&map, &crush)).expect("a map");
    for (id, pool) in &map.pools {
        assert_eq!(again.pools.get(id), Some(pool));
    }
    assert_eq!(again, map);
    assert_eq!(crush_again, crush);
}

/// What makes a dump invalid JSON for everybody is nothing here.
#[test]
fn odd_names_are_names() {
    let (mut map, crush) = rich();
    let odd = "a\"b\\c\nd\u{0}é";
    for pool in map.pools.values_mut() {
        let pool = Arc::make_mut(pool);
        pool.name = PoolName::new(format!("{}{odd}", pool.name));
        let keys = [(odd.to_owned(), odd.to_owned())].into();
        pool.applications.insert(odd.to_owned(), keys);
    }
    assert_eq!(decode(&encode(&map, &crush)), Ok((map, crush)));
}

/// Names are bytes to Ceph. One that is no text does not make the others unreadable.
#[test]
fn a_name_that_is_no_text_is_replaced() {
    let (map, crush) = rich();
    let mut bytes = encode(&map, &crush);
    let at = bytes
        .windows(9)
        .position(|part| part == b"\x05\0\0\0ratio")
        .expect("the name");
    bytes[at + 4] = 0xff;
    let (read, _) = decode_unchecked(&bytes).expect("a map");
    assert_eq!(pool(&read, "\u{fffd}atio").snapshots.newest, 2);
}

/// A map of a cluster with so many pools, as releases encode it.
#[test]
fn many_pools() {
    let (mut map, crush) = rich();
    let pattern = Arc::clone(map.pools.values().next().expect("a pool"));
    for id in 1_000..2_000 {
        let mut pool = (*pattern).clone();
        pool.id = PoolId(id);
        pool.name = PoolName::new(format!("pool-{id}"));
        map.pools.insert(pool.id, Arc::new(pool));
    }
    assert_eq!(decode(&encode(&map, &crush)), Ok((map, crush)));
}
