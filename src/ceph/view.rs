//! `ClusterView`: an immutable picture of a cluster at an OSD map epoch.

use std::collections::HashMap;
use std::sync::Arc;

use super::crush_map::CrushMap;
use super::osd_map::{OsdMap, Pool};
use super::types::{Epoch, Fsid, PoolId, PoolIdentity, PoolName};

/// What all planning is done against. Made by the monitor, shared by everybody, never changed.
#[derive(Clone, Debug)]
pub struct ClusterView {
    map: OsdMap,
    crush: CrushMap,
    by_name: HashMap<PoolName, PoolId>,
}

impl ClusterView {
    /// Puts the two maps together.
    pub fn new(map: OsdMap, crush: CrushMap) -> Self {
        let by_name = map
            .pools
            .values()
            .map(|pool| (pool.name.clone(), pool.id))
            .collect();
        Self {
            map,
            crush,
            by_name,
        }
    }

    /// The cluster.
    pub fn fsid(&self) -> &Fsid {
        &self.map.fsid
    }

    /// The epoch this is a picture of.
    pub fn epoch(&self) -> Epoch {
        self.map.epoch
    }

    /// The OSD map.
    pub fn map(&self) -> &OsdMap {
        &self.map
    }

    /// The CRUSH map.
    pub fn crush(&self) -> &CrushMap {
        &self.crush
    }

    /// The pool a command by this name would mean.
    pub fn pool_named(&self, name: &PoolName) -> Option<&Arc<Pool>> {
        self.by_name.get(name).and_then(|id| self.map.pools.get(id))
    }

    /// The pool of this number.
    pub fn pool(&self, id: PoolId) -> Option<&Arc<Pool>> {
        self.map.pools.get(&id)
    }

    /// The very pool of this identity: the same cluster, number and create time.
    pub fn identified(&self, identity: &PoolIdentity) -> Option<&Arc<Pool>> {
        self.pool(identity.id).filter(|pool| {
            identity.fsid == *self.fsid() && identity.create_time == pool.create_time
        })
    }

    /// The name of a pool's CRUSH rule, or its number where the map has no such rule.
    pub fn rule_name(&self, pool: &Pool) -> String {
        self.crush
            .rule_name(pool.crush_rule)
            .map_or_else(|| pool.crush_rule.to_string(), str::to_owned)
    }
}
