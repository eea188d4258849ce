//! What was made for a pool that is gone, or that never came to be: it goes after it, where nobody uses it.

use std::collections::{BTreeMap, BTreeSet};

use super::erasure::{is_for_chunks, rule_of_name};
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::Pool;
use crate::ceph::view::ClusterView;
use crate::request::coding::{self, Keys, MADE, Place, Placement, Profile};
use crate::request::placement::{parse_rule_field, rule_field};
use crate::request::round::{Round, Step};
use crate::request::wish::Wish;

/// Profiles and rules that may be left behind, by their names. Only what was made here: those of others are theirs to
/// remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    profiles: BTreeSet<String>,
    /// Rules, and what their names say.
    rules: BTreeMap<String, Place>,
}

impl Leftover {
    /// What this pool has.
    pub fn of(pool: &Pool, view: &ClusterView) -> Self {
        let rule = view.crush().rule_name(pool.crush_rule);
        let profile = Some(pool.erasure_code_profile.as_str());
        Self::named(profile.into_iter().chain(rule), view)
    }

    /// Profiles and rules of these names, as far as they were made here. A profile and the rule made from it have one
    /// name, also where the pool has another profile.
    fn named<'a>(names: impl Iterator<Item = &'a str>, view: &ClusterView) -> Self {
        let names: Vec<&str> = names.filter(|name| name.starts_with(MADE)).collect();
        let place = |rule: &str| {
            let mut sources = view.map().erasure_code_profiles.iter();
            sources
                .find(|(profile, keys)| coding::rule_name(profile, keys) == rule)
                .map(|(_, keys)| coding::place_of_profile(keys))
        };
        let rules = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), place(name)?)));
        Self {
            rules: rules.collect(),
            profiles: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// What this object had made for its pool, as is recorded.
    fn recorded(wish: &Wish, view: &ClusterView) -> Self {
        let fields = wish.record.applied.iter();
        Self::named(fields.filter_map(|field| parse_rule_field(field)), view)
    }

    /// What is made for a pool that is wished so: also an earlier process may have made it.
    pub fn wished(wish: &Wish, view: &ClusterView) -> Self {
        let recorded = Self::recorded(wish, view);
        let Some(coding) = &wish.coding else {
            return recorded;
        };
        let map = view.map();
        let rule = |profile: &str, keys: &Keys| match coding.placement {
            Placement::Rule(_) => BTreeMap::new(),
            Placement::Unsaid | Placement::Under(_) => BTreeMap::from([(
                coding::rule_name(profile, keys),
                coding::place_of_profile(keys),
            )]),
        };
        recorded.and(match &coding.profile {
            Profile::Existing(name) => Self {
                profiles: made(name),
                rules: map
                    .erasure_code_profiles
                    .get(name)
                    .map(|keys| rule(name, keys))
                    .unwrap_or_default(),
            },
            Profile::Made { .. } => {
                let keys = coding.keys(map.require_osd_release).unwrap_or_default();
                let name = coding::profile_name(&keys);
                Self {
                    rules: rule(&name, &keys),
                    profiles: made(&name),
                }
            }
        })
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.profiles.extend(other.profiles);
        self.rules.extend(other.rules);
        self
    }
}

fn made(profile: &str) -> BTreeSet<String> {
    let ours = profile.starts_with(MADE);
    ours.then(|| profile.to_owned()).into_iter().collect()
}

/// Removes what no pool uses any more and is still what its name says: what somebody put there instead stays.
pub fn leftover_round(left: &Leftover, view: &ClusterView) -> Round {
    let map = view.map();
    let used = |uses: &dyn Fn(&Pool) -> bool| map.pools.values().any(|pool| uses(pool));
    let rules = left.rules.iter().filter(|(name, place)| {
        let Some(number) = view.crush().rule_named(name) else {
            return false;
        };
        let says_so = rule_of_name(name, view).is_some_and(|rule| {
            is_for_chunks(rule)
                && coding::place_of_rule(rule, view.crush()).as_ref() == Some(*place)
        });
        says_so && !used(&|pool| pool.crush_rule == number)
    });
    let profiles = left.profiles.iter().filter(|name| {
        let keys = map.erasure_code_profiles.get(*name);
        // It says what is in the rule that is called as it is.
        let number = view.crush().rule_named(name);
        keys.is_some_and(|keys| coding::says_its_name(name, keys))
            && !used(&|pool| pool.erasure_code_profile == **name || Some(pool.crush_rule) == number)
    });
    let rules = rules.map(|(rule, _)| {
        let command = MonCommand::RuleRemove { rule: rule.clone() };
        step(command, rule)
    });
    let profiles = profiles.map(|profile| {
        let command = MonCommand::ProfileRemove {
            profile: profile.clone(),
        };
        step(command, profile)
    });
    Round {
        steps: rules.chain(profiles).collect(),
    }
}

/// What was made for this object, and what no pool has any more: its pool lies elsewhere by now.
pub(super) fn let_go(wish: &Wish, view: &ClusterView) -> Vec<Step> {
    if wish.coding.is_none() {
        return Vec::new();
    }
    leftover_round(&Leftover::recorded(wish, view), view).steps
}

fn step(command: MonCommand, name: &str) -> Step {
    Step {
        command,
        field: rule_field(name),
        desired: "absent".to_owned(),
        observed: name.to_owned(),
        reason: "made for pools of which none has it any more".to_owned(),
        last: false,
        token: None,
    }
}
