//! What the Ceph user has to be allowed for a manifest, for as long as there is its pool: to make it, to keep it, and to
//! remove it where it may be removed.

use std::collections::BTreeSet;

use crate::api::v1alpha1::{
    CephPoolSpec, ClusterConnectionSpec, DeletionPolicy, Management, PoolType, Verb,
};
use crate::ceph::command::permissions::Permission;

/// What every pool that is made or adopted takes: its settings, its mark under an application, and its name, which it is
/// given when it is complete.
const EVERY_POOL: [Permission; 5] = [
    Permission::PoolCreate,
    Permission::PoolSet,
    Permission::ApplicationEnable,
    Permission::ApplicationSet,
    Permission::PoolRename,
];

/// What a pool needs. Who may make a profile or a rule may remove it too: it goes when no pool has it any more.
pub fn of_pool(spec: &CephPoolSpec) -> BTreeSet<Permission> {
    if spec.management == Management::Observe {
        return BTreeSet::new();
    }
    let mut needs = BTreeSet::from(EVERY_POOL);
    if spec.quota.is_some() {
        needs.insert(Permission::PoolSetQuota);
    }
    // Keys go when they leave the manifest; applications and marks stay.
    let mut applications = spec.applications.iter();
    if applications.any(|application| !application.metadata.is_empty()) {
        needs.insert(Permission::ApplicationRemove);
    }
    if spec.deletion_policy == DeletionPolicy::Delete {
        needs.insert(Permission::PoolRemove);
    }
    let crush = spec.crush.as_ref();
    match spec.pool_type {
        PoolType::Replicated => {
            if crush.is_some_and(|crush| crush.rule.is_none()) {
                needs.extend([Permission::RuleCreateReplicated, Permission::RuleRemove]);
            }
        }
        PoolType::ErasureCoded => {
            let coding = spec.erasure_coded.as_ref();
            if coding.is_none_or(|coding| coding.profile.is_none()) {
                needs.extend([Permission::ProfileSet, Permission::ProfileRemove]);
            }
            if crush.is_none_or(|crush| crush.rule.is_none()) {
                needs.extend([Permission::RuleCreateErasure, Permission::RuleRemove]);
            }
        }
    }
    needs
}

/// What the grants of a connection promise to any pool; what else it takes depends on the pools.
pub fn of_connection(spec: &ClusterConnectionSpec) -> BTreeSet<Permission> {
    if spec.management == Management::Observe {
        return BTreeSet::new();
    }
    let verbs = spec.grants.iter().flat_map(|grant| &grant.allow);
    verbs
        .flat_map(|verb| match verb {
            Verb::Create => EVERY_POOL.as_slice(),
            Verb::Update => &[Permission::PoolSet],
            Verb::Adopt | Verb::TakeOver => {
                &[Permission::ApplicationEnable, Permission::ApplicationSet]
            }
            Verb::Rename => &[Permission::PoolRename],
            Verb::Delete => &[Permission::PoolRename, Permission::PoolRemove],
        })
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pool(spec: &Value) -> BTreeSet<Permission> {
        let mut whole = json!({"connectionRef": {"name": "main"}, "type": "Replicated"});
        for (field, value) in spec.as_object().expect("an object") {
            whole[field] = value.clone();
        }
        of_pool(&serde_json::from_value(whole).expect("a spec"))
    }

    /// Each field brings what it takes, and nothing else does.
    #[test]
    fn each_field_brings_its_own() {
        use Permission as P;
        let coded =
            |more: Value| json!({"type": "ErasureCoded", "erasureCoded": more, "minSize": 2});
        let table: [(Value, &[P]); 12] = [
            (json!({"replicated": {"size": 3}, "minSize": 2}), &[]),
            (json!({"flags": {"noDelete": true}}), &[]),
            (json!({"quota": {"maxObjects": 5}}), &[P::PoolSetQuota]),
            (json!({"applications": [{"name": "rbd"}]}), &[]),
            (
                json!({"applications": [{"name": "rbd", "metadata": {"a": "b"}}]}),
                &[P::ApplicationRemove],
            ),
            (json!({"deletionPolicy": "Delete"}), &[P::PoolRemove]),
            (json!({"crush": {"rule": "racks"}}), &[]),
            (
                json!({"crush": {"failureDomain": "rack"}}),
                &[P::RuleCreateReplicated, P::RuleRemove],
            ),
            (
                coded(json!({"dataChunks": 2, "codingChunks": 1})),
                &[
                    P::ProfileSet,
                    P::ProfileRemove,
                    P::RuleCreateErasure,
                    P::RuleRemove,
                ],
            ),
            (
                coded(json!({"profile": "theirs"})),
                &[P::RuleCreateErasure, P::RuleRemove],
            ),
            (
                json!({"type": "ErasureCoded", "erasureCoded": {"profile": "theirs"}, "crush": {"rule": "racks"}}),
                &[],
            ),
            (
                json!({"adoptionPolicy": "IfUnowned", "poolName": "other"}),
                &[],
            ),
        ];
        for (spec, more) in table {
            let mut expected = BTreeSet::from(EVERY_POOL);
            expected.extend(more);
            assert_eq!(pool(&spec), expected, "{spec}");
        }
        let observed = &json!({"management": "Observe", "deletionPolicy": "Delete"});
        assert_eq!(pool(observed), BTreeSet::new());
    }

    /// All that is ever asked for is needed by some manifest.
    #[test]
    fn the_whole_surface() {
        let replicated = pool(&json!({
            "quota": {"maxObjects": 5}, "deletionPolicy": "Delete", "crush": {"failureDomain": "rack"},
            "applications": [{"name": "rbd", "metadata": {"a": "b"}}],
        }));
        let coded = pool(&json!({
            "type": "ErasureCoded", "erasureCoded": {"dataChunks": 2, "codingChunks": 1},
        }));
        let all: BTreeSet<Permission> = Permission::ALL.into();
        assert_eq!(&replicated | &coded, all);
    }

    /// A grant promises what it allows; a connection that only observes needs nothing.
    #[test]
    fn grants() {
        let spec = |allow: &[&str], management: &str| -> ClusterConnectionSpec {
            serde_json::from_value(json!({
                "monitors": ["192.0.2.11"], "keySecretRef": {"namespace": "ns", "name": "ceph"},
                "management": management,
                "grants": [{"name": "g", "namespaces": {"all": true}, "allow": allow}],
            }))
            .expect("a spec")
        };
        let of = |allow: &[&str]| of_connection(&spec(allow, "Manage"));
        assert_eq!(of(&[]), BTreeSet::new());
        assert_eq!(of(&["Create"]), BTreeSet::from(EVERY_POOL));
        assert_eq!(of(&["Update"]), BTreeSet::from([Permission::PoolSet]));
        assert_eq!(
            of(&["Rename", "Delete"]),
            BTreeSet::from([Permission::PoolRename, Permission::PoolRemove])
        );
        assert_eq!(
            of(&["Adopt"]),
            BTreeSet::from([Permission::ApplicationEnable, Permission::ApplicationSet])
        );
        let observing = spec(&["Create", "Delete"], "Observe");
        assert_eq!(of_connection(&observing), BTreeSet::new());
    }
}
