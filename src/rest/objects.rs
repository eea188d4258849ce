//! Which object a pool belongs to, and what a change would make of it.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::attributes::{self, Asked, Fault, Ground, Set};
use super::merge;
use super::problem::{FieldProblem, Kind, Problem};
use super::shim::Shim;
use crate::api::v1alpha1::{ANNOTATION_PAUSED, API_VERSION, AdoptionPolicy, CephPool, Management};
use crate::api::validate;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::types::{Fsid, PoolIdentity};
use crate::ceph::view::ClusterView;
use crate::controller::record;
use crate::request::ownership::Owner;
use crate::request::user_request::values;
use crate::request::wish::{Record, Wish};

/// What an object is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// Of an object.
    pub fn of(object: &CephPool) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// For the audit log.
    pub fn audit(&self) -> String {
        format!("cephpools {}/{}", self.namespace, self.name)
    }
}

/// The objects in memory that use a connection to a cluster.
fn of_cluster(shim: &Shim, fsid: &Fsid) -> Result<Vec<Arc<CephPool>>, Problem> {
    let connections = shim.connections(fsid)?;
    let objects = shim.memory()?.pools.state();
    Ok(objects
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .filter(|object| {
            let its = &object.spec.connection_ref.name;
            connections.iter().any(|connection| connection.name == *its)
        })
        .map(|object| Arc::new(object.clone()))
        .collect())
}

/// The object that a pool belongs to, or that is about to take it over.
///
/// # Errors
///
/// 409 when an object wishes for the pool that does not get it.
pub fn of_pool(
    shim: &Shim,
    view: &ClusterView,
    pool: &Pool,
) -> Result<Option<Arc<CephPool>>, Problem> {
    let identity = view.map().identity(pool);
    let objects = of_cluster(shim, view.fsid())?;
    if let Some(owner) = objects.iter().find(|object| has(object, &identity)) {
        return Ok(Some(Arc::clone(owner)));
    }
    let wishes = objects
        .iter()
        .filter(|object| object.wanted_pool_name() == pool.name.as_str());
    let mut wishes = wishes.filter(|object| object.spec.management == Management::Manage);
    let Some(first) = wishes.next() else {
        return Ok(None);
    };
    if first.spec.adoption_policy == AdoptionPolicy::IfUnowned {
        return Ok(Some(Arc::clone(first)));
    }
    Err(Problem::conflict(format!(
        "CephPool {}/{} wishes for a pool of the name {}, and this one is not its own; set its adoptionPolicy to \
         IfUnowned to have it take over this one, or delete it",
        first.namespace().unwrap_or_default(),
        first.name_any(),
        pool.name
    )))
}

/// Whether a pool is an object's, as far as the object knows.
fn has(object: &CephPool, identity: &PoolIdentity) -> bool {
    let known = record::in_status(object).or_else(|| record::annotated(object));
    known.as_ref() == Some(identity)
}

/// The object that wishes for a pool of this name in a cluster.
pub fn wishing(shim: &Shim, fsid: &Fsid, pool: &str) -> Result<Option<Arc<CephPool>>, Problem> {
    let mut objects = of_cluster(shim, fsid)?.into_iter();
    Ok(objects.find(|object| object.wanted_pool_name() == pool))
}

/// What keeps an object from being changed by a call.
///
/// # Errors
///
/// 409, since the change would be noted and not made.
pub fn can_be_changed(object: &CephPool, connection: Management) -> Result<(), Problem> {
    let target = Target::of(object);
    let paused = object
        .annotations()
        .get(ANNOTATION_PAUSED)
        .map(String::as_str)
        == Some("true");
    let why = if object.metadata.deletion_timestamp.is_some() {
        "is being deleted"
    } else if paused {
        "is paused by its annotation poolwright.dev/paused"
    } else if object.spec.management == Management::Observe {
        "only observes its pool (spec.management is Observe)"
    } else if connection == Management::Observe {
        "has a ClusterConnection that only observes"
    } else {
        return Ok(());
    };
    Err(Problem::conflict(format!(
        "CephPool {}/{} {why}, so nothing is changed",
        target.namespace, target.name
    )))
}

/// An object as a manifest has it.
pub fn manifest(target: &Target, spec: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "CephPool",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": spec,
    })
}

/// The spec of an object after a change.
pub fn changed(spec: &Value, sets: &[Set]) -> Value {
    let mut spec = spec.clone();
    for set in sets {
        merge::put(&mut spec, set);
    }
    spec
}

/// Looks whether an object can be so, and could become so.
///
/// # Errors
///
/// 400, by the names of the attributes.
pub fn is_valid(
    target: &Target,
    before: Option<&Value>,
    spec: &Value,
) -> Result<CephPool, Problem> {
    let object = manifest(target, spec);
    let checked = match before {
        Some(before) => validate::validate_update(&manifest(target, before), &object),
        None => validate::validate(&object),
    };
    checked
        .and_then(|_| validate::decode_pool(&object))
        .map_err(|problems| {
            let errors = problems.into_iter().map(|problem| FieldProblem {
                field: attributes::attribute_of(&problem.field)
                    .map_or(problem.field, str::to_owned),
                detail: problem.message,
            });
            Problem::invalid_fields(errors.collect())
        })
}

/// What a change of a spec asks for, by field, in the words of plans. Where the spec stays as it is, what was asked for.
pub fn desired(
    target: &Target,
    before: Option<&CephPool>,
    after: &CephPool,
    pool: Option<&Pool>,
    sets: &[Set],
) -> std::collections::BTreeMap<String, String> {
    let wished = |object: &CephPool| {
        let owner = Owner {
            instance: String::new(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
        };
        let wish = Wish::read(
            owner,
            &object.spec,
            0,
            Management::Manage,
            Record::default(),
        );
        wish.map(|wish| values(&wish, pool)).unwrap_or_default()
    };
    let (before, mut after) = (before.map(wished).unwrap_or_default(), wished(after));
    let same = before == after;
    after.retain(|field, value| {
        if same {
            sets.iter().any(|set| set.field == field)
        } else {
            before.get(field) != Some(value)
        }
    });
    after
}

/// The fields of the spec that a body asks for.
///
/// # Errors
///
/// 400, by the names of the attributes.
pub fn sets(asked: &Asked, ground: &Ground<'_>) -> Result<Vec<Set>, Problem> {
    let mut sets = attributes::fields(asked, ground).map_err(|faults| faulty(&faults))?;
    if let Some(application) = asked.text("application") {
        sets.push(Set {
            attribute: "application",
            field: "applications",
            value: json!([{"name": application}]),
        });
    }
    Ok(sets)
}

/// The problem of a body with faults.
pub fn faulty(faults: &[Fault]) -> Problem {
    if let [Fault::Empty] = faults {
        return Problem::invalid(Fault::Empty.to_string());
    }
    let errors = faults.iter().map(|fault| FieldProblem {
        field: fault.field().unwrap_or_default().to_owned(),
        detail: fault.to_string(),
    });
    Problem::invalid_fields(errors.collect())
}

/// What an object that is to take over a pool says, before anything is changed.
pub fn adopting(connection: &str, pool: &Pool) -> Value {
    let mut spec = json!({
        "connectionRef": {"name": connection}, "poolName": pool.name.as_str(), "adoptionPolicy": "IfUnowned",
    });
    match pool.kind {
        PoolKind::Replicated => {
            merge::place(&mut spec, &["type"], json!("Replicated"));
            merge::place(&mut spec, &["replicated"], json!({}));
        }
        PoolKind::Erasure => {
            merge::place(&mut spec, &["type"], json!("ErasureCoded"));
            merge::place(
                &mut spec,
                &["erasureCoded"],
                json!({"profile": pool.erasure_code_profile}),
            );
        }
    }
    spec
}

/// The problem of fields that somebody else manages.
pub fn owned(owned: &[merge::Owned]) -> Problem {
    let told: Vec<String> = owned
        .iter()
        .map(|one| format!("{} is managed by {}", name_of(&one.field), one.manager))
        .collect();
    let mut problem = Problem::new(
        Kind::FieldOwned,
        format!(
            "{}: change it there, or take it over with ?force=true, which takes the right to `force` cephpools",
            told.join("; ")
        ),
    );
    if let Some(first) = owned.first() {
        problem = problem
            .at(&name_of(&first.field))
            .managed_by(&first.manager);
    }
    if owned.len() > 1 {
        problem.errors = owned.iter().map(as_field).collect();
    }
    problem
}

fn as_field(owned: &merge::Owned) -> FieldProblem {
    FieldProblem {
        field: name_of(&owned.field),
        detail: format!("managed by {}", owned.manager),
    }
}

/// The attribute that a field is, else the field.
fn name_of(field: &str) -> String {
    attributes::attribute_of(field)
        .map_or_else(|| field.trim_start_matches('.').to_owned(), str::to_owned)
}
