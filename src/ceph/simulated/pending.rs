//! One round: what is committed, and what the commands so far are going to change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::reply::{
    Accepted, Answer, EEXIST, EINVAL, ENOENT, EPERM, ERANGE, Refusal, refuse, reply,
};
use super::{MonitorConfig, SimulatedCluster, dump, numbers, variables};
use crate::ceph::client::Reply;
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::{CrushMap, Rule};
use crate::ceph::osd_map::{OsdMap, Pool, binary};
use crate::ceph::settings::NO_DELETE;
use crate::ceph::types::{CreateTime, PoolId, PoolName, Release};

/// What a round changes when it commits.
#[derive(Debug)]
pub(super) struct Changes {
    /// Whether there is a proposal at all.
    pub(super) proposes: bool,
    /// Pools as they will be, new ones too.
    pub(super) pools: BTreeMap<PoolId, Pool>,
    /// Names as they will be.
    pub(super) names: BTreeMap<PoolId, PoolName>,
    /// Pools that go.
    pub(super) removed: BTreeSet<PoolId>,
    /// Profiles as they will be; none for one that goes.
    pub(super) profiles: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// Rules as they will be; none for one that goes.
    pub(super) rules: BTreeMap<i64, Option<Rule>>,
    /// The highest number given to a pool.
    pub(super) last_pool: PoolId,
    /// The newest pool's create time.
    pub(super) last_create_time: CreateTime,
}

/// A round in the making.
pub(super) struct Pending<'a> {
    cluster: &'a SimulatedCluster,
    committed: HashMap<&'a PoolName, PoolId>,
    pub(super) changes: Changes,
}

impl<'a> Pending<'a> {
    pub(super) fn new(cluster: &'a SimulatedCluster) -> Self {
        Self {
            cluster,
            committed: cluster
                .map
                .pools
                .values()
                .map(|pool| (&pool.name, pool.id))
                .collect(),
            changes: Changes {
                proposes: false,
                pools: BTreeMap::new(),
                names: BTreeMap::new(),
                removed: BTreeSet::new(),
                profiles: BTreeMap::new(),
                rules: BTreeMap::new(),
                last_pool: cluster.last_pool,
                last_create_time: cluster.last_create_time,
            },
        }
    }

    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    pub(super) fn config(&self) -> &MonitorConfig {
        &self.cluster.config
    }

    pub(super) fn release(&self) -> Release {
        self.cluster.release()
    }

    pub(super) fn crush(&self) -> &CrushMap {
        &self.cluster.crush
    }

    pub(super) fn map(&self) -> &OsdMap {
        &self.cluster.map
    }

    /// Answers a command; what it changes is seen by the next ones.
    pub(super) fn answer(&mut self, command: &MonCommand) -> Reply {
        let answer = match command {
            MonCommand::OsdStat => return body(&dump::osd_stat(self.cluster)),
            MonCommand::OsdGetMap { .. } => {
                return reply(0, "", binary::encode(self.map(), self.crush()));
            }
            MonCommand::OsdDump => return reply(0, "", dump::osd_dump_bytes(self.map())),
            MonCommand::CrushDump => return body(&dump::crush_dump(self.crush())),
            MonCommand::Version => return body(&dump::version(self.map())),
            MonCommand::QuorumStatus => return body(&dump::quorum_status()),
            MonCommand::ConfigGet {
                key: "osd_pool_default_size",
            } => {
                let size = self.config().default_size;
                return reply(0, "", format!("\n{size}\n").into_bytes());
            }
            MonCommand::ConfigGet { .. } => refuse(ENOENT, "unrecognized key"),
            // The simulated user may do everything.
            MonCommand::Probe { .. } => refuse(ENOENT, "there is nothing of this name"),
            MonCommand::PoolCreate(create) => self.create(create),
            MonCommand::PoolSet {
                pool,
                variable,
                value,
            } => self.set(pool, variable, value),
            MonCommand::PoolSetQuota { pool, field, value } => self.set_quota(pool, field, value),
            MonCommand::ApplicationEnable { .. }
            | MonCommand::ApplicationSet { .. }
            | MonCommand::ApplicationRemove { .. } => self.application(command),
            MonCommand::PoolRename { from, to } => self.rename(from, to),
            MonCommand::PoolRemove { pool } => self.remove(pool),
            MonCommand::ProfileSet { profile, values } => self.set_profile(profile, values),
            MonCommand::ProfileRemove { profile } => self.remove_profile(profile),
            MonCommand::RuleCreateErasure { rule, profile } => {
                self.create_erasure_rule(rule, profile)
            }
            MonCommand::RuleCreateReplicated {
                rule,
                root,
                bucket_type,
                class,
            } => self.create_rule(rule, root, bucket_type, class.as_deref()),
            MonCommand::RuleRemove { rule } => self.remove_rule(rule),
        };
        match answer {
            Ok(Accepted::Proposed(text)) => {
                self.changes.proposes = true;
                reply(0, text, Vec::new())
            }
            Ok(Accepted::Nothing(text)) => reply(0, text, Vec::new()),
            Err(Refusal { errno, text }) => reply(-errno, text, Vec::new()),
        }
    }

    /// The number of the pool that has this name in the committed map: a pool created or
    /// renamed in this round is not found.
    pub(super) fn committed_id(&self, name: &PoolName) -> Option<PoolId> {
        self.committed.get(name).copied()
    }

    /// The same, or the monitors' refusal.
    pub(super) fn known(&self, name: &PoolName) -> Result<PoolId, Refusal> {
        self.committed_id(name)
            .map_or_else(|| refuse(ENOENT, format!("unrecognized pool '{name}'")), Ok)
    }

    /// A pool as it is committed.
    pub(super) fn committed_pool(&self, id: PoolId) -> Result<&Pool, Refusal> {
        self.map().pools.get(&id).map_or_else(
            || refuse(ENOENT, format!("unrecognized pool {id}")),
            |pool| Ok(&**pool),
        )
    }

    /// A pool as this round has left it so far.
    pub(super) fn pending_pool(&self, id: PoolId) -> Result<&Pool, Refusal> {
        match self.changes.pools.get(&id) {
            Some(pool) => Ok(pool),
            None => self.committed_pool(id),
        }
    }

    /// Whether a pool has this CRUSH rule.
    pub(super) fn uses_rule(&self, number: i64) -> bool {
        let mut pools = self.map().pools.values();
        pools.any(|pool| pool.crush_rule == number)
    }

    /// Who will have this name when the round commits, among those named in it.
    pub(super) fn pending_owner(&self, name: &PoolName) -> Option<PoolId> {
        let mut names = self.changes.names.iter();
        names.find(|(_, taken)| *taken == name).map(|(id, _)| *id)
    }

    /// Whether the OSDs can take this many placement groups; the other pools count as committed, and after
    /// 16 only those with the same CRUSH rule.
    pub(super) fn check_pg_num(
        &self,
        pool: Option<PoolId>,
        rule: i64,
        pg_num: i64,
        size: i64,
    ) -> Result<(), Refusal> {
        let Some(osds) = self.cluster.osds else {
            return Ok(());
        };
        // Monitors assume a cluster of at least three.
        let osds = osds.max(3);
        let per_osd = self.config().max_pg_per_osd;
        let others = self
            .map()
            .pools
            .values()
            .filter(|other| Some(other.id) != pool)
            .filter(|other| self.release() < Release::Quincy || other.crush_rule == rule);
        let projected = others
            .map(|other| {
                other
                    .placement_groups
                    .pg_num_target
                    .saturating_mul(other.size)
            })
            .fold(pg_num.saturating_mul(size), i64::saturating_add);
        let most = per_osd.saturating_mul(osds);
        if projected > most {
            let id = pool.map_or_else(String::new, |id| format!("pool id {id}"));
            return refuse(
                ERANGE,
                format!(
                    "{id} pg_num {pg_num} size {size} would mean {projected} total pgs, \
                     which exceeds max {most} (mon_max_pg_per_osd {per_osd} * num_in_osds {osds})"
                ),
            );
        }
        Ok(())
    }

    fn set(&mut self, name: &PoolName, variable: &str, value: &str) -> Answer {
        let id = self.known(name)?;
        let mut pool = self.pending_pool(id)?.clone();
        if !variables::set(self, &mut pool, variable, value)? {
            return Ok(Accepted::Proposed(String::new()));
        }
        self.changes.pools.insert(id, pool);
        Ok(Accepted::Proposed(if value == "unset" {
            format!("unset pool {id} {variable}")
        } else {
            format!("set pool {id} {variable} to {value}")
        }))
    }

    fn set_quota(&mut self, name: &PoolName, field: &str, value: &str) -> Answer {
        let id = self.known(name)?;
        let number = match field {
            "max_bytes" => numbers::bytes(value, self.release())?,
            "max_objects" => numbers::count(value)?,
            _ => {
                return refuse(
                    EINVAL,
                    format!("unrecognized field '{field}'; should be 'max_bytes' or 'max_objects'"),
                );
            }
        };
        if number < 0 {
            return refuse(
                EINVAL,
                format!("error parsing value '{value}': value should not be negative"),
            );
        }
        let mut pool = self.pending_pool(id)?.clone();
        if field == "max_bytes" {
            pool.quota_max_bytes = number;
        } else {
            pool.quota_max_objects = number;
        }
        self.changes.pools.insert(id, pool);
        Ok(Accepted::Proposed(format!(
            "set-quota {field} = {number} for pool {name}"
        )))
    }

    /// Both names are looked up in the committed map; of two renames onto one name the
    /// second is refused, though it has cost its place in the round.
    fn rename(&mut self, from: &PoolName, to: &PoolName) -> Answer {
        if self.release() >= Release::Reef && to.as_str().starts_with('.') {
            return Ok(Accepted::Nothing(dotted()));
        }
        match (self.committed_id(from), self.committed_id(to)) {
            (None, Some(_)) => Ok(Accepted::Nothing(format!(
                "pool '{from}' does not exist; pool '{to}' does -- assuming successful rename"
            ))),
            (None, None) => refuse(ENOENT, format!("unrecognized pool '{from}'")),
            (Some(_), Some(_)) => refuse(EEXIST, format!("pool '{to}' already exists")),
            (Some(id), None) => {
                self.changes.proposes = true;
                if self.changes.removed.contains(&id) {
                    return refuse(
                        ENOENT,
                        failed_rename(from, to, "(2) No such file or directory"),
                    );
                }
                if self.pending_owner(to).is_some_and(|owner| owner != id) {
                    return refuse(EEXIST, failed_rename(from, to, "(17) File exists"));
                }
                self.changes.names.insert(id, to.clone());
                Ok(Accepted::Proposed(format!(
                    "pool '{from}' renamed to '{to}'"
                )))
            }
        }
    }

    /// A pool created in this round is not found, so it stays; `nodelete` set in this
    /// round is seen.
    fn remove(&mut self, name: &PoolName) -> Answer {
        let Some(id) = self.committed_id(name) else {
            return Ok(Accepted::Nothing(format!("pool '{name}' does not exist")));
        };
        if !self.config().allow_pool_delete {
            return refuse(
                EPERM,
                "pool deletion is disabled; you must first set the mon_allow_pool_delete config \
                 option to true before you can destroy a pool",
            );
        }
        if self.pending_pool(id)?.has_flag(NO_DELETE) {
            return refuse(
                EPERM,
                "pool deletion is disabled; you must unset nodelete flag for the pool first",
            );
        }
        self.changes.removed.insert(id);
        Ok(Accepted::Proposed(format!("pool '{name}' removed")))
    }
}

/// What 18 and later say, with return code 0, to a name such as `.x`.
pub(super) fn dotted() -> String {
    "pool names beginning with . are not allowed".to_owned()
}

fn failed_rename(from: &PoolName, to: &PoolName, why: &str) -> String {
    format!("failed to rename pool '{from}' to '{to}': {why}")
}

fn body(json: &serde_json::Value) -> Reply {
    reply(0, "", json.to_string().into_bytes())
}
