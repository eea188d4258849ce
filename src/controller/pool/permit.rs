//! Whether what a plan begins with may be done: grants, older claims on the pool, cancels.

use std::time::Duration;

use jiff::Timestamp;

use super::subject::{Look, Subject};
use super::tickets;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::Verb;
use crate::ceph::osd_map::Pool;
use crate::controller::pools::{FoundPool, names_to_grant};
use crate::controller::registry::Session;
use crate::controller::status::Standing;
use crate::request::preview::Plan;
use crate::request::refusal::Refusal;
use crate::request::round::POOL_FIELD;
use crate::request::wish::Wish;
use crate::request::work::PoolWork;

/// How soon an object looks again whether the older claim on its pool is gone.
const CONFLICT: Duration = Duration::from_secs(10);

/// A grant or an older object stands in the way: nothing is sent, and a run ends before its next round.
pub(super) fn not_granted(work: &PoolWork, generation: i64, refusal: Refusal, base: Look) -> Look {
    tickets::fail_open(work, Some(generation), &refusal.message);
    work.state().wish = None;
    Look {
        requeue: match refusal.reason {
            Reason::Conflict => CONFLICT,
            _ => base.requeue,
        },
        standing: Standing::Refused(vec![refusal]),
        ..base
    }
}

/// A person has cancelled what is left to do for this generation.
pub(super) fn cancelled(
    work: &PoolWork,
    wish: &Wish,
    plan: &Plan,
    base: &Look,
    now: Timestamp,
) -> Option<Look> {
    let mut state = work.state();
    if !state.heed_cancels(wish.generation, plan.in_sync(), now) {
        return None;
    }
    let cancelled = Refusal::new(
        Reason::Cancelled,
        None,
        "the request was cancelled, so nothing more is sent for this generation; change the spec, or set the annotation \
         poolwright.dev/reconcile-requested-at, to try again",
    );
    Some(Look {
        standing: Standing::Refused(alarms(plan).cloned().chain([cancelled]).collect()),
        plan: Some(plan.clone()),
        record: state.record.clone(),
        requeue: base.requeue,
        seen: base.seen.clone(),
        pool_name: base.pool_name.clone(),
        ..Look::at(Standing::Working, base.requeue)
    })
}

/// What nobody may overlook, whatever they have cancelled: the pool is gone, another one, or somebody else's.
fn alarms(plan: &Plan) -> impl Iterator<Item = &Refusal> {
    plan.now.refusals.iter().filter(|refusal| {
        matches!(
            refusal.reason,
            Reason::PoolMissing
                | Reason::PoolReplaced
                | Reason::PoolExists
                | Reason::OwnedByAnother
        )
    })
}

/// Whether a grant allows what the plan begins with, and no older object claims the pool. `pool` is the one that the plan
/// found.
pub(super) fn may(
    subject: &Subject<'_>,
    session: &Session,
    wish: &Wish,
    plan: &Plan,
    pool: Option<&Pool>,
) -> Result<(), Refusal> {
    if plan.now.round.is_empty() {
        return Ok(());
    }
    let found = plan.now.found.as_ref();
    let present = found.map(|found| &found.name);
    for name in names_to_grant(plan.now.verb, wish, present) {
        subject
            .pools
            .granted(session, &subject.key.namespace, name, plan.now.verb)?;
    }
    subject.pools.granted_contents(
        session,
        subject.object,
        &wish.pool,
        plan.now.verb,
        FoundPool {
            pool,
            ours: found.is_some_and(|found| !found.adopting),
            applied: &wish.record.applied,
        },
    )?;
    // Once begun it is this object's, under the name it was begun for. Another name is another claim.
    let begun_for = wish.record.private_base.as_ref();
    let begins = if wish.record.unpublished {
        begun_for.is_some_and(|name| *name != wish.pool)
    } else {
        plan.now.verb == Verb::Rename || found.is_none_or(|found| found.adopting)
    };
    let older = begins
        .then(|| {
            subject
                .pools
                .older_claim(subject.object, &session.fsid, &wish.pool)
        })
        .flatten();
    match older {
        Some(older) => Err(Refusal::new(
            Reason::Conflict,
            Some(POOL_FIELD),
            format!(
                "the older CephPool {older} wishes for pool {} of the same cluster, too; delete one of the two, or \
                 give one another poolName",
                wish.pool
            ),
        )),
        None => Ok(()),
    }
}
