//! The status of a `CephPool` as one pure function of what is known.

mod conditions;
mod ignored;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

pub use self::conditions::{AT_QUOTA, subject_of};
pub use self::ignored::{Ignored, ignored, ignored_cancel};
use super::record;
use crate::api::conditions::{self as api_conditions, ConditionType, Reason};
use crate::api::v1alpha1::{
    CephPool, CephPoolStatus, DriftStatus, ObservedPool, PendingChange, PoolRequestStatus, PoolType,
};
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings::{self, SETTINGS, Shown};
use crate::ceph::types::Epoch;
use crate::request::preview::Plan;
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::round::Step;
use crate::request::token::AskedToken;
use crate::request::user_request::{CANCEL_LIFTED, CANCELLED, UserRequest};
use crate::request::wish::Record;

/// What a look at a pool has come to.
#[derive(Clone, Debug)]
pub enum Standing {
    /// The plan is empty and the pool is there.
    InSync {
        /// The view's epoch.
        epoch: Epoch,
        /// Said beside, such as an application that is enabled and not in the manifest.
        note: Option<String>,
    },
    /// The plan is empty, and placement groups of a new pool are still being created.
    Creating,
    /// A run is under way.
    Working,
    /// It will be tried again by itself.
    Retrying {
        /// Why it did not work.
        reason: Reason,
        /// The same in a sentence.
        message: String,
    },
    /// It waits for something that is not wrong, such as the first view.
    Waiting {
        /// For what.
        reason: Reason,
        /// The same in a sentence.
        message: String,
    },
    /// Nothing more happens until something changes; the first one names the reason.
    Refused(Vec<Refusal>),
    /// Ceph refused commands.
    Rejected(Vec<Rejection>),
    /// Somebody else keeps changing fields.
    Contested {
        /// The field.
        field: String,
        /// What it is set to.
        observed: String,
        /// When it is corrected again.
        until: Timestamp,
    },
    /// Something was left after the longest allowed number of rounds.
    NotConverging,
    /// Only observed, and different from the manifest.
    Differs,
    /// Paused by its annotation.
    Paused,
    /// Deleted, and its pool cannot be removed yet.
    DeletionBlocked {
        /// Why, in one word.
        reason: Reason,
        /// The same in a sentence, and what to do.
        message: String,
        /// The token that lets it be removed all the same, where one does.
        token: Option<AskedToken>,
    },
    /// Deleted, and its pool is being removed or let go.
    Deleting,
}

/// All that a status is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The object with its old status.
    pub object: &'a CephPool,
    /// What the look has come to.
    pub standing: Standing,
    /// What is recorded of the pool.
    pub record: Option<&'a Record>,
    /// The name the pool is published under.
    pub pool_name: Option<&'a str>,
    /// The newest request.
    pub request: Option<&'a UserRequest>,
    /// What is left to do.
    pub plan: Option<&'a Plan>,
    /// What Ceph refused, for the words in `pending`.
    pub rejections: &'a [Rejection],
    /// The pool as the view shows it, with the name of its rule.
    pub seen: Option<(&'a Pool, String)>,
    /// Whether `observed` may be written for its own sake: at most every 30 s.
    pub refresh_observed: bool,
    /// Corrections made since the old status: their fields and when.
    pub corrected: Option<(BTreeSet<String>, Timestamp)>,
    /// Whether no cancel holds for the object's generation: one that the status tells of does no more.
    pub cancel_lifted: bool,
    /// The ID of a request that was asked for by its annotation, and acted on.
    pub handled: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// Computes the status. The same inputs give the same status; a time changes only with what it tells.
pub fn compute(inputs: &Inputs<'_>) -> CephPoolStatus {
    let old = inputs.object.status.clone().unwrap_or_default();
    let generation = inputs.object.metadata.generation;
    let conditions = conditions::conditions(inputs, &old);
    // A generation that was never worked on is not observed, unless there is nothing to do for it.
    let generation = match inputs.standing {
        Standing::Paused if !conditions::shows_all_done(inputs) => {
            old.observed_generation.or(Some(-1))
        }
        _ => generation,
    };
    let identity = inputs
        .record
        .and_then(|record| record.identity.as_ref().filter(|_| record.identity_proven));
    let conditions =
        api_conditions::set(&old.conditions, conditions, generation, &Time(inputs.now));
    let ended_at = inputs
        .request
        .and_then(|request| request.observed_epoch)
        .map(|epoch| epoch.0);
    let at = match inputs.standing {
        Standing::InSync { epoch, .. } => Some(epoch.0),
        _ => None,
    };
    let epoch = ended_at.and_then(|epoch| i64::try_from(epoch).ok());
    CephPoolStatus {
        observed_generation: generation,
        pool_id: identity.map(|identity| identity.id.0),
        pool_name: pool_name(inputs, &old),
        fsid: identity.map(|identity| identity.fsid.to_string()),
        pool_create_time: identity.map(|identity| identity.create_time.0),
        request_id: inputs
            .request
            .map(|request| request.id.clone())
            .or_else(|| old.request_id.clone()),
        observed_osd_epoch: epoch
            .or(old.observed_osd_epoch)
            .or_else(|| at.and_then(|epoch| i64::try_from(epoch).ok())),
        request: request(inputs, &old),
        pending: pending(inputs),
        applied_fields: applied(inputs, &old),
        drift: drift(inputs, &old),
        observed: observed(inputs, &old, conditions != old.conditions),
        last_handled_request_id: inputs
            .handled
            .clone()
            .or_else(|| old.last_handled_request_id.clone()),
        last_handled_reconcile_at: reconcile_token(inputs.object)
            .or_else(|| old.last_handled_reconcile_at.clone()),
        asked_tokens: tokens::asked(inputs, &old),
        used_tokens: tokens::used(inputs, &old),
        conditions,
    }
}

/// Why a deletion could not be done, as the object says.
pub fn blocked(object: &CephPool) -> Option<(Reason, String)> {
    let conditions = &object.status.as_ref()?.conditions;
    let blocked = api_conditions::find(conditions, ConditionType::DeletionBlocked)?;
    let mut reasons = Reason::ALL.iter().copied();
    let reason = reasons.find(|reason| reason.as_str() == blocked.reason);
    Some((
        reason.unwrap_or(Reason::DeletionBlocked),
        blocked.message.clone(),
    ))
}

/// The value by which a person asked for another look, in our words or Flux's.
pub fn reconcile_token(object: &CephPool) -> Option<String> {
    use crate::api::v1alpha1::{ANNOTATION_FLUX_REQUESTED_AT, ANNOTATION_RECONCILE_REQUESTED_AT};
    let annotations = object.annotations();
    annotations
        .get(ANNOTATION_RECONCILE_REQUESTED_AT)
        .or_else(|| annotations.get(ANNOTATION_FLUX_REQUESTED_AT))
        .cloned()
}

fn pool_name(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Option<String> {
    match inputs.record {
        // While a pool has a private name this is what that begins with.
        Some(record) if record.unpublished || record.removal.is_some() => {
            record.private_base.as_ref().map(ToString::to_string)
        }
        Some(record) if record.identity.is_some() => inputs
            .seen
            .as_ref()
            .map(|(pool, _)| pool.name.to_string())
            .or_else(|| old.pool_name.clone())
            .or_else(|| inputs.pool_name.map(str::to_owned)),
        _ => inputs
            .pool_name
            .map(str::to_owned)
            .or_else(|| old.pool_name.clone()),
    }
}

fn request(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Option<PoolRequestStatus> {
    let nonce = inputs.record.and_then(record::nonce);
    let Some(request) = inputs.request else {
        return old.request.clone().map(|before| PoolRequestStatus {
            nonce,
            error: still_said(inputs, &before),
            ..before
        });
    };
    // Between two rounds nothing is written, so the next one is what is about to happen.
    let round = if request.is_complete() {
        request.rounds_sent
    } else {
        request.rounds_sent + 1
    };
    Some(PoolRequestStatus {
        id: request.id.clone(),
        generation: request.generation,
        operation: request.operation,
        state: request.state,
        headline: request.headline.clone(),
        nonce,
        round: i32::try_from(round).ok(),
        started_at: Some(second(request.started_at)),
        completed_at: request.completed_at.map(second),
        awaited_epoch: request
            .awaited_epoch
            .and_then(|epoch| i64::try_from(epoch.0).ok()),
        percent: Some(request.percent()),
        error: request.error.clone(),
    })
}

/// Why a request did not succeed. That it was cancelled is what a later process goes by, so it is taken back here when the
/// cancel holds no more.
fn still_said(inputs: &Inputs<'_>, before: &PoolRequestStatus) -> Option<String> {
    let lifted = inputs.cancel_lifted
        && before.error.as_deref() == Some(CANCELLED)
        && Some(before.generation) == inputs.object.metadata.generation;
    if lifted {
        Some(CANCEL_LIFTED.to_owned())
    } else {
        before.error.clone()
    }
}

/// To the second, as Kubernetes keeps it: or the answer of a write would differ from what was sent.
pub fn second(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn pending(inputs: &Inputs<'_>) -> Vec<PendingChange> {
    let Some(plan) = inputs.plan else {
        return Vec::new();
    };
    let words = |step: &Step| {
        inputs
            .rejections
            .iter()
            .find(|rejection| rejection.command == step.command)
            .map(ToString::to_string)
    };
    let mut pending: Vec<PendingChange> = plan
        .steps()
        .map(|step| {
            let observed = observed_now(inputs, step);
            // Of a later round: an earlier one moves it.
            let again = observed == step.desired && step.observed != step.desired;
            let put_back = || match (step.field.as_str(), again) {
                ("minSize", true) => {
                    format!(
                        "Ceph sets minSize to {} with the new size; this puts it back",
                        step.observed
                    )
                }
                _ => step.reason.clone(),
            };
            PendingChange {
                field: step.field.clone(),
                desired: Some(step.desired.clone()),
                command: Some(step.command.to_line()),
                reason: Some(words(step).unwrap_or_else(put_back)),
                observed: Some(observed),
            }
        })
        .collect();
    pending.extend(plan.now.refusals.iter().map(|refusal| PendingChange {
        field: refusal.field.clone().unwrap_or_else(|| "spec".to_owned()),
        desired: None,
        observed: None,
        command: None,
        reason: Some(refusal.message.clone()),
    }));
    pending.truncate(64);
    pending
}

/// What a step's setting is now: the step of a later round knows only what it will be before that round.
fn observed_now(inputs: &Inputs<'_>, step: &Step) -> String {
    let variable = match &step.command {
        MonCommand::PoolSet { variable, .. } => Some(variable),
        MonCommand::PoolSetQuota { field, .. } => Some(field),
        _ => None,
    };
    variable
        .and_then(|variable| settings::of_variable(variable))
        .zip(inputs.seen.as_ref())
        .map_or_else(
            || step.observed.clone(),
            |(setting, (pool, rule))| match setting.variable {
                // The pool itself knows only its number.
                variable if variable == settings::CRUSH_RULE.variable => rule.clone(),
                _ => setting.observed_text(pool),
            },
        )
}

fn applied(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Vec<String> {
    match inputs.record {
        Some(record) => record.applied.iter().cloned().collect(),
        None => old.applied_fields.clone(),
    }
}

fn drift(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Option<DriftStatus> {
    let Some((fields, at)) = &inputs.corrected else {
        return old.drift.clone();
    };
    Some(DriftStatus {
        last_corrected_at: Some(second(*at)),
        last_fields: fields.iter().cloned().collect(),
        corrections: old.drift.as_ref().map_or(0, |drift| drift.corrections) + 1,
    })
}

/// With every write that changes a condition, else when it is due; never for its own sake more often.
fn observed(inputs: &Inputs<'_>, old: &CephPoolStatus, changed: bool) -> Option<ObservedPool> {
    let Some((pool, rule)) = &inputs.seen else {
        // Of a pool that is somebody else's, what was our own private one says nothing.
        let never_ours = matches!(&inputs.standing, Standing::Refused(refusals)
            if refusals.iter().any(|refusal| matches!(refusal.reason, Reason::PoolExists | Reason::OwnedByAnother)))
            && inputs
                .record
                .is_some_and(|record| record.identity.is_none());
        return old.observed.clone().filter(|_| !never_ours);
    };
    if !changed && !inputs.refresh_observed && old.observed.is_some() {
        return old.observed.clone();
    }
    Some(observe(pool, rule))
}

/// What people want to know of a pool.
pub fn observe(pool: &Pool, rule: &str) -> ObservedPool {
    let small = |number: i64| i32::try_from(number).ok();
    ObservedPool {
        size: small(pool.size),
        min_size: small(pool.min_size),
        pg_num: small(pool.placement_groups.pg_num),
        pg_num_target: small(pool.placement_groups.pg_num_target),
        crush_rule: Some(rule.to_owned()),
        pool_type: Some(match pool.kind {
            PoolKind::Replicated => PoolType::Replicated,
            PoolKind::Erasure => PoolType::ErasureCoded,
        }),
        erasure_code_profile: (pool.kind == PoolKind::Erasure)
            .then(|| pool.erasure_code_profile.clone()),
        flags: SETTINGS
            .iter()
            .filter_map(|setting| match setting.shown {
                Shown::Flag(flag) if pool.has_flag(flag) => Some(flag.to_owned()),
                Shown::Flag(_) | Shown::Field(_) | Shown::Option(_) | Shown::Numbered(..) => None,
            })
            .collect(),
    }
}
