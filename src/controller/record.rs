//! What is written down about a pool, out of its object and back into it. Pure.
//!
//! The status is the record; the annotation `poolwright.dev/pool` is the part of it that
//! survives a lost status. Users can write annotations, so an identity that only the annotation
//! names counts together with the mark on the pool, never alone.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::v1alpha1::{ANNOTATION_CONFIRM, ANNOTATION_POOL, CephPool, RequestState};
use crate::ceph::command::MonCommand;
use crate::ceph::types::{CreateTime, Fsid, PoolId, PoolIdentity, PoolName};
use crate::request::token::{self, AskedToken, Confirmations, UsedToken};
use crate::request::wish::Record;

/// What the nonce of a removal begins with in the status.
pub const REMOVAL_NONCE: &str = "del-";

/// Words drawn by the caller, for an object of which nothing is recorded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// For the private name.
    pub nonce: String,
    /// For the mark.
    pub claim: String,
}

/// Reads the record of an object.
pub fn from_object(pool: &CephPool, fresh: Fresh) -> Record {
    let status = pool.status.as_ref();
    let annotated = pool
        .annotations()
        .get(ANNOTATION_POOL)
        .and_then(|text| parse_annotation(text));
    let in_status = in_status(pool);
    let words = status
        .and_then(|status| status.request.as_ref())
        .and_then(|request| request.nonce.as_deref());
    let removal = words.and_then(|words| words.strip_prefix(REMOVAL_NONCE));
    let nonce = words.filter(|_| removal.is_none()).map(str::to_owned);
    // The claim belongs to the pool it was recorded with.
    let claim = annotated
        .as_ref()
        .filter(|(identity, _)| in_status.as_ref().is_none_or(|known| known == identity))
        .map(|(_, claim)| claim.clone());
    Record {
        identity_proven: in_status.is_some(),
        identity: in_status.or_else(|| annotated.map(|(identity, _)| identity)),
        claim_recorded: claim.is_some(),
        claim: claim.unwrap_or(fresh.claim),
        unpublished: nonce.is_some(),
        private_base: words
            .and_then(|_| status.and_then(|status| status.pool_name.clone()))
            .map(PoolName::new),
        removal: removal.map(str::to_owned),
        nonce: nonce.unwrap_or(fresh.nonce),
        applied: status.map_or_else(BTreeSet::new, |status| {
            status.applied_fields.iter().cloned().collect()
        }),
        used: status.map_or_else(Vec::new, |status| {
            let used = status.used_tokens.iter();
            used.map(|used| UsedToken {
                token: used.token.clone(),
                request: used.request_id.clone(),
            })
            .collect()
        }),
    }
}

/// The random part of the private name, as the status keeps it. A removal's says so.
pub fn nonce(record: &Record) -> Option<String> {
    match &record.removal {
        Some(nonce) => Some(format!("{REMOVAL_NONCE}{nonce}")),
        None => record.unpublished.then(|| record.nonce.clone()),
    }
}

/// A command of a request that failed may come for so long, as far as can be told without having seen the cluster since.
const LATE_AFTER_FAILURE: Duration = Duration::from_secs(600);

/// What an earlier process may have left on its way for an object.
#[derive(Clone, Debug, PartialEq)]
pub struct InFlight {
    /// The cluster, where it is recorded: of a pool that was never seen it is not.
    pub fsid: Option<Fsid>,
    /// Names that were about to be given or taken away. Not those that nobody else would use.
    pub names: BTreeSet<PoolName>,
    /// The first step of a removal, which takes the pool's name away.
    pub removal: Option<MonCommand>,
}

/// What an earlier process may have left on its way, as the object says: that it is deleted, or has no grant, or that its
/// cluster does not answer changes nothing about it.
pub fn in_flight(object: &CephPool, now: Timestamp) -> Option<InFlight> {
    let status = object.status.as_ref()?;
    let request = status.request.as_ref()?;
    let failed_lately = request.error.is_some()
        && request
            .completed_at
            .as_ref()
            .is_some_and(|ended| now.duration_since(ended.0).unsigned_abs() < LATE_AFTER_FAILURE);
    let open = request.state != RequestState::Complete || request.nonce.is_some();
    if !open && !failed_lately {
        return None;
    }
    let told = status.pool_name.as_deref().map(PoolName::new);
    let nonce = request.nonce.as_deref();
    let removing = nonce.and_then(|nonce| nonce.strip_prefix(REMOVAL_NONCE));
    let (names, removal) = match (removing, told) {
        (Some(nonce), Some(base)) => {
            let to = base.while_removing(nonce);
            let rename = MonCommand::PoolRename { from: base, to };
            (BTreeSet::new(), Some(rename))
        }
        (_, told) => {
            let wanted = PoolName::new(object.wanted_pool_name());
            (told.into_iter().chain([wanted]).collect(), None)
        }
    };
    Some(InFlight {
        fsid: status.fsid.as_deref().map(Fsid::new),
        names,
        removal,
    })
}

/// What people have confirmed on an object, and what they were asked.
pub fn confirmations(pool: &CephPool) -> Confirmations {
    let annotation = pool.annotations().get(ANNOTATION_CONFIRM);
    let asked = pool.status.iter().flat_map(|status| &status.asked_tokens);
    Confirmations {
        uid: pool.uid().unwrap_or_default(),
        given: annotation.map_or_else(BTreeSet::new, |text| token::parse(text)),
        asked: asked
            .map(|asked| AskedToken {
                token: asked.token.clone(),
                step: asked.step.clone(),
                target: asked.target.clone(),
                generation: asked.generation,
            })
            .collect(),
        // The work on the pool knows them.
        open: BTreeSet::new(),
    }
}

/// The annotation that an object is to have: what is recorded, nothing where there is no pool, and else what stands there.
pub fn kept_annotation(record: &Record, object: &CephPool) -> Option<String> {
    match annotation(record) {
        Some(annotation) => Some(annotation),
        None if record.identity.is_none() => None,
        None => object.annotations().get(ANNOTATION_POOL).cloned(),
    }
}

/// The pool that an object's status records.
pub fn in_status(pool: &CephPool) -> Option<PoolIdentity> {
    let status = pool.status.as_ref()?;
    Some(PoolIdentity {
        fsid: Fsid::new(status.fsid.as_deref()?),
        id: PoolId(status.pool_id?),
        create_time: CreateTime(status.pool_create_time?),
    })
}

/// The pool that an object's annotation names.
pub fn annotated(pool: &CephPool) -> Option<PoolIdentity> {
    let text = pool.annotations().get(ANNOTATION_POOL)?;
    parse_annotation(text).map(|(identity, _)| identity)
}

/// The annotation that a record asks for; none before a pool is known.
pub fn annotation(record: &Record) -> Option<String> {
    let identity = record
        .identity
        .as_ref()
        .filter(|_| record.identity_proven)?;
    Some(format!("{identity}/{}", record.claim))
}

/// `<fsid>/<id>/<create time>/<claim>`.
fn parse_annotation(text: &str) -> Option<(PoolIdentity, String)> {
    let (identity, claim) = text.rsplit_once('/')?;
    if claim.is_empty() {
        return None;
    }
    Some((identity.parse().ok()?, claim.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::{CephPoolStatus, PoolRequestStatus};

    fn fresh() -> Fresh {
        Fresh {
            nonce: "new".into(),
            claim: "drawn".into(),
        }
    }

    fn object(annotation: Option<&str>, status: Option<CephPoolStatus>) -> CephPool {
        let mut pool = CephPool {
            status,
            ..CephPool::default()
        };
        if let Some(text) = annotation {
            pool.annotations_mut()
                .insert(ANNOTATION_POOL.into(), text.into());
        }
        pool
    }

    fn status() -> CephPoolStatus {
        CephPoolStatus {
            fsid: Some("f".into()),
            pool_id: Some(7),
            pool_create_time: Some(9),
            ..CephPoolStatus::default()
        }
    }

    /// The annotation alone is a hint, the status is proof, and the two must agree on a claim.
    #[test]
    fn identities() {
        let record = from_object(&object(Some("f/7/9/c"), None), fresh());
        assert!(record.identity.is_some() && !record.identity_proven);
        assert_eq!((record.claim.as_str(), record.claim_recorded), ("c", true));
        assert_eq!(annotation(&record), None);

        let record = from_object(&object(Some("f/7/9/c"), Some(status())), fresh());
        assert!(record.identity_proven);
        assert_eq!(annotation(&record).as_deref(), Some("f/7/9/c"));

        let record = from_object(&object(Some("f/8/9/c"), Some(status())), fresh());
        assert_eq!(
            record.identity.as_ref().map(|known| known.id),
            Some(PoolId(7))
        );
        assert_eq!(
            (record.claim.as_str(), record.claim_recorded),
            ("drawn", false)
        );

        let record = from_object(&object(Some("nonsense"), None), fresh());
        assert_eq!(record.identity, None);
    }

    /// A nonce in the status means that a creation is not finished.
    #[test]
    fn unfinished_creations() {
        let record = from_object(&object(None, None), fresh());
        assert!(!record.unpublished && record.nonce == "new");
        let begun = CephPoolStatus {
            pool_name: Some("foo".into()),
            request: Some(PoolRequestStatus {
                nonce: Some("ab12".into()),
                ..PoolRequestStatus::default()
            }),
            ..CephPoolStatus::default()
        };
        let record = from_object(&object(None, Some(begun)), fresh());
        assert!(record.unpublished);
        assert_eq!(record.nonce, "ab12");
        assert_eq!(record.private_base, Some(PoolName::new("foo")));
    }
}
