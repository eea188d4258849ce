//! How long it takes, beside the same rounds sent by hand in the same run.
//!
//! Asserted are counts and limits ten times as wide as the targets: other tests run at the same time. For figures worth
//! keeping, `make test ARGS=timings` with `POOLWRIGHT_WRITE_DOCS=1`, which writes `docs/timings.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::ListParams;
use poolwright::api::conditions::{ConditionType, is_true};
use poolwright::api::v1alpha1::CephPool;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::steps::create_of;
use super::support::{Case, Ceph, LIMIT, World, holds, pools_of, rounds};

/// Ten times the target of 1.3.
const WIDEST: f64 = 13.0;

fn spec(objects: u64) -> String {
    format!(
        "{{replicated: {{size: 2}}, minSize: 2, placementGroups: {{autoscale: Disabled, count: 1}}, \
         quota: {{maxBytes: 1Gi, maxObjects: {objects}}}, applications: [{{name: rbd, metadata: {{team: storage}}}}]}}"
    )
}

/// The three rounds that a person with a fast hand would send for [`spec`]; then the wait that Ready means, too.
async fn by_hand(case: &Case, names: &[String]) -> Duration {
    let began = Instant::now();
    let create =
        |name: &String| create_of(&format!("{}.by-hand", case.pool_name(name)), 1, Some(2));
    let pool = |name: &String| PoolName::new(format!("{}.by-hand", case.pool_name(name)));
    let configure = |name: &String| {
        let quota = |field: &str, value: &str| MonCommand::PoolSetQuota {
            pool: pool(name),
            field: field.into(),
            value: value.into(),
        };
        [
            MonCommand::PoolSet {
                pool: pool(name),
                variable: "min_size".into(),
                value: "2".into(),
            },
            quota("max_bytes", "1073741824"),
            quota("max_objects", "1000"),
            MonCommand::ApplicationEnable {
                pool: pool(name),
                application: "rbd".into(),
                confirmed: false,
            },
        ]
    };
    let mark = |name: &String| {
        let set = |key: &str| MonCommand::ApplicationSet {
            pool: pool(name),
            application: "rbd".into(),
            key: key.into(),
            value: "by-hand".into(),
        };
        [set("team"), set("mark"), set("mark.object")]
    };
    let rename = |name: &String| MonCommand::PoolRename {
        from: pool(name),
        to: PoolName::new(case.pool_name(name)),
    };
    case.hand_all(&names.iter().map(create).collect::<Vec<_>>())
        .await;
    case.hand_all(&names.iter().flat_map(configure).collect::<Vec<_>>())
        .await;
    let marks: Vec<MonCommand> = names.iter().flat_map(mark).collect();
    let renames: Vec<MonCommand> = names.iter().map(rename).collect();
    tokio::join!(case.hand_all(&marks), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        case.hand_all(&renames).await;
    });
    case.wait_for("no pool is creating any more", LIMIT * 2, async || {
        let dump = case.dump().await;
        let creating = pools_of(&dump)
            .filter(|pool| {
                pool["flags_names"]
                    .as_str()
                    .is_some_and(|flags| flags.contains("creating"))
            })
            .count();
        holds(creating == 0, &creating)
    })
    .await;
    began.elapsed()
}

/// The same by applying manifests, until all are Ready.
async fn by_manifest(case: &Case, names: &[String]) -> Duration {
    let began = Instant::now();
    let manifest = spec(1000);
    futures::future::join_all(names.iter().map(|name| case.apply(name, &manifest))).await;
    if let [name] = names {
        case.ready(name).await;
    } else {
        // One list at a time: waiting must not cost the API server more than the work does.
        case.wait_for("all pools are Ready", LIMIT * 2, async || {
            sleep(Duration::from_millis(100 + 2 * names.len() as u64)).await;
            let all = case.pools().list(&ListParams::default()).await;
            let all = all.map_err(|error| error.to_string())?.items;
            let ready = |pool: &&CephPool| {
                let status = pool.status.as_ref();
                names.contains(&pool.name_any())
                    && status
                        .is_some_and(|status| is_true(&status.conditions, ConditionType::Ready))
            };
            let ready = all.iter().filter(ready).count();
            holds(ready == names.len(), &ready)
        })
        .await;
    }
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

struct Row {
    what: String,
    ours: Duration,
    hand: Option<Duration>,
    note: &'static str,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.hand
            .map(|hand| self.ours.as_secs_f64() / hand.as_secs_f64())
    }
}

async fn creations(case: &Case, pools: usize, times: usize) -> Row {
    let (mut ours, mut hand) = (Vec::new(), Vec::new());
    for time in 0..times {
        let names = |who: &str| -> Vec<String> {
            (0..pools)
                .map(|pool| format!("{who}{pools}-{time}-{pool}"))
                .collect()
        };
        hand.push(by_hand(case, &names("h")).await);
        let names = names("o");
        ours.push(by_manifest(case, &names).await);
        let requests = case.requests(&names[0]).await;
        assert_eq!(rounds(&requests[0]).len(), 3, "{requests:#?}");
    }
    Row {
        what: if pools == 1 {
            "one pool".to_owned()
        } else {
            format!("{pools} pools at once")
        } + ", apply to Ready",
        ours: median(ours),
        hand: Some(median(hand)),
        note: "3 rounds, and until it is no longer `creating`",
    }
}

async fn quotas(case: &Case, times: u64) -> [Row; 2] {
    case.apply("quota", &spec(1000)).await;
    case.ready("quota").await;
    let (mut ours, mut hand, mut drift) = (Vec::new(), Vec::new(), Vec::new());
    for time in 0..times {
        // The same again: of the pool that nobody keeps.
        let began = Instant::now();
        case.set("h1-0-0", "max_objects", &format!("{}", 2000 + time))
            .await;
        hand.push(began.elapsed());
        let began = Instant::now();
        let manifest = spec(2000 + time);
        case.apply("quota", &manifest).await;
        case.ready("quota").await;
        ours.push(began.elapsed());
    }
    for _ in 0..2 {
        case.set("quota", "max_objects", "5").await;
        let began = Instant::now();
        case.wait_for("the quota is back", LIMIT, async || {
            let pool = case.ceph_pool("quota").await.ok_or("no pool")?;
            holds(pool["quota_max_objects"] != 5, &pool["quota_max_objects"])
        })
        .await;
        drift.push(began.elapsed());
        case.ready("quota").await;
    }
    [
        Row {
            what: "a quota changed, apply to Ready".to_owned(),
            ours: median(ours),
            hand: Some(median(hand)),
            note: "1 round",
        },
        Row {
            what: "a quota changed by others, until it is back".to_owned(),
            ours: median(drift),
            hand: None,
            note: "1 poll of the epoch (1 s) and 1 round",
        },
    ]
}

fn table(rows: &[Row]) -> String {
    let mut table =
        String::from("| what | Poolwright | by hand | ratio | |\n|---|---|---|---|---|\n");
    for row in rows {
        let hand = row.hand.map_or_else(
            || "–".to_owned(),
            |hand| format!("{:.2} s", hand.as_secs_f64()),
        );
        let ratio = row
            .ratio()
            .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(
            table,
            "| {} | {:.2} s | {hand} | {ratio} | {} |",
            row.what,
            row.ours.as_secs_f64(),
            row.note
        );
    }
    table
}

/// Must show: the times from apply to Ready and of a correction, printed; only counts and wide limits are asserted.
#[tokio::test(flavor = "multi_thread")]
async fn apply_to_ready_and_drift() {
    let write = std::env::var("POOLWRIGHT_WRITE_DOCS").is_ok_and(|value| value == "1");
    let times = if write { 5 } else { 1 };
    let ceph = Arc::new(Ceph::own(&[("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")]).await);
    let world = World::shared().await;
    let connection = format!("timings-{}", std::process::id());
    world.connect(&connection, &ceph, json!({})).await;
    let release = ceph.ceph(&["version"]).await;
    let case = Case::with_connection(world, "timings", &connection, ceph).await;
    let mut rows = vec![
        creations(&case, 1, times).await,
        creations(&case, 20, times).await,
    ];
    if write {
        rows.push(creations(&case, 200, 1).await);
    }
    rows.extend(quotas(&case, times as u64).await);
    let table = table(&rows);
    println!("{table}");
    for row in &rows {
        assert!(
            row.ratio().is_none_or(|ratio| ratio < WIDEST),
            "{}\n{table}",
            row.what
        );
        assert!(row.ours < LIMIT * 2, "{}\n{table}", row.what);
    }
    if write {
        let release = release.split(' ').nth(2).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let text = format!(
            "# Times\n\nWritten by `POOLWRIGHT_WRITE_DOCS=1 make test ARGS=timings`: a debug build, Ceph {release} on \
             loopback with 3 OSDs in memory and Ceph's own intervals between proposals (a round takes about a second), \
             {processors} processors for everything; medians. \"By hand\" are the same rounds sent over one session, \
             without Kubernetes, in the same run.\n\n{table}"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/timings.md");
        // What was written about the whole suite, which this test cannot time, stays.
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let suite = before.find("\n## The suite").map_or("", |at| &before[at..]);
        std::fs::write(path, text + suite).expect("docs/timings.md");
    }
}
