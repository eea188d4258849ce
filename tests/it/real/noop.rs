//! A cluster in sync is read and nothing else. In a world of its own: only there nobody else
//! writes, so that what the cluster and the API server count is the controller's doing.

use std::collections::BTreeMap;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use poolwright::api::v1alpha1::{CephRequest, ClusterConnection};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::create::{FULL, missing};
use super::support::{Case, LIMIT, Own, World, holds, pools_of};

const MEASURED: Duration = Duration::from_secs(60);

/// The manifests of the case: every field of a replicated pool is in one of them.
fn manifests() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("full", FULL),
        (
            "kept",
            r#"{replicated: {size: 3}, minSize: 2, applications: [{name: rbd}, {name: own.app, metadata: {a: "b/c:d=e", empty: ""}}],
                placementGroups: {autoscale: Warn, count: 4, min: 2, max: 16, bias: "2.5", targetSizeRatio: "0.3", bulk: false},
                quota: {maxBytes: 0, maxObjects: 0}, flags: {noDelete: true, noScrub: false}}"#,
        ),
        (
            "sized",
            r#"{replicated: {}, placementGroups: {autoscale: Disabled, count: 1, bias: "1", targetSizeBytes: 1500M, bulk: true},
                quota: {maxBytes: 10G}, applications: [{name: cephfs}]}"#,
        ),
        (
            "smallest",
            "{replicated: {}, placementGroups: {autoscale: Disabled, count: 1}, applications: [{name: rgw}]}",
        ),
    ])
}

/// Everything of ours that could be written, by its resourceVersion.
async fn versions(case: &Case) -> BTreeMap<String, (String, Value)> {
    fn entry(object: &(impl ResourceExt + Serialize)) -> (String, Value) {
        let version = object.resource_version().expect("a version");
        (version, serde_json::to_value(object).expect("JSON"))
    }
    let mut versions = BTreeMap::new();
    for pool in case
        .pools()
        .list(&ListParams::default())
        .await
        .expect("a list")
    {
        versions.insert(format!("pool {}", pool.name_any()), entry(&pool));
    }
    let requests: Api<CephRequest> = Api::all(case.client.clone());
    for request in requests.list(&ListParams::default()).await.expect("a list") {
        versions.insert(format!("request {}", request.name_any()), entry(&request));
    }
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    for connection in connections
        .list(&ListParams::default())
        .await
        .expect("a list")
    {
        versions.insert(
            format!("connection {}", connection.name_any()),
            entry(&connection),
        );
    }
    versions
}

/// Waits until nothing that the controller has to tell of is on its way: placement groups have
/// settled, the objects show the pools as they are, and the connection tells of the newest epoch
/// and is no longer held by its finalizer, which stays a minute longer than creations need it.
async fn quiet(case: &Case) {
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let mut last = (case.epoch().await, Instant::now());
    case.wait_for("everything is quiet", LIMIT * 3, async || {
        let epoch = case.epoch().await;
        if epoch != last.0 {
            last = (epoch, Instant::now());
        }
        holds(
            last.1.elapsed() > Duration::from_secs(5),
            &"the epoch still moves",
        )?;
        let told = connections
            .get("main")
            .await
            .map_err(|error| error.to_string())?;
        holds(told.finalizers().is_empty(), &told.finalizers())?;
        let told = told.status.and_then(|status| status.epoch);
        holds(told == i64::try_from(epoch).ok(), &(told, epoch))?;
        let dump = case.dump().await;
        for object in case
            .pools()
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
        {
            let name = case.pool_name(&object.name_any());
            let pool = pools_of(&dump)
                .find(|pool| pool["pool_name"] == *name)
                .ok_or("no pool")?;
            let observed = object.status.and_then(|status| status.observed);
            let observed = serde_json::to_value(observed).unwrap_or(Value::Null);
            for (ours, theirs) in [
                ("size", "size"),
                ("minSize", "min_size"),
                ("pgNum", "pg_num"),
                ("pgNumTarget", "pg_num_target"),
            ] {
                holds(observed[ours] == pool[theirs], &(&observed, pool))?;
            }
        }
        Ok(())
    })
    .await;
}

/// Must show: the same manifest applied again costs 0 commands, 0 epochs and 0 writes to our
/// objects in 60 s, resyncs included. And what the creation before it costs, by the metrics.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_or_written() {
    let world = World::own(Own {
        // The shortest there is: six in the minute.
        connection: json!({"resyncInterval": "10s"}),
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "noop").await;

    // As many commands as the rounds of the record say, by the metrics too: none is sent twice.
    assert_eq!(case.world.mutating_commands().await, 0);
    case.apply("full", FULL).await;
    case.ready("full").await;
    let sent = case.world.commands().await;
    let sent: BTreeMap<&str, u64> = sent
        .iter()
        .filter(|(prefix, _)| prefix.starts_with("osd pool "))
        .map(|(prefix, count)| (prefix.as_str(), *count))
        .collect();
    let expected = BTreeMap::from([
        ("osd pool create", 1),
        // min_size, noscrub and nodeep-scrub; with the rename nosizechange and nopgchange
        ("osd pool set", 5),
        ("osd pool set-quota", 2),
        ("osd pool application enable", 1),
        // the key, and the two of the mark
        ("osd pool application set", 3),
        ("osd pool rename", 1),
    ]);
    assert_eq!(sent, expected);
    let pool = case.ceph_pool("full").await.expect("the pool");
    assert_eq!(missing(&pool), Vec::<&str>::new());

    for (name, spec) in manifests() {
        case.apply(name, spec).await;
    }
    for name in manifests().keys() {
        case.ready(name).await;
    }
    quiet(&case).await;

    let (commands, epoch, dump) = (
        case.world.mutating_commands().await,
        case.epoch().await,
        case.dump().await,
    );
    let (writes, objects) = (
        case.world.api_writes(&case.client).await,
        versions(&case).await,
    );
    let reads = case.world.commands().await;
    assert!(writes > 0, "the API server's count has another name now");
    for (name, spec) in manifests() {
        case.apply(name, spec).await;
    }
    let ours = manifests().len() as u64;
    let began = Instant::now();
    // This is what is measured, not a wait for something.
    sleep(MEASURED).await;
    let now = versions(&case).await;
    let written: Vec<_> = now
        .iter()
        .filter(|(name, object)| objects.get(*name) != Some(*object))
        .map(|(name, object)| (objects.get(name), object))
        .collect();
    assert!(written.is_empty(), "objects before and after: {written:#?}");
    let after = (
        case.world.mutating_commands().await - commands,
        case.epoch().await - epoch,
        case.world.api_writes(&case.client).await - writes - ours,
    );
    assert_eq!(
        after,
        (0, 0, 0),
        "commands, epochs and writes; before: {dump}\nafter: {}\n{}",
        case.dump().await,
        case.world.log_tail(40, "")
    );
    let more = case.world.commands().await;
    let more: BTreeMap<&str, u64> = more
        .iter()
        .map(|(prefix, count)| {
            (
                prefix.as_str(),
                count - reads.get(prefix).copied().unwrap_or_default(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    println!("reads in {} s: {more:?}", began.elapsed().as_secs());
    assert_eq!(
        more.keys().copied().collect::<Vec<_>>(),
        ["osd stat"],
        "the map is only read when the epoch moves"
    );
}
