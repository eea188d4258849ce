//! `RequestFactory`: turns a wish and a view into the next round of commands.

use super::coding::MADE;
use super::ownership::ForeignMark;
use super::placement::rule_field;
use super::refusal::Refusal;
use super::round::Round;
use super::wish::Wish;
use crate::api::v1alpha1::Verb;
use crate::ceph::command::MonCommand;
use crate::ceph::types::{PoolIdentity, PoolName};
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
    /// What a person should know beside, in a sentence.
    pub note: Option<String>,
    /// The pool, where there is one.
    pub found: Option<Found>,
    /// What a grant has to allow for the round.
    pub verb: Verb,
    /// The name whose pool has to be proven empty before anything can be sent.
    pub unproven: Option<PoolName>,
    /// Tokens that let the round pass, beside those of its steps.
    pub confirmed: Vec<String>,
    /// A mark that stands in the way, of an object that may be gone: to be looked for.
    pub doubtful: Option<ForeignMark>,
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
    /// The name it has.
    pub name: PoolName,
    /// Whether it carries no mark of this object yet: it is not ours before it does.
    pub adopting: bool,
    /// The mark of another owner that goes with that.
    pub replaces: Option<ForeignMark>,
}

impl Found {
    /// Whether it is this object's pool, made or adopted.
    pub fn is_ours(&self) -> bool {
        self.published && !self.adopting
    }
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
        if let Some(found) = self.found.as_ref().filter(|found| !found.adopting) {
            record.identity = Some(found.identity.clone());
            record.identity_proven = true;
            if let (Some(claim), false) = (&found.claim, record.claim_recorded) {
                record.claim.clone_from(claim);
            }
            record.claim_recorded = true;
            if found.published {
                record.unpublished = false;
                if record.removal.is_none() {
                    record.private_base = None;
                }
            }
            // The name is about to be taken away: it is remembered, to be given back.
            let base = PoolName::new(found.name.published());
            let away = base.while_removing(&record.nonce);
            let removes = self.round.steps.iter().any(
                |step| matches!(&step.command, MonCommand::PoolRename { to, .. } if *to == away),
            );
            if removes && record.removal.is_none() {
                record.removal = Some(record.nonce.clone());
                record.private_base = Some(base);
            }
        }
        if self.round.creates() {
            // Of a pool that a person wants made again, nothing is left.
            if record.identity.take().is_some() {
                record.applied.clear();
                record.claim_recorded = false;
            }
        }
        if wish.coding.is_some() {
            // So that they can be removed again when no pool has them any more.
            let commands = self.round.steps.iter().map(|step| &step.command);
            let gives = commands.filter(|command| !command.removes_shared());
            let names =
                gives.flat_map(|command| command.rule().into_iter().chain(command.profile()));
            let made = names.filter(|name| name.starts_with(MADE));
            record.applied.extend(made.map(rule_field));
        }
        // What is made for a pool is not left behind when its object goes before there is one.
        let begins = self.round.creates() || self.round.prepares();
        if begins && record.identity.is_none() {
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
