//! Any command that changes pools, as people and programs send them: often right, often not.
//!
//! Left out, since the simulated cluster does not have them or answers them otherwise on purpose:
//!
//! - profiles and rules, and erasure-coded pools made without a rule: these wait inside the monitors for
//!   rounds of their own, so what they are made in is not one round. [`prepared`] are there from the start.
//! - The removal of an erasure-coded pool: Ceph 20 removes its rule with it.
//! - `pg_num_actual` and `pgp_num_actual`, which are the manager's, and `dedup_tier` and all that is
//!   accepted of a cache tier only: no pool here is one.
//! - Numbers that this program never sends: `nan` and `inf`, which monitors take, and then print a dump that
//!   nobody can read; decimals in hexadecimal; and counts that wrap around in the monitors, such as `16E`.

use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::osd_map::{Pool, PoolKind};
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::PoolName;

use super::super::support::Dice;

/// An erasure-code profile, a rule made from it, and another rule for replicas.
pub(super) const PROFILE: &str = "two-one";
pub(super) const CODED: &str = "coded";
pub(super) const OTHER: &str = "other";

/// What there is before any pool, each in a round of its own.
pub(super) fn prepared() -> [MonCommand; 3] {
    [
        MonCommand::ProfileSet {
            profile: PROFILE.to_owned(),
            values: ["plugin=jerasure", "k=2", "m=1", "crush-failure-domain=osd"]
                .map(str::to_owned)
                .into(),
        },
        MonCommand::RuleCreateErasure {
            rule: CODED.to_owned(),
            profile: PROFILE.to_owned(),
        },
        MonCommand::RuleCreateReplicated {
            rule: OTHER.to_owned(),
            root: "default".to_owned(),
            bucket_type: "osd".to_owned(),
            class: None,
        },
    ]
}

/// Few, so that they meet: in renames, in creations of what is there, in removals of what is not.
const NAMES: [&str; 10] = ["a", "b", "c", "d e", "é", "f\"g", "h/i", "j'k", ".l", "m"];

const BOOLEANS: &[&str] = &["true", "false", "0", "1"];
const GROUPS: &[&str] = &["1", "2", "4", "8", "16", "32", "64"];
const BYTES: &[&str] = &[
    "0", "4096", "64K", "1M", "1Mi", "1MB", "1G", "3Ti", "2TiB", "1P",
];
const SECONDS: &[&str] = &["0", "86400", "0.5", "604800.25", "1e3"];

/// The variables, each with values that are good in most pools.
const VARIABLES: &[(&str, &[&str])] = &[
    ("size", &["2", "3", "4", "5", "1", "10"]),
    ("min_size", &["1", "2", "3", "4"]),
    ("pg_num", GROUPS),
    ("pgp_num", GROUPS),
    ("pg_num_min", &["0", "1", "2", "8", "32"]),
    ("pg_num_max", &["0", "1", "8", "32", "128"]),
    ("pg_autoscale_mode", &["on", "off", "warn"]),
    ("pg_autoscale_bias", &["0", "0.5", "4", "1000"]),
    ("target_size_bytes", BYTES),
    ("target_size_ratio", &["0", "0.1", "0.3", "2"]),
    ("bulk", BOOLEANS),
    ("crush_rule", &["replicated_rule", OTHER, CODED, "missing"]),
    ("nodelete", BOOLEANS),
    ("nopgchange", BOOLEANS),
    ("nosizechange", BOOLEANS),
    ("noscrub", BOOLEANS),
    ("nodeep-scrub", BOOLEANS),
    ("write_fadvise_dontneed", BOOLEANS),
    ("eio", BOOLEANS),
    ("hashpspool", BOOLEANS),
    ("fast_read", BOOLEANS),
    ("allow_ec_overwrites", BOOLEANS),
    (
        "compression_mode",
        &["none", "passive", "aggressive", "force", "unset"],
    ),
    (
        "compression_algorithm",
        &["snappy", "zlib", "zstd", "lz4", "none", "unset"],
    ),
    ("compression_required_ratio", &["0", "0.875", "1", "0.1"]),
    ("compression_min_blob_size", BYTES),
    ("compression_max_blob_size", BYTES),
    (
        "csum_type",
        &["none", "crc32c", "crc32c_8", "xxhash64", "unset"],
    ),
    ("csum_min_block", BYTES),
    ("csum_max_block", BYTES),
    ("scrub_min_interval", SECONDS),
    ("scrub_max_interval", SECONDS),
    ("deep_scrub_interval", SECONDS),
    ("scrub_priority", &["0", "1", "63"]),
    ("recovery_priority", &["-10", "0", "10", "3"]),
    ("recovery_op_priority", &["0", "1", "63"]),
    ("read_ratio", &["0", "70", "100"]),
    ("pct_update_delay", &["0", "5"]),
    (
        "fingerprint_algorithm",
        &["sha1", "sha256", "sha512", "unset"],
    ),
    ("dedup_chunk_algorithm", &["fastcdc", "fixed", "unset"]),
    ("dedup_cdc_chunk_size", &["0", "4096", "65536"]),
    ("hit_set_count", &["1"]),
    ("target_max_bytes", &["1"]),
    ("of_nobody", &["1"]),
];

/// Values that are wrong for most variables, and for some of them not.
const ODD: &[&str] = &[
    "",
    " ",
    "x",
    "-1",
    "0",
    "1",
    "11",
    "-11",
    "101",
    "1001",
    "65537",
    "1.5",
    "-0.5",
    "+3",
    " 7",
    "7 ",
    "007",
    "1e1",
    ".5",
    "5.",
    "10K",
    "10k",
    "5Ki",
    "1B",
    "-1K",
    "1.5G",
    "G",
    "unset",
    "none",
    "True",
    "TRUE",
    "yes",
    "on",
    "2",
    "auto",
    "99999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "16E",
    "4294967296",
    "2147483648",
    "é",
];

const APPLICATIONS: &[&str] = &["rbd", "rgw", "cephfs", "of mine", "one more", ""];
const KEYS: &[&str] = &["a", "b", "poolwright", "ключ", "all", "", "q\"uote"];
const VALUES: &[&str] = &["", "v", "w", "all", "a \"quoted\" \\ value"];

/// A command that may follow on what there is.
pub(super) fn any(dice: &mut Dice, cluster: &SimulatedCluster) -> MonCommand {
    let pool = pool(dice, cluster);
    let coded = |pool: &PoolName| {
        let pool = cluster.pool(pool.as_str());
        pool.is_some_and(|pool| pool.kind == PoolKind::Erasure)
    };
    match dice.below(100) {
        0..12 => creation(dice),
        12..16 if !coded(&pool) => MonCommand::PoolRemove { pool },
        16..23 => MonCommand::PoolRename {
            from: pool,
            to: anywhere(dice),
        },
        23..31 => quota(dice, pool),
        31..40 => MonCommand::ApplicationEnable {
            pool,
            application: application(dice),
            confirmed: dice.once_in(2),
        },
        40..52 => MonCommand::ApplicationSet {
            application: enabled(dice, cluster, &pool),
            pool,
            key: text(dice, KEYS),
            value: text(dice, VALUES),
        },
        52..59 => MonCommand::ApplicationRemove {
            application: enabled(dice, cluster, &pool),
            pool,
            key: text(dice, KEYS),
        },
        _ => {
            let (variable, values) = *dice.of(VARIABLES);
            let odd = dice.once_in(4);
            MonCommand::PoolSet {
                pool,
                variable: variable.to_owned(),
                value: (*dice.of(if odd { ODD } else { values })).to_owned(),
            }
        }
    }
}

fn anywhere(dice: &mut Dice) -> PoolName {
    if dice.once_in(40) {
        return PoolName::new("");
    }
    PoolName::new(*dice.of(&NAMES))
}

/// Mostly one that is there.
fn pool(dice: &mut Dice, cluster: &SimulatedCluster) -> PoolName {
    let there: Vec<&PoolName> = cluster
        .map()
        .pools
        .values()
        .map(|pool| &pool.name)
        .collect();
    if there.is_empty() || dice.once_in(12) {
        return anywhere(dice);
    }
    (*dice.of(&there)).clone()
}

fn creation(dice: &mut Dice) -> MonCommand {
    let coded = dice.once_in(4);
    let rules: &[&str] = if coded {
        &[CODED, CODED, CODED, OTHER, "missing"]
    } else {
        &["replicated_rule", OTHER, CODED, "missing"]
    };
    let rule = (coded || dice.once_in(4)).then(|| text(dice, rules));
    let profile = coded.then(|| text(dice, &[PROFILE, PROFILE, PROFILE, "missing"]));
    let positive = |dice: &mut Dice, numbers: &[i64]| dice.once_in(4).then(|| *dice.of(numbers));
    MonCommand::PoolCreate(PoolCreate {
        pool: anywhere(dice),
        pg_num: if dice.once_in(8) {
            *dice.of(&[0, -1, 65_536, 65_537])
        } else {
            *dice.of(&[1, 2, 4, 8, 16])
        },
        size: dice
            .once_in(2)
            .then(|| *dice.of(&[0, 1, 2, 3, 4, 5, 10, 11, -1])),
        autoscale_mode: dice
            .once_in(2)
            .then(|| text(dice, &["on", "off", "warn", "auto"])),
        pg_num_min: positive(dice, &[1, 4, 64]),
        pg_num_max: positive(dice, &[1, 4, 64]),
        bulk: dice.once_in(3).then(|| dice.once_in(2)),
        target_size_bytes: positive(dice, &[1, 1 << 40]),
        target_size_ratio: dice.once_in(4).then(|| *dice.of(&[0.3, 1.0, 2.5])),
        profile,
        rule,
    })
}

fn quota(dice: &mut Dice, pool: PoolName) -> MonCommand {
    let field = *dice.of(&[
        "max_bytes",
        "max_bytes",
        "max_objects",
        "max_objects",
        "max_files",
    ]);
    let values: &[&str] = if dice.once_in(3) {
        ODD
    } else {
        &["0", "5", "1000", "10K", "3M", "1G", "9007199254740993"]
    };
    let value = match text(dice, values) {
        value if value == "16E" => "16K".to_owned(),
        value => value,
    };
    MonCommand::PoolSetQuota {
        pool,
        field: field.to_owned(),
        value,
    }
}

fn application(dice: &mut Dice) -> String {
    if dice.once_in(30) {
        return "x".repeat(*dice.of(&[128, 129]));
    }
    text(dice, APPLICATIONS)
}

/// Mostly one that the pool has.
fn enabled(dice: &mut Dice, cluster: &SimulatedCluster, pool: &PoolName) -> String {
    let has: Vec<String> = cluster
        .pool(pool.as_str())
        .map(|pool: &std::sync::Arc<Pool>| pool.applications.keys().cloned().collect())
        .unwrap_or_default();
    if has.is_empty() || dice.once_in(8) {
        return application(dice);
    }
    dice.of(&has).clone()
}

fn text(dice: &mut Dice, words: &[&str]) -> String {
    if dice.once_in(60) {
        return "y".repeat(*dice.of(&[128, 129]));
    }
    (*dice.of(words)).to_owned()
}
