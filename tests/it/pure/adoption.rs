//! Pools that were there before: what adopting, taking over, renaming and making again take, round by round.

use std::fmt::Write as _;

use poolwright::api::v1alpha1::Verb;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use poolwright::request::guard;
use poolwright::request::preview::MAX_ROUNDS;
use poolwright::request::token::{Confirmations, UsedToken};
use poolwright::request::wish::{Record, Wish};

use super::support::*;

/// One that may adopt.
const ADOPTING: &str = "{adoptionPolicy: IfUnowned, applications: [{name: rbd}], replicated: {size: 2}, \
    quota: {maxObjects: 5}}";

/// A pool of somebody's, with an application and these keys.
fn found(keys: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new();
    foreign(&mut bench.cluster, "foopool");
    let keys = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    bench.cluster.edit_pool("foopool", |pool| {
        pool.applications.insert("rbd".into(), keys.collect());
    });
    bench
}

/// A wish of an object that people can confirm things on.
fn asking(text: &str, record: Record) -> Wish {
    Wish {
        confirmations: Confirmations {
            uid: "a-uid".into(),
            ..Confirmations::default()
        },
        ..wish(text, record)
    }
}

/// Gives the token that the refusal of a wish names.
fn confirmed(wish: Wish, bench: &Bench) -> Wish {
    let refusals = next(&wish, &bench.cluster.view()).refusals;
    let token = refusals
        .iter()
        .find_map(|refusal| refusal.token.as_ref())
        .unwrap_or_else(|| panic!("no token: {refusals:?}"));
    let mut wish = wish;
    wish.confirmations.given.insert(token.token.clone());
    wish
}

/// Runs a wish to its end, with the guard; gives the commands.
fn run(bench: &mut Bench, mut wish: Wish) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for _ in 0..=MAX_ROUNDS {
        let view = bench.cluster.view();
        let answer = next(&wish, &view);
        assert_eq!(answer.refusals, []);
        wish = answer.advance(wish);
        bench.record = wish.record.clone();
        if answer.round.is_empty() {
            return lines;
        }
        let pool = answer.found.map(|found| found.identity.id);
        guard::check(&answer.round, &wish, &view, pool, None).expect("no objection");
        let sent = commands(&answer.round);
        for (command, reply) in sent.iter().zip(bench.cluster.round(&sent)) {
            assert!(reply.code >= 0, "{}: {reply:?}", command.to_line());
        }
        // What was confirmed for a request stays so for its other rounds.
        let tokens = answer
            .round
            .steps
            .iter()
            .filter_map(|step| step.token.clone());
        for token in tokens.chain(answer.confirmed) {
            wish.confirmations.open.insert("request".into());
            let request = "request".to_owned();
            wish.record.used.push(UsedToken { token, request });
        }
        lines.push(sent.iter().map(MonCommand::to_line).collect());
    }
    panic!("no end: {lines:#?}");
}

/// Adoption is one round, the mark alone; before it the application that carries it, where there is none.
#[test]
fn adoption() {
    let mut text = String::new();
    let marked = found(&[("their", "key")]);
    write!(text, "# with an application\n{}", marked.plan(ADOPTING)).unwrap();
    let mut bare = Bench::new();
    foreign(&mut bare.cluster, "foopool");
    write!(text, "# without one\n{}", bare.plan(ADOPTING)).unwrap();
    let unnamed = "{adoptionPolicy: IfUnowned, quota: {maxObjects: 5}}";
    write!(text, "# and none in the manifest\n{}", bare.plan(unnamed)).unwrap();
    write!(
        text,
        "# not without being told to\n{}",
        marked.plan(&ADOPTING.replace("IfUnowned", "Never"))
    )
    .unwrap();
    // A mark without its other half is nobody's that anybody knows.
    let half = found(&[("poolwright.object", "their/pool")]);
    write!(text, "# half a mark\n{}", half.plan(ADOPTING)).unwrap();
    insta::assert_snapshot!(text);
    for mut bench in [marked, bare, half] {
        let id = bench.pool().id;
        let lines = run(&mut bench, wish(ADOPTING, fresh()));
        assert!(!lines.is_empty());
        assert_eq!(bench.plan(ADOPTING), "in sync\n");
        assert_eq!(bench.pool().id, id);
        assert_eq!(bench.record.claim, CLAIM);
    }
}

/// A pool is this object's when it carries the mark, and not before: nothing is recorded of one that is only about to
/// be adopted.
#[test]
fn nothing_is_recorded_before_the_mark() {
    let bench = found(&[]);
    let wish = wish(ADOPTING, fresh());
    let answer = next(&wish, &bench.cluster.view());
    assert!(
        answer
            .found
            .as_ref()
            .is_some_and(|found| found.adopting && !found.is_ours())
    );
    assert_eq!(answer.advance(wish).record, fresh());
}

/// Another owner's mark: dead ones are replaced by whoever may adopt, the others with a person's word.
#[test]
fn taking_over() {
    let theirs = owner_of("barpool").mark("1a2b3c4d");
    let keys = [
        ("poolwright", theirs.as_str()),
        ("poolwright.object", "team-a/barpool"),
    ];
    let bench = found(&keys);
    let never = ADOPTING.replace("IfUnowned", "Never");
    let mut text = String::new();
    let mut tell = |what: &str, wish: &Wish| {
        let plan = preview(wish, &bench.cluster.view());
        write!(text, "# {what}\n{}", show(&plan)).unwrap();
    };
    tell("alive", &asking(ADOPTING, fresh()));
    tell("alive, and not to be adopted", &asking(&never, fresh()));
    tell("confirmed", &confirmed(asking(ADOPTING, fresh()), &bench));
    let dead = |text: &str| {
        let mut wish = asking(text, fresh());
        wish.dead_marks.insert(theirs.clone());
        wish
    };
    tell("dead", &dead(ADOPTING));
    tell("dead, and not to be adopted", &dead(&never));
    insta::assert_snapshot!(text);
    for wish in [dead(ADOPTING), confirmed(asking(ADOPTING, fresh()), &bench)] {
        let mut bench = bench.clone();
        run(&mut bench, wish);
        let mark = bench.pool().applications["rbd"]["poolwright"].clone();
        assert_eq!(mark, owner().mark(CLAIM));
    }
    // Marks under several applications are all replaced, or one of them would still count.
    let mut several = bench.clone();
    several.cluster.edit_pool("foopool", |pool| {
        let mark = ("poolwright".to_owned(), theirs.clone());
        pool.applications.insert("zzz".into(), [mark].into());
    });
    let lines = run(&mut several, dead(ADOPTING));
    assert_eq!(lines[0].len(), 4, "{lines:#?}");
    assert_eq!(several.plan(ADOPTING), "in sync\n");
}

/// A mark that stands in the way is looked for only where its owner can be: in this control plane.
#[test]
fn doubtful_marks() {
    let same = owner_of("barpool").mark("1a2b3c4d");
    for (mark, object, doubtful) in [
        (same.as_str(), "team-a/barpool", true),
        // An object that the mark's hash is not of.
        (same.as_str(), "team-a/other", true),
        ("other/1a2b3c4d/0123456789abcdef", "team-a/barpool", false),
    ] {
        let bench = found(&[("poolwright", mark), ("poolwright.object", object)]);
        let answer = next(&wish(ADOPTING, fresh()), &bench.cluster.view());
        assert_eq!(answer.doubtful.is_some(), doubtful, "{mark} of {object}");
        // Only one that can be looked up can be found to be gone.
        let known = answer.doubtful.and_then(|mark| mark.object);
        let expected = (object == "team-a/barpool" && doubtful).then_some(object);
        assert_eq!(known.as_deref(), expected);
    }
}

/// The owner that lost its pool to another claim takes it back with a person's word.
#[test]
fn taking_back() {
    let mut bench = Bench::with(SMALLEST);
    let copy = owner().mark("0ther000");
    bench.cluster.edit_pool("foopool", |pool| {
        let keys = pool.applications.get_mut("rbd").unwrap();
        keys.insert("poolwright".into(), copy);
    });
    let wish = asking(SMALLEST, bench.record.clone());
    let plan = preview(&wish, &bench.cluster.view());
    insta::assert_snapshot!(show(&plan));
    let wish = confirmed(wish, &bench);
    assert_eq!(run(&mut bench, wish).len(), 1);
    assert_eq!(bench.plan(SMALLEST), "in sync\n");
}

/// Another name: one round of its own before all others. A name that is taken, or Ceph's own, is neither taken nor given.
#[test]
fn renaming() {
    let renamed = |name: &str| {
        format!("{{poolName: {name}, applications: [{{name: rbd}}], quota: {{maxObjects: 5}}}}")
    };
    let bench = Bench::with(SMALLEST);
    let mut text = format!("# free\n{}", bench.plan(&renamed("barpool")));
    write!(text, "# Ceph's own\n{}", bench.plan(&renamed(".rgw.root"))).unwrap();
    let mut taken = bench.clone();
    foreign(&mut taken.cluster, "barpool");
    write!(text, "# taken\n{}", taken.plan(&renamed("barpool"))).unwrap();
    taken.cluster.edit_pool("barpool", |pool| {
        let keys = [
            (
                "poolwright".to_owned(),
                owner_of("barpool").mark("1a2b3c4d"),
            ),
            ("poolwright.object".to_owned(), "team-a/barpool".to_owned()),
        ];
        pool.applications.insert("rbd".into(), keys.into());
    });
    write!(
        text,
        "# taken by an object\n{}",
        taken.plan(&renamed("barpool"))
    )
    .unwrap();
    insta::assert_snapshot!(text);

    let mut bench = bench;
    let id = bench.pool().id;
    let wish = wish(&renamed("barpool"), bench.record.clone());
    let lines = run(&mut bench, wish);
    assert_eq!(lines[0], ["ceph osd pool rename foopool barpool"]);
    assert_eq!(bench.cluster.pool("barpool").map(|pool| pool.id), Some(id));
    assert!(bench.cluster.pool("foopool").is_none());
    assert!(!bench.record.unpublished);
}

/// A pool that got its real name, when the process ended before that was written down, is published: another name in the
/// manifest by then is a rename, for which a grant has to allow that.
#[test]
fn renamed_before_its_publication_was_recorded() {
    let mut bench = Bench::with(SMALLEST);
    let id = bench.pool().id;
    let record = Record {
        unpublished: true,
        private_base: Some(PoolName::new("foopool")),
        ..bench.record.clone()
    };
    let wish = wish("{poolName: barpool, applications: [{name: rbd}]}", record);
    let answer = next(&wish, &bench.cluster.view());
    assert_eq!(answer.verb, Verb::Rename, "{answer:?}");
    assert!(answer.found.as_ref().is_some_and(|found| found.published));
    let lines = run(&mut bench, wish);
    assert_eq!(lines[0], ["ceph osd pool rename foopool barpool"]);
    assert_eq!(bench.cluster.pool("barpool").map(|pool| pool.id), Some(id));
}

/// Two pools change names over a third: never is a command sent for a name that means another pool.
#[test]
fn swapping() {
    let mut first = Bench::with(SMALLEST);
    let other = foreign(&mut first.cluster, "barpool");
    let ours = first.pool().id;
    let to = |name: &str| format!("{{poolName: {name}, applications: [{{name: rbd}}]}}");
    assert!(first.plan(&to("barpool")).starts_with("refused PoolExists"));
    let third = wish(&to("third"), first.record.clone());
    run(&mut first, third);
    first.cluster.round(&[MonCommand::PoolRename {
        from: PoolName::new("barpool"),
        to: PoolName::new("foopool"),
    }]);
    let last = wish(&to("barpool"), first.record.clone());
    assert_eq!(run(&mut first, last).len(), 1);
    let id = |name: &str| first.cluster.pool(name).map(|pool| pool.id);
    assert_eq!((id("foopool"), id("barpool")), (Some(other), Some(ours)));
}

/// A pool that is gone is made again with a person's word: as a new one, and for the same request only.
#[test]
fn making_again() {
    let mut bench = Bench::with(SMALLEST);
    let before = bench.pool().id;
    bench.cluster.edit_map(|map| {
        map.pools.remove(&before);
    });
    bench.record.nonce = "ffff0000".into();
    let wish = confirmed(asking(SMALLEST, bench.record.clone()), &bench);
    let answer = next(&wish, &bench.cluster.view());
    assert_eq!(answer.confirmed.len(), 1);
    let lines = run(&mut bench, wish);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_ne!(bench.pool().id, before);
    assert_eq!(bench.plan(SMALLEST), "in sync\n");
}

/// One copy, and few that acknowledge: each takes its word, at creation and later, and it is used where it counts.
#[test]
fn dangerous_sizes() {
    let single = "{replicated: {size: 1}, applications: [{name: rbd}]}";
    let low = "{replicated: {size: 2}, minSize: 1, applications: [{name: rbd}]}";
    for text in [single, low] {
        let mut bench = Bench::new();
        let wish = confirmed(asking(text, fresh()), &bench);
        assert_eq!(next(&wish, &bench.cluster.view()).confirmed.len(), 1);
        run(&mut bench, wish);
        assert_eq!(bench.pool().min_size, 1);

        let mut bench = Bench::with("{replicated: {size: 3}, applications: [{name: rbd}]}");
        bench.cluster.config.allow_pool_size_one = true;
        let wish = confirmed(asking(text, bench.record.clone()), &bench);
        let lines = run(&mut bench, wish);
        assert_eq!(bench.pool().min_size, 1);
        let sure = lines[0][0].contains("--yes-i-really-mean-it");
        assert_eq!(sure, text == single, "{lines:#?}");
        // It was for that time.
        bench.cluster.edit_pool("foopool", |pool| {
            pool.size = 3;
            pool.min_size = 2;
        });
        let used = bench.record.clone();
        let refusals = next(&asking(text, used), &bench.cluster.view()).refusals;
        assert!(
            refusals.iter().all(|refusal| refusal.token.is_some()),
            "{refusals:?}"
        );
        assert!(!refusals.is_empty());
    }
}
