//! What commands speak of: pools, and the rules and profiles that pools share.

use super::MonCommand;
use crate::ceph::types::PoolName;

impl MonCommand {
    /// The pool names it speaks of: none for a read, two for a rename.
    pub fn pools(&self) -> Vec<&PoolName> {
        match self {
            Self::OsdStat
            | Self::OsdGetMap { .. }
            | Self::OsdDump
            | Self::CrushDump
            | Self::Version
            | Self::ConfigGet { .. }
            | Self::QuorumStatus
            | Self::Probe { .. }
            | Self::ProfileSet { .. }
            | Self::ProfileRemove { .. }
            | Self::RuleCreateReplicated { .. }
            | Self::RuleCreateErasure { .. }
            | Self::RuleRemove { .. } => Vec::new(),
            Self::PoolCreate(create) => vec![&create.pool],
            Self::PoolSet { pool, .. }
            | Self::PoolSetQuota { pool, .. }
            | Self::ApplicationEnable { pool, .. }
            | Self::ApplicationSet { pool, .. }
            | Self::ApplicationRemove { pool, .. }
            | Self::PoolRemove { pool } => vec![pool],
            Self::PoolRename { from, to } => vec![from, to],
        }
    }

    /// The CRUSH rule it speaks of.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::PoolCreate(create) => create.rule.as_deref(),
            Self::PoolSet {
                variable, value, ..
            } => (variable == "crush_rule").then_some(value),
            Self::RuleCreateReplicated { rule, .. }
            | Self::RuleCreateErasure { rule, .. }
            | Self::RuleRemove { rule } => Some(rule),
            _ => None,
        }
    }

    /// The erasure-code profile it speaks of.
    pub fn profile(&self) -> Option<&str> {
        match self {
            Self::PoolCreate(create) => create.profile.as_deref(),
            Self::ProfileSet { profile, .. }
            | Self::RuleCreateErasure { profile, .. }
            | Self::ProfileRemove { profile } => Some(profile),
            _ => None,
        }
    }

    /// Whether it removes a rule or a profile.
    pub const fn removes_shared(&self) -> bool {
        matches!(self, Self::RuleRemove { .. } | Self::ProfileRemove { .. })
    }
}
