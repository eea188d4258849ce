//! `osd pool create`.

use std::collections::{BTreeMap, BTreeSet};

use super::CREATE_TIME_STEP;
use super::pending::{Pending, dotted};
use super::reply::{Accepted, Answer, EINVAL, ERANGE, Refusal, refuse};
use crate::ceph::command::PoolCreate;
use crate::ceph::osd_map::{OptionValue, PlacementGroups, Pool, PoolKind, Snapshots, Tiering};
use crate::ceph::types::{CreateTime, Epoch, PoolId, Release};

impl Pending<'_> {
    /// Of two creations of one name in a round both answer "created", and the first one's
    /// settings count. Of a name that exists already, nothing but the type is compared.
    pub(super) fn create(&mut self, create: &PoolCreate) -> Answer {
        let name = &create.pool;
        if self.release() >= Release::Reef && name.as_str().starts_with('.') {
            return Ok(Accepted::Nothing(dotted()));
        }
        if let Some(id) = self.committed_id(name) {
            let (kind, word) = match create.profile {
                Some(_) => (PoolKind::Erasure, "erasure"),
                None => (PoolKind::Replicated, "replicated"),
            };
            return if self.committed_pool(id)?.kind == kind {
                Ok(Accepted::Nothing(format!("pool '{name}' already exists")))
            } else {
                refuse(
                    EINVAL,
                    format!("pool '{name}' cannot change to type {word}"),
                )
            };
        }
        if name.as_str().is_empty() {
            return refuse(EINVAL, "(22) Invalid argument");
        }
        let pool = self.new_pool(create)?;
        if self.pending_owner(name).is_none() {
            self.changes.last_pool = pool.id;
            self.changes.last_create_time = pool.create_time;
            self.changes.names.insert(pool.id, name.clone());
            self.changes.pools.insert(pool.id, pool);
        }
        Ok(Accepted::Proposed(format!("pool '{name}' created")))
    }

    fn new_pool(&mut self, create: &PoolCreate) -> Result<Pool, Refusal> {
        // The name of a rule is looked up before anything else, and its kind after everything.
        if let Some(rule) = create.rule.as_deref() {
            self.rule(rule)?;
        }
        // A word that is no mode is taken as the default.
        let mode = create
            .autoscale_mode
            .as_deref()
            .filter(|mode| matches!(*mode, "off" | "warn"))
            .unwrap_or("on");
        let pg_num = self.pg_num(create.pg_num, mode)?;
        let coded = create.profile.as_deref();
        let coded = coded.map(|profile| self.coded(profile)).transpose()?;
        let size = match &coded {
            Some(coded) => coded.size,
            None => self.size(create.size.unwrap_or_default()),
        };
        let (rule, suits) = self.rule_of(
            &create.pool,
            create.rule.as_deref(),
            create.profile.as_deref(),
        )?;
        self.check_pg_num(None, rule, pg_num, size)?;
        if !suits {
            return refuse(EINVAL, "(22) Invalid argument");
        }
        if coded.is_none() {
            self.fits_a_rule(create.size.unwrap_or_default())?;
        }
        let mut flags = BTreeSet::from(["hashpspool".to_owned(), "creating".to_owned()]);
        if create.bulk == Some(true) {
            flags.insert("bulk".to_owned());
        }
        Ok(Pool {
            id: PoolId(self.changes.last_pool.0.saturating_add(1)),
            name: create.pool.clone(),
            create_time: CreateTime(
                self.changes
                    .last_create_time
                    .0
                    .saturating_add(CREATE_TIME_STEP),
            ),
            last_change: Epoch(0),
            kind: match &coded {
                Some(_) => PoolKind::Erasure,
                None => PoolKind::Replicated,
            },
            size,
            min_size: coded
                .as_ref()
                .map_or_else(|| default_min_size(size), |coded| coded.min_size),
            // Bounds are taken as they are, also when pg_num lies outside of them.
            placement_groups: PlacementGroups {
                pg_num,
                pg_num_pending: pg_num,
                pg_num_target: pg_num,
                pgp_num: pg_num,
                pgp_num_target: pg_num,
            },
            autoscale_mode: mode.to_owned(),
            crush_rule: rule,
            quota_max_bytes: 0,
            quota_max_objects: 0,
            flags,
            options: options(create),
            fast_read: false,
            applications: BTreeMap::new(),
            stripe_width: coded.as_ref().map_or(0, |coded| coded.stripe_width),
            erasure_code_profile: coded.map_or_else(String::new, |coded| coded.profile),
            expected_num_objects: 0,
            peering_bucket_count: 0,
            snapshots: Snapshots::default(),
            tiering: Tiering::default(),
        })
    }

    /// 0 is the default; of anything else the lowest eight bits count.
    fn size(&self, size: i64) -> i64 {
        match size {
            0 => self.config().default_size,
            size => size & 0xff,
        }
    }

    /// Until 16 rules had sizes, which were looked at after the number of placement groups.
    fn fits_a_rule(&self, size: i64) -> Result<(), Refusal> {
        if self.release() < Release::Quincy && !(0..=10).contains(&size) {
            return refuse(EINVAL, "pool size is bigger than the crush rule max size");
        }
        Ok(())
    }

    fn pg_num(&self, pg_num: i64, mode: &str) -> Result<i64, Refusal> {
        let most = self.config().max_pool_pg_num;
        if !(0..=most).contains(&pg_num) {
            return refuse(
                ERANGE,
                format!(
                    "'pg_num' must be greater than 0 and less than or equal to {most} \
                     (you may adjust 'mon max pool pg num' for higher values)"
                ),
            );
        }
        Ok(match pg_num {
            0 if mode == "on" && self.release() >= Release::Reef => 1,
            0 => 32,
            pg_num => pg_num,
        })
    }
}

/// More than half: what `osd_pool_default_min_size` gives when it is not set.
pub(super) const fn default_min_size(size: i64) -> i64 {
    size - size / 2
}

fn options(create: &PoolCreate) -> BTreeMap<String, OptionValue> {
    // Kept in 32 bits on this way, in 64 when it is set later.
    #[expect(clippy::cast_possible_truncation, reason = "as monitors keep it")]
    let ratio = create
        .target_size_ratio
        .map(|ratio| f64::from(ratio as f32));
    let integer = |number: i64| (number > 0).then_some(OptionValue::Integer(number));
    [
        ("pg_num_min", create.pg_num_min.and_then(integer)),
        ("pg_num_max", create.pg_num_max.and_then(integer)),
        (
            "target_size_bytes",
            create.target_size_bytes.and_then(integer),
        ),
        (
            "target_size_ratio",
            ratio.filter(|ratio| *ratio > 0.0).map(OptionValue::Double),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
    .collect()
}
