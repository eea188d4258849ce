//! What can be counted and measured, for Prometheus.
//!
//! Labels are kinds, outcomes, prefixes and the names of connections, of which there are few; objects and pools have no
//! label of their own. What is a level rather than an event (views, pools by state) is asked for when somebody looks,
//! so that it is never out of date and needs no upkeep.

pub mod client;

mod levels;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::levels::Levels;
pub use self::levels::{PoolState, ViewLevel};
use crate::api::crd::Kind;
use crate::api::v1alpha1::{Operation, Outcome};
use crate::ceph::client::{ClientError, Reply};

/// What the text of [`Metrics::encode`] is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a view's confirmation to a slow round of a busy cluster.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Everything that is counted. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<ReconcileLabels, Histogram, fn() -> Histogram>,
    commands: Family<CommandLabels, Counter>,
    command_seconds: Family<PrefixLabels, Histogram, fn() -> Histogram>,
    rounds: Counter,
    round_seconds: Histogram,
    requests: Family<RequestLabels, Counter>,
    corrections: Counter,
    runs: Gauge,
    rest_calls: Family<CallLabels, Counter>,
    rest_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    levels: Levels,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReconcileOutcome {
    /// It came to its end.
    Succeeded,
    /// It came to its end and asked to be called again soon, since something is not as it should be.
    Waiting,
    /// It failed, mostly for the API server.
    Failed,
    /// It took too long.
    TimedOut,
    /// It panicked.
    Panicked,
}

impl ReconcileOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    prefix: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrefixLabels {
    prefix: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("unknown")
    }
}

impl Metrics {
    /// Nothing counted yet; the commit of this build goes into the build's information.
    pub fn new(commit: &str) -> Self {
        let mut registry = Registry::with_prefix("poolwright");
        registry.register(
            "build",
            "Which build of Poolwright this is",
            Info::new(vec![
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
                ("commit", commit.to_owned()),
            ]),
        );
        let reconciles = Family::default();
        let reconcile_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let commands = Family::default();
        let command_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let rounds = Counter::default();
        let round_seconds = seconds();
        let requests = Family::default();
        let corrections = Counter::default();
        let runs = Gauge::default();
        let rest_calls = Family::default();
        let rest_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let levels = Levels::default();
        registry.register(
            "reconciles",
            "Reconciles that have ended, by kind of object and outcome",
            Family::clone(&reconciles),
        );
        registry.register(
            "reconcile_duration_seconds",
            "How long reconciles took",
            Family::clone(&reconcile_seconds),
        );
        registry.register(
            "commands",
            "Commands sent to monitors, by prefix and return code (0, a negative errno, or why there was no reply)",
            Family::clone(&commands),
        );
        registry.register(
            "command_duration_seconds",
            "How long monitors took to answer commands",
            Family::clone(&command_seconds),
        );
        registry.register(
            "rounds",
            "Rounds of commands whose effect was awaited",
            rounds.clone(),
        );
        registry.register(
            "round_duration_seconds",
            "From the first command of a round to a view at or past its epoch",
            round_seconds.clone(),
        );
        registry.register(
            "requests",
            "Requests that have ended, by operation and outcome",
            Family::clone(&requests),
        );
        registry.register(
            "corrections",
            "Fields that others had changed in Ceph and that were put back",
            corrections.clone(),
        );
        registry.register("runs", "Pools being worked on at this moment", runs.clone());
        registry.register(
            "rest_calls",
            "Calls of the REST API that were answered, by method, route and status",
            Family::clone(&rest_calls),
        );
        registry.register(
            "rest_call_duration_seconds",
            "How long calls of the REST API took; those that wait for a request to complete take long",
            Family::clone(&rest_seconds),
        );
        registry.register_collector(Box::new(levels.clone()));
        Self(Arc::new(Inner {
            registry,
            reconciles,
            reconcile_seconds,
            commands,
            command_seconds,
            rounds,
            round_seconds,
            requests,
            corrections,
            runs,
            rest_calls,
            rest_seconds,
            levels,
        }))
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, kind: Kind, outcome: ReconcileOutcome, took: Duration) {
        let labels = ReconcileLabels {
            kind: kind.as_str(),
            outcome: outcome.as_str(),
        };
        self.0.reconciles.get_or_create(&labels).inc();
        self.0
            .reconcile_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A command was answered, or is given up. [`client::CountingClient`] calls it.
    pub fn command(
        &self,
        prefix: &'static str,
        result: &Result<Reply, ClientError>,
        took: Duration,
    ) {
        let code = match result {
            Ok(reply) => reply.code.to_string(),
            Err(error) => no_reply(error).to_owned(),
        };
        self.0
            .commands
            .get_or_create(&CommandLabels { prefix, code })
            .inc();
        self.0
            .command_seconds
            .get_or_create(&PrefixLabels { prefix })
            .observe(took.as_secs_f64());
    }

    /// The effect of a round was awaited, and seen or not.
    pub fn round(&self, took: Duration) {
        self.0.rounds.inc();
        self.0.round_seconds.observe(took.as_secs_f64());
    }

    /// A request has ended.
    pub fn request(&self, operation: Operation, outcome: Outcome) {
        let operation = match operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Rename => "rename",
            Operation::Adopt => "adopt",
            Operation::Correct => "correct",
        };
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Superseded => "superseded",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        };
        self.0
            .requests
            .get_or_create(&RequestLabels { operation, outcome })
            .inc();
    }

    /// So many fields that others had changed were put back.
    pub fn corrected(&self, fields: usize) {
        self.0.corrections.inc_by(fields as u64);
    }

    /// A run has begun; it has ended when the guard is dropped.
    pub fn run(&self) -> RunGuard {
        self.0.runs.inc();
        RunGuard(self.0.runs.clone())
    }

    /// A call of the REST API was answered. The route is a pattern such as `/api/v2/cluster/{fsid}`, of which there are
    /// few, and so is the method one of those there are.
    pub fn rest_call(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.0
            .rest_calls
            .get_or_create(&CallLabels {
                method,
                route: route.to_owned(),
                status,
            })
            .inc();
        self.0
            .rest_seconds
            .get_or_create(&RouteLabels {
                method,
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    /// Where the views of all connections are asked for. Called at each look: it must not block.
    pub fn views_from(&self, views: impl Fn() -> Vec<ViewLevel> + Send + Sync + 'static) {
        self.0.levels.views_from(Box::new(views));
    }

    /// Where the state of each pool is asked for. Called at each look: it must not block.
    pub fn pools_from(&self, pools: impl Fn() -> Vec<PoolState> + Send + Sync + 'static) {
        self.0.levels.pools_from(Box::new(pools));
    }

    /// Where it is asked for whether this replica is the one that acts. Called at each look: it must not block.
    pub fn leader_from(&self, leads: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.levels.leader_from(Box::new(leads));
    }

    /// Everything, as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts a run as under way for as long as it is held.
#[derive(Debug)]
#[must_use = "the run counts as ended when this is dropped"]
pub struct RunGuard(Gauge);

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// What stands where a return code would, when there is none.
const fn no_reply(error: &ClientError) -> &'static str {
    match error {
        ClientError::LibraryMissing(_) => "library_missing",
        ClientError::AuthenticationFailed { .. } => "authentication_failed",
        ClientError::InvalidConfiguration(_) => "invalid_configuration",
        ClientError::Unreachable(_) => "unreachable",
        ClientError::TimedOut { .. } => "timed_out",
        ClientError::NotSent { .. } => "not_sent",
        ClientError::OtherCluster { .. } => "other_cluster",
        ClientError::NotLeading { .. } => "not_leading",
        ClientError::Closed => "closed",
    }
}

#[cfg(test)]
mod tests;
