//! What each field takes when it changes, and when it leaves the manifest; the sizes, which depend on each other.

use std::fmt::Write as _;

use crate::pure::support::*;

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
