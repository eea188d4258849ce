//! What objects are called that are made for pools. Pure.

use sha2::{Digest, Sha256};

use super::ids::hex;
use crate::api::v1alpha1::{MAX_POOL_OBJECT_NAME, PRIVATE_DELETE, PRIVATE_NEW};

/// How many hexadecimal digits tell names apart that would be the same otherwise.
const DIGITS: usize = 10;

/// What the object of a pool is called, the best name first: the pool's own where it can be, else one like it that ends
/// in digits of its own. The second is for where the first is taken, by the object of another cluster's pool.
///
/// The names depend on nothing but the pool and its connection, and no two pools of one connection have the same.
pub fn candidates(connection: &str, pool: &str) -> Vec<String> {
    let digest = Sha256::digest(format!("{connection}/{pool}").as_bytes());
    let digits = hex(&digest);
    let suffix = digits.get(..DIGITS).unwrap_or_default();
    let mut readable = readable(pool);
    readable.truncate(MAX_POOL_OBJECT_NAME - DIGITS - 1);
    let readable = readable.trim_matches('-');
    let numbered = if readable.is_empty() {
        format!("pool-{suffix}")
    } else {
        format!("{readable}-{suffix}")
    };
    let own = is_name(pool).then(|| pool.to_owned());
    own.into_iter().chain([numbered]).collect()
}

/// Only letters, digits and dashes, and no two dashes in a row.
fn readable(pool: &str) -> String {
    let mut name = String::new();
    for character in pool.chars() {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            name.push(character);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_start_matches('-').to_owned()
}

/// Whether a pool's name can be that of its object, and cannot be one that another pool's object gets.
fn is_name(pool: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let private = [PRIVATE_NEW, PRIVATE_DELETE];
    let numbered = pool
        .rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == DIGITS && end.chars().all(|c| c.is_ascii_hexdigit()));
    !pool.is_empty()
        && pool.len() <= MAX_POOL_OBJECT_NAME
        && pool.chars().all(inner)
        && !pool.starts_with('-')
        && !pool.ends_with('-')
        && !numbered
        && !private.iter().any(|mark| pool.contains(mark))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn names(pool: &str) -> Vec<String> {
        candidates("main", pool)
    }

    /// A name that fits is kept; another one stays readable.
    #[test]
    fn readable_names() {
        assert_eq!(
            names("vm-images").first().map(String::as_str),
            Some("vm-images")
        );
        let root = names(".rgw.root");
        assert!(
            root.len() == 1 && root[0].starts_with("rgw-root-"),
            "{root:?}"
        );
        assert!(names("VM_Images")[0].starts_with("vm-images-"));
        assert!(
            names("ünï").iter().all(|name| name.starts_with('n')),
            "{:?}",
            names("ünï")
        );
        assert!(names("###")[0].starts_with("pool-"));
        let long = "a".repeat(120);
        assert_eq!(names(&long)[0].len(), MAX_POOL_OBJECT_NAME);
        // The second name of the same pool of another connection is another one.
        assert_ne!(candidates("other", "vm-images")[1], names("vm-images")[1]);
    }

    proptest! {
        /// Every name is one that Kubernetes takes, and different pools have different names.
        #[test]
        fn every_pool_has_its_own(pools in proptest::collection::btree_set("[-a-zA-Z0-9._ü]{1,80}", 1..20)) {
            let mut all = BTreeSet::new();
            for pool in &pools {
                for name in names(pool) {
                    prop_assert!(!name.is_empty() && name.len() <= MAX_POOL_OBJECT_NAME, "{name}");
                    prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
                    prop_assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
                    prop_assert!(all.insert(name));
                }
            }
        }

        /// What another pool's object is called is nobody's own name.
        #[test]
        fn nobody_takes_another_ones(pool in "[A-Z]{1,60}") {
            for name in names(&pool) {
                prop_assert!(!names(&name).contains(&name), "{name}");
            }
        }
    }
}
