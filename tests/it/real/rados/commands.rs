//! Commands: their answers, their order, and many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::rados::Limits;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{Cluster, create, pool_name, remove};
use super::{DEADLINE, SECOND, has_pool, map, ok, one_session};

/// The words and the code of a refusal come through.
#[tokio::test]
async fn refusals_are_replies() {
    let client = Cluster::shared().connect(Limits::default()).await;
    let command = MonCommand::PoolSet {
        pool: pool_name("missing"),
        variable: "size".into(),
        value: "3".into(),
    };
    let reply = client.send(&command, DEADLINE).await.expect("a reply");
    assert_eq!(reply.code, -2);
    assert!(reply.text.contains("unrecognized pool"), "{}", reply.text);
    assert_eq!(client.open_sessions(), 2);
    client.close(DEADLINE).await;
}

/// A command sent alone has a session of its own, gone afterwards.
#[tokio::test]
async fn alone() {
    let client = Cluster::shared().connect(Limits::default()).await;
    let pool = pool_name("alone");
    let reply = client
        .send_alone(&create(&pool), DEADLINE)
        .await
        .expect("a reply");
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(has_pool(&client, &pool).await);
    let reply = client
        .send_alone(&remove(&pool), DEADLINE)
        .await
        .expect("a reply");
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(!has_pool(&client, &pool).await);
    one_session(&client).await;
    client.close(DEADLINE).await;
}

/// A command handed over after another reaches the monitor after it: the last of two values
/// stands. Also when the session has yet to be opened.
#[tokio::test]
async fn later_commands_come_later() {
    let cluster = Cluster::shared();
    let pool = pool_name("order");
    let first = cluster.connect(Limits::default()).await;
    ok(&first, &create(&pool)).await;
    for round in 0..10 {
        let client = Arc::new(cluster.connect(Limits::default()).await);
        let set = |value: &str| MonCommand::PoolSet {
            pool: pool.clone(),
            variable: "min_size".into(),
            value: value.into(),
        };
        let mut calls = JoinSet::new();
        for value in if round % 2 == 0 {
            ["1", "2"]
        } else {
            ["2", "1"]
        } {
            let (client, command) = (Arc::clone(&client), set(value));
            calls.spawn(async move { ok(&*client, &command).await });
            sleep(Duration::from_millis(5)).await;
        }
        calls.join_all().await;
        let map = map(&*client).await;
        let found = map
            .pools
            .values()
            .find(|found| found.name == pool)
            .expect("the pool");
        assert_eq!(
            found.min_size,
            if round % 2 == 0 { 2 } else { 1 },
            "round {round}"
        );
        client.close(DEADLINE).await;
    }
    ok(&first, &remove(&pool)).await;
    first.close(DEADLINE).await;
}

/// 512 commands at once need no more than a few proposals; reads are not held up by them.
#[tokio::test(flavor = "multi_thread")]
async fn many_in_flight() {
    let cluster = Cluster::shared();
    let client = Arc::new(cluster.connect(Limits::default()).await);
    let pool = pool_name("many");
    ok(&*client, &create(&pool)).await;
    let before = map(&*client).await.epoch;
    let began = Instant::now();
    let mut sent = JoinSet::new();
    for number in 0..512 {
        let (client, pool) = (Arc::clone(&client), pool.clone());
        sent.spawn(async move {
            let command = MonCommand::PoolSetQuota {
                pool,
                field: "max_objects".into(),
                value: (1000 + number).to_string(),
            };
            ok(&*client, &command).await
        });
    }
    sleep(Duration::from_millis(1)).await;
    let read = Instant::now();
    ok(&*client, &MonCommand::OsdStat).await;
    assert!(
        read.elapsed() < 5 * SECOND,
        "a read waited for {:?}",
        read.elapsed()
    );
    sent.join_all().await;
    let epochs = map(&*client).await.epoch.0 - before.0;
    let took = began.elapsed();
    assert!(took < 15 * SECOND, "{took:?}");
    assert!(epochs < 256, "{epochs} epochs");
    assert_eq!(client.open_sessions(), 2);
    ok(&*client, &remove(&pool)).await;
    client.close(DEADLINE).await;
}
