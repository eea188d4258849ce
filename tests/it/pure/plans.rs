//! Plans: which rounds a manifest takes on which cluster, and that they always come to an end.

mod chunks;
mod crush;
mod erasure;
mod fields;
mod locks;
mod placement_groups;

use std::fmt::Write as _;

use poolwright::api::v1alpha1::Management;
use poolwright::ceph::types::PoolId;
use poolwright::ceph::view::ClusterView;
use poolwright::request::wish::Wish;

use super::support::*;

/// A manifest that names everything takes three rounds, and a fourth for `noDelete`.
#[test]
fn create_everything() {
    insta::assert_snapshot!(Bench::new().plan(EVERYTHING));
}

/// The smallest manifest takes three rounds; Ceph's defaults stay.
#[test]
fn create_smallest() {
    insta::assert_snapshot!(Bench::new().plan(SMALLEST));
}

/// The same again is an empty plan.
#[test]
fn same_again() {
    for text in [EVERYTHING, SMALLEST] {
        let bench = Bench::with(text);
        assert_eq!(bench.plan(text), "in sync\n");
    }
}

/// A second application needs the monitors' confirmation, and keys go in the round after it.
#[test]
fn applications() {
    let mut text = String::new();
    let three = "applications: [{name: rbd, metadata: {a: '1'}}, {name: rgw, metadata: {b: '2'}}, {name: mine}]";
    let mut bench = Bench::with(SMALLEST);
    write!(text, "# two more\n{}", bench.plan(three)).unwrap();
    bench.apply(three).in_sync();
    // An application that leaves the manifest stays, its keys go; those of others stay.
    bench.cluster.edit_pool("foopool", |pool| {
        pool.applications
            .get_mut("rgw")
            .unwrap()
            .insert("theirs".into(), "x".into());
    });
    write!(text, "# taken out\n{}", bench.plan(SMALLEST)).unwrap();
    bench.apply(SMALLEST).in_sync();
    assert_eq!(bench.pool().applications.len(), 3);
    assert_eq!(bench.pool().applications["rgw"].len(), 1);
    // Without any the mark stays where it is.
    let none = "{adoptionPolicy: Never, management: Observe, applications: []}";
    assert_eq!(bench.plan(none), "in sync\n");
    insta::assert_snapshot!(text);
}

/// A pool is not created without an application, which carries its mark.
#[test]
fn no_application() {
    // The schema refuses it, so only a wish that was not validated comes here.
    let mut wish = wish(SMALLEST, fresh());
    wish.applications.clear();
    let answer = next(&wish, &cluster().view());
    assert!(answer.round.is_empty());
    insta::assert_snapshot!(show_refusals(&answer.refusals));
}

/// Looking at a pool does it no harm, whosever it is: no mark is wanted, and a foreign one is no matter.
#[test]
fn observing() {
    let observe = |text: &str| format!("{{management: Observe, {text}}}");
    let looked = observe("replicated: {size: 2}, quota: {maxObjects: 5}");
    let mut text = format!("# absent\n{}", Bench::new().plan(&observe(SMALLEST)));
    let mut bench = Bench::new();
    foreign(&mut bench.cluster, "foopool");
    write!(text, "# unmarked\n{}", bench.plan(&looked)).unwrap();
    bench.cluster.edit_pool("foopool", |pool| {
        pool.applications.insert(
            "rbd".into(),
            [("poolwright".to_owned(), "x/y/z".to_owned())].into(),
        );
    });
    write!(text, "# of another owner\n{}", bench.plan(&looked)).unwrap();
    write!(
        text,
        "# as it is\n{}",
        bench.plan(&observe("replicated: {size: 3}"))
    )
    .unwrap();
    let spec = spec(SMALLEST);
    let by_connection = Wish::read(owner(), &spec, 1, Management::Observe, fresh()).unwrap();
    assert!(
        by_connection.observe,
        "the connection's management counts as well"
    );
    insta::assert_snapshot!(text);
}

/// What a create cannot take, or takes differently on each release, is put right in the next round.
#[test]
fn what_a_create_leaves() {
    let manifest = format!("{{placementGroups: {{bulk: false}}, {SMALLEST}}}");
    let mut bench = begun(&manifest, 1);
    bench.cluster.edit_pool(PRIVATE, |pool| {
        pool.flags.extend(set(&["bulk", "nodelete"]));
    });
    let ran = bench.apply(&manifest);
    assert!(
        ran.in_sync()
            .lines()
            .contains(&format!("ceph osd pool set {PRIVATE} bulk false"))
    );
    assert!(
        bench.pool().has_flag("nodelete"),
        "a default of the cluster that nobody named"
    );
}

/// Twice the same view gives twice the same plan: nothing in it is drawn or timed.
#[test]
fn plans_are_pure() {
    let bench = begun(EVERYTHING, 1);
    let view = bench.cluster.view();
    let wish = wish(EVERYTHING, bench.record.clone());
    assert_eq!(next(&wish, &view), next(&wish, &view));
    assert_eq!(
        preview(&wish, &view),
        preview(
            &wish,
            &ClusterView::new(view.map().clone(), view.crush().clone())
        )
    );
    assert_eq!(
        bench.cluster.pool(PRIVATE).map(|pool| pool.id),
        Some(PoolId(1))
    );
}
