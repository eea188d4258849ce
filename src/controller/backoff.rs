//! How long to wait before an object is tried again after a failure.
//!
//! Per object, since one that fails must not slow the others down, and doubling, since an object
//! that has failed for an hour does not need a try a second. Pure: the jitter comes in.

use std::collections::HashMap;
use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// The share of a wait that the jitter may take off, so that objects that failed together do not
/// come back together.
const SPREAD: f64 = 0.2;

/// Failures in a row by the object's uid.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: HashMap<String, u32>,
}

impl Backoff {
    /// Counts a failure and says how long to wait. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, uid: &str, jitter: f64) -> Duration {
        let failures = self.failures.entry(uid.to_owned()).or_insert(0);
        let doublings = *failures;
        *failures = failures.saturating_add(1);
        let wait = 2_u32
            .checked_pow(doublings)
            .and_then(|factor| FIRST.checked_mul(factor))
            .map_or(LONGEST, |wait| wait.min(LONGEST));
        wait.mul_f64(1.0 - SPREAD * jitter.clamp(0.0, 1.0))
    }

    /// Forgets the failures: the object is well, or has changed, or is gone.
    pub fn clear(&mut self, uid: &str) {
        self.failures.remove(uid);
    }

    /// Failures in a row.
    pub fn failures(&self, uid: &str) -> u32 {
        self.failures.get(uid).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second, doubling, five minutes at most, and from the beginning after a success.
    #[test]
    fn doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..11)
            .map(|_| backoff.failed("a", 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.failed("b", 0.0), FIRST, "objects do not share");
        for _ in 0..100 {
            assert!(backoff.failed("a", 0.0) <= LONGEST);
        }
        backoff.clear("a");
        assert_eq!(backoff.failures("a"), 0);
        assert_eq!(backoff.failed("a", 0.0), FIRST);
    }

    /// Jitter only shortens, by a fifth at most.
    #[test]
    fn jitter_shortens() {
        for (jitter, milliseconds) in [(0.0, 1000), (0.5, 900), (1.0, 800), (7.0, 800)] {
            let wait = Backoff::default().failed("a", jitter);
            assert_eq!(wait, Duration::from_millis(milliseconds), "{jitter}");
        }
    }
}
