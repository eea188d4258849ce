//! What the REST API manages of an object, and what becomes of it with a change. Pure.
//!
//! Server-side apply takes away what an apply leaves out, so each one has to have all that the ones before it had. That
//! is read from the object itself: `managedFields` says which fields are this manager's, and the object has their values.

use std::collections::BTreeMap;

use kube::core::Status;
use serde_json::{Map, Value, json};

use super::attributes::Set;
use crate::api::quantity::parse_bytes;
use crate::api::v1alpha1::API_VERSION;

/// Under which name the REST API applies.
pub const FIELD_MANAGER: &str = "poolwright-rest";

/// What this manager has of an object: the fields that `managedFields` names, with the values that the object has.
pub fn own(object: &Value) -> Value {
    let mut own = json!({});
    for entry in entries(object) {
        if is_ours(entry) && entry.get("subresource").is_none() {
            merge(&mut own, part(object, entry.get("fieldsV1")));
        }
    }
    own
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    let entries = object.pointer("/metadata/managedFields");
    entries.and_then(Value::as_array).into_iter().flatten()
}

fn is_ours(entry: &Value) -> bool {
    entry.get("manager").and_then(Value::as_str) == Some(FIELD_MANAGER)
}

/// The managed fields with those of this manager as an apply has them, where a creation has them.
///
/// Only a creation can be sure that it makes the object, and only an apply tells whose fields are whose. To the API
/// server the two are different managers, so that the first apply after the creation would contradict it.
pub fn as_applied(object: &Value) -> Option<Value> {
    let created = |entry: &Value| {
        is_ours(entry)
            && entry.get("subresource").is_none()
            && entry.get("operation").and_then(Value::as_str) == Some("Update")
    };
    let applied = |entry: &Value| {
        is_ours(entry) && entry.get("operation").and_then(Value::as_str) == Some("Apply")
    };
    if !entries(object).any(created) {
        return None;
    }
    let there = entries(object).any(applied);
    let mut fields = json!({});
    for entry in entries(object).filter(|entry| created(entry) || applied(entry)) {
        if let Some(its) = entry.get("fieldsV1") {
            merge(&mut fields, its.clone());
        }
    }
    let all = entries(object)
        // Both become one.
        .filter(|entry| !(there && created(entry)))
        .map(|entry| {
            let mut entry = entry.clone();
            if is_ours(&entry) && entry.get("subresource").is_none() {
                place(&mut entry, &["operation"], json!("Apply"));
                place(&mut entry, &["fieldsV1"], fields.clone());
            }
            entry
        });
    Some(all.collect())
}

/// The part of a value that a set of fields names.
fn part(value: &Value, fields: Option<&Value>) -> Value {
    let Some(Value::Object(fields)) = fields else {
        return value.clone();
    };
    let below: Vec<(&String, &Value)> = fields.iter().filter(|(key, _)| *key != ".").collect();
    if below.is_empty() {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let parts = below.into_iter().filter_map(|(key, fields)| {
                let name = key.strip_prefix("f:")?;
                Some((name.to_owned(), part(map.get(name)?, Some(fields))))
            });
            Value::Object(parts.collect())
        }
        Value::Array(items) => {
            let parts = below.into_iter().filter_map(|(key, fields)| {
                let (kind, text) = key.split_once(':')?;
                let wanted: Value = serde_json::from_str(text).ok()?;
                let item = match kind {
                    "k" => items.iter().find(|item| has(item, &wanted))?,
                    "v" => items.iter().find(|item| **item == wanted)?,
                    _ => return None,
                };
                let mut part = part(item, Some(fields));
                // The keys of an item are what it is found by, whoever has them.
                if let Value::Object(_) = wanted {
                    merge(&mut part, wanted);
                }
                Some(part)
            });
            Value::Array(parts.collect())
        }
        other => other.clone(),
    }
}

/// Whether an item has these keys.
fn has(item: &Value, keys: &Value) -> bool {
    let keys = keys.as_object().into_iter().flatten();
    keys.into_iter()
        .all(|(key, value)| item.get(key) == Some(value))
}

/// Adds to a value what another one has.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(more)) => {
            for item in more {
                if !base.contains(&item) {
                    base.push(item);
                }
            }
        }
        (base, more) => *base = more,
    }
}

/// Sets a field, its parts separated by dots.
pub fn set(object: &mut Value, field: &str, value: Value) {
    let path: Vec<&str> = field.split('.').collect();
    place(object, &path, value);
}

/// Sets what is at a path.
pub fn place(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for part in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(map) = place else { return };
        place = map.entry(*part).or_insert(Value::Null);
    }
    *place = value;
}

/// Sets what a change asks for. Of a list the items are added.
pub fn put(spec: &mut Value, new: &Set) {
    if let (Value::Array(_), Some(there)) = (&new.value, get(spec, new.field)) {
        let mut list = there.clone();
        merge(&mut list, new.value.clone());
        set(spec, new.field, list);
    } else if let (Value::Object(_), Some(Value::Object(_))) = (&new.value, get(spec, new.field)) {
        // A block that is there has what it has.
    } else {
        set(spec, new.field, new.value.clone());
    }
}

fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    let mut parts = field.split('.');
    parts.try_fold(object, |place, part| place.get(part))
}

/// Whether two values of a field say the same: quantities are written in many ways.
fn same(one: &Value, other: &Value) -> bool {
    let bytes = |value: &Value| match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => parse_bytes(text),
        _ => None,
    };
    let within = |items: &[Value], more: &[Value]| {
        let mut more = more.iter();
        more.all(|new| items.iter().any(|item| has(item, new)))
    };
    if let (Value::Array(there), Value::Array(new)) = (one, other) {
        return within(there, new);
    }
    one == other || (bytes(one).is_some() && bytes(one) == bytes(other))
}

/// Whether a spec says all of this already, whoever said it.
pub fn holds(spec: &Value, sets: &[Set]) -> bool {
    sets.iter()
        .all(|set| get(spec, set.field).is_some_and(|there| same(there, &set.value)))
}

/// What is to be applied to an object beside the fields of its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside<'a> {
    /// Annotations, by name.
    pub annotations: BTreeMap<&'static str, &'a str>,
    /// Finalizers.
    pub finalizers: Vec<&'static str>,
}

/// The whole that is to be applied: what this manager had, and what is new. What the object says already and somebody
/// else manages stays theirs alone.
pub fn applied(object: &Value, sets: &[Set], beside: &Beside<'_>) -> Value {
    let before = own(object);
    let there = object.get("spec").unwrap_or(&Value::Null);
    let mut spec = before.get("spec").cloned().unwrap_or_else(|| json!({}));
    for new in sets {
        let theirs = get(&spec, new.field).is_none();
        let said = get(there, new.field).is_some_and(|there| same(there, &new.value));
        if !(theirs && said) {
            put(&mut spec, new);
        }
    }
    let of = |part: &str| before.pointer(&format!("/metadata/{part}")).cloned();
    let mut annotations = of("annotations").unwrap_or_else(|| json!({}));
    for (name, value) in &beside.annotations {
        place(&mut annotations, &[name], json!(value));
    }
    let mut finalizers = of("finalizers").unwrap_or_else(|| json!([]));
    merge(&mut finalizers, json!(beside.finalizers));
    let mut metadata = json!({"annotations": annotations});
    for part in ["name", "namespace", "uid", "resourceVersion"] {
        if let Some(value) = object.pointer(&format!("/metadata/{part}")) {
            place(&mut metadata, &[part], value.clone());
        }
    }
    if let Some(labels) = of("labels") {
        place(&mut metadata, &["labels"], labels);
    }
    if finalizers != json!([]) {
        place(&mut metadata, &["finalizers"], finalizers);
    }
    json!({"apiVersion": API_VERSION, "kind": "CephPool", "metadata": metadata, "spec": spec})
}

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The field, such as `.spec.quota.maxBytes`.
    pub field: String,
    /// Who.
    pub manager: String,
}

/// The fields that others manage, where that is why the API server refused an apply.
pub fn owned(status: &Status) -> Vec<Owned> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            // `conflict with "kubectl" using poolwright.dev/v1alpha1`
            let manager = cause.message.split('"').nth(1);
            Owned {
                field: cause.field.clone(),
                manager: manager.unwrap_or(&cause.message).to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        json!({
            "metadata": {
                "name": "foo", "namespace": "a", "uid": "u", "resourceVersion": "7",
                "annotations": {"poolwright.dev/request-id": "1", "theirs": "x"},
                "finalizers": ["poolwright.dev/pool", "theirs"],
                "managedFields": [
                    {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:spec": {
                        "f:quota": {"f:maxObjects": {}}, "f:type": {}}}},
                    {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {
                        "f:metadata": {
                            "f:annotations": {"f:poolwright.dev/request-id": {}},
                            "f:finalizers": {"v:\"poolwright.dev/pool\"": {}}},
                        "f:spec": {
                            "f:quota": {"f:maxBytes": {}},
                            "f:replicated": {".": {}, "f:size": {}},
                            "f:applications": {"k:{\"name\":\"rbd\"}": {".": {}, "f:name": {}}}}}},
                    {"manager": FIELD_MANAGER, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
                ],
            },
            "spec": {
                "type": "Replicated", "quota": {"maxBytes": "1Gi", "maxObjects": 9}, "replicated": {"size": 3},
                "applications": [{"name": "cephfs"}, {"name": "rbd", "metadata": {"a": "b"}}],
            },
            "status": {"poolId": 7},
        })
    }

    fn set_of(field: &'static str, value: Value) -> Set {
        Set {
            attribute: "x",
            field,
            value,
        }
    }

    /// What is this manager's is taken out of the object, with nothing of anybody else's.
    #[test]
    fn our_part() {
        assert_eq!(
            own(&object()),
            json!({
                "metadata": {
                    "annotations": {"poolwright.dev/request-id": "1"}, "finalizers": ["poolwright.dev/pool"]},
                "spec": {"quota": {"maxBytes": "1Gi"}, "replicated": {"size": 3}, "applications": [{"name": "rbd"}]},
            })
        );
        assert_eq!(own(&json!({"metadata": {"managedFields": []}})), json!({}));
    }

    /// Nothing that was applied before is left out, what is new is in, and what others said already stays theirs.
    #[test]
    fn with_a_change() {
        let beside = Beside {
            annotations: [("poolwright.dev/request-id", "2")].into(),
            finalizers: vec!["poolwright.dev/pool"],
        };
        let sets = [
            set_of("quota.maxObjects", json!(9)),
            set_of("replicated.size", json!(2)),
            set_of("placementGroups.count", json!(8)),
        ];
        let all = applied(&object(), &sets, &beside);
        assert_eq!(
            all["spec"],
            json!({"quota": {"maxBytes": "1Gi"}, "replicated": {"size": 2}, "applications": [{"name": "rbd"}],
                "placementGroups": {"count": 8}})
        );
        assert_eq!(
            all["metadata"],
            json!({"name": "foo", "namespace": "a", "uid": "u", "resourceVersion": "7",
                "annotations": {"poolwright.dev/request-id": "2"}, "finalizers": ["poolwright.dev/pool"]})
        );
        // Another value than somebody else's is asked for, and the API server says whose it is.
        let all = applied(&object(), &[set_of("quota.maxObjects", json!(8))], &beside);
        assert_eq!(
            all["spec"]["quota"],
            json!({"maxBytes": "1Gi", "maxObjects": 8})
        );
    }

    /// The same quantity in other words is no change.
    #[test]
    fn said_already() {
        let spec = &object()["spec"];
        assert!(holds(
            spec,
            &[
                set_of("quota.maxBytes", json!(1_i64 << 30)),
                set_of("quota.maxObjects", json!(9))
            ]
        ));
        assert!(!holds(spec, &[set_of("quota.maxBytes", json!(1))]));
        assert!(!holds(spec, &[set_of("crush.rule", json!("x"))]));
    }

    /// What a creation made is taken for applied, once; the status is not touched by it.
    #[test]
    fn creations() {
        assert_eq!(as_applied(&object()), None);
        let mut made = object();
        made["metadata"]["managedFields"][1]["operation"] = json!("Update");
        let fields = as_applied(&made).expect("a creation");
        assert_eq!(fields, object()["metadata"]["managedFields"]);
    }

    /// Who has a field is read off the API server's answer.
    #[test]
    fn others() {
        let status: Status = serde_json::from_value(json!({
            "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [{
                "reason": "FieldManagerConflict", "field": ".spec.quota.maxBytes",
                "message": "conflict with \"kubectl-client-side-apply\" using poolwright.dev/v1alpha1"}]},
        }))
        .expect("a Status");
        assert_eq!(
            owned(&status),
            [Owned {
                field: ".spec.quota.maxBytes".into(),
                manager: "kubectl-client-side-apply".into(),
            }]
        );
    }
}
