//! The plan of each object, as the controller would make it now.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::manifests::Given;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{ANNOTATION_PAUSED, CephPool, Management};
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::controller::record::{self, Fresh};
use crate::request::ownership::Owner;
use crate::request::preview::{self, MAX_ROUNDS, Plan};
use crate::request::refusal::Refusal;
use crate::request::registry::{ObjectType, factory};
use crate::request::wish::{Record, Wish};

/// Stands for the words that the controller draws at random.
pub(super) const WORD: &str = "00000000";

/// What there is to do for one object.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// The pool's name.
    pub(super) pool: PoolName,
    /// Why the controller would send none of it, where that is so.
    pub(super) held: Option<&'static str>,
    /// What would be sent.
    pub(super) plan: Plan,
    /// What is not done, and why.
    pub(super) refusals: Vec<Refusal>,
    /// Whether it makes or takes a pool, and when its object was made: of two that want one pool the older has it.
    claim: Option<(bool, Timestamp)>,
}

impl Planned {
    /// Whether nothing is to be done.
    pub(super) fn in_sync(&self) -> bool {
        self.refusals.is_empty() && self.plan.in_sync()
    }
}

/// Plans for every object, in the order in which they stand.
pub(super) fn all(pools: &[Given], instance: &str, view: &ClusterView) -> Vec<Planned> {
    let mut plans: Vec<Planned> = pools
        .iter()
        .map(|given| one(given, instance, view))
        .collect();
    settle_conflicts(&mut plans);
    plans
}

fn one(given: &Given, instance: &str, view: &ClusterView) -> Planned {
    let object = &given.object;
    let owner = Owner {
        instance: instance.to_owned(),
        namespace: given.namespace.clone(),
        name: given.name.clone(),
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let read = Wish::read(
        owner,
        &object.spec,
        generation,
        Management::Manage,
        recorded(object),
    );
    let (plan, refusals) = match &read {
        Ok(wish) => planned(wish, view),
        Err(refusals) => (Plan::default(), refusals.clone()),
    };
    let observed = object.spec.management == Management::Observe;
    let age = object
        .creation_timestamp()
        .map_or(Timestamp::MAX, |time| time.0);
    Planned {
        namespace: given.namespace.clone(),
        name: given.name.clone(),
        pool: PoolName::new(object.wanted_pool_name()),
        held: held(object),
        claim: (read.is_ok() && !observed).then(|| (plan.now.found.is_none(), age)),
        plan,
        refusals,
    }
}

/// What is recorded in the object, with fixed words where nothing is.
fn recorded(object: &CephPool) -> Record {
    let fresh = Fresh {
        nonce: WORD.to_owned(),
        claim: WORD.to_owned(),
    };
    record::from_object(object, fresh)
}

fn planned(wish: &Wish, view: &ClusterView) -> (Plan, Vec<Refusal>) {
    let plan = preview::plan(factory(ObjectType::Pool), wish, view);
    let mut refusals = plan.now.refusals.clone();
    if !plan.converges {
        refusals.push(Refusal::new(
            Reason::NotConverging,
            None,
            format!(
                "after {MAX_ROUNDS} rounds there is still something to do; please report this plan"
            ),
        ));
    }
    (plan, refusals)
}

/// Why the controller would send nothing.
fn held(object: &CephPool) -> Option<&'static str> {
    if object.spec.management == Management::Observe {
        Some("management is Observe")
    } else if object
        .annotations()
        .get(ANNOTATION_PAUSED)
        .map(String::as_str)
        == Some("true")
    {
        Some("it is paused")
    } else {
        None
    }
}

/// Of several objects that want one pool, the one whose pool it is has it, else the oldest, else the first.
fn settle_conflicts(plans: &mut [Planned]) {
    let mut wanted: BTreeMap<PoolName, Vec<(bool, Timestamp, usize)>> = BTreeMap::new();
    for (index, planned) in plans.iter().enumerate() {
        if let Some((claims, age)) = planned.claim {
            let claims = (claims, age, index);
            wanted.entry(planned.pool.clone()).or_default().push(claims);
        }
    }
    for mut rivals in wanted.into_values() {
        rivals.sort_unstable();
        let mut rivals = rivals.into_iter().map(|(_, _, index)| index);
        let owner = rivals.next().and_then(|index| plans.get(index));
        let Some(owner) = owner.map(|owner| format!("{}/{}", owner.namespace, owner.name)) else {
            continue;
        };
        for index in rivals {
            if let Some(loser) = plans.get_mut(index)
                && loser.refusals.is_empty()
            {
                loser.plan = Plan::default();
                loser.refusals.push(Refusal::new(
                    Reason::Conflict,
                    Some("poolName"),
                    format!(
                        "CephPool {owner} claims pool {} too; delete one of the two, or give one another poolName",
                        loser.pool
                    ),
                ));
            }
        }
    }
}
