//! Whether the process works (`/healthz`) and whether it is ready for its work (`/readyz`).

pub mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A main loop that has not ticked for so long does not work any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is waited for before anybody has said what is.
const START: &str = "start";

/// What is known about the health of the process. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    ticked: Instant,
    gates: BTreeMap<&'static str, bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Alive from now on, and not ready before there is a gate and all are set.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            ticked: Instant::now(),
            gates: BTreeMap::new(),
        })))
    }

    /// Something that has to come before the process is ready, such as `crds`. It is waited for until it is set;
    /// asking for the same name again gives the same gate as it is.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.state().gates.entry(name).or_insert(false);
        Gate {
            health: self.clone(),
            name,
        }
    }

    /// The main loop still goes round. It does so several times a minute.
    pub fn tick(&self) {
        self.state().ticked = Instant::now();
    }

    /// Whether the main loop has ticked lately; else how long ago it did.
    pub fn alive(&self) -> Result<(), Duration> {
        self.alive_at(Instant::now())
    }

    /// The gates that are still waited for; ready when there are none.
    pub fn waiting(&self) -> Vec<&'static str> {
        let state = self.state();
        if state.gates.is_empty() {
            return vec![START];
        }
        let waiting = state.gates.iter().filter(|(_, set)| !**set);
        waiting.map(|(name, _)| *name).collect()
    }

    fn alive_at(&self, now: Instant) -> Result<(), Duration> {
        let silence = now.saturating_duration_since(self.state().ticked);
        if silence < PATIENCE {
            Ok(())
        } else {
            Err(silence)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that is waited for, or not any more.
#[derive(Clone, Debug)]
pub struct Gate {
    health: Health,
    name: &'static str,
}

impl Gate {
    /// It is there.
    pub fn set(&self) {
        self.put(true);
    }

    /// It is waited for, again.
    pub fn unset(&self) {
        self.put(false);
    }

    fn put(&self, set: bool) {
        self.health.state().gates.insert(self.name, set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready when every gate is set, and not any more when one is taken back.
    #[test]
    fn gates() {
        let health = Health::new();
        assert_eq!(health.waiting(), [START]);
        let (crds, stores) = (health.gate("crds"), health.gate("stores"));
        assert_eq!(health.waiting(), ["crds", "stores"]);
        crds.set();
        assert_eq!(health.gate("crds").health.waiting(), ["stores"]);
        stores.set();
        assert!(health.waiting().is_empty());
        crds.unset();
        assert_eq!(health.waiting(), ["crds"]);
    }

    /// Alive until a minute after the last tick.
    #[test]
    fn heartbeat() {
        let health = Health::new();
        let began = Instant::now();
        assert_eq!(health.alive(), Ok(()));
        assert!(health.alive_at(began + Duration::from_secs(59)).is_ok());
        assert!(health.alive_at(began + Duration::from_secs(60)).is_err());
        health.tick();
        assert!(
            health
                .alive_at(Instant::now() + Duration::from_secs(59))
                .is_ok()
        );
    }
}
