//! Erasure-coded pools: the rounds before the pool, what is shared, and what no pool can change.

use std::fmt::Write as _;

use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::{Fsid, PoolName, Release};
use poolwright::request::pool_factory::{Leftover, leftover_round};

use crate::pure::support::*;

/// The block alone.
const TWO_ONE: &str = "dataChunks: 2, codingChunks: 1, plugin: jerasure";

/// An erasure-coded pool on OSDs, with more fields in the block and in the spec.
fn coded(block: &str, more: &str) -> String {
    format!(
        "{{type: ErasureCoded, replicated: null, erasureCoded: {{{block}}}, applications: [{{name: rbd}}], \
         crush: {{failureDomain: osd}}{more}}}"
    )
}

fn anywhere(block: &str, more: &str) -> String {
    coded(block, more).replace(", crush: {failureDomain: osd}", "")
}

fn bench_of(release: Release) -> Bench {
    let mut bench = Bench::new();
    bench.cluster = cluster().with_release(release);
    bench
}

fn profile(name: &str, values: &[&str]) -> MonCommand {
    MonCommand::ProfileSet {
        profile: name.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

/// Somebody's own profile, and a pool and a rule with it.
fn theirs(cluster: &mut SimulatedCluster, pool: &str, keys: &[&str]) {
    let create = MonCommand::PoolCreate(PoolCreate {
        profile: Some("theirs".into()),
        ..PoolCreate::new(PoolName::new(pool), 8)
    });
    for command in [profile("theirs", keys), create] {
        let replies = cluster.round(&[command]);
        assert_eq!(replies[0].code, 0, "{}", replies[0].text);
    }
    cluster.settle();
}

/// What each of these takes on a cluster of this release.
fn each(release: Release, manifests: &[String]) -> String {
    let mut text = String::new();
    for manifest in manifests {
        let mut bench = bench_of(release);
        writeln!(text, "# {manifest}").unwrap();
        text.push_str(&bench.plan(manifest));
        bench.apply(manifest).in_sync();
        assert_eq!(bench.plan(manifest), "in sync\n");
    }
    text
}

/// Five rounds where there is neither profile nor rule: these two, then as for every pool.
#[test]
fn creating() {
    insta::assert_snapshot!(each(
        Release::Reef,
        &[
            coded("dataChunks: 2, codingChunks: 1", ""),
            coded(
                "dataChunks: 4, codingChunks: 2, plugin: isa, technique: cauchy, stripeUnit: 16Ki, overwrites: true",
                ", minSize: 5, flags: {fastRead: true}, quota: {maxObjects: 7}",
            ),
            coded("dataChunks: 2, codingChunks: 2, plugin: shec", "").replace(
                "failureDomain: osd",
                "failureDomain: osd, deviceClass: hdd, root: default"
            ),
        ],
    ));
}

/// Ceph's default plugin depends on the release, so it is always said; the fast paths came with 20.
#[test]
fn creating_on_20() {
    insta::assert_snapshot!(each(
        Release::Tentacle,
        &[coded(
            "dataChunks: 2, codingChunks: 1, optimizations: true",
            ""
        )],
    ));
}

/// The second pool that asks for the same takes three rounds, as every pool does.
#[test]
fn sharing() {
    let mut bench = Bench::with(&coded(TWO_ONE, ""));
    assert!(
        bench
            .cluster
            .edit_pool("foopool", |pool| pool.name = PoolName::new("first"))
    );
    bench.record = fresh();
    insta::assert_snapshot!(bench.plan(&coded(TWO_ONE, ", minSize: 3")));
    // Another wish is another profile.
    let other = bench.plan(&coded(
        &TWO_ONE.replace("codingChunks: 1", "codingChunks: 2"),
        "",
    ));
    assert!(
        other.contains("ceph osd erasure-code-profile set"),
        "{other}"
    );
}

/// A profile or a rule by name is used as it is; the rule of such a profile is made under a name of its own.
#[test]
fn existing_ones() {
    let mut text = String::new();
    let mut bench = Bench::new();
    theirs(
        &mut bench.cluster,
        "other",
        &["k=2", "m=1", "crush-failure-domain=osd"],
    );
    for (block, crush) in [
        ("profile: theirs", ""),
        ("profile: theirs", ", crush: {failureDomain: osd}"),
        ("profile: theirs", ", crush: {failureDomain: host}"),
        ("profile: theirs", ", crush: {rule: other}"),
        (TWO_ONE, ", crush: {rule: other}"),
        (TWO_ONE, ", crush: {rule: replicated_rule}"),
        (TWO_ONE, ", crush: {rule: nowhere}"),
        ("profile: nowhere", ""),
    ] {
        let manifest = anywhere(block, crush);
        writeln!(text, "# {block}{crush}").unwrap();
        text.push_str(&bench.plan(&manifest));
        let mut bench = bench.clone();
        let ran = bench.apply(&manifest);
        if ran.refusals.is_empty() {
            ran.in_sync();
            assert_eq!(bench.plan(&manifest), "in sync\n", "{manifest}");
        } else {
            assert_eq!(ran.lines(), Vec::<String>::new());
        }
    }
    insta::assert_snapshot!(text);
}

/// What cannot be is refused before anything is made.
#[test]
fn impossible() {
    let mut text = String::new();
    for manifest in [
        anywhere(TWO_ONE, ""),
        anywhere(TWO_ONE, ", crush: {failureDomain: rack}"),
        anywhere(TWO_ONE, ", crush: {failureDomain: osd, root: nowhere}"),
        anywhere(TWO_ONE, ", crush: {failureDomain: osd, deviceClass: ssd}"),
        coded("dataChunks: 64, codingChunks: 1", ""),
        coded("dataChunks: 2, codingChunks: 1, optimizations: true", ""),
        coded("dataChunks: 2, codingChunks: 2", ", minSize: 2"),
    ] {
        let bench = Bench::new();
        let plan = bench.plan(&manifest);
        assert!(!plan.contains("round"), "{plan}");
        writeln!(text, "# {manifest}\n{plan}").unwrap();
    }
    insta::assert_snapshot!(text);
}

/// A name says what is in it. Where somebody changed that, nothing is made with it and nothing is overwritten.
#[test]
fn not_what_the_name_says() {
    let manifest = coded(TWO_ONE, "");
    let mut bench = Bench::with(&manifest);
    bench.cluster.edit_map(|map| map.pools.clear());
    bench.record = fresh();
    let mut profile = bench.clone();
    profile.cluster.edit_map(|map| {
        for keys in map.erasure_code_profiles.values_mut() {
            keys.insert("m".into(), "2".into());
        }
    });
    // The rule of somebody else under our name.
    let mut rule = Bench::new();
    let made = bench.cluster.map().erasure_code_profiles.clone();
    rule.cluster.add_rule(made.keys().next().unwrap());
    rule.cluster
        .edit_map(|map| map.erasure_code_profiles = made);
    insta::assert_snapshot!(format!(
        "# profile\n{}# rule\n{}",
        profile.plan(&manifest),
        rule.plan(&manifest)
    ));
}

/// What was made goes when no pool has it, also when it was made by an earlier process that did not come to the pool;
/// never what somebody else put under that name, and never somebody's own.
#[test]
fn left_behind() {
    let names = |bench: &Bench, manifest: &str| -> Vec<&str> {
        let wish = wish(manifest, fresh());
        let view = bench.cluster.view();
        let round = leftover_round(&Leftover::wished(&wish, &view), &view);
        let prefixes = round.steps.iter().map(|step| step.command.prefix());
        prefixes.collect()
    };
    let both = ["osd crush rule rm", "osd erasure-code-profile rm"];
    for manifest in [
        coded(TWO_ONE, ""),
        coded("dataChunks: 2, codingChunks: 2, stripeUnit: 8Ki", ""),
        anywhere(TWO_ONE, ", crush: {failureDomain: osd, root: default}"),
    ] {
        let mut bench = Bench::with(&manifest);
        let pool = Leftover::of(bench.pool(), &bench.cluster.view());
        let asked = Leftover::wished(&wish(&manifest, fresh()), &bench.cluster.view());
        assert_eq!(pool, asked, "{manifest}");
        assert_eq!(names(&bench, &manifest), [""; 0], "in use");
        bench.cluster.edit_map(|map| map.pools.clear());
        assert_eq!(names(&bench, &manifest), both, "{manifest}");
        let other = coded("dataChunks: 3, codingChunks: 1", "");
        assert_eq!(names(&bench, &other), [""; 0], "another one's");
        let made = bench.cluster.map().erasure_code_profiles.clone();
        let profile = made.keys().next().unwrap();
        bench.cluster.edit_map(|map| {
            let keys = map.erasure_code_profiles.get_mut(profile).unwrap();
            keys.insert("technique".into(), "cauchy_good".into());
        });
        assert_eq!(names(&bench, &manifest), both[..1], "changed");
        // The rule of somebody else under our name.
        let mut bench = Bench::new();
        bench.cluster.add_rule(profile);
        bench
            .cluster
            .edit_map(|map| map.erasure_code_profiles = made);
        assert_eq!(names(&bench, &manifest), both[1..], "somebody's rule");
    }
    let mut bench = Bench::new();
    let keys = ["k=2", "m=1", "crush-failure-domain=osd"];
    theirs(&mut bench.cluster, "other", &keys);
    let manifest = anywhere("profile: theirs", "");
    bench.apply(&manifest).in_sync();
    bench.cluster.edit_map(|map| map.pools.clear());
    assert_eq!(names(&bench, &manifest), both[..1], "of their profile");
}

/// An existing pool is compared by what is in its profile, whatever that is called; what differs is never changed.
#[test]
fn adopting() {
    let keys = [
        "k=2",
        "m=2",
        "plugin=jerasure",
        "technique=cauchy_good",
        "crush-failure-domain=osd",
    ];
    let mut bench = Bench::new();
    theirs(&mut bench.cluster, "foopool", &keys);
    bench
        .cluster
        .round(&[profile("same", &keys), profile("another", &["k=4", "m=2"])]);
    let same = "dataChunks: 2, codingChunks: 2";
    let mut text = String::new();
    for (block, more) in [
        (same, ""),
        (
            "dataChunks: 2, codingChunks: 2, plugin: jerasure, technique: cauchy_good, stripeUnit: 4Ki",
            "",
        ),
        ("profile: theirs", ""),
        ("profile: same", ""),
        ("profile: another", ""),
        ("profile: nowhere", ""),
        (
            "dataChunks: 4, codingChunks: 1, plugin: isa, technique: reed_sol_van",
            "",
        ),
        ("dataChunks: 2, codingChunks: 2, stripeUnit: 8Ki", ""),
        (same, ", crush: {failureDomain: osd}"),
        (same, ", crush: {failureDomain: host}"),
        (same, ", crush: {rule: foopool}"),
        (same, ", crush: {rule: replicated_rule}"),
    ] {
        let manifest = anywhere(block, &format!(", adoptionPolicy: IfUnowned{more}"));
        let plan = bench.plan(&manifest);
        assert!(
            !plan.contains("profile set") && !plan.contains("crush rule"),
            "{plan}"
        );
        writeln!(text, "# {block}{more}\n{plan}").unwrap();
    }
    let replicated = "applications: [{name: rbd}], adoptionPolicy: IfUnowned";
    writeln!(
        text,
        "# replicated\n{}",
        bench.plan(&format!("{{{replicated}}}"))
    )
    .unwrap();
    foreign(&mut bench.cluster, "bar");
    let manifest = anywhere(same, ", poolName: bar, adoptionPolicy: IfUnowned");
    writeln!(text, "# of a replicated one\n{}", bench.plan(&manifest)).unwrap();
    insta::assert_snapshot!(text);
}

/// Fewer than k+1 needs a person's word, k where more than one chunk may not be lost; and what cannot be taken back says
/// so.
#[test]
fn changing() {
    let manifest = |more: &str| coded("dataChunks: 2, codingChunks: 2, overwrites: true", more);
    let mut bench = Bench::with(&manifest(""));
    assert_eq!(bench.pool().min_size, 3);
    assert_eq!(
        (bench.pool().size, bench.pool().has_flag("ec_overwrites")),
        (4, true)
    );
    let mut text = String::new();
    for more in [
        ", minSize: 4",
        ", minSize: 2",
        ", flags: {fastRead: true}, quota: {maxBytes: 1Gi}",
    ] {
        writeln!(text, "# {more}\n{}", bench.plan(&manifest(more))).unwrap();
    }
    for overwrites in ["overwrites: false", "overwrites: true, optimizations: true"] {
        let manifest = manifest("").replace("overwrites: true", overwrites);
        writeln!(text, "# {overwrites}\n{}", bench.plan(&manifest)).unwrap();
    }
    // One failure is all that 2+1 survives, so Ceph's own choice is k and no word is asked for.
    let mut least = Bench::new();
    let ran = least.apply(&coded(TWO_ONE, ", minSize: 2"));
    ran.in_sync();
    assert_eq!(least.pool().min_size, 2);
    // By hand.
    bench.cluster.edit_pool("foopool", |pool| pool.min_size = 2);
    writeln!(text, "# by hand\n{}", bench.plan(&manifest(", minSize: 3"))).unwrap();
    insta::assert_snapshot!(text);
}

/// The same wish has the same name on every cluster, also of another release once the plugin is said.
#[test]
fn names() {
    let name = |release, block: &str| {
        let mut bench = bench_of(release);
        bench.apply(&coded(block, "")).in_sync();
        let mut names = bench.cluster.map().erasure_code_profiles.keys();
        names.next().cloned().unwrap()
    };
    let said = name(Release::Reef, TWO_ONE);
    assert_eq!(said, name(Release::Tentacle, TWO_ONE));
    assert_eq!(said, name(Release::Reef, "dataChunks: 2, codingChunks: 1"));
    assert_ne!(
        said,
        name(Release::Tentacle, "dataChunks: 2, codingChunks: 1")
    );
    // A hash that changes would make every pool's profile anew.
    assert_eq!(said, "poolwright-acb9add7777350fa");
    let other = SimulatedCluster::new(&Fsid::new("other"), 100);
    let mut bench = Bench::new();
    bench.cluster = other;
    bench.apply(&coded(TWO_ONE, "")).in_sync();
    assert!(
        bench
            .cluster
            .map()
            .erasure_code_profiles
            .contains_key(&said)
    );
}
