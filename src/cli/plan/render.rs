//! Plans for people and for programs.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::INSTANCE;
use super::planned::{Planned, WORD};
use crate::api::conditions::Reason;
use crate::ceph::command::MonCommand;
use crate::ceph::view::ClusterView;
use crate::request::refusal::Refusal;
use crate::request::round::Step;

/// The commands as a person would type them.
pub(super) fn text(plans: &[Planned], view: &ClusterView, instance: &str) -> String {
    let mut text = format!("# Ceph cluster {} at epoch {}\n", view.fsid(), view.epoch());
    let mut apart = true;
    for planned in plans {
        // Pools in sync are a list; the others stand apart.
        let detailed = !planned.refusals.is_empty() || planned.plan.rounds().next().is_some();
        if apart || detailed {
            text.push('\n');
        }
        apart = detailed;
        pool(&mut text, planned);
    }
    text.push('\n');
    for note in notes(plans, instance) {
        let _ = writeln!(text, "# {note}");
    }
    let _ = writeln!(text, "# {}", totals(plans));
    text
}

/// One pool: what there is to do in a line, then the rounds and what is refused. Writing to a String cannot fail.
fn pool(text: &mut String, planned: &Planned) {
    let rounds = planned.plan.rounds().count();
    let rest = if planned.refusals.is_empty() {
        ""
    } else {
        ", the rest refused"
    };
    let summary = match (rounds, rest) {
        (0, "") => "in sync".to_owned(),
        (0, _) => "refused".to_owned(),
        (rounds, rest) => {
            let commands = counted(planned.plan.steps().count(), "command");
            format!("{}, {commands}{rest}", counted(rounds, "round"))
        }
    };
    let Planned {
        namespace,
        name,
        pool,
        ..
    } = planned;
    let _ = write!(text, "{namespace}/{name} (pool {pool}): {summary}");
    if let Some(why) = planned.held.filter(|_| rounds > 0) {
        let _ = write!(text, " (not sent: {why})");
    }
    text.push('\n');
    for (index, round) in planned.plan.rounds().enumerate() {
        let _ = writeln!(text, "  round {}", index + 1);
        for step in &round.steps {
            let reason = reason(step);
            let _ = writeln!(
                text,
                "    {}  # {}",
                step.command.to_line(),
                on_one_line(&reason)
            );
        }
    }
    for refusal in &planned.refusals {
        let field = refusal
            .field
            .as_deref()
            .map_or_else(String::new, |field| format!("{field}: "));
        let message = on_one_line(&refusal.message);
        let _ = writeln!(text, "  {}: {field}{message}", refusal.reason.as_str());
    }
}

/// What has to be known about the commands above.
fn notes(plans: &[Planned], instance: &str) -> Vec<&'static str> {
    let steps = plans.iter().flat_map(|planned| planned.plan.steps());
    let commands: Vec<&MonCommand> = steps.map(|step| &step.command).collect();
    let mut notes = Vec::new();
    if commands
        .iter()
        .any(|command| command.to_line().contains(WORD))
    {
        notes
            .push("00000000 stands for words that are drawn at random when the commands are sent.");
    }
    if commands.iter().any(|command| tool_refuses(command)) {
        notes.push(
            "The ceph tool itself refuses values with / : + or @ (marks have a /); monitors take them from Poolwright.",
        );
    }
    let owned = |refusal: &Refusal| refusal.reason == Reason::OwnedByAnother;
    if instance == INSTANCE
        && plans
            .iter()
            .any(|planned| planned.refusals.iter().any(owned))
    {
        notes.push(
            "Is the mark that of the objects' own controller? Then give its ID: --instance-id \
             \"$(kubectl get namespace kube-system -o jsonpath={.metadata.uid})\"",
        );
    }
    notes
}

/// Whether the `ceph` tool keeps a value from the monitors, which have no such rule.
fn tool_refuses(command: &MonCommand) -> bool {
    let passes = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    matches!(command, MonCommand::ApplicationSet { value, .. } if !value.chars().all(passes))
}

/// `1 in sync, 2 to change, 1 refused`.
fn totals(plans: &[Planned]) -> String {
    let refused = plans
        .iter()
        .filter(|planned| !planned.refusals.is_empty())
        .count();
    let in_sync = plans.iter().filter(|planned| planned.in_sync()).count();
    format!(
        "{}: {in_sync} in sync, {} to change, {refused} refused",
        counted(plans.len(), "pool"),
        plans.len() - in_sync - refused
    )
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Why a command is sent, with what it changes.
fn reason(step: &Step) -> String {
    format!(
        "{} {} -> {}: {}",
        step.field, step.observed, step.desired, step.reason
    )
}

/// What comes out of a cluster may hold anything; a line break would end a comment.
pub(in crate::cli) fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    });
    Cow::Owned(escaped)
}

/// All plans, for a program.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pools: Vec<PoolReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolReport {
    namespace: String,
    name: String,
    in_sync: bool,
    rounds: Vec<RoundReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refusals: Vec<RefusalReport>,
}

#[derive(Debug, Serialize)]
struct RoundReport {
    commands: Vec<Value>,
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RefusalReport {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

/// The commands as they go to the monitors.
pub(super) fn report(plans: &[Planned]) -> Report {
    let pools = plans.iter().map(|planned| PoolReport {
        namespace: planned.namespace.clone(),
        name: planned.name.clone(),
        in_sync: planned.in_sync(),
        rounds: planned
            .plan
            .rounds()
            .map(|round| RoundReport {
                commands: round
                    .steps
                    .iter()
                    .map(|step| step.command.to_json())
                    .collect(),
                reasons: round.steps.iter().map(reason).collect(),
            })
            .collect(),
        refusals: planned
            .refusals
            .iter()
            .map(|refusal| RefusalReport {
                reason: refusal.reason.as_str(),
                field: refusal.field.clone(),
                message: refusal.message.clone(),
            })
            .collect(),
    });
    Report {
        pools: pools.collect(),
    }
}
