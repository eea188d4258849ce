//! `CephRequest` objects: the durable history of what was asked for and done.
//!
//! Created before the first round and completed at the end, not written in between. Deleting
//! one loses history, nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::file::FIELD_MANAGER;
use super::status::second;
use crate::api::v1alpha1::{
    CephPool, CephRequest, CephRequestSpec, CephRequestStatus, CommandRecord, Operation, Outcome,
    PoolReference, RequestState, RequestedValue, RoundRecord,
};
use crate::ceph::types::Epoch;
use crate::request::user_request::{SentCommand, SentRound, UserRequest};

/// The label that finds the requests of an object, also when it was made again under its name.
pub const POOL_UID_LABEL: &str = "poolwright.dev/pool-uid";
/// How many are read at once.
const PAGE: u32 = 500;
/// How many fields a record names.
const FIELDS: usize = 256;
/// The longest value that a record has.
const VALUE_LIMIT: usize = 512;
/// How many completed requests of a pool are kept.
const KEPT: usize = 10;
/// How long each is kept at least.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Makes the record of a request. One that is there already is fine; where the namespace is being
/// deleted and refuses it, the work goes on without.
pub async fn create(
    client: &Client,
    pool: &CephPool,
    request: &UserRequest,
) -> Result<(), kube::Error> {
    let api = api(client, pool);
    let object = CephRequest {
        metadata: ObjectMeta {
            name: Some(request.id.clone()),
            labels: pool
                .uid()
                .map(|uid| [(POOL_UID_LABEL.to_owned(), uid)].into()),
            ..ObjectMeta::default()
        },
        spec: spec(pool, request),
        status: None,
    };
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&parameters, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.is_already_exists() => Ok(()),
        Err(kube::Error::Api(answer))
            if answer.is_forbidden() && answer.message.contains("being terminated") =>
        {
            tracing::info!(
                request = request.id,
                "the namespace is being deleted: no record of the request"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Fills in what was reserved before its change was applied: the object shows it.
pub async fn bind(
    client: &Client,
    pool: &CephPool,
    reserved: &CephRequest,
) -> Result<(), kube::Error> {
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (uid, generation) = (pool.uid(), pool.metadata.generation.unwrap_or_default());
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": reserved.resource_version(), "labels": {POOL_UID_LABEL: &uid}},
        "spec": {"poolRef": {"uid": &uid, "generation": generation}},
    }));
    match api(client, pool)
        .patch(&reserved.name_any(), &parameters, &patch)
        .await
    {
        Ok(_) => Ok(()),
        // Whoever reserved it was faster.
        Err(kube::Error::Api(answer)) if answer.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes how a request ended. One that was deleted stays deleted.
pub async fn complete(
    client: &Client,
    pool: &CephPool,
    request: &UserRequest,
) -> Result<(), kube::Error> {
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": status(request)}));
    match api(client, pool)
        .patch_status(&request.id, &parameters, &patch)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes old records: the newest 10 of a pool stay, and each stays 24 hours after its end.
pub async fn prune(client: &Client, pool: &CephPool, now: Timestamp) -> Result<(), kube::Error> {
    let Some(uid) = pool.uid() else { return Ok(()) };
    let made = pool.creation_timestamp();
    if made.is_some_and(|made| now.duration_since(made.0).unsigned_abs() < KEPT_FOR) {
        // An object this young has no record that is old enough: many pools made at once list nothing.
        return Ok(());
    }
    let api = api(client, pool);
    let found = api
        .list(&ListParams::default().labels(&format!("{POOL_UID_LABEL}={uid}")))
        .await?;
    for name in prunable(found.items, now) {
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Which records of one pool may go.
fn prunable(mut requests: Vec<CephRequest>, now: Timestamp) -> Vec<String> {
    let completed = |request: &CephRequest| {
        request
            .status
            .as_ref()
            .filter(|status| status.state == RequestState::Complete)
            .and_then(|status| status.completed_at.clone())
            .map(|time| time.0)
    };
    requests.sort_by_key(|request| std::cmp::Reverse(completed(request).unwrap_or(Timestamp::MAX)));
    let old = |time: Timestamp| now.duration_since(time).unsigned_abs() > KEPT_FOR && time < now;
    requests
        .iter()
        .skip(KEPT)
        .filter(|request| completed(request).is_some_and(old))
        .map(ResourceExt::name_any)
        .collect()
}

/// What an earlier controller wrote about a request that it did not end.
pub async fn find(
    client: &Client,
    pool: &CephPool,
    id: &str,
) -> Result<Option<CephRequest>, kube::Error> {
    api(client, pool).get_opt(id).await
}

fn api(client: &Client, pool: &CephPool) -> Api<CephRequest> {
    Api::namespaced(client.clone(), &pool.namespace().unwrap_or_default())
}

fn spec(pool: &CephPool, request: &UserRequest) -> CephRequestSpec {
    CephRequestSpec {
        pool_ref: PoolReference {
            name: pool.name_any(),
            uid: pool.uid().unwrap_or_default(),
            generation: request.generation,
        },
        connection: pool.spec.connection_ref.name.clone(),
        operation: request.operation,
        changed_fields: request.fields.keys().take(FIELDS).cloned().collect(),
        desired: desired(&request.fields),
        reason: Some(
            match request.operation {
                Operation::Correct => "the pool differed from the manifest",
                Operation::Create => "the object was created",
                Operation::Delete => "the object was deleted",
                Operation::Update | Operation::Rename | Operation::Adopt => {
                    "the manifest was changed"
                }
            }
            .to_owned(),
        ),
        requested_by: None,
        requested_at: Some(second(request.started_at)),
        idempotency_key: None,
        retry_of: request.retry_of.clone(),
    }
}

/// The fields of a request with the values they shall have, as far as they are known and fit.
pub fn desired(fields: &BTreeMap<String, String>) -> BTreeMap<String, RequestedValue> {
    let known = fields
        .iter()
        .filter(|(field, value)| !value.is_empty() && value.len().max(field.len()) <= VALUE_LIMIT);
    known
        .take(FIELDS)
        .map(|(field, value)| (field.clone(), RequestedValue(value.clone())))
        .collect()
}

fn status(request: &UserRequest) -> CephRequestStatus {
    CephRequestStatus {
        state: request.state,
        outcome: request.outcome,
        error: request.error.clone(),
        headline: request.headline.clone(),
        rounds: request.rounds.iter().map(round).collect(),
        awaited_epoch: request
            .awaited_epoch
            .and_then(|epoch| i64::try_from(epoch.0).ok()),
        observed_epoch: request
            .observed_epoch
            .and_then(|epoch| i64::try_from(epoch.0).ok()),
        started_at: Some(second(request.started_at)),
        completed_at: request.completed_at.map(second),
    }
}

fn round(round: &SentRound) -> RoundRecord {
    RoundRecord {
        commands: round
            .commands
            .iter()
            .map(|command| CommandRecord {
                command: command.line.clone(),
                code: command.code,
                text: command.text.clone(),
                started_at: Some(Time(command.started_at)),
                completed_at: Some(Time(command.completed_at)),
            })
            .collect(),
        epoch: round.epoch.and_then(|epoch| i64::try_from(epoch.0).ok()),
    }
}

/// The rounds in a record, for a request that is taken up again.
pub fn sent_rounds(status: &CephRequestStatus) -> Vec<SentRound> {
    status
        .rounds
        .iter()
        .map(|round| SentRound {
            commands: round
                .commands
                .iter()
                .map(|command| SentCommand {
                    line: command.command.clone(),
                    code: command.code,
                    text: command.text.clone(),
                    started_at: time(command.started_at.as_ref()),
                    completed_at: time(command.completed_at.as_ref()),
                })
                .collect(),
            epoch: round.epoch.map(|epoch| Epoch(epoch.unsigned_abs())),
        })
        .collect()
}

fn time(time: Option<&Time>) -> Timestamp {
    time.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// All requests that have not ended, page by page; of those that a label chooses.
pub async fn unfinished(
    client: &Client,
    label: Option<&str>,
) -> Result<Vec<CephRequest>, kube::Error> {
    let all: Api<CephRequest> = Api::all(client.clone());
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    page.label_selector = label.map(str::to_owned);
    loop {
        let list = all.list(&page).await?;
        found.extend(
            list.items
                .into_iter()
                .filter(|request| !is_complete(request)),
        );
        match list.metadata.continue_ {
            Some(next) if !next.is_empty() => page.continue_token = Some(next),
            _ => return Ok(found),
        }
    }
}

fn is_complete(request: &CephRequest) -> bool {
    let state = request.status.as_ref().map(|status| status.state);
    state == Some(RequestState::Complete)
}

/// Ends the records of an object that is gone.
pub async fn fail_orphans(client: &Client, namespace: &str, uid: &str) -> Result<(), kube::Error> {
    let api: Api<CephRequest> = Api::namespaced(client.clone(), namespace);
    let found = api
        .list(&ListParams::default().labels(&format!("{POOL_UID_LABEL}={uid}")))
        .await?;
    for request in found.items.iter().filter(|request| !is_complete(request)) {
        fail_record(client, request, GONE, Timestamp::now()).await;
    }
    Ok(())
}

/// What the request of an object that is gone ends with.
pub const GONE: &str = "the CephPool is gone";

/// Ends the record of a request that nobody works on, as `Failed`. One that cannot be ended does not keep the others.
pub async fn fail_record(client: &Client, request: &CephRequest, words: &str, now: Timestamp) {
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": {
        "state": RequestState::Complete,
        "outcome": Outcome::Failed,
        "error": words,
        "completedAt": second(now),
    }}));
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<CephRequest> = Api::namespaced(client.clone(), &namespace);
    match api
        .patch_status(&request.name_any(), &parameters, &patch)
        .await
    {
        Ok(_) => {}
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
        Err(error) => tracing::warn!(
            request = request.name_any(),
            error = super::chain(&error),
            "cannot end a request that nobody works on"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(name: &str, hours_ago: i64, now: Timestamp) -> CephRequest {
        let mut request = CephRequest::new(
            name,
            CephRequestSpec {
                pool_ref: PoolReference::default(),
                connection: "main".into(),
                operation: Operation::Update,
                changed_fields: Vec::new(),
                desired: BTreeMap::new(),
                reason: None,
                requested_by: None,
                requested_at: None,
                idempotency_key: None,
                retry_of: None,
            },
        );
        request.status = Some(CephRequestStatus {
            state: RequestState::Complete,
            completed_at: Some(Time(now - jiff::SignedDuration::from_hours(hours_ago))),
            ..CephRequestStatus::default()
        });
        request
    }

    /// Ten are kept whatever their age, and a day is kept whatever their number.
    #[test]
    fn pruning() {
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let mut all: Vec<_> = (0..15)
            .map(|i| ended(&format!("young{i}"), 1, now))
            .collect();
        assert!(prunable(all.clone(), now).is_empty());
        all.push(ended("old", 30, now));
        assert_eq!(prunable(all, now), ["old"]);
        let few: Vec<_> = (0..10)
            .map(|i| ended(&format!("old{i}"), 48, now))
            .collect();
        assert!(prunable(few, now).is_empty());
        let mut open = ended("open", 99, now);
        open.status = None;
        let many: Vec<_> = (0..10)
            .map(|i| ended(&format!("o{i}"), 48, now))
            .chain([open])
            .collect();
        assert_eq!(prunable(many, now).len(), 1);
    }
}
