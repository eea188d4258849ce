//! The attributes of a pool: Calamari's names for what a `CephPool` asks for and the OSD map shows. Pure.
//!
//! [`ROWS`] is the one table: what a body may hold follows from it, which field of the spec that becomes, and what the
//! map has to show for it to be so already.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

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
    if crate::ceph::types::PoolName::new(name).is_private() {
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

#[cfg(test)]
mod tests;
