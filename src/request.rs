//! From wish to work.
//!
//! [`wish`], [`factory`], [`pool_factory`], [`round`], [`guard`], [`preview`], [`ownership`],
//! [`refusal`], [`rejection`], [`registry`], [`contest`], [`coding`] and [`user_request`] are pure: time, IDs and
//! randomness come in as arguments.
//! [`executor`] and [`collection`] talk to Ceph and know no Kubernetes; what has to be
//! written down before anything is sent goes through the trait in [`journal`].

pub mod coding;
pub mod collection;
pub mod contest;
pub mod executor;
pub mod factory;
pub mod guard;
pub mod journal;
pub mod locks;
pub mod moves;
pub mod ownership;
pub mod placement;
pub mod pool_factory;
pub mod preview;
pub mod refusal;
pub mod registry;
pub mod rejection;
pub mod round;
pub mod token;
pub mod user_request;
pub mod wish;
pub mod work;
