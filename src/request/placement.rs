//! Where the copies of a pool shall lie: by an existing CRUSH rule, or by one that is made here.
//!
//! [`capacity`] proves what a rule can place. A rule made here is called by a hash of what is in it and is never
//! changed, so that a name says the content: two pools that ask for the same share one.

pub mod capacity;

use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::coding::MADE;
use super::refusal::Refusal;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::CrushSpec;
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::{CrushMap, NoSuch, Rule, Step};
use crate::ceph::settings::{CRUSH_RULE, nearest};

/// Bytes of the hash in a name.
const SHOWN: usize = 6;
/// The CRUSH bucket to choose under where a manifest names none.
const DEFAULT_ROOT: &str = "default";

/// What records and plans call a rule that was made for an object.
pub fn rule_field(rule: &str) -> String {
    format!("crush[{rule}]")
}

/// The reverse of [`rule_field`].
pub fn parse_rule_field(field: &str) -> Option<&str> {
    field.strip_prefix("crush[")?.strip_suffix(']')
}

/// What a manifest says of the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// An existing rule by its name.
    Existing(String),
    /// A rule for what the manifest says.
    Made(MadeRule),
}

/// What is in a rule that is made here, for replicated pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeRule {
    /// The type of bucket that no two copies share.
    pub failure_domain: String,
    /// The bucket to choose under.
    pub root: String,
    /// Only OSDs of this class.
    pub device_class: Option<String>,
}

impl fmt::Display for MadeRule {
    /// What a person reads behind its name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no two copies in one {}", self.failure_domain)?;
        if let Some(class) = &self.device_class {
            write!(formatter, ", on OSDs of class {class}")?;
        }
        write!(formatter, ", below {}", self.root)
    }
}

impl MadeRule {
    /// The name that says what is in it.
    pub fn name(&self) -> String {
        let class = self.device_class.as_deref().unwrap_or_default();
        // Lengths first, so that no two lists of parts are one text.
        let mut text = String::new();
        for part in ["replicated", &self.failure_domain, &self.root, class] {
            let _ = write!(text, "{}:{part}", part.len());
        }
        let digest = Sha256::digest(text);
        let shown = digest.iter().take(SHOWN);
        shown.fold(MADE.to_owned(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    /// The command that makes it.
    pub fn command(&self) -> MonCommand {
        MonCommand::RuleCreateReplicated {
            rule: self.name(),
            root: self.root.clone(),
            bucket_type: self.failure_domain.clone(),
            class: self.device_class.clone(),
        }
    }

    /// Whether a rule of the map is one that is made here: its name says what is in it.
    pub fn is_one(name: &str, crush: &CrushMap) -> bool {
        let rule = crush
            .rule_named(name)
            .and_then(|number| crush.rules.get(&number));
        rule.and_then(|rule| Self::read(rule, crush))
            .is_some_and(|made| made.name() == name)
    }

    /// What a rule would have been made of.
    fn read(rule: &Rule, crush: &CrushMap) -> Option<Self> {
        let [
            Step::Take { item },
            Step::Choose { bucket_type, .. },
            Step::Emit,
        ] = rule.steps.as_slice()
        else {
            return None;
        };
        let bucket = crush.buckets.get(item)?;
        let (root, class) = match bucket.shadow_of() {
            Some((root, class)) => (root, Some(class)),
            None => (bucket.name.as_str(), None),
        };
        let made = Self {
            failure_domain: bucket_type.clone(),
            root: root.to_owned(),
            device_class: class.map(str::to_owned),
        };
        let same = made.rule(crush).is_ok_and(|made| made.says_the_same(rule));
        same.then_some(made)
    }

    fn rule(&self, crush: &CrushMap) -> Result<Rule, Refusal> {
        let class = self.device_class.as_deref();
        let rule = crush.replicated_rule(&self.name(), &self.root, &self.failure_domain, class);
        rule.map_err(|missing| not_there(missing, &self.failure_domain, &self.root, class, crush))
    }
}

impl Placement {
    /// What the block of a manifest says; `None` where it says nothing.
    pub fn of(spec: &CrushSpec) -> Option<Self> {
        if let Some(rule) = &spec.rule {
            return Some(Self::Existing(rule.clone()));
        }
        let failure_domain = spec.failure_domain.clone()?;
        let root = spec.root.as_deref().unwrap_or(DEFAULT_ROOT).to_owned();
        Some(Self::Made(MadeRule {
            failure_domain,
            root,
            device_class: spec.device_class.clone(),
        }))
    }

    /// The rule's name.
    pub fn name(&self) -> String {
        match self {
            Self::Existing(name) => name.clone(),
            Self::Made(made) => made.name(),
        }
    }

    /// What is in the rule, whether it is there yet or not.
    ///
    /// # Errors
    ///
    /// There is no such rule, nothing to make one of, or another one has its name.
    pub fn find(&self, crush: &CrushMap) -> Result<Wanted, Refusal> {
        let name = self.name();
        let present = crush
            .rule_named(&name)
            .and_then(|number| Some((number, crush.rules.get(&number)?)));
        let wanted = |made| {
            present.map(|(_, rule)| Wanted {
                rule: rule.clone(),
                missing: made,
            })
        };
        let made = match self {
            Self::Existing(_) => return wanted(None).ok_or_else(|| no_rule(&name, crush)),
            Self::Made(made) => made,
        };
        let rule = made.rule(crush)?;
        match present {
            None => Ok(Wanted {
                rule,
                missing: Some(made.clone()),
            }),
            Some((_, present)) if present.says_the_same(&rule) => Ok(Wanted {
                rule,
                missing: None,
            }),
            Some(_) => Err(Refusal::new(
                Reason::Blocked,
                Some(CRUSH_RULE.field),
                format!(
                    "the CRUSH rule {name} was made by Poolwright for {made}, and somebody has put something else into \
                     it; give that rule another name: `ceph osd crush rule rename {name} other-name`"
                ),
            )),
        }
    }
}

/// A rule that a pool shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is in it.
    pub rule: Rule,
    /// What it has to be made of, where it is not there.
    pub missing: Option<MadeRule>,
}

/// What a rule that shall be made names and the cluster has not.
pub fn not_there(
    missing: NoSuch,
    failure_domain: &str,
    root: &str,
    device_class: Option<&str>,
    crush: &CrushMap,
) -> Refusal {
    let (field, what, name, known): (_, _, _, Vec<&str>) = match missing {
        NoSuch::Root => {
            let buckets = crush.buckets.values();
            let real = buckets.filter(|bucket| bucket.shadow_of().is_none());
            let names = real.map(|bucket| bucket.name.as_str()).collect();
            ("crush.root", "bucket", root, names)
        }
        NoSuch::Type => {
            let names = crush.types.values().map(String::as_str).collect();
            (
                "crush.failureDomain",
                "type of bucket",
                failure_domain,
                names,
            )
        }
        NoSuch::Class => {
            let name = device_class.unwrap_or_default();
            let names = crush.classes().into_iter().collect();
            ("crush.deviceClass", "device class", name, names)
        }
    };
    let near = nearest(name, known.iter().copied())
        .map_or_else(String::new, |near| format!("; perhaps {near} is meant"));
    Refusal::new(
        Reason::InvalidSpec,
        Some(CRUSH_RULE.field),
        format!(
            "{field} is {name}, and the cluster's CRUSH map has no such {what}{near}. It has {}",
            listed(known)
        ),
    )
}

fn no_rule(name: &str, crush: &CrushMap) -> Refusal {
    let known: Vec<&str> = crush
        .rules
        .values()
        .map(|rule| rule.name.as_str())
        .collect();
    let near = nearest(name, known.iter().copied())
        .map_or_else(String::new, |near| format!("; perhaps {near} is meant"));
    Refusal::new(
        Reason::InvalidSpec,
        Some(CRUSH_RULE.field),
        format!(
            "the cluster has no CRUSH rule {name}{near}. It has {}; correct crush.rule, make the rule, or name a \
             crush.failureDomain instead, for which a rule is made",
            listed(known)
        ),
    )
}

/// Some of the names, for a sentence.
fn listed(mut names: Vec<&str>) -> String {
    const MOST: usize = 8;
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.as_slice(), more) {
        ([], _) => "none".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    }
}
