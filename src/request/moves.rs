//! One pool of a cluster at a time gets another CRUSH rule.
//!
//! The map shows that data moves only when the OSDs have agreed on it, some seconds after the rule was set. Until then
//! no other pool of that cluster gets one; after that the planner sees it in the map.

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

/// Whose data began to move last, by cluster. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Moves(Arc<Mutex<BTreeMap<Fsid, (PoolKey, Instant)>>>);

impl Moves {
    /// Takes the turn for a round that moves data; any other round needs none.
    ///
    /// # Errors
    ///
    /// The pool whose data began to move a moment ago, and how long to wait for it.
    pub fn take(
        &self,
        fsid: &Fsid,
        key: &PoolKey,
        round: &Round,
        now: Instant,
    ) -> Result<(), (PoolKey, Duration)> {
        if !moves(round) {
            return Ok(());
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((other, since)) = last.get(fsid)
            && other != key
        {
            let left = SETTLING.saturating_sub(now.duration_since(*since));
            if !left.is_zero() {
                return Err((other.clone(), left));
            }
        }
        last.insert(fsid.clone(), (key.clone(), now));
        Ok(())
    }
}

/// Whether a round sets a rule with a person's word: without one the pool is empty.
fn moves(round: &Round) -> bool {
    round.steps.iter().any(|step| {
        let sets_rule = matches!(&step.command, MonCommand::PoolSet { variable, .. }
            if variable == CRUSH_RULE.variable);
        sets_rule && step.token.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
            turns.take(fsid, &key(name), round, now + Duration::from_secs(seconds))
        };
        assert_eq!(take(&one, "a", &moving, 0), Ok(()));
        let wait = Err((key("a"), Duration::from_secs(20)));
        assert_eq!(take(&one, "b", &moving, 10), wait);
        assert_eq!(take(&one, "a", &moving, 10), Ok(()), "the same goes on");
        assert_eq!(take(&two, "b", &moving, 10), Ok(()));
        assert_eq!(take(&one, "b", &round("crush_rule", None), 10), Ok(()));
        assert_eq!(take(&one, "b", &round("size", Some("token")), 10), Ok(()));
        assert!(take(&one, "b", &moving, 39).is_err());
        assert_eq!(take(&one, "b", &moving, 40), Ok(()));
        assert!(take(&one, "a", &moving, 41).is_err());
    }
}
