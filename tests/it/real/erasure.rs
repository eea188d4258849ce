//! Erasure-coded pools: made with a profile and a rule that are called by what is in them, kept as every pool is, and
//! gone with both.

mod ended;
mod in_use;
mod moved;

use std::sync::Arc;

use poolwright::api::v1alpha1::{CephPool, Operation};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::steps::{
    RECONCILE, corrections, delete, gone, has_flag, operations, pending, rados, status, succeeded,
    token_in,
};
use super::support::{CAPS, Case, Ceph, LIMIT, World, condition, pools_of, rounds};

/// Four OSDs that keep their data on disk: those in memory refuse overwrites.
pub(super) async fn case(name: &str) -> Case {
    static CLUSTER: OnceCell<Arc<Ceph>> = OnceCell::const_new();
    let world = World::shared().await;
    let start = || async {
        let world = World::shared().await;
        let ceph = Ceph::own(&[("STORE", "bluestore"), ("OSDS", "4")]).await;
        world.connect("coded", &ceph, json!({})).await;
        ceph.ceph(&[
            "auth",
            "caps",
            "client.poolwright-coded",
            "mon",
            &CAPS,
            "osd",
            "allow r",
        ])
        .await;
        Arc::new(ceph)
    };
    let ceph = Arc::clone(CLUSTER.get_or_init(start).await);
    Case::with_connection(world, &format!("coded-{name}"), "coded", ceph).await
}

/// A pool with this block; a technique of its own keeps a test's profile apart from the others'.
fn coded(block: &str, more: &str) -> String {
    format!(
        "{{type: ErasureCoded, erasureCoded: {{{block}}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 2}}, crush: {{failureDomain: osd}}{more}}}"
    )
}

/// The profile and the rule of a pool.
async fn made_for(case: &Case, name: &str) -> (String, String) {
    let pool = case.its_pool(name).await;
    let said: Value = serde_json::from_str(
        &case
            .ceph(&[
                "osd",
                "pool",
                "get",
                &case.pool_name(name),
                "crush_rule",
                "-f",
                "json",
            ])
            .await,
    )
    .expect("JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    (
        text(&pool["erasure_code_profile"]),
        text(&said["crush_rule"]),
    )
}

/// Whether there is such a profile, and such a rule.
async fn there(case: &Case, name: &str) -> (bool, bool) {
    let profiles = case.ceph(&["osd", "erasure-code-profile", "ls"]).await;
    let rules = case.ceph(&["osd", "crush", "rule", "ls"]).await;
    let has = |list: &str| list.lines().any(|line| line == name);
    (has(&profiles), has(&rules))
}

/// What the first request of an object has sent: the commands of each round, without what follows their names.
async fn sent(case: &Case, name: &str) -> Vec<Vec<String>> {
    let request = case.all_ended(name).await.remove(0);
    let verb = |line: &&str| {
        let known = [
            "osd erasure-code-profile set",
            "osd crush rule create-erasure",
            "osd pool create",
            "osd pool set",
            "osd pool application enable",
            "osd pool application set",
            "osd pool rename",
        ];
        let found = known
            .iter()
            .find(|prefix| line[5..].starts_with(&format!("{prefix} ")));
        found.unwrap_or_else(|| panic!("{line}")).to_string()
    };
    let rounds = rounds(&request);
    rounds
        .iter()
        .map(|round| round.iter().map(verb).collect())
        .collect()
}

fn stalled(object: &CephPool) -> &str {
    condition(object, "Stalled").map_or("", |stalled| stalled.1)
}

/// Five rounds for the first pool of its kind and three for the second, none for the same again; the last one that goes
/// takes profile and rule with it.
#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_to_the_last() {
    let case = case("life").await;
    let block = "dataChunks: 2, codingChunks: 1, technique: cauchy_orig, overwrites: true";
    let spec = coded(block, ", deletionPolicy: Delete, flags: {fastRead: true}");
    case.apply("a", &spec).await;
    case.ready("a").await;
    let last = vec![
        "osd pool application set",
        "osd pool application set",
        "osd pool rename",
    ];
    let configured = vec![
        "osd pool application enable",
        "osd pool set",
        "osd pool set",
    ];
    let mut rounds = sent(&case, "a").await;
    for round in &mut rounds {
        round.sort();
    }
    assert_eq!(
        rounds,
        [
            vec!["osd erasure-code-profile set"],
            vec!["osd crush rule create-erasure"],
            vec!["osd pool create"],
            configured.clone(),
            last.clone(),
        ]
    );
    let pool = case.its_pool("a").await;
    assert_eq!(
        (&pool["type"], &pool["size"], &pool["min_size"]),
        (&json!(3), &json!(3), &json!(2))
    );
    assert!(has_flag(&pool, "ec_overwrites"), "{pool}");
    assert_eq!(pool["fast_read"], true);
    let (profile, rule) = made_for(&case, "a").await;
    assert!(profile.starts_with("poolwright-"), "{profile}");
    assert_eq!(profile, rule);
    let text = case
        .ceph(&["osd", "erasure-code-profile", "get", &profile])
        .await;
    for line in [
        "plugin=jerasure",
        "technique=cauchy_orig",
        "k=2",
        "m=1",
        "crush-failure-domain=osd",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let observed = status(&case.object("a").await)
        .observed
        .clone()
        .expect("what is observed");
    assert_eq!(observed.erasure_code_profile.as_ref(), Some(&profile));

    // The same again.
    let before = case.sent().await.len();
    case.apply("a", &spec).await;
    case.looked("a").await;
    assert_eq!(case.sent().await.len(), before);

    // It takes objects, and these can be written to in part.
    let name = case.pool_name("a");
    let put = ["-p", &name, "put", "words"];
    rados(&case, &[&put[..], &["-"]].concat(), Some("some words")).await;
    let over = ["-", "--offset", "5"];
    rados(&case, &[&put[..], &over].concat(), Some("parts")).await;
    let get = ["-p", &name, "get", "words", "-"];
    assert_eq!(rados(&case, &get, None).await, "some parts");

    // The second shares both.
    case.apply("b", &spec).await;
    case.ready("b").await;
    let mut rounds = sent(&case, "b").await;
    for round in &mut rounds {
        round.sort();
    }
    assert_eq!(rounds, [vec!["osd pool create"], configured, last]);
    assert_eq!(made_for(&case, "b").await, (profile.clone(), rule));

    // A pool with something in it stays, and so does what another one uses.
    case.begin_deletion("a").await;
    case.until("a", "its deletion is blocked", |object| {
        condition(object, "DeletionBlocked").is_some_and(|blocked| blocked.1 == "NotEmpty")
    })
    .await;
    assert_eq!(rados(&case, &get, None).await, "some parts");
    rados(&case, &["-p", &name, "rm", "words"], None).await;
    case.annotate("a", RECONCILE, Some("now")).await;
    gone(&case, "a", LIMIT).await;
    assert_eq!(there(&case, &profile).await, (true, true));
    delete(&case, "b").await;
    // With the object, not some time later.
    assert_eq!(there(&case, &profile).await, (false, false));
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    // And it can be had again.
    case.apply("c", &spec).await;
    case.ready("c").await;
    assert_eq!(there(&case, &profile).await, (true, true));
}

/// Quotas, flags and what others change are as for every pool; what cannot be changed is refused.
#[tokio::test(flavor = "multi_thread")]
async fn kept() {
    let case = case("kept").await;
    let block = "dataChunks: 2, codingChunks: 2, technique: cauchy_good";
    case.apply("a", &coded(block, "")).await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["min_size"], 3);
    case.apply(
        "a",
        &coded(
            block,
            ", minSize: 3, quota: {maxObjects: 7}, flags: {noScrub: true}",
        ),
    )
    .await;
    case.ready("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!(pool["quota_max_objects"], 7);
    assert!(has_flag(&pool, "noscrub"), "{pool}");
    let before = corrections(&case.object("a").await);
    case.set("a", "min_size", "2").await;
    case.set("a", "noscrub", "false").await;
    case.until_pool("a", "is put back", |pool| {
        pool["min_size"] == 3 && has_flag(pool, "noscrub")
    })
    .await;
    case.corrected("a", before + 1).await;

    // k chunks may be written with a person's word only.
    let low = coded(
        block,
        ", minSize: 2, quota: {maxObjects: 8}, flags: {noScrub: true}",
    );
    case.apply("a", &low).await;
    let message = case.stalled("a", "Unsafe").await;
    assert!(message.contains("the next failure loses"), "{message}");
    assert_eq!(case.its_pool("a").await["min_size"], 3);
    case.annotate("a", "poolwright.dev/confirm", Some(&token_in(&message)))
        .await;
    case.ready("a").await;
    assert_eq!(case.its_pool("a").await["min_size"], 2);
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 8);

    let optimized = low.replace("cauchy_good", "cauchy_good, optimizations: true");
    if case.ceph(&["versions"]).await.contains(" 20.") {
        return;
    }
    case.apply("a", &optimized).await;
    let message = case.stalled("a", "Unsupported").await;
    assert!(
        message.contains("allow_ec_optimizations came with Ceph tentacle (20)"),
        "{message}"
    );
}

/// A profile by name is used as it is; what is not there is waited for; what somebody changed under our name is neither
/// used nor overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn profiles_of_others() {
    let case = case("others").await;
    let theirs = format!("{}-theirs", case.pool_name("x"));
    let spec = coded(&format!("profile: {theirs}"), "");
    case.apply("a", &spec).await;
    let message = case.stalled("a", "InvalidSpec").await;
    assert!(
        message.contains(&format!("there is no erasure-code profile {theirs}")),
        "{message}"
    );
    let set = ["osd", "erasure-code-profile", "set", &theirs];
    case.ceph(
        &[
            &set[..],
            &[
                "k=2",
                "m=1",
                "plugin=jerasure",
                "technique=liberation",
                "w=7",
                "packetsize=8",
                "crush-failure-domain=osd",
            ],
        ]
        .concat(),
    )
    .await;
    case.ready("a").await;
    let (profile, rule) = made_for(&case, "a").await;
    assert_eq!(profile, theirs);
    assert!(rule.starts_with("poolwright-"), "{rule}");
    assert_eq!(sent(&case, "a").await[0], ["osd crush rule create-erasure"]);

    // The name of a profile of ours is known from a pool with it; somebody replaces what is in it.
    let block = "dataChunks: 2, codingChunks: 1, technique: reed_sol_van, stripeUnit: 8Ki";
    case.apply("b", &coded(block, ", deletionPolicy: Delete"))
        .await;
    case.ready("b").await;
    let (ours, _) = made_for(&case, "b").await;
    delete(&case, "b").await;
    assert_eq!(there(&case, &ours).await, (false, false));
    let set = ["osd", "erasure-code-profile", "set", &ours];
    case.ceph(&[&set[..], &["k=2", "m=2", "crush-failure-domain=osd"]].concat())
        .await;
    case.seen().await;
    case.apply("b", &coded(block, "")).await;
    let message = case.stalled("b", "InvalidSpec").await;
    assert!(
        message.contains(&format!("the erasure-code profile {ours} should say m=1")),
        "{message}"
    );
    assert!(message.contains("says m=2"), "{message}");
    assert!(
        case.ceph(&["osd", "erasure-code-profile", "get", &ours])
            .await
            .contains("m=2")
    );
    // Nor is it removed, whether by a pool that never came to be or by one that goes.
    delete(&case, "b").await;
    assert!(there(&case, &ours).await.0);
    case.apply("b", &coded(block, "")).await;
    case.stalled("b", "InvalidSpec").await;
    // As the message says.
    case.ceph(&["osd", "erasure-code-profile", "rm", &ours])
        .await;
    case.ready("b").await;
}

/// What makes the pool what it is cannot be asked for otherwise once it is there, and the sentence says so.
#[tokio::test(flavor = "multi_thread")]
async fn not_to_be_changed() {
    let case = case("fixed").await;
    let block = "dataChunks: 2, codingChunks: 1, technique: reed_sol_van, stripeUnit: 16Ki";
    case.apply("a", &coded(block, ", deletionPolicy: Delete"))
        .await;
    case.ready("a").await;
    let (ours, rule) = made_for(&case, "a").await;
    let before = case.its_pool("a").await;
    for (from, to) in [
        ("dataChunks: 2", "dataChunks: 3"),
        ("codingChunks: 1", "codingChunks: 2"),
        ("technique: reed_sol_van", "plugin: isa"),
        ("reed_sol_van", "cauchy_good"),
        ("stripeUnit: 16Ki", "stripeUnit: 8Ki"),
    ] {
        let spec = coded(&block.replace(from, to), ", deletionPolicy: Delete");
        let refused = case.try_apply("a", &spec).await;
        let message = refused.expect_err(to).to_string();
        let words = "cannot be changed: make another pool and move the data";
        assert!(message.contains(words), "{to}: {message}");
    }
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(made_for(&case, "a").await, (ours, rule));
}

/// An erasure-coded pool that is there is compared by what is in its profile; nothing of that is ever changed.
#[tokio::test(flavor = "multi_thread")]
async fn adopting() {
    let case = case("adopt").await;
    let name = case.pool_name("a");
    let profile = format!("{name}-profile");
    let keys = [
        "k=2",
        "m=1",
        "plugin=jerasure",
        "technique=blaum_roth",
        "w=6",
        "packetsize=8",
        "crush-failure-domain=osd",
    ];
    let set = ["osd", "erasure-code-profile", "set", &profile];
    case.ceph(&[&set[..], &keys].concat()).await;
    case.ceph(&[
        "osd", "pool", "create", &name, "2", "2", "erasure", &profile,
    ])
    .await;
    let before = case.made("a").await;
    case.seen().await;
    let adopt = ", adoptionPolicy: IfUnowned, quota: {maxObjects: 3}";
    for (spec, words) in [
        (
            format!("{{replicated: {{}}, applications: [{{name: rbd}}]{adopt}}}"),
            "Replicated is asked for",
        ),
        (
            coded("dataChunks: 3, codingChunks: 1", adopt),
            "erasureCoded.dataChunks: 3 is asked for",
        ),
        (
            coded(
                "dataChunks: 2, codingChunks: 1, technique: reed_sol_van",
                adopt,
            ),
            "erasureCoded.technique: reed_sol_van is asked for",
        ),
    ] {
        case.apply("a", &spec).await;
        let message = case.stalled("a", "InvalidSpec").await;
        assert!(message.contains(words), "{message}");
        delete(&case, "a").await;
    }
    assert_eq!(case.sent().await, Vec::<Value>::new());
    case.apply(
        "a",
        &coded(
            "dataChunks: 2, codingChunks: 1, technique: blaum_roth",
            adopt,
        ),
    )
    .await;
    case.ready("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!(pool["quota_max_objects"], 3);
    for same in [
        "erasure_code_profile",
        "crush_rule",
        "size",
        "min_size",
        "pool",
    ] {
        assert_eq!(pool[same], before[same], "{same}");
    }
}

/// OSDs that keep their data in memory cannot overwrite: Ceph's words are in `pending`, and the pool is not published.
#[tokio::test(flavor = "multi_thread")]
async fn overwrites_in_memory() {
    let case = Case::shared("memory").await;
    let block = "dataChunks: 2, codingChunks: 1, technique: cauchy_good, overwrites: true";
    case.apply("a", &coded(block, "")).await;
    let object = case
        .until("a", "says what Ceph said", |object| {
            pending(object, "erasureCoded.overwrites").is_some() && !stalled(object).is_empty()
        })
        .await;
    let (_, _, message) = condition(&object, "Stalled").expect("just seen");
    assert!(message.contains("bluestore"), "{message}");
    assert_eq!(case.ceph_pool("a").await, None);
    let dump = case.dump().await;
    let private = pools_of(&dump).find(|pool| {
        let name = pool["pool_name"].as_str().unwrap_or_default();
        name.starts_with(&format!("{}.poolwright-new-", case.pool_name("a")))
    });
    let profile = &private.expect("its private pool")["erasure_code_profile"];
    let profile = profile.as_str().expect("a name");
    assert_eq!(there(&case, profile).await, (true, true));
    delete(&case, "a").await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    assert_eq!(there(&case, profile).await, (false, false));
    let requests = case.all_ended("a").await;
    assert_eq!(
        operations(&requests),
        [Operation::Create, Operation::Delete]
    );
    assert!(succeeded(&requests[1]), "{requests:#?}");
}
