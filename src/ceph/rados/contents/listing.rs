//! Every object of every namespace.
//!
//! **Snapshots**: an object that was deleted and is kept by a snapshot, of the pool or of an RBD
//! image, stays as a whiteout that the listing names like any other object (measured on 16; the
//! listing of later releases has the same code). So what is listed is all there is, and a pool
//! with snapshots of its own counts as used even without objects.
//!
//! **Housekeeping**: `rbd pool init`, RBD and the CSI driver leave objects behind that nobody ever
//! removes. Those, and no others, do not count as long as they hold nothing: no entries, and no
//! data but the texts that RBD writes. Without that no pool that once had an image could ever
//! be removed.

use super::super::ffi::{Entry, IoContext};
use super::{ENOENT, EOPNOTSUPP, Look, Looked, c_name, shown, something};
use crate::ceph::osd_map::PoolKind;

/// librados' name for all namespaces, in listings.
const ALL_NAMESPACES: &std::ffi::CStr = c"\x01";
/// As many objects are named.
const NAMED: usize = 3;
/// More of them are no housekeeping.
const MOST_HOUSEKEEPING: usize = 10_000;
/// RBD's objects that stay.
const RBD_HOUSEKEEPING: [&str; 8] = [
    "rbd_info",
    "rbd_directory",
    "rbd_trash",
    "rbd_namespace",
    "rbd_children",
    "rbd_mirroring",
    "rbd_group_directory",
    "rbd_trash_purge_schedule",
];
/// How the CSI driver's journals begin.
const CSI_HOUSEKEEPING: [&str; 3] = ["csi.volumes.", "csi.snaps.", "csi.groups."];
/// What RBD writes into `rbd_info` to see whether a pool takes it: the second over the first.
const RBD_INFO: [&[u8]; 2] = [b"overwrite validated", b"validate"];
/// More than either of them.
const SHORT: usize = 32;

impl Look<'_> {
    /// Lists them all; how many there are that are only housekeeping.
    pub(super) fn objects(&self) -> Looked<usize> {
        let name = self.pool.name.as_str();
        let what = format!("the list of objects of pool \"{name}\"");
        let mut io = self.open(self.pool.id.0, name)?;
        match io.pool_snapshots() {
            Ok(0) => {}
            Ok(_) => return Err(something("it has snapshots of the whole pool")),
            Err(code) => return Err(self.unreadable("the snapshots of the pool", code)),
        }
        io.set_namespace(ALL_NAMESPACES);
        let (mut housekeeping, mut found) = (Vec::new(), Vec::new());
        let mut listing = io.list().map_err(|code| self.unreadable(&what, code))?;
        while found.len() < NAMED {
            self.in_time()?;
            match listing.next() {
                Ok(entry) if is_housekeeping(&entry) => housekeeping.push(entry),
                Ok(entry) => found.push(entry),
                // The end is this error and no other: a key that may not read gets another.
                Err(ENOENT) => break,
                Err(_) if !found.is_empty() => break,
                Err(code) => return Err(self.unreadable(&what, code)),
            }
            if housekeeping.len() > MOST_HOUSEKEEPING {
                return Err(something(format!(
                    "it holds more than {MOST_HOUSEKEEPING} objects of RBD or CSI"
                )));
            }
        }
        drop(listing);
        self.exists()?;
        if !found.is_empty() {
            let images = self.images_here(&mut io, &found);
            return Err(something(describe(&found, &images)));
        }
        for entry in &housekeeping {
            self.unused(&mut io, entry)?;
        }
        Ok(housekeeping.len())
    }

    /// Fails unless a housekeeping object holds nothing.
    fn unused(&self, io: &mut IoContext<'_>, entry: &Entry) -> Looked {
        self.in_time()?;
        let what = place(entry);
        let object = c_name(&entry.name)?;
        io.set_namespace(&c_name(&entry.namespace)?);
        // One more than a directory may have of its own.
        match io.omap(&object, c"", c"", 2) {
            Ok((entries, _)) => {
                if let Some(what) = entries
                    .iter()
                    .find_map(|(key, value)| meaning(entry, key, value))
                {
                    return Err(something(what));
                }
            }
            Err(ENOENT) => {
                return Err(something(format!(
                    "a snapshot holds {what}, or it was removed this moment"
                )));
            }
            Err(EOPNOTSUPP) if self.pool.kind == PoolKind::Erasure => {}
            Err(code) => return Err(self.unreadable(&what, code)),
        }
        self.in_time()?;
        let mut data = [0; SHORT];
        let length = io
            .read(&object, &mut data, 0)
            .map_err(|code| self.unreadable(&what, code))?;
        let data = data.get(..length).unwrap_or(&data);
        if data.is_empty() || (entry.name == b"rbd_info" && RBD_INFO.contains(&data)) {
            return Ok(());
        }
        Err(something(format!("{what} holds data")))
    }

    /// The images of a pool in which RBD's objects were found: only for a better sentence, so
    /// nothing depends on it.
    fn images_here(&self, io: &mut IoContext<'_>, found: &[Entry]) -> Vec<String> {
        let mut images = Vec::new();
        let of_rbd = found.iter().filter(|entry| entry.name.starts_with(b"rbd_"));
        if let Some(entry) = of_rbd.into_iter().next() {
            let listed = self.images_of(io, &entry.namespace, self.pool.name.as_str(), false);
            if let Ok(listed) = listed {
                images.extend(listed.iter().take(NAMED).map(super::rbd::Image::in_words));
            }
        }
        images
    }
}

fn is_housekeeping(entry: &Entry) -> bool {
    let Ok(name) = std::str::from_utf8(&entry.name) else {
        return false;
    };
    // One placed by something else than its name is nobody's housekeeping.
    (entry.locator.is_empty() || entry.locator == entry.name)
        && (RBD_HOUSEKEEPING.contains(&name)
            || CSI_HOUSEKEEPING.iter().any(|start| name.starts_with(start)))
}

/// What an entry of a housekeeping object tells of; `None` for one that stays in it for ever.
fn meaning(entry: &Entry, key: &[u8], value: &[u8]) -> Option<String> {
    let behind = |prefix: &str| key.strip_prefix(prefix.as_bytes());
    match entry.name.as_slice() {
        // Whether the directory takes new images.
        b"rbd_directory" if key == b"state" => None,
        b"rbd_directory" if behind("name_").is_some() => {
            Some(format!("RBD image {} is in it", shown(behind("name_")?)))
        }
        b"rbd_directory" if behind("id_").is_some() => Some(format!(
            "RBD image {} is in it",
            super::rbd::counted(value).map_or_else(|| shown(key), shown)
        )),
        b"rbd_trash" => Some(format!(
            "RBD image {} is in its trash",
            super::rbd::trashed(value).map_or_else(|| shown(key), shown)
        )),
        b"rbd_namespace" => Some(format!(
            "it has the RBD namespace {}",
            shown(behind("name_").unwrap_or(key))
        )),
        _ => Some(format!("{} has the entry {}", place(entry), shown(key))),
    }
}

/// `object "a" in namespace "b"`.
fn place(entry: &Entry) -> String {
    let object = format!("object {}", shown(&entry.name));
    if entry.namespace.is_empty() {
        object
    } else {
        format!("{object} in namespace {}", shown(&entry.namespace))
    }
}

fn describe(found: &[Entry], images: &[String]) -> String {
    let objects: Vec<String> = found.iter().map(place).collect();
    let more = if found.len() < NAMED {
        ""
    } else {
        " and maybe more"
    };
    let objects = format!("it holds {}{more}", objects.join(", "));
    if images.is_empty() {
        objects
    } else {
        format!("{}; {objects}", images.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(namespace: &str, name: &str, locator: &str) -> Entry {
        Entry {
            namespace: namespace.into(),
            name: name.into(),
            locator: locator.into(),
        }
    }

    /// Only known names are housekeeping, in any namespace, placed by their names.
    #[test]
    fn housekeeping_is_known_by_name() {
        for (name, is) in [
            ("rbd_info", true),
            ("rbd_directory", true),
            ("rbd_id.a", false),
            ("rbd_directory2", false),
            ("csi.volumes.default", true),
            ("csi.volume.0815", false),
            ("a", false),
        ] {
            assert_eq!(is_housekeeping(&entry("", name, "")), is, "{name}");
            assert_eq!(is_housekeeping(&entry("n", name, name)), is, "{name}");
            assert!(!is_housekeeping(&entry("", name, "elsewhere")), "{name}");
        }
    }

    /// Each entry has a meaning but the one that stays.
    #[test]
    fn entries_have_a_meaning() {
        let says = |object, key: &str, value: &[u8]| {
            meaning(&entry("", object, ""), key.as_bytes(), value).unwrap_or_default()
        };
        assert_eq!(says("rbd_directory", "state", b"\0"), "");
        assert_eq!(
            says("rbd_directory", "id_1f", b"\x02\0\0\0im"),
            "RBD image \"im\" is in it"
        );
        assert_eq!(
            says(
                "rbd_trash",
                "id_1f",
                b"\x02\x01\x18\0\0\0\0\x02\0\0\0imTrest"
            ),
            "RBD image \"im\" is in its trash"
        );
        assert_eq!(
            says("rbd_trash", "id_1f", b""),
            "RBD image \"id_1f\" is in its trash"
        );
        assert_eq!(
            says("rbd_mirroring", "mode", b""),
            "object \"rbd_mirroring\" has the entry \"mode\""
        );
    }

    /// The sentence names objects, where they are, and images first.
    #[test]
    fn what_is_found_is_named() {
        let found = [entry("", "a", ""), entry("n1", "b\n", "")];
        assert_eq!(
            describe(&found, &[]),
            "it holds object \"a\", object \"b\\n\" in namespace \"n1\""
        );
        assert_eq!(
            describe(&[entry("", "a", "")], &["RBD image \"p/i\"".into()]),
            "RBD image \"p/i\"; it holds object \"a\""
        );
    }
}
