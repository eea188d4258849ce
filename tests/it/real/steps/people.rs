//! What people do to objects and pools, and what befalls those.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::time::Duration;

use super::{create, enable, tag, token_in};
use crate::real::support::{Case, LIMIT, holds};

impl Case {
    /// Does what a message says, as a person would who copies it; gives the token in it.
    pub(crate) async fn as_told(&self, message: &str) -> String {
        let line = message.split('`').find(|part| part.starts_with("kubectl "));
        let line = line.unwrap_or_else(|| panic!("no command in {message}"));
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        self.kubectl(&words).await;
        token_in(message)
    }

    /// Waits until an object that is made from now on is younger than this one: they tell their age to the second.
    pub(crate) async fn a_second_after(&self, name: &str) {
        let made = self.object(name).await.creation_timestamp();
        let made = made.expect("a time").0.as_second();
        self.wait_for("the next second", LIMIT, async || {
            let now = jiff::Timestamp::now().as_second();
            if now > made {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
    }

    /// Asks for the deletion of an object, which something may hold.
    pub(crate) async fn begin_deletion(&self, name: &str) {
        self.pools()
            .delete(name, &DeleteParams::default())
            .await
            .expect("it is deleted");
    }

    /// Deletes the namespace, and waits until it is gone with all that is in it.
    pub(crate) async fn delete_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .expect("it is deleted");
        let limit = Duration::from_secs(120);
        self.wait_for("the namespace is gone", limit, async || {
            let found = namespaces
                .get_opt(&self.namespace)
                .await
                .map_err(|error| error.to_string())?;
            holds(found.is_none(), &found.and_then(|found| found.status))
        })
        .await;
    }

    /// Makes the pool of a `CephPool` by hand, with an application; the controller knows it then.
    pub(crate) async fn by_hand(&self, name: &str) -> Value {
        let pool = self.pool_name(name);
        self.hand(&create(&pool)).await;
        self.hand(&enable(&pool, "rbd")).await;
        let made = self.made(name).await;
        self.seen().await;
        made
    }

    /// Puts the mark of another control plane on the pool of a `CephPool`.
    pub(crate) async fn mark_of_another(&self, name: &str) {
        let pool = self.pool_name(name);
        for (key, value) in [
            ("poolwright", "another-cluster/12ab/34cd"),
            ("poolwright.object", "their/pool"),
        ] {
            self.hand(&tag(&pool, key, value)).await;
        }
    }

    /// Takes an application off the pool of a `CephPool`, and all its keys with it.
    pub(crate) async fn disable(&self, name: &str, application: &str) {
        let pool = self.pool_name(name);
        self.ceph(&[
            "osd",
            "pool",
            "application",
            "disable",
            &pool,
            application,
            "--yes-i-really-mean-it",
        ])
        .await;
    }

    /// Whether the monitor lets anybody remove pools: `true` or `false`.
    pub(crate) async fn allow_removals(&self, allowed: &str) {
        let setting = "mon_allow_pool_delete";
        self.ceph(&["tell", "mon.a", "config", "set", setting, allowed])
            .await;
    }

    /// Takes the whole status off an object, as a backup without it does.
    pub(crate) async fn lose_status(&self, name: &str) {
        let patch = r#"[{"op": "remove", "path": "/status"}]"#;
        self.kubectl(&[
            "patch",
            "cpool",
            name,
            "--subresource=status",
            "--type=json",
            "-p",
            patch,
        ])
        .await;
    }
}
