//! The last look at a round before it is sent: pure, and independent of the code that planned it.

#[cfg(test)]
mod tests;

use super::coding::{self, MADE};
use super::ownership::{Mark, read_mark};
use super::placement::MadeRule;
use super::pool_factory::Proof;
use super::round::{Round, Step};
use super::wish::Wish;
use crate::ceph::command::{MonCommand, PoolCreate};
use crate::ceph::contents::Contents;
use crate::ceph::crush_map::Rule;
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::CRUSH_RULE;
use crate::ceph::types::{PoolId, PoolName};
use crate::ceph::view::ClusterView;

/// Why a round is not sent. Each of these is a bug in the planner or a map that moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The view is another cluster's than the recorded one.
    #[error("the view is of another cluster than the pool's record")]
    OtherCluster,
    /// A removal of a name that is not private.
    #[error("{0} is not the private name under which this object's pool may be removed")]
    RemovesPublished(PoolName),
    /// A removal, or the first step of one, of a pool that is neither proven empty nor confirmed.
    #[error("{0} is not proven empty under this name")]
    NotEmpty(PoolName),
    /// A command for a pool with somebody else's mark, which is neither dead nor confirmed to be replaced.
    #[error("the mark on {0} is another owner's")]
    OthersMark(PoolName),
    /// One copy of everything, which nobody has confirmed.
    #[error("nobody has confirmed that {0} shall have a single copy")]
    Unconfirmed(PoolName),
    /// A creation under a name that is not this object's private one, or that is taken.
    #[error("{0} is not a free private name to create a pool under")]
    CreatesElsewhere(PoolName),
    /// A rename to a taken name, or not from the private name to the wished one.
    #[error(
        "the rename of {from} to {to} does not give this object's pool a free name that it shall have"
    )]
    Renames {
        /// From.
        from: PoolName,
        /// To.
        to: PoolName,
    },
    /// A command for a name that does not mean this object's pool.
    #[error("{name} does not mean this object's pool {pool:?} at this epoch")]
    OtherPool {
        /// The name in the command.
        name: PoolName,
        /// This object's pool, where it is known.
        pool: Option<PoolId>,
    },
    /// Data that would move, which nobody has confirmed.
    #[error("nobody has confirmed that the data of {0} moves")]
    Moves(PoolName),
    /// A profile or rule that is not one of those made here, whose names say what is in them.
    #[error("{0} is not a profile or rule of ours")]
    NotMade(String),
    /// A profile or rule whose name is not the hash of what is in it, or that is to be made and is there already.
    #[error("{0} is there already, or is not the name of what is in it")]
    Misnamed(String),
    /// A creation with a profile or rule that is not there.
    #[error("{0}, with which a pool is to be made, is not there")]
    Gone(String),
    /// A removal of a profile or rule that a pool has.
    #[error("a pool uses {0}")]
    InUse(String),
    /// A mark that would go over somebody else's, or a key that makes the map unreadable.
    #[error("key {0:?} may not be written")]
    Key(String),
}

/// Checks a round against the view it was made from and the pool the planner found.
///
/// # Errors
///
/// The first command that must not be sent.
pub fn check(
    round: &Round,
    wish: &Wish,
    view: &ClusterView,
    pool: Option<PoolId>,
    proof: Option<&Proof>,
) -> Result<(), Objection> {
    if let Some(identity) = &wish.record.identity
        && identity.fsid != *view.fsid()
    {
        return Err(Objection::OtherCluster);
    }
    let private = wish.private_name();
    let removal = wish.removal_name();
    let empty = |name: &PoolName, step: &Step| empty(name, step, wish, proof);
    let means_ours = |name: &PoolName| {
        let ours = view.pool_named(name).is_some_and(|found| {
            let recorded = wish.record.identity.as_ref();
            Some(found.id) == pool
                && recorded.is_none_or(|recorded| *recorded == view.map().identity(found))
        });
        if ours {
            Ok(())
        } else {
            Err(Objection::OtherPool {
                name: name.clone(),
                pool,
            })
        }
    };
    for step in &round.steps {
        match &step.command {
            MonCommand::PoolCreate(create) => {
                if create.size == Some(1) && step.token.is_none() {
                    return Err(Objection::Unconfirmed(create.pool.clone()));
                }
                if create.pool != private || view.pool_named(&create.pool).is_some() {
                    return Err(Objection::CreatesElsewhere(create.pool.clone()));
                }
                there(create, view)?;
            }
            MonCommand::PoolRemove { pool: name } => {
                if removal.as_ref() == Some(name) && wish.remove {
                    empty(name, step)?;
                } else if *name != private || !wish.record.unpublished {
                    return Err(Objection::RemovesPublished(name.clone()));
                }
                means_ours(name)?;
                nobody_elses(step, name, wish, view)?;
            }
            MonCommand::PoolRename { from, to } => {
                let kind = rename(wish, from, to).filter(|_| view.pool_named(to).is_none());
                let Some(kind) = kind else {
                    return Err(Objection::Renames {
                        from: from.clone(),
                        to: to.clone(),
                    });
                };
                if matches!(kind, Rename::Away) {
                    empty(from, step)?;
                }
                if !matches!(kind, Rename::Back) {
                    means_ours(from)?;
                    nobody_elses(step, from, wish, view)?;
                }
            }
            MonCommand::ApplicationSet {
                pool: name,
                key,
                value,
                ..
            } => {
                if !clean(key, "") || !clean(value, "+=:/@") {
                    return Err(Objection::Key(key.clone()));
                }
                means_ours(name)?;
                nobody_elses(step, name, wish, view)?;
            }
            command @ (MonCommand::PoolSet { pool: name, .. }
            | MonCommand::PoolSetQuota { pool: name, .. }
            | MonCommand::ApplicationEnable { pool: name, .. }
            | MonCommand::ApplicationRemove { pool: name, .. }) => {
                if step.token.is_none() {
                    harmless(command, name, wish)?;
                }
                means_ours(name)?;
                nobody_elses(step, name, wish, view)?;
            }
            MonCommand::RuleCreateReplicated { .. }
            | MonCommand::RuleCreateErasure { .. }
            | MonCommand::ProfileSet { .. }
            | MonCommand::ProfileRemove { .. }
            | MonCommand::RuleRemove { .. } => shared(&step.command, view)?,
            MonCommand::OsdStat
            | MonCommand::OsdGetMap { .. }
            | MonCommand::OsdDump
            | MonCommand::CrushDump
            | MonCommand::Version
            | MonCommand::ConfigGet { .. }
            | MonCommand::QuorumStatus
            | MonCommand::Probe { .. } => {}
        }
    }
    Ok(())
}

/// A pool goes when it is proven empty under this name, or a person has confirmed its removal.
fn empty(
    name: &PoolName,
    step: &Step,
    wish: &Wish,
    proof: Option<&Proof>,
) -> Result<(), Objection> {
    let proven = proof.is_some_and(|proof| {
        proof.name == *name
            && wish.record.identity.as_ref() == Some(&proof.pool)
            && proof.contents == Contents::Empty
    });
    if proven || step.token.is_some() {
        Ok(())
    } else {
        Err(Objection::NotEmpty(name.clone()))
    }
}

/// What pools share is made under the name that says what is in it, and removed where no pool has it.
fn shared(command: &MonCommand, view: &ClusterView) -> Result<(), Objection> {
    let used = |uses: &dyn Fn(&Pool) -> bool| view.map().pools.values().any(|pool| uses(pool));
    match command {
        MonCommand::RuleCreateReplicated {
            rule,
            root,
            bucket_type,
            class,
        } => says_what_it_places(rule, root, bucket_type, class.as_deref()),
        MonCommand::ProfileSet { profile: name, .. }
        | MonCommand::RuleCreateErasure { rule: name, .. } => {
            made_here(name)?;
            says_its_name(command, view)
        }
        MonCommand::ProfileRemove { profile: name } => {
            made_here(name)?;
            let keys = view.map().erasure_code_profiles.get(name);
            if keys.is_some_and(|keys| !coding::says_its_name(name, keys)) {
                Err(Objection::Misnamed(name.clone()))
            } else if used(&|pool| {
                // It says what is in the rule of that name.
                pool.erasure_code_profile == *name || view.rule_name(pool) == *name
            }) {
                Err(Objection::InUse(name.clone()))
            } else {
                Ok(())
            }
        }
        MonCommand::RuleRemove { rule: name } => {
            made_here(name)?;
            let number = view.crush().rule_named(name);
            let rule = number.and_then(|number| view.crush().rules.get(&number));
            let replicated = rule.is_some_and(|rule| rule.kind == Rule::REPLICATED);
            if replicated && !MadeRule::is_one(name, view.crush()) {
                Err(Objection::NotMade(name.clone()))
            } else if used(&|pool| Some(pool.crush_rule) == number) {
                Err(Objection::InUse(name.clone()))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// Profiles and rules of others are only used.
fn made_here(name: &str) -> Result<(), Objection> {
    if name.starts_with(MADE) {
        Ok(())
    } else {
        Err(Objection::NotMade(name.to_owned()))
    }
}

/// A pool is made with a profile and a rule that are there: monitors do not look for those that are about to go.
fn there(create: &PoolCreate, view: &ClusterView) -> Result<(), Objection> {
    let profiles = &view.map().erasure_code_profiles;
    let profile = create.profile.as_ref();
    let rule = create.rule.as_ref();
    let missing = profile
        .filter(|name| !profiles.contains_key(*name))
        .or_else(|| rule.filter(|name| view.crush().rule_named(name).is_none()));
    missing.map_or(Ok(()), |name| Err(Objection::Gone(name.clone())))
}

/// A profile is made under the hash of what is in it, and a rule from a profile under the hash of that; neither over
/// one that is there.
fn says_its_name(command: &MonCommand, view: &ClusterView) -> Result<(), Objection> {
    let profiles = &view.map().erasure_code_profiles;
    let (name, right) = match command {
        MonCommand::ProfileSet { profile, values } => {
            let right = coding::profile_name(&coding::parse_values(values));
            (
                profile,
                !profiles.contains_key(profile) && right == *profile,
            )
        }
        MonCommand::RuleCreateErasure { rule, profile } => {
            let keys = profiles.get(profile);
            let right = keys.is_some_and(|keys| coding::rule_name(profile, keys) == *rule);
            (rule, right && view.crush().rule_named(rule).is_none())
        }
        _ => return Ok(()),
    };
    if right {
        Ok(())
    } else {
        Err(Objection::Misnamed(name.clone()))
    }
}

/// A rule is made under the name that says what is in it.
fn says_what_it_places(
    rule: &str,
    root: &str,
    bucket_type: &str,
    class: Option<&str>,
) -> Result<(), Objection> {
    let made = MadeRule {
        failure_domain: bucket_type.to_owned(),
        root: root.to_owned(),
        device_class: class.map(str::to_owned),
    };
    if made.name() == rule {
        Ok(())
    } else {
        Err(Objection::NotMade(rule.to_owned()))
    }
}

/// What takes a person's word: one copy of everything, and another rule, which moves the data of a pool in which there
/// can be any.
fn harmless(command: &MonCommand, name: &PoolName, wish: &Wish) -> Result<(), Objection> {
    let sets_rule = matches!(command, MonCommand::PoolSet { variable, .. }
        if *variable == CRUSH_RULE.variable);
    if sets_rule && !wish.record.unpublished {
        return Err(Objection::Moves(name.clone()));
    }
    if command.leaves_one_copy() {
        return Err(Objection::Unconfirmed(name.clone()));
    }
    Ok(())
}

/// Nothing goes to a pool that carries somebody else's mark; a mark over it does when that is dead or a person has
/// confirmed it.
fn nobody_elses(
    step: &Step,
    name: &PoolName,
    wish: &Wish,
    view: &ClusterView,
) -> Result<(), Objection> {
    let marks = matches!(step.command, MonCommand::ApplicationSet { .. });
    let confirmed = marks && step.token.is_some();
    let present = view
        .pool_named(name)
        .map(|pool| read_mark(pool, &wish.owner));
    let others = match present {
        Some(Mark::Foreign(mark)) => !wish.dead_marks.contains(&mark.mark),
        Some(Mark::Ours { claim, .. }) => wish.record.claim_recorded && claim != wish.record.claim,
        Some(Mark::Missing) | None => false,
    };
    if others && !confirmed {
        return Err(Objection::OthersMark(name.clone()));
    }
    Ok(())
}

/// Why a pool may get another name.
enum Rename {
    /// Its real one, or the one that the manifest gives it now.
    Named,
    /// A private one, for its removal.
    Away,
    /// From there: nobody else uses that name, so whatever has it gets its own back.
    Back,
}

fn rename(wish: &Wish, from: &PoolName, to: &PoolName) -> Option<Rename> {
    let removal = wish.removal_name();
    if removal.as_ref() == Some(from) && wish.record.private_base.as_ref() == Some(to) {
        return Some(Rename::Back);
    }
    if removal.as_ref() == Some(to) && wish.remove {
        return Some(Rename::Away);
    }
    let publishes = wish.record.unpublished && *from == wish.private_name();
    // From whatever name it has, also a private one of which nothing is recorded any more.
    let renames = wish.record.identity.is_some();
    (*to == wish.pool && (publishes || renames)).then_some(Rename::Named)
}

/// A quote, a backslash or a newline in a key makes `osd dump` invalid JSON for everybody.
fn clean(text: &str, more: &str) -> bool {
    text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c) || more.contains(c))
}
