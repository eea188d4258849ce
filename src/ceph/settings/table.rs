//! The rows.

use super::{Danger, Form, Kind, Removal, Setting, Shown, Value};
use crate::ceph::osd_map::{Pool, PoolKind};
use crate::ceph::types::Release;

/// The flag by which monitors refuse changes of size and `min_size`.
pub const NO_SIZE_CHANGE: &str = "nosizechange";
/// The flag by which they refuse changes of the placement groups.
pub const NO_PG_CHANGE: &str = "nopgchange";
/// The flag by which they refuse to remove the pool.
pub const NO_DELETE: &str = "nodelete";

/// Ten years: what an interval may be at most, in seconds.
const TEN_YEARS: f64 = 315_360_000.0;
/// Sizes of pieces of data: up to 1 GiB.
const PIECE: Kind = Kind::Integer {
    least: 1,
    most: 1 << 30,
};
/// Any size in bytes.
const BYTES: Kind = Kind::Integer {
    least: 0,
    most: i64::MAX,
};
/// A number of placement groups.
const GROUPS: Kind = Kind::Integer {
    least: 1,
    most: 65_536,
};
/// Words that take an optional word off.
const UNSET: Removal = Removal::Unset("unset");

/// What most rows have.
const ROW: Setting = Setting {
    field: "",
    variable: "",
    kind: Kind::Flag,
    shown: Shown::Flag(""),
    form: Form::PoolSet,
    removal: Removal::Released,
    locked_by: None,
    since: Release::Pacific,
    only: None,
    danger: Danger::Mild,
    meaning: "",
};

const fn field(
    field: &'static str,
    variable: &'static str,
    kind: Kind,
    read: fn(&Pool) -> Value,
    meaning: &'static str,
) -> Setting {
    Setting {
        field,
        variable,
        kind,
        shown: Shown::Field(read),
        meaning,
        ..ROW
    }
}

const fn option(
    field: &'static str,
    variable: &'static str,
    kind: Kind,
    meaning: &'static str,
) -> Setting {
    Setting {
        field,
        variable,
        kind,
        shown: Shown::Option(variable),
        removal: Removal::Unset("0"),
        meaning,
        ..ROW
    }
}

const fn flag(field: &'static str, variable: &'static str, meaning: &'static str) -> Setting {
    Setting {
        field,
        variable,
        kind: Kind::Flag,
        shown: Shown::Flag(variable),
        removal: Removal::Unset("false"),
        meaning,
        ..ROW
    }
}

const fn quota(
    field: &'static str,
    variable: &'static str,
    read: fn(&Pool) -> Value,
    meaning: &'static str,
) -> Setting {
    Setting {
        field,
        variable,
        kind: BYTES,
        shown: Shown::Field(read),
        form: Form::Quota,
        removal: Removal::Unset("0"),
        meaning,
        ..ROW
    }
}

/// `size`: setting it makes the monitors choose `min_size` anew.
pub static SIZE: Setting = Setting {
    locked_by: Some(NO_SIZE_CHANGE),
    only: Some(PoolKind::Replicated),
    ..field(
        "size",
        "size",
        Kind::Integer { least: 1, most: 10 },
        |pool| Value::Integer(pool.size),
        "Number of copies.",
    )
};
/// `min_size`: refused when above `size`.
pub static MIN_SIZE: Setting = Setting {
    locked_by: Some(NO_SIZE_CHANGE),
    ..field(
        "minSize",
        "min_size",
        Kind::Integer { least: 1, most: 96 },
        |pool| Value::Integer(pool.min_size),
        "With fewer copies or chunks than this, a placement group stops serving I/O.",
    )
};
/// `crush_rule`: set by name, and shown by its number. What is in the rule is compared, not its name.
pub static CRUSH_RULE: Setting = field(
    "crush",
    "crush_rule",
    Kind::Name,
    |pool| Value::Integer(pool.crush_rule),
    "Where the copies or chunks lie: an existing CRUSH rule, or one that is made for `failureDomain`, `root` and \
     `deviceClass`. A change moves the pool's data and waits to be confirmed.",
);
/// `pg_autoscale_mode`.
pub static AUTOSCALE_MODE: Setting = field(
    "placementGroups.autoscale",
    "pg_autoscale_mode",
    Kind::Word(&["on", "off", "warn"]),
    |pool| Value::Word(pool.autoscale_mode.clone()),
    "What Ceph's autoscaler does with the number of placement groups.",
);
/// `pg_num`: only the target is set and compared, the manager walks there.
pub static PG_NUM: Setting = Setting {
    locked_by: Some(NO_PG_CHANGE),
    ..field(
        "placementGroups.count",
        "pg_num",
        GROUPS,
        |pool| Value::Integer(pool.placement_groups.pg_num_target),
        "Number of placement groups.",
    )
};
/// `pgp_num`: follows `pg_num` unless somebody has set it apart.
pub static PGP_NUM: Setting = Setting {
    locked_by: Some(NO_PG_CHANGE),
    ..field(
        "placementGroups.count",
        "pgp_num",
        GROUPS,
        |pool| Value::Integer(pool.placement_groups.pgp_num_target),
        "Number of placement groups that placement counts with; follows pg_num.",
    )
};
/// `pg_num_min`: refused when above the target of `pg_num`.
pub static PG_NUM_MIN: Setting = option(
    "placementGroups.min",
    "pg_num_min",
    GROUPS,
    "The fewest placement groups the autoscaler may choose.",
);
/// `pg_num_max`: refused when below the target of `pg_num`.
pub static PG_NUM_MAX: Setting = option(
    "placementGroups.max",
    "pg_num_max",
    GROUPS,
    "The most placement groups the autoscaler may choose.",
);
/// `pg_autoscale_bias`.
pub static BIAS: Setting = option(
    "placementGroups.bias",
    "pg_autoscale_bias",
    Kind::Double { most: 1000.0 },
    "How many times more placement groups than its data would call for the pool gets.",
);
/// `target_size_bytes`.
pub static TARGET_SIZE_BYTES: Setting = option(
    "placementGroups.targetSizeBytes",
    "target_size_bytes",
    BYTES,
    "How many bytes of data the pool is expected to hold.",
);
/// `target_size_ratio`.
pub static TARGET_SIZE_RATIO: Setting = option(
    "placementGroups.targetSizeRatio",
    "target_size_ratio",
    Kind::Double { most: f64::MAX },
    "Which share of the cluster the pool is expected to use, relative to other pools.",
);
/// `bulk`.
pub static BULK: Setting = flag(
    "placementGroups.bulk",
    "bulk",
    "The pool is expected to be large.",
);
/// `max_bytes`.
pub static QUOTA_BYTES: Setting = quota(
    "quota.maxBytes",
    "max_bytes",
    |pool| Value::Integer(pool.quota_max_bytes),
    "Most bytes of data, before replication.",
);
/// `max_objects`.
pub static QUOTA_OBJECTS: Setting = quota(
    "quota.maxObjects",
    "max_objects",
    |pool| Value::Integer(pool.quota_max_objects),
    "Most objects.",
);
/// `compression_mode`.
pub static COMPRESSION_MODE: Setting = Setting {
    removal: UNSET,
    ..option(
        "compression.mode",
        "compression_mode",
        Kind::Word(&["none", "passive", "aggressive", "force"]),
        "When the OSDs compress.",
    )
};
/// `compression_algorithm`.
pub static COMPRESSION_ALGORITHM: Setting = Setting {
    removal: UNSET,
    ..option(
        "compression.algorithm",
        "compression_algorithm",
        Kind::Word(&["lz4", "snappy", "zlib", "zstd", "none"]),
        "How they compress.",
    )
};
/// `compression_required_ratio`.
pub static COMPRESSION_REQUIRED_RATIO: Setting = option(
    "compression.requiredRatio",
    "compression_required_ratio",
    Kind::Double { most: 1.0 },
    "Compressed data is stored only if it is at most this share of the original.",
);
/// `compression_min_blob_size`.
pub static COMPRESSION_MIN_BLOB_SIZE: Setting = option(
    "compression.minBlobSize",
    "compression_min_blob_size",
    BYTES,
    "Pieces of data of fewer bytes are not compressed.",
);
/// `compression_max_blob_size`.
pub static COMPRESSION_MAX_BLOB_SIZE: Setting = option(
    "compression.maxBlobSize",
    "compression_max_blob_size",
    BYTES,
    "Pieces of data of more bytes are split before they are compressed.",
);
/// `noscrub`.
pub static NO_SCRUB_FLAG: Setting = flag("flags.noScrub", "noscrub", "The pool is not scrubbed.");
/// `nodeep-scrub`.
pub static NO_DEEP_SCRUB_FLAG: Setting = flag(
    "flags.noDeepScrub",
    "nodeep-scrub",
    "The pool is not deep-scrubbed.",
);
/// `nosizechange`.
pub static NO_SIZE_CHANGE_FLAG: Setting = flag(
    "flags.noSizeChange",
    NO_SIZE_CHANGE,
    "Monitors refuse to change size and min_size.",
);
/// `nopgchange`.
pub static NO_PG_CHANGE_FLAG: Setting = flag(
    "flags.noPgChange",
    NO_PG_CHANGE,
    "Monitors refuse to change the number of placement groups.",
);
/// `nodelete`.
pub static NO_DELETE_FLAG: Setting = flag(
    "flags.noDelete",
    NO_DELETE,
    "Monitors refuse to remove the pool.",
);
/// `fast_read`, which is a field of its own in the map and no flag.
pub static FAST_READ: Setting = Setting {
    only: Some(PoolKind::Erasure),
    removal: Removal::Unset("false"),
    ..field(
        "flags.fastRead",
        "fast_read",
        Kind::Flag,
        |pool| Value::Flag(pool.fast_read),
        "Reads ask all chunks and use the first that suffice.",
    )
};
/// `allow_ec_overwrites`.
pub static EC_OVERWRITES: Setting = Setting {
    only: Some(PoolKind::Erasure),
    removal: Removal::Irreversible,
    shown: Shown::Flag("ec_overwrites"),
    ..flag(
        "erasureCoded.overwrites",
        "allow_ec_overwrites",
        "Objects may be overwritten in part, which RBD and CephFS need.",
    )
};
/// `allow_ec_optimizations`.
pub static EC_OPTIMIZATIONS: Setting = Setting {
    only: Some(PoolKind::Erasure),
    removal: Removal::Irreversible,
    since: Release::Tentacle,
    shown: Shown::Flag("ec_optimizations"),
    ..flag(
        "erasureCoded.optimizations",
        "allow_ec_optimizations",
        "The faster erasure-code paths are used.",
    )
};
static WRITE_FADVISE_DONTNEED: Setting = flag(
    "parameters[write_fadvise_dontneed]",
    "write_fadvise_dontneed",
    "OSDs do not keep what is written in their caches.",
);
static EIO: Setting = Setting {
    since: Release::Reef,
    danger: Danger::Grave,
    ..flag(
        "parameters[eio]",
        "eio",
        "Every operation of every client fails with an I/O error.",
    )
};
static CSUM_TYPE: Setting = Setting {
    shown: Shown::Numbered("csum_type", CHECKSUMS),
    removal: UNSET,
    ..option(
        "parameters[csum_type]",
        "csum_type",
        Kind::Word(&[
            "none",
            "crc32c",
            "crc32c_16",
            "crc32c_8",
            "xxhash32",
            "xxhash64",
        ]),
        "The checksum that OSDs keep with data.",
    )
};
/// The map keeps these numbers instead of the words.
const CHECKSUMS: &[(&str, i64)] = &[
    ("none", 1),
    ("xxhash32", 2),
    ("xxhash64", 3),
    ("crc32c", 4),
    ("crc32c_16", 5),
    ("crc32c_8", 6),
];
static CSUM_MIN_BLOCK: Setting = option(
    "parameters[csum_min_block]",
    "csum_min_block",
    PIECE,
    "Bytes that one checksum covers, at least.",
);
static CSUM_MAX_BLOCK: Setting = option(
    "parameters[csum_max_block]",
    "csum_max_block",
    PIECE,
    "Bytes that one checksum covers, at most.",
);
static SCRUB_MIN_INTERVAL: Setting = option(
    "parameters[scrub_min_interval]",
    "scrub_min_interval",
    Kind::Double { most: TEN_YEARS },
    "Seconds from one scrub to the next while the load is low.",
);
static SCRUB_MAX_INTERVAL: Setting = option(
    "parameters[scrub_max_interval]",
    "scrub_max_interval",
    Kind::Double { most: TEN_YEARS },
    "Seconds from one scrub to the next whatever the load is.",
);
static DEEP_SCRUB_INTERVAL: Setting = option(
    "parameters[deep_scrub_interval]",
    "deep_scrub_interval",
    Kind::Double { most: TEN_YEARS },
    "Seconds from one deep scrub to the next.",
);
static SCRUB_PRIORITY: Setting = option(
    "parameters[scrub_priority]",
    "scrub_priority",
    Kind::Integer {
        least: 1,
        most: 255,
    },
    "Priority of scrubs in the OSDs' queues.",
);
static RECOVERY_PRIORITY: Setting = option(
    "parameters[recovery_priority]",
    "recovery_priority",
    Kind::Integer {
        least: -10,
        most: 10,
    },
    "Which pools recover first: higher ones do.",
);
static RECOVERY_OP_PRIORITY: Setting = option(
    "parameters[recovery_op_priority]",
    "recovery_op_priority",
    Kind::Integer { least: 1, most: 63 },
    "Priority of recovery in the OSDs' queues; clients have 63.",
);
static READ_RATIO: Setting = Setting {
    since: Release::Squid,
    only: Some(PoolKind::Replicated),
    ..option(
        "parameters[read_ratio]",
        "read_ratio",
        Kind::Integer {
            least: 1,
            most: 100,
        },
        "Percentage of reads among the pool's operations, by which the balancer places primaries.",
    )
};
static PCT_UPDATE_DELAY: Setting = Setting {
    since: Release::Tentacle,
    ..option(
        "parameters[pct_update_delay]",
        "pct_update_delay",
        Kind::Integer {
            least: 1,
            most: 3600,
        },
        "Seconds after which an idle placement group tells its OSDs what has been committed.",
    )
};
static FINGERPRINT_ALGORITHM: Setting = Setting {
    removal: UNSET,
    only: Some(PoolKind::Replicated),
    danger: Danger::Grave,
    ..option(
        "parameters[fingerprint_algorithm]",
        "fingerprint_algorithm",
        Kind::Word(&["sha1", "sha256", "sha512"]),
        "How deduplication (experimental) names chunks.",
    )
};
static DEDUP_CHUNK_ALGORITHM: Setting = Setting {
    removal: UNSET,
    only: Some(PoolKind::Replicated),
    danger: Danger::Grave,
    ..option(
        "parameters[dedup_chunk_algorithm]",
        "dedup_chunk_algorithm",
        Kind::Word(&["fastcdc", "fixed"]),
        "How deduplication (experimental) cuts objects into chunks.",
    )
};
static DEDUP_CDC_CHUNK_SIZE: Setting = Setting {
    only: Some(PoolKind::Replicated),
    danger: Danger::Grave,
    ..option(
        "parameters[dedup_cdc_chunk_size]",
        "dedup_cdc_chunk_size",
        PIECE,
        "Bytes of a chunk of deduplication (experimental).",
    )
};

/// All rows, in the order in which plans name them.
pub static SETTINGS: [&Setting; 43] = [
    &SIZE,
    &MIN_SIZE,
    &CRUSH_RULE,
    &AUTOSCALE_MODE,
    &PG_NUM,
    &PGP_NUM,
    &PG_NUM_MIN,
    &PG_NUM_MAX,
    &BIAS,
    &TARGET_SIZE_BYTES,
    &TARGET_SIZE_RATIO,
    &BULK,
    &QUOTA_BYTES,
    &QUOTA_OBJECTS,
    &EC_OVERWRITES,
    &EC_OPTIMIZATIONS,
    &COMPRESSION_MODE,
    &COMPRESSION_ALGORITHM,
    &COMPRESSION_REQUIRED_RATIO,
    &COMPRESSION_MIN_BLOB_SIZE,
    &COMPRESSION_MAX_BLOB_SIZE,
    &NO_SCRUB_FLAG,
    &NO_DEEP_SCRUB_FLAG,
    &FAST_READ,
    &WRITE_FADVISE_DONTNEED,
    &EIO,
    &CSUM_TYPE,
    &CSUM_MIN_BLOCK,
    &CSUM_MAX_BLOCK,
    &SCRUB_MIN_INTERVAL,
    &SCRUB_MAX_INTERVAL,
    &DEEP_SCRUB_INTERVAL,
    &SCRUB_PRIORITY,
    &RECOVERY_PRIORITY,
    &RECOVERY_OP_PRIORITY,
    &READ_RATIO,
    &PCT_UPDATE_DELAY,
    &FINGERPRINT_ALGORITHM,
    &DEDUP_CHUNK_ALGORITHM,
    &DEDUP_CDC_CHUNK_SIZE,
    &NO_SIZE_CHANGE_FLAG,
    &NO_PG_CHANGE_FLAG,
    &NO_DELETE_FLAG,
];

/// What `osd pool set` takes besides, and why this program does not set it.
pub static NOT_SET: &[(&[&str], &str)] = &[
    (
        &["hashpspool"],
        "Ceph sets it on every pool, and a change moves all data of the pool",
    ),
    (
        &["pg_num_actual", "pgp_num_actual"],
        "it is how Ceph's manager gets to pg_num and pgp_num",
    ),
    (
        &["dedup_tier"],
        "it ties two pools together for an experiment and cannot be taken off",
    ),
    (
        &[
            "hit_set_type",
            "hit_set_period",
            "hit_set_count",
            "hit_set_fpp",
            "hit_set_grade_decay_rate",
            "hit_set_search_last_n",
            "use_gmt_hitset",
            "target_max_objects",
            "target_max_bytes",
            "cache_target_dirty_ratio",
            "cache_target_dirty_high_ratio",
            "cache_target_full_ratio",
            "cache_min_flush_age",
            "cache_min_evict_age",
            "min_read_recency_for_promote",
            "min_write_recency_for_promote",
        ],
        "it belongs to cache tiers, which Ceph has deprecated",
    ),
];
