//! Commands whose answers are lost, commands that are executed late, and processes that are killed.

use std::time::Duration;

use poolwright::ceph::client::ClientError;
use poolwright::ceph::simulated::client::Fault;
use poolwright::request::executor::{Access, run};
use poolwright::request::work::RunEnd;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bench::*;
use super::says;
use crate::pure::support::*;

/// How many commands the creation of everything takes.
async fn commands_of_a_create() -> usize {
    let mut flow = Flow::new();
    assert_eq!(flow.run(EVERYTHING).await, Some(RunEnd::InSync));
    usize::try_from(flow.client.writes()).unwrap()
}

/// It ends with the pool as it should be.
async fn settles(flow: &mut Flow, what: &str) {
    let end = flow.settle(EVERYTHING).await;
    assert_eq!(end, Some(RunEnd::InSync), "{what}");
}

/// Runs and is killed after a time; gives another process, which knows what was written down.
pub(super) async fn killed_after(flow: Flow, access: Access, time: Duration) -> Flow {
    let (work, journal) = (flow.work("foopool"), flow.journal.clone());
    let running = tokio::spawn(async move {
        let stop = CancellationToken::new();
        run(&key_of("foopool"), &work, &access, journal.as_ref(), &stop).await
    });
    sleep(time).await;
    running.abort();
    flow.restarted()
}

/// Whatever command of a create is lost, executed unheard, or never leaves: one pool, as the manifest
/// says, and no private name in the end.
#[tokio::test(start_paused = true)]
async fn every_command_of_a_create_lost_in_turn() {
    let count = commands_of_a_create().await;
    assert!(count > 12, "{count}");
    for fault in [
        Fault::Lost,
        Fault::ReplyLost,
        Fault::Error(ClientError::Closed),
        Fault::Error(ClientError::NotSent {
            command: "",
            after: DEADLINE,
        }),
        // Monitors say it was done, and did not do it.
        says(0),
        says(-2),
        says(-11),
    ] {
        for command in 0..count {
            let mut flow = Flow::new();
            flow.fault(command, fault.clone());
            let what = format!("{fault:?} of command {command}");
            settles(&mut flow, &what).await;
            flow.holds(EVERYTHING, &what);
        }
    }
}

/// Two in a row, of any two commands.
#[tokio::test(start_paused = true)]
async fn two_commands_of_a_create_lost() {
    let count = commands_of_a_create().await;
    for first in 0..count {
        for second in [first + 1, first + 2, first + 8] {
            let mut flow = Flow::new();
            flow.fault(first, Fault::ReplyLost);
            flow.fault(second, Fault::Lost);
            let what = format!("commands {first} and {second}");
            settles(&mut flow, &what).await;
            flow.holds(EVERYTHING, &what);
        }
    }
}

/// A command that timed out and is executed later cannot harm: what it changes is put right, and what
/// it names means our pool or nothing. Only a create that comes after the publication leaves
/// something: an empty pool under a private name that was recorded.
#[tokio::test(start_paused = true)]
async fn every_command_of_a_create_late() {
    let count = commands_of_a_create().await;
    for after in [500, 1_500, 3_000, 4_000, 6_000, 30_000] {
        for command in 0..count {
            let mut flow = Flow::new();
            flow.fault(
                command,
                Fault::Late(DEADLINE + Duration::from_millis(after)),
            );
            let what = format!("command {command} {after} ms after its time");
            settles(&mut flow, &what).await;
            sleep(Duration::from_secs(60)).await;
            settles(&mut flow, &what).await;
            let left = flow.cluster().pool(PRIVATE).cloned();
            if let Some(left) = left {
                assert!(command == 0 && after > 4_000, "{what}");
                assert!(left.applications.is_empty() && left.quota_max_bytes == 0);
                flow.cluster().edit_map(|map| {
                    map.pools.remove(&left.id);
                });
            }
            flow.holds(EVERYTHING, &what);
        }
    }
}

/// A process that is killed at any moment of a create, and another that knows what was written
/// down: one pool, no private name left.
#[tokio::test(start_paused = true)]
async fn killed_at_any_moment() {
    for moment in 0..90 {
        let flow = Flow::new();
        flow.hand_in("foopool", EVERYTHING, 1).await;
        let time = Duration::from_millis(50 * moment);
        let what = format!("killed after {time:?}");
        let access = flow.access();
        let mut next = killed_after(flow, access, time).await;
        settles(&mut next, &what).await;
        next.holds(EVERYTHING, &what);
        // What was in flight has arrived by now.
        sleep(Duration::from_secs(5)).await;
        settles(&mut next, &what).await;
        next.holds(EVERYTHING, &what);
    }
}

/// Without a monitor nothing hangs and nothing is sent; when it is back the work goes on.
#[tokio::test(start_paused = true)]
async fn unreachable() {
    // From the beginning.
    let mut flow = Flow::new();
    flow.client.set_unreachable(true);
    let began = Instant::now();
    assert!(matches!(flow.run(SMALLEST).await, Some(RunEnd::Away(_))));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(flow.client.writes(), 0);
    flow.client.set_unreachable(false);
    assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
    flow.holds(SMALLEST, "unreachable at first");
    // In the middle, while a round is written down, and while it is under way.
    for round in 1..=3 {
        for while_writing in [true, false] {
            let mut flow = Flow::new();
            let client = flow.client.clone();
            flow.journal.on_write(move |number| {
                let client = client.clone();
                if number == round && while_writing {
                    client.set_unreachable(true);
                } else if number == round {
                    tokio::spawn(async move {
                        sleep(ROUND / 2).await;
                        client.set_unreachable(true);
                    });
                }
                Ok(())
            });
            let began = Instant::now();
            let end = flow.run(SMALLEST).await;
            assert!(matches!(end, Some(RunEnd::Away(_))), "{end:?}");
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{:?}",
                began.elapsed()
            );
            flow.journal.quiet();
            flow.client.set_unreachable(false);
            assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
            flow.holds(SMALLEST, "unreachable in between");
        }
    }
}

/// A view that nobody confirmed for five seconds is not acted on, however long it took to write
/// the round down.
#[tokio::test(start_paused = true)]
async fn slow_writes() {
    let mut flow = Flow::new();
    *flow.journal.takes.lock().unwrap() = Duration::from_secs(60);
    assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
    // The polls went on meanwhile. When they do not, nothing is sent.
    let mut flow = Flow::new();
    *flow.journal.takes.lock().unwrap() = Duration::from_secs(20);
    let client = flow.client.clone();
    flow.journal.on_write(move |_| {
        client.set_unreachable(true);
        Ok(())
    });
    let end = flow.run(SMALLEST).await;
    assert!(matches!(end, Some(RunEnd::Away(_))), "{end:?}");
    assert_eq!(flow.client.writes(), 0);
}

/// A cluster whose epoch went back behind what was recorded is not written to.
#[tokio::test(start_paused = true)]
async fn behind_the_floor() {
    let mut flow = Flow::new();
    flow.hand_in("foopool", SMALLEST, 1).await;
    let mut access = flow.access();
    access.floor = poolwright::ceph::types::Epoch(1000);
    flow.start("foopool", access);
    flow.ended().await;
    let end = flow.end();
    assert!(
        matches!(&end, Some(RunEnd::Away(why)) if why.contains("1000")),
        "{end:?}"
    );
    assert_eq!(flow.client.writes(), 0);
}
