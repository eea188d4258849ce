//! A Ceph cluster: the shared one, or one of a test's own.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use poolwright::ceph::command::permissions::{Permission, mon_capabilities};
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient};
use tokio::process::Command;

use super::{Said, next, run, run_script, variable};

/// What the controller's user may do: exactly what `poolwright permissions` prints, so that all tests prove that it
/// suffices.
pub(crate) static CAPS: LazyLock<String> =
    LazyLock::new(|| mon_capabilities(&Permission::ALL.into()));

/// A cluster by its folder. One of a test's own is ended with the value.
#[derive(Debug)]
pub(crate) struct Ceph {
    dir: PathBuf,
    own: bool,
}

impl Ceph {
    /// The cluster that all tests share.
    pub(crate) fn shared() -> Self {
        Self {
            dir: variable("POOLWRIGHT_TEST_CEPH").into(),
            own: false,
        }
    }

    /// One that somebody else ends, by its folder.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            own: false,
        }
    }

    /// A cluster of its own, with options of `ceph-cluster.sh` such as `("OSDS", "1")`.
    pub(crate) async fn own(options: &[(&str, &str)]) -> Self {
        // Below the shared one's folder: what a killed test leaves behind is ended with that one.
        let dir = PathBuf::from(variable("POOLWRIGHT_TEST_CEPH")).join(format!(
            "own-{}-{}",
            std::process::id(),
            next()
        ));
        let options: Vec<(String, String)> = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let ceph = Self {
            dir: dir.clone(),
            own: true,
        };
        let started = tokio::task::spawn_blocking(move || {
            let options: Vec<(&str, &str)> = options
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            run_script("ceph-cluster.sh", "start", &dir, &options)
        });
        started
            .await
            .expect("no panic")
            .expect("the cluster starts");
        ceph
    }

    /// Its monitors' addresses.
    pub(crate) fn monitors(&self) -> String {
        self.read("monitors").trim().to_owned()
    }

    /// Its ID.
    pub(crate) fn fsid(&self) -> String {
        self.read("fsid").trim().to_owned()
    }

    /// Its ceph.conf, which names the administrator's keyring.
    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.join("ceph.conf")
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The `ceph` of people, as the administrator; fails when it fails.
    pub(crate) async fn ceph(&self, args: &[&str]) -> String {
        self.try_ceph(args)
            .await
            .expect(&format!("ceph {}", args.join(" ")))
    }

    /// The same, whatever comes of it.
    pub(crate) async fn try_ceph(&self, args: &[&str]) -> Said {
        let mut command = Command::new("ceph");
        command
            .arg("-c")
            .arg(self.conf())
            .args(["--connect-timeout", "20"])
            .args(args);
        run(&mut command, None).await
    }

    /// A user who may do what the controller does; gives the key.
    pub(crate) async fn user(&self, name: &str, caps: &str) -> String {
        let entity = format!("client.{name}");
        self.ceph(&["auth", "get-or-create-key", &entity, "mon", caps])
            .await
            .trim()
            .to_owned()
    }

    /// Does something to the monitors: `pause-mon` (they keep their connections and answer nothing), `resume-mon`,
    /// `kill-mon`, `start-mon`. For clusters of one's own.
    pub(crate) async fn monitor(&self, action: &'static str) {
        assert!(self.own, "others work with these monitors");
        let dir = self.dir.clone();
        let done = move || run_script("ceph-cluster.sh", action, &dir, &[]);
        tokio::task::spawn_blocking(done)
            .await
            .expect("no panic")
            .expect(action);
    }

    /// Ends a daemon such as `osd.2`, which says good-bye. For clusters of one's own.
    pub(crate) fn end(&self, daemon: &str) {
        assert!(self.own, "others work with it");
        let pid = self.read(&format!("run/{daemon}.pid"));
        let pid = pid.trim();
        // A process of another program may have this number by now.
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("its process");
        let folder = self.dir.display().to_string();
        assert!(line.contains("ceph-") && line.contains(&folder), "{line}");
        let ended = std::process::Command::new("kill").arg(pid).status();
        assert!(ended.expect("kill runs").success());
    }

    /// A session as the administrator.
    pub(crate) async fn connect(&self) -> RadosClient {
        let options = ConnectOptions::Explicit {
            mon_host: self.monitors(),
            user: "admin".into(),
            key: Key::parse(&self.read("keyring"), "admin").expect("the administrator's key"),
            options: std::collections::BTreeMap::new(),
        };
        let limits = Limits {
            max_commands_in_flight: 512,
            connect_timeout: Duration::from_secs(20),
            command_timeout: Duration::from_secs(30),
        };
        RadosClient::connect(options, limits)
            .await
            .expect("a session with the cluster")
    }

    fn read(&self, file: &str) -> String {
        let path = self.dir.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        if self.own
            && let Err(error) = run_script("ceph-cluster.sh", "stop", &self.dir, &[])
        {
            eprintln!("{error}");
        }
    }
}
