//! Erasure-code profiles, the rules made from them, and what a pool gets from both.

use std::collections::BTreeMap;

use super::pending::Pending;
use super::reply::{Accepted, Answer, EAGAIN, EBUSY, EINVAL, EIO, ENOENT, EPERM, Refusal, refuse};
use crate::ceph::crush_map::{Choice, Rule};
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::types::{PoolName, Release};

/// Keys and values of a profile.
type Keys = BTreeMap<String, String>;

/// `osd_pool_erasure_code_stripe_unit`.
const STRIPE_UNIT: i64 = 4096;

/// What a new pool gets from its profile.
pub(super) struct Coded {
    /// The profile's name.
    pub(super) profile: String,
    /// k+m
    pub(super) size: i64,
    /// One more than k, where more than one chunk may be lost.
    pub(super) min_size: i64,
    /// k times the bytes of a chunk.
    pub(super) stripe_width: i64,
}

impl Pending<'_> {
    /// The same content again is no change; another content needs a force that is never sent.
    pub(super) fn set_profile(&mut self, name: &str, values: &[String]) -> Answer {
        let keys = normalised(values, self.release())?;
        let known = self.map().erasure_code_profiles.get(name);
        let pending = self.changes.profiles.get(name).and_then(Option::as_ref);
        match pending.or(known) {
            Some(present) if *present == keys => Ok(Accepted::Nothing(String::new())),
            Some(present) => refuse(
                EPERM,
                format!(
                    "will not override erasure code profile {name} because the existing profile {} is different from \
                     the proposed profile {}",
                    braces(present),
                    braces(&keys)
                ),
            ),
            None => {
                self.changes.profiles.insert(name.to_owned(), Some(keys));
                Ok(Accepted::Proposed(String::new()))
            }
        }
    }

    /// Only what is committed counts as use.
    pub(super) fn remove_profile(&mut self, name: &str) -> Answer {
        if !self.map().erasure_code_profiles.contains_key(name) {
            return Ok(Accepted::Nothing(format!(
                "erasure-code-profile {name} does not exist"
            )));
        }
        let mut pools = self.map().pools.values();
        if let Some(user) = pools.find(|pool| pool.erasure_code_profile == name) {
            return refuse(
                EBUSY,
                format!(
                    "{} pool(s) are using the erasure code profile '{name}'",
                    user.name
                ),
            );
        }
        self.changes.profiles.insert(name.to_owned(), None);
        Ok(Accepted::Proposed(String::new()))
    }

    /// The profile has to be committed. A rule of that name is taken for this one, whatever it says.
    pub(super) fn create_erasure_rule(&mut self, name: &str, profile: &str) -> Answer {
        if self.crush().rule_named(name).is_some() {
            return Ok(Accepted::Nothing(format!("rule {name} already exists")));
        }
        let keys = self.profile(profile, EAGAIN)?;
        let said = |key: &str| keys.get(key).map_or("", String::as_str);
        let root = match said("crush-device-class") {
            "" => said("crush-root").to_owned(),
            class => format!("{}~{class}", said("crush-root")),
        };
        let buckets = &self.crush().buckets;
        let mut buckets_of_name = buckets.iter().filter(|(_, bucket)| bucket.name == root);
        let item = match buckets_of_name.next() {
            Some((item, _)) => *item,
            // Made from a view that does not tell the tree.
            None if buckets.is_empty() => -1,
            None => return refuse(ENOENT, format!("root item {root} does not exist")),
        };
        let domain = said("crush-failure-domain");
        let types = &self.crush().types;
        if !types.is_empty() && !types.values().any(|name| name == domain) {
            return refuse(EINVAL, format!("unknown type {domain}"));
        }
        let way = match domain {
            "osd" => Choice::Indep,
            _ => Choice::LeafIndep,
        };
        let rule = Rule::for_chunks(name, item, way, domain);
        let number = self.add_rule(rule);
        Ok(Accepted::Proposed(format!(
            "created rule {name} at {number}"
        )))
    }

    /// What a pool gets from a profile, which has to be committed.
    pub(super) fn coded(&self, profile: &str) -> Result<Coded, Refusal> {
        let keys = self.profile(profile, ENOENT)?;
        let (k, m) = (number(keys, "k")?, number(keys, "m")?);
        let unit = number(keys, "stripe_unit").unwrap_or(STRIPE_UNIT);
        Ok(Coded {
            profile: profile.to_owned(),
            size: k + m,
            min_size: k + (m - 1).clamp(0, 1),
            stripe_width: k * unit,
        })
    }

    /// The rule of a new pool, and whether it is of the right kind. An erasure-coded pool that names none gets one that
    /// is called as it is.
    pub(super) fn rule_of(
        &mut self,
        pool: &PoolName,
        rule: Option<&str>,
        profile: Option<&str>,
    ) -> Result<(i64, bool), Refusal> {
        let name = match (rule, profile) {
            (Some(rule), _) => rule,
            (None, None) => {
                let first = self.crush().rules.keys().next();
                return Ok((first.copied().unwrap_or(0), true));
            }
            (None, Some(profile)) => {
                self.create_erasure_rule(pool.as_str(), profile)?;
                pool.as_str()
            }
        };
        let (number, found) = self.rule(name)?;
        Ok((number, suits(found, profile.is_some())))
    }

    /// A rule by its name; one that comes in this round is waited for.
    pub(super) fn rule(&self, name: &str) -> Result<(i64, &Rule), Refusal> {
        let pending = self.changes.rules.iter();
        let pending = pending.filter_map(|(number, rule)| Some((number, rule.as_ref()?)));
        let mut all = self.crush().rules.iter().chain(pending);
        all.find(|(_, rule)| rule.name == name).map_or_else(
            || refuse(ENOENT, format!("specified rule {name} doesn't exist")),
            |(number, rule)| Ok((*number, rule)),
        )
    }

    /// Whether a rule is one for pools of this kind.
    pub(super) fn fits(&self, pool: &Pool, rule: i64) -> bool {
        let rule = self.crush().rules.get(&rule);
        rule.is_none_or(|rule| suits(rule, pool.kind == PoolKind::Erasure))
    }

    /// How many chunks a pool needs for I/O.
    pub(super) fn data_chunks(&self, profile: &str) -> Option<i64> {
        let keys = self.map().erasure_code_profiles.get(profile)?;
        number(keys, "k").ok()
    }

    /// A committed profile; `early` is the answer for one that comes in this round.
    fn profile(&self, name: &str, early: i32) -> Result<&Keys, Refusal> {
        if let Some(keys) = self.map().erasure_code_profiles.get(name) {
            return Ok(keys);
        }
        if self.changes.profiles.contains_key(name) {
            return refuse(early, format!("failed to load plugin using profile {name}"));
        }
        refuse(
            EINVAL,
            "cannot determine the erasure code plugin because there is no 'plugin' entry in the \
             erasure_code_profile {}",
        )
    }

    pub(super) fn add_rule(&mut self, rule: Rule) -> i64 {
        let pending = &self.changes.rules;
        let same = pending
            .iter()
            .find(|(_, other)| other.as_ref().is_some_and(|other| other.name == rule.name));
        if let Some((number, _)) = same {
            return *number;
        }
        let mut number = 0;
        while self.crush().rules.contains_key(&number) || pending.contains_key(&number) {
            number += 1;
        }
        self.changes.rules.insert(number, Some(rule));
        number
    }
}

/// Whether a rule is one for such pools. Of a rule of which only the name is known, nobody can tell.
fn suits(rule: &Rule, coded: bool) -> bool {
    match rule.kind {
        0 => true,
        Rule::ERASURE | 5 => coded,
        _ => !coded,
    }
}

/// Ceph writes down what it chooses itself.
fn normalised(values: &[String], release: Release) -> Result<Keys, Refusal> {
    let mut keys: Keys = values
        .iter()
        .filter_map(|value| value.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let newest = release >= Release::Tentacle;
    let plugin = if newest { "isa" } else { "jerasure" };
    let plugin = keys.entry("plugin".to_owned()).or_insert(plugin.to_owned());
    let plugin = plugin.clone();
    if !["isa", "jerasure", "clay", "shec", "lrc"].contains(&plugin.as_str()) {
        return refuse(
            EIO,
            format!("load dlopen(libec_{plugin}.so): cannot open shared object file"),
        );
    }
    let mut own = vec![
        ("crush-device-class", ""),
        ("crush-failure-domain", "host"),
        ("crush-root", "default"),
        ("technique", "reed_sol_van"),
        ("k", "2"),
        ("m", if newest { "2" } else { "1" }),
    ];
    if plugin == "jerasure" {
        own.extend([("jerasure-per-chunk-alignment", "false"), ("w", "8")]);
    }
    if release >= Release::Squid {
        own.extend([
            ("crush-num-failure-domains", "0"),
            ("crush-osds-per-failure-domain", "0"),
        ]);
    }
    for (key, value) in own {
        keys.entry(key.to_owned()).or_insert(value.to_owned());
    }
    Ok(keys)
}

fn number(keys: &Keys, key: &str) -> Result<i64, Refusal> {
    let text = keys.get(key).map_or("", String::as_str);
    text.parse()
        .or_else(|_| refuse(EINVAL, format!("could not convert {key}={text} to int")))
}

fn braces(keys: &Keys) -> String {
    let pairs: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{{{}}}", pairs.join(","))
}
