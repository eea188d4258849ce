//! What happens around every call: who is it, is it his turn, how long did it take, what goes into the audit log.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::time::timeout;

use super::access;
use super::answer::{Touched, as_problem};
use super::caller::Caller;
use super::problem::{Kind, Problem};
use super::requests::LONGEST_WAIT;
use super::sending::holding;
use super::shim::{AWAY, CALL, Shim};
use crate::metrics::Metrics;

/// The target of the log lines about changes.
const AUDIT: &str = "poolwright::audit";
/// The status, in counts, of a call whose caller went away before it was answered; in the log, of a change whose end the
/// program did not see.
const HUNG_UP: u16 = 499;
/// Where the calls are that may wait.
const REQUESTS: &str = "/api/v2/request/";

/// Who made a call, for those who see only its answer.
#[derive(Clone, Debug)]
struct CalledBy(String);

/// Around everything: every error becomes a problem, a panic too; calls are counted, changes are logged.
///
/// A change goes on to its end whatever its caller does: he may hang up, or be told that it took too long. It is counted by
/// what he was told, and logged by what came of it.
pub async fn attend(State(shim): State<Shim>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // Only paths that there are: everybody can make up others.
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let changes = !method.is_safe() && route != "none";
    let mut count = Count {
        metrics: shim.settings().metrics.clone(),
        method: known_method(&method),
        route,
        status: HUNG_UP,
        began: Instant::now(),
    };
    let mut response = if changes {
        let log = AuditLine::new(method, request.uri().path());
        let work = async move {
            let response = answered(request, next).await;
            log.end(&response);
            response
        };
        match timeout(CALL, tokio::spawn(work)).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Problem::unavailable("the server is ending", AWAY).into_response(),
            Err(_) => took_too_long(CALL).into_response(),
        }
    } else {
        answered(request, next).await
    };
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    count.status = response.status().as_u16();
    response
}

/// What a call is answered with, whatever happens in it.
async fn answered(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    if let Ok(response) = answer {
        return as_problem(response, &path, method.as_str());
    }
    tracing::error!(%method, path, "a call panicked");
    let problem = Problem::new(
        Kind::Internal,
        "this is a fault of the server, and in its log",
    );
    problem.into_response()
}

/// Counts a call when it has been answered, or cannot be any more.
struct Count {
    metrics: Metrics,
    method: &'static str,
    route: String,
    status: u16,
    began: Instant,
}

impl Drop for Count {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.metrics
            .rest_call(self.method, &self.route, self.status, took);
    }
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

/// One line for each call that would change something, whether it did or not, when it has ended; when the program ends
/// before, with what is known by then.
struct AuditLine {
    method: Method,
    path: String,
    status: u16,
    user: String,
    touched: Touched,
}

impl AuditLine {
    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            status: HUNG_UP,
            user: String::new(),
            touched: Touched::default(),
        }
    }

    fn end(mut self, response: &Response) {
        let extensions = response.extensions();
        self.status = response.status().as_u16();
        if let Some(by) = extensions.get::<CalledBy>() {
            self.user.clone_from(&by.0);
        }
        if let Some(touched) = extensions.get::<Touched>() {
            self.touched.clone_from(touched);
        }
    }
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        tracing::info!(
            target: AUDIT,
            user = self.user,
            verb = %self.method,
            path = self.path,
            object = self.touched.object,
            request_id = self.touched.request_id.as_deref().unwrap_or_default(),
            status = self.status,
            "call"
        );
    }
}

/// How long a call may take that changes nothing: longer when it waits for a request to complete.
fn time_limit(uri: &Uri) -> Duration {
    let may_wait = uri.path().starts_with(REQUESTS);
    let mut query = uri.query().unwrap_or_default().split('&');
    if may_wait && query.any(|parameter| parameter.starts_with("wait=")) {
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
        Ok(turn) => {
            request.extensions_mut().insert(caller);
            let answer = if request.method().is_safe() {
                let limit = time_limit(request.uri());
                let answer = timeout(limit, next.run(request)).await;
                answer.unwrap_or_else(|_| took_too_long(limit).into_response())
            } else {
                // How long its caller waits for it is another matter, and `attend`'s.
                next.run(request).await
            };
            holding(turn, answer)
        }
    };
    response.extensions_mut().insert(by);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a call that can wait may take longer, and only if it is to.
    #[test]
    fn limits() {
        let limit = |uri: &'static str| time_limit(&Uri::from_static(uri)).as_secs();
        assert_eq!(limit("/api/v2/request/24b1fc3e?wait=60s"), 90);
        assert_eq!(limit("/api/v2/request/24b1fc3e?a=b&wait=60s"), 90);
        assert_eq!(limit("/api/v2/request/24b1fc3e"), 30);
        assert_eq!(limit("/api/v2/request/24b1fc3e?await=60s"), 30);
        assert_eq!(limit("/api/v2/cluster?wait=60s"), 30);
    }
}
