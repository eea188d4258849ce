//! The manifests that are to be accepted and refused, without an API server; another test feeds them to a real one.
//!
//! Every rule is evaluated twice on every manifest: its CEL, as an API server would, and its Rust.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use poolwright::api::crd::Kind;
use poolwright::api::rules::{self, Check};
use poolwright::api::{validate, yaml};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::yaml::any_json;

/// Where the manifests are, for this test and for those on a real API server.
fn manifests(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/manifests")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// What a manifest's first line expects.
fn expectation(text: &str) -> &str {
    text.lines()
        .next()
        .and_then(|line| line.strip_prefix("# expect: "))
        .expect("a first line `# expect: …`")
}

/// The problems as they are printed.
fn lines(result: Result<Kind, Vec<validate::Problem>>) -> Vec<String> {
    result
        .err()
        .into_iter()
        .flatten()
        .map(|problem| problem.to_string())
        .collect()
}

/// Each bad manifest is refused for its one fault, with the sentence it expects.
#[test]
fn bad_manifests_are_refused_with_a_sentence_each() {
    let manifests = manifests("bad");
    assert!(manifests.len() >= 42, "{} bad manifests", manifests.len());
    for (path, text) in manifests {
        let documents = yaml::documents(&text).unwrap();
        let [document] = documents.as_slice() else {
            panic!("{}: one document", path.display())
        };
        let problems = lines(validate::validate(document));
        let [problem] = problems.as_slice() else {
            panic!("{}: one fault, not {problems:#?}", path.display())
        };
        assert!(
            problem.contains(expectation(&text)),
            "{}: {problem}",
            path.display()
        );
    }
}

/// Each good manifest is accepted, can be read, and is the same after reading and writing.
#[test]
fn good_manifests_are_accepted() {
    let manifests = manifests("good");
    assert!(manifests.len() >= 10);
    for (path, text) in manifests {
        for document in yaml::documents(&text).unwrap() {
            let kind = validate::validate(&document);
            let kind = kind.unwrap_or_else(|problems| panic!("{}: {problems:#?}", path.display()));
            let read = match kind {
                Kind::ClusterConnection => json!(validate::decode_connection(&document).unwrap()),
                Kind::CephPool => json!(validate::decode_pool(&document).unwrap()),
                Kind::CephRequest => json!(validate::decode_request(&document).unwrap()),
            };
            assert_eq!(validate::validate(&read), Ok(kind), "{}", path.display());
            let written = yaml::documents(&yaml::to_text(&read)).unwrap();
            assert_eq!(written, [read], "{}", path.display());
        }
    }
}

/// Each change is refused, or not, as its manifest expects.
#[test]
fn changes_are_judged() {
    for (path, text) in manifests("changes") {
        let documents = yaml::documents(&text).unwrap();
        let [old, new] = documents.as_slice() else {
            panic!("{}: two documents", path.display())
        };
        assert_eq!(
            lines(validate::validate(old)),
            [""; 0],
            "{}",
            path.display()
        );
        assert_eq!(
            lines(validate::validate(new)),
            [""; 0],
            "{}",
            path.display()
        );
        let problems = lines(validate::validate_update(old, new));
        match expectation(&text) {
            "(nothing)" => assert_eq!(problems, [""; 0], "{}", path.display()),
            expected => {
                let [problem] = problems.as_slice() else {
                    panic!("{}: {problems:#?}", path.display())
                };
                assert!(problem.contains(expected), "{}: {problem}", path.display());
            }
        }
    }
}

/// Every rule has a manifest that breaks it, and no rule has a sentence that cannot be read.
#[test]
fn every_rule_is_broken_by_a_manifest() {
    let texts = |folder| {
        manifests(folder)
            .into_iter()
            .map(|(_, text)| yaml::documents(&text).unwrap())
    };
    let mut broken = BTreeSet::new();
    for documents in texts("bad") {
        broken.extend(validate::validate(&documents[0]).unwrap_err());
    }
    for documents in texts("changes") {
        broken.extend(
            validate::validate_update(&documents[0], &documents[1])
                .err()
                .into_iter()
                .flatten(),
        );
    }
    let pattern = |path: &str| {
        let mut inside = false;
        path.chars()
            .filter(|c| {
                inside = (inside || *c == '[') && *c != ']';
                !inside && *c != ']'
            })
            .collect::<String>()
    };
    let broken: BTreeSet<(String, String)> = broken
        .into_iter()
        .map(|problem| (pattern(&problem.field), problem.message))
        .collect();
    for rule in Kind::ALL.into_iter().flat_map(rules::of) {
        let mut path: String = rule.at.replace(".[]", "").replace(".{}", "");
        if let Some(field) = rule.field {
            path = if path.is_empty() {
                field.to_owned()
            } else {
                format!("{path}.{field}")
            };
        }
        assert!(
            broken.contains(&(path.clone(), rule.sentence.clone().into_owned())),
            "{path}: {}",
            rule.sentence
        );
        assert!(
            !rule.sentence.ends_with('.') && !rule.sentence.contains(['\\', '^', '\n']),
            "{}",
            rule.sentence
        );
    }
}

/// What a rule's two sides say about an object, per value that the rule is about.
fn both_sides(rule: &rules::Rule, object: &Value, old: Option<&Value>) -> Vec<(bool, bool)> {
    static PROGRAMS: LazyLock<BTreeMap<&str, Program>> = LazyLock::new(|| {
        let rules = Kind::ALL
            .into_iter()
            .flat_map(rules::of)
            .map(|rule| rule.cel.as_ref());
        rules
            .map(|cel| {
                (
                    cel,
                    Program::compile(cel).unwrap_or_else(|error| panic!("{cel}: {error}")),
                )
            })
            .collect()
    });
    let program = &PROGRAMS[rule.cel.as_ref()];
    let evaluate = |new: &Value, old: Option<&Value>| {
        let mut context = Context::default().with_all();
        context.add_variable_from_value("self", to_cel(new));
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", to_cel(old));
        }
        match program.execute(&context) {
            Ok(Cel::Bool(holds)) => holds,
            other => panic!("{} on {new}: {other:?}", rule.cel),
        }
    };
    let nodes = rules::nodes(object, rule.at).into_iter();
    match (&rule.check, old) {
        (Check::Value(holds), None) => nodes
            .map(|(_, new)| (evaluate(new, None), holds(new)))
            .collect(),
        (Check::Change(holds), Some(old)) => rules::nodes(old, rule.at)
            .into_iter()
            .zip(nodes)
            .map(|((_, old), (_, new))| (evaluate(new, Some(old)), holds(old, new)))
            .collect(),
        _ => Vec::new(),
    }
}

/// JSON as an API server hands it to CEL: integers are signed.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Cel::Int(integer),
            None => Cel::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => Cel::String(text.clone().into()),
        Value::Array(list) => Cel::List(list.iter().map(to_cel).collect::<Vec<_>>().into()),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (Key::String(key.clone().into()), to_cel(value)));
            Cel::Map(Map {
                map: std::sync::Arc::new(entries.collect()),
            })
        }
    }
}

/// An object as an API server has it when it asks the rules: with its defaults, and only if types and bounds hold.
fn before_rules(kind: Kind, document: &Value) -> Option<Value> {
    validate::completed(kind, document).ok()
}

/// CEL and Rust agree about every rule on every manifest.
#[test]
fn both_sides_of_every_rule_agree() {
    let mut judged = BTreeMap::<&str, [usize; 2]>::new();
    for (path, text) in ["bad", "good", "changes"].into_iter().flat_map(manifests) {
        for document in yaml::documents(&text).unwrap() {
            let Some(kind) = Kind::of(&document) else {
                continue;
            };
            let Some(object) = before_rules(kind, &document) else {
                continue;
            };
            for rule in rules::of(kind) {
                for (cel, rust) in both_sides(rule, &object, None) {
                    assert_eq!(cel, rust, "{}: {}", path.display(), rule.cel);
                    judged.entry(rule.cel.as_ref()).or_default()[usize::from(rust)] += 1;
                }
            }
        }
    }
    for (path, text) in manifests("changes") {
        let documents = yaml::documents(&text).unwrap();
        let kind = Kind::of(&documents[0]).unwrap();
        let [old, new] = [0, 1].map(|at| before_rules(kind, &documents[at]).unwrap());
        for rule in rules::of(kind) {
            for (cel, rust) in both_sides(rule, &new, Some(&old)) {
                assert_eq!(cel, rust, "{}: {}", path.display(), rule.cel);
                judged.entry(rule.cel.as_ref()).or_default()[usize::from(rust)] += 1;
            }
        }
    }
    for (rule, [broken, held]) in &judged {
        assert!(
            *broken > 0 && *held > 0,
            "{rule}: broken {broken} times, held {held} times"
        );
    }
    let rules: BTreeSet<&str> = Kind::ALL
        .into_iter()
        .flat_map(rules::of)
        .map(|rule| rule.cel.as_ref())
        .collect();
    assert_eq!(judged.keys().copied().collect::<BTreeSet<_>>(), rules);
}

/// A manifest that is no object of ours, or hardly an object, is refused and never panics.
#[test]
fn nonsense_is_refused() {
    for text in [
        "5",
        "text",
        "[1]",
        "{}",
        "kind: CephPool",
        "apiVersion: v1\nkind: Pod",
        "apiVersion: poolwright.dev/v1alpha1\nkind: CephPool",
        "apiVersion: poolwright.dev/v1alpha1\nkind: CephPool\nmetadata: 5\nspec: []",
        "apiVersion: poolwright.dev/v1alpha1\nkind: CephPool\nmetadata: {name: [a], labels: 1, annotations: {a: 1}, foo: 1}\nspec: {}",
        "apiVersion: poolwright.dev/v1alpha1\nkind: CephPool\nmetadata: {name: a}\nspec: {applications: [null, 1, {}]}\nstatus: {foo: 1}",
    ] {
        for document in yaml::documents(text).unwrap() {
            assert!(validate::validate(&document).is_err(), "{text}");
        }
    }
}

proptest! {
    /// No text makes the reader or the judge panic.
    #[test]
    fn nothing_panics(text in ".{0,200}", spec in any_json()) {
        for document in yaml::documents(&text).unwrap_or_default() {
            let _ = validate::validate(&document);
        }
        let pool = json!({"apiVersion": "poolwright.dev/v1alpha1", "kind": "CephPool", "metadata": {"name": "a"}, "spec": spec});
        let _ = validate::validate(&pool);
        let _ = validate::validate_update(&pool, &pool);
    }

    /// CEL and Rust agree about texts that look like sizes, decimals, durations and names.
    #[test]
    fn both_sides_agree_about_texts(
        size in "[0-9]{1,20}([.][0-9]{0,5})?[kKMGTPEemiI]{0,2}[0-9]{0,2}",
        decimal in "[-0-9.e]{1,8}",
        duration in "([0-9]{1,6}[hms]?){1,4}",
        name in "[ \\PC\t\n.a-z-]{1,16}",
    ) {
        let spec = json!({
            "poolName": name,
            "quota": {"maxBytes": size},
            "placementGroups": {"bias": decimal, "targetSizeBytes": size, "targetSizeRatio": decimal},
            "compression": {"requiredRatio": decimal},
            "erasureCoded": {"stripeUnit": size},
            "crush": {"rule": name},
            "parameters": {(&name): decimal},
            "applications": [{"name": name, "metadata": {(&name): name}}],
        });
        let connection = json!({
            "monitors": [name], "fsid": name, "user": name, "resyncInterval": duration,
            "client": {"commandTimeout": duration, "options": {(&name): name}},
            "grants": [{"name": name, "poolNames": [name], "limits": {"quotaBytes": size}}],
        });
        let metadata = json!({"name": name});
        for (kind, spec) in [(Kind::CephPool, spec), (Kind::ClusterConnection, connection)] {
            let object = json!({"metadata": metadata, "spec": spec});
            let about_texts = rules::of(kind).iter().filter(|rule| rule.at != "spec" && rule.cel.contains("self"));
            for rule in about_texts.filter(|rule| !rule.at.ends_with("erasureCoded") && !rule.at.ends_with("namespaces")) {
                for (cel, rust) in both_sides(rule, &object, None) {
                    prop_assert_eq!(cel, rust, "{} on {}", rule.cel, object);
                }
            }
        }
    }
}
