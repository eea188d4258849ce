//! The removal of a published pool, planned: what is done, refused and given back, as one table.

use std::fmt::Write as _;

use jiff::Timestamp;
use poolwright::ceph::client::Reply;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::types::{CreateTime, PoolName};
use poolwright::request::factory::Next;
use poolwright::request::guard;
use poolwright::request::pool_factory::{Proof, removal_round};
use poolwright::request::rejection::Rejection;
use poolwright::request::round::{Round, Step};
use poolwright::request::token::Danger;
use poolwright::request::wish::Wish;

use super::support::*;

const AWAY: &str = "foopool.poolwright-del-9f9f9f9f";

/// An object that has its pool and is deleted.
struct Scene {
    bench: Bench,
    wish: Wish,
    contents: Option<(&'static str, Contents)>,
    refused: Option<Rejection>,
}

impl Scene {
    /// The pool has its real name.
    fn new() -> Self {
        let mut bench = Bench::with(SMALLEST);
        bench.cluster.settle();
        let mut record = bench.record.clone();
        record.nonce = "9f9f9f9f".into();
        let mut wish = Wish::for_removal(owner(), PoolName::new("foopool"), 2, record);
        wish.remove = true;
        wish.confirmations.uid = "uid".into();
        Self {
            bench,
            wish,
            contents: None,
            refused: None,
        }
    }

    /// The pool has its private name.
    fn away() -> Self {
        let mut scene = Self::new();
        scene.wish.record.removal = Some("9f9f9f9f".into());
        scene.wish.record.private_base = Some(PoolName::new("foopool"));
        scene.rename("foopool", AWAY);
        scene
    }

    fn rename(&mut self, from: &str, to: &str) {
        let command = MonCommand::PoolRename {
            from: PoolName::new(from),
            to: PoolName::new(to),
        };
        assert_eq!(self.bench.cluster.round(&[command])[0].code, 0);
    }

    fn found(mut self, name: &'static str, contents: Contents) -> Self {
        self.contents = Some((name, contents));
        self
    }

    fn kept(mut self) -> Self {
        self.wish.remove = false;
        self
    }

    fn refused(mut self, code: i32) -> Self {
        let step = Step {
            command: MonCommand::PoolRemove {
                pool: PoolName::new(AWAY),
            },
            field: "poolName".into(),
            desired: "absent".into(),
            observed: AWAY.into(),
            reason: String::new(),
            last: false,
            token: None,
        };
        let reply = Reply {
            code,
            text: "Ceph's words".into(),
            body: Vec::new(),
        };
        self.refused = Rejection::of(&step, &reply, Timestamp::UNIX_EPOCH);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn proof(&self) -> Option<Proof> {
        let (name, contents) = self.contents.clone()?;
        Some(Proof {
            pool: self.wish.record.identity.clone()?,
            name: PoolName::new(name),
            contents,
        })
    }

    /// The plan; the guard has to agree with whatever it sends.
    fn plan(&self) -> Next {
        let view = self.bench.cluster.view();
        let proof = self.proof();
        let next = removal_round(&self.wish, &view, proof.as_ref(), self.refused.as_ref());
        let wish = next.advance(self.wish.clone());
        let pool = next.found.as_ref().map(|found| found.identity.id);
        let checked = guard::check(&next.round, &wish, &view, pool, proof.as_ref());
        assert_eq!(checked, Ok(()), "{}", show_round(&next.round));
        next
    }
}

fn show(next: &Next) -> String {
    let mut text = show_round(&next.round);
    if let Some(name) = &next.unproven {
        let _ = writeln!(text, "  look into {name}");
    }
    text.push_str(&show_refusals(&next.refusals));
    if text.is_empty() {
        text.push_str("nothing is left to do\n");
    }
    text
}

fn something() -> Contents {
    Contents::Something("2 objects, the first is \"x\"".into())
}

/// Every state that a removal can be in, and what follows from it.
#[test]
fn what_is_done() {
    let foreign_mark = |scene: &mut Scene, name: &str| {
        scene.bench.cluster.edit_pool(name, |pool| {
            let keys = pool.applications.get_mut("rbd").unwrap();
            keys.insert("poolwright".into(), "other/1/2".into());
        });
    };
    let flag = |scene: &mut Scene, name: &str| {
        scene
            .bench
            .cluster
            .edit_pool(name, |pool| pool.flags.extend(["nodelete".to_owned()]));
    };
    let rows: Vec<(&str, Scene)> = vec![
        ("not looked into yet", Scene::new()),
        ("empty", Scene::new().found("foopool", Contents::Empty)),
        ("not empty", Scene::new().found("foopool", something())),
        (
            "could not be looked into",
            Scene::new().found("foopool", Contents::Unknown("no figures".into())),
        ),
        (
            "looked into under another name",
            Scene::new().found(AWAY, Contents::Empty),
        ),
        (
            "not empty, and confirmed",
            Scene::new().found("foopool", something()).with(confirm),
        ),
        (
            "confirmed for another pool",
            Scene::new().found("foopool", something()).with(|scene| {
                confirm(scene);
                scene.wish.record.identity.as_mut().unwrap().create_time = CreateTime(1);
                scene.bench.cluster.edit_pool("foopool", |pool| {
                    pool.create_time = CreateTime(1);
                });
            }),
        ),
        ("kept", Scene::new().kept()),
        (
            "the flag nodelete",
            Scene::new().with(|scene| flag(scene, "foopool")),
        ),
        (
            "no mark",
            Scene::new().with(|scene| {
                scene.bench.cluster.edit_pool("foopool", |pool| {
                    pool.applications.get_mut("rbd").unwrap().clear();
                });
            }),
        ),
        (
            "no application",
            Scene::new().with(|scene| {
                scene
                    .bench
                    .cluster
                    .edit_pool("foopool", |pool| pool.applications.clear());
            }),
        ),
        (
            "no mark, and known from the annotation only",
            Scene::new().with(|scene| {
                scene.wish.record.identity_proven = false;
                scene.bench.cluster.edit_pool("foopool", |pool| {
                    pool.applications.get_mut("rbd").unwrap().clear();
                });
            }),
        ),
        (
            "another's mark",
            Scene::new().with(|scene| foreign_mark(scene, "foopool")),
        ),
        (
            "another pool of the name",
            Scene::new().with(|scene| {
                scene.wish.record.identity.as_mut().unwrap().create_time = CreateTime(1);
            }),
        ),
        (
            "renamed by hand",
            Scene::new()
                .with(|scene| scene.rename("foopool", "barpool"))
                .found("barpool", Contents::Empty),
        ),
        (
            "away, not looked into again",
            Scene::away().found("foopool", Contents::Empty),
        ),
        ("away, empty", Scene::away().found(AWAY, Contents::Empty)),
        (
            "away, filled meanwhile",
            Scene::away().found(AWAY, something()),
        ),
        (
            "away, could not be looked into",
            Scene::away().found(AWAY, Contents::Unknown("no answer".into())),
        ),
        ("away, kept", Scene::away().kept()),
        (
            "away, the flag nodelete",
            Scene::away().with(|scene| flag(scene, AWAY)),
        ),
        (
            "away, removals are forbidden",
            Scene::away().found(AWAY, Contents::Empty).refused(-1),
        ),
        (
            "away, the key may not remove",
            Scene::away().found(AWAY, Contents::Empty).refused(-13),
        ),
        (
            "away, in use",
            Scene::away().found(AWAY, Contents::Empty).refused(-16),
        ),
        (
            "away, another's mark",
            Scene::away().with(|scene| foreign_mark(scene, AWAY)),
        ),
        (
            "away, and the name is taken",
            Scene::away().found(AWAY, Contents::Empty).with(|scene| {
                foreign(&mut scene.bench.cluster, "foopool");
            }),
        ),
        (
            "away, kept, and the name is taken",
            Scene::away().kept().with(|scene| {
                foreign(&mut scene.bench.cluster, "foopool");
            }),
        ),
        (
            "another pool was renamed",
            Scene::away().with(|scene| {
                scene.rename(AWAY, "barpool");
                foreign(&mut scene.bench.cluster, AWAY);
            }),
        ),
        (
            "the rename has not come yet",
            Scene::away()
                .with(|scene| scene.rename(AWAY, "foopool"))
                .found("foopool", Contents::Empty),
        ),
        (
            "gone",
            Scene::away().with(|scene| {
                let id = scene.bench.cluster.pool(AWAY).unwrap().id;
                scene.bench.cluster.edit_map(|map| {
                    map.pools.remove(&id);
                });
            }),
        ),
    ];
    let mut text = String::new();
    for (what, scene) in rows {
        let _ = writeln!(text, "# {what}\n{}", show(&scene.plan()));
    }
    insta::assert_snapshot!(text);
}

/// A person confirms what is asked for.
fn confirm(scene: &mut Scene) {
    let danger = Danger::new("delete", "foopool");
    let identity = scene.wish.record.identity.clone();
    if let poolwright::request::token::Answer::Needed(asked) =
        scene.wish.answer(&danger, identity.as_ref())
    {
        scene.wish.confirmations.given.insert(asked.token);
    }
}

/// The guard lets no removal pass that the planner did not prove, whatever the planner says.
#[test]
fn the_guard_asks_for_proof() {
    let scene = Scene::away().found(AWAY, Contents::Empty);
    let view = scene.bench.cluster.view();
    let next = scene.plan();
    let pool = next.found.as_ref().map(|found| found.identity.id);
    let check =
        |wish: &Wish, proof: Option<&Proof>| guard::check(&next.round, wish, &view, pool, proof);
    let good = scene.proof().unwrap();
    assert_eq!(check(&scene.wish, Some(&good)), Ok(()));
    let bad = [
        None,
        Some(Proof {
            contents: something(),
            ..good.clone()
        }),
        Some(Proof {
            contents: Contents::Unknown("why".into()),
            ..good.clone()
        }),
        Some(Proof {
            name: PoolName::new("foopool"),
            ..good.clone()
        }),
        Some(Proof {
            pool: poolwright::ceph::types::PoolIdentity {
                create_time: CreateTime(1),
                ..good.pool.clone()
            },
            ..good.clone()
        }),
    ];
    for proof in &bad {
        assert!(check(&scene.wish, proof.as_ref()).is_err(), "{proof:?}");
    }
    let kept = Wish {
        remove: false,
        ..scene.wish.clone()
    };
    assert!(check(&kept, Some(&good)).is_err());
    // Never under its real name.
    let by_name = Round {
        steps: vec![Step {
            command: MonCommand::PoolRemove {
                pool: PoolName::new("foopool"),
            },
            ..next.round.steps[0].clone()
        }],
    };
    let real = Scene::new().found("foopool", Contents::Empty);
    let checked = guard::check(
        &by_name,
        &real.wish,
        &real.bench.cluster.view(),
        pool,
        real.proof().as_ref(),
    );
    assert!(checked.is_err());
}
