//! Where copies lie, on real clusters with a tree: rules that are made, rules that cannot place what they should, and
//! data that moves with a person's word only.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use kube::api::DeleteParams;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::crush_map::{CrushMap, binary};
use poolwright::ceph::encoding::Cursor;
use poolwright::ceph::osd_map::Osd;
use poolwright::request::placement::capacity::{Verdict, judge};
use serde_json::{Value, json};
use tokio::process::Command;

use super::steps::{create_of, remove, status, token_in};
use super::support::{CAPS, Case, Ceph, LIMIT, World, condition, rounds, run};

/// Four OSDs on one host, one of them of class ssd.
async fn case_with_one_host() -> Case {
    let ceph = Arc::new(Ceph::own(&[("OSDS", "4")]).await);
    for line in [
        "osd crush rm-device-class 0 1 2 3",
        "osd crush set-device-class hdd 0 1 2",
        "osd crush set-device-class ssd 3",
    ] {
        ceph.ceph(&line.split(' ').collect::<Vec<_>>()).await;
    }
    let world = World::shared().await;
    world.connect("placement", &ceph, json!({})).await;
    Case::with_connection(world, "placement", "placement", ceph).await
}

fn spec(size: u8, crush: &str) -> String {
    format!(
        "{{replicated: {{size: {size}}}, {crush} applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 4}}}}"
    )
}

async fn lines(case: &Case, lines: &[&str]) {
    for line in lines {
        case.ceph(&line.split(' ').collect::<Vec<_>>()).await;
    }
}

async fn rules(case: &Case) -> Vec<String> {
    let rules = case.ceph(&["osd", "crush", "rule", "ls"]).await;
    rules.lines().map(str::to_owned).collect()
}

/// What a pool's rule says, by its number in the pool's entry.
async fn rule_of(case: &Case, name: &str) -> Value {
    let number = case.its_pool(name).await["crush_rule"].clone();
    let rules = case
        .ceph(&["osd", "crush", "rule", "dump", "-f", "json"])
        .await;
    let rules: Vec<Value> = serde_json::from_str(&rules).expect("JSON");
    let found = rules.into_iter().find(|rule| rule["rule_id"] == number);
    found.expect("its rule")
}

/// Deliverable: a rule is made for what a manifest says, a rule that cannot place the copies is refused, and another
/// rule waits for a person's word.
#[tokio::test(flavor = "multi_thread")]
async fn rules_and_places() {
    let case = case_with_one_host().await;
    one_host(&case).await;
    let other = [
        "osd crush add-bucket other host",
        "osd crush move other root=default",
        // As heavy as the others, or CRUSH gives up before it finds one of them.
        "osd crush set osd.3 0.0002 host=other",
        "osd crush rule create-erasure coded",
    ];
    lines(&case, &other).await;
    what_ceph_takes(&case).await;

    // Made in a round of its own, once for both.
    let by_host = "crush: {failureDomain: host},";
    case.apply("a", &spec(2, by_host)).await;
    case.ready("a").await;
    case.apply("b", &spec(2, by_host)).await;
    case.ready("b").await;
    let rule = rule_of(&case, "a").await;
    let name = rule["rule_name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("poolwright-"), "{rule}");
    assert_eq!(rule["steps"][1]["op"], "chooseleaf_firstn", "{rule}");
    assert_eq!(rule["steps"][1]["type"], "host", "{rule}");
    assert_eq!(rule_of(&case, "b").await, rule);
    let made = format!("ceph osd crush rule create-replicated {name} default host");
    let requests = case.requests("a").await;
    assert_eq!(rounds(&requests[0])[0], [made.as_str()], "{requests:#?}");
    assert_eq!(rounds(&requests[0]).len(), 4);
    assert_eq!(rounds(&case.requests("b").await[0]).len(), 3);
    let applied = status(&case.object("a").await).applied_fields.clone();
    assert!(applied.contains(&"crush".to_owned()), "{applied:?}");

    refused(&case).await;
    moved(&case, &name).await;
    removed(&case).await;
}

/// What a person with a single host meets first: why not, in numbers, and what to do.
async fn one_host(case: &Case) {
    let by_host = spec(3, "crush: {failureDomain: host},");
    case.apply("single", &by_host).await;
    let message = case.stalled("single", "CannotPlace").await;
    for words in [
        "can place 1 of 3 copies: below default there is only 1 of type host with an OSD that is up and in",
        "add 2 of type host with OSDs, or set crush.failureDomain to osd, so that copies may share a host: there are 4 \
         OSDs for them",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(case.ceph_pool("single").await.is_none());
    assert_eq!(rules(case).await, ["replicated_rule"], "nothing was sent");
    case.apply("single", &spec(3, "crush: {failureDomain: osd},"))
        .await;
    case.ready("single").await;
}

/// A rule that was made here goes with the last of the pools it was made for, and no other rule does.
async fn removed(case: &Case) {
    // What has no OSDs cannot be looked into, and might say that the others are in use.
    case.hand(&remove(&case.pool_name("naive"))).await;
    // The pools are proven empty first.
    let user = format!("client.poolwright-{}", case.connection());
    case.ceph(&["auth", "caps", &user, "mon", CAPS, "osd", "allow r"])
        .await;
    lines(
        case,
        &["osd crush rule create-replicated poolwright-000000000000 default osd"],
    )
    .await;
    let by_class = "crush: {failureDomain: osd, deviceClass: hdd}, deletionPolicy: Delete,";
    for name in ["first", "last"] {
        case.apply(name, &spec(2, by_class)).await;
        case.ready(name).await;
    }
    let rule = rule_of(case, "first").await["rule_name"].clone();
    let rule = rule.as_str().expect("a name").to_owned();
    assert_eq!(rule_of(case, "last").await["rule_name"], rule);
    let before = rules(case).await;
    assert!(before.contains(&rule), "{before:?}");
    for (name, stays) in [("first", true), ("last", false)] {
        let pools = case.pools();
        pools
            .delete(name, &DeleteParams::default())
            .await
            .expect("deleted");
        case.wait_for("the object is gone", LIMIT * 2, async || {
            match pools.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(format!("{:?}", object.status)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        assert!(case.ceph_pool(name).await.is_none());
        assert_eq!(rules(case).await.contains(&rule), stays, "{name}");
    }
    let mut left = before;
    left.retain(|name| *name != rule);
    assert_eq!(rules(case).await, left, "no other rule is touched");
}

/// The harm: Ceph takes a rule that places nothing, and the pool has no OSDs any more.
async fn what_ceph_takes(case: &Case) {
    let naive = case.pool_name("naive");
    case.hand(&create_of(&naive, 1, Some(2))).await;
    case.hand(&MonCommand::RuleCreateReplicated {
        rule: "by-rack".into(),
        root: "default".into(),
        bucket_type: "rack".into(),
        class: None,
    })
    .await;
    case.set("naive", "crush_rule", "by-rack").await;
    let up = case.ceph(&["osd", "map", &naive, "x", "-f", "json"]).await;
    let up: Value = serde_json::from_str(&up).expect("JSON");
    assert_eq!(up["up"], json!([]), "no OSD: all I/O stops");
}

/// What cannot be placed, and what is not there, is not made, nor set.
async fn refused(case: &Case) {
    for (name, size, crush, reason, words) in [
        (
            "hosts",
            3,
            "crush: {failureDomain: host},",
            "CannotPlace",
            "can place 2 of 3 copies: below default there are only 2 of type host with an OSD that is up and in",
        ),
        (
            "class",
            2,
            "crush: {failureDomain: osd, deviceClass: ssd},",
            "CannotPlace",
            "1 of 2 copies: below default there is only 1 OSD of class ssd that is up and in",
        ),
        (
            "racks",
            2,
            "crush: {rule: by-rack},",
            "CannotPlace",
            "the CRUSH rule by-rack can place 0 of 2 copies",
        ),
        (
            "kind",
            2,
            "crush: {rule: coded},",
            "InvalidSpec",
            "the CRUSH rule coded is not for replicated pools",
        ),
        (
            "size",
            5,
            "",
            "CannotPlace",
            "the CRUSH rule replicated_rule can place 4 of 5 copies",
        ),
        (
            "unknown",
            2,
            "crush: {rule: by-rak},",
            "InvalidSpec",
            "the cluster has no CRUSH rule by-rak; perhaps by-rack is meant",
        ),
    ] {
        case.apply(name, &spec(size, crush)).await;
        let message = case.stalled(name, reason).await;
        assert!(message.contains(words), "{name}: {message}");
        assert!(case.ceph_pool(name).await.is_none(), "{name}");
    }
    // Of a pool that is there the rest goes on.
    let wished = spec(3, "quota: {maxObjects: 7}, crush: {failureDomain: host},");
    case.apply("b", &wished).await;
    let message = case.stalled("b", "CannotPlace").await;
    assert!(message.contains("can place 2 of 3 copies"), "{message}");
    let pool = case.its_pool("b").await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [2, 7]);
    // Another host, and it goes on by itself.
    for line in [
        "osd crush add-bucket third host",
        "osd crush move third root=default",
        "osd crush set osd.2 0.0002 host=third",
    ] {
        case.ceph(&line.split(' ').collect::<Vec<_>>()).await;
    }
    case.until_pool("b", "of size 3", |pool| pool["size"] == 3)
        .await;
    case.ready("b").await;
}

/// Another rule moves the data: with a person's word, each time.
async fn moved(case: &Case, by_host: &str) {
    let before = case.its_pool("a").await;
    let by_class = "crush: {failureDomain: osd, deviceClass: hdd},";
    case.apply("a", &spec(2, by_class)).await;
    let message = case.stalled("a", "Unsafe").await;
    assert!(
        message.contains(&format!("has the CRUSH rule {by_host}"))
            && message.contains("no two copies in one osd, on OSDs of class hdd, below default"),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await["crush_rule"], before["crush_rule"]);
    // A tree that was changed a moment ago moves data of its own accord.
    case.wait_for("all data has arrived", LIMIT * 2, async || {
        let dump = case.dump().await;
        let mut moving = dump["pg_temp"].as_array().expect("a list").clone();
        // That of the pool without a place stays where it is.
        let stays = format!("{}.", case.its_pool("naive").await["pool"]);
        moving.retain(|group| {
            !group["pgid"]
                .as_str()
                .is_some_and(|id| id.starts_with(&stays))
        });
        if moving.is_empty() {
            Ok(())
        } else {
            Err(format!("{moving:?}"))
        }
    })
    .await;
    let token = case.as_told(&message).await;
    let object = case.ready("a").await;
    let rule = rule_of(case, "a").await;
    assert_eq!(rule["steps"][0]["item_name"], "default~hdd", "{rule}");
    assert_eq!(rule["steps"][1]["op"], "choose_firstn", "{rule}");
    let by_class = rule["rule_name"].as_str().expect("a name").to_owned();
    assert!(rules(case).await.contains(&by_host.to_owned()), "b has it");
    let used = &status(&object).used_tokens;
    assert_eq!(used.last().map(|used| used.token.as_str()), Some(&*token));

    // By hand back to what it was: that is a person's matter, too.
    case.set("a", "crush_rule", by_host).await;
    let object = case
        .until("a", "asks again", |object| {
            condition(object, "Stalled")
                .is_some_and(|stalled| stalled.1 == "Unsafe" && token_in(stalled.2) != token)
        })
        .await;
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await["crush_rule"], before["crush_rule"]);
    assert!(status(&object).drift.is_none(), "nothing was corrected");

    // What says the same is as good, whatever it is called; and what is let go stays.
    let same = format!("crush: {{rule: {by_host}}},");
    case.apply("a", &spec(2, &same)).await;
    case.ready("a").await;
    // Ours, and nobody has it any more.
    let left = rules(case).await;
    assert!(!left.contains(&by_class), "{left:?}");
    case.apply("a", &spec(2, "")).await;
    let object = case.ready("a").await;
    assert!(!status(&object).applied_fields.contains(&"crush".to_owned()));
    assert_eq!(case.its_pool("a").await["crush_rule"], before["crush_rule"]);
}

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// A map as text: two sites, hosts with OSDs, and a rule of one or two steps.
fn random_map(dice: &mut Dice) -> (String, i32) {
    let mut devices = String::new();
    let mut buckets = String::new();
    let mut sites = String::new();
    let (mut osd, mut id) = (0, -1);
    let mut root = String::new();
    for site in 0..=dice.below(3) {
        let mut hosts = String::new();
        for host in 0..dice.below(4) {
            let mut items = String::new();
            for _ in 0..dice.below(3) {
                let _ = writeln!(devices, "device {osd} osd.{osd}");
                let weight = if dice.below(5) == 0 {
                    "0.00000"
                } else {
                    "1.00000"
                };
                let _ = writeln!(items, "  item osd.{osd} weight {weight}");
                osd += 1;
            }
            let weight = items.matches("1.00000").count();
            let _ = writeln!(
                buckets,
                "host h{site}-{host} {{\n  id {id}\n  alg straw2\n  hash 0\n{items}}}"
            );
            let _ = writeln!(hosts, "  item h{site}-{host} weight {weight}.00000");
            id -= 1;
        }
        let weight: usize = hosts
            .lines()
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map(|weight| usize::from(weight > 0.5))
            .sum();
        let _ = writeln!(
            sites,
            "datacenter s{site} {{\n  id {id}\n  alg straw2\n  hash 0\n{hosts}}}"
        );
        let _ = writeln!(root, "  item s{site} weight {weight}.00000");
        id -= 1;
    }
    let steps = match dice.below(6) {
        0 => "  step chooseleaf firstn 0 type host\n",
        1 => "  step choose firstn 0 type osd\n",
        2 | 3 => "  step choose firstn 0 type datacenter\n  step chooseleaf firstn 1 type host\n",
        _ => "  step choose firstn 2 type datacenter\n  step chooseleaf firstn 2 type host\n",
    };
    let text = format!(
        "tunable choose_local_tries 0\ntunable choose_local_fallback_tries 0\ntunable choose_total_tries 200\ntunable chooseleaf_descend_once 1\ntunable chooseleaf_vary_r 1\n\
         tunable chooseleaf_stable 1\ntunable straw_calc_version 1\n{devices}type 0 osd\ntype 1 host\n\
         type 8 datacenter\ntype 11 root\n{buckets}{sites}root default {{\n  id {id}\n  alg straw2\n  hash 0\n{root}}}\n\
         rule r {{\n  id 0\n  type replicated\n  min_size 1\n  max_size 10\n  step take default\n{steps}  step emit\n}}\n"
    );
    (text, osd)
}

/// What is called impossible CRUSH does not do for any placement group, and what is called enough it does.
#[tokio::test(flavor = "multi_thread")]
async fn crush_agrees() {
    let dir = std::env::temp_dir().join(format!("placement-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let mut dice = Dice(7);
    let mut verdicts = [0; 3];
    for _ in 0..100 {
        let (text, osds) = random_map(&mut dice);
        let Some(crush) = compiled(&dir, &text).await else {
            panic!("crushtool does not take it:\n{text}");
        };
        // Some are out.
        let weights: Vec<u32> = (0..osds)
            .map(|_| u32::from(dice.below(4) > 0) * Osd::FULL_WEIGHT)
            .collect();
        if weights.iter().all(|weight| *weight == 0) {
            // Of that crushtool says nothing.
            continue;
        }
        let up = (0..).zip(weights.iter().map(|weight| Osd {
            up: true,
            weight: *weight,
        }));
        let up = up.collect();
        for copies in 1..=4 {
            let verdict = judge(&crush, &up, &crush.rules[&0], copies);
            let placed = placed(&dir, copies, &weights).await;
            let (most, least) = (placed.iter().max(), placed.iter().min());
            match verdict {
                Verdict::Enough => {
                    assert_eq!(least, Some(&copies), "{copies}: {weights:?}\n{text}");
                    verdicts[0] += 1;
                }
                Verdict::Short(shortage) => {
                    assert!(
                        most <= Some(&shortage.places),
                        "{shortage:?} {most:?} {weights:?}\n{text}"
                    );
                    verdicts[1] += 1;
                }
                Verdict::Doubtful(_) => verdicts[2] += 1,
            }
        }
    }
    println!("enough, short, doubtful: {verdicts:?}");
    assert!(verdicts.iter().all(|number| *number > 5), "{verdicts:?}");
    std::fs::remove_dir_all(&dir).expect("removed");
}

async fn compiled(dir: &Path, text: &str) -> Option<CrushMap> {
    let (source, map) = (dir.join("map.txt"), dir.join("map"));
    std::fs::write(&source, text).expect("written");
    let mut crushtool = Command::new("crushtool");
    let said = run(crushtool.arg("-c").arg(&source).arg("-o").arg(&map), None).await;
    if !said.ok {
        println!("{said:?}");
        return None;
    }
    let bytes = std::fs::read(&map).expect("a map");
    Some(binary::decode(Cursor::new(&bytes, "CRUSH map")).expect("decodes"))
}

/// How many OSDs CRUSH finds for each of many inputs.
async fn placed(dir: &Path, copies: usize, weights: &[u32]) -> Vec<usize> {
    let mut crushtool = Command::new("crushtool");
    crushtool.arg("-i").arg(dir.join("map"));
    crushtool.args(["--test", "--rule", "0", "--show-mappings"]);
    crushtool.args(["--min-x", "0", "--max-x", "127"]);
    crushtool.args(["--num-rep", &copies.to_string()]);
    for (osd, weight) in weights.iter().enumerate() {
        let share = if *weight > 0 { "1" } else { "0" };
        crushtool.args(["--weight", &osd.to_string(), share]);
    }
    let said = run(&mut crushtool, None).await;
    let text = format!("{}{}", said.out, said.err);
    let mappings = text.lines().filter(|line| line.starts_with("CRUSH rule"));
    let found: Vec<usize> = mappings
        .map(|line| {
            let list = line.rsplit_once('[').expect("a list").1;
            list.trim_end_matches(']')
                .split(',')
                .filter(|osd| !osd.is_empty())
                .count()
        })
        .collect();
    assert_eq!(found.len(), 128, "{crushtool:?}: {said:?}");
    found
}
