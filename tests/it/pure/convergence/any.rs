//! Any spec, any part of it, and anything that somebody may type at a pool.

use poolwright::api::validate;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

/// Fields by their path, each there or not.
fn any_fields() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let power = || (0..8_u32).prop_map(|power| json!(2_i64.pow(power)));
    let flag = || any::<bool>().prop_map(Value::from);
    let decimal = || select(vec!["0.1", "0.25", "1.5", "3"]).prop_map(Value::from);
    let parts: Vec<(&'static str, BoxedStrategy<Value>)> = vec![
        (
            "replicated.size",
            select(vec![1, 2, 2, 3, 3, 4, 5])
                .prop_map(Value::from)
                .boxed(),
        ),
        ("minSize", (1..=4).prop_map(Value::from).boxed()),
        (
            "placementGroups.autoscale",
            select(vec!["Enabled", "Disabled", "Warn"])
                .prop_map(Value::from)
                .boxed(),
        ),
        ("placementGroups.count", power().boxed()),
        ("placementGroups.min", power().boxed()),
        ("placementGroups.max", power().boxed()),
        ("placementGroups.bias", decimal().boxed()),
        ("placementGroups.targetSizeRatio", decimal().boxed()),
        (
            "placementGroups.targetSizeBytes",
            select(vec!["1Gi", "2Ti", "0"])
                .prop_map(Value::from)
                .boxed(),
        ),
        ("placementGroups.bulk", flag().boxed()),
        (
            "quota.maxBytes",
            select(vec!["0", "1Gi", "1Ti"])
                .prop_map(Value::from)
                .boxed(),
        ),
        ("quota.maxObjects", (0..3).prop_map(Value::from).boxed()),
        ("flags.noScrub", flag().boxed()),
        ("flags.noDeepScrub", flag().boxed()),
        ("flags.noSizeChange", flag().boxed()),
        ("flags.noPgChange", flag().boxed()),
        ("flags.noDelete", flag().boxed()),
    ];
    parts
        .into_iter()
        .map(|(path, value)| proptest::option::of(value).prop_map(move |value| (path, value)))
        .collect::<Vec<_>>()
        .prop_map(|fields| {
            fields
                .into_iter()
                .filter_map(|(path, value)| Some((path, value?)))
                .collect()
        })
}

fn any_applications() -> impl Strategy<Value = Value> {
    let keys = subsequence(vec!["a", "b", "c"], 0..=3);
    let application = (keys, "[xyz]").prop_map(|(keys, value)| {
        keys.into_iter()
            .map(|key| (key.to_owned(), json!(value)))
            .collect::<Map<_, _>>()
    });
    (
        subsequence(vec!["cephfs", "rbd", "rgw"], 1..=3),
        proptest::collection::vec(application, 3),
    )
        .prop_map(|(names, keys)| {
            names
                .iter()
                .zip(keys)
                .map(|(name, keys)| json!({"name": name, "metadata": keys}))
                .collect()
        })
}

/// The fields of a valid spec.
pub(super) fn any_spec() -> impl Strategy<Value = Value> {
    (any_fields(), any_applications()).prop_filter_map("not valid", |(fields, applications)| {
        let spec = assembled(&fields, &applications);
        is_valid(&spec).then_some(spec)
    })
}

/// One that is not refused for its sizes.
pub(super) fn any_safe_spec() -> impl Strategy<Value = Value> {
    any_spec().prop_filter("not safe", |spec| {
        spec["replicated"]["size"] != json!(1) && spec["minSize"] != json!(1)
    })
}

fn assembled(fields: &[(&str, Value)], applications: &Value) -> Value {
    let mut spec = json!({"applications": applications});
    for (path, value) in fields {
        match path.split_once('.') {
            Some((block, field)) => spec[block][field] = value.clone(),
            None => spec[path] = value.clone(),
        }
    }
    spec
}

pub(super) fn is_valid(fields: &Value) -> bool {
    let mut spec =
        json!({"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {}});
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1",
        "kind": "CephPool",
        "metadata": {"name": "foopool", "namespace": "team-a"},
        "spec": spec,
    });
    validate::validate_pool(&object).is_ok()
}

/// The same with a part of its fields.
pub(super) fn part_of(spec: &Value, keep: &[bool]) -> Value {
    let mut keep = keep.iter().copied().cycle();
    let mut part = Map::new();
    for (name, value) in spec.as_object().unwrap() {
        if name == "applications" {
            part.insert(name.clone(), value.clone());
            continue;
        }
        match value.as_object() {
            Some(fields) => {
                let fields: Map<_, _> = fields
                    .clone()
                    .into_iter()
                    .filter(|_| keep.next().unwrap_or_default())
                    .collect();
                part.insert(name.clone(), fields.into());
            }
            None if keep.next().unwrap_or_default() => {
                part.insert(name.clone(), value.clone());
            }
            None => {}
        }
    }
    part.into()
}

/// What somebody types at the pool.
pub(super) fn any_edit() -> impl Strategy<Value = MonCommand> {
    let pool = PoolName::new("foopool");
    let set = |pool: PoolName, variable: &'static str, values: Vec<&'static str>| {
        select(values).prop_map(move |value| MonCommand::PoolSet {
            pool: pool.clone(),
            variable: variable.into(),
            value: value.into(),
        })
    };
    let numbers = vec!["1", "2", "4", "16", "32", "64", "128"];
    let on_off = vec!["true", "false"];
    let key = select(vec!["a", "b", "poolwright", "poolwright.object"]);
    let removed = pool.clone();
    let quota = pool.clone();
    prop_oneof![
        set(pool.clone(), "size", vec!["2", "3", "4"]),
        set(pool.clone(), "min_size", vec!["1", "2", "3"]),
        set(pool.clone(), "pg_num", numbers.clone()),
        set(pool.clone(), "pgp_num", numbers.clone()),
        set(pool.clone(), "pg_num_min", numbers.clone()),
        set(pool.clone(), "pg_num_max", numbers),
        set(pool.clone(), "pg_autoscale_mode", vec!["on", "off", "warn"]),
        set(pool.clone(), "pg_autoscale_bias", vec!["0", "2.5"]),
        set(pool.clone(), "target_size_ratio", vec!["0", "0.7"]),
        set(pool.clone(), "nosizechange", on_off.clone()),
        set(pool.clone(), "nopgchange", on_off.clone()),
        set(pool.clone(), "nodelete", on_off.clone()),
        set(pool.clone(), "noscrub", on_off.clone()),
        set(pool.clone(), "bulk", on_off),
        set(pool.clone(), "compression_mode", vec!["force"]),
        select(vec!["0", "7"]).prop_map(move |value| MonCommand::PoolSetQuota {
            pool: quota.clone(),
            field: "max_bytes".into(),
            value: value.into(),
        }),
        (select(vec!["rbd", "cephfs"]), key).prop_map(move |(application, key)| {
            MonCommand::ApplicationRemove {
                pool: removed.clone(),
                application: application.into(),
                key: key.into(),
            }
        }),
        Just(MonCommand::ApplicationEnable {
            pool,
            application: "theirs".into(),
            confirmed: true,
        }),
    ]
}
