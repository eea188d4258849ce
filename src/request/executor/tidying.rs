//! The profile and the rule that a removed pool leaves behind: they go after it, where nobody uses them.
//!
//! Monitors look for users only among the pools that are committed, so a rule that is removed in the same breath as a
//! pool is created with it leaves that pool without. So a round that removes one takes its turn (see
//! [`Moves`](crate::request::moves::Moves)) among those that name it, and looks at a view again after that.

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::planning::submitted;
use super::sending::hand_over;
use super::{Access, Aim};
use crate::api::v1alpha1::Verb;
use crate::ceph::command::MonCommand;
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::request::guard;
use crate::request::journal::{Entry, Journal};
use crate::request::pool_factory::{Leftover, leftover_round};
use crate::request::round::Round;
use crate::request::wish::Wish;
use crate::request::work::{PoolKey, PoolWork};

/// What the pool that a round removes will leave behind.
pub(super) fn left_by(round: &Round, view: &ClusterView) -> Option<Leftover> {
    let removed = |name: &PoolName| view.pool_named(name);
    round.steps.iter().find_map(|step| match &step.command {
        MonCommand::PoolRemove { pool } => removed(pool).map(|pool| Leftover::of(pool, view)),
        _ => None,
    })
}

/// Removes what is left of the pool that was removed, or that an earlier process was ended over, if nobody uses it.
/// Whatever comes of that, the pool is gone: this holds nothing up.
pub(super) async fn tidy(
    key: &PoolKey,
    work: &PoolWork,
    access: &Access,
    journal: &dyn Journal,
    wish: &Wish,
    (left, stop): (Option<Leftover>, &CancellationToken),
) {
    if access.aim == Aim::Keep && left.is_none() {
        return;
    }
    let Ok(view) = access.view().await else {
        return;
    };
    let left = left.unwrap_or_default();
    let left = match access.aim {
        Aim::Keep => left,
        Aim::Discard | Aim::Remove => left.and(Leftover::wished(wish, &view)),
    };
    let planned = leftover_round(&left, &view);
    if planned.is_empty() {
        return;
    }
    let waiting = access.wait_for_others(key, &planned);
    let _turn = match stop.run_until_cancelled(waiting).await {
        None => return,
        Some(Ok(turn)) => turn,
        Some(Err(busy)) => {
            tracing::info!(%busy, "what may be in use is left");
            return;
        }
    };
    let Ok(view) = access.newest_view().await else {
        return;
    };
    let mut round = leftover_round(&left, &view);
    round.steps.retain(|step| planned.steps.contains(step));
    if round.is_empty() {
        return;
    }
    if let Err(objection) = guard::check(&round, wish, &view, None, None) {
        tracing::warn!(%objection, "what the pool has left behind stays");
        return;
    }
    let request = submitted(work, access, &round);
    let recorded = journal
        .before_round(Entry {
            wish,
            request: &request,
            round: &round,
            found: None,
            // Who may make a pool may take back what was made for it.
            verb: match access.aim {
                Aim::Keep | Aim::Discard => Verb::Create,
                Aim::Remove => Verb::Delete,
            },
        })
        .await;
    if let Err(error) = recorded {
        tracing::info!(?error, "what the pool has left behind stays");
        return;
    }
    // Refused where somebody uses it by now.
    join_all(round.steps.iter().map(|step| hand_over(access, step))).await;
    if let Ok(epoch) = access.monitor.read_epoch().await {
        // Whoever makes a pool next plans with what is left.
        let _ = access
            .monitor
            .await_epoch(epoch, access.command_timeout)
            .await;
    }
}
