//! The blocks of a `CephPool`'s spec: what can be set on a pool.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::quantity::{Decimal, Quantity};

/// Settings of a replicated pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicatedSpec {
    /// Number of copies, 1 to 10. A single copy is not set unless it is confirmed. A change copies or drops data at
    /// once. Removed from the spec: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub size: Option<i32>,
}

/// Settings of an erasure-coded pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasureCodedSpec {
    /// Number of data chunks (k), 2 to 64. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub data_chunks: Option<i32>,

    /// Number of coding chunks (m), 1 to 32: so many chunks may be lost without losing data. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub coding_chunks: Option<i32>,

    /// The erasure-code plugin: isa, jerasure, clay or shec. Without it the default of the cluster's release (jerasure
    /// up to 19, isa from 20). It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub plugin: Option<String>,

    /// The plugin's technique, such as reed_sol_van. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub technique: Option<String>,

    /// Bytes per chunk and stripe, such as 4Ki. Without it the cluster's default (4Ki). It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_unit: Option<Quantity>,

    /// Whether objects may be overwritten in part, which RBD and CephFS need. Once on it cannot be turned off in Ceph.
    /// Removed from the spec: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overwrites: Option<bool>,

    /// Whether the faster erasure-code paths of Ceph 20 are used. Once on they cannot be turned off in Ceph. Needs Ceph
    /// 20. Removed from the spec: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizations: Option<bool>,

    /// An existing erasure-code profile to use as it is, instead of dataChunks, codingChunks, plugin, technique and
    /// stripeUnit. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub profile: Option<String>,
}

/// Where the copies or chunks of a pool are placed: an existing rule by name, or what a rule of our own has to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrushSpec {
    /// An existing CRUSH rule. On a pool that is there already a change moves its data, and waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub rule: Option<String>,

    /// The bucket type no two copies or chunks may share, such as host or rack. A rule for it is made and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub failure_domain: Option<String>,

    /// The CRUSH bucket to choose under; without it `default`. Goes with failureDomain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub root: Option<String>,

    /// Only OSDs of this device class, such as ssd or hdd. Goes with failureDomain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub device_class: Option<String>,
}

/// The number of placement groups of a pool, and what Ceph's autoscaler may do with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementGroupsSpec {
    /// Ceph's autoscaler for this pool: Enabled changes the number of placement groups by itself, Warn only raises a
    /// health warning, Disabled does neither. Removed from the spec: left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AutoscaleMode")]
    pub autoscale: Option<AutoscaleMode>,

    /// Number of placement groups (pg_num; pgp_num follows), 1 to 65536, best a power of two. With autoscale Enabled it
    /// is the number at creation only. Ceph moves to a new number step by step. Removed from the spec: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub count: Option<i32>,

    /// The fewest placement groups the autoscaler may choose (pg_num_min). Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub min: Option<i32>,

    /// The most placement groups the autoscaler may choose (pg_num_max). Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max: Option<i32>,

    /// How many times more placement groups than its data would call for the autoscaler gives this pool: a decimal
    /// number in quotes, above 0 and at most 1000, such as "1.0" or "4". Removed from the spec: unset (1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<Decimal>,

    /// How much data the pool is expected to hold, in bytes, such as 1Ti: a hint for the autoscaler, before the data is
    /// there. Not together with targetSizeRatio. Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_size_bytes: Option<Quantity>,

    /// Which share of the cluster the pool is expected to use, relative to the ratios of other pools: a decimal number
    /// in quotes, above 0, such as "0.2". Not together with targetSizeBytes. Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_size_ratio: Option<Decimal>,

    /// Whether the pool is expected to be large, so that the autoscaler starts it with many placement groups. Removed
    /// from the spec: turned off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk: Option<bool>,
}

/// What Ceph's autoscaler does with a pool. Ceph's own words, `on`, `off` and `warn`, are booleans in YAML.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum AutoscaleMode {
    /// It changes the number of placement groups (`on`).
    Enabled,
    /// It does nothing (`off`).
    Disabled,
    /// It raises a health warning (`warn`).
    Warn,
}

/// The most a pool may hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Most bytes of data, before replication, such as 100Gi; 0 is no limit. Removed from the spec: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Quantity>,

    /// Most objects; 0 is no limit. Removed from the spec: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_objects: Option<i64>,
}

/// An application of a pool: what uses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// Name of the application: `rbd`, `cephfs`, `rgw` or one of your own, of letters, digits, `_`, `.` and `-`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Keys and values that are stored with the application, at most 62. Keys consist of letters, digits, `_`, `.` and
    /// `-`, and those that begin with `poolwright` are reserved. Other keys in Ceph are left alone. A key removed from
    /// the spec is removed in Ceph.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 62))]
    pub metadata: BTreeMap<String, MetadataValue>,
}

/// A value stored with an application: at most 128 of letters, digits and `_ . - + = : / @`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct MetadataValue(#[schemars(length(max = 128))] pub String);

/// A pool variable's value: a decimal number in quotes, or a word.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ParameterValue(#[schemars(length(min = 1, max = 128))] pub String);

/// Compression by the OSDs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompressionSpec {
    /// When to compress: none (never), passive (if the client asks for it), aggressive (unless the client asks not to)
    /// or force (always). Removed from the spec: unset, the OSDs' own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CompressionMode")]
    pub mode: Option<CompressionMode>,

    /// How to compress: lz4, snappy, zlib, zstd or none. Removed from the spec: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CompressionAlgorithm")]
    pub algorithm: Option<CompressionAlgorithm>,

    /// Compressed data is stored only if it is at most this share of the original: a decimal number in quotes, above 0
    /// and at most 1, such as "0.875". Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_ratio: Option<Decimal>,

    /// Pieces of data smaller than this are not compressed, such as 8Ki. Removed from the spec: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_blob_size: Option<Quantity>,

    /// Pieces of data larger than this are split before they are compressed, such as 64Ki. Removed from the spec:
    /// unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_blob_size: Option<Quantity>,
}

/// When the OSDs compress. Ceph's own words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CompressionMode {
    /// Never.
    None,
    /// If the client asks for it.
    Passive,
    /// Unless the client asks not to.
    Aggressive,
    /// Always.
    Force,
}

/// How the OSDs compress. Ceph's own words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    /// LZ4.
    Lz4,
    /// Snappy.
    Snappy,
    /// zlib.
    Zlib,
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// Switches of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagsSpec {
    /// The monitors refuse to remove the pool. It also stops `deletionPolicy: Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_delete: Option<bool>,

    /// The monitors refuse to change size and minSize. A change made here lifts it for the time of the change; one that
    /// somebody else has set, and that is not named here, is respected and reported as blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_size_change: Option<bool>,

    /// The monitors refuse to change the number of placement groups, also for the autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_pg_change: Option<bool>,

    /// The pool's data is not scrubbed. For the time of a repair, not for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_scrub: Option<bool>,

    /// The pool's data is not deep-scrubbed. For the time of a repair, not for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_deep_scrub: Option<bool>,

    /// Reads ask all chunks and use the first that suffice. For erasure-coded pools only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_read: Option<bool>,
}
