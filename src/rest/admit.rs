//! What happens around every call: who is it, is it his turn, how long did it take, what goes into the audit log.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::access;
use super::answer::{Touched, as_problem};
use super::caller::Caller;
use super::problem::{Kind, Problem};
use super::requests::LONGEST_WAIT;
use super::shim::{AWAY, CALL, Shim};

/// The target of the log lines about changes.
const AUDIT: &str = "poolwright::audit";

/// Who made a call, for those who see only its answer.
#[derive(Clone, Debug)]
struct CalledBy(String);

/// Around everything: every error becomes a problem, a panic too; calls are counted, changes are logged.
pub async fn attend(State(shim): State<Shim>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Only paths that there are: everybody can make up others.
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = if let Ok(response) = answer {
        as_problem(response, &path, method.as_str())
    } else {
        tracing::error!(%method, path, "a call panicked");
        let problem = Problem::new(
            Kind::Internal,
            "this is a fault of the server, and in its log",
        );
        problem.into_response()
    };
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    let status = response.status().as_u16();
    shim.settings()
        .metrics
        .rest_call(known_method(&method), &route, status, began.elapsed());
    if !method.is_safe() && route != "none" {
        audit(&method, &path, status, &response);
    }
    response
}

/// The method as a label: everybody can make up others.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// One line for each call that would change something, whether it did or not.
fn audit(method: &Method, path: &str, status: u16, response: &Response) {
    let extensions = response.extensions();
    let user = extensions.get::<CalledBy>().map(|by| by.0.as_str());
    let touched = extensions.get::<Touched>();
    tracing::info!(
        target: AUDIT,
        user = user.unwrap_or_default(),
        verb = %method,
        path,
        object = touched.map(|touched| touched.object.as_str()).unwrap_or_default(),
        request_id = touched.and_then(|touched| touched.request_id.as_deref()).unwrap_or_default(),
        status,
        "call"
    );
}

/// How long a call may take: longer when it waits for a request to complete.
const fn time_limit(waits: bool) -> Duration {
    if waits {
        CALL.saturating_add(LONGEST_WAIT)
    } else {
        CALL
    }
}

fn took_too_long(limit: Duration) -> Problem {
    Problem::unavailable(
        format!(
            "the call took longer than {} s; whether it had an effect shows when what it is about is read again",
            limit.as_secs()
        ),
        AWAY,
    )
}

/// Around all calls but those that tell nobody anything: only callers that the API server knows come in, each with only
/// so many calls at once.
pub async fn admit(State(shim): State<Shim>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    let caller: Caller = match access::bearer(header.map(HeaderValue::as_bytes)) {
        Ok(token) => match shim.caller(token).await {
            Ok(caller) => caller,
            Err(problem) => return problem.into_response(),
        },
        Err(problem) => return problem.into_response(),
    };
    let by = CalledBy(caller.name().to_owned());
    let mut response = match shim.turn(caller.name()) {
        Err(problem) => problem.into_response(),
        Ok(_turn) => {
            request.extensions_mut().insert(caller);
            let query = request.uri().query().unwrap_or_default();
            let limit = time_limit(query.contains("wait="));
            let answer = tokio::time::timeout(limit, next.run(request)).await;
            answer.unwrap_or_else(|_| took_too_long(limit).into_response())
        }
    };
    response.extensions_mut().insert(by);
    response
}
