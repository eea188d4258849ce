//! What others do while a run is under way.

use std::sync::Arc;
use std::time::Duration;

use poolwright::api::conditions::Reason;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::{PoolId, PoolName};
use poolwright::request::preview::MAX_ROUNDS;
use poolwright::request::wish::Wish;
use poolwright::request::work::RunEnd;
use tokio::time::sleep;

use super::bench::*;
use crate::pure::support::*;

/// Calls something before the round of this number, counted from 1, is executed.
fn before(flow: &Flow, round: usize, doing: impl Fn(&mut SimulatedCluster) + Send + 'static) {
    let mut number = 0;
    flow.client.before_round(move |cluster, _| {
        number += 1;
        if number == round {
            doing(cluster);
        }
    });
}

fn rename(from: &str, to: &str) -> MonCommand {
    MonCommand::PoolRename {
        from: PoolName::new(from),
        to: PoolName::new(to),
    }
}

fn set_quota(pool: &str, value: &str) -> MonCommand {
    MonCommand::PoolSetQuota {
        pool: PoolName::new(pool),
        field: "max_objects".into(),
        value: value.into(),
    }
}

/// Somebody makes a pool of the name during a create, at any moment: theirs is not touched, ours goes, and
/// the condition says who is in the way.
#[tokio::test(start_paused = true)]
async fn the_name_is_taken() {
    for round in 1..=3 {
        let mut flow = Flow::new();
        before(&flow, round, |cluster| {
            foreign(cluster, "foopool");
        });
        let end = flow.run(EVERYTHING).await;
        let Some(RunEnd::Refused(refusals)) = &end else {
            panic!("before round {round}: {end:?}")
        };
        assert_eq!(refusals[0].reason, Reason::PoolExists);
        assert_eq!(flow.names(), ["foopool"], "before round {round}");
        let cluster = flow.cluster();
        let theirs = cluster.pool("foopool").unwrap();
        assert!(theirs.applications.is_empty() && theirs.quota_max_bytes == 0 && theirs.size == 3);
        assert!(!theirs.has_flag("noscrub") && !theirs.has_flag("nodelete"));
    }
}

/// When the rename was about to be sent, the pool may have had its real name and its users: it is not made again.
#[tokio::test(start_paused = true)]
async fn a_pool_that_may_have_been_published_is_missing() {
    let mut flow = Flow::new();
    before(&flow, 3, |cluster| {
        let name = PoolName::new(PRIVATE);
        cluster.round(&[MonCommand::PoolRemove { pool: name }]);
    });
    let end = flow.settle(EVERYTHING).await;
    let Some(RunEnd::Refused(refusals)) = &end else {
        panic!("{end:?}")
    };
    assert_eq!(refusals[0].reason, Reason::PoolMissing);
    assert!(flow.names().is_empty());
}

/// Our private pool is removed in the middle of its creation: another is made under a name that was never used.
#[tokio::test(start_paused = true)]
async fn the_private_pool_is_removed() {
    let mut flow = Flow::new();
    before(&flow, 2, |cluster| {
        let name = PoolName::new(PRIVATE);
        cluster.round(&[MonCommand::PoolRemove { pool: name }]);
    });
    assert_eq!(flow.settle(EVERYTHING).await, Some(RunEnd::InSync));
    flow.holds(EVERYTHING, "made again");
    let written = flow.journal.written();
    assert_eq!(written[0].record.nonce, NONCE);
    let create = written
        .iter()
        .rfind(|written| written.lines[0].contains("osd pool create"))
        .unwrap();
    assert_ne!(create.record.nonce, NONCE);
    assert!(
        create.record.unpublished && create.lines[0].contains(&create.record.nonce),
        "written before it is made"
    );
}

/// A pool that was ours and is removed during an update is not made again.
#[tokio::test(start_paused = true)]
async fn the_pool_is_removed() {
    let mut flow = Flow::new();
    flow.settle(SMALLEST).await;
    let wanted = format!("{{replicated: {{size: 2}}, {SMALLEST}}}");
    before(&flow, 2, |cluster| {
        cluster.round(&[MonCommand::PoolRemove {
            pool: PoolName::new("foopool"),
        }]);
    });
    let end = flow.run_generation(&wanted, 2).await;
    let Some(RunEnd::Refused(refusals)) = &end else {
        panic!("{end:?}")
    };
    assert_eq!(refusals[0].reason, Reason::PoolMissing);
    assert_eq!(flow.names(), [""; 0]);
    flow.observe(&wanted).await;
    let work = flow.work("foopool");
    let state = work.state();
    let request = state.newest().unwrap();
    assert_eq!(request.outcome, None, "what was asked for is not there");
}

/// A name that comes to mean another pool between two rounds ends the run with an error that names both.
#[tokio::test(start_paused = true)]
async fn the_name_means_another_pool() {
    let mut flow = Flow::new();
    flow.settle(SMALLEST).await;
    before(&flow, 1, |cluster| {
        cluster.round(&[rename("foopool", "elsewhere")]);
        foreign(cluster, "foopool");
    });
    let wanted = format!("{{quota: {{maxObjects: 5}}, {SMALLEST}}}");
    let end = flow.run_generation(&wanted, 2).await;
    let Some(RunEnd::Unsafe(words)) = &end else {
        panic!("{end:?}")
    };
    assert!(
        words.contains("pool 1 ") && words.contains("pool 2 "),
        "{words}"
    );
    // And what follows touches neither.
    let writes = flow.client.writes();
    let end = flow.run_generation(&wanted, 2).await;
    assert!(matches!(end, Some(RunEnd::Refused(_))), "{end:?}");
    assert_eq!(flow.client.writes(), writes);
}

/// What moved while a round was written down is seen before it is sent.
#[tokio::test(start_paused = true)]
async fn the_map_moves_while_writing() {
    // The private name is taken, our pool is renamed, the real name is taken.
    for (round, edit) in [
        (
            1,
            (|cluster: &mut SimulatedCluster| {
                foreign(cluster, PRIVATE);
            }) as fn(&mut SimulatedCluster),
        ),
        (2, |cluster| {
            drop(cluster.round(&[rename(PRIVATE, "elsewhere")]));
        }),
        (3, |cluster| {
            foreign(cluster, "foopool");
        }),
    ] {
        let mut flow = Flow::new();
        *flow.journal.takes.lock().unwrap() = Duration::from_secs(2);
        let client = flow.client.clone();
        flow.journal.on_write(move |number| {
            if number == round {
                edit(&mut client.cluster());
            }
            Ok(())
        });
        let end = flow.run(SMALLEST).await;
        let sent = flow.client.rounds();
        match round {
            // Under our recorded nonce it can only be ours: an earlier create that was late.
            1 => assert_eq!(end, Some(RunEnd::InSync)),
            // It is the same pool: configured under the name it was given, and then published.
            2 => {
                assert_eq!(end, Some(RunEnd::InSync));
                assert_eq!(flow.names(), ["foopool"]);
                let last = sent.last().expect("rounds");
                assert!(last.contains(&rename("elsewhere", "foopool")), "{last:?}");
            }
            _ => {
                let Some(RunEnd::Refused(refusals)) = &end else {
                    panic!("{end:?}")
                };
                assert_eq!(refusals[0].reason, Reason::PoolExists);
                assert_eq!(flow.names(), ["foopool"]);
                assert!(
                    sent.iter()
                        .flatten()
                        .all(|command| !matches!(command, MonCommand::PoolRename { .. }))
                );
            }
        }
    }
}

/// The run goes on towards the newest wish, from the round after.
#[tokio::test(start_paused = true)]
async fn the_wish_changes() {
    for at in 1..=3 {
        let mut flow = Flow::new();
        let wanted = EVERYTHING
            .replace("size: 3", "size: 4")
            .replace("maxObjects: 1000", "maxObjects: 2000");
        let newest = {
            let mut wish = wish(&wanted, fresh());
            wish.generation = 2;
            Arc::new(wish)
        };
        let work = flow.work("foopool");
        flow.journal.on_write(move |number| {
            if number == at {
                work.state().wish = Some(Arc::clone(&newest));
            }
            Ok(())
        });
        assert_eq!(flow.run(EVERYTHING).await, Some(RunEnd::InSync));
        flow.holds(&wanted, "the newest wish");
        let written = flow.journal.written();
        let generations: Vec<i64> = written.iter().map(|written| written.generation).collect();
        assert_eq!(generations[..at], vec![1; at]);
        assert!(
            generations[at..].iter().all(|generation| *generation == 2),
            "{generations:?}"
        );
    }
}

/// A wish that is withdrawn, or only observes, ends the run before its next round.
#[tokio::test(start_paused = true)]
async fn the_wish_is_withdrawn() {
    for observes in [true, false] {
        let mut flow = Flow::new();
        let work = flow.work("foopool");
        flow.journal.on_write(move |number| {
            if number == 2 {
                let mut state = work.state();
                state.wish = state.wish.take().filter(|_| observes).map(|wish| {
                    Arc::new(Wish {
                        observe: true,
                        ..(*wish).clone()
                    })
                });
            }
            Ok(())
        });
        assert!(matches!(flow.run(EVERYTHING).await, Some(RunEnd::Moved(_))));
        assert_eq!(flow.client.rounds().len(), 2);
    }
}

/// Somebody undoes each change at once: the run ends by its cap and does not go on for ever.
#[tokio::test(start_paused = true)]
async fn nothing_converges() {
    let mut flow = Flow::new();
    let wanted = format!("{{quota: {{maxObjects: 5}}, flags: {{noScrub: true}}, {SMALLEST}}}");
    assert_eq!(flow.settle(&wanted).await, Some(RunEnd::InSync));
    flow.client.before_round(|cluster, commands| {
        let quota = commands
            .iter()
            .any(|command| matches!(command, MonCommand::PoolSetQuota { .. }));
        cluster.edit_pool("foopool", |pool| {
            if quota {
                pool.flags.remove("noscrub");
            } else {
                pool.quota_max_objects = 1;
            }
        });
    });
    flow.cluster().round(&[set_quota("foopool", "1")]);
    sleep(2 * ROUND).await;
    let before = flow.client.rounds().len();
    assert_eq!(
        flow.run_generation(&wanted, 2).await,
        Some(RunEnd::NotConverging)
    );
    assert_eq!(flow.client.rounds().len() - before, MAX_ROUNDS);
}

/// A change in the last allowed round that reaches the goal is no failure.
#[tokio::test(start_paused = true)]
async fn the_last_round_counts() {
    let mut flow = Flow::new();
    let wanted = format!("{{quota: {{maxObjects: 5}}, {SMALLEST}}}");
    assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
    // Monitors that say they did it, eleven times.
    flow.client
        .plan_fault("osd pool set-quota", MAX_ROUNDS - 1, super::says(0));
    assert_eq!(flow.run_generation(&wanted, 2).await, Some(RunEnd::InSync));
    flow.holds(&wanted, "the twelfth round");
}

/// Drift during an update is put right in the same run.
#[tokio::test(start_paused = true)]
async fn drift_during_an_update() {
    let mut flow = Flow::new();
    flow.settle(EVERYTHING).await;
    let wanted = EVERYTHING.replace("size: 3", "size: 4");
    before(&flow, 2, |cluster| {
        cluster.edit_pool("foopool", |pool| {
            pool.quota_max_bytes = 9;
            pool.flags.remove("noscrub");
            pool.applications
                .get_mut("rbd")
                .unwrap()
                .remove("poolwright");
        });
    });
    assert_eq!(flow.run_generation(&wanted, 2).await, Some(RunEnd::InSync));
    flow.holds(&wanted, "drift");
    assert_eq!(flow.cluster().pool("foopool").unwrap().id, PoolId(1));
}
