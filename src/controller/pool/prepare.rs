//! Everything that has to be right before a plan can be made: the spec, the connection, the grant, the view.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::subject::{Look, RESYNC, SOON, Subject};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{CephPool, Verb};
use crate::api::validate;
use crate::ceph::types::Epoch;
use crate::ceph::view::ClusterView;
use crate::controller::record;
use crate::controller::registry::Session;
use crate::controller::status::Standing;
use crate::monitor::NotUsable;
use crate::request::refusal::Refusal;
use crate::request::token::Confirmations;
use crate::request::wish::{Record, Wish};
use crate::request::work::PoolWork;

/// A view may be this old before the objects say so: a map being read, or a monitor changing, is no news.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a plan is made of.
pub(super) struct Prepared {
    /// The way to the cluster.
    pub(super) session: Arc<Session>,
    /// A view that may be acted on.
    pub(super) view: Arc<ClusterView>,
    /// What is asked for.
    pub(super) wish: Wish,
}

/// Makes sure of everything, or says what is missing.
pub(super) fn prepare(subject: &Subject<'_>, record: &Record) -> Result<Prepared, Box<Look>> {
    let Subject {
        pools,
        work,
        key,
        object,
        entry,
    } = *subject;
    if let Err(problems) = validate::check_pool(object) {
        let refusals = problems
            .into_iter()
            .map(|problem| Refusal::new(Reason::InvalidSpec, Some(&problem.field), problem.message))
            .collect();
        return Err(Look::at(Standing::Refused(refusals), RESYNC).into());
    }
    let session = pools
        .registry
        .session(&object.spec.connection_ref.name)
        .map_err(|none| {
            // A restart is no news: what the object says stays until the connections have been looked at.
            let early = pools.just_started(PATIENCE)
                && matches!(
                    none.reason,
                    Reason::ConnectionNotFound
                        | Reason::Connecting
                        | Reason::Pending
                        | Reason::Unreachable
                );
            // Shortly after a start nobody knows which there are.
            let message = if early && none.reason == Reason::ConnectionNotFound {
                let name = &object.spec.connection_ref.name;
                format!("ClusterConnection {name} has not been looked at yet, or there is none of that name")
            } else {
                none.message
            };
            Look {
                quiet: early && has_conditions(object),
                requeue: if early || is_young(object) {
                    SOON
                } else {
                    RESYNC
                },
                ..no_session(none.reason, message, is_young(object))
            }
        })?;
    let wish = Wish::read(
        pools.owner(key),
        &object.spec,
        object.metadata.generation.unwrap_or_default(),
        session.spec.management,
        record.clone(),
    )
    .map_err(|refusals| Look::at(Standing::Refused(refusals), RESYNC))?;
    let open = work.state().open_requests();
    let wish = Wish {
        confirmations: Confirmations {
            open,
            ..record::confirmations(object)
        },
        dead_marks: entry.side().dead_marks.clone(),
        ..wish
    };
    if !pools.knows_namespace(&key.namespace) {
        // Its labels decide about grants, and are on their way.
        return Err(Look {
            quiet: true,
            ..Look::at(Standing::Working, SOON)
        }
        .into());
    }
    // What exactly it needs is known with the plan; without any grant nothing is told of the cluster.
    let likely = if record.identity.is_some() && !record.unpublished {
        Verb::Update
    } else {
        Verb::Create
    };
    pools
        .granted_any(&session, &key.namespace, &wish.pool, likely)
        .map_err(|refusal| Look::at(Standing::Refused(vec![refusal]), RESYNC))?;
    // What this object has seen of this cluster, nothing may be behind.
    if let Some(status) = &object.status
        && status.fsid.as_deref() == Some(session.fsid.as_str())
    {
        let awaited = status
            .request
            .as_ref()
            .and_then(|request| request.awaited_epoch);
        for epoch in [status.observed_osd_epoch, awaited].into_iter().flatten() {
            session.floor.raise(Epoch(epoch.unsigned_abs()));
        }
    }
    let view = session
        .usable_view()
        .map_err(|why| no_view(&why, work, object))?;
    Ok(Prepared {
        session,
        view,
        wish,
    })
}

/// Without a session: some reasons pass by themselves, the others need somebody.
fn no_session(reason: Reason, message: String, young: bool) -> Look {
    let standing = match reason {
        // It often comes in the same apply.
        Reason::ConnectionNotFound if young => Standing::Waiting { reason, message },
        Reason::Unreachable => Standing::Retrying { reason, message },
        Reason::Connecting | Reason::Pending | Reason::Progressing => {
            Standing::Waiting { reason, message }
        }
        reason => Standing::Refused(vec![Refusal::new(reason, Some("connectionRef"), message)]),
    };
    Look::at(standing, RESYNC)
}

/// Whether an object was made a moment ago.
fn is_young(object: &CephPool) -> bool {
    object
        .metadata
        .creation_timestamp
        .as_ref()
        .is_some_and(|made| Timestamp::now().duration_since(made.0).unsigned_abs() < PATIENCE)
}

pub(super) fn has_conditions(object: &CephPool) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| !status.conditions.is_empty())
}

/// Without a usable view nothing is sent; it is only told when it lasts.
fn no_view(why: &NotUsable, work: &PoolWork, object: &CephPool) -> Look {
    let told = has_conditions(object);
    match why {
        NotUsable::Stale { age } if told && *age < PATIENCE => Look {
            quiet: true,
            ..Look::at(Standing::Working, SOON)
        },
        NotUsable::NoView if told && work.state().end.is_none() => Look {
            quiet: true,
            ..Look::at(Standing::Working, SOON)
        },
        NotUsable::NoView => Look::at(
            Standing::Waiting {
                reason: Reason::Pending,
                message: "waiting for the first look at the cluster".to_owned(),
            },
            SOON,
        ),
        NotUsable::WentBack { .. } => Look::at(
            Standing::Refused(vec![Refusal::new(
                Reason::EpochWentBack,
                Some("connectionRef"),
                "the cluster's OSD map is older than one seen before, as after a restored backup, so nothing is \
                 sent; make sure the cluster is what it should be",
            )]),
            Duration::from_secs(30),
        ),
        NotUsable::Unreadable(_) => Look::at(
            Standing::Retrying {
                reason: Reason::MapUnreadable,
                message: format!("{why}; nothing is sent until it can be"),
            },
            Duration::from_secs(10),
        ),
        NotUsable::OtherCluster { .. } => Look::at(
            Standing::Refused(vec![Refusal::new(
                Reason::FsidMismatch,
                Some("connectionRef"),
                format!("{why}, so nothing is sent; correct the connection's monitors"),
            )]),
            Duration::from_secs(30),
        ),
        NotUsable::Stale { .. } | NotUsable::TimedOut { .. } | NotUsable::Stopped => Look::at(
            Standing::Retrying {
                reason: Reason::Unreachable,
                message: "no monitor answers; nothing is sent until one does. Check the monitors, the network \
                          and the ClusterConnection"
                    .to_owned(),
            },
            Duration::from_secs(5),
        ),
    }
}
