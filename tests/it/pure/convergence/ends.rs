//! Whether a pool is what a manifest asks for: read off the pool, without the program's own comparison.

use poolwright::ceph::osd_map::{OptionValue, Pool};
use serde_json::{Value, json};

/// What a pool does not have as the manifest says: read off the pool, without the program's own comparison.
pub(in crate::pure) fn wrong(fields: &Value, pool: &Pool) -> Vec<String> {
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
    for (field, name) in [
        ("noScrub", "noscrub"),
        ("noDeepScrub", "nodeep-scrub"),
        ("noSizeChange", "nosizechange"),
        ("noPgChange", "nopgchange"),
        ("noDelete", "nodelete"),
    ] {
        check(name, &flags[field], flag(name));
    }
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
pub(super) fn not_unset(before: &Value, after: &Value, pool: &Pool) -> Vec<String> {
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
