//! `Rejection`: a command that Ceph refused, with its own words.

use std::fmt;

use jiff::Timestamp;

use super::round::Step;
use crate::ceph::client::Reply;
use crate::ceph::command::MonCommand;
use crate::ceph::errno::{Verdict, judge, map_moved};

/// A command that Ceph refused. It is not sent again as it is until something changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The field it was for.
    pub field: String,
    /// The value it should have got.
    pub desired: String,
    /// What was sent.
    pub command: MonCommand,
    /// A negative errno.
    pub code: i32,
    /// What the code means for us.
    pub verdict: Verdict,
    /// The monitors' words.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, code) = (self.text.trim(), self.code);
        match &self.command {
            // One command for several fields: the text tells which.
            MonCommand::PoolCreate(_) => write!(formatter, "Ceph refused to create the pool")?,
            MonCommand::PoolRemove { pool } => write!(formatter, "Ceph refused to remove {pool}")?,
            _ => write!(formatter, "Ceph refused it")?,
        }
        write!(formatter, ": {text} (code {code})")
    }
}

impl Rejection {
    /// Whether the key lacks a capability.
    pub fn denied(&self) -> bool {
        self.verdict == Verdict::Denied
    }

    /// The rejection in a reply, if it is one that a second try with the same command would meet again.
    pub fn of(step: &Step, reply: &Reply, at: Timestamp) -> Option<Self> {
        let verdict = match (&step.command, judge(reply.code)) {
            // It uses nothing that is in the map: what there is none of is the technique.
            (MonCommand::ProfileSet { .. }, Verdict::Later) if map_moved(reply.code) => {
                Verdict::Refused
            }
            (_, verdict) => verdict,
        };
        // A pool that cannot be removed just now gets its name back, and is not kept under a private one until it can.
        let removal = matches!(step.command, MonCommand::PoolRemove { .. });
        match verdict {
            Verdict::Accepted => None,
            Verdict::Later if !removal => None,
            Verdict::Later
            | Verdict::Denied
            | Verdict::Guarded
            | Verdict::Limit
            | Verdict::Refused => Some(Self {
                field: step.field.clone(),
                desired: step.desired.clone(),
                command: step.command.clone(),
                code: reply.code,
                verdict,
                text: reply.text.clone(),
                at,
            }),
        }
    }
}
