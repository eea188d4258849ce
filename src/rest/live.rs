//! How far a request is that has not ended. Pure.
//!
//! Its record is written when it begins and when it ends; what is the case in between stands in the status of its object.

use kube::ResourceExt;

use crate::api::conditions::{ConditionType, find};
use crate::api::v1alpha1::{CephPool, CephRequest, Operation, PoolRequestStatus, RequestState};

/// A request with what its object says of it.
pub fn with(request: &CephRequest, object: Option<&CephPool>) -> CephRequest {
    let its = says(request, object);
    let mut request = request.clone();
    let mut status = request.status.take().unwrap_or_default();
    if let Some(its) = its {
        status.state = its.state;
        status.headline.clone_from(&its.headline);
        status.awaited_epoch = its.awaited_epoch;
    }
    if status.headline.is_empty() {
        status.headline = headline(&request);
    }
    request.status = Some(status);
    request
}

/// In which state a request is, with what its object says of it.
pub fn state(request: &CephRequest, object: Option<&CephPool>) -> RequestState {
    says(request, object).map_or_else(|| own_state(request), |its| its.state)
}

fn own_state(request: &CephRequest) -> RequestState {
    let status = request.status.as_ref();
    status.map(|status| status.state).unwrap_or_default()
}

/// What an object says of a request that has not ended.
fn says<'a>(request: &CephRequest, object: Option<&'a CephPool>) -> Option<&'a PoolRequestStatus> {
    let object = object.filter(|object| is_its(request, object))?;
    let its = object.status.as_ref()?.request.as_ref()?;
    let this = request.metadata.name.as_ref() == Some(&its.id);
    let under_way = its.state != RequestState::Complete;
    (this && under_way && own_state(request) != RequestState::Complete).then_some(its)
}

/// What a request waits for, in words, where its object says that it does.
pub fn waits(request: &CephRequest, object: Option<&CephPool>) -> Option<String> {
    let complete = request
        .status
        .as_ref()
        .is_some_and(|status| status.state == RequestState::Complete);
    let object = object.filter(|object| is_its(request, object) && !complete)?;
    let conditions = &object.status.as_ref()?.conditions;
    let deletion = request.spec.operation == Operation::Delete;
    let kind = if deletion && object.metadata.deletion_timestamp.is_some() {
        ConditionType::DeletionBlocked
    } else {
        ConditionType::Stalled
    };
    let why = find(conditions, kind).filter(|condition| condition.status == "True")?;
    // What was said of an earlier generation is not about this one.
    let current = why.observed_generation >= Some(request.spec.pool_ref.generation);
    current.then(|| format!("Waiting ({}): {}", why.reason, why.message))
}

fn is_its(request: &CephRequest, object: &CephPool) -> bool {
    object.uid().as_ref() == Some(&request.spec.pool_ref.uid)
}

fn headline(request: &CephRequest) -> String {
    let spec = &request.spec;
    let object = &spec.pool_ref.name;
    match spec.operation {
        Operation::Create => format!("Creating the pool of {object}"),
        Operation::Delete => format!("Removing the pool of {object}"),
        Operation::Rename => format!("Renaming the pool of {object}"),
        Operation::Adopt => format!("Adopting the pool of {object}"),
        Operation::Update | Operation::Correct => {
            format!(
                "Updating the pool of {object}: {}",
                spec.changed_fields.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd";

    fn request(operation: &str) -> CephRequest {
        serde_json::from_value(json!({
            "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest", "metadata": {"name": ID},
            "spec": {"poolRef": {"name": "foo", "uid": "u", "generation": 3}, "connection": "main",
                "operation": operation, "changedFields": ["size"]},
        }))
        .expect("a CephRequest")
    }

    fn object(uid: &str, condition: &str, generation: i64) -> CephPool {
        serde_json::from_value(json!({
            "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephPool",
            "metadata": {"name": "foo", "uid": uid, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {}},
            "status": {
                "request": {"id": ID, "generation": 3, "operation": "Update", "state": "AwaitingOsdMap",
                    "headline": "Updating pool foo: size", "awaitedEpoch": 9},
                "conditions": [{"type": condition, "status": "True", "reason": "NotEmpty", "message": "data",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation}],
            },
        }))
        .expect("a CephPool")
    }

    /// What the object says of the request is told; of another request, or another object, nothing.
    #[test]
    fn how_far() {
        let of = |uid| {
            with(&request("Update"), Some(&object(uid, "Stalled", 3)))
                .status
                .expect("a status")
        };
        let told = of("u");
        assert_eq!(
            (told.state, told.awaited_epoch),
            (RequestState::AwaitingOsdMap, Some(9))
        );
        assert_eq!(told.headline, "Updating pool foo: size");
        let state = |uid| state(&request("Update"), Some(&object(uid, "Stalled", 3)));
        assert_eq!(
            (state("u"), state("v")),
            (RequestState::AwaitingOsdMap, RequestState::New)
        );
        let other = of("v");
        assert_eq!(
            (other.state, other.headline.as_str()),
            (RequestState::New, "Updating the pool of foo: size")
        );
    }

    /// What stands in the way is told while it is about this change.
    #[test]
    fn what_for() {
        let removal = waits(&request("Delete"), Some(&object("u", "DeletionBlocked", 4)));
        assert_eq!(removal.as_deref(), Some("Waiting (NotEmpty): data"));
        assert_eq!(
            waits(&request("Delete"), Some(&object("u", "Stalled", 4))),
            None
        );
        assert!(waits(&request("Update"), Some(&object("u", "Stalled", 3))).is_some());
        assert_eq!(
            waits(&request("Update"), Some(&object("u", "Stalled", 2))),
            None,
            "of before"
        );
        let mut ended = request("Update");
        ended.status = Some(crate::api::v1alpha1::CephRequestStatus {
            state: RequestState::Complete,
            ..Default::default()
        });
        assert_eq!(waits(&ended, Some(&object("u", "Stalled", 3))), None);
    }
}
