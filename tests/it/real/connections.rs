//! Ways in which a cluster cannot be reached: each has its own condition, nothing hangs, nothing is sent, and what is
//! put right is picked up.

use std::process::Stdio;
use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use poolwright::api::v1alpha1::ClusterConnection;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, Instant};

use super::steps::{PLAIN, ready, status};
use super::support::{
    CAPS, Case, Ceph, ControlPlane, LIMIT, Own, World, condition, holds, kubeconfig_of_chart, run,
};

/// A key in the right form that no cluster knows.
const WRONG_KEY: &str = "AQDvxRhnAAAAABAAnN5Ejt1oyuvbCNVvyPS9ug==";
/// An address of the test net, where nobody answers.
const NOBODY: &str = "192.0.2.1";

/// Applies a connection as it is, whatever comes of it.
async fn connect(client: &Client, name: &str, spec: &Value) {
    let connections: Api<ClusterConnection> = Api::all(client.clone());
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "ClusterConnection", "metadata": {"name": name}, "spec": spec,
    });
    connections
        .patch(
            name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(&object),
        )
        .await
        .expect("the connection is accepted");
}

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

/// Deliverable 5: each thing that can be wrong has its own reason and its own sentence, and all of them at once hold up
/// nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_own_condition() {
    let case = Case::shared("faults").await;
    let ceph = case.cluster();
    let good = ceph.user("poolwright-faults", CAPS).await;
    let secret = |name: &str| json!({"namespace": "poolwright-system", "name": name, "key": "key"});
    for (name, content) in [
        ("faults-good", good.as_str()),
        ("faults-wrong", WRONG_KEY),
        ("faults-garbage", "hunter2"),
    ] {
        case.world.secret(&case.client, name, content).await;
    }
    let base = |more: Value| {
        let mut spec = json!({
            "monitors": [ceph.monitors()], "user": "poolwright-faults", "keySecretRef": secret("faults-good"),
            "grants": [{"name": "all", "namespaces": {"all": true}}],
        });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        spec
    };
    let other = "00000000-0000-4000-8000-000000000000";
    let limited = json!([{"name": "all", "namespaces": {"all": true}, "limits": {"pools": 3}}]);
    let table = [
        (
            "key",
            json!({"keySecretRef": secret("faults-wrong")}),
            "AuthenticationFailed",
            "compare `ceph auth get client.poolwright-faults` with",
        ),
        (
            "user",
            json!({"user": "poolwright-nobody"}),
            "AuthenticationFailed",
            "client.poolwright-nobody",
        ),
        (
            "secret",
            json!({"keySecretRef": secret("faults-none")}),
            "SecretNotFound",
            "there is no Secret poolwright-system/faults-none; create it",
        ),
        (
            "entry",
            json!({"keySecretRef": {"namespace": "poolwright-system", "name": "faults-good", "key": "k"}}),
            "SecretNotFound",
            "has no entry \"k\" (entries: key)",
        ),
        (
            "garbage",
            json!({"keySecretRef": secret("faults-garbage")}),
            "InvalidConfiguration",
            "is neither the key of a Ceph user nor the text of a keyring",
        ),
        (
            "refused",
            json!({"monitors": ["127.0.0.1:1"]}),
            "Unreachable",
            "check that the cluster has a quorum",
        ),
        (
            "silent",
            json!({"monitors": [NOBODY]}),
            "Unreachable",
            NOBODY,
        ),
        (
            "resolve",
            json!({"monitors": ["no-such-host.invalid"]}),
            "InvalidConfiguration",
            "no-such-host.invalid",
        ),
        (
            "fsid",
            json!({"fsid": other}),
            "FsidMismatch",
            "but spec.fsid says 00000000-0000-4000-8000-000000000000",
        ),
        (
            "limits",
            json!({"grants": limited}),
            "Unsupported",
            "does not enforce spec.grants[all].limits",
        ),
    ];
    let name = |fault: &str| format!("fault-{fault}");
    let began = Instant::now();
    for (fault, more, _, _) in &table {
        connect(&case.client, &name(fault), &base(more.clone())).await;
        let spec = format!(
            "{{connectionRef: {{name: {}}}, replicated: {{size: 3}}, applications: [{{name: rbd}}]}}",
            name(fault)
        );
        case.apply(fault, &spec).await;
    }
    // Everybody else is served meanwhile.
    case.apply("other", PLAIN).await;
    case.ready("other").await;
    for (fault, _, reason, sentence) in &table {
        let message = until(&case, &name(fault), reason).await;
        assert!(message.contains(sentence), "{fault}: {message}");
        for secret in [good.as_str(), WRONG_KEY, "hunter2"] {
            assert!(!message.contains(secret), "{fault}: a key is shown");
        }
        // The pools say the same.
        case.wait_for(
            &format!("the pool on {fault} says why"),
            LIMIT,
            async || {
                let object = case.object(fault).await;
                let seen = condition(&object, "Ready")
                    .map(|(_, reason, message)| (reason.to_owned(), message.to_owned()));
                holds(
                    seen.as_ref()
                        .is_some_and(|seen| seen.0 == *reason && seen.1.contains(sentence)),
                    &seen,
                )
            },
        )
        .await;
    }
    println!("{} faults told after {:.1?}", table.len(), began.elapsed());
    // Those that pass by themselves say that they are tried again; the others do not.
    for (fault, _, reason, _) in &table {
        let json = case
            .kubectl(&["get", "cephconn", &name(fault), "-o", "json"])
            .await;
        let conditions: Value =
            serde_json::from_str::<Value>(&json).expect("JSON")["status"]["conditions"].take();
        let types: Vec<&str> = conditions
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|condition| condition["type"].as_str())
            .collect();
        let passes = ["Unreachable", "SecretNotFound"].contains(reason);
        assert_eq!(
            types,
            ["Ready", if passes { "Reconciling" } else { "Stalled" }],
            "{fault}"
        );
    }
    let mine: Vec<Value> = case.sent().await;
    assert!(
        mine.iter()
            .all(|command| command.to_string().contains(&case.pool_name("other"))),
        "{mine:?}"
    );

    // Put right, each is picked up: the Secrets by their watches, the rest by the spec.
    case.world.secret(&case.client, "faults-wrong", &good).await;
    case.world.secret(&case.client, "faults-none", &good).await;
    let keyring = format!("[client.poolwright-faults]\n\tkey = {good}\n\tcaps mon = \"allow r\"\n");
    case.world
        .secret(&case.client, "faults-garbage", &keyring)
        .await;
    for fault in [
        "user", "entry", "refused", "silent", "resolve", "fsid", "limits",
    ] {
        connect(&case.client, &name(fault), &base(json!({}))).await;
    }
    for (fault, ..) in &table {
        until(&case, &name(fault), "Connected").await;
        case.ready(fault).await;
    }
}

/// A rotated key and other addresses of the same monitors are picked up; work goes on over the new session.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_and_moved_monitors() {
    let world = World::shared().await;
    let case = Case::with_connection(world, "rotate", "rotate", Arc::new(Ceph::shared())).await;
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
    let key = case.cluster().user("poolwright-rotate", CAPS).await;
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
    let world = World::shared().await;
    let case = Case::with_connection(world, "watcher", "watcher", Arc::new(Ceph::shared())).await;
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
    let ceph = Arc::new(Ceph::own(&[("OSDS", "2")]).await);
    world.connect("restart", &ceph, json!({})).await;
    let case =
        Case::with_connection(Arc::clone(&world), "restart", "restart", Arc::clone(&ceph)).await;
    let spec = "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}";
    case.apply("a", spec).await;
    let before = case.ready("a").await;
    let monitor = async |action: &str| {
        let script =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env/ceph-cluster.sh");
        run(Command::new(script).arg(action).arg(ceph.dir()), None)
            .await
            .expect(action);
    };
    monitor("kill-mon").await;
    let message = until(&case, "restart", "Unreachable").await;
    assert!(
        message.contains("check that the cluster has a quorum"),
        "{message}"
    );
    // Wanted in the meantime; and the pool is not called missing.
    case.apply("a", &spec.replace("size: 2", "size: 3")).await;
    let object = case
        .until("a", "says that nobody answers", |object| {
            condition(object, "Ready").is_some_and(|ready| ready.1 == "Unreachable")
        })
        .await;
    assert!(
        condition(&object, "Stalled").is_none(),
        "it goes on by itself: {:?}",
        status(&object).conditions
    );
    assert_eq!(status(&object).pool_id, status(&before).pool_id);
    let began = Instant::now();
    monitor("start-mon").await;
    case.ready("a").await;
    println!(
        "in sync {:.1?} after the monitor was started",
        began.elapsed()
    );
    assert_eq!(case.its_pool("a").await["size"], 3);
    until(&case, "restart", "Connected").await;

    // The first contact pinned the cluster: another one that answers is told and left alone.
    let shared = Ceph::shared();
    let key = shared.user("poolwright-restart", CAPS).await;
    case.world.secret(&case.client, "ceph-restart", &key).await;
    let spec_of = |ceph: &Ceph| {
        json!({
            "monitors": [ceph.monitors()], "user": "poolwright-restart",
            "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-restart"},
            "grants": [{"name": "all", "namespaces": {"all": true}}],
        })
    };
    connect(&case.client, "restart", &spec_of(&shared)).await;
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
    let key = ceph.user("poolwright-restart", CAPS).await;
    case.world.secret(&case.client, "ceph-restart", &key).await;
    connect(&case.client, "restart", &spec_of(&ceph)).await;
    case.ready("a").await;
    case.ready("new").await;
}

/// Without librados the controller runs, and says what to install.
#[tokio::test(flavor = "multi_thread")]
async fn the_library_is_missing() {
    let plane = ControlPlane::own().await;
    let client = plane.client().await;
    let kubectl = async |args: &[&str]| {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", plane.kubeconfig()).args(args);
        run(&mut command, None).await.expect(&args.join(" "))
    };
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    kubectl(&["apply", "-f", crds]).await;
    kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "-f",
        crds,
    ])
    .await;
    kubectl(&[
        "create",
        "secret",
        "generic",
        "ceph",
        &format!("--from-literal=key={WRONG_KEY}"),
    ])
    .await;
    let spec = json!({
        "monitors": [NOBODY], "keySecretRef": {"namespace": "default", "name": "ceph"},
        "grants": [{"name": "all", "namespaces": {"all": true}}],
    });
    connect(&client, "main", &spec).await;
    let kubeconfig = kubeconfig_of_chart(&plane, &client, "default").await;
    let log = plane.dir().join("controller.log");
    let file = std::fs::File::create(&log).expect("a log");
    let mut controller = Command::new(env!("CARGO_BIN_EXE_poolwright"))
        .arg("run")
        .env("KUBECONFIG", kubeconfig)
        .env("POOLWRIGHT_LIBRADOS", "/nonexistent/librados.so.2")
        .stdin(Stdio::null())
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .expect("the controller");
    let began = Instant::now();
    let message = loop {
        match state(&client, "main").await {
            Some((reason, message)) if reason == "LibraryMissing" => break message,
            seen => assert!(
                began.elapsed() < LIMIT,
                "{seen:?}; {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for part in [
        "/nonexistent/librados.so.2",
        "install librados2 where the controller runs",
        "POOLWRIGHT_LIBRADOS",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let pool = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephPool", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {"size": 3}, "applications": [{"name": "rbd"}]},
    });
    let mut apply = Command::new("kubectl");
    apply
        .env("KUBECONFIG", plane.kubeconfig())
        .args(["apply", "-f", "-"]);
    run(&mut apply, Some(&pool.to_string()))
        .await
        .expect("the pool");
    kubectl(&[
        "wait",
        "--for=condition=Stalled",
        "--timeout=60s",
        "cpool/a",
    ])
    .await;
    let pools: Api<poolwright::api::v1alpha1::CephPool> = Api::namespaced(client, "default");
    let object = pools.get("a").await.expect("the pool");
    assert_eq!(ready(&object).1, "LibraryMissing", "{}", object.name_any());
    assert!(
        controller.try_wait().expect("its state").is_none(),
        "it runs on"
    );
    controller.kill().await.expect("it is ended");
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
