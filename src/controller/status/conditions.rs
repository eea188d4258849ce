//! A standing in the words of conditions.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Inputs, Standing, observed_now};
use crate::api::conditions::{self, ConditionStatus, ConditionType, NewCondition, Reason};
use crate::api::v1alpha1::{CephPoolStatus, DeletionPolicy};
use crate::ceph::command::MonCommand;
use crate::ceph::errno::Verdict;
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::round::{MARK_FIELD, Round, Step};

/// The longest message of a condition that Kubernetes takes is 32 KiB; people read less.
const MESSAGE_LIMIT: usize = 2048;

/// What is said beside of a pool that is at its quota.
pub const AT_QUOTA: &str = "the pool is at its quota, so Ceph stops all writes to it (flag full_quota): raise spec.quota \
    or delete data";

/// What an event about a pool is about: the reason of `Ready`, and whether the pool is at its quota. Another one is news.
pub fn subject_of(ready: &Condition) -> String {
    if ready.message.contains(AT_QUOTA) {
        format!("{} at its quota", ready.reason)
    } else {
        ready.reason.clone()
    }
}

/// The conditions of a standing: abnormal ones only while they are True.
pub(super) fn conditions(inputs: &Inputs<'_>, old: &CephPoolStatus) -> Vec<NewCondition> {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{DeletionBlocked, Ready, Reconciling, Stalled};
    let first_look = old
        .conditions
        .iter()
        .all(|condition| condition.type_ != Ready.as_str());
    let not_yet = if first_look { Unknown } else { False };
    let both = |status, other, reason: Reason, message: &str| {
        let message = shortened(message);
        vec![
            NewCondition::new(Ready, status, reason, message.clone()),
            NewCondition::new(other, True, reason, message),
        ]
    };
    match &inputs.standing {
        Standing::InSync { epoch: _, note } => vec![in_sync(inputs, note.as_deref())],
        Standing::Creating => both(
            not_yet,
            Reconciling,
            Reason::Progressing,
            "waiting for the placement groups to be created; if it lasts, look for OSDs under the pool's CRUSH rule",
        ),
        Standing::Working => {
            let message = working(inputs);
            both(not_yet, Reconciling, Reason::Progressing, &message)
        }
        Standing::Retrying { reason, message } => {
            let message = shortened(message);
            vec![
                NewCondition::new(Ready, False, *reason, message.clone()),
                NewCondition::new(Reconciling, True, Reason::ProgressingWithRetry, message),
            ]
        }
        Standing::Waiting { reason, message } => both(not_yet, Reconciling, *reason, message),
        Standing::Refused(refusals) => {
            let reason = refusals
                .first()
                .map_or(Reason::InvalidSpec, |refusal| refusal.reason);
            both(False, Stalled, reason, &refusals_text(refusals))
        }
        Standing::Rejected(rejections) => {
            let (reason, message) = rejections_text(rejections);
            both(False, Stalled, reason, &message)
        }
        Standing::Contested {
            field,
            observed,
            until,
        } => {
            let message = contested(field, observed);
            let message = format!("{message}; it is corrected again after {until:.0}");
            both(False, Stalled, Reason::Contested, &message)
        }
        Standing::NotConverging => both(
            False,
            Stalled,
            Reason::NotConverging,
            "after the longest allowed number of rounds there was still something to do; see status.pending and the \
             commands of the request",
        ),
        Standing::Differs => {
            let message = differences(inputs);
            vec![
                NewCondition::new(Ready, False, Reason::Drifted, message.clone()),
                NewCondition::new(Stalled, True, Reason::ObserveOnly, message),
            ]
        }
        Standing::Paused => vec![paused(inputs, old)],
        Standing::DeletionBlocked {
            reason, message, ..
        } => {
            let message = shortened(message);
            vec![
                NewCondition::new(Ready, False, Reason::DeletionBlocked, message.clone()),
                NewCondition::new(Stalled, True, Reason::DeletionBlocked, message.clone()),
                NewCondition::new(DeletionBlocked, True, *reason, message),
            ]
        }
        Standing::Deleting => both(False, Reconciling, Reason::Deleting, deleting(inputs)),
    }
}

fn in_sync(inputs: &Inputs<'_>, note: Option<&str>) -> NewCondition {
    let mut message = match &inputs.seen {
        Some((pool, _)) => format!("pool {} is as declared", pool.name),
        None => "the pool is as declared".to_owned(),
    };
    let full = inputs
        .seen
        .as_ref()
        .is_some_and(|(pool, _)| pool.has_flag("full_quota"));
    for note in full.then_some(AT_QUOTA).into_iter().chain(note) {
        message = format!("{message}; {note}");
    }
    NewCondition::new(
        ConditionType::Ready,
        ConditionStatus::True,
        Reason::Reconciled,
        shortened(&message),
    )
}

/// What becomes of the pool of a deleted object.
fn deleting(inputs: &Inputs<'_>) -> &'static str {
    let record = inputs.record;
    if record.is_some_and(|record| record.unpublished) {
        "the object is deleted, and its unfinished pool, which is empty, is being removed"
    } else if inputs.object.spec.deletion_policy == DeletionPolicy::Delete {
        "the object is deleted, and its pool is being removed (deletionPolicy: Delete)"
    } else if record.is_some_and(|record| record.removal.is_some()) {
        "the object is deleted, and its pool, whose removal had begun, is given its name back (deletionPolicy: Retain)"
    } else {
        "the object is deleted, and its pool is let go: it stays in Ceph (deletionPolicy: Retain)"
    }
}

fn working(inputs: &Inputs<'_>) -> String {
    let Some(request) = inputs.request else {
        return "working".to_owned();
    };
    let round = request.rounds_sent + 1;
    let planned = request.rounds_planned.max(round);
    format!("{} (round {round} of {planned})", request.headline)
}

/// Whether a plan was made, and nothing is left of it: what `Ready` means.
pub(super) fn shows_all_done(inputs: &Inputs<'_>) -> bool {
    let pool_is_made = inputs
        .seen
        .as_ref()
        .is_some_and(|(pool, _)| !pool.is_creating());
    pool_is_made
        && inputs
            .plan
            .is_some_and(|plan| plan.in_sync() && plan.now.waiting.is_none())
}

/// Why nothing moves. `Ready` is what a plan shows, or what it was where there is none.
fn paused(inputs: &Inputs<'_>, old: &CephPoolStatus) -> NewCondition {
    let before = conditions::find(&old.conditions, ConditionType::Ready);
    let mut message =
        "paused by the annotation poolwright.dev/paused: nothing is sent; remove it to go on"
            .to_owned();
    let status = if shows_all_done(inputs) {
        ConditionStatus::True
    } else if inputs.plan.is_some_and(|plan| !plan.in_sync()) {
        message = format!("{message}. What waits: {}", left(inputs));
        ConditionStatus::False
    } else {
        match before.map(|ready| ready.status.as_str()) {
            Some("True") => ConditionStatus::True,
            Some("False") => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        }
    };
    NewCondition::new(
        ConditionType::Ready,
        status,
        Reason::Paused,
        shortened(&message),
    )
}

/// A fight over a field, and how to end it.
fn contested(field: &str, observed: &str) -> String {
    let what = match observed {
        "not set" | "not enabled" => format!("removing {field}"),
        observed => format!("setting {field} to {observed}"),
    };
    let remedy = if field == MARK_FIELD {
        "stop it, since the mark says whose pool this is".to_owned()
    } else {
        format!("let one of the two manage it: take {field} out of the manifest, or stop the other")
    };
    format!("somebody else keeps {what}; find out who, and {remedy}")
}

fn refusals_text(refusals: &[Refusal]) -> String {
    let texts: Vec<String> = refusals
        .iter()
        .map(|refusal| match &refusal.field {
            Some(field) if !refusal.message.starts_with(field.as_str()) => {
                format!("{field}: {}", refusal.message)
            }
            _ => refusal.message.clone(),
        })
        .collect();
    texts.join("; ")
}

/// The field, Ceph's own words, and what to do.
fn rejections_text(rejections: &[Rejection]) -> (Reason, String) {
    let Some(first) = rejections.first() else {
        return (Reason::Rejected, "Ceph refused a command".to_owned());
    };
    let (reason, remedy) = match first.verdict {
        Verdict::Denied => (
            Reason::PermissionDenied,
            format!(
                "give the Ceph user the mon capability: allow command \"{}\"",
                first.command.prefix()
            ),
        ),
        Verdict::Limit => (Reason::LimitReached, more_room(first)),
        Verdict::Guarded if first.text.contains("size as 1 is disabled") => (
            Reason::Blocked,
            "allow it with `ceph config set global mon_allow_pool_size_one true`, or choose 2 or more".to_owned(),
        ),
        Verdict::Guarded => (
            Reason::Blocked,
            "lift the guard it names, or take the field out of the manifest".to_owned(),
        ),
        Verdict::Accepted | Verdict::Later | Verdict::Refused => (
            Reason::Rejected,
            "change the field, or what it names in the cluster".to_owned(),
        ),
    };
    let texts: Vec<String> = rejections
        .iter()
        .map(|rejection| {
            let (text, code) = (rejection.text.trim(), rejection.code);
            match rejection.command {
                MonCommand::PoolCreate(_) | MonCommand::PoolRemove { .. } => rejection.to_string(),
                _ => format!(
                    "{}: Ceph refused {}: {text} (code {code})",
                    rejection.field, rejection.desired
                ),
            }
        })
        .collect();
    (reason, format!("{}; {remedy}", texts.join("; ")))
}

/// What to do about a limit.
fn more_room(rejection: &Rejection) -> String {
    let field = match rejection.command {
        MonCommand::PoolCreate(_) => "placementGroups.count or size",
        _ => &rejection.field,
    };
    if rejection.text.contains("mon_max_pg_per_osd") {
        format!(
            "ask for less ({field}), raise the limit with `ceph config set global mon_max_pg_per_osd N`, or add OSDs"
        )
    } else {
        format!("ask for less ({field}), raise the limit it names, or add OSDs")
    }
}

/// What differs, for a person.
fn differences(inputs: &Inputs<'_>) -> String {
    let refusal = inputs.plan.and_then(|plan| plan.now.refusals.first());
    match (inputs.plan, refusal) {
        (Some(_), None) => shortened(&format!("only observed: {}", left(inputs))),
        _ => shortened(&left(inputs)),
    }
}

/// What is left to do, for a person.
fn left(inputs: &Inputs<'_>) -> String {
    let Some(plan) = inputs.plan else {
        return "the pool differs from the manifest".to_owned();
    };
    if let Some(refusal) = plan.now.refusals.first() {
        return refusals_text(std::slice::from_ref(refusal));
    }
    if plan.rounds().any(Round::creates) {
        let name = inputs.pool_name.unwrap_or("of this object");
        return format!("there is no pool {name}, and it would be created");
    }
    let texts: Vec<String> = unique(plan.steps())
        .into_iter()
        .map(|step| (step, observed_now(inputs, step)))
        // What is only set again, since another change moves it, is no difference.
        .filter(|(step, observed)| *observed != step.desired)
        .map(|(step, observed)| {
            format!(
                "{} is {observed} and should be {}",
                step.field, step.desired
            )
        })
        .collect();
    texts.join("; ")
}

fn unique<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<&'a Step> {
    let mut seen = BTreeSet::new();
    steps
        .filter(|step| seen.insert((step.field.as_str(), step.desired.as_str())))
        .collect()
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let mut end = MESSAGE_LIMIT;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", message.get(..end).unwrap_or_default())
}
