//! Opens a client, makes sure of its cluster, and gives it its first view.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::desired::{Desired, check_fsid, problem_of};
use super::open::Opened;
use super::probes;
use super::slot::{Live, Slot};
use crate::api::v1alpha1::ClusterConnection;
use crate::ceph::client::{ClientError, MonClient};
use crate::ceph::command::MonCommand;
use crate::ceph::types::{Epoch, Fsid};
use crate::controller::connection_status::{PoolUse, Problem, needed};
use crate::controller::registry::{Floor, Session};
use crate::monitor::{ClusterMonitor, Contact, MonitorSettings};

/// So long a new session waits for its first view before it is handed out all the same.
const FIRST_VIEW: Duration = Duration::from_secs(5);
/// What an opener may take beyond the client's own limit.
const GRACE: Duration = Duration::from_secs(5);

impl Shared {
    /// Opens a client and makes sure of its cluster.
    pub(super) async fn connect(
        &self,
        connection: &ClusterConnection,
        slot: &mut Slot,
        desired: &Desired,
        expected: Option<&Fsid>,
    ) -> Result<Live, Problem> {
        let spec = &connection.spec;
        let limit = desired.limits.connect_timeout;
        let opened = timeout(limit + GRACE, self.opener.open(desired))
            .await
            .unwrap_or(Err(ClientError::Unreachable(limit)));
        let Opened { client, close } = opened.map_err(|error| problem_of(&error, spec))?;
        let fsid = client.fsid().clone();
        if let Err(problem) = check_fsid(expected, &fsid, spec) {
            self.tasks.spawn(close);
            return Err(problem);
        }
        let closed = CancellationToken::new();
        let stop = closed.clone().drop_guard();
        let monitor = ClusterMonitor::start(
            Arc::clone(&client),
            MonitorSettings::default(),
            closed.clone(),
        );
        // Before anything is sent for a pool.
        let needed = needed(spec, &(self.pool_uses)(&connection.name_any()));
        let (release, probed) = tokio::join!(
            release(client.as_ref()),
            probes::ask(client.as_ref(), needed, connection.metadata.generation)
        );
        let floor = Floor::after(slot.went_back_from(connection));
        floor.raise(self.recorded(connection, slot, &fsid));
        let live = Live {
            desired: desired.clone(),
            session: Arc::new(Session {
                name: connection.name_any(),
                spec: Arc::new(spec.clone()),
                fsid,
                client,
                monitor,
                incarnation: self.incarnations.fetch_add(1, Ordering::Relaxed),
                floor: Arc::new(floor),
                release,
                closed,
            }),
            probed,
            close,
            stop,
        };
        // What is handed out has a view where that can be had in a moment: nobody sees a gap.
        let _ = timeout(FIRST_VIEW, settled(&live.session.monitor)).await;
        Ok(live)
    }

    /// The highest epoch that any object records for a cluster, whichever connection it refers to.
    fn recorded(&self, connection: &ClusterConnection, slot: &Slot, fsid: &Fsid) -> Epoch {
        let status = slot.status(connection);
        let own = status
            .epoch
            .filter(|_| status.fsid.as_deref() == Some(fsid.as_str()))
            .and_then(|epoch| u64::try_from(epoch).ok())
            .map(Epoch);
        let seen = slot
            .live
            .as_ref()
            .filter(|live| live.session.fsid == *fsid)
            .and_then(|live| live.session.monitor.snapshot().view)
            .map(|view| view.epoch());
        let pools = self
            .uses_of_cluster(&connection.name_any(), fsid)
            .into_iter()
            .filter(|pool| pool.fsid.as_ref() == Some(fsid))
            .filter_map(|pool| pool.observed_epoch);
        pools.chain(own).chain(seen).max().unwrap_or_default()
    }

    /// The CephPools of a connection, and those of the other connections to the same cluster.
    pub(super) fn uses_of_cluster(&self, name: &str, fsid: &Fsid) -> Vec<PoolUse> {
        let mut names = BTreeSet::from([name.to_owned()]);
        names.extend(
            self.registry
                .sessions()
                .into_iter()
                .filter(|session| session.fsid == *fsid)
                .map(|session| session.name.clone()),
        );
        names
            .iter()
            .flat_map(|name| (self.pool_uses)(name))
            .collect()
    }
}

/// Waits until there is a view, or a reason why there is none.
async fn settled(monitor: &ClusterMonitor) {
    let mut published = monitor.subscribe();
    // Ends with an error only when the monitor is gone, and then there is nothing to wait for.
    let _ = published
        .wait_for(|snapshot| {
            let waiting = matches!(snapshot.contact, Contact::Connecting | Contact::Connected);
            snapshot.view.is_some() || !waiting
        })
        .await;
}

/// The release of the monitor that answers, such as `16.2.15`; nothing depends on it.
async fn release(client: &dyn MonClient) -> Option<String> {
    let reply = client.send(&MonCommand::Version, GRACE).await.ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
    // `ceph version 16.2.15 (618f…) pacific (stable)`
    let words = answer.get("version")?.as_str()?;
    words.split_whitespace().nth(2).map(str::to_owned)
}
