//! What is the case with a pool, and what is to be done. Starts runs, writes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asked;
use super::permit::{cancelled, may, not_granted};
use super::prepare::{Prepared, prepare};
use super::proceed::{Scene, proceed, text};
use super::subject::{Look, RESYNC, Subject};
use super::tickets;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{CephPool, Management};
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::CRUSH_RULE;
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::controller::file::is_paused;
use crate::controller::pools::{PoolEntry, removes_pool};
use crate::controller::record::{self, Fresh};
use crate::controller::registry::Session;
use crate::controller::status::{self, Standing};
use crate::request::executor::fresh_word;
use crate::request::placement::rule_field;
use crate::request::preview::{Plan, plan};
use crate::request::refusal::Refusal;
use crate::request::registry::{ObjectType, factory};
use crate::request::rejection::Rejection;
use crate::request::user_request::Observation;
use crate::request::wish::{Record, Wish, application_field};
use crate::request::work::{PoolKey, PoolWork, RunEnd};

/// How soon a pool looks again at what may pass.
const PASSING: Duration = Duration::from_secs(30);

/// Looks at a pool whose object is not deleted.
pub(super) fn look(subject: &Subject<'_>) -> Look {
    let work = subject.work;
    let record = known_record(work, subject.object);
    let look = match prepare(subject, &record) {
        Ok(prepared) => attend(subject, prepared),
        Err(look) => {
            let look = *look;
            // A quiet look knows too little to end anything: after a restart the connections come a moment later.
            if let Standing::Refused(refusals) = &look.standing
                && !look.quiet
            {
                let generation = subject.object.metadata.generation;
                asked::give(subject, None, Timestamp::now());
                tickets::fail_open(work, generation, &text(refusals));
                // What may not be done is not gone on with: a run ends before its next round.
                work.state().wish = None;
            }
            look
        }
    };
    let record = look.record.clone().unwrap_or(record);
    Look {
        finalizer: record.unpublished || removes_pool(subject.object),
        record: Some(record),
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

/// With a wish and a view: what is the plan, and who works on it?
fn attend(subject: &Subject<'_>, prepared: Prepared) -> Look {
    let Subject {
        pools: _,
        entry,
        work,
        key,
        object,
    } = *subject;
    let Prepared {
        session,
        view,
        wish,
    } = prepared;
    let now = Timestamp::now();
    let plan = plan(factory(ObjectType::Pool), &wish, &view);
    let pool = plan
        .now
        .found
        .as_ref()
        .and_then(|found| view.pool(found.identity.id))
        .cloned();
    let asked_again = asked::is_awaited(entry);
    asked::give(subject, Some((&wish, &plan)), now);
    // A run under way takes the newest wish with its next round: it gets none that is not permitted.
    let only_looks = is_paused(object) || wish.observe;
    let denied = (!only_looks)
        .then(|| may(subject, &session, &wish, &plan, pool.as_deref()).err())
        .flatten();
    if new_wish(subject, &wish, asked_again, denied.is_none()) {
        subject.pools.registry.renew(&session.name);
    }
    new_client(entry, work, session.incarnation);
    let resync = session.spec.resync_interval.value().unwrap_or(RESYNC);
    let resync = if plan.now.refusals.iter().any(passes) {
        resync.min(PASSING)
    } else {
        resync
    };
    let base = Look {
        seen: pool.clone().map(|pool| {
            let rule = view.rule_name(&pool);
            (pool, rule)
        }),
        pool_name: Some(wish.pool.to_string()),
        ..Look::at(Standing::Working, spread(resync, key))
    };
    if only_looks {
        asked::fail_unsent(work, not_sent(object));
        return only_looked_at(object, &view, plan, base);
    }
    if let Some(refusal) = denied {
        return not_granted(work, wish.generation, refusal, base);
    }
    let base = Look {
        doubtful: plan.now.doubtful.clone(),
        marked: view
            .pool_named(&wish.pool)
            .map(|pool| view.map().identity(pool)),
        ..base
    };
    if let Some(look) = cancelled(work, &wish, &plan, &base, now) {
        return look;
    }
    let record = learn(work, &wish, &plan);
    let wish = Wish {
        record: record.clone(),
        ..wish
    };
    {
        let mut state = work.state();
        tickets::complete_fields(&mut state, &wish, &plan);
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
        return settled(work, &wish, &plan, &view, base);
    }
    proceed(
        subject,
        &Scene {
            wish: &wish,
            plan: &plan,
            session: &session,
            view: &view,
            now,
        },
        base,
    )
}

/// Whether a refusal may pass by what other pools and OSDs do, of which no event tells this pool.
fn passes(refusal: &Refusal) -> bool {
    let of_rule = refusal.field.as_deref() == Some(CRUSH_RULE.field);
    refusal.reason == Reason::CannotPlace || (refusal.reason == Reason::Blocked && of_rule)
}

/// Nothing is sent: people asked for that.
fn only_looked_at(object: &CephPool, view: &ClusterView, plan: Plan, base: Look) -> Look {
    let standing = if is_paused(object) {
        Standing::Paused
    } else if plan.in_sync() {
        in_sync(view, None)
    } else {
        Standing::Differs
    };
    Look {
        standing,
        plan: Some(plan),
        ..base
    }
}

/// Nothing is left to send: the pool is as declared, or about to be by itself.
fn settled(work: &PoolWork, wish: &Wish, plan: &Plan, view: &ClusterView, base: Look) -> Look {
    let pool = base.seen.as_ref().map(|(pool, _)| Arc::clone(pool));
    if pool.as_ref().is_some_and(|pool| pool.is_creating()) {
        return Look {
            standing: Standing::Creating,
            ..base
        };
    }
    if let Some(waiting) = plan.now.waiting {
        return Look {
            standing: Standing::Waiting {
                reason: Reason::Progressing,
                message: waiting.to_owned(),
            },
            ..base
        };
    }
    let left = pool.as_ref().and_then(|pool| left_enabled(wish, pool));
    let notes: Vec<String> = plan.now.note.clone().into_iter().chain(left).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    let record = applied(work, wish, base.seen.as_ref());
    // What was refused on the way here says nothing about what may come.
    work.state().rejections.clear();
    Look {
        standing: in_sync(view, note),
        record: Some(record),
        ..base
    }
}

/// What is said of a change that is asked for while nothing may be sent.
fn not_sent(object: &CephPool) -> &'static str {
    if is_paused(object) {
        "the CephPool is paused by the annotation poolwright.dev/paused; the change stands in its spec, and is made when \
         that is taken off"
    } else {
        "nothing is sent while management is Observe; the change stands in the spec of the CephPool"
    }
}

/// A new generation, or a person's wish for another look, forgets what stood in the way of the last one. Says
/// whether a lack of permissions did, which only another client can be rid of.
fn new_wish(subject: &Subject<'_>, wish: &Wish, asked_again: bool, permitted: bool) -> bool {
    let Subject {
        entry,
        work,
        object,
        ..
    } = *subject;
    let token = status::reconcile_token(object);
    let mut side = entry.side();
    let asked = asked_again || (token.is_some() && side.token != token);
    side.token = token.or(side.token.take());
    let mut state = work.state();
    let changed = state
        .wish
        .as_ref()
        .is_none_or(|before| before.generation != wish.generation);
    let denied = asked && state.rejections.iter().any(Rejection::denied);
    if changed || asked {
        state.rejections.clear();
        state.contest.clear();
        state.left_alone.clear();
        if asked || state.cancelled != Some(wish.generation) {
            state.cancelled = None;
        }
        if !state.running {
            state.end = None;
        }
        side.failures = 0;
        side.next_try = None;
        side.retry_rejected = None;
        side.rejected_tries = 0;
    }
    state.wish = permitted.then(|| Arc::new(wish.clone()));
    denied
}

/// Another client than at the last look: what that one was not allowed to do may be tried again.
fn new_client(entry: &PoolEntry, work: &PoolWork, incarnation: u64) {
    let mut side = entry.side();
    let before = side.incarnation.replace(incarnation);
    if before.is_some_and(|before| before != incarnation) {
        let mut state = work.state();
        state.rejections.retain(|rejection| !rejection.denied());
        if state.rejections.is_empty() {
            side.retry_rejected = None;
        }
    }
}

/// Takes over what the map says about the object's pool; while there is a run, that is the run's.
fn learn(work: &PoolWork, wish: &Wish, plan: &Plan) -> Record {
    let mut state = work.state();
    let known = state.record.clone().unwrap_or_else(|| wish.record.clone());
    let begins = plan.now.round.creates() || plan.now.round.prepares();
    let record = if state.running || begins {
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

/// In sync: what is applied is what the manifest names, and what is left of before.
fn applied(work: &PoolWork, wish: &Wish, seen: Option<&(Arc<Pool>, String)>) -> Record {
    let mut state = work.state();
    let record = state.record.get_or_insert_with(|| wish.record.clone());
    let mut fields = wish.fields();
    if let Some((pool, rule)) = seen {
        let left = pool
            .applications
            .keys()
            .map(|application| application_field(application))
            // A rule that the manifest let go goes with the pool, and so does its profile.
            .chain([rule, &pool.erasure_code_profile].map(|name| rule_field(name)))
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
                && wish
                    .record
                    .applied
                    .contains(&application_field(application))
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
