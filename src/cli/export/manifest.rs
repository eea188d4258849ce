//! The manifest of a pool that is there. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::v1alpha1::RESERVED_KEY_PREFIX;
use crate::api::validate;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings::{self, Form, SETTINGS, Setting, Value as Held};

/// What the manifests say besides the pool.
pub(super) struct Target<'a> {
    /// The ClusterConnection.
    pub(super) connection: &'a str,
    /// The namespace, where there is one.
    pub(super) namespace: Option<&'a str>,
}

/// A manifest, and what it does not say.
pub(super) struct Exported {
    /// The `CephPool`.
    pub(super) manifest: Value,
    /// A sentence for each thing that was left out.
    pub(super) notes: Vec<String>,
}

/// The longest name of a `CephPool`.
const LONGEST: usize = 63;

/// Writes down a pool as it is; an error says why that cannot be done.
///
/// `rule` is the name of its CRUSH rule, where that is known, and `taken` are the names of the objects so far.
pub(super) fn of_pool(
    pool: &Pool,
    rule: Option<&str>,
    target: &Target<'_>,
    taken: &mut BTreeSet<String>,
) -> Result<Exported, String> {
    let pool_name = pool.name.as_str();
    if pool_name.starts_with('.') {
        return Err("pools whose names begin with a dot are Ceph's own".to_owned());
    }
    if pool.name.is_private() {
        return Err("it is a pool that Poolwright is making or removing".to_owned());
    }
    if pool.applications.is_empty() {
        return Err(
            "it has no application, which carries the mark of its owner; enable one first, such as with `ceph osd \
             pool application enable`"
                .to_owned(),
        );
    }
    let mut notes = Vec::new();
    let mut spec = json!({
        "connectionRef": {"name": target.connection},
        "adoptionPolicy": "IfUnowned",
    });
    let (kind, block, known) = match pool.kind {
        PoolKind::Replicated => ("Replicated", "replicated", json!({})),
        // By its name: another one with the same in it would be another profile.
        PoolKind::Erasure => (
            "ErasureCoded",
            "erasureCoded",
            json!({"profile": pool.erasure_code_profile}),
        ),
    };
    put(&mut spec, &["type"], json!(kind));
    put(&mut spec, &[block], known);
    for row in SETTINGS {
        if let Some(value) = shown(row, pool, &mut notes) {
            put(&mut spec, &path(row), value);
        }
    }
    // Of an erasure-coded pool it goes with the profile.
    if let (PoolKind::Replicated, Some(rule)) = (pool.kind, rule) {
        if is_word(rule, "") {
            put(&mut spec, &["crush", "rule"], json!(rule));
        } else {
            notes.push(format!(
                "its CRUSH rule {rule:?} is left out: the name has characters that a manifest cannot have"
            ));
        }
    }
    applications(pool, &mut spec, &mut notes);
    let name = object_name(pool_name, taken);
    if name != pool_name {
        put(&mut spec, &["poolName"], json!(pool_name));
    }
    let mut metadata = json!({"name": name});
    if let Some(namespace) = target.namespace {
        put(&mut metadata, &["namespace"], json!(namespace));
    }
    let manifest = json!({
        "apiVersion": "poolwright.dev/v1alpha1",
        "kind": "CephPool",
        "metadata": metadata,
        "spec": spec,
    });
    match validate::validate(&manifest) {
        Ok(_) => {
            taken.insert(name);
            Ok(Exported { manifest, notes })
        }
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(problems.join("; "))
        }
    }
}

/// What a manifest says of a row; nothing where the pool has Ceph's default, or has what cannot be declared.
fn shown(row: &Setting, pool: &Pool, notes: &mut Vec<String>) -> Option<Value> {
    let scaled = pool.autoscale_mode == "on";
    let on = |other: &Setting| other.observe(pool).is_some() && !other.is_unset(pool);
    let left_out = match row.variable {
        // The number is one field, and the autoscaler's where that is on; a rule goes by its name, which is in another
        // map.
        "pgp_num" | "crush_rule" => true,
        "pg_num" => scaled,
        // Ceph takes the ratio where there are both.
        "target_size_bytes" => on(&settings::TARGET_SIZE_RATIO),
        _ => !row.fits(pool.kind) || row.is_unset(pool),
    };
    if left_out {
        return None;
    }
    let held = row.observe(pool)?;
    let text = held.to_string();
    // A quota and a size in bytes have no word form.
    let readable = row.form == Form::Quota || row.kind.parse(&text).is_some();
    if !readable {
        notes.push(format!(
            "{} {text} is left out: a manifest can have {}",
            row.variable, row.kind
        ));
        return None;
    }
    Some(match held {
        _ if row.parameter().is_some() => json!(text),
        Held::Integer(number) => json!(number),
        Held::Double(_) => json!(text),
        Held::Word(word) if row.variable == settings::AUTOSCALE_MODE.variable => {
            json!(match word.as_str() {
                "on" => "Enabled",
                "warn" => "Warn",
                _ => "Disabled",
            })
        }
        Held::Word(word) => json!(word),
        Held::Flag(on) => json!(on),
    })
}

/// Where a row stands in a spec.
fn path(row: &Setting) -> Vec<&'static str> {
    match row.parameter() {
        Some(name) => vec!["parameters", name],
        None if row.field == settings::SIZE.field => vec!["replicated", "size"],
        None => row.field.split('.').collect(),
    }
}

fn put(spec: &mut Value, path: &[&str], value: Value) {
    let place = path.iter().fold(spec, |within, step| {
        if !within.is_object() {
            *within = Value::Object(Map::new());
        }
        &mut within[*step]
    });
    *place = value;
}

/// Whether a manifest can have a name or value: what is in it besides letters and digits is as listed.
fn is_word(text: &str, more: &str) -> bool {
    text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c) || more.contains(c))
}

/// Applications with the keys that can be declared; marks and other reserved keys are not anybody's to copy.
fn applications(pool: &Pool, spec: &mut Value, notes: &mut Vec<String>) {
    let mut listed = Vec::new();
    for (application, keys) in &pool.applications {
        if application.is_empty() || !is_word(application, "") {
            notes.push(format!(
                "application {application:?} is left out: its name has characters that a manifest cannot have"
            ));
            continue;
        }
        let mut metadata = Map::new();
        for (key, value) in keys {
            if key.starts_with(RESERVED_KEY_PREFIX) {
                if key == RESERVED_KEY_PREFIX {
                    notes.push("it has the mark of an object that keeps it already".to_owned());
                }
            } else if !key.is_empty() && is_word(key, "") && is_word(value, "+=:/@") {
                metadata.insert(key.clone(), json!(value));
            } else {
                notes.push(format!(
                    "key {key:?} of application {application} is left out: it or its value has characters that a \
                     manifest cannot have"
                ));
            }
        }
        let mut entry = json!({"name": application});
        if !metadata.is_empty() {
            put(&mut entry, &["metadata"], Value::Object(metadata));
        }
        listed.push(entry);
    }
    if !listed.is_empty() {
        spec["applications"] = Value::Array(listed);
    }
}

/// A readable object name for a pool: the pool's own where that is one, else what is left of it and a hash of all of it,
/// so that two pools never share one.
fn object_name(pool: &str, taken: &BTreeSet<String>) -> String {
    let plain: String = pool
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '-' || c == '.' => c,
            _ => '-',
        })
        .collect();
    let trimmed = plain.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_one = trimmed == pool && pool.len() <= LONGEST && !pool.contains("..");
    if is_one && !taken.contains(pool) {
        return pool.to_owned();
    }
    let hash = Sha256::digest(pool.as_bytes());
    let hash = hash.iter().take(4).fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let readable: String = trimmed
        .replace('.', "-")
        .chars()
        .take(LONGEST - 9)
        .collect();
    match readable.trim_end_matches('-') {
        "" => format!("pool-{hash}"),
        readable => format!("{readable}-{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Good names stay, others are made readable and unique, all within what Kubernetes takes.
    #[test]
    fn names_of_objects() {
        let none = BTreeSet::new();
        assert_eq!(object_name("vm-images", &none), "vm-images");
        assert_eq!(object_name("default.rgw.log", &none), "default.rgw.log");
        let mut seen = BTreeSet::new();
        for pool in [
            "VM",
            "vm ",
            "Müller & Söhne",
            "資料",
            "-",
            "a..b",
            &"x".repeat(80),
        ] {
            let name = object_name(pool, &none);
            assert!(name.len() <= LONGEST, "{name}");
            let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(sound), "{name}");
            assert!(
                name.starts_with(|c: char| c.is_ascii_alphanumeric()),
                "{name}"
            );
            assert!(seen.insert(name.clone()), "{name} twice");
        }
        let taken = BTreeSet::from(["vm".to_owned()]);
        assert!(object_name("vm", &taken).starts_with("vm-"));
    }
}
