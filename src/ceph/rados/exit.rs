//! What happens to sessions when the process ends.
//!
//! A program that ends calls the exit handlers of its libraries while other threads go on.
//! Those of librados then use a cryptographic library that is taken down, and one exit in five
//! crashes (measured on 16). So sessions are closed first, by a handler of our own.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::ffi::{self, Cluster};

/// How long the end of the process waits for sessions that are just being opened or closed.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

static SESSIONS: Mutex<Vec<Weak<Cluster>>> = Mutex::new(Vec::new());

/// To be called when a handle has been made: the end waits while it connects.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffi::at_exit(close_all));
}

/// To be called with each session: it is closed at the end.
pub(super) fn register(cluster: &Arc<Cluster>) {
    // Again, so that it runs before the handlers that came with the first session.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffi::at_exit(close_all));
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.retain(|session| session.strong_count() > 0);
    sessions.push(Arc::downgrade(cluster));
}

extern "C" fn close_all() {
    let began = Instant::now();
    while ffi::open_clusters() > 0 && began.elapsed() < PATIENCE {
        // Taken out of the lock: another may be about to register.
        let sessions =
            std::mem::take(&mut *SESSIONS.lock().unwrap_or_else(PoisonError::into_inner));
        for session in sessions.iter().filter_map(Weak::upgrade) {
            session.shutdown();
        }
        thread::sleep(POLL);
    }
}
