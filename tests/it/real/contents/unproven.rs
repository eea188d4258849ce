//! What cannot be looked at is never taken for empty.

use std::time::{Duration, Instant};

use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::osd_map::json;
use poolwright::ceph::types::PoolName;
use tokio::time::sleep;

use super::{Bench, DEADLINE, SLACK, unknown};
use crate::real::rados::cluster::{OwnCluster, create, limits, pool_name};
use crate::real::support::Ceph;

/// What a key must be able to do, and that nothing less is taken for an empty pool.
#[tokio::test]
async fn keys() {
    let bench = Bench::new().await;
    let pool = bench.pool("keys").await;
    let enough = bench
        .user("enough", &["mon", "allow r", "osd", "allow r"])
        .await;
    bench.becomes_empty_for(&enough, &pool).await;
    bench.put(&pool, "n1", "a-thing", b"x").await;
    let found = bench.look_as(&enough, &pool, DEADLINE).await;
    assert!(matches!(found, Contents::Something(_)), "{found:?}");

    let of_pool = format!("allow r pool={pool}");
    let elsewhere = "allow r pool=device_health_metrics".to_owned();
    for (name, osd) in [
        ("none", None),
        ("class", Some("allow class-read")),
        ("default", Some("allow r namespace=\"\"")),
        ("space", Some("allow r namespace=n2")),
        ("prefix", Some("allow r object_prefix b")),
        ("other", Some(elsewhere.as_str())),
    ] {
        let mut caps = vec!["mon", "allow r"];
        caps.extend(osd.iter().flat_map(|caps| ["osd", caps]));
        let client = bench.user(name, &caps).await;
        let contents = bench.look_as(&client, &pool, DEADLINE).await;
        unknown(
            &contents,
            &["osd \"allow r\"", "client.contents-", pool.as_str()],
        );
    }
    // It sees that the pool is empty, and not who else means it.
    bench
        .run("rados", &["-p", pool.as_str(), "-N", "n1", "rm", "a-thing"])
        .await;
    bench.becomes_empty(&pool).await;
    let narrow = bench
        .user("narrow", &["mon", "allow r", "osd", &of_pool])
        .await;
    // The figures of before may still be the newest there are.
    let late = |text: &str| text.contains("ceph df counts");
    let contents = bench.settled(&narrow, &pool, late).await;
    unknown(&contents, &["osd \"allow r\"", "client.contents-narrow"]);
    // The monitors have to answer too.
    let mon = "allow profile osd";
    let caps = ["mon", mon, "osd", "allow r"];
    let silent = bench.user("silent", &caps).await;
    let contents = bench.look_as(&silent, &pool, DEADLINE).await;
    assert_ne!(contents, Contents::Empty);
    let listed = bench.run("ceph", &["auth", "ls", "--format", "json"]).await;
    let users: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let mine = format!("-{}", std::process::id());
    for user in users["auth_dump"].as_array().expect("users") {
        let entity = user["entity"].as_str().expect("a name");
        if entity.starts_with("client.contents-") && entity.ends_with(&mine) {
            bench.run("ceph", &["auth", "rm", entity]).await;
        }
    }
    bench.remove(&[&pool]).await;
}

/// A pool whose placement groups are not active: nobody can say what is in it, nor which images
/// elsewhere it describes. On a cluster of its own, since that concerns all pools.
#[tokio::test]
async fn inactive() {
    let own = Ceph::own(&[("OSDS", "2")]).await;
    let client = own.connect().await;
    let (pool, other) = (pool_name("contents-inactive"), pool_name("contents-active"));
    let name = pool.as_str();
    for pool in [&pool, &other] {
        let reply = client.send(&create(pool), DEADLINE).await;
        assert_eq!(reply.expect("a reply").code, 0);
    }
    let look = async |pool: &PoolName, limit: Duration| {
        let reply = client.send(&MonCommand::OsdDump, DEADLINE).await;
        let map = json::decode(&reply.expect("a reply").body).expect("an OSD map");
        let found = map.pool_named(pool).expect("the pool");
        let began = Instant::now();
        let contents = client.contents(found, &map, limit).await;
        assert!(began.elapsed() < limit + SLACK, "{contents:?}");
        contents
    };
    for pool in [&pool, &other] {
        for _ in 0..60 {
            if look(pool, DEADLINE).await == Contents::Empty {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(look(pool, DEADLINE).await, Contents::Empty);
    }
    // More copies than there are OSDs, all of them needed.
    own.ceph(&["osd", "pool", "set", name, "size", "3"]).await;
    own.ceph(&["osd", "pool", "set", name, "min_size", "3"])
        .await;
    let words = ["placement groups", "not active", name];
    // OSDs and manager take a moment; from then on it stays so.
    for _ in 0..60 {
        match look(&pool, DEADLINE).await {
            Contents::Unknown(text) if words.iter().all(|word| text.contains(word)) => break,
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
    unknown(&look(&pool, DEADLINE).await, &words);
    unknown(&look(&other, DEADLINE).await, &words);
    // With less time than the OSDs have.
    let contents = look(&pool, Duration::from_secs(2)).await;
    unknown(&contents, &["2 s", "the objects of the pool"]);
    assert!(client.close(DEADLINE).await);
}

/// A pool of the map that is gone by now is not an empty one: its list would be just as empty.
#[tokio::test]
async fn removed_pool() {
    let bench = Bench::new().await;
    let pool = bench.pool("removed").await;
    let id = bench.id(&pool).await;
    let map = bench.map().await;
    bench
        .client
        .send(&crate::real::rados::cluster::remove(&pool), DEADLINE)
        .await
        .expect("a reply");
    let found = map.pool_named(&pool).expect("it was there");
    let contents = bench.client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &[&format!("pool {id}"), "not in the newest map"]);
    assert!(bench.client.close(DEADLINE).await);
    let contents = bench.client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &["closed"]);
}

/// Monitors that do not answer: the look ends in time, and its thread and session do.
#[tokio::test]
async fn frozen_monitor() {
    let cluster = OwnCluster::start().await;
    let client = cluster
        .connect(limits(Duration::from_secs(3), Duration::from_secs(3)))
        .await;
    let pool = pool_name("contents-frozen");
    client
        .send(&create(&pool), DEADLINE)
        .await
        .expect("a reply");
    let reply = client.send(&MonCommand::OsdDump, DEADLINE).await;
    let map = json::decode(&reply.expect("a reply").body).expect("an OSD map");
    let found = map.pool_named(&pool).expect("the pool");
    cluster.freeze().await;
    let began = Instant::now();
    let limit = Duration::from_secs(2);
    let looks = (0..6).map(|_| client.contents(found, &map, limit));
    for contents in futures::future::join_all(looks).await {
        let Contents::Unknown(text) = contents else {
            panic!("{contents:?}")
        };
        let why = ["no monitor answered", "connecting", "other looks"];
        assert!(why.iter().any(|why| text.contains(why)), "{text}");
    }
    assert!(began.elapsed() < limit + SLACK, "{:?}", began.elapsed());
    cluster.thaw().await;
    // Without an OSD nothing can be listed.
    let contents = client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &["not active"]);
    assert!(client.close(DEADLINE).await);
}
