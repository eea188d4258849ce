//! The number of placement groups: whose it is, and its bounds.

use std::fmt::Write as _;

use poolwright::ceph::osd_map::Pool;

use crate::pure::support::*;

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
