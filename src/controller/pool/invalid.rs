//! An object that cannot be read, as one that was stored under another schema: nothing is done for it, and that is said.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::EventType;

use crate::api::conditions::Reason;
use crate::api::v1alpha1::CephPool;
use crate::controller::events::publish_on;
use crate::controller::pools::{GuardedPool, Pools};

/// Tells by an event, since the status of what cannot be read cannot be written.
pub(super) async fn tell(pools: &Pools, object: &GuardedPool, error: &str) {
    let metadata = object.meta();
    let note = note(metadata.deletion_timestamp.is_some(), error);
    let reference = ObjectReference {
        api_version: Some(CephPool::api_version(&()).into_owned()),
        kind: Some(CephPool::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    publish_on(
        &pools.client,
        &pools.reporter,
        &reference,
        EventType::Warning,
        Reason::InvalidSpec.as_str(),
        &note,
    )
    .await;
}

fn note(deleted: bool, error: &str) -> String {
    let remedy = if deleted {
        "remove its finalizers to let it go and to leave its pool, or apply a manifest that the present schema takes"
    } else {
        "apply a manifest that the present schema takes"
    };
    format!("the object cannot be read, so nothing is done for it: {error}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::note;

    /// A deleted object waits for our finalizer, which nobody would take off.
    #[test]
    fn a_deleted_one_is_let_go_by_hand() {
        assert!(note(true, "missing field").contains("remove its finalizers"));
        let words = note(false, "missing field");
        assert!(
            words.contains("missing field") && !words.contains("finalizers"),
            "{words}"
        );
    }
}
