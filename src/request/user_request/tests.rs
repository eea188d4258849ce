//! The life of a request, told by views of a simulated cluster.

use super::*;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::types::{Fsid, PoolName};
use crate::request::ownership::Owner;
use crate::request::pool_factory::PoolRequestFactory;
use crate::request::preview::plan;
use crate::request::wish::{Asked, Record};

const POOL: &str = "foopool";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn owner() -> Owner {
    Owner {
        instance: "c9a1".into(),
        namespace: "team-a".into(),
        name: POOL.into(),
    }
}

/// A wish for these settings, by rows of the table.
fn wish(settings: &[(&'static Setting, Value)], count: Option<i64>, record: &Record) -> Wish {
    let applications = [("rbd".to_owned(), BTreeMap::new())];
    Wish {
        settings: settings
            .iter()
            .map(|(setting, value)| Asked {
                setting,
                value: value.clone(),
            })
            .collect(),
        pg_count: count,
        applications: applications.into(),
        ..Wish::for_removal(owner(), PoolName::new(POOL), 1, record.clone())
    }
}

fn bytes(number: i64) -> (&'static Setting, Value) {
    (&settings::QUOTA_BYTES, Value::Integer(number))
}

fn size(number: i64) -> (&'static Setting, Value) {
    (&settings::SIZE, Value::Integer(number))
}

/// A cluster, what is recorded of the object's pool in it, and the requests' clock.
struct Scene {
    cluster: SimulatedCluster,
    record: Record,
    generation: i64,
}

impl Scene {
    /// An object of which nothing is known.
    fn empty() -> Self {
        Self {
            cluster: SimulatedCluster::new(&Fsid::new("f"), 100),
            record: Record {
                nonce: "ab12".into(),
                claim: "c".into(),
                ..Record::default()
            },
            generation: 1,
        }
    }

    /// An object whose pool is there, and settled.
    fn made() -> Self {
        let mut scene = Self::empty();
        let wish = wish(&[], None, &scene.record);
        while scene.round(&wish) {}
        scene.cluster.settle();
        scene
    }

    fn plan(&self, wish: &Wish) -> Plan {
        plan(&PoolRequestFactory, wish, &self.cluster.view())
    }

    /// Sends the next round of a wish; whether there was one.
    fn round(&mut self, wish: &Wish) -> bool {
        let wish = Wish {
            record: self.record.clone(),
            ..wish.clone()
        };
        let next = self.plan(&wish).now;
        let steps = next.round.steps.clone();
        self.record = next.advance(wish).record;
        let commands: Vec<MonCommand> = steps.into_iter().map(|step| step.command).collect();
        self.cluster.round(&commands);
        !commands.is_empty()
    }

    fn request(&self, operation: Operation, wish: &Wish) -> UserRequest {
        let plan = self.plan(wish);
        UserRequest::new("first".into(), operation, 1, wish, &plan, at(0))
    }

    /// Shows the cluster as it is to a request.
    fn show(&self, request: &mut UserRequest, wish: &Wish) -> bool {
        let wish = Wish {
            record: self.record.clone(),
            ..wish.clone()
        };
        let view = self.cluster.view();
        let plan = self.plan(&wish);
        let pool = plan
            .now
            .found
            .as_ref()
            .and_then(|found| view.pool(found.identity.id));
        request.observe(
            Observation {
                plan: &plan,
                wish: &wish,
                generation: self.generation,
                newest: Some("second"),
                pool: pool.map(|pool| &**pool),
                epoch: view.epoch(),
            },
            at(9),
        )
    }
}

fn sent(epoch: Epoch) -> SentRound {
    SentRound {
        commands: Vec::new(),
        epoch: Some(epoch),
    }
}

/// What a request waits for follows from what its plan does.
#[test]
fn kinds() {
    let made = Scene::made();
    let kind = |operation, wish: &Wish| made.request(operation, wish).kind;
    let quota = wish(&[bytes(5)], None, &made.record);
    assert_eq!(kind(Operation::Update, &quota), Kind::OsdMapModifying);
    let count = wish(
        &[
            bytes(5),
            (&settings::AUTOSCALE_MODE, Value::Word("off".into())),
        ],
        Some(64),
        &made.record,
    );
    assert_eq!(kind(Operation::Update, &count), Kind::PgChanging);
    assert_eq!(kind(Operation::Correct, &count), Kind::PgChanging);
    let empty = Scene::empty();
    let create = wish(&[], Some(64), &empty.record);
    let request = empty.request(Operation::Create, &create);
    assert_eq!(
        (request.kind, request.rounds_planned),
        (Kind::PoolCreating, 3)
    );
    assert_eq!(request.headline, "Creating pool foopool");
    let update = made.request(Operation::Update, &quota);
    assert_eq!(update.headline, "Updating pool foopool: quota.maxBytes");
    assert_eq!(
        update.fields,
        [("quota.maxBytes".to_owned(), "5".to_owned())].into()
    );
}

/// A request is done when the map of the awaited epoch shows its fields, and no sooner.
#[test]
fn succeeds_at_the_awaited_epoch() {
    let mut scene = Scene::made();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &wish);
    assert_eq!((request.state, request.percent()), (RequestState::New, 0));
    assert!(!scene.show(&mut request, &wish), "nothing is sent");
    request.submit(0);
    assert_eq!(request.state, RequestState::Submitted);
    let before = scene.cluster.epoch();
    scene.round(&wish);
    let awaited = scene.cluster.epoch();
    assert_eq!(awaited, Epoch(before.0 + 1));
    // A view that is ahead of what this cluster shows now is awaited.
    request.answered(sent(Epoch(awaited.0 + 1)));
    assert_eq!(
        (request.state, request.percent()),
        (RequestState::AwaitingOsdMap, 50)
    );
    assert!(!scene.show(&mut request, &wish), "the epoch is not reached");
    scene.cluster.add_rule("other");
    assert!(scene.show(&mut request, &wish));
    assert_eq!(
        (request.state, request.outcome),
        (RequestState::Complete, Some(Outcome::Succeeded))
    );
    assert_eq!(request.observed_epoch, Some(Epoch(awaited.0 + 1)));
    assert_eq!(
        (request.completed_at, request.percent()),
        (Some(at(9)), 100)
    );
    // The end is the end.
    request.fail("too late".into(), at(10));
    request.submit(3);
    assert!(!scene.show(&mut request, &wish));
    assert_eq!(
        (request.error, request.state),
        (None, RequestState::Complete)
    );
}

/// A create waits for its pool to be published, and no longer `creating`.
#[test]
fn creation_waits_for_the_placement_groups() {
    let mut scene = Scene::empty();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Create, &wish);
    for left in (0..3).rev() {
        request.submit(left);
        scene.round(&wish);
        request.answered(sent(scene.cluster.epoch()));
        assert!(!scene.show(&mut request, &wish), "{left} rounds are left");
    }
    assert_eq!((request.rounds_sent, request.percent()), (3, 75));
    assert!(
        scene
            .cluster
            .pool(POOL)
            .is_some_and(|pool| pool.is_creating())
    );
    scene.cluster.settle();
    assert!(scene.show(&mut request, &wish));
    assert_eq!(request.outcome, Some(Outcome::Succeeded));
}

/// A change of placement groups waits until the actual numbers have followed.
#[test]
fn placement_groups_are_followed() {
    for count in [64, 30] {
        let mut scene = Scene::made();
        let off = (&settings::AUTOSCALE_MODE, Value::Word("off".into()));
        let wish = wish(&[off], Some(count), &scene.record);
        let mut request = scene.request(Operation::Update, &wish);
        while scene.round(&wish) {
            request.answered(sent(scene.cluster.epoch()));
        }
        let mut steps = 0;
        while !scene.show(&mut request, &wish) {
            assert!(scene.cluster.step(), "it is never done");
            steps += 1;
        }
        assert!(steps >= 2, "{steps} steps to {count}");
        let groups = scene.cluster.pool(POOL).map(|pool| pool.placement_groups);
        assert_eq!(
            groups.map(|groups| (groups.pg_num, groups.pgp_num)),
            Some((count, count))
        );
    }
}

/// A `pgp_num` that somebody set apart, above where `pg_num` goes, is not waited for: it cannot get there.
#[test]
fn placement_that_was_set_apart() {
    let mut scene = Scene::made();
    scene.cluster.edit_pool(POOL, |pool| {
        pool.autoscale_mode = "on".into();
        pool.placement_groups.pgp_num_target = 16;
    });
    let wish = wish(
        &[(&settings::PG_NUM_MAX, Value::Integer(4))],
        None,
        &scene.record,
    );
    let mut request = scene.request(Operation::Update, &wish);
    assert_eq!(request.kind, Kind::PgChanging);
    while scene.round(&wish) {}
    assert!(!scene.show(&mut request, &wish));
    scene.cluster.settle();
    assert!(scene.show(&mut request, &wish));
}

/// Of two generations the later one wins where it wants something else, whether or not that is to be
/// sent still.
#[test]
fn superseded_by_another_wish() {
    type Named<'a> = &'a [(&'static Setting, Value)];
    let named: Named<'_> = &[bytes(5), size(4)];
    // What the later generation names, whether the first round was executed, and how the first request ends.
    let cases: [(&str, Named<'_>, bool, Option<Outcome>); 9] = [
        ("the same, sent", named, true, Some(Outcome::Succeeded)),
        ("the same, not sent", named, false, None),
        (
            "more",
            &[
                bytes(5),
                size(4),
                (&settings::QUOTA_OBJECTS, Value::Integer(1)),
            ],
            true,
            Some(Outcome::Succeeded),
        ),
        (
            "another value",
            &[bytes(6), size(4)],
            false,
            Some(Outcome::Superseded),
        ),
        (
            "another value, sent",
            &[bytes(6), size(4)],
            true,
            Some(Outcome::Superseded),
        ),
        (
            "what the pool has",
            &[bytes(5), size(3)],
            false,
            Some(Outcome::Superseded),
        ),
        (
            "what Ceph takes for none",
            &[bytes(0), size(4)],
            false,
            Some(Outcome::Superseded),
        ),
        (
            "no size any more, not sent",
            &[bytes(5)],
            false,
            Some(Outcome::Superseded),
        ),
        (
            "no size any more, sent",
            &[bytes(5)],
            true,
            Some(Outcome::Succeeded),
        ),
    ];
    for (what, later, executed, outcome) in cases {
        let mut scene = Scene::made();
        let first = wish(named, None, &scene.record);
        let mut request = scene.request(Operation::Update, &first);
        if executed {
            scene.round(&first);
            request.answered(sent(scene.cluster.epoch()));
        }
        // Where the later one wants less, what was sent for the first is all that is left of it.
        if what == "no size any more, not sent" || what == "what the pool has" {
            scene
                .cluster
                .edit_pool(POOL, |pool| pool.quota_max_bytes = 5);
        }
        scene.generation = 2;
        let later = wish(later, None, &scene.record);
        assert_eq!(
            scene.show(&mut request, &later),
            outcome.is_some(),
            "{what}"
        );
        assert_eq!(request.outcome, outcome, "{what}");
        let words = (outcome == Some(Outcome::Superseded))
            .then(|| "superseded by request second".to_owned());
        assert_eq!(request.error, words, "{what}");
    }
}

/// What superseded a request is named by its generation until that has a request of its own.
#[test]
fn successors_are_named() {
    let scene = Scene::made();
    let first = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &first);
    let later = wish(&[bytes(6)], None, &scene.record);
    let view = scene.cluster.view();
    let ended = request.observe(
        Observation {
            plan: &scene.plan(&later),
            wish: &later,
            generation: 2,
            newest: None,
            pool: None,
            epoch: view.epoch(),
        },
        at(9),
    );
    assert!(ended);
    assert_eq!(request.error.as_deref(), Some("superseded by generation 2"));
    request.name_successor(3, "third");
    request.name_successor(2, "second");
    request.name_successor(2, "another");
    assert_eq!(
        request.error.as_deref(),
        Some("superseded by request second")
    );
    let mut failed = scene.request(Operation::Update, &first);
    failed.fail("words".into(), at(1));
    failed.name_successor(2, "second");
    assert_eq!(failed.error.as_deref(), Some("words"));
}

/// The same generation never supersedes itself, whatever others do to the pool.
#[test]
fn not_superseded_by_drift() {
    let mut scene = Scene::made();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &wish);
    request.answered(sent(scene.cluster.epoch()));
    scene
        .cluster
        .edit_pool(POOL, |pool| pool.quota_max_bytes = 77);
    assert!(!scene.show(&mut request, &wish));
    scene.round(&wish);
    assert!(scene.show(&mut request, &wish));
    assert_eq!(request.outcome, Some(Outcome::Succeeded));
}

/// What is refused is not done, though no step of the plan names it: a pool that is gone has no quota.
#[test]
fn refusals_are_no_success() {
    let mut scene = Scene::made();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &wish);
    scene.round(&wish);
    request.answered(sent(scene.cluster.epoch()));
    scene.cluster.edit_map(|map| map.pools.clear());
    assert!(!scene.show(&mut request, &wish));
    request.fail("the pool is gone".into(), at(3));
    assert_eq!(
        (request.outcome, request.error.as_deref()),
        (Some(Outcome::Failed), Some("the pool is gone"))
    );
}

/// A lock of somebody else's on one field does not keep a request for another from its end.
#[test]
fn a_lock_blocks_its_own_field_only() {
    let mut scene = Scene::made();
    scene.cluster.edit_pool(POOL, |pool| {
        pool.flags.insert("nosizechange".into());
    });
    let wish = wish(&[bytes(5), size(2)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &wish);
    assert_eq!(request.fields.len(), 1);
    scene.round(&wish);
    request.answered(sent(scene.cluster.epoch()));
    assert!(scene.show(&mut request, &wish));
    assert_eq!(request.outcome, Some(Outcome::Succeeded));
}

/// Of a request of an earlier process only the fields are known; it is done when none of them is left.
#[test]
fn taken_up_again() {
    let mut scene = Scene::made();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Update, &wish);
    request.fields = request
        .fields
        .into_keys()
        .map(|field| (field, String::new()))
        .collect();
    assert!(!scene.show(&mut request, &wish));
    scene.round(&wish);
    assert!(scene.show(&mut request, &wish));
    assert_eq!(request.outcome, Some(Outcome::Succeeded));
}

/// A round belongs to the requests whose fields it works on.
#[test]
fn rounds_concern_requests_by_field() {
    let scene = Scene::made();
    let quota = wish(&[bytes(5)], None, &scene.record);
    let request = scene.request(Operation::Update, &quota);
    assert!(request.concerns(&scene.plan(&quota).now.round));
    let other = wish(&[size(2)], None, &scene.record);
    assert!(!request.concerns(&scene.plan(&other).now.round));
}

/// The newest ten rounds are kept, and of each answer so much that the record stays small.
#[test]
fn records_stay_small() {
    let scene = Scene::made();
    let wish = wish(&[bytes(5)], None, &scene.record);
    let mut request = scene.request(Operation::Correct, &wish);
    for number in 0..12_u64 {
        request.answered(SentRound {
            commands: vec![SentCommand {
                line: String::new(),
                code: Some(-22),
                // Two bytes a character, from an odd place on.
                text: format!("x{}", "é".repeat(2000)),
                started_at: at(0),
                completed_at: at(1),
            }],
            epoch: Some(Epoch(number)),
        });
    }
    assert_eq!((request.rounds.len(), request.rounds_sent), (10, 12));
    assert_eq!(request.rounds[0].epoch, Some(Epoch(2)));
    assert_eq!(request.rounds[0].commands[0].text.len(), 1023);
    // A round whose epoch could not be read keeps the last one that is awaited.
    request.answered(SentRound {
        commands: Vec::new(),
        epoch: None,
    });
    assert_eq!(request.awaited_epoch, Some(Epoch(11)));
}

/// A request that was asked for is about what it was said to change, where that is known; else about the whole plan. One
/// that changes nothing is done at the first look.
#[test]
fn asked_for() {
    let mut scene = Scene::made();
    let wished = wish(&[bytes(7), size(4)], None, &scene.record);
    let asked = |desired: &[(&str, &str)]| {
        let desired = desired
            .iter()
            .map(|(f, v)| ((*f).to_owned(), (*v).to_owned()));
        UserRequest::asked_for("id".into(), 1, POOL, desired.collect(), at(0))
    };
    let mut known = asked(&[("quota.maxBytes", "7")]);
    known.plans(Operation::Update, &wished, &scene.plan(&wished));
    let mut unknown = asked(&[]);
    unknown.plans(Operation::Update, &wished, &scene.plan(&wished));
    assert_eq!(known.fields.keys().collect::<Vec<_>>(), ["quota.maxBytes"]);
    assert!(unknown.fields.contains_key(settings::SIZE.field) && unknown.fields.len() >= 2);
    assert!(!scene.show(&mut known, &wished) && !scene.show(&mut unknown, &wished));
    // What it is about came later than its ID.
    unknown.is_about(&known.fields);
    assert_eq!(unknown.fields, known.fields);
    assert!(scene.round(&wished));
    assert!(scene.show(&mut known, &wished) && scene.show(&mut unknown, &wished));
    assert_eq!(known.outcome, Some(Outcome::Succeeded));
    while scene.round(&wished) {}
    let mut nothing = asked(&[]);
    nothing.plans(Operation::Update, &wished, &scene.plan(&wished));
    assert!(scene.show(&mut nothing, &wished));
    // While anything is refused, nobody knows whether that is what it is about.
    let mut refused = asked(&[]);
    let plan = Plan {
        now: crate::request::factory::Next::refused(Refusal::new(
            Reason::Blocked,
            Some("minSize"),
            "locked",
        )),
        ..Plan::default()
    };
    let seen = Observation {
        plan: &plan,
        wish: &wished,
        generation: 1,
        newest: None,
        pool: None,
        epoch: Epoch(9),
    };
    assert!(!refused.observe(seen, at(1)));
}
