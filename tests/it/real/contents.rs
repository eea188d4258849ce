//! The look into a pool, on a real cluster: whatever is in it or means it is found, and what
//! cannot be looked at is never taken for empty.

mod services;
mod unproven;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use poolwright::ceph::client::MonClient;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::osd_map::{OsdMap, json};
use poolwright::ceph::rados::{ConnectOptions, Key, Limits, RadosClient};
use poolwright::ceph::types::PoolName;
use tokio::process::Command;
use tokio::time::sleep;

use super::rados::cluster::{Cluster, create, pool_name};

const DEADLINE: Duration = Duration::from_secs(30);

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_secs(10);

/// A cluster with a session, and the pools of one test, which go with it.
struct Bench {
    cluster: Cluster,
    client: RadosClient,
}

impl Bench {
    async fn new() -> Self {
        let cluster = Cluster::shared();
        let client = cluster.connect(Limits::default()).await;
        Self { cluster, client }
    }

    /// A new pool, of which the manager has told figures.
    async fn pool(&self, what: &str) -> PoolName {
        let name = pool_name(&format!("contents-{what}"));
        self.make(&name).await;
        name
    }

    async fn make(&self, name: &PoolName) {
        let reply = self.client.send(&create(name), DEADLINE).await;
        assert_eq!(reply.expect("a reply").code, 0);
    }

    async fn map(&self) -> OsdMap {
        let reply = self.client.send(&MonCommand::OsdDump, DEADLINE).await;
        json::decode(&reply.expect("a reply").body).expect("an OSD map")
    }

    async fn id(&self, pool: &PoolName) -> i64 {
        self.map().await.pool_named(pool).expect("the pool").id.0
    }

    async fn look(&self, pool: &PoolName) -> Contents {
        self.look_as(&self.client, pool, DEADLINE).await
    }

    async fn look_as(&self, client: &RadosClient, pool: &PoolName, limit: Duration) -> Contents {
        let map = self.map().await;
        let pool = map.pool_named(pool).expect("the pool");
        let began = Instant::now();
        let contents = client.contents(pool, &map, limit).await;
        let took = began.elapsed();
        eprintln!("{} after {took:?}: {contents:?}", pool.name);
        assert!(took < limit + SLACK, "{contents:?} after {took:?}");
        contents
    }

    /// What was found, in which all of `words` occur.
    async fn found(&self, pool: &PoolName, words: &[&str]) -> String {
        match self.settled(&self.client, pool, |_| false).await {
            Contents::Something(text) => {
                for word in words {
                    assert!(text.contains(word), "{word} is not in: {text}");
                }
                text
            }
            other => panic!("{pool}: {other:?}"),
        }
    }

    /// Waits until the pool is empty; until then it may only be that figures are late, or that
    /// some other test's pool is about to come or go.
    async fn becomes_empty(&self, pool: &PoolName) {
        self.becomes_empty_for(&self.client, pool).await;
    }

    /// The same for another session.
    async fn becomes_empty_for(&self, client: &RadosClient, pool: &PoolName) {
        let late = |text: &str| text.contains("ceph df");
        match self.settled(client, pool, late).await {
            Contents::Empty => {}
            other => panic!("{pool}: {other:?}"),
        }
    }

    /// A look while no pool of another test is about to come or go (while one does, nothing can be
    /// told about any pool), and whose finding is not just `late`.
    async fn settled(
        &self,
        client: &RadosClient,
        pool: &PoolName,
        late: impl Fn(&str) -> bool,
    ) -> Contents {
        for _ in 0..60 {
            match self.look_as(client, pool, DEADLINE).await {
                Contents::Unknown(text) if text.contains("not active") || late(&text) => {}
                Contents::Something(text) if late(&text) => {}
                other => return other,
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("what is known about {pool} did not follow");
    }

    /// Runs a tool of people as the administrator.
    async fn run(&self, program: &str, args: &[&str]) -> String {
        let conf = self.cluster.conf();
        let mut command = Command::new("timeout");
        command.args(["30", program]).arg("-c").arg(conf).args(args);
        let output = command.output().await.expect("the tool runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn put(&self, pool: &PoolName, namespace: &str, object: &str, data: &[u8]) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), data).expect("written");
        let path = file.path().to_str().expect("a path");
        let args = ["-p", pool.as_str(), "-N", namespace, "put", object, path];
        self.run("rados", &args).await;
    }

    async fn image(&self, spec: &str, more: &[&str]) {
        let args = [
            "create",
            "--size",
            "1M",
            "--image-feature",
            "layering",
            spec,
        ];
        self.run("rbd", &[&args[..], more].concat()).await;
    }

    /// The naive look: what the object list of people shows.
    async fn listed(&self, pool: &PoolName) -> String {
        self.run("rados", &["-p", pool.as_str(), "ls", "--all"])
            .await
    }

    /// A session with a key of these capabilities.
    async fn user(&self, name: &str, caps: &[&str]) -> RadosClient {
        let user = format!("contents-{name}-{}", std::process::id());
        let entity = format!("client.{user}");
        let args = [&["auth", "get-or-create-key", entity.as_str()], caps].concat();
        let key = self.run("ceph", &args).await;
        let options = ConnectOptions::Explicit {
            mon_host: self.cluster.monitors(),
            key: Key::parse(&key, &user).expect("a key"),
            user,
            options: BTreeMap::new(),
        };
        RadosClient::connect(options, Limits::default())
            .await
            .expect("a session")
    }

    async fn remove(&self, pools: &[&PoolName]) {
        for pool in pools {
            let command = super::rados::cluster::remove(pool);
            let reply = self.client.send(&command, DEADLINE).await;
            let reply = reply.expect("a reply");
            assert_eq!(reply.code, 0, "{}", reply.text);
        }
        assert!(self.client.close(DEADLINE).await);
    }
}

/// What is said of a look that proves nothing.
fn unknown(contents: &Contents, words: &[&str]) {
    let Contents::Unknown(text) = contents else {
        panic!("{contents:?}")
    };
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

/// An empty pool is empty, and a look leaves nothing behind: no object, no session.
#[tokio::test]
async fn empty() {
    let bench = Bench::new().await;
    let pool = bench.pool("empty").await;
    bench.becomes_empty(&pool).await;
    assert_eq!(bench.look(&pool).await, Contents::Empty);
    for _ in 0..100 {
        if bench.client.open_sessions() == 2 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        bench.client.open_sessions(),
        2,
        "one for reads, one for changes"
    );
    // More than there may be at once wait for each other.
    let map = bench.map().await;
    let found = map.pool_named(&pool).expect("the pool");
    let looks = (0..10).map(|_| bench.client.contents(found, &map, DEADLINE));
    for contents in futures::future::join_all(looks).await {
        assert_eq!(contents, Contents::Empty);
    }
    bench.remove(&[&pool]).await;
}

/// An object in any namespace is found and named, also one deleted under a snapshot.
#[tokio::test]
async fn objects() {
    let bench = Bench::new().await;
    let plain = bench.pool("plain").await;
    bench.put(&plain, "", "a-thing", b"").await;
    bench.found(&plain, &["\"a-thing\""]).await;

    let spaced = bench.pool("spaced").await;
    bench.put(&spaced, "n1", "a-thing", b"x").await;
    // The list that is made without asking for namespaces is empty.
    let args = ["-p", spaced.as_str(), "ls"];
    assert_eq!(bench.run("rados", &args).await, "");
    bench.found(&spaced, &["\"a-thing\"", "\"n1\""]).await;
    // One of another name in the place of housekeeping is none.
    let placed = bench.pool("placed").await;
    let args = [
        "-p",
        placed.as_str(),
        "--object-locator",
        "elsewhere",
        "create",
        "rbd_info",
    ];
    bench.run("rados", &args).await;
    bench.found(&placed, &["rbd_info"]).await;
    bench.remove(&[&plain, &spaced, &placed]).await;
}

/// What only a snapshot holds: nobody can read it by its name any more, yet it is there.
#[tokio::test]
async fn snapshots() {
    let bench = Bench::new().await;
    let pool = bench.pool("snap").await;
    bench.put(&pool, "", "gone", b"data").await;
    bench
        .run("rados", &["-p", pool.as_str(), "mksnap", "s1"])
        .await;
    bench
        .run("rados", &["-p", pool.as_str(), "rm", "gone"])
        .await;
    bench.found(&pool, &["snapshots of the whole pool"]).await;

    // The same with a snapshot of the kind that RBD makes, which the map does not list.
    let own = bench.pool("self").await;
    let script = format!(
        "import rados, sys\n\
         c = rados.Rados(conffile={:?}); c.connect()\n\
         io = c.open_ioctx({:?})\n\
         io.write_full('gone', b'data')\n\
         io.set_self_managed_snap_write([io.create_self_managed_snap()])\n\
         io.remove_object('gone')\n\
         try: io.stat('gone')\n\
         except rados.ObjectNotFound: sys.exit(0)\n\
         sys.exit(1)\n",
        bench.cluster.conf(),
        own.as_str()
    );
    // The python that the ceph tool runs in, so that it has its library.
    let args = ["30", "/usr/bin/python3", "-c", &script];
    let status = Command::new("timeout").args(args).status().await;
    assert!(status.expect("python runs").success());
    bench.found(&own, &["\"gone\""]).await;
    bench.remove(&[&pool, &own]).await;
}

/// An erasure-coded pool keeps no keys, and is looked into all the same, also for the images of
/// another pool. (It can be no data pool here: with their data in memory OSDs refuse it.)
#[tokio::test]
async fn erasure_coded() {
    let bench = Bench::new().await;
    let pool = pool_name("contents-ec");
    let name = pool.as_str();
    let profile = format!("{name}-profile");
    let args = ["k=2", "m=1", "crush-failure-domain=osd"];
    let set = ["osd", "erasure-code-profile", "set", &profile];
    bench.run("ceph", &[&set[..], &args].concat()).await;
    let args = ["osd", "pool", "create", name, "1", "1", "erasure", &profile];
    bench.run("ceph", &args).await;
    bench.becomes_empty(&pool).await;
    let other = bench.pool("ec-other").await;
    bench.becomes_empty(&other).await;
    // What RBD leaves where it finds that it cannot overwrite.
    bench.put(&pool, "", "rbd_info", b"validate").await;
    bench.becomes_empty(&pool).await;
    bench.put(&pool, "", "rbd_info", b"validated").await;
    bench.found(&pool, &["rbd_info", "data"]).await;
    bench.run("rados", &["-p", name, "rm", "rbd_info"]).await;
    bench.put(&pool, "n1", "a-thing", b"x").await;
    bench.found(&pool, &["\"a-thing\"", "\"n1\""]).await;
    bench.remove(&[&pool, &other]).await;
    let args = ["osd", "erasure-code-profile", "rm", &profile];
    bench.run("ceph", &args).await;
}

/// The tools that these tests need are where they look for them.
#[test]
fn tools_are_there() {
    let path = std::env::var_os("PATH").expect("a PATH");
    for tool in ["rados", "rbd", "ceph"] {
        let mut places = std::env::split_paths(&path).map(|dir: PathBuf| dir.join(tool));
        assert!(places.any(|place| place.is_file()), "{tool} is missing");
    }
}
