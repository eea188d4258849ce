//! Erasure-coded pools: the profile and the rule before the pool, and what no pool can change after it.
//!
//! A rule is made from a profile that is committed, and a pool that is created without a rule gets one that is called as
//! it is, which is a private name here. So the first pool of its kind takes a round for the profile and one for the
//! rule; the second finds both.

use super::release;
use crate::api::conditions::Reason;
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::{CrushMap, Rule};
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings;
use crate::ceph::view::ClusterView;
use crate::request::coding::{self, Chunks, Coding, Keys, Place, Placement, Profile};
use crate::request::factory::Next;
use crate::request::refusal::Refusal;
use crate::request::round::{Round, Step};
use crate::request::wish::Wish;

/// What plans and requests call the profile and the rule.
pub(super) const CODING_FIELD: &str = "erasureCoded";
/// Buckets lie in each other no deeper than this.
const DEEPEST: usize = 32;

/// What a new pool is created with.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The profile; none for a replicated pool.
    pub(super) profile: Option<String>,
    /// The rule.
    pub(super) rule: Option<String>,
}

/// What a new pool is created with, or what has to be done or said before.
pub(super) fn prepared(wish: &Wish, view: &ClusterView) -> Result<Made, Box<Next>> {
    let Some(coding) = &wish.coding else {
        return Ok(Made::default());
    };
    let refused = |refusal| Box::new(Next::refused(refusal));
    let refusals = release::too_early(wish, view)
        .into_iter()
        .chain(out_of_range(wish, coding.chunks(view.map())))
        .chain(no_such_rule(coding, view))
        .collect::<Vec<_>>();
    if !refusals.is_empty() {
        return Err(Box::new(Next {
            refusals,
            ..Next::default()
        }));
    }
    let profiles = &view.map().erasure_code_profiles;
    let (profile, keys) = match &coding.profile {
        Profile::Existing(name) => {
            let keys = profiles
                .get(name)
                .ok_or_else(|| refused(no_profile(name)))?;
            (name.clone(), keys)
        }
        Profile::Made { .. } => {
            let asked = coding.keys(view.map().require_osd_release);
            let asked = asked.unwrap_or_default();
            let name = coding::profile_name(&asked);
            let present = profiles.get(&name);
            let Some(present) = present else {
                if !matches!(coding.placement, Placement::Rule(_)) {
                    possible(&coding::place_of_profile(&asked), &asked, view).map_err(refused)?;
                }
                return Err(Box::new(profile_round(name, &asked)));
            };
            let differing = coding::differing(&asked, present);
            if !differing.is_empty() {
                return Err(refused(changed(&name, &differing)));
            }
            (name, present)
        }
    };
    let rule = rule(coding, &profile, keys, view)?;
    Ok(Made {
        profile: Some(profile),
        rule: Some(rule),
    })
}

/// What is wrong with a rule that the manifest names.
fn no_such_rule(coding: &Coding, view: &ClusterView) -> Option<Refusal> {
    let Placement::Rule(name) = &coding.placement else {
        return None;
    };
    let problem = match rule_of_name(name, view) {
        None => format!(
            "there is no CRUSH rule {name} in the cluster; make it with `ceph osd crush rule create-erasure {name} \
             PROFILE`, or name a failureDomain instead"
        ),
        Some(rule) if !is_for_chunks(rule) => format!(
            "the CRUSH rule {name} is not one for erasure-coded pools; name another one, or a failureDomain instead"
        ),
        Some(_) => return None,
    };
    Some(invalid("crush.rule", problem))
}

pub(super) fn rule_of_name<'view>(name: &str, view: &'view ClusterView) -> Option<&'view Rule> {
    let mut rules = view.crush().rules.values();
    rules.find(|rule| rule.name == name)
}

/// The rule of a new pool.
fn rule(
    coding: &Coding,
    profile: &str,
    keys: &Keys,
    view: &ClusterView,
) -> Result<String, Box<Next>> {
    let refused = |refusal| Box::new(Next::refused(refusal));
    let place = coding::place_of_profile(keys);
    match &coding.placement {
        Placement::Rule(name) => return Ok(name.clone()),
        Placement::Under(asked) if *asked != place => {
            return Err(refused(invalid(
                "crush",
                format!(
                    "the profile {profile} says {place}, and {asked} is asked for; the rule is made from the profile, so \
                     say the same or nothing in crush, or name a rule"
                ),
            )));
        }
        Placement::Under(_) | Placement::Unsaid => {}
    }
    let name = coding::rule_name(profile, keys);
    if let Some(rule) = rule_of_name(&name, view) {
        let found = coding::place_of_rule(rule, view.crush());
        if is_for_chunks(rule) && found.as_ref().is_none_or(|found| *found == place) {
            return Ok(name);
        }
        let found = match found {
            _ if !is_for_chunks(rule) => "something for replicated pools".to_owned(),
            Some(found) => found.to_string(),
            None => "something else".to_owned(),
        };
        return Err(refused(invalid(
            CODING_FIELD,
            format!(
                "the CRUSH rule {name} should say {place} and says {found}: somebody changed it, and it is not \
                 overwritten; rename it with `ceph osd crush rule rename {name} NAME`"
            ),
        )));
    }
    possible(&place, keys, view).map_err(refused)?;
    Err(Box::new(one_step(Step {
        command: MonCommand::RuleCreateErasure {
            rule: name.clone(),
            profile: profile.to_owned(),
        },
        field: CODING_FIELD.to_owned(),
        desired: format!("rule {name}"),
        observed: "absent".to_owned(),
        reason: format!("pools of profile {profile} share this rule: {place}"),
        last: false,
        token: None,
    })))
}

fn profile_round(name: String, keys: &Keys) -> Next {
    one_step(Step {
        desired: format!("profile {name}"),
        command: MonCommand::ProfileSet {
            profile: name,
            values: coding::values(keys),
        },
        field: CODING_FIELD.to_owned(),
        observed: "absent".to_owned(),
        reason: "pools that ask for the same share this profile; its name says what is in it"
            .to_owned(),
        last: false,
        token: None,
    })
}

fn one_step(step: Step) -> Next {
    Next {
        round: Round { steps: vec![step] },
        ..Next::default()
    }
}

/// Why chunks cannot be placed so. Ceph would say some of it only when the rule is made, and some never.
fn possible(place: &Place, keys: &Keys, view: &ClusterView) -> Result<(), Refusal> {
    let crush = view.crush();
    if crush.buckets.is_empty() {
        // A map from a file, without the tree.
        return Ok(());
    }
    let problem = |field, what: String| Err(invalid(field, what));
    let root = crush
        .buckets
        .iter()
        .find(|(_, bucket)| bucket.name == place.root);
    let Some((root, _)) = root else {
        return problem(
            "crush.root",
            format!(
                "there is no bucket {} in the CRUSH map; name one that is there",
                place.root
            ),
        );
    };
    let domain = &place.failure_domain;
    let kind = crush.types.iter().find(|(_, name)| *name == domain);
    let Some((kind, _)) = kind else {
        return problem(
            "crush.failureDomain",
            format!("there is no bucket type {domain} in the CRUSH map; name one that is there"),
        );
    };
    let class = place.device_class.as_deref();
    if let Some(class) = class
        && !has_class(crush, class)
    {
        return problem(
            "crush.deviceClass",
            format!("no OSD is of the device class {class}; name one that is there"),
        );
    }
    let found = below(crush, *root, *kind, class, DEEPEST).1;
    let Some(chunks) = Chunks::of(keys) else {
        return Ok(());
    };
    let needed = chunks.data + chunks.coding;
    if i64::try_from(found).is_ok_and(|found| found < needed) {
        return problem(
            "crush.failureDomain",
            format!(
                "{needed} chunks need {needed} buckets of type {domain}, and under {} there are {found} that OSDs are \
                 in; ask for fewer chunks or for a smaller failureDomain, or add OSDs",
                place.root
            ),
        );
    }
    Ok(())
}

fn has_class(crush: &CrushMap, class: &str) -> bool {
    let mut devices = crush.devices.values();
    devices.any(|device| device.class.as_deref() == Some(class))
}

/// Whether there is a device of the class at or under an item, and how many items of the type that have one.
fn below(
    crush: &CrushMap,
    item: i32,
    kind: i32,
    class: Option<&str>,
    depth: usize,
) -> (bool, usize) {
    let (some, under) = match crush.buckets.get(&item) {
        Some(bucket) if depth > 0 => {
            let items = bucket.items.iter();
            let each = items.map(|item| below(crush, item.id, kind, class, depth - 1));
            each.fold((false, 0), |sum, one| (sum.0 || one.0, sum.1 + one.1))
        }
        Some(_) => (false, 0),
        None => {
            let device = crush.devices.get(&item);
            let fits = class.is_none_or(|class| {
                device.is_some_and(|device| device.class.as_deref() == Some(class))
            });
            (fits, 0)
        }
    };
    let own = crush.buckets.get(&item).map_or(0, |bucket| bucket.kind);
    (some, under + usize::from(some && own == kind))
}

/// Rules for erasure-coded pools, also those with several OSDs a failure domain, and those of which only the name is
/// known.
pub(super) fn is_for_chunks(rule: &Rule) -> bool {
    matches!(rule.kind, 0 | 3 | 5)
}

/// A `min_size` that no pool of so many chunks can have.
fn out_of_range(wish: &Wish, chunks: Option<Chunks>) -> Option<Refusal> {
    let (chunks, min_size) = (chunks?, wish.asked_integer(&settings::MIN_SIZE)?);
    let most = chunks.data + chunks.coding;
    (!(chunks.data..=most).contains(&min_size)).then(|| {
        invalid(
            settings::MIN_SIZE.field,
            format!(
                "minSize of a pool of {} data and {} coding chunks lies between {} and {most}, and {min_size} is asked \
                 for",
                chunks.data, chunks.coding, chunks.data
            ),
        )
    })
}

/// How many chunks a pool has, or will have.
pub(super) fn chunks(wish: &Wish, pool: Option<&Pool>, view: &ClusterView) -> Option<Chunks> {
    match pool {
        Some(pool) if pool.kind == PoolKind::Erasure => Chunks::of(profile_of(pool, view)?),
        Some(_) => None,
        None => wish.coding.as_ref()?.chunks(view.map()),
    }
}

fn profile_of<'view>(pool: &Pool, view: &'view ClusterView) -> Option<&'view Keys> {
    let profiles = &view.map().erasure_code_profiles;
    profiles.get(&pool.erasure_code_profile)
}

/// In what a pool is of another kind than is asked for, which no command changes.
pub(super) fn another_type(wish: &Wish, pool: &Pool) -> Option<Refusal> {
    let (asked, remedy) = match (pool.kind, &wish.coding) {
        (PoolKind::Replicated, Some(_)) => ("ErasureCoded", "Replicated"),
        (PoolKind::Erasure, None) => ("Replicated", "ErasureCoded"),
        (PoolKind::Replicated, None) | (PoolKind::Erasure, Some(_)) => return None,
    };
    Some(invalid(
        "type",
        format!(
            "{asked} is asked for, and pool {} (id {}) is {remedy}; no pool can change that: choose another poolName, or \
             make the object anew with type {remedy}",
            pool.name, pool.id
        ),
    ))
}

/// In what the coding of a pool is not as it is asked for. Nothing of that can be changed.
pub(super) fn differences(wish: &Wish, pool: &Pool, view: &ClusterView) -> Vec<Refusal> {
    let Some(coding) = wish.coding.as_ref() else {
        return Vec::new();
    };
    let mut refusals = coded_otherwise(coding, pool, view);
    refusals.extend(placed_otherwise(coding, pool, view));
    refusals.extend(out_of_range(wish, chunks(wish, Some(pool), view)));
    refusals
}

fn coded_otherwise(coding: &Coding, pool: &Pool, view: &ClusterView) -> Vec<Refusal> {
    let none = Keys::new();
    let present = profile_of(pool, view).unwrap_or(&none);
    let asked = match &coding.profile {
        Profile::Existing(name) if *name == pool.erasure_code_profile => return Vec::new(),
        Profile::Existing(name) => {
            let profiles = &view.map().erasure_code_profiles;
            let Some(keys) = profiles.get(name) else {
                return vec![invalid(
                    "erasureCoded.profile",
                    format!(
                        "{name} is asked for, which is not in the cluster, and pool {} has {}; no pool can change its \
                         profile: name that one, or choose another poolName",
                        pool.name, pool.erasure_code_profile
                    ),
                )];
            };
            let of_chunks = |(key, _): &(&String, &String)| !key.starts_with("crush-");
            let keys = keys.iter().filter(of_chunks);
            keys.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }
        Profile::Made {
            plugin, technique, ..
        } => {
            let mut keys = coding.keys(None).unwrap_or_default();
            // What is not named is Ceph's, and the width of a stripe says more than the profile.
            keys.retain(|key, _| match key.as_str() {
                "k" | "m" => true,
                "plugin" => plugin.is_some(),
                "technique" => technique.is_some(),
                _ => false,
            });
            keys
        }
    };
    let mut refusals: Vec<Refusal> = coding::differing(&asked, present)
        .into_iter()
        .map(|(key, asked, present)| unlike(field_of(key), asked, present, pool))
        .collect();
    if let Profile::Made {
        data_chunks,
        stripe_unit: Some(unit),
        ..
    } = &coding.profile
        && unit.saturating_mul(*data_chunks) != pool.stripe_width
        && refusals.is_empty()
    {
        let present = pool.stripe_width / data_chunks.max(&1);
        refusals.push(unlike(
            field_of("stripe_unit"),
            &unit.to_string(),
            &present.to_string(),
            pool,
        ));
    }
    refusals
}

fn unlike(field: &str, asked: &str, present: &str, pool: &Pool) -> Refusal {
    invalid(
        field,
        format!(
            "{asked} is asked for, and pool {} (id {}, profile {}) has {present}; no pool can change that: say so in the \
             manifest, or make another pool and move the data",
            pool.name, pool.id, pool.erasure_code_profile
        ),
    )
}

fn field_of(key: &str) -> &'static str {
    match key {
        "k" => "erasureCoded.dataChunks",
        "m" => "erasureCoded.codingChunks",
        "plugin" => "erasureCoded.plugin",
        "technique" => "erasureCoded.technique",
        "stripe_unit" => "erasureCoded.stripeUnit",
        _ => "erasureCoded.profile",
    }
}

fn placed_otherwise(coding: &Coding, pool: &Pool, view: &ClusterView) -> Option<Refusal> {
    let present = view.rule_name(pool);
    let (field, asked, says) = match &coding.placement {
        Placement::Unsaid => return None,
        Placement::Rule(asked) if *asked == present => return None,
        Placement::Rule(asked) => ("crush.rule", asked.clone(), String::new()),
        Placement::Under(asked) => {
            let rule = view.crush().rules.get(&pool.crush_rule);
            let place = rule.and_then(|rule| coding::place_of_rule(rule, view.crush()));
            if place.as_ref() == Some(asked) {
                return None;
            }
            let says = place.map_or_else(|| "something else".to_owned(), |place| place.to_string());
            ("crush", asked.to_string(), format!(", which says {says}"))
        }
    };
    Some(Refusal::new(
        Reason::Unsupported,
        Some(field),
        format!(
            "{asked} is asked for, and pool {} has the rule {present}{says}; Poolwright {} does not give an erasure-coded \
             pool another rule, which would move its data: do it by hand with `ceph osd pool set {} crush_rule RULE`, or \
             say in the manifest what is",
            pool.name,
            env!("CARGO_PKG_VERSION"),
            pool.name
        ),
    ))
}

fn no_profile(name: &str) -> Refusal {
    invalid(
        "erasureCoded.profile",
        format!(
            "there is no erasure-code profile {name} in the cluster; make it with `ceph osd erasure-code-profile set \
             {name} k=… m=…`, and the pool is made by itself, or name dataChunks and codingChunks in another object"
        ),
    )
}

/// A profile of ours in which somebody changed something.
fn changed(name: &str, differing: &[(&str, &str, &str)]) -> Refusal {
    let said = |which: fn(&(&str, &str, &str)) -> String| {
        let parts: Vec<String> = differing.iter().map(which).collect();
        parts.join(" ")
    };
    invalid(
        CODING_FIELD,
        format!(
            "the erasure-code profile {name} should say {} and says {}: somebody changed it, and it is not overwritten; \
             remove it with `ceph osd erasure-code-profile rm {name}` once no pool uses it",
            said(|(key, asked, _)| format!("{key}={asked}")),
            said(|(key, _, present)| format!("{key}={present}")),
        ),
    )
}

fn invalid(field: &str, message: String) -> Refusal {
    Refusal::new(Reason::InvalidSpec, Some(field), message)
}
