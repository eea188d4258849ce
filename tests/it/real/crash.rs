//! The controller killed with -9, again and again, in the middle of creations.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use kube::ResourceExt;
use kube::api::ListParams;
use poolwright::api::v1alpha1::Operation;
use serde_json::Value;
use tokio::time::{Duration, sleep};

use super::steps::{operations, succeeded};
use super::support::{Case, LIMIT, Own, World, holds, pools_of, rounds};

const POOLS: u64 = 20;

const SPEC: &str = r#"{replicated: {size: 2}, minSize: 2, placementGroups: {autoscale: Disabled, count: 1},
    quota: {maxObjects: 100}, applications: [{name: rbd, metadata: {team: storage}}]}"#;

/// `SplitMix64`: moments that are random, and the same again for the same seed.
struct Random(u64);

impl Random {
    /// From `POOLWRIGHT_TEST_SEED`, else from the clock.
    fn new() -> Self {
        let given = std::env::var("POOLWRIGHT_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("after 1970");
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        });
        println!("POOLWRIGHT_TEST_SEED={seed}");
        Self(seed)
    }

    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }
}

/// How far the creations are, as the cluster shows it.
#[derive(Debug, Default)]
struct Progress {
    private: u64,
    configured: u64,
    published: u64,
}

async fn progress(case: &Case) -> Progress {
    let prefix = format!("{}-", case.namespace);
    let mut progress = Progress::default();
    for pool in pools_of(&case.dump().await) {
        let name = pool["pool_name"].as_str().unwrap_or_default();
        if !name.starts_with(&prefix) {
            continue;
        }
        if !name.contains(".poolwright-") {
            progress.published += 1;
            continue;
        }
        progress.private += 1;
        if pool["application_metadata"]
            .as_object()
            .is_some_and(|enabled| !enabled.is_empty())
        {
            progress.configured += 1;
        }
    }
    progress
}

/// Must show: killed at three random moments of a create of 20 pools, and started again, it ends
/// with 20 pools, no private name and one record each. And the same for a change of all of them.
#[tokio::test(flavor = "multi_thread")]
async fn three_kills_in_a_create_of_twenty() {
    let mut random = Random::new();
    // Ceph's own intervals, so that there is something to interrupt.
    let world = World::own(Own {
        ceph: vec![("PROPOSE_INTERVAL", ""), ("MIN_WAIT", "")],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "crash").await;
    let names: Vec<String> = (0..POOLS).map(|number| format!("p{number}")).collect();
    join_all(names.iter().map(|name| case.apply(name, SPEC))).await;
    for (what, reached) in [
        (
            "so many have a private name or more",
            (|now| now.private + now.published) as fn(&Progress) -> u64,
        ),
        ("so many are configured or more", |now| {
            now.configured + now.published
        }),
        ("so many are published", |now| now.published),
    ] {
        let (many, later) = (1 + random.up_to(POOLS), random.up_to(400));
        let seen = case
            .wait_for(&format!("{what}: {many}"), LIMIT, async || {
                let now = progress(&case).await;
                holds(reached(&now) >= many, &now)?;
                Ok(now)
            })
            .await;
        // The moment itself is random, too.
        sleep(Duration::from_millis(later)).await;
        case.world.kill_controller();
        println!("killed {later} ms after {what}: {many} ({seen:?})");
        case.world.start_controller().await;
    }
    for name in &names {
        case.ready(name).await;
    }

    let dump = case.dump().await;
    let prefix = format!("{}-", case.namespace);
    let pools: Vec<&Value> = pools_of(&dump)
        .filter(|pool| {
            pool["pool_name"]
                .as_str()
                .is_some_and(|name| name.starts_with(&prefix))
        })
        .collect();
    let found: BTreeSet<&str> = pools
        .iter()
        .filter_map(|pool| pool["pool_name"].as_str())
        .collect();
    let expected: BTreeSet<String> = names.iter().map(|name| case.pool_name(name)).collect();
    assert_eq!(
        found,
        expected.iter().map(String::as_str).collect(),
        "20 pools, none with a private name"
    );
    assert_eq!(pools.len(), names.len());
    for pool in &pools {
        assert_eq!(
            (&pool["size"], &pool["min_size"], &pool["quota_max_objects"]),
            (&2.into(), &2.into(), &100.into()),
            "{pool}"
        );
        let metadata = &pool["application_metadata"]["rbd"];
        let object = pool["pool_name"]
            .as_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .expect("a name");
        assert_eq!(
            metadata["poolwright.object"],
            format!("{}/{object}", case.namespace),
            "{pool}"
        );
        assert_eq!(metadata["team"], "storage", "{pool}");
    }
    for object in case
        .pools()
        .list(&ListParams::default())
        .await
        .expect("a list")
    {
        let name = object.name_any();
        let requests = case.requests(&name).await;
        assert_eq!(requests.len(), 1, "{name}: one record: {requests:#?}");
        assert_eq!(requests[0].spec.operation, Operation::Create, "{name}");
        assert!(succeeded(&requests[0]), "{name}: {requests:#?}");
        let said = object.status.expect("a status");
        assert_eq!(said.request_id, requests[0].metadata.name, "{name}");
        let commands = rounds(&requests[0])
            .iter()
            .flatten()
            .filter(|line| line.contains("pool create"))
            .count();
        assert!(commands <= 1, "{name}");
    }

    // The same with a change of two rounds, killed once more.
    let changed = SPEC.replace("size: 2", "size: 3").replace("100", "200");
    join_all(names.iter().map(|name| case.apply(name, &changed))).await;
    let later = random.up_to(2000);
    // Any moment of the two rounds, which take a second each.
    sleep(Duration::from_millis(later)).await;
    case.world.kill_controller();
    let dump = case.dump().await;
    let changed = pools_of(&dump).filter(|pool| pool["quota_max_objects"] == 200);
    println!(
        "killed {later} ms after the change, {} are changed",
        changed.count()
    );
    case.world.start_controller().await;
    for name in &names {
        let object = case.ready(name).await;
        let pool = case.ceph_pool(name).await.expect("the pool");
        assert_eq!(
            (&pool["size"], &pool["min_size"], &pool["quota_max_objects"]),
            (&3.into(), &2.into(), &200.into()),
            "{pool}"
        );
        let requests = case
            .wait_for(
                &format!("{name}: all records are complete"),
                LIMIT,
                async || {
                    let requests = case.requests(name).await;
                    holds(requests.iter().all(succeeded), &requests)?;
                    Ok(requests)
                },
            )
            .await;
        assert_eq!(
            operations(&requests),
            [Operation::Create, Operation::Update],
            "{name}: {requests:#?}"
        );
        assert_eq!(
            object.status.expect("a status").request_id,
            requests[1].metadata.name,
            "{name}"
        );
    }
}
