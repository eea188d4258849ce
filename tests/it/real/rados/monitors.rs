//! Monitors that freeze or are killed while commands are on their way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poolwright::ceph::client::{ClientError, MonClient};
use poolwright::ceph::command::MonCommand;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{OwnCluster, create, limits, pool_name, remove};
use super::{DEADLINE, SECOND, SLACK, has_pool, ok, one_session};

/// Rule 16 on a frozen monitor: every call ends at its deadline, the handle for changes takes
/// no more, and a fresh one works after the thaw. As long as librados has not given it up, the
/// create that timed out is executed all the same: the harm that the rule is about.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_monitor() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(2 * SECOND, 10 * SECOND)).await);
    let (before, frozen, patient) = (
        pool_name("before"),
        pool_name("frozen"),
        pool_name("patient"),
    );
    ok(&*client, &create(&before)).await;
    assert_eq!(client.open_sessions(), 2);

    cluster.freeze().await;
    let waiting = tokio::spawn({
        let (client, patient) = (Arc::clone(&client), patient.clone());
        async move { ok(&*client, &create(&patient)).await }
    });
    let deadline = 2 * SECOND;
    let mut calls = JoinSet::new();
    for kind in 0..4 {
        let (client, frozen, before) = (Arc::clone(&client), frozen.clone(), before.clone());
        calls.spawn(async move {
            let began = Instant::now();
            let result = match kind {
                0 => client.send(&MonCommand::OsdStat, deadline).await,
                1 => {
                    client
                        .read_after_changes(&MonCommand::OsdStat, deadline)
                        .await
                }
                2 => client.send(&create(&frozen), deadline).await,
                _ => client.send_alone(&remove(&before), deadline).await,
            };
            let took = began.elapsed();
            let error = result.expect_err("nobody answers");
            assert!(took < deadline + SLACK, "{error} after {took:?}");
            error
        });
    }
    let (timed_out, not_sent): (Vec<_>, Vec<_>) = calls
        .join_all()
        .await
        .into_iter()
        .partition(ClientError::outcome_unknown);
    assert_eq!(timed_out.len(), 3, "{timed_out:?}");
    // Sent alone, it could not even connect: it was not executed.
    assert!(matches!(*not_sent, [ClientError::Unreachable(after)] if after <= deadline));

    // The old handle takes no more: the next change would need another one.
    let error = client
        .send(&create(&frozen), deadline)
        .await
        .expect_err("nobody answers");
    assert!(!error.outcome_unknown(), "it was sent: {error:?}");
    assert_eq!(client.open_sessions(), 2, "one command is still inside");

    cluster.thaw().await;
    waiting.await.expect("the command that had more time");
    one_session(&client).await;
    let after = pool_name("after");
    ok(&*client, &create(&after)).await;
    assert_eq!(client.open_sessions(), 2);
    for (pool, why) in [
        (&after, "the client works"),
        (&before, "what was not sent was not executed"),
        (&frozen, "what timed out was executed all the same"),
        (&patient, "what was answered was executed"),
    ] {
        assert!(has_pool(&*client, pool).await, "{why}");
    }
    assert!(client.close(DEADLINE).await);
}

/// A retired handle is closed when librados has given up too, also when hundreds of commands
/// end at once.
#[tokio::test(flavor = "multi_thread")]
async fn retired_handles_are_closed() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(2 * SECOND, 3 * SECOND)).await);
    let pool = pool_name("before");
    ok(&*client, &create(&pool)).await;
    cluster.freeze().await;
    let mut calls = JoinSet::new();
    for number in 0..400 {
        let (client, pool) = (Arc::clone(&client), pool.clone());
        calls.spawn(async move {
            let command = MonCommand::PoolSetQuota {
                pool,
                field: "max_objects".into(),
                value: number.to_string(),
            };
            client.send(&command, 2 * SECOND).await
        });
    }
    for result in calls.join_all().await {
        let error = result.expect_err("nobody answers");
        assert!(error.outcome_unknown(), "{error:?}");
    }
    assert_eq!(client.open_sessions(), 2);
    one_session(&client).await;
    cluster.thaw().await;
    ok(&*client, &create(&pool_name("after"))).await;
    assert!(client.close(DEADLINE).await);
}

/// Dropping a client with commands in flight on a frozen monitor neither blocks nor hangs.
#[tokio::test]
async fn dropped_while_frozen() {
    let cluster = OwnCluster::start().await;
    let client = cluster.connect(limits(5 * SECOND, 3 * SECOND)).await;
    let pool = pool_name("dropped");
    ok(&client, &create(&pool)).await;
    cluster.freeze().await;
    {
        let command = create(&pool);
        let mut call = std::pin::pin!(client.send(&command, DEADLINE));
        assert!(futures::poll!(&mut call).is_pending());
        sleep(Duration::from_millis(50)).await;
        assert!(futures::poll!(&mut call).is_pending());
    }
    let began = Instant::now();
    assert!(client.close(DEADLINE).await);
    assert!(
        began.elapsed() < 3 * SECOND + SLACK,
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    drop(client);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    cluster.thaw().await;
}

/// A monitor that is killed and comes back: the same client goes on by itself, and what was
/// in flight is answered.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_monitor() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(5 * SECOND, 30 * SECOND)).await);
    let pool = pool_name("restarted");
    ok(&*client, &create(&pool)).await;
    cluster.kill().await;
    let in_flight = tokio::spawn({
        let (client, pool) = (Arc::clone(&client), pool.clone());
        async move { ok(&*client, &remove(&pool)).await }
    });
    sleep(SECOND).await;
    assert!(!in_flight.is_finished());
    cluster.restart().await;
    in_flight.await.expect("the command was sent again");
    ok(&*client, &MonCommand::OsdStat).await;
    assert!(!has_pool(&*client, &pool).await);
    client.close(DEADLINE).await;
}
