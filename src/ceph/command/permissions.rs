//! What a Ceph user has to be allowed, one capability for each kind of command that changes something.
//!
//! A command without a capability cannot be forgotten: [`Permission::of`] names every [`MonCommand`].

use std::collections::BTreeSet;

use super::{MonCommand, PoolCreate};
use crate::ceph::types::PoolName;

/// A command that changes something, as capabilities name it. Reads are in `allow r` together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// To make pools.
    PoolCreate,
    /// To change settings.
    PoolSet,
    /// To change quotas.
    PoolSetQuota,
    /// To enable applications.
    ApplicationEnable,
    /// To write keys of applications, and with them marks.
    ApplicationSet,
    /// To remove them.
    ApplicationRemove,
    /// To publish pools, and to give them another name.
    PoolRename,
    /// To remove pools, under a private name only.
    PoolRemove,
    /// To make erasure-code profiles.
    ProfileSet,
    /// To remove those made.
    ProfileRemove,
    /// To make rules for copies.
    RuleCreateReplicated,
    /// To make rules for chunks.
    RuleCreateErasure,
    /// To remove those made.
    RuleRemove,
}

impl Permission {
    /// All that this program ever asks for.
    pub const ALL: [Self; 13] = [
        Self::PoolCreate,
        Self::PoolSet,
        Self::PoolSetQuota,
        Self::ApplicationEnable,
        Self::ApplicationSet,
        Self::ApplicationRemove,
        Self::PoolRename,
        Self::PoolRemove,
        Self::ProfileSet,
        Self::ProfileRemove,
        Self::RuleCreateReplicated,
        Self::RuleCreateErasure,
        Self::RuleRemove,
    ];

    /// The one that a command takes, besides `allow r`; none for a read.
    pub const fn of(command: &MonCommand) -> Option<Self> {
        Some(match command {
            MonCommand::OsdStat
            | MonCommand::OsdGetMap { .. }
            | MonCommand::OsdDump
            | MonCommand::CrushDump
            | MonCommand::Version
            | MonCommand::ConfigGet { .. }
            | MonCommand::QuorumStatus => return None,
            MonCommand::Probe { permission, .. } => *permission,
            MonCommand::PoolCreate(_) => Self::PoolCreate,
            MonCommand::PoolSet { .. } => Self::PoolSet,
            MonCommand::PoolSetQuota { .. } => Self::PoolSetQuota,
            MonCommand::ApplicationEnable { .. } => Self::ApplicationEnable,
            MonCommand::ApplicationSet { .. } => Self::ApplicationSet,
            MonCommand::ApplicationRemove { .. } => Self::ApplicationRemove,
            MonCommand::PoolRename { .. } => Self::PoolRename,
            MonCommand::PoolRemove { .. } => Self::PoolRemove,
            MonCommand::ProfileSet { .. } => Self::ProfileSet,
            MonCommand::ProfileRemove { .. } => Self::ProfileRemove,
            MonCommand::RuleCreateReplicated { .. } => Self::RuleCreateReplicated,
            MonCommand::RuleCreateErasure { .. } => Self::RuleCreateErasure,
            MonCommand::RuleRemove { .. } => Self::RuleRemove,
        })
    }

    /// The command's name.
    pub const fn command(self) -> &'static str {
        match self {
            Self::PoolCreate => "osd pool create",
            Self::PoolSet => "osd pool set",
            Self::PoolSetQuota => "osd pool set-quota",
            Self::ApplicationEnable => "osd pool application enable",
            Self::ApplicationSet => "osd pool application set",
            Self::ApplicationRemove => "osd pool application rm",
            Self::PoolRename => "osd pool rename",
            Self::PoolRemove => "osd pool rm",
            Self::ProfileSet => "osd erasure-code-profile set",
            Self::ProfileRemove => "osd erasure-code-profile rm",
            Self::RuleCreateReplicated => "osd crush rule create-replicated",
            Self::RuleCreateErasure => "osd crush rule create-erasure",
            Self::RuleRemove => "osd crush rule rm",
        }
    }

    /// The capability of a user's `mon` capabilities.
    pub fn capability(self) -> String {
        format!("allow command \"{}\"", self.command())
    }

    /// The command that asks whether the user has it. `nothing` is the name of no pool, profile, rule or bucket, and has
    /// to be one that nobody will ever give.
    pub const fn probe(self, nothing: PoolName) -> MonCommand {
        MonCommand::Probe {
            permission: self,
            nothing,
        }
    }

    /// A command of this kind that does nothing: it speaks of what is not there, or asks for what cannot be.
    ///
    /// Monitors look at the capability first. What they see after it has to be whole: one without a field is executed with
    /// an empty one, and makes a profile or a rule without a name, which ends a monitor of Ceph 16.
    pub(super) fn harmless(self, nothing: &PoolName) -> MonCommand {
        let pool = nothing.clone();
        let name = nothing.as_str().to_owned();
        let word = || "poolwright".to_owned();
        match self {
            // The rule is looked for before anything is made.
            Self::PoolCreate => MonCommand::PoolCreate(PoolCreate {
                rule: Some(name),
                ..PoolCreate::new(pool, 1)
            }),
            Self::PoolSet => MonCommand::PoolSet {
                pool,
                variable: "size".to_owned(),
                value: "3".to_owned(),
            },
            Self::PoolSetQuota => MonCommand::PoolSetQuota {
                pool,
                field: "max_objects".to_owned(),
                value: "0".to_owned(),
            },
            Self::ApplicationEnable => MonCommand::ApplicationEnable {
                pool,
                application: word(),
                confirmed: false,
            },
            Self::ApplicationSet => MonCommand::ApplicationSet {
                pool,
                application: word(),
                key: word(),
                value: word(),
            },
            Self::ApplicationRemove => MonCommand::ApplicationRemove {
                pool,
                application: word(),
                key: word(),
            },
            Self::PoolRename => MonCommand::PoolRename {
                from: pool,
                to: PoolName::new(format!("{name}-renamed")),
            },
            // It is sent without the confirmations that monitors want.
            Self::PoolRemove => MonCommand::PoolRemove { pool },
            // There is no coding without data.
            Self::ProfileSet => MonCommand::ProfileSet {
                profile: name,
                values: ["plugin=jerasure", "k=0", "m=0"].map(str::to_owned).into(),
            },
            Self::ProfileRemove => MonCommand::ProfileRemove { profile: name },
            Self::RuleCreateReplicated => MonCommand::RuleCreateReplicated {
                rule: name.clone(),
                root: name,
                bucket_type: "host".to_owned(),
                class: None,
            },
            Self::RuleCreateErasure => MonCommand::RuleCreateErasure {
                rule: name.clone(),
                profile: name,
            },
            Self::RuleRemove => MonCommand::RuleRemove { rule: name },
        }
    }
}

/// The `mon` capabilities that these take, with all reads.
pub fn mon_capabilities(permissions: &BTreeSet<Permission>) -> String {
    let commands = permissions.iter().map(|permission| permission.capability());
    let reads = std::iter::once("allow r".to_owned());
    reads.chain(commands).collect::<Vec<_>>().join(", ")
}

/// The `osd` capabilities that these take: no pool is removed that is not proven empty, and no less proves it.
pub fn osd_capabilities(permissions: &BTreeSet<Permission>) -> Option<&'static str> {
    permissions
        .contains(&Permission::PoolRemove)
        .then_some("allow r")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTHING: &str = "nothing-of-this-name";

    /// Each probe is of the command whose capability it asks for, all commands have one, and none has two.
    #[test]
    fn probes_are_of_their_commands() {
        let nothing = PoolName::new(NOTHING);
        for permission in Permission::ALL {
            let command = permission.harmless(&nothing);
            assert_eq!(Permission::of(&command), Some(permission));
            assert_eq!(command.prefix(), permission.command());
            assert!(command.is_mutating());
            let probe = permission.probe(nothing.clone());
            assert_eq!(Permission::of(&probe), Some(permission));
            assert_eq!(probe.prefix(), permission.command());
            assert_eq!(probe.to_json()["prefix"], permission.command());
        }
        let all: BTreeSet<Permission> = Permission::ALL.into();
        let commands: BTreeSet<&str> = all.iter().map(|permission| permission.command()).collect();
        assert_eq!((all.len(), commands.len()), (13, 13));
    }

    /// A probe changes nothing: it is no change for the client, has every name it needs, and each is of nothing.
    #[test]
    fn probes_are_harmless() {
        for permission in Permission::ALL {
            let probe = permission.probe(PoolName::new(NOTHING));
            assert!(!probe.is_mutating());
            assert!(probe.pools().is_empty());
            let json = probe.to_json();
            let names = [
                "pool", "srcpool", "destpool", "name", "rule", "root", "profile",
            ];
            let mut found = 0;
            for name in names {
                let Some(value) = json.get(name) else {
                    continue;
                };
                found += 1;
                match value.as_str() {
                    Some(value) => assert!(value.starts_with(NOTHING), "{json}"),
                    None => assert_eq!(value, &json!(["plugin=jerasure", "k=0", "m=0"])),
                }
            }
            assert!(found > 0, "{json}");
            let text = json.to_string();
            assert!(
                !text.contains("yes_i_really") && !text.contains("pool2"),
                "{text}"
            );
        }
    }

    /// The reads come first, and what lists objects goes with the removal alone.
    #[test]
    fn capabilities() {
        let two = BTreeSet::from([Permission::PoolSetQuota, Permission::PoolSet]);
        assert_eq!(
            mon_capabilities(&two),
            r#"allow r, allow command "osd pool set", allow command "osd pool set-quota""#
        );
        assert_eq!(osd_capabilities(&two), None);
        let removal = BTreeSet::from([Permission::PoolRemove]);
        assert_eq!(osd_capabilities(&removal), Some("allow r"));
    }
}
