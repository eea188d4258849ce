//! What others change is put back; what leaves the manifest is unset or let go.

use poolwright::api::v1alpha1::{CephRequest, Operation, Outcome, RequestState};
use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::settings::{SETTINGS, Shown};
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::support::{Case, LIMIT, holds, rounds};

/// Ten times one poll and one round.
const AGAIN: Duration = Duration::from_secs(15);

/// Every row of the settings table but the locks, which would keep people from changing the rest.
const OPEN: &str = r#"{
    replicated: {size: 3}, minSize: 2,
    placementGroups: {autoscale: Disabled, count: 8, min: 4, max: 16, bias: "1.5", targetSizeBytes: 1Gi, bulk: true},
    quota: {maxBytes: 1Gi, maxObjects: 1000},
    applications: [{name: rbd, metadata: {team: storage, tier: fast}}],
    flags: {noScrub: true, noDeepScrub: true},
}"#;

/// The locks, and the one setting that excludes another.
const LOCKED: &str = r#"{
    replicated: {size: 2}, minSize: 2,
    placementGroups: {autoscale: Disabled, count: 8, targetSizeRatio: "0.3"},
    applications: [{name: rbd}],
    flags: {noSizeChange: true, noPgChange: true, noDelete: true},
}"#;

/// Something changed by hand: how, and the commands that put it back.
struct Change {
    what: &'static str,
    by_hand: MonCommand,
    back: &'static [&'static str],
}

fn metadata(case: &Case, name: &str, key: &str, value: Option<&str>) -> MonCommand {
    let pool = PoolName::new(case.pool_name(name));
    let (application, key) = ("rbd".to_owned(), key.to_owned());
    match value {
        Some(value) => MonCommand::ApplicationSet {
            pool,
            application,
            key,
            value: value.to_owned(),
        },
        None => MonCommand::ApplicationRemove {
            pool,
            application,
            key,
        },
    }
}

/// A pool's entry without what moves by itself.
fn settled(mut pool: Value) -> Value {
    for moving in [
        "last_change",
        "last_force_op_resend",
        "last_force_op_resend_prenautilus",
        "last_force_op_resend_preluminous",
        "pg_num",
        "pg_num_pending",
        "pg_placement_num",
        "last_pg_merge_meta",
    ] {
        pool.as_object_mut().expect("a pool").remove(moving);
    }
    // What `create` was given is kept in 32 bits, what `set` was given in 64.
    if let Some(ratio) = pool["options"]["target_size_ratio"].as_f64() {
        pool["options"]["target_size_ratio"] = json!(format!("{ratio:.6}"));
    }
    // A list of names whose order is Ceph's.
    let mut flags: Vec<&str> = pool["flags_names"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .collect();
    flags.retain(|flag| *flag != "creating");
    flags.sort_unstable();
    let flags = flags.join(",");
    pool["flags_names"] = json!(flags);
    pool.as_object_mut().expect("a pool").remove("flags");
    pool
}

/// The entries in which two pools differ.
fn differences<'a>(a: &'a Value, b: &'a Value) -> Vec<(&'a String, &'a Value, &'a Value)> {
    let entries = a.as_object().into_iter().flatten();
    entries
        .filter(|(key, value)| **value != b[*key])
        .map(|(key, value)| (key, value, &b[key]))
        .collect()
}

async fn corrections(case: &Case, name: &str) -> Vec<CephRequest> {
    let mut requests = case.requests(name).await;
    requests.retain(|request| request.spec.operation == Operation::Correct);
    requests
}

/// The epochs that a request's rounds led to: each is another one.
fn epochs(request: &CephRequest) -> Vec<i64> {
    let status = request.status.as_ref().expect("a status");
    status
        .rounds
        .iter()
        .map(|round| round.epoch.expect("an epoch"))
        .collect()
}

/// Makes each change by hand and sees it put back: after one poll, in one round with just the
/// commands it takes, all under one record.
async fn put_back(case: &Case, name: &str, changes: Vec<Change>) {
    let before = settled(case.ceph_pool(name).await.expect("the pool"));
    let counted = case
        .object(name)
        .await
        .status
        .and_then(|status| status.drift)
        .map_or(0, |drift| drift.corrections);
    let mut known = 0;
    for (number, change) in (counted + 1..).zip(changes) {
        let what = change.what;
        let began = Instant::now();
        case.hand(&change.by_hand).await;
        let took = case
            .wait_for(&format!("{what} is back"), AGAIN, async || {
                let pool = settled(case.ceph_pool(name).await.ok_or("no pool")?);
                let corrected = case
                    .object(name)
                    .await
                    .status
                    .and_then(|status| status.drift);
                let corrected = corrected.map_or(0, |drift| drift.corrections);
                holds(corrected >= number, &corrected)?;
                holds(pool == before, &differences(&pool, &before))?;
                Ok(began.elapsed())
            })
            .await;
        let object = case.ready(name).await;
        let drift = object.status.and_then(|status| status.drift).expect("told");
        assert_eq!(drift.corrections, number, "{what}: corrected once");
        // The record of one that moved placement groups is complete when they have followed.
        let requests = case
            .wait_for(
                &format!("{what}: the record is complete"),
                LIMIT,
                async || {
                    let requests = corrections(case, name).await;
                    let done = requests.iter().all(|request| {
                        let status = request.status.clone().unwrap_or_default();
                        (status.state, status.outcome)
                            == (RequestState::Complete, Some(Outcome::Succeeded))
                    });
                    let newest = requests.iter().flat_map(epochs).max();
                    holds(done && newest > Some(known), &requests)?;
                    Ok(requests)
                },
            )
            .await;
        assert_eq!(
            requests.len(),
            1,
            "{what}: corrections of a generation share a record: {requests:#?}"
        );
        let epochs = epochs(&requests[0]);
        let new = epochs.iter().filter(|epoch| **epoch > known).count();
        assert_eq!(new, 1, "{what}: one round: {:#?}", rounds(&requests[0]));
        known = *epochs.last().expect("a round");
        let rounds = rounds(&requests[0]);
        let sent = rounds.last().expect("a round");
        let pool = case.pool_name(name);
        let expected: Vec<String> = change
            .back
            .iter()
            .map(|rest| format!("ceph osd pool {}", rest.replace("POOL", &pool)))
            .collect();
        let sent: Vec<&str> = sent
            .iter()
            .map(|line| {
                if line.contains(" poolwright") {
                    line.rsplit_once(' ').expect("words").0
                } else {
                    *line
                }
            })
            .collect();
        assert_eq!(sent, expected, "{what}");
        println!("{what}: back after {} ms", took.as_millis());
    }
}

/// Must show: each field changed by hand is back after one poll and one round.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_put_back() {
    let case = Case::shared("drift").await;
    case.apply("open", OPEN).await;
    case.apply("locked", LOCKED).await;
    case.ready("open").await;
    case.ready("locked").await;
    let set = |name, variable, value, back| Change {
        what: variable,
        by_hand: case.setting(name, variable, value),
        back,
    };
    let open = vec![
        set("open", "size", "2", &["set POOL size 3"]),
        set("open", "min_size", "1", &["set POOL min_size 2"]),
        set(
            "open",
            "pg_autoscale_mode",
            "warn",
            &["set POOL pg_autoscale_mode off"],
        ),
        set("open", "pg_num", "12", &["set POOL pg_num 8"]),
        set("open", "pgp_num", "5", &["set POOL pgp_num 8"]),
        set("open", "pg_num_min", "6", &["set POOL pg_num_min 4"]),
        set("open", "pg_num_max", "0", &["set POOL pg_num_max 16"]),
        set(
            "open",
            "pg_autoscale_bias",
            "2.5",
            &["set POOL pg_autoscale_bias 1.5"],
        ),
        set(
            "open",
            "target_size_bytes",
            "0",
            &["set POOL target_size_bytes 1073741824"],
        ),
        set("open", "bulk", "false", &["set POOL bulk true"]),
        set(
            "open",
            "max_bytes",
            "5",
            &["set-quota POOL max_bytes 1073741824"],
        ),
        set(
            "open",
            "max_objects",
            "0",
            &["set-quota POOL max_objects 1000"],
        ),
        set("open", "noscrub", "false", &["set POOL noscrub true"]),
        set(
            "open",
            "nodeep-scrub",
            "false",
            &["set POOL nodeep-scrub true"],
        ),
        Change {
            what: "the value of a key",
            by_hand: metadata(&case, "open", "team", Some("other")),
            back: &["application set POOL rbd team storage"],
        },
        Change {
            what: "a removed key",
            by_hand: metadata(&case, "open", "tier", None),
            back: &["application set POOL rbd tier fast"],
        },
        Change {
            what: "the mark",
            by_hand: metadata(&case, "open", "poolwright", None),
            back: &["application set POOL rbd poolwright"],
        },
        Change {
            what: "the object in the mark",
            by_hand: metadata(&case, "open", "poolwright.object", None),
            back: &["application set POOL rbd poolwright.object"],
        },
    ];
    let locked = vec![
        set(
            "locked",
            "target_size_ratio",
            "0.7",
            &["set POOL target_size_ratio 0.3"],
        ),
        set(
            "locked",
            "nosizechange",
            "false",
            &["set POOL nosizechange true"],
        ),
        set(
            "locked",
            "nopgchange",
            "false",
            &["set POOL nopgchange true"],
        ),
        set("locked", "nodelete", "false", &["set POOL nodelete true"]),
    ];
    tokio::join!(
        put_back(&case, "open", open),
        put_back(&case, "locked", locked)
    );
}

/// Many fields changed at once are one correction, in one round.
#[tokio::test(flavor = "multi_thread")]
async fn many_fields_are_one_round() {
    let case = Case::shared("drifts").await;
    case.apply("open", OPEN).await;
    case.ready("open").await;
    let before = settled(case.ceph_pool("open").await.expect("the pool"));
    case.hand_all(&[
        case.setting("open", "min_size", "3"),
        case.setting("open", "bulk", "0"),
        case.setting("open", "max_bytes", "5"),
        case.setting("open", "max_objects", "5"),
        case.setting("open", "noscrub", "false"),
        case.setting("open", "pg_num_max", "12"),
        metadata(&case, "open", "team", None),
    ])
    .await;
    case.wait_for("all of it is back", AGAIN, async || {
        let pool = settled(case.ceph_pool("open").await.ok_or("no pool")?);
        holds(pool == before, &pool)
    })
    .await;
    case.until("open", "told of", |object| {
        let drift = object
            .status
            .as_ref()
            .and_then(|status| status.drift.as_ref());
        drift.is_some_and(|drift| drift.last_fields.len() == 7)
    })
    .await;
    case.ready("open").await;
    let requests = corrections(&case, "open").await;
    assert_eq!(requests.len(), 1);
    // Commands by hand that came one proposal apart are two corrections; here all were one epoch.
    assert_eq!(
        rounds(&requests[0])
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [7],
        "{requests:#?}"
    );
}

/// Placement groups follow for a while, with much data for hours. What others change meanwhile is
/// put back and recorded, too: of a correction in its own record, of an update in another.
#[tokio::test(flavor = "multi_thread")]
async fn corrections_while_placement_groups_follow() {
    let case = Case::shared("following").await;
    let spec = |count: u8| {
        format!(
            "{{replicated: {{size: 2}}, placementGroups: {{autoscale: Disabled, count: {count}}}, \
             quota: {{maxObjects: 1000}}, applications: [{{name: rbd}}]}}"
        )
    };
    case.apply("a", &spec(16)).await;
    case.ready("a").await;
    // Merging goes one group at a time, some seconds each.
    case.apply("a", &spec(8)).await;
    case.ready("a").await;
    for correction in 1..=2 {
        case.set("a", "max_objects", "5").await;
        case.until("a", "the quota is put back", |object| {
            let drift = object
                .status
                .as_ref()
                .and_then(|status| status.drift.as_ref());
            drift.is_some_and(|drift| drift.corrections == correction)
        })
        .await;
        case.ready("a").await;
    }
    let pool = case.ceph_pool("a").await.expect("the pool");
    assert!(
        pool["pg_num"].as_i64() > Some(8),
        "it was over too soon to show anything: {pool}"
    );
    assert_eq!(pool["quota_max_objects"], 1000);
    let requests = case.requests("a").await;
    let operations: Vec<Operation> = requests
        .iter()
        .map(|request| request.spec.operation)
        .collect();
    assert_eq!(
        operations,
        [Operation::Create, Operation::Update, Operation::Correct],
        "{requests:#?}"
    );
    let complete = |request: &CephRequest| {
        request
            .status
            .as_ref()
            .is_some_and(|status| status.state == RequestState::Complete)
    };
    assert!(!complete(&requests[1]), "{requests:#?}");
    assert!(complete(&requests[2]), "{requests:#?}");
    assert_eq!(rounds(&requests[2]).len(), 2, "{requests:#?}");

    // By hand the other way: that correction is not complete before they are back, the next one is in its record.
    case.set("a", "pg_num", "12").await;
    case.until("a", "the number is put back", |object| {
        let drift = object
            .status
            .as_ref()
            .and_then(|status| status.drift.as_ref());
        drift.is_some_and(|drift| drift.last_fields == ["placementGroups.count"])
    })
    .await;
    case.ready("a").await;
    case.set("a", "max_objects", "5").await;
    case.until("a", "the quota is put back, too", |object| {
        let drift = object
            .status
            .as_ref()
            .and_then(|status| status.drift.as_ref());
        drift.is_some_and(|drift| drift.corrections == 4)
    })
    .await;
    case.ready("a").await;
    let requests = case
        .wait_for("all is complete", LIMIT * 2, async || {
            let requests = case.requests("a").await;
            holds(requests.iter().all(complete), &requests)?;
            Ok(requests)
        })
        .await;
    assert_eq!(requests.len(), 3, "{requests:#?}");
    // The update was not complete then, so what put its number back is its work, too.
    let pool = case.pool_name("a");
    let number = format!("ceph osd pool set {pool} pg_num 8");
    assert_eq!(
        rounds(&requests[1]),
        [[&number], [&number]],
        "{requests:#?}"
    );
    let lines: Vec<&str> = rounds(&requests[2]).into_iter().flatten().collect();
    let quota = format!("ceph osd pool set-quota {pool} max_objects 1000");
    assert_eq!(lines, [&quota, &quota, &number, &quota]);
}

/// Of a disabled application the keys and the mark are gone too. Monitors take keys only of what
/// is enabled already, so this is the one change that costs two rounds.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_application_is_enabled_again() {
    let case = Case::shared("disabled").await;
    case.apply(
        "a",
        "{replicated: {size: 2}, applications: [{name: rbd, metadata: {team: a}}]}",
    )
    .await;
    case.ready("a").await;
    let before = settled(case.ceph_pool("a").await.expect("the pool"));
    let pool = case.pool_name("a");
    case.ceph(&[
        "osd",
        "pool",
        "application",
        "disable",
        &pool,
        "rbd",
        "--yes-i-really-mean-it",
    ])
    .await;
    case.wait_for("it is enabled and marked again", AGAIN, async || {
        let pool = settled(case.ceph_pool("a").await.ok_or("no pool")?);
        holds(
            pool["application_metadata"] == before["application_metadata"],
            &pool,
        )
    })
    .await;
    case.until("a", "told of", |object| {
        object
            .status
            .as_ref()
            .is_some_and(|status| status.drift.is_some())
    })
    .await;
    case.ready("a").await;
    let requests = corrections(&case, "a").await;
    assert_eq!(
        rounds(&requests[0])
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [1, 3],
        "{requests:#?}"
    );
}

/// Must show: each field removed from the spec is unset where Ceph has an unset, and released
/// where it has none: what people do with it later stays.
#[tokio::test(flavor = "multi_thread")]
async fn removed_fields_are_unset_or_released() {
    let case = Case::shared("removed").await;
    let all = OPEN.replace(
        "noDeepScrub: true",
        "noDeepScrub: true, noSizeChange: true, noPgChange: true, noDelete: true",
    );
    // As most people do it; a server-side apply of an empty block is refused by the API server itself.
    let apply = async |name: &str, spec: &str| {
        let manifest = case.manifest(name, spec).to_string();
        case.kubectl_with(&["apply", "-f", "-"], Some(&manifest))
            .await
            .expect("kubectl apply");
    };
    apply("a", &all).await;
    apply("ratio", LOCKED).await;
    case.ready("a").await;
    case.ready("ratio").await;
    let before = case.ceph_pool("a").await.expect("the pool");

    // Left are an application without keys, and one quota to see later that somebody looks.
    apply(
        "a",
        "{replicated: {}, applications: [{name: rbd}], quota: {maxObjects: 1000}}",
    )
    .await;
    apply(
        "ratio",
        "{replicated: {size: 2}, applications: [{name: rbd}]}",
    )
    .await;
    let object = case.ready("a").await;
    case.ready("ratio").await;
    let after = case.ceph_pool("a").await.expect("the pool");
    let ratio = case.ceph_pool("ratio").await.expect("the pool");
    for row in SETTINGS {
        match row.shown {
            Shown::Option(name) => {
                assert!(
                    after["options"].get(name).is_none(),
                    "{name}: {}",
                    after["options"]
                );
                assert!(
                    ratio["options"].get(name).is_none(),
                    "{name}: {}",
                    ratio["options"]
                );
            }
            Shown::Flag(name) => {
                let set = |pool: &Value| {
                    pool["flags_names"]
                        .as_str()
                        .expect("flags")
                        .split(',')
                        .any(|flag| flag == name)
                };
                assert!(
                    !set(&after) && !set(&ratio),
                    "{name}: {} {}",
                    after["flags_names"],
                    ratio["flags_names"]
                );
            }
            Shown::Field(_) | Shown::Numbered(..) => {}
        }
    }
    assert_eq!(after["quota_max_bytes"], 0);
    assert_eq!(after["quota_max_objects"], 1000);
    for released in [
        "size",
        "min_size",
        "pg_autoscale_mode",
        "pg_num_target",
        "pg_placement_num_target",
    ] {
        assert_eq!(
            after[released], before[released],
            "{released} stays as it is"
        );
    }
    let keys: Vec<&String> = after["application_metadata"]["rbd"]
        .as_object()
        .expect("enabled")
        .keys()
        .collect();
    assert_eq!(
        keys,
        ["poolwright", "poolwright.object"],
        "the keys are gone, the mark is not"
    );
    assert_eq!(
        object.status.expect("a status").applied_fields,
        ["applications[rbd]", "quota.maxObjects"]
    );
    let requests = case.requests("a").await;
    let operations: Vec<Operation> = requests
        .iter()
        .map(|request| request.spec.operation)
        .collect();
    assert_eq!(
        operations,
        [Operation::Create, Operation::Update],
        "{requests:#?}"
    );
    assert_eq!(rounds(&requests[1]).len(), 1, "{:#?}", rounds(&requests[1]));

    // Later hand changes of what was released stay, although somebody looks: the quota comes back.
    case.hand_all(&[
        case.setting("a", "size", "2"),
        case.setting("a", "pg_num", "16"),
        case.setting("a", "pg_autoscale_mode", "warn"),
        case.setting("a", "max_objects", "7"),
    ])
    .await;
    case.wait_for("the quota is back", AGAIN, async || {
        let pool = case.ceph_pool("a").await.ok_or("no pool")?;
        holds(
            pool["quota_max_objects"] == 1000,
            &pool["quota_max_objects"],
        )
    })
    .await;
    case.until("a", "told of", |object| {
        object
            .status
            .as_ref()
            .is_some_and(|status| status.drift.is_some())
    })
    .await;
    case.ready("a").await;
    let pool = case.ceph_pool("a").await.expect("the pool");
    assert_eq!(
        (
            &pool["size"],
            &pool["min_size"],
            &pool["pg_num_target"],
            &pool["pg_autoscale_mode"]
        ),
        (&json!(2), &json!(1), &json!(16), &json!("warn"))
    );
    let requests = corrections(&case, "a").await;
    assert_eq!(
        rounds(&requests[0]),
        [[format!(
            "ceph osd pool set-quota {} max_objects 1000",
            case.pool_name("a")
        )]]
    );
}

/// Rule 9: `size` resets `min_size` in Ceph, so it comes in a later round and is checked after.
#[tokio::test(flavor = "multi_thread")]
async fn size_resets_min_size() {
    let case = Case::shared("sizes").await;
    // The harm, by hand: somebody who changes only the size of a careful pool gets a careless one.
    case.hand(&MonCommand::PoolCreate(PoolCreate {
        pool: PoolName::new(case.pool_name("naive")),
        pg_num: 1,
        size: Some(3),
        autoscale_mode: Some("off".into()),
        pg_num_min: None,
        pg_num_max: None,
        bulk: None,
        target_size_bytes: None,
        target_size_ratio: None,
        profile: None,
        rule: None,
    }))
    .await;
    case.set("naive", "min_size", "2").await;
    case.set("naive", "size", "2").await;
    let naive = case.ceph_pool("naive").await.expect("the pool");
    assert_eq!((&naive["size"], &naive["min_size"]), (&json!(2), &json!(1)));
    // Nor does it help to send both in one round, in that order.
    case.set("naive", "size", "3").await;
    tokio::join!(case.set("naive", "min_size", "2"), async {
        sleep(Duration::from_millis(20)).await;
        case.set("naive", "size", "2").await;
    });
    let naive = case.ceph_pool("naive").await.expect("the pool");
    assert_eq!((&naive["size"], &naive["min_size"]), (&json!(2), &json!(1)));

    let spec = |size: u8, min_size: &str| {
        format!(
            "{{replicated: {{size: {size}}}, {min_size} placementGroups: {{autoscale: Disabled, count: 1}}, applications: [{{name: rbd}}]}}"
        )
    };
    case.apply("ours", &spec(3, "minSize: 2,")).await;
    // Of this one nobody names minSize: the safe value is part of the wish.
    case.apply("unnamed", &spec(3, "")).await;
    case.ready("ours").await;
    case.ready("unnamed").await;
    for (name, min_size) in [("ours", "minSize: 2,"), ("unnamed", "")] {
        case.apply(name, &spec(2, min_size)).await;
        case.ready(name).await;
        let pool = case.ceph_pool(name).await.expect("the pool");
        assert_eq!(
            (&pool["size"], &pool["min_size"]),
            (&json!(2), &json!(2)),
            "{name}"
        );
        let requests = case.requests(name).await;
        let update = requests.last().expect("an update");
        let pool = case.pool_name(name);
        assert_eq!(
            rounds(update),
            [
                vec![format!("ceph osd pool set {pool} size 2")],
                vec![format!("ceph osd pool set {pool} min_size 2")]
            ],
            "{name}"
        );
        // By hand there: back to both, in the two rounds it takes.
        case.set(name, "size", "3").await;
        case.wait_for("both are back", LIMIT, async || {
            let pool = case.ceph_pool(name).await.ok_or("no pool")?;
            holds(pool["size"] == 2 && pool["min_size"] == 2, &pool)
        })
        .await;
    }
}
