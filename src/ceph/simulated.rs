//! A cluster in memory that obeys the monitors' rules: for previews and for tests.
//!
//! ```text
//!  commands of one round ─► Pending: each is checked against what is committed, or against
//!                           what the commands before it in the round have changed
//!                                │
//!                                └─► commit: one new epoch, if anything was accepted that proposes
//! ```
//!
//! Which of the two a command sees is measured on real monitors, rule by rule: a pool's
//! name and the applications of `application set` are looked up in the committed map, its
//! size, flags and limits in the pending one. [`SimulatedCluster`] is pure: no clock, no
//! I/O, no randomness; the create time of a pool comes from a counter.
//! [`client::SimulatedClient`] puts it behind [`MonClient`](super::client::MonClient).

mod applications;
pub mod client;
mod create;
mod crush;
pub mod dump;
mod erasure;
mod numbers;
mod pending;
mod reply;
mod rules;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::pending::{Changes, Pending};
use super::client::Reply;
use super::command::MonCommand;
use super::crush_map::CrushMap;
use super::osd_map::{FullRatios, Osd, OsdMap, Pool, StretchMode};
use super::types::{CreateTime, Epoch, Fsid, PoolId, PoolName, Release};
use super::view::ClusterView;

/// Create time of the first pool: no round number, so that a cut-off digit is noticed.
const FIRST_CREATE_TIME: i64 = 1_700_000_000_123_456;
/// From one pool to the next: a second and a bit.
const CREATE_TIME_STEP: i64 = 1_000_001;

/// How the simulated monitors are configured, by Ceph's own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorConfig {
    /// `mon_allow_pool_delete`. On here, unlike Ceph's default, as in the clusters of the tests.
    pub allow_pool_delete: bool,
    /// `mon_allow_pool_size_one`.
    pub allow_pool_size_one: bool,
    /// `mon_max_pg_per_osd`.
    pub max_pg_per_osd: i64,
    /// `mon_max_pool_pg_num`.
    pub max_pool_pg_num: i64,
    /// `osd_pool_default_size`.
    pub default_size: i64,
    /// Whether a manager runs: without one only the targets of placement groups move.
    pub manager: bool,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            allow_pool_delete: true,
            allow_pool_size_one: false,
            max_pg_per_osd: 250,
            max_pool_pg_num: 65_536,
            default_size: 3,
            manager: true,
        }
    }
}

/// A cluster in memory.
#[derive(Clone, Debug)]
pub struct SimulatedCluster {
    /// What the monitors allow; may be changed between rounds.
    pub config: MonitorConfig,
    map: OsdMap,
    crush: CrushMap,
    /// `None` where a view does not tell: then nothing is refused for want of OSDs.
    osds: Option<i64>,
    last_pool: PoolId,
    last_create_time: CreateTime,
}

impl SimulatedCluster {
    /// An empty cluster of Ceph 18 at epoch 1, with the rule `replicated_rule`.
    pub fn new(fsid: &Fsid, osds: i64) -> Self {
        let osd = Osd {
            up: true,
            weight: Osd::FULL_WEIGHT,
        };
        let map = OsdMap {
            fsid: fsid.clone(),
            epoch: Epoch(1),
            created: Timestamp::UNIX_EPOCH,
            modified: Timestamp::UNIX_EPOCH,
            flags: BTreeSet::from(
                ["sortbitwise", "recovery_deletes", "purged_snapdirs"].map(str::to_owned),
            ),
            ratios: FullRatios {
                nearfull: 0.85,
                backfillfull: 0.9,
                full: 0.95,
            },
            require_osd_release: Some(Release::Reef),
            require_osd_release_name: Release::Reef.name().to_owned(),
            stretch_mode: StretchMode::default(),
            pools: BTreeMap::new(),
            osds: crush::numbers(osds).map(|number| (number, osd)).collect(),
            moving: BTreeSet::new(),
            erasure_code_profiles: BTreeMap::new(),
        };
        let crush = crush::flat(osds);
        Self {
            osds: Some(osds),
            ..Self::from_view(&ClusterView::new(map, crush))
        }
    }

    /// A cluster that continues from a view, with monitors of its `require_osd_release`.
    ///
    /// A view tells neither the number of OSDs nor the monitors' configuration, so what
    /// only these would refuse is accepted.
    pub fn from_view(view: &ClusterView) -> Self {
        let map = view.map().clone();
        let last_pool = map.pools.keys().next_back().copied().unwrap_or(PoolId(0));
        let last_create_time = map
            .pools
            .values()
            .map(|pool| pool.create_time)
            .max()
            .unwrap_or(CreateTime(FIRST_CREATE_TIME));
        Self {
            config: MonitorConfig::default(),
            map,
            crush: view.crush().clone(),
            osds: None,
            last_pool,
            last_create_time,
        }
    }

    /// The same with monitors and OSDs of another release.
    #[must_use]
    pub fn with_release(mut self, release: Release) -> Self {
        self.map.require_osd_release = Some(release);
        release
            .name()
            .clone_into(&mut self.map.require_osd_release_name);
        self
    }

    /// The picture of it that the planner reads.
    pub fn view(&self) -> ClusterView {
        ClusterView::new(self.map.clone(), self.crush.clone())
    }

    /// The OSD map as it is committed.
    pub fn map(&self) -> &OsdMap {
        &self.map
    }

    /// The CRUSH map.
    pub fn crush(&self) -> &CrushMap {
        &self.crush
    }

    /// The epoch of the committed map.
    pub fn epoch(&self) -> Epoch {
        self.map.epoch
    }

    /// The number of OSDs; `None` where it was made from a view.
    pub fn osds(&self) -> Option<i64> {
        self.osds
    }

    /// The pool a command by this name would mean.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.map.pool_named(&PoolName::new(name))
    }

    /// Adds a CRUSH rule, in an epoch of its own, and gives its number.
    pub fn add_rule(&mut self, name: &str) -> i64 {
        let number = self
            .crush
            .rules
            .keys()
            .next_back()
            .map_or(0, |last| last + 1);
        self.crush.rules.insert(number, crush::rule(name));
        self.next_epoch();
        number
    }

    /// Somebody else's change to the map, in an epoch of its own.
    pub fn edit_map(&mut self, edit: impl FnOnce(&mut OsdMap)) {
        edit(&mut self.map);
        self.next_epoch();
        let highest = self.map.pools.keys().next_back().copied();
        self.last_pool = self.last_pool.max(highest.unwrap_or(self.last_pool));
    }

    /// Somebody else's change to the CRUSH map, in an epoch of its own.
    pub fn edit_crush(&mut self, edit: impl FnOnce(&mut CrushMap)) {
        edit(&mut self.crush);
        self.next_epoch();
    }

    /// Somebody else's change to a pool, in an epoch of its own; whether there is such a pool.
    pub fn edit_pool(&mut self, name: &str, edit: impl FnOnce(&mut Pool)) -> bool {
        let Some(id) = self.pool(name).map(|pool| pool.id) else {
            return false;
        };
        let epoch = self.next_epoch();
        if let Some(pool) = self.map.pools.get_mut(&id) {
            let pool = Arc::make_mut(pool);
            edit(pool);
            pool.last_change = epoch;
        }
        true
    }

    /// Answers the commands of one paxos round in the order given, then commits: one new
    /// epoch if anything was accepted that proposes, whether or not it changes a value.
    pub fn round(&mut self, commands: &[MonCommand]) -> Vec<Reply> {
        let mut pending = Pending::new(self);
        let replies = commands
            .iter()
            .map(|command| pending.answer(command))
            .collect();
        let changes = pending.into_changes();
        self.commit(changes);
        replies
    }

    /// Lets OSDs and manager do their part until nothing moves any more: clears `creating`
    /// and brings placement groups to their targets, some epochs later.
    pub fn settle(&mut self) -> Epoch {
        while self.step() {}
        self.map.epoch
    }

    /// One epoch of what OSDs and manager do by themselves; `false`, and no epoch, when
    /// there is nothing for them to do.
    pub fn step(&mut self) -> bool {
        let epoch = Epoch(self.map.epoch.0 + 1);
        let (osds, manager) = (self.osds != Some(0), self.config.manager);
        let mut moved = false;
        for pool in self.map.pools.values_mut() {
            if let Some(mut next) = moved_on(pool, osds, manager) {
                next.last_change = epoch;
                *pool = Arc::new(next);
                moved = true;
            }
        }
        if moved {
            self.map.epoch = epoch;
        }
        moved
    }

    fn release(&self) -> Release {
        self.map.require_osd_release.unwrap_or(Release::Reef)
    }

    fn next_epoch(&mut self) -> Epoch {
        self.map.epoch = Epoch(self.map.epoch.0 + 1);
        self.map.epoch
    }

    /// New pools and settings first, then names, then removals, as Ceph applies an increment.
    fn commit(&mut self, changes: Changes) {
        if !changes.proposes {
            return;
        }
        let epoch = self.next_epoch();
        for (id, mut pool) in changes.pools {
            pool.last_change = epoch;
            self.map.pools.insert(id, Arc::new(pool));
        }
        for (id, name) in changes.names {
            if let Some(pool) = self.map.pools.get_mut(&id) {
                Arc::make_mut(pool).name = name;
            }
        }
        for id in changes.removed {
            self.map.pools.remove(&id);
        }
        for (name, profile) in changes.profiles {
            put(&mut self.map.erasure_code_profiles, name, profile);
        }
        for (number, rule) in changes.rules {
            put(&mut self.crush.rules, number, rule);
        }
        self.last_pool = changes.last_pool;
        self.last_create_time = changes.last_create_time;
    }
}

/// What there is now, or that it is gone.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// A pool one epoch later; `None` where nothing is left to do, or nobody to do it.
fn moved_on(pool: &Pool, osds: bool, manager: bool) -> Option<Pool> {
    if pool.is_creating() && osds {
        let mut next = pool.clone();
        next.flags.remove("creating");
        return Some(next);
    }
    // Growing goes in one step, pg_num before pgp_num; shrinking one group at a time,
    // pgp_num first, and pg_num says a step ahead where it is going.
    let mut groups = pool.placement_groups;
    let pgp_target = groups.pgp_num_target.min(groups.pg_num_target);
    if !manager || !osds {
        return None;
    } else if groups.pg_num < groups.pg_num_target {
        groups.pg_num = groups.pg_num_target;
        groups.pg_num_pending = groups.pg_num_target;
    } else if groups.pgp_num < pgp_target {
        groups.pgp_num = pgp_target;
    } else if groups.pgp_num > pgp_target {
        groups.pgp_num -= 1;
    } else if groups.pg_num_pending < groups.pg_num {
        groups.pg_num = groups.pg_num_pending;
    } else if groups.pg_num > groups.pg_num_target {
        groups.pg_num_pending = groups.pg_num - 1;
    } else {
        return None;
    }
    Some(Pool {
        placement_groups: groups,
        ..pool.clone()
    })
}
