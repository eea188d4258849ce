//! Fail points: the places where the process can be ended on purpose, to show that it goes on from there.
//!
//! There is one before and one after every call that changes something, in Ceph or in the API server; they are at the
//! two doors that all such calls pass, so a call that is added has its points without further ado. Only in debug
//! builds, and only where the variable [`VARIABLE`] says so:
//!
//! * `list=FILE`: every point that is reached is written into the file, a line each
//! * `NAME#2`: the process ends at once when the point `NAME` is reached for the second time
//!
//! Points are named after the call, such as `before osd pool rename` or `after PUT cephpools/status`.

#[cfg(debug_assertions)]
use std::collections::HashMap;
#[cfg(debug_assertions)]
use std::io::Write as _;
#[cfg(debug_assertions)]
use std::sync::{Mutex, OnceLock, PoisonError};

/// The environment variable that arms a point.
pub const VARIABLE: &str = "POOLWRIGHT_FAIL_POINT";

/// The process is at a point. Ends it there if that was asked for, as SIGKILL would: nothing is flushed or closed.
#[cfg(debug_assertions)]
pub fn reach(point: impl FnOnce() -> String) {
    static ARMED: OnceLock<Option<String>> = OnceLock::new();
    static REACHED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);
    let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok());
    let Some(armed) = armed else { return };
    let name = point();
    let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = reached
        .get_or_insert_with(HashMap::new)
        .entry(name.clone())
        .or_default();
    *count += 1;
    let point = format!("{name}#{count}");
    if let Some(file) = armed.strip_prefix("list=") {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(file);
        let written = file.and_then(|mut file| writeln!(file, "{point}"));
        if let Err(error) = written {
            tracing::error!(%error, "cannot list a fail point");
        }
    } else if point == *armed {
        std::process::abort();
    }
}

/// Nothing: there are no fail points in a release build.
#[cfg(not(debug_assertions))]
pub fn reach(_: impl FnOnce() -> String) {}
