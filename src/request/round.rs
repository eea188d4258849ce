//! `Round`: commands that may run concurrently because they commute.
//!
//! A round costs about one paxos proposal of the monitors, whatever it holds.

use std::collections::BTreeSet;

use crate::ceph::command::MonCommand;

/// The commands that are sent together, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// What is sent, in the order in which it is handed over.
    pub steps: Vec<Step>,
}

/// One command and the reason for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is sent.
    pub command: MonCommand,
    /// The field it is for, such as `quota.maxBytes`; `mark` for the owner's mark.
    pub field: String,
    /// The value it shall have.
    pub desired: String,
    /// The value it has.
    pub observed: String,
    /// Why, for a person.
    pub reason: String,
    /// Handed over 5 ms after the others: the others use the name that it takes away.
    pub last: bool,
    /// The token by which a person let it pass, where it needs one.
    pub token: Option<String>,
}

impl Round {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The fields it works on.
    pub fn fields(&self) -> BTreeSet<&str> {
        self.steps.iter().map(|step| step.field.as_str()).collect()
    }

    /// Whether it makes what a pool is to be created with.
    pub fn prepares(&self) -> bool {
        self.steps.iter().any(|step| {
            matches!(
                step.command,
                MonCommand::ProfileSet { .. } | MonCommand::RuleCreateErasure { .. }
            )
        })
    }

    /// Whether it takes a name away or a pool, or does what a person had to confirm: what people say up to the last moment
    /// has to be heard.
    pub fn is_grave(&self) -> bool {
        self.steps.iter().any(|step| {
            step.token.is_some()
                || matches!(
                    step.command,
                    MonCommand::PoolRename { .. } | MonCommand::PoolRemove { .. }
                )
        })
    }

    /// Whether it creates a pool.
    pub fn creates(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.command, MonCommand::PoolCreate(_)))
    }
}

/// The field name of the owner's mark in plans and statuses.
pub const MARK_FIELD: &str = "mark";
/// The field name of the pool itself.
pub const POOL_FIELD: &str = "poolName";
