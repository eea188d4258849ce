//! The status of a `CephPool`: what the controller knows and did.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Operation, PoolType, RequestState};

/// What is known about the pool, and what is being done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CephPoolStatus {
    /// The generation of the spec that this status speaks of; -1 before the controller has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready says whether the pool is in the declared state. Reconciling (work is going on), Stalled (nothing more
    /// happens until something changes) and DeletionBlocked are there only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The pool's number in Ceph, which no other pool of the cluster ever has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_id: Option<i64>,

    /// The pool's present name in Ceph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_name: Option<String>,

    /// The cluster the pool is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsid: Option<String>,

    /// When Ceph made the pool, in microseconds since 1970, UTC. With fsid and poolId it is the pool's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_create_time: Option<i64>,

    /// The request of the last change. Its CephRequest has this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,

    /// The epoch of the OSD map in which the last change was seen done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_osd_epoch: Option<i64>,

    /// The request being worked on, or the last one. Written before its commands are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<PoolRequestStatus>,

    /// What still differs from the spec, and the command each difference takes, while there is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub pending: Vec<PendingChange>,

    /// The fields that were applied from the spec: what has to be unset when they are removed from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub applied_fields: Vec<String>,

    /// Changes made by others that were put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,

    /// How the pool looked when it was last seen in sync. Bytes and objects are in the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedPool>,

    /// The last value of the annotation `poolwright.dev/request-id` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_request_id: Option<String>,

    /// The last value of the annotation `poolwright.dev/reconcile-requested-at` (or Flux's) that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Dangerous steps that wait to be confirmed by their token, in the annotation `poolwright.dev/confirm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub asked_tokens: Vec<AskedTokenStatus>,

    /// Confirmation tokens that let their step pass and do not work again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub used_tokens: Vec<UsedTokenStatus>,
}

/// A dangerous step that waits for a person's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedTokenStatus {
    /// The token that lets it pass.
    pub token: String,

    /// The step, such as `size` or `delete`.
    pub step: String,

    /// What it leads to: a value, a name, or the mark of the owner so far.
    pub target: String,

    /// The generation of the object that first asked for it.
    pub generation: i64,
}

/// A token that let its step pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsedTokenStatus {
    /// The token that was given.
    pub token: String,

    /// The request that it was used for.
    pub request_id: String,
}

/// A request as its pool's status shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolRequestStatus {
    /// The request's ID, a UUID; its CephRequest has this name.
    pub id: String,

    /// The generation of the spec that asked for it.
    pub generation: i64,

    /// What the request is.
    pub operation: Operation,

    /// How far it is.
    pub state: RequestState,

    /// What it does, in a few words.
    #[serde(default)]
    pub headline: String,

    /// The random part of the private name of a pool under creation or deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,

    /// The round of commands about to be sent or sent last, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<i32>,

    /// When the work began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,

    /// The epoch of the OSD map that is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaited_epoch: Option<i64>,

    /// How far the placement groups have followed, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,

    /// Why it ended without success, in Ceph's words where they are Ceph's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One difference between the spec and Ceph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// The field of the spec, without `spec.`.
    pub field: String,

    /// What the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,

    /// What Ceph has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,

    /// The command that would change it, as a person would type it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,

    /// Why it has not happened yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Changes made by others that were put back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// When a change was last put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_corrected_at: Option<Time>,

    /// The fields that were put back then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub last_fields: Vec<String>,

    /// How often something was put back since the object was made.
    #[serde(default)]
    pub corrections: i64,
}

/// How a pool looked in the OSD map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedPool {
    /// Copies, or chunks in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,

    /// Fewest copies or chunks with which I/O is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<i32>,

    /// Placement groups there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_num: Option<i32>,

    /// Placement groups there are going to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_num_target: Option<i32>,

    /// Name of the CRUSH rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crush_rule: Option<String>,

    /// How the pool keeps its data.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PoolType")]
    pub pool_type: Option<PoolType>,

    /// Name of the erasure-code profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure_code_profile: Option<String>,

    /// Those of the pool's flags that this spec can set, in Ceph's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub flags: Vec<String>,
}
