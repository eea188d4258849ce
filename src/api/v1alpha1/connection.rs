//! `ClusterConnection`: how to reach one Ceph cluster, and who may use it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Management;
use crate::api::duration::DurationText;
use crate::api::quantity::Quantity;

/// How to reach a Ceph cluster, and which namespaces may have which pools on it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "poolwright.dev",
    version = "v1alpha1",
    kind = "ClusterConnection",
    plural = "clusterconnections",
    shortname = "cephconn",
    category = "poolwright",
    status = "ClusterConnectionStatus",
    derive = "PartialEq",
    doc = "The way to a Ceph cluster, and who may use it.",
    printcolumn(name = "Fsid", type_ = "string", json_path = ".status.fsid"),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release"),
    printcolumn(name = "Pools", type_ = "integer", json_path = ".status.pools"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(
        name = "Management",
        type_ = "string",
        json_path = ".spec.management",
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
pub struct ClusterConnectionSpec {
    /// Addresses of the cluster's monitors, 1 to 64, each as in `mon_host` of a ceph.conf: `192.0.2.11`,
    /// `v2:192.0.2.12:3300/0`, `[v2:192.0.2.13:3300,v1:192.0.2.13:6789]`, or a host name.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 256)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub monitors: Vec<String>,

    /// The cluster's fsid (`ceph fsid`). Without it, the first cluster that answers is taken and its fsid kept in the
    /// status. A cluster with another fsid is not touched (FsidMismatch).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub fsid: Option<String>,

    /// The Ceph user, without `client.`. `poolwright permissions` prints what it has to be allowed.
    #[serde(default = "default_user")]
    #[schemars(length(min = 1, max = 64))]
    pub user: String,

    /// The Secret with the user's key. A changed key is used at once.
    pub key_secret_ref: SecretKeyRef,

    /// Settings of the Ceph client.
    #[serde(default)]
    pub client: ClientSettings,

    /// How often every pool is compared with its object even if nothing seems to have changed, such as 10m; 10s to 24h.
    #[serde(default = "default_resync_interval")]
    pub resync_interval: DurationText,

    /// Manage lets pools be changed. Observe sends no command that changes anything to this cluster; what would be sent
    /// is reported in each CephPool's `status.pending`.
    #[serde(default)]
    pub management: Management,

    /// Who may use this connection, at most 64 grants. A CephPool that no grant covers is refused (NotGranted); a grant
    /// that is taken back stops changes and never touches a pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub grants: Vec<Grant>,
}

/// A key in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Namespace of the Secret.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The entry of the Secret: the bare key, or the text of a keyring file.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Settings of the Ceph client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSettings {
    /// Options of the Ceph client by their own names, such as `ms_client_mode: secure`, at most 16. Only options that
    /// concern the connection are taken, never paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub options: BTreeMap<String, OptionValue>,

    /// How many commands may be waiting for an answer at once, 1 to 1024.
    #[serde(default = "default_max_commands_in_flight")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_commands_in_flight: i32,

    /// How long a command may take before it counts as timed out, such as 30s; 1s to 1h. It may still be carried out
    /// later.
    #[serde(default = "default_command_timeout")]
    pub command_timeout: DurationText,
}

/// The value of an option of the Ceph client.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct OptionValue(#[schemars(length(min = 1, max = 64))] pub String);

/// What some namespaces may do on this connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Name of the grant, for messages.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// The namespaces whose CephPools the grant covers: those in any of `names`, `selector` and `all`.
    pub namespaces: GrantNamespaces,

    /// The pool names it covers, at most 64: names, or patterns in which `*` stands for any text and `?` for any single
    /// character. A name that begins with a dot is covered only by itself, never by a pattern.
    #[serde(default = "default_pool_names")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub pool_names: Vec<String>,

    /// What may be done: Create, Update, Adopt (take over a pool that no object owns), Rename, Delete, TakeOver (take a
    /// pool from another owner).
    #[serde(default = "default_verbs")]
    #[schemars(length(max = 6), extend("x-kubernetes-list-type" = "atomic"))]
    pub allow: Vec<Verb>,

    /// The most that all pools under this grant may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<GrantLimits>,

    /// CRUSH rules that may be named, at most 64. Without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "atomic"))]
    pub crush_rules: Option<Vec<String>>,

    /// Device classes that may be named, at most 64. Without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub device_classes: Option<Vec<String>>,

    /// Pool variables that may be set in `parameters`, at most 64. Without it, all but the dangerous ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameters: Option<Vec<String>>,
}

/// A set of namespaces. At least one of the three has to be there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantNamespaces {
    /// Namespaces by name, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<String>,

    /// Namespaces by their labels. An empty selector, which would mean all, is refused: say `all: true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Every namespace, also those that come later.
    #[serde(default)]
    pub all: bool,
}

/// What may be done with pools on a connection.
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
pub enum Verb {
    /// Make pools.
    Create,
    /// Change settings.
    #[default]
    Update,
    /// Take over a pool that no object owns.
    Adopt,
    /// Give a pool another name.
    Rename,
    /// Remove pools.
    Delete,
    /// Take a pool from another owner.
    TakeOver,
}

/// The most that all pools under a grant may have together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantLimits {
    /// Number of pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pools: Option<i32>,

    /// Number of placement groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub placement_groups: Option<i32>,

    /// Sum of the pools' `quota.maxBytes`, in bytes, such as 50Ti. A pool without that quota is refused then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<Quantity>,
}

/// What is known about the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConnectionStatus {
    /// The generation of the spec that this status speaks of; -1 before the controller has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready says whether the cluster is reached and may be used. Reconciling and Stalled are there only while they are
    /// true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The cluster's fsid: that of the spec, or that of the first contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsid: Option<String>,

    /// The highest epoch of the OSD map that was seen, as of the last resync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,

    /// The highest epoch that was recorded when a person confirmed that the OSD map has gone back, as after a restored
    /// backup. Epochs recorded up to it count no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub went_back_from: Option<i64>,

    /// The release that the monitors run, such as `18.2.7` or `20 (tentacle)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,

    /// The release that all OSDs have to run (`require_osd_release`), such as reef.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_osd_release: Option<String>,

    /// Number of CephPools that refer to this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<i32>,

    /// Commands that the grants or the CephPools of this connection need, and that the Ceph user is not allowed to send. It
    /// is asked when the connection is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub missing_permissions: Vec<String>,

    /// Pools under a private name that no record explains. They are left alone; look at them and remove them by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub leftovers: Vec<String>,

    /// The instance of the controller that looks after this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            options: BTreeMap::new(),
            max_commands_in_flight: default_max_commands_in_flight(),
            command_timeout: default_command_timeout(),
        }
    }
}

fn default_user() -> String {
    "poolwright".to_owned()
}

fn default_key() -> String {
    "key".to_owned()
}

fn default_max_commands_in_flight() -> i32 {
    512
}

fn default_command_timeout() -> DurationText {
    DurationText::from("30s")
}

fn default_resync_interval() -> DurationText {
    DurationText::from("10m")
}

fn default_pool_names() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_verbs() -> Vec<Verb> {
    vec![Verb::Create, Verb::Update]
}
