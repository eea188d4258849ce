//! Who may do what with which pool, by namespaces, names and verbs.

use serde_json::{Value, json};

use super::*;

fn spec(grants: &Value) -> ClusterConnectionSpec {
    serde_json::from_value(json!({
        "monitors": ["192.0.2.1"],
        "keySecretRef": {"namespace": "poolwright-system", "name": "ceph"},
        "grants": grants,
    }))
    .expect("a connection spec")
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn ask(grants: &Value, namespace: &str, pool: &str, verb: Verb) -> Result<(), String> {
    let set = labels(&[
        ("kubernetes.io/metadata.name", namespace),
        ("tier", "gold"),
        ("env", "prod"),
    ]);
    permits(&spec(grants), namespace, &set, &PoolName::new(pool), verb).map_err(|why| why.message)
}

/// `*` stands for any text, `?` for one character, and the whole name has to fit.
#[test]
fn patterns_are_anchored() {
    let table = [
        ("*", "", true),
        ("*", "foo", true),
        ("", "", true),
        ("", "a", false),
        ("foo", "foo", true),
        ("foo", "foobar", false),
        ("foo", "afoo", false),
        ("team-a-*", "team-a-", true),
        ("team-a-*", "team-a-x.y", true),
        ("team-a-*", "team-b-x", false),
        ("team-a-*", "xteam-a-x", false),
        ("*-db", "x-db", true),
        ("*-db", "x-db2", false),
        ("*-db", "a-db-db", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a?c", "aéc", true),
        ("?", "", false),
        ("??", "ab", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "acb", false),
        ("a*b*c", "abcbc", true),
        ("**", "x", true),
        (
            "*a*a*a*a*b",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            false,
        ),
        ("[ab]", "a", false),
        ("[ab]", "[ab]", true),
        ("a.c", "abc", false),
        ("A", "a", false),
    ];
    for (pattern, name, fits) in table {
        assert_eq!(matches(pattern, name), fits, "{pattern:?} on {name:?}");
    }
}

/// Names that begin with a dot are covered by the very name and by no pattern.
#[test]
fn dotted_names_only_literally() {
    let all = |patterns: &[&str]| {
        patterns
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    assert!(!covers_name(&all(&["*", ".*", "?mgr", ".mg?"]), ".mgr"));
    assert!(covers_name(&all(&["*", ".mgr"]), ".mgr"));
    assert!(covers_name(&all(&["*"]), "a.mgr"));
}

/// The semantics of the API server's label selectors, but that an empty one picks nothing.
#[test]
fn selectors() {
    let set = labels(&[("tier", "gold"), ("env", "prod")]);
    let table = [
        (json!({}), false),
        (json!({"matchLabels": {}}), false),
        (json!({"matchExpressions": []}), false),
        (json!({"matchLabels": {"tier": "gold"}}), true),
        (
            json!({"matchLabels": {"tier": "gold", "env": "test"}}),
            false,
        ),
        (json!({"matchLabels": {"absent": ""}}), false),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["silver", "gold"]}]}),
            true,
        ),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["silver"]}]}),
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "absent", "operator": "In", "values": ["gold"]}]}),
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}),
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "absent", "operator": "NotIn", "values": ["gold"]}]}),
            true,
        ),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
            true,
        ),
        (
            json!({"matchExpressions": [{"key": "absent", "operator": "Exists"}]}),
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "absent", "operator": "DoesNotExist"}]}),
            true,
        ),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "Gt", "values": ["1"]}]}),
            false,
        ),
        (
            json!({"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "env", "operator": "In", "values": ["prod"]}]}),
            true,
        ),
        (
            json!({"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "env", "operator": "In", "values": ["dev"]}]}),
            false,
        ),
    ];
    for (selector, picks) in table {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
        assert_eq!(selects(&parsed, &set), picks, "{selector}");
    }
}

/// A grant covers namespace, name and verb together; the verbs are Create and Update unless said.
#[test]
fn one_grant_covers_it_all() {
    let grants = json!([
        {"name": "a", "namespaces": {"names": ["team-a"]}, "poolNames": ["team-a-*", ".nfs"]},
        {"name": "gold", "namespaces": {"selector": {"matchLabels": {"tier": "gold"}}}, "poolNames": ["gold-*"], "allow": ["Rename"]},
        {"name": "all", "namespaces": {"all": true}, "poolNames": ["scratch-?"], "allow": ["Create", "Delete"]},
    ]);
    let table = [
        ("team-a", "team-a-x", Verb::Create, true),
        ("team-a", "team-a-x", Verb::Update, true),
        ("team-a", ".nfs", Verb::Create, true),
        ("team-a", "team-a-x", Verb::Delete, false),
        ("team-a", "team-a-x", Verb::Rename, false),
        ("team-a", "gold-x", Verb::Rename, true),
        ("team-a", "gold-x", Verb::Create, false),
        ("team-b", "team-a-x", Verb::Create, false),
        ("team-b", "scratch-1", Verb::Create, true),
        ("team-b", "scratch-1", Verb::Delete, true),
        ("team-b", "scratch-1", Verb::Update, false),
        ("team-b", "scratch-12", Verb::Create, false),
    ];
    for (namespace, pool, verb, may) in table {
        assert_eq!(
            ask(&grants, namespace, pool, verb).is_ok(),
            may,
            "{namespace} {pool} {verb:?}"
        );
    }
    let named = json!([{"name": "a", "namespaces": {"names": ["team-a"]}}]);
    assert_eq!(
        ask(&named, "team-a", "anything", Verb::Create),
        Ok(()),
        "the default pattern is all"
    );
}

/// The sentence names what is missing and where it goes.
#[test]
fn the_message_says_what_to_add() {
    let grants = json!([
        {"name": "a", "namespaces": {"names": ["team-a"]}, "poolNames": ["team-a-*"]},
        {"name": "b", "namespaces": {"names": ["team-a"]}, "poolNames": ["db-*"]},
    ]);
    let table = [
        (
            &json!([]),
            "team-a",
            "foo",
            Verb::Create,
            "the connection grants nothing to anybody; add a grant to spec.grants of the ClusterConnection \
             whose namespaces cover \"team-a\", whose poolNames cover \"foo\" and whose allow has Create",
        ),
        (
            &grants,
            "team-c",
            "foo",
            Verb::Create,
            "no grant covers namespace \"team-c\"; add it to namespaces of one of the grants \"a\" or \"b\" in spec.grants \
             of the ClusterConnection, or add a grant",
        ),
        (
            &grants,
            "team-a",
            "foo",
            Verb::Create,
            "no grant for namespace \"team-a\" covers the pool name \"foo\"; add it to poolNames \
             of \"a\" or \"b\" in spec.grants of the ClusterConnection",
        ),
        (
            &grants,
            "team-a",
            ".mgr",
            Verb::Update,
            "no grant for namespace \"team-a\" covers the pool name \".mgr\"; add \".mgr\" literally to \
             poolNames of \"a\" or \"b\" in spec.grants of the ClusterConnection: `*` does not match names that begin \
             with a dot",
        ),
        (
            &grants,
            "team-a",
            "db-1",
            Verb::Delete,
            "no grant allows Delete to namespace \"team-a\" for pool \"db-1\"; add Delete to allow \
             of \"b\" in spec.grants of the ClusterConnection",
        ),
    ];
    for (grants, namespace, pool, verb, message) in table {
        assert_eq!(ask(grants, namespace, pool, verb), Err(message.to_owned()));
    }
}
