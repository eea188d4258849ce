//! The answers of simulated monitors.

use crate::ceph::client::Reply;

pub(super) const EPERM: i32 = 1;
pub(super) const ENOENT: i32 = 2;
pub(super) const EIO: i32 = 5;
pub(super) const EAGAIN: i32 = 11;
pub(super) const EACCES: i32 = 13;
pub(super) const EBUSY: i32 = 16;
pub(super) const EEXIST: i32 = 17;
pub(super) const EINVAL: i32 = 22;
pub(super) const ERANGE: i32 = 34;
pub(super) const ENOTSUP: i32 = 95;

/// A command that was accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    /// It waits for the round's proposal, which costs an epoch even if nothing differs.
    Proposed(String),
    /// Return code 0 at once, without a proposal: there is nothing to do, or so they say.
    Nothing(String),
}

/// A command that was not.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The errno, positive.
    pub(super) errno: i32,
    /// The sentence for a person.
    pub(super) text: String,
}

/// What a monitor makes of a command.
pub(super) type Answer = Result<Accepted, Refusal>;

/// A refusal as the error of any check.
pub(super) fn refuse<T>(errno: i32, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        errno,
        text: text.into(),
    })
}

/// The answer on the wire.
pub(super) fn reply(code: i32, text: impl Into<String>, body: Vec<u8>) -> Reply {
    Reply {
        code,
        text: text.into(),
        body,
    }
}
