//! Is a pool empty? The proof that a removal needs.
//!
//! Absence is only proven by having looked everywhere: every object of every namespace, what
//! only snapshots hold, and everybody who would miss the pool although nothing is in it yet.

/// What was found in a pool, and around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing is in it, and nobody refers to it.
    Empty,
    /// Something is in it, or somebody refers to it: what, in a sentence for a person.
    Something(String),
    /// It could not be looked at, or not everywhere: why, and what would help.
    Unknown(String),
}
