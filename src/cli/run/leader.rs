//! The options of leader election.

use std::time::Duration;

use clap::Args;

use crate::api::duration;
use crate::lease::Election;
use crate::lease::candidate::Timing;

/// How one of several replicas is elected to act.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Act only while holding the Lease `poolwright`, so that several replicas can run
    ///
    /// The others are ready to go on at once. One that loses the lease ends with an error and has to be started again.
    #[arg(long)]
    leader_elect: bool,

    /// Namespace of the Lease [default: that of the service account or of the kubeconfig]
    #[arg(
        long = "leader-elect-namespace",
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE"
    )]
    namespace: Option<String>,

    /// How long the others wait for the leader to renew its lease
    #[arg(long = "leader-elect-lease-duration", value_name = "DURATION", default_value = "15s", value_parser = read)]
    lease_duration: Duration,

    /// After how long without a renewal the leader acts no more, and ends
    #[arg(long = "leader-elect-renew-deadline", value_name = "DURATION", default_value = "10s", value_parser = read)]
    renew_deadline: Duration,

    /// How often the leader renews its lease, and the others look at it
    #[arg(long = "leader-elect-retry-period", value_name = "DURATION", default_value = "2s", value_parser = read)]
    retry_period: Duration,
}

impl Options {
    /// What is asked for, if it fits together.
    pub(super) fn read(self) -> Result<Option<Election>, String> {
        let timing = Timing::new(self.lease_duration, self.renew_deadline, self.retry_period)?;
        // A variable that is set to nothing says nothing.
        let namespace = self.namespace.filter(|name| !name.is_empty());
        Ok(self.leader_elect.then_some(Election { namespace, timing }))
    }
}

fn read(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "must be a duration such as 15s or 1m30s".to_owned())
}
