//! What has to be written down before anything is sent.

use std::time::Duration;

use async_trait::async_trait;

use super::factory::Found;
use super::refusal::Refusal;
use super::round::Round;
use super::user_request::UserRequest;
use super::wish::Wish;
use crate::api::v1alpha1::Verb;

/// Where a run is written down. The controller's is the object's status; the executor only
/// knows that nothing may be sent when it fails.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Makes durable what is about to be sent, and looks once more whether it may be.
    async fn before_round(&self, entry: Entry<'_>) -> Result<(), JournalError>;

    /// A round's effect was awaited, and seen or not; nothing needs to be written down.
    fn after_round(&self, _took: Duration) {}
}

/// What is about to happen.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The wish it works towards, with the record as it is to be written.
    pub wish: &'a Wish,
    /// The request it is for.
    pub request: &'a UserRequest,
    /// What is sent.
    pub round: &'a Round,
    /// The pool, where there is one.
    pub found: Option<&'a Found>,
    /// What a grant has to allow for it.
    pub verb: Verb,
}

/// Why nothing may be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The object is not what the wish was read from: another generation, paused, gone, or
    /// written by another controller.
    #[error("the object has changed: {0}")]
    Moved(String),
    /// It may not be done, for a reason of this side, such as a grant that was taken back.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The record could not be written.
    #[error("the record could not be written: {0}")]
    Unavailable(String),
}
