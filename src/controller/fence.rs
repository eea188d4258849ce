//! The two ways out of the process, open only while this replica is the one that acts.
//!
//! Whoever works does not ask for leave at every step: both doors ask, at the last moment there is, by the clock. So a
//! process that was stopped in the middle of anything, and goes on when another one leads, changes nothing more.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::Service;
use tower::filter::FilterLayer;
use tower::layer::layer_fn;

use super::connection::{Desired, Opened, Opener, RadosOpener};
use crate::ceph::client::{ClientError, MonClient, Reply};
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
#[error("not written: another replica of the controller leads, or none does")]
struct NotLeading;

/// A client of the API server that reads, and writes while this replica leads.
pub(super) fn client(config: Config, leadership: &Leadership) -> Result<Client, kube::Error> {
    let leadership = leadership.clone();
    let door = FilterLayer::new(move |request: Request<Body>| {
        if *request.method() == Method::GET || leadership.holds() {
            Ok(request)
        } else {
            Err(NotLeading)
        }
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&layer_fn(Points))
        .with_layer(&door)
        .build())
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
        let opened = RadosOpener.open(desired).await?;
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::Api;
    use kube::api::{DeleteParams, Patch, PatchParams};

    use super::*;
    use crate::api::v1alpha1::ClusterConnection;
    use crate::ceph::types::PoolName;

    const DEADLINE: Duration = Duration::from_secs(1);

    /// Answers everything, and counts.
    #[derive(Debug)]
    struct Monitors(Fsid, AtomicUsize);

    #[async_trait]
    impl MonClient for Monitors {
        fn fsid(&self) -> &Fsid {
            &self.0
        }

        async fn send(&self, _: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Reply {
                code: 0,
                text: String::new(),
                body: Vec::new(),
            })
        }

        async fn send_alone(
            &self,
            command: &MonCommand,
            _: Duration,
        ) -> Result<Reply, ClientError> {
            self.send(command, DEADLINE).await
        }

        async fn contents(&self, _: &Pool, _: &OsdMap, _: Duration) -> Contents {
            Contents::Unknown("nobody looked".to_owned())
        }
    }

    /// Reads pass, changes only from the one that leads, whichever way they go.
    #[tokio::test]
    async fn monitors() {
        let remove = MonCommand::PoolRemove {
            pool: PoolName::new("p"),
        };
        for (leadership, leads) in [
            (Leadership::candidate(), false),
            (Leadership::alone(), true),
        ] {
            let inner = Arc::new(Monitors(Fsid::new("f"), AtomicUsize::new(0)));
            let client = FencedClient {
                inner: inner.clone(),
                leadership,
            };
            let read = MonCommand::OsdStat;
            assert!(client.send(&read, DEADLINE).await.is_ok());
            assert!(client.read_after_changes(&read, DEADLINE).await.is_ok());
            assert_eq!(inner.1.load(Ordering::Relaxed), 2);
            let refused = Err(ClientError::NotLeading {
                command: "osd pool rm",
            });
            for answer in [
                client.send(&remove, DEADLINE).await,
                client.send_alone(&remove, DEADLINE).await,
                client.read_after_changes(&remove, DEADLINE).await,
            ] {
                assert!(
                    if leads {
                        answer.is_ok()
                    } else {
                        answer == refused
                    },
                    "{answer:?}"
                );
            }
            let reached = if leads { 5 } else { 2 };
            assert_eq!(inner.1.load(Ordering::Relaxed), reached);
        }
    }

    /// What is not a read does not even try to reach the API server, from one that does not lead.
    #[tokio::test]
    async fn api_server() {
        // Nobody listens there.
        let config = Config::new("http://127.0.0.1:9".parse().expect("an address"));
        for (leadership, leads) in [
            (Leadership::candidate(), false),
            (Leadership::alone(), true),
        ] {
            let client = client(config.clone(), &leadership).expect("a client");
            let api: Api<ClusterConnection> = Api::all(client);
            let refused = |error: kube::Error| {
                super::super::chain(&error).contains("another replica of the controller leads")
            };
            let patch = Patch::Merge(serde_json::json!({}));
            let parameters = PatchParams::default();
            let read = api.get("main").await.expect_err("nobody answers");
            let patched = api.patch("main", &parameters, &patch).await;
            let deleted = api.delete("main", &DeleteParams::default()).await;
            assert!(!refused(read));
            assert_eq!(refused(patched.expect_err("nobody answers")), !leads);
            assert_eq!(refused(deleted.expect_err("nobody answers")), !leads);
        }
    }
}
