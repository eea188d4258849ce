//! What leaves the manifest is unset or let go.

use poolwright::api::v1alpha1::Operation;
use poolwright::ceph::settings::{SETTINGS, Shown};
use serde_json::json;

use super::{AGAIN, LOCKED, OPEN, records};
use crate::real::steps::{has_flag, operations};
use crate::real::support::{Case, holds, rounds};

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
                assert!(
                    !has_flag(&after, name) && !has_flag(&ratio, name),
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
    assert_eq!(
        operations(&requests),
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
    case.corrected("a", 1).await;
    case.looked("a").await;
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
    let requests = records(&case, "a").await;
    assert_eq!(
        rounds(&requests[0]),
        [[format!(
            "ceph osd pool set-quota {} max_objects 1000",
            case.pool_name("a")
        )]]
    );
}
