//! What a body asks for, as fields of a spec: Calamari's rules, where they still make sense. Pure.

use serde_json::{Value, json};

use super::{Asked, Fault, ROWS};
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;

/// A field of the spec, and what it is set to.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// The attribute that asks for it.
    pub attribute: &'static str,
    /// The field, its parts separated by dots.
    pub field: &'static str,
    /// The value.
    pub value: Value,
}

impl Set {
    fn new(attribute: &'static str, field: &'static str, value: Value) -> Self {
        Self {
            attribute,
            field,
            value,
        }
    }
}

/// What a change is made to.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The cluster.
    pub view: &'a ClusterView,
    /// The pool; none for one that is to be made.
    pub pool: Option<&'a Pool>,
    /// The spec of its object, where it has one.
    pub spec: Option<&'a Value>,
}

impl Ground<'_> {
    fn spec_number(&self, pointer: &str) -> Option<i64> {
        self.spec?.pointer(pointer)?.as_i64()
    }

    /// The data and coding chunks of a profile.
    fn chunks(&self, profile: &str) -> Option<(i64, i64)> {
        let profile = self.view.map().erasure_code_profiles.get(profile)?;
        let number = |key: &str| profile.get(key)?.parse::<i64>().ok();
        Some((number("k")?, number("m")?))
    }
}

/// The fields of the spec that a body asks for.
///
/// # Errors
///
/// What does not go together, or not with the pool that is there.
pub fn fields(asked: &Asked, ground: &Ground<'_>) -> Result<Vec<Set>, Vec<Fault>> {
    let mut sets = Vec::new();
    let mut faults = Vec::new();
    let coded = match ground.pool {
        Some(pool) => pool.kind == PoolKind::Erasure,
        None => asked.text("type") == Some("erasure"),
    };
    name(asked, ground, &mut sets, &mut faults);
    let sizes = sizes(asked, ground, coded, &mut sets, &mut faults);
    min_size(asked, ground, &sizes, &mut sets, &mut faults);
    groups(asked, ground, &mut sets, &mut faults);
    if let Some(rule) = asked.text("crush_rule") {
        let mut names = ground
            .view
            .crush()
            .rules
            .values()
            .map(|rule| rule.name.as_str());
        if names.clone().any(|name| name == rule) {
            sets.push(Set::new("crush_rule", "crush.rule", json!(rule)));
        } else {
            let known: Vec<&str> = names.by_ref().collect();
            let why = format!("the cluster has no rule {rule:?}, but {}", known.join(", "));
            faults.push(Fault::unfit("crush_rule", why));
        }
    }
    if let Some(bytes) = asked.number("quota_max_bytes") {
        // A quantity: a number of bytes is one.
        sets.push(Set::new("quota_max_bytes", "quota.maxBytes", json!(bytes)));
    }
    if let Some(objects) = asked.number("quota_max_objects") {
        sets.push(Set::new(
            "quota_max_objects",
            "quota.maxObjects",
            json!(objects),
        ));
    }
    if faults.is_empty() {
        Ok(sets)
    } else {
        Err(faults)
    }
}

fn name(asked: &Asked, ground: &Ground<'_>, sets: &mut Vec<Set>, faults: &mut Vec<Fault>) {
    let Some(name) = asked.text("name") else {
        return;
    };
    if PoolName::new(name).is_private() {
        faults.push(Fault::unfit(
            "name",
            "such names are given to pools while they are made or removed",
        ));
    }
    // A pool may be given the name that it has.
    if ground.pool.is_none_or(|pool| pool.name.as_str() != name) || ground.spec.is_some() {
        sets.push(Set::new("name", "poolName", json!(name)));
    }
}

/// How many copies or chunks there are going to be, and how many the pool needs.
struct Sizes {
    size: Option<i64>,
    /// What `min_size` is where it is to be the default.
    default: Option<i64>,
}

fn sizes(
    asked: &Asked,
    ground: &Ground<'_>,
    coded: bool,
    sets: &mut Vec<Set>,
    faults: &mut Vec<Fault>,
) -> Sizes {
    if coded {
        if asked.number("size").is_some() {
            let why =
                "an erasure-coded pool has no size of its own: it is that of its profile, k + m";
            faults.push(Fault::unfit("size", why));
        }
        let profile = match ground.pool {
            Some(pool) => pool.erasure_code_profile.as_str(),
            None => asked.text("erasure_code_profile").unwrap_or("default"),
        };
        if ground.pool.is_none() {
            if !ground
                .view
                .map()
                .erasure_code_profiles
                .contains_key(profile)
            {
                let profiles = ground.view.map().erasure_code_profiles.keys();
                let known: Vec<&str> = profiles.map(String::as_str).collect();
                let why = format!(
                    "the cluster has no profile {profile:?}, but {}",
                    known.join(", ")
                );
                faults.push(Fault::unfit("erasure_code_profile", why));
            }
            sets.push(Set::new("type", "type", json!("ErasureCoded")));
            sets.push(Set::new(
                "erasure_code_profile",
                "erasureCoded.profile",
                json!(profile),
            ));
        }
        let chunks = ground.chunks(profile);
        return Sizes {
            size: chunks.map(|(k, m)| k + m),
            // One more than is needed to read, where there is one more.
            default: chunks.map(|(k, m)| k + i64::from(m > 1)),
        };
    }
    if ground.pool.is_none() {
        if asked.text("erasure_code_profile").is_some() {
            let why = "only a pool of the type erasure has a profile";
            faults.push(Fault::unfit("erasure_code_profile", why));
        }
        sets.push(Set::new("type", "type", json!("Replicated")));
        sets.push(Set::new("type", "replicated", json!({})));
    }
    if let Some(size) = asked.number("size") {
        sets.push(Set::new("size", "replicated.size", json!(size)));
    }
    let size = asked
        .number("size")
        .or_else(|| ground.spec_number("/replicated/size"))
        .or_else(|| ground.pool.map(|pool| pool.size));
    Sizes {
        size,
        // Ceph's own default, but never less than is safe.
        default: size.map(|size| (size - size / 2).max(size.min(2))),
    }
}

/// `min_size` is at most the size, and 0 stands for the default.
fn min_size(
    asked: &Asked,
    ground: &Ground<'_>,
    sizes: &Sizes,
    sets: &mut Vec<Set>,
    faults: &mut Vec<Fault>,
) {
    let at_most = |number: i64| sizes.size.map_or(number, |size| number.min(size));
    let before = ground.spec_number("/minSize");
    match (asked.number("min_size"), sizes.default, before) {
        (Some(0), Some(default), _) => {
            sets.push(Set::new("min_size", "minSize", json!(default)));
        }
        // Of a pool that is made with the cluster's own size it is the cluster's own, too.
        (Some(0), None, None) => {}
        (Some(0), None, Some(_)) => {
            faults.push(Fault::unfit(
                "min_size",
                "the default is not known: the pool's profile is gone",
            ));
        }
        (Some(number), _, _) => {
            sets.push(Set::new("min_size", "minSize", json!(at_most(number))));
        }
        // A smaller size takes it along.
        (None, _, Some(before)) if asked.number("size").is_some() && at_most(before) != before => {
            sets.push(Set::new("size", "minSize", json!(at_most(before))));
        }
        (None, _, _) => {}
    }
}

/// `pgp_num` follows `pg_num`, and whoever gives that does not leave it to the autoscaler.
fn groups(asked: &Asked, ground: &Ground<'_>, sets: &mut Vec<Set>, faults: &mut Vec<Fault>) {
    let (count, placed) = (asked.number("pg_num"), asked.number("pgp_num"));
    let present = ground.pool.map(|pool| pool.placement_groups.pg_num_target);
    if let Some(placed) = placed
        && count.or(present) != Some(placed)
    {
        let why = match count.or(present) {
            Some(count) => {
                format!("pgp_num follows pg_num, which is {count}: leave it out, or give the same")
            }
            None => "pgp_num follows pg_num: give that instead".to_owned(),
        };
        faults.push(Fault::unfit("pgp_num", why));
    }
    let mode = asked.text("pg_autoscale_mode").map(|word| match word {
        "on" => "Enabled",
        "warn" => "Warn",
        _ => "Disabled",
    });
    if let Some(count) = count {
        if mode == Some("Enabled") && ground.pool.is_some() {
            let why = "with pg_autoscale_mode on, pg_num is Ceph's: give one of the two";
            faults.push(Fault::unfit("pg_num", why));
        }
        sets.push(Set::new("pg_num", "placementGroups.count", json!(count)));
        if mode.is_none() {
            sets.push(Set::new(
                "pg_num",
                "placementGroups.autoscale",
                json!("Disabled"),
            ));
        }
    }
    if let Some(mode) = mode {
        sets.push(Set::new(
            "pg_autoscale_mode",
            "placementGroups.autoscale",
            json!(mode),
        ));
    }
}

/// Whether the map shows all that a body asks for. `sets` are its fields.
pub fn shows(view: &ClusterView, pool: &Pool, sets: &[Set]) -> bool {
    sets.iter().all(|set| {
        let row = ROWS.iter().find(|row| row.field == Some(set.field));
        let Some(shown) = row.and_then(|row| row.shown) else {
            return true;
        };
        let wanted = match set.value.as_str() {
            Some("Enabled") => json!("on"),
            Some("Disabled") => json!("off"),
            Some("Warn") => json!("warn"),
            _ => set.value.clone(),
        };
        shown(view, pool) == wanted
    })
}
