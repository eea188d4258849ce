//! The two ways of reading a cluster's maps give the same, whatever the cluster holds: hundreds
//! of pools with random settings, on the release that the test environment runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use poolwright::ceph::client::{MonClient, Reply};
use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::crush_map::{self, CrushMap};
use poolwright::ceph::osd_map::{OptionValue, OsdMap, binary, json};
use poolwright::ceph::rados::RadosClient;
use poolwright::ceph::types::PoolName;
use tokio::process::Command;

use super::support::{Ceph, Dice, run};

const DEADLINE: Duration = Duration::from_secs(60);
const POOLS: usize = 200;
const SETTINGS_EACH: usize = 8;

/// Variables of `osd pool set` with values to choose from, known to Ceph 16 and later.
const VARIABLES: [(&str, &[&str]); 32] = [
    ("size", &["2", "3", "4"]),
    ("min_size", &["1", "2"]),
    ("pg_num", &["2", "4"]),
    ("pg_num_min", &["1", "2"]),
    ("pg_num_max", &["64", "1024"]),
    ("pg_autoscale_mode", &["on", "off", "warn"]),
    ("pg_autoscale_bias", &["0.5", "4", "7.25"]),
    ("target_size_bytes", &["1", "123456789012345"]),
    ("target_size_ratio", &["0.1", "0.3", "2"]),
    ("bulk", &["true", "false"]),
    ("nodelete", &["true"]),
    ("nopgchange", &["true"]),
    ("nosizechange", &["true"]),
    ("noscrub", &["true"]),
    ("nodeep-scrub", &["true"]),
    ("write_fadvise_dontneed", &["true"]),
    ("scrub_min_interval", &["86400", "0.1"]),
    ("scrub_max_interval", &["604800", "1e-3"]),
    ("deep_scrub_interval", &["604800.5", "123456.789"]),
    ("recovery_priority", &["-10", "0", "10"]),
    ("recovery_op_priority", &["0", "63"]),
    ("scrub_priority", &["1", "63"]),
    (
        "compression_mode",
        &["none", "passive", "aggressive", "force"],
    ),
    ("compression_algorithm", &["snappy", "zlib", "zstd", "lz4"]),
    ("compression_required_ratio", &["0.875", "0.1"]),
    ("compression_max_blob_size", &["65536", "524288"]),
    ("compression_min_blob_size", &["4096", "8192"]),
    ("csum_type", &["none", "crc32c", "xxhash64"]),
    ("csum_max_block", &["65536"]),
    ("csum_min_block", &["4096"]),
    ("fingerprint_algorithm", &["sha1", "sha256", "sha512"]),
    ("dedup_cdc_chunk_size", &["4096", "65536"]),
];

/// Variables that a later release brought, or that not every pool may have.
const OTHERS: [(&str, &[&str]); 3] = [
    ("read_ratio", &["1", "70", "100"]),
    ("pct_update_delay", &["1", "5"]),
    ("eio", &["true"]),
];

async fn send(client: &RadosClient, command: &MonCommand) -> Reply {
    client.send(command, DEADLINE).await.expect("a reply")
}

async fn send_all(client: &RadosClient, commands: &[MonCommand]) -> Vec<Reply> {
    join_all(commands.iter().map(|command| send(client, command))).await
}

async fn body(client: &RadosClient, command: &MonCommand) -> Vec<u8> {
    let reply = send(client, command).await;
    assert_eq!(reply.code, 0, "{}: {}", command.to_line(), reply.text);
    reply.body
}

/// Both maps in both ways, of one epoch.
async fn both(client: &RadosClient) -> [(OsdMap, CrushMap); 2] {
    let newest = MonCommand::OsdGetMap { epoch: None };
    for _ in 0..100 {
        let before = body(client, &newest).await;
        let dump = body(client, &MonCommand::OsdDump).await;
        let crush_dump = body(client, &MonCommand::CrushDump).await;
        let after = body(client, &newest).await;
        if before == after {
            let encoded = binary::decode(&after).expect("an encoded map");
            let osd = json::decode(&dump).expect("a dump");
            let crush = crush_map::json::decode(&crush_dump).expect("a dump");
            return [encoded, (osd, crush)];
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the cluster does not come to rest");
}

/// Says which pool differs, before it prints all of them.
fn same([(encoded, crush), (dumped, crush_dumped)]: &[(OsdMap, CrushMap); 2]) {
    let ids = |map: &OsdMap| map.pools.keys().copied().collect::<Vec<_>>();
    assert_eq!(ids(encoded), ids(dumped));
    for (id, pool) in &encoded.pools {
        assert_eq!(Some(pool), dumped.pools.get(id));
    }
    assert_eq!(encoded, dumped);
    assert_eq!(crush, crush_dumped);
}

fn pools() -> Vec<PoolName> {
    (0..POOLS)
        .map(|number| PoolName::new(format!("pool-{number} of é/{number}")))
        .collect()
}

fn creation(dice: &mut Dice, pool: &PoolName) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate {
        size: Some(*dice.of(&[2, 3])),
        autoscale_mode: Some((*dice.of(&["on", "off", "warn"])).to_owned()),
        pg_num_min: *dice.of(&[None, Some(1)]),
        pg_num_max: *dice.of(&[None, Some(32)]),
        bulk: *dice.of(&[None, Some(true), Some(false)]),
        target_size_bytes: *dice.of(&[None, Some(1 << 40)]),
        ..PoolCreate::new(pool.clone(), 1)
    })
}

fn settings(dice: &mut Dice, pool: &PoolName) -> Vec<MonCommand> {
    let mut commands: Vec<MonCommand> = (0..SETTINGS_EACH)
        .map(|_| {
            let place = dice.below(VARIABLES.len() + OTHERS.len());
            let (variable, values) = VARIABLES
                .iter()
                .chain(&OTHERS)
                .nth(place)
                .expect("a variable");
            MonCommand::PoolSet {
                pool: pool.clone(),
                variable: (*variable).to_owned(),
                value: (*dice.of(values)).to_owned(),
            }
        })
        .collect();
    for field in ["max_bytes", "max_objects"] {
        if dice.below(3) == 0 {
            commands.push(MonCommand::PoolSetQuota {
                pool: pool.clone(),
                field: field.to_owned(),
                value: (*dice.of(&["1024", "9007199254740993"])).to_owned(),
            });
        }
    }
    if dice.below(2) == 0 {
        commands.push(MonCommand::ApplicationEnable {
            pool: pool.clone(),
            application: (*dice.of(&["rbd", "rgw", "cephfs", "of mine"])).to_owned(),
            confirmed: false,
        });
    }
    commands
}

fn keys(dice: &mut Dice, map: &OsdMap) -> Vec<MonCommand> {
    let tagged = map.pools.values().flat_map(|pool| {
        let applications = pool.applications.keys();
        applications.map(|application| (pool.name.clone(), application.clone()))
    });
    tagged
        .map(|(pool, application)| MonCommand::ApplicationSet {
            pool,
            application,
            key: (*dice.of(&["a", "poolwright", "ключ"])).to_owned(),
            value: (*dice.of(&["", "v", "a \"quoted\" \\ value"])).to_owned(),
        })
        .collect()
}

/// What has no typed command: erasure code, tiers, snapshots, the tree and the rules in it, OSDs.
async fn by_hand(ceph: &Ceph) {
    // One client for all of them: starting it takes longer than a command does.
    let lines = [
        "osd erasure-code-profile set two-one k=2 m=1 crush-failure-domain=osd",
        "osd pool create coded 1 1 erasure two-one",
        "osd pool set coded fast_read 1",
        "osd crush rm-device-class osd.1",
        "osd crush set-device-class ssd osd.1",
        "osd crush rule create-replicated fast default osd ssd",
        "osd crush add-bucket rack1 rack",
        "osd crush move rack1 root=default",
        "osd crush reweight osd.0 1.25",
        "osd crush weight-set create-compat",
        "osd crush weight-set reweight-compat osd.0 0.3",
        "osd pool create ruled 1 1 replicated fast",
        "osd pool create base 1 1",
        "osd pool create cache 1 1",
        "osd tier add base cache",
        "osd tier cache-mode cache writeback",
        "osd tier set-overlay base cache",
        "osd pool set cache hit_set_type bloom",
        "osd pool set cache hit_set_fpp 0.02",
        "osd pool set cache hit_set_count 8",
        "osd pool set cache hit_set_period 3600",
        "osd pool set cache target_max_bytes 1000000000",
        "osd pool set cache cache_target_dirty_high_ratio 0.7",
        "osd pool set cache cache_min_evict_age 1800",
        "osd pool mksnap ruled one",
        "osd set noout",
        "osd set nosnaptrim",
        "osd reweight 2 0.75",
        "osd set-nearfull-ratio 0.8",
        "osd blocklist add 127.0.0.9:0/42",
    ];
    let mut command = Command::new("ceph");
    command
        .arg("-c")
        .arg(ceph.conf())
        .args(["--connect-timeout", "20"]);
    let said = run(&mut command, Some(&lines.join("\n"))).await;
    said.expect("the commands of a person");
}

/// Random settings, and what only a person sets: the encoded maps say the same as the dumps.
#[tokio::test(flavor = "multi_thread")]
async fn encoded_maps_say_what_dumps_say() {
    let ceph = Ceph::own(&[("OSDS", "3")]).await;
    let client = ceph.connect().await;
    let mut dice = Dice::new(0x5eed_1234_abcd_ef01);
    let names = pools();
    let creations: Vec<_> = names.iter().map(|pool| creation(&mut dice, pool)).collect();
    for reply in send_all(&client, &creations).await {
        assert_eq!(reply.code, 0, "{}", reply.text);
    }
    same(&both(&client).await);

    let commands: Vec<_> = names
        .iter()
        .flat_map(|pool| settings(&mut dice, pool))
        .collect();
    let replies = send_all(&client, &commands).await;
    by_hand(&ceph).await;
    let maps = both(&client).await;
    same(&maps);
    let [(map, crush), _] = &maps;
    accepted_is_shown(&commands, &replies, map);
    for name in ["fast", "coded"] {
        assert!(crush.rule_named(name).is_some(), "{:?}", crush.rules);
    }
    let cache = map.pool_named(&PoolName::new("cache")).expect("the cache");
    assert_eq!(cache.tiering.min_evict_age, 1800);
    assert!(map.flags.contains("nosnaptrim"), "{:?}", map.flags);

    for reply in send_all(&client, &keys(&mut dice, map)).await {
        assert_eq!(reply.code, 0, "{}", reply.text);
    }
    same(&both(&client).await);
    an_odd_key(&client, map).await;
    old_epochs(&client, map).await;
    client.close(DEADLINE).await;
}

/// Equal models could both leave a thing out: what was set is there, and each variable was set.
fn accepted_is_shown(commands: &[MonCommand], replies: &[Reply], map: &OsdMap) {
    let mut values: BTreeMap<(&PoolName, &str), BTreeSet<&str>> = BTreeMap::new();
    for (command, _) in commands
        .iter()
        .zip(replies)
        .filter(|(_, reply)| reply.code == 0)
    {
        if let MonCommand::PoolSet {
            pool,
            variable,
            value,
        } = command
        {
            // The order within a round is the monitors': any of them may have been the last.
            values.entry((pool, variable)).or_default().insert(value);
        }
    }
    let set: BTreeSet<&str> = values.keys().map(|(_, variable)| *variable).collect();
    for (variable, _) in VARIABLES {
        assert!(
            set.contains(variable),
            "{variable} was refused by every pool"
        );
    }
    let mut seen = 0;
    for ((name, variable), values) in values {
        let pool = map.pool_named(name).expect("the pool");
        let Some(option) = pool.options.get(variable) else {
            continue;
        };
        let holds = |value: &&str| match option {
            OptionValue::Integer(number) => value.parse() == Ok(*number) || variable == "csum_type",
            OptionValue::Double(number) => value
                .parse::<f64>()
                .is_ok_and(|v| (v - number).abs() < 1e-6 * v),
            OptionValue::Text(text) => text == value,
        };
        assert!(
            values.iter().any(holds),
            "{name} {variable}: {option:?}, {values:?}"
        );
        seen += 1;
    }
    assert!(seen > POOLS * 2, "{seen} options were looked at");
}

/// What makes the dump invalid JSON for everybody is a key like any other here.
async fn an_odd_key(client: &RadosClient, map: &OsdMap) {
    let mut pools = map.pools.values();
    let pool = pools.find(|pool| pool.applications.contains_key("rbd"));
    let pool = pool.expect("a pool of RBD").name.clone();
    let odd = "a\"b\\c\nd";
    let command = MonCommand::ApplicationSet {
        pool: pool.clone(),
        application: "rbd".into(),
        key: odd.into(),
        value: "v".into(),
    };
    body(client, &command).await;
    let dump = body(client, &MonCommand::OsdDump).await;
    assert!(json::decode(&dump).is_err(), "the harm");
    let encoded = body(client, &MonCommand::OsdGetMap { epoch: None }).await;
    let (map, _) = binary::decode(&encoded).expect("a map");
    let pool = map.pool_named(&pool).expect("the pool");
    assert_eq!(pool.applications["rbd"][odd], "v");
}

/// Maps of the past are maps as well, each of the epoch that was asked for.
async fn old_epochs(client: &RadosClient, map: &OsdMap) {
    for back in [1, 2, 10] {
        let epoch = poolwright::ceph::types::Epoch(map.epoch.0 - back);
        let encoded = body(client, &MonCommand::OsdGetMap { epoch: Some(epoch) }).await;
        let (old, _) = binary::decode(&encoded).expect("a map");
        assert_eq!((old.epoch, &old.fsid), (epoch, &map.fsid));
    }
}
