//! The API server's verdict without an API server: unknown fields, types, bounds and rules, in its own words.
//!
//! Used where nobody has asked an API server yet (`plan`, `apply`, the REST shim), and by the controller before it trusts
//! a spec: the CustomResourceDefinition in the cluster may be older or newer than the controller.
//!
//! Everything comes from the generated schema and the one table of rules, so nothing is said twice.

mod metadata;
mod schema;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::crd::Kind;
use super::rules::{self, Check};
use super::v1alpha1::{CephPool, CephRequest, ClusterConnection};

/// How an API server begins to say that there is no such field.
const UNKNOWN_FIELD: &str = "unknown field";

/// Something that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// The field, such as `spec.replicated.size` or `spec.applications[1].name`; empty for the whole object.
    pub field: String,
    /// What is wrong with it, in a sentence.
    pub message: String,
}

impl Problem {
    /// A problem with a field.
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    /// That there is no such field.
    fn unknown_field(path: &str) -> Self {
        Self::new(path, format!("{UNKNOWN_FIELD} \"{path}\""))
    }

    /// Whether it is that there is no such field.
    fn is_unknown_field(&self) -> bool {
        self.message.starts_with(UNKNOWN_FIELD)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Checks an object of any kind of the group, as it stands in a manifest.
pub fn validate(object: &Value) -> Result<Kind, Vec<Problem>> {
    let kind = Kind::of(object).ok_or_else(|| vec![metadata::unknown_kind(object)])?;
    complete(kind, object).map(|_| kind)
}

/// Checks a `CephPool` as it stands in a manifest.
pub fn validate_pool(object: &Value) -> Result<(), Vec<Problem>> {
    complete(Kind::CephPool, object).map(drop)
}

/// Checks a `ClusterConnection` as it stands in a manifest.
pub fn validate_connection(object: &Value) -> Result<(), Vec<Problem>> {
    complete(Kind::ClusterConnection, object).map(drop)
}

/// Checks the change from one object to another of the same kind and name: the new object for itself, and then what
/// cannot be changed.
pub fn validate_update(old: &Value, new: &Value) -> Result<Kind, Vec<Problem>> {
    let kind = Kind::of(new).ok_or_else(|| vec![metadata::unknown_kind(new)])?;
    let complete_new = complete(kind, new)?;
    // What is stored was accepted once, perhaps by older rules: it is only completed, not judged.
    let complete_old = schema::defaulted(kind.schema(), old);
    none_or_all(broken_rules(kind, &complete_new, Some(&complete_old))).map(|()| kind)
}

/// Checks and reads a `CephPool` as it stands in a manifest, with its defaults filled in.
pub fn decode_pool(object: &Value) -> Result<CephPool, Vec<Problem>> {
    decode(Kind::CephPool, object)
}

/// Checks and reads a `ClusterConnection` as it stands in a manifest, with its defaults filled in.
pub fn decode_connection(object: &Value) -> Result<ClusterConnection, Vec<Problem>> {
    decode(Kind::ClusterConnection, object)
}

/// Checks and reads a `CephRequest` as it stands in a manifest, with its defaults filled in.
pub fn decode_request(object: &Value) -> Result<CephRequest, Vec<Problem>> {
    decode(Kind::CephRequest, object)
}

/// Checks a `CephPool` that has been read already.
pub fn check_pool(pool: &CephPool) -> Result<(), Vec<Problem>> {
    check(Kind::CephPool, pool)
}

/// Checks a `ClusterConnection` that has been read already.
pub fn check_connection(connection: &ClusterConnection) -> Result<(), Vec<Problem>> {
    check(Kind::ClusterConnection, connection)
}

/// Checks an object that has been read already.
fn check(kind: Kind, object: &impl serde::Serialize) -> Result<(), Vec<Problem>> {
    let object =
        serde_json::to_value(object).map_err(|error| vec![Problem::new("", error.to_string())])?;
    complete(kind, &object).map(drop)
}

/// Checks and reads an object.
fn decode<T: DeserializeOwned>(kind: Kind, object: &Value) -> Result<T, Vec<Problem>> {
    let object = complete(kind, object)?;
    serde_json::from_value(object).map_err(|error| vec![Problem::new("", error.to_string())])
}

/// Checks an object and fills in its defaults. As in an API server, the rules are asked only about an object whose
/// fields have the right types and bounds.
fn complete(kind: Kind, object: &Value) -> Result<Value, Vec<Problem>> {
    let object = completed(kind, object)?;
    none_or_all(broken_rules(kind, &object, None))?;
    Ok(object)
}

/// Checks the fields of an object, their types and bounds, and fills in its defaults: what an API server does before it
/// asks the rules. The status is left out; it has its own door.
pub fn completed(kind: Kind, object: &Value) -> Result<Value, Vec<Problem>> {
    let mut problems = metadata::problems(kind, object);
    let mut object = schema::defaulted(kind.schema(), object);
    problems.extend(schema::problems(kind.schema(), &object));
    // Here an API server ignores the status, apart from fields it does not know.
    problems.retain(|problem| !problem.field.starts_with("status") || problem.is_unknown_field());
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    none_or_all(problems)?;
    Ok(object)
}

/// The rules that an object breaks by itself or, where the old object is given, by what it changes.
fn broken_rules(kind: Kind, object: &Value, old: Option<&Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in rules::of(kind) {
        let broken: Vec<String> = match (&rule.check, old) {
            (Check::Value(holds), None) => {
                let broken = rules::nodes(object, rule.at)
                    .into_iter()
                    .filter(|(_, value)| !holds(value));
                broken.map(|(path, _)| path).collect()
            }
            (Check::Change(holds), Some(old)) => {
                let pairs = rules::nodes(old, rule.at)
                    .into_iter()
                    .zip(rules::nodes(object, rule.at));
                pairs
                    .filter(|((_, old), (_, new))| !holds(old, new))
                    .map(|(_, (path, _))| path)
                    .collect()
            }
            (Check::Value(_), Some(_)) | (Check::Change(_), None) => Vec::new(),
        };
        problems.extend(broken.into_iter().map(|path| {
            let field = rule
                .field
                .map_or_else(|| path.clone(), |field| rules::join(&path, field));
            Problem::new(field, rule.sentence.as_ref())
        }));
    }
    problems
}

/// Nothing, if there is no problem.
fn none_or_all(problems: Vec<Problem>) -> Result<(), Vec<Problem>> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}
