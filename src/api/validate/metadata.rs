//! What every object has: `apiVersion`, `kind` and `metadata`.

use serde_json::{Map, Value};

use super::Problem;
use crate::api::crd::Kind;
use crate::api::v1alpha1::API_VERSION;

/// The fields of `metadata` that Kubernetes knows.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The longest name of an object.
const MAX_NAME: usize = 253;

/// That an object is of no kind of ours.
pub(super) fn unknown_kind(object: &Value) -> Problem {
    let field = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("(none)")
            .to_owned()
    };
    let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
    let message = format!(
        "no matches for kind \"{}\" in version \"{}\": the kinds of {API_VERSION} are {}",
        field("kind"),
        field("apiVersion"),
        kinds.join(", ")
    );
    Problem::new("kind", message)
}

/// What is wrong with the parts that every object has.
pub(super) fn problems(kind: Kind, object: &Value) -> Vec<Problem> {
    if Kind::of(object) != Some(kind) {
        return vec![unknown_kind(object)];
    }
    match object.get("metadata") {
        Some(Value::Object(metadata)) => of_metadata(metadata),
        Some(_) => vec![Problem::new("metadata", "must be of type object")],
        None => vec![Problem::new(
            "metadata.name",
            "Required value: name or generateName is required",
        )],
    }
}

/// What is wrong with the metadata.
fn of_metadata(metadata: &Map<String, Value>) -> Vec<Problem> {
    let unknown = metadata
        .keys()
        .filter(|key| !FIELDS.contains(&key.as_str()));
    let mut problems: Vec<Problem> = unknown
        .map(|key| Problem::unknown_field(&format!("metadata.{key}")))
        .collect();
    match metadata.get("name") {
        Some(Value::String(name)) => problems.extend(wrong_name(name)),
        Some(_) => problems.push(Problem::new("metadata.name", "must be of type string")),
        None => problems.push(Problem::new(
            "metadata.name",
            "Required value: name or generateName is required",
        )),
    }
    match metadata.get("namespace") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(_) => problems.push(Problem::new("metadata.namespace", "must be of type string")),
    }
    for field in ["labels", "annotations"] {
        let path = format!("metadata.{field}");
        match metadata.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                let wrong = map.iter().filter(|(_, value)| !value.is_string());
                problems.extend(wrong.map(|(key, _)| {
                    Problem::new(format!("{path}.{key}"), "must be of type string")
                }));
            }
            Some(_) => problems.push(Problem::new(path, "must be of type object")),
        }
    }
    problems
}

/// What is wrong with an object's name.
fn wrong_name(name: &str) -> Option<Problem> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(inside)
            && label.ends_with(inside)
            && label.chars().all(|c| inside(c) || c == '-')
    };
    if name.len() > MAX_NAME {
        return Some(Problem::new(
            "metadata.name",
            format!("must be no more than {MAX_NAME} bytes"),
        ));
    }
    let fits = name.split('.').all(is_label);
    (!fits).then(|| {
        Problem::new(
            "metadata.name",
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
        )
    })
}
