//! Version `v1alpha1` of the group `poolwright.dev`: the kinds, and the names of annotations and finalizers.
//!
//! The doc comment of a field is its text in `kubectl explain`, so it is written for the person who fills the field in.
//! Bounds (`range`, `length`) are on the fields; everything that needs a sentence of its own is in [`super::rules`].

#![expect(
    clippy::duplicated_attributes,
    reason = "printer columns repeat their types, as they have to"
)]

mod connection;
mod pool;
mod pool_settings;
mod pool_status;
mod request;

pub use connection::{
    ClientSettings, ClusterConnection, ClusterConnectionSpec, ClusterConnectionStatus, Grant,
    GrantLimits, GrantNamespaces, OptionValue, SecretKeyRef, Verb,
};
pub use pool::{
    AdoptionPolicy, CephPool, CephPoolSpec, ConnectionRef, DeletionPolicy, Management, PoolType,
};
pub use pool_settings::{
    ApplicationSpec, AutoscaleMode, CompressionAlgorithm, CompressionMode, CompressionSpec,
    CrushSpec, ErasureCodedSpec, FlagsSpec, MetadataValue, ParameterValue, PlacementGroupsSpec,
    QuotaSpec, ReplicatedSpec,
};
pub use pool_status::{
    AskedTokenStatus, CephPoolStatus, DriftStatus, ObservedPool, PendingChange, PoolRequestStatus,
    UsedTokenStatus,
};
pub use request::{
    CephRequest, CephRequestSpec, CephRequestStatus, CommandRecord, Operation, Outcome,
    PoolReference, RequestState, RequestedValue, RoundRecord,
};

/// The API group of all three kinds.
pub const GROUP: &str = "poolwright.dev";
/// The version of the group that this module describes.
pub const VERSION: &str = "v1alpha1";
/// `group/version`, as it stands in `apiVersion`.
pub const API_VERSION: &str = "poolwright.dev/v1alpha1";

/// Annotation on a `CephPool`, written by the controller: `<fsid>/<pool id>/<create time in µs>/<claim>`, the identity
/// that survives a lost status.
pub const ANNOTATION_POOL: &str = "poolwright.dev/pool";
/// Annotation on a `CephPool`, set by people: with the value `"true"` nothing is sent, everything is still observed.
pub const ANNOTATION_PAUSED: &str = "poolwright.dev/paused";
/// Annotation on a `CephPool`, set by people: a new value makes the controller look again at once.
pub const ANNOTATION_RECONCILE_REQUESTED_AT: &str = "poolwright.dev/reconcile-requested-at";
/// The same as [`ANNOTATION_RECONCILE_REQUESTED_AT`] in Flux's own words.
pub const ANNOTATION_FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Annotation on a `CephPool`, set by people: tokens, separated by commas, that each let one dangerous step pass once.
pub const ANNOTATION_CONFIRM: &str = "poolwright.dev/confirm";
/// Annotation on a `CephPool`, set by the REST shim: the UUID that the request of this change has to have.
pub const ANNOTATION_REQUEST_ID: &str = "poolwright.dev/request-id";
/// Annotation on a `CephPool`, set by the REST shim: the UUID that the request of its deletion has to have.
pub const ANNOTATION_DELETION_REQUEST_ID: &str = "poolwright.dev/deletion-request-id";
/// Annotation on a `CephPool`, set by the REST shim: `<fsid>/<pool id>/<create time in µs>` of the pool whose deletion was
/// asked for. The object is not deleted for it when it has another one.
pub const ANNOTATION_DELETION_POOL: &str = "poolwright.dev/deletion-pool";
/// Label on a `CephRequest` that was not made by the controller: what made it.
pub const LABEL_ORIGIN: &str = "poolwright.dev/origin";
/// The value of [`LABEL_ORIGIN`] for what the REST shim made.
pub const ORIGIN_REST: &str = "rest";
/// Annotation on a `CephRequest`, set by people: with the value `"true"` nothing more is sent for its generation.
pub const ANNOTATION_CANCEL: &str = "poolwright.dev/cancel";
/// Finalizer on a `CephPool` while its deletion has work to do in Ceph.
pub const FINALIZER_POOL: &str = "poolwright.dev/pool";
/// Finalizer on a `ClusterConnection` while a `CephPool` with a finalizer refers to it.
pub const FINALIZER_CONNECTION: &str = "poolwright.dev/connection";
/// The longest `metadata.name` of a `CephPool`, so that namespace and name fit into an application's value in Ceph.
pub const MAX_POOL_OBJECT_NAME: usize = 63;
/// What a pool's private name contains between its creation and its publication.
pub const PRIVATE_NEW: &str = ".poolwright-new-";
/// What a pool's private name contains between its withdrawal and its removal.
pub const PRIVATE_DELETE: &str = ".poolwright-del-";
/// Application keys that begin like this are the controller's own.
pub const RESERVED_KEY_PREFIX: &str = "poolwright";
