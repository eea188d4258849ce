//! The CRUSH map in the JSON of real monitors.

use serde_json::{Value, json};

use crate::ceph::crush_map::{CrushMap, Step};

/// `osd crush dump --format json`, as far as this program reads it.
pub fn crush_dump(crush: &CrushMap) -> Value {
    let rules = crush.rules.iter().map(|(number, rule)| {
        let steps: Vec<Value> = rule.steps.iter().map(|each| step(crush, each)).collect();
        json!({"rule_id": number, "rule_name": rule.name, "type": rule.kind, "steps": steps})
    });
    let types = crush.types.iter();
    let buckets = crush.buckets.iter().rev().map(|(id, bucket)| {
        let items = bucket.items.iter();
        json!({
            "id": id,
            "name": bucket.name,
            "type_id": bucket.kind,
            "type_name": crush.types.get(&bucket.kind),
            "weight": bucket.weight,
            "alg": "straw2",
            "hash": "rjenkins1",
            "items": items
                .map(|item| json!({"id": item.id, "weight": item.weight}))
                .collect::<Vec<_>>(),
        })
    });
    let devices = crush.devices.iter();
    let tunables = crush.tunables;
    json!({
        "devices": devices
            .map(|(id, device)| json!({"id": id, "name": device.name, "class": device.class}))
            .collect::<Vec<_>>(),
        "types": types
            .map(|(id, name)| json!({"type_id": id, "name": name}))
            .collect::<Vec<_>>(),
        "buckets": buckets.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "tunables": {
            "choose_local_tries": tunables.choose_local_tries,
            "choose_local_fallback_tries": tunables.choose_local_fallback_tries,
            "choose_total_tries": tunables.choose_total_tries,
            "chooseleaf_descend_once": tunables.chooseleaf_descend_once,
            "chooseleaf_vary_r": tunables.chooseleaf_vary_r,
            "chooseleaf_stable": tunables.chooseleaf_stable,
            "straw_calc_version": tunables.straw_calc_version,
            "allowed_bucket_algs": tunables.allowed_bucket_algs,
        },
    })
}

fn step(crush: &CrushMap, step: &Step) -> Value {
    match step {
        Step::Noop => json!({"op": "noop"}),
        Step::Take { item } => {
            let bucket = crush.buckets.get(item).map(|bucket| &bucket.name);
            json!({"op": "take", "item": item, "item_name": bucket})
        }
        Step::Emit => json!({"op": "emit"}),
        Step::Choose {
            way,
            count,
            bucket_type,
        } => json!({"op": way.name(), "num": count, "type": bucket_type}),
        Step::Set { step, value } => json!({"opcode": step, "arg1": value, "arg2": 0}),
        Step::Unknown {
            step,
            arguments: [first, second],
        } => json!({"opcode": step, "arg1": first, "arg2": second}),
    }
}
