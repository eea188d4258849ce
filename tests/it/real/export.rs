//! Manifests for the pools of a cluster that others made: applied, each costs its mark, and nothing else changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::process::Command;

use super::steps::{create, enable, ready, tag};
use super::support::{Case, LIMIT, Own, World, holds, pools_of};

/// A pool's entry without the mark and what a change of it moves.
fn without_mark(pool: &Value) -> Value {
    let mut pool = pool.clone();
    pool["last_change"] = Value::Null;
    for keys in pool["application_metadata"]
        .as_object_mut()
        .into_iter()
        .flat_map(|applications| applications.values_mut())
    {
        if let Some(keys) = keys.as_object_mut() {
            keys.retain(|key, _| !key.starts_with("poolwright"));
        }
    }
    pool
}

async fn pools(case: &Case) -> BTreeMap<String, Value> {
    let dump = case.dump().await;
    let named = pools_of(&dump).map(|pool| {
        let name = pool["pool_name"].as_str().expect("a name");
        (name.to_owned(), without_mark(pool))
    });
    named.collect()
}

pub(super) async fn poolwright(case: &Case, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("timeout");
    command
        .args(["60", env!("CARGO_BIN_EXE_poolwright")])
        .args(arguments)
        .arg("--conf")
        .arg(case.cluster().conf());
    let output = command.output().await.expect("the program runs");
    (
        output.status.code().expect("a code"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Must show: pools of all kinds made by hand, as Rook, cephadm and people leave them, and odd names.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_changes_nothing() {
    let world = World::own(Own {
        connection: json!({"grants": [{"name": "all", "namespaces": {"all": true}, "allow": ["Adopt", "Update"]}]}),
        ceph: vec![("OSDS", "3")],
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "export").await;
    for line in [
        "osd erasure-code-profile set two-one k=2 m=1 crush-failure-domain=osd",
        "osd pool create coded 1 1 erasure two-one",
        "osd pool application enable coded rgw",
        "osd pool set coded pg_autoscale_mode off",
        "osd pool set coded fast_read 1",
        "osd pool set coded min_size 3",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        case.ceph(&words).await;
    }
    for (pool, application, settings) in [
        ("plain", Some("rbd"), vec![]),
        (
            "replicapool",
            Some("rbd"),
            vec![
                ("compression_mode", "aggressive"),
                ("target_size_ratio", "0.3"),
                ("csum_type", "crc32c_8"),
                ("scrub_min_interval", "86400.5"),
            ],
        ),
        (
            "Odd name & Söhne 資料",
            Some("own.app"),
            vec![
                ("size", "2"),
                ("min_size", "1"),
                ("pg_num_min", "2"),
                ("target_size_bytes", "1073741824"),
                ("recovery_priority", "-3"),
                ("nodelete", "true"),
                ("noscrub", "true"),
            ],
        ),
        (
            "cephfs.data",
            Some("cephfs"),
            vec![("bulk", "true"), ("recovery_op_priority", "9999")],
        ),
        // Within bounds that leave the cluster's own autoscaler nothing to do, should it come by.
        (
            "scaled",
            Some("rgw"),
            vec![
                ("pg_num_min", "2"),
                ("pg_num_max", "2"),
                ("pg_autoscale_mode", "on"),
            ],
        ),
        ("bare", None, vec![("write_fadvise_dontneed", "true")]),
    ] {
        case.hand(&create(pool)).await;
        if let Some(application) = application {
            case.hand(&enable(pool, application)).await;
        }
        for (variable, value) in settings {
            case.ceph(&["osd", "pool", "set", pool, variable, value])
                .await;
        }
    }
    case.hand(&tag("plain", "rbd_mirror", "x-y")).await;
    case.ceph(&["osd", "pool", "set-quota", "plain", "max_bytes", "1048576"])
        .await;
    // The flag goes by itself, when the placement groups are there.
    case.wait_for("all pools are made", LIMIT, async || {
        let all = pools(&case).await;
        let made = |pool: &Value| {
            let flags = pool["flags_names"].as_str().unwrap_or_default();
            !flags.contains("creating")
        };
        holds(all.values().all(made), &all.keys())
    })
    .await;
    let before = pools(&case).await;

    let (code, manifests, notes) = poolwright(&case, &["export"]).await;
    assert_eq!(code, 0, "{notes}");
    assert!(
        notes.contains("pool cephfs.data: recovery_op_priority 9999 is left out: a manifest can have a whole number from 1 to 63"),
        "{notes}"
    );
    assert!(
        notes.contains("pool bare: left out: it has no application"),
        "{notes}"
    );
    assert!(manifests.contains("profile: two-one"), "{manifests}");
    // Planned from them there are the marks and nothing else.
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(file.path(), &manifests).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, plan, said) = poolwright(&case, &["plan", "-f", path, "-o", "json"]).await;
    assert_eq!(code, 2, "{said}");
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    for pool in plan["pools"].as_array().expect("pools") {
        for round in pool["rounds"].as_array().into_iter().flatten() {
            for command in round["commands"].as_array().expect("commands") {
                let key = command["key"].as_str().unwrap_or_default();
                assert!(key.starts_with("poolwright"), "{command}");
            }
        }
    }
    // Applied, as people do it.
    case.kubectl_with(&["apply", "-f", "-"], Some(&manifests))
        .await
        .expect("kubectl apply");
    let objects = case.pools().list(&kube::api::ListParams::default()).await;
    let objects = objects.expect("the objects").items;
    assert!(objects.len() >= 7, "{manifests}");
    for object in objects {
        let name = object.metadata.name.expect("a name");
        let object = case.ready(&name).await;
        assert_eq!(ready(&object).0, "True");
    }
    let sent = case.sent_with("poolwright", "\"osd pool ").await;
    for command in &sent {
        assert_eq!(command["prefix"], "osd pool application set", "{sent:#?}");
        let key = command["key"].as_str().expect("a key");
        assert!(key.starts_with("poolwright"), "{sent:#?}");
    }
    let marked = sent.iter().filter(|command| command["key"] == "poolwright");
    let marked = marked.count();
    let with_application = before
        .values()
        .filter(|pool| pool["application_metadata"] != json!({}))
        .filter(|pool| {
            !pool["pool_name"]
                .as_str()
                .is_some_and(|name| name.starts_with('.'))
        })
        .count();
    assert_eq!(marked, with_application, "one mark each");
    let mut after = pools(&case).await;
    after.retain(|name, pool| before.get(name) != Some(pool));
    assert!(after.is_empty(), "{after:#?}");

    // One by name; and one that is not there.
    let (code, one, _) = poolwright(&case, &["export", "--pool", "plain"]).await;
    assert_eq!(
        (code, one.matches("kind: CephPool").count()),
        (0, 1),
        "{one}"
    );
    let (code, _, said) = poolwright(&case, &["export", "--pool", "nothing"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("pool nothing: there is no such pool"),
        "{said}"
    );
}
