//! `CephPool`: one pool of a Ceph cluster, and the state it is to be kept in.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CephPoolStatus;
use super::pool_settings::{
    ApplicationSpec, CompressionSpec, CrushSpec, ErasureCodedSpec, FlagsSpec, ParameterValue,
    PlacementGroupsSpec, QuotaSpec, ReplicatedSpec,
};

/// The state a Ceph pool is to be kept in.
///
/// Only the fields named here are managed; whatever is left out stays as it is in Ceph. A field that was named before
/// and is removed is unset where Ceph can unset it (quotas, compression, flags, parameters, application keys and the
/// like) and otherwise left as it is (size, minSize, the CRUSH rule, pg_num, the autoscale mode).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "poolwright.dev",
    version = "v1alpha1",
    kind = "CephPool",
    plural = "cephpools",
    namespaced,
    shortname = "cpool",
    category = "poolwright",
    status = "CephPoolStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A pool of a Ceph cluster, kept in the state that this object declares.",
    selectable = ".spec.connectionRef.name",
    printcolumn(
        name = "Connection",
        type_ = "string",
        json_path = ".spec.connectionRef.name"
    ),
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.poolName"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Size", type_ = "integer", json_path = ".status.observed.size"),
    printcolumn(name = "PGs", type_ = "integer", json_path = ".status.observed.pgNum"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.observedOsdEpoch"
    ),
    printcolumn(
        name = "Pool-ID",
        type_ = "integer",
        json_path = ".status.poolId",
        priority = 1
    ),
    printcolumn(
        name = "Request",
        type_ = "string",
        json_path = ".status.requestId",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CephPoolSpec {
    /// The ClusterConnection that reaches the pool's Ceph cluster. It cannot be changed: a pool does not move between
    /// clusters.
    pub connection_ref: ConnectionRef,

    /// The pool's name in Ceph, at most 128 bytes. Without it the pool is called as this object is. A new value renames
    /// the pool (the connection's grant has to allow Rename); once set it cannot be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub pool_name: Option<String>,

    /// How the pool keeps its data: Replicated (whole copies) or ErasureCoded (data and coding chunks). The block of
    /// the same name has to be there, the other must not. It cannot be changed.
    #[serde(rename = "type")]
    pub pool_type: PoolType,

    /// Settings of a replicated pool; may be empty (`{}`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicated: Option<ReplicatedSpec>,

    /// Settings of an erasure-coded pool: either `dataChunks` and `codingChunks`, or `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure_coded: Option<ErasureCodedSpec>,

    /// With fewer copies or chunks than this available, a placement group stops serving I/O. At most the size, for an
    /// erasure-coded pool between dataChunks and dataChunks + codingChunks. Less than the safe value (2 copies;
    /// dataChunks + 1 chunks) is not set unless it is confirmed. Removed from the spec: left as it is; but where `size`
    /// is named and Ceph would fall below the safe value, the safe value is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 96))]
    pub min_size: Option<i32>,

    /// Where the copies or chunks are placed. Removed from the spec: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crush: Option<CrushSpec>,

    /// The number of placement groups, and what Ceph's autoscaler may do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement_groups: Option<PlacementGroupsSpec>,

    /// The most that the pool may hold. Ceph stops all writes to a pool that reached a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSpec>,

    /// What uses the pool (`rbd`, `cephfs`, `rgw` or a name of your own), at most 4. At least one is needed to create a
    /// pool: the mark that says whose the pool is stands under the alphabetically first one. Removed from the spec: its
    /// keys that were set here are removed, the application itself stays and is only reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub applications: Vec<ApplicationSpec>,

    /// Compression by the OSDs (BlueStore). Each field removed from the spec is unset in Ceph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionSpec>,

    /// Switches of the pool. Each field removed from the spec is turned off if it was turned on here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagsSpec>,

    /// Other pool variables of Ceph by their own names, such as `scrub_min_interval: "86400"` (seconds). At most 64. A
    /// variable that has a field of its own in this spec is set there. Removed from the spec: unset in Ceph.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub parameters: BTreeMap<String, ParameterValue>,

    /// What to do when a pool of this name is already there: Never leaves it alone and reports PoolExists, IfUnowned
    /// takes it over if no other object owns it (the connection's grant has to allow Adopt).
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// What happens to the pool when this object is deleted: Retain leaves it and its data in Ceph, Delete removes it
    /// once it is proven empty or the removal is confirmed (the connection's grant has to allow Delete).
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Manage puts the pool into this state and keeps it there. Observe only compares and reports the commands it would
    /// take in `status.pending`; nothing is sent.
    #[serde(default)]
    pub management: Management,
}

impl CephPool {
    /// The name that the pool is to have in Ceph: `spec.poolName`, or the object's own name.
    #[must_use]
    pub fn wanted_pool_name(&self) -> &str {
        let own_name = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.pool_name.as_deref().unwrap_or(own_name)
    }
}

/// A reference to a ClusterConnection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Name of the ClusterConnection.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How a pool keeps its data.
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
pub enum PoolType {
    /// Whole copies.
    #[default]
    Replicated,
    /// Data and coding chunks.
    ErasureCoded,
}

/// What to do when a pool of the name is already there.
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
pub enum AdoptionPolicy {
    /// Leave it alone and report it.
    #[default]
    Never,
    /// Take it over if no other object owns it.
    IfUnowned,
}

/// What happens to the pool when its object is deleted.
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
pub enum DeletionPolicy {
    /// The pool and its data stay.
    #[default]
    Retain,
    /// The pool is removed, once that is proven or confirmed to be safe.
    Delete,
}

/// Whether anything is changed at all.
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
pub enum Management {
    /// Differences are put right.
    #[default]
    Manage,
    /// Differences are reported, nothing is sent.
    Observe,
}
