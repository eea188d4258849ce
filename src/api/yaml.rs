//! The one door to YAML.
//!
//! Both directions speak the YAML 1.1 of `kubectl`. What is read means here what it means there: a plain `on` is a
//! boolean and `0777` a number, unless quoted. What is written comes back from there as what it was: texts that YAML 1.1
//! takes for something else are quoted. Nothing else in the crate knows which library reads YAML.

mod reader;
mod writer;

pub use reader::documents;
pub use writer::{to_text, write};

/// YAML or JSON that cannot be read, or a value that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not YAML.
    #[error("document {document} is not valid YAML: {reason}")]
    Read {
        /// The document in the text, counted from 1.
        document: usize,
        /// What is wrong and where.
        reason: String,
    },
    /// The value has no form in JSON, such as a map whose keys are not texts.
    #[error("value cannot be written as YAML")]
    Write(#[source] serde_json::Error),
}
