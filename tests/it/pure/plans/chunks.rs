//! Erasure-coded pools whose chunks shall lie elsewhere: another rule, made from a profile that says so, or named.

use std::fmt::Write as _;

use poolwright::api::conditions::Reason;
use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::types::PoolName;
use poolwright::request::guard::{self, Objection};
use poolwright::request::pool_factory::{Leftover, leftover_round};
use poolwright::request::wish::Wish;

use crate::pure::support::*;

const ANYWHERE: &str = "{failureDomain: osd}";
const ON_DISKS: &str = "{failureDomain: osd, deviceClass: hdd}";

fn coded(crush: &str) -> String {
    format!(
        "{{type: ErasureCoded, replicated: null, erasureCoded: {{dataChunks: 2, codingChunks: 1}}, \
         applications: [{{name: rbd}}], crush: {crush}}}"
    )
}

/// The wish of a manifest, with a person's word for what it asks.
fn confirmed(bench: &Bench, manifest: &str) -> Wish {
    let mut wish = wish(manifest, bench.record.clone());
    wish.confirmations.uid = "a-uid".into();
    for refusal in next(&wish, &bench.cluster.view()).refusals {
        let asked = *refusal
            .token
            .unwrap_or_else(|| panic!("{}", refusal.message));
        wish.confirmations.given.insert(asked.token.clone());
        wish.confirmations.asked.push(asked);
    }
    wish
}

/// Does what a wish takes, through the guard; says what was sent.
fn run(bench: &mut Bench, mut wish: Wish) -> String {
    let mut lines = Vec::new();
    loop {
        let view = bench.cluster.view();
        let answer = next(&wish, &view);
        assert_eq!(answer.refusals, []);
        wish = answer.advance(wish);
        if answer.round.is_empty() {
            bench.record = wish.record;
            return lines.join("\n");
        }
        let pool = answer.found.as_ref().map(|found| found.identity.id);
        guard::check(&answer.round, &wish, &view, pool, None).expect("no objection");
        let mut bare = answer.round.clone();
        for step in &mut bare.steps {
            step.token = None;
        }
        let moves = bare != answer.round;
        let objected = guard::check(&bare, &wish, &view, pool, None);
        let moving = Err(Objection::Moves(wish.pool.clone()));
        assert_eq!(objected, if moves { moving } else { Ok(()) });
        lines.extend(commands(&answer.round).iter().map(MonCommand::to_line));
        lines.push("--".to_owned());
        for reply in bench.cluster.round(&commands(&answer.round)) {
            assert_eq!(reply.code, 0, "{}", reply.text);
        }
    }
}

/// The names of all profiles and rules of ours.
fn made(bench: &Bench) -> (Vec<String>, Vec<String>) {
    let view = bench.cluster.view();
    let ours = |name: &&String| name.starts_with("poolwright-");
    let profiles = view.map().erasure_code_profiles.keys().filter(ours);
    let rules = view.crush().rules.values().map(|rule| &rule.name);
    (
        profiles.cloned().collect(),
        rules.filter(ours).cloned().collect(),
    )
}

/// Another place waits for a person's word, and goes through a profile that says so: the pool's own stays as it is. What
/// no pool has any more goes, there and on the way back.
#[test]
fn another_place() {
    let mut bench = Bench::with(&coded(ANYWHERE));
    let (first, _) = made(&bench);
    let moved = coded(ON_DISKS);
    let mut text = format!("# asked\n{}", bench.plan(&moved));
    let word = confirmed(&bench, &moved);
    let there = run(&mut bench, word);
    write!(text, "# there\n{there}\n").unwrap();
    assert_eq!(bench.plan(&moved), "in sync\n");
    let own = bench.pool().erasure_code_profile.clone();
    assert_eq!(
        first,
        std::slice::from_ref(&own),
        "no pool changes its profile"
    );
    let rule = bench.cluster.view().rule_name(bench.pool());
    let (profiles, rules) = made(&bench);
    assert_eq!(rules, std::slice::from_ref(&rule));
    assert_eq!(profiles.len(), 2, "the pool's own, and that of its rule");

    // The same for a second pool: it shares what is there.
    let mut second = Bench {
        cluster: bench.cluster.clone(),
        record: fresh(),
    };
    second
        .cluster
        .edit_pool("foopool", |pool| pool.name = PoolName::new("first"));
    let plan = second.plan(&moved);
    assert!(
        !plan.contains("profile set") && plan.contains(&rule),
        "{plan}"
    );

    // What goes with the pool, also where nothing is known but what was recorded, or the map.
    let mut gone = bench.clone();
    let left = Leftover::of(gone.pool(), &gone.cluster.view());
    gone.cluster.edit_map(|map| map.pools.clear());
    let unsaid = wish(&coded("{rule: other}"), bench.record.clone());
    let recorded = Leftover::wished(&unsaid, &gone.cluster.view());
    for left in [left, recorded] {
        let round = leftover_round(&left, &gone.cluster.view());
        assert_eq!(commands(&round).len(), 3, "{}", show_round(&round));
    }
    // While another pool has the rule, the profile that says what is in it stays too.
    let mut used = bench.clone();
    let wished = Leftover::wished(&wish(&moved, fresh()), &used.cluster.view());
    assert!(leftover_round(&wished, &used.cluster.view()).is_empty());
    let removal = MonCommand::ProfileRemove {
        profile: rule.clone(),
    };
    let mut round = poolwright::request::round::Round::default();
    round
        .steps
        .extend(leftover_round(&wished, &gone.cluster.view()).steps);
    round.steps.retain(|step| step.command == removal);
    assert_eq!(round.steps.len(), 1);
    let objected = guard::check(&round, &unsaid, &used.cluster.view(), None, None);
    assert_eq!(objected, Err(Objection::InUse(rule.clone())));
    used.cluster
        .edit_pool("foopool", |pool| pool.crush_rule = 0);
    assert!(!leftover_round(&wished, &used.cluster.view()).is_empty());

    let back = coded(ANYWHERE);
    let word = confirmed(&bench, &back);
    write!(text, "# back\n{}\n", run(&mut bench, word)).unwrap();
    assert_eq!(made(&bench), (vec![own.clone()], vec![own]));
    insta::assert_snapshot!(text);
}

/// As for every pool: not while there is little room, not while another pool's data moves, and not where there is no
/// place for the chunks.
#[test]
fn not_now() {
    let bench = Bench::with(&coded(ANYWHERE));
    let manifest = coded(ON_DISKS);
    let wish = confirmed(&bench, &manifest);
    let refused = |bench: &Bench| {
        let answer = next(&wish, &bench.cluster.view());
        assert!(answer.round.is_empty(), "{}", show_round(&answer.round));
        assert_eq!(answer.refusals.len(), 1);
        (
            answer.refusals[0].reason,
            answer.refusals[0].message.clone(),
        )
    };
    let mut full = bench.clone();
    full.cluster.edit_map(|map| {
        map.flags.insert("nearfull".into());
    });
    assert_eq!(refused(&full).0, Reason::Blocked);
    let mut busy = bench.clone();
    let theirs = foreign(&mut busy.cluster, "theirs");
    busy.cluster.edit_map(|map| {
        map.moving.insert(theirs);
    });
    assert_eq!(refused(&busy).0, Reason::Blocked);
    let mut few = bench.clone();
    few.cluster.edit_map(|map| {
        for osd in map.osds.values_mut().skip(2) {
            osd.up = false;
        }
    });
    let (reason, message) = refused(&few);
    assert_eq!(reason, Reason::CannotPlace);
    assert!(message.contains("can place 2 of 3 chunks"), "{message}");
    assert!(
        !message.contains("chunks in all"),
        "no pool changes its chunks: {message}"
    );
}

/// A rule by its name: one that says the same is as good, another one waits, and one for copies is refused.
#[test]
fn by_name() {
    let mut bench = Bench::with(&coded(ANYWHERE));
    let profile = bench.pool().erasure_code_profile.clone();
    let mut text = String::new();
    bench.cluster.round(&[MonCommand::RuleCreateErasure {
        rule: "same".into(),
        profile,
    }]);
    bench.cluster.edit_crush(|crush| {
        let rule = crush.erasure_rule("disks", "default", "osd", Some("hdd"));
        crush.rules.insert(7, rule.unwrap());
        let rule = crush.erasure_rule("hosts", "default", "host", None);
        crush.rules.insert(8, rule.unwrap());
    });
    for rule in ["same", "disks", "hosts", "replicated_rule", "nowhere"] {
        let plan = bench.plan(&coded(&format!("{{rule: {rule}}}")));
        write!(text, "# {rule}\n{plan}").unwrap();
    }
    let disks = coded("{rule: disks}");
    let word = confirmed(&bench, &disks);
    write!(text, "# confirmed\n{}\n", run(&mut bench, word)).unwrap();
    assert_eq!(bench.plan(&disks), "in sync\n");
    // Of a new pool it is proven as well.
    let plan = Bench {
        record: fresh(),
        ..bench.clone()
    };
    let mut plan = plan;
    plan.cluster
        .edit_pool("foopool", |pool| pool.name = PoolName::new("first"));
    write!(text, "# new\n{}", plan.plan(&coded("{rule: hosts}"))).unwrap();
    insta::assert_snapshot!(text);
}

/// The rule of somebody's profile is made from it and from nothing else.
#[test]
fn of_a_profile_by_name() {
    let mut bench = Bench::new();
    let keys = ["k=2", "m=1", "crush-failure-domain=osd"];
    let profile = MonCommand::ProfileSet {
        profile: "theirs".into(),
        values: keys.map(str::to_owned).into(),
    };
    let create = MonCommand::PoolCreate(PoolCreate {
        profile: Some("theirs".into()),
        ..PoolCreate::new(PoolName::new("other"), 8)
    });
    bench.cluster.round(&[profile]);
    bench.cluster.round(&[create]);
    let named =
        |crush: &str| coded(crush).replace("dataChunks: 2, codingChunks: 1", "profile: theirs");
    bench.apply(&named("{rule: other}")).in_sync();
    assert_eq!(bench.plan(&named(ANYWHERE)), "in sync\n");
    let plan = bench.plan(&named(ON_DISKS));
    assert!(
        plan.contains("the profile theirs says failureDomain osd under default"),
        "{plan}"
    );
    // By hand somewhere else: back to what the profile says.
    bench.cluster.edit_crush(|crush| {
        let rule = crush.erasure_rule("disks", "default", "osd", Some("hdd"));
        crush.rules.insert(7, rule.unwrap());
    });
    bench
        .cluster
        .edit_pool("foopool", |pool| pool.crush_rule = 7);
    let word = confirmed(&bench, &named(ANYWHERE));
    let lines = run(&mut bench, word);
    assert!(
        lines.contains("crush rule create-erasure poolwright-2328df1fc374a8f8 theirs"),
        "{lines}"
    );
    assert!(
        lines.contains("set foopool crush_rule poolwright-2328df1fc374a8f8"),
        "{lines}"
    );
}
