//! `RequestFactory`: turns a wish and a view into the next round of commands.

use super::refusal::Refusal;
use super::round::Round;
use super::wish::Wish;
use crate::ceph::types::PoolIdentity;
use crate::ceph::view::ClusterView;

/// Makes the next round for one type of object. It is pure and holds nothing.
pub trait RequestFactory: Send + Sync {
    /// What to do now. Only the first round of a plan is ever run; then it is made again.
    fn next_round(&self, wish: &Wish, view: &ClusterView) -> Next;
}

/// What a factory answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Next {
    /// What may be sent now; empty when there is nothing to do or nothing can be done.
    pub round: Round,
    /// What cannot be done, and why. The round may still hold the rest.
    pub refusals: Vec<Refusal>,
    /// What has to happen by itself before the rest can be sent, in a sentence.
    pub waiting: Option<&'static str>,
    /// The pool, where there is one.
    pub found: Option<Found>,
}

/// The pool that is the object's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which it is.
    pub identity: PoolIdentity,
    /// The claim in its mark, where it carries one.
    pub claim: Option<String>,
    /// Whether it has its real name.
    pub published: bool,
}

impl Next {
    /// Whether the pool is as it is wished: the only definition of "in sync".
    pub fn in_sync(&self) -> bool {
        self.round.is_empty() && self.refusals.is_empty()
    }

    /// A wish with its record as it is when this answer is acted on: what the map says about the pool
    /// is taken over, and a creation that is about to begin is remembered.
    #[must_use]
    pub fn advance(&self, mut wish: Wish) -> Wish {
        let record = &mut wish.record;
        if let Some(found) = &self.found {
            record.identity = Some(found.identity.clone());
            record.identity_proven = true;
            if let (Some(claim), false) = (&found.claim, record.claim_recorded) {
                record.claim.clone_from(claim);
            }
            record.claim_recorded = true;
            if found.published {
                record.unpublished = false;
                record.private_base = None;
            }
        }
        if self.round.creates() {
            record.unpublished = true;
            record.private_base.get_or_insert_with(|| wish.pool.clone());
        }
        wish
    }

    /// An answer that refuses everything.
    pub fn refused(refusal: Refusal) -> Self {
        Self {
            refusals: vec![refusal],
            ..Self::default()
        }
    }
}
