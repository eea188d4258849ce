//! `DELETE /cluster/{fsid}/pool/{id}`: a pool is removed.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use super::access::Act;
use super::answer::{RequestId, accepted};
use super::attributes::Set;
use super::bodies::Removal;
use super::caller::Caller;
use super::change::{Place, finish};
use super::ids;
use super::input::{InPath, MaybeJson};
use super::merge;
use super::objects::{self, Target};
use super::problem::Problem;
use super::shim::Shim;
use super::ticket::{About, Begun, Ticket};
use super::writes::{self, Change, Created};
use crate::api::v1alpha1::{
    ANNOTATION_CONFIRM, ANNOTATION_DELETION_POOL, ANNOTATION_DELETION_REQUEST_ID, CephPool,
    FINALIZER_POOL, Management, Operation, RequestState,
};
use crate::request::round::POOL_FIELD;

/// Remove a pool
///
/// Sets `deletionPolicy: Delete` on the pool's CephPool and deletes it; a pool that has none is taken over first. Only a
/// pool that is proven empty goes, or one for which the token is given that the request names. The request is complete
/// when the OSD map does not show the pool any more.
#[utoipa::path(
    delete,
    path = "/api/v2/cluster/{fsid}/pool/{pool_id}",
    tag = "pool",
    params(
        ("fsid" = String, Path, description = "The cluster's fsid"),
        ("pool_id" = i64, Path, description = "The pool's number"),
        ("If-Match" = Option<String>, Header, description = "Remove it only while its ETag is this"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the caller's own: the same call with the \
            same key is one request, for 24 hours"),
    ),
    request_body(content = Removal, description = "May be left out"),
    responses(
        (status = 202, description = "It is noted; the request tells how far it is", body = RequestId),
        (status = 409, description = "The policy is somebody else's, or the object cannot be changed", body = Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "The pool has changed since", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key stands for another call", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(shim): State<Shim>,
    caller: Caller,
    InPath((fsid, id)): InPath<(String, i64)>,
    headers: HeaderMap,
    MaybeJson(body): MaybeJson<Map<String, Value>>,
) -> Result<Response, Problem> {
    let body = body.unwrap_or_default();
    let token = token(&body)?;
    let path = format!("/api/v2/cluster/{fsid}/pool/{id}");
    let change = ids::Change {
        method: "DELETE",
        path: &path,
        force: false,
        body: &body,
    };
    let ticket = match Ticket::begin(&shim, &caller, &headers, change).await? {
        Begun::Before(answer) => return Ok(*answer),
        Begun::New(ticket) => *ticket,
    };
    // After that: the same call with the same key has the same answer, also when the pool is gone.
    let place = Place::find(&shim, &caller, &fsid, id, &headers).await?;
    let call = Call {
        shim,
        caller,
        place,
        token,
    };
    finish(Box::pin(call.remove(ticket))).await
}

/// The token in a body, which has nothing else.
fn token(body: &Map<String, Value>) -> Result<Option<String>, Problem> {
    if let Some(other) = body.keys().find(|key| *key != "token") {
        let detail = "there is no such attribute; a removal takes a token at most";
        return Err(Problem::invalid_field(other, detail));
    }
    match body.get("token") {
        None => Ok(None),
        Some(Value::String(token)) if !token.is_empty() => Ok(Some(token.clone())),
        Some(_) => Err(Problem::invalid_field(
            "token",
            "it has to be a text that is not empty",
        )),
    }
}

struct Call {
    shim: Shim,
    caller: Caller,
    place: Place,
    token: Option<String>,
}

impl Call {
    async fn remove(self, mut ticket: Ticket) -> Result<Response, Problem> {
        let answer = Box::pin(self.work(&mut ticket)).await;
        if let Err(problem) = &answer {
            ticket.give_up_after(problem).await;
        }
        answer
    }

    async fn work(&self, ticket: &mut Ticket) -> Result<Response, Problem> {
        let found = objects::of_pool(&self.shim, &self.place.view, &self.place.pool)?;
        if let Some(object) = found {
            return Box::pin(self.of_object(&object, ticket)).await;
        }
        let (namespace, names) = self.place.adopter(&self.shim)?;
        for verb in ["create", "delete"] {
            let act = Act::on_all(verb, "cephpools").within(&namespace);
            self.caller.must(&act).await?;
        }
        let about = about(&namespace, names.first(), &self.place.connection.name);
        let object = self.adopting(&about.target, &ticket.id)?;
        ticket.reserve(&about).await?;
        let client = self.shim.client();
        match writes::create(client, &namespace, &names, &object).await? {
            Created::Made(made) => {
                let about = About {
                    target: Target::of(&made),
                    ..about
                };
                // It is deleted by the controller, as soon as the pool is its own.
                Ok(ticket.record(&about, &made).await)
            }
            Created::There(there) => Box::pin(self.of_object(&there, ticket)).await,
        }
    }

    /// An object that takes the pool over to have it removed.
    fn adopting(&self, target: &Target, id: &str) -> Result<Value, Problem> {
        let place = &self.place;
        if place.connection.spec.management == Management::Observe {
            return Err(Problem::conflict(format!(
                "the ClusterConnection {} only observes, so nothing is removed",
                place.connection.name
            )));
        }
        let mut spec = objects::adopting(&place.connection.name, &place.pool);
        merge::place(&mut spec, &["deletionPolicy"], json!("Delete"));
        if place.pool.applications.is_empty() {
            // Without one there is no mark, and a pool without a mark is not removed.
            merge::place(
                &mut spec,
                &["applications"],
                json!([{"name": self.shim.settings().application}]),
            );
        }
        objects::is_valid(target, None, &spec)?;
        let mut object = objects::manifest(target, &spec);
        merge::place(
            &mut object,
            &["metadata", "annotations"],
            json!({
                ANNOTATION_DELETION_REQUEST_ID: id,
                // By then another pool may have the name.
                ANNOTATION_DELETION_POOL: place.identity().to_string(),
            }),
        );
        merge::place(
            &mut object,
            &["metadata", "finalizers"],
            json!([FINALIZER_POOL]),
        );
        if let Some(token) = &self.token {
            merge::place(
                &mut object,
                &["metadata", "annotations", ANNOTATION_CONFIRM],
                json!(token),
            );
        }
        Ok(object)
    }

    async fn of_object(&self, found: &CephPool, ticket: &mut Ticket) -> Result<Response, Problem> {
        let target = Target::of(found);
        for verb in ["patch", "delete"] {
            let act = Act::on_all(verb, "cephpools");
            let act = act.within(&target.namespace).named(&target.name);
            self.caller.must(&act).await?;
        }
        let management = self.place.management(&self.shim, found)?;
        let _turn = self.shim.locks().of(&target).await;
        let api: Api<CephPool> = Api::namespaced(self.shim.client().clone(), &target.namespace);
        let object = writes::read(&api, &target).await?;
        self.place.is_still(found, &object)?;
        if let Some(token) = &self.token {
            writes::confirm(&api, &object, token).await?;
        }
        if let Some(id) = self.under_way(&object)? {
            // It is being removed: this call is about the same request.
            ticket.give_up().await;
            return Ok(accepted(&id, target.audit()));
        }
        objects::can_be_changed(&object, management)?;
        let about = about(
            &target.namespace,
            Some(&target.name),
            &object.spec.connection_ref.name,
        );
        ticket.reserve(&about).await?;
        let id = ticket.id.clone();
        let plan = |object: &CephPool| {
            self.place.is_still(found, object)?;
            objects::can_be_changed(object, management)?;
            Ok(Change {
                sets: vec![Set {
                    attribute: "deletionPolicy",
                    field: "deletionPolicy",
                    value: json!("Delete"),
                }],
                // Or it would be gone before the controller has seen that its pool is to go with it.
                finalizers: vec![FINALIZER_POOL],
            })
        };
        let pool = self.place.identity().to_string();
        let annotations = [
            (ANNOTATION_DELETION_REQUEST_ID, id.as_str()),
            (ANNOTATION_DELETION_POOL, pool.as_str()),
        ];
        let applied = writes::apply(self.shim.client(), object, &annotations, false, plan).await?;
        let answer = ticket.record(&about, &applied).await;
        if has_pool(&applied)
            && let Err(problem) = writes::delete(&api, &applied).await
        {
            // The request is noted: the controller deletes it as soon as it can.
            tracing::warn!(
                request = id,
                object = target.audit(),
                problem = problem.detail,
                "cannot delete the CephPool of a removal"
            );
        }
        Ok(answer)
    }

    /// The removal that is under way for an object.
    fn under_way(&self, object: &CephPool) -> Result<Option<String>, Problem> {
        if object.metadata.deletion_timestamp.is_none() {
            return Ok(None);
        }
        let uid = object.uid();
        let all = self.shim.requests().all()?;
        let mut of_it = all.iter().filter(|request| {
            let complete = request
                .status
                .as_ref()
                .is_some_and(|status| status.state == RequestState::Complete);
            Some(&request.spec.pool_ref.uid) == uid.as_ref()
                && request.spec.operation == Operation::Delete
                && !complete
        });
        Ok(of_it.next().map(|request| request.name_any()))
    }
}

/// What the request is about.
fn about(namespace: &str, name: Option<&String>, connection: &str) -> About {
    About {
        target: Target {
            namespace: namespace.to_owned(),
            name: name.cloned().unwrap_or_default(),
        },
        connection: connection.to_owned(),
        operation: Operation::Delete,
        desired: [(POOL_FIELD.to_owned(), "absent".to_owned())].into(),
    }
}

/// Whether an object has its pool: else it is deleted when it has.
fn has_pool(object: &CephPool) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| status.pool_id.is_some())
}
