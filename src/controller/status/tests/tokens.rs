//! Tokens that were asked for, whatever comes between.

use super::standings::standings;
use super::*;
use crate::ceph::types::PoolIdentity;
use crate::request::factory::Found;

/// A refusal that asks for a size of 1, as generation 1 did.
fn unsafe_size() -> Refusal {
    refusal(Reason::Unsafe, Some("size")).asking(AskedToken {
        token: "aaaa".into(),
        step: "size".into(),
        target: "1".into(),
        generation: 1,
    })
}

fn take_over() -> Refusal {
    refusal(Reason::OwnedByAnother, Some("poolName")).asking(AskedToken {
        token: "bbbb".into(),
        step: "takeOver".into(),
        target: "mark".into(),
        generation: 2,
    })
}

/// An object of generation 2 whose first generation asked, and asks no more what the second does not ask.
fn asking() -> CephPool {
    let mut object = object(1);
    let plan = planned(Verb::Update, true, vec![unsafe_size()]);
    object.status = Some(compute(&Inputs {
        plan: Some(&plan),
        ..inputs(&object, Standing::Refused(vec![unsafe_size()]))
    }));
    object.metadata.generation = Some(2);
    assert_eq!(tokens(&object), ["aaaa"]);
    object
}

fn planned(verb: Verb, found: bool, refusals: Vec<Refusal>) -> Plan {
    let identity: PoolIdentity = "f/7/9".parse().expect("an identity");
    let found = found.then(|| Found {
        identity,
        claim: None,
        published: true,
        name: PoolName::new("foopool"),
        adopting: matches!(verb, Verb::Adopt | Verb::TakeOver),
        replaces: None,
    });
    Plan {
        now: Next {
            refusals,
            found,
            verb,
            ..Next::default()
        },
        ..Plan::default()
    }
}

fn tokens(object: &CephPool) -> Vec<&str> {
    let asked = object.status.iter().flat_map(|status| &status.asked_tokens);
    asked.map(|asked| asked.token.as_str()).collect()
}

/// Without a plan, nothing is known of what it would ask: every outcome of a look keeps the token, but those in which
/// nothing is left to be done.
#[test]
fn every_outcome_keeps_them() {
    for standing in standings() {
        let mut object = asking();
        let done = matches!(standing, Standing::InSync { .. } | Standing::Creating);
        object.status = Some(compute(&inputs(&object, standing.clone())));
        let expected: &[&str] = if done { &[] } else { &["aaaa"] };
        assert_eq!(tokens(&object), expected, "{standing:?}");
    }
    // A connection that is away, a map that cannot be read, a grant that is not there.
    for reason in [Reason::Unreachable, Reason::MapUnreadable] {
        let mut object = asking();
        let message = "words".to_owned();
        object.status = Some(compute(&inputs(
            &object,
            Standing::Retrying { reason, message },
        )));
        assert_eq!(tokens(&object), ["aaaa"], "{reason:?}");
    }
    for reason in Reason::ALL {
        let mut object = asking();
        let refused = Standing::Refused(vec![refusal(*reason, None)]);
        object.status = Some(compute(&inputs(&object, refused)));
        assert_eq!(tokens(&object), ["aaaa"], "{reason:?}");
    }
}

/// A plan that asks the same keeps the token whatever stands in the way of it, and so does one that does not come to ask.
#[test]
fn plans_that_ask_and_plans_that_do_not_get_so_far() {
    let no = |reason| refusal(reason, Some("poolName"));
    for (what, plan, expected) in [
        (
            "asks the same",
            planned(Verb::Update, true, vec![unsafe_size()]),
            vec!["aaaa"],
        ),
        (
            "somebody else's at this moment",
            planned(Verb::Update, false, vec![take_over()]),
            vec!["aaaa", "bbbb"],
        ),
        (
            "replaced",
            planned(Verb::Update, false, vec![no(Reason::PoolReplaced)]),
            vec!["aaaa"],
        ),
        (
            "taken meanwhile",
            planned(Verb::Create, true, vec![no(Reason::PoolExists)]),
            vec!["aaaa"],
        ),
        (
            "adopted first",
            planned(Verb::Adopt, true, vec![]),
            vec!["aaaa"],
        ),
        (
            "renamed first",
            planned(Verb::Rename, true, vec![]),
            vec!["aaaa"],
        ),
        // The manifest asks for something else by now.
        ("asks no more", planned(Verb::Update, true, vec![]), vec![]),
        (
            "asks for another step",
            planned(Verb::Update, true, vec![no(Reason::Blocked)]),
            vec![],
        ),
        (
            "creates without",
            planned(Verb::Create, false, vec![]),
            vec![],
        ),
    ] {
        for standing in standings() {
            if matches!(standing, Standing::InSync { .. } | Standing::Creating) {
                continue;
            }
            let mut object = asking();
            object.status = Some(compute(&Inputs {
                plan: Some(&plan),
                ..inputs(&object, standing.clone())
            }));
            assert_eq!(tokens(&object), expected, "{what}: {standing:?}");
            // And again, since looks come and go.
            object.status = Some(compute(&inputs(&object, Standing::Paused)));
            assert_eq!(tokens(&object), expected, "{what}: {standing:?}");
        }
    }
}
