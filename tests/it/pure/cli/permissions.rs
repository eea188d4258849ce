//! `permissions`: the smallest line for all, for manifests, and for the users of several connections.

use poolwright::ceph::command::permissions::Permission;
use poolwright::cli::{FAILED, OK};

use super::run;

fn pool(name: &str, connection: &str, more: &str) -> String {
    format!(
        "{{apiVersion: poolwright.dev/v1alpha1, kind: CephPool, metadata: {{name: {name}}}, \
         spec: {{connectionRef: {{name: {connection}}}, type: Replicated, replicated: {{}}, \
         applications: [{{name: rbd}}], {more}}}}}\n---\n"
    )
}

fn connection(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: poolwright.dev/v1alpha1, kind: ClusterConnection, metadata: {{name: {name}}}, \
         spec: {{monitors: [192.0.2.11], keySecretRef: {{namespace: ns, name: ceph}}, {more}}}}}\n---\n"
    )
}

fn printed(manifests: &str, more: &[&str]) -> String {
    let arguments = [&["permissions", "-f", "-"], more].concat();
    let ran = run(&arguments, manifests);
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""), "{}", ran.out);
    ran.out
}

/// Without manifests, all that the program may ever send.
#[test]
fn everything() {
    let ran = run(&["permissions"], "");
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    for permission in Permission::ALL {
        assert!(ran.out.contains(&permission.capability()), "{permission:?}");
    }
    insta::assert_snapshot!("permissions_everything", ran.out);
    let named = run(&["permissions", "--user", "client.it's"], "");
    assert!(
        named
            .out
            .starts_with(r"ceph auth get-or-create 'client.it'\''s' mon 'allow r, "),
        "{}",
        named.out
    );
}

/// With manifests, what these take: no removal, quota, profile or rule that nobody asks for.
#[test]
fn of_manifests() {
    let coded = pool("c", "main", "").replace(
        "type: Replicated, replicated: {}",
        "type: ErasureCoded, erasureCoded: {dataChunks: 2, codingChunks: 1}",
    );
    let lines = [
        printed(&pool("a", "main", ""), &[]),
        printed(
            &pool(
                "a",
                "main",
                "quota: {maxObjects: 5}, deletionPolicy: Delete",
            ),
            &[],
        ),
        printed(
            &(pool("a", "main", "crush: {failureDomain: rack}") + &coded),
            &["--user", "pools"],
        ),
        printed(&pool("a", "main", "management: Observe"), &[]),
    ];
    insta::assert_snapshot!("permissions_of_manifests", lines.concat());
}

/// The grants of a connection and its user count, and each connection has a line.
#[test]
fn of_connections() {
    let granted = connection(
        "main",
        "user: pools, grants: [{name: g, namespaces: {all: true}, allow: [Update, Delete]}]",
    );
    let observing = connection("watched", "management: Observe") + &pool("b", "watched", "");
    let text = printed(&(granted + &observing + &pool("a", "other", "")), &[]);
    insta::assert_snapshot!("permissions_of_connections", text);
}

/// What is wrong is said, and there is no line then.
#[test]
fn mistakes() {
    for (manifests, expected) in [
        (pool("a", "main", "minSize: 0"), "minSize"),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: n}}".to_owned(),
            "there is neither a CephPool nor a ClusterConnection",
        ),
    ] {
        let ran = run(&["permissions", "-f", "-"], &manifests);
        assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""));
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
