//! `PATCH /cluster/{fsid}/pool/{id}`: a pool is changed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use axum::response::Response;
use kube::Api;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::access::Act;
use super::answer::{RequestId, Touched, not_modified};
use super::attributes::{Asked, Deed, Ground, Set, shows};
use super::bodies::PoolChange;
use super::caller::Caller;
use super::create::free_names;
use super::ids;
use super::input::{InPath, InQuery, Json};
use super::merge;
use super::objects::{self, Target};
use super::pools::no_pool;
use super::problem::Problem;
use super::shapes;
use super::shim::{Connection, Shim};
use super::ticket::{About, Begun, Ticket};
use super::writes::{self, Change, Created};
use crate::api::v1alpha1::{
    ANNOTATION_CONFIRM, ANNOTATION_REQUEST_ID, CephPool, Management, Operation,
};
use crate::ceph::osd_map::Pool;
use crate::ceph::types::{Fsid, PoolId, PoolIdentity};
use crate::ceph::view::ClusterView;

/// Whether to take over fields that somebody else manages
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Force {
    /// Take over fields that somebody else manages. That takes the right to `force` cephpools.
    #[param(value_type = Option<bool>)]
    pub force: Option<String>,
}

impl Force {
    fn value(&self) -> Result<bool, Problem> {
        match self.force.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::invalid_field(
                "force",
                format!("{other:?} is neither true nor false"),
            )),
        }
    }
}

/// Change a pool
///
/// Applies what is given to the pool's CephPool, beside all that was given before. A pool that has none gets one that
/// takes it over and names nothing else. 304 when the CephPool asks for it and the OSD map shows it already.
#[utoipa::path(
    patch,
    path = "/api/v2/cluster/{fsid}/pool/{pool_id}",
    tag = "pool",
    params(
        ("fsid" = String, Path, description = "The cluster's fsid"),
        ("pool_id" = i64, Path, description = "The pool's number"),
        Force,
        ("If-Match" = Option<String>, Header, description = "Change it only while its ETag is this"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the caller's own: the same call with the \
            same key is one request, for 24 hours"),
    ),
    request_body = PoolChange,
    responses(
        (status = 202, description = "It is noted; the request tells how far it is", body = RequestId),
        (status = 304, description = "It is so already"),
        (status = 409, description = "The name is taken, the field is somebody else's, or the object cannot be changed",
            body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The pool has changed since", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key stands for another call", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn patch(
    State(shim): State<Shim>,
    caller: Caller,
    InPath((fsid, id)): InPath<(String, i64)>,
    InQuery(query): InQuery<Force>,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    let asked = Asked::read(&body, Deed::Change).map_err(|faults| objects::faulty(&faults))?;
    let force = query.value()?;
    let path = format!("/api/v2/cluster/{fsid}/pool/{id}");
    let change = ids::Change {
        method: "PATCH",
        path: &path,
        force,
        body: &body,
    };
    let ticket = match Ticket::begin(&shim, &caller, &headers, change).await? {
        Begun::Before(answer) => return Ok(*answer),
        Begun::New(ticket) => *ticket,
    };
    // After that: the same call with the same key has the same answer, though the pool has changed by it, or is gone.
    let place = Place::find(&shim, &caller, &fsid, id, &headers).await?;
    let call = Call {
        shim,
        caller,
        place,
        asked,
        force,
    };
    finish(Box::pin(call.change(ticket))).await
}

/// Does it to its end, also when the caller goes away meanwhile.
pub(super) async fn finish(
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    match tokio::spawn(work).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "a change was not worked on to its end");
            Err(Problem::unavailable(
                "the server is ending",
                super::shim::AWAY,
            ))
        }
    }
}

/// A pool that a call is about.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) connection: Connection,
    pub(super) view: Arc<ClusterView>,
    pub(super) pool: Arc<Pool>,
}

impl Place {
    /// Finds it, if the caller may see it and it is what he takes it for.
    pub(super) async fn find(
        shim: &Shim,
        caller: &Caller,
        fsid: &str,
        id: i64,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let connection = shim.readable(caller, fsid).await?;
        let view = connection.usable_view()?;
        let pool = Arc::clone(view.pool(PoolId(id)).ok_or_else(|| no_pool(fsid, id))?);
        let tags = headers
            .get(IF_MATCH)
            .map(|tags| tags.to_str().unwrap_or_default());
        let etag = shapes::etag(&pool);
        if tags.is_some_and(|tags| !shapes::names(tags, &etag)) {
            let detail = format!("the pool has changed since: its ETag is {etag} now");
            return Err(Problem::new(
                super::problem::Kind::PreconditionFailed,
                detail,
            ));
        }
        Ok(Self {
            connection,
            view,
            pool,
        })
    }

    /// Which pool it is, whatever becomes of its name.
    pub(super) fn identity(&self) -> PoolIdentity {
        self.view.map().identity(&self.pool)
    }

    /// Looks whether an object that was read anew is the one that was found for the pool.
    pub(super) fn is_still(&self, found: &CephPool, now: &CephPool) -> Result<(), Problem> {
        objects::is_still(found, now, &self.identity(), &self.pool)
    }

    /// The connection of an object, which need not be the one that the caller sees the pool by.
    pub(super) fn management(&self, shim: &Shim, object: &CephPool) -> Result<Management, Problem> {
        let all = shim.connections(self.view.fsid())?;
        let its = all
            .into_iter()
            .find(|connection| connection.name == object.spec.connection_ref.name);
        Ok(its.map_or(self.connection.spec.management, |its| its.spec.management))
    }

    /// The namespace and the names of an object that takes the pool over.
    pub(super) fn adopter(&self, shim: &Shim) -> Result<(String, Vec<String>), Problem> {
        let namespace = shim.settings().namespace.clone().ok_or_else(|| {
            Problem::conflict(
                "no CephPool manages the pool, and the server has no namespace to make one in; make one with \
                 adoptionPolicy: IfUnowned",
            )
        })?;
        let pool = self.pool.name.as_str();
        let names = free_names(shim, &namespace, &self.connection.name, pool)?;
        Ok((namespace, names))
    }
}

struct Call {
    shim: Shim,
    caller: Caller,
    place: Place,
    asked: Asked,
    force: bool,
}

impl Call {
    async fn change(self, mut ticket: Ticket) -> Result<Response, Problem> {
        let answer = Box::pin(self.work(&mut ticket)).await;
        if let Err(problem) = &answer {
            ticket.give_up_after(problem).await;
        }
        answer
    }

    async fn work(&self, ticket: &mut Ticket) -> Result<Response, Problem> {
        let found = objects::of_pool(&self.shim, &self.place.view, &self.place.pool)?;
        if let Some(object) = found {
            return Box::pin(self.update(&object, ticket)).await;
        }
        let (namespace, names) = self.place.adopter(&self.shim)?;
        let act = Act::on_all("create", "cephpools").within(&namespace);
        self.caller.must(&act).await?;
        match self.adopt(&namespace, &names, ticket).await? {
            (about, Created::Made(made)) => Ok(ticket.record(&about, &made).await),
            // Somebody was faster, and the watch has not brought it yet.
            (_, Created::There(there)) => Box::pin(self.update(&there, ticket)).await,
        }
    }

    async fn adopt(
        &self,
        namespace: &str,
        names: &[String],
        ticket: &mut Ticket,
    ) -> Result<(About, Created), Problem> {
        let place = &self.place;
        if place.connection.spec.management == Management::Observe {
            return Err(Problem::conflict(format!(
                "the ClusterConnection {} only observes, so nothing is changed",
                place.connection.name
            )));
        }
        if place.pool.applications.is_empty() && self.asked.text("application").is_none() {
            let detail = "the pool has no application, under which Poolwright marks it: give one, such as rbd, to have it \
                          taken over";
            return Err(Problem::conflict(detail).at("application"));
        }
        let ground = Ground {
            view: &place.view,
            pool: Some(&place.pool),
            spec: None,
        };
        let sets = objects::sets(&self.asked, &ground)?;
        self.name_is_free(&sets, None)?;
        let spec = objects::adopting(&place.connection.name, &place.pool);
        let before = spec.clone();
        let spec = objects::changed(&spec, &sets);
        let target = Target {
            namespace: namespace.to_owned(),
            name: names.first().cloned().unwrap_or_default(),
        };
        let object = objects::is_valid(&target, None, &spec)?;
        let before = objects::is_valid(&target, None, &before).ok();
        let mut about = About {
            desired: objects::desired(&target, before.as_ref(), &object, Some(&place.pool), &sets),
            target,
            connection: place.connection.name.clone(),
            operation: Operation::Adopt,
        };
        let mut object = objects::manifest(&about.target, &spec);
        merge::place(
            &mut object,
            &["metadata", "annotations"],
            json!({ANNOTATION_REQUEST_ID: ticket.id}),
        );
        with_confirmation(&mut object, &self.asked);
        ticket.reserve(&about).await?;
        let created = writes::create(self.shim.client(), namespace, names, &object).await?;
        if let Created::Made(made) = &created {
            about.target = Target::of(made);
        }
        Ok((about, created))
    }

    async fn update(&self, found: &CephPool, ticket: &mut Ticket) -> Result<Response, Problem> {
        let target = Target::of(found);
        let of = |verb| {
            let act = Act::on_all(verb, "cephpools");
            act.within(&target.namespace).named(&target.name)
        };
        self.caller.must(&of("patch")).await?;
        if self.force {
            self.caller.must(&of("force")).await?;
        }
        let management = self.place.management(&self.shim, found)?;
        let _turn = self.shim.locks().of(&target).await;
        let api: Api<CephPool> = Api::namespaced(self.shim.client().clone(), &target.namespace);
        let object = writes::read(&api, &target).await?;
        self.place.is_still(found, &object)?;
        objects::can_be_changed(&object, management)?;
        let (sets, after) = self.planned(&target, &object)?;
        let spec = spec_of(&object);
        let settled =
            merge::holds(&spec, &sets) && shows(&self.place.view, &self.place.pool, &sets);
        if let Some(token) = self.asked.text("token") {
            writes::confirm(&api, &object, token).await?;
        } else if settled {
            let mut answer = not_modified();
            answer.extensions_mut().insert(Touched {
                object: target.audit(),
                request_id: None,
            });
            ticket.give_up().await;
            return Ok(answer);
        }
        let renamed = after.wanted_pool_name() != object.wanted_pool_name();
        let about = About {
            desired: objects::desired(
                &target,
                Some(&object),
                &after,
                Some(&self.place.pool),
                &sets,
            ),
            target: target.clone(),
            connection: object.spec.connection_ref.name.clone(),
            operation: if renamed {
                Operation::Rename
            } else {
                Operation::Update
            },
        };
        ticket.reserve(&about).await?;
        let id = ticket.id.clone();
        let plan = |object: &CephPool| {
            self.place.is_still(found, object)?;
            objects::can_be_changed(object, management)?;
            let (sets, _) = self.planned(&target, object)?;
            Ok(Change {
                sets,
                finalizers: Vec::new(),
            })
        };
        let applied = writes::apply(
            self.shim.client(),
            object,
            &[(ANNOTATION_REQUEST_ID, &id)],
            self.force,
            plan,
        )
        .await?;
        Ok(ticket.record(&about, &applied).await)
    }

    /// What the call asks for of an object as it is, and what it would be then.
    fn planned(&self, target: &Target, object: &CephPool) -> Result<(Vec<Set>, CephPool), Problem> {
        let spec = spec_of(object);
        let ground = Ground {
            view: &self.place.view,
            pool: Some(&self.place.pool),
            spec: Some(&spec),
        };
        let sets = objects::sets(&self.asked, &ground)?;
        self.name_is_free(&sets, Some(target))?;
        let after = objects::is_valid(target, Some(&spec), &objects::changed(&spec, &sets))?;
        Ok((sets, after))
    }

    /// Another name must be nobody else's.
    fn name_is_free(&self, sets: &[Set], own: Option<&Target>) -> Result<(), Problem> {
        let name = sets
            .iter()
            .find(|set| set.field == "poolName")
            .and_then(|set| set.value.as_str());
        let Some(name) = name.filter(|name| *name != self.place.pool.name.as_str()) else {
            return Ok(());
        };
        let taken = |by: String| {
            Err(Problem::conflict(format!("the name {name} is taken by {by}")).at("name"))
        };
        let view = &self.place.view;
        if let Some(pool) = view.pool_named(&crate::ceph::types::PoolName::new(name)) {
            return taken(format!("pool {}", pool.id.0));
        }
        let fsid: &Fsid = view.fsid();
        match objects::wishing(&self.shim, fsid, name)? {
            Some(other) if Some(&Target::of(&other)) != own => {
                let other = Target::of(&other);
                taken(format!("CephPool {}/{}", other.namespace, other.name))
            }
            _ => Ok(()),
        }
    }
}

/// The spec of an object, as JSON.
pub(super) fn spec_of(object: &CephPool) -> Value {
    serde_json::to_value(&object.spec).unwrap_or_default()
}

/// Puts a person's word on an object that is made.
pub(super) fn with_confirmation(object: &mut Value, asked: &Asked) {
    if let Some(token) = asked.text("token") {
        merge::place(
            object,
            &["metadata", "annotations", ANNOTATION_CONFIRM],
            json!(token),
        );
    }
}
