//! The last look at a round before it is sent: pure, and independent of the code that planned it.

#[cfg(test)]
mod tests;

use super::round::Round;
use super::wish::Wish;
use crate::ceph::command::MonCommand;
use crate::ceph::types::{PoolId, PoolName};
use crate::ceph::view::ClusterView;

/// Why a round is not sent. Each of these is a bug in the planner or a map that moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The view is another cluster's than the recorded one.
    #[error("the view is of another cluster than the pool's record")]
    OtherCluster,
    /// A removal of a name that is not private.
    #[error("{0} is not the private name of a pool that was never published, and is not removed")]
    RemovesPublished(PoolName),
    /// A creation under a name that is not this object's private one, or that is taken.
    #[error("{0} is not a free private name to create a pool under")]
    CreatesElsewhere(PoolName),
    /// A rename to a taken name, or not from the private name to the wished one.
    #[error("the rename of {from} to {to} does not publish this object's pool under a free name")]
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
) -> Result<(), Objection> {
    if let Some(identity) = &wish.record.identity
        && identity.fsid != *view.fsid()
    {
        return Err(Objection::OtherCluster);
    }
    let private = wish.private_name();
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
                if create.pool != private || view.pool_named(&create.pool).is_some() {
                    return Err(Objection::CreatesElsewhere(create.pool.clone()));
                }
            }
            MonCommand::PoolRemove { pool: name } => {
                if *name != private || !wish.record.unpublished {
                    return Err(Objection::RemovesPublished(name.clone()));
                }
                means_ours(name)?;
            }
            MonCommand::PoolRename { from, to } => {
                means_ours(from)?;
                if *from != private || *to != wish.pool || view.pool_named(to).is_some() {
                    return Err(Objection::Renames {
                        from: from.clone(),
                        to: to.clone(),
                    });
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
            }
            MonCommand::PoolSet { pool: name, .. }
            | MonCommand::PoolSetQuota { pool: name, .. }
            | MonCommand::ApplicationEnable { pool: name, .. }
            | MonCommand::ApplicationRemove { pool: name, .. } => means_ours(name)?,
            MonCommand::OsdStat
            | MonCommand::OsdDump
            | MonCommand::CrushDump
            | MonCommand::Version => {}
        }
    }
    Ok(())
}

/// A quote, a backslash or a newline in a key makes `osd dump` invalid JSON for everybody.
fn clean(text: &str, more: &str) -> bool {
    text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c) || more.contains(c))
}
