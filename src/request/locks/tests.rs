//! Who waits for whom, and until when.

use super::*;
use crate::ceph::command::PoolCreate;
use crate::ceph::simulated::SimulatedCluster;
use crate::request::round::Step;

fn key(name: &str) -> PoolKey {
    PoolKey {
        namespace: "n".into(),
        name: name.into(),
        uid: name.into(),
    }
}

fn name(text: &str) -> PoolName {
    PoolName::new(text)
}

fn create(pool: &str) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate::new(name(pool), 8))
}

fn rename(from: &str, to: &str) -> MonCommand {
    MonCommand::PoolRename {
        from: name(from),
        to: name(to),
    }
}

fn remove(pool: &str) -> MonCommand {
    MonCommand::PoolRemove { pool: name(pool) }
}

fn quota(pool: &str) -> MonCommand {
    MonCommand::PoolSetQuota {
        pool: name(pool),
        field: "max_bytes".into(),
        value: "2".into(),
    }
}

fn round(command: &MonCommand) -> Round {
    Round {
        steps: vec![Step {
            command: command.clone(),
            field: String::new(),
            desired: String::new(),
            observed: String::new(),
            reason: String::new(),
            last: false,
            token: None,
        }],
    }
}

/// A cluster of these pools.
fn cluster(pools: &[&str]) -> SimulatedCluster {
    let mut cluster = SimulatedCluster::new(&Fsid::new("f"), 100);
    for pool in pools {
        cluster.round(&[create(pool)]);
    }
    cluster
}

const PRIVATE: &str = "foo.poolwright-new-ab12";
const TAKEN: &str = "foo.poolwright-del-ab12";

/// What was not answered, what is to be sent, and the name that another object and the same one wait for.
#[test]
fn who_waits() {
    let present = ["foo", "bar"];
    let sent = rename("foo", "new");
    for (sent, next, wish, other, own) in [
        // What was begun goes on.
        (&sent, rename("foo", "new"), "new", Some("foo"), None),
        // Another way with the same names waits, whoever it is.
        (
            &sent,
            rename("foo", "else"),
            "else",
            Some("foo"),
            Some("foo"),
        ),
        (&sent, rename("new", "foo"), "foo", Some("new"), Some("new")),
        (&sent, rename("bar", "new"), "new", Some("new"), Some("new")),
        (&sent, remove("foo"), "foo", Some("foo"), Some("foo")),
        // A name that was taken away for a private one is given back.
        (
            &rename("foo", TAKEN),
            rename(TAKEN, "foo"),
            "foo",
            Some(TAKEN),
            None,
        ),
        // A pool that is to get a locked name in the end is not begun.
        (&sent, create(PRIVATE), "new", Some("new"), Some("new")),
        (&sent, create(PRIVATE), "other", None, None),
        // Settings change no names: of the pool itself they go on.
        (&sent, quota("foo"), "foo", Some("foo"), None),
        (&sent, quota("bar"), "bar", None, None),
        // A late setting is one of the pool's own, and would land on whatever has the name.
        (&quota("foo"), quota("foo"), "foo", Some("foo"), None),
        (
            &quota("foo"),
            rename("foo", "new"),
            "new",
            Some("foo"),
            None,
        ),
        (
            &quota("foo"),
            rename("bar", "foo"),
            "foo",
            Some("foo"),
            None,
        ),
        (
            &remove("foo"),
            create(PRIVATE),
            "foo",
            Some("foo"),
            Some("foo"),
        ),
        (&remove("foo"), remove("foo"), "foo", Some("foo"), None),
    ] {
        let cluster = cluster(&present);
        let now = Instant::now();
        let locks = NameLocks::default();
        locks.lock(&Fsid::new("f"), &key("a"), sent);
        for (who, expected) in [("b", other), ("a", own)] {
            let held =
                locks.holds_back(&round(&next), &name(wish), &key(who), &cluster.view(), now);
            let what = format!("{} after {} by {who}", next.to_line(), sent.to_line());
            assert_eq!(held, expected.map(|held| (name(held), LATE)), "{what}");
        }
    }
}

/// A lock ends with its time, and sooner when a view shows that the command was executed.
#[test]
fn until_when() {
    let waits = |locks: &NameLocks, cluster: &SimulatedCluster, pool: &str, now: Instant| {
        let round = round(&quota(pool));
        let held = locks.holds_back(&round, &name(pool), &key("b"), &cluster.view(), now);
        held.map(|(_, wait)| wait)
    };
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let before = cluster(&["foo"]);
    for (sent, after) in [
        (rename("foo", "new"), Some(cluster(&["new"]))),
        (remove("foo"), Some(cluster(&["bar"]))),
        (create(PRIVATE), Some(cluster(&["foo", PRIVATE]))),
        (quota("foo"), None),
    ] {
        let pool = match &sent {
            MonCommand::PoolCreate(_) => PRIVATE,
            _ => "foo",
        };
        let locks = NameLocks::default();
        locks.lock_recorded(&Fsid::new("f"), &key("a"), &sent);
        let what = sent.to_line();
        assert_eq!(waits(&locks, &before, pool, now), Some(LATE), "{what}");
        let later = now + LATE - second;
        assert_eq!(waits(&locks, &before, pool, later), Some(second), "{what}");
        if let Some(after) = after {
            assert_eq!(waits(&locks, &after, pool, now), None, "{what}");
            // It is settled for good, and not only while it looks so.
            assert_eq!(waits(&locks, &before, pool, now), None, "{what}");
        } else {
            assert_eq!(waits(&locks, &before, pool, now + LATE), None, "{what}");
        }
    }
}

/// What an earlier process was about to do is not known: its object goes on, the others wait. Another cluster has
/// other names.
#[test]
fn earlier_processes_and_other_clusters() {
    let cluster = cluster(&["foo"]);
    let now = Instant::now();
    let locks = NameLocks::default();
    locks.lock_name(Some(&Fsid::new("f")), &key("a"), &name("foo"));
    let held = |who: &str, command: &MonCommand| {
        let round = round(command);
        locks.holds_back(&round, &name("foo"), &key(who), &cluster.view(), now)
    };
    for command in [quota("foo"), rename("foo", "new"), create(PRIVATE)] {
        assert_eq!(held("a", &command), None);
        assert_eq!(held("b", &command), Some((name("foo"), LATE)));
    }
    let elsewhere = NameLocks::default();
    elsewhere.lock_name(Some(&Fsid::new("g")), &key("a"), &name("foo"));
    let round = round(&quota("foo"));
    let held = elsewhere.holds_back(&round, &name("foo"), &key("b"), &cluster.view(), now);
    assert_eq!(held, None);
}

/// Where it is not recorded in which cluster an earlier process used a name, each may be it, from when it is first seen.
#[test]
fn a_cluster_that_is_not_recorded() {
    let locks = NameLocks::default();
    locks.lock_name(None, &key("a"), &name("foo"));
    let start = Instant::now();
    for (fsid, seen) in [("f", 0_u64), ("g", 100)] {
        let mut cluster = SimulatedCluster::new(&Fsid::new(fsid), 100);
        cluster.round(&[create("foo")]);
        let held = |who: &str, second| {
            let now = start + Duration::from_secs(seen + second);
            let round = round(&quota("foo"));
            let held = locks.holds_back(&round, &name("foo"), &key(who), &cluster.view(), now);
            held.map(|(_, wait)| wait)
        };
        assert_eq!(held("b", 0), Some(LATE), "{fsid}");
        assert_eq!(held("a", 0), None, "{fsid}");
        assert_eq!(held("b", 29), Some(Duration::from_secs(1)), "{fsid}");
        // And only once.
        assert_eq!(held("b", 30), None, "{fsid}");
        assert_eq!(held("b", 31), None, "{fsid}");
    }
}

/// Commands of two objects are on their way to one name: neither goes on before both are settled.
#[test]
fn two_objects_and_one_name() {
    let cluster = cluster(&["foo"]);
    let now = Instant::now();
    let fsid = Fsid::new("f");
    for earlier in [true, false] {
        let locks = NameLocks::default();
        for (who, from) in [("a", "left"), ("b", "right")] {
            if earlier {
                locks.lock_name(Some(&fsid), &key(who), &name("new"));
            } else {
                locks.lock(&fsid, &key(who), &rename(from, "new"));
            }
        }
        for (who, from) in [("a", "left"), ("b", "right"), ("c", "foo")] {
            let round = round(&rename(from, "new"));
            let held = locks.holds_back(&round, &name("new"), &key(who), &cluster.view(), now);
            assert_eq!(held, Some((name("new"), LATE)), "{who}");
        }
    }
}

/// While a monitor is missing that may have a command, its time does not begin; what an earlier process left is not known to
/// be with a monitor at all, and does not wait for one.
#[test]
fn monitors_that_are_missing() {
    let fsid = Fsid::new("f");
    let view = cluster(&["foo"]).view();
    let start = Instant::now();
    let at = |second| start + Duration::from_secs(second);
    let quorum = |missing: &[&str], since: Option<u64>| Quorum {
        missing: missing.iter().map(|&name| name.to_owned()).collect(),
        whole_since: since.map(at),
    };
    let locks = NameLocks::default();
    let left = |second| locks.unsettled(&key("a"), &view, at(second));
    assert!(!locks.want_quorum(&fsid));
    locks.lock(&fsid, &key("a"), &rename("foo", "new"));
    assert!(locks.want_quorum(&fsid) && !locks.want_quorum(&Fsid::new("g")));
    locks.saw_quorum(&fsid, quorum(&[], None));
    assert_eq!(left(0), Some(LATE));
    assert_eq!(left(100), Some(LATE), "nothing is known");
    locks.saw_quorum(&fsid, quorum(&["b"], None));
    assert_eq!(left(200), Some(LATE));
    assert_eq!(locks.missing(&fsid), ["b"]);
    locks.saw_quorum(&fsid, quorum(&[], Some(210)));
    assert_eq!(left(220), LATE.checked_sub(Duration::from_secs(10)));
    assert_eq!(left(240), None);
    assert!(!locks.want_quorum(&fsid) && locks.missing(&fsid).is_empty());

    let earlier = NameLocks::default();
    earlier.lock_name(Some(&fsid), &key("a"), &name("foo"));
    assert!(!earlier.want_quorum(&fsid));
    earlier.saw_quorum(&fsid, quorum(&["b"], None));
    assert_eq!(earlier.unsettled(&key("a"), &view, at(0)), Some(LATE));
    assert_eq!(earlier.unsettled(&key("a"), &view, at(30)), None);
}

/// A rename that took long may be executed once more, though it was, and that was seen.
#[test]
fn answers_that_took_long() {
    let fsid = Fsid::new("f");
    let view = cluster(&["new"]).view();
    let now = Instant::now();
    let unanswered = NameLocks::default();
    unanswered.lock(&fsid, &key("a"), &rename("foo", "new"));
    assert_eq!(unanswered.unsettled(&key("a"), &view, now), Some(LATE));
    for (command, took, expected) in [
        (rename("foo", "new"), SLOW, Some(LATE)),
        (rename("foo", "new"), SLOW / 2, None),
        (rename(PRIVATE, "new"), SLOW, None),
        (create(PRIVATE), SLOW, None),
        (quota("new"), SLOW, None),
        (remove("foo"), SLOW, None),
    ] {
        let locks = NameLocks::default();
        locks.answered(&fsid, &key("a"), &command, took);
        let what = command.to_line();
        assert_eq!(locks.unsettled(&key("a"), &view, now), expected, "{what}");
        assert_eq!(locks.want_quorum(&fsid), expected.is_some(), "{what}");
    }
}
