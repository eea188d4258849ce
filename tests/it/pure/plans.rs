//! Plans: which rounds a manifest takes on which cluster, and that they always come to an end.

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
        text.push_str(&format!("# {path}: {}\n", value.unwrap_or("taken out")));
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
        pool.applications.get_mut("rbd").unwrap().insert("tier".into(), "x".into());
    });
    assert_eq!(bench.plan(SMALLEST), "in sync\n");
}

/// A pool named like this one, with a manifest and the cluster's own doings in between.
fn after(text: &str, edit: impl FnOnce(&mut poolwright::ceph::osd_map::Pool)) -> Bench {
    let mut bench = Bench::with(text);
    bench.cluster.settle();
    bench.cluster.edit_pool("foopool", edit);
    bench
}

/// `size` makes the monitors choose `min_size` anew, so that goes in a later round: three rounds never, two mostly.
#[test]
fn size_and_min_size() {
    let mut text = String::new();
    for (from, to) in [
        ("{replicated: {size: 3}, minSize: 2", "{replicated: {size: 4}, minSize: 3"),
        ("{replicated: {size: 3}, minSize: 2", "{replicated: {size: 5}, minSize: 2"),
        // 3 → 2 lands on 1, which is not safe: named or not, 2 is put there.
        ("{replicated: {size: 3}, minSize: 2", "{replicated: {size: 2}, minSize: 2"),
        ("{replicated: {size: 3}", "{replicated: {size: 2}"),
        // 3 → 4 lands on 2, which is: nothing more is sent.
        ("{replicated: {size: 3}", "{replicated: {size: 4}"),
        ("{replicated: {size: 2}", "{replicated: {size: 5}, minSize: 4"),
        // Without a size min_size is only what is named.
        ("{replicated: {size: 3}", "{minSize: 3"),
    ] {
        let (from, to) = (format!("{from}, {SMALLEST}}}"), format!("{to}, {SMALLEST}}}"));
        let mut bench = Bench::with(&from);
        text.push_str(&format!("# {from}\n# to {to}\n{}", bench.plan(&to)));
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
        ("autoscale: Enabled, count: 32", "autoscale: Enabled, min: 64"),
        ("autoscale: Enabled, count: 32", "autoscale: Enabled, max: 16"),
        ("autoscale: Enabled, count: 32", "autoscale: Enabled, min: 8, max: 64"),
        ("autoscale: Disabled, count: 32", "autoscale: Disabled, min: 64"),
        // Both bounds move past the target at once: one of them is in the way of the other.
        ("autoscale: Enabled, count: 32, min: 16, max: 32", "autoscale: Enabled, min: 64, max: 128"),
        ("autoscale: Enabled, count: 32, min: 32, max: 64", "autoscale: Enabled, min: 4, max: 8"),
        ("autoscale: Disabled, count: 32, min: 16, max: 32", "autoscale: Disabled, count: 128, min: 128, max: 256"),
        ("autoscale: Disabled, count: 32, min: 32, max: 64", "autoscale: Disabled, count: 8, min: 8, max: 8"),
        // A bound that leaves the manifest is taken off before the number passes it.
        ("autoscale: Disabled, count: 32, max: 32", "autoscale: Disabled, count: 64"),
        ("autoscale: Enabled, count: 32, min: 32", "autoscale: Enabled, max: 8"),
    ] {
        let [from, to] = [from, to].map(|groups| format!("{{placementGroups: {{{groups}}}, {SMALLEST}}}"));
        let mut bench = Bench::with(&from);
        bench.cluster.settle();
        text.push_str(&format!("# {from}\n# to {to}\n{}", bench.plan(&to)));
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
    let moved = |pool: &mut poolwright::ceph::osd_map::Pool| {
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
    let from = format!("{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}");
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
    text.push_str(&format!("# and then\n{}", bench.plan(&to)));
    // Named in the manifest they are its own.
    let named = format!("{{flags: {{noSizeChange: true, noPgChange: true}}, {}", to.trim_start_matches('{'));
    text.push_str(&format!("# named as true\n{}", bench.plan(&named)));
    let mut ours = bench.clone();
    ours.apply(&named).in_sync();
    assert!(ours.pool().has_flag("nosizechange") && ours.pool().has_flag("nopgchange"));
    // Taking the field out takes off the flag and then goes on.
    let back = format!("{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}");
    text.push_str(&format!("# taken out together with a change\n{}", ours.plan(&back)));
    ours.apply(&back).in_sync();
    let lifted = format!("{{flags: {{noSizeChange: false, noPgChange: false}}, {}", to.trim_start_matches('{'));
    text.push_str(&format!("# named as false\n{}", bench.plan(&lifted)));
    bench.apply(&lifted).in_sync();
    insta::assert_snapshot!(text);
}
