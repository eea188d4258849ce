//! `Refusal`: something that is not done, and why.

use super::token::AskedToken;
use crate::api::conditions::Reason;

/// Something that is not done, with the reason for the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's reason.
    pub reason: Reason,
    /// The field it is about.
    pub field: Option<String>,
    /// A sentence that ends with what to do.
    pub message: String,
    /// The token that would let it pass, where one can.
    pub token: Option<Box<AskedToken>>,
}

impl Refusal {
    /// A refusal, about a field or about the whole object.
    pub fn new(reason: Reason, field: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.map(str::to_owned),
            message: message.into(),
            token: None,
        }
    }

    /// The same, of something that this token lets pass.
    #[must_use]
    pub fn asking(mut self, token: AskedToken) -> Self {
        self.token = Some(Box::new(token));
        self
    }
}
