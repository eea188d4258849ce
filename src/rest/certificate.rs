//! When a certificate is read anew.

use sha2::{Digest, Sha256};

/// What stands for the contents of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate and its key.
    pub fn of(certificate: &[u8], key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update((certificate.len() as u64).to_be_bytes());
        hash.update(certificate);
        hash.update(key);
        Self(hash.finalize().into())
    }
}

/// What is known of the files: which contents are in use, and which were tried last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    in_use: Fingerprint,
    tried: Fingerprint,
}

/// What is to be done after a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: they are as they were.
    Keep,
    /// Contents that were not tried yet: use them if they fit together, say so if not.
    Try,
}

impl Files {
    /// These contents are in use.
    pub const fn using(contents: Fingerprint) -> Self {
        Self {
            in_use: contents,
            tried: contents,
        }
    }

    /// What to do now that the files look like this. Contents that do not fit together are tried once: the two are
    /// written one after the other, and the next look finds them both.
    pub fn seen(&mut self, contents: Fingerprint) -> Step {
        if contents == self.tried {
            return Step::Keep;
        }
        self.tried = contents;
        if contents == self.in_use {
            Step::Keep
        } else {
            Step::Try
        }
    }

    /// The contents that were tried are in use now.
    pub fn used(&mut self) {
        self.in_use = self.tried;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New contents are tried once; those in use are not read again, also after others that did not fit.
    #[test]
    fn reloads() {
        let (old, half, new) = (
            Fingerprint::of(b"a", b"b"),
            Fingerprint::of(b"c", b"b"),
            Fingerprint::of(b"c", b"d"),
        );
        let mut files = Files::using(old);
        assert_eq!(files.seen(old), Step::Keep);
        assert_eq!(files.seen(half), Step::Try);
        assert_eq!(files.seen(half), Step::Keep, "said once");
        assert_eq!(files.seen(new), Step::Try);
        files.used();
        assert_eq!(files.seen(new), Step::Keep);
        assert_eq!(files.seen(half), Step::Try);
        assert_eq!(files.seen(new), Step::Keep, "it is in use still");
        assert_ne!(Fingerprint::of(b"ab", b"c"), Fingerprint::of(b"a", b"bc"));
    }
}
