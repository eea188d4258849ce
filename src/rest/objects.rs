//! Which object a pool belongs to, and what a change would make of it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use super::attributes::{self, Asked, Fault, Ground, Set};
use super::merge;
use super::problem::{FieldProblem, Kind, Problem};
use super::shim::Shim;
use crate::api::v1alpha1::{
    ANNOTATION_PAUSED, API_VERSION, AdoptionPolicy, CephPool, Management, Verb,
};
use crate::api::validate;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::types::{Fsid, PoolIdentity, PoolName};
use crate::ceph::view::ClusterView;
use crate::controller::grants::permits;
use crate::controller::record;
use crate::request::ownership::{Mark, Owner, read_mark};
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
/// 409 when an object wishes for the pool that does not get it, or that has another one.
pub fn of_pool(
    shim: &Shim,
    view: &ClusterView,
    pool: &Pool,
) -> Result<Option<Arc<CephPool>>, Problem> {
    let (identity, fsid) = (view.map().identity(pool), view.fsid());
    let objects = of_cluster(shim, fsid)?;
    let stands: Vec<(Stands, &Arc<CephPool>)> = objects
        .iter()
        .map(|object| (stands(object, &identity, pool), object))
        .filter(|(stands, object)| *stands == Stands::Owner || is_granted(shim, fsid, object))
        .collect();
    let of = |wanted: &Stands| stands.iter().find(|(stands, _)| stands == wanted);
    if let Some((_, found)) = of(&Stands::Owner).or_else(|| of(&Stands::Adopter)) {
        return Ok(Some(Arc::clone(found)));
    }
    let problem = stands
        .iter()
        .find_map(|(stands, object)| stands.problem(object, pool));
    problem.map_or(Ok(None), Err)
}

/// How an object stands to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stands {
    /// It is its own, as far as the object knows.
    Owner,
    /// It has none yet, and takes this one over.
    Adopter,
    /// It wishes for the name, and takes nothing over.
    Wishes,
    /// It wishes for the name, and has this other pool.
    Other(PoolIdentity),
    /// It has nothing to do with it.
    Apart,
}

fn stands(object: &CephPool, identity: &PoolIdentity, pool: &Pool) -> Stands {
    // Anybody who can write an object can write its annotations: the pool has to say so, too.
    let known = record::in_status(object).or_else(|| {
        record::annotated(object).filter(|known| known != identity || is_marked(pool, object))
    });
    if known.as_ref() == Some(identity) {
        return Stands::Owner;
    }
    if object.wanted_pool_name() != pool.name.as_str()
        || object.spec.management != Management::Manage
    {
        return Stands::Apart;
    }
    match known {
        Some(other) => Stands::Other(other),
        None if object.spec.adoption_policy == AdoptionPolicy::IfUnowned => Stands::Adopter,
        None => Stands::Wishes,
    }
}

/// Whether the mark of a pool names an object, of whichever control plane.
fn is_marked(pool: &Pool, object: &CephPool) -> bool {
    let owner = Owner {
        instance: String::new(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    match read_mark(pool, &owner) {
        Mark::Missing => false,
        Mark::Ours { .. } => true,
        Mark::Foreign(mark) => mark.object == Some(owner.object()),
    }
}

/// Whether the connection of an object grants it anything of the name that it wishes for. What nobody grants gets nothing.
fn is_granted(shim: &Shim, fsid: &Fsid, object: &CephPool) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    let (Ok(memory), Ok(connections)) = (shim.memory(), shim.connections(fsid)) else {
        return true;
    };
    let Some(known) = memory.namespaces.get(&ObjectRef::new(&namespace)) else {
        // Its labels are on their way.
        return true;
    };
    let name = PoolName::new(object.wanted_pool_name());
    let its = &object.spec.connection_ref.name;
    let mut its = connections.iter().filter(|one| one.name == *its);
    its.any(|connection| {
        let may = |verb| permits(&connection.spec, &namespace, known.labels(), &name, verb).is_ok();
        [Verb::Create, Verb::Adopt, Verb::Update, Verb::Rename]
            .into_iter()
            .any(may)
    })
}

impl Stands {
    /// Why a call about a pool is not about this object, though it wishes for the pool's name.
    fn problem(&self, object: &CephPool, pool: &Pool) -> Option<Problem> {
        let (name, id) = (&pool.name, pool.id.0);
        let why = match self {
            Self::Owner | Self::Adopter | Self::Apart => return None,
            Self::Wishes => format!(
                "wishes for a pool of the name {name}, and this one is not its own; set its adoptionPolicy to \
                 IfUnowned to have it take over this one, or delete it"
            ),
            Self::Other(other) => format!(
                "wishes for the name {name} of pool {id}, and has the pool {} of cluster {}, created at {}; give it \
                 another poolName, or delete it with deletionPolicy: Retain",
                other.id.0, other.fsid, other.create_time
            ),
        };
        let target = Target::of(object);
        let (namespace, name) = (target.namespace, target.name);
        Some(Problem::conflict(format!(
            "CephPool {namespace}/{name} {why}"
        )))
    }
}

/// Looks whether an object that was read anew is the one that the caller may change, and still the pool's.
///
/// # Errors
///
/// 409 when it was made anew, or has another pool by now.
pub fn is_still(
    found: &CephPool,
    now: &CephPool,
    identity: &PoolIdentity,
    pool: &Pool,
) -> Result<(), Problem> {
    let target = Target::of(now);
    let (namespace, name) = (target.namespace, target.name);
    if found.uid() != now.uid() {
        return Err(Problem::conflict(format!(
            "CephPool {namespace}/{name} was deleted and made anew meanwhile; ask again"
        )));
    }
    let stands = stands(now, identity, pool);
    if let Some(problem) = stands.problem(now, pool) {
        return Err(problem);
    }
    if stands == Stands::Apart {
        let (pool, id) = (&pool.name, pool.id.0);
        return Err(Problem::conflict(format!(
            "CephPool {namespace}/{name} is not that of pool {id} ({pool}) any more; ask again"
        )));
    }
    Ok(())
}

/// The object that wishes for a pool of this name in a cluster.
pub fn wishing(shim: &Shim, fsid: &Fsid, pool: &str) -> Result<Option<Arc<CephPool>>, Problem> {
    let mut objects = of_cluster(shim, fsid)?.into_iter();
    Ok(objects.find(|object| object.wanted_pool_name() == pool && is_granted(shim, fsid, object)))
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

#[cfg(test)]
mod tests;
