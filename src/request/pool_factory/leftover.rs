//! What was made for a pool that is gone, or that never came to be: it goes after it, where nobody uses it.

use std::collections::{BTreeMap, BTreeSet};

use super::erasure::{CODING_FIELD, is_for_chunks, rule_of_name};
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::Pool;
use crate::ceph::view::ClusterView;
use crate::request::coding::{self, Keys, MADE, Place, Placement, Profile};
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
        let profiles = &view.map().erasure_code_profiles;
        let rule = view.crush().rule_name(pool.crush_rule);
        let place = |rule: &str| {
            let mut sources = profiles.iter();
            sources
                .find(|(profile, keys)| coding::rule_name(profile, keys) == rule)
                .map(|(_, keys)| coding::place_of_profile(keys))
        };
        let rule = rule.filter(|rule| rule.starts_with(MADE));
        Self {
            profiles: made(&pool.erasure_code_profile),
            rules: rule
                .and_then(|rule| Some((rule.to_owned(), place(rule)?)))
                .into_iter()
                .collect(),
        }
    }

    /// What is made for a pool that is wished so: also an earlier process may have made it.
    pub fn wished(wish: &Wish, view: &ClusterView) -> Self {
        let Some(coding) = &wish.coding else {
            return Self::default();
        };
        let map = view.map();
        let rule = |profile: &str, keys: &Keys| match coding.placement {
            Placement::Rule(_) => BTreeMap::new(),
            Placement::Unsaid | Placement::Under(_) => BTreeMap::from([(
                coding::rule_name(profile, keys),
                coding::place_of_profile(keys),
            )]),
        };
        match &coding.profile {
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
        }
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
        keys.is_some_and(|keys| coding::says_its_name(name, keys))
            && !used(&|pool| pool.erasure_code_profile == **name)
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

fn step(command: MonCommand, name: &str) -> Step {
    Step {
        command,
        field: CODING_FIELD.to_owned(),
        desired: "absent".to_owned(),
        observed: name.to_owned(),
        reason: "made for pools of which none is left".to_owned(),
        last: false,
        token: None,
    }
}
