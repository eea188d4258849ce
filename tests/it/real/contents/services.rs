//! Pools of RBD, CephFS and RGW: what they hold, and who elsewhere names them.

use poolwright::ceph::types::PoolName;

use super::Bench;

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
        let listed = bench.listed(&data).await;
        // From Ceph 18 on `rbd pool init` makes both.
        let housekeeping = ["rbd_info", "rbd_trash"];
        assert!(
            listed
                .lines()
                .all(|line| housekeeping.contains(&line.trim())),
            "{listed:?}"
        );
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
