//! Whose turn it is, where two rounds for different pools must not meet.
//!
//! One pool of a cluster at a time gets another CRUSH rule: the map shows that data moves only when the OSDs have agreed
//! on it, some seconds after the rule was set. Until then no other pool of that cluster gets one; after that the planner
//! sees it in the map.
//!
//! And no rule and no erasure-code profile is removed while a pool is being made with it, or is given it: monitors look at
//! pools that are committed only, and a pool whose rule is gone has no OSDs. Both kinds of names count as one: a profile
//! that is made here and the rule made from it are called the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::round::Round;
use super::work::PoolKey;
use crate::ceph::command::MonCommand;
use crate::ceph::settings::CRUSH_RULE;
use crate::ceph::types::Fsid;

/// How long after a rule was set the map may not show it yet.
const SETTLING: Duration = Duration::from_secs(30);

/// Whose data began to move last, and which rules and profiles are named by rounds on their way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Moves(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    moved: BTreeMap<Fsid, (PoolKey, Instant)>,
    named: Vec<Named>,
}

/// A rule or a profile in a round that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    fsid: Fsid,
    key: PoolKey,
    name: String,
    removes: bool,
}

/// Why a round has to wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Another pool's data is about to move.
    #[error(
        "the data of {other} began to move a moment ago, and that of one pool of a cluster at a time is enough"
    )]
    Moving {
        /// The pool.
        other: PoolKey,
        /// How long to wait for it.
        left: Duration,
    },
    /// A rule or a profile is being removed, or is needed.
    #[error(
        "the CRUSH rule or erasure-code profile {name} is at this moment being removed for {other}, or given to it"
    )]
    Named {
        /// Its name.
        name: String,
        /// For which pool.
        other: PoolKey,
    },
}

/// The turn of a round, until it is answered.
#[derive(Debug)]
pub struct Turn {
    moves: Moves,
    named: Vec<Named>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.named.is_empty() {
            let mut state = self.moves.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.named.retain(|named| !self.named.contains(named));
        }
    }
}

impl Moves {
    /// Takes the turn for a round, to be kept until it is answered.
    ///
    /// # Errors
    ///
    /// What it has to wait for.
    pub fn take(
        &self,
        fsid: &Fsid,
        key: &PoolKey,
        round: &Round,
        now: Instant,
    ) -> Result<Turn, Busy> {
        let named = named(fsid, key, round);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clash = |other: &&Named| {
            let meets = |mine: &Named| {
                mine.name == other.name && (mine.removes || other.removes) && mine.key != other.key
            };
            other.fsid == *fsid && named.iter().any(meets)
        };
        if let Some(other) = state.named.iter().find(clash) {
            return Err(Busy::Named {
                name: other.name.clone(),
                other: other.key.clone(),
            });
        }
        if moves(round) {
            if let Some((other, since)) = state.moved.get(fsid)
                && other != key
            {
                let left = SETTLING.saturating_sub(now.duration_since(*since));
                if !left.is_zero() {
                    return Err(Busy::Moving {
                        other: other.clone(),
                        left,
                    });
                }
            }
            state.moved.insert(fsid.clone(), (key.clone(), now));
        }
        state.named.extend(named.iter().cloned());
        Ok(Turn {
            moves: self.clone(),
            named,
        })
    }
}

/// The rules and profiles that a round speaks of.
fn named(fsid: &Fsid, key: &PoolKey, round: &Round) -> Vec<Named> {
    let commands = round.steps.iter().map(|step| &step.command);
    commands
        .flat_map(|command| {
            let removes = command.removes_shared();
            let names = command.rule().into_iter().chain(command.profile());
            names.map(move |name| Named {
                fsid: fsid.clone(),
                key: key.clone(),
                name: name.to_owned(),
                removes,
            })
        })
        .collect()
}

/// Whether a round sets a rule with a person's word: without one the pool is empty.
fn moves(round: &Round) -> bool {
    round.steps.iter().any(|step| {
        let sets_rule = matches!(&step.command, MonCommand::PoolSet { variable, .. }
            if *variable == CRUSH_RULE.variable);
        sets_rule && step.token.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceph::command::PoolCreate;
    use crate::ceph::types::PoolName;
    use crate::request::round::Step;

    fn round(variable: &str, token: Option<&str>) -> Round {
        let command = MonCommand::PoolSet {
            pool: PoolName::new("p"),
            variable: variable.into(),
            value: "v".into(),
        };
        let step = Step {
            command,
            field: "crush".into(),
            desired: String::new(),
            observed: String::new(),
            reason: String::new(),
            last: false,
            token: token.map(str::to_owned),
        };
        Round { steps: vec![step] }
    }

    /// The second pool waits; that of another cluster does not, nor does what moves nothing.
    #[test]
    fn one_at_a_time() {
        let turns = Moves::default();
        let key = |name: &str| PoolKey {
            namespace: "n".into(),
            name: name.into(),
            uid: name.into(),
        };
        let (one, two) = (Fsid::new("one"), Fsid::new("two"));
        let moving = round("crush_rule", Some("token"));
        let now = Instant::now();
        let take = |fsid: &Fsid, name: &str, round: &Round, seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            turns.take(fsid, &key(name), round, now).map(drop)
        };
        assert_eq!(take(&one, "a", &moving, 0), Ok(()));
        let wait = Err(Busy::Moving {
            other: key("a"),
            left: Duration::from_secs(20),
        });
        assert_eq!(take(&one, "b", &moving, 10), wait);
        assert_eq!(take(&one, "a", &moving, 10), Ok(()), "the same goes on");
        assert_eq!(take(&two, "b", &moving, 10), Ok(()));
        assert_eq!(take(&one, "b", &round("crush_rule", None), 10), Ok(()));
        assert_eq!(take(&one, "b", &round("size", Some("token")), 10), Ok(()));
        assert!(take(&one, "b", &moving, 39).is_err());
        assert_eq!(take(&one, "b", &moving, 40), Ok(()));
        assert!(take(&one, "a", &moving, 41).is_err());
    }

    /// A rule that is being given to a pool is not removed, nor one given that is being removed.
    #[test]
    fn no_rule_goes_under_a_pool() {
        let turns = Moves::default();
        let key = |name: &str| PoolKey {
            namespace: "n".into(),
            name: name.into(),
            uid: name.into(),
        };
        let fsid = Fsid::new("one");
        let mut removes = round("", None);
        removes.steps[0].command = MonCommand::RuleRemove { rule: "v".into() };
        let gives = round("crush_rule", None);
        let take = |name: &str, round: &Round| turns.take(&fsid, &key(name), round, Instant::now());
        let busy = |other: &str| Busy::Named {
            name: "v".into(),
            other: key(other),
        };
        let (a, b) = (take("a", &gives).unwrap(), take("b", &gives).unwrap());
        assert_eq!(take("c", &removes).map(drop), Err(busy("a")));
        drop(a);
        assert_eq!(take("c", &removes).map(drop), Err(busy("b")));
        drop(b);
        let removing = take("c", &removes).unwrap();
        assert_eq!(take("a", &gives).map(drop), Err(busy("c")));
        assert_eq!(take("a", &round("size", None)).map(drop), Ok(()));
        drop(removing);
        assert_eq!(take("a", &gives).map(drop), Ok(()));
    }

    /// Nor a profile, nor the rule that is called as it is.
    #[test]
    fn no_profile_goes_under_a_pool() {
        let turns = Moves::default();
        let fsid = Fsid::new("one");
        let mut round = round("", None);
        let mut take = |name: &str, command: MonCommand| {
            round.steps[0].command = command;
            let key = PoolKey {
                namespace: "n".into(),
                name: name.into(),
                uid: name.into(),
            };
            turns.take(&fsid, &key, &round, Instant::now())
        };
        let name = || "v".to_owned();
        let commands = [
            MonCommand::PoolCreate(PoolCreate {
                profile: Some(name()),
                ..PoolCreate::new(PoolName::new("p"), 1)
            }),
            MonCommand::ProfileSet {
                profile: name(),
                values: Vec::new(),
            },
            MonCommand::RuleCreateErasure {
                rule: "another".into(),
                profile: name(),
            },
        ];
        let removals = [
            MonCommand::ProfileRemove { profile: name() },
            MonCommand::RuleRemove { rule: name() },
        ];
        for command in &commands {
            for removal in &removals {
                let gives = take("a", command.clone()).unwrap();
                assert!(take("b", removal.clone()).is_err(), "{command:?}");
                drop(gives);
                let takes = take("b", removal.clone()).unwrap();
                assert!(take("a", command.clone()).is_err(), "{command:?}");
                drop(takes);
            }
        }
    }
}
