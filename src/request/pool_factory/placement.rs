//! The CRUSH rule of a pool: which it shall have, whether it can place the copies, and when data may move.

use super::erasure;
use super::places::{Copies, place};
use super::stretch;
use crate::api::conditions::Reason;
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::Rule;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::settings::{self, CRUSH_RULE, Setting, Value};
use crate::ceph::types::PoolIdentity;
use crate::ceph::view::ClusterView;
use crate::request::placement::{MadeRule, Placement, parse_rule_field};
use crate::request::refusal::Refusal;
use crate::request::round::Step;
use crate::request::token::{Answer, Danger};
use crate::request::wish::Wish;

/// Flags of pools and clusters that say that there is little room.
const NEARLY_FULL: [&str; 3] = ["nearfull", "backfillfull", "full"];

/// Where the copies of a pool that is to be made will lie.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// The rule has to be made first.
    pub(super) make: Option<Step>,
    /// What speaks against it, where it is not known whether the copies can be placed.
    pub(super) doubt: Option<String>,
}

/// The rule that a pool that is there shall have.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name.
    pub(super) name: String,
    /// The name, and what is in it where that is made here.
    pub(super) title: String,
    /// What is in it, whether it is there yet or not.
    pub(super) rule: Rule,
    /// What has to be made before a pool can have it.
    pub(super) make: Option<Step>,
}

/// What is to be done about the rule of a pool that is there.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// What is sent now.
    pub(super) step: Option<Step>,
    /// Why nothing is.
    pub(super) refusal: Option<Refusal>,
}

/// Whether a pool of this wish can be made, and what has to be there before.
pub(super) fn for_creation(wish: &Wish, view: &ClusterView) -> Result<Placed, Refusal> {
    if wish.coding.is_some() {
        // That is looked at with the profile.
        return Ok(Placed::default());
    }
    let size = stretch::size(view).or(wish.asked_integer(&settings::SIZE));
    let Some(placement) = &wish.placement else {
        return by_default(size, view);
    };
    let wanted = placement.find(view.crush())?;
    fits(&wanted.rule, PoolKind::Replicated)?;
    // The default of a cluster is not in its maps; one copy there is always.
    let copies = Copies::new_pool(PoolKind::Replicated, size.unwrap_or(1));
    let doubt = place(view, &wanted.rule, copies, CRUSH_RULE.field)?;
    Ok(Placed {
        make: wanted.missing.map(|made| make(&made, "none")),
        doubt,
    })
}

/// Without a rule in the manifest Ceph takes its default, which is not in its maps either: it is one of the
/// rules for replicated pools.
fn by_default(size: Option<i64>, view: &ClusterView) -> Result<Placed, Refusal> {
    let rules = view.crush().rules.values();
    let mut first = None;
    for rule in rules.filter(|rule| fits(rule, PoolKind::Replicated).is_ok()) {
        let copies = Copies::new_pool(PoolKind::Replicated, size.unwrap_or(1));
        match place(view, rule, copies, settings::SIZE.field) {
            Ok(_) => return Ok(Placed::default()),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    first.map_or_else(|| Ok(Placed::default()), Err)
}

/// A larger size that the rule of the pool cannot place. A smaller one only makes it better.
pub(super) fn too_large(
    pool: &Pool,
    view: &ClusterView,
    setting: &Setting,
    value: &Value,
) -> Option<Refusal> {
    let Value::Integer(size) = value else {
        return None;
    };
    if setting.variable != settings::SIZE.variable || *size <= pool.size {
        return None;
    }
    let rule = view.crush().rules.get(&pool.crush_rule)?;
    place(view, rule, Copies::of(pool, *size), settings::SIZE.field).err()
}

/// What the rule of a pool still needs.
///
/// A pool under its private name is empty and gets its rule at once. Of any other a person has to confirm it, every
/// time: to put a rule back that somebody changed by hand moves the data as well.
pub(super) fn change(
    wish: &Wish,
    pool: &Pool,
    view: &ClusterView,
    identity: Option<&PoolIdentity>,
) -> Change {
    match planned(wish, pool, view, identity) {
        Ok(step) => Change {
            step,
            refusal: None,
        },
        Err(refusal) => Change {
            step: None,
            refusal: Some(refusal),
        },
    }
}

/// The rule that the manifest asks for; none where it names none, or what it says holds.
fn target(wish: &Wish, pool: &Pool, view: &ClusterView) -> Result<Option<Target>, Refusal> {
    if let Some(coding) = &wish.coding {
        return erasure::target(coding, pool, view);
    }
    let Some(placement) = &wish.placement else {
        return Ok(None);
    };
    let wanted = placement.find(view.crush())?;
    let name = placement.name();
    let observed = view.rule_name(pool);
    Ok(Some(Target {
        title: match placement {
            Placement::Existing(_) => name.clone(),
            Placement::Made(made) => format!("{name} ({made})"),
        },
        name,
        rule: wanted.rule,
        make: wanted.missing.map(|made| make(&made, &observed)),
    }))
}

fn planned(
    wish: &Wish,
    pool: &Pool,
    view: &ClusterView,
    identity: Option<&PoolIdentity>,
) -> Result<Option<Step>, Refusal> {
    let Some(target) = target(wish, pool, view)? else {
        return Ok(None);
    };
    let present = view.crush().rules.get(&pool.crush_rule);
    if present.is_some_and(|present| present.says_the_same(&target.rule)) {
        return Ok(None);
    }
    fits(&target.rule, pool.kind)?;
    let size = wish.asked_integer(&settings::SIZE).unwrap_or(pool.size);
    let doubt = place(view, &target.rule, Copies::of(pool, size), CRUSH_RULE.field)?;
    let observed = view.rule_name(pool);
    let mut token = None;
    // Until it is published nothing can be in it.
    if !wish.record.unpublished {
        token = Some(allowed(
            wish,
            &target,
            pool,
            &observed,
            identity,
            doubt.as_deref(),
        )?);
        full(view)?;
        alone(pool, view)?;
    }
    if target.make.is_some() {
        return Ok(target.make);
    }
    Ok(Some(Step {
        command: CRUSH_RULE.set(&pool.name, &Value::Word(target.name.clone())),
        field: CRUSH_RULE.field.to_owned(),
        desired: target.name,
        observed,
        reason: match token {
            Some(_) => "a person has confirmed that the data moves".to_owned(),
            None => "as the manifest says".to_owned(),
        },
        last: false,
        token,
    }))
}

/// A person's word for moving the data.
fn allowed(
    wish: &Wish,
    target: &Target,
    pool: &Pool,
    observed: &str,
    identity: Option<&PoolIdentity>,
    doubt: Option<&str>,
) -> Result<String, Refusal> {
    match wish.answer(&Danger::new("crush", &target.name), identity) {
        Answer::Confirmed(token) => Ok(token),
        Answer::Needed(asked) => {
            let doubt = doubt.map_or_else(String::new, |doubt| format!(" {doubt}."));
            let message = format!(
                "pool {} has the CRUSH rule {observed}; with {} its data would move to other OSDs, so the rule is \
                 not changed.{doubt} Go back to the present rule, or {}",
                pool.name,
                target.title,
                wish.how_to_confirm(&asked)
            );
            Err(Refusal::new(Reason::Unsafe, Some(CRUSH_RULE.field), message).asking(asked))
        }
    }
}

/// While a cluster is nearly full, no data is moved.
fn full(view: &ClusterView) -> Result<(), Refusal> {
    let refuse = |who: &str, flag: &str| {
        Err(Refusal::new(
            Reason::Blocked,
            Some(CRUSH_RULE.field),
            format!(
                "{who} has the flag {flag}: no data is moved to other OSDs while there is so little room; add OSDs or \
                 remove data, and it goes on by itself"
            ),
        ))
    };
    if let Some(flag) = NEARLY_FULL
        .iter()
        .find(|flag| view.map().flags.contains(**flag))
    {
        return refuse("the cluster", flag);
    }
    for pool in view.map().pools.values() {
        // A pool that has reached its quota counts as full, too.
        let quota = pool.has_flag("full_quota");
        let flag = NEARLY_FULL
            .iter()
            .find(|flag| pool.has_flag(flag) && !(quota && **flag == "full"));
        if let Some(flag) = flag {
            return refuse(&format!("pool {}", pool.name), flag);
        }
    }
    Ok(())
}

/// The data of one pool at a time: that of another one, whosever it is, has to have arrived.
fn alone(pool: &Pool, view: &ClusterView) -> Result<(), Refusal> {
    let moving = view.map().moving.iter().copied();
    let mut others = moving
        .filter(|other| *other != pool.id)
        .filter_map(|other| view.pool(other));
    // What its rule cannot place never arrives.
    match others.find(|other| arrives(other, view)) {
        None => Ok(()),
        Some(other) => Err(Refusal::new(
            Reason::Blocked,
            Some(CRUSH_RULE.field),
            format!(
                "data of pool {} is being moved to other OSDs, and that of one pool at a time is enough; wait until \
                 that has ended, and it goes on by itself (`ceph pg ls remapped` shows what is left)",
                other.name
            ),
        )),
    }
}

/// Whether the rule of a pool can place its copies, as far as is known.
fn arrives(pool: &Pool, view: &ClusterView) -> bool {
    let rule = view.crush().rules.get(&pool.crush_rule);
    let copies = Copies::of(pool, pool.size);
    rule.is_none_or(|rule| place(view, rule, copies, CRUSH_RULE.field).is_ok())
}

/// Rules that were made for this object, which no pool has any more. Nobody else's: a rule of which only the name is
/// like ours stays, and so does one that was made for another object.
pub(super) fn let_go(wish: &Wish, view: &ClusterView) -> Vec<Step> {
    let named = wish.fields();
    let left = wish.record.applied.difference(&named);
    left.filter_map(|field| Some((field, parse_rule_field(field)?)))
        .filter(|(_, rule)| MadeRule::is_one(rule, view.crush()))
        .filter(|(_, rule)| {
            let number = view.crush().rule_named(rule);
            let mut pools = view.map().pools.values();
            !pools.any(|pool| Some(pool.crush_rule) == number)
        })
        .map(|(field, rule)| Step {
            command: MonCommand::RuleRemove {
                rule: rule.to_owned(),
            },
            field: field.clone(),
            desired: "absent".to_owned(),
            observed: rule.to_owned(),
            reason: "remove the CRUSH rule that was made for this pool: no pool has it any more"
                .to_owned(),
            last: false,
            token: None,
        })
        .collect()
}

/// Whether pools of this kind can have the rule.
pub(super) fn fits(rule: &Rule, kind: PoolKind) -> Result<(), Refusal> {
    // One of which only the name is known has no kind.
    let (kinds, pools): (&[u8], _) = match kind {
        PoolKind::Replicated => (&[0, 1, 4], "replicated"),
        PoolKind::Erasure => (&[0, 3, 5], "erasure-coded"),
    };
    if kinds.contains(&rule.kind) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::InvalidSpec,
        Some(CRUSH_RULE.field),
        format!(
            "the CRUSH rule {} is not for {pools} pools; name another one, or a crush.failureDomain",
            rule.name
        ),
    ))
}

/// The round before: rules are never changed, so one that is there by then says the same.
fn make(made: &MadeRule, observed: &str) -> Step {
    Step {
        command: made.command(),
        field: CRUSH_RULE.field.to_owned(),
        desired: made.name(),
        observed: observed.to_owned(),
        reason: format!("make the CRUSH rule: {made}"),
        last: false,
        token: None,
    }
}
