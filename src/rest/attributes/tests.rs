//! Bodies, and the fields that they ask for.
#![expect(
    clippy::needless_pass_by_value,
    reason = "bodies are written where they are used"
)]

use super::*;
use crate::ceph::command::MonCommand;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::types::{Fsid, PoolName};

fn body(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn faults(value: Value, deed: Deed) -> Vec<(String, String)> {
    let faults = Asked::read(&body(&value), deed).expect_err("faults");
    faults
        .iter()
        .map(|fault| {
            (
                fault.field().unwrap_or_default().to_owned(),
                fault.to_string(),
            )
        })
        .collect()
}

/// A cluster with a replicated pool and an erasure-coded one.
fn cluster() -> SimulatedCluster {
    let mut cluster = SimulatedCluster::new(&Fsid::new("f"), 10);
    cluster.edit_map(|map| {
        let profile =
            [("k", "4"), ("m", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        map.erasure_code_profiles
            .insert("four".into(), profile.into());
        let profile =
            [("k", "2"), ("m", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        map.erasure_code_profiles
            .insert("default".into(), profile.into());
    });
    let create = |name: &str| {
        MonCommand::PoolCreate(crate::ceph::command::PoolCreate::new(
            PoolName::new(name),
            8,
        ))
    };
    cluster.round(&[create("foopool"), create("coded")]);
    cluster.settle();
    cluster.edit_pool("coded", |pool| {
        pool.kind = PoolKind::Erasure;
        pool.erasure_code_profile = "four".into();
        pool.size = 6;
    });
    cluster
}

fn asked_of(
    value: Value,
    deed: Deed,
    pool: Option<&str>,
    spec: Option<&Value>,
) -> Result<Vec<(String, Value)>, Vec<String>> {
    let cluster = cluster();
    let view = cluster.view();
    let pool = pool.map(|name| cluster.pool(name).expect("the pool").as_ref().clone());
    let asked = Asked::read(&body(&value), deed).expect("a good body");
    let ground = Ground {
        view: &view,
        pool: pool.as_ref(),
        spec,
    };
    fields(&asked, &ground)
        .map(|sets| {
            sets.into_iter()
                .map(|set| (set.field.to_owned(), set.value))
                .collect()
        })
        .map_err(|faults| {
            faults
                .iter()
                .map(|fault| format!("{}: {fault}", fault.field().unwrap_or_default()))
                .collect()
        })
}

fn changed(value: Value) -> Result<Vec<(String, Value)>, Vec<String>> {
    asked_of(value, Deed::Change, Some("foopool"), None)
}

fn pairs(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    pairs
        .iter()
        .map(|(field, value)| ((*field).to_owned(), value.clone()))
        .collect()
}

/// Calamari's documented example.
#[test]
fn the_documented_example() {
    assert_eq!(
        changed(json!({"quota_max_bytes": 1_024_000_000, "quota_max_objects": 1_000_000}))
            .expect("fields"),
        pairs(&[
            ("quota.maxBytes", json!(1_024_000_000)),
            ("quota.maxObjects", json!(1_000_000))
        ])
    );
}

/// Each attribute that cannot be given, or not so, is named with what helps.
#[test]
fn faults_name_their_attribute() {
    for (value, field, words) in [
        (json!({"nope": 1}), "nope", "no such attribute"),
        (json!({"size": "3"}), "size", "whole number, 1 or more"),
        (json!({"size": 0}), "size", "1 or more"),
        (json!({"size": null}), "size", "whole number"),
        (
            json!({"quota_max_bytes": -1}),
            "quota_max_bytes",
            "0 or more",
        ),
        (
            json!({"quota_max_bytes": 1.5}),
            "quota_max_bytes",
            "whole number",
        ),
        (json!({"crush_rule": 0}), "crush_rule", "a text"),
        (
            json!({"pg_autoscale_mode": "yes"}),
            "pg_autoscale_mode",
            "one of on, off, warn",
        ),
        (
            json!({"crush_ruleset": 0}),
            "crush_ruleset",
            "give crush_rule",
        ),
        (
            json!({"crash_replay_interval": 0}),
            "crash_replay_interval",
            "leave it out",
        ),
        (json!({"hashpspool": true}), "hashpspool", "read only"),
        (json!({"id": 7}), "id", "read only"),
        (json!({"full": true}), "full", "read only"),
        (json!({"type": "erasure"}), "type", "cannot be changed"),
        (
            json!({"erasure_code_profile": "x"}),
            "erasure_code_profile",
            "cannot be changed",
        ),
        (json!({"namespace": "x"}), "namespace", "cannot be changed"),
        (json!({}), "", "at least one attribute"),
    ] {
        let found = faults(value.clone(), Deed::Change);
        assert!(
            found.len() == 1 && found[0].0 == field && found[0].1.contains(words),
            "{value}: {found:?}"
        );
    }
    assert_eq!(
        faults(json!({"size": 3}), Deed::Create),
        [("name".to_owned(), "it has to be given".to_owned())]
    );
    let all = faults(json!({"size": "x", "nope": 1}), Deed::Create);
    assert_eq!(all.len(), 3, "all at once: {all:?}");
}

/// `min_size` is at most the size; 0 is the default; a smaller size takes it along.
#[test]
fn min_size_follows_size() {
    let of = |value| changed(value).expect("fields");
    assert_eq!(
        of(json!({"size": 4, "min_size": 9})),
        pairs(&[("replicated.size", json!(4)), ("minSize", json!(4))])
    );
    assert_eq!(
        of(json!({"size": 4, "min_size": 0})),
        pairs(&[("replicated.size", json!(4)), ("minSize", json!(2))])
    );
    assert_eq!(of(json!({"size": 5, "min_size": 0}))[1].1, json!(3));
    // Never less than is safe.
    assert_eq!(of(json!({"size": 2, "min_size": 0}))[1].1, json!(2));
    // The size is that of the pool.
    assert_eq!(of(json!({"min_size": 9})), pairs(&[("minSize", json!(3))]));
    let spec = json!({"minSize": 3, "replicated": {"size": 4}});
    let smaller = asked_of(
        json!({"size": 2}),
        Deed::Change,
        Some("foopool"),
        Some(&spec),
    );
    assert_eq!(
        smaller.expect("fields"),
        pairs(&[("replicated.size", json!(2)), ("minSize", json!(2))])
    );
    let larger = asked_of(
        json!({"size": 5}),
        Deed::Change,
        Some("foopool"),
        Some(&spec),
    );
    assert_eq!(
        larger.expect("fields"),
        pairs(&[("replicated.size", json!(5))])
    );
    // Of chunks it is one more than are needed to read.
    let coded = |value| asked_of(value, Deed::Change, Some("coded"), None);
    assert_eq!(
        coded(json!({"min_size": 0})).expect("fields"),
        pairs(&[("minSize", json!(5))])
    );
    assert_eq!(
        coded(json!({"min_size": 9})).expect("fields"),
        pairs(&[("minSize", json!(6))])
    );
    assert!(coded(json!({"size": 3})).expect_err("a fault")[0].contains("k + m"));
}

/// `pgp_num` follows `pg_num`, which is not left to the autoscaler by whoever gives it.
#[test]
fn placement_groups() {
    assert_eq!(
        changed(json!({"pg_num": 16})).expect("fields"),
        pairs(&[
            ("placementGroups.count", json!(16)),
            ("placementGroups.autoscale", json!("Disabled"))
        ])
    );
    assert_eq!(
        changed(json!({"pg_num": 16, "pgp_num": 16}))
            .expect("fields")
            .len(),
        2
    );
    assert_eq!(changed(json!({"pgp_num": 8})).expect("fields"), []);
    assert!(changed(json!({"pgp_num": 4})).expect_err("a fault")[0].contains("which is 8"));
    assert!(
        changed(json!({"pg_num": 16, "pgp_num": 8})).expect_err("a fault")[0]
            .contains("which is 16")
    );
    assert!(changed(json!({"pg_num": 16, "pg_autoscale_mode": "on"})).is_err());
    let made = |value| asked_of(value, Deed::Create, None, None);
    assert!(made(json!({"name": "a", "pgp_num": 8})).is_err());
}

/// A new pool has its type and what goes with it; rules and profiles have to be there.
#[test]
fn new_pools() {
    let made = |value| asked_of(value, Deed::Create, None, None);
    assert_eq!(
        made(json!({"name": "a", "size": 2, "min_size": 0, "erasure_code_profile": ""}))
            .expect("fields"),
        pairs(&[
            ("poolName", json!("a")),
            ("type", json!("Replicated")),
            ("replicated", json!({})),
            ("replicated.size", json!(2)),
            ("minSize", json!(2)),
        ])
    );
    assert_eq!(
        made(json!({"name": "a", "min_size": 0}))
            .expect("fields")
            .len(),
        3,
        "the cluster's own"
    );
    assert_eq!(
        made(json!({"name": "a", "type": "erasure"})).expect("fields"),
        pairs(&[
            ("poolName", json!("a")),
            ("type", json!("ErasureCoded")),
            ("erasureCoded.profile", json!("default"))
        ])
    );
    assert!(
        made(json!({"name": "a", "type": "erasure", "erasure_code_profile": "x"}))
            .expect_err("a fault")[0]
            .contains("four")
    );
    assert!(made(json!({"name": "a", "erasure_code_profile": "four"})).is_err());
    assert!(
        made(json!({"name": "a", "crush_rule": "nowhere"})).expect_err("a fault")[0]
            .contains("replicated_rule")
    );
    assert!(made(json!({"name": "a.poolwright-new-1"})).is_err());
}

/// What the map shows is compared in its own words.
#[test]
fn shown() {
    let cluster = cluster();
    let (view, pool) = (cluster.view(), cluster.pool("foopool").expect("a pool"));
    let set = |field, value| Set {
        attribute: "x",
        field,
        value,
    };
    assert!(shows(
        &view,
        pool,
        &[
            set("replicated.size", json!(3)),
            set("placementGroups.count", json!(8))
        ]
    ));
    assert!(!shows(&view, pool, &[set("replicated.size", json!(2))]));
    let mode = if pool.autoscale_mode == "off" {
        "Disabled"
    } else {
        "Enabled"
    };
    assert!(shows(
        &view,
        pool,
        &[set("placementGroups.autoscale", json!(mode))]
    ));
    assert!(!shows(
        &view,
        pool,
        &[set("placementGroups.autoscale", json!("Warn"))]
    ));
}

/// Fields of the spec are told by the names of the API.
#[test]
fn names_of_fields() {
    assert_eq!(
        attribute_of(".spec.quota.maxBytes"),
        Some("quota_max_bytes")
    );
    assert_eq!(attribute_of("spec.minSize"), Some("min_size"));
    assert_eq!(attribute_of("spec.parameters"), None);
}
