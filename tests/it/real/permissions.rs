//! What the Ceph user may send: what it lacks is named on the connection before it is used, and the line that
//! `poolwright permissions` prints suffices. (All other tests run with the line for everything, see `CAPS`.)

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kube::Api;
use poolwright::api::v1alpha1::{ClusterConnection, ClusterConnectionStatus};
use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::command::permissions::{Permission, mon_capabilities};
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient};
use poolwright::ceph::types::PoolName;
use poolwright::cli::{self, OK, Streams};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use super::steps::{delete, own_connection};
use super::support::{Case, Ceph, LIMIT, holds, run};

const SOON: Duration = Duration::from_secs(10);
const EACCES: i32 = -13;

/// Waits until a connection is so.
async fn until(
    case: &Case,
    name: &str,
    mut so: impl FnMut(&ClusterConnectionStatus, (&str, &str)) -> bool,
) -> String {
    let connections: Api<ClusterConnection> = Api::all(case.client.clone());
    case.wait_for(&format!("connection {name}"), LIMIT, async || {
        let found = connections
            .get(name)
            .await
            .map_err(|error| error.to_string())?;
        let status = found.status.unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .ok_or("no condition")?;
        let current = status.observed_generation == found.metadata.generation;
        holds(
            current && so(&status, (&ready.status, &ready.reason)),
            &status,
        )?;
        Ok(ready.message.clone())
    })
    .await
}

/// All but one.
fn all_but(one: Permission) -> BTreeSet<Permission> {
    let all = Permission::ALL.into_iter();
    all.filter(|permission| *permission != one).collect()
}

/// A user who lacks one capability, for each of them: exactly that one is named before anything was sent, with what to
/// do. The pools that need it are not covered by any grant, so nothing is ever sent for them.
#[tokio::test(flavor = "multi_thread")]
async fn each_missing_capability_is_named_before_its_use() {
    let case = &Case::shared("lacks").await;
    join_all(Permission::ALL.into_iter().enumerate().map(async |(at, lacks)| {
        let name = format!("lacks-{at}");
        let connection = json!({"name": name});
        for (pool, spec) in [
            ("a", json!({
                "connectionRef": connection, "replicated": {}, "deletionPolicy": "Delete", "quota": {"maxObjects": 5},
                "crush": {"failureDomain": "osd"}, "applications": [{"name": "rbd", "metadata": {"a": "b"}}],
            })),
            ("b", json!({
                "connectionRef": connection, "type": "ErasureCoded", "applications": [{"name": "rbd"}],
                "erasureCoded": {"dataChunks": 2, "codingChunks": 1},
            })),
        ] {
            case.apply(&format!("{pool}-{at}"), &spec.to_string()).await;
        }
        let caps = mon_capabilities(&all_but(lacks));
        let key = case.cluster().user(&format!("poolwright-less-{at}"), &caps).await;
        case.world.secret(&case.client, &format!("ceph-less-{at}"), &key).await;
        let more = json!({
            "user": format!("poolwright-less-{at}"), "grants": [],
            "keySecretRef": {"namespace": "poolwright-system", "name": format!("ceph-less-{at}")},
        });
        case.world.connect(&name, case.cluster(), more).await;
        let message = until(case, &name, |status, ready| {
            ready == ("True", "PermissionDenied")
                && status.missing_permissions == [lacks.command().to_owned()]
        })
        .await;
        let expected = format!(
            "client.poolwright-less-{at} may not send \"{}\", which the grants or the CephPools of this connection need; \
             give it the mon capabilities {}",
            lacks.command(),
            lacks.capability()
        );
        assert!(message.contains(&expected), "{message}");
    }))
    .await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// What the grants alone promise is named too, without any pool; what is given is seen at the next resync.
#[tokio::test(flavor = "multi_thread")]
async fn a_capability_that_is_given() {
    let case = Case::shared("given").await;
    let caps = mon_capabilities(&all_but(Permission::PoolRemove));
    let key = case.cluster().user("poolwright-given-less", &caps).await;
    case.world
        .secret(&case.client, "ceph-given-less", &key)
        .await;
    let more = json!({
        "user": "poolwright-given-less", "resyncInterval": "10s",
        "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-given-less"},
    });
    case.world.connect("given", case.cluster(), more).await;
    until(&case, "given", |status, ready| {
        ready.1 == "PermissionDenied" && status.missing_permissions == ["osd pool rm"]
    })
    .await;
    let all = mon_capabilities(&Permission::ALL.into());
    let user = "client.poolwright-given-less";
    case.ceph(&["auth", "caps", user, "mon", &all]).await;
    until(&case, "given", |status, ready| {
        ready.1 == "Connected" && status.missing_permissions.is_empty()
    })
    .await;
}

/// The line that is printed for manifests makes a user who can do with them whatever comes: create, change, rename, adopt
/// and remove.
#[tokio::test(flavor = "multi_thread")]
async fn the_printed_line_suffices() {
    let case = own_connection("line").await;
    let spec = |size: u8, name: &str, more: &str| {
        format!(
            "{{poolName: {}, replicated: {{size: {size}}}, deletionPolicy: Delete, adoptionPolicy: IfUnowned, \
             applications: [{{name: rbd{more}}}], quota: {{maxObjects: 1{size}}}, flags: {{noScrub: true}}, \
             placementGroups: {{autoscale: Disabled, count: {size}}}}}",
            case.pool_name(name)
        )
    };
    let keys = ", metadata: {a: b}";
    let manifests: Vec<Value> = ["a", "adopted"]
        .map(|name| case.manifest(name, &spec(2, name, keys)))
        .into();
    let connection = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "ClusterConnection", "metadata": {"name": "line"},
        "spec": {
            "monitors": ["192.0.2.1"], "keySecretRef": {"namespace": "ns", "name": "ceph"}, "user": "poolwright-as-printed",
            "grants": [{"name": "g", "namespaces": {"all": true}, "allow": ["Create", "Update", "Adopt", "Rename", "Delete"]}],
        },
    });
    let texts: Vec<String> = manifests
        .iter()
        .chain([&connection])
        .map(Value::to_string)
        .collect();
    let line = printed(&texts.join("\n---\n"));
    assert!(
        !line.contains("erasure") && !line.contains("crush"),
        "{line}"
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &line])
        .env("CEPH_CONF", case.cluster().conf());
    run(&mut shell, None).await.expect(&line);
    let user = "client.poolwright-as-printed";
    let key = case.ceph(&["auth", "get-key", user]).await;
    case.world
        .secret(&case.client, "ceph-as-printed", key.trim())
        .await;
    let more = json!({
        "user": "poolwright-as-printed",
        "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-as-printed"},
        "grants": connection["spec"]["grants"],
    });
    case.world.connect("line", case.cluster(), more).await;
    until(&case, "line", |_, ready| ready.1 == "Connected").await;

    case.hand(&super::steps::create(&case.pool_name("adopted")))
        .await;
    for name in ["a", "adopted"] {
        case.apply(name, &spec(2, name, keys)).await;
        case.ready(name).await;
    }
    // Another value for everything, and the key leaves.
    for name in ["a", "adopted"] {
        case.apply(name, &spec(3, name, "")).await;
        case.ready(name).await;
    }
    let pool = case.its_pool("a").await;
    assert_eq!([&pool["size"], &pool["quota_max_objects"]], [3, 13]);
    assert_eq!(pool["application_metadata"]["rbd"]["a"], Value::Null);
    case.apply("a", &spec(3, "renamed", "")).await;
    case.ready("a").await;
    assert!(case.ceph_pool("renamed").await.is_some());
    for name in ["a", "adopted"] {
        delete(&case, name).await;
    }
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    until(&case, "line", |status, ready| {
        ready.1 == "Connected" && status.missing_permissions.is_empty()
    })
    .await;
}

/// `poolwright permissions` of these manifests.
fn printed(manifests: &str) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut manifests.as_bytes(),
        out: &mut out,
        err: &mut err,
    };
    let code = cli::main(["poolwright", "permissions", "-f", "-"], &mut streams);
    assert_eq!(code, OK, "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).expect("UTF-8")
}

/// Probes are denied to exactly those who lack the capability, and change nothing for those who have it: not one epoch of
/// any map, and no monitor ends.
#[tokio::test(flavor = "multi_thread")]
async fn probes_change_nothing() {
    let ceph = Ceph::own(&[("OSDS", "1")]).await;
    let admin = ceph.connect().await;
    let maps = async || {
        let mut maps = BTreeMap::new();
        for command in [
            MonCommand::OsdDump,
            MonCommand::CrushDump,
            MonCommand::OsdStat,
        ] {
            let reply = admin.send(&command, SOON).await.expect("a reply");
            assert_eq!(reply.code, 0, "{}", reply.text);
            maps.insert(command.prefix(), reply.body);
        }
        maps
    };
    let mut users = vec![(
        "nobody".to_owned(),
        BTreeSet::new(),
        session(&ceph, "nobody", &BTreeSet::new()).await,
    )];
    for (at, lacks) in Permission::ALL.into_iter().enumerate() {
        let (name, has) = (format!("less-{at}"), all_but(lacks));
        let client = session(&ceph, &name, &has).await;
        users.push((name, has, client));
    }
    // What a new cluster does by itself has an end.
    let mut before = maps().await;
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_secs(4) {
        sleep(Duration::from_millis(200)).await;
        let now = maps().await;
        if now != before {
            (before, quiet_since) = (now, Instant::now());
        }
    }
    for (name, has, client) in &users {
        for permission in Permission::ALL {
            let probe = permission.probe(PoolName::new("poolwright-probe-of-nothing"));
            let reply = client.send(&probe, SOON).await.expect("a reply");
            assert_eq!(
                reply.code != EACCES,
                has.contains(&permission),
                "{name} {permission:?}: {} {}",
                reply.code,
                reply.text
            );
        }
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(maps().await, before);
}

/// A session of a new user who has these.
async fn session(ceph: &Ceph, name: &str, has: &BTreeSet<Permission>) -> RadosClient {
    let key = ceph.user(name, &mon_capabilities(has)).await;
    let options = ConnectOptions::Explicit {
        mon_host: ceph.monitors(),
        user: name.to_owned(),
        key: Key::parse(&key, name).expect("a key"),
        options: BTreeMap::new(),
    };
    RadosClient::connect(options, Limits::default())
        .await
        .expect("a session")
}
