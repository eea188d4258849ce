//! Events on the objects: on changes only, never on every loop.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource, ResourceExt};

use super::chain;
use super::pool::asked::Answer;
use super::pools::{PoolEntry, Pools};
use super::status;
use crate::api::conditions::{self, ConditionType, Reason};
use crate::api::v1alpha1::{CephPool, CephPoolStatus};
use crate::request::user_request::UserRequest;

/// The longest note that Kubernetes takes is 1 KiB.
const NOTE_LIMIT: usize = 1000;

/// An event when the reason of `Ready` is another one than before.
pub(super) async fn tell(
    pools: &Pools,
    entry: &PoolEntry,
    object: &CephPool,
    status: &CephPoolStatus,
) {
    let Some(ready) = conditions::find(&status.conditions, ConditionType::Ready) else {
        return;
    };
    tell_ignored(pools, entry, object, status).await;
    let at_quota = ready.status == "True" && ready.message.contains(status::AT_QUOTA);
    if !is_news(entry, &status::subject_of(ready)) {
        return;
    }
    let stalled = conditions::is_true(&status.conditions, ConditionType::Stalled);
    let retrying = conditions::find(&status.conditions, ConditionType::Reconciling)
        .is_some_and(|condition| condition.reason == Reason::ProgressingWithRetry.as_str());
    let pool = object_name(object);
    if at_quota {
        tracing::warn!(pool, message = ready.message, "at its quota");
        publish(
            pools,
            object,
            EventType::Warning,
            "AtQuota",
            status::AT_QUOTA,
        )
        .await;
    } else if stalled || retrying {
        tracing::warn!(
            pool,
            reason = ready.reason,
            message = ready.message,
            "not in order"
        );
        publish(
            pools,
            object,
            EventType::Warning,
            &ready.reason,
            &ready.message,
        )
        .await;
    } else {
        tracing::info!(pool, reason = ready.reason, message = ready.message);
        publish(
            pools,
            object,
            EventType::Normal,
            &ready.reason,
            &ready.message,
        )
        .await;
    }
}

/// An event when a request begins to be worked on. Its first round is about to be sent, and does not wait for it.
pub(super) fn begin(
    pools: &Arc<Pools>,
    entry: &PoolEntry,
    object: &Arc<CephPool>,
    request: &UserRequest,
    note: &str,
) {
    let reason = Reason::Progressing.as_str();
    entry.side().told = Some(reason.to_owned());
    tracing::info!(pool = object_name(object), request = request.id, "{note}");
    let (pools, object) = (Arc::clone(pools), Arc::clone(object));
    let note = note.to_owned();
    tokio::spawn(async move {
        publish(&pools, &object, EventType::Normal, reason, &note).await;
    });
}

/// A warning for each value of an annotation that does nothing, once.
async fn tell_ignored(
    pools: &Pools,
    entry: &PoolEntry,
    object: &CephPool,
    status: &CephPoolStatus,
) {
    let refused = entry.side().asked.as_ref().and_then(|asked| {
        let Answer::Refused(why) = &asked.answer else {
            return None;
        };
        Some(status::Ignored {
            what: (asked.annotation, asked.id.clone()),
            note: format!("{}: {} does nothing: {why}", asked.annotation, asked.id),
        })
    });
    let ignored: Vec<_> = status::ignored(object, status)
        .into_iter()
        .chain(refused)
        .collect();
    let news: Vec<_> = {
        let mut side = entry.side();
        // One that is set again after it was taken away is told again.
        side.ignored
            .retain(|told| ignored.iter().any(|now| now.what == *told));
        let news = ignored
            .into_iter()
            .filter(|now| side.ignored.insert(now.what.clone()));
        news.collect()
    };
    for ignored in news {
        let pool = object_name(object);
        tracing::warn!(pool, "{}", ignored.note);
        publish(pools, object, EventType::Warning, IGNORED, &ignored.note).await;
    }
}

/// The reason of an event about an annotation that does nothing.
pub(super) const IGNORED: &str = "AnnotationIgnored";

/// Whether the last event had another reason.
fn is_news(entry: &PoolEntry, reason: &str) -> bool {
    let mut side = entry.side();
    let news = side.told.as_deref() != Some(reason);
    if news {
        side.told = Some(reason.to_owned());
    }
    news
}

fn object_name(object: &CephPool) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

async fn publish(pools: &Pools, object: &CephPool, type_: EventType, reason: &str, note: &str) {
    let reference = object.object_ref(&());
    publish_on(
        &pools.client,
        &pools.reporter,
        &reference,
        type_,
        reason,
        note,
    )
    .await;
}

/// Publishes an event on an object of any kind.
pub(super) async fn publish_on(
    client: &Client,
    reporter: &Reporter,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    note: &str,
) {
    let mut note = note.to_owned();
    if note.len() > NOTE_LIMIT {
        let mut end = NOTE_LIMIT;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // A recorder adds up events of one reason under the words of the first: each thing that is told here is another one.
    let recorder = Recorder::new(client.clone(), reporter.clone());
    if let Err(error) = recorder.publish(&event, reference).await {
        tracing::warn!(
            object = reference.name,
            error = chain(&error),
            "cannot publish an event"
        );
    }
}
