//! `/cluster/{fsid}/pool`: the pools of a cluster, read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{json, not_modified, tagged};
use super::caller::Caller;
use super::defaults::{self, OPTIONS, Pools};
use super::input::{InPath, InQuery};
use super::problem::Problem;
use super::shapes::{self, Pool};
use super::shim::{AWAY, Connection, Shim};
use crate::ceph::command::MonCommand;
use crate::ceph::types::PoolId;
use crate::controller::chain;

/// How long the monitors may take to tell an option.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether the pools are asked for, or the defaults.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// What a new pool would get, instead of the pools: `?defaults`, with any value or none.
    #[param(nullable = false)]
    pub defaults: Option<String>,
}

/// The pools of a cluster
///
/// All pools of the OSD map, whether a CephPool manages them or not.
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}/pool",
    operation_id = "list_pools",
    tag = "pool",
    params(("fsid" = String, Path, description = "The cluster's fsid"), Which),
    responses((status = 200, description = "The pools, by number; or the defaults", body = Pools))
)]
pub async fn list(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
    InQuery(which): InQuery<Which>,
) -> Result<Response, Problem> {
    let connection = shim.readable(&caller, &fsid).await?;
    let view = connection.view()?;
    let shown = if which.defaults.is_some() {
        // Callers that ask at once share one question.
        let fsid = view.fsid().clone();
        let values = shim.defaults().try_get_with(fsid, configured(&connection));
        let values = values.await.map_err(|problem| problem.as_ref().clone())?;
        Pools::Defaults(defaults::pool(&values, view.crush())?)
    } else {
        let pools = view.map().pools.values();
        Pools::All(pools.map(|pool| shapes::pool(&view, pool)).collect())
    };
    Ok(json(StatusCode::OK, &shown))
}

/// What the monitors are configured with: nothing that a map says, so they are asked.
async fn configured(connection: &Connection) -> Result<[String; 4], Problem> {
    let client = Arc::clone(&connection.open()?.client);
    let mut values = <[String; 4]>::default();
    for (value, key) in values.iter_mut().zip(OPTIONS) {
        let answer = client.send(&MonCommand::ConfigGet { key }, ANSWER).await;
        let why = match answer {
            Ok(reply) if reply.code == 0 => {
                *value = defaults::value(&reply.body);
                continue;
            }
            Ok(reply) => format!("{} ({})", reply.text, reply.code),
            Err(error) => chain(&error),
        };
        return Err(Problem::unavailable(
            format!(
                "the monitors of the ClusterConnection {} do not tell {key}: {why}",
                connection.name
            ),
            AWAY,
        ));
    }
    Ok(values)
}

/// One pool
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}/pool/{pool_id}",
    operation_id = "get_pool",
    tag = "pool",
    params(
        ("fsid" = String, Path, description = "The cluster's fsid"),
        ("pool_id" = i64, Path, description = "The pool's number"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag: 304 if it is still that of the pool"),
    ),
    responses(
        (
            status = 200, description = "The pool", body = Pool,
            headers(("ETag" = String, description = "The pool's last_change"))
        ),
        (status = 304, description = "The pool has not changed since the ETag of If-None-Match"),
    )
)]
pub async fn get(
    State(shim): State<Shim>,
    caller: Caller,
    InPath((fsid, id)): InPath<(String, i64)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = shim.readable(&caller, &fsid).await?.view()?;
    let pool = view.pool(PoolId(id)).ok_or_else(|| no_pool(&fsid, id))?;
    let etag = shapes::etag(pool);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let answer = if known.is_some_and(|tags| shapes::names(tags, &etag)) {
        not_modified()
    } else {
        json(StatusCode::OK, &shapes::pool(&view, pool))
    };
    Ok(tagged(answer, &etag))
}

/// The problem of a pool that is not there.
pub fn no_pool(fsid: &str, id: i64) -> Problem {
    Problem::not_found(format!("the cluster {fsid} has no pool {id}"))
}
