//! `ClusterMonitor` on real monitors: how soon it sees changes, and what it survives.
#![expect(clippy::expect_used, reason = "a test says what it expects")]

use std::sync::Arc;
use std::time::Duration;

use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient};
use poolwright::ceph::types::Epoch;
use poolwright::monitor::{ClusterMonitor, Contact, MonitorSettings, NotUsable, Snapshot};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::rados::cluster::{Cluster, OwnCluster, create, limits, pool_name, remove};

const DEADLINE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// A poll is due within a second; the rest is for a machine that runs many clusters at once,
/// and 20 times a read's duration between two reads. How soon it is at best, the unit tests
/// show with the clock stopped.
const SOON: Duration = Duration::from_secs(12);

struct Watched {
    client: Arc<RadosClient>,
    monitor: ClusterMonitor,
    receiver: watch::Receiver<Snapshot>,
    stop: CancellationToken,
}

impl Watched {
    async fn start(cluster: &Cluster, settings: MonitorSettings) -> Self {
        let client = cluster.connect(limits(DEADLINE, DEADLINE)).await;
        Self::over(client, settings).await
    }

    async fn over(client: RadosClient, settings: MonitorSettings) -> Self {
        let client = Arc::new(client);
        let stop = CancellationToken::new();
        let session: Arc<dyn MonClient> = Arc::clone(&client) as _;
        let monitor = ClusterMonitor::start(session, settings, stop.clone());
        let receiver = monitor.subscribe();
        let mut watched = Self {
            client,
            monitor,
            receiver,
            stop,
        };
        watched
            .until("it has answered", DEADLINE, |now| {
                now.contact != Contact::Connecting
            })
            .await;
        watched
    }

    /// Waits until what subscribers are shown is as it should be.
    async fn until(&mut self, what: &str, within: Duration, holds: impl Fn(&Snapshot) -> bool) {
        let seen = timeout(within, self.receiver.wait_for(|now| holds(now))).await;
        assert!(
            seen.is_ok(),
            "not so within {within:?}: {what}; {:?}",
            self.monitor.snapshot().contact
        );
    }

    async fn ok(&self, command: &MonCommand) {
        let reply = self.client.send(command, DEADLINE).await.expect("a reply");
        assert_eq!(reply.code, 0, "{}: {}", command.to_line(), reply.text);
    }

    fn usable(&self) -> Result<Epoch, NotUsable> {
        self.monitor
            .usable_view(Instant::now(), 5 * SECOND, Epoch(1))
            .map(|view| view.epoch())
    }

    async fn end(self) {
        self.stop.cancel();
        assert!(self.client.close(DEADLINE).await);
    }
}

fn connected(snapshot: &Snapshot) -> bool {
    snapshot.contact == Contact::Connected && snapshot.view.is_some()
}

fn lost(snapshot: &Snapshot) -> bool {
    matches!(snapshot.contact, Contact::Lost { .. })
}

/// Somebody else's change is seen without anybody waiting for it.
#[tokio::test]
async fn sees_changes() {
    let cluster = Cluster::shared();
    let mut watched = Watched::start(&cluster, MonitorSettings::default()).await;
    watched.until("a view", SOON, connected).await;
    let other = cluster.connect(Limits::default()).await;
    let pool = pool_name("seen");
    for (command, there) in [(create(&pool), true), (remove(&pool), false)] {
        other.send(&command, DEADLINE).await.expect("a reply");
        watched
            .until("the change is seen", SOON, |now| {
                now.view
                    .as_ref()
                    .is_some_and(|view| view.pool_named(&pool).is_some() == there)
            })
            .await;
    }
    assert!(watched.usable().is_ok());
    other.close(DEADLINE).await;
    watched.end().await;
}

/// The way a run goes: change, read the epoch, await the view, which shows the change.
#[tokio::test]
async fn awaits_what_was_done() {
    let cluster = Cluster::shared();
    let watched = Watched::start(&cluster, MonitorSettings::default()).await;
    let pool = pool_name("awaited");
    for (command, there) in [(create(&pool), true), (remove(&pool), false)] {
        watched.ok(&command).await;
        let began = Instant::now();
        let epoch = watched.monitor.read_epoch().await.expect("an epoch");
        let view = watched
            .monitor
            .await_epoch(epoch, DEADLINE)
            .await
            .expect("a view");
        let took = began.elapsed();
        assert!(took < SOON, "{took:?}");
        assert!(view.epoch() >= epoch);
        assert_eq!(view.pool_named(&pool).is_some(), there);
    }
    let far = Epoch(u64::MAX);
    let failed = watched
        .monitor
        .await_epoch(far, SECOND)
        .await
        .expect_err("never");
    assert!(matches!(failed, NotUsable::TimedOut { awaited, .. } if awaited == far));
    watched.end().await;
}

/// Many at once share the polls and the reads.
#[tokio::test(flavor = "multi_thread")]
async fn many_wait() {
    let cluster = Cluster::shared();
    let watched = Watched::start(&cluster, MonitorSettings::default()).await;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (monitor, pool) = (watched.monitor.clone(), pool_name("wait"));
        runs.spawn(async move {
            for command in [create(&pool), remove(&pool)] {
                let _permit = monitor.creates().acquire().await;
                let reply = monitor
                    .client()
                    .send(&command, DEADLINE)
                    .await
                    .expect("a reply");
                assert_eq!(reply.code, 0, "{}", reply.text);
                let epoch = monitor.read_epoch().await.expect("an epoch");
                let view = monitor.await_epoch(epoch, DEADLINE).await.expect("a view");
                let created = matches!(command, MonCommand::PoolCreate(_));
                assert_eq!(view.pool_named(&pool).is_some(), created);
            }
        });
    }
    let began = Instant::now();
    runs.join_all().await;
    assert!(began.elapsed() < DEADLINE);
    watched.end().await;
}

/// With three monitors, whichever each session is with: the epoch that is read after a change
/// is never older than it.
#[tokio::test]
async fn reads_its_own_writes() {
    let cluster = OwnCluster::with_monitors(3).await;
    for _ in 0..6 {
        let watched = Watched::start(&cluster, MonitorSettings::default()).await;
        let pool = pool_name("own");
        for round in 0..10 {
            let there = round % 2 == 0;
            watched
                .ok(&if there { create(&pool) } else { remove(&pool) })
                .await;
            let epoch = watched.monitor.read_epoch().await.expect("an epoch");
            let view = watched
                .monitor
                .await_epoch(epoch, DEADLINE)
                .await
                .expect("a view");
            assert_eq!(view.pool_named(&pool).is_some(), there, "round {round}");
        }
        watched.end().await;
    }
}

/// A frozen monitor: contact is lost and the view not acted on; after the thaw both are back.
#[tokio::test]
async fn survives_a_freeze() {
    let cluster = OwnCluster::start().await;
    let settings = MonitorSettings {
        poll_timeout: 2 * SECOND,
        ..MonitorSettings::default()
    };
    let mut watched = Watched::start(&cluster, settings).await;
    watched.until("a view", SOON, connected).await;
    let before = watched.usable().expect("a usable view");
    cluster.freeze().await;
    watched.until("contact is lost", SOON, lost).await;
    tokio::time::sleep(4 * SECOND).await;
    assert!(matches!(watched.usable(), Err(NotUsable::Stale { .. })));
    cluster.thaw().await;
    watched.until("contact is back", SOON, connected).await;
    assert!(watched.usable().expect("a usable view") >= before);
    watched.end().await;
}

/// A monitor that is killed and started again: the same.
#[tokio::test]
async fn survives_a_restart() {
    let cluster = OwnCluster::start().await;
    let settings = MonitorSettings {
        poll_timeout: SECOND,
        ..MonitorSettings::default()
    };
    let mut watched = Watched::start(&cluster, settings).await;
    watched.until("a view", SOON, connected).await;
    cluster.kill().await;
    watched.until("contact is lost", SOON, lost).await;
    cluster.restart().await;
    watched.until("contact is back", DEADLINE, connected).await;
    let pool = pool_name("restart");
    watched.ok(&create(&pool)).await;
    let seen = |now: &Snapshot| {
        now.view
            .as_ref()
            .is_some_and(|view| view.pool_named(&pool).is_some())
    };
    watched.until("a new pool is seen", SOON, seen).await;
    assert!(watched.usable().is_ok());
    watched.end().await;
}

/// An odd application key makes `osd dump` invalid JSON for everybody else. The encoded map shows
/// it as it is.
#[tokio::test]
async fn an_odd_key_harms_nobody_here() {
    let cluster = OwnCluster::start().await;
    let mut watched = Watched::start(&cluster, MonitorSettings::default()).await;
    let pool = pool_name("odd");
    let application = || "rbd".to_owned();
    watched.ok(&create(&pool)).await;
    watched
        .ok(&MonCommand::ApplicationEnable {
            pool: pool.clone(),
            application: application(),
            confirmed: false,
        })
        .await;
    let key = "a\"b";
    watched
        .ok(&MonCommand::ApplicationSet {
            pool: pool.clone(),
            application: application(),
            key: key.to_owned(),
            value: "v".into(),
        })
        .await;
    let dump = watched.client.send(&MonCommand::OsdDump, DEADLINE).await;
    let dump = dump.expect("a reply").body;
    assert!(
        serde_json::from_slice::<serde_json::Value>(&dump).is_err(),
        "the harm to others"
    );
    let shown = |now: &Snapshot| {
        let pool = now.view.as_ref().and_then(|view| view.pool_named(&pool));
        pool.is_some_and(|pool| pool.applications["rbd"].get(key).is_some_and(|v| v == "v"))
    };
    watched.until("the key is shown", SOON, shown).await;
    assert_eq!(watched.monitor.snapshot().contact, Contact::Connected);
    assert!(watched.usable().is_ok());
    assert_eq!(watched.monitor.read_by_json(), None);
    watched.end().await;
}

/// A key that may ask for the epoch and not for the map: the monitors' refusal is told, and
/// the capability, once given, is found by itself.
#[tokio::test]
async fn tells_of_a_missing_capability() {
    let cluster = Cluster::shared();
    let user = "monitor-without-dump";
    let ceph = |arguments: Vec<&str>| {
        let mut command = Command::new("ceph");
        command.arg("-c").arg(cluster.conf()).args(arguments);
        async move {
            let output = command.output().await.expect("the ceph command");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
    };
    let entity = format!("client.{user}");
    let caps = "allow command \"osd stat\"";
    let key = ceph(vec!["auth", "get-or-create-key", &entity, "mon", caps]).await;
    let options = ConnectOptions::Explicit {
        mon_host: cluster.monitors(),
        user: user.into(),
        key: Key::parse(&key, user).expect("a key"),
        options: std::collections::BTreeMap::new(),
    };
    let client = RadosClient::connect(options, Limits::default())
        .await
        .expect("a session");
    let mut watched = Watched::over(client, MonitorSettings::default()).await;
    let refused = |now: &Snapshot| matches!(&now.contact, Contact::MapUnreadable { error } if error.contains("osd getmap was refused"));
    watched.until("the refusal is told", SOON, refused).await;
    assert!(matches!(watched.usable(), Err(NotUsable::Unreadable(_))));
    ceph(vec!["auth", "caps", &entity, "mon", "allow r"]).await;
    // An open session keeps its capabilities; it is renewed at most every ten seconds.
    watched.until("the map is read", DEADLINE, connected).await;
    watched.end().await;
    ceph(vec!["auth", "rm", &entity]).await;
}
