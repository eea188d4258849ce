//! What is answered: Calamari's shapes, and what it did not tell.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::v1alpha1::{CephRequest, CommandRecord, Operation, Outcome, RequestState};
use crate::ceph::crush_map::Step;
use crate::ceph::osd_map::{Pool as MapPool, PoolKind};
use crate::ceph::view::ClusterView;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cluster {
    /// The cluster's fsid.
    pub id: String,
    /// The name of the ClusterConnection by which the caller sees it.
    pub name: String,
    /// When the OSD map was last changed; null while none has been read.
    #[schema(required = true, format = DateTime)]
    pub update_time: Option<String>,
    /// The release that the monitors run, such as `18.2.7`; null while that is not known.
    #[schema(required = true)]
    pub release: Option<String>,
    /// The release that all OSDs have to run, such as `reef`; null while no map has been read.
    #[schema(required = true)]
    pub require_osd_release: Option<String>,
    /// The epoch of the newest OSD map that has been read; null while there is none.
    #[schema(required = true)]
    pub epoch: Option<u64>,
    /// How it stands with the cluster.
    pub contact: ContactState,
    /// What is wrong, in words; empty when nothing is.
    pub contact_message: String,
}

/// How it stands with a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// There is no session: the ClusterConnection says why.
    None,
    /// The monitors have not answered yet.
    Connecting,
    /// The monitors answer.
    Connected,
    /// The monitors do not answer any more; what is read is as it was then.
    Lost,
    /// The monitors answer, but what they say cannot be used.
    Unusable,
}

/// A pool, as the OSD map has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pool {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How it keeps data.
    #[serde(rename = "type")]
    pub kind: PoolType,
    /// Copies, or chunks in all.
    pub size: i64,
    /// Copies or chunks that must be there for I/O.
    pub min_size: i64,
    /// Placement groups there are.
    pub pg_num: i64,
    /// Placement groups there are going to be.
    pub pg_num_target: i64,
    /// Placement groups that are placed on their own.
    pub pgp_num: i64,
    /// What that is going to be.
    pub pgp_num_target: i64,
    /// `on`, `off` or `warn`: whether Ceph chooses `pg_num`.
    pub pg_autoscale_mode: String,
    /// The name of its CRUSH rule.
    pub crush_rule: String,
    /// Bytes it may hold; 0 is no limit.
    pub quota_max_bytes: i64,
    /// Objects it may hold; 0 is no limit.
    pub quota_max_objects: i64,
    /// The name of its erasure-code profile; empty for a replicated pool.
    pub erasure_code_profile: String,
    /// Whether its placement groups are spread apart from those of other pools: so it is in all but very old pools.
    pub hashpspool: bool,
    /// Whether it is full.
    pub full: bool,
    /// The applications that use it.
    pub applications: Vec<String>,
    /// The epoch of the OSD map that last changed it: its ETag.
    pub last_change: u64,
}

/// How a pool keeps data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolType {
    /// Copies.
    Replicated,
    /// Chunks.
    Erasure,
}

/// A pool in words of the API.
pub fn pool(view: &ClusterView, pool: &MapPool) -> Pool {
    let groups = pool.placement_groups;
    Pool {
        id: pool.id.0,
        name: pool.name.as_str().to_owned(),
        kind: match pool.kind {
            PoolKind::Replicated => PoolType::Replicated,
            PoolKind::Erasure => PoolType::Erasure,
        },
        size: pool.size,
        min_size: pool.min_size,
        pg_num: groups.pg_num,
        pg_num_target: groups.pg_num_target,
        pgp_num: groups.pgp_num,
        pgp_num_target: groups.pgp_num_target,
        pg_autoscale_mode: pool.autoscale_mode.clone(),
        crush_rule: view.rule_name(pool),
        quota_max_bytes: pool.quota_max_bytes,
        quota_max_objects: pool.quota_max_objects,
        erasure_code_profile: pool.erasure_code_profile.clone(),
        hashpspool: pool.has_flag("hashpspool"),
        full: pool.has_flag("full"),
        applications: pool.applications.keys().cloned().collect(),
        last_change: pool.last_change.0,
    }
}

/// The entity tag of a pool.
pub fn etag(pool: &MapPool) -> String {
    format!("\"{}\"", pool.last_change)
}

/// Whether a header `If-None-Match` or `If-Match` names this entity tag.
pub fn names(header: &str, etag: &str) -> bool {
    header
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// A CRUSH rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CrushRule {
    /// Its number.
    pub id: i64,
    /// Its name: what `crush_rule` of a pool is.
    pub name: String,
    /// Which pools may use it: 1 replicated, 3 erasure-coded, 4 and 5 the same with several OSDs a failure domain.
    #[serde(rename = "type")]
    pub kind: u8,
    /// What it does.
    pub steps: Vec<CrushStep>,
}

/// One step of a CRUSH rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CrushStep {
    /// What it does, such as `take` or `chooseleaf_firstn`.
    pub op: String,
    /// Where a `take` begins: the name of a bucket or device.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub item_name: Option<String>,
    /// How many are chosen; 0 is as many as the pool has copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub num: Option<i32>,
    /// What is chosen: the name of a type of buckets.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bucket_type: Option<String>,
}

/// The CRUSH rules of a cluster, by number.
pub fn crush_rules(view: &ClusterView) -> Vec<CrushRule> {
    let crush = view.crush();
    let name_of = |item: i32| {
        let bucket = crush.buckets.get(&item).map(|bucket| bucket.name.clone());
        bucket
            .or_else(|| crush.devices.get(&item).map(|device| device.name.clone()))
            .unwrap_or_else(|| item.to_string())
    };
    let plain = |op: &str| CrushStep {
        op: op.to_owned(),
        item_name: None,
        num: None,
        bucket_type: None,
    };
    let step = |step: &Step| match step {
        Step::Noop => plain("noop"),
        Step::Emit => plain("emit"),
        Step::Take { item } => CrushStep {
            item_name: Some(name_of(*item)),
            ..plain("take")
        },
        Step::Choose {
            way,
            count,
            bucket_type,
        } => CrushStep {
            num: Some(*count),
            bucket_type: Some(bucket_type.clone()),
            ..plain(way.name())
        },
        Step::Set { step, value } => CrushStep {
            num: Some(*value),
            ..plain(&format!("set_{step}"))
        },
        Step::Unknown { step, .. } => plain(&format!("unknown_{step}")),
    };
    let rules = crush.rules.iter();
    rules
        .map(|(id, rule)| CrushRule {
            id: *id,
            name: rule.name.clone(),
            kind: rule.kind,
            steps: rule.steps.iter().map(step).collect(),
        })
        .collect()
}

/// A request: one change of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserRequest {
    /// Its ID.
    pub id: String,
    /// How far it is. `complete` says nothing about success.
    pub state: StateName,
    /// Whether it ended without success.
    pub error: bool,
    /// Why; empty otherwise.
    pub error_message: String,
    /// What it does, in a few words.
    pub headline: String,
    /// How far it is, in words.
    pub status: String,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub requested_at: String,
    /// When it ended; null while it has not.
    #[schema(required = true, format = DateTime)]
    pub completed_at: Option<String>,
    /// Who asked for it; null where that is not known.
    #[schema(required = true)]
    pub requested_by: Option<String>,
    /// What kind of change it is: create, update, delete, rename, adopt, or correct for one that puts back what others
    /// changed.
    pub operation: &'static str,
    /// The ClusterConnection.
    pub connection: String,
    /// The namespace of its CephPool.
    pub namespace: String,
    /// Its CephPool.
    pub object: String,
    /// The fields of the CephPool's spec that it changes.
    pub changed_fields: Vec<String>,
    /// How it ended: succeeded, superseded, failed or cancelled; null while it has not.
    #[schema(required = true)]
    pub outcome: Option<&'static str>,
    /// The epoch of the OSD map that has to show the change; null while that is not known.
    #[schema(required = true)]
    pub awaited_epoch: Option<i64>,
    /// The epoch of the OSD map that showed it; null while none has.
    #[schema(required = true)]
    pub observed_epoch: Option<i64>,
    /// The commands that were sent: those of a round at once, the rounds one after the other.
    pub rounds: Vec<Round>,
}

/// Commands that were sent at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Round {
    /// The epoch of the OSD map read after them; null where none was.
    #[schema(required = true)]
    pub epoch: Option<i64>,
    /// The commands.
    pub commands: Vec<Command>,
}

/// A command and Ceph's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Command {
    /// As a person would type it.
    pub command: String,
    /// 0, or a negative errno such as -22; null while there is no answer.
    #[schema(required = true)]
    pub code: Option<i32>,
    /// Ceph's text.
    pub text: String,
    /// When it was sent.
    #[schema(required = true, format = DateTime)]
    pub started_at: Option<String>,
    /// When it was answered.
    #[schema(required = true, format = DateTime)]
    pub completed_at: Option<String>,
}

/// How far a request is, in Calamari's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// Nothing has been sent.
    New,
    /// It is under way.
    Submitted,
    /// It has ended, one way or another.
    Complete,
}

impl StateName {
    /// The state of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "new" => Some(Self::New),
            "submitted" => Some(Self::Submitted),
            "complete" => Some(Self::Complete),
            _ => None,
        }
    }
}

/// How far a request is.
pub fn state(request: &CephRequest) -> StateName {
    let status = request.status.as_ref();
    state_name(status.map(|status| status.state).unwrap_or_default())
}

/// A state in Calamari's words.
pub const fn state_name(state: RequestState) -> StateName {
    match state {
        RequestState::New => StateName::New,
        RequestState::Submitted | RequestState::AwaitingOsdMap => StateName::Submitted,
        RequestState::Complete => StateName::Complete,
    }
}

/// When a request was asked for: what lists are ordered by.
pub fn requested_at(request: &CephRequest) -> Timestamp {
    let times = [
        request.spec.requested_at.as_ref(),
        request.metadata.creation_timestamp.as_ref(),
    ];
    let first = times.into_iter().flatten().next();
    first.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// A request in words of the API.
pub fn user_request(request: &CephRequest) -> UserRequest {
    let (spec, status) = (&request.spec, request.status.clone().unwrap_or_default());
    let outcome = status
        .outcome
        .filter(|_| status.state == RequestState::Complete);
    let failed = outcome.is_some_and(|outcome| outcome != Outcome::Succeeded);
    let error_message = if failed {
        let without_words = outcome.map(outcome_name).unwrap_or_default();
        let words = status.error.filter(|error| !error.is_empty());
        words.unwrap_or_else(|| without_words.to_owned())
    } else {
        String::new()
    };
    let told = match (status.state, status.awaited_epoch) {
        (RequestState::New, _) => "Waiting to begin".to_owned(),
        (RequestState::AwaitingOsdMap, Some(epoch)) => format!("Waiting for OSD map epoch {epoch}"),
        (RequestState::Submitted | RequestState::AwaitingOsdMap, _) => "Running".to_owned(),
        (RequestState::Complete, _) if failed => format!("Failed ({error_message})"),
        (RequestState::Complete, _) => "Completed successfully".to_owned(),
    };
    let rounds = status.rounds.into_iter().map(|round| Round {
        epoch: round.epoch,
        commands: round.commands.into_iter().map(command).collect(),
    });
    UserRequest {
        id: request.metadata.name.clone().unwrap_or_default(),
        state: state(request),
        error: failed,
        error_message,
        headline: status.headline,
        status: told,
        requested_at: text(requested_at(request)),
        completed_at: status.completed_at.map(|time| text(time.0)),
        requested_by: spec.requested_by.clone(),
        operation: match spec.operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Rename => "rename",
            Operation::Adopt => "adopt",
            Operation::Correct => "correct",
        },
        connection: spec.connection.clone(),
        namespace: request.metadata.namespace.clone().unwrap_or_default(),
        object: spec.pool_ref.name.clone(),
        changed_fields: spec.changed_fields.clone(),
        outcome: outcome.map(outcome_name),
        awaited_epoch: status.awaited_epoch,
        observed_epoch: status.observed_epoch,
        rounds: rounds.collect(),
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Superseded => "superseded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    }
}

fn command(record: CommandRecord) -> Command {
    let time = |time: Option<Time>| time.map(|time| text(time.0));
    Command {
        command: record.command,
        code: record.code,
        text: record.text,
        started_at: time(record.started_at),
        completed_at: time(record.completed_at),
    }
}

/// A time as Calamari wrote it: with an offset, which older readers want.
pub fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

#[cfg(test)]
mod tests;
