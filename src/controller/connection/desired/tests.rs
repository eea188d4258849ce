//! What a connection asks for, out of its spec and its Secret.

use serde_json::{Value, json};

use super::*;

const KEY: &str = "AQBnsHxpAAAAABAAq0lHDd0vXGmZ8qTzBxpQpw==";
const FSID: &str = "7f0e0000-0000-4000-8000-000000000001";
const OTHER: &str = "7f0e0000-0000-4000-8000-000000000002";

fn connection(change: impl FnOnce(&mut Value)) -> ClusterConnection {
    let mut object = json!({
        "apiVersion": "poolwright.dev/v1alpha1",
        "kind": "ClusterConnection",
        "metadata": {"name": "main"},
        "spec": {
            "monitors": ["192.0.2.11", "v2:192.0.2.12:3300/0"],
            "user": "poolwright",
            "keySecretRef": {"namespace": "poolwright-system", "name": "ceph-main", "key": "key"},
            "client": {"options": {"ms_client_mode": "secure"}, "maxCommandsInFlight": 16, "commandTimeout": "5s"},
            "grants": [
                {"name": "a", "namespaces": {"names": ["team-a"]}},
                {"name": "b", "namespaces": {"all": true}},
            ],
        },
    });
    change(&mut object);
    serde_json::from_value(object).expect("a connection")
}

fn key() -> Key {
    Key::parse(KEY, "poolwright").expect("a key")
}

/// Everything in the spec that concerns the client is in what it is opened with, and nothing else is.
#[test]
fn only_what_concerns_the_client_opens_another() {
    let desired = |change: fn(&mut Value)| Desired::new(&connection(change).spec, key());
    let before = desired(|_| {});
    assert_eq!(before.mon_host, "192.0.2.11,v2:192.0.2.12:3300/0");
    assert_eq!(
        before.options.get("ms_client_mode").map(String::as_str),
        Some("secure")
    );
    assert_eq!(before.limits.max_commands_in_flight, 16);
    assert_eq!(before.limits.command_timeout, Duration::from_secs(5));

    let same: [fn(&mut Value); 4] = [
        |object| object["spec"]["grants"] = json!([]),
        |object| object["spec"]["management"] = json!("Observe"),
        |object| object["spec"]["resyncInterval"] = json!("1h"),
        |object| object["spec"]["keySecretRef"]["name"] = json!("another-secret-with-the-same-key"),
    ];
    for change in same {
        assert_eq!(desired(change), before);
    }
    let other: [fn(&mut Value); 5] = [
        |object| object["spec"]["monitors"] = json!(["192.0.2.11"]),
        |object| object["spec"]["user"] = json!("admin"),
        |object| object["spec"]["client"]["options"] = json!({}),
        |object| object["spec"]["client"]["maxCommandsInFlight"] = json!(17),
        |object| object["spec"]["client"]["commandTimeout"] = json!("6s"),
    ];
    for change in other {
        assert_ne!(desired(change), before);
    }
    let rotated = Key::parse(&KEY.replace("AQB", "AQC"), "poolwright").expect("a key");
    assert_ne!(Desired::new(&connection(|_| {}).spec, rotated), before);
}

/// A spec that an older schema let in is refused in the schema's words.
#[test]
fn specs_are_judged_again() {
    let wrong = connection(|object| {
        object["spec"]["client"]["options"] = json!({"log_file": "/etc/passwd"});
    });
    let problem = check(&wrong).expect_err("a path");
    assert_eq!(problem.reason, Reason::InvalidSpec);
    assert!(
        problem.message.starts_with("spec.client.options"),
        "{}",
        problem.message
    );
}

fn pinned_of(connection: &ClusterConnection) -> Option<Fsid> {
    pinned(
        &connection.spec,
        &connection.status.clone().unwrap_or_default(),
    )
}

/// The spec's fsid counts before that of the first contact; any other cluster is refused.
#[test]
fn the_cluster_is_pinned() {
    let (fsid, other) = (Fsid::new(FSID), Fsid::new(OTHER));
    let fresh = connection(|_| {});
    assert_eq!(pinned_of(&fresh), None);
    assert_eq!(check_fsid(None, &other, &fresh.spec), Ok(()));

    let known = connection(|object| object["status"] = json!({"fsid": FSID}));
    assert_eq!(pinned_of(&known), Some(fsid.clone()));
    assert_eq!(
        check_fsid(pinned_of(&known).as_ref(), &fsid, &known.spec),
        Ok(())
    );
    assert_eq!(
        check_fsid(pinned_of(&known).as_ref(), &other, &known.spec),
        Err(Problem::new(
            Reason::FsidMismatch,
            format!(
                "the monitors 192.0.2.11, v2:192.0.2.12:3300/0 answer for cluster {OTHER}, but the first contact found \
                 {FSID}; nothing is sent to it. Correct spec.monitors; if {OTHER} is the cluster that is meant, make a \
                 new ClusterConnection for it, or set spec.fsid to it if it replaces the other"
            )
        ))
    );

    let said = connection(|object| {
        object["status"] = json!({"fsid": FSID});
        object["spec"]["fsid"] = json!(OTHER.to_uppercase());
    });
    assert_eq!(
        pinned_of(&said),
        Some(other.clone()),
        "in Ceph's own lower case"
    );
    let problem =
        check_fsid(pinned_of(&said).as_ref(), &fsid, &said.spec).expect_err("another cluster");
    assert!(
        problem.message.contains("but spec.fsid says"),
        "{}",
        problem.message
    );
    assert!(
        problem.message.ends_with("correct spec.fsid"),
        "{}",
        problem.message
    );
}

/// Every error of the client has its own condition, and the message says what to look at.
#[test]
fn errors_become_conditions() {
    let spec = connection(|_| {}).spec;
    let seconds = Duration::from_secs(10);
    let table = [
        (
            ClientError::LibraryMissing("librados.so.2: no such file".into()),
            Reason::LibraryMissing,
            "install librados2",
        ),
        (
            ClientError::AuthenticationFailed {
                user: "client.poolwright".into(),
            },
            Reason::AuthenticationFailed,
            "`ceph auth get client.poolwright` with spec.user and with entry \"key\" of Secret poolwright-system/ceph-main",
        ),
        (
            ClientError::InvalidConfiguration("option x: no".into()),
            Reason::InvalidConfiguration,
            "option x: no; check",
        ),
        (
            ClientError::Unreachable(seconds),
            Reason::Unreachable,
            "no monitor answered within 10 s; check",
        ),
        (
            ClientError::TimedOut {
                command: "osd stat",
                after: Duration::from_millis(10_004),
            },
            Reason::Unreachable,
            "no monitor answered within 10 s; check",
        ),
        (
            ClientError::NotSent {
                command: "osd stat",
                after: seconds,
            },
            Reason::Unreachable,
            "was not sent within 10 s",
        ),
        (ClientError::Closed, Reason::Unreachable, "is closed; check"),
        (
            ClientError::OtherCluster {
                expected: Fsid::new(FSID),
                answered: Fsid::new(OTHER),
            },
            Reason::FsidMismatch,
            "nothing is sent to it",
        ),
    ];
    for (error, reason, part) in table {
        let problem = problem_of(&error, &spec);
        assert_eq!(problem.reason, reason, "{error}");
        assert!(problem.message.contains(part), "{}", problem.message);
    }
}

/// Causes are in the sentence, each once.
#[test]
fn chains_have_every_cause_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("dlopen failed")]
    struct Outer(#[source] std::fmt::Error);
    #[derive(Debug, thiserror::Error)]
    #[error("repeats: {0}")]
    struct Repeats(#[source] Outer);
    assert_eq!(
        chain(&Repeats(Outer(std::fmt::Error))),
        format!("repeats: dlopen failed: {}", std::fmt::Error)
    );
}
