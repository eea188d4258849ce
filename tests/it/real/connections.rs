//! Ways in which a cluster cannot be reached: each has its own condition, nothing hangs, nothing is sent, and what is
//! put right is picked up.

mod faults;

use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::json;
use tokio::time::Instant;

use super::steps::{PLAIN, SMALL, WRONG_KEY, own_connection, status};
use super::support::{CAPS, Case, Ceph, LIMIT, Own, World, condition, holds, make_connection};

/// An address of the test net, where nobody answers.
const NOBODY: &str = "192.0.2.1";

/// Reason and message of a connection's Ready, for its present generation.
async fn state(client: &Client, name: &str) -> Option<(String, String)> {
    let connections: Api<ClusterConnection> = Api::all(client.clone());
    let found = connections.get(name).await.expect("the connection");
    let status = found.status.as_ref()?;
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    (ready.observed_generation == found.metadata.generation)
        .then(|| (ready.reason.clone(), ready.message.clone()))
}

/// Waits until a connection's Ready has this reason; gives the message.
async fn until(case: &Case, name: &str, reason: &str) -> String {
    case.wait_for(
        &format!("connection {name}: {reason}"),
        LIMIT,
        async || match state(&case.client, name).await {
            Some((seen, message)) if seen == reason => Ok(message),
            seen => Err(format!("{seen:?}")),
        },
    )
    .await
}

/// A rotated key and other addresses of the same monitors are picked up; work goes on over the new session.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_and_moved_monitors() {
    let case = own_connection("rotate").await;
    case.world
        .connect("rotate", case.cluster(), json!({}))
        .await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let size = async |size: u8| {
        case.apply("a", &PLAIN.replace("size: 3", &format!("size: {size}")))
            .await;
        case.ready("a").await;
        assert_eq!(case.its_pool("a").await["size"], size);
    };
    // A new key for the same user; the old one is no more.
    case.ceph(&["auth", "rm", "client.poolwright-rotate"]).await;
    let key = case.cluster().user("poolwright-rotate", &CAPS).await;
    case.world.secret(&case.client, "ceph-rotate", &key).await;
    size(2).await;
    until(&case, "rotate", "Connected").await;
    // Only one of the monitors' two addresses, and then the other.
    let both = case.cluster().monitors();
    let addresses: Vec<&str> = both.trim_matches(['[', ']']).split(',').collect();
    assert_eq!(addresses.len(), 2, "{both}");
    for (address, copies) in addresses.iter().zip([3, 2]) {
        case.world
            .connect("rotate", case.cluster(), json!({"monitors": [address]}))
            .await;
        size(copies).await;
    }
    // A wrong key is not worked on with the old session.
    case.world
        .secret(&case.client, "ceph-rotate", WRONG_KEY)
        .await;
    until(&case, "rotate", "AuthenticationFailed").await;
    case.apply("a", PLAIN).await;
    case.stalled("a", "AuthenticationFailed").await;
    assert_eq!(case.its_pool("a").await["size"], 2);
    case.world.secret(&case.client, "ceph-rotate", &key).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["size"], 3);
}

/// A connection that only observes: its pools tell what differs, and nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_observes() {
    let case = own_connection("watcher").await;
    case.world
        .connect("watcher", case.cluster(), json!({}))
        .await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.world
        .connect("watcher", case.cluster(), json!({"management": "Observe"}))
        .await;
    let message = until(&case, "watcher", "Connected").await;
    assert!(
        message.ends_with("; management is Observe: nothing is changed"),
        "{message}"
    );
    let sent = case.sent().await.len();
    case.set("a", "size", "2").await;
    let message = case.stalled("a", "ObserveOnly").await;
    assert!(
        message.starts_with("only observed: size is 2 and should be 3"),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await["size"], 2);
    assert_eq!(case.sent().await.len(), sent);
    case.world
        .connect("watcher", case.cluster(), json!({"management": "Manage"}))
        .await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["size"], 3);

    // Deleted, it goes; the pool stays, and its object says what is missing.
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    connections
        .delete("watcher", &DeleteParams::default())
        .await
        .expect("it is deleted");
    case.says("a", "ConnectionNotFound").await;
    case.wait_for("the connection is gone", 2 * LIMIT, async || {
        let found = connections
            .get_opt("watcher")
            .await
            .map_err(|error| error.to_string())?;
        holds(found.is_none(), &found)
    })
    .await;
    assert_eq!(case.its_pool("a").await["size"], 3);
}

/// A monitor that is killed: what is known stays known, nothing is called missing, and contact comes back by itself.
/// Another cluster at the same address is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_restarts_and_a_cluster_is_another() {
    let world = World::shared().await;
    let ceph = Arc::new(Ceph::own(&[("OSDS", "3")]).await);
    world.connect("restart", &ceph, json!({})).await;
    let case =
        Case::with_connection(Arc::clone(&world), "restart", "restart", Arc::clone(&ceph)).await;
    let spec = SMALL;
    case.apply("a", spec).await;
    let before = case.ready("a").await;
    ceph.monitor("kill-mon").await;
    let message = until(&case, "restart", "Unreachable").await;
    assert!(
        message.contains("check that the cluster has a quorum"),
        "{message}"
    );
    // Wanted in the meantime; and the pool is not called missing.
    case.apply("a", &spec.replace("size: 2", "size: 3")).await;
    let object = case.until_says("a", "Unreachable").await;
    assert!(
        condition(&object, "Stalled").is_none(),
        "it goes on by itself: {:?}",
        status(&object).conditions
    );
    assert_eq!(status(&object).pool_id, status(&before).pool_id);
    let began = Instant::now();
    ceph.monitor("start-mon").await;
    case.ready("a").await;
    println!(
        "in sync {:.1?} after the monitor was started",
        began.elapsed()
    );
    assert_eq!(case.its_pool("a").await["size"], 3);
    until(&case, "restart", "Connected").await;

    // The first contact pinned the cluster: another one that answers is told and left alone.
    let shared = Ceph::shared();
    let key = shared.user("poolwright-restart", &CAPS).await;
    case.world.secret(&case.client, "ceph-restart", &key).await;
    let spec_of = |ceph: &Ceph| {
        json!({
            "monitors": [ceph.monitors()], "user": "poolwright-restart",
            "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-restart"},
            "grants": [{"name": "all", "namespaces": {"all": true}}],
        })
    };
    make_connection(&case.client, "restart", &spec_of(&shared)).await;
    let message = until(&case, "restart", "FsidMismatch").await;
    let sentence = format!(
        "answer for cluster {}, but the first contact found {}; nothing is sent to it",
        shared.fsid(),
        ceph.fsid()
    );
    assert!(message.contains(&sentence), "{message}");
    case.apply("a", spec).await;
    case.stalled("a", "FsidMismatch").await;
    case.apply("new", spec).await;
    case.stalled("new", "FsidMismatch").await;
    let there = Case::shared("there").await;
    let dump = there.dump().await;
    let strangers: Vec<&str> = super::support::pools_of(&dump)
        .filter_map(|pool| pool["pool_name"].as_str())
        .filter(|name| name.starts_with(&format!("{}-", case.namespace)))
        .collect();
    assert_eq!(strangers, Vec::<&str>::new());
    let key = ceph.user("poolwright-restart", &CAPS).await;
    case.world.secret(&case.client, "ceph-restart", &key).await;
    make_connection(&case.client, "restart", &spec_of(&ceph)).await;
    case.ready("a").await;
    case.ready("new").await;
}

/// An OSD map older than one seen before, as after a restored backup: nothing is sent until a person confirms it with the
/// command in the condition, and from then on it goes on, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_map_is_confirmed() {
    let case = Case::new(World::own(Own::default()).await, "older").await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    case.apply(
        "a",
        "{replicated: {size: 2}, placementGroups: {count: 1}, applications: [{name: rbd}]}",
    )
    .await;
    case.ready("a").await;
    // The cluster cannot be taken back in a test, but what was seen before can be put ahead.
    case.world.kill_controller();
    let ahead = json!({"status": {"epoch": 1_000_000}});
    connections
        .patch_status("main", &PatchParams::default(), &Patch::Merge(&ahead))
        .await
        .expect("the status is accepted");
    case.world.start_controller().await;
    let message = until(&case, "main", "EpochWentBack").await;
    let commands = case.world.mutating_commands().await;
    case.apply(
        "a",
        "{replicated: {size: 3}, placementGroups: {count: 1}, applications: [{name: rbd}]}",
    )
    .await;
    case.stalled("a", "EpochWentBack").await;
    assert_eq!(case.world.mutating_commands().await, commands);

    // As the message says.
    let command = message.split('`').nth(1).expect("a command").to_owned();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    case.kubectl(&words).await;
    until(&case, "main", "Connected").await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["size"], 3);
    case.world.kill_controller();
    case.world.start_controller().await;
    until(&case, "main", "Connected").await;
    case.looked("a").await;
    case.ready("a").await;
}
