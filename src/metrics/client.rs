//! A door to the monitors that counts who goes through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::Metrics;
use crate::ceph::client::{ClientError, MonClient, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::contents::Contents;
use crate::ceph::osd_map::{OsdMap, Pool};
use crate::ceph::types::Fsid;

/// Counts the commands of another client, by prefix and return code, and measures them.
#[derive(Clone, Debug)]
pub struct CountingClient {
    /// Sends them.
    pub inner: Arc<dyn MonClient>,
    /// Where they are counted.
    pub metrics: Metrics,
}

/// The prefix under which questions for permissions are counted.
const PROBE: &str = "probe";

impl CountingClient {
    /// Stands before a client.
    pub fn new(inner: Arc<dyn MonClient>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn count(
        &self,
        command: &MonCommand,
        began: Instant,
        result: Result<Reply, ClientError>,
    ) -> Result<Reply, ClientError> {
        // What only asks is no command of its kind: nobody is to think that something was sent for a pool.
        let prefix = match command {
            MonCommand::Probe { .. } => PROBE,
            command => command.prefix(),
        };
        self.metrics.command(prefix, &result, began.elapsed());
        result
    }
}

#[async_trait]
impl MonClient for CountingClient {
    fn fsid(&self) -> &Fsid {
        self.inner.fsid()
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        let began = Instant::now();
        let result = self.inner.send(command, deadline).await;
        self.count(command, began, result)
    }

    async fn read_after_changes(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let began = Instant::now();
        let result = self.inner.read_after_changes(command, deadline).await;
        self.count(command, began, result)
    }

    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let began = Instant::now();
        let result = self.inner.send_alone(command, deadline).await;
        self.count(command, began, result)
    }

    async fn contents(&self, pool: &Pool, map: &OsdMap, deadline: Duration) -> Contents {
        self.inner.contents(pool, map, deadline).await
    }
}
