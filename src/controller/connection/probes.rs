//! What the Ceph user may send, asked before it is needed: a command of each needed kind that changes nothing, which the
//! monitors either deny or find nothing for.
//!
//! It is asked when a session is opened, when more is needed than was asked for, and, only where something is denied, when
//! the spec changes and at each resync. Nothing is asked in between.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::session::resync;
use super::slot::{Live, Slot};
use crate::api::v1alpha1::ClusterConnection;
use crate::ceph::client::MonClient;
use crate::ceph::command::permissions::Permission;
use crate::ceph::errno::{Verdict, judge};
use crate::ceph::types::PoolName;
use crate::controller::connection_status::{Missing, PoolUse, needed};
use crate::monitor::Contact;

/// All questions together take no longer; a monitor answers each within a millisecond.
const LIMIT: Duration = Duration::from_secs(5);

/// What the monitors answered.
#[derive(Clone, Debug)]
pub(super) struct Probed {
    asked: BTreeSet<Permission>,
    denied: BTreeSet<Permission>,
    generation: Option<i64>,
    at: Instant,
}

impl Probed {
    /// Whether it has to be asked again.
    fn is_old(
        &self,
        needed: &BTreeSet<Permission>,
        generation: Option<i64>,
        now: Instant,
        resync: Duration,
    ) -> bool {
        let more = !needed.is_subset(&self.asked);
        let denied = !needed.is_disjoint(&self.denied);
        let changed = self.generation != generation;
        more || denied && (changed || now.saturating_duration_since(self.at) >= resync)
    }
}

impl Live {
    /// What is denied of what its grants and pools need, where that is known.
    pub(super) fn missing(&self, uses: &[PoolUse]) -> Option<Missing> {
        let needed = needed(&self.session.spec, uses);
        let denied = self.probed.as_ref().map(|probed| &probed.denied);
        // What needs nothing misses nothing.
        let none = BTreeSet::new();
        let denied = denied.or_else(|| needed.is_empty().then_some(&none))?;
        Some(Missing {
            user: self.session.spec.user.clone(),
            permissions: &needed & denied,
        })
    }
}

/// Asks for each of them; nothing where there is no answer, or nothing to ask for.
pub(super) async fn ask(
    client: &dyn MonClient,
    needed: BTreeSet<Permission>,
    generation: Option<i64>,
) -> Option<Probed> {
    // Nobody has ever given this name to anything, and nobody will.
    let nothing = PoolName::new(format!("poolwright-probe-{}", Uuid::new_v4()));
    let is_denied = async |permission: Permission| {
        let reply = client.send(&permission.probe(nothing.clone()), LIMIT).await;
        reply.map(|reply| judge(reply.code) == Verdict::Denied).ok()
    };
    let ask = async {
        let mut denied = BTreeSet::new();
        for permission in &needed {
            // An open session keeps the capabilities that it was opened with; the first denial has it renewed.
            if is_denied(*permission).await?
                && (!denied.is_empty() || is_denied(*permission).await?)
            {
                denied.insert(*permission);
            }
        }
        Some(denied)
    };
    if needed.is_empty() {
        return None;
    }
    let denied = timeout(LIMIT, ask).await.ok()??;
    Some(Probed {
        asked: needed,
        denied,
        generation,
        at: Instant::now(),
    })
}

/// Asks again where what was answered does not tell any more.
pub(super) async fn ask_again(connection: &ClusterConnection, slot: &mut Slot, uses: &[PoolUse]) {
    let Some(live) = &mut slot.live else { return };
    if !matches!(live.session.monitor.snapshot().contact, Contact::Connected) {
        return;
    }
    let needed = needed(&live.session.spec, uses);
    let generation = connection.metadata.generation;
    let again = live.probed.as_ref().is_none_or(|probed| {
        probed.is_old(
            &needed,
            generation,
            Instant::now(),
            // A look may come a little early.
            resync(connection).mul_f64(0.8),
        )
    });
    if !again {
        return;
    }
    // Without an answer what was known stays.
    if let Some(probed) = ask(live.session.client.as_ref(), needed, generation).await {
        tracing::debug!(
            connection = connection.name_any(),
            denied = ?probed.denied,
            "asked what the Ceph user may send"
        );
        live.probed = Some(probed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is allowed is asked once; what is denied is asked again with a new spec, or after a while.
    #[test]
    fn asked_again_only_where_it_may_have_changed() {
        let at = Instant::now();
        let resync = Duration::from_secs(600);
        let (set, quota) = (Permission::PoolSet, Permission::PoolSetQuota);
        let needed = BTreeSet::from([set]);
        let late = at + resync * 10;
        let mut probed = Probed {
            asked: BTreeSet::from([set]),
            denied: BTreeSet::new(),
            generation: Some(1),
            at,
        };
        assert!(!probed.is_old(&needed, Some(2), late, resync));
        assert!(probed.is_old(&BTreeSet::from([set, quota]), Some(1), at, resync));
        probed.denied.insert(quota);
        assert!(!probed.is_old(&needed, Some(2), late, resync), "not needed");
        probed.denied.insert(set);
        assert!(!probed.is_old(&needed, Some(1), at, resync));
        assert!(probed.is_old(&needed, Some(2), at, resync));
        assert!(probed.is_old(&needed, Some(1), late, resync));
    }
}
