//! Decodes `osd crush dump --format json`.

use serde::Deserialize;

use super::{Bucket, CHOICES, CrushMap, Device, Item, Rule, SETTERS, Step, Tunables};

// Recorded dumps may be cut down to what somebody wanted to show, so only names must be there.
#[derive(Deserialize)]
struct Dump {
    #[serde(default)]
    rules: Vec<DumpRule>,
    #[serde(default)]
    types: Vec<DumpType>,
    #[serde(default)]
    buckets: Vec<DumpBucket>,
    #[serde(default)]
    devices: Vec<DumpDevice>,
    #[serde(default)]
    tunables: DumpTunables,
}

#[derive(Deserialize)]
struct DumpRule {
    rule_id: i64,
    rule_name: String,
    #[serde(default, rename = "type")]
    kind: u8,
    #[serde(default)]
    steps: Vec<DumpStep>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct DumpStep {
    op: String,
    item: i32,
    num: i32,
    #[serde(rename = "type")]
    bucket_type: String,
    opcode: u32,
    arg1: i32,
    arg2: i32,
}

#[derive(Deserialize)]
struct DumpType {
    type_id: i32,
    name: String,
}

#[derive(Deserialize)]
struct DumpBucket {
    id: i32,
    #[serde(default)]
    name: String,
    type_id: i32,
    #[serde(default)]
    weight: u32,
    #[serde(default)]
    items: Vec<DumpItem>,
}

#[derive(Deserialize)]
struct DumpItem {
    id: i32,
    weight: u32,
}

#[derive(Deserialize)]
struct DumpDevice {
    id: i32,
    name: String,
    class: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DumpTunables {
    choose_local_tries: u32,
    choose_local_fallback_tries: u32,
    choose_total_tries: u32,
    chooseleaf_descend_once: u32,
    chooseleaf_vary_r: u32,
    chooseleaf_stable: u32,
    straw_calc_version: u32,
    allowed_bucket_algs: u32,
}

/// Reads a dump.
pub fn decode(bytes: &[u8]) -> Result<CrushMap, serde_json::Error> {
    let dump: Dump = serde_json::from_slice(bytes)?;
    let tunables = dump.tunables;
    Ok(CrushMap {
        rules: dump
            .rules
            .into_iter()
            .map(|rule| (rule.rule_id, rule.model()))
            .collect(),
        types: dump
            .types
            .into_iter()
            .map(|kind| (kind.type_id, kind.name))
            .collect(),
        buckets: dump
            .buckets
            .into_iter()
            .map(|bucket| (bucket.id, bucket.model()))
            .collect(),
        devices: dump
            .devices
            .into_iter()
            .map(|device| {
                let DumpDevice { id, name, class } = device;
                (id, Device { name, class })
            })
            .filter(|(id, device)| !device.is_gap(*id))
            .collect(),
        tunables: Tunables {
            choose_local_tries: tunables.choose_local_tries,
            choose_local_fallback_tries: tunables.choose_local_fallback_tries,
            choose_total_tries: tunables.choose_total_tries,
            chooseleaf_descend_once: tunables.chooseleaf_descend_once,
            chooseleaf_vary_r: tunables.chooseleaf_vary_r,
            chooseleaf_stable: tunables.chooseleaf_stable,
            straw_calc_version: tunables.straw_calc_version,
            allowed_bucket_algs: tunables.allowed_bucket_algs,
        },
    })
}

impl DumpRule {
    fn model(self) -> Rule {
        Rule {
            name: self.rule_name,
            kind: self.kind,
            steps: self.steps.into_iter().map(DumpStep::model).collect(),
        }
    }
}

impl DumpStep {
    fn model(self) -> Step {
        if let Some((way, ..)) = CHOICES.iter().find(|(_, _, name)| *name == self.op) {
            return Step::Choose {
                way: *way,
                count: self.num,
                bucket_type: self.bucket_type,
            };
        }
        if let Some((step, _)) = SETTERS.iter().find(|(_, name)| *name == self.op) {
            return Step::Set {
                step: *step,
                value: self.num,
            };
        }
        match self.op.as_str() {
            "noop" => Step::Noop,
            "take" => Step::Take { item: self.item },
            "emit" => Step::Emit,
            // Without a name there are Ceph's own numbers.
            _ => Step::from_numbers(
                self.opcode,
                [self.arg1, self.arg2],
                &std::collections::BTreeMap::new(),
            ),
        }
    }
}

impl DumpBucket {
    fn model(self) -> Bucket {
        Bucket {
            name: self.name,
            kind: self.type_id,
            weight: self.weight,
            items: self
                .items
                .into_iter()
                .map(|item| Item {
                    id: item.id,
                    weight: item.weight,
                })
                .collect(),
        }
    }
}
