//! Several commands in one round.

use super::*;

struct Case {
    rule: &'static str,
    commands: Vec<MonCommand>,
    codes: Vec<i32>,
    /// How many epochs the round costs.
    epochs: u64,
    then: fn(&SimulatedCluster) -> bool,
}

fn case(
    rule: &'static str,
    commands: impl Into<Vec<MonCommand>>,
    codes: impl Into<Vec<i32>>,
    epochs: u64,
    then: fn(&SimulatedCluster) -> bool,
) -> Case {
    Case {
        rule,
        commands: commands.into(),
        codes: codes.into(),
        epochs,
        then,
    }
}

fn check(cases: Vec<Case>) {
    for case in cases {
        let mut cluster = cluster();
        let before = cluster.epoch().0;
        assert_eq!(
            codes(&mut cluster, &case.commands),
            case.codes,
            "{}",
            case.rule
        );
        assert_eq!(cluster.epoch().0 - before, case.epochs, "{}", case.rule);
        assert!(
            (case.then)(&cluster),
            "{}: {:?}",
            case.rule,
            cluster.map().pools
        );
    }
}

/// `size` chooses `min_size` anew, and `min_size` is judged by the pending size.
#[test]
fn sizes_see_what_is_pending() {
    check(vec![
        case(
            "size 4, min_size 3: both applied",
            [set("p", "size", "4"), set("p", "min_size", "3")],
            [0, 0],
            1,
            |cluster| sizes(cluster, "p") == Some((4, 3)),
        ),
        case(
            "min_size 3, size 4: min_size ends 2",
            [set("p", "min_size", "3"), set("p", "size", "4")],
            [0, 0],
            1,
            |cluster| sizes(cluster, "p") == Some((4, 2)),
        ),
        case(
            "min_size 4 over size 3, then size 4",
            [set("p", "min_size", "4"), set("p", "size", "4")],
            [-22, 0],
            1,
            |cluster| sizes(cluster, "p") == Some((4, 2)),
        ),
        case(
            "the same variable twice: the last one wins",
            [set("p", "size", "2"), set("p", "size", "5")],
            [0, 0],
            1,
            |cluster| sizes(cluster, "p") == Some((5, 3)),
        ),
        case(
            "nosizechange is seen while pending",
            [
                set("p", "nosizechange", "1"),
                set("p", "size", "2"),
                set("p", "min_size", "1"),
            ],
            [0, -1, -1],
            1,
            |cluster| sizes(cluster, "p") == Some((3, 2)),
        ),
        case(
            "and its removal too",
            [
                set("p", "nosizechange", "true"),
                set("p", "nosizechange", "false"),
                set("p", "size", "2"),
            ],
            [0, 0, 0],
            1,
            |cluster| sizes(cluster, "p") == Some((2, 1)),
        ),
    ]);
}

/// Bounds of `pg_num` are judged by the pending target.
#[test]
fn placement_groups_see_what_is_pending() {
    check(vec![
        case(
            "pg_num 16, then pg_num_min 16",
            [set("p", "pg_num", "16"), set("p", "pg_num_min", "16")],
            [0, 0],
            1,
            |cluster| of(cluster, "p", |p| p.placement_groups.pg_num_target) == Some(16),
        ),
        case(
            "pg_num 4, then pg_num_max 4",
            [set("p", "pg_num", "4"), set("p", "pg_num_max", "4")],
            [0, 0],
            1,
            |cluster| of(cluster, "p", |p| p.placement_groups.pgp_num_target) == Some(4),
        ),
        case(
            "pg_num_min 16 before the pg_num",
            [set("p", "pg_num_min", "16"), set("p", "pg_num", "16")],
            [-22, 0],
            1,
            |cluster| of(cluster, "p", |p| p.options.is_empty()) == Some(true),
        ),
        case(
            "pg_num_max 4 before the pg_num",
            [set("p", "pg_num_max", "4"), set("p", "pg_num", "4")],
            [-22, 0],
            1,
            |cluster| of(cluster, "p", |p| p.options.is_empty()) == Some(true),
        ),
        case(
            "pg_num outside of pending bounds",
            [
                set("p", "pg_num_min", "8"),
                set("p", "pg_num_max", "8"),
                set("p", "pg_num", "4"),
                set("p", "pg_num", "16"),
            ],
            [0, 0, -22, -22],
            1,
            |cluster| of(cluster, "p", |p| p.placement_groups.settled()) == Some(true),
        ),
        case(
            "nopgchange is seen while pending",
            [
                set("p", "nopgchange", "true"),
                set("p", "pg_num", "16"),
                set("p", "pgp_num", "4"),
            ],
            [0, -1, -1],
            1,
            |cluster| of(cluster, "p", |p| p.placement_groups.settled()) == Some(true),
        ),
    ]);
}

/// `application set` needs its application committed; limits count what is pending.
#[test]
fn applications_are_looked_up_in_both() {
    check(vec![
        case(
            "enable and set a key: the enable must be committed first",
            [enable("p", "rbd"), key("p", "rbd", "k", "v")],
            [0, -2],
            1,
            |cluster| {
                of(cluster, "p", |p| {
                    p.applications.get("rbd").map(BTreeMap::len)
                }) == Some(Some(0))
            },
        ),
        case(
            "enable and remove a key",
            [enable("p", "rbd"), remove_key("p", "rbd", "k")],
            [0, -2],
            1,
            |_| true,
        ),
        case(
            "two applications without confirmation",
            [enable("p", "rbd"), enable("p", "rgw")],
            [0, -1],
            1,
            |cluster| of(cluster, "p", |p| p.applications.len()) == Some(1),
        ),
        case(
            "four applications at most, even confirmed",
            ["a", "b", "c", "d", "e"].map(|app| confirmed("p", app)),
            [0, 0, 0, 0, -22],
            1,
            |cluster| of(cluster, "p", |p| p.applications.len()) == Some(4),
        ),
    ]);
}

/// A pool created in the round is not there yet, for anything but another creation.
#[test]
fn created_pools_are_not_found_in_their_round() {
    let other = MonCommand::PoolCreate(PoolCreate {
        size: Some(2),
        ..creation("q")
    });
    check(vec![
        case(
            "create, then anything by that name",
            [
                create("q"),
                set("q", "size", "2"),
                quota("q", "max_bytes", "1"),
                enable("q", "rbd"),
                rename("q", "r"),
            ],
            [0, -2, -2, -2, -2],
            1,
            |cluster| sizes(cluster, "q") == Some((3, 2)),
        ),
        case(
            "create twice: both created, the first one's settings",
            [create("q"), other],
            [0, 0],
            1,
            |cluster| sizes(cluster, "q") == Some((3, 2)) && cluster.map().pools.len() == 2,
        ),
        case(
            "create and rm: the pool exists",
            [create("q"), remove("q")],
            [0, 0],
            1,
            |cluster| cluster.pool("q").is_some(),
        ),
        case(
            "five creations: one epoch",
            ["a", "b", "c", "d", "e"].map(create),
            [0; 5],
            1,
            |cluster| cluster.map().pools.len() == 6,
        ),
    ]);
}

/// A pool removed in the round is still there for the others.
#[test]
fn removed_pools_are_found_in_their_round() {
    check(vec![
        case(
            "rm and create: already exists, and then it does not",
            [remove("p"), create("p")],
            [0, 0],
            1,
            |cluster| cluster.map().pools.is_empty(),
        ),
        case(
            "rm and set: the pool is gone",
            [remove("p"), set("p", "size", "2")],
            [0, 0],
            1,
            |cluster| cluster.map().pools.is_empty(),
        ),
        case(
            "set nodelete and rm: safe",
            [set("p", "nodelete", "true"), remove("p")],
            [0, -1],
            1,
            |cluster| cluster.pool("p").is_some(),
        ),
    ]);
}

/// Names are looked up in the committed map.
#[test]
fn renames() {
    check(vec![
        case(
            "set by the old name lands on the renamed pool",
            [rename("p", "q"), set("p", "size", "2")],
            [0, 0],
            1,
            |cluster| sizes(cluster, "q") == Some((2, 1)) && cluster.pool("p").is_none(),
        ),
        case(
            "set by the new name is not found",
            [rename("p", "q"), set("q", "size", "2")],
            [0, -2],
            1,
            |cluster| sizes(cluster, "q") == Some((3, 2)),
        ),
        case(
            "set, then rename: both apply",
            [set("p", "size", "2"), rename("p", "q")],
            [0, 0],
            1,
            |cluster| sizes(cluster, "q") == Some((2, 1)),
        ),
        case(
            "rename and create of the old name: already exists, and then it does not",
            [rename("p", "q"), create("p")],
            [0, 0],
            1,
            |cluster| cluster.pool("p").is_none() && cluster.map().pools.len() == 1,
        ),
    ]);
    let mut cluster = cluster();
    cluster.round(&[create("q")]);
    let both = [rename("p", "r"), rename("q", "r")];
    assert_eq!(
        codes(&mut cluster, &both),
        [0, -17],
        "two renames onto one name"
    );
    assert!(cluster.pool("r").is_some() && cluster.pool("q").is_some());
}

/// Many settings of one pool cost one epoch, which is the pool's `last_change`.
#[test]
fn one_round_is_one_epoch() {
    let mut cluster = cluster();
    let before = cluster.epoch().0;
    let commands = [
        set("p", "size", "4"),
        set("p", "min_size", "3"),
        set("p", "pg_num", "16"),
        set("p", "pg_num_min", "16"),
        set("p", "compression_mode", "aggressive"),
        set("p", "noscrub", "true"),
        set("p", "bulk", "1"),
        set("p", "target_size_bytes", "1Ti"),
        quota("p", "max_bytes", "1024000000"),
        quota("p", "max_objects", "1000000"),
        enable("p", "rbd"),
    ];
    assert_eq!(codes(&mut cluster, &commands), [0; 11]);
    assert_eq!(cluster.epoch(), Epoch(before + 1));
    assert_eq!(of(&cluster, "p", |p| p.last_change), Some(cluster.epoch()));
}

/// Published by rename: three rounds, and no private name is left.
#[test]
fn published_by_rename() {
    let mut cluster = cluster();
    let private = "foo.poolwright-new-ab12";
    let before = cluster.epoch().0;
    assert_eq!(codes(&mut cluster, &[create(private)]), [0]);
    let settings = [
        set(private, "min_size", "1"),
        set(private, "noscrub", "true"),
        quota(private, "max_bytes", "5"),
        enable(private, "rbd"),
    ];
    assert_eq!(codes(&mut cluster, &settings), [0; 4]);
    let publication = [
        key(private, "rbd", "poolwright", "i/c/h"),
        key(private, "rbd", "poolwright.object", "ns/foo"),
        rename(private, "foo"),
    ];
    assert_eq!(codes(&mut cluster, &publication), [0; 3]);
    assert_eq!(cluster.epoch(), Epoch(before + 3));
    assert!(
        cluster
            .map()
            .pools
            .values()
            .all(|pool| !pool.name.is_private())
    );
    let keys = |pool: &Pool| pool.applications.get("rbd").map(BTreeMap::len);
    assert_eq!(of(&cluster, "foo", keys), Some(Some(2)));
}
