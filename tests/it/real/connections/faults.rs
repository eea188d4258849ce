//! Each thing that can be wrong has its own condition.

use std::process::Stdio;

use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, Instant};

use super::{NOBODY, state, until};
use crate::real::steps::{PLAIN, WRONG_KEY, ready};
use crate::real::support::{
    CAPS, Case, ControlPlane, LIMIT, condition, has_all, holds, kubeconfig_of_chart,
    make_connection, run,
};

/// Deliverable 5: each thing that can be wrong has its own reason and its own sentence, and all of them at once hold up
/// nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_own_condition() {
    let case = Case::shared("faults").await;
    let ceph = case.cluster();
    let good = ceph.user("poolwright-faults", &CAPS).await;
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
    ];
    let name = |fault: &str| format!("fault-{fault}");
    let began = Instant::now();
    for (fault, more, _, _) in &table {
        make_connection(&case.client, &name(fault), &base(more.clone())).await;
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
    for fault in ["user", "entry", "refused", "silent", "resolve", "fsid"] {
        make_connection(&case.client, &name(fault), &base(json!({}))).await;
    }
    for (fault, ..) in &table {
        until(&case, &name(fault), "Connected").await;
        case.ready(fault).await;
    }
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
    make_connection(&client, "main", &spec).await;
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
    has_all(
        &message,
        [
            "/nonexistent/librados.so.2",
            "install librados2 where the controller runs",
            "POOLWRIGHT_LIBRADOS",
        ],
    );
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
