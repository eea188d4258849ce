//! `UserRequest`: a ticket with an ID for one user-level change, as a pure state machine.
//!
//! The kinds are Calamari's: `OsdMapModifying` is done when the awaited epoch's map shows the
//! wish, `PoolCreating` also waits until the pool is no longer `creating`, `PgChanging` also
//! waits until the actual placement groups have reached their targets.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::placement::Placement;
use super::preview::Plan;
use super::refusal::Refusal;
use super::round::{POOL_FIELD, Round};
use super::wish::{Wish, application_field, parse_key_field};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{Operation, Outcome, RequestState};
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::{self, Setting, Value};
use crate::ceph::types::Epoch;

/// The longest text of a reply that is kept, in bytes.
const TEXT_LIMIT: usize = 1024;
/// Corrections share one request, which keeps its newest rounds.
const ROUNDS_KEPT: usize = 10;

/// What a cancelled request says.
pub const CANCELLED: &str =
    "cancelled by the annotation poolwright.dev/cancel; what was sent before is not taken back";
/// What one says that was cancelled when nothing was left to send: its generation is not stopped by it.
pub const CANCELLED_LATE: &str = "cancelled by the annotation poolwright.dev/cancel when everything had been sent, so the \
    pool is kept as declared";
/// What one says whose cancel held, and does no more.
pub const CANCEL_LIFTED: &str = "cancelled by the annotation poolwright.dev/cancel; that holds no more, and the pool is kept \
    as declared";

/// What has to be seen before a request is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The map shows the fields.
    OsdMapModifying,
    /// And the pool is no longer `creating`.
    PoolCreating,
    /// And the placement groups have followed.
    PgChanging,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRequest {
    /// A UUID, version 4: the name of its `CephRequest`.
    pub id: String,
    /// What it waits for.
    pub kind: Kind,
    /// What is done.
    pub operation: Operation,
    /// The generation of the object that asked for it.
    pub generation: i64,
    /// The fields it changes, with the values they shall have.
    pub fields: BTreeMap<String, String>,
    /// How far it is.
    pub state: RequestState,
    /// Whether its commands are done and seen, and it only waits for placement groups.
    pub following: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// For a person.
    pub headline: String,
    /// What was sent and answered.
    pub rounds: Vec<SentRound>,
    /// How many rounds were sent, also those no longer kept.
    pub rounds_sent: usize,
    /// How many rounds there will be, as far as is known.
    pub rounds_planned: usize,
    /// The epoch that has to be seen.
    pub awaited_epoch: Option<Epoch>,
    /// The epoch that showed it.
    pub observed_epoch: Option<Epoch>,
    /// When it was made.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The request that failed before this one, which tries again.
    pub retry_of: Option<String>,
}

/// A round that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SentRound {
    /// Its commands.
    pub commands: Vec<SentCommand>,
    /// The epoch read after it.
    pub epoch: Option<Epoch>,
}

/// A command that was sent, and the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SentCommand {
    /// As a person would type it.
    pub line: String,
    /// 0 or a negative errno; `None` when no answer came.
    pub code: Option<i32>,
    /// The monitors' words, or why there was no answer.
    pub text: String,
    /// When it was handed over.
    pub started_at: Timestamp,
    /// When the answer came.
    pub completed_at: Timestamp,
}

/// What a view says to an open request.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The plan made for the newest wish from that view.
    pub plan: &'a Plan,
    /// The newest wish.
    pub wish: &'a Wish,
    /// The generation of that wish.
    pub generation: i64,
    /// The request of that generation, for those it supersedes.
    pub newest: Option<&'a str>,
    /// The pool, where there is one.
    pub pool: Option<&'a Pool>,
    /// The view's epoch.
    pub epoch: Epoch,
}

impl UserRequest {
    /// A request for what a plan changes.
    pub fn new(
        id: String,
        operation: Operation,
        generation: i64,
        wish: &Wish,
        plan: &Plan,
        now: Timestamp,
    ) -> Self {
        let fields: BTreeMap<String, String> = plan
            .steps()
            .map(|step| (step.field.clone(), step.desired.clone()))
            .collect();
        Self {
            id,
            kind: match operation {
                Operation::Create => Kind::PoolCreating,
                _ if moves_placement_groups(plan) => Kind::PgChanging,
                _ => Kind::OsdMapModifying,
            },
            headline: headline(operation, wish, fields.keys()),
            operation,
            generation,
            fields,
            state: RequestState::New,
            following: false,
            outcome: None,
            error: None,
            rounds: Vec::new(),
            rounds_sent: 0,
            rounds_planned: plan.rounds().count(),
            awaited_epoch: None,
            observed_epoch: None,
            started_at: now,
            completed_at: None,
            retry_of: None,
        }
    }

    /// A request that somebody has the ID of, before there is a plan that says what it takes. `desired` is what it
    /// changes, as far as that is known.
    pub fn asked_for(
        id: String,
        generation: i64,
        pool: &str,
        desired: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Self {
        let fields: Vec<&str> = desired.keys().map(String::as_str).collect();
        Self {
            id,
            kind: Kind::OsdMapModifying,
            operation: Operation::Update,
            headline: format!("Updating pool {pool}: {}", fields.join(", ")),
            generation,
            fields: desired,
            state: RequestState::New,
            following: false,
            outcome: None,
            error: None,
            rounds: Vec::new(),
            rounds_sent: 0,
            rounds_planned: 0,
            awaited_epoch: None,
            observed_epoch: None,
            started_at: now,
            completed_at: None,
            retry_of: None,
        }
    }

    /// This is the first plan for a request that was asked for. Of a pool that is there the request is about what it
    /// was said to change, where that is known; else about all that the plan changes, or cannot.
    pub fn plans(&mut self, operation: Operation, wish: &Wish, plan: &Plan) {
        let known = std::mem::take(&mut self.fields);
        let alone = operation == Operation::Update && !known.is_empty();
        let first = Self::new(
            std::mem::take(&mut self.id),
            operation,
            self.generation,
            wish,
            plan,
            self.started_at,
        );
        let refused = plan.now.refusals.iter();
        let refused = refused.filter_map(|refusal| refusal.field.clone());
        let fields = if alone {
            known
        } else {
            let refused = refused.map(|field| (field, String::new()));
            refused.chain(known).chain(first.fields).collect()
        };
        *self = Self {
            headline: headline(operation, wish, fields.keys()),
            fields,
            ..first
        };
    }

    /// What it changes is known by now to be this.
    pub fn is_about(&mut self, desired: &BTreeMap<String, String>) {
        if self.operation == Operation::Update && !self.is_complete() && !desired.is_empty() {
            self.fields.clone_from(desired);
        }
    }

    /// Whether it has ended.
    pub fn is_complete(&self) -> bool {
        self.state == RequestState::Complete
    }

    /// Whether a round works on one of its fields.
    pub fn concerns(&self, round: &Round) -> bool {
        round
            .steps
            .iter()
            .any(|step| self.fields.contains_key(&step.field))
    }

    /// Takes on what a later plan of the same generation changes. Corrections share a request.
    pub fn take_on(&mut self, plan: &Plan) {
        let steps = plan.steps();
        self.fields
            .extend(steps.map(|step| (step.field.clone(), step.desired.clone())));
        if self.kind == Kind::OsdMapModifying && moves_placement_groups(plan) {
            self.kind = Kind::PgChanging;
        }
        self.following = false;
    }

    /// A round of it is about to be sent; `left` rounds are planned after it.
    pub fn submit(&mut self, left: usize) {
        if !self.is_complete() {
            self.state = RequestState::Submitted;
            self.following = false;
            self.rounds_planned = self.rounds_sent + 1 + left;
        }
    }

    /// A round was answered, and the map of this epoch has to be seen.
    pub fn answered(&mut self, mut round: SentRound) {
        for command in &mut round.commands {
            truncate(&mut command.text, TEXT_LIMIT);
        }
        if !self.is_complete() {
            self.state = RequestState::AwaitingOsdMap;
            self.awaited_epoch = round.epoch.or(self.awaited_epoch);
        }
        self.rounds_sent += 1;
        self.rounds.push(round);
        if self.rounds.len() > ROUNDS_KEPT {
            self.rounds.remove(0);
        }
    }

    /// The generation by which it was superseded has a request of its own.
    pub fn name_successor(&mut self, generation: i64, id: &str) {
        if self.error == Some(superseded_by(generation)) {
            self.error = Some(format!("superseded by request {id}"));
        }
    }

    /// Looks at a newer view. Returns whether the request ended by it.
    pub fn observe(&mut self, seen: Observation<'_>, now: Timestamp) -> bool {
        // Whether a pool is gone is not in a plan: what removes it says so.
        if self.is_complete()
            || self.operation == Operation::Delete
            || self
                .awaited_epoch
                .is_some_and(|awaited| seen.epoch < awaited)
        {
            return false;
        }
        let left: BTreeMap<&str, &str> = seen
            .plan
            .steps()
            .map(|step| (step.field.as_str(), step.desired.as_str()))
            .collect();
        let open: Vec<(&str, &str)> = self
            .fields
            .iter()
            .filter_map(|(field, mine)| {
                left.get(field.as_str())
                    .map(|desired| (mine.as_str(), *desired))
            })
            .collect();
        // A later wish for another value has overtaken it, also where that is what the pool has already.
        let overtaken = seen.generation > self.generation
            && (open.iter().any(|(mine, now)| mine != now) || self.is_unwanted(&seen));
        if overtaken {
            let words = superseded_by(seen.generation);
            self.end(Outcome::Superseded, Some(words), now);
            if let Some(id) = seen.newest {
                self.name_successor(seen.generation, id);
            }
            return true;
        }
        let refusals = &seen.plan.now.refusals;
        if !open.is_empty() || refusals.iter().any(|refusal| self.is_hindered_by(refusal)) {
            return false;
        }
        let followed = match (self.kind, seen.pool) {
            (Kind::OsdMapModifying, _) => true,
            (Kind::PoolCreating, pool) => pool.is_some_and(|pool| !pool.is_creating()),
            (Kind::PgChanging, pool) => pool.is_some_and(|pool| pool.placement_groups.settled()),
        };
        self.following = !followed;
        if followed {
            self.succeed(seen.epoch, now);
        }
        followed
    }

    /// Whether the newest wish asks for something else than this request, of which no step is left.
    fn is_unwanted(&self, seen: &Observation<'_>) -> bool {
        self.fields.iter().any(|(field, mine)| {
            // Of a request that an earlier process made only the fields are known.
            if mine.is_empty() {
                return false;
            }
            match wanted(field, seen.wish, seen.pool) {
                Some(wanted) => wanted != *mine,
                // It left the manifest: it is no matter any more, unless it was done before.
                None => seen.pool.is_some_and(|pool| misses(pool, field, mine)),
            }
        })
    }

    /// Whether something that is refused may be what this request waits for. A lock of somebody else's and what
    /// keeps data where it is block their own field only; every other refusal stands for the whole pool, of which then no step is planned.
    fn is_hindered_by(&self, refusal: &Refusal) -> bool {
        let of_another_field = refusal
            .field
            .as_ref()
            .is_some_and(|field| !self.fields.contains_key(field));
        let alone = matches!(refusal.reason, Reason::Blocked | Reason::CannotPlace)
            || refusal.field.as_deref() == Some(settings::CRUSH_RULE.field);
        // Of one whose fields are not known, any may be.
        !alone || !of_another_field || self.fields.is_empty()
    }

    /// It is done, as a view of this epoch shows.
    pub fn succeed(&mut self, epoch: Epoch, now: Timestamp) {
        if !self.is_complete() {
            self.observed_epoch = Some(epoch);
            self.end(Outcome::Succeeded, None, now);
        }
    }

    /// It cannot be done, with Ceph's words or ours.
    pub fn fail(&mut self, error: String, now: Timestamp) {
        if !self.is_complete() {
            self.end(Outcome::Failed, Some(error), now);
        }
    }

    /// Whether a person can cancel it: a deletion is stopped by setting Retain.
    pub fn may_be_cancelled(&self) -> bool {
        !self.is_complete() && self.operation != Operation::Delete
    }

    /// A person cancelled it, perhaps when nothing was left to send: what was sent stays sent.
    pub fn cancel(&mut self, nothing_left: bool, now: Timestamp) {
        if !self.is_complete() {
            let words = if nothing_left {
                CANCELLED_LATE
            } else {
                CANCELLED
            };
            self.end(Outcome::Cancelled, Some(words.to_owned()), now);
        }
    }

    /// A later generation asks for something that cannot be done: that is not what this one failed of.
    pub fn supersede(&mut self, generation: i64, now: Timestamp) {
        if !self.is_complete() {
            self.end(Outcome::Superseded, Some(superseded_by(generation)), now);
        }
    }

    /// How far it is, in percent.
    pub fn percent(&self) -> i32 {
        if self.is_complete() {
            return 100;
        }
        // One step beyond the rounds for what is only seen later.
        let total = self.rounds_planned.max(self.rounds_sent) + 1;
        i32::try_from(self.rounds_sent * 100 / total).unwrap_or(99)
    }

    fn end(&mut self, outcome: Outcome, error: Option<String>, now: Timestamp) {
        self.state = RequestState::Complete;
        self.outcome = Some(outcome);
        self.error = error;
        self.completed_at = Some(now);
    }
}

fn moves_placement_groups(plan: &Plan) -> bool {
    plan.steps().any(|step| {
        matches!(&step.command, MonCommand::PoolSet { variable, .. }
            if variable == "pg_num" || variable == "pgp_num")
    })
}

fn headline<'a>(
    operation: Operation,
    wish: &Wish,
    fields: impl Iterator<Item = &'a String>,
) -> String {
    let pool = &wish.pool;
    let fields: Vec<&str> = fields.map(String::as_str).collect();
    match operation {
        Operation::Create => format!("Creating pool {pool}"),
        Operation::Delete => format!("Removing pool {pool}"),
        Operation::Rename => format!("Renaming pool to {pool}"),
        Operation::Adopt => format!("Adopting pool {pool}"),
        Operation::Update => format!("Updating pool {pool}: {}", fields.join(", ")),
        Operation::Correct => format!("Correcting pool {pool}: {}", fields.join(", ")),
    }
}

/// What the newest wish asks of a field, in the words of plans.
fn wanted(field: &str, wish: &Wish, pool: Option<&Pool>) -> Option<String> {
    if field == POOL_FIELD {
        return Some(wish.pool.to_string());
    }
    if field == settings::PG_NUM.field {
        let mode = wish.asked(&settings::AUTOSCALE_MODE).map(Value::to_string);
        let mode = mode.or_else(|| pool.map(|pool| pool.autoscale_mode.clone()));
        // With autoscaling on the manifest's number is that of the creation.
        return wish
            .pg_count
            .filter(|_| mode.as_deref() != Some("on"))
            .map(|count| count.to_string());
    }
    if field == settings::CRUSH_RULE.field {
        return wish.placement.as_ref().map(Placement::name);
    }
    if let Some(asked) = wish
        .settings
        .iter()
        .find(|asked| asked.setting.field == field)
    {
        return Some(asked.value.to_string());
    }
    if let Some((application, key)) = parse_key_field(field) {
        return wish.applications.get(application)?.get(key).cloned();
    }
    let applications = wish.applications.keys();
    applications
        .filter(|application| application_field(application) == field)
        .map(|_| "enabled".to_owned())
        .next()
}

/// What a wish asks of a pool, by field, in the words of plans: what a request for all of it changes. Fields that are
/// left to Ceph are not among them.
pub fn values(wish: &Wish, pool: Option<&Pool>) -> BTreeMap<String, String> {
    let fields = wish.fields().into_iter().chain([POOL_FIELD.to_owned()]);
    fields
        .filter_map(|field| {
            let value = wanted(&field, wish, pool)?;
            Some((field, value))
        })
        .collect()
}

/// Whether a pool shows another value of a setting.
fn misses(pool: &Pool, field: &str, value: &str) -> bool {
    let differs = |row: &Setting| match (row.observe(pool), value.parse()) {
        (Some(observed @ (Value::Integer(_) | Value::Double(_))), Ok(number)) => {
            !observed.same(&Value::Double(number))
        }
        _ if value == "not set" => !row.is_unset(pool),
        (observed, _) => observed.map(|observed| observed.to_string()).as_deref() != Some(value),
    };
    // The number of placement groups may be the autoscaler's by now, and of the rule the pool knows only the number.
    ![settings::PG_NUM.field, settings::CRUSH_RULE.field].contains(&field)
        && settings::of_field(field).any(differs)
}

fn superseded_by(generation: i64) -> String {
    format!("superseded by generation {generation}")
}

/// Cuts a text at a character's end.
fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}
