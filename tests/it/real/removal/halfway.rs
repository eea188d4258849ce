//! In the middle of a removal: people change their mind, monitors and controllers go away, names are taken.

use std::process::Stdio;

use kube::Api;
use kube::api::{Patch, PatchParams};
use poolwright::api::v1alpha1::{ClusterConnection, Outcome};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::support::{
    Frozen, GONE, begun, blocked, case_on, case_over, delete, delete_request, gone, has_figures,
    renamed, slow_case,
};
use super::{GOES, STAYS};
use crate::real::steps::{create, enable, slow, status};
use crate::real::support::{Case, Ceph, LIMIT, Own, World, condition, holds, rounds};

/// Monitors at their own pace, one change a second.
const SLOW: [(&str, &str); 3] = [("PROPOSE_INTERVAL", ""), ("MIN_WAIT", ""), ("OSDS", "2")];

/// A pool that can be proven empty, whose object is deleted.
async fn deleting(case: &Case, name: &str) -> i64 {
    case.apply(name, GOES).await;
    let object = case.ready(name).await;
    has_figures(case, &case.pool_name(name)).await;
    delete(case, name).await;
    status(&object).pool_id.expect("an id")
}

/// No pool is left under a private name.
async fn none_is_private(case: &Case) {
    let names = case.pool_names().await;
    assert!(
        !names.iter().any(|name| name.contains(".poolwright-")),
        "{names:?}"
    );
}

/// Delete becomes Retain while the name is being taken away: the pool has it back before the object goes.
#[tokio::test(flavor = "multi_thread")]
async fn kept_after_all() {
    let case = slow_case("mind").await;
    for (name, has_private_name) in [("a", false), ("b", true)] {
        let id = deleting(&case, name).await;
        begun(&case, name).await;
        if has_private_name {
            renamed(&case).await;
        }
        case.apply(name, STAYS).await;
        gone(&case, name, LIMIT).await;
        let request = delete_request(&case, name).await;
        let done = request.status.clone().expect("a status");
        // In the second round it can have been too late: the removal was on its way.
        if has_private_name && done.outcome == Some(Outcome::Succeeded) {
            assert!(case.ceph_pool(name).await.is_none());
        } else {
            assert_eq!(
                case.its_pool(name).await["pool"].as_i64(),
                Some(id),
                "{:?}",
                rounds(&request)
            );
            assert_eq!(done.outcome, Some(Outcome::Failed));
            assert!(done.error.is_some_and(|error| error.contains("Retain")));
        }
        none_is_private(&case).await;
    }
}

/// Paused in the middle: nothing more is sent, and the condition says which name the pool has meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn paused_in_the_middle() {
    let case = slow_case("pausing").await;
    deleting(&case, "a").await;
    begun(&case, "a").await;
    case.annotate("a", "poolwright.dev/paused", Some("true"))
        .await;
    blocked(&case, "a", "Paused").await;
    let private = renamed(&case).await;
    let message = blocked(&case, "a", "Paused").await;
    assert!(message.contains(&private), "{message}");
    case.annotate("a", "poolwright.dev/paused", None).await;
    gone(&case, "a", GONE).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// The grant is taken back in the middle: that does not keep the pool from its name.
#[tokio::test(flavor = "multi_thread")]
async fn no_grant_any_more() {
    let (world, ceph) = slow().await;
    let case = case_over(world, "removal-ungranted", ceph, json!({})).await;
    let id = deleting(&case, "a").await;
    begun(&case, "a").await;
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    let allow = async |verbs: &[&str]| {
        let grants = json!([{"name": "all", "namespaces": {"all": true}, "allow": verbs}]);
        let patch = json!({"spec": {"grants": grants}});
        connections
            .patch(
                case.connection(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .expect("the connection is accepted");
    };
    allow(&["Create"]).await;
    case.until("a", "not granted, and it has its name", |object| {
        let found = condition(object, "DeletionBlocked");
        found.is_some_and(|(_, reason, message)| {
            reason == "NotGranted" && !message.contains("At this moment")
        })
    })
    .await;
    assert_eq!(case.its_pool("a").await["pool"].as_i64(), Some(id));
    allow(&["Create", "Delete"]).await;
    gone(&case, "a", GONE).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// Somebody makes a pool under the name that became free: it is theirs, and stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_taken_in_the_middle() {
    let case = slow_case("taken").await;
    let id = deleting(&case, "a").await;
    renamed(&case).await;
    case.hand(&create(&case.pool_name("a"))).await;
    gone(&case, "a", GONE).await;
    case.hand(&enable(&case.pool_name("a"), "rbd")).await;
    let stranger = case.made("a").await;
    assert_ne!(stranger["pool"].as_i64(), Some(id));
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(case.its_pool("a").await, stranger);
}

/// Monitors that freeze while a rename or a removal is on its way, for longer than anybody waits for an answer: what
/// they do when they go on means our pool and no other.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_in_the_middle() {
    let ceph = Ceph::own(&SLOW).await;
    let more = json!({"client": {"commandTimeout": "5s"}});
    let (case, _) = case_on("frozen", ceph, more).await;
    let other = case.pool_name("other");
    case.hand(&create(&other)).await;
    let stranger = case.made("other").await;
    for (name, in_removal) in [("a", false), ("b", true)] {
        let id = deleting(&case, name).await;
        if in_removal {
            renamed(&case).await;
        } else {
            begun(&case, name).await;
        }
        let mon = Frozen::mon(case.cluster(), "a");
        let message = blocked(&case, name, "Unreachable").await;
        assert!(message.contains("the pool may have the name"), "{message}");
        drop(mon);
        // At once, before anybody has looked at what was executed: theirs, if the name was free by then.
        case.hand(&create(&case.pool_name(name))).await;
        gone(&case, name, Duration::from_secs(90)).await;
        let left = case.ceph_pool(name).await;
        if let Some(left) = &left {
            assert_ne!(left["pool"].as_i64(), Some(id));
            sleep(Duration::from_secs(3)).await;
            assert_eq!(case.its_pool(name).await["pool"], left["pool"]);
        }
        println!("{name}: {:?}", left.map(|left| left["pool"].clone()));
        none_is_private(&case).await;
        assert_eq!(case.its_pool("other").await, stranger);
    }
}

/// The controller killed with -9 at several moments: it finishes, and nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle() {
    let world = World::own(Own {
        ceph: SLOW.to_vec(),
        ..Own::default()
    })
    .await;
    let ceph = std::sync::Arc::new(Ceph::at(world.ceph().dir()));
    let case = case_over(world, "removal-killed", ceph, json!({})).await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        case.apply(name, GOES).await;
    }
    for name in names {
        case.ready(name).await;
        has_figures(&case, &case.pool_name(name)).await;
    }
    for (name, later) in names.into_iter().zip([0, 500, 1200, 1900]) {
        delete(&case, name).await;
        begun(&case, name).await;
        sleep(Duration::from_millis(later)).await;
        case.world.kill_controller();
        println!(
            "killed {later} ms after {name} was begun: {:?}",
            case.pool_names().await
        );
        case.world.start_controller().await;
    }
    for name in names {
        gone(&case, name, Duration::from_secs(90)).await;
        let request = delete_request(&case, name).await;
        assert_eq!(
            request.status.and_then(|status| status.outcome),
            Some(Outcome::Succeeded)
        );
    }
    // Killed when the pool has just got its real name, which is not written down by then.
    case.apply("e", GOES).await;
    case.wait_for("it is published", LIMIT, async || {
        case.ceph_pool("e").await.ok_or("no pool".to_owned())
    })
    .await;
    case.world.kill_controller();
    delete(&case, "e").await;
    case.world.start_controller().await;
    gone(&case, "e", Duration::from_secs(90)).await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

const NAIVE: &str = r#"
import rados, sys, json
cluster = rados.Rados(conffile=sys.argv[1], conf={"rados_mon_op_timeout": "3", "mon_client_ping_timeout": "600"})
cluster.connect()
print('"global_id": %d,' % cluster.get_instance_id(), flush=True)
for line in sys.stdin:
    name = line.strip()
    command = {"prefix": "osd pool rm", "pool": name, "pool2": name, "yes_i_really_really_mean_it": True}
    try:
        print(cluster.mon_command(json.dumps(command), b"")[0], flush=True)
    except rados.TimedOut:
        print("-110", flush=True)
"#;

/// A client whose commands are lost in a frozen monitor.
struct Naive {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Naive {
    /// One that is connected to this monitor.
    async fn on(case: &Case, mon: &str) -> Self {
        for _ in 0..20 {
            let mut child = Command::new("/usr/bin/python3")
                .args(["-c", NAIVE])
                .arg(case.cluster().conf())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("python3 with the rados bindings");
            let mut naive = Self {
                input: child.stdin.take().expect("its input"),
                output: BufReader::new(child.stdout.take().expect("its output")).lines(),
                _child: child,
            };
            let id = naive.answer().await;
            let sessions = case
                .ceph(&["tell", &format!("mon.{mon}"), "sessions"])
                .await;
            if sessions.contains(&id) {
                return naive;
            }
        }
        panic!("no session with mon.{mon}");
    }

    async fn answer(&mut self) -> String {
        let line = timeout(LIMIT, self.output.next_line())
            .await
            .expect("an answer");
        line.expect("a pipe").expect("a line")
    }

    async fn remove(&mut self, name: &str) -> String {
        let line = format!("{name}\n");
        self.input
            .write_all(line.as_bytes())
            .await
            .expect("it listens");
        self.answer().await
    }
}

/// The harm that private names prevent: a removal by name that is executed late takes whichever pool has the name then.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_removal_by_name_takes_a_strangers_pool() {
    let ceph = Ceph::own(&[("MONS", "3"), ("OSDS", "1")]).await;
    let (case, _) = case_on("naive", ceph, json!({})).await;
    let name = case.pool_name("a");
    let private = format!("{name}.poolwright-del-0a1b2c3d");
    case.hand(&create(&name)).await;
    let mut naive = Naive::on(&case, "c").await;
    let mon = Frozen::mon(case.cluster(), "c");
    for name in [&name, &private] {
        assert_eq!(naive.remove(name).await, "-110", "nobody answers");
    }
    let began = Instant::now();
    // Meanwhile its owner has renamed the pool, and somebody else has made one of the name.
    let kept = format!("{name}-kept");
    for args in [
        ["osd", "pool", "rename", &name, &kept],
        ["osd", "pool", "create", &name, "2"],
    ] {
        case.ceph(&args).await;
    }
    println!("the others went on within {:?}", began.elapsed());
    drop(mon);
    case.wait_for("the stranger's pool is gone", LIMIT, async || {
        let found = case.ceph_pool("a").await;
        holds(found.is_none(), &found)
    })
    .await;
    // The private name means nothing to anybody.
    assert_eq!(case.pool_names().await, [kept]);
}
