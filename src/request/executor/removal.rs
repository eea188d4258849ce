//! What only the removal of a published pool needs: looks into the pool, and its name given back.

use std::time::Duration;

use tokio::time::Instant;

use super::Access;
use crate::ceph::command::MonCommand;
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::request::pool_factory::Proof;
use crate::request::round::Round;
use crate::request::wish::Wish;
use crate::request::work::{PoolWork, RunEnd};

/// How long a look into a pool may take.
const PROOF_LIMIT: Duration = Duration::from_secs(120);
/// What was seen longer ago is looked at again before anything is sent for it: a client that has the pool open
/// writes on by its number, whatever its name is.
const PROOF_AGE: Duration = Duration::from_secs(5);

/// A look into a pool, and when it ended.
pub(super) struct Looked {
    proof: Proof,
    at: Instant,
}

impl Looked {
    /// Looks into the pool of a name.
    pub(super) async fn into_pool(
        access: &Access,
        view: &ClusterView,
        name: &PoolName,
    ) -> Result<Self, RunEnd> {
        let Some(pool) = view.pool_named(name) else {
            return Err(RunEnd::Moved(format!("pool {name} is gone")));
        };
        let contents = access.client.contents(pool, view.map(), PROOF_LIMIT).await;
        tracing::info!(pool = %name, ?contents, "looked into the pool");
        Ok(Self {
            proof: Proof {
                pool: view.map().identity(pool),
                name: name.clone(),
                contents,
            },
            at: Instant::now(),
        })
    }

    /// What was found.
    pub(super) fn proof(looked: Option<&Self>) -> Option<&Proof> {
        looked.map(|looked| &looked.proof)
    }

    /// Whether a round that depends on it has to wait for another look.
    pub(super) fn is_too_old_for(&self, round: &Round) -> bool {
        let depends = round.steps.iter().any(|step| {
            let removes = match &step.command {
                MonCommand::PoolRemove { .. } => true,
                MonCommand::PoolRename { from, .. } => *from == self.proof.name,
                _ => false,
            };
            // What a person confirmed needs no proof.
            removes && step.token.is_none()
        });
        depends && self.at.elapsed() > PROOF_AGE
    }
}

/// Whether a round gives a pool the name back that was taken from it for its removal.
pub(super) fn gives_back(round: &Round, wish: &Wish) -> bool {
    let private = wish.removal_name();
    round.steps.iter().any(|step| {
        matches!(&step.command, MonCommand::PoolRename { from, .. } if Some(from) == private.as_ref())
    })
}

/// Nothing has the private name any more: the next try takes another one.
pub(super) fn given_back(work: &PoolWork, wish: &Wish, view: &ClusterView) {
    let Some(private) = wish.removal_name() else {
        return;
    };
    if view.pool_named(&private).is_none()
        && let Some(record) = &mut work.state().record
    {
        record.removal = None;
        record.private_base = None;
    }
}
