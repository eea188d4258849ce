//! What anybody may know: what this is, and how to call it.

use axum::Extension;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::json;

/// What this is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Info {
    /// The program.
    #[schema(example = "poolwright")]
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its licence.
    pub license: &'static str,
}

/// The document, as it is served.
#[derive(Clone, Debug)]
pub struct Document(pub axum::body::Bytes);

/// What this is
#[utoipa::path(
    get,
    path = "/api/v2/info",
    operation_id = "get_info",
    tag = "about",
    security(()),
    responses((status = 200, description = "The program and its version", body = Info))
)]
pub async fn info() -> Response {
    let info = Info {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        license: env!("CARGO_PKG_LICENSE"),
    };
    json(StatusCode::OK, &info)
}

/// This document
#[utoipa::path(
    get,
    path = "/api/v2/openapi.json",
    operation_id = "get_openapi",
    tag = "about",
    security(()),
    responses((status = 200, description = "The API, as OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
pub async fn openapi(Extension(document): Extension<Document>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(document.0)).into_response()
}
