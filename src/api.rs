//! What users write: the three kinds of the group `poolwright.dev`, their schema, and the checks on what is written.
//!
//! Data only. Nothing here does I/O or reads a clock, and nothing here knows Ceph beyond the ranges its own fields have.
//!
//! * [`v1alpha1`]: the Rust types of `ClusterConnection`, `CephPool` and `CephRequest`; the doc comments on their fields
//!   are what `kubectl explain` prints.
//! * [`rules`]: every rule that a schema's types and bounds cannot say, one row each: the CEL for the API server, the
//!   same in Rust, and the one sentence both answer with.
//! * [`crd`]: the CustomResourceDefinitions as they are installed: the derived schemas, cleaned, with the rules in place.
//! * [`validate`]: the API server's verdict without an API server: unknown fields, types, bounds and rules.
//! * [`conditions`]: condition types and reasons, and how conditions are carried over from one status to the next.
//! * [`quantity`], [`duration`]: sizes in bytes and durations, exact.
//! * [`yaml`]: the one door to YAML.

pub mod conditions;
pub mod crd;
pub mod duration;
pub mod quantity;
pub mod rules;
pub mod v1alpha1;
pub mod validate;
pub mod yaml;
