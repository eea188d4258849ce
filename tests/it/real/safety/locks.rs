//! Rule 17: flags that lock, and whose they are.

use poolwright::api::v1alpha1::Outcome;
use serde_json::{Value, json};

use super::{set, sizes};
use crate::real::steps::{create, has_flag, outcome};
use crate::real::support::Case;

/// Rule 17: flags that lock are lifted for a change and set again at the end, when nothing is under way any more;
/// those that somebody else has set are respected and named.
#[tokio::test(flavor = "multi_thread")]
async fn locks() {
    let case = Case::shared("locks").await;
    // The harm: with its lock on, a pool under creation could not be removed again.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    case.hand(&set(&naive, "nodelete", "true")).await;
    let said = case
        .cluster()
        .try_ceph(&[
            "osd",
            "pool",
            "rm",
            &naive,
            &naive,
            "--yes-i-really-really-mean-it",
        ])
        .await;
    assert!(!said.ok && said.err.contains("EPERM"), "{said:?}");

    let spec = |size: u8, count: u8, flags: &str| {
        format!(
            "{{replicated: {{size: {size}}}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: {count}}}{flags}}}"
        )
    };
    let all = ", flags: {noSizeChange: true, noPgChange: true, noDelete: true}";
    case.apply("a", &spec(3, 4, all)).await;
    case.ready("a").await;
    let locked = |pool: &Value| {
        ["nosizechange", "nopgchange", "nodelete"]
            .iter()
            .all(|flag| has_flag(pool, flag))
    };
    assert!(locked(&case.its_pool("a").await));
    let nodelete: Vec<Value> = case
        .sent()
        .await
        .into_iter()
        .filter(|command| command["var"] == "nodelete")
        .collect();
    let names: Vec<&Value> = nodelete.iter().map(|command| &command["pool"]).collect();
    assert_eq!(
        names,
        [&case.pool_name("a")],
        "never under the private name"
    );

    case.apply("a", &spec(2, 8, all)).await;
    case.ready("a").await;
    // The manager moves the placement groups, which nopgchange would keep it from.
    let pool = case
        .until_pool(
            "a",
            "is locked again, with its placement groups where they should be",
            |pool| {
                let done = ["pg_num", "pg_placement_num"]
                    .iter()
                    .all(|number| pool[number] == 8);
                done && locked(pool)
            },
        )
        .await;
    assert_eq!(sizes(&pool), (2, 2));
    case.ready("a").await;
    let change = case.all_ended("a").await.pop().expect("a request");
    assert_eq!(outcome(&change), Some(Outcome::Succeeded), "{change:#?}");

    // Somebody else's.
    case.apply("b", &spec(3, 4, "")).await;
    case.ready("b").await;
    for (flag, size, count, begins) in [
        ("nosizechange", 2, 4, "size is 3 and 2 is asked for"),
        (
            "nopgchange",
            3,
            8,
            "placementGroups.count: pg_num is 4 and 8 is asked for",
        ),
    ] {
        case.set("b", flag, "true").await;
        case.seen().await;
        case.apply(
            "b",
            &spec(size, count, &format!(", quota: {{maxObjects: {size}}}")),
        )
        .await;
        let message = case.stalled("b", "Blocked").await;
        assert!(message.starts_with(begins), "{message}");
        let remedy = format!(
            "take it off with `ceph osd pool set {} {flag} false`, or name it in spec.flags",
            case.pool_name("b")
        );
        assert!(message.contains(&remedy), "{message}");
        let pool = case.its_pool("b").await;
        assert_eq!(
            (sizes(&pool), &pool["pg_num_target"]),
            ((3, 2), &json!(4)),
            "{flag}"
        );
        assert_eq!(pool["quota_max_objects"], size, "the rest is applied");
        assert!(has_flag(&pool, flag), "it stays");
        case.set("b", flag, "false").await;
        case.ready("b").await;
        let pool = case.its_pool("b").await;
        assert_eq!(
            (sizes(&pool), &pool["pg_num_target"]),
            ((i64::from(size), 2), &json!(count)),
            "{flag}"
        );
        case.apply("b", &spec(3, 4, "")).await;
        case.ready("b").await;
    }
}
