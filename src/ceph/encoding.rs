//! Reads and writes Ceph's own encoding: little-endian numbers, counted lists and texts, and structures
//! that tell their version and their length.
//!
//! Source of the rules: Ceph's `src/include/encoding.h`. Whoever reads past the end of a
//! structure, or would have to reserve more memory than the bytes that are left can fill, gets
//! an error that names the structure and the place: the bytes are somebody else's.

mod cursor;
mod writer;

pub use self::cursor::Cursor;
pub use self::writer::Writer;

/// Why bytes are not what they should be, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {structure} at byte {offset} cannot be read: {fault}")]
pub struct DecodeError {
    /// What was being read.
    pub structure: &'static str,
    /// Where in the input.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends too early.
    #[error("{wanted} bytes are needed and {left} are left")]
    Short {
        /// How many should follow.
        wanted: usize,
        /// How many do.
        left: usize,
    },
    /// Its writer says that only newer readers understand it.
    #[error("it asks for a reader of version {compat}, and this one reads up to {known}")]
    TooNew {
        /// The oldest reader's version that understands it.
        compat: u8,
        /// The newest version this program knows.
        known: u8,
    },
    /// Written by a release before those that this program knows.
    #[error("it has version {version}, and {oldest} is the oldest this program reads")]
    TooOld {
        /// Its version.
        version: u8,
        /// The oldest version that is read.
        oldest: u8,
    },
    /// A number that says what follows, and is none of those that are known.
    #[error("{what} is {value}, which this program does not know")]
    Unknown {
        /// What the number stands for.
        what: &'static str,
        /// The number.
        value: i64,
    },
    /// The bytes were changed on the way, or cut off.
    #[error("its checksum is {found:#010x} and should be {expected:#010x}")]
    Checksum {
        /// What the bytes come to.
        found: u32,
        /// What they should come to.
        expected: u32,
    },
}
