//! Rounds that must not be sent, as no planner should make them, and those that may.

mod made;

use std::collections::BTreeMap;

use super::*;
use crate::ceph::command::PoolCreate;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::types::{Fsid, PoolIdentity};
use crate::request::ownership::{MARK_KEY, Owner};
use crate::request::round::Step;
use crate::request::wish::Record;

fn name(text: &str) -> PoolName {
    PoolName::new(text)
}

fn create(pool: &str) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate::new(name(pool), 8))
}

fn set(pool: &str) -> MonCommand {
    MonCommand::PoolSet {
        pool: name(pool),
        variable: "size".into(),
        value: "2".into(),
    }
}

fn quota(pool: &str) -> MonCommand {
    MonCommand::PoolSetQuota {
        pool: name(pool),
        field: "max_bytes".into(),
        value: "2".into(),
    }
}

fn enable(pool: &str) -> MonCommand {
    MonCommand::ApplicationEnable {
        pool: name(pool),
        application: "rbd".into(),
        confirmed: false,
    }
}

fn key(pool: &str, key: &str, value: &str) -> MonCommand {
    MonCommand::ApplicationSet {
        pool: name(pool),
        application: "rbd".into(),
        key: key.into(),
        value: value.into(),
    }
}

fn unkey(pool: &str) -> MonCommand {
    MonCommand::ApplicationRemove {
        pool: name(pool),
        application: "rbd".into(),
        key: "a".into(),
    }
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

fn round(commands: Vec<MonCommand>) -> Round {
    let steps = commands.into_iter().map(|command| Step {
        command,
        field: String::new(),
        desired: String::new(),
        observed: String::new(),
        reason: String::new(),
        last: false,
        token: None,
    });
    Round {
        steps: steps.collect(),
    }
}

/// A cluster with these pools, and the wish for `foo` under the nonce `ab12`.
struct Scene {
    cluster: SimulatedCluster,
    wish: Wish,
    proof: Option<Proof>,
}

impl Scene {
    fn new(pools: &[&str], ours: Option<&str>, unpublished: bool) -> Self {
        let mut cluster = SimulatedCluster::new(&Fsid::new("f"), 100);
        for pool in pools {
            cluster.round(&[create(pool)]);
        }
        let found = ours.and_then(|pool| cluster.pool(pool));
        let identity = found.map(|pool| cluster.map().identity(pool));
        let record = Record {
            identity,
            nonce: "ab12".into(),
            claim: "c".into(),
            unpublished,
            ..Record::default()
        };
        let owner = Owner {
            instance: "i".into(),
            namespace: "n".into(),
            name: "foo".into(),
        };
        Self {
            cluster,
            proof: None,
            wish: Wish {
                applications: BTreeMap::new(),
                ..Wish::for_removal(owner, name("foo"), 1, record)
            },
        }
    }

    fn check(&self, commands: Vec<MonCommand>) -> Result<(), Objection> {
        self.check_round(&round(commands))
    }

    /// The same with a person's word for every step.
    fn check_confirmed(&self, commands: Vec<MonCommand>) -> Result<(), Objection> {
        let mut round = round(commands);
        for step in &mut round.steps {
            step.token = Some("0badcafe".into());
        }
        self.check_round(&round)
    }

    fn check_round(&self, round: &Round) -> Result<(), Objection> {
        let pool = self
            .wish
            .record
            .identity
            .as_ref()
            .map(|identity| identity.id);
        check(
            round,
            &self.wish,
            &self.cluster.view(),
            pool,
            self.proof.as_ref(),
        )
    }
}

const PRIVATE: &str = "foo.poolwright-new-ab12";
const OTHERS: &str = "foo.poolwright-new-ffff";

/// What a create, an update and a removal of the private pool send.
#[test]
fn what_may_be_sent() {
    let nothing = Scene::new(&["bar"], None, true);
    assert_eq!(nothing.check(vec![create(PRIVATE)]), Ok(()));
    let private = Scene::new(&["bar", PRIVATE], Some(PRIVATE), true);
    let configuring = vec![set(PRIVATE), quota(PRIVATE), enable(PRIVATE)];
    assert_eq!(private.check(configuring), Ok(()));
    let publishing = vec![key(PRIVATE, "poolwright", "i/c/h"), rename(PRIVATE, "foo")];
    assert_eq!(private.check(publishing), Ok(()));
    assert_eq!(private.check(vec![remove(PRIVATE)]), Ok(()));
    let published = Scene::new(&["bar", "foo"], Some("foo"), false);
    let updating = vec![
        set("foo"),
        quota("foo"),
        unkey("foo"),
        key("foo", "a.b_c-1", "x+=:/@"),
    ];
    assert_eq!(published.check(updating), Ok(()));
    assert_eq!(published.check(vec![MonCommand::OsdStat]), Ok(()));
}

/// Only the private name of a pool that was never published is removed, whoever asks.
#[test]
fn removals() {
    let published = Scene::new(&["foo", PRIVATE, OTHERS, "bar"], Some("foo"), false);
    for pool in ["foo", PRIVATE, OTHERS, "bar", "absent"] {
        let objection = published.check(vec![remove(pool)]);
        assert_eq!(objection, Err(Objection::RemovesPublished(name(pool))));
    }
    let private = Scene::new(&["foo", PRIVATE, OTHERS], Some(PRIVATE), true);
    for pool in ["foo", OTHERS] {
        let objection = private.check(vec![remove(pool)]);
        assert_eq!(objection, Err(Objection::RemovesPublished(name(pool))));
    }
    // The private name means another pool than the one that is recorded.
    let other = Scene::new(&["bar", PRIVATE], Some("bar"), true);
    let objection = other.check(vec![remove(PRIVATE)]);
    assert!(
        matches!(objection, Err(Objection::OtherPool { .. })),
        "{objection:?}"
    );
}

/// A pool is created under this object's private name, and only where that is free.
#[test]
fn creations() {
    let scene = Scene::new(&["bar"], None, true);
    for pool in ["foo", "bar", OTHERS] {
        let objection = scene.check(vec![create(pool)]);
        assert_eq!(objection, Err(Objection::CreatesElsewhere(name(pool))));
    }
    let taken = Scene::new(&[PRIVATE], None, true);
    let objection = taken.check(vec![create(PRIVATE)]);
    assert_eq!(objection, Err(Objection::CreatesElsewhere(name(PRIVATE))));
}

/// A rename publishes our private pool under a free name, and nothing else.
#[test]
fn renames() {
    let scene = Scene::new(&["bar", PRIVATE], Some(PRIVATE), true);
    for (from, to) in [(PRIVATE, "bar"), (PRIVATE, "elsewhere"), (PRIVATE, OTHERS)] {
        let objection = scene.check(vec![rename(from, to)]);
        let (from, to) = (name(from), name(to));
        assert_eq!(objection, Err(Objection::Renames { from, to }));
    }
    let taken = Scene::new(&["foo", PRIVATE], Some(PRIVATE), true);
    let objection = taken.check(vec![rename(PRIVATE, "foo")]);
    assert!(
        matches!(objection, Err(Objection::Renames { .. })),
        "{objection:?}"
    );
    let published = Scene::new(&["foo"], Some("foo"), false);
    let objection = published.check(vec![rename("foo", "bar")]);
    assert!(
        matches!(objection, Err(Objection::Renames { .. })),
        "{objection:?}"
    );
    let not_ours = scene.check(vec![rename("bar", "foo")]);
    assert!(
        matches!(not_ours, Err(Objection::OtherPool { .. })),
        "{not_ours:?}"
    );
}

/// A command for a name that means another pool, or none, is not sent; one of them is enough.
#[test]
fn other_pools() {
    let scene = Scene::new(&["foo", "bar"], Some("foo"), false);
    for pool in ["bar", "absent"] {
        for command in [
            set(pool),
            quota(pool),
            enable(pool),
            key(pool, "a", "b"),
            unkey(pool),
        ] {
            let objection = scene.check(vec![set("foo"), command.clone()]);
            let expected = Objection::OtherPool {
                name: name(pool),
                pool: scene
                    .wish
                    .record
                    .identity
                    .as_ref()
                    .map(|identity| identity.id),
            };
            assert_eq!(objection, Err(expected), "{}", command.to_line());
        }
    }
    // Where it is not known which pool is ours, none is.
    let unknown = Scene::new(&["foo"], None, false);
    assert!(unknown.check(vec![set("foo")]).is_err());
    // The same number, made at another time, is another pool.
    let mut rebuilt = Scene::new(&["foo"], Some("foo"), false);
    rebuilt
        .cluster
        .edit_pool("foo", |pool| pool.create_time.0 += 1);
    assert!(rebuilt.check(vec![set("foo")]).is_err());
}

/// Nothing is sent to another cluster than the recorded one.
#[test]
fn other_clusters() {
    let mut scene = Scene::new(&["foo"], Some("foo"), false);
    scene.wish.record.identity = scene.wish.record.identity.map(|identity| PoolIdentity {
        fsid: Fsid::new("g"),
        ..identity
    });
    assert_eq!(scene.check(vec![set("foo")]), Err(Objection::OtherCluster));
}

/// A key or value that would make the map unreadable for everybody is never written.
#[test]
fn keys() {
    let scene = Scene::new(&["foo"], Some("foo"), false);
    let long = "x".repeat(129);
    for (text, value) in [
        ("a\"b", "v"),
        ("a\\b", "v"),
        ("a\nb", "v"),
        ("a b", "v"),
        ("ä", "v"),
        ("a/b", "v"),
        (long.as_str(), "v"),
        ("a", "v\""),
        ("a", "v\n"),
        ("a", long.as_str()),
    ] {
        let objection = scene.check(vec![key("foo", text, value)]);
        assert_eq!(objection, Err(Objection::Key(text.to_owned())));
    }
}

/// A mark goes over somebody else's only when that is dead, or with a person's word; other keys do not either.
#[test]
fn marks_of_others() {
    let mut scene = Scene::new(&["foo"], Some("foo"), false);
    scene.cluster.round(&[enable("foo")]);
    let theirs = "other/c/0123456789abcdef";
    scene.cluster.round(&[key("foo", MARK_KEY, theirs)]);
    for ours in [key("foo", MARK_KEY, "i/c/h"), key("foo", "a", "b")] {
        let objection = scene.check(vec![ours.clone()]);
        assert_eq!(objection, Err(Objection::OthersMark(name("foo"))));
        assert_eq!(scene.check_confirmed(vec![ours.clone()]), Ok(()));
        // Not over that of anybody who is gone.
        let mut dead = scene.wish.clone();
        dead.dead_marks.insert("another/c/h".into());
        std::mem::swap(&mut dead, &mut scene.wish);
        assert!(scene.check(vec![ours.clone()]).is_err());
        scene.wish.dead_marks.insert(theirs.into());
        assert_eq!(scene.check(vec![ours]), Ok(()));
        scene.wish.dead_marks.clear();
    }
    // Whatever else is confirmed, nothing else goes there.
    for command in [set("foo"), quota("foo"), enable("foo"), unkey("foo")] {
        let objection = scene.check_confirmed(vec![command]);
        assert_eq!(objection, Err(Objection::OthersMark(name("foo"))));
    }
    // A claim that is not the recorded one is another owner's, though the object is the same.
    let mut scene = Scene::new(&["foo"], Some("foo"), false);
    scene.cluster.round(&[enable("foo")]);
    let ours = |scene: &Scene, claim: &str| key("foo", MARK_KEY, &scene.wish.owner.mark(claim));
    let (own, copied) = (ours(&scene, "c"), ours(&scene, "d"));
    scene.cluster.round(std::slice::from_ref(&copied));
    assert_eq!(scene.check(vec![quota("foo")]), Ok(()));
    scene.wish.record.claim_recorded = true;
    for command in [quota("foo"), own.clone()] {
        let objection = scene.check(vec![command]);
        assert_eq!(objection, Err(Objection::OthersMark(name("foo"))));
    }
    assert_eq!(scene.check_confirmed(vec![own]), Ok(()));
    // A word is for a step, not for another pool.
    let mut scene = Scene::new(&["foo", "bar"], Some("foo"), false);
    scene.cluster.round(&[enable("bar")]);
    let objection = scene.check_confirmed(vec![key("bar", MARK_KEY, "i/c/h")]);
    assert!(
        matches!(objection, Err(Objection::OtherPool { .. })),
        "{objection:?}"
    );
}

/// One copy of everything takes a person's word.
#[test]
fn single_copies() {
    let scene = Scene::new(&["foo"], Some("foo"), false);
    let single = MonCommand::PoolSet {
        pool: name("foo"),
        variable: "size".into(),
        value: "1".into(),
    };
    let objection = scene.check(vec![single.clone()]);
    assert_eq!(objection, Err(Objection::Unconfirmed(name("foo"))));
    assert_eq!(scene.check_confirmed(vec![single]), Ok(()));
}

/// A pool of ours gets the name that the manifest gives it, if that is free, from whatever name it has.
#[test]
fn other_names() {
    let scene = Scene::new(&["bar", "theirs"], Some("bar"), false);
    assert_eq!(scene.check(vec![rename("bar", "foo")]), Ok(()));
    for (from, to) in [("bar", "other"), ("bar", "theirs"), ("bar", "bar")] {
        let objection = scene.check(vec![rename(from, to)]);
        let (from, to) = (name(from), name(to));
        assert_eq!(objection, Err(Objection::Renames { from, to }));
    }
    let objection = scene.check(vec![rename("theirs", "foo")]);
    assert!(
        matches!(objection, Err(Objection::OtherPool { .. })),
        "{objection:?}"
    );
    let taken = Scene::new(&["bar", "foo"], Some("bar"), false);
    let unknown = Scene::new(&["bar"], None, false);
    // Also from a private one of which nothing is on record any more, if it is this object's and not somebody else's.
    let private = Scene::new(&[OTHERS], Some(OTHERS), false);
    assert_eq!(private.check(vec![rename(OTHERS, "foo")]), Ok(()));
    let others = Scene::new(&["bar", OTHERS], Some("bar"), false);
    let objection = others.check(vec![rename(OTHERS, "foo")]);
    assert!(
        matches!(objection, Err(Objection::OtherPool { .. })),
        "{objection:?}"
    );
    for (scene, from) in [(taken, "bar"), (unknown, "bar")] {
        let objection = scene.check(vec![rename(from, "foo")]);
        let (from, to) = (name(from), name("foo"));
        assert_eq!(objection, Err(Objection::Renames { from, to }));
    }
}

/// The private name under which `foo` is removed.
const AWAY: &str = "foo.poolwright-del-dd11";

/// The scene of an object that is deleted with its pool, which is looked into under a name.
fn deleted(contents: Contents, looked_at: &str) -> Scene {
    let mut scene = Scene::new(&["foo", "bar"], Some("foo"), false);
    scene.wish.remove = true;
    scene.wish.record.removal = Some("dd11".into());
    scene.wish.record.private_base = Some(name("foo"));
    let pool = scene.wish.record.identity.clone().expect("its pool");
    scene.proof = Some(Proof {
        pool,
        name: name(looked_at),
        contents,
    });
    scene
}

/// A pool loses its name, and then itself, only when it is proven empty under the very name, or with a person's word.
#[test]
fn removals_of_published_pools() {
    let away = || vec![rename("foo", AWAY)];
    let gone = || vec![remove(AWAY)];
    let not_empty = |text: &str| Err(Objection::NotEmpty(name(text)));
    assert_eq!(deleted(Contents::Empty, "foo").check(away()), Ok(()));
    for contents in [
        Contents::Something("an object".into()),
        Contents::Unknown("no answer".into()),
    ] {
        let scene = deleted(contents, "foo");
        assert_eq!(scene.check(away()), not_empty("foo"));
        assert_eq!(scene.check_confirmed(away()), Ok(()));
    }
    let mut unproven = deleted(Contents::Empty, "foo");
    unproven.proof = None;
    assert_eq!(unproven.check(away()), not_empty("foo"));
    assert_eq!(
        deleted(Contents::Empty, "bar").check(away()),
        not_empty("foo")
    );
    let mut another = deleted(Contents::Empty, "foo");
    if let Some(proof) = &mut another.proof {
        proof.pool.create_time.0 += 1;
    }
    assert_eq!(another.check(away()), not_empty("foo"));
    // Retain, whatever was proven and confirmed.
    let mut kept = deleted(Contents::Empty, "foo");
    kept.wish.remove = false;
    assert!(matches!(
        kept.check_confirmed(away()),
        Err(Objection::Renames { .. })
    ));
    // The second half: proven under the private name, not under the one before.
    let second = |looked_at: &str| {
        let mut scene = deleted(Contents::Empty, looked_at);
        scene.cluster.round(&away());
        scene
    };
    assert_eq!(second("foo").check(gone()), not_empty(AWAY));
    assert_eq!(second("foo").check_confirmed(gone()), Ok(()));
    assert_eq!(second(AWAY).check(gone()), Ok(()));
    let mut kept = second(AWAY);
    kept.wish.remove = false;
    let objection = kept.check_confirmed(gone());
    assert_eq!(objection, Err(Objection::RemovesPublished(name(AWAY))));
    // And never by the name that others know.
    for pool in ["foo", "bar"] {
        let objection = deleted(Contents::Empty, pool).check_confirmed(vec![remove(pool)]);
        assert_eq!(objection, Err(Objection::RemovesPublished(name(pool))));
    }
}

/// Whatever was given a private name for a removal may get its own back, also without proof, and only that.
#[test]
fn names_given_back() {
    let mut scene = deleted(Contents::Unknown("no answer".into()), "foo");
    scene.cluster.round(&[rename("foo", AWAY)]);
    scene.wish.remove = false;
    assert_eq!(scene.check(vec![rename(AWAY, "foo")]), Ok(()));
    for to in ["other", "bar"] {
        let objection = scene.check_confirmed(vec![rename(AWAY, to)]);
        let (from, to) = (name(AWAY), name(to));
        assert_eq!(objection, Err(Objection::Renames { from, to }));
    }
    scene.cluster.round(&[create("foo")]);
    let objection = scene.check(vec![rename(AWAY, "foo")]);
    let (from, to) = (name(AWAY), name("foo"));
    assert_eq!(objection, Err(Objection::Renames { from, to }));
}

/// A rule is made under the name that says what is in it, and goes only when no pool has it.
#[test]
fn rules() {
    let mut bench = SimulatedCluster::new(&Fsid::new("f"), 3);
    let made = MadeRule {
        failure_domain: "osd".into(),
        root: "default".into(),
        device_class: None,
    };
    let wish = Wish::for_removal(
        Owner {
            instance: "i".into(),
            namespace: "n".into(),
            name: "o".into(),
        },
        name("foo"),
        1,
        Record::default(),
    );
    let judged = |command: MonCommand, bench: &SimulatedCluster| {
        let round = Round {
            steps: vec![Step {
                command,
                field: "crush".into(),
                desired: String::new(),
                observed: String::new(),
                reason: String::new(),
                last: false,
                token: None,
            }],
        };
        check(&round, &wish, &bench.view(), None, None)
    };
    assert_eq!(judged(made.command(), &bench), Ok(()));
    for (rule, bucket_type) in [(made.name(), "host"), ("poolwright-00".to_owned(), "osd")] {
        let command = MonCommand::RuleCreateReplicated {
            rule: rule.clone(),
            root: "default".into(),
            bucket_type: bucket_type.into(),
            class: None,
        };
        assert_eq!(judged(command, &bench), Err(Objection::NotMade(rule)));
    }

    bench.round(&[made.command()]);
    let number = bench.view().crush().rule_named(&made.name()).unwrap();
    let remove = |rule: &str| MonCommand::RuleRemove { rule: rule.into() };
    assert_eq!(judged(remove(&made.name()), &bench), Ok(()));
    let theirs = "replicated_rule".to_owned();
    let not_made = Err(Objection::NotMade(theirs.clone()));
    assert_eq!(judged(remove(&theirs), &bench), not_made);
    bench.round(&[create("other")]);
    bench.edit_pool("other", |pool| pool.crush_rule = number);
    bench.add_rule("poolwright-00");
    let like_ours = Err(Objection::NotMade("poolwright-00".to_owned()));
    assert_eq!(
        judged(remove("poolwright-00"), &bench),
        like_ours,
        "a name is not enough"
    );
    let in_use = Err(Objection::InUse(made.name()));
    assert_eq!(judged(remove(&made.name()), &bench), in_use);
}
