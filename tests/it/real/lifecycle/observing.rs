//! Objects that only look.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::real::steps::{create, enable, marks, pending, ready, status};
use crate::real::support::Case;

/// Observe: differences are told with the commands that would be sent, and nothing is; without differences it is Ready.
#[tokio::test(flavor = "multi_thread")]
async fn observing() {
    let case = Case::shared("observe").await;
    // A pool that nobody manages.
    let name = case.pool_name("a");
    case.hand(&create(&name)).await;
    case.hand(&enable(&name, "rbd")).await;
    case.seen().await;
    let spec = |size: u8| {
        format!(
            "{{replicated: {{size: {size}}}, minSize: 2, management: Observe, quota: {{maxObjects: 5}}}}"
        )
    };
    case.apply("a", &spec(2)).await;
    let message = case.stalled("a", "ObserveOnly").await;
    assert_eq!(
        message,
        "only observed: size is 3 and should be 2; quota.maxObjects is 0 and should be 5"
    );
    let object = case.object("a").await;
    assert_eq!((ready(&object).0, ready(&object).1), ("False", "Drifted"));
    let size = pending(&object, "size").expect("it differs");
    assert_eq!(
        size.command,
        Some(format!("ceph osd pool set {name} size 2"))
    );
    assert_eq!(
        (size.observed.as_deref(), size.desired.as_deref()),
        (Some("3"), Some("2"))
    );
    let min_size = pending(&object, "minSize").expect("it would have to be set after the size");
    assert_eq!(min_size.observed.as_deref(), Some("2"), "what it is now");

    // As `pending` says, by hand.
    for change in &status(&object).pending {
        let command = change.command.as_ref().expect("a command");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        case.ceph(&words).await;
    }
    let object = case.ready("a").await;
    assert_eq!(status(&object).pending, []);
    assert_eq!(case.sent().await, Vec::<Value>::new());
    assert_eq!(
        marks(&case.its_pool("a").await),
        (None, None),
        "it is not ours"
    );
    assert_eq!(status(&object).pool_id, None);

    // One that is not there: the whole plan, each step once.
    case.apply("b", "{replicated: {size: 2}, management: Observe, applications: [{name: rbd}], quota: {maxObjects: 5}}").await;
    let message = case.stalled("b", "ObserveOnly").await;
    let absent = case.pool_name("b");
    assert_eq!(
        message,
        format!("only observed: there is no pool {absent}, and it would be created")
    );
    let object = case.object("b").await;
    let commands: Vec<&str> = status(&object)
        .pending
        .iter()
        .filter_map(|change| change.command.as_deref())
        .collect();
    let unique: BTreeSet<&str> = commands.iter().copied().collect();
    assert_eq!(commands.len(), unique.len(), "{commands:#?}");
    assert!(
        commands[0].starts_with("ceph osd pool create "),
        "{commands:#?}"
    );
    assert!(
        commands
            .iter()
            .any(|command| command.starts_with("ceph osd pool rename ")),
        "{commands:#?}"
    );
    assert!(case.pool_names().await.iter().all(|pool| *pool == name));

    // From looking to keeping, and back.
    let kept = |management: &str| {
        format!(
            "{{replicated: {{size: 2}}, management: {management}, applications: [{{name: rbd}}], quota: {{maxObjects: 5}}}}"
        )
    };
    case.apply("b", &kept("Manage")).await;
    case.ready("b").await;
    case.apply("b", &kept("Observe")).await;
    case.ready("b").await;
    case.set("b", "max_objects", "6").await;
    case.stalled("b", "ObserveOnly").await;
    case.seen().await;
    assert_eq!(case.its_pool("b").await["quota_max_objects"], 6);
    case.apply("b", &kept("Manage")).await;
    case.ready("b").await;
    assert_eq!(case.its_pool("b").await["quota_max_objects"], 5);
}
