//! Where copies lie: rules that exist and rules that are made, what they can place, and data that would move.

use std::fmt::Write as _;

use poolwright::api::conditions::Reason;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::crush_map::{Device, Item};
use poolwright::ceph::osd_map::Osd;
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::Fsid;
use poolwright::ceph::view::ClusterView;
use poolwright::request::guard::{self, Objection};
use poolwright::request::preview::Plan;
use poolwright::request::refusal::Refusal;
use poolwright::request::token::UsedToken;
use poolwright::request::wish::Wish;

use crate::pure::support::*;

/// Three OSDs on one host, as in the clusters of the tests.
fn three_osds() -> Bench {
    Bench {
        cluster: SimulatedCluster::new(&Fsid::new(FSID), 3),
        ..Bench::new()
    }
}

/// The same with an OSD on a host of its own beside them.
fn two_hosts() -> Bench {
    let mut bench = three_osds();
    bench.cluster.edit_crush(|crush| {
        let mut host = crush.buckets[&-2].clone();
        host.name = "other".into();
        host.items = vec![Item {
            id: 3,
            weight: 0x1_0000,
        }];
        crush.buckets.insert(-3, host);
        let root = crush.buckets.get_mut(&-1).unwrap();
        root.items.push(Item {
            id: -3,
            weight: 0x1_0000,
        });
        let device = Device {
            name: "osd.3".into(),
            class: Some("ssd".into()),
        };
        crush.devices.insert(3, device);
    });
    bench.cluster.edit_map(|map| {
        let osd = Osd {
            up: true,
            weight: Osd::FULL_WEIGHT,
        };
        map.osds.insert(3, osd);
    });
    bench
}

fn with_crush(crush: &str) -> String {
    format!("{{replicated: {{size: 2}}, crush: {crush}, {SMALLEST}}}")
}

const PLAIN: &str = "{replicated: {size: 2}, applications: [{name: rbd}]}";
const BY_HOST: &str = "{failureDomain: host}";

/// A rule is made in a round of its own before the pool, and once only.
#[test]
fn creation() {
    let mut text = String::new();
    let mut bench = two_hosts();
    let made = with_crush(BY_HOST);
    write!(text, "# a rule that is made\n{}", bench.plan(&made)).unwrap();
    bench.apply(&made).in_sync();
    let rule = bench.cluster.view().rule_name(bench.pool());
    assert!(rule.starts_with("poolwright-"), "{rule}");
    assert!(bench.record.applied.contains("crush"));
    let mut second = Bench {
        cluster: bench.cluster.clone(),
        record: fresh(),
    };
    second.cluster.edit_pool("foopool", |pool| {
        pool.name = poolwright::ceph::types::PoolName::new("first");
    });
    let plan = second.plan(&made);
    assert!(
        !plan.contains("create-replicated") && plan.contains(&format!("--rule {rule}")),
        "{plan}"
    );
    let existing = with_crush("{rule: replicated_rule}");
    write!(
        text,
        "# a rule that exists\n{}",
        two_hosts().plan(&existing)
    )
    .unwrap();
    insta::assert_snapshot!(text);
}

/// What is not there is refused by name, with what there is.
#[test]
fn unknown_names() {
    let mut text = String::new();
    for crush in [
        "{rule: replicatedrule}",
        "{rule: quite-another}",
        "{failureDomain: hosts}",
        "{failureDomain: host, root: defualt}",
        "{failureDomain: host, deviceClass: sdd}",
    ] {
        let answer = next(
            &wish(&with_crush(crush), fresh()),
            &two_hosts().cluster.view(),
        );
        assert!(answer.round.is_empty(), "{crush}");
        write!(text, "# {crush}\n{}", show_refusals(&answer.refusals)).unwrap();
    }
    insta::assert_snapshot!(text);
}

/// Rule 10: what the rule cannot place is not made, whether the rule is named or Ceph's own.
#[test]
fn what_cannot_be_placed_at_creation() {
    let mut text = String::new();
    let sized = |size: u8, crush: &str| {
        format!("{{replicated: {{size: {size}}}, {crush} applications: [{{name: rbd}}]}}")
    };
    for (size, crush) in [
        (3, "crush: {failureDomain: host},"),
        (5, "crush: {rule: replicated_rule},"),
        (5, ""),
    ] {
        let manifest = sized(size, crush);
        let answer = next(&wish(&manifest, fresh()), &two_hosts().cluster.view());
        assert!(answer.round.is_empty(), "{manifest}");
        assert_eq!(answer.refusals[0].reason, Reason::CannotPlace);
        write!(text, "# {manifest}\n{}", show_refusals(&answer.refusals)).unwrap();
    }
    // Any rule of theirs may be Ceph's default.
    let mut bench = two_hosts();
    bench.cluster.edit_crush(|crush| {
        let by_host = crush.replicated_rule("by-host", "default", "host", None);
        crush.rules.insert(1, by_host.unwrap());
    });
    let plan = bench.plan(&sized(4, ""));
    assert!(plan.contains("osd pool create"), "{plan}");
    // OSDs that are out or down hold nothing.
    bench.cluster.edit_map(|map| {
        map.osds.get_mut(&0).unwrap().weight = 0;
    });
    let plan = bench.plan(&sized(4, ""));
    assert!(plan.contains("3 of 4 copies"), "{plan}");
    insta::assert_snapshot!(text);
}

/// Nor is a size set that the pool's rule cannot place; the rest goes on, and a smaller one is always better.
#[test]
fn a_size_without_a_place() {
    let mut bench = three_osds();
    bench
        .apply("{replicated: {size: 3}, applications: [{name: rbd}]}")
        .in_sync();
    let larger = "{replicated: {size: 4}, quota: {maxObjects: 5}, applications: [{name: rbd}]}";
    let text = bench.plan(larger);
    let ran = bench.apply(larger);
    assert_eq!(ran.rounds.len(), 1, "the rest goes on");
    assert_eq!((bench.pool().size, bench.pool().quota_max_objects), (3, 5));
    insta::assert_snapshot!(text);
    // Somebody made it so; out of that there is a way.
    bench.cluster.edit_pool("foopool", |pool| pool.size = 6);
    let five = "{replicated: {size: 5}, applications: [{name: rbd}]}";
    bench.apply(five).in_sync();
}

fn confirm(wish: &mut Wish, refusals: &[Refusal]) -> String {
    let asked = refusals.iter().find_map(|refusal| refusal.token.clone());
    let asked = asked.expect("a token");
    wish.confirmations.given.insert(asked.token.clone());
    wish.confirmations.asked.push((*asked).clone());
    asked.token
}

fn wish_of(bench: &Bench, manifest: &str) -> Wish {
    let mut wish = wish(manifest, bench.record.clone());
    wish.confirmations.uid = "a-uid".into();
    wish
}

/// Another rule moves data: it waits for a person's word, which names the rule.
#[test]
fn another_rule() {
    let mut bench = two_hosts();
    bench.apply(PLAIN).in_sync();
    let manifest =
        with_crush("{failureDomain: host}").replace("crush:", "quota: {maxObjects: 5}, crush:");
    let mut wish = wish_of(&bench, &manifest);
    let shown = |plan: &Plan| show(plan);
    let plan = |wish: &Wish, view: &ClusterView| preview(wish, view);
    let before = plan(&wish, &bench.cluster.view());
    let mut text = format!("# asked\n{}", shown(&before));
    let commands: Vec<MonCommand> = commands(&before.now.round);
    assert_eq!(commands.len(), 1, "the quota does not wait");

    let token = confirm(&mut wish, &before.now.refusals);
    let confirmed = plan(&wish, &bench.cluster.view());
    write!(text, "# confirmed\n{}", shown(&confirmed)).unwrap();
    let steps: Vec<_> = confirmed.steps().collect();
    let moving = steps
        .iter()
        .find(|step| step.field == "crush" && step.token.is_some())
        .expect("the rule is set");
    assert_eq!(moving.token.as_deref(), Some(token.as_str()));

    // A cluster with little room moves nothing.
    let mut full = bench.clone();
    full.cluster.edit_map(|map| {
        map.flags.insert("nearfull".into());
    });
    let answer = next(&wish, &full.cluster.view());
    write!(text, "# nearly full\n{}", show_refusals(&answer.refusals)).unwrap();
    let mut full = bench.clone();
    foreign(&mut full.cluster, "theirs");
    let quota = |bench: &mut Bench, on: &[&str]| {
        bench
            .cluster
            .edit_pool("theirs", |pool| pool.flags.extend(set(on)));
    };
    quota(&mut full, &["full", "full_quota"]);
    assert!(
        next(&wish, &full.cluster.view()).refusals.is_empty(),
        "a quota that is reached says nothing about the cluster"
    );
    quota(&mut full, &["backfillfull"]);
    let answer = next(&wish, &full.cluster.view());
    write!(
        text,
        "# a pool is full\n{}",
        show_refusals(&answer.refusals)
    )
    .unwrap();
    // Nor does one that moves the data of another pool.
    let mut busy = bench.clone();
    let theirs = foreign(&mut busy.cluster, "theirs");
    let ours = busy.pool().id;
    busy.cluster.edit_map(|map| {
        map.moving.insert(ours);
    });
    assert!(next(&wish, &busy.cluster.view()).refusals.is_empty());
    busy.cluster.edit_map(|map| {
        map.moving.insert(theirs);
    });
    let answer = next(&wish, &busy.cluster.view());
    write!(text, "# another moves\n{}", show_refusals(&answer.refusals)).unwrap();
    // One that has no place for its copies never arrives, and is not waited for.
    busy.cluster.edit_pool("theirs", |pool| pool.size = 9);
    assert!(next(&wish, &busy.cluster.view()).refusals.is_empty());
    insta::assert_snapshot!(text);

    // Step by step, through the guard.
    for round in confirmed.rounds() {
        let view = bench.cluster.view();
        let pool = view.pool_named(&wish.pool).map(|pool| pool.id);
        assert_eq!(next(&wish, &view).round, *round);
        guard::check(round, &wish, &view, pool, None).expect("no objection");
        let mut bare = round.clone();
        for step in &mut bare.steps {
            step.token = None;
        }
        let moves = round.steps.iter().any(|step| step.token.is_some());
        let objected = guard::check(&bare, &wish, &view, pool, None);
        let moving = Err(Objection::Moves(wish.pool.clone()));
        assert_eq!(objected, if moves { moving } else { Ok(()) });
        bench.cluster.round(&super::super::support::commands(round));
    }
    assert!(preview(&wish, &bench.cluster.view()).in_sync());

    // Put back by hand it is another time, and another token: to correct it moves the data once more.
    wish.record.used.push(UsedToken {
        token: token.clone(),
        request: "request".into(),
    });
    bench
        .cluster
        .edit_pool("foopool", |pool| pool.crush_rule = 0);
    let again = next(&wish, &bench.cluster.view());
    assert!(again.round.is_empty());
    assert_ne!(confirm(&mut wish, &again.refusals), token);
}

/// A rule that was made for a pool goes when the pool has another one, or is gone; and only then, and only ours.
#[test]
fn rules_that_are_let_go() {
    let mut bench = two_hosts();
    let by_host = with_crush(BY_HOST);
    bench.apply(&by_host).in_sync();
    let made = bench.cluster.view().rule_name(bench.pool());
    let field = format!("crush[{made}]");
    assert!(bench.record.applied.contains(&field));
    let removal = format!("ceph osd crush rule rm {made}");
    let other = with_crush("{rule: replicated_rule}");
    let plan = |bench: &Bench| bench.plan(&other);
    // Somebody has moved it by hand already.
    bench
        .cluster
        .edit_pool("foopool", |pool| pool.crush_rule = 0);
    assert!(plan(&bench).contains(&removal), "{}", plan(&bench));
    // Another pool has it.
    let mut used = bench.clone();
    let number = used.cluster.view().crush().rule_named(&made).unwrap();
    foreign(&mut used.cluster, "theirs");
    used.cluster
        .edit_pool("theirs", |pool| pool.crush_rule = number);
    assert_eq!(plan(&used), "in sync\n");
    // It was not made for this pool.
    let mut theirs = bench.clone();
    theirs.record.applied.remove(&field);
    assert_eq!(plan(&theirs), "in sync\n");
    // Something else was put into it.
    let mut changed = bench.clone();
    changed.cluster.edit_crush(|crush| {
        let rule = crush.replicated_rule(&made, "default", "osd", None);
        crush.rules.insert(number, rule.unwrap());
    });
    assert_eq!(plan(&changed), "in sync\n");

    let ran = bench.apply(&other);
    assert_eq!(ran.in_sync().lines(), [removal]);
    assert!(!bench.record.applied.contains(&field));
}

/// With one host, as at the first try: the numbers, and a way out.
#[test]
fn a_single_host() {
    let bench = three_osds();
    let manifest =
        "{replicated: {size: 3}, crush: {failureDomain: host}, applications: [{name: rbd}]}";
    let answer = next(&wish(manifest, fresh()), &bench.cluster.view());
    assert!(answer.round.is_empty());
    insta::assert_snapshot!(show_refusals(&answer.refusals));
}

/// The content is compared, not the name: one that says the same is as good.
#[test]
fn the_content_counts() {
    let mut bench = three_osds();
    bench.apply(PLAIN).in_sync();
    for crush in ["{rule: replicated_rule}", "{failureDomain: osd}"] {
        assert_eq!(bench.plan(&with_crush(crush)), "in sync\n", "{crush}");
    }
    let other = bench.cluster.add_rule("same");
    bench
        .cluster
        .edit_pool("foopool", |pool| pool.crush_rule = other);
    let named = with_crush("{rule: replicated_rule}");
    assert_eq!(bench.plan(&named), "in sync\n");
    // Taken out it is let go.
    bench.apply(&named).in_sync();
    assert!(bench.record.applied.contains("crush"));
    assert_eq!(bench.plan(PLAIN), "in sync\n");
}

/// A rule under a name of ours that says something else is not used.
#[test]
fn a_changed_rule_of_ours() {
    let mut bench = two_hosts();
    let manifest = with_crush(BY_HOST);
    let round = next(&wish(&manifest, fresh()), &bench.cluster.view()).round;
    let Some(MonCommand::RuleCreateReplicated { rule, .. }) = commands(&round).pop() else {
        panic!("{round:?}");
    };
    bench.cluster.add_rule(&rule);
    let answer = next(&wish(&manifest, fresh()), &bench.cluster.view());
    assert!(answer.round.is_empty());
    insta::assert_snapshot!(show_refusals(&answer.refusals));
}

/// What is not published yet is empty: it gets its rule at once.
#[test]
fn a_private_pool() {
    let manifest = with_crush("{failureDomain: osd}");
    let mut bench = Bench {
        cluster: three_osds().cluster,
        ..Bench::new()
    };
    let by_host = |bench: &mut Bench| {
        bench.cluster.edit_crush(|crush| {
            let rule = crush.replicated_rule("by-host", "default", "host", None);
            crush.rules.insert(7, rule.unwrap());
        });
    };
    by_host(&mut bench);
    let wish = wish(&manifest, fresh());
    let mut advanced = wish.clone();
    for _ in 0..2 {
        let answer = next(&advanced, &bench.cluster.view());
        advanced = answer.advance(advanced);
        bench.cluster.round(&commands(&answer.round));
    }
    assert!(bench.cluster.edit_pool(PRIVATE, |pool| pool.crush_rule = 7));
    bench.record = advanced.record;
    let ran = bench.apply(&manifest);
    let lines = ran.in_sync().lines();
    let begins = format!("ceph osd pool set {PRIVATE} crush_rule poolwright-");
    let set = lines.iter().find(|line| line.starts_with(&begins));
    assert!(set.is_some(), "{lines:?}");
}

/// Rule 13: in stretch mode the rule is the monitors', and a person is told.
#[test]
fn stretch_mode() {
    let mut bench = two_hosts();
    bench.apply(PLAIN).in_sync();
    bench
        .cluster
        .edit_map(|map| map.stretch_mode.enabled = true);
    bench.cluster.edit_pool("foopool", |pool| pool.size = 4);
    bench.cluster.edit_map(|map| {
        map.stretch_mode.bucket = 1;
        map.stretch_mode.bucket_count = 2;
    });
    let noted = |bench: &Bench, manifest: &str| {
        let wish = wish(manifest, bench.record.clone());
        let answer = next(&wish, &bench.cluster.view());
        assert!(answer.in_sync(), "{answer:#?}");
        answer.note.expect("a note")
    };
    let mut text = noted(&bench, &with_crush(BY_HOST));
    // One copy is asked for in vain, so no word is asked for it. A rule that chooses sites is as it should be.
    bench.cluster.edit_crush(|crush| {
        let rule = crush.replicated_rule("sites", "default", "host", None);
        crush.rules.insert(7, rule.unwrap());
    });
    bench
        .cluster
        .edit_pool("foopool", |pool| pool.crush_rule = 7);
    let one = "{replicated: {size: 1}, minSize: 1, applications: [{name: rbd}]}";
    write!(text, "\n{}", noted(&bench, one)).unwrap();
    // A new pool is not made with a size, which monitors would refuse, but with its rule; and never of chunks.
    let mut new = bench.clone();
    new.cluster.edit_map(|map| map.pools.clear());
    new.record = fresh();
    let manifest = one.replace(
        "applications",
        "crush: {rule: replicated_rule}, applications",
    );
    write!(text, "\n{}", new.plan(&manifest)).unwrap();
    let coded = "{type: ErasureCoded, replicated: null, erasureCoded: {dataChunks: 2, codingChunks: 1}, \
                 crush: {failureDomain: osd}, applications: [{name: rbd}]}";
    write!(text, "{}", new.plan(coded)).unwrap();
    insta::assert_snapshot!(text);
}
