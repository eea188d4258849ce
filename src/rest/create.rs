//! `POST /cluster/{fsid}/pool`: a pool is made.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::access::Act;
use super::answer::RequestId;
use super::attributes::{Asked, Deed, Ground};
use super::bodies::NewPool;
use super::caller::Caller;
use super::change::{finish, with_confirmation};
use super::ids::Change;
use super::input::{InPath, Json};
use super::merge;
use super::naming;
use super::objects::{self, Target};
use super::problem::Problem;
use super::shim::{Connection, Shim};
use super::ticket::{About, Begun, Ticket};
use super::writes::{self, Created};
use crate::api::v1alpha1::{ANNOTATION_REQUEST_ID, Management, Operation};
use crate::ceph::types::{Fsid, PoolName};

/// Make a pool
///
/// Makes a CephPool. The request is complete when the OSD map shows the pool, configured, under its name.
#[utoipa::path(
    post,
    path = "/api/v2/cluster/{fsid}/pool",
    tag = "pool",
    params(
        ("fsid" = String, Path, description = "The cluster's fsid"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the caller's own: the same call with the \
            same key is one request, for 24 hours"),
    ),
    request_body = NewPool,
    responses(
        (status = 202, description = "It is noted; the request tells how far it is", body = RequestId),
        (status = 409, description = "The name is taken, or it is not clear by which connection", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key stands for another call", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    let asked = Asked::read(&body, Deed::Create).map_err(|faults| objects::faulty(&faults))?;
    let connection = connection(&shim, &caller, &fsid, asked.text("connection")).await?;
    let namespace = asked
        .text("namespace")
        .map(str::to_owned)
        .or_else(|| shim.settings().namespace.clone())
        .ok_or_else(|| {
            let detail = "it has to be given: the server has none for calls that name none";
            Problem::invalid_field("namespace", detail)
        })?;
    caller
        .must(&Act::on_all("create", "cephpools").within(&namespace))
        .await?;
    let path = format!("/api/v2/cluster/{fsid}/pool");
    let change = Change {
        method: "POST",
        path: &path,
        force: false,
        body: &body,
    };
    let ticket = match Ticket::begin(&shim, &caller, &headers, change).await? {
        Begun::Before(answer) => return Ok(*answer),
        Begun::New(ticket) => *ticket,
    };
    finish(Box::pin(make(shim, connection, namespace, asked, ticket))).await
}

/// The connection by which a pool is made.
async fn connection(
    shim: &Shim,
    caller: &Caller,
    fsid: &str,
    named: Option<&str>,
) -> Result<Connection, Problem> {
    let first = shim.readable(caller, fsid).await?;
    let mut all = shim.connections(&Fsid::new(fsid))?;
    if let Some(name) = named {
        all.retain(|connection| connection.name == name);
        let Some(found) = all.pop() else {
            let detail = format!("no ClusterConnection {name} leads to the cluster {fsid}");
            return Err(Problem::invalid_field("connection", detail));
        };
        caller
            .must(&Act::on_all("get", "clusterconnections").named(name))
            .await?;
        return Ok(found);
    }
    if all.len() > 1 {
        let which: Vec<&str> = all
            .iter()
            .map(|connection| connection.name.as_str())
            .collect();
        return Err(Problem::conflict(format!(
            "several ClusterConnections lead to the cluster {fsid}: say which, {}",
            which.join(" or ")
        ))
        .at("connection"));
    }
    Ok(first)
}

async fn make(
    shim: Shim,
    connection: Connection,
    namespace: String,
    asked: Asked,
    mut ticket: Ticket,
) -> Result<Response, Problem> {
    let pool = PoolName::new(asked.text("name").unwrap_or_default());
    let view = connection.usable_view()?;
    if connection.spec.management == Management::Observe {
        return Err(Problem::conflict(format!(
            "the ClusterConnection {} only observes, so nothing is made",
            connection.name
        )));
    }
    let wishing = objects::wishing(&shim, view.fsid(), pool.as_str())?;
    // A call of the same key may have made it, and been ended before it could say so.
    let is_new = wishing
        .as_ref()
        .is_none_or(|there| !asked_before(there, &ticket.id));
    if let Some(there) = view.pool_named(&pool).filter(|_| is_new) {
        return Err(
            Problem::conflict(format!("pool {pool} exists, with the id {}", there.id.0)).at("name"),
        );
    }
    if let Some(there) = wishing.filter(|_| is_new) {
        return Err(taken(&pool, &Target::of(&there)));
    }
    let ground = Ground {
        view: &view,
        pool: None,
        spec: None,
    };
    let mut sets = objects::sets(&asked, &ground)?;
    if asked.text("application").is_none() {
        let application = shim.settings().application.as_str();
        sets.push(super::attributes::Set {
            attribute: "application",
            field: "applications",
            value: json!([{"name": application}]),
        });
    }
    let spec = json!({"connectionRef": {"name": connection.name}});
    let spec = objects::changed(&spec, &sets);
    let names = free_names(&shim, &namespace, &connection.name, pool.as_str())?;
    let target = Target {
        namespace: namespace.clone(),
        name: names.first().cloned().unwrap_or_default(),
    };
    let object = objects::is_valid(&target, None, &spec)?;
    let mut about = About {
        desired: objects::desired(&target, None, &object, None, &sets),
        target,
        connection: connection.name.clone(),
        operation: Operation::Create,
    };
    let mut object = objects::manifest(&about.target, &spec);
    merge::place(
        &mut object,
        &["metadata", "annotations"],
        json!({ANNOTATION_REQUEST_ID: ticket.id}),
    );
    with_confirmation(&mut object, &asked);
    ticket.reserve(&about).await?;
    let created = writes::create(shim.client(), &namespace, &names, &object).await;
    match created {
        Ok(Created::Made(made)) => {
            about.target = Target::of(&made);
            Ok(ticket.record(&about, &made).await)
        }
        Ok(Created::There(there)) if asked_before(&there, &ticket.id) => {
            about.target = Target::of(&there);
            Ok(ticket.record(&about, &there).await)
        }
        Ok(Created::There(there)) => {
            ticket.give_up().await;
            Err(taken(&pool, &Target::of(&there)))
        }
        Err(problem) => {
            ticket.give_up_after(&problem).await;
            Err(problem)
        }
    }
}

/// Whether an object was made for this very request, by a call that was ended before it could say so.
fn asked_before(object: &crate::api::v1alpha1::CephPool, id: &str) -> bool {
    use kube::ResourceExt;
    let annotation = object.annotations().get(ANNOTATION_REQUEST_ID);
    annotation.map(String::as_str) == Some(id)
}

/// The names that the object of a pool can have, without those that are taken by another pool's.
pub(super) fn free_names(
    shim: &Shim,
    namespace: &str,
    connection: &str,
    pool: &str,
) -> Result<Vec<String>, Problem> {
    use kube::runtime::reflector::ObjectRef;
    let objects = shim.memory()?.pools;
    let mut names = naming::candidates(connection, pool);
    let taken = |name: &str| {
        let there = objects.get(&ObjectRef::new(name).within(namespace));
        there.is_some_and(|there| {
            !there.0.as_ref().is_ok_and(|there| {
                there.spec.connection_ref.name == connection && there.wanted_pool_name() == pool
            })
        })
    };
    if names.len() > 1 && names.first().is_some_and(|name| taken(name)) {
        names.remove(0);
    }
    Ok(names)
}

fn taken(pool: &PoolName, target: &Target) -> Problem {
    let detail = format!(
        "CephPool {}/{} wishes for a pool of the name {pool} already",
        target.namespace, target.name
    );
    Problem::conflict(detail).at("name")
}
