//! What is written to a `ClusterConnection`: its finalizer and its status, each over the version that was read, and only
//! by the replica that acts.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::slot::Slot;
use super::{Error, FIELD_MANAGER, Guarded, Shared, session};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{ClusterConnection, ClusterConnectionStatus, FINALIZER_CONNECTION};
use crate::ceph::types::Epoch;
use crate::controller::connection_status::{
    Observation, PoolUse, Problem, Standing, Write, compute, leftovers, news, worth_writing,
};
use crate::controller::events::publish_on;

/// The finalizer stays so long after its last use: pools that are being created need it for moments.
const HELD_AT_LEAST: Duration = Duration::from_secs(60);
/// After somebody else wrote at the same time: by then the watch has brought their version.
const AFTER_CONFLICT: Duration = Duration::from_secs(1);

impl Shared {
    /// Puts the finalizer on when a CephPool needs it, and takes it off some time after none does any more; that time
    /// is what is given back.
    pub(super) async fn keep_finalizer(
        &self,
        meta: &ObjectMeta,
        slot: &mut Slot,
        held: bool,
    ) -> Result<Option<Instant>, Error> {
        if !self.leadership.holds() {
            return Ok(None);
        }
        let present = has_finalizer(meta);
        if held {
            slot.unheld_since = None;
            // A finalizer cannot be added to an object that is being deleted.
            if !present && meta.deletion_timestamp.is_none() {
                let names = meta.finalizers.iter().flatten().cloned();
                let names = names.chain([FINALIZER_CONNECTION.to_owned()]).collect();
                self.set_finalizers(meta, slot, names, "add the finalizer")
                    .await?;
            }
            return Ok(None);
        }
        if !present {
            return Ok(None);
        }
        let now = Instant::now();
        let due = *slot.unheld_since.get_or_insert(now) + HELD_AT_LEAST;
        if due > now {
            return Ok(Some(due));
        }
        self.release(meta, slot).await?;
        Ok(None)
    }

    /// Takes the finalizer off.
    pub(super) async fn release(&self, meta: &ObjectMeta, slot: &mut Slot) -> Result<(), Error> {
        if !has_finalizer(meta) || !self.leadership.holds() {
            return Ok(());
        }
        let others = meta
            .finalizers
            .iter()
            .flatten()
            .filter(|name| *name != FINALIZER_CONNECTION);
        let others = others.cloned().collect();
        self.set_finalizers(meta, slot, others, "remove the finalizer")
            .await
    }

    /// Writes the finalizers. What somebody else wrote meanwhile comes with the watch, and this is tried again.
    async fn set_finalizers(
        &self,
        meta: &ObjectMeta,
        slot: &mut Slot,
        finalizers: Vec<String>,
        what: &'static str,
    ) -> Result<(), Error> {
        let name = meta.name.as_deref().unwrap_or_default();
        let patch =
            json!({"metadata": {"resourceVersion": slot.version(meta), "finalizers": finalizers}});
        match self
            .api()
            .patch(name, &parameters(), &Patch::Merge(&patch))
            .await
        {
            Ok(object) => {
                slot.wrote(meta, object.meta(), None);
                Ok(())
            }
            Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
            Err(source) => Err(Error::Api { what, source }),
        }
    }

    /// Writes the status if it says something new; gives back when it is to be looked at again.
    pub(super) async fn report(
        &self,
        connection: &ClusterConnection,
        slot: &mut Slot,
        standing: &Standing,
        uses: &[PoolUse],
    ) -> Result<Option<Instant>, Error> {
        if !self.leadership.holds() {
            return Ok(None);
        }
        let now = Instant::now();
        let session = slot.live.as_ref().map(|live| live.session.clone());
        let view = session
            .as_ref()
            .and_then(|session| session.monitor.snapshot().view);
        let private = match (&session, &view) {
            (Some(session), Some(view)) => {
                let recorded: BTreeSet<String> = self
                    .uses_of_cluster(&session.name, &session.fsid)
                    .into_iter()
                    .filter_map(|pool| pool.nonce)
                    .collect();
                leftovers(view, &recorded)
            }
            (Some(_) | None, None) | (None, Some(_)) => Vec::new(),
        };
        let (left, next_leftover) = slot.leftovers(&private, now);
        let old = slot.status(connection);
        let observation = Observation {
            generation: connection.metadata.generation,
            deleting: connection.metadata.deletion_timestamp.is_some(),
            standing,
            fsid: session.as_ref().map(|session| &session.fsid),
            release: session
                .as_ref()
                .and_then(|session| session.release.as_deref()),
            view: view.as_deref(),
            uses,
            leftovers: &left,
            went_back_from: slot.went_back_from(connection),
            leader: self.leadership.identity(),
        };
        let new = compute(&old, &observation, &Time(Timestamp::now()));
        let since_last = now.saturating_duration_since(slot.last_write);
        match worth_writing(&old, &new, since_last, session::resync(connection)) {
            Write::Never => return Ok(next_leftover),
            Write::After(wait) => {
                let due = now + wait;
                return Ok(Some(next_leftover.map_or(due, |next| next.min(due))));
            }
            Write::Now => {}
        }
        self.tell(connection.meta(), slot, &old, &new);
        let mut object = connection.clone();
        object.metadata.resource_version = slot.version(connection.meta());
        object.metadata.managed_fields = None;
        object.status = Some(new.clone());
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = Api::<ClusterConnection>::all(self.client.clone());
        let written = api
            .replace_status(&connection.name_any(), &parameters, &object)
            .await;
        let conflict = note(slot, connection.meta(), written, new)?;
        Ok(conflict.or(next_leftover))
    }

    /// Says on an object that is not a ClusterConnection as this version knows it that it is not. What its status holds
    /// besides stays, above all the cluster it belongs to.
    pub(super) async fn report_unparsable(
        &self,
        name: &str,
        invalid: &InvalidObject,
        slot: &mut Slot,
    ) -> Result<Action, Error> {
        let problem = Problem::new(
            Reason::InvalidSpec,
            format!(
                "this is not a ClusterConnection as this version of Poolwright knows it: {}; correct the field, or \
                 install the CustomResourceDefinitions of this version (`poolwright crds`)",
                invalid.error
            ),
        );
        self.give_up(name, slot, &problem);
        if !self.leadership.holds() {
            return Ok(Action::await_change());
        }
        let old = slot.reported.clone().unwrap_or_default();
        let standing = Standing::Failed(problem);
        let observation = Observation {
            generation: invalid.metadata.generation,
            deleting: false,
            standing: &standing,
            fsid: None,
            release: None,
            view: None,
            uses: &[],
            leftovers: &[],
            went_back_from: Epoch::default(),
            leader: self.leadership.identity(),
        };
        let new = compute(&old, &observation, &Time(Timestamp::now()));
        if new.conditions == old.conditions {
            return Ok(Action::await_change());
        }
        self.tell(&invalid.metadata, slot, &old, &new);
        let patch = json!({
            "metadata": {"resourceVersion": slot.version(&invalid.metadata)},
            "status": {"observedGeneration": new.observed_generation, "conditions": new.conditions},
        });
        let written = self
            .api()
            .patch_status(name, &parameters(), &Patch::Merge(&patch))
            .await;
        let again = note(slot, &invalid.metadata, written, new)?;
        Ok(again.map_or_else(Action::await_change, |_| Action::requeue(AFTER_CONFLICT)))
    }

    /// An event, where the reason of `Ready` is another one than was told last. Nobody waits for it.
    fn tell(
        &self,
        meta: &ObjectMeta,
        slot: &mut Slot,
        old: &ClusterConnectionStatus,
        new: &ClusterConnectionStatus,
    ) {
        let before = news(None, old).map(|told| told.reason);
        let told = slot.told.take().or(before);
        let news = news(told.as_deref(), new);
        slot.told = news.as_ref().map(|news| news.reason.clone()).or(told);
        let Some(news) = news else { return };
        let reference = ObjectReference {
            api_version: Some(ClusterConnection::api_version(&()).into_owned()),
            kind: Some(ClusterConnection::kind(&()).into_owned()),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        };
        let type_ = if news.warning {
            tracing::warn!(
                connection = reference.name,
                reason = news.reason,
                message = news.message,
                "not in order"
            );
            EventType::Warning
        } else {
            EventType::Normal
        };
        let (client, reporter) = (self.client.clone(), self.reporter.clone());
        tokio::spawn(async move {
            let (reason, note) = (&news.reason, &news.message);
            publish_on(&client, &reporter, &reference, type_, reason, note).await;
        });
    }

    fn api(&self) -> Api<Guarded> {
        Api::all(self.client.clone())
    }
}

/// Remembers a written status; after a conflict, when to try again.
fn note<K: Resource>(
    slot: &mut Slot,
    over: &ObjectMeta,
    written: Result<K, kube::Error>,
    status: ClusterConnectionStatus,
) -> Result<Option<Instant>, Error> {
    match written {
        Ok(object) => {
            slot.wrote(over, object.meta(), Some(status));
            Ok(None)
        }
        Err(kube::Error::Api(answer)) if answer.is_conflict() => {
            slot.lost_track();
            Ok(Some(Instant::now() + AFTER_CONFLICT))
        }
        // Deleted meanwhile: the watch tells.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(None),
        Err(source) => Err(Error::Api {
            what: "write the status",
            source,
        }),
    }
}

fn has_finalizer(meta: &ObjectMeta) -> bool {
    meta.finalizers
        .iter()
        .flatten()
        .any(|name| name == FINALIZER_CONNECTION)
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
