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
use crate::api::v1alpha1::{CephRequest, RequestState};
use crate::ceph::types::Fsid;
use crate::controller::pools::GuardedPool;

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
    let may = async |verb, request: &CephRequest| {
        let namespace = request.namespace().unwrap_or_default();
        let act = Act::on_all(verb, "cephrequests");
        caller.may(&act.within(&namespace).named(&id)).await
    };
    let mut seen = Vec::new();
    for found in shim.requests().look_up(&id).await? {
        if may("get", &found).await? {
            seen.push(found);
        }
    }
    let mut fit = Vec::new();
    for found in &seen {
        if may(verb, found).await? {
            fit.push(Arc::clone(found));
        }
    }
    let refused = |request: &CephRequest| {
        let namespace = request.namespace().unwrap_or_default();
        let act = Act::on_all(verb, "cephrequests");
        act.within(&namespace).named(&id).refused(caller.name())
    };
    match (fit.pop(), seen.first()) {
        (Some(found), _) if fit.is_empty() => Ok(found),
        (Some(_), _) => Err(several(&id, &seen)),
        (None, Some(seen)) => Err(refused(seen)),
        (None, None) => Err(none()),
    }
}

/// No ID is given twice; but whoever may create CephRequests in his namespace gives them any name, and which of several is
/// meant is not for us to guess.
fn several(id: &str, requests: &[Arc<CephRequest>]) -> Problem {
    let namespaces: Vec<String> = requests
        .iter()
        .filter_map(|request| request.namespace())
        .collect();
    Problem::conflict(format!(
        "there are CephRequests of the name {id} in several namespaces ({}): one of them was copied, and has to be deleted",
        namespaces.join(", ")
    ))
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
    let object = object.as_ref().and_then(|object| object.0.as_ref().ok());
    let mut told = shapes::user_request(&live::with(request, object));
    if let Some(words) = live::waits(request, object) {
        told.status = words;
    }
    told
}

/// The object of a request that has not ended, as it is in memory.
fn object_of(shim: &Shim, request: &CephRequest) -> Option<Arc<GuardedPool>> {
    let state = request.status.as_ref().map(|status| status.state);
    if state == Some(RequestState::Complete) {
        return None;
    }
    let namespace = request.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&request.spec.pool_ref.name).within(&namespace);
    shim.memory().ok()?.pools.get(&reference)
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
    let namespaces = shim.requests().namespaces(&fits)?;
    let act = Act::on_all("get", "cephrequests");
    let visible = caller.where_may(&act, namespaces).await?;
    let visible: BTreeSet<String> = visible.into_iter().collect();
    let mut found = shim
        .requests()
        .those(|namespace, request| visible.contains(namespace) && fits(request))?;
    if let Some(state) = state {
        found.retain(|request| {
            let object = object_of(shim, request);
            let object = object.as_ref().and_then(|object| object.0.as_ref().ok());
            shapes::state_name(live::state(request, object)) == state
        });
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response};
    use k8s_openapi::api::authentication::v1::UserInfo;
    use kube::Client;
    use kube::client::Body as KubeBody;
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;
    use tower::service_fn;

    use super::super::caller::Access;
    use super::super::memory::Requests;
    use super::super::shim::Settings;
    use super::*;
    use crate::metrics::Metrics;

    const ID: &str = "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd";

    /// A shim and a caller, with an API server that has a request in each of these namespaces, and counts how often it is
    /// asked for them. The caller may do in a namespace what stands in its name, such as `get` in `get-patch`.
    fn shim(namespaces: &[&str]) -> (Shim, Caller, Arc<AtomicUsize>) {
        let item = |namespace: &&str| {
            json!({
                "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest",
                "metadata": {"name": ID, "namespace": namespace},
                "spec": {"poolRef": {"name": "foo", "uid": "u", "generation": 3}, "connection": "main",
                    "operation": "Update", "changedFields": ["size"]},
            })
        };
        let items: Vec<Value> = namespaces.iter().map(item).collect();
        let lists = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lists);
        let service = service_fn(move |request: Request<KubeBody>| {
            let (items, count) = (items.clone(), Arc::clone(&count));
            async move {
                let answer = if request.method() == "GET" {
                    count.fetch_add(1, Ordering::SeqCst);
                    json!({
                        "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequestList", "metadata": {},
                        "items": items,
                    })
                } else {
                    let body = to_bytes(Body::new(request.into_body()), usize::MAX).await?;
                    let mut review: Value = serde_json::from_slice(&body)?;
                    let asked = &review["spec"]["resourceAttributes"];
                    let (verb, namespace) = (asked["verb"].as_str(), asked["namespace"].as_str());
                    let allowed = namespace
                        .unwrap_or_default()
                        .contains(verb.expect("a verb"));
                    review["status"] = json!({"allowed": allowed});
                    review
                };
                Ok::<_, tower::BoxError>(Response::new(Body::from(answer.to_string())))
            }
        });
        let client = Client::new(service, "default");
        let (_, memory) = watch::channel(None);
        let settings = Settings {
            namespace: None,
            application: "rbd".to_owned(),
            scheme: "https",
            calls_per_caller: 2,
            metrics: Metrics::default(),
            memory,
        };
        let stop = CancellationToken::new();
        let (requests, _) = Requests::watch(client.clone(), stop.clone());
        let user = UserInfo {
            username: Some("anna".to_owned()),
            ..UserInfo::default()
        };
        let caller = Caller::new(user, Access::new(client.clone()));
        (Shim::new(settings, client, requests, stop), caller, lists)
    }

    /// Of several requests of an ID the one that the caller may see, and may do this to; where there is no telling, none.
    #[tokio::test]
    async fn of_several() {
        for (namespaces, verb, expected) in [
            (&["a", "get-b"][..], "get", Ok("get-b")),
            (&["get-a", "get-patch-b"], "patch", Ok("get-patch-b")),
            (&["a", "patch-b"], "patch", Err(404)),
            (&["a", "get-b"], "patch", Err(403)),
            (&["get-a", "get-b", "c"], "get", Err(409)),
            (&[], "get", Err(404)),
        ] {
            let (shim, caller, _) = shim(namespaces);
            let found = visible(&shim, &caller, verb, ID).await;
            if let Err(problem) = &found {
                assert!(!problem.detail.contains(", c"), "{problem:?}");
            }
            let found = found.map(|request| request.namespace().unwrap_or_default());
            let found = found.map_err(|problem| problem.status);
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{verb} of {namespaces:?}"
            );
        }
    }

    /// One that there is not is asked for once, however many ask at once or soon after.
    #[tokio::test]
    async fn of_none() {
        let (shim, caller, lists) = shim(&[]);
        let asking = (0..5).map(|_| visible(&shim, &caller, "get", ID));
        for found in futures::future::join_all(asking).await {
            assert_eq!(found.expect_err("none").status, 404);
        }
        assert_eq!(lists.load(Ordering::SeqCst), 1);
        let (shim, caller, lists) = self::shim(&["get-a"]);
        for _ in 0..2 {
            visible(&shim, &caller, "get", ID)
                .await
                .expect("it is there");
        }
        assert_eq!(lists.load(Ordering::SeqCst), 2, "it may have changed");
    }
}
