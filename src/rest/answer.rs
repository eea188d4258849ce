//! Answers as HTTP.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{self, Kind, Problem};

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_as(problem::MEDIA_TYPE, status, &self);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge.header()),
            );
        }
        response
    }
}

/// A value as JSON, with a status.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    json_as("application/json", status, value)
}

fn json_as<T: Serialize>(media_type: &'static str, status: StatusCode, value: &T) -> Response {
    let (status, text) = match serde_json::to_vec(value) {
        Ok(text) => (status, text),
        // None of our types can fail: their keys are texts.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        // What one caller may see is for no other, and old at once.
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    (status, headers, text).into_response()
}

/// What was done to which object, for the line in the audit log: an extension of the answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The object, such as `cephpools team-a/foo`.
    pub object: String,
    /// The request that the change became.
    pub request_id: Option<String>,
}

/// The body of a 202: the change is noted, and this is how to follow it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RequestId {
    /// The ID of the request: `GET /api/v2/request/{request_id}` tells how far it is.
    #[schema(example = "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd")]
    pub request_id: String,
}

/// A 202: the change is noted under this request ID.
pub fn accepted(request_id: &str, object: String) -> Response {
    let body = RequestId {
        request_id: request_id.to_owned(),
    };
    let mut response = json(StatusCode::ACCEPTED, &body);
    if let Ok(location) = HeaderValue::try_from(format!("/api/v2/request/{request_id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.extensions_mut().insert(Touched {
        object,
        request_id: Some(request_id.to_owned()),
    });
    response
}

/// A 304: nothing has changed, or nothing has to.
pub fn not_modified() -> Response {
    StatusCode::NOT_MODIFIED.into_response()
}

/// Puts an entity tag on an answer.
pub fn tagged(mut response: Response, etag: &str) -> Response {
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Makes a problem of an error that has no body of its own, such as the router's 404 and 405. Headers such as `Allow`
/// stay.
pub fn as_problem(response: Response, path: &str, method: &str) -> Response {
    let status = response.status();
    let told = response.headers().get(CONTENT_TYPE);
    if !(status.is_client_error() || status.is_server_error())
        || told.is_some_and(|told| told == problem::MEDIA_TYPE)
    {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => {
            format!("there is nothing at {path}; GET /api/v2/openapi.json lists what there is")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get("allow");
            let allowed = allowed.and_then(|allowed| allowed.to_str().ok());
            format!(
                "{path} has no {method}, only {}",
                allowed.unwrap_or("others")
            )
        }
        _ => status.to_string(),
    };
    let mut problem = Problem::new(Kind::of_status(status.as_u16()), detail);
    problem.status = status.as_u16();
    let (mut parts, _) = response.into_parts();
    let (new, body) = problem.into_response().into_parts();
    parts.headers.remove("content-length");
    merge(&mut parts.headers, new.headers);
    Response::from_parts(parts, Body::new(body))
}

fn merge(headers: &mut HeaderMap, more: HeaderMap) {
    for (name, value) in more {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
}
