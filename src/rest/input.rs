//! What a call brings: bodies, paths and queries, whose faults are told as problems.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header::CONTENT_LENGTH};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};

/// The longest body that is read: the longest that says something has a few hundred bytes, and what it is read into takes
/// many times as much as it.
pub const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A JSON body of at most [`LARGEST_BODY`].
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        read(request)
            .await
            .and_then(|bytes| parse(&bytes))
            .map(Self)
    }
}

/// The same, where there may be no body at all.
#[derive(Clone, Debug)]
pub struct MaybeJson<T>(pub Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let told = is_json(request.headers());
        let bytes = read(request).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(None));
        }
        told?;
        parse(&bytes).map(|value| Self(Some(value)))
    }
}

/// Whether the body says that it is JSON, or a kind of it such as `application/merge-patch+json`.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|told| told.to_str().ok());
    let essence = told.map(|told| {
        let essence = told.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    });
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        Some(essence) if essence.starts_with("application/") && essence.ends_with("+json") => {
            Ok(())
        }
        told => Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!(
                "the header Content-Type has to be application/json, not {}",
                told.map_or_else(|| "absent".to_owned(), |told| format!("{told:?}"))
            ),
        )),
    }
}

async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            Kind::TooLarge,
            format!("a body may have at most {LARGEST_BODY} bytes"),
        )
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(too_large());
    }
    let reading = to_bytes(request.into_body(), LARGEST_BODY);
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(error)) => Err(if too_long(&error) {
            too_large()
        } else {
            Problem::invalid("the body ended early")
        }),
        Err(_) => Err(Problem::new(
            Kind::RequestTimeout,
            format!("the body did not arrive within {} s", BODY_TIME.as_secs()),
        )),
    }
}

/// Whether a body could not be read because it goes on past the limit.
fn too_long(error: &dyn std::error::Error) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("the body cannot be read as JSON: {error}")))
}

/// The variables of a path.
#[derive(Clone, Debug)]
pub struct InPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(value)| Self(value))
            // A number that is none names nothing that is there.
            .map_err(|rejection: PathRejection| {
                Problem::not_found(format!(
                    "there is nothing at {}: {}",
                    parts.uri.path(),
                    rejection.body_text()
                ))
            })
    }
}

/// The query of a call.
#[derive(Clone, Debug)]
pub struct InQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|rejection: QueryRejection| Problem::invalid(rejection.body_text()))
    }
}
