//! Which of the cluster's monitors take part, and since when all do.
//!
//! A monitor that is frozen keeps the commands that are in its sockets and executes them when it goes on, however much
//! later that is and though others have answered them meanwhile. Nobody can tell it from one that is dead, so as long as one
//! is missing a command that went through it may still come.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::ceph::client::{ClientError, Reply};

/// For so long after somebody asked it is kept up to date: longer than anybody waits before he asks again.
const WANTED: Duration = Duration::from_secs(900);
/// At least so much is between two polls of it.
const SPACING: Duration = Duration::from_secs(1);

/// What is known of the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// The monitors of the map that are not in it, by name; none also when it is not known.
    pub missing: Vec<String>,
    /// Since when all are in it, as far as was seen; `None` while one is missing, and when it is not known.
    pub whole_since: Option<Instant>,
}

/// What a monitor of ours remembers about it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    known: Quorum,
    wanted: Option<Instant>,
    polled: Option<Instant>,
}

impl Watched {
    /// What is known now, and that somebody wants to know. `now` must not go back.
    pub(super) fn ask(&mut self, now: Instant) -> Quorum {
        if !self.is_wanted(now) {
            // Nobody has looked since.
            self.known = Quorum::default();
        }
        self.wanted = Some(now);
        self.known.clone()
    }

    /// Whether a poll is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let spaced = (self.polled).is_none_or(|at| now.saturating_duration_since(at) >= SPACING);
        spaced && self.is_wanted(now)
    }

    /// An answer to `quorum_status`, or that there was none. It was asked at `sent`.
    pub(super) fn saw(&mut self, reply: Result<Reply, ClientError>, sent: Instant) {
        self.polled = Some(sent);
        let missing = match reply {
            // A key that may not ask: then it is not known, and never will be.
            Ok(reply) if reply.code < 0 => Some(Vec::new()),
            Ok(reply) => missing(&reply.body),
            Err(_) => None,
        };
        self.known = match missing {
            Some(missing) if missing.is_empty() => Quorum {
                missing,
                whole_since: Some(self.known.whole_since.unwrap_or(sent)),
            },
            Some(missing) => Quorum {
                missing,
                whole_since: None,
            },
            None => Quorum {
                whole_since: None,
                ..self.known.clone()
            },
        };
    }

    fn is_wanted(&self, now: Instant) -> bool {
        (self.wanted).is_some_and(|at| now.saturating_duration_since(at) < WANTED)
    }
}

/// The monitors that `quorum_status` lists in the map and not in the quorum.
fn missing(body: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Status {
        quorum_names: BTreeSet<String>,
        monmap: Map,
    }
    #[derive(Deserialize)]
    struct Map {
        mons: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let status: Status = serde_json::from_slice(body).ok()?;
    let all = status.monmap.mons.into_iter().map(|mon| mon.name);
    Some(
        all.filter(|name| !status.quorum_names.contains(name))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(names: &[&str]) -> Reply {
        Reply {
            code: 0,
            text: String::new(),
            body: serde_json::json!({
                "election_epoch": 8, "quorum": [0], "quorum_names": names,
                "monmap": {"mons": [{"rank": 0, "name": "a"}, {"rank": 1, "name": "b"}]},
            })
            .to_string()
            .into(),
        }
    }

    /// It counts from when all were seen first, and again after one was missing or nothing was heard.
    #[test]
    fn since_when_it_is_whole() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let silence = || {
            Err(ClientError::TimedOut {
                command: "quorum_status",
                after: SPACING,
            })
        };
        let garbled = || Reply {
            body: b"{".into(),
            ..said(&[])
        };
        let denied = || Reply {
            code: -13,
            body: Vec::new(),
            ..said(&[])
        };
        let mut watched = Watched::default();
        assert!(!watched.is_due(at(0)), "nobody asked");
        assert_eq!(watched.ask(at(0)), Quorum::default());
        for (second, reply, missing, since) in [
            (1, Ok(said(&["a", "b"])), vec![], Some(1)),
            (2, Ok(said(&["b", "a"])), vec![], Some(1)),
            (3, Ok(said(&["b"])), vec!["a"], None),
            (4, silence(), vec!["a"], None),
            (5, Ok(said(&["a", "b"])), vec![], Some(5)),
            (6, silence(), vec![], None),
            (7, Ok(said(&["a", "b"])), vec![], Some(7)),
            (8, Ok(garbled()), vec![], None),
            (9, Ok(denied()), vec![], Some(9)),
        ] {
            assert!(watched.is_due(at(second)), "{second}");
            watched.saw(reply, at(second));
            assert!(!watched.is_due(at(second)), "{second}");
            let known = watched.ask(at(second));
            assert_eq!(known.missing, missing, "{second}");
            assert_eq!(known.whole_since, since.map(at), "{second}");
        }
        assert!(!watched.is_due(at(909)), "nobody wants to know any more");
        assert_eq!(
            watched.ask(at(909)),
            Quorum::default(),
            "nobody has looked since"
        );
    }
}
