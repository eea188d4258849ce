//! The server of the REST API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use super::accept::Door;
use super::memory::Requests;
use super::router::router;
use super::shim::{Settings, Shim};
use super::tls::{self, Certificate, Keeper};
use crate::health::Health;

/// How long the headers of a call may take to arrive, and a connection to say nothing.
const HEADERS: Duration = Duration::from_secs(15);
/// How large headers may be, all lines together: at this size at the latest no more is read of them.
const LARGEST_HEADER: usize = 64 * 1024;
/// How long open connections get when the program ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig and no service account.
    #[error("cannot find out how to reach the Kubernetes API server")]
    Configuration(#[source] Box<kube::Error>),
    /// No certificate.
    #[error("cannot serve the REST API over TLS")]
    Certificate(#[from] tls::Error),
    /// It ended.
    #[error("the REST API ended")]
    Serve(#[source] io::Error),
}

/// Serves until `shutdown`: over TLS with a certificate, without only where the caller has made sure that nobody else
/// hears it.
///
/// # Errors
///
/// When it cannot start, or ends earlier.
pub async fn serve(
    listener: TcpListener,
    certificate: Option<Certificate>,
    settings: Settings,
    health: Health,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let unreachable = |source| Error::Configuration(Box::new(source));
    let config = Config::infer()
        .await
        .map_err(|source| unreachable(kube::Error::InferConfig(source)))?;
    let keeper = match certificate {
        Some(certificate) => Some(Keeper::new(certificate).await?),
        None => None,
    };
    let listed = health.gate("rest");
    let client = Client::try_from(config).map_err(unreachable)?;
    let (requests, watching) = Requests::watch(client.clone(), shutdown.clone());
    let first_list = requests.clone();
    let shim = Shim::new(settings, client, requests, shutdown.clone());
    let handle: Handle<SocketAddr> = Handle::new();
    let routes = router(&shim).into_make_service();
    let tls = keeper.as_ref().map(Keeper::config);
    let serving = async {
        let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
        patient(server.http_builder());
        let (server, door) = (server.http1_only(), Door::default());
        if let Some(tls) = tls {
            let door = RustlsAcceptor::new(tls).acceptor(door);
            server.acceptor(door).serve(routes).await
        } else {
            server.acceptor(door).serve(routes).await
        }
    };
    let keeping = async {
        match keeper {
            Some(keeper) => keeper.keep().await,
            None => std::future::pending().await,
        }
    };
    let ending = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(LAST_ANSWERS));
        std::future::pending::<()>().await;
    };
    let ready = async {
        first_list.listed().await;
        listed.set();
        std::future::pending::<()>().await;
    };
    let watching = async {
        watching.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => ended.map_err(Error::Serve),
        () = keeping => Ok(()),
        () = ending => Ok(()),
        () = ready => Ok(()),
        () = watching => Ok(()),
    }
}

/// Nobody may hold a connection by sending a little of a header now and then.
fn patient(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(LARGEST_HEADER);
}
