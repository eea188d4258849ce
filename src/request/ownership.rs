//! Whose pool is it? The mark on a pool, read and compared.
//!
//! The mark is two keys of application metadata under one of the pool's own applications:
//! `poolwright` = `<instance>/<claim>/<hash of namespace and name>` and `poolwright.object` =
//! `<namespace>/<name>`. An application of our own would make CephFS refuse the pool.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::ceph::osd_map::Pool;

/// The key that names the owner.
pub const MARK_KEY: &str = "poolwright";
/// The key that names the object, for people.
pub const OBJECT_KEY: &str = "poolwright.object";

/// The object a pool belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The control plane: `--instance-id`, by default the uid of `kube-system`.
    pub instance: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Owner {
    /// The first 16 hex digits of a SHA-256 over namespace and name.
    ///
    /// A slash stands in neither, so two objects never hash the same text.
    pub fn hash(&self) -> String {
        hash(&self.object())
    }

    /// The value of `poolwright` under a claim.
    pub fn mark(&self, claim: &str) -> String {
        format!("{}/{claim}/{}", self.instance, self.hash())
    }

    /// The value of `poolwright.object`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn hash(object: &str) -> String {
    let digest = Sha256::digest(object);
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a pool's mark says to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There is none.
    Missing,
    /// It is this owner's, under this claim.
    Ours {
        /// The application that carries it.
        application: String,
        /// The claim in it.
        claim: String,
    },
    /// It is somebody else's.
    Foreign(ForeignMark),
}

/// A mark of another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignMark {
    /// The application that carries it.
    pub application: String,
    /// The mark itself.
    pub mark: String,
    /// The object it names, as far as anybody can write that: for people.
    pub told: Option<String>,
    /// The object it names: `<namespace>/<name>`, where the mark's hash is that object's.
    pub object: Option<String>,
    /// Whether it is of the same control plane.
    pub same_instance: bool,
    /// Whether another application of the pool carries another foreign mark.
    pub one_of_several: bool,
}

impl ForeignMark {
    fn read(application: &str, keys: &BTreeMap<String, String>, mark: &str, owner: &Owner) -> Self {
        let told = keys.get(OBJECT_KEY).cloned();
        let hashed = |object: &&String| mark.ends_with(&format!("/{}", hash(object)));
        Self {
            application: application.to_owned(),
            mark: mark.to_owned(),
            object: told.as_ref().filter(hashed).cloned(),
            told,
            same_instance: mark
                .strip_prefix(owner.instance.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
            one_of_several: false,
        }
    }

    /// The owner, for a person.
    pub fn owner(&self) -> &str {
        self.told.as_deref().unwrap_or(&self.mark)
    }
}

/// Reads the mark of a pool. A foreign mark anywhere on it counts before one of ours.
pub fn read_mark(pool: &Pool, owner: &Owner) -> Mark {
    let mut found = Mark::Missing;
    for (application, keys) in &pool.applications {
        let Some(mark) = keys.get(MARK_KEY) else {
            continue;
        };
        let Some(claim) = claim_of(mark, owner) else {
            let others = pool.applications.values().filter(|keys| {
                let other = keys.get(MARK_KEY);
                other.is_some_and(|other| other != mark && claim_of(other, owner).is_none())
            });
            return Mark::Foreign(ForeignMark {
                one_of_several: others.count() > 0,
                ..ForeignMark::read(application, keys, mark, owner)
            });
        };
        if found == Mark::Missing {
            found = Mark::Ours {
                application: application.clone(),
                claim: claim.to_owned(),
            };
        }
    }
    found
}

/// The claim in a mark of this owner; `None` for anybody else's.
fn claim_of<'a>(mark: &'a str, owner: &Owner) -> Option<&'a str> {
    mark.strip_prefix(owner.instance.as_str())?
        .strip_prefix('/')?
        .strip_suffix(owner.hash().as_str())?
        .strip_suffix('/')
        .filter(|claim| !claim.is_empty() && !claim.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner {
            instance: "c9a1".into(),
            namespace: "team-a".into(),
            name: name.into(),
        }
    }

    /// A mark is read back by its owner and by nobody else.
    #[test]
    fn marks_round_trip() {
        let mark = owner("foo").mark("77");
        assert_eq!(claim_of(&mark, &owner("foo")), Some("77"));
        assert_eq!(claim_of(&mark, &owner("bar")), None);
        let other = Owner {
            instance: "other".into(),
            ..owner("foo")
        };
        assert_eq!(claim_of(&mark, &other), None);
        assert_eq!(claim_of("c9a1/a/b/c", &owner("foo")), None);
    }
}
