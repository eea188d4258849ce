//! What is done once more: a pool that is made again, and one that is taken back. Each begins anew, so that nothing that is
//! still on its way from the first time, and nobody with an older copy of the record, can mean it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use poolwright::api::conditions::Reason;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::simulated::client::Fault;
use poolwright::ceph::types::{PoolId, PoolName};
use poolwright::request::refusal::Refusal;
use poolwright::request::work::RunEnd;

use super::bench::*;
use crate::pure::support::*;

const SINGLE: &str = "{applications: [{name: rbd}], replicated: {size: 1}}";

/// One run, with these words of a person.
async fn run_with(flow: &mut Flow, text: &str, given: &[&str], dead: &[String]) -> RunEnd {
    // What was done by hand is seen with the next poll.
    tokio::time::sleep(2 * ROUND).await;
    flow.hand_in("foopool", text, 1).await;
    {
        let work = flow.work("foopool");
        let mut state = work.state();
        let mut wish = state.wish.as_deref().cloned().expect("a wish");
        wish.confirmations.uid = "a-uid".into();
        wish.confirmations.given = given.iter().map(|token| (*token).to_owned()).collect();
        wish.adopt = true;
        wish.dead_marks.extend(dead.iter().cloned());
        state.wish = Some(Arc::new(wish));
    }
    flow.start("foopool", flow.access());
    flow.ended().await;
    flow.end().expect("an end")
}

#[track_caller]
fn refusals(end: RunEnd) -> Vec<Refusal> {
    match end {
        RunEnd::Refused(refusals) => refusals,
        other => panic!("{other:?}"),
    }
}

fn token(refusal: &Refusal) -> &str {
    &refusal.token.as_ref().expect("a token").token
}

fn remove_by_hand(flow: &Flow, pool: &str) {
    let pool = PoolName::new(pool);
    flow.cluster().round(&[MonCommand::PoolRemove { pool }]);
}

/// What was asked for before has ended.
fn over(flow: &Flow) {
    for request in &mut flow.work("foopool").state().requests {
        request.fail("over".into(), Timestamp::now());
    }
}

fn mark_of(flow: &Flow) -> String {
    flow.cluster()
        .pool("foopool")
        .expect("the pool")
        .applications["rbd"]["poolwright"]
        .clone()
}

/// The claim in the object's mark.
fn claim_of(flow: &Flow) -> String {
    let mark = mark_of(flow);
    let claim = mark.split('/').nth(1).expect("a claim");
    assert_eq!(mark, owner().mark(claim));
    claim.to_owned()
}

/// The nonces under which pools were made, oldest first.
fn nonces(flow: &Flow) -> Vec<String> {
    let written = flow.journal.written();
    let creates = written
        .iter()
        .filter(|written| written.lines[0].contains("osd pool create"));
    creates
        .map(|written| written.record.nonce.clone())
        .collect()
}

/// An empty pool, with one copy of everything: two dangers, which are asked for together, and neither of which is done with
/// the word for the other.
#[tokio::test(start_paused = true)]
async fn two_dangers() {
    let mut flow = Flow::new();
    flow.cluster().config.allow_pool_size_one = true;
    let first = refusals(run_with(&mut flow, SINGLE, &[], &[]).await);
    let end = run_with(&mut flow, SINGLE, &[token(&first[0])], &[]).await;
    assert_eq!(end, RunEnd::InSync);
    remove_by_hand(&flow, "foopool");
    over(&flow);

    let both = refusals(run_with(&mut flow, SINGLE, &[token(&first[0])], &[]).await);
    let reasons: Vec<Reason> = both.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::PoolMissing, Reason::Unsafe]);
    let (again, single) = (token(&both[0]), token(&both[1]));
    assert!(again != single && single != token(&first[0]));
    for refusal in &both {
        let command = &refusal.message;
        let said = command.split("poolwright.dev/confirm=").nth(1).unwrap();
        let said: BTreeSet<&str> = said.split(' ').next().unwrap().split(',').collect();
        assert_eq!(said, BTreeSet::from([again, single]), "{command}");
    }
    for (given, missing) in [
        (again, [Reason::Unsafe].as_slice()),
        (single, &[Reason::PoolMissing]),
    ] {
        let left = refusals(run_with(&mut flow, SINGLE, &[given], &[]).await);
        let reasons: Vec<Reason> = left.iter().map(|refusal| refusal.reason).collect();
        assert_eq!(reasons, missing);
        assert_eq!(flow.names(), [""; 0]);
    }
    let end = run_with(&mut flow, SINGLE, &[again, single], &[]).await;
    assert_eq!(end, RunEnd::InSync);
    assert_eq!(flow.cluster().pool("foopool").unwrap().size, 1);
    // Both words are spent.
    remove_by_hand(&flow, "foopool");
    over(&flow);
    let left = refusals(run_with(&mut flow, SINGLE, &[again, single], &[]).await);
    assert_eq!(left.len(), 2);
}

/// A pool is made again under names and a claim of its own, also where the first one may never have been published: what is
/// late of the first making means nothing.
#[tokio::test(start_paused = true)]
async fn nothing_of_the_first_making_is_used_again() {
    for published in [true, false] {
        let mut flow = Flow::new();
        if published {
            assert_eq!(
                run_with(&mut flow, SMALLEST, &[], &[]).await,
                RunEnd::InSync
            );
            remove_by_hand(&flow, "foopool");
        } else {
            // Its third round is about to be sent, and neither the mark nor the rename is answered.
            for command in 2..5 {
                flow.fault(command, Fault::Lost);
            }
            let end = run_with(&mut flow, SMALLEST, &[], &[]).await;
            assert!(matches!(end, RunEnd::Away(_)), "{end:?}");
            remove_by_hand(&flow, PRIVATE);
        }
        over(&flow);
        let missing = refusals(run_with(&mut flow, SMALLEST, &[], &[]).await);
        assert_eq!(missing[0].reason, Reason::PoolMissing);
        let late = [
            MonCommand::PoolRename {
                from: PoolName::new(PRIVATE),
                to: PoolName::new("foopool"),
            },
            MonCommand::PoolRemove {
                pool: PoolName::new(PRIVATE),
            },
        ];
        let mut round = 0;
        flow.client.before_round(move |cluster, _| {
            round += 1;
            if round > 1 {
                for reply in cluster.round(&late) {
                    assert!(
                        reply.code < 0 || reply.text.contains("does not exist"),
                        "{reply:?}"
                    );
                }
            }
        });
        let mut end = run_with(&mut flow, SMALLEST, &[token(&missing[0])], &[]).await;
        if let RunEnd::Later(_) = end {
            // Of the rename nobody knows for half a minute.
            tokio::time::sleep(poolwright::request::locks::LATE).await;
            end = run_with(&mut flow, SMALLEST, &[token(&missing[0])], &[]).await;
        }
        assert_eq!(end, RunEnd::InSync);
        let nonces = nonces(&flow);
        assert!(
            nonces.len() == 2 && nonces[0] == NONCE && nonces[1] != NONCE,
            "{nonces:?}"
        );
        assert_ne!(claim_of(&flow), CLAIM);
        assert_eq!(
            run_with(&mut flow, SMALLEST, &[], &[]).await,
            RunEnd::InSync
        );
    }
}

/// Gives a pool the mark of somebody else.
fn taken_over(flow: &Flow, mark: &str) {
    let mark = mark.to_owned();
    flow.cluster().edit_pool("foopool", |pool| {
        let keys = pool.applications.get_mut("rbd").unwrap();
        keys.insert("poolwright".into(), mark);
    });
}

/// Who takes its pool back does so under a new claim: whoever still has the old one, in a copy of this control plane or from
/// a backup, is not its owner by that.
#[tokio::test(start_paused = true)]
async fn taken_back_under_a_new_claim() {
    let copy = owner().mark("0ther000");
    let gone = owner_of("barpool").mark("1a2b3c4d");
    let living = "other/1a2b3c4d/0123456789abcdef".to_owned();
    for (theirs, is_dead) in [(copy, false), (gone, true), (living, false)] {
        let mut flow = Flow::new();
        assert_eq!(
            run_with(&mut flow, SMALLEST, &[], &[]).await,
            RunEnd::InSync
        );
        let id = flow.cluster().pool("foopool").unwrap().id;
        let mut claims = vec![claim_of(&flow)];
        for _ in 0..2 {
            taken_over(&flow, &theirs);
            over(&flow);
            let dead: Vec<String> = is_dead.then(|| theirs.clone()).into_iter().collect();
            let mut end = run_with(&mut flow, SMALLEST, &[], &dead).await;
            if !is_dead {
                let asked = refusals(end);
                assert_eq!(asked[0].reason, Reason::OwnedByAnother);
                end = run_with(&mut flow, SMALLEST, &[token(&asked[0])], &[]).await;
            }
            assert_eq!(end, RunEnd::InSync, "{theirs}");
            claims.push(claim_of(&flow));
            // It is written down before it is sent.
            let written = flow.journal.written();
            let adopting = written
                .iter()
                .rfind(|written| written.lines[0].contains("application set"))
                .unwrap();
            assert_eq!(Some(&adopting.record.claim), claims.last());
            assert_eq!(
                run_with(&mut flow, SMALLEST, &[], &[]).await,
                RunEnd::InSync
            );
            assert_eq!(Some(claim_of(&flow)).as_ref(), claims.last());
        }
        let different: BTreeSet<&String> = claims.iter().collect();
        assert_eq!(different.len(), 3, "{theirs}: {claims:?}");
        assert_eq!(flow.cluster().pool("foopool").map(|pool| pool.id), Some(id));
    }
}

/// A mark that is late is the one that was sent last: a try after it goes on with the same claim.
#[tokio::test(start_paused = true)]
async fn the_new_claim_is_drawn_once() {
    let mut flow = Flow::new();
    assert_eq!(
        run_with(&mut flow, SMALLEST, &[], &[]).await,
        RunEnd::InSync
    );
    taken_over(&flow, &owner().mark("0ther000"));
    let asked = refusals(run_with(&mut flow, SMALLEST, &[], &[]).await);
    let sent = usize::try_from(flow.client.writes()).unwrap();
    flow.fault(sent, Fault::Late(DEADLINE * 3));
    let given = [token(&asked[0])];
    let end = run_with(&mut flow, SMALLEST, &given, &[]).await;
    assert!(matches!(end, RunEnd::Away(_)), "{end:?}");
    let claim = flow.journal.written().pop().unwrap().record.claim;
    assert_ne!(claim, CLAIM);
    assert_eq!(
        run_with(&mut flow, SMALLEST, &given, &[]).await,
        RunEnd::InSync
    );
    tokio::time::sleep(DEADLINE * 3).await;
    assert_eq!(claim_of(&flow), claim);
    assert_eq!(
        run_with(&mut flow, SMALLEST, &[], &[]).await,
        RunEnd::InSync
    );
}

/// A pool of the very name that is about to be used is not taken for the one to be made.
#[tokio::test(start_paused = true)]
async fn a_private_name_that_is_taken() {
    let mut flow = Flow::new();
    let theirs: PoolId = foreign(&mut flow.cluster(), PRIVATE);
    let before = flow.cluster().pool(PRIVATE).cloned();
    assert_eq!(
        run_with(&mut flow, SMALLEST, &[], &[]).await,
        RunEnd::InSync
    );
    let cluster = flow.cluster();
    assert_eq!(cluster.pool(PRIVATE).cloned(), before);
    assert_ne!(cluster.pool("foopool").unwrap().id, theirs);
}

/// What somebody else keeps changing is left alone; what else differs is not, and no lock is lifted for what is not sent.
#[tokio::test(start_paused = true)]
async fn the_rest_does_not_wait_for_a_contested_field() {
    let text = "{applications: [{name: rbd, metadata: {a: x}}], replicated: {size: 3}, \
        quota: {maxObjects: 5, maxBytes: 1Gi}, flags: {noSizeChange: true, noDelete: true}}";
    let mut flow = Flow::new();
    assert_eq!(run_with(&mut flow, text, &[], &[]).await, RunEnd::InSync);
    flow.cluster().edit_pool("foopool", |pool| {
        pool.size = 2;
        pool.quota_max_objects = 7;
        pool.quota_max_bytes = 7;
        pool.flags.remove("nodelete");
        pool.applications.get_mut("rbd").unwrap().remove("a");
    });
    flow.work("foopool").state().left_alone = set(&["size", "quota.maxObjects"]);
    let rounds = flow.client.rounds().len();
    assert_eq!(run_with(&mut flow, text, &[], &[]).await, RunEnd::InSync);
    let sent: BTreeSet<String> = flow.client.rounds()[rounds..]
        .iter()
        .flatten()
        .map(MonCommand::to_line)
        .collect();
    assert_eq!(
        sent,
        set(&[
            "ceph osd pool application set foopool rbd a x",
            "ceph osd pool set foopool nodelete true",
            "ceph osd pool set-quota foopool max_bytes 1073741824",
        ])
    );
    flow.work("foopool").state().left_alone.clear();
    assert_eq!(run_with(&mut flow, text, &[], &[]).await, RunEnd::InSync);
    flow.holds(text, "with nothing left alone");
}

/// `nodelete` locks nothing that is still to be done: what Ceph refuses does not keep it from being set.
#[tokio::test(start_paused = true)]
async fn a_refused_field_does_not_keep_a_pool_unprotected() {
    let mut flow = Flow::new();
    assert_eq!(
        run_with(&mut flow, SMALLEST, &[], &[]).await,
        RunEnd::InSync
    );
    let text = "{applications: [{name: rbd}], quota: {maxObjects: 5}, flags: {noDelete: true}}";
    flow.client.plan_fault(
        "osd pool set-quota",
        1,
        Fault::Reply {
            code: -22,
            text: "no".into(),
        },
    );
    assert_eq!(run_with(&mut flow, text, &[], &[]).await, RunEnd::Rejected);
    assert!(flow.cluster().pool("foopool").unwrap().has_flag("nodelete"));
}
