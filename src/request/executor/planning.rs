//! What a run does next, and what it remembers of that.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Access, Aim};
use crate::ceph::command::MonCommand;
use crate::ceph::view::ClusterView;
use crate::request::factory::Next;
use crate::request::pool_factory::{Proof, discard_round, removal_round};
use crate::request::refusal::Refusal;
use crate::request::registry::{ObjectType, factory};
use crate::request::round::{POOL_FIELD, Round};
use crate::request::token::spend;
use crate::request::user_request::UserRequest;
use crate::request::wish::{Record, Wish};
use crate::request::work::{PoolWork, RunEnd, State};

/// Plans for the newest wish, with the record as this run knows it.
pub(super) fn plan(
    work: &PoolWork,
    access: &Access,
    view: &ClusterView,
    proof: Option<&Proof>,
) -> Result<(Arc<Wish>, Next), RunEnd> {
    let mut state = work.state();
    let Some(newest) = state.wish.clone() else {
        return Err(RunEnd::Moved("there is no wish any more".into()));
    };
    if access.aim == Aim::Keep && state.cancelled == Some(newest.generation) {
        return Err(RunEnd::Moved("its request was cancelled".into()));
    }
    if newest.observe {
        return Err(RunEnd::Moved("management is Observe now".into()));
    }
    let mut record = state
        .record
        .clone()
        .unwrap_or_else(|| newest.record.clone());
    // A private pool that is gone is forgotten: the next one gets a name never used before, so
    // that a late command for the old name cannot mean it. Where the object goes with it, there is no next one, and the
    // object stays until what was made for the pool has gone, too.
    if access.aim == Aim::Keep
        && record.never_published()
        && let Some(identity) = &record.identity
        && view.identified(identity).is_none()
    {
        record.identity = None;
        new_name(&mut record);
        record.unpublished = false;
    }
    if record.identity.is_some() && !record.unpublished && record.removal.is_none() {
        // A pool that gets a private name again gets one that was never used before.
        record.nonce = fresh_word();
    }
    let mut wish = Wish {
        record,
        ..(*newest).clone()
    };
    wish.confirmations.open = state.open_requests();
    if access.aim == Aim::Keep {
        wish.left_alone.clone_from(&state.left_alone);
    }
    let mut next = match access.aim {
        Aim::Discard => discard_round(&wish, view),
        Aim::Remove => {
            let refused = state
                .rejections
                .iter()
                .find(|rejection| matches!(rejection.command, MonCommand::PoolRemove { .. }));
            removal_round(&wish, view, proof, refused)
        }
        Aim::Keep => factory(ObjectType::Pool).next_round(&wish, view),
    };
    if access.aim == Aim::Keep && begins_anew(&mut state, &mut wish, view, &next) {
        next = factory(ObjectType::Pool).next_round(&wish, view);
    }
    made_anew(&mut state, &next.round);
    let mut wish = next.advance(wish);
    if next.found.as_ref().is_some_and(|found| found.adopting) {
        // Before a pool is ours, nothing of it was applied by us: not even what was meant for another one before.
        wish.record.applied.clear();
    } else if access.aim == Aim::Keep {
        // What is not done was not applied: somebody else's value of it is not ours to take off later.
        let not_done = not_done(&state, &next);
        let fields = wish.fields().into_iter();
        wish.record
            .applied
            .extend(fields.filter(|field| !not_done.contains(field)));
    }
    for step in &next.round.steps {
        match step.command {
            // From now on the pool may have its real name, and be in use, whatever the reply says.
            MonCommand::PoolRename { .. } => {
                wish.record.applied.insert(POOL_FIELD.to_owned());
            }
            MonCommand::PoolRemove { .. } => {
                wish.record.applied.remove(POOL_FIELD);
            }
            _ => {}
        }
    }
    state.record = Some(wish.record.clone());
    Ok((Arc::new(wish), next))
}

/// The fields that are refused, here or by Ceph.
fn not_done(state: &State, next: &Next) -> BTreeSet<String> {
    let refused = next
        .refusals
        .iter()
        .filter_map(|refusal| refusal.field.clone());
    let rejected = state
        .rejections
        .iter()
        .map(|rejection| rejection.field.clone());
    refused.chain(rejected).collect()
}

/// What begins anew gets words never used before, so that neither a late command nor anybody with an older copy of the
/// record can mean it: a pool that is made again, and a mark that takes a pool back. Says whether there are any.
fn begins_anew(state: &mut State, wish: &mut Wish, view: &ClusterView, next: &Next) -> bool {
    // A pool that has the private name by now is not this object's: it would not be made, but found.
    let taken = view.pool_named(&wish.private_name()).is_some();
    let record = &mut wish.record;
    if next.round.creates() && (taken || record.identity.is_some()) {
        new_name(record);
        if record.identity.is_some() {
            record.claim = fresh_word();
            record.claim_recorded = false;
        }
        return true;
    }
    match &next.found {
        Some(found) if found.adopting => {
            if !record.claim_recorded || state.new_claim.as_ref() == Some(&record.claim) {
                return false;
            }
            record.claim = fresh_word();
            state.new_claim = Some(record.claim.clone());
            true
        }
        Some(_) => {
            state.new_claim = None;
            false
        }
        None => false,
    }
}

/// A rule is made: what was refused because somebody had removed it can be sent again after that.
fn made_anew(state: &mut State, round: &Round) {
    for step in &round.steps {
        if let MonCommand::RuleCreateReplicated { rule, .. }
        | MonCommand::RuleCreateErasure { rule, .. } = &step.command
        {
            state.rejections.retain(|rejection| {
                rejection.command == step.command || rejection.command.rule() != Some(rule)
            });
        }
    }
}

/// A private name that was never used before.
fn new_name(record: &mut Record) {
    record.nonce = fresh_word();
    record.private_base = None;
}

/// Remembers the tokens that let this round's steps pass, before they are sent.
pub(super) fn spend_tokens(
    work: &PoolWork,
    wish: Arc<Wish>,
    round: &Round,
    confirmed: &[String],
    request: &str,
) -> Arc<Wish> {
    let tokens: Vec<&String> = round
        .steps
        .iter()
        .filter_map(|step| step.token.as_ref())
        .chain(confirmed)
        .collect();
    if tokens.is_empty() {
        return wish;
    }
    let mut wish = (*wish).clone();
    for token in tokens {
        spend(&mut wish.record.used, token, request);
    }
    work.state().record = Some(wish.record.clone());
    Arc::new(wish)
}

/// What was remembered before a round was planned.
pub(super) struct Before {
    record: Option<Record>,
    requests: Vec<UserRequest>,
}

impl Before {
    /// What is remembered now.
    pub(super) fn of(work: &PoolWork) -> Self {
        let state = work.state();
        Self {
            record: state.record.clone(),
            requests: state.requests.clone(),
        }
    }

    /// What Ceph refused and had not taken before was not applied: somebody else's value of it is not ours to take off.
    pub(super) fn forget_refused(&self, work: &PoolWork) {
        let had = |field: &str| {
            let before = self.record.as_ref();
            // What was about to be published may be so by now, whatever the reply says.
            // Where nothing was known before, nothing is said to be new.
            field == POOL_FIELD || before.is_none_or(|record| record.applied.contains(field))
        };
        let mut guard = work.state();
        let State {
            record, rejections, ..
        } = &mut *guard;
        if let Some(record) = record {
            for rejection in rejections.iter().filter(|rejection| !had(&rejection.field)) {
                record.applied.remove(&rejection.field);
            }
        }
    }

    /// A round that could not be written down has not begun: nothing of it is remembered. Fields that were not sent
    /// were not applied, no token is used, and a pool that a person wants made again is still the recorded one.
    pub(super) fn put_back(self, work: &PoolWork) {
        let mut state = work.state();
        state.record = self.record;
        for before in self.requests {
            let now = state.requests.iter_mut().find(|now| now.id == before.id);
            if let Some(now) = now.filter(|now| !now.is_complete()) {
                now.state = before.state;
                now.following = before.following;
                now.rounds_planned = before.rounds_planned;
            }
        }
    }
}

/// Eight hexadecimal digits that were never used before.
pub fn fresh_word() -> String {
    let mut word = uuid::Uuid::new_v4().simple().to_string();
    word.truncate(8);
    word
}

/// Marks the requests that the round is for, and gives the one it is written down under.
pub(super) fn submitted(work: &PoolWork, access: &Access, round: &Round) -> UserRequest {
    let mut state = work.state();
    for request in &mut state.requests {
        if access.aim != Aim::Keep || request.concerns(round) {
            let left = request
                .rounds_planned
                .saturating_sub(request.rounds_sent + 1);
            request.submit(left);
        }
    }
    if let Some(open) = state.open_request() {
        return open.clone();
    }
    // The map moved in between: the round belongs to the newest request all the same.
    state.newest().cloned().unwrap_or_else(|| {
        let wish = state.wish.clone();
        orphan(wish.as_deref())
    })
}

/// A run is started with a request; this one only stands in should it be gone.
pub(super) fn orphan(wish: Option<&Wish>) -> UserRequest {
    UserRequest {
        id: uuid::Uuid::new_v4().to_string(),
        kind: crate::request::user_request::Kind::OsdMapModifying,
        operation: crate::api::v1alpha1::Operation::Correct,
        generation: wish.map_or(0, |wish| wish.generation),
        fields: std::collections::BTreeMap::new(),
        state: crate::api::v1alpha1::RequestState::New,
        outcome: None,
        error: None,
        headline: String::new(),
        rounds: Vec::new(),
        rounds_sent: 0,
        rounds_planned: 0,
        following: false,
        awaited_epoch: None,
        observed_epoch: None,
        started_at: Timestamp::now(),
        completed_at: None,
        retry_of: None,
    }
}

/// Leaves out what Ceph has refused in just this form.
pub(super) fn without_rejected(work: &PoolWork, mut round: Round) -> Round {
    let state = work.state();
    round.steps.retain(|step| {
        !state
            .rejections
            .iter()
            .any(|rejection| rejection.command == step.command)
    });
    drop(state);
    round
}

pub(super) fn ended(work: &PoolWork, aim: Aim, refusals: Vec<Refusal>) -> RunEnd {
    if aim == Aim::Remove && !refusals.is_empty() {
        RunEnd::Refused(refusals)
    } else if !work.state().rejections.is_empty() {
        RunEnd::Rejected
    } else if refusals.is_empty() {
        RunEnd::InSync
    } else {
        RunEnd::Refused(refusals)
    }
}
