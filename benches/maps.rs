//! What decoding a map costs: the encoded one against the two dumps, as ratios within one run.
//!
//! `cargo bench --bench maps`. Times are the best of several; allocations are counted once.
#![allow(
    unsafe_code,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "an allocator that counts cannot be had without, and what is printed is read by a person"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::crush_map;
use poolwright::ceph::osd_map::{OptionValue, binary, json};
use poolwright::ceph::simulated::{SimulatedCluster, dump};
use poolwright::ceph::types::{Fsid, PoolId, PoolName};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Cost {
    time: Duration,
    allocations: usize,
    bytes: usize,
}

fn cost<T>(mut work: impl FnMut() -> T) -> Cost {
    let before = (
        ALLOCATIONS.load(Ordering::Relaxed),
        BYTES.load(Ordering::Relaxed),
    );
    drop(black_box(work()));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before.0;
    let bytes = BYTES.load(Ordering::Relaxed) - before.1;
    let times = (0..7).map(|_| {
        let began = Instant::now();
        let result = black_box(work());
        let took = began.elapsed();
        drop(result);
        took
    });
    Cost {
        time: times.min().unwrap_or_default(),
        allocations,
        bytes,
    }
}

/// A cluster whose pools look as those of a controller do: marked, with a few options.
fn cluster(pools: i64) -> SimulatedCluster {
    let fsid = Fsid::new("7f0e0000-0000-4000-8000-000000000001");
    let mut cluster = SimulatedCluster::new(&fsid, 100);
    cluster.round(&[MonCommand::PoolCreate(PoolCreate {
        pool: PoolName::new("pattern"),
        pg_num: 1,
        size: Some(3),
        autoscale_mode: Some("off".into()),
        pg_num_min: Some(1),
        pg_num_max: None,
        bulk: None,
        target_size_bytes: Some(1 << 40),
        target_size_ratio: None,
        profile: None,
        rule: None,
    })]);
    cluster.edit_map(|map| {
        let pattern = Arc::clone(map.pools.values().next().expect("the pattern"));
        for id in 1_000..1_000 + pools {
            let mut pool = (*pattern).clone();
            pool.id = PoolId(id);
            pool.name = PoolName::new(format!("tenant-{id}-volumes"));
            let keys = [
                ("poolwright", "instance/claim/0123456789abcdef"),
                ("poolwright.object", "tenant/volumes"),
            ];
            let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
            pool.applications.insert("rbd".into(), keys.into());
            let mode = OptionValue::Text("aggressive".into());
            pool.options.insert("compression_mode".into(), mode);
            map.pools.insert(pool.id, Arc::new(pool));
        }
    });
    cluster
}

fn main() {
    println!("pools   what      bytes        time  allocations     allocated");
    for pools in [1_000, 10_000] {
        let cluster = cluster(pools);
        let encoded = binary::encode(cluster.map(), cluster.crush());
        let osd = dump::osd_dump_bytes(cluster.map());
        let crush = dump::crush_dump(cluster.crush()).to_string();
        let new = cost(|| binary::decode(&encoded).expect("a map"));
        let old = cost(|| {
            (
                json::decode(&osd).expect("a map"),
                crush_map::json::decode(crush.as_bytes()).expect("a map"),
            )
        });
        for (what, length, cost) in [
            ("encoded", encoded.len(), &new),
            ("JSON", osd.len() + crush.len(), &old),
        ] {
            println!(
                "{pools:<7} {what:<7} {length:>8} {:>8} us {:>12} {:>13}",
                cost.time.as_micros(),
                cost.allocations,
                cost.bytes
            );
        }
        println!(
            "{pools:<7} ratio   {:>8.2} {:>8.2}    {:>12.2} {:>13.2}",
            ratio(encoded.len(), osd.len() + crush.len()),
            new.time.as_secs_f64() / old.time.as_secs_f64(),
            ratio(new.allocations, old.allocations),
            ratio(new.bytes, old.bytes),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a person to read")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
