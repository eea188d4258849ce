//! Runs: the executor on a simulated cluster with a real monitor, and what may go wrong on the way.
//! The clock stands still but where everybody waits for it.

mod again;
mod bench;
mod lost;
mod meanwhile;
mod removing;
mod states;
mod unwritten;
mod words;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use poolwright::api::conditions::Reason;
use poolwright::api::v1alpha1::{Operation, Outcome, RequestState};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::errno::Verdict;
use poolwright::ceph::simulated::client::Fault;
use poolwright::ceph::types::PoolName;
use poolwright::request::executor::{Access, Aim};
use poolwright::request::journal::JournalError;
use poolwright::request::refusal::Refusal;
use poolwright::request::user_request::UserRequest;
use poolwright::request::wish::Wish;
use poolwright::request::work::RunEnd;
use tokio::time::{Instant, sleep};

use self::bench::*;
use super::support::*;

/// The monitors answer this, and do nothing.
fn says(code: i32) -> Fault {
    Fault::Reply {
        code,
        text: format!("words for {code}"),
    }
}

/// A create takes three rounds, each written down before it is sent; the request ends when the
/// pool is no longer `creating`.
#[tokio::test(start_paused = true)]
async fn create_in_three_rounds() {
    let mut flow = Flow::new();
    flow.view().await;
    let began = Instant::now();
    assert_eq!(flow.run(SMALLEST).await, Some(RunEnd::InSync));
    assert!(
        began.elapsed() < Duration::from_millis(3300),
        "{:?}",
        began.elapsed()
    );
    let rounds = flow.client.rounds();
    assert_eq!(rounds.len(), 3);
    let written = flow.journal.written();
    let mut sent = 0;
    for (at, (written, round)) in written.iter().zip(&rounds).enumerate() {
        assert_eq!(
            written.sent_before, sent,
            "written before anything of it is sent"
        );
        let lines: Vec<String> = round.iter().map(MonCommand::to_line).collect();
        assert_eq!(written.lines, lines, "what is sent is what was written");
        sent += u64::try_from(round.len()).unwrap();
        assert_eq!(
            (written.request.rounds_sent, written.request.rounds_planned),
            (at, 3)
        );
        assert_eq!(written.request.state, RequestState::Submitted);
        assert!(written.record.unpublished && written.record.nonce == NONCE);
        // From the second round on the pool is known; what names it is written before its real name.
        assert_eq!(written.record.identity.is_some(), at > 0);
        assert_eq!(written.record.identity_proven, at > 0);
    }
    assert_eq!(written.len(), 3);
    let work = flow.work("foopool");
    assert!(!work.state().record.as_ref().unwrap().unpublished);
    flow.observe(SMALLEST).await;
    assert!(!work.state().requests[0].is_complete(), "still creating");
    sleep(6 * ROUND).await;
    flow.observe(SMALLEST).await;
    let request = work.state().requests[0].clone();
    assert_eq!(
        (request.outcome, request.rounds.len()),
        (Some(Outcome::Succeeded), 3)
    );
    assert!(request.observed_epoch >= request.awaited_epoch);
    assert_eq!(request.rounds[2].commands.len(), 3);
    assert_eq!(request.rounds[2].commands[2].code, Some(0));
    flow.holds(SMALLEST, "created");
    // The same again: nothing is written, nothing is sent.
    let before = flow.client.writes();
    assert_eq!(flow.run(SMALLEST).await, Some(RunEnd::InSync));
    assert_eq!(
        (flow.client.writes(), flow.journal.written().len()),
        (before, 3)
    );
}

/// What cannot be written down is not sent, in whichever round; the next run goes on from there.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_unwritten() {
    let refusal = Refusal::new(Reason::NotGranted, None, "no more");
    for (error, expected) in [
        (
            JournalError::Unavailable("gone".into()),
            RunEnd::NotRecorded("gone".into()),
        ),
        (
            JournalError::Moved("paused".into()),
            RunEnd::Moved("paused".into()),
        ),
        (
            JournalError::Refused(refusal.clone()),
            RunEnd::Refused(vec![refusal]),
        ),
    ] {
        for round in 1..=4 {
            let mut flow = Flow::new();
            let fails = error.clone();
            flow.journal.on_write(move |number| {
                if number == round {
                    Err(fails.clone())
                } else {
                    Ok(())
                }
            });
            assert_eq!(flow.run(EVERYTHING).await, Some(expected.clone()));
            let sent: usize = flow.client.rounds().iter().map(Vec::len).sum();
            assert_eq!(flow.client.rounds().len(), round - 1);
            assert_eq!(flow.client.writes(), u64::try_from(sent).unwrap());
            flow.journal.quiet();
            assert_eq!(flow.settle(EVERYTHING).await, Some(RunEnd::InSync));
            flow.holds(EVERYTHING, "after the journal failed");
        }
    }
}

/// The work of others waits for no one: fifty creates share their rounds, and so do two hundred, as far as
/// the monitor is let.
#[tokio::test(start_paused = true)]
async fn many_pools_share_rounds() {
    for (count, most) in [(50, 3), (200, 6)] {
        let mut flow = Flow::new();
        let names: Vec<String> = (0..count).map(|at| format!("pool{at}")).collect();
        for name in &names {
            flow.hand_in(name, SMALLEST, 1).await;
        }
        let began = Instant::now();
        for name in &names {
            flow.start(name, flow.access());
        }
        assert_eq!(flow.collection.running(), count);
        for _ in &names {
            flow.ended().await;
        }
        for name in &names {
            assert_eq!(flow.work(name).state().end, Some(RunEnd::InSync), "{name}");
        }
        let rounds = flow.client.rounds();
        assert!(
            rounds.len() <= most,
            "{} rounds for {count} pools",
            rounds.len()
        );
        assert!(
            began.elapsed() < ROUND * u32::try_from(most).unwrap() + ROUND,
            "{:?}",
            began.elapsed()
        );
        assert_eq!(flow.cluster().map().pools.len(), count);
    }
}

/// One run a pool: a second start changes nothing.
#[tokio::test(start_paused = true)]
async fn one_run_a_pool() {
    let mut flow = Flow::new();
    flow.hand_in("foopool", SMALLEST, 1).await;
    flow.start("foopool", flow.access());
    flow.start("foopool", flow.access());
    assert_eq!(flow.collection.running(), 1);
    flow.ended().await;
    assert_eq!(flow.end(), Some(RunEnd::InSync));
    assert_eq!(flow.journal.written().len(), 3);
}

/// A panic in a run does not lock its pool: it is told to have ended, and another one can begin.
#[tokio::test(start_paused = true)]
async fn a_panic_frees_the_pool() {
    let mut flow = Flow::new();
    flow.journal.on_write(|_| panic!("in the journal"));
    let end = flow.run(SMALLEST).await;
    assert!(matches!(end, Some(RunEnd::Later(_))), "{end:?}");
    assert!(!flow.work("foopool").state().running);
    flow.journal.quiet();
    assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
}

/// Told to stop, a run ends between two rounds: what was begun is brought to its end, nothing new is sent.
#[tokio::test(start_paused = true)]
async fn stopped_between_rounds() {
    for round in 1..=3 {
        let mut flow = Flow::new();
        let stop = flow.stop.clone();
        flow.journal.on_write(move |number| {
            if number == round {
                stop.cancel();
            }
            Ok(())
        });
        assert_eq!(flow.run(EVERYTHING).await, Some(RunEnd::Stopped));
        assert_eq!(flow.client.rounds().len(), round);
        flow.collection.drained().await;
        // None is begun any more.
        flow.start("foopool", flow.access());
        assert_eq!(flow.collection.running(), 0);
        let mut next = flow.restarted();
        assert_eq!(next.settle(EVERYTHING).await, Some(RunEnd::InSync));
        next.holds(EVERYTHING, "after a stop");
        assert_eq!(flow.client.rounds().len(), 4, "nothing was done twice");
    }
}

/// Creates that wait for their turn end at once when the program does: they have sent nothing.
#[tokio::test(start_paused = true)]
async fn stopped_while_waiting_for_a_turn() {
    let mut flow = Flow::new();
    flow.view().await;
    let mut permits = Vec::new();
    // A monitor that bears it lets in ever more, up to 256.
    for _ in 0..256 {
        permits.push(flow.monitor.creates().acquire().await);
    }
    flow.hand_in("foopool", SMALLEST, 1).await;
    flow.start("foopool", flow.access());
    sleep(3 * ROUND).await;
    assert_eq!(flow.collection.running(), 1);
    flow.stop.cancel();
    flow.ended().await;
    assert_eq!(flow.end(), Some(RunEnd::Stopped));
    assert_eq!((flow.client.writes(), flow.journal.written().len()), (0, 0));
}

/// An object that is deleted before its pool is published takes the pool with it, on a handle of its own;
/// a published one stays.
#[tokio::test(start_paused = true)]
async fn discarding() {
    for rounds in 0..=3 {
        let mut flow = Flow::new();
        let stop = flow.stop.clone();
        flow.journal.on_write(move |number| {
            if number == rounds {
                stop.cancel();
            }
            Ok(())
        });
        if rounds > 0 {
            flow.run(SMALLEST).await;
        }
        let mut flow = flow.restarted();
        let wish = {
            let work = flow.work("foopool");
            let mut state = work.state();
            let record = state.record.clone().unwrap_or_else(fresh);
            let wish = Wish::for_removal(owner(), PoolName::new("foopool"), 1, record);
            let plan = preview(&wish, &flow.cluster().view());
            let request = UserRequest::new(
                "bye".into(),
                Operation::Delete,
                1,
                &wish,
                &plan,
                Timestamp::now(),
            );
            state.requests.push(request);
            state.wish = Some(Arc::new(wish.clone()));
            wish
        };
        assert!(flow.view().await.is_some());
        flow.start(
            "foopool",
            Access {
                aim: Aim::Discard,
                ..flow.access()
            },
        );
        flow.ended().await;
        assert_eq!(flow.end(), Some(RunEnd::InSync), "{wish:?}");
        let expected: &[&str] = if rounds == 3 { &["foopool"] } else { &[] };
        assert_eq!(flow.names(), expected);
        assert_eq!(
            flow.journal.written().len(),
            usize::from((1..3).contains(&rounds))
        );
    }
}

/// A field that Ceph refuses is not sent again as it is; the others are applied, and its words are kept.
#[tokio::test(start_paused = true)]
async fn one_field_rejected() {
    let wanted = format!(
        "{{quota: {{maxBytes: 1Gi, maxObjects: 7}}, flags: {{noScrub: true}}, {SMALLEST}}}"
    );
    for (code, verdict) in [
        (-22, Verdict::Refused),
        (-1, Verdict::Guarded),
        (-13, Verdict::Denied),
        (-34, Verdict::Limit),
    ] {
        let mut flow = Flow::new();
        assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
        flow.client.plan_fault("osd pool set-quota", 1, says(code));
        assert_eq!(
            flow.run_generation(&wanted, 2).await,
            Some(RunEnd::Rejected)
        );
        let sent = flow.client.writes();
        let work = flow.work("foopool");
        let rejections = work.state().rejections.clone();
        let [rejection] = rejections.as_slice() else {
            panic!("{rejections:?}")
        };
        assert_eq!(
            (rejection.field.as_str(), rejection.desired.as_str()),
            ("quota.maxBytes", "1073741824")
        );
        assert_eq!((rejection.code, rejection.verdict), (code, verdict));
        assert_eq!(rejection.text, format!("words for {code}"));
        {
            let cluster = flow.cluster();
            let pool = cluster.pool("foopool").unwrap();
            assert_eq!((pool.quota_max_bytes, pool.quota_max_objects), (0, 7));
            assert!(pool.has_flag("noscrub"));
        }
        assert_eq!(
            flow.run_generation(&wanted, 2).await,
            Some(RunEnd::Rejected)
        );
        assert_eq!(flow.client.writes(), sent, "not again");
        // Another value is another command, and so is another try that somebody asks for.
        let other = wanted.replace("1Gi", "2Gi");
        assert_eq!(flow.run_generation(&other, 3).await, Some(RunEnd::InSync));
        flow.holds(&other, "after a rejection");
    }
}

/// A new pool of which a field is refused is not published; it is when the field is put right.
#[tokio::test(start_paused = true)]
async fn rejected_during_a_create() {
    let mut flow = Flow::new();
    flow.client.plan_fault("osd pool set-quota", 1, says(-22));
    assert_eq!(flow.run(EVERYTHING).await, Some(RunEnd::Rejected));
    assert_eq!(flow.names(), [PRIVATE]);
    let other = EVERYTHING.replace("1Gi", "2Gi");
    assert_eq!(flow.run_generation(&other, 2).await, Some(RunEnd::InSync));
    flow.holds(&other, "put right");
    // The create itself.
    let mut flow = Flow::new();
    flow.client.plan_fault("osd pool create", 1, says(-34));
    assert_eq!(flow.run(EVERYTHING).await, Some(RunEnd::Rejected));
    assert_eq!(flow.names(), [""; 0]);
    assert_eq!(flow.run_generation(SMALLEST, 2).await, Some(RunEnd::InSync));
    flow.holds(SMALLEST, "put right");
}

/// What passes by itself is tried again, but not as fast as a machine can.
#[tokio::test(start_paused = true)]
async fn try_again_later() {
    for code in [-11, -4, -16, -110] {
        let mut flow = Flow::new();
        flow.settle(SMALLEST).await;
        flow.client
            .plan_fault("osd pool set-quota", 1000, says(code));
        let wanted = format!("{{quota: {{maxBytes: 1Gi}}, {SMALLEST}}}");
        let before = flow.client.writes();
        let end = flow.run_generation(&wanted, 2).await;
        let Some(RunEnd::Later(words)) = &end else {
            panic!("{code}: {end:?}")
        };
        assert!(words.contains(&format!("words for {code}")), "{words}");
        assert!(
            flow.client.writes() - before <= 2,
            "{}",
            flow.client.writes() - before
        );
        flow.client.clear_faults();
        assert_eq!(flow.settle(&wanted).await, Some(RunEnd::InSync));
        flow.holds(&wanted, "later");
    }
}
