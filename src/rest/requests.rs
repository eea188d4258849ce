//! `/request`: what was asked for, and how far it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::access::Act;
use super::answer::json;
use super::caller::Caller;
use super::input::{InPath, InQuery};
use super::live;
use super::paging::{self, Page, Paged};
use super::problem::Problem;
use super::shapes::{self, StateName, UserRequest};
use super::shim::Shim;
use crate::api::duration;
use crate::api::v1alpha1::{CephPool, CephRequest, RequestState};
use crate::ceph::types::Fsid;

/// The longest that an answer is held.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which requests are asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those in this state: new, submitted or complete.
    #[param(value_type = Option<StateName>, inline)]
    pub state: Option<String>,
    /// The number of the page, from 1.
    #[param(value_type = Option<u64>, minimum = 1)]
    pub page: Option<String>,
    /// How many there are on a page: 10 where it is not said.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    pub page_size: Option<String>,
}

/// How long an answer is held.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// Answer only when the request is complete, or after so long: such as 30s, at most 60s.
    #[param(pattern = "^([0-9]|[1-5][0-9]|60)s$", example = "30s")]
    pub wait: Option<String>,
}

impl Wait {
    /// How long, if it is written as it has to be.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub fn value(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.wait else {
            return Ok(Duration::ZERO);
        };
        duration::parse(text)
            .filter(|wait| *wait <= LONGEST_WAIT && text.len() <= "60s".len())
            .ok_or_else(|| {
                let most = LONGEST_WAIT.as_secs();
                Problem::invalid_field(
                    "wait",
                    format!("{text:?} is no duration such as 30s, or longer than {most}s"),
                )
            })
    }
}

/// The requests that the caller may see
///
/// Those in namespaces whose CephRequests he may `get`, the newest first.
#[utoipa::path(
    get,
    path = "/api/v2/request",
    operation_id = "list_requests",
    tag = "request",
    params(Filter),
    responses((status = 200, description = "A page of requests", body = Paged<UserRequest>))
)]
pub async fn list(
    State(shim): State<Shim>,
    caller: Caller,
    InQuery(filter): InQuery<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address(&headers, &shim, "/api/v2/request");
    listed(&shim, &caller, &filter, &address, |_| true).await
}

/// The requests on a cluster that the caller may see
#[utoipa::path(
    get,
    path = "/api/v2/cluster/{fsid}/request",
    operation_id = "list_cluster_requests",
    tag = "request",
    params(("fsid" = String, Path, description = "The cluster's fsid"), Filter),
    responses((status = 200, description = "A page of requests", body = Paged<UserRequest>))
)]
pub async fn list_of_cluster(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(fsid): InPath<String>,
    InQuery(filter): InQuery<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    shim.readable(&caller, &fsid).await?;
    let fsid = Fsid::new(&fsid);
    let connections: BTreeSet<String> = shim
        .connections(&fsid)?
        .into_iter()
        .map(|connection| connection.name)
        .collect();
    let address = address(&headers, &shim, &format!("/api/v2/cluster/{fsid}/request"));
    let of_cluster = |request: &CephRequest| connections.contains(&request.spec.connection);
    listed(&shim, &caller, &filter, &address, of_cluster).await
}

/// One request
///
/// With `wait` the answer is held until the request is complete.
#[utoipa::path(
    get,
    path = "/api/v2/request/{request_id}",
    operation_id = "get_request",
    tag = "request",
    params(("request_id" = String, Path, description = "The request's ID"), Wait),
    responses((status = 200, description = "The request", body = UserRequest))
)]
pub async fn get(
    State(shim): State<Shim>,
    caller: Caller,
    InPath(id): InPath<String>,
    InQuery(wait): InQuery<Wait>,
) -> Result<Response, Problem> {
    let until = Instant::now() + wait.value()?;
    let found = visible(&shim, &caller, "get", &id).await?;
    let request = completed(&shim, found, until).await;
    Ok(json(StatusCode::OK, &told(&shim, &request)))
}

/// A request that a caller may do something to.
///
/// # Errors
///
/// 404 where there is none. Whoever may not see it is told the same, unless he may see the requests of its namespace: an
/// ID alone tells nothing.
pub async fn visible(
    shim: &Shim,
    caller: &Caller,
    verb: &'static str,
    id: &str,
) -> Result<Arc<CephRequest>, Problem> {
    let none = || Problem::not_found(format!("there is no request {id}, or it may not be seen"));
    // Every request's name is one; nothing else is worth a question to the API server.
    if uuid::Uuid::try_parse(id).is_err() {
        return Err(none());
    }
    let id = id.to_ascii_lowercase();
    for found in shim.requests().find(&id).await? {
        let namespace = found.namespace().unwrap_or_default();
        let act = |verb| {
            let act = Act::on_all(verb, "cephrequests");
            act.within(&namespace).named(&id)
        };
        if caller.may(&act("get")).await? {
            caller.must(&act(verb)).await?;
            return Ok(found);
        }
    }
    Err(none())
}

/// Waits until a request is complete, or until then, or until the program ends; as it is then.
pub async fn completed(shim: &Shim, found: Arc<CephRequest>, until: Instant) -> Arc<CephRequest> {
    let mut news = shim.requests().news();
    let mut newest = found;
    loop {
        news.mark_unchanged();
        if let Some(now) = shim.requests().now(&newest) {
            newest = now;
        }
        if shapes::state(&newest) == StateName::Complete {
            return newest;
        }
        let told = tokio::select! {
            () = shim.shutdown().cancelled() => return newest,
            told = timeout_at(until, news.changed()) => told,
        };
        if !matches!(told, Ok(Ok(()))) {
            return newest;
        }
    }
}

/// A request in the words of the API, with what its object says of it.
pub fn told(shim: &Shim, request: &CephRequest) -> UserRequest {
    let object = object_of(shim, request);
    let mut told = shapes::user_request(&live::with(request, object.as_ref()));
    if let Some(words) = live::waits(request, object.as_ref()) {
        told.status = words;
    }
    told
}

/// The object of a request that has not ended, as it is in memory.
fn object_of(shim: &Shim, request: &CephRequest) -> Option<CephPool> {
    let state = request.status.as_ref().map(|status| status.state);
    if state == Some(RequestState::Complete) {
        return None;
    }
    let namespace = request.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&request.spec.pool_ref.name).within(&namespace);
    let found = shim.memory().ok()?.pools.get(&reference)?;
    found.0.as_ref().ok().cloned()
}

async fn listed(
    shim: &Shim,
    caller: &Caller,
    filter: &Filter,
    address: &str,
    fits: impl Fn(&CephRequest) -> bool,
) -> Result<Response, Problem> {
    let state = filter.state.as_deref().map(|name| {
        StateName::named(name).ok_or_else(|| {
            let detail = format!("{name:?} is none of new, submitted and complete");
            Problem::invalid_field("state", detail)
        })
    });
    let state = state.transpose()?;
    let mut found = shim.requests().all()?;
    found.retain(|request| {
        let live = || live::with(request, object_of(shim, request).as_ref());
        fits(request) && state.is_none_or(|state| shapes::state(&live()) == state)
    });
    let namespaces: BTreeSet<String> = found
        .iter()
        .filter_map(|request| request.namespace())
        .collect();
    let act = Act::on_all("get", "cephrequests");
    let visible = caller.where_may(&act, namespaces).await?;
    let visible: BTreeSet<String> = visible.into_iter().collect();
    found.retain(|request| {
        let namespace = request.metadata.namespace.as_ref();
        namespace.is_some_and(|namespace| visible.contains(namespace))
    });
    // Of those of one second the order is theirs by name, so that pages do not overlap.
    found.sort_by_cached_key(|request| {
        let name = request.metadata.name.clone();
        (std::cmp::Reverse(shapes::requested_at(request)), name)
    });
    let page = Page {
        page: filter.page.clone(),
        page_size: filter.page_size.clone(),
    };
    let address = match &filter.state {
        Some(state) => format!("{address}?state={state}"),
        None => address.to_owned(),
    };
    let page: Paged<UserRequest> =
        paging::page(found, &page, &address, |request| told(shim, &request))?;
    Ok(json(StatusCode::OK, &page))
}

/// The address of a list, as the caller has it.
fn address(headers: &HeaderMap, shim: &Shim, path: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) => format!("{}://{host}{path}", shim.settings().scheme),
        None => path.to_owned(),
    }
}
