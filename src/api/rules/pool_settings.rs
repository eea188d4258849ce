//! The rules of a `CephPool` about placement, applications, quotas, compression and parameters.

use serde_json::Value;

use super::texts::{bytes, decimal, is_decimal, is_word, size, size_or_zero, word};
use super::{Rule, has, int, keys, on, text, unless_both};
use crate::api::v1alpha1::RESERVED_KEY_PREFIX;
use crate::ceph::settings::{self, PoolKind};

/// Every rule.
pub(super) fn rules() -> Vec<Rule> {
    let mut rules = placement();
    rules.extend(applications());
    rules.extend(options());
    rules.extend(parameters());
    rules
}

/// CRUSH and placement groups.
fn placement() -> Vec<Rule> {
    const CRUSH_NAME: &str = "self.matches('^[A-Za-z0-9_.-]+$')";
    const CRUSH_SENTENCE: &str = "names in CRUSH consist of letters, digits and _ . -";
    let crush_name = |at| Rule::new(at, CRUSH_NAME, CRUSH_SENTENCE, |value| word(value, "_.-"));
    vec![
        Rule::new(
            "spec.crush",
            "has(self.rule) ? !has(self.failureDomain) && !has(self.root) && !has(self.deviceClass) : \
             has(self.failureDomain)",
            "name either an existing rule, or a failureDomain (with root and deviceClass as wanted)",
            |crush| {
                let made = ["failureDomain", "root", "deviceClass"].iter().any(|field| has(crush, field));
                if has(crush, "rule") { !made } else { has(crush, "failureDomain") }
            },
        ),
        crush_name("spec.crush.rule"),
        crush_name("spec.crush.failureDomain"),
        crush_name("spec.crush.root"),
        crush_name("spec.crush.deviceClass"),
        Rule::new(
            "spec.placementGroups",
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min cannot be more than max",
            |groups| unless_both(int(groups, "min"), int(groups, "max"), |min, max| min <= max),
        )
        .blames("min"),
        Rule::new(
            "spec.placementGroups",
            "!has(self.count) || ((!has(self.min) || self.min <= self.count) && (!has(self.max) || self.count <= self.max))",
            "count lies between min and max",
            |groups| {
                let count = int(groups, "count");
                unless_both(int(groups, "min"), count, |min, count| min <= count)
                    && unless_both(count, int(groups, "max"), |count, max| count <= max)
            },
        )
        .blames("count"),
        Rule::new(
            "spec.placementGroups",
            "!has(self.targetSizeBytes) || !has(self.targetSizeRatio)",
            "name targetSizeBytes or targetSizeRatio, not both: Ceph would ignore the bytes",
            |groups| !has(groups, "targetSizeBytes") || !has(groups, "targetSizeRatio"),
        ),
        Rule::new(
            "spec.placementGroups.bias",
            decimal(Some("1000.0")),
            "bias is a decimal number in quotes, above 0 and at most 1000, such as \"1.0\" or \"4\"",
            |value| is_decimal(value, 1000.0),
        ),
        size("spec.placementGroups.targetSizeBytes"),
        Rule::new(
            "spec.placementGroups.targetSizeRatio",
            decimal(None),
            "targetSizeRatio is a decimal number in quotes, above 0, such as \"0.2\"",
            |value| is_decimal(value, f64::MAX),
        ),
        Rule::new(
            "spec",
            "!has(self.flags) || !has(self.flags.noPgChange) || !self.flags.noPgChange || !has(self.placementGroups) || \
             !has(self.placementGroups.autoscale) || self.placementGroups.autoscale != 'Enabled'",
            "with noPgChange the autoscaler can change nothing: set placementGroups.autoscale to Disabled or Warn, or \
             leave noPgChange out",
            |spec| {
                let frozen = spec.get("flags").is_some_and(|flags| on(flags, "noPgChange"));
                let scaled = spec.get("placementGroups").and_then(|groups| text(groups, "autoscale"));
                !frozen || scaled != Some("Enabled")
            },
        )
        .blames("flags.noPgChange"),
    ]
}

/// Applications, and the keys and values under them. One odd character in a key or value makes `ceph osd dump` invalid
/// JSON for everybody, so these are narrower than Ceph's own.
fn applications() -> Vec<Rule> {
    vec![
        Rule::new(
            "spec",
            "self.adoptionPolicy == 'IfUnowned' || self.management == 'Observe' || (has(self.applications) && \
             size(self.applications) > 0)",
            "name at least one application, such as rbd, cephfs or rgw: a pool is not created without",
            |spec| {
                let named = spec.get("applications").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
                named
                    || text(spec, "adoptionPolicy") == Some("IfUnowned")
                    || text(spec, "management") == Some("Observe")
            },
        )
        .blames("applications"),
        Rule::new(
            "spec.applications.[].name",
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "an application's name consists of letters, digits and _ . -",
            |value| word(value, "_.-"),
        ),
        Rule::new(
            "spec.applications.[].metadata",
            "self.all(key, key.matches('^[A-Za-z0-9_.-]{1,128}$'))",
            "an application's keys consist of 1 to 128 letters, digits and _ . -",
            |map| keys(map).all(|key| is_word(key, "_.-") && key.len() <= 128),
        ),
        Rule::new(
            "spec.applications.[].metadata",
            format!("!self.exists(key, key.startsWith('{RESERVED_KEY_PREFIX}'))"),
            "keys that begin with poolwright are reserved",
            |map| !keys(map).any(|key| key.starts_with(RESERVED_KEY_PREFIX)),
        ),
        Rule::new(
            "spec.applications.[].metadata.{}",
            "self.matches('^[A-Za-z0-9_.+=:/@-]*$')",
            "an application's values consist of letters, digits and _ . - + = : / @",
            |value| value.as_str().is_some_and(|text| text.is_empty() || is_word(text, "_.-+=:/@")),
        ),
    ]
}

/// Quotas, compression and the variables without a field of their own.
fn options() -> Vec<Rule> {
    vec![
        size_or_zero("spec.quota.maxBytes"),
        Rule::new(
            "spec.compression.requiredRatio",
            decimal(Some("1.0")),
            "requiredRatio is a decimal number in quotes, above 0 and at most 1, such as \"0.875\"",
            |value| is_decimal(value, 1.0),
        ),
        size("spec.compression.minBlobSize"),
        size("spec.compression.maxBlobSize"),
        Rule::new(
            "spec.compression",
            "!has(self.minBlobSize) || !has(self.maxBlobSize) || !isQuantity(string(self.minBlobSize)) || \
             !isQuantity(string(self.maxBlobSize)) || \
             !quantity(string(self.minBlobSize)).isGreaterThan(quantity(string(self.maxBlobSize)))",
            "minBlobSize cannot be more than maxBlobSize",
            |block| {
                let size = |field| block.get(field).and_then(bytes);
                unless_both(size("minBlobSize"), size("maxBlobSize"), |min, max| min <= max)
            },
        )
        .blames("minBlobSize"),
    ]
}

/// The variables without a field of their own: a rule for each row of the settings table.
fn parameters() -> Vec<Rule> {
    let names: Vec<&str> = settings::parameters().map(|row| row.variable).collect();
    let unknown = Rule::new(
        "spec.parameters",
        format!("self.all(key, key in ['{}'])", names.join("', '")),
        format!(
            "a parameter is one of {} (what has a field of its own in the spec is set there)",
            names.join(", ")
        ),
        |map| keys(map).all(|key| settings::parameters().any(|row| row.variable == key)),
    );
    let values = settings::parameters().map(|row| {
        let variable = row.variable;
        Rule::new(
            "spec.parameters",
            format!(
                "!('{variable}' in self) || ({})",
                row.kind.cel(&format!("self['{variable}']"))
            ),
            format!("{variable} takes {}, in quotes", row.kind),
            move |map| text(map, variable).is_none_or(|text| row.kind.parse(text).is_some()),
        )
    });
    let kinds = settings::parameters().filter_map(|row| {
        let only = match row.only? {
            PoolKind::Replicated => "Replicated",
            PoolKind::Erasure => "ErasureCoded",
        };
        let variable = row.variable;
        let rule = Rule::new(
            "spec",
            format!("!has(self.parameters) || !('{variable}' in self.parameters) || self.type == '{only}'"),
            format!("{variable} is for pools of type {only} only"),
            move |spec| {
                let there = spec.get("parameters").is_some_and(|map| has(map, variable));
                !there || text(spec, "type") == Some(only)
            },
        );
        Some(rule.blames("parameters"))
    });
    std::iter::once(unknown)
        .chain(values)
        .chain(kinds)
        .collect()
}
