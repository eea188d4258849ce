//! `PoolRequestFactory`: from the wish for a pool and a view to the next round.
//!
//! A new pool takes three rounds, the fewest that monitors allow: it is created under its
//! private name, configured, and then marked and renamed to its real name, so that no
//! half-configured pool is ever visible under it and a crash anywhere leaves a pool that the
//! record identifies.

mod configure;
mod erasure;
mod leftover;
mod locate;
mod placement;
mod places;
mod release;
mod remove;
mod stretch;

pub use self::leftover::{Leftover, leftover_round};
pub use self::remove::{Proof, discard_round, removal_round};

use self::configure::Configuration;
use self::locate::Place;
use super::factory::{Found, Next, RequestFactory};
use super::ownership::{MARK_KEY, Mark, OBJECT_KEY, read_mark};
use super::placement::Placement;
use super::refusal::Refusal;
use super::round::{MARK_FIELD, POOL_FIELD, Round, Step};
use super::wish::Wish;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::Verb;
use crate::ceph::command::{MonCommand, PoolCreate};
use crate::ceph::osd_map::Pool;
use crate::ceph::settings::{self, Setting, Value};
use crate::ceph::view::ClusterView;

/// The factory of pools.
#[derive(Clone, Copy, Debug)]
pub struct PoolRequestFactory;

/// Placement groups of a new pool for which the manifest says nothing: releases differ here.
const DEFAULT_PG_NUM: i64 = 32;

impl RequestFactory for PoolRequestFactory {
    fn next_round(&self, wish: &Wish, view: &ClusterView) -> Next {
        let next = match locate::locate(wish, view) {
            Err(refusal) if refusal.reason == Reason::PoolMissing => missing(wish, view, refusal),
            Err(refusal) => Next::refused(refusal),
            Ok(Place::Nowhere) => Next {
                verb: Verb::Create,
                ..create(wish, view)
            },
            Ok(
                Place::Private(pool)
                | Place::Published(pool)
                | Place::Elsewhere(pool)
                | Place::Unowned { pool, .. },
            ) if let Some(refusal) = erasure::another_type(wish, pool) => Next::refused(refusal),
            Ok(Place::Private(pool)) => Next {
                found: Some(found(view, pool, wish, false)),
                verb: Verb::Create,
                ..unpublished(wish, pool, view)
            },
            Ok(Place::Published(pool)) => Next {
                found: Some(found(view, pool, wish, true)),
                ..published(wish, pool, view)
            },
            Ok(Place::Elsewhere(pool)) => Next {
                found: Some(found(view, pool, wish, true)),
                verb: Verb::Rename,
                ..rename(wish, pool, view)
            },
            Ok(Place::Unowned { pool, token }) => Next {
                found: Some(Found {
                    adopting: true,
                    ..found(view, pool, wish, true)
                }),
                verb: if token.is_some() {
                    Verb::TakeOver
                } else {
                    Verb::Adopt
                },
                ..adopt(wish, pool, view, token.as_ref())
            },
        };
        let mut next = Next {
            doubtful: locate::doubtful(wish, view),
            ..next
        };
        let left_alone = |step: &Step| wish.left_alone.contains(&step.field);
        next.round.steps.retain(|step| !left_alone(step));
        next
    }
}

/// A pool that is gone, and that a person may want made again. What else that takes a word for is asked for in the same
/// breath, so that nobody finds out about the second danger after having agreed to the first.
fn missing(wish: &Wish, view: &ClusterView, refusal: Refusal) -> Next {
    let supposing = |refusals: &[Refusal]| {
        let mut wish = wish.clone();
        for asked in refusals.iter().filter_map(|refusal| refusal.token.as_ref()) {
            wish.confirmations.given.insert(asked.token.clone());
            wish.confirmations.asked.push((**asked).clone());
        }
        wish
    };
    let supposed = supposing(std::slice::from_ref(&refusal));
    let sizes = configure::unsafe_wishes(&supposed, None, None, view);
    // The command to confirm it with names all of them.
    let identity = wish.record.identity.as_ref();
    let first = identity.and_then(|identity| locate::missing(&supposing(&sizes), identity));
    let first = first.unwrap_or(refusal);
    Next {
        refusals: std::iter::once(first).chain(sizes).collect(),
        ..Next::default()
    }
}

fn found(view: &ClusterView, pool: &Pool, wish: &Wish, published: bool) -> Found {
    let (claim, replaces) = match read_mark(pool, &wish.owner) {
        Mark::Ours { claim, .. } => (Some(claim), None),
        Mark::Missing => (None, None),
        Mark::Foreign(mark) => (None, Some(mark)),
    };
    Found {
        identity: view.map().identity(pool),
        claim,
        published,
        name: pool.name.clone(),
        adopting: false,
        replaces,
    }
}

/// Round one: everything that `osd pool create` can take, since there is no transaction.
fn create(wish: &Wish, view: &ClusterView) -> Next {
    let refusals = configure::unsafe_wishes(wish, None, None, view);
    if !refusals.is_empty() {
        return Next {
            refusals,
            ..Next::default()
        };
    }
    if wish.applications.is_empty() {
        return Next::refused(Refusal::new(
            Reason::InvalidSpec,
            Some("applications"),
            "a pool cannot be created without an application, which carries the mark of its owner; \
             add one to spec.applications, such as rbd",
        ));
    }
    if wish.pool.as_str().starts_with('.') {
        return Next::refused(Refusal::new(
            Reason::Unsupported,
            Some(POOL_FIELD),
            "names that begin with a dot are Ceph's own, and newer monitors answer that they made such a pool \
             without making it; choose another poolName",
        ));
    }
    let erasure::Made {
        profile,
        rule,
        doubt,
    } = match erasure::prepared(wish, view) {
        Ok(made) => made,
        Err(first) => return *first,
    };
    let placed = match placement::for_creation(wish, view) {
        Ok(placed) => placed,
        Err(refusal) => return Next::refused(refusal),
    };
    if let Some(step) = placed.make {
        // A round of its own: the creation names the rule, which has to be committed and to say what it shall.
        return Next {
            round: Round { steps: vec![step] },
            ..Next::default()
        };
    }
    let minimum = wish.asked_integer(&settings::PG_NUM_MIN);
    let maximum = wish.asked_integer(&settings::PG_NUM_MAX);
    let pg_num = wish
        .pg_count
        .or(minimum)
        .unwrap_or_else(|| maximum.map_or(DEFAULT_PG_NUM, |maximum| maximum.min(DEFAULT_PG_NUM)));
    let word = |setting: &Setting| wish.asked(setting).map(Value::to_string);
    let command = MonCommand::PoolCreate(PoolCreate {
        pool: wish.private_name(),
        pg_num,
        // Monitors take no other one than their own there.
        size: wish
            .asked_integer(&settings::SIZE)
            .filter(|_| !stretch::is_on(view)),
        autoscale_mode: word(&settings::AUTOSCALE_MODE),
        pg_num_min: minimum,
        pg_num_max: maximum,
        // `false` is what a new pool has; a default of true is put right in the next round.
        bulk: (wish.asked(&settings::BULK) == Some(&Value::Flag(true))).then_some(true),
        target_size_bytes: wish
            .asked_integer(&settings::TARGET_SIZE_BYTES)
            .filter(|bytes| *bytes > 0),
        target_size_ratio: match wish.asked(&settings::TARGET_SIZE_RATIO) {
            Some(Value::Double(ratio)) if *ratio > 0.0 => Some(*ratio),
            _ => None,
        },
        profile,
        rule: rule.or_else(|| wish.placement.as_ref().map(Placement::name)),
    });
    Next {
        round: Round {
            steps: vec![Step {
                command,
                field: POOL_FIELD.to_owned(),
                desired: wish.pool.to_string(),
                observed: "absent".to_owned(),
                reason: format!(
                    "create the pool under a private name; it is renamed to {} when it is configured and marked{}",
                    wish.pool,
                    placed
                        .doubt
                        .or(doubt)
                        .map_or_else(String::new, |doubt| format!(". {doubt}"))
                ),
                last: false,
                token: configure::confirmed_wishes(wish, view).into_iter().next(),
            }],
        },
        confirmed: locate::made_again(wish)
            .into_iter()
            .chain(configure::confirmed_wishes(wish, view))
            .collect(),
        ..Next::default()
    }
}

/// Rounds two and three of a new pool: all settings, then mark, locks and name.
fn unpublished(wish: &Wish, pool: &Pool, view: &ClusterView) -> Next {
    if let Some(other) = view.pool_named(&wish.pool) {
        // Under a name that somebody gave it, it may be in use by now.
        let renamed = wish.record.unpublished && pool.name != wish.private_name();
        let left = if renamed {
            format!(
                ". This one (id {}) was given the name {} by hand meanwhile, and is left as it is",
                pool.id, pool.name
            )
        } else {
            String::new()
        };
        let refusal = Refusal::new(
            Reason::PoolExists,
            Some(POOL_FIELD),
            format!(
                "a pool {} (id {}) was made by somebody else while this one was being configured; choose \
                 another poolName, or remove that pool{left}",
                wish.pool, other.id
            ),
        );
        return Next {
            round: if wish.record.unpublished && !renamed {
                remove::unpublished(wish, "its real name was taken meanwhile")
            } else {
                Round::default()
            },
            refusals: vec![refusal],
            ..Next::default()
        };
    }
    let Configuration {
        steps,
        locks,
        refusals,
        waiting: _,
        note: _,
    } = configure::configuration(wish, pool, view);
    if !steps.is_empty() || !refusals.is_empty() {
        return Next {
            round: Round { steps },
            refusals,
            ..Next::default()
        };
    }
    let mut steps = metadata(wish, pool);
    steps.extend(mark(wish, pool));
    // A private pool must stay removable, so `nodelete` waits for the real name.
    steps.extend(
        locks
            .into_iter()
            .filter(|step| step.field != settings::NO_DELETE_FLAG.field),
    );
    steps.push(Step {
        command: MonCommand::PoolRename {
            from: pool.name.clone(),
            to: wish.pool.clone(),
        },
        field: POOL_FIELD.to_owned(),
        desired: wish.pool.to_string(),
        observed: pool.name.to_string(),
        reason: "publish the pool under its real name".to_owned(),
        last: true,
        token: None,
    });
    Next {
        round: Round { steps },
        ..Next::default()
    }
}

/// What a pool under its real name still needs.
fn published(wish: &Wish, pool: &Pool, view: &ClusterView) -> Next {
    let Configuration {
        mut steps,
        locks,
        refusals,
        waiting,
        note,
    } = configure::configuration(wish, pool, view);
    steps.extend(metadata(wish, pool));
    if !wish.observe {
        steps.extend(mark(wish, pool));
    }
    // What is left alone for now, the rest does not wait for.
    steps.retain(|step| !wish.left_alone.contains(&step.field));
    if steps.is_empty() {
        steps = locks;
    }
    if steps.is_empty() && refusals.is_empty() && !wish.observe {
        steps = placement::let_go(wish, view);
        steps.extend(leftover::let_go(wish, view));
    }
    Next {
        round: Round { steps },
        refusals,
        waiting,
        note,
        ..Next::default()
    }
}

/// The one round that makes a pool ours: its mark, and nothing else. Before it the application that carries the mark,
/// where the pool has none.
fn adopt(wish: &Wish, pool: &Pool, view: &ClusterView, token: Option<&String>) -> Next {
    let refusals = erasure::differences(wish, pool, view);
    if !refusals.is_empty() {
        // It could never be as it is asked for.
        return Next {
            refusals,
            ..Next::default()
        };
    }
    let steps = if pool.applications.is_empty() {
        match wish.applications.keys().next() {
            Some(application) => vec![configure::enable(
                pool,
                application,
                false,
                "the mark of its owner needs an application",
            )],
            None => {
                return Next::refused(Refusal::new(
                    Reason::InvalidSpec,
                    Some("applications"),
                    format!(
                        "pool {} has no application, which carries the mark of its owner; add one to \
                         spec.applications, such as rbd",
                        pool.name
                    ),
                ));
            }
        }
    } else {
        let mut steps = adoption(wish, pool);
        for step in &mut steps {
            step.token = token.cloned();
        }
        steps
    };
    Next {
        round: Round { steps },
        ..Next::default()
    }
}

/// The mark of this object, over every other one.
fn adoption(wish: &Wish, pool: &Pool) -> Vec<Step> {
    let marked = pool
        .applications
        .iter()
        .filter(|(_, keys)| keys.contains_key(MARK_KEY))
        .map(|(application, _)| application);
    let mut applications: Vec<&String> = marked.collect();
    if applications.is_empty() {
        applications.extend(pool.applications.keys().next());
    }
    let step = |application: &String, key: &str, value: String| {
        let present = pool.applications.get(application);
        Step {
            command: MonCommand::ApplicationSet {
                pool: pool.name.clone(),
                application: application.clone(),
                key: key.to_owned(),
                value: value.clone(),
            },
            field: MARK_FIELD.to_owned(),
            desired: value,
            observed: present
                .and_then(|keys| keys.get(key))
                .cloned()
                .unwrap_or_else(|| "not set".to_owned()),
            reason: "adopt the pool: mark it as this object's, and change nothing else before"
                .to_owned(),
            // The owner's name after the mark itself: of a mark that is half replaced, the owner could not be looked for.
            last: key == OBJECT_KEY,
            token: None,
        }
    };
    applications
        .into_iter()
        .flat_map(|application| {
            [
                step(application, MARK_KEY, wish.owner.mark(&wish.record.claim)),
                step(application, OBJECT_KEY, wish.owner.object()),
            ]
        })
        .collect()
}

/// The pool of this object under another name than it shall have.
fn rename(wish: &Wish, pool: &Pool, view: &ClusterView) -> Next {
    if wish.pool.as_str().starts_with('.') || pool.name.as_str().starts_with('.') {
        return Next::refused(Refusal::new(
            Reason::Unsupported,
            Some(POOL_FIELD),
            "names that begin with a dot are Ceph's own, and are neither given nor taken away; choose another poolName",
        ));
    }
    if let Some(other) = view.pool_named(&wish.pool) {
        let owner = match read_mark(other, &wish.owner) {
            Mark::Foreign(mark) => format!(", which belongs to {},", mark.owner()),
            Mark::Ours { .. } | Mark::Missing => String::new(),
        };
        return Next::refused(Refusal::new(
            Reason::PoolExists,
            Some(POOL_FIELD),
            format!(
                "pool {present} (id {id}) cannot be renamed to {wanted}: a pool of that name (id {taken}){owner} exists; \
                 choose another poolName, or rename that one first. Two pools change names over a third name",
                present = pool.name,
                id = pool.id,
                wanted = wish.pool,
                taken = other.id,
            ),
        ));
    }
    Next {
        round: Round {
            steps: vec![Step {
                command: MonCommand::PoolRename {
                    from: pool.name.clone(),
                    to: wish.pool.clone(),
                },
                field: POOL_FIELD.to_owned(),
                desired: wish.pool.to_string(),
                observed: pool.name.to_string(),
                reason: "the pool shall have the name that the manifest gives it".to_owned(),
                last: false,
                token: None,
            }],
        },
        ..Next::default()
    }
}

/// Keys of applications that are enabled already: monitors refuse them before that.
fn metadata(wish: &Wish, pool: &Pool) -> Vec<Step> {
    let mut steps = Vec::new();
    for (application, keys) in &wish.applications {
        let Some(present) = pool.applications.get(application) else {
            continue;
        };
        for (key, value) in keys {
            let observed = present.get(key);
            if observed != Some(value) {
                steps.push(Step {
                    command: MonCommand::ApplicationSet {
                        pool: pool.name.clone(),
                        application: application.clone(),
                        key: key.clone(),
                        value: value.clone(),
                    },
                    field: super::wish::key_field(application, key),
                    desired: value.clone(),
                    observed: observed.cloned().unwrap_or_else(|| "not set".to_owned()),
                    reason: format!("set the key of application {application}"),
                    last: false,
                    token: None,
                });
            }
        }
    }
    steps
}

/// The mark, where it is missing or incomplete. A foreign one never comes here.
fn mark(wish: &Wish, pool: &Pool) -> Vec<Step> {
    let (application, claim) = match read_mark(pool, &wish.owner) {
        Mark::Ours { application, claim } => (application, claim),
        Mark::Missing | Mark::Foreign(_) => match pool.applications.keys().next() {
            Some(first) => (first.clone(), wish.record.claim.clone()),
            // Without an application there is nothing to carry a mark.
            None => return Vec::new(),
        },
    };
    let present = pool.applications.get(&application);
    [
        (MARK_KEY, wish.owner.mark(&claim)),
        (OBJECT_KEY, wish.owner.object()),
    ]
    .into_iter()
    .filter_map(|(key, value)| {
        let observed = present.and_then(|keys| keys.get(key));
        (observed != Some(&value)).then(|| Step {
            command: MonCommand::ApplicationSet {
                pool: pool.name.clone(),
                application: application.clone(),
                key: key.to_owned(),
                value: value.clone(),
            },
            field: MARK_FIELD.to_owned(),
            desired: value,
            observed: observed.cloned().unwrap_or_else(|| "not set".to_owned()),
            reason: "mark the pool as this object's".to_owned(),
            last: false,
            token: None,
        })
    })
    .collect()
}
