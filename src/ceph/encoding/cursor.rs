//! A place in the bytes, which never moves past the end of the structure it is in.

use std::collections::BTreeMap;

use super::{DecodeError, Fault};

/// Bytes of a list's count, of a text's length.
const COUNT: usize = 4;

/// A place in the bytes of one structure.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    /// The whole input, so that places are told as they are in it.
    bytes: &'a [u8],
    position: usize,
    end: usize,
    structure: &'static str,
}

impl<'a> Cursor<'a> {
    /// At the beginning of the input, whose outermost structure has this name.
    pub fn new(bytes: &'a [u8], structure: &'static str) -> Self {
        Self {
            bytes,
            position: 0,
            end: bytes.len(),
            structure,
        }
    }

    /// Where it is in the input.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes to the end of the structure.
    pub const fn left(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// Whether the structure has been read to its end: what later releases have added is not there.
    pub const fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// An error at this place.
    pub const fn error(&self, fault: Fault) -> DecodeError {
        DecodeError {
            structure: self.structure,
            offset: self.position,
            fault,
        }
    }

    /// An error for a number that stands for something unknown.
    pub fn unknown(&self, what: &'static str, value: impl Into<i64>) -> DecodeError {
        self.error(Fault::Unknown {
            what,
            value: value.into(),
        })
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = Fault::Short {
            wanted: count,
            left: self.left(),
        };
        let end = self
            .position
            .checked_add(count)
            .filter(|end| *end <= self.end);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(|| self.error(short))?;
        self.position += count;
        Ok(taken)
    }

    /// Passes over bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        // As many as were asked for.
        Ok(taken.try_into().unwrap_or([0; N]))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    /// A truth value, one byte.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|byte| byte != 0)
    }

    /// 16 bits.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// 32 bits.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// 64 bits.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// 32 bits with a sign.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_le_bytes)
    }

    /// 64 bits with a sign.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A decimal of 32 bits.
    pub fn f32(&mut self) -> Result<f32, DecodeError> {
        self.array().map(f32::from_le_bytes)
    }

    /// A decimal of 64 bits.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_le_bytes)
    }

    /// A length or a count, 32 bits.
    fn length(&mut self) -> Result<usize, DecodeError> {
        self.u32()
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// A text with its length before it.
    ///
    /// Ceph keeps names as bytes. What is not UTF-8 is replaced, since a pool with an odd name
    /// must not make the cluster unreadable: a command by the replaced name means no pool.
    pub fn text(&mut self) -> Result<String, DecodeError> {
        let length = self.length()?;
        self.text_of(length)
    }

    /// A text of a length that is known.
    pub fn text_of(&mut self, length: usize) -> Result<String, DecodeError> {
        let bytes = self.take(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// How many items follow, each of so many bytes at least: never more than there can be.
    pub fn count(&mut self, least_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.length()?;
        self.expect_items(count, least_bytes)?;
        Ok(count)
    }

    /// Fails where so many items cannot follow.
    pub fn expect_items(&self, count: usize, least_bytes: usize) -> Result<(), DecodeError> {
        let wanted = count.saturating_mul(least_bytes);
        if wanted > self.left() {
            return Err(self.error(Fault::Short {
                wanted,
                left: self.left(),
            }));
        }
        Ok(())
    }

    /// A list with its count before it.
    pub fn list<T>(
        &mut self,
        least_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(least_bytes)?;
        (0..count).map(|_| item(self)).collect()
    }

    /// A list whose items are of no use here.
    pub fn skip_list(
        &mut self,
        least_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.count(least_bytes)?;
        (0..count).try_for_each(|_| item(self))
    }

    /// A list of items that all have the same length and are of no use here.
    pub fn skip_items(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let count = self.count(bytes)?;
        self.skip(count.saturating_mul(bytes))
    }

    /// Keys and values of text.
    pub fn texts(&mut self) -> Result<BTreeMap<String, String>, DecodeError> {
        let count = self.count(2 * COUNT)?;
        (0..count)
            .map(|_| Ok((self.text()?, self.text()?)))
            .collect()
    }

    /// The same under keys of text.
    pub fn groups_of_texts(
        &mut self,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, DecodeError> {
        let count = self.count(2 * COUNT)?;
        (0..count)
            .map(|_| Ok((self.text()?, self.texts()?)))
            .collect()
    }

    /// A structure with its length before it and nothing else.
    pub fn blob(&mut self, structure: &'static str) -> Result<Self, DecodeError> {
        let length = self.length()?;
        self.inner(structure, length)
    }

    /// Enters a structure: its version, and a place in it. This place moves behind it, so what
    /// a later release has added at its end is passed over.
    pub fn structure(
        &mut self,
        structure: &'static str,
        known: u8,
    ) -> Result<(u8, Self), DecodeError> {
        let begin = self.clone();
        let version = self.u8()?;
        let compat = self.u8()?;
        if compat > known {
            let fault = Fault::TooNew { compat, known };
            return Err(DecodeError {
                structure,
                ..begin.error(fault)
            });
        }
        let length = self.length()?;
        Ok((version, self.inner(structure, length)?))
    }

    /// Passes over a structure, whatever its version.
    pub fn skip_structure(&mut self) -> Result<(), DecodeError> {
        self.skip(2)?;
        let length = self.length()?;
        self.skip(length)
    }

    fn inner(&mut self, structure: &'static str, length: usize) -> Result<Self, DecodeError> {
        let begin = self.position;
        self.skip(length)?;
        Ok(Self {
            bytes: self.bytes,
            position: begin,
            end: self.position,
            structure,
        })
    }

    /// Fails where the structure was written by a release that is too old.
    pub fn at_least(&self, version: u8, oldest: u8) -> Result<(), DecodeError> {
        if version < oldest {
            return Err(self.error(Fault::TooOld { version, oldest }));
        }
        Ok(())
    }
}
