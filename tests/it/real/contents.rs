//! The look into a pool, on a real cluster: whatever is in it or means it is found, and what
//! cannot be looked at is never taken for empty.

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

use super::rados::cluster::{Cluster, OwnCluster, create, limits, pool_name};
use super::support::Ceph;

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
        match self.settled(pool, |_| false).await {
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
        match self.settled(pool, |text| text.contains("ceph df")).await {
            Contents::Empty => {}
            other => panic!("{pool}: {other:?}"),
        }
    }

    /// A look while no pool of another test is about to come or go (while one does, nothing can be
    /// told about any pool), and whose finding is not just `late`.
    async fn settled(&self, pool: &PoolName, late: impl Fn(&str) -> bool) -> Contents {
        for _ in 0..60 {
            match self.look(pool).await {
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

/// An image, one in the trash, and what stays behind them.
#[tokio::test]
async fn images() {
    let bench = Bench::new().await;
    let pool = bench.pool("rbd").await;
    let name = pool.as_str();
    bench.run("rbd", &["pool", "init", name]).await;
    bench.becomes_empty(&pool).await;

    bench.image(&format!("{name}/im"), &[]).await;
    bench
        .found(&pool, &[&format!("RBD image \"{name}/im\"")])
        .await;
    bench
        .run("rbd", &["trash", "mv", &format!("{name}/im")])
        .await;
    bench
        .found(&pool, &[&format!("RBD image \"{name}/im\" in the trash")])
        .await;
    let listed = bench.run("rbd", &["trash", "ls", name]).await;
    let id = listed.split_whitespace().next().expect("an image");
    bench
        .run(
            "rbd",
            &["trash", "rm", "--no-progress", &format!("{name}/{id}")],
        )
        .await;
    let listed = bench.listed(&pool).await;
    assert!(
        listed.contains("rbd_directory") && listed.contains("rbd_trash"),
        "{listed}"
    );
    bench.becomes_empty(&pool).await;

    // Housekeeping counts when it holds something.
    let namespace = format!("{name}/ns");
    bench.run("rbd", &["namespace", "create", &namespace]).await;
    bench.found(&pool, &["RBD namespace \"ns\""]).await;
    bench.run("rbd", &["namespace", "remove", &namespace]).await;
    bench.becomes_empty(&pool).await;
    let args = [
        "-p",
        name,
        "setomapval",
        "csi.volumes.default",
        "csi.volume.pvc-1",
        "x",
    ];
    bench.run("rados", &args).await;
    bench.found(&pool, &["csi.volume.pvc-1"]).await;
    let args = [
        "-p",
        name,
        "rmomapkey",
        "csi.volumes.default",
        "csi.volume.pvc-1",
    ];
    bench.run("rados", &args).await;
    bench.becomes_empty(&pool).await;
    bench.put(&pool, "", "rbd_trash", b"data").await;
    bench.found(&pool, &["rbd_trash", "data"]).await;
    bench.remove(&[&pool]).await;
}

/// The data pool of an image elsewhere, in which nothing is but what stays for ever.
#[tokio::test]
async fn data_pools() {
    let bench = Bench::new().await;
    let (data, home) = (bench.pool("data").await, bench.pool("home").await);
    for pool in [&data, &home] {
        bench.run("rbd", &["pool", "init", pool.as_str()]).await;
    }
    bench.becomes_empty(&data).await;
    let (namespace, here) = (format!("{home}/ns"), ["--data-pool", data.as_str()]);
    bench.run("rbd", &["namespace", "create", &namespace]).await;
    for image in [format!("{home}/im"), format!("{namespace}/im")] {
        bench.image(&image, &here).await;
        assert_eq!(bench.listed(&data).await.trim(), "rbd_info");
        let words = format!("it is the data pool of RBD image \"{image}\"");
        bench.found(&data, &[&words]).await;

        bench.run("rbd", &["trash", "mv", &image]).await;
        bench
            .found(&data, &[&format!("{words} in the trash")])
            .await;
        let (place, _) = image.rsplit_once('/').expect("a place");
        let listed = bench.run("rbd", &["trash", "ls", place]).await;
        let id = listed.split_whitespace().next().expect("an image");
        let trashed = format!("{place}/{id}");
        bench
            .run("rbd", &["trash", "rm", "--no-progress", &trashed])
            .await;
        bench.becomes_empty(&data).await;
    }
    bench.remove(&[&data, &home]).await;
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

/// The pools of a file system, which has no server and so not one object; and a cache tier.
#[tokio::test]
async fn file_systems_and_tiers() {
    let bench = Bench::new().await;
    let (meta, data) = (bench.pool("meta").await, bench.pool("files").await);
    let system = format!("contents-{}", std::process::id());
    let args = ["fs", "new", &system, meta.as_str(), data.as_str()];
    bench.run("ceph", &args).await;
    assert_eq!(bench.listed(&data).await + &bench.listed(&meta).await, "");
    bench
        .found(&meta, &["metadata pool of file system", &system])
        .await;
    bench
        .found(&data, &["a data pool of file system", &system])
        .await;
    bench.run("ceph", &["fs", "fail", &system]).await;
    let args = ["fs", "rm", &system, "--yes-i-really-mean-it"];
    bench.run("ceph", &args).await;
    bench.becomes_empty(&data).await;

    let (base, cache) = (bench.pool("base").await, bench.pool("cache").await);
    let args = ["osd", "tier", "add", base.as_str(), cache.as_str()];
    bench.run("ceph", &args).await;
    bench
        .found(&base, &["is a tier of it", cache.as_str()])
        .await;
    bench
        .found(&cache, &["a cache tier of", base.as_str()])
        .await;
    let args = ["osd", "tier", "remove", base.as_str(), cache.as_str()];
    bench.run("ceph", &args).await;
    bench.becomes_empty(&base).await;
    bench.remove(&[&meta, &data, &base, &cache]).await;
}

/// A zone of RGW that names the pool, though it may not have been used yet.
#[tokio::test]
async fn zones() {
    let bench = Bench::new().await;
    let pool = bench.pool("buckets").await;
    let root = PoolName::new(format!("{pool}.rgw.root"));
    bench.make(&root).await;
    bench.becomes_empty(&pool).await;
    let zone = |name: &str| {
        let length = u32::try_from(name.len()).expect("short").to_le_bytes();
        [&b"\x0a\x0a"[..], &length, name.as_bytes(), b"\0\0\0\0"].concat()
    };
    // Another pool with a longer name is another pool.
    let longer = zone(&format!("{pool}0"));
    bench.put(&root, "", "zone_info.x", &longer).await;
    bench.becomes_empty(&pool).await;
    bench
        .put(&root, "", "zone_info.x", &zone(pool.as_str()))
        .await;
    bench.found(&pool, &["zone_info.x", root.as_str()]).await;
    // Under the private name it has while it is removed it is the same pool.
    let private = PoolName::new(format!("{pool}.poolwright-del-1"));
    let args = ["osd", "pool", "rename", pool.as_str(), private.as_str()];
    bench.run("ceph", &args).await;
    bench.found(&private, &["zone_info.x"]).await;
    bench.remove(&[&private, &root]).await;
}

/// What a key must be able to do, and that nothing less is taken for an empty pool.
#[tokio::test]
async fn keys() {
    let bench = Bench::new().await;
    let pool = bench.pool("keys").await;
    let enough = bench
        .user("enough", &["mon", "allow r", "osd", "allow r"])
        .await;
    for _ in 0..60 {
        match bench.look_as(&enough, &pool, DEADLINE).await {
            Contents::Empty => break,
            Contents::Unknown(text) if text.contains("ceph df") => {
                sleep(Duration::from_millis(500)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    bench.put(&pool, "n1", "a-thing", b"x").await;
    let found = bench.look_as(&enough, &pool, DEADLINE).await;
    assert!(matches!(found, Contents::Something(_)), "{found:?}");

    let of_pool = format!("allow r pool={pool}");
    let elsewhere = "allow r pool=device_health_metrics".to_owned();
    for (name, osd) in [
        ("none", None),
        ("class", Some("allow class-read")),
        ("default", Some("allow r namespace=\"\"")),
        ("space", Some("allow r namespace=n2")),
        ("prefix", Some("allow r object_prefix b")),
        ("other", Some(elsewhere.as_str())),
    ] {
        let mut caps = vec!["mon", "allow r"];
        caps.extend(osd.iter().flat_map(|caps| ["osd", caps]));
        let client = bench.user(name, &caps).await;
        let contents = bench.look_as(&client, &pool, DEADLINE).await;
        unknown(
            &contents,
            &["osd \"allow r\"", "client.contents-", pool.as_str()],
        );
    }
    // It sees that the pool is empty, and not who else means it.
    bench
        .run("rados", &["-p", pool.as_str(), "-N", "n1", "rm", "a-thing"])
        .await;
    bench.becomes_empty(&pool).await;
    let narrow = bench
        .user("narrow", &["mon", "allow r", "osd", &of_pool])
        .await;
    let contents = bench.look_as(&narrow, &pool, DEADLINE).await;
    unknown(&contents, &["osd \"allow r\"", "client.contents-narrow"]);
    // The monitors have to answer too.
    let mon = "allow profile osd";
    let caps = ["mon", mon, "osd", "allow r"];
    let silent = bench.user("silent", &caps).await;
    let contents = bench.look_as(&silent, &pool, DEADLINE).await;
    assert_ne!(contents, Contents::Empty);
    let listed = bench.run("ceph", &["auth", "ls", "--format", "json"]).await;
    let users: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let mine = format!("-{}", std::process::id());
    for user in users["auth_dump"].as_array().expect("users") {
        let entity = user["entity"].as_str().expect("a name");
        if entity.starts_with("client.contents-") && entity.ends_with(&mine) {
            bench.run("ceph", &["auth", "rm", entity]).await;
        }
    }
    bench.remove(&[&pool]).await;
}

/// A pool whose placement groups are not active: nobody can say what is in it, nor which images
/// elsewhere it describes. On a cluster of its own, since that concerns all pools.
#[tokio::test]
async fn inactive() {
    let own = Ceph::own(&[("OSDS", "2")]).await;
    let client = own.connect().await;
    let (pool, other) = (pool_name("contents-inactive"), pool_name("contents-active"));
    let name = pool.as_str();
    for pool in [&pool, &other] {
        let reply = client.send(&create(pool), DEADLINE).await;
        assert_eq!(reply.expect("a reply").code, 0);
    }
    let look = async |pool: &PoolName, limit: Duration| {
        let reply = client.send(&MonCommand::OsdDump, DEADLINE).await;
        let map = json::decode(&reply.expect("a reply").body).expect("an OSD map");
        let found = map.pool_named(pool).expect("the pool");
        let began = Instant::now();
        let contents = client.contents(found, &map, limit).await;
        assert!(began.elapsed() < limit + SLACK, "{contents:?}");
        contents
    };
    for pool in [&pool, &other] {
        for _ in 0..60 {
            if look(pool, DEADLINE).await == Contents::Empty {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(look(pool, DEADLINE).await, Contents::Empty);
    }
    // More copies than there are OSDs, all of them needed.
    own.ceph(&["osd", "pool", "set", name, "size", "3"]).await;
    own.ceph(&["osd", "pool", "set", name, "min_size", "3"])
        .await;
    for _ in 0..60 {
        if look(&pool, DEADLINE).await != Contents::Empty {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let words = ["placement groups", "not active", name];
    unknown(&look(&pool, DEADLINE).await, &words);
    unknown(&look(&other, DEADLINE).await, &words);
    // With less time than the OSDs have.
    let contents = look(&pool, Duration::from_secs(2)).await;
    unknown(&contents, &["2 s", "the objects of the pool"]);
    assert!(client.close(DEADLINE).await);
}

/// A pool of the map that is gone by now is not an empty one: its list would be just as empty.
#[tokio::test]
async fn removed_pool() {
    let bench = Bench::new().await;
    let pool = bench.pool("removed").await;
    let id = bench.id(&pool).await;
    let map = bench.map().await;
    bench
        .client
        .send(&super::rados::cluster::remove(&pool), DEADLINE)
        .await
        .expect("a reply");
    let found = map.pool_named(&pool).expect("it was there");
    let contents = bench.client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &[&format!("pool {id}"), "not in the newest map"]);
    assert!(bench.client.close(DEADLINE).await);
    let contents = bench.client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &["closed"]);
}

/// Monitors that do not answer: the look ends in time, and its thread and session do.
#[tokio::test]
async fn frozen_monitor() {
    let cluster = OwnCluster::start().await;
    let client = cluster
        .connect(limits(Duration::from_secs(3), Duration::from_secs(3)))
        .await;
    let pool = pool_name("contents-frozen");
    client
        .send(&create(&pool), DEADLINE)
        .await
        .expect("a reply");
    let reply = client.send(&MonCommand::OsdDump, DEADLINE).await;
    let map = json::decode(&reply.expect("a reply").body).expect("an OSD map");
    let found = map.pool_named(&pool).expect("the pool");
    cluster.freeze().await;
    let began = Instant::now();
    let limit = Duration::from_secs(2);
    let looks = (0..6).map(|_| client.contents(found, &map, limit));
    for contents in futures::future::join_all(looks).await {
        let Contents::Unknown(text) = contents else {
            panic!("{contents:?}")
        };
        let why = ["no monitor answered", "connecting", "other looks"];
        assert!(why.iter().any(|why| text.contains(why)), "{text}");
    }
    assert!(began.elapsed() < limit + SLACK, "{:?}", began.elapsed());
    cluster.thaw().await;
    // Without an OSD nothing can be listed.
    let contents = client.contents(found, &map, DEADLINE).await;
    unknown(&contents, &["not active"]);
    assert!(client.close(DEADLINE).await);
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
