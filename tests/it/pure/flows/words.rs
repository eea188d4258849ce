//! What people confirm, in a run: used when it is written down, good again when Ceph refuses, and not used by what was
//! not begun.

use poolwright::api::conditions::Reason;
use poolwright::ceph::simulated::client::Fault;
use poolwright::request::journal::JournalError;
use poolwright::request::refusal::Refusal;
use poolwright::request::wish::Wish;
use poolwright::request::work::RunEnd;

use super::bench::*;
use super::*;

const SAFE: &str = "{replicated: {size: 2}, applications: [{name: rbd}]}";
const SINGLE: &str = "{replicated: {size: 1}, applications: [{name: rbd}]}";

/// Gives the word that the refusal of a handed-in wish asks for.
async fn confirm(flow: &Flow) -> String {
    let view = flow.view().await.expect("a view");
    let work = flow.work("foopool");
    let mut state = work.state();
    let newest = state.wish.clone().expect("a wish");
    let refusals = next(&newest, &view).refusals;
    let token = refusals
        .iter()
        .find_map(|refusal| refusal.token.as_ref())
        .unwrap_or_else(|| panic!("no token: {refusals:?}"))
        .token
        .clone();
    let mut wish = Wish::clone(&newest);
    wish.confirmations.given.insert(token.clone());
    state.wish = Some(Arc::new(wish));
    token
}

/// One more run towards what is handed in.
async fn again(flow: &mut Flow) -> Option<RunEnd> {
    flow.work("foopool").state().rejections.clear();
    flow.start("foopool", flow.access());
    flow.ended().await;
    flow.end()
}

fn used(flow: &Flow) -> Vec<String> {
    let work = flow.work("foopool");
    let record = work.state().record.clone().expect("a record");
    record.used.into_iter().map(|used| used.token).collect()
}

/// Ceph refuses what was confirmed: the word stays good, and is used up when it is done.
#[tokio::test(start_paused = true)]
async fn refused_by_ceph() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    flow.hand_in("foopool", SINGLE, 2).await;
    let token = confirm(&flow).await;
    assert_eq!(again(&mut flow).await, Some(RunEnd::Rejected));
    // It was written down before it was sent, or a crash would let it be used twice.
    let written = flow.journal.written().pop().expect("a round");
    assert_eq!(written.record.used.len(), 1);
    assert_eq!(used(&flow), [""; 0]);
    assert_eq!(flow.cluster().pool("foopool").expect("it").size, 2);
    flow.cluster().config.allow_pool_size_one = true;
    assert_eq!(again(&mut flow).await, Some(RunEnd::InSync));
    assert_eq!(used(&flow), [token]);
    assert_eq!(flow.cluster().pool("foopool").expect("it").size, 1);
}

/// A pool is to be made again, and that cannot be written down: the one that is gone is still the recorded one.
#[tokio::test(start_paused = true)]
async fn made_again_and_not_written() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    let work = flow.work("foopool");
    let before = work.state().record.clone().expect("a record");
    let id = flow.cluster().pool("foopool").expect("it").id;
    flow.cluster().edit_map(|map| {
        map.pools.remove(&id);
    });
    flow.view().await;
    sleep(3 * ROUND).await;
    flow.hand_in("foopool", SAFE, 2).await;
    let token = confirm(&flow).await;
    let refusal = Refusal::new(Reason::NotGranted, None, "no grant");
    for error in [
        JournalError::Refused(refusal),
        JournalError::Unavailable("gone".into()),
    ] {
        let fails = error.clone();
        flow.journal.on_write(move |_| Err(fails.clone()));
        let end = again(&mut flow).await;
        assert!(
            matches!(end, Some(RunEnd::Refused(_) | RunEnd::NotRecorded(_))),
            "{end:?}"
        );
        let record = work.state().record.clone().expect("a record");
        assert_eq!(record.identity, before.identity);
        assert!(!record.unpublished && record.used.is_empty());
        assert!(flow.names().is_empty());
    }
    flow.journal.quiet();
    assert_eq!(again(&mut flow).await, Some(RunEnd::InSync));
    assert_eq!(used(&flow), [token]);
    assert_eq!(flow.names(), ["foopool"]);
    let record = work.state().record.clone().expect("a record");
    assert_ne!(record.identity, before.identity);
}

/// Somebody marks the pool between the plan and the command: nothing is sent to it any more.
#[tokio::test(start_paused = true)]
async fn the_mark_is_replaced_meanwhile() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    flow.hand_in("foopool", SINGLE.replace("size: 1", "size: 3").as_str(), 2)
        .await;
    let client = flow.client.clone();
    flow.journal.on_write(move |_| {
        client.cluster().edit_pool("foopool", |pool| {
            let keys = pool.applications.get_mut("rbd").expect("rbd");
            keys.insert("poolwright".into(), "other/1a2b/0123456789abcdef".into());
        });
        Ok(())
    });
    *flow.journal.takes.lock().expect("no panic") = 3 * ROUND;
    let before = flow.client.writes();
    let end = again(&mut flow).await;
    let Some(RunEnd::Refused(refusals)) = end else {
        panic!("{end:?}")
    };
    assert_eq!(refusals[0].reason, Reason::OwnedByAnother);
    assert_eq!(flow.client.writes(), before);
}

/// The same while the map in which that stands is not read yet, only its epoch is told: what is known to be outdated is
/// not acted on.
#[tokio::test(start_paused = true)]
async fn an_outdated_view_is_not_acted_on() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    flow.hand_in("foopool", SINGLE.replace("size: 1", "size: 3").as_str(), 2)
        .await;
    let client = flow.client.clone();
    flow.journal.on_write(move |_| {
        client.plan_fault("osd getmap", 1, Fault::Lost);
        client.cluster().edit_pool("foopool", |pool| {
            let keys = pool.applications.get_mut("rbd").expect("rbd");
            keys.insert("poolwright".into(), "other/1a2b/0123456789abcdef".into());
        });
        Ok(())
    });
    *flow.journal.takes.lock().expect("no panic") = 2 * ROUND;
    let before = flow.client.writes();
    let end = again(&mut flow).await;
    assert!(
        matches!(end, Some(RunEnd::Refused(_) | RunEnd::Away(_))),
        "{end:?}"
    );
    assert_eq!(flow.client.writes(), before);
}

/// A process that is to end does not wait for that map: nothing is sent, and the next one plans again.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_is_not_held_up() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    flow.hand_in("foopool", SINGLE.replace("size: 1", "size: 3").as_str(), 2)
        .await;
    let client = flow.client.clone();
    flow.journal.on_write(move |_| {
        client.plan_fault("osd getmap", 99, Fault::Lost);
        client.cluster().edit_map(|_| {});
        Ok(())
    });
    *flow.journal.takes.lock().expect("no panic") = 2 * ROUND;
    let (before, stop, began) = (flow.client.writes(), flow.stop.clone(), Instant::now());
    tokio::spawn(async move {
        sleep(3 * ROUND).await;
        stop.cancel();
    });
    assert_eq!(again(&mut flow).await, Some(RunEnd::Stopped));
    assert!(began.elapsed() < 4 * ROUND, "{:?}", began.elapsed());
    assert_eq!(flow.client.writes(), before);
}

/// What Ceph refuses was not applied: when it leaves the manifest, somebody else's value of it stays.
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_applied() {
    let mut flow = Flow::new();
    assert_eq!(flow.run(SAFE).await, Some(RunEnd::InSync));
    let fault = Fault::Reply {
        code: -1,
        text: "no".into(),
    };
    flow.client.plan_fault("osd pool set-quota", 9, fault);
    let with_quota = SAFE.replace("{replicated", "{quota: {maxObjects: 7}, replicated");
    assert_eq!(
        flow.run_generation(&with_quota, 2).await,
        Some(RunEnd::Rejected)
    );
    flow.client.clear_faults();
    flow.cluster()
        .edit_pool("foopool", |pool| pool.quota_max_objects = 9);
    sleep(3 * ROUND).await;
    assert_eq!(flow.run_generation(SAFE, 3).await, Some(RunEnd::InSync));
    assert_eq!(
        flow.cluster()
            .pool("foopool")
            .map(|pool| pool.quota_max_objects),
        Some(9)
    );
}
