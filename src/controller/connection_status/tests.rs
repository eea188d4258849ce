//! Every standing of a connection, and what its status says of it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::ceph::crush_map::CrushMap;
use crate::ceph::osd_map::{FullRatios, OsdMap, Pool, PoolKind, Snapshots, StretchMode, Tiering};
use crate::ceph::types::{CreateTime, PoolId};

const FSID: &str = "7f0e0000-0000-4000-8000-000000000001";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("a time"))
}

fn view(epoch: u64, names: &[&str]) -> ClusterView {
    let pools = (1..).zip(names).map(|(id, name)| {
        let pool = Pool {
            id: PoolId(id),
            name: PoolName::new(*name),
            create_time: CreateTime(0),
            last_change: Epoch(1),
            kind: PoolKind::Replicated,
            size: 3,
            min_size: 2,
            placement_groups: crate::ceph::osd_map::PlacementGroups::default(),
            autoscale_mode: "on".into(),
            crush_rule: 0,
            quota_max_bytes: 0,
            quota_max_objects: 0,
            flags: BTreeSet::new(),
            options: std::collections::BTreeMap::new(),
            fast_read: false,
            applications: std::collections::BTreeMap::new(),
            erasure_code_profile: String::new(),
            stripe_width: 0,
            expected_num_objects: 0,
            peering_bucket_count: 0,
            snapshots: Snapshots::default(),
            tiering: Tiering::default(),
        };
        (pool.id, Arc::new(pool))
    });
    let map = OsdMap {
        fsid: Fsid::new(FSID),
        epoch: Epoch(epoch),
        created: Timestamp::UNIX_EPOCH,
        modified: Timestamp::UNIX_EPOCH,
        flags: BTreeSet::new(),
        ratios: FullRatios::default(),
        require_osd_release: None,
        require_osd_release_name: "reef".into(),
        stretch_mode: StretchMode::default(),
        pools: pools.collect(),
        osds: std::collections::BTreeMap::new(),
        moving: BTreeSet::new(),
        erasure_code_profiles: std::collections::BTreeMap::new(),
    };
    ClusterView::new(map, CrushMap::default())
}

fn pool_use(name: &str, has_finalizer: bool, has_pool: bool) -> PoolUse {
    PoolUse {
        namespace: "ns".into(),
        name: name.into(),
        has_finalizer,
        has_pool,
        ..PoolUse::default()
    }
}

fn observation<'a>(
    standing: &'a Standing,
    fsid: &'a Fsid,
    view: &'a ClusterView,
) -> Observation<'a> {
    Observation {
        generation: Some(3),
        deleting: false,
        standing,
        fsid: Some(fsid),
        release: None,
        view: Some(view),
        uses: &[],
        leftovers: &[],
        went_back_from: Epoch::default(),
        leader: None,
    }
}

fn connected() -> Standing {
    Standing::Connected {
        user: "poolwright".into(),
        observe_only: false,
    }
}

/// Every standing in its conditions; `Reconciling` and `Stalled` only while they are True.
#[test]
fn standings() {
    let failed = |reason| Standing::Failed(Problem::new(reason, "why; what to do"));
    let stalled =
        |reason: &'static str| vec![("Ready", "False", reason), ("Stalled", "True", reason)];
    let retried = |reason: &'static str| {
        vec![
            ("Ready", "False", reason),
            ("Reconciling", "True", "ProgressingWithRetry"),
        ]
    };
    let table = [
        (
            Standing::Connecting {
                message: "reading".into(),
            },
            vec![
                ("Ready", "Unknown", "Connecting"),
                ("Reconciling", "True", "Connecting"),
            ],
        ),
        (connected(), vec![("Ready", "True", "Connected")]),
        (failed(Reason::SecretNotFound), retried("SecretNotFound")),
        (failed(Reason::Unreachable), retried("Unreachable")),
        (
            failed(Reason::AuthenticationFailed),
            stalled("AuthenticationFailed"),
        ),
        (failed(Reason::LibraryMissing), stalled("LibraryMissing")),
        (
            failed(Reason::InvalidConfiguration),
            stalled("InvalidConfiguration"),
        ),
        (failed(Reason::InvalidSpec), stalled("InvalidSpec")),
        (failed(Reason::Unsupported), stalled("Unsupported")),
        (failed(Reason::FsidMismatch), stalled("FsidMismatch")),
        (failed(Reason::MapUnreadable), stalled("MapUnreadable")),
        (failed(Reason::EpochWentBack), stalled("EpochWentBack")),
    ];
    let (fsid, view) = (Fsid::new(FSID), view(10, &[]));
    for (standing, expected) in table {
        let status = compute(
            &ClusterConnectionStatus::default(),
            &observation(&standing, &fsid, &view),
            &at(100),
        );
        let got: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| {
                (
                    condition.type_.as_str(),
                    condition.status.as_str(),
                    condition.reason.as_str(),
                )
            })
            .collect();
        assert_eq!(got, expected, "{standing:?}");
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, Some(3));
            assert_eq!(condition.last_transition_time, at(100));
            assert!(!condition.message.is_empty());
        }
    }
}

fn ready(status: &ClusterConnectionStatus) -> &Condition {
    conditions::find(&status.conditions, ConditionType::Ready).expect("a Ready condition")
}

/// What the view shows is there; the message names cluster and user and nothing that moves.
#[test]
fn connected_says_what_is_known() {
    let (fsid, view) = (Fsid::new(FSID), view(10, &["a"]));
    let uses = [pool_use("a", false, true), pool_use("b", false, false)];
    let leftovers = ["x.poolwright-new-1".to_owned()];
    let standing = connected();
    let observation = Observation {
        uses: &uses,
        leftovers: &leftovers,
        ..observation(&standing, &fsid, &view)
    };
    let status = compute(&ClusterConnectionStatus::default(), &observation, &at(1));
    assert_eq!(
        serde_json::to_value(&status).expect("JSON"),
        json!({
            "observedGeneration": 3,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Connected", "observedGeneration": 3,
                "message": format!("connected to cluster {FSID} as client.poolwright"),
                "lastTransitionTime": "1970-01-01T00:00:01Z",
            }],
            "fsid": FSID, "epoch": 10, "requireOsdRelease": "reef", "pools": 1,
            "leftovers": ["x.poolwright-new-1"],
        })
    );
    let again = compute(&status, &observation, &at(60));
    assert_eq!(
        again, status,
        "the same facts give the same status, times included"
    );

    let observe = Standing::Connected {
        user: "poolwright".into(),
        observe_only: true,
    };
    let status = compute(
        &status,
        &Observation {
            standing: &observe,
            ..observation
        },
        &at(2),
    );
    assert!(
        ready(&status)
            .message
            .ends_with("; management is Observe: nothing is changed")
    );
}

/// What cannot be seen any more stays as it was seen last; the epoch never goes down.
#[test]
fn failures_keep_what_was_known() {
    let (fsid, seen) = (Fsid::new(FSID), view(10, &[]));
    let standing = connected();
    let before = compute(
        &ClusterConnectionStatus::default(),
        &observation(&standing, &fsid, &seen),
        &at(1),
    );
    let lost = Standing::Failed(Problem::new(Reason::Unreachable, "no monitor answers"));
    let blind = Observation {
        fsid: None,
        release: None,
        view: None,
        ..observation(&lost, &fsid, &seen)
    };
    let after = compute(&before, &blind, &at(2));
    assert_eq!(
        (&after.fsid, after.epoch, &after.require_osd_release),
        (&before.fsid, Some(10), &before.require_osd_release)
    );
    assert_eq!(ready(&after).last_transition_time, at(2));

    let older = view(4, &[]);
    let after = compute(&before, &observation(&standing, &fsid, &older), &at(3));
    assert_eq!(
        after.epoch,
        Some(10),
        "an epoch that went back lowers nothing"
    );

    let other = Fsid::new("00000000-0000-4000-8000-000000000002");
    let after = compute(&before, &observation(&standing, &other, &older), &at(3));
    assert_eq!(
        (after.fsid.as_deref(), after.epoch),
        (Some(other.as_str()), Some(4)),
        "another cluster by spec.fsid"
    );
}

/// A deleted connection says who still needs it.
#[test]
fn deletion_names_the_holders() {
    let (fsid, view) = (Fsid::new(FSID), view(10, &[]));
    let uses: Vec<_> = "gfedcba"
        .chars()
        .map(|name| pool_use(&name.to_string(), name != 'a', true))
        .collect();
    let standing = connected();
    let observation = Observation {
        deleting: true,
        uses: &uses,
        ..observation(&standing, &fsid, &view)
    };
    let status = compute(&ClusterConnectionStatus::default(), &observation, &at(1));
    assert_eq!(
        ready(&status).message,
        format!(
            "deleted, and kept for the CephPools that still need it: ns/b, ns/c, ns/d, ns/e, ns/f and 1 more; \
             connected to cluster {FSID} as client.poolwright"
        )
    );
}

/// Private names that nobody records, of both kinds, and no other name.
#[test]
fn leftovers_are_private_names_without_a_record() {
    let view = view(
        1,
        &[
            "foo",
            ".mgr",
            "foo.poolwright-new-n1",
            "foo.poolwright-del-n2",
            "bar.poolwright-new-n3",
            "a.poolwright-new-x.poolwright-new-n4",
            "poolwright-new-n5",
        ],
    );
    let recorded = |nonces: &[&str]| {
        nonces
            .iter()
            .map(|&nonce| nonce.to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        leftovers(&view, &recorded(&["n1", "n4"])),
        ["bar.poolwright-new-n3", "foo.poolwright-del-n2"]
    );
    assert_eq!(
        leftovers(&view, &recorded(&["n1", "del-n2", "n3", "n4"])),
        Vec::<String>::new()
    );
    assert_eq!(leftovers(&view, &BTreeSet::new()).len(), 4);
}

/// Conditions at once, numbers of pools every few seconds, the epoch with the resync, nothing never.
#[test]
fn writes_are_rare() {
    let old = ClusterConnectionStatus {
        epoch: Some(1),
        pools: Some(1),
        ..ClusterConnectionStatus::default()
    };
    let epoch = ClusterConnectionStatus {
        epoch: Some(2),
        ..old.clone()
    };
    let counts = ClusterConnectionStatus {
        pools: Some(2),
        ..epoch.clone()
    };
    let leftovers = ClusterConnectionStatus {
        leftovers: vec!["x".into()],
        ..old.clone()
    };
    let generation = ClusterConnectionStatus {
        observed_generation: Some(1),
        ..old.clone()
    };
    let seconds = Duration::from_secs;
    let table = [
        (&old, 0, Write::Never),
        (&old, 9999, Write::Never),
        (&epoch, 0, Write::After(seconds(600))),
        (&epoch, 599, Write::After(seconds(1))),
        (&epoch, 600, Write::Now),
        (&counts, 1, Write::After(seconds(4))),
        (&counts, 5, Write::Now),
        (&leftovers, 0, Write::After(seconds(5))),
        (&generation, 0, Write::Now),
    ];
    for (new, since, expected) in table {
        assert_eq!(
            worth_writing(&old, new, seconds(since), seconds(600)),
            expected,
            "{new:?} after {since} s"
        );
    }
}

/// An event comes with another reason than was told last; that the contact is being made is passed over.
#[test]
fn another_reason_is_news() {
    let status = |standing: Standing| {
        let observation = Observation {
            generation: Some(1),
            deleting: false,
            standing: &standing,
            fsid: None,
            release: None,
            view: None,
            uses: &[],
            leftovers: &[],
            went_back_from: Epoch(0),
            leader: None,
        };
        compute(&ClusterConnectionStatus::default(), &observation, &at(0))
    };
    let connected = status(Standing::Connected {
        user: "poolwright".into(),
        observe_only: false,
    });
    let wrong_key = status(Standing::Failed(Problem::new(
        Reason::AuthenticationFailed,
        "compare the keys",
    )));
    let connecting = status(Standing::Connecting {
        message: "soon".into(),
    });
    let told = |told, status| news(told, status).map(|news| (news.warning, news.reason));
    assert_eq!(told(None, &connected), Some((false, "Connected".into())));
    assert_eq!(told(Some("Connected"), &connected), None);
    assert_eq!(
        told(Some("Connected"), &wrong_key),
        Some((true, "AuthenticationFailed".into()))
    );
    assert_eq!(told(Some("AuthenticationFailed"), &connecting), None);
    assert_eq!(
        told(Some("AuthenticationFailed"), &connected),
        Some((false, "Connected".into()))
    );
}
