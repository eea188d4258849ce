//! Whatever is asked for, and whatever others do meanwhile: plans come to an end, touch nothing
//! that is not the object's, and end where the manifest says.

mod any;
mod ends;
mod kept;

use poolwright::api::v1alpha1::CephPoolSpec;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::Pool;
use poolwright::ceph::types::PoolId;
use poolwright::request::preview::MAX_ROUNDS;
use proptest::prelude::*;
use serde_json::Value;

pub(super) use self::ends::wrong;

use self::any::{any_edit, any_safe_spec, any_spec, is_valid, part_of};
use self::ends::not_unset;
use super::support::*;

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
