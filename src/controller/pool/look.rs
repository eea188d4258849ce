//! What is the case with a pool, and what is to be done. Starts runs, writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::tickets;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{CephPool, Management};
use crate::api::validate;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::{Epoch, PoolName};
use crate::ceph::view::ClusterView;
use crate::controller::file::is_paused;
use crate::controller::journal::PoolJournal;
use crate::controller::pools::{PoolEntry, Pools, retry_delay, verb};
use crate::controller::record::{self, Fresh};
use crate::controller::registry::Session;
use crate::controller::status::{self, Standing};
use crate::monitor::NotUsable;
use crate::request::collection::{PoolKey, PoolWork};
use crate::request::executor::{Access, RunEnd, fresh_word};
use crate::request::registry::{ObjectType, factory};
use crate::request::refusal::Refusal;
use crate::request::preview::{Plan, plan};
use crate::request::user_request::Observation;
use crate::request::wish::{Record, Wish, application_field};

/// How long an object that is in sync is left alone when nothing happens.
const RESYNC: Duration = Duration::from_secs(600);
/// A view may be this old before the objects say so: a map being read, or a monitor changing, is no news.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon to look again at what is about to change by itself.
const SOON: Duration = Duration::from_secs(1);
/// The longest time between two tries of what fails for a passing reason.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When refused commands are tried again: doubled up to an hour.
const RETRY_REJECTED: Duration = Duration::from_secs(300);

/// What a look has come to.
#[derive(Debug)]
pub(super) struct Look {
    /// In one word for the status.
    pub(super) standing: Standing,
    /// What is left to do, where that is to be shown.
    pub(super) plan: Option<Plan>,
    /// The pool, with the name of its rule.
    pub(super) seen: Option<(Arc<Pool>, String)>,
    /// The name it is published under.
    pub(super) pool_name: Option<String>,
    /// When to look again if nothing happens.
    pub(super) requeue: Duration,
    /// What is to be recorded; `None` leaves the metadata alone.
    pub(super) record: Option<Record>,
    /// Whether the object needs its finalizer.
    pub(super) finalizer: bool,
    /// Whether nothing is to be written: too little is known yet.
    pub(super) quiet: bool,
}

impl Look {
    /// A look that came to this standing, and knows nothing more.
    pub(super) fn at(standing: Standing, requeue: Duration) -> Self {
        Self {
            standing,
            plan: None,
            seen: None,
            pool_name: None,
            requeue,
            record: None,
            finalizer: false,
            quiet: false,
        }
    }
}

/// Looks at a pool whose object is not deleted.
pub(super) fn look(
    pools: &Arc<Pools>,
    entry: &Arc<PoolEntry>,
    work: &PoolWork,
    key: &PoolKey,
    object: &Arc<CephPool>,
) -> Look {
    let record = known_record(work, object);
    let look = match prepare(pools, work, key, object, &record) {
        Ok((session, view, wish)) => attend(pools, entry, work, key, object, &session, &view, wish),
        Err(look) => {
            if let Standing::Refused(refusals) = &look.standing {
                tickets::fail_open(work, &text(refusals));
                // What may not be done is not gone on with: a run ends before its next round.
                work.state().wish = None;
            }
            look
        }
    };
    let record = look.record.clone().or_else(|| Some(record));
    Look {
        finalizer: record.as_ref().is_some_and(|record| record.unpublished),
        record,
        ..look
    }
}

/// The record as this process knows it, else as the object has it.
pub(super) fn known_record(work: &PoolWork, object: &CephPool) -> Record {
    let mut state = work.state();
    if !state.running && matches!(state.end, Some(RunEnd::Moved(_))) {
        // Somebody else wrote the object under the run: what it says counts, not what we remember.
        state.record = None;
        state.end = None;
    }
    let record = state.record.get_or_insert_with(|| {
        record::from_object(
            object,
            Fresh {
                nonce: fresh_word(),
                claim: fresh_word(),
            },
        )
    });
    record.clone()
}

/// Everything that has to be right before a plan can be made.
fn prepare(
    pools: &Pools,
    work: &PoolWork,
    key: &PoolKey,
    object: &CephPool,
    record: &Record,
) -> Result<(Arc<Session>, Arc<ClusterView>, Wish), Look> {
    if let Err(problems) = validate::check_pool(object) {
        let refusals = problems
            .into_iter()
            .map(|problem| Refusal::new(Reason::InvalidSpec, Some(&problem.field), problem.message))
            .collect();
        return Err(Look::at(Standing::Refused(refusals), RESYNC));
    }
    let session = pools
        .registry
        .session(&object.spec.connection_ref.name)
        .map_err(|none| {
            // A restart is no news: what the object says stays until the connections have been looked at.
            let early = pools.started.elapsed() < PATIENCE
                && matches!(
                    none.reason,
                    Reason::ConnectionNotFound
                        | Reason::Connecting
                        | Reason::Pending
                        | Reason::Unreachable
                );
            Look {
                quiet: early && has_conditions(object),
                requeue: if early { SOON } else { RESYNC },
                ..no_session(none.reason, none.message)
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
    pools
        .granted(&session, &key.namespace, &wish.pool, verb(record.identity.is_some()))
        .map_err(|refusal| Look::at(Standing::Refused(vec![refusal]), RESYNC))?;
    // What this object has seen of the cluster, nothing may be behind.
    if let Some(status) = &object.status {
        let awaited = status.request.as_ref().and_then(|request| request.awaited_epoch);
        for epoch in [status.observed_osd_epoch, awaited].into_iter().flatten() {
            session.floor.raise(Epoch(epoch.unsigned_abs()));
        }
    }
    let view = session.usable_view().map_err(|why| no_view(&why, work, object))?;
    Ok((session, view, wish))
}

/// Without a session: some reasons pass by themselves, the others need somebody.
fn no_session(reason: Reason, message: String) -> Look {
    let standing = match reason {
        Reason::Unreachable => Standing::Retrying { reason, message },
        Reason::Connecting | Reason::Pending | Reason::Progressing => Standing::Waiting { reason, message },
        reason => Standing::Refused(vec![Refusal::new(reason, Some("connectionRef"), message)]),
    };
    Look::at(standing, RESYNC)
}

fn has_conditions(object: &CephPool) -> bool {
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

/// With a wish and a view: what is the plan, and who works on it?
#[expect(clippy::too_many_arguments, reason = "the things a look has found, each named once")]
fn attend(
    pools: &Arc<Pools>,
    entry: &Arc<PoolEntry>,
    work: &PoolWork,
    key: &PoolKey,
    object: &Arc<CephPool>,
    session: &Session,
    view: &Arc<ClusterView>,
    wish: Wish,
) -> Look {
    let now = Timestamp::now();
    new_wish(entry, work, object, &wish);
    let plan = plan(factory(ObjectType::Pool), &wish, view);
    let pool = plan
        .now
        .found
        .as_ref()
        .and_then(|found| view.pool(found.identity.id))
        .cloned();
    let resync = session.spec.resync_interval.value().unwrap_or(RESYNC);
    let base = Look {
        seen: pool.clone().map(|pool| {
            let rule = view.rule_name(&pool);
            (pool, rule)
        }),
        pool_name: Some(wish.pool.to_string()),
        ..Look::at(Standing::Working, spread(resync, key))
    };
    if is_paused(object) {
        return Look {
            standing: Standing::Paused,
            plan: Some(plan),
            ..base
        };
    }
    if wish.observe {
        let standing = if plan.in_sync() {
            in_sync(view, None)
        } else {
            Standing::Differs
        };
        return Look {
            standing,
            plan: Some(plan),
            ..base
        };
    }
    let record = learn(work, &wish, &plan);
    let wish = Wish {
        record: record.clone(),
        ..wish
    };
    {
        let mut state = work.state();
        let newest = tickets::of_generation(&state, wish.generation);
        state.observe(
            Observation {
                plan: &plan,
                wish: &wish,
                generation: wish.generation,
                newest: newest.as_deref(),
                pool: pool.as_deref(),
                epoch: view.epoch(),
            },
            now,
        );
    }
    let base = Look {
        record: Some(record.clone()),
        ..base
    };
    if plan.in_sync() && !work.state().running {
        if pool.as_ref().is_some_and(|pool| pool.is_creating()) {
            return Look {
                standing: Standing::Creating,
                ..base
            };
        }
        let note = pool.as_ref().and_then(|pool| left_enabled(&wish, pool));
        let record = applied(work, &wish, pool.as_deref());
        return Look {
            standing: in_sync(view, note),
            record: Some(record),
            ..base
        };
    }
    proceed(pools, entry, work, key, &Scene { wish: &wish, plan: &plan, session, now }, base)
}

/// What a decision about a run needs.
struct Scene<'a> {
    wish: &'a Wish,
    plan: &'a Plan,
    session: &'a Session,
    now: Timestamp,
}

/// Something is left to do: is it being done, may it be begun, or does it have to wait?
fn proceed(
    pools: &Arc<Pools>,
    entry: &Arc<PoolEntry>,
    work: &PoolWork,
    key: &PoolKey,
    scene: &Scene<'_>,
    base: Look,
) -> Look {
    let Scene { wish, plan, session, now } = *scene;
    let (running, end, rejections) = {
        let state = work.state();
        (state.running, state.end.clone(), state.rejections.clone())
    };
    if running {
        tickets::open_for(entry, work, wish, plan, now);
        return Look {
            standing: Standing::Working,
            ..base
        };
    }
    let retry_in = rejected_wait(entry, work, !rejections.is_empty());
    let rejections = work.state().rejections.clone();
    let blocked = |command| rejections.iter().any(|rejection| rejection.command == command);
    let something = plan
        .now
        .round
        .steps
        .iter()
        .any(|step| !blocked(step.command.clone()));
    if !something {
        let standing = if rejections.is_empty() {
            Standing::Refused(plan.now.refusals.clone())
        } else {
            Standing::Rejected(rejections)
        };
        let words = status_words(&standing);
        tickets::fail_open(work, &words);
        return Look {
            standing,
            plan: Some(plan.clone()),
            requeue: retry_in.unwrap_or(base.requeue),
            ..base
        };
    }
    if let Some(held) = ended_badly(entry, work, end.as_ref()) {
        return Look {
            standing: held.0,
            plan: Some(plan.clone()),
            requeue: held.1,
            ..base
        };
    }
    let drifted = entry.side().settled == Some(wish.generation);
    if drifted
        && let Some((field, observed, until)) = contested(work, plan, now)
    {
        let wait = until.duration_since(now).unsigned_abs();
        return Look {
            standing: Standing::Contested { field, observed, until },
            plan: Some(plan.clone()),
            requeue: wait.max(SOON),
            ..base
        };
    }
    let opened = tickets::open_for(entry, work, wish, plan, now);
    if drifted && opened {
        let fields: BTreeSet<String> = plan.steps().map(|step| step.field.clone()).collect();
        work.state().contest.corrected(fields.iter().map(String::as_str), now);
        pools.metrics.corrected(fields.len());
        entry.side().corrected = Some((fields, now));
    }
    pools.collection.start(
        key,
        access(session, false),
        Arc::new(PoolJournal::new(Arc::clone(pools), Arc::clone(entry), key.clone(), false)),
    );
    // The run writes down its first round itself.
    Look {
        quiet: true,
        ..Look::at(Standing::Working, base.requeue)
    }
}

/// The way to the cluster for a run.
pub(super) fn access(session: &Session, discard: bool) -> Access {
    Access {
        client: Arc::clone(&session.client),
        monitor: session.monitor.clone(),
        floor: session.floor.get(),
        command_timeout: session
            .spec
            .client
            .command_timeout
            .value()
            .unwrap_or(Duration::from_secs(30)),
        discard,
    }
}

/// A new generation, or a person's wish for another look, forgets what stood in the way of the last one.
fn new_wish(entry: &PoolEntry, work: &PoolWork, object: &CephPool, wish: &Wish) {
    let token = status::reconcile_token(object);
    let mut side = entry.side();
    let asked = token.is_some() && side.token != token;
    side.token = token.or(side.token.take());
    let mut state = work.state();
    let changed = state.wish.as_ref().is_none_or(|before| before.generation != wish.generation);
    if changed || asked {
        state.rejections.clear();
        state.contest.clear();
        if !state.running {
            state.end = None;
        }
        side.failures = 0;
        side.next_try = None;
        side.retry_rejected = None;
        side.rejected_tries = 0;
    }
    state.wish = Some(Arc::new(wish.clone()));
}

/// A run that ended for a reason that passes by itself is followed by another one after a while.
fn ended_badly(entry: &PoolEntry, work: &PoolWork, end: Option<&RunEnd>) -> Option<(Standing, Duration)> {
    let (standing, longest) = match end? {
        RunEnd::Away(message) => (retrying(Reason::Unreachable, message), LONGEST_WAIT),
        RunEnd::NotRecorded(message) => (
            retrying(Reason::ProgressingWithRetry, message),
            LONGEST_WAIT,
        ),
        RunEnd::NotConverging => (Standing::NotConverging, Duration::from_secs(600)),
        RunEnd::Unsafe(message) => (
            Standing::Refused(vec![Refusal::new(Reason::PoolReplaced, None, message.clone())]),
            LONGEST_WAIT,
        ),
        RunEnd::Refused(_)
        | RunEnd::Rejected
        | RunEnd::InSync
        | RunEnd::Moved(_)
        | RunEnd::Stopped => return None,
    };
    let mut side = entry.side();
    let now = Instant::now();
    match side.next_try {
        Some(at) if at > now => Some((standing, at - now)),
        Some(_) => {
            side.next_try = None;
            drop(side);
            work.state().end = None;
            None
        }
        None => {
            side.failures = side.failures.saturating_add(1);
            let wait = if longest > LONGEST_WAIT {
                longest
            } else {
                retry_delay(side.failures)
            };
            side.next_try = Some(now + wait);
            if matches!(standing, Standing::NotConverging) {
                drop(side);
                tickets::fail_open(work, "the plan did not end within the longest allowed number of rounds");
            }
            Some((standing, wait))
        }
    }
}

fn retrying(reason: Reason, message: &str) -> Standing {
    Standing::Retrying {
        reason,
        message: message.to_owned(),
    }
}

/// When refused commands are tried again; forgets them when that time has come.
fn rejected_wait(entry: &PoolEntry, work: &PoolWork, any: bool) -> Option<Duration> {
    if !any {
        return None;
    }
    let mut side = entry.side();
    let now = Instant::now();
    match side.retry_rejected {
        Some(at) if at > now => Some(at - now),
        Some(_) => {
            side.retry_rejected = None;
            drop(side);
            work.state().rejections.clear();
            None
        }
        None => {
            let wait = RETRY_REJECTED * 2_u32.pow(side.rejected_tries.min(4));
            let wait = wait.min(Duration::from_secs(3600));
            side.rejected_tries += 1;
            side.retry_rejected = Some(now + wait);
            Some(wait)
        }
    }
}

/// The first field that somebody else keeps changing, what it is set to, and until when it is left alone.
fn contested(work: &PoolWork, plan: &Plan, now: Timestamp) -> Option<(String, String, Timestamp)> {
    let state = work.state();
    plan.steps().find_map(|step| {
        let until = state.contest.held_until(&step.field, now)?;
        Some((step.field.clone(), step.observed.clone(), until))
    })
}

/// Takes over what the map says about the object's pool; while there is a run, that is the run's.
fn learn(work: &PoolWork, wish: &Wish, plan: &Plan) -> Record {
    let mut state = work.state();
    let known = state.record.clone().unwrap_or_else(|| wish.record.clone());
    let record = if state.running || plan.now.round.creates() {
        known
    } else {
        let wish = Wish {
            record: known,
            ..wish.clone()
        };
        plan.now.advance(wish).record
    };
    state.record = Some(record.clone());
    record
}

/// In sync: what is applied is what the manifest names, and what is left enabled of before.
fn applied(work: &PoolWork, wish: &Wish, pool: Option<&Pool>) -> Record {
    let mut state = work.state();
    let record = state.record.get_or_insert_with(|| wish.record.clone());
    let mut fields = wish.fields();
    if let Some(pool) = pool {
        let left = pool
            .applications
            .keys()
            .map(|application| application_field(application))
            .filter(|field| record.applied.contains(field));
        fields.extend(left);
    }
    record.applied = fields;
    record.clone()
}

/// Applications that left the manifest: they are reported, since disabling one can cut off its clients.
fn left_enabled(wish: &Wish, pool: &Pool) -> Option<String> {
    let left: Vec<&str> = pool
        .applications
        .keys()
        .filter(|application| {
            !wish.applications.contains_key(*application)
                && wish.record.applied.contains(&application_field(application))
        })
        .map(String::as_str)
        .collect();
    (!left.is_empty()).then(|| {
        format!(
            "application {} left the manifest and stays enabled, since disabling it could cut off its clients; \
             to disable it: `ceph osd pool application disable {} {}`",
            left.join(", "),
            pool.name,
            left.first().unwrap_or(&"")
        )
    })
}

fn in_sync(view: &ClusterView, note: Option<String>) -> Standing {
    Standing::InSync {
        epoch: view.epoch(),
        note,
    }
}

fn status_words(standing: &Standing) -> String {
    match standing {
        Standing::Refused(refusals) => text(refusals),
        Standing::Rejected(rejections) => rejections
            .iter()
            .map(|rejection| {
                format!(
                    "{}: Ceph refused it: {} (code {})",
                    rejection.field,
                    rejection.text.trim(),
                    rejection.code
                )
            })
            .collect::<Vec<_>>()
            .join("; "),
        _ => String::new(),
    }
}

fn text(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(|refusal| refusal.message.clone())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Spreads the resyncs of many objects over a tenth of the interval, each at its own place.
fn spread(interval: Duration, key: &PoolKey) -> Duration {
    let place = key.uid.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    }) % 100;
    interval.mul_f64(1.0 - f64::from(place) / 1000.0)
}

/// The name a spec asks for.
pub(super) fn wanted_name(object: &CephPool) -> PoolName {
    PoolName::new(object.wanted_pool_name())
}

/// Whether a connection only looks.
pub(super) fn observes(session: &Session) -> bool {
    session.spec.management == Management::Observe
}
