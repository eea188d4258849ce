//! What a pool's settings still need, in rounds that commute.
//!
//! Three things do not commute and are spread over rounds: `size` makes the monitors choose
//! `min_size` anew; the bounds of the autoscaler are checked against the target of `pg_num`;
//! and the flags that lock size and placement groups come last.

use super::erasure;
use super::placement;
use super::release;
use super::stretch;
use crate::api::conditions::Reason;
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings::{self, Removal, Setting, Value};
use crate::ceph::types::PoolIdentity;
use crate::ceph::view::ClusterView;
use crate::request::coding::Chunks;
use crate::request::ownership::MARK_KEY;
use crate::request::refusal::Refusal;
use crate::request::round::Step;
use crate::request::token::{Answer, Danger};
use crate::request::wish::{self, Wish};

/// Fewer copies than this must not be enough for I/O, or one failure loses acknowledged writes.
const SAFE_MIN_SIZE: i64 = 2;

/// What is to be sent for the settings, and when.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// Now.
    pub(super) steps: Vec<Step>,
    /// When nothing else is left: flags that would block the rest.
    pub(super) locks: Vec<Step>,
    /// What the locks wait for.
    pub(super) waiting: Option<&'static str>,
    /// What is not done.
    pub(super) refusals: Vec<Refusal>,
    /// What a person should know beside.
    pub(super) note: Option<String>,
}

/// How it stands with a flag that locks other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// Not set.
    Open,
    /// Set, and ours to lift.
    Ours,
    /// Set by somebody else, and not named in the manifest.
    Foreign,
}

/// Compares the settings of a pool with the wish.
pub(super) fn configuration(wish: &Wish, pool: &Pool, view: &ClusterView) -> Configuration {
    let identity = (!wish.record.unpublished).then(|| view.map().identity(pool));
    let unsafe_wishes = unsafe_wishes(wish, Some(pool), identity.as_ref(), view);
    if !unsafe_wishes.is_empty() {
        return Configuration {
            refusals: unsafe_wishes,
            ..Configuration::default()
        };
    }
    let mut wanted = Vec::new();
    let mut locks = Vec::new();
    let mut refusals = erasure::differences(wish, pool, view);
    let safe = safe_min_size(wish, Some(pool), view);
    let mut waiting = None;
    let mut note = None;
    let no_such_size =
        |refusal: &Refusal| refusal.field.as_deref() == Some(settings::MIN_SIZE.field);
    if stretch::is_on(view) {
        // There the monitors set size, min_size and rule, so they are neither fought nor a difference.
        note = stretch::note(wish, pool, view);
    } else {
        if refusals.iter().any(no_such_size) {
            // Nothing is sent for sizes that the pool cannot have.
        } else if let Some((setting, value, reason)) = sizes(wish, pool) {
            if let Some(refusal) = placement::too_large(pool, view, setting, &value) {
                refusals.push(refusal);
            } else {
                let step = Step {
                    token: confirmed(wish, setting, &value, safe, identity.as_ref()),
                    ..set(pool, setting, &value, reason)
                };
                wanted.push((setting, step));
            }
        }
        let change = placement::change(wish, pool, view, identity.as_ref());
        wanted.extend(change.step.map(|step| (&settings::CRUSH_RULE, step)));
        refusals.extend(change.refusal);
    }
    wanted.extend(placement_groups(wish, pool));
    for asked in &wish.settings {
        let setting = asked.setting;
        if handled_apart(setting) || setting.holds(pool, &asked.value) {
            continue;
        }
        if let Some(refusal) = impossible(setting, &asked.value, pool, view) {
            refusals.push(refusal);
            continue;
        }
        let step = set(pool, setting, &asked.value, "as the manifest says");
        // One that nothing else has to wait for is set at once; a pool under its private name must stay removable.
        let waits = setting.variable != settings::NO_DELETE || wish.record.unpublished;
        if is_lock(setting) && asked.value == Value::Flag(true) && waits {
            // It would keep the manager from moving the placement groups to where they shall be.
            let too_early =
                setting.variable == settings::NO_PG_CHANGE && !pool.placement_groups.settled();
            if too_early {
                waiting = Some(
                    "waiting for the placement groups to reach their number; flags.noPgChange is set after that, since \
                     it would keep them from it",
                );
            } else {
                locks.push(step);
            }
        } else {
            wanted.push((setting, step));
        }
    }
    wanted.extend(removed(wish, pool));
    // Before the locks are looked at: none is lifted for what is not sent.
    wanted.retain(|(_, step)| !wish.left_alone.contains(&step.field));
    let mut configuration = Configuration {
        locks,
        waiting,
        note,
        ..respect_locks(wish, pool, wanted)
    };
    configuration.steps.extend(applications(wish, pool));
    configuration.refusals.extend(refusals);
    configuration
}

/// Why a pool of this cluster cannot have a value, whatever the monitors answered.
fn impossible(
    setting: &'static Setting,
    value: &Value,
    pool: &Pool,
    view: &ClusterView,
) -> Option<Refusal> {
    let refuse = |reason, message| Some(Refusal::new(reason, Some(setting.field), message));
    let variable = setting.variable;
    // A release that this program does not know is later than those it does.
    let release = view.map().require_osd_release;
    if let Some(release) = release.filter(|release| *release < setting.since) {
        return Some(release::came_later(setting, release));
    }
    if !setting.fits(pool.kind) {
        let only = match pool.kind {
            PoolKind::Replicated => "an erasure-coded",
            PoolKind::Erasure => "a replicated",
        };
        return refuse(
            Reason::InvalidSpec,
            format!("only {only} pool can have {variable}; take the field out of the manifest"),
        );
    }
    if setting.removal == Removal::Irreversible && *value == Value::Flag(false) {
        return refuse(
            Reason::Unsupported,
            format!(
                "{variable} is on, and Ceph cannot turn it off again; set the field to true or take it out of the \
                 manifest"
            ),
        );
    }
    None
}

/// With fewer copies or chunks than this available, a pool must not take writes.
fn safe_min_size(wish: &Wish, pool: Option<&Pool>, view: &ClusterView) -> i64 {
    erasure::chunks(wish, pool, view).map_or(SAFE_MIN_SIZE, Chunks::safe_min_size)
}

/// Wishes that could cost data, and that nobody has confirmed.
///
/// A person who confirms a creation confirms it for the pool that does not exist yet: until it is published, `identity`
/// is none.
pub(super) fn unsafe_wishes(
    wish: &Wish,
    pool: Option<&Pool>,
    identity: Option<&PoolIdentity>,
    view: &ClusterView,
) -> Vec<Refusal> {
    if stretch::is_on(view) {
        // They come to nothing.
        return Vec::new();
    }
    let holds = |setting: &Setting, number: i64| {
        pool.is_some_and(|pool| setting.holds(pool, &Value::Integer(number)))
    };
    let mut refusals = Vec::new();
    let mut ask = |setting: &Setting, danger: &Danger, message: &str| {
        if let Answer::Needed(asked) = wish.answer(danger, identity) {
            let message = format!("{message}, or {}", wish.how_to_confirm(&asked));
            let refusal = Refusal::new(Reason::Unsafe, Some(setting.field), message);
            refusals.push(refusal.asking(asked));
        }
    };
    let size = wish.asked_integer(&settings::SIZE);
    if size == Some(1) && !holds(&settings::SIZE, 1) {
        ask(
            &settings::SIZE,
            &single_copy(),
            if pool.is_some_and(|pool| !pool.name.is_private()) {
                "a pool of size 1 loses data with the first disk that fails, so size is not set to 1; choose 2 or more"
            } else {
                "a pool of size 1 loses data with the first disk that fails, so it is not made; choose 2 or more"
            },
        );
    }
    // Of a pool that is to be made without a size, Ceph's default of 3 is assumed.
    let copies = size.or(pool.map(|pool| pool.size)).unwrap_or(3);
    let safe = safe_min_size(wish, pool, view);
    if let Some(min_size) = wish.asked_integer(&settings::MIN_SIZE)
        && min_size < safe
        && !holds(&settings::MIN_SIZE, min_size)
    {
        let danger = low_min_size(min_size);
        match erasure::chunks(wish, pool, view) {
            // Fewer than k is no danger: no pool can have it.
            Some(chunks) if min_size >= chunks.data => ask(
                &settings::MIN_SIZE,
                &danger,
                &format!(
                    "minSize {min_size} acknowledges writes that the next failure loses, so it is not set on a pool of \
                     {} data and {} coding chunks; choose {safe} or more",
                    chunks.data, chunks.coding
                ),
            ),
            None if copies >= safe => ask(
                &settings::MIN_SIZE,
                &danger,
                &format!(
                    "minSize {min_size} acknowledges writes that only one OSD holds, so it is not set on a pool of \
                     size {copies}; choose {safe} or more"
                ),
            ),
            Some(_) | None => {}
        }
    }
    refusals
}

/// The tokens that let a pool be made as it is wished: the monitors choose some of it by themselves.
pub(super) fn confirmed_wishes(wish: &Wish, view: &ClusterView) -> Vec<String> {
    if stretch::is_on(view) {
        return Vec::new();
    }
    let size = wish.asked_integer(&settings::SIZE) == Some(1);
    let min_size = wish.asked_integer(&settings::MIN_SIZE);
    let safe = safe_min_size(wish, None, view);
    let low = min_size.filter(|min_size| *min_size < safe);
    let dangers = size.then(single_copy).into_iter();
    dangers
        .chain(low.map(low_min_size))
        .filter_map(|danger| wish.confirmed(&danger, None))
        .collect()
}

/// One copy of everything.
fn single_copy() -> Danger {
    Danger::new("size", "1")
}

/// I/O with too few copies.
fn low_min_size(min_size: i64) -> Danger {
    Danger::new("minSize", min_size.to_string())
}

/// The token that lets a setting have a dangerous value, where it has one and somebody confirmed it.
fn confirmed(
    wish: &Wish,
    setting: &Setting,
    value: &Value,
    safe: i64,
    identity: Option<&PoolIdentity>,
) -> Option<String> {
    let danger = match value {
        Value::Integer(1) if setting.variable == settings::SIZE.variable => single_copy(),
        Value::Integer(number)
            if setting.variable == settings::MIN_SIZE.variable && *number < safe =>
        {
            low_min_size(*number)
        }
        _ => return None,
    };
    wish.confirmed(&danger, identity)
}

/// `size` now, `min_size` in a later round: the monitors choose it anew with every `size`.
fn sizes(wish: &Wish, pool: &Pool) -> Option<(&'static Setting, Value, &'static str)> {
    if let Some(size) = wish.asked(&settings::SIZE)
        && !settings::SIZE.holds(pool, size)
    {
        return Some((&settings::SIZE, size.clone(), "as the manifest says"));
    }
    let (min_size, reason) = match wish.asked(&settings::MIN_SIZE) {
        Some(asked) => (asked.clone(), "as the manifest says"),
        None if wish.asked(&settings::SIZE).is_some()
            && pool.size >= SAFE_MIN_SIZE
            && pool.min_size < SAFE_MIN_SIZE =>
        {
            (
                Value::Integer(SAFE_MIN_SIZE),
                "the size is managed, and Ceph chose a min_size with which one failure can lose writes",
            )
        }
        None => return None,
    };
    (!settings::MIN_SIZE.holds(pool, &min_size)).then_some((&settings::MIN_SIZE, min_size, reason))
}

/// `pg_num` and the bounds around it, in the order that monitors accept.
///
/// Targets are compared, never actual numbers. With autoscaling on, `pg_num` is the
/// autoscaler's: only a bound that excludes the present target moves it there, once.
fn placement_groups(wish: &Wish, pool: &Pool) -> Vec<(&'static Setting, Step)> {
    let mut steps = Vec::new();
    let target = pool.placement_groups.pg_num_target;
    let minimum = wish
        .asked_integer(&settings::PG_NUM_MIN)
        .filter(|minimum| *minimum > 0);
    let maximum = wish
        .asked_integer(&settings::PG_NUM_MAX)
        .filter(|maximum| *maximum > 0);
    let mode = wish
        .asked(&settings::AUTOSCALE_MODE)
        .map_or_else(|| pool.autoscale_mode.clone(), Value::to_string);
    let count = wish.pg_count.filter(|_| mode != "on");

    let (goal, reason) = match count {
        Some(count) => (count, "as the manifest says"),
        None => (
            target.clamp(minimum.unwrap_or(1), maximum.unwrap_or(i64::MAX).max(1)),
            "the bounds exclude the present number, and monitors refuse a bound that does",
        ),
    };
    // Bounds that stand in the way of the goal and are about to move go first.
    let present = |setting: &Setting| match setting.observe(pool) {
        Some(Value::Integer(bound)) if bound > 0 => Some(bound),
        _ => None,
    };
    let in_the_way = |setting: &'static Setting, wanted: Option<i64>, excludes: bool| {
        let ours = wanted.is_some() || wish.record.applied.contains(setting.field);
        excludes && ours && present(setting) != wanted
    };
    let blocked = in_the_way(
        &settings::PG_NUM_MIN,
        minimum,
        present(&settings::PG_NUM_MIN).is_some_and(|bound| goal < bound),
    ) || in_the_way(
        &settings::PG_NUM_MAX,
        maximum,
        present(&settings::PG_NUM_MAX).is_some_and(|bound| goal > bound),
    );
    if goal != target && !blocked {
        let value = Value::Integer(goal);
        steps.push((
            &settings::PG_NUM,
            set(pool, &settings::PG_NUM, &value, reason),
        ));
    } else if let Some(count) = count
        && target == count
        && pool.placement_groups.pgp_num_target != count
    {
        let value = Value::Integer(count);
        let reason = "placement follows the number of placement groups";
        steps.push((
            &settings::PGP_NUM,
            set(pool, &settings::PGP_NUM, &value, reason),
        ));
    }
    for (setting, bound, fits) in [
        (
            &settings::PG_NUM_MIN,
            minimum,
            minimum.is_some_and(|minimum| minimum <= target),
        ),
        (
            &settings::PG_NUM_MAX,
            maximum,
            maximum.is_some_and(|maximum| maximum >= target),
        ),
    ] {
        // A bound that excludes the target waits for `pg_num`, which goes in this round.
        if let Some(bound) = bound
            && fits
            && !setting.holds(pool, &Value::Integer(bound))
        {
            steps.push((
                setting,
                set(
                    pool,
                    setting,
                    &Value::Integer(bound),
                    "as the manifest says",
                ),
            ));
        }
    }
    steps
}

/// Fields that were applied and have left the manifest, where Ceph has an unset for them.
fn removed(wish: &Wish, pool: &Pool) -> Vec<(&'static Setting, Step)> {
    let named = wish.fields();
    let mut steps = Vec::new();
    for field in wish.record.applied.difference(&named) {
        for setting in settings::of_field(field) {
            if setting.is_unset(pool) {
                continue;
            }
            if let Some(command) = setting.unset(&pool.name) {
                steps.push((
                    setting,
                    Step {
                        command,
                        field: setting.field.to_owned(),
                        desired: "not set".to_owned(),
                        observed: setting.observed_text(pool),
                        reason: "the field left the manifest".to_owned(),
                        last: false,
                        token: None,
                    },
                ));
            }
        }
    }
    steps
}

/// Takes out what a flag forbids: a flag of ours is lifted first, somebody else's is reported.
fn respect_locks(wish: &Wish, pool: &Pool, wanted: Vec<(&'static Setting, Step)>) -> Configuration {
    let mut configuration = Configuration::default();
    let mut lifted: Vec<&'static Setting> = Vec::new();
    for (setting, step) in wanted {
        let Some(flag) = setting.locked_by.and_then(settings::of_variable) else {
            configuration.steps.push(step);
            continue;
        };
        match lock(wish, pool, flag) {
            Lock::Open => configuration.steps.push(step),
            Lock::Ours => {
                if !lifted.iter().any(|seen| seen.variable == flag.variable) {
                    lifted.push(flag);
                }
            }
            Lock::Foreign => configuration.refusals.push(Refusal::new(
                Reason::Blocked,
                Some(setting.field),
                format!(
                    "{variable} is {observed} and {desired} is asked for, but the pool has the flag {flag}, which \
                     is not in the manifest; take it off with `ceph osd pool set {pool} {flag} false`, or name it \
                     in spec.flags",
                    variable = setting.variable,
                    observed = step.observed,
                    desired = step.desired,
                    flag = flag.variable,
                    pool = pool.name
                ),
            )),
        }
    }
    for flag in lifted {
        let taken_off = configuration
            .steps
            .iter()
            .any(|step| step.field == flag.field);
        if !taken_off {
            configuration.steps.push(set(
                pool,
                flag,
                &Value::Flag(false),
                "lifted for the change, and set again at the end",
            ));
        }
    }
    configuration
}

fn lock(wish: &Wish, pool: &Pool, flag: &Setting) -> Lock {
    if !pool.has_flag(flag.variable) {
        Lock::Open
    } else if wish.asked(flag).is_some() || wish.record.applied.contains(flag.field) {
        Lock::Ours
    } else {
        Lock::Foreign
    }
}

/// Applications to enable, and keys of ours that have left the manifest.
fn applications(wish: &Wish, pool: &Pool) -> Vec<Step> {
    let mut steps = Vec::new();
    // Monitors ask for a confirmation from the second application on, and commands of a round have no order.
    let new = wish
        .applications
        .keys()
        .filter(|application| !pool.applications.contains_key(*application));
    let several = pool.applications.len() + new.count() > 1;
    for application in wish.applications.keys() {
        if pool.applications.contains_key(application) {
            continue;
        }
        steps.push(enable(pool, application, several, "as the manifest says"));
    }
    let named = wish.fields();
    for field in wish.record.applied.difference(&named) {
        let Some((application, key)) = wish::parse_key_field(field) else {
            continue;
        };
        let present = pool
            .applications
            .get(application)
            .and_then(|keys| keys.get(key));
        if let Some(value) = present
            && !key.starts_with(MARK_KEY)
        {
            steps.push(Step {
                command: MonCommand::ApplicationRemove {
                    pool: pool.name.clone(),
                    application: application.to_owned(),
                    key: key.to_owned(),
                },
                field: field.clone(),
                desired: "not set".to_owned(),
                observed: value.clone(),
                reason: "the key left the manifest".to_owned(),
                last: false,
                token: None,
            });
        }
    }
    steps
}

/// Enables an application.
pub(super) fn enable(pool: &Pool, application: &str, confirmed: bool, reason: &str) -> Step {
    Step {
        command: MonCommand::ApplicationEnable {
            pool: pool.name.clone(),
            application: application.to_owned(),
            confirmed,
        },
        field: wish::application_field(application),
        desired: "enabled".to_owned(),
        observed: "not enabled".to_owned(),
        reason: reason.to_owned(),
        last: false,
        token: None,
    }
}

fn set(pool: &Pool, setting: &Setting, value: &Value, reason: &str) -> Step {
    Step {
        command: setting.set(&pool.name, value),
        field: setting.field.to_owned(),
        desired: value.to_string(),
        observed: setting.observed_text(pool),
        reason: reason.to_owned(),
        last: false,
        token: None,
    }
}

/// Settings whose order matters and that have a function of their own above.
fn handled_apart(setting: &Setting) -> bool {
    [
        &settings::SIZE,
        &settings::MIN_SIZE,
        &settings::PG_NUM_MIN,
        &settings::PG_NUM_MAX,
    ]
    .iter()
    .any(|apart| apart.variable == setting.variable)
}

/// Flags that block other changes, and so go last.
fn is_lock(setting: &Setting) -> bool {
    [
        settings::NO_SIZE_CHANGE,
        settings::NO_PG_CHANGE,
        settings::NO_DELETE,
    ]
    .contains(&setting.variable)
}
