//! Numbers that stand for names in the encoded map: Ceph's own tables.
//!
//! Sources: Ceph's `src/osd/osd_types.h` (`pg_pool_t`, `pool_opts_t`), `src/osd/osd_types.cc`
//! (`opt_mapping`), `src/include/rados.h` and `src/osd/OSDMap.cc` (`get_flag_string`).

pub(super) mod numbers;

use std::collections::BTreeSet;

use super::CacheMode;
use crate::ceph::types::Release;

/// An optional variable of a pool, as the map keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOption {
    /// Its name in `osd pool set` and in `osd dump`.
    pub name: &'static str,
    /// What it is kept as.
    pub kind: OptionType,
}

/// What an option is kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionType {
    /// A whole number of 64 bits.
    Integer,
    /// A decimal of 64 bits.
    Double,
    /// A word.
    Text,
}

const fn integer(name: &'static str) -> PoolOption {
    PoolOption {
        name,
        kind: OptionType::Integer,
    }
}

const fn double(name: &'static str) -> PoolOption {
    PoolOption {
        name,
        kind: OptionType::Double,
    }
}

const fn text(name: &'static str) -> PoolOption {
    PoolOption {
        name,
        kind: OptionType::Text,
    }
}

/// All options of Ceph 16 to 20. The place is the number in the encoded map: Ceph adds at the
/// end and never takes away.
pub static OPTIONS: [PoolOption; 26] = [
    double("scrub_min_interval"),
    double("scrub_max_interval"),
    double("deep_scrub_interval"),
    integer("recovery_priority"),
    integer("recovery_op_priority"),
    integer("scrub_priority"),
    text("compression_mode"),
    text("compression_algorithm"),
    double("compression_required_ratio"),
    integer("compression_max_blob_size"),
    integer("compression_min_blob_size"),
    integer("csum_type"),
    integer("csum_max_block"),
    integer("csum_min_block"),
    text("fingerprint_algorithm"),
    integer("pg_num_min"),
    integer("target_size_bytes"),
    double("target_size_ratio"),
    double("pg_autoscale_bias"),
    double("read_lease_interval"),
    integer("dedup_tier"),
    text("dedup_chunk_algorithm"),
    integer("dedup_cdc_chunk_size"),
    integer("pg_num_max"),
    integer("read_ratio"),
    integer("pct_update_delay"),
];

/// The option of this name.
pub fn pool_option(name: &str) -> Option<&'static PoolOption> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// Flags of a pool, from the lowest bit.
const POOL_FLAGS: [&str; 20] = [
    "hashpspool",
    "full",
    "ec_overwrites",
    "incomplete_clones",
    "nodelete",
    "nopgchange",
    "nosizechange",
    "write_fadvise_dontneed",
    "noscrub",
    "nodeep-scrub",
    "full_quota",
    "nearfull",
    "backfillfull",
    SELF_MANAGED_SNAPS,
    POOL_SNAPS,
    "creating",
    "eio",
    "bulk",
    "crimson",
    "ec_optimizations",
];

/// The flag of a pool whose clients, such as RBD, make the snapshots.
pub(super) const SELF_MANAGED_SNAPS: &str = "selfmanaged_snaps";
/// The flag of a pool with snapshots of the whole pool.
pub(super) const POOL_SNAPS: &str = "pool_snaps";

/// Flags of the cluster, from the lowest bit. Those without a name are never dumped.
const CLUSTER_FLAGS: [&str; 24] = [
    "",
    "",
    "pauserd",
    "pausewr",
    "pauserec",
    "noup",
    "nodown",
    "noout",
    "noin",
    "nobackfill",
    "norecover",
    "noscrub",
    "nodeep-scrub",
    "notieragent",
    "norebalance",
    "sortbitwise",
    "require_jewel_osds",
    "require_kraken_osds",
    "require_luminous_osds",
    "recovery_deletes",
    "purged_snapdirs",
    "nosnaptrim",
    "pglog_hardlimit",
    "noautoscale",
];

/// The names of a pool's flags; monitors print `???` for one without a name.
pub(super) fn pool_flags(bits: u64) -> BTreeSet<String> {
    of_bits(bits, &POOL_FLAGS, Some("???"))
}

/// The names of the cluster's flags; monitors print nothing for one without a name.
pub(super) fn cluster_flags(bits: u32) -> BTreeSet<String> {
    of_bits(bits.into(), &CLUSTER_FLAGS, None)
}

fn of_bits(bits: u64, names: &[&str], unnamed: Option<&str>) -> BTreeSet<String> {
    (0..64_usize)
        .filter(|place| bits >> place & 1 == 1)
        .filter_map(|place| {
            let name = names.get(place).copied().filter(|name| !name.is_empty());
            name.or(unnamed).map(str::to_owned)
        })
        .collect()
}

const AUTOSCALE_MODES: [&str; 3] = ["off", "warn", "on"];

/// The word of an autoscale mode; monitors print `???` for one without.
pub(super) fn autoscale_mode(number: u8) -> &'static str {
    let known = AUTOSCALE_MODES.get(usize::from(number));
    known.copied().unwrap_or("???")
}

const CACHE_MODES: [(CacheMode, &str); 7] = [
    (CacheMode::None, "none"),
    (CacheMode::Writeback, "writeback"),
    (CacheMode::Forward, "forward"),
    (CacheMode::ReadOnly, "readonly"),
    (CacheMode::ReadForward, "readforward"),
    (CacheMode::ReadProxy, "readproxy"),
    (CacheMode::Proxy, "proxy"),
];

impl CacheMode {
    /// The mode of this number in the encoded map.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        CACHE_MODES.get(usize::from(number)).map(|(mode, _)| *mode)
    }

    /// The mode of this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let found = CACHE_MODES.iter().find(|(_, known)| *known == name);
        found.map(|(mode, _)| *mode)
    }

    /// Its number in the encoded map.
    pub(super) fn number(self) -> u8 {
        let place = CACHE_MODES.iter().position(|(mode, _)| *mode == self);
        place
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or_default()
    }

    /// Its name in `osd dump`.
    pub fn name(self) -> &'static str {
        let found = CACHE_MODES.iter().find(|(mode, _)| *mode == self);
        found.map_or("unknown", |(_, name)| name)
    }
}

/// Names of releases before those that this program works with, from 0.
const OLDER_RELEASES: [&str; 16] = [
    "unknown",
    "argonaut",
    "bobtail",
    "cuttlefish",
    "dumpling",
    "emperor",
    "firefly",
    "giant",
    "hammer",
    "infernalis",
    "jewel",
    "kraken",
    "luminous",
    "mimic",
    "nautilus",
    "octopus",
];

const RELEASES: [Release; 5] = [
    Release::Pacific,
    Release::Quincy,
    Release::Reef,
    Release::Squid,
    Release::Tentacle,
];

/// A release by its number in the encoded map, and its name. One that this program does not
/// know keeps its number as a name.
pub(super) fn release(number: u8) -> (Option<Release>, String) {
    if let Some(release) = RELEASES.into_iter().find(|known| *known as u8 == number) {
        return (Some(release), release.name().to_owned());
    }
    let older = OLDER_RELEASES.get(usize::from(number));
    let name = older.map_or_else(|| number.to_string(), |name| (*name).to_owned());
    (None, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that Ceph has given: a row in between would shift all that follow.
    #[test]
    fn options_stand_at_their_numbers() {
        let at = |number: usize| OPTIONS[number].name;
        assert_eq!(
            [at(0), at(6), at(11), at(14), at(18), at(23), at(24), at(25)],
            [
                "scrub_min_interval",
                "compression_mode",
                "csum_type",
                "fingerprint_algorithm",
                "pg_autoscale_bias",
                "pg_num_max",
                "read_ratio",
                "pct_update_delay"
            ]
        );
        assert_eq!(pool_option("read_ratio"), Some(&OPTIONS[24]));
        assert_eq!(pool_option("size"), None);
    }

    /// Bits without a name are told as monitors tell them.
    #[test]
    fn flags_of_bits() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let set: BTreeSet<String> = names(&["ec_optimizations", "ec_overwrites", "hashpspool"]);
        assert_eq!(pool_flags(1 | 1 << 2 | 1 << 19), set);
        assert_eq!(pool_flags(1 << 40), names(&["???"]));
        assert_eq!(
            cluster_flags(1 << 23 | 1 << 31 | 1),
            names(&["noautoscale"])
        );
    }

    /// A release is known by its number, as by its name.
    #[test]
    fn releases_of_numbers() {
        assert_eq!(release(18), (Some(Release::Reef), "reef".into()));
        assert_eq!(release(15), (None, "octopus".into()));
        assert_eq!(release(21), (None, "21".into()));
    }
}
