//! The CRUSH map as this program needs it: the names of the rules.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A cluster's CRUSH map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrushMap {
    /// The rules' names by number, as pools refer to them.
    pub rules: BTreeMap<i64, String>,
}

#[derive(Deserialize)]
struct Dump {
    #[serde(default)]
    rules: Vec<DumpRule>,
}

#[derive(Deserialize)]
struct DumpRule {
    rule_id: i64,
    rule_name: String,
}

/// Reads `osd crush dump --format json`.
pub fn decode(bytes: &[u8]) -> Result<CrushMap, serde_json::Error> {
    let dump: Dump = serde_json::from_slice(bytes)?;
    Ok(CrushMap {
        rules: dump
            .rules
            .into_iter()
            .map(|rule| (rule.rule_id, rule.rule_name))
            .collect(),
    })
}
