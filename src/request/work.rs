//! What is known of the work on one pool: shared by its run and by whoever looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::contest::Contest;
use super::refusal::Refusal;
use super::rejection::Rejection;
use super::user_request::{Observation, UserRequest};
use super::wish::{Record, Wish};
use crate::api::v1alpha1::RequestState;

/// The object a pool's work belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: an object made again is another one.
    pub uid: String,
}

impl fmt::Display for PoolKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl PoolKey {
    /// The keys of a map that are of this name, whatever their uids.
    pub fn of_name<T>(map: &BTreeMap<Self, T>, namespace: &str, name: &str) -> Vec<Self> {
        let first = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        };
        map.range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.namespace == namespace && key.name == name)
            .cloned()
            .collect()
    }
}

/// The work on one pool.
#[derive(Debug, Default)]
pub struct PoolWork(Mutex<State>);

/// What is known of the work on one pool.
#[derive(Debug, Default)]
pub struct State {
    /// What is written down of the pool, or about to be.
    pub record: Option<Record>,
    /// What it is to become: the newest wish.
    pub wish: Option<Arc<Wish>>,
    /// The open requests, oldest first, and those that ended and are not written down yet.
    pub requests: Vec<UserRequest>,
    /// Whether a run is under way.
    pub running: bool,
    /// How the last run ended; `None` before the first and during one.
    pub end: Option<RunEnd>,
    /// Commands that Ceph refused for this wish; they are not sent again as they are.
    pub rejections: Vec<Rejection>,
    /// Who else changes its fields.
    pub contest: Contest,
    /// The fields that the run under way leaves alone because of that.
    pub left_alone: BTreeSet<String>,
    /// The claim that was drawn to take the pool back, until it stands in the pool's mark.
    pub new_claim: Option<String>,
    /// The generation that a person cancelled: nothing more is sent for it.
    pub cancelled: Option<i64>,
    /// Requests that were cancelled before it was known whose they are.
    pub cancel_asked: BTreeSet<String>,
}

impl PoolWork {
    /// The state, locked. Never held over an `await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Shows a view to the open requests.
    pub fn observe(&mut self, seen: Observation<'_>, now: Timestamp) {
        for request in &mut self.requests {
            // A view can show a round before its replies are in: they belong to the request, too.
            let in_flight = self.running && request.state == RequestState::Submitted;
            if !in_flight {
                request.observe(seen, now);
            }
        }
    }

    /// The IDs of the requests whose commands are not done; of one that only waits for placement groups they are.
    pub fn open_requests(&self) -> BTreeSet<String> {
        let open = self
            .requests
            .iter()
            .filter(|request| !request.is_complete() && !request.following);
        open.map(|request| request.id.clone()).collect()
    }

    /// A person cancels a request. Says whether that is news.
    pub fn cancel(&mut self, id: &str) -> bool {
        let open = self
            .requests
            .iter()
            .any(|request| request.id == id && request.may_be_cancelled());
        // One that has ended is not touched; before the open ones are known, any may be one.
        if !(open || self.requests.is_empty()) || !self.cancel_asked.insert(id.to_owned()) {
            return false;
        }
        let generation = self.wish.as_ref().map(|wish| wish.generation);
        let of_newest =
            |request: &&UserRequest| request.id == id && Some(request.generation) == generation;
        if self.requests.iter().any(|request| of_newest(&request)) {
            // A run under way does not send its next round.
            self.cancelled = generation;
        }
        true
    }

    /// Ends the requests that were cancelled, and stops the generation of the newest wish if its own is among them. While
    /// a run is under way they are ended after it. Says whether nothing more may be sent for the generation.
    ///
    /// Where nothing is left to send, a cancel stops nothing, and does not hold for what differs later: neither one that
    /// came after the last command, nor one of before.
    pub fn heed_cancels(&mut self, generation: i64, nothing_left: bool, now: Timestamp) -> bool {
        let asked = &self.cancel_asked;
        for request in &mut self.requests {
            if !request.may_be_cancelled() || !asked.contains(&request.id) {
                continue;
            }
            if request.generation == generation {
                self.cancelled = Some(generation);
            }
            if !self.running {
                request.cancel(nothing_left, now);
            }
        }
        let known = &self.requests;
        self.cancel_asked
            .retain(|id| known.iter().any(|request| request.id == *id));
        if self.cancelled != Some(generation) || self.running {
            return false;
        }
        // Whatever else is open of this generation is stopped with it.
        let requests = self.requests.iter_mut();
        for request in requests.filter(|request| request.generation == generation) {
            request.cancel(nothing_left, now);
        }
        if nothing_left {
            self.cancelled = None;
        }
        !nothing_left
    }

    /// The newest request, open or just ended.
    pub fn newest(&self) -> Option<&UserRequest> {
        self.requests.last()
    }

    /// The newest request of a generation that is not complete.
    pub fn open_request(&self) -> Option<&UserRequest> {
        self.requests
            .iter()
            .rev()
            .find(|request| !request.is_complete())
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// The plan is empty.
    InSync,
    /// What is left cannot be done, and why.
    Refused(Vec<Refusal>),
    /// What is left was refused by Ceph; see the rejections.
    Rejected,
    /// Something is left after the longest allowed number of rounds.
    NotConverging,
    /// The cluster cannot be seen or does not answer: try again.
    Away(String),
    /// The cluster answers that it cannot do it just now, in its own words: try again.
    Later(String),
    /// The object changed under the run: look at it again.
    Moved(String),
    /// What could not be written down was not sent: try again.
    NotRecorded(String),
    /// A name has come to mean another pool, or a round was not what it should be.
    Unsafe(String),
    /// The program is ending.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::{Operation, Outcome};
    use crate::ceph::types::PoolName;
    use crate::request::ownership::Owner;
    use crate::request::preview::Plan;
    use crate::request::user_request::{CANCELLED, CANCELLED_LATE};

    /// A request of this generation, which is the newest.
    fn asked(generation: i64) -> State {
        let owner = Owner {
            instance: "c9a1".into(),
            namespace: "team-a".into(),
            name: "a".into(),
        };
        let wish = Wish {
            generation,
            ..Wish::for_removal(owner, PoolName::new("a"), generation, Record::default())
        };
        let request = UserRequest::new(
            "id".into(),
            Operation::Update,
            generation,
            &wish,
            &Plan::default(),
            Timestamp::UNIX_EPOCH,
        );
        State {
            wish: Some(Arc::new(wish)),
            requests: vec![request],
            ..State::default()
        }
    }

    /// A cancel stops its generation while something is left to send; one that comes later, or that nothing is left of,
    /// stops nothing, and what differs from then on is corrected.
    #[test]
    fn cancels_hold_while_something_is_left() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = asked(3);
        assert!(state.cancel("id"));
        assert!(state.heed_cancels(3, false, now));
        assert_eq!(state.requests[0].outcome, Some(Outcome::Cancelled));
        assert_eq!(state.requests[0].error.as_deref(), Some(CANCELLED));
        assert!(state.heed_cancels(3, false, now), "it goes on holding");
        assert!(!state.heed_cancels(3, true, now), "nothing is left");
        assert!(!state.heed_cancels(3, false, now), "that has lifted it");

        let mut state = asked(3);
        assert!(state.cancel("id"));
        assert!(!state.heed_cancels(3, true, now));
        assert_eq!(state.requests[0].outcome, Some(Outcome::Cancelled));
        assert_eq!(state.requests[0].error.as_deref(), Some(CANCELLED_LATE));
        assert_eq!(state.cancelled, None);
        assert!(!state.heed_cancels(3, false, now), "what differs later");
    }

    /// The token of a request whose commands are all sent is used, though its placement groups still follow.
    #[test]
    fn a_token_is_used_with_the_last_command() {
        let mut state = asked(3);
        assert_eq!(state.open_requests(), BTreeSet::from(["id".to_owned()]));
        state.requests[0].following = true;
        assert_eq!(state.open_requests(), BTreeSet::new());
    }
}
