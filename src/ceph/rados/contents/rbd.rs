//! RBD images of other pools that keep their data in this one.
//!
//! Such an image is a few keys in its own pool, and here nothing until somebody writes to it. So
//! the images of all other pools are looked at, whatever application these have, those of RBD
//! namespaces and those in the trash too.

use std::ffi::CStr;

use super::super::ffi::{IoContext, KeyValue};
use super::facts::PoolFacts;
use super::{ENOENT, EOPNOTSUPP, Facts, Look, Looked, c_name, each, shown, something, unknown};

const DIRECTORY: &CStr = c"rbd_directory";
const TRASH: &CStr = c"rbd_trash";
const NAMESPACES: &CStr = c"rbd_namespace";
/// Where an image's header says which pool has its data: its number, if it is another.
const DATA_POOL: &CStr = c"data_pool_id";

/// An image, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pool: i64,
    pool_name: String,
    namespace: Vec<u8>,
    name: Vec<u8>,
    id: Vec<u8>,
    in_trash: bool,
}

impl Image {
    /// `RBD image "pool/namespace/name"`.
    pub(super) fn in_words(&self) -> String {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        let name = format!(
            "{}/{}{slash}{}",
            self.pool_name,
            String::from_utf8_lossy(&self.namespace),
            String::from_utf8_lossy(&self.name)
        );
        let trash = if self.in_trash { " in the trash" } else { "" };
        format!("RBD image {}{trash}", shown(name.as_bytes()))
    }
}

impl Look<'_> {
    /// Fails when an image of another pool has its data here.
    pub(super) fn images_elsewhere(&self, facts: &Facts) -> Looked {
        let others: Vec<_> = facts.others(self).collect();
        let images = each(&others, |(pool, name)| self.images_in(pool, name))?;
        let images: Vec<Image> = images.into_iter().flatten().collect();
        each(&images, |image| self.data_is_elsewhere(image))?;
        Ok(())
    }

    /// The images of a pool, in all its namespaces.
    fn images_in(&self, pool: &PoolFacts, name: &str) -> Looked<Vec<Image>> {
        let Some(mut io) = self.open_other(pool.id, name)? else {
            return Ok(Vec::new());
        };
        let what = format!(
            "pool \"{name}\" may hold RBD images whose data is in this pool; its list of RBD namespaces"
        );
        let namespaces = self.keys(&io, &what, NAMESPACES, c"name_", pool.erasure)?;
        let mut images = self.images_of_pool(&mut io, b"", pool.id, name, pool.erasure)?;
        for (namespace, _) in namespaces.iter().flatten() {
            images.extend(self.images_of_pool(&mut io, namespace, pool.id, name, pool.erasure)?);
        }
        Ok(images)
    }

    /// The images of one namespace of the pool that is looked into.
    pub(super) fn images_of(
        &self,
        io: &mut IoContext<'_>,
        namespace: &[u8],
        pool_name: &str,
        erasure: bool,
    ) -> Looked<Vec<Image>> {
        self.images_of_pool(io, namespace, self.pool.id.0, pool_name, erasure)
    }

    fn images_of_pool(
        &self,
        io: &mut IoContext<'_>,
        namespace: &[u8],
        pool: i64,
        pool_name: &str,
        erasure: bool,
    ) -> Looked<Vec<Image>> {
        io.set_namespace(&c_name(namespace)?);
        let mut images = Vec::new();
        let mut add = |object: &CStr| {
            let what = format!("{} of pool \"{pool_name}\"", object.to_string_lossy());
            let Some(listed) = self.keys(io, &what, object, c"id_", erasure)? else {
                return Ok(false);
            };
            let in_trash = object == TRASH;
            images.extend(listed.into_iter().map(|(id, value)| {
                let name = if in_trash {
                    trashed(&value)
                } else {
                    counted(&value)
                };
                Image {
                    pool,
                    pool_name: pool_name.to_owned(),
                    namespace: namespace.to_vec(),
                    name: name.unwrap_or(&id).to_vec(),
                    id,
                    in_trash,
                }
            }));
            Ok(true)
        };
        add(DIRECTORY)?;
        // An image is added where it moves to before it leaves: one that went into the trash is
        // seen there, and one that came back from it since only in the directory.
        if add(TRASH)? {
            add(DIRECTORY)?;
        }
        images.sort_by(|one, other| one.id.cmp(&other.id));
        images.dedup_by(|one, other| one.id == other.id && one.in_trash == other.in_trash);
        Ok(images)
    }

    /// Keys without their prefix, and their values; `None` when there is no such object, or the
    /// pool keeps no keys at all.
    fn keys(
        &self,
        io: &IoContext<'_>,
        what: &str,
        object: &CStr,
        prefix: &CStr,
        erasure: bool,
    ) -> Looked<Option<Vec<KeyValue>>> {
        // Asked once more, since an erasure-coded pool of a later release may keep keys.
        if erasure && matches!(io.omap(object, c"", prefix, 1), Err(EOPNOTSUPP)) {
            return Ok(None);
        }
        let Some(found) = self.entries(io, what, object, prefix)? else {
            return Ok(None);
        };
        found
            .into_iter()
            .map(|(key, value)| match key.strip_prefix(prefix.to_bytes()) {
                Some(rest) => Ok((rest.to_vec(), value)),
                None => Err(unknown(format!(
                    "{what} could not be read: other keys were given"
                ))),
            })
            .collect::<Looked<_>>()
            .map(Some)
    }

    fn data_is_elsewhere(&self, image: &Image) -> Looked {
        let Some(mut io) = self.open_other(image.pool, &image.pool_name)? else {
            return Ok(());
        };
        io.set_namespace(&c_name(&image.namespace)?);
        let header = c_name(&[b"rbd_header.", image.id.as_slice()].concat())?;
        let what = format!("the header of {}", image.in_words());
        self.in_time()?;
        let pairs = match io.omap(&header, c"", DATA_POOL, 1) {
            Ok((pairs, _)) => pairs,
            // Removed by now, or half removed: nothing says any more that it has data anywhere.
            Err(ENOENT) => return Ok(()),
            Err(code) => return Err(self.unreadable(&what, code)),
        };
        let Some((_, value)) = pairs.iter().find(|(key, _)| key == DATA_POOL.to_bytes()) else {
            return Ok(());
        };
        match <[u8; 8]>::try_from(value.as_slice()).map(i64::from_le_bytes) {
            Ok(id) if id == self.pool.id.0 => Err(something(format!(
                "it is the data pool of {}",
                image.in_words()
            ))),
            Ok(_) => Ok(()),
            Err(_) => Err(unknown(format!(
                "{what} names its data pool in an unknown way"
            ))),
        }
    }
}

/// A text that begins with its length.
pub(super) fn counted(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// The name in an entry of the trash: behind the structure's head and where it came from.
pub(super) fn trashed(bytes: &[u8]) -> Option<&[u8]> {
    counted(bytes.get(7..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts are read by their length, and not past the end.
    #[test]
    fn counted_texts() {
        assert_eq!(counted(b"\x02\0\0\0image"), Some(&b"im"[..]));
        assert_eq!(counted(b"\x03\0\0\0im"), None);
        assert_eq!(counted(b"\xff\xff\xff\xffim"), None);
        assert_eq!(counted(b"\0\0"), None);
    }

    /// An image is named as the rbd command takes it.
    #[test]
    fn images_in_words() {
        let image = |namespace: &str, in_trash| Image {
            pool: 1,
            pool_name: "p".into(),
            namespace: namespace.into(),
            name: b"i".to_vec(),
            id: b"1f".to_vec(),
            in_trash,
        };
        assert_eq!(image("", false).in_words(), "RBD image \"p/i\"");
        assert_eq!(
            image("n", true).in_words(),
            "RBD image \"p/n/i\" in the trash"
        );
    }
}
