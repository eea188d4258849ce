//! What concerns the whole process: the library, what it prints, and the end.

use std::process::Command;

use poolwright::ceph::client::ClientError;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::rados::{Key, Limits, RadosClient};

use super::cluster::{Cluster, limits};
use super::{DEADLINE, SECOND, explicit, ok, refused};
use crate::real::steps::{KEY_OF_20, WRONG_KEY};

/// Runs a test once more in a process of its own, where [`in_child`] is true; how it ended, and its stderr.
fn child(test: &str, variables: &[(&str, &str)]) -> (std::process::ExitStatus, String) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            &format!("real::rados::process::{test}"),
            "--nocapture",
        ])
        .env("POOLWRIGHT_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .output()
        .expect("a process");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test"), "{stdout}");
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn in_child() -> bool {
    std::env::var_os("POOLWRIGHT_TEST_CHILD").is_some()
}

/// Runs what a child is for.
fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
}

/// Without the library there is an error that names it, and why.
#[test]
fn missing_library() {
    if in_child() {
        return block_on(child_missing_library());
    }
    let path = "/nonexistent/librados.so.2";
    let (status, stderr) = child("missing_library", &[("POOLWRIGHT_LIBRADOS", path)]);
    assert!(status.success(), "{stderr}");
}

async fn child_missing_library() {
    let error = RadosClient::connect(Cluster::shared().options(), Limits::default())
        .await
        .expect_err("no library");
    let ClientError::LibraryMissing(text) = error else {
        panic!("{error:?}")
    };
    assert!(text.contains("/nonexistent/librados.so.2"), "{text}");
    assert!(text.contains("No such file"), "{text}");
}

/// librados says nothing on stderr, above all not the key that it cannot read, and takes
/// nothing from the environment.
#[test]
fn quiet() {
    if in_child() {
        return block_on(child_quiet());
    }
    let (status, stderr) = child("quiet", &[("CEPH_ARGS", "--keyring /nonexistent")]);
    assert!(status.success(), "{status}: {stderr}");
    // This one it prints past its own log, where no option reaches.
    let unresolved = "unable to parse addrs in 'does-not-exist.invalid'\n";
    assert_eq!(stderr.replace(unresolved, ""), "");
}

async fn child_quiet() {
    let cluster = Cluster::shared();
    let wrong = Key::parse(WRONG_KEY, "admin").expect("the form of a key");
    let garbage = Key::parse(KEY_OF_20, "admin").expect("the form of a key");
    refused(explicit(&cluster.monitors(), "admin", &garbage), DEADLINE).await;
    refused(explicit(&cluster.monitors(), "admin", &wrong), DEADLINE).await;
    refused(explicit("127.0.0.1:1", "admin", &wrong), SECOND).await;
    refused(
        explicit("does-not-exist.invalid", "admin", &wrong),
        DEADLINE,
    )
    .await;
    let client = cluster.connect(Limits::default()).await;
    ok(&client, &MonCommand::OsdStat).await;
    client.close(DEADLINE).await;
}

/// A program that ends without closing its sessions does not crash; without our exit
/// handler one in five does.
#[test]
fn ends_cleanly() {
    if in_child() {
        return block_on(child_ends_cleanly());
    }
    for (how, times) in [("forget", 15), ("drop", 15), ("connecting", 3)] {
        for _ in 0..times {
            let (status, stderr) = child("ends_cleanly", &[("HOW", how)]);
            assert!(status.success(), "{how}: {status}: {stderr}");
        }
    }
}

async fn child_ends_cleanly() {
    let cluster = Cluster::shared();
    match std::env::var("HOW").expect("how to end").as_str() {
        "connecting" => {
            // librados goes on for its own ten seconds, which the end does not wait for.
            let call = RadosClient::connect(
                explicit("127.0.0.1:1", "admin", &cluster.key()),
                limits(10 * SECOND, DEADLINE),
            );
            let connected = tokio::time::timeout(SECOND, call).await;
            assert!(connected.is_err(), "nobody is there");
        }
        how => {
            let client = cluster.connect(Limits::default()).await;
            ok(&client, &MonCommand::OsdStat).await;
            if how == "forget" {
                std::mem::forget(client);
            }
        }
    }
}
