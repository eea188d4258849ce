//! The request that a change becomes: its ID, reserved for a caller's key, and its record.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::answer::accepted;
use super::caller::Caller;
use super::ids::{self, Change, Key, Known};
use super::merge::FIELD_MANAGER;
use super::objects::Target;
use super::problem::{Kind, Problem};
use super::shim::Shim;
use super::writes::of_api;
use crate::api::v1alpha1::{
    CephPool, CephRequest, CephRequestSpec, LABEL_ORIGIN, ORIGIN_REST, Operation, PoolReference,
};
use crate::controller::chain;
use crate::controller::requests::{POOL_UID_LABEL, desired as as_recorded};
use crate::failpoint;

/// The header with a caller's key.
pub const HEADER: &str = "Idempotency-Key";
/// How long a call waits for another one with the same key.
const WAIT: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);
/// How often the record is tried to be made.
const TRIES: u32 = 3;

/// What a call with a key comes to.
#[derive(Debug)]
pub enum Begun {
    /// A new request.
    New(Box<Ticket>),
    /// It was asked for before, and this is the answer.
    Before(Box<Response>),
}

/// The request of one change.
#[derive(Debug)]
pub struct Ticket {
    /// The request's ID.
    pub id: String,
    shim: Shim,
    caller: String,
    key: Option<Key>,
    reserved: Option<CephRequest>,
}

/// What a request is about.
#[derive(Clone, Debug)]
pub struct About {
    /// The object.
    pub target: Target,
    /// Its connection.
    pub connection: String,
    /// What is done.
    pub operation: Operation,
    /// What is changed, in the words of plans.
    pub desired: BTreeMap<String, String>,
}

impl Ticket {
    /// Finds out whether a change was asked for before, by the caller's key; else gives it an ID.
    ///
    /// # Errors
    ///
    /// 400 for a key that is none, 409 for one that is being used at this moment, 422 for one that was used for
    /// something else.
    pub async fn begin(
        shim: &Shim,
        caller: &Caller,
        headers: &HeaderMap,
        change: Change<'_>,
    ) -> Result<Begun, Problem> {
        let new = |id: String, key: Option<Key>, reserved: Option<CephRequest>| {
            Begun::New(Box::new(Self {
                id,
                shim: shim.clone(),
                caller: caller.name().to_owned(),
                key,
                reserved,
            }))
        };
        let Some(given) = headers.get(HEADER) else {
            return Ok(new(uuid::Uuid::new_v4().to_string(), None, None));
        };
        let key = given
            .to_str()
            .ok()
            .and_then(|given| Key::new(caller.name(), given, change))
            .ok_or_else(|| {
                let most = ids::LONGEST_KEY;
                let detail =
                    format!("it has to be 1 to {most} characters of ASCII that can be printed");
                Problem::invalid_field(HEADER, detail)
            })?;
        let until = Instant::now() + WAIT;
        loop {
            let mut there = Vec::new();
            for id in key.ids() {
                there.extend(shim.requests().in_memory(&id));
            }
            let known: Vec<&CephRequest> = there.iter().map(AsRef::as_ref).collect();
            match key.known(&known, Timestamp::now()) {
                Some(Known::Unused(id)) => {
                    // Another replica may have made it a moment ago.
                    let fresh = shim.requests().find(&id).await?;
                    let fresh: Vec<&CephRequest> = fresh.iter().map(AsRef::as_ref).collect();
                    match key.known(&fresh, Timestamp::now()) {
                        Some(Known::Asked(found)) => return Ok(before(found)),
                        Some(Known::Other(_)) => return Err(other()),
                        Some(Known::UnderWay(_)) => {}
                        Some(Known::Abandoned(found)) => {
                            return Ok(new(id, Some(key), Some(found.clone())));
                        }
                        Some(Known::Unused(_)) | None => return Ok(new(id, Some(key), None)),
                    }
                }
                Some(Known::Asked(found)) => return Ok(before(found)),
                Some(Known::Other(_)) => return Err(other()),
                Some(Known::UnderWay(_)) => {}
                Some(Known::Abandoned(found)) => {
                    return Ok(new(found.name_any(), Some(key), Some(found.clone())));
                }
                None => {
                    return Err(Problem::conflict(
                        "the key was used too often; take another one",
                    ));
                }
            }
            if Instant::now() > until {
                let mut problem =
                    Problem::conflict("the same call is being worked on at this moment");
                problem.retry_after = Some(2);
                return Err(problem);
            }
            sleep(LOOK).await;
        }
    }

    fn api(&self, about: &About) -> Api<CephRequest> {
        Api::namespaced(self.shim.client().clone(), &about.target.namespace)
    }

    fn object(&self, about: &About, of: Option<&CephPool>) -> CephRequest {
        let mut labels = BTreeMap::from([(LABEL_ORIGIN.to_owned(), ORIGIN_REST.to_owned())]);
        labels.extend(
            of.and_then(ResourceExt::uid)
                .map(|uid| (POOL_UID_LABEL.to_owned(), uid)),
        );
        CephRequest {
            metadata: ObjectMeta {
                name: Some(self.id.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: CephRequestSpec {
                pool_ref: PoolReference {
                    name: about.target.name.clone(),
                    uid: of.and_then(ResourceExt::uid).unwrap_or_default(),
                    generation: of.and_then(|of| of.metadata.generation).unwrap_or_default(),
                },
                connection: about.connection.clone(),
                operation: about.operation,
                changed_fields: about.desired.keys().take(256).cloned().collect(),
                desired: as_recorded(&about.desired),
                reason: Some("asked for over the REST API".to_owned()),
                requested_by: Some(self.caller.chars().take(512).collect()),
                requested_at: Some(Time(Timestamp::now())),
                idempotency_key: self.key.as_ref().map(Key::text),
                retry_of: None,
            },
            status: None,
        }
    }

    /// Keeps the ID for the caller's key, where there is one, before anything is applied.
    ///
    /// # Errors
    ///
    /// What the API server says; 409 when another call was faster.
    pub async fn reserve(&mut self, about: &About) -> Result<(), Problem> {
        if self.key.is_none() {
            return Ok(());
        }
        if let Some(reserved) = &self.reserved {
            if reserved.spec.pool_ref.name == about.target.name
                && reserved.namespace().as_ref() == Some(&about.target.namespace)
            {
                return Ok(());
            }
            // It was reserved for an object of another name.
            self.give_up().await;
        }
        let object = self.object(about, None);
        match self.api(about).create(&parameters(), &object).await {
            Ok(made) => {
                self.reserved = Some(made);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let mut problem =
                    Problem::conflict("the same call is being worked on at this moment");
                problem.retry_after = Some(1);
                Err(problem)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                let detail = format!("there is no namespace {}", about.target.namespace);
                Err(Problem::invalid_field("namespace", detail))
            }
            Err(error) => Err(of_api(&error)),
        }
    }

    /// The call failed: the key is free again, unless the change may have been applied. Then the object tells, by the ID.
    pub async fn give_up_after(&mut self, problem: &Problem) {
        if !problem.may_be_done {
            self.give_up().await;
        }
    }

    /// Nothing was applied: the key is free again.
    pub async fn give_up(&mut self) {
        let Some(reserved) = self.reserved.take() else {
            return;
        };
        let namespace = reserved.namespace().unwrap_or_default();
        let api: Api<CephRequest> = Api::namespaced(self.shim.client().clone(), &namespace);
        // The controller may have found out otherwise, and taken it for the record of what was applied.
        let untouched = DeleteParams::default().preconditions(Preconditions {
            resource_version: reserved.resource_version(),
            uid: reserved.uid(),
        });
        if let Err(error) = api.delete(&self.id, &untouched).await {
            tracing::warn!(
                request = self.id,
                error = chain(&error),
                "a reserved request stays"
            );
        }
    }

    /// Makes the record of what was applied. The object tells the controller of the request by itself, so that one which
    /// cannot be made now is made by that.
    pub async fn record(&self, about: &About, applied: &CephPool) -> Response {
        failpoint::reach(|| "before rest record".to_owned());
        for attempt in 0..TRIES {
            match self.write(about, applied).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(
                    request = self.id,
                    attempt,
                    error = chain(&error),
                    "cannot make the record of a request"
                ),
            }
            sleep(LOOK * (attempt + 1)).await;
        }
        failpoint::reach(|| "after rest record".to_owned());
        accepted(&self.id, about.target.audit())
    }

    async fn write(&self, about: &About, applied: &CephPool) -> Result<(), kube::Error> {
        let api = self.api(about);
        let object = self.object(about, Some(applied));
        if self.reserved.is_none() {
            match api.create(&parameters(), &object).await {
                // The controller was faster, and does not know who asked.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                made => return made.map(drop),
            }
        }
        let spec = if self.reserved.is_some() {
            json!({"poolRef": object.spec.pool_ref})
        } else {
            json!({
                "requestedBy": object.spec.requested_by, "reason": object.spec.reason,
                "changedFields": object.spec.changed_fields, "desired": object.spec.desired,
            })
        };
        let patch = json!({"metadata": {"labels": object.metadata.labels}, "spec": spec});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch(&self.id, &parameters, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            // It is filled in already.
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn before(found: &CephRequest) -> Begun {
    let target = Target {
        namespace: found.namespace().unwrap_or_default(),
        name: found.spec.pool_ref.name.clone(),
    };
    Begun::Before(Box::new(accepted(&found.name_any(), target.audit())))
}

fn other() -> Problem {
    Problem::new(
        Kind::KeyReused,
        "the key stands for another call of the last 24 hours; take another one",
    )
    .at(HEADER)
}
