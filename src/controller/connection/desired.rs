//! What a connection's spec asks for, in the terms of the Ceph client; and the client's errors, in the terms of a
//! condition. Pure.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use crate::api::conditions::Reason;
use crate::api::v1alpha1::{ClusterConnection, ClusterConnectionSpec, ClusterConnectionStatus};
use crate::api::validate;
use crate::ceph::client::ClientError;
use crate::ceph::rados::{ConnectOptions, Key, Limits};
use crate::ceph::types::Fsid;
use crate::controller::connection_status::Problem;

/// What a client is opened with. As long as it is equal, the client that is open will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The monitors' addresses, as `mon_host` takes them.
    pub mon_host: String,
    /// The user, without `client.`.
    pub user: String,
    /// The user's key.
    pub key: Key,
    /// Further options of the client.
    pub options: BTreeMap<String, String>,
    /// How much at once, and how long.
    pub limits: Limits,
}

impl Desired {
    /// What a checked spec asks for.
    pub(super) fn new(spec: &ClusterConnectionSpec, key: Key) -> Self {
        let client = &spec.client;
        let default = Limits::default();
        Self {
            mon_host: spec.monitors.join(","),
            user: spec.user.clone(),
            key,
            options: client
                .options
                .iter()
                .map(|(option, value)| (option.clone(), value.0.clone()))
                .collect(),
            limits: Limits {
                max_commands_in_flight: usize::try_from(client.max_commands_in_flight)
                    .unwrap_or(default.max_commands_in_flight),
                connect_timeout: default.connect_timeout,
                command_timeout: client
                    .command_timeout
                    .value()
                    .unwrap_or(default.command_timeout),
            },
        }
    }

    /// The same for the client.
    pub(super) fn options(&self) -> ConnectOptions {
        ConnectOptions::Explicit {
            mon_host: self.mon_host.clone(),
            user: self.user.clone(),
            key: self.key.clone(),
            options: self.options.clone(),
        }
    }
}

/// Checks a connection as the API server does, since the CustomResourceDefinition in the cluster may be an older one.
pub(super) fn check(connection: &ClusterConnection) -> Result<(), Problem> {
    validate::check_connection(connection).map_err(|problems| {
        let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Problem::new(Reason::InvalidSpec, sentences.join("; "))
    })
}

/// The cluster a connection belongs to: that of its spec, else that of its first contact.
pub(super) fn pinned(
    spec: &ClusterConnectionSpec,
    status: &ClusterConnectionStatus,
) -> Option<Fsid> {
    spec.fsid
        .as_deref()
        .or(status.fsid.as_deref())
        .map(Fsid::new)
}

/// Whether the cluster that answered is the pinned one.
pub(super) fn check_fsid(
    pinned: Option<&Fsid>,
    answered: &Fsid,
    spec: &ClusterConnectionSpec,
) -> Result<(), Problem> {
    match pinned {
        Some(pinned) if pinned != answered => Err(other_cluster(pinned, answered, spec)),
        Some(_) | None => Ok(()),
    }
}

/// The sentence for another cluster than the pinned one.
pub(super) fn other_cluster(
    expected: &Fsid,
    answered: &Fsid,
    spec: &ClusterConnectionSpec,
) -> Problem {
    let (whence, otherwise) = if spec.fsid.is_some() {
        ("spec.fsid says", "correct spec.fsid")
    } else {
        (
            "the first contact found",
            "make a new ClusterConnection for it, or set spec.fsid to it if it replaces the other",
        )
    };
    Problem::new(
        Reason::FsidMismatch,
        format!(
            "the monitors {} answer for cluster {answered}, but {whence} {expected}; nothing is sent to it. Correct \
             spec.monitors; if {answered} is the cluster that is meant, {otherwise}",
            spec.monitors.join(", ")
        ),
    )
}

/// The condition for an error of the client.
pub(super) fn problem_of(error: &ClientError, spec: &ClusterConnectionSpec) -> Problem {
    let secret = &spec.key_secret_ref;
    let (reason, remedy) = match error {
        ClientError::LibraryMissing(_) => (
            Reason::LibraryMissing,
            "install librados2 where the controller runs (or name the file in POOLWRIGHT_LIBRADOS) and restart it"
                .to_owned(),
        ),
        ClientError::AuthenticationFailed { user } => (
            Reason::AuthenticationFailed,
            format!(
                "compare `ceph auth get {user}` with spec.user and with entry {:?} of Secret {}/{}",
                secret.key, secret.namespace, secret.name
            ),
        ),
        ClientError::InvalidConfiguration(_) => (
            Reason::InvalidConfiguration,
            format!(
                "check spec.monitors ({}) and spec.client.options, and that host names resolve where the controller runs",
                spec.monitors.join(", ")
            ),
        ),
        ClientError::OtherCluster { expected, answered } => return other_cluster(expected, answered, spec),
        ClientError::Unreachable(_)
        | ClientError::TimedOut { .. }
        | ClientError::NotSent { .. }
        | ClientError::NotLeading { .. }
        | ClientError::Closed => (
            Reason::Unreachable,
            format!(
                "check that the cluster has a quorum, and that the controller reaches spec.monitors ({}) on their \
                 ports, 3300 and 6789 unless said otherwise",
                spec.monitors.join(", ")
            ),
        ),
    };
    let cause = match error {
        // Whether it is executed later matters for no command that is sent here.
        ClientError::TimedOut { after, .. } => {
            format!("no monitor answered within {} s", after.as_secs())
        }
        error => chain(error),
    };
    Problem::new(reason, format!("{cause}; {remedy}"))
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// How often all of a connection's pools, and it itself, are looked at again.
pub(super) fn resync(spec: &ClusterConnectionSpec) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(600);
    spec.resync_interval.value().unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests;
