//! A Kubernetes control plane: the shared one, or one of a test's own.

use std::path::{Path, PathBuf};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::{next, run_script, variable};

/// A control plane by its folder. One of a test's own is ended with the value.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    dir: PathBuf,
    own: bool,
}

impl ControlPlane {
    /// The one that all tests share.
    pub(crate) fn shared() -> Self {
        Self {
            dir: variable("POOLWRIGHT_TEST_KUBE").into(),
            own: false,
        }
    }

    /// One of its own.
    pub(crate) async fn own() -> Self {
        let dir = PathBuf::from(variable("POOLWRIGHT_TEST_KUBE")).join(format!(
            "own-{}-{}",
            std::process::id(),
            next()
        ));
        let plane = Self {
            dir: dir.clone(),
            own: true,
        };
        let started =
            tokio::task::spawn_blocking(move || run_script("control-plane.sh", "start", &dir, &[]));
        started
            .await
            .expect("no panic")
            .expect("the control plane starts");
        plane
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// A client as the administrator. It lives in the runtime of its test, so each makes its own.
    pub(crate) async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).expect("a kubeconfig");
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .expect("a configuration");
        config.proxy_url = None;
        Client::try_from(config).expect("a client")
    }

    /// What controllers with the chart's rights have asked for, one entry a request, and what RBAC said to it.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.join("log/audit.json")).unwrap_or_default();
        // The last line may be half there.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// A port on loopback that no other cluster takes: the script reserves 256 and uses four.
    pub(crate) fn port(&self, number: u16) -> u16 {
        let block = std::fs::read_to_string(self.dir.join("ports")).expect("the reserved ports");
        let first = u16::from_str_radix(block.trim(), 16).expect("a block of ports") << 8;
        first + 16 + number
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.own
            && let Err(error) = run_script("control-plane.sh", "stop", &self.dir, &[])
        {
            eprintln!("{error}");
        }
    }
}
