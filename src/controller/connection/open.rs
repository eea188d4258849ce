//! Opening and closing the way to a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::desired::Desired;
use crate::ceph::client::{ClientError, Leave, MonClient};
use crate::ceph::rados::RadosClient;

/// Closing takes at most this long: what is in flight keeps its own deadline meanwhile.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Opens clients. There is one for librados; tests bring their own.
#[async_trait]
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens a client, within `desired.limits.connect_timeout`.
    async fn open(&self, desired: &Desired) -> Result<Opened, ClientError>;
}

/// An open client.
pub struct Opened {
    /// The client.
    pub client: Arc<dyn MonClient>,
    /// Closes it. Dropping the client closes it too, only unwatched.
    pub close: BoxFuture<'static, ()>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Opened")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Opens clients of librados.
#[derive(Clone, Debug)]
pub struct RadosOpener {
    /// Asked before each command that changes something, when it is handed to librados.
    pub leave: Leave,
}

#[async_trait]
impl Opener for RadosOpener {
    async fn open(&self, desired: &Desired) -> Result<Opened, ClientError> {
        let client = RadosClient::connect(desired.options(), desired.limits).await?;
        let client = Arc::new(client.with_leave(self.leave.clone()));
        let closing = Arc::clone(&client);
        Ok(Opened {
            client,
            close: Box::pin(async move {
                if !closing.close(CLOSE_LIMIT).await {
                    tracing::warn!(client = ?closing, "a session with the monitors did not close in time");
                }
            }),
        })
    }
}
