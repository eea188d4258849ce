//! `/cluster/{fsid}/pool`: the pools of a cluster, read.

use axum::extract::State;
use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::answer::{json, not_modified, tagged};
use super::caller::Caller;
use super::input::InPath;
use super::problem::Problem;
use super::shapes::{self, Pool};
use super::shim::Shim;
use crate::ceph::types::PoolId;

/// The pools of a cluster
///
/// All pools of the OSD map, whether a CephPool manages them or not.
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}/pool",
    operation_id = "list_pools",
    tag = "pool",
    params(("fsid" = String, Path, description = "The cluster's fsid")),
    responses((status = 200, description = "The pools, by number", body = Vec<Pool>))
)]
pub async fn list(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
) -> Result<Response, Problem> {
    let view = shim.readable(&caller, &fsid).await?.view()?;
    let pools = view.map().pools.values();
    let shown: Vec<Pool> = pools.map(|pool| shapes::pool(&view, pool)).collect();
    Ok(json(StatusCode::OK, &shown))
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
