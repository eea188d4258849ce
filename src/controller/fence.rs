//! The two ways out of the process, open only while this replica is the one that acts.
//!
//! Whoever works does not ask for leave at every step: both doors ask, at the last moment there is, by the clock. So a
//! process that was stopped in the middle of anything, and goes on when another one leads, changes nothing more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::filter::FilterLayer;

use super::connection::{Desired, Opened, Opener, RadosOpener};
use crate::ceph::client::{ClientError, MonClient, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::contents::Contents;
use crate::ceph::osd_map::{OsdMap, Pool};
use crate::ceph::types::Fsid;
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
    Ok(ClientBuilder::try_from(config)?.with_layer(&door).build())
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

#[async_trait]
impl MonClient for FencedClient {
    fn fsid(&self) -> &Fsid {
        self.inner.fsid()
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        self.check(command)?;
        self.inner.send(command, deadline).await
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
        self.inner.send_alone(command, deadline).await
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
