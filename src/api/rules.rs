//! Every rule that types and bounds cannot say, one row each: the CEL for the API server, the same in Rust for everybody
//! else, and the one sentence both answer with.
//!
//! A test evaluates both sides of every row on the same manifests, so they cannot part.

mod connection;
mod pool;
mod pool_settings;
mod request;
mod texts;

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::Value;

use super::crd::Kind;

/// The Rust side of a rule, on values whose types and bounds have been checked and whose defaults are filled in.
pub enum Check {
    /// Whether a value may be as it is (`self`).
    Value(Holds),
    /// Whether a value may become another (`oldSelf`, `self`); of no concern to a new object.
    Change(fn(&Value, &Value) -> bool),
}

/// Whether a value may be as it is.
pub type Holds = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// Whether a text can be a request ID: a UUID of version 4 in lower case.
#[must_use]
pub fn is_request_id(text: &str) -> bool {
    texts::is_uuid(text, Some('4')) && !text.contains(|c: char| c.is_ascii_uppercase())
}

/// One row.
pub struct Rule {
    /// The node of the schema that is `self`: names, `[]` for the items of a list, `{}` for the values of a map, joined
    /// by dots. Empty is the object.
    pub at: &'static str,
    /// The field below it that is at fault, such as `minSize`, if it is not the node itself.
    pub field: Option<&'static str>,
    /// The rule for the API server.
    pub cel: Cow<'static, str>,
    /// What a user is told.
    pub sentence: Cow<'static, str>,
    /// The rule in Rust.
    pub check: Check,
}

impl Rule {
    /// A rule about a value.
    fn new(
        at: &'static str,
        cel: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
        holds: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            at,
            field: None,
            cel: cel.into(),
            sentence: sentence.into(),
            check: Check::Value(Box::new(holds)),
        }
    }

    /// A rule about a change.
    fn change(
        at: &'static str,
        cel: impl Into<Cow<'static, str>>,
        sentence: &'static str,
        holds: fn(&Value, &Value) -> bool,
    ) -> Self {
        Self {
            at,
            field: None,
            cel: cel.into(),
            sentence: sentence.into(),
            check: Check::Change(holds),
        }
    }

    /// The same rule, blaming a field below its node.
    fn blames(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }
}

/// The rules of a kind.
#[must_use]
pub fn of(kind: Kind) -> &'static [Rule] {
    static CONNECTION: LazyLock<Vec<Rule>> = LazyLock::new(connection::rules);
    static POOL: LazyLock<Vec<Rule>> = LazyLock::new(pool::rules);
    static REQUEST: LazyLock<Vec<Rule>> = LazyLock::new(request::rules);
    match kind {
        Kind::ClusterConnection => &CONNECTION,
        Kind::CephPool => &POOL,
        Kind::CephRequest => &REQUEST,
    }
}

/// Every value of an object that a rule's `at` names, with its path as the API server writes it.
#[must_use]
pub fn nodes<'a>(object: &'a Value, at: &str) -> Vec<(String, &'a Value)> {
    let mut found = vec![(String::new(), object)];
    for step in at.split('.').filter(|step| !step.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|(path, value)| below(&path, value, step))
            .collect();
    }
    found
}

/// The values one step below a value.
fn below<'a>(path: &str, value: &'a Value, step: &str) -> Vec<(String, &'a Value)> {
    match (step, value) {
        ("[]", Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (format!("{path}[{index}]"), item))
            .collect(),
        ("{}", Value::Object(map)) => map
            .iter()
            .map(|(key, item)| (format!("{path}[{key}]"), item))
            .collect(),
        (name, Value::Object(map)) => map
            .get(name)
            .map(|item| (join(path, name), item))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// A path and a field below it.
pub(super) fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// Whether a field is there.
fn has(value: &Value, field: &str) -> bool {
    value.get(field).is_some()
}

/// A field that is a text.
fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// A field that is an integer.
fn int(value: &Value, field: &str) -> Option<i64> {
    value.get(field)?.as_i64()
}

/// Whether a field is a true boolean.
fn on(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a relation holds between two values, or one of them is not there.
fn unless_both<A, B>(a: Option<A>, b: Option<B>, holds: impl Fn(A, B) -> bool) -> bool {
    a.zip(b).is_none_or(|(a, b)| holds(a, b))
}

/// The keys of a map.
fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
}
