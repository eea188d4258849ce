//! Plans: which rounds a manifest takes on which cluster, and that they always come to an end.

use std::fmt::Write as _;

use poolwright::api::v1alpha1::Management;
use poolwright::ceph::osd_map::Pool;
use poolwright::ceph::types::PoolId;
use poolwright::ceph::view::ClusterView;
use poolwright::request::wish::Wish;
use serde_json::json;

use super::support::*;

/// A manifest that names everything takes three rounds, and a fourth for `noDelete`.
#[test]
fn create_everything() {
    insta::assert_snapshot!(Bench::new().plan(EVERYTHING));
}

/// The smallest manifest takes three rounds; Ceph's defaults stay.
#[test]
fn create_smallest() {
    insta::assert_snapshot!(Bench::new().plan(SMALLEST));
}

/// The same again is an empty plan.
#[test]
fn same_again() {
    for text in [EVERYTHING, SMALLEST] {
        let bench = Bench::with(text);
        assert_eq!(bench.plan(text), "in sync\n");
    }
}

/// The manifest that names everything, changed: the value at a path set, or taken out.
fn changed(path: &str, value: Option<&str>) -> String {
    let mut spec = fields(EVERYTHING);
    let mut at = &mut spec;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            at = match part.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[part],
            };
            continue;
        }
        match value {
            Some(value) => at[part] = fields(value),
            None => {
                at.as_object_mut().unwrap().remove(part);
            }
        }
    }
    spec.to_string()
}

/// What `EVERYTHING` takes to become each of these, with a line for each.
fn each(changes: &[(&str, Option<&str>)]) -> String {
    let bench = Bench::with(EVERYTHING);
    let mut text = String::new();
    for (path, value) in changes {
        let manifest = changed(path, *value);
        writeln!(text, "# {path}: {}", value.unwrap_or("taken out")).unwrap();
        text.push_str(&bench.plan(&manifest));
        // And it gets there.
        let mut bench = bench.clone();
        bench.apply(&manifest).in_sync();
        assert_eq!(bench.plan(&manifest), "in sync\n", "{path}");
    }
    text
}

/// Each field that changes takes its own command, and what locks it is lifted and set again.
#[test]
fn each_field_changed() {
    insta::assert_snapshot!(each(&[
        ("replicated.size", Some("4")),
        ("minSize", Some("3")),
        ("placementGroups.autoscale", Some("Warn")),
        ("placementGroups.count", Some("64")),
        ("placementGroups.min", Some("8")),
        ("placementGroups.max", Some("128")),
        ("placementGroups.bias", Some("'4'")),
        ("placementGroups.targetSizeRatio", Some("'0.3'")),
        ("placementGroups.bulk", Some("false")),
        ("quota.maxBytes", Some("0")),
        ("quota.maxObjects", Some("2000")),
        ("applications.0.metadata.tier", Some("silver")),
        ("applications.0.metadata.new", Some("key")),
        ("flags.noDelete", Some("false")),
        ("flags.noSizeChange", Some("false")),
        ("flags.noPgChange", Some("false")),
        ("flags.noScrub", Some("false")),
        ("flags.noDeepScrub", Some("false")),
    ]));
}

/// Each field taken out is unset where Ceph has an unset, and released where it has none.
#[test]
fn each_field_removed() {
    insta::assert_snapshot!(each(&[
        ("replicated.size", None),
        ("minSize", None),
        ("placementGroups.autoscale", None),
        ("placementGroups.count", None),
        ("placementGroups.min", None),
        ("placementGroups.max", None),
        ("placementGroups.bias", None),
        ("placementGroups.targetSizeRatio", None),
        ("placementGroups.bulk", None),
        ("placementGroups", None),
        ("quota.maxBytes", None),
        ("quota.maxObjects", None),
        ("quota", None),
        ("applications.0.metadata.tier", None),
        ("applications.0.metadata", None),
        ("applications", Some("[{name: cephfs}]")),
        ("flags.noDelete", None),
        ("flags.noSizeChange", None),
        ("flags.noPgChange", None),
        ("flags.noScrub", None),
        ("flags.noDeepScrub", None),
        ("flags", None),
    ]));
}

/// What is released or unset is not looked after any more: a change by hand stays.
#[test]
fn released_fields_are_left_alone() {
    let mut bench = Bench::with(EVERYTHING);
    bench.apply(SMALLEST).in_sync();
    let pool = bench.pool();
    assert_eq!((pool.size, pool.min_size, pool.quota_max_bytes), (3, 2, 0));
    assert_eq!(pool.placement_groups.pg_num_target, 32);
    assert_eq!(pool.autoscale_mode, "off");
    assert!(pool.options.is_empty(), "{:?}", pool.options);
    assert_eq!(pool.flags, set(&["creating", "hashpspool"]));
    assert_eq!(bench.record.applied, set(&["applications[rbd]"]));
    bench.cluster.edit_pool("foopool", |pool| {
        pool.size = 5;
        pool.min_size = 1;
        pool.quota_max_bytes = 7;
        pool.flags.insert("nosizechange".into());
        pool.autoscale_mode = "on".into();
        pool.applications
            .get_mut("rbd")
            .unwrap()
            .insert("tier".into(), "x".into());
    });
    assert_eq!(bench.plan(SMALLEST), "in sync\n");
}

/// `size` makes the monitors choose `min_size` anew, so that goes in a later round: three rounds never, two mostly.
#[test]
fn size_and_min_size() {
    let mut text = String::new();
    for (from, to) in [
        (
            "{replicated: {size: 3}, minSize: 2",
            "{replicated: {size: 4}, minSize: 3",
        ),
        (
            "{replicated: {size: 3}, minSize: 2",
            "{replicated: {size: 5}, minSize: 2",
        ),
        // 3 → 2 lands on 1, which is not safe: named or not, 2 is put there.
        (
            "{replicated: {size: 3}, minSize: 2",
            "{replicated: {size: 2}, minSize: 2",
        ),
        ("{replicated: {size: 3}", "{replicated: {size: 2}"),
        // 3 → 4 lands on 2, which is: nothing more is sent.
        ("{replicated: {size: 3}", "{replicated: {size: 4}"),
        (
            "{replicated: {size: 2}",
            "{replicated: {size: 5}, minSize: 4",
        ),
        // Without a size min_size is only what is named.
        ("{replicated: {size: 3}", "{minSize: 3"),
    ] {
        let (from, to) = (
            format!("{from}, {SMALLEST}}}"),
            format!("{to}, {SMALLEST}}}"),
        );
        let mut bench = Bench::with(&from);
        write!(text, "# {from}\n# to {to}\n{}", bench.plan(&to)).unwrap();
        let ran = bench.apply(&to);
        ran.in_sync();
        assert!(ran.rounds.len() <= 2);
    }
    insta::assert_snapshot!(text);
}

/// A min_size that somebody lowered is raised where the size is managed, and left alone where it is not.
#[test]
fn unnamed_min_size() {
    let managed = format!("{{replicated: {{size: 3}}, {SMALLEST}}}");
    let mut bench = after(&managed, |pool| pool.min_size = 1);
    assert_eq!(
        bench.apply(&managed).in_sync().lines(),
        ["ceph osd pool set foopool min_size 2"]
    );
    let bench = after(SMALLEST, |pool| pool.min_size = 1);
    assert_eq!(bench.plan(SMALLEST), "in sync\n");
    // More than the safe value is somebody's choice.
    let bench = after(&managed, |pool| pool.min_size = 3);
    assert_eq!(bench.plan(&managed), "in sync\n");
}

/// A bound that excludes the target moves `pg_num` first, once, and then the bound is set; with autoscaling on as well.
#[test]
fn bounds_that_exclude_the_target() {
    let mut text = String::new();
    for (from, to) in [
        (
            "autoscale: Enabled, count: 32",
            "autoscale: Enabled, min: 64",
        ),
        (
            "autoscale: Enabled, count: 32",
            "autoscale: Enabled, max: 16",
        ),
        (
            "autoscale: Enabled, count: 32",
            "autoscale: Enabled, min: 8, max: 64",
        ),
        (
            "autoscale: Disabled, count: 32",
            "autoscale: Disabled, min: 64",
        ),
        // Both bounds move past the target at once: one of them is in the way of the other.
        (
            "autoscale: Enabled, count: 32, min: 16, max: 32",
            "autoscale: Enabled, min: 64, max: 128",
        ),
        (
            "autoscale: Enabled, count: 32, min: 32, max: 64",
            "autoscale: Enabled, min: 4, max: 8",
        ),
        (
            "autoscale: Disabled, count: 32, min: 16, max: 32",
            "autoscale: Disabled, count: 128, min: 128, max: 256",
        ),
        (
            "autoscale: Disabled, count: 32, min: 32, max: 64",
            "autoscale: Disabled, count: 8, min: 8, max: 8",
        ),
        // A bound that leaves the manifest is taken off before the number passes it.
        (
            "autoscale: Disabled, count: 32, max: 32",
            "autoscale: Disabled, count: 64",
        ),
        (
            "autoscale: Enabled, count: 32, min: 32",
            "autoscale: Enabled, max: 8",
        ),
    ] {
        let [from, to] =
            [from, to].map(|groups| format!("{{placementGroups: {{{groups}}}, {SMALLEST}}}"));
        let mut bench = Bench::with(&from);
        bench.cluster.settle();
        write!(text, "# {from}\n# to {to}\n{}", bench.plan(&to)).unwrap();
        bench.apply(&to).in_sync();
        bench.cluster.settle();
        assert_eq!(bench.plan(&to), "in sync\n", "{to}");
    }
    insta::assert_snapshot!(text);
}

/// With autoscaling on the number is the autoscaler's; targets are compared, never actual numbers.
#[test]
fn whose_number_of_placement_groups() {
    let enabled = format!("{{placementGroups: {{autoscale: Enabled, count: 32}}, {SMALLEST}}}");
    let disabled = format!("{{placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}");
    let moved = |pool: &mut Pool| {
        pool.placement_groups.pg_num_target = 128;
        pool.placement_groups.pgp_num_target = 128;
    };
    assert_eq!(after(&enabled, moved).plan(&enabled), "in sync\n");
    let mut bench = after(&disabled, moved);
    assert_eq!(
        bench.apply(&disabled).in_sync().lines(),
        ["ceph osd pool set foopool pg_num 32"]
    );
    // On its way there it is in sync already.
    let on_its_way = after(&disabled, |pool| pool.placement_groups.pg_num = 16);
    assert_eq!(on_its_way.plan(&disabled), "in sync\n");
    // A pgp_num that was set apart follows again.
    let mut apart = after(&disabled, |pool| pool.placement_groups.pgp_num_target = 8);
    assert_eq!(
        apart.apply(&disabled).in_sync().lines(),
        ["ceph osd pool set foopool pgp_num 32"]
    );
    // The pool's own mode counts where the manifest names none.
    let unnamed = format!("{{placementGroups: {{count: 32}}, {SMALLEST}}}");
    let bench = after(&unnamed, |pool| {
        moved(pool);
        pool.autoscale_mode = "on".into();
    });
    assert_eq!(bench.plan(&unnamed), "in sync\n");
}

/// A lock of ours is lifted for a change and set again; somebody else's blocks that change and nothing else.
#[test]
fn locks() {
    let from = format!(
        "{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}"
    );
    let to = format!(
        "{{replicated: {{size: 2}}, placementGroups: {{autoscale: Disabled, count: 64, min: 16}}, quota: {{maxObjects: 5}}, {SMALLEST}}}"
    );
    let mut bench = after(&from, |pool| {
        pool.flags.extend(set(&["nosizechange", "nopgchange"]));
    });
    let mut text = format!("# foreign locks\n{}", bench.plan(&to));
    let ran = bench.apply(&to);
    assert!(ran.ended && ran.rejected.is_empty());
    assert_eq!(ran.rounds.len(), 1, "the rest goes on");
    write!(text, "# and then\n{}", bench.plan(&to)).unwrap();
    // Named in the manifest they are its own.
    let named = format!(
        "{{flags: {{noSizeChange: true, noPgChange: true}}, {}",
        to.trim_start_matches('{')
    );
    write!(text, "# named as true\n{}", bench.plan(&named)).unwrap();
    let mut ours = bench.clone();
    ours.apply(&named).in_sync();
    // It would stop the manager, which is still on its way.
    assert!(ours.pool().has_flag("nosizechange") && !ours.pool().has_flag("nopgchange"));
    let waiting = |bench: &Bench| {
        let wish = wish(&named, bench.record.clone());
        next(&wish, &bench.cluster.view()).waiting.is_some()
    };
    assert!(
        waiting(&ours),
        "nothing is left to send, and it is not done"
    );
    ours.cluster.settle();
    assert!(!waiting(&ours));
    write!(
        text,
        "# and when the numbers have followed\n{}",
        ours.plan(&named)
    )
    .unwrap();
    ours.apply(&named).in_sync();
    assert!(ours.pool().has_flag("nosizechange") && ours.pool().has_flag("nopgchange"));
    // Taking the field out takes off the flag and then goes on.
    let back = format!(
        "{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}"
    );
    write!(
        text,
        "# taken out together with a change\n{}",
        ours.plan(&back)
    )
    .unwrap();
    ours.apply(&back).in_sync();
    let lifted = format!(
        "{{flags: {{noSizeChange: false, noPgChange: false}}, {}",
        to.trim_start_matches('{')
    );
    write!(text, "# named as false\n{}", bench.plan(&lifted)).unwrap();
    bench.apply(&lifted).in_sync();
    insta::assert_snapshot!(text);
}

/// A single copy, and a min_size of one where there are more, are not set: neither at creation nor later.
#[test]
fn unsafe_sizes() {
    let mut text = String::new();
    let manifest = |fields: &str| format!("{{{fields}, quota: {{maxObjects: 9}}, {SMALLEST}}}");
    for fields in [
        "replicated: {size: 1}",
        "replicated: {size: 1}, minSize: 1",
        "replicated: {size: 3}, minSize: 1",
        "minSize: 1",
    ] {
        let manifest = manifest(fields);
        write!(
            text,
            "# {fields}, at creation\n{}",
            Bench::new().plan(&manifest)
        )
        .unwrap();
        write!(
            text,
            "# and later\n{}",
            Bench::with(SMALLEST).plan(&manifest)
        )
        .unwrap();
    }
    // What is there already is not made worse by being named.
    let single = after(SMALLEST, |pool| (pool.size, pool.min_size) = (1, 1));
    for fields in [
        "replicated: {size: 1}",
        "replicated: {size: 1}, minSize: 1",
        "minSize: 1",
    ] {
        let manifest = manifest(fields);
        write!(
            text,
            "# {fields}, on a pool of size 1\n{}",
            single.plan(&manifest)
        )
        .unwrap();
    }
    let low = after(SMALLEST, |pool| (pool.size, pool.min_size) = (3, 1));
    let manifest = manifest("minSize: 1");
    write!(
        text,
        "# minSize: 1, on a pool that has it\n{}",
        low.plan(&manifest)
    )
    .unwrap();
    insta::assert_snapshot!(text);
}

/// A second application needs the monitors' confirmation, and keys go in the round after it.
#[test]
fn applications() {
    let mut text = String::new();
    let three = "applications: [{name: rbd, metadata: {a: '1'}}, {name: rgw, metadata: {b: '2'}}, {name: mine}]";
    let mut bench = Bench::with(SMALLEST);
    write!(text, "# two more\n{}", bench.plan(three)).unwrap();
    bench.apply(three).in_sync();
    // An application that leaves the manifest stays, its keys go; those of others stay.
    bench.cluster.edit_pool("foopool", |pool| {
        pool.applications
            .get_mut("rgw")
            .unwrap()
            .insert("theirs".into(), "x".into());
    });
    write!(text, "# taken out\n{}", bench.plan(SMALLEST)).unwrap();
    bench.apply(SMALLEST).in_sync();
    assert_eq!(bench.pool().applications.len(), 3);
    assert_eq!(bench.pool().applications["rgw"].len(), 1);
    // Without any the mark stays where it is.
    let none = "{adoptionPolicy: Never, management: Observe, applications: []}";
    assert_eq!(bench.plan(none), "in sync\n");
    insta::assert_snapshot!(text);
}

/// A pool is not created without an application, which carries its mark.
#[test]
fn no_application() {
    // The schema refuses it, so only a wish that was not validated comes here.
    let mut wish = wish(SMALLEST, fresh());
    wish.applications.clear();
    let answer = next(&wish, &cluster().view());
    assert!(answer.round.is_empty());
    insta::assert_snapshot!(show_refusals(&answer.refusals));
}

/// Looking at a pool does it no harm, whosever it is: no mark is wanted, and a foreign one is no matter.
#[test]
fn observing() {
    let observe = |text: &str| format!("{{management: Observe, {text}}}");
    let looked = observe("replicated: {size: 2}, quota: {maxObjects: 5}");
    let mut text = format!("# absent\n{}", Bench::new().plan(&observe(SMALLEST)));
    let mut bench = Bench::new();
    foreign(&mut bench.cluster, "foopool");
    write!(text, "# unmarked\n{}", bench.plan(&looked)).unwrap();
    bench.cluster.edit_pool("foopool", |pool| {
        pool.applications.insert(
            "rbd".into(),
            [("poolwright".to_owned(), "x/y/z".to_owned())].into(),
        );
    });
    write!(text, "# of another owner\n{}", bench.plan(&looked)).unwrap();
    write!(
        text,
        "# as it is\n{}",
        bench.plan(&observe("replicated: {size: 3}"))
    )
    .unwrap();
    let spec = spec(SMALLEST);
    let by_connection = Wish::read(owner(), &spec, 1, Management::Observe, fresh()).unwrap();
    assert!(
        by_connection.observe,
        "the connection's management counts as well"
    );
    insta::assert_snapshot!(text);
}

/// What this release does not keep is refused by its name, never silently ignored.
#[test]
fn unsupported_fields() {
    let mut text = String::new();
    for fields in [
        "{type: ErasureCoded, replicated: null, erasureCoded: {dataChunks: 2, codingChunks: 1}}",
        "crush: {rule: fast}",
    ] {
        let mut spec = super::support::fields(fields);
        spec["applications"] = json!([{"name": "rbd"}]);
        let refusals = read(&object(&spec).spec, fresh()).unwrap_err();
        write!(text, "# {fields}\n{}", show_refusals(&refusals)).unwrap();
    }
    insta::assert_snapshot!(text);
}

/// In stretch mode size and min_size are the monitors': neither fought nor a difference.
#[test]
fn stretch_mode() {
    let mut bench = Bench::with(EVERYTHING);
    bench
        .cluster
        .edit_map(|map| map.stretch_mode.enabled = true);
    bench
        .cluster
        .edit_pool("foopool", |pool| (pool.size, pool.min_size) = (4, 1));
    assert_eq!(bench.plan(EVERYTHING), "in sync\n");
    let text = bench.plan(&changed("quota.maxObjects", Some("1")));
    assert_eq!(
        text.matches("ceph osd pool").count(),
        1,
        "the rest goes on: {text}"
    );
}

/// The number at creation: what is named, else the lower bound, else 32 or the upper bound if that is less.
#[test]
fn placement_groups_at_creation() {
    for (groups, expected) in [
        ("{}", "32"),
        ("{autoscale: Enabled}", "32 --autoscale_mode on"),
        ("{count: 8}", "8"),
        (
            "{autoscale: Enabled, count: 128}",
            "128 --autoscale_mode on",
        ),
        ("{min: 4}", "4 --pg_num_min 4"),
        ("{min: 64, max: 128}", "64 --pg_num_min 64 --pg_num_max 128"),
        ("{max: 16}", "16 --pg_num_max 16"),
        ("{max: 64}", "32 --pg_num_max 64"),
        (
            "{count: 16, min: 8, max: 32}",
            "16 --pg_num_min 8 --pg_num_max 32",
        ),
        (
            "{targetSizeBytes: 1Ti}",
            "32 --target_size_bytes 1099511627776",
        ),
        ("{targetSizeRatio: '1'}", "32 --target_size_ratio 1.0"),
        ("{bulk: false}", "32"),
    ] {
        let manifest = format!("{{placementGroups: {groups}, {SMALLEST}}}");
        let mut bench = Bench::new();
        let ran = bench.apply(&manifest);
        assert_eq!(
            ran.in_sync().lines()[0],
            format!("ceph osd pool create {PRIVATE} {expected}")
        );
    }
}

/// What a create cannot take, or takes differently on each release, is put right in the next round.
#[test]
fn what_a_create_leaves() {
    let manifest = format!("{{placementGroups: {{bulk: false}}, {SMALLEST}}}");
    let mut bench = begun(&manifest, 1);
    bench.cluster.edit_pool(PRIVATE, |pool| {
        pool.flags.extend(set(&["bulk", "nodelete"]));
    });
    let ran = bench.apply(&manifest);
    assert!(
        ran.in_sync()
            .lines()
            .contains(&format!("ceph osd pool set {PRIVATE} bulk false"))
    );
    assert!(
        bench.pool().has_flag("nodelete"),
        "a default of the cluster that nobody named"
    );
}

/// Twice the same view gives twice the same plan: nothing in it is drawn or timed.
#[test]
fn plans_are_pure() {
    let bench = begun(EVERYTHING, 1);
    let view = bench.cluster.view();
    let wish = wish(EVERYTHING, bench.record.clone());
    assert_eq!(next(&wish, &view), next(&wish, &view));
    assert_eq!(
        preview(&wish, &view),
        preview(
            &wish,
            &ClusterView::new(view.map().clone(), view.crush().clone())
        )
    );
    assert_eq!(
        bench.cluster.pool(PRIVATE).map(|pool| pool.id),
        Some(PoolId(1))
    );
}
