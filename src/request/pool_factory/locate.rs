//! Which pool is the object's? By identity first, by the mark second, never by the name alone.

use std::sync::Arc;

use crate::api::conditions::Reason;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::PoolIdentity;
use crate::ceph::view::ClusterView;
use crate::request::ownership::{Mark, read_mark};
use crate::request::refusal::Refusal;
use crate::request::round::POOL_FIELD;
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
        Mark::Foreign { owner } => return Err(owned_by(&owner, pool)),
        Mark::Ours { claim, .. } if wish.record.claim_recorded && claim != wish.record.claim => {
            return Err(owned_by(
                &format!("{} under another claim ({claim})", wish.owner.object()),
                pool,
            ));
        }
        // The nonce stands in the status, which proves a private pool; the mark comes with the real name.
        Mark::Missing if !wish.record.identity_proven && !is_private(wish, pool) => {
            return Err(exists(wish, pool));
        }
        Mark::Ours { .. } | Mark::Missing => {}
    }
    if pool.name == wish.pool {
        Ok(Place::Published(pool))
    } else if is_private(wish, pool) {
        Ok(Place::Private(pool))
    } else {
        Err(Refusal::new(
            Reason::Unsupported,
            Some(POOL_FIELD),
            format!(
                "pool {id} is named {present} in Ceph and {wanted} is asked for; renaming is not supported by \
                 Poolwright {version}, so nothing is sent for this pool; set poolName back, or rename the pool by \
                 hand: `ceph osd pool rename {present} {wanted}`",
                id = pool.id,
                present = pool.name,
                wanted = wish.pool,
                version = env!("CARGO_PKG_VERSION")
            ),
        ))
    }
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
        return Ok(Place::Private(pool));
    }
    by_name(wish, view)
}

/// What the real name says when no identity does.
fn by_name<'view>(wish: &Wish, view: &'view ClusterView) -> Result<Place<'view>, Refusal> {
    let Some(pool) = view.pool_named(&wish.pool) else {
        return Ok(Place::Nowhere);
    };
    match read_mark(pool, &wish.owner) {
        // The same object made again, or its status and annotation lost: it has its pool back.
        Mark::Ours { .. } => Ok(Place::Published(pool)),
        Mark::Foreign { owner } => Err(owned_by(&owner, pool)),
        Mark::Missing => Err(exists(wish, pool)),
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
    match view.pool_named(&wish.pool) {
        Some(other) => Err(Refusal::new(
            Reason::PoolReplaced,
            Some(POOL_FIELD),
            format!(
                "pool {} is not the pool this object kept: {}; find out who replaced it, then delete this object \
                 or restore the pool",
                wish.pool,
                difference(identity, other)
            ),
        )),
        None => Err(Refusal::new(
            Reason::PoolMissing,
            Some(POOL_FIELD),
            format!(
                "pool {} (id {}) is gone from the cluster and is not silently made again, since clients would \
                 mount an empty pool; find out who removed it. To have a new, empty pool, delete this object \
                 and create it again without the annotation poolwright.dev/pool",
                wish.pool, identity.id
            ),
        )),
    }
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

fn exists(wish: &Wish, pool: &Pool) -> Refusal {
    Refusal::new(
        Reason::PoolExists,
        Some(POOL_FIELD),
        format!(
            "pool {} (id {}) exists and was not made by this object; choose another poolName. Taking over an \
             existing pool (adoptionPolicy: IfUnowned) is not supported by Poolwright {}",
            wish.pool,
            pool.id,
            env!("CARGO_PKG_VERSION")
        ),
    )
}

fn owned_by(owner: &str, pool: &Pool) -> Refusal {
    Refusal::new(
        Reason::OwnedByAnother,
        Some(POOL_FIELD),
        format!(
            "pool {} (id {}) carries the mark of {owner}, so nothing is sent to it; leave it to its owner, or \
             choose another poolName",
            pool.name, pool.id
        ),
    )
}
