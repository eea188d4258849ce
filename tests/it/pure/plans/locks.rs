//! Flags that lock.

use std::fmt::Write as _;

use crate::pure::support::*;

/// A lock of ours is lifted for a change and set again; somebody else's blocks that change and nothing else.
#[test]
fn locks() {
    let from = format!(
        "{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}"
    );
    let to = format!(
        "{{replicated: {{size: 2}}, placementGroups: {{autoscale: Disabled, count: 64, min: 16}}, quota: {{maxObjects: 5}}, {SMALLEST}}}"
    );
    let mut bench = after(&from, |pool| {
        pool.flags.extend(set(&["nosizechange", "nopgchange"]));
    });
    let mut text = format!("# foreign locks\n{}", bench.plan(&to));
    let ran = bench.apply(&to);
    assert!(ran.ended && ran.rejected.is_empty());
    assert_eq!(ran.rounds.len(), 1, "the rest goes on");
    write!(text, "# and then\n{}", bench.plan(&to)).unwrap();
    // Named in the manifest they are its own.
    let named = format!(
        "{{flags: {{noSizeChange: true, noPgChange: true}}, {}",
        to.trim_start_matches('{')
    );
    write!(text, "# named as true\n{}", bench.plan(&named)).unwrap();
    let mut ours = bench.clone();
    ours.apply(&named).in_sync();
    // It would stop the manager, which is still on its way.
    assert!(ours.pool().has_flag("nosizechange") && !ours.pool().has_flag("nopgchange"));
    let waiting = |bench: &Bench| {
        let wish = wish(&named, bench.record.clone());
        next(&wish, &bench.cluster.view()).waiting.is_some()
    };
    assert!(
        waiting(&ours),
        "nothing is left to send, and it is not done"
    );
    ours.cluster.settle();
    assert!(!waiting(&ours));
    write!(
        text,
        "# and when the numbers have followed\n{}",
        ours.plan(&named)
    )
    .unwrap();
    ours.apply(&named).in_sync();
    assert!(ours.pool().has_flag("nosizechange") && ours.pool().has_flag("nopgchange"));
    // Taking the field out takes off the flag and then goes on.
    let back = format!(
        "{{replicated: {{size: 3}}, placementGroups: {{autoscale: Disabled, count: 32}}, {SMALLEST}}}"
    );
    write!(
        text,
        "# taken out together with a change\n{}",
        ours.plan(&back)
    )
    .unwrap();
    ours.apply(&back).in_sync();
    let lifted = format!(
        "{{flags: {{noSizeChange: false, noPgChange: false}}, {}",
        to.trim_start_matches('{')
    );
    write!(text, "# named as false\n{}", bench.plan(&lifted)).unwrap();
    bench.apply(&lifted).in_sync();
    insta::assert_snapshot!(text);
}
