//! `poolwright run`: the controller, for as long as nobody ends it.

mod leader;
mod rest;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{COMMIT, FAILED, OK, chain};
use crate::controller;
use crate::controller::memory::Memory;
use crate::health::{Health, server};
use crate::metrics::Metrics;
use crate::rest::serve;
use crate::rest::shim;
use crate::telemetry::{self, LogFormat, TelemetryError};

/// How long everything together may take to come to its end.
const DRAIN: Duration = Duration::from_secs(25);
/// Threads that block inside a library do not hold up the end of the process for longer.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Run the controller
///
/// Needs no option inside a Kubernetes cluster or with a kubeconfig. SIGTERM or SIGINT ends it: commands that are in
/// flight are answered first, for at most 25 s; a second signal ends it at once.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Serve /metrics, /healthz and /readyz on this address, such as 0.0.0.0:8080 [default: not served]
    #[arg(long, value_name = "ADDR")]
    http_addr: Option<SocketAddr>,

    /// Name of this control plane in the marks on pools [default: the uid of the namespace kube-system]
    ///
    /// Two control planes that share a Ceph cluster tell their pools apart by it. Once pools are marked, another ID
    /// makes them somebody else's.
    #[arg(long, value_name = "ID", value_parser = instance_id)]
    instance_id: Option<String>,

    #[command(flatten)]
    election: leader::Options,

    #[command(flatten)]
    rest: rest::Options,

    /// How log lines look; they go to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a list such as info,poolwright=debug
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = telemetry::DEFAULT_FILTER)]
    log_level: String,
}

/// Why the controller does not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No logs.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The system gives no threads, or no signals.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The times of the election do not fit together.
    #[error("--leader-elect: {0}")]
    Election(String),
    /// The options of the REST API do not fit together.
    #[error("{0}")]
    Rest(String),
    /// The address is in use, or not this machine's.
    #[error("cannot serve on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The controller failed.
    #[error("the controller ended")]
    Controller(#[from] controller::Error),
    /// The server failed.
    #[error("the HTTP server ended")]
    Server(#[source] io::Error),
    /// The server of the REST API failed.
    #[error("the server of the REST API ended")]
    RestServer(#[from] serve::Error),
    /// A part returned as if its work were done, which it never is.
    #[error("the {0} ended by itself")]
    Early(&'static str),
    /// A part panicked.
    #[error("the {part} panicked")]
    Panicked {
        /// Which.
        part: &'static str,
        /// What is known of it.
        source: JoinError,
    },
    /// Not everything ended in time.
    #[error("the controller did not end within {} s", DRAIN.as_secs())]
    DrainedTooLong,
    /// A second signal came.
    #[error("ended by a second signal, before everything was done")]
    Forced,
}

/// Runs the controller to its end; the exit code.
///
/// # Errors
///
/// Only what comes before there are logs: everything else is in them.
pub fn execute(arguments: Arguments) -> Result<u8, RunError> {
    telemetry::init(arguments.log_format, &arguments.log_level)?;
    let ended = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Start)
        .and_then(|runtime| {
            let ended = runtime.block_on(start(arguments));
            runtime.shutdown_timeout(LAST_THREADS);
            ended
        });
    match ended {
        Ok(()) => {
            tracing::info!("ended");
            Ok(OK)
        }
        Err(error) => {
            tracing::error!("{}", chain(&error));
            Ok(FAILED)
        }
    }
}

/// Puts the parts together.
async fn start(arguments: Arguments) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Start)?;
    let election = arguments.election.read().map_err(RunError::Election)?;
    let api = arguments.rest.read().map_err(RunError::Rest)?;
    let (metrics, health) = (Metrics::new(COMMIT), Health::new());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = COMMIT,
        "starting"
    );
    let stop_serving = CancellationToken::new();
    let server = match arguments.http_addr {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            let listener = bound.map_err(|source| RunError::Bind { address, source })?;
            // A port of 0 has become a real one.
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!(%address, "serving /metrics, /healthz and /readyz");
            let (health, metrics) = (health.clone(), metrics.clone());
            let answers = server::serve(listener, health, metrics, stop_serving.clone());
            Some(tokio::spawn(answers))
        }
    };
    let shutdown = CancellationToken::new();
    let (memory, remembered) = watch::channel(None);
    let rest = match api {
        None => None,
        Some(rest) => {
            let known = (metrics.clone(), remembered);
            Some(serve_rest(rest, known, health.clone(), shutdown.clone()).await?)
        }
    };
    let settings = controller::Settings {
        instance_id: arguments.instance_id,
        election,
        metrics,
        health: health.clone(),
        memory,
    };
    let parts = Parts {
        controller: tokio::spawn(controller::run(settings, shutdown.clone())),
        server,
        rest,
        shutdown,
        stop_serving,
        health,
    };
    parts.supervise(async || signals.next().await).await
}

/// Begins to serve the REST API.
async fn serve_rest(
    rest: rest::Rest,
    (metrics, memory): (Metrics, watch::Receiver<Option<Memory>>),
    health: Health,
    shutdown: CancellationToken,
) -> Result<JoinHandle<Result<(), serve::Error>>, RunError> {
    let address = rest.address;
    let bind = async || TcpListener::bind(address).await?.into_std();
    let bound = bind().await;
    let listener = bound.map_err(|source| RunError::Bind { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    let scheme = if rest.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!("serving the REST API on {scheme}://{address}/api/v2");
    let settings = shim::Settings {
        namespace: rest.namespace,
        application: rest.application,
        scheme,
        calls_per_caller: rest.calls_per_caller,
        metrics,
        memory,
    };
    let serving = serve::serve(listener, rest.certificate, settings, health, shutdown);
    Ok(tokio::spawn(serving))
}

/// What runs, and what ends it. All tasks are joined, whatever happens.
struct Parts {
    controller: JoinHandle<Result<(), controller::Error>>,
    server: Option<JoinHandle<io::Result<()>>>,
    rest: Option<JoinHandle<Result<(), serve::Error>>>,
    shutdown: CancellationToken,
    stop_serving: CancellationToken,
    health: Health,
}

/// What happened first.
enum First {
    Signal,
    Controller(Result<(), RunError>),
    Server(Result<(), RunError>),
    Rest(Result<(), RunError>),
}

impl Parts {
    /// Waits for a signal or for a part that ends early, then for everything to end.
    async fn supervise(mut self, mut signal: impl AsyncFnMut()) -> Result<(), RunError> {
        let first = tokio::select! {
            () = signal() => First::Signal,
            ended = &mut self.controller => First::Controller(of_controller(ended)),
            ended = served(self.server.as_mut()) => First::Server(ended),
            ended = served_rest(self.rest.as_mut()) => First::Rest(ended),
        };
        self.shutdown.cancel();
        self.health.gate("shutdown");
        let result = match first {
            First::Signal => self.drain(signal).await,
            First::Controller(ended) => Err(early("controller", ended)),
            First::Server(ended) => {
                self.server = None;
                // What went wrong first is why it ends.
                let _ = self.drain(signal).await;
                Err(early("HTTP server", ended))
            }
            First::Rest(ended) => {
                self.rest = None;
                let _ = self.drain(signal).await;
                Err(early("server of the REST API", ended))
            }
        };
        // It ends with the controller, and within a few seconds.
        let result = match self.rest {
            Some(mut rest) if result.is_ok() => served_rest(Some(&mut rest)).await,
            _ => result,
        };
        // Health is answered until the controller has ended.
        self.stop_serving.cancel();
        match self.server {
            None => result,
            Some(mut server) => result.and(served(Some(&mut server)).await),
        }
    }

    /// Waits for the controller to end.
    async fn drain(&mut self, mut signal: impl AsyncFnMut()) -> Result<(), RunError> {
        tracing::info!("ending: commands in flight are awaited");
        tokio::select! {
            biased;
            ended = timeout(DRAIN, &mut self.controller) => match ended {
                Ok(ended) => of_controller(ended),
                Err(_) => Err(RunError::DrainedTooLong),
            },
            () = signal() => Err(RunError::Forced),
        }
    }
}

/// Why it ends, when a part did that should not.
fn early(part: &'static str, ended: Result<(), RunError>) -> RunError {
    ended.err().unwrap_or(RunError::Early(part))
}

fn of_controller(ended: Result<Result<(), controller::Error>, JoinError>) -> Result<(), RunError> {
    let ended = ended.map_err(|source| RunError::Panicked {
        part: "controller",
        source,
    })?;
    Ok(ended?)
}

/// Waits for the server; for ever where there is none.
async fn served(server: Option<&mut JoinHandle<io::Result<()>>>) -> Result<(), RunError> {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let ended = server.await.map_err(|source| RunError::Panicked {
        part: "HTTP server",
        source,
    })?;
    ended.map_err(RunError::Server)
}

/// The same for the server of the REST API.
async fn served_rest(
    server: Option<&mut JoinHandle<Result<(), serve::Error>>>,
) -> Result<(), RunError> {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let ended = server.await.map_err(|source| RunError::Panicked {
        part: "server of the REST API",
        source,
    })?;
    Ok(ended?)
}

/// What ends a process: SIGTERM from Kubernetes, SIGINT from a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
        }
    }
}

/// An ID that can stand in a mark, between slashes.
pub(super) fn instance_id(text: &str) -> Result<String, String> {
    let fits = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if fits && (1..=63).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 63 letters, digits, dots, dashes or underscores".to_owned())
    }
}

#[cfg(test)]
mod tests;
