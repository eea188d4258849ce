//! Who may use a connection, and for what: the grants in its spec. Pure.
//!
//! One grant has to cover everything at once: the namespace, the pool's name and the verb. What
//! two grants allow apart they do not allow together.

pub mod contents;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::v1alpha1::{ClusterConnectionSpec, Grant, GrantNamespaces, Verb};
use crate::ceph::types::PoolName;

/// No grant covers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotGranted {
    /// What is missing, and where it has to be added.
    pub message: String,
}

/// Whether CephPools of a namespace may do something with pools of a name.
///
/// A rename asks twice, for the present and for the new name.
pub fn permits(
    spec: &ClusterConnectionSpec,
    namespace: &str,
    namespace_labels: &BTreeMap<String, String>,
    pool_name: &PoolName,
    verb: Verb,
) -> Result<(), NotGranted> {
    let name = pool_name.as_str();
    let here: Vec<&Grant> = spec
        .grants
        .iter()
        .filter(|grant| covers_namespace(&grant.namespaces, namespace, namespace_labels))
        .collect();
    let named: Vec<&Grant> = here
        .iter()
        .copied()
        .filter(|grant| covers_name(&grant.pool_names, name))
        .collect();
    if named.iter().any(|grant| grant.allow.contains(&verb)) {
        return Ok(());
    }
    let message = if spec.grants.is_empty() {
        format!(
            "the connection grants nothing to anybody; add a grant to spec.grants of the ClusterConnection \
             whose namespaces cover {namespace:?}, whose poolNames cover {name:?} and whose allow has {verb:?}"
        )
    } else if here.is_empty() {
        format!(
            "no grant covers namespace {namespace:?}; add it to namespaces of one of the grants {} in spec.grants \
             of the ClusterConnection, or add a grant",
            list(spec.grants.iter())
        )
    } else if named.is_empty() {
        let (literally, why) = if name.starts_with('.') {
            (
                format!("{name:?} literally"),
                ": `*` does not match names that begin with a dot",
            )
        } else {
            ("it".to_owned(), "")
        };
        format!(
            "no grant for namespace {namespace:?} covers the pool name {name:?}; add {literally} to poolNames \
             of {} in spec.grants of the ClusterConnection{why}",
            list(here.into_iter())
        )
    } else {
        format!(
            "no grant allows {verb:?} to namespace {namespace:?} for pool {name:?}; add {verb:?} to allow \
             of {} in spec.grants of the ClusterConnection",
            list(named.into_iter())
        )
    };
    Err(NotGranted { message })
}

/// The grants' names as `"a" or "b"`.
fn list<'a>(grants: impl Iterator<Item = &'a Grant>) -> String {
    let names: Vec<String> = grants.map(|grant| format!("{:?}", grant.name)).collect();
    names.join(" or ")
}

fn covers_namespace(
    namespaces: &GrantNamespaces,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    namespaces.all
        || namespaces.names.iter().any(|name| name == namespace)
        || namespaces
            .selector
            .as_ref()
            .is_some_and(|selector| selects(selector, labels))
}

/// Whether a selector picks an object with these labels.
///
/// An empty one picks nothing here: who means every namespace has to say `all: true`. So does
/// one with an operator that this program does not know.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let pairs = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let says_something = pairs.clone().next().is_some() || !expressions.is_empty();
    says_something
        && pairs
            .into_iter()
            .all(|(key, value)| labels.get(key) == Some(value))
        && expressions
            .iter()
            .all(|requirement| fulfils(requirement, labels))
}

/// One expression, as the API server reads it: `NotIn` also holds where the label is absent.
fn fulfils(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Whether one of the patterns covers the whole name. Names that begin with a dot (`.mgr`,
/// `.rgw.root`) are Ceph's own: only the very name covers them.
fn covers_name(patterns: &[String], name: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern == name || (!name.starts_with('.') && matches(pattern, name)))
}

/// Anchored match of `*` (any text) and `?` (any one character).
///
/// Goes back to the last star only, so the time is bounded by the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut rest = pattern.clone();
        match rest.next() {
            Some('*') => {
                retry = Some((rest.clone(), name.clone()));
                pattern = rest;
                continue;
            }
            Some(wanted) => {
                let mut tail = name.clone();
                if tail
                    .next()
                    .is_some_and(|have| wanted == '?' || wanted == have)
                {
                    (pattern, name) = (rest, tail);
                    continue;
                }
            }
            None => {
                if name.clone().next().is_none() {
                    return true;
                }
            }
        }
        // Let the last star take one character more.
        let Some((after_star, mut taken)) = retry else {
            return false;
        };
        if taken.next().is_none() {
            return false;
        }
        (pattern, name) = (after_star.clone(), taken.clone());
        retry = Some((after_star, taken));
    }
}

#[cfg(test)]
mod tests;
