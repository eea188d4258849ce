//! Profiles and rules: under the names that say what is in them, and gone only where nobody uses them.

use super::*;
use crate::request::coding::{Keys, profile_name, rule_name, values};

fn keys(m: &str) -> Keys {
    let keys = [
        ("k", "2"),
        ("m", m),
        ("plugin", "jerasure"),
        ("technique", "reed_sol_van"),
        ("crush-failure-domain", "osd"),
        ("crush-root", "default"),
    ];
    keys.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn profile(name: &str, m: &str) -> MonCommand {
    MonCommand::ProfileSet {
        profile: name.into(),
        values: values(&keys(m)),
    }
}

fn rule(name: &str, profile: &str) -> MonCommand {
    MonCommand::RuleCreateErasure {
        rule: name.into(),
        profile: profile.into(),
    }
}

fn coded(pool: &str, profile: &str, rule: &str) -> MonCommand {
    let MonCommand::PoolCreate(create) = create(pool) else {
        panic!("a creation")
    };
    MonCommand::PoolCreate(PoolCreate {
        profile: Some(profile.into()),
        rule: Some(rule.into()),
        ..create
    })
}

fn removals(name: &str) -> [MonCommand; 2] {
    [
        MonCommand::ProfileRemove {
            profile: name.into(),
        },
        MonCommand::RuleRemove { rule: name.into() },
    ]
}

/// A name is the hash of what is in it, and nothing goes over what is there.
#[test]
fn names_say_what_is_in_them() {
    let mut scene = Scene::new(&[], None, false);
    let name = profile_name(&keys("1"));
    let misnamed = |name: &str| Err(Objection::Misnamed(name.to_owned()));
    assert_eq!(scene.check(vec![profile(&name, "1")]), Ok(()));
    assert_eq!(scene.check(vec![profile(&name, "2")]), misnamed(&name));
    let others = Err(Objection::NotMade("theirs".into()));
    assert_eq!(scene.check(vec![profile("theirs", "1")]), others);
    // A rule from a profile that is there, and a pool from both.
    assert_eq!(scene.check(vec![rule(&name, &name)]), misnamed(&name));
    scene.cluster.round(&[profile(&name, "1")]);
    assert_eq!(scene.check(vec![profile(&name, "1")]), misnamed(&name));
    assert_eq!(scene.check(vec![rule(&name, &name)]), Ok(()));
    assert_eq!(
        scene.check(vec![rule("poolwright-x", &name)]),
        misnamed("poolwright-x")
    );
    let private = "foo.poolwright-new-ab12";
    let gone = Err(Objection::Gone(name.clone()));
    assert_eq!(scene.check(vec![coded(private, &name, &name)]), gone);
    scene.cluster.round(&[rule(&name, &name)]);
    assert_eq!(scene.check(vec![coded(private, &name, &name)]), Ok(()));
    assert_eq!(scene.check(vec![rule(&name, &name)]), misnamed(&name));
    // The rule from somebody's profile is called by what that says.
    scene.cluster.round(&[profile("theirs", "1")]);
    let theirs = scene.cluster.map().erasure_code_profiles.get("theirs");
    let right = rule_name("theirs", theirs.expect("their profile"));
    assert_eq!(scene.check(vec![rule(&right, "theirs")]), Ok(()));
    assert_ne!(right, name);
}

/// What a pool uses stays, and so does what is not ours.
#[test]
fn what_is_in_use_stays() {
    let mut scene = Scene::new(&[], None, false);
    let name = profile_name(&keys("1"));
    for command in [profile(&name, "1"), rule(&name, &name)] {
        scene.cluster.round(&[command]);
    }
    for command in removals(&name) {
        assert_eq!(scene.check(vec![command]), Ok(()));
    }
    scene.cluster.round(&[coded("theirs", &name, &name)]);
    for command in removals(&name) {
        assert_eq!(
            scene.check(vec![command]),
            Err(Objection::InUse(name.clone()))
        );
    }
    // Somebody made another one under that name.
    let other = profile_name(&keys("2"));
    scene.cluster.round(&[profile(&other, "1")]);
    let [changed, _] = removals(&other);
    assert_eq!(
        scene.check(vec![changed]),
        Err(Objection::Misnamed(other.clone()))
    );
    for command in removals("replicated_rule") {
        let others = Err(Objection::NotMade("replicated_rule".into()));
        assert_eq!(scene.check(vec![command]), others);
    }
}
