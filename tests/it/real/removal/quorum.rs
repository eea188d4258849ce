//! Rule 16 with three monitors: one of them is frozen with our command in it, the other two go on, and the frozen one wakes
//! up later. What it still does then means our pool, and that once.

use kube::Api;
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::support::{Frozen, begun, case_on, delete, gone, has_figures};
use crate::real::steps::{create, remove, status};
use crate::real::support::{Case, Ceph, condition, holds};

/// Three monitors at their own pace, one change a second.
const THREE: [(&str, &str); 4] = [
    ("MONS", "3"),
    ("OSDS", "2"),
    ("PROPOSE_INTERVAL", ""),
    ("MIN_WAIT", ""),
];
/// Electing a leader, or finding another monitor, takes its time on a busy machine; then a name may be left alone for half a
/// minute, and that for each of the two rounds.
const PATIENCE: Duration = Duration::from_secs(240);

fn named(pool: &str) -> String {
    format!(
        "{{poolName: {pool}, replicated: {{size: 2}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 2}}, deletionPolicy: Delete}}"
    )
}

/// The monitors with a session of the controller's; it has none for a moment when it changes from one to another.
async fn connected_to(case: &Case) -> Vec<&'static str> {
    let client = format!("client.poolwright-{}", case.connection());
    let mut found = Vec::new();
    case.wait_for("a session", PATIENCE, async || {
        found.clear();
        for id in ["a", "b", "c"] {
            let mon = format!("mon.{id}");
            let sessions = case.ceph(&["tell", &mon, "sessions", "-f", "json"]).await;
            if sessions.contains(&client) {
                found.push(id);
            }
        }
        holds(!found.is_empty(), &found)
    })
    .await;
    found
}

/// The monitor that leads.
async fn leader(case: &Case) -> String {
    let status: Value =
        serde_json::from_str(&case.ceph(&["quorum_status", "-f", "json"]).await).expect("JSON");
    status["quorum_leader_name"]
        .as_str()
        .expect("a leader")
        .to_owned()
}

/// Waits until an object is Ready, also over a change of monitors.
async fn ready(case: &Case, name: &str) {
    case.wait_for(&format!("{name}: Ready"), PATIENCE, async || {
        let object = case.object(name).await;
        let found = status(&object);
        let ready = found
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let current = found.observed_generation == object.metadata.generation;
        holds(ready && current, &found.conditions)
    })
    .await;
}

/// All monitors agree again.
async fn whole(case: &Case) {
    case.wait_for("three monitors", PATIENCE, async || {
        let said = case.ceph(&["quorum_status", "-f", "json"]).await;
        let status: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        let all = status["quorum"]
            .as_array()
            .is_some_and(|quorum| quorum.len() == 3);
        holds(all, &status["quorum"])
    })
    .await;
}

/// The names and numbers of all pools of the case.
async fn pools(case: &Case) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for name in case.pool_names().await {
        let pool = case.pool_called(&name).await.expect("the pool");
        found.push((name, pool["pool"].as_i64().expect("an id")));
    }
    found.sort();
    found
}

/// What was late has been executed by now, if it ever is: nothing moves any more.
async fn at_rest(case: &Case) -> Vec<(String, i64)> {
    whole(case).await;
    sleep(Duration::from_secs(3)).await;
    let before = pools(case).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(pools(case).await, before);
    before
}

/// A creation that was sent twice and whose pool has its real name by now can be executed once more, late: under its private
/// name, which means nothing to anybody. Such a pool is bare, and its connection tells of it. Takes it away by hand.
async fn without_leftovers(case: &Case, of: &str) -> Vec<(String, i64)> {
    let found = at_rest(case).await;
    let (left, rest): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(name, _)| name.contains(".poolwright-"));
    assert!(left.len() <= 1, "{left:?}");
    for (name, _) in &left {
        assert!(name.starts_with(&format!("{of}.poolwright-new-")), "{name}");
        let pool = case.pool_called(name).await.expect("the pool");
        assert_eq!(pool["application_metadata"], json!({}));
        let connections: Api<ClusterConnection> = Api::all(case.client.clone());
        case.wait_for("the connection tells of it", PATIENCE, async || {
            let found = connections.get(case.connection()).await;
            let status = found.map_err(|error| error.to_string())?.status;
            let told = status.unwrap_or_default().leftovers;
            holds(told.contains(name), &told)
        })
        .await;
        println!("left over: {name}");
        case.hand(&remove(name)).await;
    }
    rest
}

/// Waits until an object has gone, or tells that its pool has and which monitor may still have a command. Whether it does.
async fn gone_or_waiting(case: &Case, name: &str) -> bool {
    let mut waits = false;
    case.wait_for(&format!("{name}: gone, or waiting"), PATIENCE, async || {
        let object = case.pools().get_opt(name).await;
        let object = object.map_err(|error| error.to_string())?;
        let blocked = object
            .as_ref()
            .map(|object| condition(object, "DeletionBlocked"));
        waits = blocked.flatten().is_some_and(|(status, _, message)| {
            status == "True" && message.contains("out of the quorum")
        });
        holds(waits || blocked.is_none(), &blocked)
    })
    .await;
    waits
}

/// The monitor that our command goes through is frozen in a creation, a rename and a removal.
#[tokio::test(flavor = "multi_thread")]
async fn the_one_between_is_frozen() {
    frozen_in_each("between", false).await;
}

/// The monitor that decides is frozen in a creation, a rename and a removal.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_frozen() {
    frozen_in_each("leader", true).await;
}

async fn frozen_in_each(name: &str, leads: bool) {
    let ceph = Ceph::own(&THREE).await;
    // A monitor that says nothing for six seconds is given up for another one, which gets what was not answered.
    let options = json!({"mon_client_ping_interval": "1", "mon_client_ping_timeout": "6"});
    let more = json!({"client": {"commandTimeout": "10s", "options": options}});
    let (case, _) = case_on(&format!("quorum-{name}"), ceph, more).await;
    let other = case.pool_name("other");
    case.hand(&create(&other)).await;
    case.made("other").await;
    let stranger = pools(&case).await;
    let freeze = async || {
        let connected = connected_to(&case).await;
        let leader = leader(&case).await;
        println!("{name}: the controller is at {connected:?}, {leader} leads");
        move |case: &Case| -> Vec<Frozen> {
            // Two of three would stop everything: then it is the first of those that it is connected to.
            let id = if leads { leader.as_str() } else { connected[0] };
            vec![Frozen::mon(case.cluster(), id)]
        }
    };
    let (first, second) = (case.pool_name(name), case.pool_name(&format!("{name}-new")));

    // A creation.
    let stop = freeze().await;
    case.apply(name, &named(&first)).await;
    case.until(name, "recorded its creation", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| request.nonce.is_some())
    })
    .await;
    let began = Instant::now();
    let frozen = stop(&case);
    // The other two go on.
    ready(&case, name).await;
    println!("{name}: made after {:?} with one frozen", began.elapsed());
    let id = case.its_pool(name).await["pool"].as_i64().expect("an id");
    drop(frozen);
    let mut expected = [stranger.clone(), vec![(first.clone(), id)]].concat();
    expected.sort();
    let left = without_leftovers(&case, &first).await;
    assert_eq!(left, expected, "made once");

    // A rename; somebody else of ours wants the name that becomes free, and waits until the rename is settled.
    let stop = freeze().await;
    case.apply(name, &named(&second)).await;
    case.until(name, "recorded its rename", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| {
            request.operation == poolwright::api::v1alpha1::Operation::Rename
        })
    })
    .await;
    let frozen = stop(&case);
    let rival = format!("{name}-rival");
    case.apply(&rival, &named(&first)).await;
    ready(&case, name).await;
    // A rename that the frozen one may have is not settled before that one takes part again.
    drop(frozen);
    ready(&case, &rival).await;
    let now = without_leftovers(&case, &first).await;
    let id_of = |pool: &String| now.iter().find(|(name, _)| name == pool).map(|(_, id)| *id);
    assert_eq!(id_of(&second), Some(id), "{now:?}");
    let rivals = id_of(&first).expect("the rival's pool");
    assert!(rivals != id && now.len() == 3, "{now:?}");

    // A removal, with the rival's pool beside it.
    has_figures(&case, &second).await;
    let stop = freeze().await;
    delete(&case, name).await;
    begun(&case, name).await;
    let frozen = stop(&case);
    let waits = gone_or_waiting(&case, name).await;
    println!("{name}: waits for the frozen one: {waits}");
    let mut frozen = Some(frozen);
    if waits {
        // It may have the rename; it goes on, and the object with it.
        frozen = None;
        gone(&case, name, PATIENCE).await;
    }
    // Its name is anybody's from now on.
    case.hand(&create(&second)).await;
    let made = pools(&case).await;
    drop(frozen);
    assert_eq!(
        at_rest(&case).await,
        made,
        "what is late takes nothing of others"
    );
    assert!(
        made.contains(&(first.clone(), rivals)) && made.len() == 3,
        "{made:?}"
    );

    delete(&case, &rival).await;
    gone(&case, &rival, PATIENCE).await;
    case.hand(&remove(&second)).await;
    assert_eq!(at_rest(&case).await, stranger);
}
