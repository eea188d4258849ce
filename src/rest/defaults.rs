//! What a pool gets that is made without saying more: `?defaults`, as Calamari had it.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::shapes::{Pool, PoolType};
use crate::ceph::crush_map::{CrushMap, Rule};

/// The options of the monitors that say it.
pub const OPTIONS: [&str; 4] = [
    "osd_pool_default_size",
    "osd_pool_default_min_size",
    "osd_pool_default_crush_rule",
    "osd_pool_default_flag_hashpspool",
];

/// What a replicated pool gets that is made without saying more; null is what it gets of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PoolDefaults {
    /// Null.
    #[schema(required = true)]
    pub id: Option<i64>,
    /// Null.
    #[schema(required = true)]
    pub name: Option<String>,
    /// The kind of pool that these are of.
    #[serde(rename = "type")]
    pub kind: PoolType,
    /// Copies.
    pub size: i64,
    /// Copies that must be there for I/O.
    pub min_size: i64,
    /// Null: Ceph's autoscaler chooses it.
    #[schema(required = true)]
    pub pg_num: Option<i64>,
    /// Null: it follows pg_num.
    #[schema(required = true)]
    pub pgp_num: Option<i64>,
    /// The name of the CRUSH rule; null in a cluster without any for replicated pools.
    #[schema(required = true)]
    pub crush_rule: Option<String>,
    /// 0: no limit.
    pub quota_max_bytes: i64,
    /// 0: no limit.
    pub quota_max_objects: i64,
    /// Null: it has none.
    #[schema(required = true)]
    pub erasure_code_profile: Option<String>,
    /// Whether its placement groups are spread apart from those of other pools.
    pub hashpspool: bool,
}

/// What `GET …/pool` is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Pools {
    /// The pools, by number.
    All(Vec<Pool>),
    /// With `?defaults`.
    Defaults(PoolDefaults),
}

/// The value in a monitor's answer: a plain line, though it is asked for JSON; quoted or not.
pub fn value(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().trim_matches('"').to_owned()
}

/// Puts the values of [`OPTIONS`], in that order, together with the rules there are.
///
/// # Errors
///
/// 503 when a value is not what it has to be: a monitor that says something else.
pub fn pool(values: &[String; 4], crush: &CrushMap) -> Result<PoolDefaults, Problem> {
    let [size, min_size, rule, hashpspool] = values;
    let number = |option: &str, text: &str| {
        text.parse::<i64>().map_err(|_| {
            Problem::unavailable(format!("the monitors say that {option} is {text:?}"), 30)
        })
    };
    let size = number("osd_pool_default_size", size)?;
    let min_size = number("osd_pool_default_min_size", min_size)?;
    let rule = number("osd_pool_default_crush_rule", rule)?;
    // Without a word on it, or where that rule is gone, Ceph takes the first for replicated pools.
    let replicated = |rule: &&Rule| rule.kind == Rule::REPLICATED;
    let chosen = crush.rules.get(&rule).filter(replicated);
    let first = || crush.rules.values().find(replicated);
    Ok(PoolDefaults {
        id: None,
        name: None,
        kind: PoolType::Replicated,
        size,
        // As the monitors do: 0 is more than half.
        min_size: if min_size == 0 {
            size - size / 2
        } else {
            min_size.min(size)
        },
        pg_num: None,
        pgp_num: None,
        crush_rule: chosen.or_else(first).map(|rule| rule.name.clone()),
        quota_max_bytes: 0,
        quota_max_objects: 0,
        erasure_code_profile: None,
        hashpspool: ["true", "1"].contains(&hashpspool.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: [&str; 4]) -> Result<PoolDefaults, Problem> {
        let rule = |name: &str, kind| Rule {
            kind,
            ..Rule::named(name)
        };
        let crush = CrushMap {
            rules: [(0, rule("ec", 3)), (1, rule("hdd", 1)), (2, rule("ssd", 1))].into(),
            ..CrushMap::default()
        };
        pool(&values.map(str::to_owned), &crush)
    }

    /// 0 means more than half, and a rule that is not said is the first for replicated pools.
    #[test]
    fn defaults() {
        for (values, min_size, rule) in [
            (["3", "0", "-1", "true"], 2, "hdd"),
            (["2", "0", "2", "true"], 1, "ssd"),
            (["2", "3", "0", "true"], 2, "hdd"),
            (["5", "4", "9", "true"], 4, "hdd"),
        ] {
            let shown = shown(values).expect("defaults");
            assert_eq!(shown.min_size, min_size, "{values:?}");
            assert_eq!(shown.crush_rule.as_deref(), Some(rule), "{values:?}");
            assert!(shown.hashpspool);
        }
        let odd = shown(["many", "0", "-1", "false"]).expect_err("no number");
        assert_eq!(odd.status, 503);
    }

    /// Monitors answer with a line, whatever is asked for.
    #[test]
    fn values() {
        for body in ["\n3\n", "3\n", "\"3\"", " 3"] {
            assert_eq!(value(body.as_bytes()), "3", "{body:?}");
        }
    }
}
