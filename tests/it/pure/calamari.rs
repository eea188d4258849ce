//! The example of Calamari's documentation, kept word for word.

use poolwright::ceph::types::PoolId;
use serde_json::json;

use super::support::*;

/// Pool 7, `foopool`, update of `quota_max_bytes: 1024000000` and `quota_max_objects: 1000000`: exactly
/// two commands, `osd pool set-quota` with `max_bytes` and `max_objects`, in one round; `val` is a
/// decimal string, since monitors refuse Calamari's integer.
#[test]
fn the_documented_update() {
    let mut bench = Bench::new();
    for id in 1..7 {
        foreign(&mut bench.cluster, &format!("pool{id}"));
    }
    bench.apply(SMALLEST).in_sync();
    assert_eq!(bench.pool().id, PoolId(7));
    let updated =
        "{quota: {maxBytes: 1024000000, maxObjects: 1000000}, applications: [{name: rbd}]}";
    let plan = preview(&wish(updated, bench.record.clone()), &bench.cluster.view());
    assert_eq!(plan.rounds().count(), 1);
    let sent: Vec<_> = plan.steps().map(|step| step.command.to_json()).collect();
    assert_eq!(
        json!(sent),
        json!([
            {"prefix": "osd pool set-quota", "pool": "foopool", "field": "max_bytes", "val": "1024000000"},
            {"prefix": "osd pool set-quota", "pool": "foopool", "field": "max_objects", "val": "1000000"},
        ])
    );
    bench.apply(updated).in_sync();
    let pool = bench.pool();
    assert_eq!(
        (pool.quota_max_bytes, pool.quota_max_objects),
        (1_024_000_000, 1_000_000)
    );
}
