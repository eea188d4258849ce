//! What reading the map costs everybody else: how long another client waits for `osd stat`.
//!
//! Run it with `make bench-monitor`, which starts what it needs. Each line is one way of following
//! a map that moves every second: nobody does; Poolwright does, as a process with a connection; a
//! program does that fetches `osd dump` for each epoch. The client asks every 10 ms, and waits from
//! the moment at which it wanted to ask: what a monitor that is busy keeps waiting is counted in full.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::similar_names,
    clippy::format_push_string,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "it shares what starts clusters with the tests, and prints for a person"
)]

#[path = "../tests/it/real"]
mod real {
    pub(crate) mod support;
}

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::rados::RadosClient;
use poolwright::ceph::types::PoolName;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use self::real::support::{Ceph, World};

const SIZES: [usize; 2] = [1_000, 5_000];
/// A whole dump of the largest map on the slowest release fits in.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long each way is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// From one question of the client to the next.
const EVERY: Duration = Duration::from_millis(10);
/// Creations at once: a round of the monitors takes all of them.
const AT_ONCE: usize = 500;

async fn send(client: &RadosClient, command: &MonCommand) -> Vec<u8> {
    let reply = client.send(command, DEADLINE).await.expect("a reply");
    assert_eq!(reply.code, 0, "{}: {}", command.to_line(), reply.text);
    reply.body
}

fn name(pool: usize) -> PoolName {
    PoolName::new(format!("tenant-{pool}-volumes"))
}

/// Pools as a controller's are: an application, and the two keys of the mark.
async fn fill(client: &RadosClient, pools: usize) {
    let create = |pool| {
        vec![MonCommand::PoolCreate(PoolCreate {
            pool: name(pool),
            pg_num: 1,
            size: Some(3),
            autoscale_mode: Some("off".into()),
            pg_num_min: None,
            pg_num_max: None,
            bulk: None,
            target_size_bytes: None,
            target_size_ratio: None,
            profile: None,
            rule: None,
        })]
    };
    let enable = |pool| {
        vec![MonCommand::ApplicationEnable {
            pool: name(pool),
            application: "rbd".into(),
            confirmed: false,
        }]
    };
    let mark = |pool| {
        let key = |key: &str, value: &str| MonCommand::ApplicationSet {
            pool: name(pool),
            application: "rbd".into(),
            key: key.into(),
            value: value.into(),
        };
        vec![
            key("poolwright", "instance/claim/0123456789abcdef"),
            key("poolwright.object", "tenant/volumes"),
        ]
    };
    let phases: [&dyn Fn(usize) -> Vec<MonCommand>; 3] = [&create, &enable, &mark];
    for phase in phases {
        let commands: Vec<_> = (0..pools).flat_map(phase).collect();
        for some in commands.chunks(AT_ONCE) {
            join_all(some.iter().map(|command| send(client, command))).await;
        }
    }
}

async fn epoch(client: &RadosClient) -> u64 {
    let body = send(client, &MonCommand::OsdStat).await;
    let stat: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    stat["epoch"].as_u64().expect("an epoch")
}

/// A task that ends with the value.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Somebody changes a pool every second.
async fn moving(ceph: &Ceph) -> Running {
    let client = ceph.connect().await;
    Running(tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for value in 1_u64.. {
            ticks.tick().await;
            let quota = MonCommand::PoolSetQuota {
                pool: name(0),
                field: "max_objects".into(),
                value: value.to_string(),
            };
            send(&client, &quota).await;
        }
    }))
}

/// Somebody follows the map as Poolwright does, but by its dump, and counts what was read.
async fn dumping(ceph: &Ceph, count: Arc<AtomicU64>) -> Running {
    let client = ceph.connect().await;
    Running(tokio::spawn(async move {
        let mut known = 0;
        loop {
            let newest = epoch(&client).await;
            if newest != known {
                known = newest;
                send(&client, &MonCommand::OsdDump).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }))
}

/// How long a client waits, sorted.
async fn waits(ceph: &Ceph) -> Vec<Duration> {
    let client = ceph.connect().await;
    let client = &client;
    let began = Instant::now() + EVERY;
    let questions = (0..).map(|place| began + EVERY * place);
    let asked = questions
        .take_while(|at| at.duration_since(began) < WATCHED)
        .map(async |at| {
            sleep_until(at).await;
            send(client, &MonCommand::OsdStat).await;
            at.elapsed()
        });
    let mut waits = join_all(asked).await;
    waits.sort_unstable();
    waits
}

fn cell(waits: &[Duration]) -> String {
    let at = |part: usize| waits[(waits.len() - 1) * part / 1000];
    [500, 990, 1000]
        .map(|part| format!("{:.1}", at(part).as_secs_f64() * 1e3))
        .join(" / ")
}

async fn line(world: &World, pools: usize) {
    let mut conf = tempfile::NamedTempFile::new().expect("a file");
    // Creating thousands of pools without OSDs: without a limit, and without trying each one out.
    writeln!(
        conf,
        "mon max pg per osd = 1000000\nmon osd crush smoke test = false"
    )
    .expect("a file");
    let path = conf.path().to_str().expect("a path");
    let ceph = Ceph::own(&[("OSDS", "0"), ("EXTRA_CONF", path)]).await;
    let version = ceph.ceph(&["version"]).await;
    let version = version.split(' ').nth(2).unwrap_or_default();
    let client = ceph.connect().await;
    let began = Instant::now();
    fill(&client, pools).await;
    eprintln!("{pools} pools after {:?}", began.elapsed());

    let moving = moving(&ceph).await;
    let alone = waits(&ceph).await;
    let dumps = Arc::new(AtomicU64::new(0));
    let dumping = dumping(&ceph, Arc::clone(&dumps)).await;
    let dumped = waits(&ceph).await;
    let dumps = dumps.load(Ordering::Relaxed);
    drop(dumping);
    // The last dump may be under way still.
    epoch(&client).await;
    let before = world.commands().await;
    world
        .connect(&format!("bench-{pools}"), &ceph, json!({}))
        .await;
    let read = waits(&ceph).await;
    let after = world.commands().await;
    drop(moving);
    let more = |prefix: &str| {
        let count = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.get(prefix).copied().unwrap_or_default()
        };
        count(&after) - count(&before)
    };
    let maps = more("osd getmap");
    // Otherwise the line would say nothing of it.
    assert!(maps > 0 && more("osd dump") == 0, "{maps} maps, and dumps");
    println!(
        "| {version} | {pools} | {} | {}, {maps} maps | {}, {dumps} dumps |",
        cell(&alone),
        cell(&read),
        cell(&dumped)
    );
}

#[tokio::main]
async fn main() {
    let world = World::shared().await;
    for pools in SIZES {
        line(&world, pools).await;
    }
    if let Some(controller) = world.running() {
        controller.kill();
    }
}
