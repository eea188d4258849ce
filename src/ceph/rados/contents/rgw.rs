//! Zones of RGW that name the pool.
//!
//! A zone's pools are made when they are first needed, and named in objects of the zone's root
//! pool, in a binary form that changes. So the name is looked for as a word of its own, whatever
//! it stands for there: to be wrong is to ask a person once too often.

use super::super::ffi::IoContext;
use super::{ENOENT, Facts, Look, Looked, c_name, each, shown, something, unknown};

/// How the names of root pools end; RGW's default is this alone.
const ROOT: &str = ".rgw.root";
/// As many objects of a pool of RGW are listed to find a root in it.
const MOST_OBJECTS: usize = 20_000;
/// Longer than any zone.
const LONGEST: usize = 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// An object to read: its pool with the name, its namespace, its name.
type Place = (i64, String, Vec<u8>, Vec<u8>);

impl Look<'_> {
    /// Fails when a zone names the pool. Where no pool is called a root, all pools of RGW are
    /// looked through for one, as far as that can be done.
    pub(super) fn zones(&self, facts: &Facts) -> Looked {
        let others: Vec<(i64, String)> = facts
            .others(self)
            .map(|(pool, name)| (pool.id, name))
            .collect();
        let mut roots: Vec<&(i64, String)> = others
            .iter()
            .filter(|(_, name)| name.ends_with(ROOT))
            .collect();
        if roots.is_empty() {
            let of_rgw = |id: i64| {
                let pool = self.order.map.pools.values().find(|pool| pool.id.0 == id);
                pool.is_some_and(|pool| pool.applications.contains_key("rgw"))
            };
            roots = others.iter().filter(|(id, _)| of_rgw(*id)).collect();
        }
        let places = each(&roots, |(id, name)| self.zones_in(*id, name))?;
        let places: Vec<Place> = places.into_iter().flatten().collect();
        each(&places, |place| self.is_not_named(place))?;
        Ok(())
    }

    /// The objects of a pool that may name pools.
    fn zones_in(&self, pool: i64, name: &str) -> Looked<Vec<Place>> {
        let Some(mut io) = self.open_other(pool, name)? else {
            return Ok(Vec::new());
        };
        io.set_namespace(c"\x01");
        let what = format!("the list of objects of pool \"{name}\"");
        let mut listing = io.list().map_err(|code| self.unreadable(&what, code))?;
        let mut places = Vec::new();
        for _ in 0..MOST_OBJECTS {
            self.in_time()?;
            match listing.next() {
                Ok(entry) if names_pools(&entry.name) => {
                    places.push((pool, name.to_owned(), entry.namespace, entry.name));
                }
                Ok(_) => {}
                Err(ENOENT) => return Ok(places),
                Err(code) => return Err(self.unreadable(&what, code)),
            }
        }
        Err(unknown(format!(
            "pool \"{name}\" of RGW has too many objects to look for zones in it, and no pool is called {ROOT}"
        )))
    }

    fn is_not_named(&self, (pool, pool_name, namespace, name): &Place) -> Looked {
        let Some(mut io) = self.open_other(*pool, pool_name)? else {
            return Ok(());
        };
        io.set_namespace(&c_name(namespace)?);
        let what = format!("{} in pool \"{pool_name}\"", shown(name));
        let text = self.whole(&io, &what, name)?;
        // While it is being removed it has a private name, and RGW knows the one before.
        let names = [self.pool.name.as_str(), self.pool.name.published()];
        if names.iter().any(|name| has_word(&text, name.as_bytes())) {
            return Err(something(format!(
                "RGW names it, or something called the same, in {what}"
            )));
        }
        Ok(())
    }

    fn whole(&self, io: &IoContext<'_>, what: &str, name: &[u8]) -> Looked<Vec<u8>> {
        let object = c_name(name)?;
        let (mut text, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        while text.len() <= LONGEST {
            self.in_time()?;
            let offset = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let length = match io.read(&object, &mut chunk, offset) {
                Ok(length) => length,
                Err(ENOENT) => 0,
                Err(code) => return Err(self.unreadable(what, code)),
            };
            text.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if length == 0 {
                return Ok(text);
            }
        }
        Err(unknown(format!("{what} is longer than any zone")))
    }
}

/// Zones and zone groups, and what they were called before.
fn names_pools(object: &[u8]) -> bool {
    [&b"zone"[..], b"region"]
        .iter()
        .any(|start| object.starts_with(start))
}

/// Whether a name stands in a text with its length before it, or between bytes that could not
/// belong to a longer name.
fn has_word(text: &[u8], name: &[u8]) -> bool {
    let Some(length) = u32::try_from(name.len()).ok().filter(|length| *length > 0) else {
        return false;
    };
    let in_name = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
    };
    let mut windows = text.windows(name.len()).enumerate();
    windows.any(|(at, window)| {
        let before = text.get(..at).unwrap_or_default();
        let behind = text.get(at + name.len()..).unwrap_or_default();
        window == name
            && (before.ends_with(&length.to_le_bytes())
                || (!in_name(before.last()) && !in_name(behind.first())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ceph writes texts with their length before them; others delimit them.
    #[test]
    fn words_are_found() {
        let found = |text: &[u8]| has_word(text, b"pool-1");
        assert!(found(b"\x0a\x0a\x06\0\0\0pool-1\0\0\0\0"));
        // The next length looks like a letter.
        assert!(found(b"\x06\0\0\0pool-1a\0\0\0"));
        assert!(found(b"\"data_pool\": \"pool-1\""));
        assert!(found(b"pool-1:ns"));
        assert!(found(b"pool-1"));
        assert!(!found(b"\x07\0\0\0pool-10"));
        assert!(!found(b"\x0a\0\0\0new.pool-1"));
        assert!(!found(b"pool-"));
        assert!(!has_word(b"", b""));
    }

    /// Realms and periods name no pools.
    #[test]
    fn objects_that_name_pools() {
        for name in ["zone_info.0815", "zonegroup_info.1", "region_info.x"] {
            assert!(names_pools(name.as_bytes()), "{name}");
        }
        assert!(!names_pools(b"periods.0815.1"));
        assert!(!names_pools(b"default.realm"));
    }
}
