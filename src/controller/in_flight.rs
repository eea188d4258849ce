//! What an earlier process may have left on its way: the names in it are locked before anything is planned.
//!
//! An object says so itself, in its status. It does not matter whether it may still be worked on: a command that was sent
//! for an object that is deleted by now, or has lost its grant, or whose connection is gone, may be executed all the same.

use jiff::Timestamp;

use super::pools::key;
use super::record;
use crate::api::v1alpha1::CephPool;
use crate::request::locks::NameLocks;

/// Locks the names that an object's commands may still use.
pub(super) fn lock(locks: &NameLocks, object: &CephPool, now: Timestamp) {
    let Some(left) = record::in_flight(object, now) else {
        return;
    };
    let key = key(object);
    for name in &left.names {
        locks.lock_name(left.fsid.as_ref(), &key, name);
    }
    if let (Some(fsid), Some(removal)) = (&left.fsid, &left.removal) {
        locks.lock_recorded(fsid, &key, removal);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use tokio::time::Instant;

    use super::*;
    use crate::api::v1alpha1::{CephPoolStatus, DeletionPolicy, PoolRequestStatus, RequestState};
    use crate::ceph::command::MonCommand;
    use crate::ceph::simulated::SimulatedCluster;
    use crate::ceph::types::{Fsid, PoolName};
    use crate::request::locks::LATE;
    use crate::request::round::{Round, Step};
    use crate::request::work::PoolKey;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("a time")
    }

    fn object(name: &str, wanted: &str, told: &str, request: PoolRequestStatus) -> CephPool {
        let mut object = CephPool::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = Some(name.to_owned());
        object.spec.pool_name = Some(wanted.to_owned());
        object.status = Some(CephPoolStatus {
            pool_name: Some(told.to_owned()),
            request: Some(request),
            ..CephPoolStatus::default()
        });
        object
    }

    fn request(state: RequestState, nonce: Option<&str>) -> PoolRequestStatus {
        PoolRequestStatus {
            state,
            nonce: nonce.map(str::to_owned),
            ..PoolRequestStatus::default()
        }
    }

    fn known(mut object: CephPool) -> CephPool {
        if let Some(status) = &mut object.status {
            status.fsid = Some("f".into());
        }
        object
    }

    /// Which names somebody has to wait for, at a first look at a cluster.
    fn waits(object: &CephPool, who: &PoolKey) -> Vec<&'static str> {
        let mut cluster = SimulatedCluster::new(&Fsid::new("f"), 100);
        cluster.edit_map(|map| map.epoch.0 += 1);
        let locks = NameLocks::default();
        lock(&locks, object, second(0));
        let names = ["foo", "old", "other", "old.poolwright-del-ab12"];
        let now = Instant::now();
        let held = names.into_iter().filter(|name| {
            let name = PoolName::new(*name);
            let round = Round {
                steps: vec![Step {
                    command: MonCommand::PoolRename {
                        from: PoolName::new("theirs"),
                        to: name.clone(),
                    },
                    field: String::new(),
                    desired: String::new(),
                    observed: String::new(),
                    reason: String::new(),
                    last: false,
                    token: None,
                }],
            };
            let held = locks.holds_back(&round, &name, who, &cluster.view(), now);
            held.is_some_and(|(_, wait)| wait == LATE)
        });
        held.collect()
    }

    /// Everything that was begun and not seen to its end is locked for all others, whatever the object is like by now.
    #[test]
    fn whose_names_are_locked() {
        use RequestState::{AwaitingOsdMap, Complete, New, Submitted};
        let other = key(&object("b", "x", "x", PoolRequestStatus::default()));
        let failed = |ago: i64| PoolRequestStatus {
            error: Some("not granted".into()),
            completed_at: Some(Time(second(-ago))),
            ..request(Complete, None)
        };
        for (what, request, expected) in [
            ("a change", request(Submitted, None), vec!["foo", "old"]),
            (
                "not answered",
                request(AwaitingOsdMap, None),
                vec!["foo", "old"],
            ),
            ("not begun", request(New, None), vec!["foo", "old"]),
            (
                "a creation",
                request(Submitted, Some("ab12")),
                vec!["foo", "old"],
            ),
            (
                "given up half-way",
                request(Complete, Some("ab12")),
                vec!["foo", "old"],
            ),
            ("failed a moment ago", failed(60), vec!["foo", "old"]),
            ("failed long ago", failed(700), vec![]),
            ("done", request(Complete, None), vec![]),
        ] {
            let plain = object("a", "foo", "old", request);
            let mut deleted = known(plain.clone());
            deleted.metadata.deletion_timestamp = Some(Time(second(0)));
            deleted.spec.deletion_policy = DeletionPolicy::Delete;
            for object in [plain.clone(), known(plain), deleted] {
                assert_eq!(waits(&object, &other), expected, "{what}: {object:?}");
                // Its own work goes on.
                assert_eq!(waits(&object, &key(&object)), [""; 0], "{what}");
            }
        }
        let never = CephPool::default();
        assert_eq!(waits(&never, &other), [""; 0]);
    }

    /// A removal that was begun locks the name that it takes away, for the others and for the removal itself.
    #[test]
    fn removals() {
        let other = key(&object("b", "x", "x", PoolRequestStatus::default()));
        let removing = request(RequestState::Submitted, Some("del-ab12"));
        let object = known(object("a", "foo", "old", removing));
        let names = ["old", "old.poolwright-del-ab12"];
        assert_eq!(waits(&object, &other), names);
        assert_eq!(waits(&object, &key(&object)), names);
    }
}
