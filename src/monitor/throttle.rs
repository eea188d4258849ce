//! How many pools may be created at once: as many as the monitor bears.
//!
//! Each create has the monitor fork a CRUSH smoke test of some 20 ms, in which it answers
//! nobody. The epoch polls feel it, so they set the limit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The limit at start, and as far as it grows back without being needed.
const START: usize = 64;
/// The limit that is never passed.
const MOST: usize = 256;
/// A poll that takes longer halves the limit.
const SLOW: Duration = Duration::from_millis(500);
/// A poll that takes less may double it.
const FAST: Duration = Duration::from_millis(50);
/// The limit grows no more often than this: polls come every few milliseconds while runs wait.
const GROWTH_INTERVAL: Duration = Duration::from_secs(1);

/// The limit on creates in flight as the polls move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    limit: usize,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Throttle {
    /// Starts at 64.
    pub const fn new() -> Self {
        Self { limit: START }
    }

    /// How many may be in flight.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// Takes note of how long a poll took while so many creates were in flight.
    ///
    /// Only a full house shows that the monitor bears more than the start; polls of
    /// an idle monitor just undo what slow ones did.
    pub fn observe(&mut self, poll: Duration, in_flight: usize) {
        if poll > SLOW {
            self.limit = (self.limit / 2).max(1);
        } else if poll < FAST {
            let most = if in_flight >= self.limit {
                MOST
            } else {
                START.max(self.limit)
            };
            self.limit = self.limit.saturating_mul(2).min(most);
        }
    }
}

/// The throttle of one connection, shared by all its runs.
#[derive(Clone, Debug)]
pub struct CreateThrottle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    throttle: Throttle,
    in_flight: usize,
    grown_at: Option<Instant>,
}

impl Default for CreateThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl CreateThrottle {
    /// Nothing in flight, the limit at its start.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                throttle: Throttle::new(),
                in_flight: 0,
                grown_at: None,
            }),
            freed: Notify::new(),
        }))
    }

    /// Waits until one more may be in flight; it is until the permit is dropped.
    pub async fn acquire(&self) -> CreatePermit {
        loop {
            let freed = self.0.freed.notified();
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            freed.await;
        }
    }

    /// How many may be in flight now.
    pub fn limit(&self) -> usize {
        self.state().throttle.limit()
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// Takes note of a poll that ended just now.
    pub(super) fn observe(&self, poll: Duration, now: Instant) {
        let mut state = self.state();
        let rested = state
            .grown_at
            .is_none_or(|at| now.saturating_duration_since(at) >= GROWTH_INTERVAL);
        let before = state.throttle.limit();
        let in_flight = state.in_flight;
        if poll >= FAST || rested {
            state.throttle.observe(poll, in_flight);
        }
        if state.throttle.limit() > before {
            state.grown_at = Some(now);
            drop(state);
            self.0.freed.notify_waiters();
        }
    }

    fn try_acquire(&self) -> Option<CreatePermit> {
        let mut state = self.state();
        if state.in_flight >= state.throttle.limit() {
            return None;
        }
        state.in_flight += 1;
        Some(CreatePermit(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One create in flight.
#[derive(Debug)]
#[must_use = "the create is in flight for as long as its permit is held"]
pub struct CreatePermit(CreateThrottle);

impl Drop for CreatePermit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        let free = state.in_flight < state.throttle.limit();
        drop(state);
        if free {
            self.0.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const BUSY: Duration = Duration::from_millis(600);

    /// Slow polls halve down to 1, idle ones bring it back to the start, a full house beyond.
    #[test]
    fn limit_follows_the_polls() {
        let mut throttle = Throttle::new();
        throttle.observe(QUICK, 3);
        assert_eq!(throttle.limit(), 64, "an idle monitor proves nothing");
        throttle.observe(QUICK, 64);
        throttle.observe(QUICK, 128);
        throttle.observe(QUICK, 256);
        assert_eq!(throttle.limit(), 256);
        throttle.observe(QUICK, 0);
        assert_eq!(throttle.limit(), 256, "what was borne is kept");
        throttle.observe(Duration::from_millis(200), 256);
        assert_eq!(throttle.limit(), 256, "neither fast nor slow");
        for _ in 0..20 {
            throttle.observe(BUSY, 1);
        }
        assert_eq!(throttle.limit(), 1);
        for _ in 0..20 {
            throttle.observe(QUICK, 0);
        }
        assert_eq!(throttle.limit(), 64);
    }

    /// A permit waits for another to go, and a lower limit lets none in until enough have gone.
    #[tokio::test(start_paused = true)]
    async fn permits() {
        let creates = CreateThrottle::new();
        let mut held = Vec::new();
        for _ in 0..64 {
            held.push(creates.acquire().await);
        }
        let waiting = tokio::spawn({
            let creates = creates.clone();
            async move { creates.acquire().await }
        });
        tokio::time::sleep(QUICK).await;
        assert!(!waiting.is_finished());
        creates.observe(BUSY, Instant::now());
        drop(held.split_off(32));
        tokio::time::sleep(QUICK).await;
        assert!(!waiting.is_finished(), "32 of 32 are in flight");
        held.pop();
        let permit = waiting.await.expect("the task");
        assert_eq!(creates.in_flight(), 32);
        drop(permit);
        drop(held);
        assert_eq!(creates.in_flight(), 0);
    }

    /// Growth lets waiting ones in, once a second at most.
    #[tokio::test(start_paused = true)]
    async fn growth() {
        let creates = CreateThrottle::new();
        let mut held = Vec::new();
        for _ in 0..64 {
            held.push(creates.acquire().await);
        }
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let creates = creates.clone();
                tokio::spawn(async move { creates.acquire().await })
            })
            .collect();
        tokio::time::sleep(QUICK).await;
        creates.observe(QUICK, Instant::now());
        creates.observe(QUICK, Instant::now());
        tokio::time::sleep(QUICK).await;
        assert_eq!(creates.limit(), 128);
        // Those that got one have dropped it again with their task's result only when joined.
        assert_eq!(creates.in_flight(), 128);
        tokio::time::sleep(Duration::from_secs(1)).await;
        creates.observe(QUICK, Instant::now());
        for task in waiting {
            held.push(task.await.expect("the task"));
        }
        assert_eq!(creates.in_flight(), 164);
    }
}
