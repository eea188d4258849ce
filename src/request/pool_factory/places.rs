//! Whether there are places for the copies or chunks of a pool, and what a person can do where there are not.

use crate::api::conditions::Reason;
use crate::ceph::crush_map::Rule;
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::view::ClusterView;
use crate::request::placement::capacity::{Shortage, Verdict, judge};
use crate::request::refusal::Refusal;

/// How many copies or chunks are to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    kind: PoolKind,
    number: i64,
    /// Whether a person can still ask for fewer: no pool changes its chunks.
    fewer: bool,
}

impl Copies {
    /// Of a pool that is to be made.
    pub(super) fn new_pool(kind: PoolKind, number: i64) -> Self {
        Self {
            kind,
            number,
            fewer: true,
        }
    }

    /// So many of a pool that is there.
    pub(super) fn of(pool: &Pool, number: i64) -> Self {
        Self {
            kind: pool.kind,
            number,
            fewer: pool.kind == PoolKind::Replicated,
        }
    }

    fn word(self) -> &'static str {
        match self.kind {
            PoolKind::Replicated => "copies",
            PoolKind::Erasure => "chunks",
        }
    }
}

/// Refuses what a rule cannot place. What cannot be judged passes, with what speaks against it.
pub(super) fn place(
    view: &ClusterView,
    rule: &Rule,
    copies: Copies,
    field: &str,
) -> Result<Option<String>, Refusal> {
    let Ok(number) = usize::try_from(copies.number) else {
        return Ok(None);
    };
    let word = copies.word();
    match judge(view.crush(), &view.map().osds, rule, number) {
        Verdict::Enough => Ok(None),
        Verdict::Doubtful(why) => Ok(Some(format!(
            "Whether {number} {word} can be placed is not known: {why}"
        ))),
        Verdict::Short(shortage) => Err(Refusal::new(
            Reason::CannotPlace,
            Some(field),
            format!(
                "the CRUSH rule {} can place {} of {number} {word}: {}; {}",
                rule.name,
                shortage.places,
                shortage.found,
                remedy(&shortage, copies)
            ),
        )),
    }
}

/// What a person can do: who has a single host reads this first.
fn remedy(shortage: &Shortage, asked: Copies) -> String {
    let Shortage {
        places,
        copies,
        osds,
        domain,
        ..
    } = shortage;
    let missing = copies - places;
    let mut ways = vec![match domain {
        Some(domain) => format!("add {missing} of type {domain} with OSDs"),
        None if missing == 1 => "add 1 OSD".to_owned(),
        None => format!("add {missing} OSDs"),
    }];
    match asked.kind {
        // One copy is no remedy.
        PoolKind::Replicated if *places > 1 => ways.push(format!("choose size {places}")),
        PoolKind::Erasure if asked.fewer && *places > 1 => {
            ways.push(format!("ask for {places} chunks in all"));
        }
        _ => {}
    }
    let word = asked.word();
    match domain {
        Some(domain) if osds >= copies => ways.push(format!(
            "set crush.failureDomain to osd, so that {word} may share a {domain}: there are {osds} OSDs for them, but a \
             {domain} that fails may then take {lost} with it",
            lost = match asked.kind {
                PoolKind::Replicated => "all copies",
                PoolKind::Erasure => "more chunks than can be lost",
            }
        )),
        _ => ways.push("name another crush.failureDomain or crush.rule".to_owned()),
    }
    match ways.pop() {
        Some(last) if !ways.is_empty() => format!("{}, or {last}", ways.join(", ")),
        last => last.unwrap_or_default(),
    }
}
