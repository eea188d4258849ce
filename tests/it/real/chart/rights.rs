//! The controller's rights are those that it uses: none is missing, and none is there for nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{documents, parse, render};
use crate::real::support::{Case, LIMIT, Own, World, holds};

/// Rights that the story of this test has no use for, and who has.
const SELDOM: &[(&str, &str)] = &[
    ("delete cephrequests", "records are removed after a day"),
    (
        "get cephrequests",
        "a record is taken up again after a restart in the middle of a run",
    ),
    (
        "get cephpools",
        "an object is read again when two write to it at once, and asked for by the mark on a pool",
    ),
    (
        "patch clusterconnections/status",
        "an object that this version cannot read",
    ),
];

/// `watch cephpools`, `update cephpools/status`: all that the chart's roles of the controller allow.
async fn allowed() -> BTreeSet<String> {
    let text = render(&[]).await.expect("helm template");
    let mut allowed = BTreeSet::new();
    let strings = |value: &Value| -> Vec<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|text| text.as_str().expect("text").to_owned())
            .collect()
    };
    for role in documents(&text).into_iter().map(parse) {
        let kind = role["kind"].as_str().unwrap_or_default();
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        if !["Role", "ClusterRole"].contains(&kind)
            || ["view", "edit"].iter().any(|end| name.ends_with(end))
        {
            continue;
        }
        for rule in role["rules"].as_array().expect("rules") {
            for verb in strings(&rule["verbs"]) {
                for resource in strings(&rule["resources"]) {
                    assert!(!verb.contains('*') && !resource.contains('*'), "{rule}");
                    allowed.insert(format!("{verb} {resource}"));
                }
            }
        }
    }
    allowed
}

/// The same of an entry of the audit log.
fn right(entry: &Value) -> String {
    let object = &entry["objectRef"];
    let part = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let subresource = match part("subresource") {
        name if name.is_empty() => name,
        name => format!("/{name}"),
    };
    format!(
        "{} {}{subresource}",
        entry["verb"].as_str().unwrap_or_default(),
        part("resource")
    )
}

/// Issue, "Helm": the life of a pool needs every right that the chart gives, but for the few that are named here, and is
/// never refused one.
#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_used() {
    let own = Own {
        // Rounds of a second: a pool is being made for so long that its connection gets its finalizer.
        ceph: vec![("PROPOSE_INTERVAL", "")],
        // As in the chart, so that the rights on the Lease are needed.
        args: vec!["--leader-elect".to_owned()],
        ..Own::default()
    };
    let world = World::own(own).await;
    let case = Case::new(world, "rights").await;
    let spec = |objects: u32| {
        format!(
            "{{replicated: {{size: 2}}, applications: [{{name: rbd}}], quota: {{maxObjects: {objects}}}}}"
        )
    };
    case.apply("a", &spec(5)).await;
    case.ready("a").await;
    case.apply("a", &spec(6)).await;
    case.ready("a").await;

    let seldom: BTreeSet<String> = SELDOM
        .iter()
        .map(|(right, _)| (*right).to_owned())
        .collect();
    let allowed = allowed().await;
    assert!(seldom.is_subset(&allowed), "{seldom:?} of {allowed:?}");
    let expected: BTreeSet<&String> = allowed.difference(&seldom).collect();
    case.wait_for("every right is used", LIMIT, async || {
        let entries = case.world.plane().audit();
        let refused: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["annotations"]["authorization.k8s.io/decision"] != "allow")
            .collect();
        assert!(refused.is_empty(), "{refused:#?}");
        let used: BTreeSet<String> = entries.iter().map(right).collect();
        let unused: Vec<_> = expected
            .iter()
            .filter(|right| !used.contains(**right))
            .collect();
        holds(unused.is_empty(), &unused)
    })
    .await;
}
