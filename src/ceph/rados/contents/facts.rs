//! What the newest OSD map says of pools and is not in the model: tiers, and which pools there
//! are by now.
//!
//! Read from the binary map, of which the first part of each pool suffices: a dump as JSON costs
//! the monitor seconds on large clusters.

use super::{Look, Looked, something, unknown};
use crate::ceph::osd_map::{OptionValue, PoolKind};

/// The pools of the newest map.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// In the map's order.
    pub(super) pools: Vec<PoolFacts>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PoolFacts {
    pub(super) id: i64,
    /// Whether it keeps chunks and so, until now, no keys.
    pub(super) erasure: bool,
    size: u8,
    min_size: u8,
    last_change: u32,
    quota_max_bytes: u64,
    quota_max_objects: u64,
    /// Caches of this pool.
    tiers: Vec<u64>,
    /// The pool that this one is a cache of, or -1.
    tier_of: i64,
}

impl Look<'_> {
    /// Reads them, and fails when they show that the pool is a part of another one.
    pub(super) fn facts(&self) -> Looked<Facts> {
        // With a limit, unlike what follows: monitors that do not answer are found out here.
        let map = self.ask("osd getmap")?;
        self.cluster
            .wait_for_latest_map()
            .map_err(|code| self.unreadable("the newest OSD map", code))?;
        self.exists()?;
        let facts =
            read(&map).ok_or_else(|| unknown("the OSD map of this release could not be read"))?;
        self.judge(&facts)?;
        Ok(facts)
    }

    fn judge(&self, facts: &Facts) -> Looked {
        let id = self.pool.id.0;
        let Some(own) = facts.pools.iter().find(|pool| pool.id == id) else {
            return Err(unknown(format!("pool {id} is not in the newest map")));
        };
        // The model was decoded by other means: where both speak of the same state, they agree.
        let same = own.last_change == u32::try_from(self.pool.last_change.0).unwrap_or(0);
        let agrees = i64::from(own.size) == self.pool.size
            && i64::from(own.min_size) == self.pool.min_size
            && own.erasure == (self.pool.kind == PoolKind::Erasure)
            && i64::try_from(own.quota_max_bytes) == Ok(self.pool.quota_max_bytes)
            && i64::try_from(own.quota_max_objects) == Ok(self.pool.quota_max_objects);
        if same && !agrees {
            return Err(unknown("the OSD map of this release could not be read"));
        }
        let named = |id: i64| self.name_of(id);
        if own.tier_of != -1 {
            return Err(something(format!(
                "it is a cache tier of pool \"{}\"",
                named(own.tier_of)
            )));
        }
        if let Some(tier) = own.tiers.first() {
            let tier = i64::try_from(*tier).unwrap_or(-1);
            return Err(something(format!(
                "pool \"{}\" is a tier of it",
                named(tier)
            )));
        }
        for pool in facts.pools.iter().filter(|pool| pool.id != id) {
            if pool.tier_of == id || pool.tiers.iter().any(|tier| i64::try_from(*tier) == Ok(id)) {
                return Err(something(format!(
                    "it is tied to pool \"{}\" as a tier",
                    named(pool.id)
                )));
            }
        }
        let dedup = self.order.map.pools.values().find(|pool| {
            pool.options.get("dedup_tier") == Some(&OptionValue::Integer(id)) && pool.id.0 != id
        });
        match dedup {
            Some(pool) => Err(something(format!(
                "it is where pool \"{}\" puts what it deduplicates",
                pool.name
            ))),
            None => Ok(()),
        }
    }

    /// A pool's name in the session's map, which is newer than ours.
    pub(super) fn name_of(&self, id: i64) -> String {
        self.cluster
            .pool_name(id)
            .unwrap_or_else(|_| format!("number {id}"))
    }
}

/// Reads the beginning of a binary map; `None` when it is not one.
fn read(bytes: &[u8]) -> Option<Facts> {
    let mut whole = Reader(bytes);
    // The wrapper, then the part that clients use too.
    let mut inner = whole.structure()?.structure()?;
    // The fsid, the epoch, and two times.
    inner.take(16 + 4 + 8 + 8)?;
    let count = inner.u32()?;
    let mut pools = Vec::new();
    for _ in 0..count {
        let id = inner.i64()?;
        pools.push(pool(id, inner.structure()?)?);
    }
    let ids: Vec<i64> = pools.iter().map(|pool| pool.id).collect();
    let known = |id: i64| ids.contains(&id);
    let sound = ids.is_sorted_by(|a, b| a < b)
        && pools.iter().all(|pool| {
            let tiers = pool.tiers.iter();
            (pool.tier_of == -1 || known(pool.tier_of))
                && tiers
                    .into_iter()
                    .all(|tier| i64::try_from(*tier).is_ok_and(known))
        });
    sound.then_some(Facts { pools })
}

/// The fields up to the tiers, which have been in this order since Ceph 0.67.
fn pool(id: i64, mut from: Reader<'_>) -> Option<PoolFacts> {
    let kind = from.u8()?;
    let size = from.u8()?;
    // The CRUSH rule, the hash, and four numbers of placement groups.
    from.take(1 + 1 + 4 * 4)?;
    let last_change = from.u32()?;
    // The sequence and epoch of snapshots.
    from.take(8 + 4)?;
    // Snapshots of the pool.
    for _ in 0..from.u32()? {
        from.take(8)?;
        from.structure()?;
    }
    // Removed snapshots, as intervals.
    for _ in 0..from.u32()? {
        from.take(16)?;
    }
    // The owner of old, the flags, and an interval of old.
    from.take(8 + 8 + 4)?;
    let min_size = from.u8()?;
    let quota_max_bytes = from.u64()?;
    let quota_max_objects = from.u64()?;
    let mut tiers = Vec::new();
    for _ in 0..from.u32()? {
        tiers.push(from.u64()?);
    }
    let tier_of = from.i64()?;
    let erasure = match kind {
        1 => false,
        3 => true,
        _ => return None,
    };
    Some(PoolFacts {
        id,
        erasure,
        size,
        min_size,
        last_change,
        quota_max_bytes,
        quota_max_objects,
        tiers,
        tier_of,
    })
}

/// Ceph's encoding: little-endian numbers, and structures that begin with a version, the oldest
/// reader's version, and their length.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn structure(&mut self) -> Option<Reader<'a>> {
        self.take(2)?;
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?).map(Reader)
    }
}

impl Facts {
    /// The others, each with its name.
    pub(super) fn others<'a>(
        &'a self,
        look: &'a Look<'_>,
    ) -> impl Iterator<Item = (&'a PoolFacts, String)> {
        let own = look.pool.id.0;
        self.pools
            .iter()
            .filter(move |pool| pool.id != own)
            .map(|pool| (pool, look.name_of(pool.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short");
        [&[9, 1][..], &length.to_le_bytes(), content].concat()
    }

    fn encoded(id: i64, kind: u8, tiers: &[u64], tier_of: i64) -> Vec<u8> {
        let mut content = vec![kind, 3, 0, 2];
        content.extend([0; 16]);
        content.extend(77_u32.to_le_bytes());
        content.extend([0; 12]);
        // A snapshot of the pool and an interval of removed ones.
        content.extend(1_u32.to_le_bytes());
        content.extend(5_u64.to_le_bytes());
        content.extend(structure(b"name"));
        content.extend(1_u32.to_le_bytes());
        content.extend([0; 16]);
        content.extend([0; 20]);
        content.push(2);
        content.extend(1000_u64.to_le_bytes());
        content.extend(10_u64.to_le_bytes());
        content.extend(u32::try_from(tiers.len()).expect("few").to_le_bytes());
        for tier in tiers {
            content.extend(tier.to_le_bytes());
        }
        content.extend(tier_of.to_le_bytes());
        content.extend(b"what comes behind");
        [&id.to_le_bytes()[..], &structure(&content)].concat()
    }

    fn map(pools: &[Vec<u8>]) -> Vec<u8> {
        let mut inner = vec![0; 36];
        inner.extend(u32::try_from(pools.len()).expect("few").to_le_bytes());
        inner.extend(pools.concat());
        inner.extend(b"what comes behind");
        structure(&structure(&inner))
    }

    /// Tiers are read past snapshots of any number, and what comes behind is skipped.
    #[test]
    fn tiers_are_read() {
        let bytes = map(&[encoded(3, 1, &[7], -1), encoded(7, 3, &[], 3)]);
        let facts = read(&bytes).expect("a map");
        let [base, tier] = facts.pools.as_slice() else {
            panic!("{facts:?}")
        };
        assert_eq!(
            (base.id, base.tiers.as_slice(), base.tier_of),
            (3, &[7][..], -1)
        );
        assert_eq!((base.size, base.min_size, base.last_change), (3, 2, 77));
        assert_eq!((base.quota_max_bytes, base.quota_max_objects), (1000, 10));
        assert_eq!((tier.id, tier.tier_of, tier.erasure), (7, 3, true));
    }

    /// Whatever is cut off, or points to a pool that is not there, is no map.
    #[test]
    fn anything_odd_is_no_map() {
        let bytes = map(&[encoded(3, 1, &[], -1)]);
        assert!(read(&bytes).is_some());
        for length in 0..bytes.len() {
            assert_eq!(
                read(bytes.get(..length).expect("shorter")),
                None,
                "{length}"
            );
        }
        assert_eq!(read(&map(&[encoded(3, 1, &[9], -1)])), None);
        assert_eq!(read(&map(&[encoded(3, 1, &[], 9)])), None);
        assert_eq!(read(&map(&[encoded(3, 2, &[], -1)])), None);
    }
}
