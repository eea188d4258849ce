//! Rule 9: `size` makes Ceph choose `min_size` anew.

use serde_json::json;
use tokio::time::{Duration, sleep};

use super::{set, sizes};
use crate::real::steps::{create, create_of};
use crate::real::support::{Case, LIMIT, holds, rounds};

/// Rule 9: `size` resets `min_size` in Ceph, so it comes in a later round and is checked after.
#[tokio::test(flavor = "multi_thread")]
async fn size_resets_min_size() {
    let case = Case::shared("sizes").await;
    // The harm, by hand: somebody who changes only the size of a careful pool gets a careless one.
    case.hand(&create_of(&case.pool_name("naive"), 1, Some(3)))
        .await;
    case.set("naive", "min_size", "2").await;
    case.set("naive", "size", "2").await;
    let naive = case.ceph_pool("naive").await.expect("the pool");
    assert_eq!((&naive["size"], &naive["min_size"]), (&json!(2), &json!(1)));
    // Nor does it help to send both in one round, in that order. (In which they arrive is not always that: then again.)
    case.wait_for("both arrive in that order", LIMIT, async || {
        case.set("naive", "size", "3").await;
        tokio::join!(case.set("naive", "min_size", "2"), async {
            sleep(Duration::from_millis(20)).await;
            case.set("naive", "size", "2").await;
        });
        let sent = case.sent_by("admin").await;
        let variables: Vec<&str> = sent
            .iter()
            .filter_map(|sent| sent["var"].as_str())
            .collect();
        holds(variables.ends_with(&["min_size", "size"]), &variables)
    })
    .await;
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

/// Rule 9: `size` makes Ceph choose `min_size` anew, so it is set and checked after; and where Ceph lands below the safe
/// value, that is corrected although nobody named it.
#[tokio::test(flavor = "multi_thread")]
async fn size_does_not_lower_min_size() {
    let case = Case::shared("sizes").await;
    // The harm: a pool by hand, with the same steps.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    case.hand(&set(&naive, "min_size", "3")).await;
    case.hand(&set(&naive, "size", "4")).await;
    assert_eq!(
        sizes(&case.its_pool("naive").await),
        (4, 2),
        "min_size was 3"
    );
    case.hand(&set(&naive, "size", "2")).await;
    assert_eq!(
        sizes(&case.its_pool("naive").await),
        (2, 1),
        "writes that one disk loses"
    );

    let spec = |sizes: &str| {
        format!(
            "{{{sizes}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: 4}}}}"
        )
    };
    case.apply("a", &spec("replicated: {size: 3}, minSize: 3"))
        .await;
    case.ready("a").await;
    assert_eq!(sizes(&case.its_pool("a").await), (3, 3));
    // Four copies have no place on three OSDs, and Ceph would not say so: rule 10.
    case.apply("a", &spec("replicated: {size: 4}, minSize: 3"))
        .await;
    let message = case.stalled("a", "CannotPlace").await;
    assert!(message.contains("can place 3 of 4 copies"), "{message}");
    assert_eq!(sizes(&case.its_pool("a").await), (3, 3));
    for (sizes_asked, expected) in [
        ("replicated: {size: 3}, minSize: 2", (3, 2)),
        // Nobody names minSize any more: what it is stays, as long as that is safe.
        ("replicated: {size: 2}", (2, 2)),
        ("replicated: {size: 3}", (3, 2)),
        ("replicated: {size: 2}, minSize: 2", (2, 2)),
    ] {
        case.apply("a", &spec(sizes_asked)).await;
        case.ready("a").await;
        assert_eq!(sizes(&case.its_pool("a").await), expected, "{sizes_asked}");
    }
    // Drift of the one drags the other along.
    case.set("a", "size", "3").await;
    case.set("a", "size", "2").await;
    case.until_pool("a", "safe again", |pool| sizes(pool) == (2, 2))
        .await;
}
