//! The small HTTP server: `/metrics`, `/healthz`, `/readyz`.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Health;
use crate::metrics::{self, Metrics};

/// How long open connections get when the server ends: one that is slow does not hold up the process.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Known {
    health: Health,
    metrics: Metrics,
}

/// Answers until `shutdown`. The listener is opened by the caller, who thus learns at once of an address in use.
///
/// # Errors
///
/// Whatever ends the server earlier.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Known { health, metrics });
    let answers = axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let patience = async {
        shutdown.cancelled().await;
        sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        ended = answers => ended,
        () = patience => Ok(()),
    }
}

async fn metrics_text(State(known): State<Known>) -> Response {
    match known.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn healthz(State(known): State<Known>) -> Response {
    match known.health.alive() {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(silence) => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("the main loop has not ticked for {} s", silence.as_secs()),
        ),
    }
}

async fn readyz(State(known): State<Known>) -> Response {
    let waiting = known.health.waiting();
    if waiting.is_empty() {
        plain(StatusCode::OK, "ok")
    } else {
        plain(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("waiting for {}", waiting.join(", ")),
        )
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// The whole answer to a request for a path.
    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// Each path says what it is for, and a connection that nobody closes does not hold up the end.
    #[tokio::test]
    async fn paths() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (health, stop) = (Health::new(), CancellationToken::new());
        let crds = health.gate("crds");
        let _stores = health.gate("stores");
        let server = tokio::spawn(serve(
            listener,
            health.clone(),
            Metrics::default(),
            stop.clone(),
        ));

        let metrics = ask(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
        assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(metrics.ends_with("# EOF\n"));
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        let not_ready = ask(address, "/readyz").await;
        assert!(not_ready.starts_with("HTTP/1.1 503 "), "{not_ready}");
        assert!(not_ready.ends_with("waiting for crds, stores\n"));
        crds.set();
        health.gate("stores").set();
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404 "));

        let mut half = TcpStream::connect(address).await.expect("a connection");
        half.write_all(b"GET /heal")
            .await
            .expect("half a request sent");
        stop.cancel();
        let ended = tokio::time::timeout(LAST_ANSWERS * 3, server).await;
        assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    }
}
