//! What the controller keeps in memory, for those who only read it.

use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;

use super::pools::{GuardedPool, Pools};
use super::registry::Registry;

/// The connections with their views, and the objects. Clones share it; every replica has it, whether it leads or not.
#[derive(Clone)]
pub struct Memory {
    /// The connections, and the sessions of those that are reached.
    pub registry: Registry,
    /// The CephPools, without their managed fields.
    pub pools: Store<GuardedPool>,
    /// The namespaces' labels, for grants by selector.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

impl From<&Pools> for Memory {
    fn from(pools: &Pools) -> Self {
        Self {
            registry: pools.registry.clone(),
            pools: pools.objects.clone(),
            namespaces: pools.namespaces.clone(),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Memory").finish_non_exhaustive()
    }
}
