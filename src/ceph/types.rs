//! Ceph's identifiers, each a type of its own so that they cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An OSD map epoch: counts the versions of the cluster's OSD map from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A pool's number. Ceph never uses one twice in the life of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(pub i64);

impl fmt::Display for PoolId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A pool's name: what commands take, though it may come to mean another pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolName(String);

/// What stands between a pool's name and the nonce in the name of a pool that is not published yet.
const CREATING_INFIX: &str = ".poolwright-new-";
/// The same for a pool on its way out.
const DELETING_INFIX: &str = ".poolwright-del-";

impl PoolName {
    /// Wraps a name as it is; `api::validate` has judged those that users wrote.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The private name a pool of this name is created under: nobody else
    /// would use it, so a command by this name can only mean our pool.
    #[must_use]
    pub fn while_creating(&self, nonce: &str) -> Self {
        Self(format!("{}{CREATING_INFIX}{nonce}", self.0))
    }

    /// The private name a pool of this name is removed under.
    #[must_use]
    pub fn while_removing(&self, nonce: &str) -> Self {
        Self(format!("{}{DELETING_INFIX}{nonce}", self.0))
    }

    /// The name without what makes it private: the one under which others have known the pool.
    pub fn published(&self) -> &str {
        [CREATING_INFIX, DELETING_INFIX]
            .iter()
            .find_map(|infix| self.0.split_once(infix))
            .map_or(self.as_str(), |(name, _)| name)
    }

    /// Whether this is a private name, ours or another instance's.
    pub fn is_private(&self) -> bool {
        self.0.contains(CREATING_INFIX) || self.0.contains(DELETING_INFIX)
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A cluster's unique ID, lower case with dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fsid(String);

impl Fsid {
    /// Wraps the ID, in lower case as Ceph prints it.
    pub fn new(fsid: &str) -> Self {
        Self(fsid.trim().to_ascii_lowercase())
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fsid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// When a pool was created: microseconds since 1970 in UTC.
///
/// The dump prints it in the monitor's own time zone, so text is never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateTime(pub i64);

impl fmt::Display for CreateTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What makes a pool the pool it is: a name can be given to another one, this cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolIdentity {
    /// The cluster.
    pub fsid: Fsid,
    /// The pool's number in it.
    pub id: PoolId,
    /// Guards against a cluster that was built anew with the same ID.
    pub create_time: CreateTime,
}

impl fmt::Display for PoolIdentity {
    /// `<fsid>/<id>/<create time>`, the beginning of the annotation `poolwright.dev/pool`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.fsid, self.id, self.create_time)
    }
}

/// A text that is not `<fsid>/<id>/<create time>`.
#[derive(Debug, thiserror::Error)]
#[error("pool identity {0:?} is not of the form <fsid>/<id>/<create time>")]
pub struct IdentityError(String);

impl FromStr for PoolIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || IdentityError(text.to_owned());
        let mut parts = text.split('/');
        let (Some(fsid), Some(id), Some(time), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        if fsid.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            fsid: Fsid::new(fsid),
            id: PoolId(id.parse().map_err(|_| wrong())?),
            create_time: CreateTime(time.parse().map_err(|_| wrong())?),
        })
    }
}

/// A Ceph release by its letter's place in the alphabet, as `require_osd_release` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Release {
    /// 16
    Pacific = 16,
    /// 17
    Quincy = 17,
    /// 18
    Reef = 18,
    /// 19
    Squid = 19,
    /// 20
    Tentacle = 20,
}

impl Release {
    /// Reads a name such as `reef`; `None` for one this program does not know.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "pacific" => Some(Self::Pacific),
            "quincy" => Some(Self::Quincy),
            "reef" => Some(Self::Reef),
            "squid" => Some(Self::Squid),
            "tentacle" => Some(Self::Tentacle),
            _ => None,
        }
    }

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pacific => "pacific",
            Self::Quincy => "quincy",
            Self::Reef => "reef",
            Self::Squid => "squid",
            Self::Tentacle => "tentacle",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name(), *self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An identity survives its way through the annotation.
    #[test]
    fn identity_round_trips() {
        let text = "7f0e0000-0000-4000-8000-000000000001/7/1700000000123456";
        let identity: PoolIdentity = text.parse().expect("a good identity");
        assert_eq!(identity.id, PoolId(7));
        assert_eq!(identity.to_string(), text);
        for wrong in ["", "a/b", "f/x/1", "f/1/y", "f/1/2/3", "/1/2"] {
            assert!(wrong.parse::<PoolIdentity>().is_err(), "{wrong}");
        }
    }

    /// Names of pools on their way are told from all others.
    #[test]
    fn private_names() {
        let name = PoolName::new("foo");
        assert!(!name.is_private());
        let private = name.while_creating("ab12");
        assert_eq!(private.as_str(), "foo.poolwright-new-ab12");
        assert!(private.is_private());
        assert_eq!(private.published(), "foo");
        assert_eq!(PoolName::new("foo.poolwright-del-1").published(), "foo");
        assert_eq!(name.published(), "foo");
    }
}
