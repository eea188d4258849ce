//! What people see with kubectl: manifests that are refused with a sentence each, and objects that read well.

use std::path::{Path, PathBuf};

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::process::Command;

use super::steps::{PLAIN, enable};
use super::support::{Case, LIMIT, Said, has_all, holds, run};

/// How many kubectls run at once.
const AT_ONCE: usize = 4;

/// The manifests of a folder.
fn manifests(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/manifests")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a manifest");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// What a manifest's first line expects.
fn expectation(text: &str) -> &str {
    text.lines()
        .next()
        .and_then(|line| line.strip_prefix("# expect: "))
        .expect("a first line `# expect: …`")
}

/// The program itself, offline.
async fn plan(path: &Path) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwright"));
    // There is no cluster: what is wrong with a manifest is said before one is asked for.
    command
        .args(["plan", "--osd-map", "/nonexistent", "-f"])
        .arg(path);
    run(&mut command, None).await
}

/// Text in one line: kubectl breaks the lines of a list of problems.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Issue, "Must show": bad manifests are refused by the API server, and offline by `plan`, with the same sentence.
#[tokio::test(flavor = "multi_thread")]
async fn bad_manifests_are_refused_with_a_sentence_each() {
    let case = Case::shared("bad").await;
    let manifests = manifests("bad");
    assert!(manifests.len() >= 40, "{} manifests", manifests.len());
    let mut wrong = Vec::new();
    let mut judged = stream::iter(&manifests)
        .map(async |(path, text)| {
            let file = path.to_str().expect("a path");
            let online = case.kubectl_with(&["apply", "-f", file], None).await;
            (path, expectation(text), online, plan(path).await)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((path, expected, online, offline)) = judged.next().await {
        for (who, said) in [("kubectl apply", online), ("poolwright plan", offline)] {
            if said.ok || !in_one_line(&said.err).contains(expected) {
                wrong.push(format!(
                    "{who} -f {}\n  wanted: {expected}\n  said: {}{}",
                    path.display(),
                    said.err,
                    said.out
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        manifests.len(),
        wrong.join("\n")
    );
}

/// The API server takes what offline validation takes.
#[tokio::test(flavor = "multi_thread")]
async fn good_manifests_are_accepted() {
    let case = Case::shared("good").await;
    let manifests = manifests("good");
    let judged: Vec<(&PathBuf, Said)> = stream::iter(&manifests)
        .map(async |(path, _)| {
            let file = path.to_str().expect("a path");
            (
                path,
                case.kubectl_with(&["apply", "--dry-run=server", "-f", file], None)
                    .await,
            )
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let wrong: Vec<String> = judged
        .iter()
        .filter(|(_, said)| !said.ok)
        .map(|(path, said)| format!("{}: {}", path.display(), said.err))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A change of an object is judged with the sentence that offline validation has for it.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_judged() {
    let case = Case::shared("changes").await;
    let manifests = manifests("changes");
    let mut wrong = Vec::new();
    let mut judged = stream::iter(&manifests)
        .map(async |(path, text)| {
            // No connection of this name: the objects are judged, and no pools made.
            let text = text.replace(
                "connectionRef: {name: main}",
                "connectionRef: {name: nowhere}",
            );
            let (old, new) = text.split_once("\n---\n").expect("two documents");
            let first = case.kubectl_with(&["apply", "-f", "-"], Some(old)).await;
            let second = case.kubectl_with(&["apply", "-f", "-"], Some(new)).await;
            case.kubectl_with(&["delete", "--ignore-not-found", "-f", "-"], Some(old))
                .await;
            let expected = expectation(&text);
            let as_expected = first.ok
                && match expected {
                    "(nothing)" => second.ok,
                    sentence => !second.ok && in_one_line(&second.err).contains(sentence),
                };
            (!as_expected).then(|| {
                format!(
                    "{}\n  wanted: {expected}\n  said: {}{}",
                    path.display(),
                    first.err,
                    second.err
                )
            })
        })
        .buffer_unordered(AT_ONCE);
    while let Some(found) = judged.next().await {
        wrong.extend(found);
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        manifests.len(),
        wrong.join("\n")
    );
}

/// The cells of a table, by its header: columns are two blanks or more apart.
fn row(table: &str, name: &str) -> Vec<(String, String)> {
    let mut lines = table.lines();
    let header = lines.next().expect("a header");
    let line = lines
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in\n{table}"));
    let mut starts: Vec<usize> = Vec::new();
    let mut blank = true;
    for (at, letter) in header.char_indices() {
        if letter != ' ' && blank {
            starts.push(at);
        }
        blank = letter == ' ';
    }
    let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
    starts
        .iter()
        .zip(ends)
        .map(|(&from, to)| {
            let cell = |text: &str| {
                text.get(from..to.min(text.len()))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            (cell(header), cell(line))
        })
        .collect()
}

fn headers(row: &[(String, String)]) -> Vec<&str> {
    row.iter().map(|(header, _)| header.as_str()).collect()
}

fn cell<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    row.iter()
        .find(|(header, _)| header == column)
        .map_or_else(|| panic!("no column {column}"), |(_, cell)| cell.as_str())
}

/// Issue, "Must show": `kubectl get` in both widths says where the pool is, how it is, and what was done.
#[tokio::test(flavor = "multi_thread")]
async fn tables_read_well() {
    let case = Case::shared("tables").await;
    case.apply("a", PLAIN).await;
    case.kubectl(&["wait", "--for=condition=Ready", "cpool/a", "--timeout=60s"])
        .await;
    let object = case.object("a").await;
    let status = object.status.as_ref().expect("a status");

    let narrow = row(&case.kubectl(&["get", "cpool"]).await, "a ");
    let short = [
        "NAME",
        "CONNECTION",
        "POOL",
        "TYPE",
        "SIZE",
        "PGS",
        "READY",
        "EPOCH",
        "AGE",
    ];
    assert_eq!(headers(&narrow), short);
    let epoch = status.observed_osd_epoch.expect("an epoch").to_string();
    let cells: Vec<&str> = narrow
        .iter()
        .take(8)
        .map(|(_, cell)| cell.as_str())
        .collect();
    assert_eq!(
        cells,
        [
            "a",
            "main",
            &case.pool_name("a"),
            "Replicated",
            "3",
            "4",
            "True",
            &epoch
        ]
    );

    let wide = row(
        &case.kubectl(&["get", "cephpools", "-o", "wide"]).await,
        "a ",
    );
    let mut long = short.to_vec();
    long.splice(8..8, ["POOL-ID", "REQUEST", "MESSAGE"]);
    assert_eq!(headers(&wide), long);
    assert_eq!(
        cell(&wide, "POOL-ID"),
        status.pool_id.expect("an id").to_string()
    );
    assert_eq!(Some(cell(&wide, "REQUEST")), status.request_id.as_deref());
    assert_eq!(
        cell(&wide, "MESSAGE"),
        format!("pool {} is as declared", case.pool_name("a"))
    );

    let requests = row(
        &case.kubectl(&["get", "creq", "-o", "wide"]).await,
        cell(&wide, "REQUEST"),
    );
    assert_eq!(cell(&requests, "POOL"), "a");
    assert_eq!(cell(&requests, "OPERATION"), "Create");
    assert_eq!(cell(&requests, "STATE"), "Complete");
    assert_eq!(cell(&requests, "OUTCOME"), "Succeeded");
    assert_eq!(cell(&requests, "EPOCH"), epoch);
    assert_eq!(
        cell(&requests, "HEADLINE"),
        format!("Creating pool {}", case.pool_name("a"))
    );

    let connections = row(
        &case.kubectl(&["get", "cephconn", "-o", "wide"]).await,
        "main ",
    );
    assert_eq!(cell(&connections, "FSID"), case.cluster().fsid());
    assert_eq!(cell(&connections, "READY"), "True");
    assert!(
        cell(&connections, "MESSAGE").starts_with("connected to cluster "),
        "{connections:?}"
    );

    // The category finds all three kinds.
    let all = case.kubectl(&["get", "poolwright", "-o", "name"]).await;
    for kind in [
        "cephpool.poolwright.dev/a",
        "cephrequest.poolwright.dev/",
        "clusterconnection.poolwright.dev/main",
    ] {
        assert!(all.contains(kind), "{kind} in\n{all}");
    }
}

/// Issue, "Must show": `kubectl describe` shows the identity, the fields that were applied, the request and the events.
#[tokio::test(flavor = "multi_thread")]
async fn descriptions_read_well() {
    let case = Case::shared("describe").await;
    case.apply("a", "{replicated: {size: 3}, minSize: 2, quota: {maxObjects: 9}, applications: [{name: rbd, metadata: {team: a}}], placementGroups: {autoscale: Disabled, count: 4}}").await;
    let object = case.ready("a").await;
    let status = object.status.expect("a status");
    let text = in_one_line(&case.kubectl(&["describe", "cpool", "a"]).await);
    let pool = case.pool_name("a");
    let identity = format!(
        "poolwright.dev/pool: {}/{}/{}/",
        case.cluster().fsid(),
        status.pool_id.expect("an id"),
        status.pool_create_time.expect("a time")
    );
    has_all(
        &text,
        [
            identity.as_str(),
            "Applied Fields: applications[rbd] applications[rbd].metadata[team] minSize placementGroups.autoscale \
         placementGroups.count quota.maxObjects size",
            &format!("Message: pool {pool} is as declared"),
            "Reason: Reconciled",
            "Observed: Crush Rule: replicated_rule Min Size: 2 Pg Num: 4 Pg Num Target: 4 Size: 3 Type: Replicated",
            &format!("Pool Name: {pool}"),
            &format!("Headline: Creating pool {pool}"),
            &format!("Id: {}", status.request_id.expect("a request")),
            "State: Complete",
            "Normal Reconciled",
        ],
    );
}

/// Every field of every kind has a description, and `kubectl explain` prints it.
#[tokio::test(flavor = "multi_thread")]
async fn explanations_read_well() {
    let case = Case::shared("explain").await;
    let text = in_one_line(
        &case
            .kubectl(&["explain", "cephpool.spec.placementGroups"])
            .await,
    );
    has_all(
        &text,
        [
            "KIND: CephPool VERSION: v1alpha1",
            "FIELD: placementGroups <Object>",
            "DESCRIPTION: The number of placement groups, and what Ceph's autoscaler may do with it.",
            "autoscale <string> enum: Enabled, Disabled, Warn Ceph's autoscaler for this pool",
            "count <integer> Number of placement groups (pg_num; pgp_num follows), 1 to 65536",
            "Removed from the spec: unset (1.0).",
        ],
    );
    for kind in ["cephpools", "cephrequests", "clusterconnections"] {
        let crd = case
            .kubectl(&[
                "get",
                "crd",
                &format!("{kind}.poolwright.dev"),
                "-o",
                "json",
            ])
            .await;
        let crd: Value = serde_json::from_str(&crd).expect("JSON");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let mut bare = Vec::new();
        for part in ["spec", "status"] {
            undescribed(&schema[part], part, &mut bare);
        }
        assert!(bare.is_empty(), "{kind}: {bare:?}");
    }
}

/// The fields below a schema that have no description.
fn undescribed(schema: &Value, path: &str, bare: &mut Vec<String>) {
    let described = schema["description"]
        .as_str()
        .is_some_and(|text| text.len() > 3);
    if !described {
        bare.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        undescribed(field, &format!("{path}.{name}"), bare);
    }
    for (name, field) in schema["items"]["properties"]
        .as_object()
        .into_iter()
        .flatten()
    {
        undescribed(field, &format!("{path}[].{name}"), bare);
    }
}

/// kstatus: a waiting script ends at once with what is wrong, and does not wait for what cannot come.
#[tokio::test(flavor = "multi_thread")]
async fn waits_end_and_events_tell() {
    let case = Case::shared("events").await;
    // A pool that is not ours.
    case.hand(&super::steps::create(&case.pool_name("taken")))
        .await;
    case.hand(&enable(&case.pool_name("taken"), "rbd")).await;
    case.seen().await;
    case.apply("taken", PLAIN).await;
    case.kubectl(&[
        "wait",
        "--for=condition=Stalled",
        "cpool/taken",
        "--timeout=60s",
    ])
    .await;
    case.kubectl(&[
        "wait",
        "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=PoolExists",
        "cpool/taken",
        "--timeout=60s",
    ])
    .await;
    let waited = case
        .kubectl_with(
            &[
                "wait",
                "--for=condition=Ready",
                "cpool/taken",
                "--timeout=1s",
            ],
            None,
        )
        .await;
    assert!(
        !waited.ok
            && waited
                .err
                .contains("timed out waiting for the condition on cephpools/taken"),
        "{waited:?}"
    );

    case.apply("a", PLAIN).await;
    case.kubectl(&["wait", "--for=condition=Ready", "cpool/a", "--timeout=60s"])
        .await;
    // Several looks later there is still one event for each thing that happened.
    for _ in 0..3 {
        case.looked("a").await;
        case.looked("taken").await;
    }
    for (object, wanted) in [
        (
            "a",
            vec![("Normal", "Progressing"), ("Normal", "Reconciled")],
        ),
        ("taken", vec![("Warning", "PoolExists")]),
    ] {
        let events = case
            .wait_for("the events", LIMIT, async || {
                let list = case
                    .kubectl(&[
                        "get",
                        "events",
                        "--field-selector",
                        &format!("involvedObject.name={object}"),
                        "-o",
                        "json",
                    ])
                    .await;
                let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
                let events: Vec<Value> = list["items"].as_array().cloned().unwrap_or_default();
                holds(events.len() >= wanted.len(), &events).map(|()| events)
            })
            .await;
        let told: Vec<(&str, &str)> = events
            .iter()
            .map(|event| {
                (
                    event["type"].as_str().unwrap_or("-"),
                    event["reason"].as_str().unwrap_or("-"),
                )
            })
            .collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, wanted, "{events:#?}");
    }
    let table = case.kubectl(&["events", "--for", "cephpool/taken"]).await;
    assert!(
        table.contains("exists and was not made by this object"),
        "{table}"
    );
}
