//! What a grant lets a pool hold: parameters, CRUSH rules, device classes, and sums over all its pools. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::{NotGranted, covers_name, covers_namespace, list};
use crate::api::quantity::Quantity;
use crate::api::v1alpha1::{
    AutoscaleMode, CephPool, CephPoolSpec, ClusterConnectionSpec, Grant, Verb,
};
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::{self, Danger};

/// What a pool takes of a grant's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pools.
    pub pools: i64,
    /// Placement groups, as many as there are or are to be.
    pub placement_groups: i64,
    /// Bytes of its quota; `None` where it has none, and so may grow without end.
    pub quota_bytes: Option<i64>,
}

/// An object that may take something of a grant.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its namespace.
    pub namespace: String,
    /// The labels of that.
    pub labels: BTreeMap<String, String>,
    /// The name of its pool.
    pub pool: String,
    /// What it takes.
    pub usage: Usage,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The namespace of the object.
    pub namespace: &'a str,
    /// The labels of that.
    pub labels: &'a BTreeMap<String, String>,
    /// The pool's name.
    pub pool: &'a str,
    /// What is to be done.
    pub verb: Verb,
    /// What the pool shall be.
    pub spec: &'a CephPoolSpec,
    /// What it takes now; nothing while it is not there or not this object's.
    pub before: Usage,
    /// What it will take.
    pub after: Usage,
}

impl Usage {
    /// What a pool that is there takes.
    #[must_use]
    pub fn of_pool(pool: &Pool) -> Self {
        Self {
            pools: 1,
            placement_groups: pool.placement_groups.pg_num_target,
            quota_bytes: Some(pool.quota_max_bytes).filter(|bytes| *bytes > 0),
        }
    }

    /// What a pool will take that is made as a spec says, or made so from what is there. `applied` are the fields that
    /// were applied to that: one that has left the manifest is taken off.
    #[must_use]
    pub fn of_spec(
        spec: &CephPoolSpec,
        present: Option<&Pool>,
        applied: &BTreeSet<String>,
    ) -> Self {
        let groups = spec.placement_groups.as_ref();
        let number = |read: fn(&crate::api::v1alpha1::PlacementGroupsSpec) -> Option<i32>| {
            groups.and_then(read).map(i64::from)
        };
        let scaled = groups.and_then(|groups| groups.autoscale) == Some(AutoscaleMode::Enabled);
        let (least, most) = (number(|groups| groups.min), number(|groups| groups.max));
        let start = match present {
            Some(pool) => pool.placement_groups.pg_num_target,
            None => number(|groups| groups.count)
                .or(least)
                .unwrap_or(DEFAULT_GROUPS),
        };
        let asked = number(|groups| groups.count).filter(|_| !scaled);
        let placement_groups = asked
            .unwrap_or(start)
            .max(least.unwrap_or(1))
            .min(most.unwrap_or(i64::MAX));
        let quota = spec.quota.as_ref();
        let quota_bytes = match quota.and_then(|quota| quota.max_bytes.as_ref()) {
            Some(bytes) => bytes.bytes(),
            None if applied.contains(settings::QUOTA_BYTES.field) => None,
            None => present.map(|pool| pool.quota_max_bytes),
        };
        Self {
            pools: 1,
            placement_groups,
            quota_bytes: quota_bytes.filter(|bytes| *bytes > 0),
        }
    }

    /// What another object takes, as far as its own words and its status tell.
    #[must_use]
    pub fn of_object(object: &CephPool) -> Self {
        let wished = Self::of_spec(&object.spec, None, &BTreeSet::new());
        let observed = object
            .status
            .as_ref()
            .and_then(|status| status.observed.as_ref());
        let present = observed.and_then(|observed| observed.pg_num_target);
        let scaled = object
            .spec
            .placement_groups
            .as_ref()
            .and_then(|groups| groups.autoscale)
            == Some(AutoscaleMode::Enabled);
        let placement_groups = match present.map(i64::from) {
            Some(present) if scaled => present,
            Some(present) => present.max(wished.placement_groups),
            None => wished.placement_groups,
        };
        Self {
            placement_groups,
            ..wished
        }
    }
}

/// What a creation sends where a manifest names no number.
const DEFAULT_GROUPS: i64 = 32;

/// Whether one grant that covers the namespace, the name and the verb also lets the pool be as it shall be.
///
/// `others` are all the other objects of the connection that have a pool, or come first.
///
/// # Errors
///
/// What stands in the way, of the first such grant.
pub fn permits(
    connection: &ClusterConnectionSpec,
    asked: &Asked<'_>,
    others: impl Fn() -> Vec<Other>,
) -> Result<(), NotGranted> {
    if !matches!(
        asked.verb,
        Verb::Create | Verb::Update | Verb::Adopt | Verb::TakeOver
    ) {
        return Ok(());
    }
    let covering: Vec<&Grant> = connection
        .grants
        .iter()
        .filter(|grant| {
            grant.allow.contains(&asked.verb)
                && covers_namespace(&grant.namespaces, asked.namespace, asked.labels)
                && covers_name(&grant.pool_names, asked.pool)
        })
        .collect();
    let mut reasons = covering.iter().map(|grant| obstacle(grant, asked, &others));
    // Whether there is a grant at all is another question.
    let Some(first) = reasons.next() else {
        return Ok(());
    };
    if first.is_none() || reasons.any(|reason| reason.is_none()) {
        return Ok(());
    }
    let message = first.map(|reason| {
        let grants = list(covering.iter().copied());
        format!("{reason}; see {grants} in spec.grants of the ClusterConnection")
    });
    Err(NotGranted {
        message: message.unwrap_or_default(),
    })
}

/// Why a grant does not let the pool be so.
fn obstacle(grant: &Grant, asked: &Asked<'_>, others: &impl Fn() -> Vec<Other>) -> Option<String> {
    let spec = asked.spec;
    for name in spec.parameters.keys() {
        let grave = settings::of_variable(name).is_some_and(|row| row.danger == Danger::Grave);
        match &grant.parameters {
            Some(allowed) if allowed.contains(name) => {}
            None if !grave => {}
            Some(_) => {
                return Some(format!(
                    "parameter {name} is not among the grant's parameters"
                ));
            }
            None => {
                return Some(format!(
                    "parameter {name} can stop the pool's clients or is not for production, so a grant has to name it \
                     in its parameters"
                ));
            }
        }
    }
    let crush = spec.crush.as_ref();
    let named = |field: &str, name: Option<&String>, allowed: Option<&Vec<String>>| {
        let (name, allowed) = (name?, allowed?);
        (!allowed.contains(name)).then(|| format!("{field} {name} is not among those of the grant"))
    };
    named(
        "CRUSH rule",
        crush.and_then(|crush| crush.rule.as_ref()),
        grant.crush_rules.as_ref(),
    )
    .or_else(|| {
        named(
            "device class",
            crush.and_then(|crush| crush.device_class.as_ref()),
            grant.device_classes.as_ref(),
        )
    })
    .or_else(|| over(grant, asked, others))
}

/// Which limit the pool would go over. What does not grow is never refused: a limit that was lowered takes nothing away.
fn over(grant: &Grant, asked: &Asked<'_>, others: &impl Fn() -> Vec<Other>) -> Option<String> {
    let limits = grant.limits.as_ref()?;
    let (before, after) = (asked.before, asked.after);
    let used: Vec<Usage> = others()
        .into_iter()
        .filter(|other| {
            covers_namespace(&grant.namespaces, &other.namespace, &other.labels)
                && covers_name(&grant.pool_names, &other.pool)
        })
        .map(|other| other.usage)
        .collect();
    let beyond = |what: &str, limit: Option<i64>, before: i64, after: i64, used: i64| {
        let limit = limit?;
        let sum = used.saturating_add(after);
        (after > before && sum > limit).then(|| refused(what, limit, used, after))
    };
    let sum = |read: fn(&Usage) -> i64| used.iter().map(read).fold(0_i64, i64::saturating_add);
    let quota_limit = limits.quota_bytes.as_ref().and_then(Quantity::bytes);
    if quota_limit.is_some() && after.quota_bytes.is_none() {
        let unlimited = before.pools > 0 && before.quota_bytes.is_none();
        if !unlimited {
            return Some(
                "the grant limits the sum of quotas, so the pool needs one: set spec.quota.maxBytes".to_owned(),
            );
        }
    }
    beyond(
        "pools",
        limits.pools.map(i64::from),
        before.pools,
        after.pools,
        sum(|usage| usage.pools),
    )
    .or_else(|| {
        beyond(
            "placement groups",
            limits.placement_groups.map(i64::from),
            before.placement_groups,
            after.placement_groups,
            sum(|usage| usage.placement_groups),
        )
    })
    .or_else(|| {
        beyond(
            "bytes of quota",
            quota_limit,
            before.quota_bytes.unwrap_or_default(),
            after.quota_bytes.unwrap_or_default(),
            sum(|usage| usage.quota_bytes.unwrap_or_default()),
        )
    })
}

fn refused(what: &str, limit: impl Display, used: impl Display, asked: impl Display) -> String {
    format!(
        "the grant allows {limit} {what} in all; other pools have {used}, and this one asks for {asked}"
    )
}

#[cfg(test)]
mod tests;
