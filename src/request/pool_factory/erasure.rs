//! Erasure-coded pools: the profile and the rule before the pool, and what no pool can change after it.
//!
//! A rule is made from a profile that is committed, and a pool that is created without a rule gets one that is called as
//! it is, which is a private name here. So the first pool of its kind takes a round for the profile and one for the
//! rule; the second finds both.

use super::placement::Target;
use super::places::{self, Copies};
use super::release;
use super::stretch;
use crate::api::conditions::Reason;
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::Rule;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings::{self, CRUSH_RULE};
use crate::ceph::view::ClusterView;
use crate::request::coding::{self, Chunks, Coding, Keys, Place, Placement, Profile};
use crate::request::factory::Next;
use crate::request::placement::not_there;
use crate::request::refusal::Refusal;
use crate::request::round::{Round, Step};
use crate::request::wish::Wish;

/// What plans and requests call the profile and the rule.
pub(super) const CODING_FIELD: &str = "erasureCoded";

/// What a new pool is created with.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The profile; none for a replicated pool.
    pub(super) profile: Option<String>,
    /// The rule.
    pub(super) rule: Option<String>,
    /// What speaks against it, where it is not known whether the chunks can be placed.
    pub(super) doubt: Option<String>,
}

/// The profile that chunks are made by.
struct Source {
    name: String,
    keys: Keys,
    /// It has to be made first.
    missing: bool,
}

/// A rule for chunks.
struct Chosen {
    name: String,
    /// What is in it; no steps where that is not known before it is made.
    rule: Rule,
    /// It has to be made first.
    missing: bool,
}

/// What a new pool is created with, or what has to be done or said before.
pub(super) fn prepared(wish: &Wish, view: &ClusterView) -> Result<Made, Box<Next>> {
    let Some(coding) = &wish.coding else {
        return Ok(Made::default());
    };
    let refused = |refusal| Box::new(Next::refused(refusal));
    let refusals = release::too_early(wish, view)
        .into_iter()
        .chain(stretch::no_chunks(view))
        .chain(out_of_range(wish, coding.chunks(view.map())))
        .collect::<Vec<_>>();
    if !refusals.is_empty() {
        return Err(Box::new(Next {
            refusals,
            ..Next::default()
        }));
    }
    let source = source(coding, view).map_err(refused)?;
    let chosen = chosen(coding, &source, view).map_err(refused)?;
    let doubt = match Chunks::of(&source.keys) {
        Some(chunks) => {
            let copies = Copies::new_pool(PoolKind::Erasure, chunks.data + chunks.coding);
            places::place(view, &chosen.rule, copies, CRUSH_RULE.field).map_err(refused)?
        }
        None => None,
    };
    if let Some(step) = make(&source, &chosen, CODING_FIELD) {
        return Err(Box::new(Next {
            round: Round { steps: vec![step] },
            ..Next::default()
        }));
    }
    Ok(Made {
        profile: Some(source.name),
        rule: Some(chosen.name),
        doubt,
    })
}

/// The rule that the manifest asks for; none where it names none, or what it says holds.
pub(super) fn target(
    coding: &Coding,
    pool: &Pool,
    view: &ClusterView,
) -> Result<Option<Target>, Refusal> {
    let asked = match &coding.placement {
        Placement::Unsaid => return Ok(None),
        Placement::Rule(_) => None,
        Placement::Under(place) if lies_so(place, pool, view) => return Ok(None),
        Placement::Under(place) => Some(place),
    };
    // Of a pool with other chunks that is said, and nothing else is done.
    if !coded_otherwise(coding, pool, view).is_empty() {
        return Ok(None);
    }
    let source = source(coding, view)?;
    let chosen = chosen(coding, &source, view)?;
    // A profile is needed to make a rule of it only.
    let make = chosen
        .missing
        .then(|| make(&source, &chosen, CRUSH_RULE.field));
    let make = make.flatten();
    Ok(Some(Target {
        title: match asked {
            Some(place) => format!("{} ({place})", chosen.name),
            None => chosen.name.clone(),
        },
        name: chosen.name,
        rule: chosen.rule,
        make,
    }))
}

/// Whether the chunks of a pool lie as is asked for.
fn lies_so(asked: &Place, pool: &Pool, view: &ClusterView) -> bool {
    if view.crush().buckets.is_empty() {
        // A map from a file, without the tree: nobody can tell.
        return true;
    }
    let Some(rule) = view.crush().rules.get(&pool.crush_rule) else {
        return false;
    };
    match coding::place_of_rule(rule, view.crush()) {
        Some(place) => place == *asked,
        // Of more steps than that, as some plugins make them: its name says what it was made from.
        None => profile_of(pool, view).is_some_and(|keys| {
            coding::rule_name(&pool.erasure_code_profile, keys) == rule.name
                && coding::place_of_profile(keys) == *asked
        }),
    }
}

/// The profile that the manifest names, or the one that is made for what it says.
fn source(coding: &Coding, view: &ClusterView) -> Result<Source, Refusal> {
    let profiles = &view.map().erasure_code_profiles;
    if let Profile::Existing(name) = &coding.profile {
        return Ok(Source {
            name: name.clone(),
            keys: profiles.get(name).ok_or_else(|| no_profile(name))?.clone(),
            missing: false,
        });
    }
    let asked = coding.keys(view.map().require_osd_release);
    let asked = asked.unwrap_or_default();
    let name = coding::profile_name(&asked);
    let Some(present) = profiles.get(&name) else {
        return Ok(Source {
            name,
            keys: asked,
            missing: true,
        });
    };
    let differing = coding::differing(&asked, present);
    if !differing.is_empty() {
        return Err(changed(&name, &differing));
    }
    Ok(Source {
        name,
        keys: present.clone(),
        missing: false,
    })
}

/// The rule that the manifest names, or the one that is made from the profile.
fn chosen(coding: &Coding, source: &Source, view: &ClusterView) -> Result<Chosen, Refusal> {
    let place = coding::place_of_profile(&source.keys);
    match &coding.placement {
        Placement::Rule(name) => {
            return Ok(Chosen {
                name: name.clone(),
                rule: named_rule(name, view)?.clone(),
                missing: false,
            });
        }
        Placement::Under(asked) if *asked != place => {
            return Err(invalid(
                "crush",
                format!(
                    "the profile {} says {place}, and {asked} is asked for; the rule is made from the profile, so say the \
                     same or nothing in crush, or name a rule",
                    source.name
                ),
            ));
        }
        Placement::Under(_) | Placement::Unsaid => {}
    }
    let name = coding::rule_name(&source.name, &source.keys);
    let Some(rule) = rule_of_name(&name, view) else {
        return Ok(Chosen {
            rule: foreseen(&name, &place, &source.keys, view)?,
            name,
            missing: true,
        });
    };
    let found = coding::place_of_rule(rule, view.crush());
    if is_for_chunks(rule) && found.as_ref().is_none_or(|found| *found == place) {
        return Ok(Chosen {
            name,
            rule: rule.clone(),
            missing: false,
        });
    }
    let found = match found {
        _ if !is_for_chunks(rule) => "something for replicated pools".to_owned(),
        Some(found) => found.to_string(),
        None => "something else".to_owned(),
    };
    Err(invalid(
        CODING_FIELD,
        format!(
            "the CRUSH rule {name} should say {place} and says {found}: somebody changed it, and it is not overwritten; \
             rename it with `ceph osd crush rule rename {name} NAME`"
        ),
    ))
}

/// The rule that the manifest names.
fn named_rule<'view>(name: &str, view: &'view ClusterView) -> Result<&'view Rule, Refusal> {
    let Some(rule) = rule_of_name(name, view) else {
        return Err(invalid(
            "crush.rule",
            format!(
                "there is no CRUSH rule {name} in the cluster; make it with `ceph osd crush rule create-erasure {name} \
                 PROFILE`, or name a failureDomain instead"
            ),
        ));
    };
    if is_for_chunks(rule) {
        Ok(rule)
    } else {
        Err(invalid(
            "crush.rule",
            format!(
                "the CRUSH rule {name} is not one for erasure-coded pools; name another one, or a failureDomain instead"
            ),
        ))
    }
}

pub(super) fn rule_of_name<'view>(name: &str, view: &'view ClusterView) -> Option<&'view Rule> {
    let mut rules = view.crush().rules.values();
    rules.find(|rule| rule.name == name)
}

/// What will be in a rule that is made from a profile, as far as that is known.
fn foreseen(name: &str, place: &Place, keys: &Keys, view: &ClusterView) -> Result<Rule, Refusal> {
    let several = keys.get("crush-osds-per-failure-domain");
    let several = several.is_some_and(|number| !matches!(number.as_str(), "" | "0" | "1"));
    let own = keys.get("plugin").is_some_and(|plugin| plugin == "lrc");
    if several || own || view.crush().buckets.is_empty() {
        return Ok(Rule {
            kind: Rule::ERASURE,
            ..Rule::named(name)
        });
    }
    let class = place.device_class.as_deref();
    let crush = view.crush();
    let rule = crush.erasure_rule(name, &place.root, &place.failure_domain, class);
    rule.map_err(|missing| not_there(missing, &place.failure_domain, &place.root, class, crush))
}

/// What has to be made next: a rule is made from a profile that is committed.
fn make(source: &Source, chosen: &Chosen, field: &str) -> Option<Step> {
    let step = |command, desired: String, reason: String| Step {
        command,
        field: field.to_owned(),
        desired,
        observed: "absent".to_owned(),
        reason,
        last: false,
        token: None,
    };
    let profile = &source.name;
    if source.missing {
        let command = MonCommand::ProfileSet {
            profile: profile.clone(),
            values: coding::values(&source.keys),
        };
        let reason = "pools that ask for the same share this profile; its name says what is in it";
        return Some(step(
            command,
            format!("profile {profile}"),
            reason.to_owned(),
        ));
    }
    let rule = &chosen.name;
    let place = coding::place_of_profile(&source.keys);
    chosen.missing.then(|| {
        let command = MonCommand::RuleCreateErasure {
            rule: rule.clone(),
            profile: profile.clone(),
        };
        let reason = format!("pools of profile {profile} share this rule: {place}");
        step(command, format!("rule {rule}"), reason)
    })
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
