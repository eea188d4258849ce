//! Sums over a grant, and what may be named.

use serde_json::{Value, json};

use super::*;

fn connection(grants: &Value) -> ClusterConnectionSpec {
    serde_json::from_value(json!({
        "monitors": ["192.0.2.1"],
        "keySecretRef": {"namespace": "poolwright-system", "name": "ceph"},
        "grants": grants,
    }))
    .expect("a connection spec")
}

fn pool(more: &Value) -> CephPoolSpec {
    let mut spec =
        json!({"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {}});
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).expect("a spec")
}

fn usage(pools: i64, placement_groups: i64, quota_bytes: Option<i64>) -> Usage {
    Usage {
        pools,
        placement_groups,
        quota_bytes,
    }
}

/// Asks for a pool of namespace `team` beside other pools of these namespaces and usages.
fn ask(
    grants: &Value,
    spec: &CephPoolSpec,
    before: Usage,
    others: &[(&str, Usage)],
) -> Result<(), String> {
    let labels = BTreeMap::new();
    let present = before.pools > 0;
    let asked = Asked {
        namespace: "team",
        labels: &labels,
        pool: "p",
        verb: if present { Verb::Update } else { Verb::Create },
        spec,
        before,
        after: Usage::of_spec(spec, None, &BTreeSet::new()),
    };
    let others = || {
        let others = others.iter().map(|(namespace, usage)| Other {
            namespace: (*namespace).to_owned(),
            labels: BTreeMap::new(),
            pool: "other".to_owned(),
            usage: *usage,
        });
        others.collect()
    };
    permits(&connection(grants), &asked, others).map_err(|denied| denied.message)
}

fn grant(more: &Value) -> Value {
    let mut grant = json!({"name": "g", "namespaces": {"names": ["team", "team-2"]}, "allow": ["Create", "Update"]});
    for (key, value) in more.as_object().expect("fields") {
        grant[key] = value.clone();
    }
    json!([grant])
}

const NOTHING: Usage = Usage {
    pools: 0,
    placement_groups: 0,
    quota_bytes: None,
};

/// A limit is for all pools of the grant together, and for nobody else's.
#[test]
fn sums() {
    let other = usage(1, 64, Some(100));
    for (limits, spec, before, expected) in [
        (json!({"pools": 2}), json!({}), NOTHING, None),
        (
            json!({"pools": 1}),
            json!({}),
            NOTHING,
            Some("allows 1 pools in all; other pools have 1"),
        ),
        // What is there already stays, and may change.
        (json!({"pools": 1}), json!({}), usage(1, 32, None), None),
        (json!({"placementGroups": 96}), json!({}), NOTHING, None),
        (
            json!({"placementGroups": 95}),
            json!({}),
            NOTHING,
            Some("asks for 32"),
        ),
        (
            json!({"placementGroups": 80}),
            json!({"placementGroups": {"count": 16}}),
            NOTHING,
            None,
        ),
        (
            json!({"placementGroups": 80}),
            json!({"placementGroups": {"count": 17}}),
            usage(1, 16, None),
            Some("80 placement groups"),
        ),
        // A limit that was lowered takes nothing away.
        (
            json!({"placementGroups": 10}),
            json!({"placementGroups": {"count": 16}}),
            usage(1, 16, None),
            None,
        ),
        (
            json!({"placementGroups": 10}),
            json!({"placementGroups": {"count": 8}}),
            usage(1, 16, None),
            None,
        ),
        (
            json!({"quotaBytes": "200"}),
            json!({"quota": {"maxBytes": 100}}),
            NOTHING,
            None,
        ),
        (
            json!({"quotaBytes": "200"}),
            json!({"quota": {"maxBytes": 101}}),
            NOTHING,
            Some("200 bytes of quota"),
        ),
        (
            json!({"quotaBytes": "200"}),
            json!({}),
            NOTHING,
            Some("set spec.quota.maxBytes"),
        ),
        (
            json!({"quotaBytes": "200"}),
            json!({"quota": {"maxBytes": 0}}),
            usage(1, 32, Some(5)),
            Some("set spec.quota.maxBytes"),
        ),
        (
            json!({"quotaBytes": "200"}),
            json!({}),
            usage(1, 32, None),
            None,
        ),
    ] {
        let grants = grant(&json!({"limits": limits}));
        let others = [("team-2", other), ("elsewhere", usage(9, 9000, Some(9000)))];
        let said = ask(&grants, &pool(&spec), before, &others);
        match expected {
            None => assert_eq!(said, Ok(()), "{limits} {spec}"),
            Some(words) => {
                let said = said.expect_err("a refusal");
                assert!(
                    said.contains(words) && said.contains("see \"g\" in spec.grants"),
                    "{limits} {spec}: {said}"
                );
            }
        }
    }
}

/// What may be named; without a list all, but for the settings that can stop clients.
#[test]
fn names() {
    for (more, spec, expected) in [
        (
            json!({}),
            json!({"parameters": {"scrub_priority": "5"}}),
            None,
        ),
        (
            json!({}),
            json!({"parameters": {"eio": "true"}}),
            Some("a grant has to name it"),
        ),
        (
            json!({"parameters": ["eio"]}),
            json!({"parameters": {"eio": "true"}}),
            None,
        ),
        (
            json!({"parameters": ["eio"]}),
            json!({"parameters": {"scrub_priority": "5"}}),
            Some("scrub_priority is not among"),
        ),
        (
            json!({"crushRules": ["fast"]}),
            json!({"crush": {"rule": "fast"}}),
            None,
        ),
        (
            json!({"crushRules": ["fast"]}),
            json!({"crush": {"rule": "slow"}}),
            Some("CRUSH rule slow"),
        ),
        (
            json!({"deviceClasses": ["hdd"]}),
            json!({"crush": {"failureDomain": "host", "deviceClass": "ssd"}}),
            Some("device class ssd"),
        ),
        (
            json!({"deviceClasses": ["hdd"]}),
            json!({"crush": {"failureDomain": "host"}}),
            None,
        ),
    ] {
        let said = ask(&grant(&more), &pool(&spec), NOTHING, &[]);
        match expected {
            None => assert_eq!(said, Ok(()), "{more} {spec}"),
            Some(words) => {
                let said = said.expect_err("a refusal");
                assert!(said.contains(words), "{more} {spec}: {said}");
            }
        }
    }
}

/// One of several grants is enough, as long as it covers everything.
#[test]
fn one_of_several() {
    let small = json!({"name": "small", "namespaces": {"all": true}, "allow": ["Create"], "limits": {"pools": 0}});
    let other = json!({"name": "other", "namespaces": {"all": true}, "allow": ["Create"], "poolNames": ["x-*"]});
    let large = json!({"name": "large", "namespaces": {"names": ["team"]}, "allow": ["Create"]});
    let spec = pool(&json!({}));
    let said =
        ask(&json!([small, other]), &spec, NOTHING, &[]).expect_err("only the small one covers it");
    assert!(
        said.contains("\"small\"") && !said.contains("\"other\""),
        "{said}"
    );
    assert_eq!(ask(&json!([small, large]), &spec, NOTHING, &[]), Ok(()));
}

/// What is there counts: a pool that is adopted with its placement groups, and not a quota that is about to be taken off.
#[test]
fn what_is_there() {
    use crate::ceph::command::{MonCommand, PoolCreate};
    use crate::ceph::simulated::SimulatedCluster;
    use crate::ceph::types::{Fsid, PoolName};
    let mut cluster = SimulatedCluster::new(&Fsid::new("c9a1"), 3);
    cluster.round(&[MonCommand::PoolCreate(PoolCreate::new(
        PoolName::new("p"),
        64,
    ))]);
    cluster.edit_pool("p", |pool| pool.quota_max_bytes = 1000);
    let present = cluster.pool("p").expect("it");
    let spec = pool(&json!({}));
    let nothing = BTreeSet::new();
    assert_eq!(
        Usage::of_spec(&spec, Some(present), &nothing),
        usage(1, 64, Some(1000))
    );
    let applied = BTreeSet::from([settings::QUOTA_BYTES.field.to_owned()]);
    assert_eq!(
        Usage::of_spec(&spec, Some(present), &applied),
        usage(1, 64, None)
    );
}
