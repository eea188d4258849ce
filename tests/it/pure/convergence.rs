//! Whatever is asked for, and whatever others do meanwhile: plans come to an end, touch nothing
//! that is not the object's, and end where the manifest says.

use poolwright::api::v1alpha1::CephPoolSpec;
use poolwright::api::validate;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::{OptionValue, Pool};
use poolwright::ceph::types::{PoolId, PoolName};
use poolwright::request::preview::MAX_ROUNDS;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::support::*;

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
fn any_spec() -> impl Strategy<Value = Value> {
    (any_fields(), any_applications()).prop_filter_map("not valid", |(fields, applications)| {
        let spec = assembled(&fields, &applications);
        is_valid(&spec).then_some(spec)
    })
}

/// One that is not refused for its sizes.
fn any_safe_spec() -> impl Strategy<Value = Value> {
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

fn is_valid(fields: &Value) -> bool {
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
fn part_of(spec: &Value, keep: &[bool]) -> Value {
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
fn any_edit() -> impl Strategy<Value = MonCommand> {
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

/// A cluster with pools of others in it, one of them with a private name.
fn among_others() -> Bench {
    let mut bench = Bench::new();
    for name in ["barpool", "foopool2", "foopool.poolwright-new-deadbeef"] {
        foreign(&mut bench.cluster, name);
    }
    bench
}

fn others(bench: &Bench, ours: Option<PoolId>) -> Vec<Pool> {
    let pools = bench.cluster.map().pools.values();
    pools
        .filter(|pool| Some(pool.id) != ours)
        .map(|pool| (**pool).clone())
        .collect()
}

fn ours(bench: &Bench) -> Option<PoolId> {
    bench.record.identity.as_ref().map(|identity| identity.id)
}

/// Applies a spec, and checks what holds of every end.
fn settled(bench: &mut Bench, fields: &Value) -> Result<Ran, TestCaseError> {
    let spec = object(fields).spec;
    let ran = bench.apply_spec(&spec);
    prop_assert!(
        ran.ended && ran.rounds.len() <= MAX_ROUNDS,
        "{}",
        ran.text()
    );
    for (command, words) in &ran.rejected {
        prop_assert!(
            may_be_refused(command, &spec),
            "{}: {words}",
            command.to_line()
        );
    }
    // The same again sends nothing more, but for the lock that waits until the placement groups have followed.
    let news = |again: &Ran, known: &str| -> Vec<String> {
        let sent = again.rounds.iter().flat_map(|round| &round.steps);
        sent.map(|step| &step.command)
            .filter(|command| !ran.rejected.iter().any(|(before, _)| before == *command))
            .map(MonCommand::to_line)
            .filter(|line| line != known)
            .collect()
    };
    let again = bench.apply_spec(&spec);
    prop_assert_eq!(news(&again, ""), Vec::<String>::new());
    bench.cluster.settle();
    let last = bench.apply_spec(&spec);
    let lock = "ceph osd pool set foopool nopgchange true";
    prop_assert_eq!(news(&last, lock), Vec::<String>::new());
    if last.refusals.is_empty() && last.rejected.is_empty() && ran.rejected.is_empty() {
        let pool = bench.pool();
        prop_assert_eq!(wrong(fields, pool), Vec::<String>::new(), "{}", ran.text());
        prop_assert_eq!(bench.plan(&fields.to_string()), "in sync\n");
    }
    Ok(ran)
}

/// What the monitors refuse because of somebody else's choice: more copies needed than there are,
/// or a number outside of a bound that is not this object's.
fn may_be_refused(command: &MonCommand, spec: &CephPoolSpec) -> bool {
    let MonCommand::PoolSet { variable, .. } = command else {
        return false;
    };
    let size_unnamed = spec
        .replicated
        .as_ref()
        .is_none_or(|block| block.size.is_none());
    let groups = spec.placement_groups.clone().unwrap_or_default();
    match variable.as_str() {
        "min_size" => size_unnamed,
        "pg_num" => groups.min.is_none() || groups.max.is_none(),
        _ => false,
    }
}

/// What a pool does not have as the manifest says: read off the pool, without the program's own comparison.
pub(super) fn wrong(fields: &Value, pool: &Pool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, asked: &Value, found: Value| {
        if !asked.is_null() && *asked != found {
            wrong.push(format!("{what} is {found}, not {asked}"));
        }
    };
    let flag = |name: &str| json!(pool.has_flag(name));
    let bytes = |asked: &Value, found: i64| {
        let same = match asked.as_str() {
            Some("0") => found == 0,
            Some("1Gi") => found == 1 << 30,
            Some("1Ti") => found == 1 << 40,
            Some("2Ti") => found == 2 << 40,
            _ => true,
        };
        if same { asked.clone() } else { json!(found) }
    };
    let integer = |name: &str| match pool.options.get(name) {
        Some(OptionValue::Integer(number)) => *number,
        _ => 0,
    };
    let decimal = |asked: &Value, name: &str| match (asked.as_str(), pool.options.get(name)) {
        (Some(text), Some(OptionValue::Double(number)))
            if (text.parse::<f64>().unwrap() - number).abs() < 1e-6 =>
        {
            asked.clone()
        }
        (_, found) => json!(format!("{found:?}")),
    };
    let (groups, flags, quota) = (
        &fields["placementGroups"],
        &fields["flags"],
        &fields["quota"],
    );
    check("size", &fields["replicated"]["size"], json!(pool.size));
    check("min_size", &fields["minSize"], json!(pool.min_size));
    let mode = match pool.autoscale_mode.as_str() {
        "on" => "Enabled",
        "off" => "Disabled",
        _ => "Warn",
    };
    check("mode", &groups["autoscale"], json!(mode));
    let target = pool.placement_groups.pg_num_target;
    if pool.autoscale_mode != "on" {
        check("pg_num", &groups["count"], json!(target));
        check(
            "pgp_num",
            &groups["count"],
            json!(pool.placement_groups.pgp_num_target),
        );
    }
    check("pg_num_min", &groups["min"], json!(integer("pg_num_min")));
    check("pg_num_max", &groups["max"], json!(integer("pg_num_max")));
    check(
        "bias",
        &groups["bias"],
        decimal(&groups["bias"], "pg_autoscale_bias"),
    );
    check(
        "ratio",
        &groups["targetSizeRatio"],
        decimal(&groups["targetSizeRatio"], "target_size_ratio"),
    );
    check(
        "expected",
        &groups["targetSizeBytes"],
        bytes(&groups["targetSizeBytes"], integer("target_size_bytes")),
    );
    check("bulk", &groups["bulk"], flag("bulk"));
    check(
        "max_bytes",
        &quota["maxBytes"],
        bytes(&quota["maxBytes"], pool.quota_max_bytes),
    );
    check(
        "max_objects",
        &quota["maxObjects"],
        json!(pool.quota_max_objects),
    );
    check("noscrub", &flags["noScrub"], flag("noscrub"));
    check("nodeep-scrub", &flags["noDeepScrub"], flag("nodeep-scrub"));
    check("nosizechange", &flags["noSizeChange"], flag("nosizechange"));
    check("nopgchange", &flags["noPgChange"], flag("nopgchange"));
    check("nodelete", &flags["noDelete"], flag("nodelete"));
    for application in fields["applications"].as_array().into_iter().flatten() {
        let keys = pool.applications.get(application["name"].as_str().unwrap());
        check("application", &json!(true), json!(keys.is_some()));
        for (key, value) in application["metadata"].as_object().into_iter().flatten() {
            check("key", value, json!(keys.and_then(|keys| keys.get(key))));
        }
    }
    let named = fields["replicated"]["size"]
        .as_i64()
        .is_some_and(|size| size > 1);
    if named && fields["minSize"].is_null() && pool.min_size < 2 {
        wrong.push(format!(
            "min_size is {} and nobody asked for it",
            pool.min_size
        ));
    }
    let marks = pool
        .applications
        .values()
        .filter(|keys| keys.contains_key("poolwright"));
    if marks.count() != 1 {
        wrong.push("not one mark".to_owned());
    }
    wrong
}

/// What was set and is no longer named, where Ceph has an unset for it.
fn not_unset(before: &Value, after: &Value, pool: &Pool) -> Vec<String> {
    let gone =
        |block: &str, field: &str| !before[block][field].is_null() && after[block][field].is_null();
    let mut left = Vec::new();
    for (block, field, set) in [
        (
            "placementGroups",
            "min",
            pool.options.contains_key("pg_num_min"),
        ),
        (
            "placementGroups",
            "max",
            pool.options.contains_key("pg_num_max"),
        ),
        (
            "placementGroups",
            "bias",
            pool.options.contains_key("pg_autoscale_bias"),
        ),
        (
            "placementGroups",
            "targetSizeRatio",
            pool.options.contains_key("target_size_ratio"),
        ),
        (
            "placementGroups",
            "targetSizeBytes",
            pool.options.contains_key("target_size_bytes"),
        ),
        ("placementGroups", "bulk", pool.has_flag("bulk")),
        ("quota", "maxBytes", pool.quota_max_bytes != 0),
        ("quota", "maxObjects", pool.quota_max_objects != 0),
        ("flags", "noScrub", pool.has_flag("noscrub")),
        ("flags", "noDeepScrub", pool.has_flag("nodeep-scrub")),
        ("flags", "noSizeChange", pool.has_flag("nosizechange")),
        ("flags", "noPgChange", pool.has_flag("nopgchange")),
        ("flags", "noDelete", pool.has_flag("nodelete")),
    ] {
        if gone(block, field) && set {
            left.push(format!("{block}.{field}"));
        }
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// From nothing, or from a creation that was broken off, any manifest becomes a pool that is as
    /// it says, or is refused before anything is sent; nobody else's pool is touched.
    #[test]
    fn creations_converge(first in any_spec(), second in any_spec(), rounds in 0_usize..4) {
        let mut bench = among_others();
        for _ in 0..rounds {
            let wish = read(&object(&first).spec, bench.record.clone()).unwrap();
            let answer = next(&wish, &bench.cluster.view());
            bench.record = answer.advance(wish).record;
            bench.record.applied.extend(read(&object(&first).spec, fresh()).unwrap().fields());
            bench.cluster.round(&commands(&answer.round));
        }
        let before = others(&among_others(), None);
        let ran = settled(&mut bench, &second)?;
        prop_assert_eq!(others(&bench, ours(&bench)), before);
        if rounds == 0 {
            prop_assert!(ran.rounds.len() <= 5 && (ran.refusals.is_empty() || ran.rounds.is_empty()), "{}", ran.text());
        }
    }

    /// From one manifest to another, with changes by hand in between: it ends as the second says, or
    /// says what is in its way.
    #[test]
    fn updates_converge(
        first in any_safe_spec(),
        edits in proptest::collection::vec(any_edit(), 0..6),
        second in any_spec(),
    ) {
        let mut bench = among_others();
        settled(&mut bench, &first)?;
        let (id, before) = (ours(&bench), others(&bench, ours(&bench)));
        bench.cluster.settle();
        for edit in edits {
            bench.cluster.round(&[edit]);
        }
        settled(&mut bench, &second)?;
        prop_assert_eq!(ours(&bench), id);
        prop_assert_eq!(others(&bench, id), before);
    }

    /// Any part of the fields can leave the manifest: what Ceph can unset is unset, the rest stays.
    #[test]
    fn removals_converge(spec in any_safe_spec(), keep in proptest::collection::vec(any::<bool>(), 17)) {
        let mut bench = among_others();
        settled(&mut bench, &spec)?;
        let part = part_of(&spec, &keep);
        prop_assume!(is_valid(&part));
        let ran = settled(&mut bench, &part)?;
        if ran.refusals.is_empty() && ran.rejected.is_empty() {
            prop_assert_eq!(not_unset(&spec, &part, bench.pool()), Vec::<String>::new(), "{}", ran.text());
        }
    }

    /// A pool of the name that is somebody else's is never touched, whatever is asked for.
    #[test]
    fn foreign_pools_are_left_alone(spec in any_spec(), edits in proptest::collection::vec(any_edit(), 0..4)) {
        let mut bench = among_others();
        foreign(&mut bench.cluster, "foopool");
        for edit in edits {
            bench.cluster.round(&[edit]);
        }
        let before = others(&bench, None);
        let ran = bench.apply_spec(&object(&spec).spec);
        prop_assert!(ran.ended && ran.rounds.is_empty() && ran.refusals.len() == 1);
        prop_assert_eq!(others(&bench, None), before);
    }
}
