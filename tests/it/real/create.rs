//! A pool from nothing: three rounds, and never a half-configured one under its real name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{ResourceExt, runtime};
use poolwright::api::v1alpha1::{CephPool, Operation, Outcome, RequestState};
use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use serde_json::Value;
use tokio::time::Duration;

use super::steps::create_of;
use super::support::{Case, condition, pools_of, rounds};

/// Everything that a pool can be created with in three rounds.
pub(crate) const FULL: &str = r#"{
    replicated: {size: 2}, minSize: 2,
    placementGroups: {autoscale: Disabled, count: 8},
    quota: {maxBytes: 1Gi, maxObjects: 1000},
    applications: [{name: rbd, metadata: {team: storage}}],
    flags: {noScrub: true, noDeepScrub: true, noSizeChange: true, noPgChange: true},
}"#;

/// What is missing at a pool that should be as [`FULL`] says.
pub(crate) fn missing(pool: &Value) -> Vec<&'static str> {
    let flags: Vec<&str> = pool["flags_names"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .collect();
    let metadata = &pool["application_metadata"]["rbd"];
    [
        ("size", pool["size"] == 2),
        ("min_size", pool["min_size"] == 2),
        ("autoscale", pool["pg_autoscale_mode"] == "off"),
        ("pg_num", pool["pg_num_target"] == 8),
        ("max_bytes", pool["quota_max_bytes"] == 1 << 30),
        ("max_objects", pool["quota_max_objects"] == 1000),
        ("noscrub", flags.contains(&"noscrub")),
        ("nodeep-scrub", flags.contains(&"nodeep-scrub")),
        ("nosizechange", flags.contains(&"nosizechange")),
        ("nopgchange", flags.contains(&"nopgchange")),
        ("key", metadata["team"] == "storage"),
        (
            "mark",
            metadata["poolwright"].is_string() && metadata["poolwright.object"].is_string(),
        ),
    ]
    .into_iter()
    .filter_map(|(what, there)| (!there).then_some(what))
    .collect()
}

/// Looks at the cluster as fast as it answers, until it is told to stop: how often the pool had a
/// private name, and what was missing whenever it had its real one.
async fn spy(case: &Case, name: &str, stop: Arc<AtomicBool>) -> (usize, Vec<Vec<&'static str>>) {
    let session = case.cluster().connect().await;
    let real = case.pool_name(name);
    let private = format!("{real}.poolwright-new-");
    let (mut hidden, mut half) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = session
            .send(&MonCommand::OsdDump, Duration::from_secs(20))
            .await
            .expect("a reply");
        let dump: Value = serde_json::from_slice(&reply.body).expect("JSON");
        for pool in pools_of(&dump) {
            let found = pool["pool_name"].as_str().unwrap_or_default();
            if found.starts_with(&private) {
                hidden += 1;
            } else if found == real && !missing(pool).is_empty() {
                half.push(missing(pool));
            }
        }
    }
    (hidden, half)
}

/// What kstatus, and so Flux, Argo CD and `kubectl wait`'s friends, make of an object.
fn kstatus(object: &CephPool) -> &'static str {
    let is =
        |type_: &str, status: &str| condition(object, type_).is_some_and(|found| found.0 == status);
    let observed = object
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if observed != object.metadata.generation || is("Reconciling", "True") {
        "InProgress"
    } else if is("Stalled", "True") {
        "Failed"
    } else if is("Ready", "True") {
        "Current"
    } else {
        "InProgress"
    }
}

/// Must show: size, min_size, quotas, an application with a key, fixed PG numbers and flags are
/// Ready in 3 rounds. Rule 3: published by rename, so that nobody sees half a pool.
#[tokio::test(flavor = "multi_thread")]
async fn three_rounds() {
    let case = Case::shared("create").await;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = runtime::watcher(case.pools(), watcher::Config::default())
        .applied_objects()
        .map_ok(|object| (kstatus(&object), object))
        .boxed();
    let history = async {
        let mut seen = seen;
        let mut history: Vec<&'static str> = Vec::new();
        while let Some((state, object)) = seen.try_next().await.expect("a watch") {
            if state == "Current" {
                let pool = case
                    .ceph_pool("full")
                    .await
                    .expect("a Current pool is there");
                assert_eq!(missing(&pool), Vec::<&str>::new(), "{:#?}", object.status);
                history.push(state);
                return history;
            }
            history.push(state);
        }
        history
    };
    let work = async {
        case.apply("full", FULL).await;
        let waited = case
            .kubectl(&[
                "wait",
                "--for=condition=Ready",
                "cephpool/full",
                "--timeout=60s",
            ])
            .await;
        stop.store(true, Ordering::Relaxed);
        waited
    };
    let ((hidden, half), history, waited) =
        tokio::join!(spy(&case, "full", Arc::clone(&stop)), history, work);
    assert_eq!(
        half,
        Vec::<Vec<&str>>::new(),
        "seen half-configured under its real name"
    );
    assert!(hidden > 0, "nobody looked while it was made");
    assert!(waited.contains("condition met"), "{waited}");
    assert!(history.len() > 1, "{history:?}");
    let (last, before) = history.split_last().expect("events");
    assert_eq!(*last, "Current");
    assert!(
        before.iter().all(|state| *state == "InProgress"),
        "{history:?}"
    );

    let requests = case.requests("full").await;
    assert_eq!(requests.len(), 1, "{requests:#?}");
    let request = &requests[0];
    let status = request.status.clone().expect("a status");
    assert_eq!(request.spec.operation, Operation::Create);
    assert_eq!(
        (status.state, status.outcome),
        (RequestState::Complete, Some(Outcome::Succeeded))
    );
    let rounds = rounds(request);
    assert_eq!(
        rounds.iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 6, 6],
        "{rounds:#?}"
    );
    assert!(
        rounds[2][5].starts_with("ceph osd pool rename "),
        "{rounds:#?}"
    );
    let codes = status
        .rounds
        .iter()
        .flat_map(|round| &round.commands)
        .map(|command| command.code);
    assert!(codes.clone().all(|code| code == Some(0)), "{status:#?}");

    // The object says which pool it is, and in which epoch of which cluster that was seen.
    let object = case.object("full").await;
    let pool = case.ceph_pool("full").await.expect("the pool");
    let said = object.status.clone().expect("a status");
    assert_eq!(said.pool_id, pool["pool"].as_i64());
    assert_eq!(
        said.pool_name.as_deref(),
        Some(case.pool_name("full").as_str())
    );
    assert_eq!(said.fsid.as_deref(), Some(case.cluster().fsid().as_str()));
    assert_eq!(said.request_id, Some(request.name_any()));
    assert_eq!(said.observed_osd_epoch, status.observed_epoch);
    assert!(
        said.observed_osd_epoch >= status.awaited_epoch,
        "{status:#?}"
    );
    assert!(said.request.is_some_and(|request| request.nonce.is_none()));
    assert_eq!(said.pending, []);
    let annotation = object
        .annotations()
        .get("poolwright.dev/pool")
        .expect("the identity");
    let identity = format!(
        "{}/{}/{}/",
        said.fsid.expect("an fsid"),
        said.pool_id.expect("an id"),
        said.pool_create_time.expect("a time")
    );
    assert!(annotation.starts_with(&identity), "{annotation} {identity}");
    let claim = &annotation[identity.len()..];
    let mark = pool["application_metadata"]["rbd"]["poolwright"]
        .as_str()
        .expect("a mark");
    assert_eq!(mark.split('/').nth(1), Some(claim), "{mark}");
    assert_eq!(
        pool["application_metadata"]["rbd"]["poolwright.object"],
        format!("{}/full", case.namespace)
    );
    assert!(
        object.finalizers().is_empty(),
        "with Retain nothing holds the object"
    );

    // The harm, by hand: what is created under its real name is there for all before it is configured.
    case.hand(&create_of(&case.pool_name("naive"), 8, Some(2)))
        .await;
    let naive = case.ceph_pool("naive").await.expect("the pool");
    let missing = missing(&naive);
    assert!(
        missing.contains(&"min_size") && missing.contains(&"mark"),
        "{missing:?}"
    );
}

/// Rule 17: `noDelete` comes after publication, since a private pool must stay removable. It costs a fourth round.
#[tokio::test(flavor = "multi_thread")]
async fn four_rounds_with_no_delete() {
    let case = Case::shared("nodelete").await;
    let spec = FULL.replace("noScrub: true,", "noScrub: true, noDelete: true,");
    case.apply("full", &spec).await;
    case.ready("full").await;
    let pool = case.ceph_pool("full").await.expect("the pool");
    assert_eq!(missing(&pool), Vec::<&str>::new());
    assert!(
        pool["flags_names"]
            .as_str()
            .expect("flags")
            .contains("nodelete")
    );
    let requests = case.requests("full").await;
    assert_eq!(requests.len(), 1, "{requests:#?}");
    let rounds = rounds(&requests[0]);
    assert_eq!(
        rounds.iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 6, 6, 1],
        "{rounds:#?}"
    );
    assert!(
        rounds[2][5].starts_with("ceph osd pool rename "),
        "{rounds:#?}"
    );
    assert!(rounds[3][0].ends_with(" nodelete true"), "{rounds:#?}");
    // The harm, by hand: with the flag it could not be removed any more.
    let name = case.pool_name("full");
    let refused = case
        .cluster()
        .try_ceph(&[
            "osd",
            "pool",
            "rm",
            &name,
            &name,
            "--yes-i-really-really-mean-it",
        ])
        .await;
    assert!(!refused.ok && refused.err.contains("EPERM"), "{refused:?}");
}
