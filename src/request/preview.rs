//! The whole plan, by running the factory against the simulated cluster.
//!
//! Nothing of it is ever executed: it is what `plan`, `status.pending` and percentages show.

use super::factory::{Next, RequestFactory};
use super::round::{Round, Step};
use super::wish::Wish;
use crate::ceph::command::MonCommand;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::view::ClusterView;

/// A run that has not ended after so many rounds does not converge.
pub const MAX_ROUNDS: usize = 12;

/// The rounds from now to the wish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What the factory says now; its round is the first.
    pub now: Next,
    /// The rounds after it, as far as the simulated cluster can tell.
    pub later: Vec<Round>,
    /// Whether the end was reached within the cap.
    pub converges: bool,
}

impl Plan {
    /// Whether the pool is as wished.
    pub fn in_sync(&self) -> bool {
        self.now.in_sync()
    }

    /// All rounds, the first one too.
    pub fn rounds(&self) -> impl Iterator<Item = &Round> {
        std::iter::once(&self.now.round)
            .filter(|round| !round.is_empty())
            .chain(&self.later)
    }

    /// All steps of all rounds.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.rounds().flat_map(|round| &round.steps)
    }
}

/// Plans to the end.
pub fn plan(factory: &dyn RequestFactory, wish: &Wish, view: &ClusterView) -> Plan {
    let now = factory.next_round(wish, view);
    if now.round.is_empty() {
        return Plan {
            now,
            later: Vec::new(),
            converges: true,
        };
    }
    let mut cluster = SimulatedCluster::from_view(view);
    // Monitors may not allow it; that they say when they are asked.
    cluster.config.allow_pool_size_one = true;
    let mut later = Vec::new();
    let mut wish = now.advance(wish.clone());
    let mut round = now.round.clone();
    for _ in 1..=MAX_ROUNDS {
        let commands: Vec<MonCommand> = round
            .steps
            .iter()
            .map(|step| step.command.clone())
            .collect();
        cluster.round(&commands);
        let next = factory.next_round(&wish, &cluster.view());
        wish = next.advance(wish);
        round = next.round;
        if round.is_empty() {
            return Plan {
                now,
                later,
                converges: true,
            };
        }
        later.push(round.clone());
    }
    Plan {
        now,
        later,
        converges: false,
    }
}
