//! Whose pool it is: marks, names that are taken, pools that are gone, and creations that go on.

use std::fmt::Write as _;

use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::{CreateTime, Fsid, PoolName};
use poolwright::request::pool_factory::discard_round;
use poolwright::request::wish::{Record, Wish};

use super::support::*;

/// The mark of a pool as `team-a/foopool` of this instance writes it.
fn marks(bench: &Bench) -> (Option<String>, Option<String>) {
    let keys = bench
        .pool()
        .applications
        .get("rbd")
        .cloned()
        .unwrap_or_default();
    (
        keys.get("poolwright").cloned(),
        keys.get("poolwright.object").cloned(),
    )
}

/// A missing or incomplete mark is written again where the identity is recorded in the status.
#[test]
fn marks_are_repaired() {
    let mut text = String::new();
    for keys in [
        &["poolwright", "poolwright.object"][..],
        &["poolwright"],
        &["poolwright.object"],
    ] {
        let mut bench = after(SMALLEST, |pool| {
            for key in keys {
                pool.applications.get_mut("rbd").unwrap().remove(*key);
            }
        });
        write!(
            text,
            "# without {}\n{}",
            keys.join(" and "),
            bench.plan(SMALLEST)
        )
        .unwrap();
        let before = Bench::with(SMALLEST);
        bench.apply(SMALLEST).in_sync();
        assert_eq!(marks(&bench), marks(&before));
    }
    // Another application cannot move the mark, nor make a second one.
    let two = "applications: [{name: cephfs}, {name: rbd}]";
    let mut bench = Bench::with(SMALLEST);
    bench.apply(two).in_sync();
    assert!(bench.pool().applications["cephfs"].is_empty());
    // Of two applications the alphabetically first carries it.
    let bench = Bench::with(two);
    assert!(bench.pool().applications["rbd"].is_empty());
    assert_eq!(bench.pool().applications["cephfs"].len(), 2);
    insta::assert_snapshot!(text);
}

/// A pool that carries somebody else's mark, or this object's under another claim, is left alone.
#[test]
fn marks_of_others() {
    let mut text = String::new();
    let others = [
        (
            "another object",
            format!("c9a1/{CLAIM}/0000000000000000"),
            Some("team-b/bar"),
        ),
        (
            "another instance",
            owner().mark(CLAIM).replace("c9a1", "other"),
            Some("team-a/foopool"),
        ),
        ("no known form", "mine!".to_owned(), None),
        (
            "another claim",
            owner().mark("otherclm"),
            Some("team-a/foopool"),
        ),
    ];
    for (what, mark, object) in others {
        let bench = after(SMALLEST, |pool| {
            let keys = pool.applications.get_mut("rbd").unwrap();
            keys.insert("poolwright".into(), mark);
            match object {
                Some(object) => keys.insert("poolwright.object".into(), object.into()),
                None => keys.remove("poolwright.object"),
            };
        });
        write!(text, "# {what}\n{}", bench.plan(EVERYTHING)).unwrap();
    }
    // A foreign mark counts wherever it stands, also beside one of ours.
    let bench = after(SMALLEST, |pool| {
        let mark = ("poolwright".to_owned(), "x/y/z".to_owned());
        pool.applications.insert("zzz".into(), [mark].into());
    });
    write!(text, "# beside ours\n{}", bench.plan(EVERYTHING)).unwrap();
    insta::assert_snapshot!(text);
}

/// A pool of the name that nobody made for this object is not touched, whatever is recorded elsewhere.
#[test]
fn the_name_is_taken() {
    let mut bench = Bench::new();
    foreign(&mut bench.cluster, "foopool");
    let mut text = format!("# nothing recorded\n{}", bench.plan(EVERYTHING));
    let id = bench.pool().id;
    let identity = bench.cluster.map().identity(bench.pool());
    // An annotation, which users can write, is no proof by itself.
    bench.record.identity = Some(identity.clone());
    write!(text, "# only annotated\n{}", bench.plan(EVERYTHING)).unwrap();
    // With a mark of this object it is.
    bench.cluster.edit_pool("foopool", |pool| {
        let keys = [("poolwright".to_owned(), owner().mark("lostclaim"))];
        pool.applications.insert("rbd".into(), keys.into());
    });
    bench.apply(SMALLEST).in_sync();
    assert_eq!(bench.record.claim, "lostclaim");
    assert_eq!(marks(&bench).1.as_deref(), Some("team-a/foopool"));
    // And the mark is enough alone: the object was made again, or its status was lost.
    bench.record = fresh();
    bench.apply(SMALLEST).in_sync();
    assert_eq!(
        (bench.record.claim.as_str(), bench.pool().id),
        ("lostclaim", id)
    );
    insta::assert_snapshot!(text);
}

/// A pool that was ours and is gone is not silently made again; another one of its name is not taken for it.
#[test]
fn the_pool_is_gone_or_another() {
    let mut bench = Bench::with(SMALLEST);
    let ours = bench.pool().id;
    let removed = bench.clone();
    let mut text = String::new();
    bench.cluster.edit_map(|map| {
        map.pools.remove(&ours);
    });
    write!(text, "# gone\n{}", bench.plan(SMALLEST)).unwrap();
    foreign(&mut bench.cluster, "foopool");
    write!(text, "# replaced\n{}", bench.plan(SMALLEST)).unwrap();
    // The same number in a cluster that was built anew is another pool.
    let mut rebuilt = removed.clone();
    rebuilt
        .cluster
        .edit_pool("foopool", |pool| pool.create_time = CreateTime(5));
    write!(text, "# same id, another time\n{}", rebuilt.plan(SMALLEST)).unwrap();
    let mut elsewhere = removed.clone();
    elsewhere
        .cluster
        .edit_map(|map| map.fsid = Fsid::new("00000000-0000-4000-8000-000000000002"));
    write!(text, "# another cluster\n{}", elsewhere.plan(SMALLEST)).unwrap();
    let mut renamed = removed;
    renamed.cluster.round(&[MonCommand::PoolRename {
        from: PoolName::new("foopool"),
        to: PoolName::new("barpool"),
    }]);
    write!(text, "# renamed by hand\n{}", renamed.plan(SMALLEST)).unwrap();
    write!(
        text,
        "# and wanted so\n{}",
        renamed.plan("{poolName: barpool, applications: [{name: rbd}]}")
    )
    .unwrap();
    insta::assert_snapshot!(text);
}

/// A creation goes on where it was, also when only its nonce is recorded.
#[test]
fn creation_goes_on() {
    let whole = Bench::new().apply(EVERYTHING).lines().join("\n");
    let rounds: Vec<&str> = whole.split("\n--\n").collect();
    for done in 0..4 {
        let mut bench = begun(EVERYTHING, done);
        if done < 3 {
            assert_eq!(bench.cluster.pool(PRIVATE).is_some(), done > 0);
            assert!(
                bench.cluster.pool("foopool").is_none(),
                "not published before it is ready"
            );
        }
        let left = bench.apply(EVERYTHING).in_sync().lines().join("\n");
        assert_eq!(left, rounds[done..].join("\n--\n"));
        // The reply to the create was lost, and with it the identity.
        if (1..3).contains(&done) {
            let mut bench = begun(EVERYTHING, done);
            bench.record.identity = None;
            bench.record.identity_proven = false;
            bench.record.claim_recorded = false;
            let left = bench.apply(EVERYTHING).in_sync().lines().join("\n");
            assert_eq!(left, rounds[done..].join("\n--\n"));
        }
    }
}

/// The name of a pool that is not published yet can still change: it is published under the new one.
#[test]
fn the_name_changes_during_the_creation() {
    let mut bench = begun(SMALLEST, 2);
    let other = "{poolName: barpool, applications: [{name: rbd}]}";
    let ran = bench.apply(other);
    ran.in_sync();
    assert!(
        ran.lines()
            .contains(&format!("ceph osd pool rename {PRIVATE} barpool"))
    );
    assert!(bench.cluster.pool("barpool").is_some() && bench.cluster.map().pools.len() == 1);
}

/// A private pool that is gone had never been anybody's: it is made again. One with another identity is not touched.
#[test]
fn the_private_pool_is_gone() {
    let mut bench = begun(SMALLEST, 2);
    let private = bench.cluster.pool(PRIVATE).unwrap().id;
    bench.cluster.edit_map(|map| {
        map.pools.remove(&private);
    });
    let mut again = bench.clone();
    again.record.identity = None;
    again.apply(SMALLEST).in_sync();
    // Somebody made one of this very name, which nobody would: it is not ours.
    foreign(&mut bench.cluster, PRIVATE);
    let before = bench.cluster.pool(PRIVATE).cloned();
    let answer = next(&wish(SMALLEST, bench.record.clone()), &bench.cluster.view());
    assert_eq!(answer.found, None);
    assert!(
        answer
            .round
            .steps
            .iter()
            .all(|step| matches!(step.command, MonCommand::PoolCreate(_)))
    );
    assert_eq!(bench.cluster.pool(PRIVATE).cloned(), before);
}

/// If the real name is taken meanwhile, the private pool goes, and nothing else.
#[test]
fn the_name_is_taken_meanwhile() {
    let mut bench = begun(SMALLEST, 2);
    foreign(&mut bench.cluster, "foopool");
    let foreign = bench.cluster.pool("foopool").cloned();
    let ran = bench.apply(SMALLEST);
    assert!(ran.ended);
    assert_eq!(bench.cluster.pool("foopool").cloned(), foreign);
    assert_eq!(bench.cluster.map().pools.len(), 1);
    insta::assert_snapshot!(ran.text());
}

/// An object that is deleted takes its private pool with it: that one by its identity, and nothing else.
#[test]
fn discarding() {
    let removal = |record: Record| Wish::for_removal(owner(), PoolName::new("foopool"), 1, record);
    let bench = begun(SMALLEST, 2);
    let answer = discard_round(&removal(bench.record.clone()), &bench.cluster.view());
    let mut text = show_round(&answer.round);
    assert_eq!(commands(&answer.round).len(), 1);
    // Only the nonce is recorded: the name alone means the pool.
    let lost = Record {
        identity: None,
        ..bench.record.clone()
    };
    assert_eq!(
        discard_round(&removal(lost), &bench.cluster.view()).round,
        answer.round
    );
    // There is none, or not any more.
    assert!(discard_round(&removal(fresh()), &Bench::new().cluster.view()).in_sync());
    let published = Bench::with(SMALLEST);
    assert!(
        discard_round(
            &removal(published.record.clone()),
            &published.cluster.view()
        )
        .in_sync()
    );
    // Another pool under its name.
    let mut other = bench.clone();
    other
        .cluster
        .edit_pool(PRIVATE, |pool| pool.create_time = CreateTime(5));
    let answer = discard_round(&removal(other.record.clone()), &other.cluster.view());
    assert!(answer.round.is_empty());
    text.push_str(&show_refusals(&answer.refusals));
    insta::assert_snapshot!(text);
}
