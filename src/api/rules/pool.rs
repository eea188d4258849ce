//! The rules of a `CephPool`: which pool it is, its type, erasure coding; the rest is in [`super::pool_settings`].

use serde_json::Value;

use super::texts::size;
use super::{Rule, has, int, on, pool_settings, text, unless_both};
use crate::api::v1alpha1::{MAX_POOL_OBJECT_NAME, PRIVATE_DELETE, PRIVATE_NEW};

/// The longest name of a pool in bytes, so that it fits wherever Ceph and its tools take one.
const MAX_POOL_NAME: usize = 128;

/// Erasure-code plugins that need no more than k and m.
const PLUGINS: [&str; 4] = ["isa", "jerasure", "clay", "shec"];

/// Techniques of these plugins.
const TECHNIQUES: [&str; 10] = [
    "reed_sol_van",
    "reed_sol_r6_op",
    "cauchy",
    "cauchy_orig",
    "cauchy_good",
    "liberation",
    "blaum_roth",
    "liber8tion",
    "single",
    "multiple",
];

/// Fields of an erasure-code profile, which no pool can change.
const PROFILE_FIELDS: [&str; 6] = [
    "dataChunks",
    "codingChunks",
    "plugin",
    "technique",
    "stripeUnit",
    "profile",
];

/// Every rule.
pub(super) fn rules() -> Vec<Rule> {
    let mut rules = identity();
    rules.extend(kind());
    rules.extend(erasure_coding());
    rules.extend(pool_settings::rules());
    rules
}

/// Which pool it is: names and the connection.
fn identity() -> Vec<Rule> {
    vec![
        Rule::new(
            "",
            format!("size(self.metadata.name) <= {MAX_POOL_OBJECT_NAME}"),
            "the name of a CephPool is at most 63 characters long; a longer name for the pool goes into spec.poolName",
            |object| object_name(object).chars().count() <= MAX_POOL_OBJECT_NAME,
        )
        .blames("metadata.name"),
        Rule::new(
            "",
            format!("has(self.spec.poolName) || {}", not_private("self.metadata.name")),
            "names with .poolwright-new- or .poolwright-del- are Poolwright's own",
            |object| object.get("spec").is_some_and(|spec| has(spec, "poolName")) || !is_private(object_name(object)),
        )
        .blames("metadata.name"),
        Rule::change(
            "spec.connectionRef",
            "self == oldSelf",
            "connectionRef cannot be changed: a pool does not move between clusters",
            |old, new| old == new,
        ),
        Rule::change(
            "spec",
            "!has(oldSelf.poolName) || has(self.poolName)",
            "poolName cannot be removed once it is set; a new value renames the pool",
            |old, new| !has(old, "poolName") || has(new, "poolName"),
        ),
        Rule::new(
            "spec.poolName",
            format!("size(bytes(self)) <= {MAX_POOL_NAME}"),
            "poolName is at most 128 bytes long",
            |value| value.as_str().unwrap_or_default().len() <= MAX_POOL_NAME,
        ),
        Rule::new(
            "spec.poolName",
            "!self.matches('\\\\p{Cc}')",
            "poolName cannot contain control characters",
            |value| !value.as_str().unwrap_or_default().contains(char::is_control),
        ),
        Rule::new(
            "spec.poolName",
            "!self.matches('^\\\\p{Z}')",
            "poolName cannot begin with a blank",
            |value| !value.as_str().unwrap_or_default().starts_with(|c: char| c.is_whitespace() && !c.is_control()),
        ),
        Rule::new(
            "spec.poolName",
            not_private("self"),
            "names with .poolwright-new- or .poolwright-del- are Poolwright's own",
            |value| !is_private(value.as_str().unwrap_or_default()),
        ),
    ]
}

/// The type of the pool and what belongs to it.
fn kind() -> Vec<Rule> {
    vec![
        Rule::change(
            "spec.type",
            "self == oldSelf",
            "type cannot be changed: make another pool and move the data",
            |old, new| old == new,
        ),
        Rule::new(
            "spec",
            "(self.type == 'Replicated') == has(self.replicated) && (self.type == 'ErasureCoded') == \
             has(self.erasureCoded)",
            "type Replicated goes with the block replicated, type ErasureCoded with the block erasureCoded; exactly that \
             one has to be there",
            |spec| {
                is_replicated(spec) == has(spec, "replicated") && is_erasure_coded(spec) == has(spec, "erasureCoded")
            },
        ),
        Rule::new(
            "spec",
            "self.type != 'Replicated' || !has(self.minSize) || self.minSize <= (has(self.replicated) && \
             has(self.replicated.size) ? self.replicated.size : 10)",
            "minSize cannot be more than replicated.size, nor more than 10 copies",
            |spec| {
                let size = spec.get("replicated").and_then(|block| int(block, "size")).unwrap_or(10);
                !is_replicated(spec) || int(spec, "minSize").is_none_or(|least| least <= size)
            },
        )
        .blames("minSize"),
        Rule::new(
            "spec",
            "!has(self.minSize) || !has(self.erasureCoded) || !has(self.erasureCoded.dataChunks) || \
             !has(self.erasureCoded.codingChunks) || (self.minSize >= self.erasureCoded.dataChunks && self.minSize <= \
             self.erasureCoded.dataChunks + self.erasureCoded.codingChunks)",
            "minSize of an erasure-coded pool lies between dataChunks and dataChunks + codingChunks",
            |spec| {
                let chunks = |field| spec.get("erasureCoded").and_then(|block| int(block, field));
                let least = int(spec, "minSize");
                unless_both(least, chunks("dataChunks").zip(chunks("codingChunks")), |least, (data, coding)| {
                    (data..=data + coding).contains(&least)
                })
            },
        )
        .blames("minSize"),
        Rule::new(
            "spec",
            "self.type == 'ErasureCoded' || !has(self.flags) || !has(self.flags.fastRead) || !self.flags.fastRead",
            "fastRead is for erasure-coded pools only",
            |spec| is_erasure_coded(spec) || !spec.get("flags").is_some_and(|flags| on(flags, "fastRead")),
        )
        .blames("flags.fastRead"),
    ]
}

/// Erasure coding.
fn erasure_coding() -> Vec<Rule> {
    vec![
        Rule::new(
            "spec.erasureCoded",
            "has(self.profile) ? !has(self.dataChunks) && !has(self.codingChunks) && !has(self.plugin) && \
             !has(self.technique) && !has(self.stripeUnit) : has(self.dataChunks) && has(self.codingChunks)",
            "name either dataChunks and codingChunks (with plugin, technique and stripeUnit as wanted), or an existing \
             profile instead of them",
            |block| {
                if has(block, "profile") {
                    PROFILE_FIELDS.iter().all(|field| *field == "profile" || !has(block, field))
                } else {
                    has(block, "dataChunks") && has(block, "codingChunks")
                }
            },
        ),
        Rule::new(
            "spec.erasureCoded.plugin",
            format!("self in ['{}']", PLUGINS.join("', '")),
            "plugin is isa, jerasure, clay or shec; for another one make a profile in Ceph and name it in profile",
            |value| value.as_str().is_some_and(|plugin| PLUGINS.contains(&plugin)),
        ),
        Rule::new(
            "spec.erasureCoded.technique",
            format!("self in ['{}']", TECHNIQUES.join("', '")),
            "technique is one of the plugin's, such as reed_sol_van, cauchy or cauchy_good",
            |value| value.as_str().is_some_and(|technique| TECHNIQUES.contains(&technique)),
        ),
        size("spec.erasureCoded.stripeUnit"),
        Rule::change(
            "spec.erasureCoded",
            PROFILE_FIELDS
                .map(|field| format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"))
                .join(" && "),
            "dataChunks, codingChunks, plugin, technique, stripeUnit and profile cannot be changed: make another pool and \
             move the data",
            |old, new| PROFILE_FIELDS.iter().all(|field| old.get(field) == new.get(field)),
        ),
        Rule::change(
            "spec.erasureCoded",
            "!(has(oldSelf.overwrites) && oldSelf.overwrites && has(self.overwrites) && !self.overwrites)",
            "overwrites cannot be turned off again: Ceph has no way back",
            |old, new| !on(old, "overwrites") || new.get("overwrites") != Some(&Value::Bool(false)),
        )
        .blames("overwrites"),
        Rule::change(
            "spec.erasureCoded",
            "!(has(oldSelf.optimizations) && oldSelf.optimizations && has(self.optimizations) && !self.optimizations)",
            "optimizations cannot be turned off again: Ceph has no way back",
            |old, new| !on(old, "optimizations") || new.get("optimizations") != Some(&Value::Bool(false)),
        )
        .blames("optimizations"),
    ]
}

/// The object's own name.
fn object_name(object: &Value) -> &str {
    object
        .get("metadata")
        .and_then(|metadata| text(metadata, "name"))
        .unwrap_or_default()
}

/// Whether a name is one that only the controller gives.
fn is_private(name: &str) -> bool {
    name.contains(PRIVATE_NEW) || name.contains(PRIVATE_DELETE)
}

/// CEL for a name that is not private.
fn not_private(what: &str) -> String {
    format!("(!{what}.contains('{PRIVATE_NEW}') && !{what}.contains('{PRIVATE_DELETE}'))")
}

/// Whether the spec is of type Replicated.
fn is_replicated(spec: &Value) -> bool {
    text(spec, "type") == Some("Replicated")
}

/// Whether the spec is of type ErasureCoded.
fn is_erasure_coded(spec: &Value) -> bool {
    text(spec, "type") == Some("ErasureCoded")
}
