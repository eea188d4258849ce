//! The door to a cluster's monitors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::command::MonCommand;
use super::contents::Contents;
use super::osd_map::{OsdMap, Pool};
use super::types::Fsid;

/// Whether this process may change anything, asked for each command at the moment it is handed over: what has waited in
/// line may not be allowed any more.
#[derive(Clone)]
pub struct Leave(Arc<dyn Fn() -> bool + Send + Sync>);

impl Leave {
    /// Given for as long as this holds.
    pub fn while_it_holds(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// Given for ever.
    pub fn always() -> Self {
        Self::while_it_holds(|| true)
    }

    /// Whether it is given at this moment.
    pub fn is_given(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Leave")
            .field(&self.is_given())
            .finish()
    }
}

/// What a monitor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0, or a negative errno.
    pub code: i32,
    /// The sentence for a person, often the only reason given.
    pub text: String,
    /// The data, JSON for the reads of this program.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The library that speaks to Ceph is not on this machine.
    #[error("librados is not available: {0}")]
    LibraryMissing(String),
    /// The monitors refused the key, or do not know the user; librados cannot tell which.
    #[error("the monitors refused user {user}: wrong key, no key or unknown user")]
    AuthenticationFailed {
        /// `client.NAME`.
        user: String,
    },
    /// A setting that librados cannot use: a garbled key, a host that does not resolve, an unknown option.
    #[error("librados refuses the settings: {0}")]
    InvalidConfiguration(String),
    /// No monitor answered in time while connecting.
    #[error("no monitor answered within {} s", .0.as_secs_f32())]
    Unreachable(Duration),
    /// No reply in time: a command that changes something may still be executed.
    #[error("no reply to {command:?} within {} s; it may still be executed", .after.as_secs_f32())]
    TimedOut {
        /// The command's prefix.
        command: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// Not sent in the time there was, since no session was ready or free for it: it was not executed.
    #[error("{command:?} was not sent within {} s: no session with the monitors was ready or free", .after.as_secs_f32())]
    NotSent {
        /// The command's prefix.
        command: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The monitors answer for another cluster than before: the command was not sent.
    #[error("the monitors answer for cluster {answered}, not for {expected}")]
    OtherCluster {
        /// The cluster of this session.
        expected: Fsid,
        /// The cluster that answered.
        answered: Fsid,
    },
    /// This process may not change anything, or may not any more: the command was not sent.
    #[error("{command:?} was not sent: another replica of the controller leads, or none does")]
    NotLeading {
        /// The command's prefix.
        command: &'static str,
    },
    /// The handle was closed before the command was sent: it was not executed.
    #[error("the session with the monitors is closed")]
    Closed,
}

impl ClientError {
    /// Whether the command may have been, or may still be, executed.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

/// A session with a cluster's monitors. Every call ends within its deadline.
#[async_trait]
pub trait MonClient: Send + Sync + std::fmt::Debug {
    /// The ID of the cluster that answered.
    fn fsid(&self) -> &Fsid;

    /// Sends a command and waits for the reply, at most `deadline`.
    ///
    /// A reply with a negative code is a reply, not an error.
    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError>;

    /// Sends a read on the session that carries the changes, so that its answer shows what they
    /// did: the monitor that another session is with may be some milliseconds behind.
    async fn read_after_changes(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        self.send(command, deadline).await
    }

    /// The same as [`MonClient::send`] on a handle used for nothing else and closed on any timeout: for the removal
    /// of a pool, which must not be executed when its name has come to mean another one.
    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError>;

    /// Looks whether a pool is empty: every object of every namespace, what only snapshots hold, and
    /// who else uses it. `map` is the newest map, which names all pools.
    ///
    /// It changes nothing, and what cannot be looked at in time is [`Contents::Unknown`].
    async fn contents(&self, pool: &Pool, map: &OsdMap, deadline: Duration) -> Contents;
}
