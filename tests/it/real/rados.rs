//! librados against real monitors: what works, and that everything that does not ends in time
//! with an error of its own.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expects"
)]

pub(crate) mod cluster;
mod commands;
mod monitors;
mod process;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use poolwright::ceph::client::{ClientError, MonClient, Reply};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::{OsdMap, json};
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient, library};
use poolwright::ceph::types::PoolName;
use tokio::time::sleep;

use self::cluster::{Cluster, limits, pool_name, remove};
use super::steps::{KEY_OF_20, WRONG_KEY};
use super::support::is_20;

const DEADLINE: Duration = Duration::from_secs(20);

const SECOND: Duration = Duration::from_secs(1);

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(1500);

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
    let of_20 = Key::parse(KEY_OF_20, "admin").expect("the form of a key");
    let with_option = |option: &str, value: &str| ConnectOptions::Explicit {
        mon_host: cluster.monitors(),
        user: "admin".into(),
        key: cluster.key(),
        options: BTreeMap::from([(option.to_owned(), value.to_owned())]),
    };
    // librados of 20 takes the key, which is not the right one.
    let of_20 = explicit(&cluster.monitors(), "admin", &of_20);
    match refused(of_20, DEADLINE).await {
        ClientError::InvalidConfiguration(text) => {
            assert!(text.contains("aes256k, which came with Ceph 20"), "{text}");
            assert!(!is_20());
        }
        ClientError::AuthenticationFailed { .. } => assert!(is_20()),
        other => panic!("{other:?}"),
    }
    for (options, expected) in [
        (
            explicit("does-not-exist.invalid", "admin", &cluster.key()),
            "an address of a monitor does not resolve (does-not-exist.invalid)",
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
