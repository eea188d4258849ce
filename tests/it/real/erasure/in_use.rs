//! Erasure-coded pools with nothing in them that somebody uses: the images whose headers are elsewhere, a file system that
//! got them later, a cache. None of them goes with its object.

use tokio::process::Command;

use super::{case, coded};
use crate::real::steps::{RECONCILE, create, delete, gone, rados};
use crate::real::support::{Case, LIMIT, condition, run};

/// Empty, and to go with their objects.
fn spec(application: &str, more: &str) -> String {
    let block = format!("dataChunks: 2, codingChunks: 1, stripeUnit: 48Ki{more}");
    coded(&block, ", deletionPolicy: Delete").replace("name: rbd", &format!("name: {application}"))
}

/// The `rbd` of people, as the administrator.
async fn rbd(case: &Case, args: &[&str]) -> String {
    let mut command = Command::new("rbd");
    command.arg("-c").arg(case.cluster().conf()).args(args);
    let said = run(&mut command, None).await;
    said.expect(&format!("rbd {}", args.join(" ")))
}

/// A pool by hand.
async fn by_hand(case: &Case, name: &str) -> String {
    let pool = case.pool_name(name);
    case.hand(&create(&pool)).await;
    case.made(name).await;
    pool
}

/// Its deletion is asked for and waits, for what these words say; the pool is as it was.
async fn stays(case: &Case, name: &str, words: &[&str]) {
    let before = case.its_pool(name).await;
    case.begin_deletion(name).await;
    still_stays(case, name, words).await;
    assert_eq!(case.its_pool(name).await["pool"], before["pool"]);
}

/// It is looked into again, and waits for what these words say.
async fn still_stays(case: &Case, name: &str, words: &[&str]) {
    case.annotate(name, RECONCILE, Some(words[0])).await;
    case.until(name, words[0], |object| {
        condition(object, "DeletionBlocked").is_some_and(|blocked| {
            blocked.1 == "NotEmpty" && words.iter().all(|words| blocked.2.contains(words))
        })
    })
    .await;
}

/// It goes as soon as it is looked into again.
async fn goes(case: &Case, name: &str) {
    case.annotate(name, RECONCILE, Some("unused")).await;
    gone(case, name, LIMIT).await;
    assert_eq!(case.ceph_pool(name).await, None);
}

/// The harm: an image is there, and not one object of its data pool.
#[tokio::test(flavor = "multi_thread")]
async fn by_images_elsewhere() {
    let case = case("images").await;
    case.apply("a", &spec("rbd", ", overwrites: true")).await;
    case.ready("a").await;
    let (home, data) = (by_hand(&case, "home").await, case.pool_name("a"));
    rbd(&case, &["pool", "init", &home]).await;
    let image = format!("{home}/im");
    let args = [
        "create",
        "--size",
        "4M",
        "--image-feature",
        "layering",
        &image,
    ];
    rbd(&case, &[&args[..], &["--data-pool", &data]].concat()).await;
    let listed = rados(&case, &["-p", &data, "ls", "--all"], None).await;
    let housekeeping = ["rbd_info", "rbd_trash"];
    let mut lines = listed.lines().map(str::trim);
    assert!(lines.all(|line| housekeeping.contains(&line)), "{listed}");
    let words = format!("it is the data pool of RBD image \"{image}\"");
    stays(&case, "a", &[&words]).await;
    let info = rbd(&case, &["info", &image]).await;
    assert!(info.contains(&data), "the image has its pool: {info}");
    rbd(&case, &["trash", "mv", &image]).await;
    still_stays(&case, "a", &[&format!("{words} in the trash"), &words]).await;
    let listed = rbd(&case, &["trash", "ls", &home]).await;
    let id = listed.split_whitespace().next().expect("an image");
    rbd(
        &case,
        &["trash", "rm", "--no-progress", &format!("{home}/{id}")],
    )
    .await;
    goes(&case, "a").await;
}

/// A file system without a server has not one object, whichever of its pools.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_file_system_that_got_it_later() {
    let case = case("files").await;
    case.apply("a", &spec("cephfs", ", overwrites: true")).await;
    case.apply(
        "b",
        "{replicated: {size: 2}, applications: [{name: cephfs}], deletionPolicy: Delete, \
         placementGroups: {autoscale: Disabled, count: 2}}",
    )
    .await;
    let (meta, first) = (by_hand(&case, "meta").await, by_hand(&case, "first").await);
    let system = case.pool_name("fs");
    case.ceph(&["fs", "new", &system, &meta, &first]).await;
    for name in ["a", "b"] {
        case.ready(name).await;
        let pool = case.pool_name(name);
        case.ceph(&["fs", "add_data_pool", &system, &pool]).await;
        let listed = rados(&case, &["-p", &pool, "ls", "--all"], None).await;
        assert_eq!(listed, "", "nothing is in it");
        stays(&case, name, &["a data pool of file system", &system]).await;
        case.ceph(&["fs", "rm_data_pool", &system, &pool]).await;
        goes(&case, name).await;
    }
    case.ceph(&["fs", "fail", &system]).await;
    case.ceph(&["fs", "rm", &system, "--yes-i-really-mean-it"])
        .await;
}

/// A cache before an erasure-coded pool: neither goes without the other. Ceph puts the applications of the pool, and so its
/// mark, on the cache as well, which is nobody's to remove then.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_cache() {
    let case = case("cache").await;
    case.apply("a", &spec("rbd", "")).await;
    let empty = "{replicated: {size: 2}, applications: [{name: rbd}], deletionPolicy: Delete, \
                 placementGroups: {autoscale: Disabled, count: 2}}";
    case.apply("b", empty).await;
    for name in ["a", "b"] {
        case.ready(name).await;
    }
    let (base, cache) = (case.pool_name("a"), case.pool_name("b"));
    let before = case.its_pool("b").await;
    case.ceph(&["osd", "tier", "add", &base, &cache]).await;
    case.ceph(&["osd", "tier", "cache-mode", &cache, "writeback"])
        .await;
    case.ceph(&["osd", "tier", "set-overlay", &base, &cache])
        .await;
    stays(&case, "a", &["is a tier of it", &cache]).await;
    let message = case.stalled("b", "PoolExists").await;
    let mark = format!("carries the mark of {}/a", case.namespace);
    assert!(message.contains(&mark), "{message}");
    delete(&case, "b").await;
    assert_eq!(case.its_pool("b").await["pool"], before["pool"]);
    still_stays(&case, "a", &["is a tier of it", &cache]).await;
    case.ceph(&["osd", "tier", "remove-overlay", &base]).await;
    case.ceph(&["osd", "tier", "remove", &base, &cache]).await;
    goes(&case, "a").await;
    assert_eq!(case.pool_names().await, [cache]);
}
