//! `POST /request/{id}/cancel`: nothing more is sent for a request.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::answer::{Touched, json as as_json};
use super::caller::Caller;
use super::input::InPath;
use super::merge::FIELD_MANAGER;
use super::problem::Problem;
use super::requests::{told, visible};
use super::shapes::{self, StateName, UserRequest};
use super::shim::Shim;
use super::writes::of_api;
use crate::api::v1alpha1::{ANNOTATION_CANCEL, CephRequest, Operation};

/// Cancel a request
///
/// Nothing more is sent for it: it stops between two rounds, and what was sent is not taken back. One that is complete
/// stays as it is. A removal is stopped by setting `deletionPolicy: Retain` on the CephPool.
#[utoipa::path(
    post,
    path = "/api/v2/request/{request_id}/cancel",
    tag = "request",
    params(("request_id" = String, Path, description = "The request's ID")),
    responses(
        (status = 200, description = "The request as it is now", body = UserRequest),
        (status = 409, description = "It is a removal", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<Response, Problem> {
    let found = visible(&shim, &caller, "patch", &id).await?;
    let namespace = found.namespace().unwrap_or_default();
    let touched = Touched {
        object: format!("cephrequests {namespace}/{}", found.name_any()),
        request_id: Some(found.name_any()),
    };
    let answer = |request: &CephRequest| {
        let mut answer = as_json(StatusCode::OK, &told(&shim, request));
        answer.extensions_mut().insert(touched.clone());
        answer
    };
    if shapes::state(&found) == StateName::Complete {
        return Ok(answer(&found));
    }
    if found.spec.operation == Operation::Delete {
        return Err(Problem::conflict(format!(
            "a removal is stopped by keeping the pool: `kubectl -n {namespace} patch cephpool {} --type=merge -p \
             '{{\"spec\":{{\"deletionPolicy\":\"Retain\"}}}}'`",
            found.spec.pool_ref.name
        )));
    }
    let api: Api<CephRequest> = Api::namespaced(shim.client().clone(), &namespace);
    let patch = json!({"metadata": {"annotations": {ANNOTATION_CANCEL: "true"}}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match api
        .patch(&found.name_any(), &parameters, &Patch::Merge(&patch))
        .await
    {
        Ok(request) => Ok(answer(&request)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(Problem::not_found(format!(
            "there is no request {id} any more"
        ))),
        Err(error) => Err(of_api(&error)),
    }
}
