//! Levels: what is true at the moment somebody looks, asked for at that moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// How it stands with a connection's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewLevel {
    /// The connection's name.
    pub connection: String,
    /// The epoch of its newest view; `None` before the first.
    pub epoch: Option<u64>,
    /// How long ago that was confirmed to be the cluster's newest.
    pub age: Option<Duration>,
}

/// How it stands with a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolState {
    /// As declared.
    InSync,
    /// Work is under way, or about to be.
    Pending,
    /// Nothing more happens by itself.
    Stalled,
    /// It differs, and is only observed.
    Drifted,
}

impl PoolState {
    const ALL: [Self; 4] = [Self::InSync, Self::Pending, Self::Stalled, Self::Drifted];

    const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Pending => "pending",
            Self::Stalled => "stalled",
            Self::Drifted => "drifted",
        }
    }
}

type Source<T> = Box<dyn Fn() -> Vec<T> + Send + Sync>;

/// Where levels are asked for. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Levels(Arc<RwLock<Sources>>);

#[derive(Default)]
struct Sources {
    leader: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    views: Option<Source<ViewLevel>>,
    pools: Option<Source<PoolState>>,
}

impl Levels {
    pub(super) fn leader_from(&self, leads: Box<dyn Fn() -> bool + Send + Sync>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .leader = Some(leads);
    }

    pub(super) fn views_from(&self, views: Source<ViewLevel>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).views = Some(views);
    }

    pub(super) fn pools_from(&self, pools: Source<PoolState>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).pools = Some(pools);
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Levels").finish_non_exhaustive()
    }
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(leads) = &sources.leader {
            let help = "Whether this replica is the one that acts.";
            let gauge = encoder.encode_descriptor("leader", help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::from(leads())).encode(gauge)?;
        }
        if let Some(views) = &sources.views {
            let views = views();
            let epochs = views.iter().filter_map(|view| {
                let epoch = i64::try_from(view.epoch?).unwrap_or(i64::MAX);
                Some((view.connection.as_str(), epoch))
            });
            gauges(
                &mut encoder,
                "view_epoch",
                "Epoch of the newest view of a connection's cluster.",
                "connection",
                epochs,
            )?;
            let ages = views
                .iter()
                .filter_map(|view| Some((view.connection.as_str(), view.age?.as_secs_f64())));
            gauges(
                &mut encoder,
                "view_age_seconds",
                "How long ago a connection's view was confirmed to be the cluster's newest.",
                "connection",
                ages,
            )?;
        }
        if let Some(pools) = &sources.pools {
            // A state without a pool is 0, not absent: alerts compare with it.
            let mut counts: BTreeMap<PoolState, i64> =
                PoolState::ALL.into_iter().map(|state| (state, 0)).collect();
            for state in pools() {
                *counts.entry(state).or_default() += 1;
            }
            let counts = counts
                .into_iter()
                .map(|(state, count)| (state.as_str(), count));
            gauges(
                &mut encoder,
                "pools",
                "CephPools by state.",
                "state",
                counts,
            )?;
        }
        Ok(())
    }
}

/// One gauge with one label.
fn gauges<'a, N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl Iterator<Item = (&'a str, N)>,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (value_of_label, value) in values {
        let labels = [(label, value_of_label)];
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
