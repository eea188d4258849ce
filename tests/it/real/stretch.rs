//! A cluster in stretch mode: two sites and a third monitor's. The monitors set size, `min_size` and rule of every pool
//! there, and give less when a site is lost; whoever puts back what a manifest says works against them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::process::Command;

use super::steps::status;
use super::support::{Case, Ceph, LIMIT, World, condition, has_all, holds, pools_of, run};

/// What goes to both sites.
const RULE: &str = "rule sites {
  id 5
  type replicated
  min_size 1
  max_size 10
  step take default
  step choose firstn 0 type datacenter
  step choose firstn 2 type osd
  step emit
}
";

/// Five monitors, four of them and four OSDs in two sites.
async fn case_of_two_sites() -> Case {
    let ceph = Arc::new(Ceph::own(&[("MONS", "5"), ("OSDS", "4")]).await);
    let mut lines = Vec::new();
    for (site, osds) in [("one", [0, 1]), ("two", [2, 3])] {
        lines.push(format!("osd crush add-bucket {site} datacenter"));
        lines.push(format!("osd crush move {site} root=default"));
        lines.extend(osds.map(|osd| format!("osd crush set osd.{osd} 1 datacenter={site}")));
    }
    several(&ceph, &lines).await;
    let path = |name: &str| ceph.dir().join(name).display().to_string();
    let (map, text) = (path("crush"), path("crush.txt"));
    ceph.ceph(&["osd", "getcrushmap", "-o", &map]).await;
    let crushtool = async |args: &[&str]| {
        let said = run(Command::new("crushtool").args(args), None).await;
        said.expect("crushtool")
    };
    crushtool(&["-d", &map, "-o", &text]).await;
    let rules = std::fs::read_to_string(&text).expect("a map") + RULE;
    std::fs::write(&text, rules).expect("written");
    crushtool(&["-c", &text, "-o", &map]).await;
    ceph.ceph(&["osd", "setcrushmap", "-i", &map]).await;
    let world = World::shared().await;
    world.connect("stretch", &ceph, json!({})).await;
    let case = Case::with_connection(world, "stretch", "stretch", ceph).await;
    case.ceph(&["mon", "set", "election_strategy", "connectivity"])
        .await;
    let sites = ["one", "one", "two", "two", "three"];
    let sites: Vec<(&str, &str)> = ["a", "b", "c", "d", "e"].into_iter().zip(sites).collect();
    // Each of these ends in an election, which can take what comes meanwhile with it.
    case.wait_for("the monitors have their sites", LIMIT, async || {
        let dump = case.ceph(&["mon", "dump", "-f", "json"]).await;
        let dump: Value = serde_json::from_str(&dump).map_err(|error| error.to_string())?;
        let placed = |id: &str| {
            let mut monitors = dump["mons"].as_array().into_iter().flatten();
            monitors.any(|monitor| {
                monitor["name"] == id
                    && monitor["crush_location"].to_string().contains("datacenter")
            })
        };
        let left = sites.iter().filter(|(id, _)| !placed(id));
        let lines = left.map(|(id, site)| format!("mon set_location {id} datacenter={site}"));
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            several(case.cluster(), &lines).await;
        }
        holds(lines.is_empty(), &lines)
    })
    .await;
    case
}

/// One client for all of these: starting it takes longer than a command does.
async fn several(ceph: &Ceph, lines: &[String]) {
    let mut client = Command::new("ceph");
    client.arg("-c").arg(ceph.conf());
    let said = run(&mut client, Some(&(lines.join("\n") + "\n"))).await;
    said.expect("the commands");
}

fn spec(more: &str) -> String {
    format!(
        "{{replicated: {{size: 3}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 4}}{more}}}"
    )
}

/// Size, `min_size` and the name of the rule.
async fn own(case: &Case, name: &str) -> (i64, i64, String) {
    let pool = case.its_pool(name).await;
    let number = |key: &str| pool[key].as_i64().expect("a number");
    let rule = case
        .ceph(&[
            "osd",
            "pool",
            "get",
            &case.pool_name(name),
            "crush_rule",
            "-f",
            "json",
        ])
        .await;
    let rule: Value = serde_json::from_str(&rule).expect("JSON");
    let rule = rule["crush_rule"].as_str().expect("a name").to_owned();
    (number("size"), number("min_size"), rule)
}

/// The sentence of the condition Ready, when it says so.
async fn told(case: &Case, name: &str, words: &str) -> String {
    let so = |object: &_| {
        condition(object, "Ready").is_some_and(|ready| ready.0 == "True" && ready.2.contains(words))
    };
    let object = case.until(name, words, so).await;
    condition(&object, "Ready").expect("just seen").2.to_owned()
}

/// How many placement groups have no copy in the first site.
async fn not_in_the_first(case: &Case, name: &str) -> usize {
    let map = case.cluster().dir().join("map");
    let file = map.display().to_string();
    case.ceph(&["osd", "getmap", "-o", &file]).await;
    let id = case.its_pool(name).await["pool"].to_string();
    let mut tool = Command::new("osdmaptool");
    tool.args([&file, "--test-map-pgs-dump", "--pool", &id]);
    let said = run(&mut tool, None).await.expect("osdmaptool");
    let groups = said
        .lines()
        .filter(|line| line.starts_with(&format!("{id}.")));
    let places = groups.map(|line| {
        let list = line.split(['[', ']']).nth(1).expect("a list");
        list.split(',').map(str::to_owned).collect::<Vec<_>>()
    });
    let places: Vec<Vec<String>> = places.collect();
    assert_eq!(places.len(), 64, "{said}");
    let first = |osd: &String| osd == "0" || osd == "1";
    places.iter().filter(|osds| !osds.iter().any(first)).count()
}

/// What the controller has sent for the case's pools: the monitor that is asked and the one that leads both log it.
async fn sent(case: &Case) -> BTreeSet<String> {
    case.sent().await.iter().map(Value::to_string).collect()
}

/// Rule 13: what the monitors set there stays, whole or with one site; the rest goes on, and a person is told.
#[tokio::test(flavor = "multi_thread")]
async fn two_sites() {
    let case = case_of_two_sites().await;
    case.apply("a", &spec(", minSize: 2")).await;
    case.ready("a").await;
    assert_eq!(own(&case, "a").await, (3, 2, "replicated_rule".to_owned()));
    let before = sent(&case).await;
    case.ceph(&["mon", "enable_stretch_mode", "e", "sites", "datacenter"])
        .await;
    let stretched = (4, 2, "sites".to_owned());
    case.wait_for("the pool is stretched", LIMIT, async || {
        let found = own(&case, "a").await;
        holds(found == stretched, &found)
    })
    .await;
    let message = told(&case, "a", "stretch mode").await;
    assert!(
        message.contains("size, minSize of the manifest counts for nothing there"),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(own(&case, "a").await, stretched);
    assert_eq!(sent(&case).await, before, "nothing was sent");
    assert!(status(&case.object("a").await).drift.is_none());
    harm(&case).await;
    changed(&case).await;
    new(&case).await;
    one_site(&case).await;
}

/// The harm: monitors take by hand what a manifest says, and then a site holds all there is.
async fn harm(case: &Case) {
    case.ceph(&["osd", "pool", "create", &case.pool_name("naive"), "64"])
        .await;
    for (variable, value) in [("crush_rule", "sites"), ("size", "4")] {
        case.set("naive", variable, value).await;
    }
    assert_eq!(not_in_the_first(case, "naive").await, 0);
    for (variable, value) in [("crush_rule", "replicated_rule"), ("size", "2")] {
        case.set("naive", variable, value).await;
    }
    let lost = not_in_the_first(case, "naive").await;
    assert!(lost > 0, "what the second site alone has goes with it");
    case.hand(&super::steps::remove(&case.pool_name("naive")))
        .await;
}

/// Of another manifest that which is not the monitors' is set, and nobody is asked about the rest.
async fn changed(case: &Case) {
    let before = sent(case).await;
    let more = ", minSize: 1, crush: {rule: replicated_rule}, quota: {maxObjects: 7}";
    let spec = spec(more).replace("size: 3", "size: 1");
    case.apply("a", &spec).await;
    case.ready("a").await;
    told(
        case,
        "a",
        "size, minSize, crush of the manifest counts for nothing there",
    )
    .await;
    assert_eq!(own(case, "a").await, (4, 2, "sites".to_owned()));
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 7);
    let now = sent(case).await;
    let more: Vec<&String> = now.difference(&before).collect();
    assert!(
        matches!(more.as_slice(), [line] if line.contains("set-quota")),
        "{more:#?}"
    );
    // Neither is what people set there by hand.
    case.set("a", "min_size", "3").await;
    case.looked("a").await;
    assert_eq!(own(case, "a").await.1, 3);
    case.set("a", "min_size", "2").await;
    assert_eq!(sent(case).await, now);
}

/// A new pool gets what the monitors give it, and its rule; what they do not make is refused before anything is sent.
async fn new(case: &Case) {
    let with_size = ["osd", "pool", "create", "by-hand", "4", "--size", "3"];
    let said = case.cluster().try_ceph(&with_size).await;
    assert!(
        !said.ok && said.err.contains("we are in stretch mode"),
        "{said:?}"
    );
    case.apply("b", &spec(", crush: {rule: sites}")).await;
    case.ready("b").await;
    assert_eq!(own(case, "b").await, (4, 2, "sites".to_owned()));
    // Monitors choose the rule that most pools have there. Another one somebody has to give it.
    case.apply("c", &spec("")).await;
    case.ready("c").await;
    assert_eq!(own(case, "c").await, (4, 2, "sites".to_owned()));
    case.set("c", "crush_rule", "replicated_rule").await;
    let message = told(case, "c", "does not choose among").await;
    has_all(
        &message,
        [
            "the pool's CRUSH rule replicated_rule does not choose among the buckets of type datacenter",
            "ceph osd pool set",
        ],
    );
    let before = sent(case).await;
    let coded = "{type: ErasureCoded, erasureCoded: {dataChunks: 2, codingChunks: 1}, crush: {failureDomain: osd}, \
                 applications: [{name: rbd}]}";
    case.apply("d", coded).await;
    let message = case.stalled("d", "Unsupported").await;
    assert!(
        message.contains("no erasure-coded pool can be made"),
        "{message}"
    );
    assert_eq!(sent(case).await, before);
}

/// A site is lost: the monitors take its share of `min_size` off, so that the other one goes on alone.
async fn one_site(case: &Case) {
    let before = sent(case).await;
    for daemon in ["osd.2", "osd.3", "mon.c", "mon.d"] {
        case.cluster().end(daemon);
    }
    case.wait_for("one site goes on", LIMIT, async || {
        let dump = case.dump().await;
        let mode = &dump["stretch_mode"]["degraded_stretch_mode"];
        holds(*mode == 1, mode)
    })
    .await;
    let dump = case.dump().await;
    let alone = |pool: &Value| pool["min_size"] == 1;
    assert!(pools_of(&dump).all(alone), "{dump}");
    told(case, "a", "stretch mode").await;
    case.looked("a").await;
    assert_eq!(own(case, "a").await, (4, 1, "sites".to_owned()));
    assert_eq!(sent(case).await, before, "nothing was sent");
    // What is not the monitors' goes on.
    case.apply("b", &spec(", crush: {rule: sites}, quota: {maxObjects: 9}"))
        .await;
    case.ready("b").await;
    assert_eq!(case.its_pool("b").await["quota_max_objects"], 9);
    assert_eq!(own(case, "b").await, (4, 1, "sites".to_owned()));
}
