//! librados against real monitors: what works, and that everything that does not ends in time
//! with an error of its own.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expects"
)]

pub(crate) mod cluster;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use poolwright::ceph::client::{ClientError, MonClient, Reply};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::{OsdMap, json};
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient, library};
use poolwright::ceph::types::PoolName;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::cluster::{Cluster, OwnCluster, create, limits, pool_name, remove};

const DEADLINE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(1500);
/// A key in the right form that no cluster knows.
const WRONG_KEY: &str = "AQDvxRhnAAAAABAAnN5Ejt1oyuvbCNVvyPS9ug==";

async fn map(client: &dyn MonClient) -> OsdMap {
    let reply = client.send(&MonCommand::OsdDump, DEADLINE).await;
    json::decode(&reply.expect("a reply").body).expect("an OSD map")
}

async fn has_pool(client: &dyn MonClient, name: &PoolName) -> bool {
    map(client)
        .await
        .pools
        .values()
        .any(|pool| pool.name == *name)
}

async fn ok(client: &dyn MonClient, command: &MonCommand) -> Reply {
    let reply = client.send(command, DEADLINE).await.expect("a reply");
    assert_eq!(reply.code, 0, "{}: {}", command.to_line(), reply.text);
    reply
}

/// Connects with other options; the error, and that it came in time.
async fn refused(options: ConnectOptions, connect_timeout: Duration) -> ClientError {
    let began = Instant::now();
    let error = RadosClient::connect(options, limits(connect_timeout, DEADLINE))
        .await
        .expect_err("this cannot work");
    assert!(
        began.elapsed() < connect_timeout + SLACK,
        "{error} after {:?}",
        began.elapsed()
    );
    error
}

fn explicit(mon_host: &str, user: &str, key: &Key) -> ConnectOptions {
    ConnectOptions::Explicit {
        mon_host: mon_host.into(),
        user: user.into(),
        key: key.clone(),
        options: BTreeMap::new(),
    }
}

/// Says whose monitors they are; the key is in nothing that can be printed.
#[tokio::test]
async fn connects_and_keeps_the_key_to_itself() {
    let cluster = Cluster::shared();
    let client = cluster.connect(Limits::default()).await;
    assert_eq!(*client.fsid(), cluster.fsid());
    let reply = ok(&client, &MonCommand::OsdStat).await;
    assert!(String::from_utf8_lossy(&reply.body).contains("\"epoch\""));
    assert_eq!(
        client.open_sessions(),
        1,
        "none for changes before the first"
    );

    let keyring = std::fs::read_to_string(cluster.conf().with_file_name("keyring")).expect("it");
    let shown = format!("{client:?} {:?}", cluster.options());
    for word in keyring.split_whitespace().filter(|word| word.len() >= 40) {
        assert!(!shown.contains(word), "a key is shown");
    }
    assert!(client.close(DEADLINE).await);
    assert_eq!(client.open_sessions(), 0);
    let closed = client.send(&MonCommand::OsdStat, DEADLINE).await;
    assert_eq!(closed, Err(ClientError::Closed));
    let closed = client.send(&remove(&pool_name("none")), DEADLINE).await;
    assert_eq!(closed, Err(ClientError::Closed));
}

/// The library says where it is from.
#[tokio::test]
async fn library_is_found() {
    let library = library().expect("librados");
    assert!(library.path().is_absolute(), "{}", library.path().display());
    assert!(library.path().to_string_lossy().contains("librados"));
    assert_eq!(library.version().0, 3);
}

/// `plan --conf`: a ceph.conf and the keyring it names.
#[tokio::test]
async fn connects_by_a_conf_file() {
    let cluster = Cluster::shared();
    let with = |path: std::path::PathBuf, user: &str| ConnectOptions::ConfFile {
        path,
        user: user.into(),
    };
    let client = RadosClient::connect(with(cluster.conf(), "admin"), Limits::default())
        .await
        .expect("a session");
    assert_eq!(*client.fsid(), cluster.fsid());
    client.close(DEADLINE).await;

    let missing = refused(with("/nonexistent/ceph.conf".into(), "admin"), DEADLINE).await;
    let ClientError::InvalidConfiguration(text) = missing else {
        panic!("{missing:?}")
    };
    assert!(text.contains("/nonexistent/ceph.conf"), "{text}");
    let no_key = refused(with(cluster.conf(), "nobody"), DEADLINE).await;
    assert_eq!(
        no_key,
        ClientError::AuthenticationFailed {
            user: "client.nobody".into()
        }
    );
}

/// A wrong key and an unknown user are refused at once.
#[tokio::test]
async fn wrong_keys_are_refused() {
    let cluster = Cluster::shared();
    let wrong = Key::parse(WRONG_KEY, "admin").expect("the form of a key");
    for (user, key) in [
        ("admin", &wrong),
        ("nobody", &wrong),
        ("nobody", &cluster.key()),
    ] {
        let began = Instant::now();
        let error = refused(explicit(&cluster.monitors(), user, key), DEADLINE).await;
        let user = format!("client.{user}");
        assert_eq!(error, ClientError::AuthenticationFailed { user });
        assert!(began.elapsed() < 3 * SECOND);
    }
}

/// Nobody at the address, or at the port.
#[tokio::test]
async fn unreachable_monitors() {
    let cluster = Cluster::shared();
    for address in ["192.0.2.1", "v2:127.0.0.1:1/0", "127.0.0.1:1"] {
        let timeout = Duration::from_millis(1500);
        let error = refused(explicit(address, "admin", &cluster.key()), timeout).await;
        assert_eq!(error, ClientError::Unreachable(timeout), "{address}");
    }
}

/// What librados itself finds wrong with the settings.
#[tokio::test]
async fn wrong_settings() {
    let cluster = Cluster::shared();
    // Base64, and not a key inside.
    let garbage = Key::parse(&"QUJD".repeat(12), "admin").expect("the form of a key");
    let with_option = |option: &str, value: &str| ConnectOptions::Explicit {
        mon_host: cluster.monitors(),
        user: "admin".into(),
        key: cluster.key(),
        options: BTreeMap::from([(option.to_owned(), value.to_owned())]),
    };
    for (options, expected) in [
        (explicit(&cluster.monitors(), "admin", &garbage), "key"),
        (
            explicit("does-not-exist.invalid", "admin", &cluster.key()),
            "does not resolve",
        ),
        (explicit(" ", "admin", &cluster.key()), "no address"),
        (with_option("no_such_option", "1"), "no_such_option"),
        (
            with_option("ms_connection_ready_timeout", "soon"),
            "ms_connection_ready_timeout",
        ),
    ] {
        let error = refused(options, DEADLINE).await;
        let ClientError::InvalidConfiguration(text) = error else {
            panic!("{expected}: {error:?}")
        };
        assert!(text.contains(expected), "{text}");
    }
}

/// A setting for a secure session is passed on.
#[tokio::test]
async fn secure_mode() {
    let cluster = Cluster::shared();
    let mut options = cluster.options();
    if let ConnectOptions::Explicit { options, .. } = &mut options {
        options.insert("ms_client_mode".into(), "secure".into());
    }
    let client = RadosClient::connect(options, Limits::default())
        .await
        .expect("a session");
    ok(&client, &MonCommand::OsdStat).await;
    client.close(DEADLINE).await;
}

/// The words and the code of a refusal come through.
#[tokio::test]
async fn refusals_are_replies() {
    let client = Cluster::shared().connect(Limits::default()).await;
    let command = MonCommand::PoolSet {
        pool: pool_name("missing"),
        variable: "size".into(),
        value: "3".into(),
    };
    let reply = client.send(&command, DEADLINE).await.expect("a reply");
    assert_eq!(reply.code, -2);
    assert!(reply.text.contains("unrecognized pool"), "{}", reply.text);
    assert_eq!(client.open_sessions(), 2);
    client.close(DEADLINE).await;
}

/// A command sent alone has a session of its own, gone afterwards.
#[tokio::test]
async fn alone() {
    let client = Cluster::shared().connect(Limits::default()).await;
    let pool = pool_name("alone");
    let reply = client
        .send_alone(&create(&pool), DEADLINE)
        .await
        .expect("a reply");
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(has_pool(&client, &pool).await);
    let reply = client
        .send_alone(&remove(&pool), DEADLINE)
        .await
        .expect("a reply");
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(!has_pool(&client, &pool).await);
    one_session(&client).await;
    client.close(DEADLINE).await;
}

/// A command handed over after another reaches the monitor after it: the last of two values
/// stands. Also when the session has yet to be opened.
#[tokio::test]
async fn later_commands_come_later() {
    let cluster = Cluster::shared();
    let pool = pool_name("order");
    let first = cluster.connect(Limits::default()).await;
    ok(&first, &create(&pool)).await;
    for round in 0..10 {
        let client = Arc::new(cluster.connect(Limits::default()).await);
        let set = |value: &str| MonCommand::PoolSet {
            pool: pool.clone(),
            variable: "min_size".into(),
            value: value.into(),
        };
        let mut calls = JoinSet::new();
        for value in if round % 2 == 0 {
            ["1", "2"]
        } else {
            ["2", "1"]
        } {
            let (client, command) = (Arc::clone(&client), set(value));
            calls.spawn(async move { ok(&*client, &command).await });
            sleep(Duration::from_millis(5)).await;
        }
        calls.join_all().await;
        let map = map(&*client).await;
        let found = map
            .pools
            .values()
            .find(|found| found.name == pool)
            .expect("the pool");
        assert_eq!(
            found.min_size,
            if round % 2 == 0 { 2 } else { 1 },
            "round {round}"
        );
        client.close(DEADLINE).await;
    }
    ok(&first, &remove(&pool)).await;
    first.close(DEADLINE).await;
}

/// 512 commands at once need no more than a few proposals; reads are not held up by them.
#[tokio::test(flavor = "multi_thread")]
async fn many_in_flight() {
    let cluster = Cluster::shared();
    let client = Arc::new(cluster.connect(Limits::default()).await);
    let pool = pool_name("many");
    ok(&*client, &create(&pool)).await;
    let before = map(&*client).await.epoch;
    let began = Instant::now();
    let mut sent = JoinSet::new();
    for number in 0..512 {
        let (client, pool) = (Arc::clone(&client), pool.clone());
        sent.spawn(async move {
            let command = MonCommand::PoolSetQuota {
                pool,
                field: "max_objects".into(),
                value: (1000 + number).to_string(),
            };
            ok(&*client, &command).await
        });
    }
    sleep(Duration::from_millis(1)).await;
    let read = Instant::now();
    ok(&*client, &MonCommand::OsdStat).await;
    assert!(
        read.elapsed() < SECOND,
        "a read waited for {:?}",
        read.elapsed()
    );
    sent.join_all().await;
    let epochs = map(&*client).await.epoch.0 - before.0;
    let took = began.elapsed();
    assert!(took < 15 * SECOND, "{took:?}");
    assert!(epochs < 256, "{epochs} epochs");
    assert_eq!(client.open_sessions(), 2);
    ok(&*client, &remove(&pool)).await;
    client.close(DEADLINE).await;
}

/// Rule 16 on a frozen monitor: every call ends at its deadline, the handle for changes takes
/// no more, and a fresh one works after the thaw. As long as librados has not given it up, the
/// create that timed out is executed all the same: the harm that the rule is about.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_monitor() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(2 * SECOND, 10 * SECOND)).await);
    let (before, frozen, patient) = (
        pool_name("before"),
        pool_name("frozen"),
        pool_name("patient"),
    );
    ok(&*client, &create(&before)).await;
    assert_eq!(client.open_sessions(), 2);

    cluster.freeze().await;
    let waiting = tokio::spawn({
        let (client, patient) = (Arc::clone(&client), patient.clone());
        async move { ok(&*client, &create(&patient)).await }
    });
    let deadline = 2 * SECOND;
    let mut calls = JoinSet::new();
    for kind in 0..4 {
        let (client, frozen, before) = (Arc::clone(&client), frozen.clone(), before.clone());
        calls.spawn(async move {
            let began = Instant::now();
            let result = match kind {
                0 => client.send(&MonCommand::OsdStat, deadline).await,
                1 => {
                    client
                        .read_after_changes(&MonCommand::OsdStat, deadline)
                        .await
                }
                2 => client.send(&create(&frozen), deadline).await,
                _ => client.send_alone(&remove(&before), deadline).await,
            };
            let took = began.elapsed();
            let error = result.expect_err("nobody answers");
            assert!(took < deadline + SLACK, "{error} after {took:?}");
            error
        });
    }
    let (timed_out, not_sent): (Vec<_>, Vec<_>) = calls
        .join_all()
        .await
        .into_iter()
        .partition(ClientError::outcome_unknown);
    assert_eq!(timed_out.len(), 3, "{timed_out:?}");
    // Sent alone, it could not even connect: it was not executed.
    assert!(matches!(*not_sent, [ClientError::Unreachable(after)] if after <= deadline));

    // The old handle takes no more: the next change would need another one.
    let error = client
        .send(&create(&frozen), deadline)
        .await
        .expect_err("nobody answers");
    assert!(!error.outcome_unknown(), "it was sent: {error:?}");
    assert_eq!(client.open_sessions(), 2, "one command is still inside");

    cluster.thaw().await;
    waiting.await.expect("the command that had more time");
    one_session(&client).await;
    let after = pool_name("after");
    ok(&*client, &create(&after)).await;
    assert_eq!(client.open_sessions(), 2);
    for (pool, why) in [
        (&after, "the client works"),
        (&before, "what was not sent was not executed"),
        (&frozen, "what timed out was executed all the same"),
        (&patient, "what was answered was executed"),
    ] {
        assert!(has_pool(&*client, pool).await, "{why}");
    }
    assert!(client.close(DEADLINE).await);
}

/// A retired handle is closed when librados has given up too, also when hundreds of commands
/// end at once.
#[tokio::test(flavor = "multi_thread")]
async fn retired_handles_are_closed() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(2 * SECOND, 3 * SECOND)).await);
    let pool = pool_name("before");
    ok(&*client, &create(&pool)).await;
    cluster.freeze().await;
    let mut calls = JoinSet::new();
    for number in 0..400 {
        let (client, pool) = (Arc::clone(&client), pool.clone());
        calls.spawn(async move {
            let command = MonCommand::PoolSetQuota {
                pool,
                field: "max_objects".into(),
                value: number.to_string(),
            };
            client.send(&command, 2 * SECOND).await
        });
    }
    for result in calls.join_all().await {
        let error = result.expect_err("nobody answers");
        assert!(error.outcome_unknown(), "{error:?}");
    }
    assert_eq!(client.open_sessions(), 2);
    one_session(&client).await;
    cluster.thaw().await;
    ok(&*client, &create(&pool_name("after"))).await;
    assert!(client.close(DEADLINE).await);
}

/// Waits until there is no session but the one for reads.
async fn one_session(client: &RadosClient) {
    for _ in 0..1000 {
        if client.open_sessions() == 1 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{} sessions are open after 10 s", client.open_sessions());
}

/// Dropping a client with commands in flight on a frozen monitor neither blocks nor hangs.
#[tokio::test]
async fn dropped_while_frozen() {
    let cluster = OwnCluster::start().await;
    let client = cluster.connect(limits(5 * SECOND, 3 * SECOND)).await;
    let pool = pool_name("dropped");
    ok(&client, &create(&pool)).await;
    cluster.freeze().await;
    {
        let command = create(&pool);
        let mut call = std::pin::pin!(client.send(&command, DEADLINE));
        assert!(futures::poll!(&mut call).is_pending());
        sleep(Duration::from_millis(50)).await;
        assert!(futures::poll!(&mut call).is_pending());
    }
    let began = Instant::now();
    assert!(client.close(DEADLINE).await);
    assert!(
        began.elapsed() < 3 * SECOND + SLACK,
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    drop(client);
    assert!(
        began.elapsed() < Duration::from_millis(20),
        "{:?}",
        began.elapsed()
    );
    cluster.thaw().await;
}

/// A monitor that is killed and comes back: the same client goes on by itself, and what was
/// in flight is answered.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_monitor() {
    let cluster = OwnCluster::start().await;
    let client = Arc::new(cluster.connect(limits(5 * SECOND, 30 * SECOND)).await);
    let pool = pool_name("restarted");
    ok(&*client, &create(&pool)).await;
    cluster.kill().await;
    let in_flight = tokio::spawn({
        let (client, pool) = (Arc::clone(&client), pool.clone());
        async move { ok(&*client, &remove(&pool)).await }
    });
    sleep(SECOND).await;
    assert!(!in_flight.is_finished());
    cluster.restart().await;
    in_flight.await.expect("the command was sent again");
    ok(&*client, &MonCommand::OsdStat).await;
    assert!(!has_pool(&*client, &pool).await);
    client.close(DEADLINE).await;
}

/// Runs a test once more in a process of its own, where [`in_child`] is true; how it ended, and its stderr.
fn child(test: &str, variables: &[(&str, &str)]) -> (std::process::ExitStatus, String) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("real::rados::{test}"), "--nocapture"])
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
    let garbage = Key::parse(&"QUJD".repeat(12), "admin").expect("the form of a key");
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
