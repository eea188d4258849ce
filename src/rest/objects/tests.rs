//! Which object a pool is that of, before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ceph::osd_map::{PlacementGroups, Snapshots, Tiering};
use crate::ceph::types::{CreateTime, Epoch, PoolId};

fn pool(mark: Option<&Owner>) -> Pool {
    let keys = mark.map(|owner| ("poolwright".to_owned(), owner.mark("77")));
    let told = mark.map(|owner| ("poolwright.object".to_owned(), owner.object()));
    Pool {
        id: PoolId(7),
        name: PoolName::new("foo"),
        create_time: CreateTime(100),
        last_change: Epoch(1),
        kind: PoolKind::Replicated,
        size: 3,
        min_size: 2,
        placement_groups: PlacementGroups::default(),
        autoscale_mode: "on".into(),
        crush_rule: 0,
        quota_max_bytes: 0,
        quota_max_objects: 0,
        flags: BTreeSet::new(),
        options: BTreeMap::new(),
        fast_read: false,
        applications: [("rbd".to_owned(), keys.into_iter().chain(told).collect())].into(),
        erasure_code_profile: String::new(),
        stripe_width: 0,
        expected_num_objects: 0,
        peering_bucket_count: 0,
        snapshots: Snapshots::default(),
        tiering: Tiering::default(),
    }
}

fn object(uid: &str, adoption: &str, status: &Value, annotated: Option<&str>) -> CephPool {
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": "CephPool",
        "metadata": {"name": "foo", "namespace": "team-a", "uid": uid, "annotations": {}},
        "spec": {"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {}, "adoptionPolicy": adoption},
        "status": status,
    });
    if let Some(annotated) = annotated {
        merge::place(
            &mut object,
            &["metadata", "annotations", "poolwright.dev/pool"],
            json!(annotated),
        );
    }
    serde_json::from_value(object).expect("a CephPool")
}

fn of(fsid: &str, id: i64) -> PoolIdentity {
    PoolIdentity {
        fsid: Fsid::new(fsid),
        id: PoolId(id),
        create_time: CreateTime(100),
    }
}

/// An object that has another pool is not this one's, though it wishes for its name.
#[test]
fn which_object_it_is() {
    let seven = of("f", 7);
    let five = json!({"fsid": "f", "poolId": 5, "poolCreateTime": 100});
    let own = json!({"fsid": "f", "poolId": 7, "poolCreateTime": 100});
    let free = pool(None);
    let none = Value::Null;
    let how = |object: &CephPool, pool: &Pool| stands(object, &seven, pool);
    assert_eq!(how(&object("u", "Never", &own, None), &free), Stands::Owner);
    assert_eq!(
        how(&object("u", "IfUnowned", &none, None), &free),
        Stands::Adopter
    );
    assert_eq!(
        how(&object("u", "Never", &none, None), &free),
        Stands::Wishes
    );
    for other in [
        object("u", "IfUnowned", &five, None),
        object("u", "IfUnowned", &none, Some("f/5/100/77")),
    ] {
        let stands = how(&other, &free);
        assert_eq!(stands, Stands::Other(of("f", 5)));
        let problem = stands.problem(&other, &free).expect("a problem");
        assert_eq!(problem.status, 409);
        assert!(
            problem.detail.contains("has the pool 5"),
            "{}",
            problem.detail
        );
    }
    // An annotation alone proves nothing.
    let says = object("u", "Never", &none, Some("f/7/100/77"));
    assert_eq!(how(&says, &free), Stands::Wishes);
    let owner = |name: &str| Owner {
        instance: "c9a1".into(),
        namespace: "team-a".into(),
        name: name.into(),
    };
    assert_eq!(how(&says, &pool(Some(&owner("foo")))), Stands::Owner);
    assert_eq!(how(&says, &pool(Some(&owner("bar")))), Stands::Wishes);
}

/// What was authorised is what is changed.
#[test]
fn read_anew() {
    let own = json!({"fsid": "f", "poolId": 7, "poolCreateTime": 100});
    let found = object("u", "Never", &own, None);
    let still = |now: &CephPool| is_still(&found, now, &of("f", 7), &pool(None));
    assert_eq!(still(&found).err(), None);
    let anew = object("v", "Never", &own, None);
    assert_eq!(still(&anew).map_err(|problem| problem.status), Err(409));
    let five = json!({"fsid": "f", "poolId": 5, "poolCreateTime": 100});
    let other = object("u", "Never", &five, None);
    assert_eq!(still(&other).map_err(|problem| problem.status), Err(409));
}
