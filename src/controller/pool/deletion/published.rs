//! An object that is deleted with `deletionPolicy: Delete`: its pool goes with it, if it is proven empty or a
//! person confirms that what is in it may be lost.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    AGAIN, KEPT, NotReached, base_name, blocked, end_requests, give_up, is_removing, paused, reach,
    released, remove, said, tidy_up, unclear, under_way, without_refused_rules,
};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::Verb;
use crate::ceph::command::MonCommand;
use crate::ceph::types::PoolName;
use crate::ceph::view::ClusterView;
use crate::controller::pool::subject::{Look, Subject};
use crate::controller::pools::{PoolEntry, Side, names_to_grant, removes_pool};
use crate::controller::registry::Session;
use crate::controller::{record, status};
use crate::request::coding::Coding;
use crate::request::executor::{Aim, see_quorum, still_missing};
use crate::request::factory::Next;
use crate::request::pool_factory::removal_round;
use crate::request::refusal::Refusal;
use crate::request::rejection::Rejection;
use crate::request::wish::{Record, Wish};
use crate::request::work::{PoolWork, RunEnd, State};

/// A removal that Ceph refuses is tried at most this seldom: each try takes the pool's name away for a moment.
const LONGEST_REFUSED: Duration = Duration::from_secs(3600);
/// How soon a look that could not see everything is tried again at first: of a new pool there are no figures for a
/// second or two.
const UNPROVEN: Duration = Duration::from_secs(2);
/// How soon a pool that was left under its private name gets its own one back.
const LEFT: Duration = Duration::from_secs(1);

pub(super) fn look(subject: &Subject<'_>, known: Record) -> Look {
    let Subject {
        pools,
        entry,
        work,
        key,
        object,
    } = *subject;
    let status = object.status.as_ref();
    if known.identity.is_none() && status.is_none_or(|status| status.request.is_none()) {
        // Nothing was ever done for it.
        return released(known);
    }
    let base = base_name(subject, &known);
    let wish = Wish {
        remove: removes_pool(object),
        coding: Coding::read(&object.spec),
        confirmations: record::confirmations(object),
        ..Wish::for_removal(
            pools.owner(key),
            base.clone(),
            object.metadata.generation.unwrap_or_default(),
            without_refused_rules(work, known.clone()),
        )
    };
    if work.state().running {
        // Another policy, or a person's word, counts from its next round on. A run that is no removal ends.
        let removing = is_removing(work);
        work.state().wish = removing.then(|| Arc::new(wish));
        return going_on(subject, known);
    }
    let scene = Scene {
        subject,
        known: &known,
        base: &base,
    };
    if let Some(why) = paused(subject, "its pool") {
        return scene.still(why, None);
    }
    let (session, view) = match reach(subject, &known) {
        Ok(reached) => reached,
        Err(NotReached::Soon) => return unclear(known),
        Err(NotReached::Because(why)) => {
            let what = if wish.remove {
                "be removed"
            } else {
                "get its name back"
            };
            let message = format!(
                "pool {base} cannot {what}: {}; {}",
                why.message,
                give_up(&base)
            );
            return scene.still(Refusal { message, ..why }, None);
        }
    };
    let mut wish = wish;
    let mut next = removal_round(&wish, &view, None, None);
    if is_done(&next) {
        let identity = known.identity.as_ref();
        let gone = identity.is_none_or(|pool| view.identified(pool).is_none());
        if wish.remove && gone && tidy_up(subject, &wish, &view, &session, Aim::Remove) {
            return going_on(subject, known);
        }
        return scene.done(&view, &session);
    }
    let half_way = scene.private(&view).is_some();
    if wish.remove {
        let present = next.found.as_ref().map(|found| &found.name);
        let mut names = names_to_grant(Verb::Delete, &wish, present).into_iter();
        let denied = names.find_map(|name| {
            let granted = pools.granted(&session, &key.namespace, name, Verb::Delete);
            granted.err()
        });
        match denied {
            Some(why) if !half_way => return scene.still(why, Some(&view)),
            Some(_) => {
                // A grant that was taken back must not keep a pool from its name.
                wish.remove = false;
                next = removal_round(&wish, &view, None, None);
            }
            None => {}
        }
    }
    if next.round.is_empty()
        && let Some(why) = together(&next.refusals)
    {
        return scene.still(why, Some(&view));
    }
    let news = said(entry, subject, &wish);
    let denied = work.state().rejections.iter().any(Rejection::denied);
    // A pool that has its private name and is not to be removed now gets its own one back before anything else.
    let refused = matches!(work.state().end, Some(RunEnd::Refused(_)));
    let left = half_way && (!refused || !next.round.is_empty());
    if let Some((why, wait)) = held(entry, work, news, left) {
        return Look {
            requeue: wait,
            ..scene.still(why, Some(&view))
        };
    }
    if denied {
        pools.registry.renew(&session.name);
    }
    remove(subject, wish, next, &session, Aim::Remove);
    going_on(subject, known)
}

/// While it is tried again, the object keeps saying why it did not work before.
fn going_on(subject: &Subject<'_>, known: Record) -> Look {
    Look {
        quiet: status::blocked(subject.object).is_some(),
        ..under_way(known, AGAIN)
    }
}

fn is_done(next: &Next) -> bool {
    next.round.is_empty() && next.refusals.is_empty() && next.unproven.is_none()
}

/// A deletion that is looked at.
struct Scene<'a> {
    subject: &'a Subject<'a>,
    known: &'a Record,
    /// The name that the pool has, or gets back.
    base: &'a PoolName,
}

impl Scene<'_> {
    /// The private name, if a removal was begun.
    fn begun(&self) -> Option<PoolName> {
        let nonce = self.known.removal.as_ref()?;
        Some(self.base.while_removing(nonce))
    }

    /// The private name, if a pool has it now.
    fn private(&self, view: &ClusterView) -> Option<PoolName> {
        self.begun().filter(|name| view.pool_named(name).is_some())
    }

    /// It cannot go on: why, where the pool is meanwhile, and how to keep it.
    fn still(&self, why: Refusal, view: Option<&ClusterView>) -> Look {
        let mut message = why.message;
        let place = match view {
            Some(view) => self.private(view).map(|private| ("has", private)),
            None => self.begun().map(|private| ("may have", private)),
        };
        if let Some((has, private)) = place {
            message = format!(
                "{message}. At this moment the pool {has} the name {private}, under which it was to be removed"
            );
        }
        if removes_pool(self.subject.object) {
            let key = self.subject.key;
            message = format!(
                "{message}. To keep the pool: `kubectl -n {} patch cephpool {} --type=merge -p \
                 '{{\"spec\":{{\"deletionPolicy\":\"Retain\"}}}}'`",
                key.namespace, key.name
            );
        }
        blocked(self.known, Refusal { message, ..why })
    }

    /// Nothing is left to do, unless a command of ours may still be executed: a late rename would take away the name
    /// of whichever pool has it then, and somebody has to give it back.
    fn done(&self, view: &ClusterView, session: &Session) -> Look {
        let Subject {
            pools, work, key, ..
        } = *self.subject;
        let locks = &pools.collection.locks;
        see_quorum(locks, &session.monitor);
        let unsettled = locks.unsettled(key, view, Instant::now());
        if let Some(wait) = unsettled.filter(|_| self.known.removal.is_some()) {
            let missing = locks.missing(view.fsid());
            if !missing.is_empty() {
                let message = format!(
                    "the pool {} is gone, and a rename of it that was not answered in time may still be executed and take \
                     away the name of another pool{}",
                    self.base,
                    still_missing(&missing)
                );
                return blocked(self.known, Refusal::new(Reason::Unreachable, None, message));
            }
            return Look {
                quiet: true,
                ..under_way(self.known.clone(), wait.min(AGAIN) + LEFT)
            };
        }
        let pool = self.known.identity.as_ref();
        if pool.is_none_or(|pool| view.identified(pool).is_none()) {
            for request in &mut work.state().requests {
                request.succeed(view.epoch(), Timestamp::now());
            }
        } else if removes_pool(self.subject.object) {
            end_requests(work, |_| {
                Some("the pool is not this object's any more: it is left to its owner")
            });
        } else {
            end_requests(work, |_| Some(KEPT));
        }
        released(Record {
            removal: None,
            ..self.known.clone()
        })
    }
}

/// Several refusals as one.
fn together(refusals: &[Refusal]) -> Option<Refusal> {
    let first = refusals.first()?;
    let messages: Vec<&str> = refusals
        .iter()
        .map(|refusal| refusal.message.as_str())
        .collect();
    Some(Refusal {
        message: messages.join("; "),
        token: refusals.iter().find_map(|refusal| refusal.token.clone()),
        ..first.clone()
    })
}

/// Why the last try came to nothing, and how long until the next one; nothing when it may be tried now. `left` is a pool
/// that should not have its private name any more.
fn held(entry: &PoolEntry, work: &PoolWork, news: bool, left: bool) -> Option<(Refusal, Duration)> {
    let mut side = entry.side();
    let mut state = work.state();
    if let Some(why) = why_not(&state)
        && !news
    {
        let now = Instant::now();
        let due = if let Some(due) = side.next_try {
            due
        } else {
            let wait = wait_after(&mut side, &state, &why, left);
            *side.next_try.insert(now + wait)
        };
        if now < due {
            return Some((why, (due - now).min(AGAIN)));
        }
    }
    side.next_try = None;
    if news {
        side.rejected_tries = 0;
        side.looks_failed = 0;
    }
    if left && !news {
        // What Ceph refused is not tried again before the pool has its name back.
        state
            .rejections
            .retain(|rejection| matches!(rejection.command, MonCommand::PoolRemove { .. }));
    } else {
        state.rejections.clear();
    }
    state.end = None;
    None
}

/// Why the last try came to nothing.
fn why_not(state: &State) -> Option<Refusal> {
    let passing = |reason, message: String| Some(Refusal::new(reason, None, message));
    match state.end.as_ref()? {
        RunEnd::Refused(refusals) => together(refusals),
        RunEnd::Away(why) | RunEnd::NotRecorded(why) | RunEnd::Later(why) => passing(
            Reason::ProgressingWithRetry,
            format!("the removal did not work: {why}; it is tried again by itself"),
        ),
        RunEnd::Unsafe(why) => passing(
            Reason::PoolReplaced,
            format!("the removal was stopped: {why}; it is tried again by itself"),
        ),
        RunEnd::Rejected => {
            let words: Vec<String> = state.rejections.iter().map(words).collect();
            let denied = state.rejections.iter().any(Rejection::denied);
            let reason = if denied {
                Reason::PermissionDenied
            } else {
                Reason::Rejected
            };
            passing(reason, words.join("; "))
        }
        RunEnd::NotConverging => passing(
            Reason::NotConverging,
            "the removal did not end within the longest allowed number of rounds; see the commands of its request"
                .to_owned(),
        ),
        RunEnd::InSync | RunEnd::Moved(_) | RunEnd::Stopped => None,
    }
}

/// What Ceph refused, and what to do about it.
fn words(rejection: &Rejection) -> String {
    let line = rejection.command.to_line();
    let (text, code) = (rejection.text.trim(), rejection.code);
    let remedy = if rejection.denied() {
        format!(
            "; give the Ceph user the mon capability: allow command \"{}\"",
            rejection.command.prefix()
        )
    } else {
        String::new()
    };
    format!("Ceph refused `{line}`: {text} (code {code}){remedy}")
}

/// How long until the next try.
fn wait_after(side: &mut Side, state: &State, why: &Refusal, left: bool) -> Duration {
    let doubled = |first: Duration, tries: &mut u32, longest: Duration| {
        let wait = (first * 2_u32.pow((*tries).min(7))).min(longest);
        *tries = tries.saturating_add(1);
        wait
    };
    if left {
        doubled(LEFT, &mut side.looks_failed, AGAIN)
    } else if !state.rejections.is_empty() {
        doubled(AGAIN, &mut side.rejected_tries, LONGEST_REFUSED)
    } else if why.reason == Reason::NotProven {
        doubled(UNPROVEN, &mut side.looks_failed, AGAIN)
    } else {
        AGAIN
    }
}
