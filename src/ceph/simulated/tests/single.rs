//! One command at a time.

use super::*;

/// Repeats cost an epoch where a proposal is made, whether or not a value differs.
#[test]
fn cost_of_repeats() {
    let mut cluster = cluster();
    let first = [enable("p", "rbd"), quota("p", "max_bytes", "5")];
    cluster.round(&first);
    cluster.round(&[key("p", "rbd", "k", "v")]);
    for (command, cost) in [
        (set("p", "size", "3"), 1),
        (set("p", "pg_num", "8"), 1),
        (set("p", "crush_rule", "replicated_rule"), 1),
        (set("p", "noscrub", "false"), 1),
        (quota("p", "max_bytes", "5"), 1),
        (enable("p", "rbd"), 1),
        (key("p", "rbd", "k", "v"), 1),
        (remove_key("p", "rbd", "missing"), 0),
        (create("p"), 0),
        (remove("missing"), 0),
        (rename("missing", "p"), 0),
        (set("p", "nosuch", "1"), 0),
        (MonCommand::OsdStat, 0),
    ] {
        let before = cluster.epoch().0;
        let refused = command == set("p", "nosuch", "1");
        let expected = if refused { [-22] } else { [0] };
        assert_eq!(
            codes(&mut cluster, std::slice::from_ref(&command)),
            expected
        );
        assert_eq!(cluster.epoch().0 - before, cost, "{command:?}");
    }
}

/// Return code 0 proves nothing: what monitors say when they do nothing.
#[test]
fn done_that_is_not_done() {
    let mut cluster = cluster();
    for (command, text) in [
        (create("p"), "pool 'p' already exists"),
        (create(".x"), "pool names beginning with . are not allowed"),
        (
            rename("p", ".x"),
            "pool names beginning with . are not allowed",
        ),
        (remove("gone"), "pool 'gone' does not exist"),
        (
            rename("gone", "p"),
            "pool 'gone' does not exist; pool 'p' does -- assuming successful rename",
        ),
    ] {
        let before = cluster.map().clone();
        let replies = cluster.round(&[command]);
        let said: Vec<_> = replies.iter().map(|r| (r.code, r.text.as_str())).collect();
        assert_eq!(said, [(0, text)]);
        assert_eq!(cluster.map(), &before, "{text}");
    }
}

/// Names with a dot in front are for internal use since 18; 16 takes them.
#[test]
fn names_with_a_dot_in_front() {
    for (release, there) in [(Release::Pacific, true), (Release::Reef, false)] {
        let mut cluster = cluster().with_release(release);
        assert_eq!(codes(&mut cluster, &[create(".x")]), [0]);
        assert_eq!(cluster.pool(".x").is_some(), there, "{release}");
        assert_eq!(codes(&mut cluster, &[rename("p", ".y")]), [0]);
        assert_eq!(cluster.pool(".y").is_some(), there, "{release}");
    }
}

/// A name that means no pool.
#[test]
fn unknown_pools() {
    let mut cluster = cluster();
    for command in [
        set("x", "size", "2"),
        quota("x", "max_bytes", "2"),
        enable("x", "rbd"),
        key("x", "rbd", "k", "v"),
        remove_key("x", "rbd", "k"),
        rename("x", "y"),
        // Commands take no pool IDs.
        set("1", "size", "2"),
    ] {
        let replies = cluster.round(std::slice::from_ref(&command));
        assert!(
            replies
                .iter()
                .all(|reply| reply.code == -2 && reply.text.starts_with("unrecognized pool '")),
            "{command:?}: {replies:?}"
        );
    }
}

/// What is refused, and with which code.
#[test]
fn refusals() {
    let mut cluster = cluster();
    cluster.round(&[create("q"), set("p", "nodelete", "true")]);
    for (code, command) in [
        (-22, set("p", "size", "0")),
        (-22, set("p", "size", "11")),
        (-22, set("p", "size", "three")),
        (-1, set("p", "size", "1")),
        (-22, set("p", "min_size", "4")),
        (-22, set("p", "min_size", "0")),
        (-34, set("p", "pg_num", "0")),
        (-34, set("p", "pg_num", "65537")),
        (-34, set("p", "pg_num", "1024")),
        (-22, set("p", "pgp_num", "9")),
        (-22, set("p", "pg_autoscale_mode", "auto")),
        (-2, set("p", "crush_rule", "nosuch")),
        (-22, set("p", "noscrub", "True")),
        (-22, set("p", "noscrub", "yes")),
        (-22, set("p", "noscrub", "2")),
        (-22, key("p", "rbd", "all", "v")),
        (-22, key("p", "rbd", "k", "all")),
        (-22, remove_key("p", "rbd", "all")),
        (
            -34,
            MonCommand::PoolCreate(PoolCreate {
                pg_num: -1,
                ..creation("r")
            }),
        ),
        (-1, set("p", "hashpspool", "false")),
        (-22, set("p", "fast_read", "true")),
        (-22, set("p", "allow_ec_overwrites", "true")),
        (-13, set("p", "target_max_bytes", "1")),
        (-22, set("p", "compression_mode", "some")),
        (-22, set("p", "compression_algorithm", "")),
        (-22, set("p", "compression_required_ratio", "1.5")),
        (-22, set("p", "recovery_priority", "11")),
        (-22, set("p", "target_size_ratio", "-0.5")),
        (-22, set("p", "target_size_ratio", "x")),
        (-22, set("p", "target_size_bytes", "10GiB")),
        (-22, set("p", "pg_autoscale_bias", "1001")),
        (-22, set("p", "pg_num_min", "unset")),
        (-22, set("p", "nosuch", "1")),
        (-22, quota("p", "max_objects", "10k")),
        (-22, quota("p", "max_bytes", "-1")),
        (-22, quota("p", "max_files", "1")),
        (-17, rename("p", "q")),
        (-1, remove("p")),
        (-22, create("")),
    ] {
        let before = cluster.map().clone();
        let got = codes(&mut cluster, std::slice::from_ref(&command));
        assert_eq!(got, [code], "{command:?}");
        assert_eq!(cluster.map(), &before, "{command:?}");
    }
}

/// The monitors may forbid the removal of pools altogether.
#[test]
fn removal_needs_the_monitors_permission() {
    let mut cluster = cluster();
    cluster.config.allow_pool_delete = false;
    assert_eq!(codes(&mut cluster, &[remove("p")]), [-1]);
    cluster.config.allow_pool_delete = true;
    assert_eq!(codes(&mut cluster, &[remove("p")]), [0]);
    assert!(cluster.pool("p").is_none());
}

/// A number is never given to a pool twice, and neither is a create time.
#[test]
fn identities_are_not_reused() {
    let mut cluster = cluster();
    let first = of(&cluster, "p", |p| (p.id, p.create_time));
    cluster.round(&[remove("p")]);
    cluster.round(&[create("p")]);
    let second = of(&cluster, "p", |p| (p.id, p.create_time));
    assert!(first < second, "{first:?} {second:?}");
}

/// 0 unsets a number, `unset` a word; a checksum is kept as its number.
#[test]
fn options_are_unset() {
    for (variable, value, unset) in [
        ("pg_num_min", "4", "0"),
        ("target_size_ratio", "0.2", "0"),
        ("target_size_bytes", "1G", "0"),
        ("scrub_min_interval", "86400", "0"),
        ("compression_mode", "force", "unset"),
        ("csum_type", "crc32c_8", "unset"),
    ] {
        let mut cluster = cluster();
        assert_eq!(
            codes(&mut cluster, &[set("p", variable, value)]),
            [0],
            "{variable}"
        );
        assert_eq!(
            of(&cluster, "p", |p| p.options.contains_key(variable)),
            Some(true)
        );
        if variable == "csum_type" {
            let number = of(&cluster, "p", |p| p.options.get(variable).cloned());
            assert_eq!(number, Some(Some(OptionValue::Integer(6))));
        }
        assert_eq!(
            codes(&mut cluster, &[set("p", variable, unset)]),
            [0],
            "{variable}"
        );
        assert_eq!(
            of(&cluster, "p", |p| p.options.is_empty()),
            Some(true),
            "{variable}"
        );
    }
}

/// 64 keys, 128 bytes; an existing key can be overwritten when all are used.
#[test]
fn limits_of_application_metadata() {
    let mut cluster = cluster();
    cluster.round(&[enable("p", "rbd")]);
    let keys: Vec<_> = (0..65)
        .map(|n| key("p", "rbd", &format!("k{n}"), ""))
        .collect();
    let got = codes(&mut cluster, &keys);
    assert_eq!(got.iter().filter(|code| **code == 0).count(), 64);
    assert_eq!(got.last(), Some(&-22));
    assert_eq!(codes(&mut cluster, &[key("p", "rbd", "k0", "new")]), [0]);
    assert_eq!(codes(&mut cluster, &[remove_key("p", "rbd", "k1")]), [0]);
    let (fits, long) = ("x".repeat(128), "x".repeat(129));
    assert_eq!(codes(&mut cluster, &[key("p", "rbd", &fits, &fits)]), [0]);
    assert_eq!(codes(&mut cluster, &[remove_key("p", "rbd", "k2")]), [0]);
    for command in [
        key("p", "rbd", &long, "v"),
        key("p", "rbd", "k3", &long),
        key("p", "rbd", "", "v"),
        confirmed("p", &long),
    ] {
        assert_eq!(codes(&mut cluster, &[command]), [-22]);
    }
}

/// A rename moves the name and nothing else: not even `last_change`.
#[test]
fn rename_keeps_everything() {
    let mut cluster = cluster();
    cluster.round(&[enable("p", "rbd")]);
    cluster.round(&[key("p", "rbd", "poolwright.owner", "x")]);
    let before = cluster.pool("p").cloned();
    cluster.round(&[rename("p", "q")]);
    let renamed = of(&cluster, "q", |pool| Pool {
        name: PoolName::new("p"),
        ..pool.clone()
    });
    assert_eq!(renamed.as_ref(), before.as_deref());
    assert_eq!(codes(&mut cluster, &[set("p", "size", "2")]), [-2]);
}

/// `creating` goes by itself when there are OSDs, with or without a manager.
#[test]
fn creating_clears_with_osds_only() {
    for (osds, creating) in [(3, false), (0, true)] {
        let mut cluster = SimulatedCluster::new(&fsid(), osds);
        cluster.config.manager = false;
        cluster.round(&[create("p")]);
        assert_eq!(of(&cluster, "p", Pool::is_creating), Some(true));
        let before = cluster.epoch();
        assert_eq!(cluster.settle() > before, !creating);
        assert_eq!(of(&cluster, "p", Pool::is_creating), Some(creating));
    }
}

/// Targets move at once, the numbers with the manager: up in one step, down one by one.
#[test]
fn placement_groups_follow_their_targets() {
    for (target, epochs) in [("64", 2), ("4", 12)] {
        let mut cluster = cluster();
        cluster.config.manager = false;
        cluster.round(&[set("p", "pg_num", target)]);
        let at_once = of(&cluster, "p", |p| p.placement_groups);
        assert!(at_once.is_some_and(|g| !g.settled() && g.pg_num == 8));
        let before = cluster.epoch().0;
        assert_eq!(cluster.settle().0, before, "without a manager");
        cluster.config.manager = true;
        assert_eq!(cluster.settle().0 - before, epochs, "{target}");
        assert_eq!(
            of(&cluster, "p", |p| p.placement_groups.settled()),
            Some(true)
        );
    }
}

/// An erasure-coded pool keeps its size, and is not made again as another kind.
#[test]
fn erasure_coded_pools() {
    let mut cluster = cluster();
    cluster.edit_pool("p", |pool| pool.kind = PoolKind::Erasure);
    assert_eq!(
        codes(&mut cluster, &[set("p", "size", "4"), create("p")]),
        [-95, -22]
    );
}

/// Limits of placement groups need the number of OSDs, which a view does not tell.
#[test]
fn too_many_placement_groups() {
    let mut cluster = cluster();
    let many = MonCommand::PoolCreate(PoolCreate {
        pg_num: 256,
        ..creation("q")
    });
    let mut unlimited = SimulatedCluster::from_view(&cluster.view());
    assert_eq!(codes(&mut cluster, std::slice::from_ref(&many)), [-34]);
    assert_eq!(codes(&mut unlimited, &[many]), [0]);
}

/// 16 counts placement groups also where copies become fewer, and before it looks at a size's bounds.
#[test]
fn placement_groups_are_counted_by_release() {
    let sized = MonCommand::PoolCreate(PoolCreate {
        size: Some(11),
        ..creation("q")
    });
    for (release, expected) in [(Release::Pacific, [-34, -34]), (Release::Reef, [0, -34])] {
        let mut cluster = cluster().with_release(release);
        cluster.config.max_pg_per_osd = 5;
        let commands = [set("p", "size", "2"), sized.clone()];
        assert_eq!(codes(&mut cluster, &commands), expected, "{release}");
    }
}

/// Variables that came with a release are unknown to the ones before.
#[test]
fn variables_by_release() {
    for (variable, value, since) in [
        ("eio", "true", Release::Quincy),
        ("read_ratio", "70", Release::Squid),
        ("pct_update_delay", "5", Release::Tentacle),
    ] {
        for release in [
            Release::Pacific,
            Release::Quincy,
            Release::Squid,
            Release::Tentacle,
        ] {
            let mut cluster = cluster().with_release(release);
            let expected = if release >= since { 0 } else { -22 };
            let got = codes(&mut cluster, &[set("p", variable, value)]);
            assert_eq!(got, [expected], "{variable} {release}");
        }
    }
}
