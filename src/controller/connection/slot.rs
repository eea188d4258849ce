//! What the reconciler keeps for one connection between two looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::desired::{self, Desired};
use super::secret::SecretWatch;
use crate::api::v1alpha1::{ClusterConnection, ClusterConnectionStatus};
use crate::ceph::types::{Epoch, Fsid};
use crate::controller::connection_status::Problem;
use crate::controller::registry::Session;

/// A private pool is called a leftover when nothing has recorded it for this long: the record may be another instance's
/// that is about to publish it, or one that has not come through the watch yet.
const LEFTOVER_AFTER: Duration = Duration::from_secs(60);

/// The state of one connection.
pub(super) struct Slot {
    /// The object's uid: another object of the same name is another connection.
    pub(super) uid: String,
    /// The watch of the Secret it refers to.
    pub(super) secret: Option<SecretWatch>,
    /// The cluster that this process connected to first, until the status says so.
    pub(super) first_contact: Option<Fsid>,
    /// The epoch from which the map went back, as a person has confirmed, until the status says so.
    pub(super) confirmed: Option<Epoch>,
    /// The open session.
    pub(super) live: Option<Live>,
    /// The last attempt to open one, if that failed.
    pub(super) attempt: Option<Attempt>,
    /// The reason of `Ready` that the last event told of, from before where this process has told of none.
    pub(super) told: Option<String>,
    /// The status written last.
    pub(super) reported: Option<ClusterConnectionStatus>,
    /// When the status was last written, or when this process first saw the connection.
    pub(super) last_write: Instant,
    /// Since when no CephPool has needed the finalizer.
    pub(super) unheld_since: Option<Instant>,
    written: Option<Written>,
    checked: Option<(i64, Result<(), Problem>)>,
    private_since: BTreeMap<String, Instant>,
}

/// An open session and what it takes to end it. Dropping it ends it, unwatched.
pub(super) struct Live {
    /// What it was opened with.
    pub(super) desired: Desired,
    /// What is handed out.
    pub(super) session: Arc<Session>,
    /// Closes the client.
    pub(super) close: BoxFuture<'static, ()>,
    /// Stops the monitor and those who follow it.
    pub(super) stop: DropGuard,
}

/// An attempt that failed.
pub(super) struct Attempt {
    /// What was tried.
    pub(super) desired: Desired,
    /// The cluster that was expected.
    pub(super) pinned: Option<Fsid>,
    /// What came of it.
    pub(super) problem: Problem,
    /// Not tried again before.
    pub(super) retry_at: Instant,
}

/// A write of ours that the cache may not have caught up with.
struct Written {
    /// The version in the cache when it was made.
    over: Option<String>,
    /// The version that it made.
    version: Option<String>,
}

impl Slot {
    /// Nothing is known yet.
    pub(super) fn new(uid: String, now: Instant) -> Self {
        Self {
            uid,
            secret: None,
            first_contact: None,
            confirmed: None,
            live: None,
            attempt: None,
            told: None,
            reported: None,
            last_write: now,
            unheld_since: None,
            written: None,
            checked: None,
            private_since: BTreeMap::new(),
        }
    }

    /// The verdict on the spec, made once a generation.
    pub(super) fn check(&mut self, connection: &ClusterConnection) -> Result<(), Problem> {
        let generation = connection.metadata.generation.unwrap_or_default();
        if let Some((checked, verdict)) = &self.checked
            && *checked == generation
        {
            return verdict.clone();
        }
        let verdict = desired::check(connection);
        self.checked = Some((generation, verdict.clone()));
        verdict
    }

    /// The version of an object to write over: that of our own last write while the cache is behind it.
    pub(super) fn version(&self, cached: &ObjectMeta) -> Option<String> {
        match &self.written {
            Some(written) if written.over == cached.resource_version => written.version.clone(),
            Some(_) | None => cached.resource_version.clone(),
        }
    }

    /// The status of the object: that of our own last write while the cache is behind it.
    pub(super) fn status(&self, cached: &ClusterConnection) -> ClusterConnectionStatus {
        let behind = self
            .written
            .as_ref()
            .is_some_and(|written| written.over == cached.metadata.resource_version);
        let ours = if behind { &self.reported } else { &None };
        ours.as_ref()
            .or(cached.status.as_ref())
            .cloned()
            .unwrap_or_default()
    }

    /// The epoch from which the map went back, as a person has confirmed; epoch 0 where it did not.
    pub(super) fn went_back_from(&self, connection: &ClusterConnection) -> Epoch {
        let written = self.status(connection).went_back_from;
        let written = written.and_then(|epoch| u64::try_from(epoch).ok());
        self.confirmed.max(written.map(Epoch)).unwrap_or_default()
    }

    /// Notes a write of ours, and the status if it was one of that.
    pub(super) fn wrote(
        &mut self,
        over: &ObjectMeta,
        made: &ObjectMeta,
        status: Option<ClusterConnectionStatus>,
    ) {
        if let Some(status) = status {
            self.last_write = Instant::now();
            self.reported = Some(status);
        } else if self
            .written
            .as_ref()
            .is_none_or(|written| written.over != over.resource_version)
        {
            // The status in the cache is as new as this write.
            self.reported = None;
        }
        self.written = Some(Written {
            over: over.resource_version.clone(),
            version: made.resource_version.clone(),
        });
    }

    /// Somebody else wrote: the cache is what counts.
    pub(super) fn lost_track(&mut self) {
        self.written = None;
    }

    /// Those of the private pools without a record that have been so for long enough, and when to look at the next one.
    pub(super) fn leftovers(
        &mut self,
        private: &[String],
        now: Instant,
    ) -> (Vec<String>, Option<Instant>) {
        self.private_since.retain(|name, _| private.contains(name));
        let mut found = Vec::new();
        let mut next: Option<Instant> = None;
        for name in private {
            let since = *self.private_since.entry(name.clone()).or_insert(now);
            let due = since + LEFTOVER_AFTER;
            if due <= now {
                found.push(name.clone());
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        (found, next)
    }
}

impl Attempt {
    /// Whether the same would be tried again.
    pub(super) fn is_of(&self, desired: &Desired, pinned: Option<&Fsid>) -> bool {
        self.desired == *desired && self.pinned.as_ref() == pinned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A private pool has a minute to be recorded; one that was gone in between has it again.
    #[test]
    fn leftovers_have_a_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let mut slot = Slot::new("uid".into(), start);
        assert_eq!(
            slot.leftovers(&names(&["a"]), start),
            (names(&[]), Some(after(60)))
        );
        assert_eq!(
            slot.leftovers(&names(&["a", "b"]), after(59)),
            (names(&[]), Some(after(60)))
        );
        assert_eq!(
            slot.leftovers(&names(&["a", "b"]), after(60)),
            (names(&["a"]), Some(after(119)))
        );
        assert_eq!(
            slot.leftovers(&names(&["b"]), after(100)),
            (names(&[]), Some(after(119)))
        );
        assert_eq!(
            slot.leftovers(&names(&["a", "b"]), after(120)),
            (names(&["b"]), Some(after(180)))
        );
        assert_eq!(slot.leftovers(&[], after(500)), (names(&[]), None));
    }
}
