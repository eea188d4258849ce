//! Every row of the settings table on the release at hand: set, read back, drift, only looked at, unset. The cases are
//! made from the table, so a row that is added is tested.

use std::fmt::Write as _;

use futures::stream::{self, StreamExt};
use poolwright::api::v1alpha1::CephPool;
use poolwright::api::yaml::documents;
use poolwright::ceph::osd_map::{OsdMap, Pool, PoolKind, json as map_json};
use poolwright::ceph::settings::{Kind, Removal, SETTINGS, Setting, Shown, Value};
use poolwright::ceph::types::PoolName;
use serde_json::json;

use super::erasure::case as coded_case;
use super::export::poolwright;
use super::steps::{own_connection, status};
use super::support::{Case, LIMIT, condition, holds};

/// How many rows are tried at once.
const AT_ONCE: usize = 8;

/// The columns of the table that is printed.
const HEADER: &str = "row                         release        set       read back   drift       observed    unset   export";

/// What every pool of this test has; a row comes on top.
const BASE: &str = "{replicated: {size: 3}, minSize: 2, applications: [{name: rbd}], \
                    placementGroups: {autoscale: Disabled, count: 8}}";

/// The same of an erasure-coded pool, for the rows that only such a one has.
const CODED_BASE: &str = "{type: ErasureCoded, erasureCoded: {dataChunks: 2, codingChunks: 1}, \
                          crush: {failureDomain: osd}, applications: [{name: rbd}], \
                          placementGroups: {autoscale: Disabled, count: 2}}";

/// The value a manifest gives a row here, and another one that somebody sets by hand.
fn samples(row: &Setting) -> (Value, Value) {
    let integers = |ours, theirs| (Value::Integer(ours), Value::Integer(theirs));
    let words = |ours: &str, theirs: &str| (Value::Word(ours.into()), Value::Word(theirs.into()));
    match row.variable {
        "size" => integers(2, 3),
        "min_size" => integers(3, 1),
        "pg_autoscale_mode" => words("warn", "off"),
        "pg_num" => integers(8, 16),
        "pgp_num" => integers(8, 4),
        "pg_num_min" => integers(4, 2),
        "pg_num_max" => integers(16, 32),
        _ => match row.kind {
            Kind::Integer { least, most } => {
                let ours = most.min(least.max(1) + 2);
                integers(ours, ours - 1)
            }
            Kind::Double { .. } => (Value::Double(0.5), Value::Double(0.25)),
            Kind::Word([first, second, ..]) => words(first, second),
            Kind::Word(_) => panic!("{}: one word is no choice", row.variable),
            Kind::Flag => (Value::Flag(true), Value::Flag(false)),
            Kind::Name => panic!("{}: what it names has to be there", row.variable),
        },
    }
}

/// Where a row stands in a spec.
fn path(row: &Setting) -> String {
    match row.parameter() {
        Some(name) => format!("parameters/{name}"),
        None if row.field == "size" => "replicated/size".to_owned(),
        None => row.field.replace('.', "/"),
    }
}

/// What a pool that has the row is, without it.
fn base(row: &Setting, management: &str) -> serde_json::Value {
    let base = if row.fits(PoolKind::Replicated) {
        BASE
    } else {
        CODED_BASE
    };
    let mut spec: serde_json::Value = serde_yaml::from_str(base).expect("YAML");
    spec["management"] = json!(management);
    spec
}

/// A spec that gives the row this value.
fn spec(row: &Setting, value: &Value, management: &str) -> String {
    let mut spec = base(row, management);
    let written = match value {
        _ if row.parameter().is_some() => json!(value.to_string()),
        Value::Integer(number) => json!(number),
        Value::Double(number) => json!(number.to_string()),
        Value::Word(word) if word == "warn" => json!("Warn"),
        Value::Word(word) => json!(word),
        Value::Flag(on) => json!(on),
    };
    let place = path(row)
        .split('/')
        .fold(&mut spec, |within, step| &mut within[step]);
    *place = written;
    spec.to_string()
}

/// Takes the row out of the manifest, as `kubectl edit` does.
async fn take_out(case: &Case, name: &str, row: &Setting) {
    let patch = json!([{"op": "remove", "path": format!("/spec/{}", path(row))}]).to_string();
    case.kubectl(&["patch", "cpool", name, "--type=json", "-p", &patch])
        .await;
}

async fn map(case: &Case) -> OsdMap {
    map_json::decode(case.dump().await.to_string().as_bytes()).expect("an OSD map")
}

/// Waits until Ceph shows a row so.
async fn until(
    case: &Case,
    name: &str,
    what: &str,
    row: &Setting,
    so: impl Fn(&Setting, &Pool) -> bool,
) {
    let pool_name = PoolName::new(case.pool_name(name));
    case.wait_for(&format!("{}: {what}", row.variable), LIMIT, async || {
        let map = map(case).await;
        let pool = map.pool_named(&pool_name).ok_or("no pool")?;
        holds(so(row, pool), &row.observed_text(pool))
    })
    .await;
}

/// What an export of the pool says of a row is what the manifest said.
async fn exported(case: &Case, name: &str, row: &Setting, value: &Value) {
    let pool = case.pool_name(name);
    let (code, text, said) = poolwright(case, &["export", "--pool", &pool]).await;
    assert_eq!(code, 0, "{said}");
    let manifests = documents(&text).expect("YAML");
    let spec = &manifests.first().expect("a manifest")["spec"];
    let found = path(row)
        .split('/')
        .fold(spec, |within, step| &within[step]);
    let found = found
        .as_str()
        .map_or_else(|| found.to_string(), str::to_owned);
    assert!(
        found.eq_ignore_ascii_case(&value.to_string()),
        "{}: {found} for {value}",
        row.variable
    );
}

fn names_field(object: &CephPool, field: &str) -> bool {
    status(object)
        .drift
        .as_ref()
        .is_some_and(|drift| drift.last_fields.iter().any(|last| last == field))
}

/// All that is claimed of a row.
async fn row(case: &Case, at: usize, row: &Setting) {
    let name = format!("r{at:02}");
    let (ours, theirs) = samples(row);
    let (value, by_hand) = (ours.clone(), theirs.to_string());
    // Set, and read back.
    case.apply(&name, &spec(row, &ours, "Manage")).await;
    case.ready(&name).await;
    until(case, &name, "set", row, |row, pool| row.holds(pool, &value)).await;
    // Changed by hand: put back, and told of.
    case.set(&name, row.variable, &by_hand).await;
    until(case, &name, "put back", row, |row, pool| {
        row.holds(pool, &value)
    })
    .await;
    case.until(&name, "tells what was put back", |object| {
        names_field(object, row.field)
    })
    .await;
    case.ready(&name).await;
    // Only looked at: told of, and left.
    case.apply(&name, &spec(row, &ours, "Observe")).await;
    case.ready(&name).await;
    case.set(&name, row.variable, &by_hand).await;
    let object = case
        .until(&name, "tells the difference", |object| {
            condition(object, "Ready").is_some_and(|ready| ready.1 == "Drifted")
        })
        .await;
    let pending = &status(&object).pending;
    assert!(
        pending.iter().any(|pending| pending.field == row.field),
        "{}: {pending:?}",
        row.variable
    );
    until(case, &name, "left", row, |row, pool| {
        row.holds(pool, &theirs)
    })
    .await;
    // Managed again; then the field leaves the manifest.
    case.apply(&name, &spec(row, &ours, "Manage")).await;
    case.ready(&name).await;
    until(case, &name, "managed again", row, |row, pool| {
        row.holds(pool, &value)
    })
    .await;
    exported(case, &name, row, &value).await;
    take_out(case, &name, row).await;
    case.ready(&name).await;
    until(case, &name, "unset or let go", row, |row, pool| {
        match row.removal {
            Removal::Unset(_) => row.is_unset(pool),
            Removal::Released | Removal::Irreversible => row.holds(pool, &value),
        }
    })
    .await;
    // What Ceph itself calls unset: not there at all.
    let dump = case.its_pool(&name).await;
    match (row.removal, row.shown) {
        (Removal::Unset(_), Shown::Option(key) | Shown::Numbered(key, _)) => {
            assert!(dump["options"].get(key).is_none(), "{}", dump["options"]);
        }
        (Removal::Unset(_), Shown::Flag(flag)) => {
            let flags = dump["flags_names"].as_str().expect("flags");
            assert!(!flags.split(',').any(|set| set == flag), "{flags}");
        }
        _ => {}
    }
}

/// What is claimed of a row that can only be turned on: nobody turns it off, so there is no drift once it is.
async fn one_way(case: &Case, at: usize, row: &Setting) {
    let name = format!("r{at:02}");
    let (on, off) = samples(row);
    let is_on = |row: &Setting, pool: &Pool| row.holds(pool, &on);
    case.apply(&name, &base(row, "Manage").to_string()).await;
    case.ready(&name).await;
    // Only looked at: told of, and left.
    case.apply(&name, &spec(row, &on, "Observe")).await;
    let object = case
        .until(&name, "tells the difference", |object| {
            condition(object, "Ready").is_some_and(|ready| ready.1 == "Drifted")
        })
        .await;
    let pending = &status(&object).pending;
    assert!(
        pending.iter().any(|pending| pending.field == row.field),
        "{}: {pending:?}",
        row.variable
    );
    until(case, &name, "left", row, |row, pool| row.holds(pool, &off)).await;
    // Set on a pool that is there, and read back.
    case.apply(&name, &spec(row, &on, "Manage")).await;
    case.ready(&name).await;
    until(case, &name, "set", row, is_on).await;
    let by_hand = ["osd", "pool", "set", &case.pool_name(&name), row.variable];
    let refused = case
        .cluster()
        .try_ceph(&[&by_hand[..], &["false"]].concat())
        .await;
    assert!(!refused.ok, "{} was turned off", row.variable);
    exported(case, &name, row, &on).await;
    // Nor does the field's leaving turn it off.
    take_out(case, &name, row).await;
    case.ready(&name).await;
    until(case, &name, "let go", row, is_on).await;
}

/// A row that the release lacks is refused by name, with the release that has it.
async fn lacks(case: &Case, at: usize, row: &Setting) {
    let name = format!("r{at:02}");
    let (ours, _) = samples(row);
    case.apply(&name, &spec(row, &ours, "Manage")).await;
    let message = case.stalled(&name, "Unsupported").await;
    let begins = format!("{} came with Ceph {}", row.variable, row.since);
    assert!(message.contains(&begins), "{message}");
}

/// Every row for replicated pools: set, read back, put back, observed, unset.
#[tokio::test(flavor = "multi_thread")]
async fn every_setting_of_replicated_pools() {
    let case = own_connection("matrix").await;
    // Those that can stop a pool's clients are only set where a grant names them.
    let named: Vec<&str> = SETTINGS.iter().filter_map(|row| row.parameter()).collect();
    let grants = json!([{
        "name": "all", "namespaces": {"all": true}, "allow": ["Create", "Update"], "parameters": named,
    }]);
    case.world
        .connect("matrix", case.cluster(), json!({"grants": grants}))
        .await;
    every_row(&case, |row| row.fits(PoolKind::Replicated)).await;
}

/// Every row that only erasure-coded pools have, in the same way; what can only be turned on stays on.
#[tokio::test(flavor = "multi_thread")]
async fn every_setting_of_erasure_coded_pools() {
    let case = coded_case("matrix").await;
    every_row(&case, |row| !row.fits(PoolKind::Replicated)).await;
}

async fn every_row(case: &Case, which: impl Fn(&Setting) -> bool) {
    let release = map(case)
        .await
        .require_osd_release
        .expect("a known release");
    let rows: Vec<(usize, &'static Setting)> = SETTINGS
        .iter()
        .copied()
        .enumerate()
        // The rule is put back with a person's word only: `real::placement` shows it.
        .filter(|(_, row)| which(row) && row.kind != Kind::Name)
        .collect();
    assert!(rows.len() >= 3, "{rows:?}");
    let each = |(at, setting): (usize, &'static Setting)| async move {
        if setting.since > release {
            lacks(case, at, setting).await;
        } else if setting.removal == Removal::Irreversible {
            one_way(case, at, setting).await;
        } else {
            row(case, at, setting).await;
        }
    };
    stream::iter(rows.iter().map(|row| each(*row)))
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
    let mut table = String::new();
    for (_, setting) in rows {
        let (drift, unset) = match setting.removal {
            Removal::Unset(_) => ("put back", "yes"),
            Removal::Released => ("put back", "let go"),
            Removal::Irreversible => ("cannot be", "let go"),
        };
        // What is said here was asserted above.
        let cells = if setting.since > release {
            "not in this release".to_owned()
        } else {
            format!(
                "{:10}{:12}{drift:12}{:12}{unset:8}{}",
                "yes", "yes", "left", "yes"
            )
        };
        let _ = writeln!(
            table,
            "{:28}{:15}{cells}",
            setting.variable,
            release.to_string()
        );
    }
    println!("{HEADER}\n{table}");
    // Where somebody collects the tables of several releases.
    if let Ok(folder) = std::env::var("POOLWRIGHT_TABLES") {
        let file = format!("{folder}/{}", case.namespace);
        std::fs::write(&file, table).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}
