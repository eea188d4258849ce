//! The controller ended between profile, rule and pool, on the way there and on the way back: nothing is left behind.

use tokio::time::{Duration, Instant, sleep};

use super::{coded, there};
use crate::real::steps::gone;
use crate::real::support::{Case, Own, World, is_20, pools_of};

/// A removal waits 30 s for what may be on its way, and a creation as long for a name that may still be used.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where it is ended on the way to a pool.
const MAKING: [&str; 5] = [
    "before osd erasure-code-profile set#1",
    "after osd erasure-code-profile set#1",
    "before osd crush rule create-erasure#1",
    "after osd crush rule create-erasure#1",
    "after osd pool create#1",
];

/// Where it is ended on the way back.
const REMOVING: [&str; 3] = [
    "after osd pool rm#1",
    "after osd crush rule rm#1",
    "after osd erasure-code-profile rm#1",
];

/// A pool whose profile and rule no other one shares.
fn spec(number: usize) -> String {
    let unit = 4 * (number + 1);
    let block = format!("dataChunks: 2, codingChunks: 1, stripeUnit: {unit}Ki");
    coded(&block, ", deletionPolicy: Delete")
}

/// Does something while the controller is armed, and waits until that has ended it.
async fn ended_at(case: &Case, point: &str, deed: impl AsyncFnOnce()) {
    let controller = case.world.armed_controller(point).await;
    deed().await;
    let began = Instant::now();
    while controller.ended().is_none() {
        assert!(began.elapsed() < PATIENCE, "it never came to {point}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What of ours is in the cluster: profiles, rules, and pools with a private name.
async fn ours(case: &Case) -> Vec<String> {
    let profiles = case.ceph(&["osd", "erasure-code-profile", "ls"]).await;
    let rules = case.ceph(&["osd", "crush", "rule", "ls"]).await;
    let dump = case.dump().await;
    let pools = pools_of(&dump).filter_map(|pool| pool["pool_name"].as_str());
    let names = profiles.lines().chain(rules.lines()).chain(pools);
    let ours = |name: &&str| name.contains("poolwright-");
    names.filter(ours).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn between_profile_rule_and_pool() {
    let world = World::own(Own {
        ceph: vec![("OSDS", "3")],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "coded-ended").await;
    let user = "client.poolwright-main";
    // The proof that a pool is empty reads its objects.
    let caps = ["mon", "allow *", "osd", "allow r"];
    case.world
        .ceph()
        .ceph(&[&["auth", "caps", user][..], &caps].concat())
        .await;
    case.world.kill_controller();

    // The object goes while nobody looks: what was made for it goes, too.
    for (number, point) in MAKING.iter().enumerate() {
        let name = format!("never{number}");
        ended_at(&case, point, async || {
            case.apply(&name, &spec(number)).await;
        })
        .await;
        case.begin_deletion(&name).await;
    }
    let left = ours(&case).await;
    assert!(left.len() >= 3, "nothing was interrupted: {left:?}");
    case.world.start_controller().await;
    for number in 0..MAKING.len() {
        gone(&case, &format!("never{number}"), PATIENCE).await;
    }
    assert_eq!(ours(&case).await, [""; 0]);

    // The object stays: the creation is finished, with what is there.
    for (number, point) in MAKING.iter().enumerate() {
        case.world.kill_controller();
        let name = format!("made{number}");
        ended_at(&case, point, async || {
            case.apply(&name, &spec(number)).await;
        })
        .await;
        case.world.start_controller().await;
        case.ready(&name).await;
    }
    let mut made = Vec::new();
    for number in 0..MAKING.len() {
        let pool = case.its_pool(&format!("made{number}")).await;
        let profile = pool["erasure_code_profile"].as_str().expect("a profile");
        assert_eq!(there(&case, profile).await, (true, true));
        made.push(profile.to_owned());
    }
    let mut expected: Vec<&String> = made.iter().chain(&made).collect();
    let mut found = ours(&case).await;
    expected.sort();
    found.sort();
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);

    // On the way back.
    case.world.kill_controller();
    // Ceph 20 removes the rule of an erasure-coded pool with the last pool that has it.
    let removing = REMOVING
        .iter()
        .filter(|point| !(is_20() && point.contains("crush rule rm")));
    for (number, point) in removing.clone().enumerate() {
        let name = format!("made{number}");
        ended_at(&case, point, async || case.begin_deletion(&name).await).await;
    }
    case.world.start_controller().await;
    for number in 0..MAKING.len() {
        if number >= removing.clone().count() {
            case.begin_deletion(&format!("made{number}")).await;
        }
        gone(&case, &format!("made{number}"), PATIENCE).await;
    }
    assert_eq!(ours(&case).await, [""; 0]);
}
