//! What happens to sessions when the process ends.
//!
//! A program that ends calls the exit handlers of its libraries while other threads go on.
//! librados then uses a cryptographic library that is taken down already, and one exit in
//! five crashes (measured on 16). So a handler of our own closes the sessions first.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::ffi::{self, Cluster};

/// How long the end waits for sessions that are being opened, and for commands.
const PATIENCE: Duration = Duration::from_millis(1500);
const POLL: Duration = Duration::from_millis(2);

static SESSIONS: Mutex<Vec<Weak<Cluster>>> = Mutex::new(Vec::new());

/// To be called when a handle has been made: the end waits while it connects.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(install);
}

/// To be called with each session: it is closed at the end.
pub(super) fn register(cluster: &Arc<Cluster>) {
    // Once more, so that it runs before the handlers that came with the first session.
    static ONCE: Once = Once::new();
    ONCE.call_once(install);
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.retain(|session| session.strong_count() > 0);
    sessions.push(Arc::downgrade(cluster));
}

/// librados is used with glibc only: a static program cannot load it.
fn install() {
    #[cfg(target_env = "gnu")]
    ffi::on_exit(close_all);
}

#[cfg(target_env = "gnu")]
extern "C" fn close_all(status: c_int, _: *mut c_void) {
    let began = Instant::now();
    while ffi::open_clusters() > 0 {
        if began.elapsed() > PATIENCE {
            // librados is still at work; to go on would be to crash.
            ffi::end_now(status);
        }
        let sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        for session in sessions.iter().filter_map(Weak::upgrade) {
            session.try_shutdown();
        }
        drop(sessions);
        thread::sleep(POLL);
    }
}
