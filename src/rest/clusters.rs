//! `/cluster`: the Ceph clusters that a caller may see.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::access::Act;
use super::answer::json;
use super::caller::Caller;
use super::input::InPath;
use super::problem::Problem;
use super::shapes::{self, Cluster, ContactState, CrushRule};
use super::shim::{Connection, Shim};
use crate::ceph::types::Fsid;
use crate::monitor::Contact;

/// The clusters that the caller may see
///
/// Those of whose ClusterConnections he may `get` one.
#[utoipa::path(
    get,
    path = "/api/v2/cluster",
    operation_id = "list_clusters",
    tag = "cluster",
    responses((status = 200, description = "The clusters, by fsid", body = Vec<Cluster>))
)]
pub async fn list(State(shim): State<Shim>, caller: Caller) -> Result<Response, Problem> {
    let mut clusters: BTreeMap<Fsid, Connection> = BTreeMap::new();
    for (fsid, connection) in shim.all_connections()? {
        let act = Act::on_all("get", "clusterconnections").named(&connection.name);
        if !caller.may(&act).await? {
            continue;
        }
        // Of several connections to a cluster the first that has a view is shown, as when one is asked for.
        let known = clusters.get(&fsid);
        if known.is_none_or(|known| known.view().is_err() && connection.view().is_ok()) {
            clusters.insert(fsid, connection);
        }
    }
    let shown: Vec<Cluster> = clusters
        .iter()
        .map(|(fsid, connection)| cluster(fsid, connection))
        .collect();
    Ok(json(StatusCode::OK, &shown))
}

/// One cluster
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}",
    operation_id = "get_cluster",
    tag = "cluster",
    params(("fsid" = String, Path, description = "The cluster's fsid")),
    responses((status = 200, description = "The cluster", body = Cluster))
)]
pub async fn get(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
) -> Result<Response, Problem> {
    let connection = shim.readable(&caller, &fsid).await?;
    let shown = cluster(&Fsid::new(&fsid), &connection);
    Ok(json(StatusCode::OK, &shown))
}

/// The CRUSH rules of a cluster
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}/crush_rule",
    operation_id = "list_crush_rules",
    tag = "cluster",
    params(("fsid" = String, Path, description = "The cluster's fsid")),
    responses((status = 200, description = "The rules, by number", body = Vec<CrushRule>))
)]
pub async fn crush_rules(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
) -> Result<Response, Problem> {
    let view = shim.readable(&caller, &fsid).await?.view()?;
    Ok(json(StatusCode::OK, &shapes::crush_rules(&view)))
}

fn cluster(fsid: &Fsid, connection: &Connection) -> Cluster {
    let (contact, message, view) = match &connection.session {
        Err(why) => (ContactState::None, why.to_string(), None),
        Ok(session) => {
            let snapshot = session.monitor.snapshot();
            let (contact, message) = told(&snapshot.contact);
            (contact, message, snapshot.view)
        }
    };
    let session = connection.session.as_ref().ok();
    let map = view.as_ref().map(|view| view.map());
    Cluster {
        id: fsid.to_string(),
        name: connection.name.clone(),
        update_time: map.map(|map| shapes::text(map.modified)),
        release: session.and_then(|session| session.release.clone()),
        require_osd_release: map.map(|map| map.require_osd_release_name.clone()),
        epoch: map.map(|map| map.epoch.0),
        contact,
        contact_message: message,
    }
}

fn told(contact: &Contact) -> (ContactState, String) {
    match contact {
        Contact::Connecting => (
            ContactState::Connecting,
            "the monitors have not answered yet".to_owned(),
        ),
        Contact::Connected => (ContactState::Connected, String::new()),
        Contact::Lost { error, since } => (
            ContactState::Lost,
            format!(
                "the monitors have not answered for {} s: {error}",
                since.elapsed().as_secs()
            ),
        ),
        Contact::MapUnreadable { error } => (
            ContactState::Unusable,
            format!("the OSD map cannot be read: {error}"),
        ),
        Contact::WentBack { seen, had } => (
            ContactState::Unusable,
            format!("the epoch of the OSD map is {seen}, and was {had} before"),
        ),
        Contact::OtherCluster { seen, expected } => (
            ContactState::Unusable,
            format!("the cluster {seen} answers in place of {expected}"),
        ),
    }
}
