//! Writing CephPools: created at once or not at all, applied over what was read, one change of an object at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use tokio::time::sleep;

use super::attributes::Set;
use super::merge::{self, Beside, FIELD_MANAGER};
use super::objects::{self, Target};
use super::problem::{Kind, Problem};
use super::shim::AWAY;
use crate::api::v1alpha1::{ANNOTATION_CONFIRM, CephPool};
use crate::controller::chain;
use crate::failpoint;
use crate::request::token;

/// How often an apply is tried again that somebody else was faster than.
const TRIES: u32 = 20;
/// How long before the first of them.
const PAUSE: Duration = Duration::from_millis(10);
/// Under which name a person's word is written: it is not one of the fields that are applied.
const CONFIRMER: &str = "poolwright-rest-confirm";

/// One change of an object at a time, in this process; over several replicas the resourceVersion sees to that.
#[derive(Default)]
pub struct Locks(Mutex<HashMap<String, Weak<Turns<()>>>>);

impl fmt::Debug for Locks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Locks").finish_non_exhaustive()
    }
}

impl Locks {
    /// Waits for the turn.
    pub async fn of(&self, target: &Target) -> OwnedMutexGuard<()> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turns| turns.strong_count() > 0);
            let key = target.audit();
            let there = all.get(&key).and_then(Weak::upgrade);
            there.unwrap_or_else(|| {
                let turns = Arc::new(Turns::new(()));
                all.insert(key, Arc::downgrade(&turns));
                turns
            })
        };
        turns.lock_owned().await
    }
}

/// What came of a creation.
#[derive(Debug)]
pub enum Created {
    /// The object.
    Made(Box<CephPool>),
    /// There is an object for this pool by now.
    There(Box<CephPool>),
}

/// Makes the object of a pool under the first of these names that is free.
///
/// # Errors
///
/// What the API server says.
pub async fn create(
    client: &Client,
    namespace: &str,
    names: &[String],
    object: &Value,
) -> Result<Created, Problem> {
    let api: Api<CephPool> = Api::namespaced(client.clone(), namespace);
    let wanted = |object: &CephPool| {
        let connection = object.spec.connection_ref.name.clone();
        (connection, object.wanted_pool_name().to_owned())
    };
    let mut wish = None;
    for name in names {
        let mut object = object.clone();
        merge::place(&mut object, &["metadata", "name"], json!(name));
        let object: CephPool = serde_json::from_value(object)
            .map_err(|error| Problem::invalid(format!("the pool cannot be so: {error}")))?;
        wish = Some(wanted(&object));
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        failpoint::reach(|| "before rest create".to_owned());
        match api.create(&parameters, &object).await {
            Ok(made) => {
                failpoint::reach(|| "after rest create".to_owned());
                return Ok(Created::Made(Box::new(made)));
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = api.get_opt(name).await.map_err(|error| of_api(&error))?;
                if let Some(there) = there
                    && Some(wanted(&there)) == wish
                {
                    return Ok(Created::There(Box::new(there)));
                }
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                let detail = format!("there is no namespace {namespace}");
                return Err(Problem::invalid_field("namespace", detail));
            }
            Err(error) => return Err(of_api(&error)),
        }
    }
    let taken = names.join(" and ");
    let (_, pool) = wish.unwrap_or_default();
    Err(Problem::conflict(format!(
        "in the namespace {namespace} the names {taken} are taken by the objects of other pools than {pool}"
    )))
}

/// What an apply is to change, found out from the object as it is.
#[derive(Debug)]
pub struct Change {
    /// Fields of the spec.
    pub sets: Vec<Set>,
    /// Finalizers that it needs.
    pub finalizers: Vec<&'static str>,
}

/// Applies a change to an object: everything that was applied before, and this. Tried again when somebody else was faster.
///
/// # Errors
///
/// 409 when a field is somebody else's, and what `plan` says.
pub async fn apply(
    client: &Client,
    first: CephPool,
    annotations: &[(&'static str, &str)],
    force: bool,
    plan: impl Fn(&CephPool) -> Result<Change, Problem> + Send,
) -> Result<CephPool, Problem> {
    let target = Target::of(&first);
    let uid = first.uid();
    let api: Api<CephPool> = Api::namespaced(client.clone(), &target.namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER);
    let parameters = if force {
        parameters.force()
    } else {
        parameters
    };
    let mut newest = Some(first);
    for attempt in 0..TRIES {
        let object = match newest.take() {
            Some(object) => object,
            None => read(&api, &target).await?,
        };
        if object.uid() != uid {
            return Err(gone(&target));
        }
        let change = plan(&object)?;
        let object = serde_json::to_value(&object).unwrap_or_default();
        if let Some(fields) = merge::as_applied(&object) {
            // The next try has it.
            upgrade(&api, &target, &object, &fields).await?;
            continue;
        }
        let beside = Beside {
            annotations: annotations.iter().copied().collect(),
            finalizers: change.finalizers,
        };
        let whole = merge::applied(&object, &change.sets, &beside);
        failpoint::reach(|| "before rest apply".to_owned());
        match api
            .patch(&target.name, &parameters, &Patch::Apply(&whole))
            .await
        {
            Ok(after) => {
                failpoint::reach(|| "after rest apply".to_owned());
                return Ok(after);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let owned = merge::owned(&status);
                if !owned.is_empty() {
                    return Err(objects::owned(&owned));
                }
                sleep(PAUSE * attempt.min(10)).await;
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => return Err(gone(&target)),
            Err(error) => return Err(of_api(&error)),
        }
    }
    let mut problem = Problem::conflict(format!(
        "CephPool {}/{} is written by others all the time; try again",
        target.namespace, target.name
    ));
    problem.retry_after = Some(1);
    Err(problem)
}

/// An object as it is now, with its managed fields.
///
/// # Errors
///
/// 409 when it is gone.
pub async fn read(api: &Api<CephPool>, target: &Target) -> Result<CephPool, Problem> {
    let found = api.get_opt(&target.name).await;
    found
        .map_err(|error| of_api(&error))?
        .ok_or_else(|| gone(target))
}

/// Takes the fields of a creation for applied.
async fn upgrade(
    api: &Api<CephPool>,
    target: &Target,
    object: &Value,
    fields: &Value,
) -> Result<(), Problem> {
    let version = object.pointer("/metadata/resourceVersion");
    let patch = json!({"metadata": {"resourceVersion": version, "managedFields": fields}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match api
        .patch(&target.name, &parameters, &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(gone(target)),
        Err(error) => Err(of_api(&error)),
    }
}

/// Writes down a person's word, beside those that were given before.
///
/// # Errors
///
/// What the API server says.
pub async fn confirm(api: &Api<CephPool>, object: &CephPool, given: &str) -> Result<(), Problem> {
    let before = object.annotations().get(ANNOTATION_CONFIRM);
    let mut tokens = before.map(|text| token::parse(text)).unwrap_or_default();
    tokens.extend(token::parse(given));
    let all: Vec<String> = tokens.into_iter().collect();
    let patch = json!({"metadata": {
        "uid": object.uid(), "annotations": {ANNOTATION_CONFIRM: all.join(",")},
    }});
    let parameters = PatchParams {
        field_manager: Some(CONFIRMER.to_owned()),
        ..PatchParams::default()
    };
    let name = object.name_any();
    let written = api.patch(&name, &parameters, &Patch::Merge(&patch)).await;
    written.map(drop).map_err(|error| of_api(&error))
}

/// Deletes an object, and no other of its name.
///
/// # Errors
///
/// What the API server says.
pub async fn delete(api: &Api<CephPool>, object: &CephPool) -> Result<(), Problem> {
    let parameters = DeleteParams::default().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    failpoint::reach(|| "before rest delete".to_owned());
    match api.delete(&object.name_any(), &parameters).await {
        Ok(_) => Ok(()),
        // It is gone, as it was to be.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 409 => Ok(()),
        Err(error) => Err(of_api(&error)),
    }
}

fn gone(target: &Target) -> Problem {
    Problem::conflict(format!(
        "CephPool {}/{} was deleted meanwhile",
        target.namespace, target.name
    ))
}

/// What the API server said, to the caller.
pub fn of_api(error: &kube::Error) -> Problem {
    let kube::Error::Api(status) = error else {
        tracing::warn!(error = chain(error), "the API server did not answer");
        let mut problem = Problem::unavailable("the API server does not answer", AWAY);
        problem.may_be_done = true;
        return problem;
    };
    match status.code {
        400 | 422 => Problem::invalid(status.message.clone()),
        409 => Problem::conflict(status.message.clone()),
        // Admission and quotas; the caller's own rights were looked at before.
        403 if !status.message.contains("cannot ") => {
            Problem::new(Kind::Forbidden, status.message.clone())
        }
        _ => {
            tracing::warn!(
                error = chain(error),
                "the API server refused a call of the REST API"
            );
            let mut problem = Problem::unavailable(
                format!(
                    "the API server does not let the REST API do that: {}",
                    status.message
                ),
                AWAY,
            );
            problem.may_be_done = status.code >= 500;
            problem
        }
    }
}
