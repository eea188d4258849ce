//! What the metrics ask for when somebody looks: views by connection, pools by state.

use kube::runtime::reflector::Store;
use tokio::time::Instant;

use super::pools::GuardedPool;
use super::registry::Registry;
use crate::api::conditions::{self, ConditionType, Reason};
use crate::api::v1alpha1::CephPool;
use crate::metrics::{Metrics, PoolState, ViewLevel};

/// Connects the metrics with what they tell.
pub(super) fn connect(metrics: &Metrics, registry: Registry, objects: Store<GuardedPool>) {
    metrics.views_from(move || {
        registry
            .sessions()
            .iter()
            .map(|session| {
                let snapshot = session.monitor.snapshot();
                ViewLevel {
                    connection: session.name.clone(),
                    epoch: snapshot.view.map(|view| view.epoch().0),
                    age: snapshot
                        .confirmed_at
                        .map(|at| Instant::now().saturating_duration_since(at)),
                }
            })
            .collect()
    });
    metrics.pools_from(move || {
        objects
            .state()
            .iter()
            .filter_map(|object| object.0.as_ref().ok())
            .map(state)
            .collect()
    });
}

fn state(pool: &CephPool) -> PoolState {
    let conditions = pool
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let ready = conditions::find(conditions, ConditionType::Ready);
    if ready.is_some_and(|ready| ready.reason == Reason::Drifted.as_str()) {
        PoolState::Drifted
    } else if conditions::is_true(conditions, ConditionType::Stalled) {
        PoolState::Stalled
    } else if conditions::is_true(conditions, ConditionType::Ready) {
        PoolState::InSync
    } else {
        PoolState::Pending
    }
}
