//! The two ways out of the process, open only while this replica is the one that acts.
//!
//! Whoever works does not ask for leave at every step: both doors ask, at the last moment there is, by the clock. So a
//! process that was stopped in the middle of anything, and goes on when another one leads, changes nothing more. The
//! last moment is after all waiting: a command asks again when it leaves the line before librados, and a write to the API
//! server whenever it goes on, after a new connection, a new token, or the pause before it is tried again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Method, Request};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::layer::layer_fn;
use tower::{BoxError, Service};

use super::connection::{Desired, Opened, Opener, RadosOpener};
use crate::ceph::client::{ClientError, Leave, MonClient, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::contents::Contents;
use crate::ceph::osd_map::{OsdMap, Pool};
use crate::ceph::types::Fsid;
use crate::failpoint;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::metrics::client::CountingClient;

/// This replica does not lead.
#[derive(Debug, thiserror::Error)]
enum NotLeading {
    #[error("not written: another replica of the controller leads, or none does")]
    NotBegun,
    #[error("not known to be written: another replica of the controller leads since, or none does")]
    GivenUp,
}

/// A client of the API server that reads, and writes while this replica leads.
pub(super) fn client(config: Config, leadership: &Leadership) -> Result<Client, kube::Error> {
    let door = layer_fn(|inner| Door {
        inner,
        leadership: leadership.clone(),
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&layer_fn(Points))
        .with_layer(&door)
        .build())
}

/// Lets a request that changes something go on only while this replica leads.
///
/// It asks before every poll and not only at first: beneath it are the pauses between tries, the refreshing of tokens
/// and the making of connections, and what sends the request comes after them.
#[derive(Clone, Debug)]
struct Door<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<B>> for Door<S>
where
    S: Service<Request<B>>,
    S::Response: Send,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if *request.method() == Method::GET {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        }
        if !self.leadership.holds() {
            return Box::pin(async { Err(NotLeading::NotBegun.into()) });
        }
        let answer = self.inner.call(request);
        let leadership = self.leadership.clone();
        Box::pin(async move {
            let mut answer = pin!(answer);
            poll_fn(|context| {
                if leadership.holds() {
                    answer.as_mut().poll(context).map_err(Into::into)
                } else {
                    Poll::Ready(Err(NotLeading::GivenUp.into()))
                }
            })
            .await
        })
    }
}

/// Puts a fail point before and after every request that changes something.
#[derive(Clone, Debug)]
struct Points<S>(S);

impl<S, B> Service<Request<B>> for Points<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let point = point_of(request.method(), request.uri().path());
        if let Some(point) = &point {
            failpoint::reach(|| format!("before {point}"));
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(point) = &point {
                failpoint::reach(|| format!("after {point}"));
            }
            answer
        })
    }
}

/// The name of a request that changes one of our objects: its method, the kind and the subresource. Events and leases
/// tell and time things, and change none.
fn point_of(method: &Method, path: &str) -> Option<String> {
    if *method == Method::GET || !path.starts_with("/apis/poolwright.dev/") {
        return None;
    }
    let words: Vec<&str> = path.split('/').collect();
    let at = words
        .iter()
        .position(|word| ["cephpools", "cephrequests", "clusterconnections"].contains(word))?;
    let kind = words.get(at)?;
    let part = match words.get(at + 2) {
        Some(part) => format!("/{part}"),
        None => String::new(),
    };
    Some(format!("{method} {kind}{part}"))
}

/// A client of the monitors that reads, and changes something while this replica leads.
#[derive(Debug)]
struct FencedClient {
    inner: Arc<dyn MonClient>,
    leadership: Leadership,
}

impl FencedClient {
    fn check(&self, command: &MonCommand) -> Result<(), ClientError> {
        if !command.is_mutating() || self.leadership.holds() {
            return Ok(());
        }
        let command = command.prefix();
        Err(ClientError::NotLeading { command })
    }
}

/// A command between its two fail points, where it changes something.
async fn pointed<T>(command: &MonCommand, call: impl Future<Output = T>) -> T {
    if !command.is_mutating() {
        return call.await;
    }
    failpoint::reach(|| format!("before {}", command.prefix()));
    let answer = call.await;
    failpoint::reach(|| format!("after {}", command.prefix()));
    answer
}

#[async_trait]
impl MonClient for FencedClient {
    fn fsid(&self) -> &Fsid {
        self.inner.fsid()
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        self.check(command)?;
        pointed(command, self.inner.send(command, deadline)).await
    }

    async fn read_after_changes(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        self.check(command)?;
        self.inner.read_after_changes(command, deadline).await
    }

    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        self.check(command)?;
        pointed(command, self.inner.send_alone(command, deadline)).await
    }

    async fn contents(&self, pool: &Pool, map: &OsdMap, deadline: Duration) -> Contents {
        self.inner.contents(pool, map, deadline).await
    }
}

/// Opens clients of librados that ask before they change something, and whose commands are counted.
#[derive(Debug)]
pub(super) struct DoorOpener {
    /// Counts.
    pub(super) metrics: Metrics,
    /// Whether it may.
    pub(super) leadership: Leadership,
}

#[async_trait]
impl Opener for DoorOpener {
    async fn open(&self, desired: &Desired) -> Result<Opened, ClientError> {
        let leadership = self.leadership.clone();
        let leave = Leave::while_it_holds(move || leadership.holds());
        let opened = RadosOpener { leave }.open(desired).await?;
        let counted = CountingClient::new(opened.client, self.metrics.clone());
        Ok(Opened {
            client: Arc::new(FencedClient {
                inner: Arc::new(counted),
                leadership: self.leadership.clone(),
            }),
            close: opened.close,
        })
    }
}

#[cfg(test)]
mod tests;
