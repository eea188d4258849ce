//! What a status says: [`standings`] in conditions, everything else in [`parts`].

mod parts;
mod standings;
mod tokens;

use std::collections::BTreeMap;

use super::*;
use crate::api::conditions::{ConditionType, find, is_true};
use crate::api::v1alpha1::Verb;
use crate::api::v1alpha1::{
    ANNOTATION_CONFIRM, ANNOTATION_FLUX_REQUESTED_AT, ANNOTATION_POOL,
    ANNOTATION_RECONCILE_REQUESTED_AT, Operation, RequestState,
};
use crate::ceph::client::Reply;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::types::{Fsid, PoolName};
use crate::controller::record::{self, Fresh};
use crate::request::factory::Next;
use crate::request::ownership::Owner;
use crate::request::pool_factory::PoolRequestFactory;
use crate::request::preview::plan;
use crate::request::user_request::SentRound;
use crate::request::wish::{Asked, Wish};

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 250_000_000).expect("a time")
}

/// An object of this generation.
fn object(generation: i64) -> CephPool {
    let mut object = CephPool::default();
    object.metadata.name = Some("foopool".into());
    object.metadata.namespace = Some("team-a".into());
    object.metadata.generation = Some(generation);
    object
}

/// The same with a status that a standing gave it.
fn before(standing: Standing) -> CephPool {
    let mut object = object(1);
    object.status = Some(compute(&inputs(&object, standing)));
    object
}

fn inputs(object: &CephPool, standing: Standing) -> Inputs<'_> {
    Inputs {
        object,
        standing,
        record: None,
        pool_name: Some("foopool"),
        request: None,
        plan: None,
        rejections: &[],
        seen: None,
        refresh_observed: false,
        corrected: None,
        cancel_lifted: false,
        handled: None,
        now: at(0),
    }
}

/// A cluster, an object's wish in it, and how its pool is made.
struct Scene {
    cluster: SimulatedCluster,
    wish: Wish,
}

impl Scene {
    fn new() -> Self {
        let owner = Owner {
            instance: "c9a1".into(),
            namespace: "team-a".into(),
            name: "foopool".into(),
        };
        let record = Record {
            nonce: "ab12".into(),
            claim: "c1".into(),
            ..Record::default()
        };
        let applications = [("rbd".to_owned(), BTreeMap::new())].into();
        Self {
            cluster: SimulatedCluster::new(&Fsid::new("f"), 100),
            wish: Wish {
                applications,
                generation: 1,
                ..Wish::for_removal(owner, PoolName::new("foopool"), 1, record)
            },
        }
    }

    /// After so many rounds.
    fn after(rounds: usize) -> Self {
        let mut scene = Self::new();
        for _ in 0..rounds {
            let next = scene.plan().now;
            scene.wish = next.advance(scene.wish.clone());
            let commands: Vec<MonCommand> = next
                .round
                .steps
                .iter()
                .map(|step| step.command.clone())
                .collect();
            scene.cluster.round(&commands);
        }
        // The published pool is known from the next look on.
        scene.wish = scene.plan().now.advance(scene.wish.clone());
        scene
    }

    fn ask(&mut self, setting: &'static settings::Setting, value: i64) {
        self.wish.settings.push(Asked {
            setting,
            value: settings::Value::Integer(value),
        });
    }

    fn plan(&self) -> Plan {
        plan(&PoolRequestFactory, &self.wish, &self.cluster.view())
    }

    fn pool(&self) -> Pool {
        (**self.cluster.pool("foopool").expect("the pool")).clone()
    }

    fn request(&self, operation: Operation) -> UserRequest {
        UserRequest::new("id-1".into(), operation, 1, &self.wish, &self.plan(), at(0))
    }
}

fn rejection(step: &Step, code: i32) -> Rejection {
    let reply = Reply {
        code,
        text: format!("words for {code} "),
        body: Vec::new(),
    };
    Rejection::of(step, &reply, at(0)).expect("a rejection")
}

fn refusal(reason: Reason, field: Option<&str>) -> Refusal {
    Refusal::new(reason, field, "because; do that")
}
