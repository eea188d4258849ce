//! The tokens in a status: those that were asked for, and those that were used.
//!
//! A token depends on the generation that first asked, and that stands nowhere else: whoever copies one must not find it
//! changed because something else stood in the way for a moment.

use super::{Inputs, Standing, record};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{AskedTokenStatus, CephPoolStatus, UsedTokenStatus, Verb};
use crate::request::factory::Next;
use crate::request::token::{AskedToken, UsedToken};

/// The tokens that were asked for. They stay while it is not known whether they are still asked for.
pub(super) fn asked(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Vec<AskedTokenStatus> {
    let next = match (&inputs.standing, inputs.plan) {
        (
            Standing::DeletionBlocked {
                token: Some(token), ..
            },
            _,
        ) => {
            return vec![asked_token(token)];
        }
        (Standing::InSync { .. } | Standing::Creating, _) => return Vec::new(),
        (_, Some(plan)) => &plan.now,
        // What stands in the way came before the plan that would ask.
        _ => return old.asked_tokens.clone(),
    };
    let asked: Vec<AskedTokenStatus> = next
        .refusals
        .iter()
        .filter_map(|refusal| refusal.token.as_deref())
        .map(asked_token)
        .collect();
    // What is confirmed and not done yet stays confirmed, also for a later generation.
    let given = record::confirmations(inputs.object).given;
    let used: &[UsedToken] = inputs.record.map_or(&[], |record| &record.used);
    let all_asked = asks_for_all(next);
    let kept = old.asked_tokens.iter().filter(|before| {
        let counts = !all_asked
            || given.contains(&before.token)
            || used.iter().any(|used| used.token == before.token);
        counts
            && !asked
                .iter()
                .any(|now| now.step == before.step && now.target == before.target)
    });
    kept.cloned().chain(asked.iter().cloned()).collect()
}

/// Whether a plan came to its last question: what it does not ask for then, nobody waits for. A pool that is somebody
/// else's at this moment, is gone, or has another name, is told of before its settings are looked at.
fn asks_for_all(next: &Next) -> bool {
    match next.verb {
        Verb::Update => next.found.is_some() || next.refusals.is_empty(),
        Verb::Create => {
            let mut refusals = next.refusals.iter();
            refusals.all(|refusal| refusal.reason != Reason::PoolExists)
        }
        Verb::Adopt | Verb::TakeOver | Verb::Rename | Verb::Delete => false,
    }
}

/// The tokens that let their step pass.
pub(super) fn used(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Vec<UsedTokenStatus> {
    let Some(record) = inputs.record else {
        return old.used_tokens.clone();
    };
    let used = record.used.iter().map(|used| UsedTokenStatus {
        token: used.token.clone(),
        request_id: used.request.clone(),
    });
    used.collect()
}

fn asked_token(asked: &AskedToken) -> AskedTokenStatus {
    AskedTokenStatus {
        token: asked.token.clone(),
        step: asked.step.clone(),
        target: asked.target.clone(),
        generation: asked.generation,
    }
}
