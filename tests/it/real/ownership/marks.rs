//! Rule 4: the mark says whose a pool is, and gives it back to its object.

use kube::ResourceExt;

use crate::real::steps::{
    ANNOTATION, PLAIN, annotation, delete, make_annotated, marks, status, untag,
};
use crate::real::support::{Case, condition};

/// Rule 4: while the pool carries somebody else's mark nothing is sent to it; without any mark ours is written again.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_others_are_respected() {
    let case = Case::shared("foreign").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    let ours = marks(&case.its_pool("a").await);
    assert_eq!(ours.1, Some(format!("{}/a", case.namespace)));
    case.mark_of_another("a").await;
    // The two halves of a mark are two commands: what the status says in between does not count.
    case.until("a", "tells whose the pool is", |object| {
        condition(object, "Stalled").is_some_and(|(_, reason, message)| {
            reason == "OwnedByAnother"
                && message.contains("carries the mark of their/pool, so nothing is sent to it")
        })
    })
    .await;
    let sent = case.sent().await.len();
    case.set("a", "size", "2").await;
    case.looked("a").await;
    case.stalled("a", "OwnedByAnother").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        marks(&pool).0.as_deref(),
        Some("another-cluster/12ab/34cd"),
        "never corrected"
    );
    assert_eq!(pool["size"], 2);
    assert_eq!(case.sent().await.len(), sent);

    // Taken off by its owner: the pool is the recorded one, so our mark and our size come back.
    case.hand(&untag(&name, "poolwright")).await;
    case.until_pool("a", "is marked as ours and has its size", |pool| {
        marks(pool) == ours && pool["size"] == 3
    })
    .await;
    case.ready("a").await;

    // A mark of ours under another application counts too: half of one is completed.
    case.hand(&untag(&name, "poolwright.object")).await;
    case.until_pool("a", "has the whole mark", |pool| marks(pool) == ours)
        .await;
    case.ready("a").await;
}

/// Rule 4, Retain: the pool and its mark outlive the object; the same object made again has its pool back, without a
/// single command; with the identity annotation of a backup too.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_object_has_its_pool_back() {
    let case = Case::shared("retain").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let first = case
        .until("a", "has its annotation, and nothing keeps it", |object| {
            object.annotations().contains_key(ANNOTATION) && object.finalizers().is_empty()
        })
        .await;
    let before = case.its_pool("a").await;
    let sent = case.sent().await.len();
    for identity in [None, Some(annotation(&first))] {
        delete(&case, "a").await;
        assert_eq!(case.its_pool("a").await, before, "Retain");
        match &identity {
            None => case.apply("a", PLAIN).await,
            Some(identity) => {
                make_annotated(&case, "a", PLAIN, identity).await;
                case.object("a").await
            }
        };
        case.ready("a").await;
        let again = case
            .until("a", "has its annotation", |object| {
                object.annotations().contains_key(ANNOTATION)
            })
            .await;
        assert_ne!(again.uid(), first.uid());
        assert_eq!(status(&again).pool_id, status(&first).pool_id);
        assert_eq!(
            status(&again).pool_create_time,
            status(&first).pool_create_time
        );
        assert_eq!(
            annotation(&again),
            annotation(&first),
            "the claim of the mark"
        );
        assert_eq!(status(&again).applied_fields, status(&first).applied_fields);
    }
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(case.sent().await.len(), sent);

    // Another claim than the mark's is another owner's annotation.
    let identity = annotation(&first);
    let wrong = format!("{}/00000000", identity.rsplit_once('/').expect("a claim").0);
    delete(&case, "a").await;
    make_annotated(&case, "a", PLAIN, &wrong).await;
    let message = case.stalled("a", "OwnedByAnother").await;
    assert!(message.contains("under another claim"), "{message}");
    assert_eq!(case.its_pool("a").await, before);
}

/// Users can write annotations: one that names a pool which does not carry this object's mark gives nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_annotation_gives_nothing() {
    let case = Case::shared("forged").await;
    case.apply("victim", PLAIN).await;
    let victim = case.ready("victim").await;
    let identity = annotation(&victim);
    let marked = case.its_pool("victim").await;
    let spec = format!(
        "{{poolName: {}, replicated: {{size: 2}}, applications: [{{name: rbd}}], quota: {{maxObjects: 1}}}}",
        case.pool_name("victim")
    );
    // A pool of another object.
    make_annotated(&case, "thief", &spec, &identity).await;
    let message = case.stalled("thief", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/victim", case.namespace)),
        "{message}"
    );
    case.looked("thief").await;
    assert_eq!(case.its_pool("victim").await, marked);
    delete(&case, "thief").await;
    case.ready("victim").await;

    // A pool that nobody marked.
    delete(&case, "victim").await;
    let name = case.pool_name("victim");
    for key in ["poolwright", "poolwright.object"] {
        case.hand(&untag(&name, key)).await;
    }
    let unmarked = case.its_pool("victim").await;
    case.seen().await;
    let sent = case.sent().await.len();
    for object in ["thief", "victim"] {
        make_annotated(&case, object, &spec, &identity).await;
        case.stalled(object, "PoolExists").await;
        case.looked(object).await;
        delete(&case, object).await;
    }
    // A name of its own beside it changes nothing: the annotation still names the stranger's pool.
    let spec = spec.replace(&format!("poolName: {name}"), &format!("poolName: {name}-2"));
    make_annotated(&case, "thief", &spec, &identity).await;
    case.stalled("thief", "PoolReplaced").await;
    assert_eq!(case.its_pool("victim").await, unmarked);
    assert_eq!(case.sent().await.len(), sent);
}

/// A lost status is written again as it was, without a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_status_comes_back() {
    let case = Case::shared("lost").await;
    case.apply("a", PLAIN).await;
    let before = case.ready("a").await;
    let sent = case.sent().await.len();
    for both in [false, true] {
        case.lose_status("a").await;
        if both {
            case.annotate("a", ANNOTATION, None).await;
        }
        let after = case
            .until("a", "has its status and its annotation", |object| {
                object
                    .status
                    .as_ref()
                    .is_some_and(|status| status.pool_id.is_some())
                    && condition(object, "Ready").is_some_and(|ready| ready.0 == "True")
                    && object.annotations().contains_key(ANNOTATION)
            })
            .await;
        assert_eq!(annotation(&after), annotation(&before));
        assert_eq!(status(&after).pool_id, status(&before).pool_id);
        assert_eq!(
            status(&after).applied_fields,
            status(&before).applied_fields
        );
    }
    assert_eq!(case.sent().await.len(), sent);
}
