//! Clusters in stretch mode, where the monitors set size, `min_size` and rule of every pool, and give less when a site is
//! lost. They take other values by hand: whoever puts back what a manifest says works against them.

use crate::api::conditions::Reason;
use crate::ceph::crush_map::{CrushMap, Rule, Step};
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::{self, CRUSH_RULE};
use crate::ceph::view::ClusterView;
use crate::request::refusal::Refusal;
use crate::request::wish::Wish;

/// Copies in each site, unless monitors are told otherwise.
const COPIES: i64 = 2;

/// Whether the cluster is in stretch mode, whole or not.
pub(super) fn is_on(view: &ClusterView) -> bool {
    view.map().stretch_mode.enabled
}

/// The size that a new pool gets.
pub(super) fn size(view: &ClusterView) -> Option<i64> {
    is_on(view).then(|| i64::from(view.map().stretch_mode.bucket_count) * COPIES)
}

/// Pools that monitors do not make there. Found before anything is made for one.
pub(super) fn no_chunks(view: &ClusterView) -> Option<Refusal> {
    is_on(view).then(|| {
        Refusal::new(
            Reason::Unsupported,
            Some("type"),
            "the cluster is in stretch mode, where no erasure-coded pool can be made; make the object anew with type \
             Replicated"
                .to_owned(),
        )
    })
}

/// What a person should know of a pool there.
pub(super) fn note(wish: &Wish, pool: &Pool, view: &ClusterView) -> Option<String> {
    let asked = [&settings::SIZE, &settings::MIN_SIZE];
    let mut fields: Vec<&str> = asked
        .into_iter()
        .filter(|setting| wish.asked(setting).is_some())
        .map(|setting| setting.field)
        .collect();
    fields.extend(wish.names_rule().then_some(CRUSH_RULE.field));
    let ignored = (!fields.is_empty()).then(|| {
        format!(
            "the cluster is in stretch mode, where the monitors set size, min_size and rule: {} of the manifest counts \
             for nothing there",
            fields.join(", ")
        )
    });
    let notes: Vec<String> = ignored.into_iter().chain(undivided(pool, view)).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// A pool whose rule does not look at the sites: somebody gave it that one, and monitors do not mind.
fn undivided(pool: &Pool, view: &ClusterView) -> Option<String> {
    let crush = view.crush();
    let site = crush.types.get(&view.map().stretch_mode.bucket)?;
    let rule = crush.rules.get(&pool.crush_rule)?;
    if rule.steps.is_empty() || divides(rule, site, crush) {
        return None;
    }
    Some(format!(
        "the pool's CRUSH rule {} does not choose among the buckets of type {site}, so all copies of a placement group can \
         come to lie in one of them, and are not served then; give it a rule that does: `ceph osd pool set {} crush_rule \
         RULE`",
        rule.name, pool.name
    ))
}

/// Whether a rule chooses sites, or takes several of them.
fn divides(rule: &Rule, site: &str, crush: &CrushMap) -> bool {
    let kind = crush.type_named(site);
    let is_site = |item: &i32| {
        let bucket = crush.buckets.get(item);
        bucket.is_some_and(|bucket| Some(bucket.kind) == kind)
    };
    let taken = rule
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Take { item } if is_site(item)));
    let chosen =
        |step: &Step| matches!(step, Step::Choose { bucket_type, .. } if bucket_type == site);
    rule.steps.iter().any(chosen) || taken.count() > 1
}
