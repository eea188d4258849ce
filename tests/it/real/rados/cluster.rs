//! Clusters for tests: the shared one, and ones of their own for tests that freeze or kill.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use poolwright::ceph::command::MonCommand;
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient};
use poolwright::ceph::types::{Fsid, PoolName};
use tempfile::TempDir;
use tokio::process::Command;

use crate::real::steps::create_of;

/// The folder of a running cluster.
pub(crate) struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    /// The cluster that all tests share. Without one the test fails: it is never skipped.
    pub(crate) fn shared() -> Self {
        let dir = std::env::var_os("POOLWRIGHT_TEST_CEPH")
            .expect("POOLWRIGHT_TEST_CEPH names the folder of a running cluster");
        Self { dir: dir.into() }
    }

    /// Its ceph.conf.
    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.join("ceph.conf")
    }

    /// Its ID.
    pub(crate) fn fsid(&self) -> Fsid {
        Fsid::new(&self.read("fsid"))
    }

    /// Its monitors' addresses.
    pub(crate) fn monitors(&self) -> String {
        self.read("monitors").trim().to_owned()
    }

    /// The administrator's key.
    pub(crate) fn key(&self) -> Key {
        Key::parse(&self.read("keyring"), "admin").expect("the administrator's key")
    }

    /// To connect as the administrator.
    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions::Explicit {
            mon_host: self.monitors(),
            user: "admin".into(),
            key: self.key(),
            options: std::collections::BTreeMap::new(),
        }
    }

    /// A session as the administrator.
    pub(crate) async fn connect(&self, limits: Limits) -> RadosClient {
        RadosClient::connect(self.options(), limits)
            .await
            .expect("a session with the cluster")
    }

    fn read(&self, file: &str) -> String {
        let path = self.dir.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A cluster for one test, ended with it.
pub(crate) struct OwnCluster {
    cluster: Cluster,
    _dir: TempDir,
}

impl OwnCluster {
    /// Starts it: a monitor, a manager and no OSD, which is enough for commands.
    pub(crate) async fn start() -> Self {
        Self::with_monitors(1).await
    }

    /// The same with several monitors.
    pub(crate) async fn with_monitors(count: usize) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pw-")
            .tempdir_in("/tmp")
            .expect("a folder in /tmp");
        // The script wants a folder that is new or empty.
        let cluster = Cluster {
            dir: dir.path().to_owned(),
        };
        let own = Self { cluster, _dir: dir };
        let start = script("start", &own.dir)
            .env("MONS", count.to_string())
            .status()
            .await;
        assert!(
            start.expect("the cluster script runs").success(),
            "the cluster did not start"
        );
        own
    }

    /// Freezes the monitor: it keeps its connections and answers nothing.
    pub(crate) async fn freeze(&self) {
        self.script("pause-mon").await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        self.script("resume-mon").await;
    }

    /// Ends the monitor at once.
    pub(crate) async fn kill(&self) {
        self.script("kill-mon").await;
    }

    /// Starts it again.
    pub(crate) async fn restart(&self) {
        self.script("start-mon").await;
    }

    async fn script(&self, action: &str) {
        let status = script(action, &self.cluster.dir).status().await;
        let status = status.expect("the cluster script runs");
        assert!(status.success(), "{action} ended with {status}");
    }
}

impl std::ops::Deref for OwnCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let stopped = script("stop", &self.cluster.dir).as_std_mut().status();
        if let Err(error) = stopped {
            eprintln!("the cluster was not stopped: {error}");
        }
    }
}

fn script(action: &str, dir: &Path) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env/ceph-cluster.sh");
    let mut command = Command::new(path);
    command
        .arg(action)
        .arg(dir)
        .env("OSDS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Limits with short times, for tests that run into them.
pub(crate) fn limits(connect: Duration, command: Duration) -> Limits {
    Limits {
        max_commands_in_flight: 512,
        connect_timeout: connect,
        command_timeout: command,
    }
}

/// A pool name that no other test uses.
pub(crate) fn pool_name(what: &str) -> PoolName {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PoolName::new(format!("{what}-{}-{number}", std::process::id()))
}

/// Creates the smallest pool.
pub(crate) fn create(pool: &PoolName) -> MonCommand {
    create_of(pool.as_str(), 1, Some(2))
}

/// Removes a pool.
pub(crate) fn remove(pool: &PoolName) -> MonCommand {
    MonCommand::PoolRemove { pool: pool.clone() }
}
