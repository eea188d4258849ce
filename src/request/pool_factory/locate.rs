//! Which pool is the object's? By identity first, by the mark second, never by the name alone.

use std::sync::Arc;

use crate::api::conditions::Reason;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::PoolIdentity;
use crate::ceph::view::ClusterView;
use crate::request::ownership::{ForeignMark, Mark, read_mark};
use crate::request::refusal::Refusal;
use crate::request::round::POOL_FIELD;
use crate::request::token::{Answer, Danger};
use crate::request::wish::Wish;

/// Where the object's pool is.
#[derive(Debug)]
pub(super) enum Place<'view> {
    /// There is none, and its name is free.
    Nowhere,
    /// It has its private name still.
    Private(&'view Arc<Pool>),
    /// It has its real name.
    Published(&'view Arc<Pool>),
    /// It is this object's and has another name.
    Elsewhere(&'view Arc<Pool>),
    /// It has the real name and no owner, or one whose place a person gave to this object.
    Unowned {
        /// The pool.
        pool: &'view Arc<Pool>,
        /// The token, where it is taken from its owner.
        token: Option<String>,
    },
}

/// Finds the pool, or says why there is none that may be touched.
pub(super) fn locate<'view>(
    wish: &Wish,
    view: &'view ClusterView,
) -> Result<Place<'view>, Refusal> {
    if wish.observe {
        return Ok(looked_at(wish, view));
    }
    let Some(identity) = &wish.record.identity else {
        return unknown(wish, view);
    };
    if identity.fsid != *view.fsid() {
        return Err(Refusal::new(
            Reason::FsidMismatch,
            Some("connectionRef"),
            format!(
                "this object's pool {} is in cluster {}, and the connection reaches cluster {}; correct the \
                 connection, or delete this object and make another for the new cluster",
                identity.id,
                identity.fsid,
                view.fsid()
            ),
        ));
    }
    let Some(pool) = view.identified(identity) else {
        return gone(wish, identity, view);
    };
    match read_mark(pool, &wish.owner) {
        Mark::Foreign(mark) => return foreign(wish, pool, &mark, view),
        Mark::Ours { claim, .. } if is_another(wish, &claim) => {
            return another_claim(wish, pool, &claim, view);
        }
        // The nonce stands in the status, which proves a private pool; the mark comes with the real name.
        Mark::Missing if !wish.record.identity_proven && !is_private(wish, pool) => {
            return unmarked(wish, pool);
        }
        Mark::Ours { .. } | Mark::Missing => {}
    }
    if pool.name == wish.pool {
        Ok(Place::Published(pool))
    } else if wish.record.unpublished && !was_published(wish, pool) {
        // Also when somebody gave it another name: it gets its real one when it is configured.
        Ok(Place::Private(pool))
    } else {
        Ok(Place::Elsewhere(pool))
    }
}

/// Whether a pool has the name that its creation was begun for: it was published, and the process was ended before that
/// was written down.
fn was_published(wish: &Wish, pool: &Pool) -> bool {
    wish.record.private_base.as_ref() == Some(&pool.name)
}

/// Whether a pool has the private name that is recorded for this object.
fn is_private(wish: &Wish, pool: &Pool) -> bool {
    wish.record.unpublished && pool.name == wish.private_name()
}

/// To look at a pool does it no harm, whosever it is.
fn looked_at<'view>(wish: &Wish, view: &'view ClusterView) -> Place<'view> {
    if let Some(pool) = view.pool_named(&wish.pool) {
        return Place::Published(pool);
    }
    let private = view.pool_named(&wish.private_name());
    private
        .filter(|_| wish.record.unpublished)
        .map_or(Place::Nowhere, Place::Private)
}

/// No identity is recorded: a creation under way, a pool that carries our mark, or nothing yet.
fn unknown<'view>(wish: &Wish, view: &'view ClusterView) -> Result<Place<'view>, Refusal> {
    if wish.record.unpublished
        && let Some(pool) = view.pool_named(&wish.private_name())
    {
        // Nobody else would use that name, unless it was given to a pool by hand.
        return match read_mark(pool, &wish.owner) {
            Mark::Foreign(mark) => foreign(wish, pool, &mark, view),
            Mark::Ours { claim, .. } if is_another(wish, &claim) => {
                another_claim(wish, pool, &claim, view)
            }
            Mark::Ours { .. } | Mark::Missing => Ok(Place::Private(pool)),
        };
    }
    by_name(wish, view)
}

/// What the real name says when no identity does.
fn by_name<'view>(wish: &Wish, view: &'view ClusterView) -> Result<Place<'view>, Refusal> {
    let Some(pool) = view.pool_named(&wish.pool) else {
        return Ok(Place::Nowhere);
    };
    match read_mark(pool, &wish.owner) {
        Mark::Ours { claim, .. } if is_another(wish, &claim) => {
            another_claim(wish, pool, &claim, view)
        }
        // The same object made again, or its status and annotation lost: it has its pool back.
        Mark::Ours { .. } => Ok(Place::Published(pool)),
        Mark::Foreign(mark) => foreign(wish, pool, &mark, view),
        Mark::Missing => unmarked(wish, pool),
    }
}

/// Whether a claim is not the one that is recorded, where one is.
pub(super) fn is_another(wish: &Wish, claim: &str) -> bool {
    wish.record.claim_recorded && claim != wish.record.claim
}

/// A pool whose mark names this object, under a claim that it did not make: an object of the same name made it, in a
/// copy of this control plane or by a second controller.
fn another_claim<'view>(
    wish: &Wish,
    pool: &'view Arc<Pool>,
    claim: &str,
    view: &ClusterView,
) -> Result<Place<'view>, Refusal> {
    let owner = format!("{} under another claim ({claim})", wish.owner.object());
    if pool.name != wish.pool {
        return Err(owned_by(
            &owner,
            pool,
            "leave it to its owner, or delete this object",
        ));
    }
    let identity = view.map().identity(pool);
    match wish.answer(&Danger::new("takeOver", claim), Some(&identity)) {
        Answer::Confirmed(token) => Ok(Place::Unowned {
            pool,
            token: Some(token),
        }),
        Answer::Needed(asked) => {
            let remedy = format!(
                "a copy of this control plane, or a second controller, has taken it over: make sure that there is \
                 none any more. To take it back (the grant has to allow TakeOver), {}",
                wish.how_to_confirm(&asked)
            );
            Err(owned_by(&owner, pool, &remedy).asking(asked))
        }
    }
}

/// A pool without an owner.
fn unmarked<'view>(wish: &Wish, pool: &'view Arc<Pool>) -> Result<Place<'view>, Refusal> {
    if pool.name != wish.pool {
        return Err(Refusal::new(
            Reason::PoolReplaced,
            Some(POOL_FIELD),
            format!(
                "pool {} (id {}) is the one that the annotation poolwright.dev/pool names, but it has another name \
                 and no mark of this object; remove the annotation, or give the pool its name back",
                pool.name, pool.id
            ),
        ));
    }
    if wish.adopt {
        Ok(Place::Unowned { pool, token: None })
    } else {
        Err(exists(wish, pool, "was not made by this object"))
    }
}

/// A pool with somebody else's mark: nobody's when that owner is gone, and else only with a person's word.
fn foreign<'view>(
    wish: &Wish,
    pool: &'view Arc<Pool>,
    mark: &ForeignMark,
    view: &ClusterView,
) -> Result<Place<'view>, Refusal> {
    if pool.name != wish.pool {
        return Err(owned_by(
            mark.owner(),
            pool,
            "leave it to its owner, or delete this object",
        ));
    }
    if mark.one_of_several {
        // One word, or one owner who is gone, does not do for several.
        return Err(owned_by(
            mark.owner(),
            pool,
            "it carries the marks of several owners: find out whose it is, and remove the others' marks by hand",
        ));
    }
    if wish.dead_marks.contains(&mark.mark) {
        return if wish.adopt {
            Ok(Place::Unowned { pool, token: None })
        } else {
            let words = format!("carries the mark of {}, which is gone", mark.owner());
            Err(exists(wish, pool, &words))
        };
    }
    let leave = "leave it to its owner, or choose another poolName";
    if !wish.adopt {
        return Err(owned_by(mark.owner(), pool, leave));
    }
    let danger = Danger::new("takeOver", &mark.mark);
    match wish.answer(&danger, Some(&view.map().identity(pool))) {
        Answer::Confirmed(token) => Ok(Place::Unowned {
            pool,
            token: Some(token),
        }),
        Answer::Needed(asked) => {
            let remedy = format!(
                "{leave}. To take it from its owner, which stops looking after it (the grant has to allow TakeOver), {}",
                wish.how_to_confirm(&asked)
            );
            Err(owned_by(mark.owner(), pool, &remedy).asking(asked))
        }
    }
}

/// The recorded pool is not in the map.
fn gone<'view>(
    wish: &Wish,
    identity: &PoolIdentity,
    view: &'view ClusterView,
) -> Result<Place<'view>, Refusal> {
    if wish.record.never_published() {
        // It never had its name, so nothing can have been kept in it.
        return by_name(wish, view);
    }
    if let Some(other) = view.pool_named(&wish.pool) {
        return Err(Refusal::new(
            Reason::PoolReplaced,
            Some(POOL_FIELD),
            format!(
                "pool {} is not the pool this object kept: {}; find out who replaced it, then delete this object \
                 or restore the pool",
                wish.pool,
                difference(identity, other)
            ),
        ));
    }
    missing(wish, identity).map_or(Ok(Place::Nowhere), Err)
}

/// What is said of the object's pool, which is gone, until a person wants it made again.
pub(super) fn missing(wish: &Wish, identity: &PoolIdentity) -> Option<Refusal> {
    let danger = Danger::new("makeAgain", wish.pool.as_str());
    let Answer::Needed(asked) = wish.answer(&danger, Some(identity)) else {
        return None;
    };
    let refusal = Refusal::new(
        Reason::PoolMissing,
        Some(POOL_FIELD),
        format!(
            "pool {} (id {}) is gone from the cluster and is not silently made again, since clients would \
             mount an empty pool; find out who removed it. To have a new, empty pool, {}",
            wish.pool,
            identity.id,
            wish.how_to_confirm(&asked)
        ),
    );
    Some(refusal.asking(asked))
}

/// The mark on the object's pool, or on the pool of its name, of an object that this control plane may have lost.
pub(super) fn doubtful(wish: &Wish, view: &ClusterView) -> Option<ForeignMark> {
    if wish.observe {
        return None;
    }
    let pool = view.pool_named(&wish.pool)?;
    match read_mark(pool, &wish.owner) {
        Mark::Foreign(mark) if mark.same_instance && !wish.dead_marks.contains(&mark.mark) => {
            Some(mark)
        }
        _ => None,
    }
}

/// The token by which a person wants a pool that is gone made again.
pub(super) fn made_again(wish: &Wish) -> Option<String> {
    let identity = wish.record.identity.as_ref()?;
    let danger = Danger::new("makeAgain", wish.pool.as_str());
    wish.confirmed(&danger, Some(identity))
}

/// How a pool differs from the one that is recorded; a cluster built anew counts its pools from 1 again.
pub(super) fn difference(recorded: &PoolIdentity, found: &Pool) -> String {
    if found.id == recorded.id {
        format!(
            "both have id {}, that was created at {} and this at {} (microseconds since 1970)",
            found.id, recorded.create_time, found.create_time
        )
    } else {
        format!("that had id {}, this has id {}", recorded.id, found.id)
    }
}

fn exists(wish: &Wish, pool: &Pool, words: &str) -> Refusal {
    Refusal::new(
        Reason::PoolExists,
        Some(POOL_FIELD),
        format!(
            "pool {} (id {}) exists and {words}; choose another poolName, or set adoptionPolicy: IfUnowned to take \
             it over with what is in it (the grant has to allow Adopt)",
            wish.pool, pool.id,
        ),
    )
}

fn owned_by(owner: &str, pool: &Pool, remedy: &str) -> Refusal {
    Refusal::new(
        Reason::OwnedByAnother,
        Some(POOL_FIELD),
        format!(
            "pool {} (id {}) carries the mark of {owner}, so nothing is sent to it; {remedy}",
            pool.name, pool.id
        ),
    )
}
