//! Rounds that must not be sent, as no planner should make them, and those that may.

use std::collections::BTreeMap;

use super::*;
use crate::ceph::command::PoolCreate;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::types::{Fsid, PoolIdentity};
use crate::request::ownership::Owner;
use crate::request::round::Step;
use crate::request::wish::Record;

fn name(text: &str) -> PoolName {
    PoolName::new(text)
}

fn create(pool: &str) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate {
        pool: name(pool),
        pg_num: 8,
        size: None,
        autoscale_mode: None,
        pg_num_min: None,
        pg_num_max: None,
        bulk: None,
        target_size_bytes: None,
        target_size_ratio: None,
    })
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
        let pool = self
            .wish
            .record
            .identity
            .as_ref()
            .map(|identity| identity.id);
        check(
            &round(commands),
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
