//! What the tests on real parts stand on: a Ceph cluster, a Kubernetes control plane and the
//! controller as its own process. Run them with `make test`.
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread")]
//! async fn quotas() {
//!     let case = Case::shared("quotas").await;                  // namespace and pool names of its own
//!     case.apply("a", "{replicated: {size: 2}, applications: [{name: rbd}], quota: {maxObjects: 5}}").await;
//!     let object = case.ready("a").await;                       // CephPool a; its pool is case.pool_name("a")
//!     case.ceph(&["osd", "pool", "set-quota", &case.pool_name("a"), "max_objects", "9"]).await;
//!     case.wait_for("the quota is back", LIMIT, async || {
//!         let pool = case.ceph_pool("a").await.ok_or("no pool")?;
//!         holds(pool["quota_max_objects"] == 5, &pool["quota_max_objects"])
//!     }).await;                                                 // fails with a dump of everything
//! }
//! ```
//!
//! | what | how |
//! |---|---|
//! | all parts shared with other tests | [`Case::shared`] |
//! | a controller, API server and Ceph for one test | `World::own(Own { .. })`, then [`Case::new`]; at most two at once |
//! | a Ceph cluster for one test, the rest shared | [`Ceph::own`], [`World::connect`], [`Case::with_connection`] |
//! | an object of ours | [`Case::apply`], [`Case::object`], [`Case::until`], [`Case::ready`], [`Case::stalled`], [`Case::requests`] |
//! | what Ceph has | [`Case::dump`], [`Case::ceph_pool`], [`Case::epoch`] |
//! | by hand, as people do it | [`Case::ceph`], [`Case::kubectl`], [`Case::kubectl_with`] |
//! | by hand, fast | [`Case::hand`], [`Case::hand_all`] (one round) |
//! | the REST API | [`Controller::rest`], [`token`] of a ServiceAccount |
//! | what it cost | [`World::api_writes`], [`World::controller_metrics`], [`World::commands`] |
//! | the controller's life | [`World::kill_controller`], [`World::start_controller`] |
//! | several replicas | [`World::running`], [`World::another_controller`], each a [`Controller`] |
//!
//! Controllers have no rights but those that the chart in `charts/poolwright` gives them, as its ServiceAccount.
//! Waits are on conditions, with limits for a busy machine; nothing sleeps for luck. What a
//! shared case leaves behind is small and has its own names, so nothing has to be cleaned up.

mod case;
mod ceph;
mod control_plane;
mod controller;
mod dice;
mod helm;
mod rest;
mod world;

use std::fmt::Debug;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

pub(crate) use self::case::{Case, condition, pools_of, rounds};
pub(crate) use self::ceph::{CAPS, Ceph};
pub(crate) use self::control_plane::ControlPlane;
pub(crate) use self::controller::Controller;
pub(crate) use self::dice::Dice;
pub(crate) use self::helm::{CHART, helm, kubeconfig_of_chart};
pub(crate) use self::rest::{Answer, Rest, token};
pub(crate) use self::world::{Own, World, install_crds, make_connection};

/// Long enough for anything that should happen at once, on a machine that runs many tests at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What a program said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Whether it ended with 0.
    pub(crate) ok: bool,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Said {
    /// Its output; fails when it did not end well.
    pub(crate) fn expect(self, what: &str) -> String {
        assert!(self.ok, "{what}: {}{}", self.err, self.out);
        self.out
    }
}

/// Runs a program, at most for a minute.
pub(crate) async fn run(command: &mut Command, input: Option<&str>) -> Said {
    let line = format!("{:?}", command.as_std());
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{line} did not end within {LIMIT:?}"))
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    Said {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Applies an object as field manager `test`, whatever the API server says.
pub(crate) async fn apply<K>(
    api: &Api<K>,
    name: &str,
    object: &(impl Debug + Serialize),
) -> Result<K, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let params = PatchParams::apply("test").force();
    api.patch(name, &params, &Patch::Apply(object)).await
}

/// Whether the clusters are of Ceph 20: the matrix of releases says so, and the machine's own is older.
pub(crate) fn is_20() -> bool {
    std::env::var("CEPH_RELEASE").is_ok_and(|release| release == "20")
}

/// Each of these parts is in a text.
pub(crate) fn has_all(text: &str, parts: impl IntoIterator<Item = impl AsRef<str>>) {
    for part in parts {
        let part = part.as_ref();
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// For looks of [`Case::wait_for`]: holds, or what was seen instead.
pub(crate) fn holds(condition: bool, seen: &impl Debug) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(format!("{seen:?}"))
    }
}

/// A variable that `with-env.sh` sets. Without it a test fails: it is never skipped.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs a real Ceph cluster and a real Kubernetes API; run `make test`")
    })
}

/// Runs one of the scripts of `tests/env`.
fn script(name: &str, action: &str, dir: &Path) -> std::process::Command {
    let mut command =
        std::process::Command::new(Path::new(&variable("POOLWRIGHT_TEST_ENV_SCRIPTS")).join(name));
    command
        .arg(action)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end.
fn run_script(
    name: &str,
    action: &str,
    dir: &Path,
    options: &[(&str, &str)],
) -> Result<(), String> {
    let output = script(name, action, dir)
        .envs(options.iter().copied())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{name} {action}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// A number that no other case of this process has.
fn next() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
