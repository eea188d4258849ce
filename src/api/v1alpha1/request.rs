//! `CephRequest`: one change of one pool, as a record that outlives the controller and the pool.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One change of one pool. Made by the controller or the REST shim, and never changed after; but what the REST shim
/// reserves before it applies the change has no uid yet, and is filled in once.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "poolwright.dev",
    version = "v1alpha1",
    kind = "CephRequest",
    plural = "cephrequests",
    namespaced,
    shortname = "creq",
    category = "poolwright",
    status = "CephRequestStatus",
    derive = "PartialEq",
    doc = "A change of a Ceph pool: what was asked for, the commands that were sent, and how it ended. Its name is the \
           request ID. To stop it, set the annotation poolwright.dev/cancel to \"true\"; deleting it loses history, \
           nothing else.",
    selectable = ".spec.poolRef.name",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.poolRef.name"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".spec.operation"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.observedEpoch"),
    printcolumn(
        name = "Headline",
        type_ = "string",
        json_path = ".status.headline",
        priority = 1
    ),
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.error",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CephRequestSpec {
    /// The CephPool that is changed.
    pub pool_ref: PoolReference,

    /// The ClusterConnection of the pool.
    #[schemars(length(min = 1, max = 253))]
    pub connection: String,

    /// What kind of change it is.
    pub operation: Operation,

    /// The fields of the spec that the change is about, without `spec.`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub changed_fields: Vec<String>,

    /// The values that they shall have, in the words of status.pending, where the change said so: what tells a change
    /// that is done from one that a later change has overtaken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub desired: BTreeMap<String, RequestedValue>,

    /// Why the change is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,

    /// Who asked for it: the field manager of the spec, or the caller of the REST API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub requested_by: Option<String>,

    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,

    /// The REST caller's own key for the change, so that asking twice gives one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub idempotency_key: Option<String>,

    /// The failed request that this one tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub retry_of: Option<String>,
}

/// The value that a change gives a field.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct RequestedValue(#[schemars(length(max = 512))] pub String);

/// A CephPool at one generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolReference {
    /// Name of the CephPool, in the request's own namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The CephPool's uid; empty while a change is reserved that has not been applied yet.
    #[schemars(length(max = 64))]
    pub uid: String,

    /// The generation of its spec that asked for the change.
    pub generation: i64,
}

/// What kind of change a request is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Operation {
    /// The pool is made.
    #[default]
    Create,
    /// Settings of the pool change.
    Update,
    /// The pool is removed.
    Delete,
    /// The pool gets another name.
    Rename,
    /// A pool that is there already is taken over.
    Adopt,
    /// A change made by somebody else is put back.
    Correct,
}

/// How far a request is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum RequestState {
    /// Nothing has been sent.
    #[default]
    New,
    /// Commands have been sent and not all are answered.
    Submitted,
    /// All commands are answered; the OSD map that shows their effect is awaited.
    AwaitingOsdMap,
    /// It has ended; the outcome says how.
    Complete,
}

/// How a request ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Outcome {
    /// The OSD map shows what was asked for.
    Succeeded,
    /// A later generation asked for something else.
    Superseded,
    /// It could not be done; the error says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What was done for a request, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CephRequestStatus {
    /// How far it is.
    #[serde(default)]
    pub state: RequestState,

    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Outcome")]
    pub outcome: Option<Outcome>,

    /// Why it ended without success, in Ceph's words where they are Ceph's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,

    /// What it did, in a few words.
    #[serde(default)]
    pub headline: String,

    /// The rounds of commands that were sent: the commands of a round at once, the rounds one after the other. Of the
    /// rounds of a request that puts back changes, the last 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub rounds: Vec<RoundRecord>,

    /// The epoch of the OSD map that had to be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaited_epoch: Option<i64>,

    /// The epoch of the OSD map that showed the effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_epoch: Option<i64>,

    /// When the first command was about to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// Commands that were sent together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundRecord {
    /// The commands and their answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub commands: Vec<CommandRecord>,

    /// The epoch of the OSD map read after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
}

/// A command and Ceph's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandRecord {
    /// The command as a person would type it.
    pub command: String,

    /// Ceph's return code: 0, or a negative errno, such as -22. Absent while unanswered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,

    /// Ceph's text, cut at 1 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,

    /// When it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}
