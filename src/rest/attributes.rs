//! The attributes of a pool: Calamari's names for what a `CephPool` asks for and the OSD map shows. Pure.
//!
//! [`ROWS`] is the one table: what a body may hold follows from it, which field of the spec that becomes, and what the
//! map has to show for it to be so already.

mod fields;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

pub use self::fields::{Ground, Set, fields, shows};
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::view::ClusterView;

/// What a body is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A pool is made.
    Create,
    /// A pool is changed.
    Change,
}

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text that is not empty.
    Text,
    /// A text, which may be empty.
    AnyText,
    /// A whole number from this one on.
    Number(i64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Whether an attribute may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It has to be.
    Required,
    /// It may be.
    Allowed,
    /// It is told and cannot be set.
    ReadOnly,
    /// It is set when the pool is made, and not after.
    AtCreation,
    /// Ceph has it no more; what to do instead.
    Dropped(&'static str),
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in bodies.
    pub name: &'static str,
    /// What its value has to be.
    pub shape: Shape,
    /// Whether it may be given when a pool is made.
    pub create: Use,
    /// Whether it may be given when one is changed.
    pub change: Use,
    /// The field of the spec that it becomes, where there is one.
    pub field: Option<&'static str>,
    /// What the map shows of it.
    pub shown: Option<fn(&ClusterView, &Pool) -> Value>,
    /// What it is, in a sentence.
    pub meaning: &'static str,
}

const fn row(name: &'static str, shape: Shape, field: &'static str) -> Row {
    Row {
        name,
        shape,
        create: Use::Allowed,
        change: Use::Allowed,
        field: Some(field),
        shown: None,
        meaning: "",
    }
}

/// How the object is made, of which the map shows nothing.
const fn aside(name: &'static str, shape: Shape, create: Use, change: Use) -> Row {
    Row {
        name,
        shape,
        create,
        change,
        field: None,
        shown: None,
        meaning: "",
    }
}

const fn told(name: &'static str) -> Row {
    aside(name, Shape::AnyText, Use::ReadOnly, Use::ReadOnly)
}

const fn dropped(name: &'static str, instead: &'static str) -> Row {
    let gone = Use::Dropped(instead);
    aside(name, Shape::AnyText, gone, gone)
}

const NO_RULESETS: &str = "Ceph has no rulesets any more (since release 12): give crush_rule, the name of a rule; \
    GET /api/v2/cluster/{fsid}/crush_rule lists them";
const NO_REPLAY: &str = "Ceph has it no more (since release 12), and needs no other: leave it out";

/// The table.
pub const ROWS: &[Row] = &[
    Row {
        create: Use::Required,
        shown: Some(|_, pool| json!(pool.name.as_str())),
        meaning: "The name of the pool.",
        ..row("name", Shape::Text, "poolName")
    },
    Row {
        change: Use::AtCreation,
        shown: Some(|_, pool| json!(kind_word(pool.kind))),
        meaning: "How the pool keeps data: copies, or chunks. Without it replicated.",
        ..row("type", Shape::Word(&["replicated", "erasure"]), "type")
    },
    Row {
        shown: Some(|_, pool| json!(pool.size)),
        meaning: "Copies. Not of an erasure-coded pool, whose profile says it.",
        ..row("size", Shape::Number(1), "replicated.size")
    },
    Row {
        shown: Some(|_, pool| json!(pool.min_size)),
        meaning: "Copies or chunks that must be there for I/O: at most the size; 0 is the default.",
        ..row("min_size", Shape::Number(0), "minSize")
    },
    Row {
        shown: Some(|_, pool| json!(pool.placement_groups.pg_num_target)),
        meaning: "Placement groups; Ceph's autoscaler is turned off for the pool.",
        ..row("pg_num", Shape::Number(1), "placementGroups.count")
    },
    Row {
        shown: Some(|_, pool| json!(pool.placement_groups.pgp_num_target)),
        meaning: "It follows pg_num: given, it has to be the same.",
        ..row("pgp_num", Shape::Number(1), "placementGroups.count")
    },
    Row {
        shown: Some(|_, pool| json!(pool.autoscale_mode)),
        meaning: "Whether Ceph chooses pg_num.",
        ..row(
            "pg_autoscale_mode",
            Shape::Word(&["on", "off", "warn"]),
            "placementGroups.autoscale",
        )
    },
    Row {
        shown: Some(|view, pool| json!(view.rule_name(pool))),
        meaning: "The name of the CRUSH rule.",
        ..row("crush_rule", Shape::Text, "crush.rule")
    },
    Row {
        shown: Some(|_, pool| json!(pool.quota_max_bytes)),
        meaning: "Bytes the pool may hold; 0 is no limit.",
        ..row("quota_max_bytes", Shape::Number(0), "quota.maxBytes")
    },
    Row {
        shown: Some(|_, pool| json!(pool.quota_max_objects)),
        meaning: "Objects the pool may hold; 0 is no limit.",
        ..row("quota_max_objects", Shape::Number(0), "quota.maxObjects")
    },
    Row {
        change: Use::AtCreation,
        shown: Some(|_, pool| json!(pool.erasure_code_profile)),
        meaning: "The profile of an erasure-coded pool; without it the cluster's default.",
        ..row(
            "erasure_code_profile",
            Shape::AnyText,
            "erasureCoded.profile",
        )
    },
    Row {
        meaning: "What uses the pool; without it a new pool has that of the server.",
        ..aside("application", Shape::Text, Use::Allowed, Use::Allowed)
    },
    Row {
        meaning: "The namespace of the CephPool that is made; without it that of the server.",
        ..aside("namespace", Shape::Text, Use::Allowed, Use::AtCreation)
    },
    Row {
        meaning: "The ClusterConnection to use, where several lead to the cluster.",
        ..aside("connection", Shape::Text, Use::Allowed, Use::AtCreation)
    },
    Row {
        meaning: "Confirms a step that could lose data: the request that was refused names it.",
        ..aside("token", Shape::Text, Use::Allowed, Use::Allowed)
    },
    told("id"),
    told("full"),
    told("hashpspool"),
    told("pg_num_target"),
    told("pgp_num_target"),
    told("applications"),
    told("last_change"),
    dropped("crush_ruleset", NO_RULESETS),
    dropped("crash_replay_interval", NO_REPLAY),
];

fn kind_word(kind: PoolKind) -> &'static str {
    match kind {
        PoolKind::Replicated => "replicated",
        PoolKind::Erasure => "erasure",
    }
}

/// The row of an attribute.
pub fn row_of(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// The attribute that a field of the spec is, such as `spec.quota.maxBytes`.
pub fn attribute_of(field: &str) -> Option<&'static str> {
    let field = field.trim_start_matches('.');
    let field = field.strip_prefix("spec.").unwrap_or(field);
    let of = |row: &&Row| row.field.is_some_and(|its| its == field);
    ROWS.iter().find(of).map(|row| row.name)
}

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such attribute.
    Unknown(String),
    /// It has to be given.
    Missing(&'static str),
    /// Its value is of another type, or out of its bounds.
    Wrong {
        /// Which.
        name: &'static str,
        /// What it has to be.
        shape: Shape,
    },
    /// It cannot be given here.
    NotHere {
        /// Which.
        name: &'static str,
        /// Why not.
        why: Use,
    },
    /// It does not go with something else.
    Unfit {
        /// Which.
        name: &'static str,
        /// With what, and what helps.
        why: String,
    },
    /// Nothing is asked for.
    Empty,
}

impl Fault {
    /// The attribute that it is about.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Unknown(name) => Some(name),
            Self::Missing(name)
            | Self::Wrong { name, .. }
            | Self::NotHere { name, .. }
            | Self::Unfit { name, .. } => Some(name),
            Self::Empty => None,
        }
    }

    fn unfit(name: &'static str, why: impl Into<String>) -> Self {
        Self::Unfit {
            name,
            why: why.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(_) => formatter.write_str("there is no such attribute"),
            Self::Missing(_) => formatter.write_str("it has to be given"),
            Self::Wrong { shape, .. } => write!(formatter, "it has to be {shape}"),
            Self::NotHere { why, .. } => match why {
                Use::Dropped(instead) => formatter.write_str(instead),
                Use::AtCreation => {
                    formatter.write_str("it is given when a pool is made, and cannot be changed")
                }
                Use::ReadOnly | Use::Required | Use::Allowed => {
                    formatter.write_str("it is read only")
                }
            },
            Self::Unfit { why, .. } => formatter.write_str(why),
            Self::Empty => {
                formatter.write_str("the body asks for nothing: give at least one attribute")
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.write_str("a text that is not empty"),
            Self::AnyText => formatter.write_str("a text"),
            Self::Number(least) => write!(formatter, "a whole number, {least} or more"),
            Self::Word(words) => write!(formatter, "one of {}", words.join(", ")),
        }
    }
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::AnyText => value.is_string(),
            Self::Number(least) => value.as_i64().is_some_and(|number| number >= least),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }
}

/// A body whose attributes are known, allowed and of the right type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked(BTreeMap<&'static str, Value>);

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn read(body: &Map<String, Value>, deed: Deed) -> Result<Self, Vec<Fault>> {
        let mut asked = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, value) in body {
            let Some(row) = row_of(name) else {
                faults.push(Fault::Unknown(name.clone()));
                continue;
            };
            let name = row.name;
            match row.on(deed) {
                Use::Required | Use::Allowed if row.shape.fits(value) => {
                    asked.insert(name, value.clone());
                }
                Use::Required | Use::Allowed => faults.push(Fault::Wrong {
                    name,
                    shape: row.shape,
                }),
                why => faults.push(Fault::NotHere { name, why }),
            }
        }
        let missing = ROWS
            .iter()
            .filter(|row| row.on(deed) == Use::Required && !body.contains_key(row.name));
        faults.extend(missing.map(|row| Fault::Missing(row.name)));
        if body.is_empty() && deed == Deed::Change {
            faults.push(Fault::Empty);
        }
        if faults.is_empty() {
            Ok(Self(asked))
        } else {
            Err(faults)
        }
    }

    /// A text that was given and is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// A number that was given.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }
}

impl Row {
    /// Whether it may be given.
    pub const fn on(&self, deed: Deed) -> Use {
        match deed {
            Deed::Create => self.create,
            Deed::Change => self.change,
        }
    }
}

#[cfg(test)]
mod tests;
