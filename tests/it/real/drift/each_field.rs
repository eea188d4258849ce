//! Each field that somebody changes by hand is put back: all rows of the settings table, one by one.

use poolwright::api::v1alpha1::CephRequest;
use poolwright::ceph::command::MonCommand;
use serde_json::Value;
use tokio::time::Instant;

use super::{AGAIN, LOCKED, OPEN, metadata, records, settled};
use crate::real::steps::{corrections, succeeded};
use crate::real::support::{Case, LIMIT, holds, rounds};

/// Something changed by hand: how, and the commands that put it back.
struct Change {
    what: &'static str,
    by_hand: MonCommand,
    back: &'static [&'static str],
}

/// The entries in which two pools differ.
fn differences<'a>(a: &'a Value, b: &'a Value) -> Vec<(&'a String, &'a Value, &'a Value)> {
    let entries = a.as_object().into_iter().flatten();
    entries
        .filter(|(key, value)| **value != b[*key])
        .map(|(key, value)| (key, value, &b[key]))
        .collect()
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
    let counted = corrections(&case.object(name).await);
    let mut known = 0;
    for (number, change) in (counted + 1..).zip(changes) {
        let what = change.what;
        let began = Instant::now();
        case.hand(&change.by_hand).await;
        let took = case
            .wait_for(&format!("{what} is back"), AGAIN, async || {
                let pool = settled(case.ceph_pool(name).await.ok_or("no pool")?);
                let corrected = corrections(&case.object(name).await);
                holds(corrected >= number, &corrected)?;
                holds(pool == before, &differences(&pool, &before))?;
                Ok(began.elapsed())
            })
            .await;
        let object = case.ready(name).await;
        assert_eq!(corrections(&object), number, "{what}: corrected once");
        // The record of one that moved placement groups is complete when they have followed.
        let requests = case
            .wait_for(
                &format!("{what}: the record is complete"),
                LIMIT,
                async || {
                    let requests = records(case, name).await;
                    let done = requests.iter().all(succeeded);
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
