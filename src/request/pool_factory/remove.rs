//! The removal of a pool, by a private name that nobody else would use.
//!
//! A pool that was never published is empty and has its private name already. A published one is proven
//! empty, renamed to a private name, proven empty again, and only then removed: a command by that name can
//! only mean our pool, and whoever still used the real name has lost it before anything is lost.

use super::{found, locate, mark, placement};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::Verb;
use crate::ceph::command::MonCommand;
use crate::ceph::contents::Contents;
use crate::ceph::errno::Verdict;
use crate::ceph::osd_map::Pool;
use crate::ceph::settings;
use crate::ceph::types::{PoolIdentity, PoolName};
use crate::ceph::view::ClusterView;
use crate::request::factory::{Found, Next};
use crate::request::ownership::{Mark, read_mark};
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::round::{POOL_FIELD, Round, Step};
use crate::request::token::{Answer, Danger};
use crate::request::wish::Wish;

/// What a look into a pool has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Which pool was looked into.
    pub pool: PoolIdentity,
    /// The name it had: clients that know another one can have written through it.
    pub name: PoolName,
    /// What was found.
    pub contents: Contents,
}

/// The removal of a pool that was never published, when its object goes.
///
/// Empty when there is none: an object deleted before publication takes the private, empty pool
/// with it, and nothing else.
pub fn discard_round(wish: &Wish, view: &ClusterView) -> Next {
    let private = wish.private_name();
    let Some(pool) = view.pool_named(&private) else {
        return without_pool(wish, view);
    };
    if let Some(identity) = &wish.record.identity
        && *identity != view.map().identity(pool)
    {
        return Next::refused(Refusal::new(
            Reason::PoolReplaced,
            Some(POOL_FIELD),
            format!(
                "pool {private} is not the one that this object made: {}; remove it by hand if it is not needed",
                locate::difference(identity, pool)
            ),
        ));
    }
    let owner = match read_mark(pool, &wish.owner) {
        Mark::Foreign(mark) => Some(mark.owner().to_owned()),
        Mark::Ours { claim, .. } => locate::is_another(wish, &claim)
            .then(|| format!("{} under another claim ({claim})", wish.owner.object())),
        Mark::Missing => None,
    };
    if let Some(owner) = owner {
        return Next::refused(Refusal::new(
            Reason::OwnedByAnother,
            Some(POOL_FIELD),
            format!(
                "pool {private} carries the mark of {owner}, so it is not removed; remove it by hand if it is not needed"
            ),
        ));
    }
    Next {
        round: unpublished(wish, "the object was deleted before the pool was published"),
        found: Some(found(view, pool, wish, false)),
        verb: Verb::Create,
        ..Next::default()
    }
}

/// The pool is gone: with it go the rules that were made for it, if no other pool has them.
fn without_pool(wish: &Wish, view: &ClusterView) -> Next {
    let identity = wish.record.identity.as_ref();
    let there = identity.is_some_and(|pool| view.identified(pool).is_some());
    if there || !(wish.remove || wish.record.unpublished) {
        return Next::default();
    }
    Next {
        round: Round {
            steps: placement::let_go(wish, view),
        },
        verb: Verb::Create,
        ..Next::default()
    }
}

/// The removal of a private pool that was never published.
pub(super) fn unpublished(wish: &Wish, reason: &str) -> Round {
    let name = wish.private_name();
    let reason = format!("remove the private pool, which was never published: {reason}");
    Round {
        steps: vec![remove(name, reason, None)],
    }
}

/// What to do next for a published pool whose object is deleted. Empty, without refusals and without
/// [`Next::unproven`], when nothing is left to do: the pool is gone, or is not this object's to remove.
///
/// `refused` is what Ceph said when it has refused the removal itself.
pub fn removal_round(
    wish: &Wish,
    view: &ClusterView,
    proof: Option<&Proof>,
    refused: Option<&Rejection>,
) -> Next {
    let next = Next {
        verb: Verb::Delete,
        ..Next::default()
    };
    if let Some(stranger) = stranger(wish, view) {
        return Next {
            verb: Verb::Delete,
            ..stranger
        };
    }
    let Some(pool) = ours(wish, view) else {
        return misnamed(wish, view).unwrap_or_else(|| Next {
            verb: Verb::Delete,
            ..without_pool(wish, view)
        });
    };
    let identity = view.map().identity(pool);
    let next = Next {
        found: Some(found(view, pool, wish, true)),
        ..next
    };
    let private = wish.removal_name().filter(|name| *name == pool.name);
    let real = match &private {
        Some(_) => wish.record.private_base.clone(),
        // Also where it has a private name that is not on record, as after a lost status.
        None => Some(PoolName::new(pool.name.published())),
    }
    .unwrap_or_else(|| wish.pool.clone());
    let back = |refusals: Vec<Refusal>| match &private {
        Some(private) => give_back(view, private, &real, refusals, next.clone()),
        None => Next {
            refusals,
            ..next.clone()
        },
    };
    if !wish.remove {
        return back(Vec::new());
    }
    if let Some(refusal) = forbidden(pool, &real, refused) {
        return back(vec![refusal]);
    }
    if private.is_none() {
        // Without its mark it may be somebody else's by now. One that is missing is put back first.
        let steps = mark(wish, pool);
        if !steps.is_empty() {
            return Next {
                round: Round { steps },
                ..next
            };
        }
    }
    let token = match emptiness(wish, &identity, pool, &real, proof) {
        Emptiness::Unproven => {
            return Next {
                unproven: Some(pool.name.clone()),
                ..next
            };
        }
        Emptiness::Refused(refusal) => return back(vec![*refusal]),
        Emptiness::Proven => None,
        Emptiness::Confirmed(token) => Some(token),
    };
    let step = match private {
        Some(private) => remove(
            private,
            "the pool has had its private name and was looked into again: remove it".to_owned(),
            token,
        ),
        None => Step {
            command: MonCommand::PoolRename {
                from: pool.name.clone(),
                to: wish
                    .removal_name()
                    .unwrap_or_else(|| real.while_removing(&wish.record.nonce)),
            },
            field: POOL_FIELD.to_owned(),
            desired: "absent".to_owned(),
            observed: pool.name.to_string(),
            reason: "take the pool's name away before it is removed: nobody can use it by mistake any more, and the \
                     removal can only mean this pool"
                .to_owned(),
            last: false,
            token,
        },
    };
    Next {
        round: Round { steps: vec![step] },
        ..next
    }
}

/// What forbids to remove a pool, whatever is in it.
fn forbidden(pool: &Pool, real: &PoolName, refused: Option<&Rejection>) -> Option<Refusal> {
    if let Some(refused) = refused {
        let (reason, remedy) = match refused.verdict {
            Verdict::Guarded => (
                Reason::Blocked,
                "allow it with `ceph config set mon mon_allow_pool_delete true`, and in the ceph.conf of a monitor where \
                 that says otherwise",
            ),
            Verdict::Denied => (
                Reason::PermissionDenied,
                "give the Ceph user the mon capability: allow command \"osd pool rm\"",
            ),
            _ => (Reason::Blocked, "take away what Ceph names"),
        };
        return Some(blocked(
            reason,
            format!(
                "Ceph refuses to remove pool {real}: {} (code {}); {remedy}. It is tried again ever more seldom, since \
                 each try takes the pool's name away for a moment; to have it tried at once, set the annotation \
                 poolwright.dev/reconcile-requested-at to another value",
                refused.text.trim(),
                refused.code
            ),
        ));
    }
    if pool.has_flag(settings::NO_DELETE) {
        return Some(blocked(
            Reason::Blocked,
            format!(
                "pool {real} has the flag nodelete; to let it be removed: `ceph osd pool set {real} nodelete false`"
            ),
        ));
    }
    pool.applications.is_empty().then(|| {
        blocked(
            Reason::OwnedByAnother,
            format!(
                "pool {real} (id {}) carries no mark of this object, since no application is enabled on it, and such \
                 a pool is never removed; remove it by hand",
                pool.id
            ),
        )
    })
}

/// The pool that is this object's, by identity and mark; none where it is gone or somebody else's.
fn ours<'view>(wish: &Wish, view: &'view ClusterView) -> Option<&'view Pool> {
    let pool = match &wish.record.identity {
        Some(identity) => view.identified(identity)?,
        None => view.pool_named(&wish.pool)?,
    };
    let proven = wish.record.identity.is_some() && wish.record.identity_proven;
    match read_mark(pool, &wish.owner) {
        Mark::Ours { claim, .. } => {
            let other = wish.record.claim_recorded && claim != wish.record.claim;
            (!other).then_some(pool)
        }
        Mark::Missing => proven.then_some(pool),
        Mark::Foreign(_) => None,
    }
}

/// Another pool under our private name: the rename has moved a pool that had taken the real name. It gets it back.
fn stranger(wish: &Wish, view: &ClusterView) -> Option<Next> {
    let private = wish.removal_name()?;
    let pool = view.pool_named(&private)?;
    let identity = wish.record.identity.as_ref()?;
    if *identity == view.map().identity(pool) {
        return None;
    }
    let real = wish.record.private_base.clone()?;
    let refusal = blocked(
        Reason::PoolReplaced,
        format!(
            "while pool {real} was to be removed, another pool (id {}) took its name and was renamed in its place; it \
             gets its name back and nothing is removed; look at both before going on",
            pool.id
        ),
    );
    let next = Next {
        // Not ours: nothing of it is recorded.
        found: Some(Found {
            adopting: true,
            ..found(view, pool, wish, true)
        }),
        ..Next::default()
    };
    Some(give_back(view, &private, &real, vec![refusal], next))
}

/// Our private name on a pool that is not this object's any more, since somebody marked it meanwhile: it gets its own
/// name back, and is left to its owner.
fn misnamed(wish: &Wish, view: &ClusterView) -> Option<Next> {
    let private = wish.removal_name()?;
    let pool = view.pool_named(&private)?;
    let real = wish.record.private_base.clone()?;
    let next = Next {
        found: Some(Found {
            adopting: true,
            ..found(view, pool, wish, true)
        }),
        verb: Verb::Delete,
        ..Next::default()
    };
    Some(give_back(view, &private, &real, Vec::new(), next))
}

/// The pool has its private name, and is not removed: it gets its real one back.
fn give_back(
    view: &ClusterView,
    private: &PoolName,
    real: &PoolName,
    mut refusals: Vec<Refusal>,
    next: Next,
) -> Next {
    if let Some(other) = view.pool_named(real) {
        refusals.push(blocked(
            Reason::PoolExists,
            format!(
                "the name {real} was taken by another pool (id {}) while this one was to be removed, so this one keeps \
                 the name {private}; give it another one: `ceph osd pool rename {private} NAME`",
                other.id
            ),
        ));
        return Next { refusals, ..next };
    }
    Next {
        round: Round {
            steps: vec![Step {
                command: MonCommand::PoolRename {
                    from: private.clone(),
                    to: real.clone(),
                },
                field: POOL_FIELD.to_owned(),
                desired: real.to_string(),
                observed: private.to_string(),
                reason: "the pool is not removed, and gets its name back".to_owned(),
                last: false,
                token: None,
            }],
        },
        refusals,
        ..next
    }
}

enum Emptiness {
    /// It was not looked into under the name it has.
    Unproven,
    Proven,
    Confirmed(String),
    Refused(Box<Refusal>),
}

fn emptiness(
    wish: &Wish,
    identity: &PoolIdentity,
    pool: &Pool,
    real: &PoolName,
    proof: Option<&Proof>,
) -> Emptiness {
    let danger = Danger::new("delete", real.as_str());
    let answer = wish.answer(&danger, Some(identity));
    if let Answer::Confirmed(token) = answer {
        return Emptiness::Confirmed(token);
    }
    let Some(proof) = proof.filter(|proof| proof.pool == *identity && proof.name == pool.name)
    else {
        return Emptiness::Unproven;
    };
    let (reason, found) = match &proof.contents {
        Contents::Empty => return Emptiness::Proven,
        Contents::Something(what) => (
            Reason::NotEmpty,
            format!("pool {real} is not empty: {what}; empty it and it is removed by itself"),
        ),
        Contents::Unknown(why) => (
            Reason::NotProven,
            format!("pool {real} is not proven empty: {why}; it is looked at again by itself"),
        ),
    };
    let Answer::Needed(asked) = answer else {
        return Emptiness::Unproven;
    };
    let message = format!(
        "{found}. To remove it and lose what is in it for good, {}",
        wish.how_to_confirm(&asked)
    );
    Emptiness::Refused(Box::new(blocked(reason, message).asking(asked)))
}

fn blocked(reason: Reason, message: String) -> Refusal {
    Refusal::new(reason, Some(POOL_FIELD), message)
}

fn remove(name: PoolName, reason: String, token: Option<String>) -> Step {
    Step {
        desired: "absent".to_owned(),
        observed: name.to_string(),
        command: MonCommand::PoolRemove { pool: name },
        field: POOL_FIELD.to_owned(),
        reason,
        last: false,
        token,
    }
}
