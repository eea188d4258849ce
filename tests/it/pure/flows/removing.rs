//! Removals whose commands are lost, late or refused, whose processes are killed, and that others get in the way of.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use poolwright::api::conditions::Reason;
use poolwright::api::v1alpha1::Operation;
use poolwright::ceph::client::ClientError;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::simulated::client::Fault;
use poolwright::ceph::types::{PoolId, PoolName};
use poolwright::request::executor::{Access, Aim};
use poolwright::request::user_request::UserRequest;
use poolwright::request::wish::Wish;
use poolwright::request::work::RunEnd;
use tokio::time::{Instant, sleep};

use super::bench::*;
use super::lost::killed_after;
use super::says;
use crate::pure::support::*;

/// A process whose object has its pool.
async fn with_pool() -> (Flow, PoolId) {
    let mut flow = Flow::new();
    assert_eq!(flow.settle(SMALLEST).await, Some(RunEnd::InSync));
    let id = flow.cluster().pool("foopool").expect("the pool").id;
    (flow, id)
}

/// Hands in the removal, as a reconcile of the deleted object does.
fn hand_in(flow: &Flow, remove: bool) {
    let work = flow.work("foopool");
    let mut state = work.state();
    let record = state.record.clone().unwrap_or_else(fresh);
    let mut wish = Wish::for_removal(owner(), PoolName::new("foopool"), 2, record);
    wish.remove = remove;
    let open = state.open_request();
    if open.is_none_or(|open| open.operation != Operation::Delete) {
        let plan = preview(&wish, &flow.cluster().view());
        let now = Timestamp::now();
        let request = UserRequest::new("bye".into(), Operation::Delete, 2, &wish, &plan, now);
        state.requests = vec![request];
    }
    state.wish = Some(Arc::new(wish));
}

fn access(flow: &Flow) -> Access {
    Access {
        aim: Aim::Remove,
        ..flow.access()
    }
}

/// One run.
async fn once(flow: &mut Flow) -> RunEnd {
    hand_in(flow, true);
    assert!(flow.view().await.is_some());
    flow.start("foopool", access(flow));
    flow.ended().await;
    flow.end().expect("an end")
}

/// Runs until the pool is gone or cannot be removed, and until no command of ours can come late, as a controller does:
/// what Ceph refused is tried again when the pool has its name.
async fn settle(flow: &mut Flow) -> RunEnd {
    let mut end = RunEnd::Stopped;
    for _ in 0..40 {
        end = once(flow).await;
        let unsettled = match &end {
            RunEnd::InSync => {
                let view = flow.view().await.expect("a view");
                let locks = &flow.collection.locks;
                locks.unsettled(&key_of("foopool"), &view, Instant::now())
            }
            RunEnd::Away(_) | RunEnd::Later(_) | RunEnd::NotRecorded(_) => {
                Some(Duration::from_secs(2))
            }
            RunEnd::Refused(_) if !flow.work("foopool").state().rejections.is_empty() => {
                flow.work("foopool").state().rejections.clear();
                Some(Duration::from_secs(30))
            }
            _ => None,
        };
        match unsettled {
            Some(wait) => sleep(wait).await,
            None => return end,
        }
    }
    end
}

/// The faults that a command can have.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Lost,
        Fault::ReplyLost,
        Fault::Error(ClientError::Closed),
        Fault::Error(ClientError::NotSent {
            command: "",
            after: DEADLINE,
        }),
        says(0),
        says(-2),
        says(-11),
        says(-16),
    ]
}

/// Two rounds, each written down before it is sent, with a look before each.
#[tokio::test(start_paused = true)]
async fn two_rounds() {
    let (mut flow, _) = with_pool().await;
    let (rounds, written) = (flow.client.rounds().len(), flow.journal.written().len());
    assert_eq!(once(&mut flow).await, RunEnd::InSync);
    assert_eq!(flow.names(), [""; 0]);
    let sent = flow.client.rounds().split_off(rounds);
    let [
        [MonCommand::PoolRename { from, to }],
        [MonCommand::PoolRemove { pool }],
    ] = [sent[0].as_slice(), sent[1].as_slice()]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((from.as_str(), to), ("foopool", pool));
    assert!(to.as_str().starts_with("foopool.poolwright-del-"), "{to}");
    let written = flow.journal.written().split_off(written);
    assert_eq!((sent.len(), written.len()), (2, 2));
    for written in written {
        let nonce = written.record.removal.expect("written down before");
        assert_eq!(*to, PoolName::new("foopool").while_removing(&nonce));
        assert_eq!(written.record.private_base, Some(PoolName::new("foopool")));
    }
}

/// Whatever happens to a command: in the end the pool is gone, and nothing else is.
#[tokio::test(start_paused = true)]
async fn every_command_lost_in_turn() {
    for fault in faults() {
        for first in 0..2 {
            for second in [None, Some(first + 1), Some(first + 2)] {
                let (mut flow, _) = with_pool().await;
                let other = foreign(&mut flow.cluster(), "other");
                let sent = usize::try_from(flow.client.writes()).unwrap();
                flow.fault(sent + first, fault.clone());
                if let Some(second) = second {
                    flow.fault(sent + second, fault.clone());
                }
                let what = format!("{fault:?} of commands {first} and {second:?}");
                assert_eq!(settle(&mut flow).await, RunEnd::InSync, "{what}");
                assert_eq!(flow.names(), ["other"], "{what}");
                assert_eq!(
                    flow.cluster().pool("other").map(|pool| pool.id),
                    Some(other)
                );
            }
        }
    }
}

/// A command that is executed long after its time does no harm either, although somebody makes a pool of the name as
/// soon as it is free: that one keeps its name, or has it back before the object goes.
#[tokio::test(start_paused = true)]
async fn every_command_late() {
    for after in [
        100, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 6_000, 9_000, 15_000, 25_000,
    ] {
        for command in 0..2 {
            let (mut flow, ours) = with_pool().await;
            let sent = usize::try_from(flow.client.writes()).unwrap();
            flow.fault(
                sent + command,
                Fault::Late(DEADLINE + Duration::from_millis(after)),
            );
            flow.client.before_round({
                let mut taken = false;
                move |cluster, _| {
                    if !taken && cluster.pool("foopool").is_none() {
                        taken = true;
                        foreign(cluster, "foopool");
                    }
                }
            });
            let what = format!("command {command}, {after} ms after its time");
            let end = settle(&mut flow).await;
            if flow.cluster().pool("foopool").is_none() {
                foreign(&mut flow.cluster(), "foopool");
            }
            sleep(Duration::from_secs(60)).await;
            let names = flow.names();
            assert_eq!(names, ["foopool"], "{what}: {end:?}");
            assert_ne!(
                flow.cluster().pool("foopool").map(|pool| pool.id),
                Some(ours),
                "{what}"
            );
        }
    }
}

/// A process that is killed at any moment, and another that knows what was written down.
#[tokio::test(start_paused = true)]
async fn killed_at_any_moment() {
    for moment in 0..60 {
        let (flow, _) = with_pool().await;
        hand_in(&flow, true);
        let time = Duration::from_millis(50 * moment);
        let what = format!("killed after {time:?}");
        let access = access(&flow);
        let mut next = killed_after(flow, access, time).await;
        // Half of them change their mind: then the pool has its name, unless it is gone already.
        if moment % 2 == 0 {
            assert_eq!(settle(&mut next).await, RunEnd::InSync, "{what}");
            sleep(Duration::from_secs(5)).await;
            assert_eq!(next.names(), [""; 0], "{what}");
        } else {
            // What is in flight has arrived: the controller waits for that before it lets the object go.
            sleep(Duration::from_secs(5)).await;
            hand_in(&next, false);
            assert!(next.view().await.is_some());
            next.start("foopool", self::access(&next));
            next.ended().await;
            assert_eq!(next.end(), Some(RunEnd::InSync), "{what}");
            assert!(
                next.names().iter().all(|name| name == "foopool"),
                "{what}: {:?}",
                next.names()
            );
        }
    }
}

/// Something is written between the two looks: the pool has its name back, and the next try takes another private one.
#[tokio::test(start_paused = true)]
async fn filled_between_the_looks() {
    for contents in [
        Contents::Something("x".into()),
        Contents::Unknown("y".into()),
    ] {
        let (mut flow, id) = with_pool().await;
        let client = flow.client.clone();
        let found = contents.clone();
        flow.client
            .before_round(move |_, _| client.set_contents(id, found.clone()));
        let end = once(&mut flow).await;
        let RunEnd::Refused(refusals) = &end else {
            panic!("{end:?}")
        };
        assert!([Reason::NotEmpty, Reason::NotProven].contains(&refusals[0].reason));
        assert_eq!(flow.names(), ["foopool"]);
        assert_eq!(
            flow.work("foopool")
                .state()
                .record
                .as_ref()
                .unwrap()
                .removal,
            None
        );
        flow.client.before_round(|_, _| {});
        flow.client.set_contents(id, Contents::Empty);
        assert_eq!(once(&mut flow).await, RunEnd::InSync);
        let renames: Vec<MonCommand> = flow.client.rounds().into_iter().flatten().filter(|command| {
            matches!(command, MonCommand::PoolRename { from, .. } if from.as_str() == "foopool")
        }).collect();
        assert_eq!(renames.len(), 2);
        assert_ne!(renames[0], renames[1], "another private name");
    }
}

/// Ceph refuses the removal itself: the pool has its name back, whatever happens to that command.
#[tokio::test(start_paused = true)]
async fn refused_by_ceph() {
    for code in [-1, -13, -16, -11, -22] {
        for fault in [None].into_iter().chain(faults().into_iter().map(Some)) {
            let (mut flow, _) = with_pool().await;
            let sent = usize::try_from(flow.client.writes()).unwrap();
            flow.client.plan_fault("osd pool rm", 1000, says(code));
            if let Some(fault) = &fault {
                flow.fault(sent + 2, fault.clone());
            }
            let what = format!("{code}, then {fault:?}");
            let mut end = once(&mut flow).await;
            for _ in 0..5 {
                if flow.names() == ["foopool"] {
                    break;
                }
                sleep(Duration::from_secs(2)).await;
                end = once(&mut flow).await;
            }
            assert_eq!(flow.names(), ["foopool"], "{what}: {end:?}");
            let tried = flow.client.commands()["osd pool rm"];
            assert_eq!(tried, 1, "{what}");
            flow.client.clear_faults();
            flow.work("foopool").state().rejections.clear();
            assert_eq!(settle(&mut flow).await, RunEnd::InSync, "{what}");
            assert_eq!(flow.names(), [""; 0], "{what}");
        }
    }
}

/// Somebody renames our pool and makes another of its name just before the rename is executed: the stranger's pool has
/// its name back, and nothing is removed before somebody has looked.
#[tokio::test(start_paused = true)]
async fn replaced_in_the_last_moment() {
    let (mut flow, ours) = with_pool().await;
    let mut done = false;
    flow.client.before_round(move |cluster, _| {
        if !done {
            done = true;
            cluster.edit_pool("foopool", |pool| pool.name = PoolName::new("moved"));
            foreign(cluster, "foopool");
        }
    });
    let end = once(&mut flow).await;
    let RunEnd::Refused(refusals) = &end else {
        panic!("{end:?}")
    };
    assert_eq!(refusals[0].reason, Reason::PoolReplaced);
    assert_eq!(flow.names(), ["moved", "foopool"]);
    // Then ours goes, which is known by its number.
    assert_eq!(settle(&mut flow).await, RunEnd::InSync);
    assert_eq!(flow.names(), ["foopool"]);
    assert_ne!(
        flow.cluster().pool("foopool").map(|pool| pool.id),
        Some(ours)
    );
}

/// What was made for a pool goes after it, in a round of its own, unless another pool uses it or somebody changed it; and nothing that Ceph says
/// to that holds the pool's object up.
#[tokio::test(start_paused = true)]
async fn what_was_made_for_it() {
    const CODED: &str = "{type: ErasureCoded, replicated: null, applications: [{name: rbd}], \
                         erasureCoded: {dataChunks: 2, codingChunks: 1}, crush: {failureDomain: osd}}";
    for (in_use, refused, changed) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        let mut flow = Flow::new();
        assert_eq!(flow.settle(CODED).await, Some(RunEnd::InSync));
        let made: Vec<String> = {
            let cluster = flow.cluster();
            cluster
                .map()
                .erasure_code_profiles
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(made.len(), 1, "{made:?}");
        if in_use {
            flow.cluster().edit_map(|map| {
                let pool = map.pools.values().next().expect("the pool").clone();
                let mut other = (*pool).clone();
                other.id = PoolId(99);
                other.name = PoolName::new("other");
                map.pools.insert(other.id, Arc::new(other));
            });
        }
        if changed {
            // Somebody made another profile under that name.
            flow.cluster().edit_map(|map| {
                let keys = map.erasure_code_profiles.get_mut(&made[0]);
                let keys = keys.expect("the profile");
                keys.insert("m".into(), "2".into());
            });
        }
        if refused {
            let busy = Fault::Reply {
                code: -16,
                text: "in use".into(),
            };
            flow.client.plan_fault("osd crush rule rm", 1, busy);
        }
        assert_eq!(once(&mut flow).await, RunEnd::InSync);
        assert!(flow.cluster().pool("foopool").is_none());
        let rounds = flow.client.rounds();
        let after: Vec<&str> = rounds
            .iter()
            .flatten()
            .map(MonCommand::prefix)
            .skip_while(|prefix| *prefix != "osd pool rm")
            .skip(1)
            .collect();
        let (profiles, rules) = {
            let cluster = flow.cluster();
            let rule = cluster.crush().rule_named(&made[0]).is_some();
            (cluster.map().erasure_code_profiles.len(), rule)
        };
        match (in_use, refused) {
            _ if changed => {
                assert_eq!(
                    (after, profiles, rules),
                    (vec!["osd crush rule rm"], 1, false)
                );
            }
            (true, _) => assert_eq!((after, profiles, rules), (vec![], 1, true)),
            (false, true) => {
                assert_eq!(
                    (after, profiles, rules),
                    (vec!["osd erasure-code-profile rm"], 0, true)
                );
            }
            (false, false) => {
                let both = vec!["osd crush rule rm", "osd erasure-code-profile rm"];
                assert_eq!((after, profiles, rules), (both, 0, false));
            }
        }
    }
}
