//! The variables of `osd pool set`: what monitors know, which is more than this program
//! manages.

use super::create::default_min_size;
use super::numbers;
use super::pending::Pending;
use super::reply::{EACCES, EINVAL, ENOENT, ENOTSUP, EPERM, ERANGE, Refusal, refuse};
use crate::ceph::osd_map::{OptionValue, Pool, PoolKind};
use crate::ceph::settings::{NO_DELETE, NO_PG_CHANGE, NO_SIZE_CHANGE};
use crate::ceph::types::Release;

/// Sets a variable of a pool; `false` where the monitors take no notice of the value.
pub(super) fn set(
    pending: &Pending<'_>,
    pool: &mut Pool,
    variable: &str,
    value: &str,
) -> Result<bool, Refusal> {
    match variable {
        "size" => set_size(pending, pool, value)?,
        "min_size" => set_min_size(pending, pool, value)?,
        "pg_num" => return set_pg_num(pending, pool, value),
        "pgp_num" => set_pgp_num(pool, value)?,
        "pg_autoscale_mode" => match value {
            "on" | "off" | "warn" => value.clone_into(&mut pool.autoscale_mode),
            _ => return refuse(EINVAL, format!("specified invalid mode {value}")),
        },
        "crush_rule" => match pending.crush().rule_named(value) {
            Some(number) if !pending.fits(pool, number) => {
                return refuse(EINVAL, "(22) Invalid argument");
            }
            Some(number) => pool.crush_rule = number,
            None => return refuse(ENOENT, format!("crush rule {value} does not exist")),
        },
        NO_DELETE
        | NO_PG_CHANGE
        | NO_SIZE_CHANGE
        | "write_fadvise_dontneed"
        | "noscrub"
        | "nodeep-scrub"
        | "bulk" => set_flag(pool, variable, boolean(value)?),
        "eio" if pending.release() > Release::Pacific => {
            set_flag(pool, variable, boolean(value)?);
        }
        "hashpspool" => {
            return refuse(
                EPERM,
                "are you SURE?  this will remap all placement groups in this pool, this triggers \
                 large data movement, pass --yes-i-really-mean-it if you really do.",
            );
        }
        "fast_read" => {
            if pool.kind == PoolKind::Replicated {
                return refuse(EINVAL, "fast read is not supported in replication pool");
            }
            pool.fast_read = boolean(value)?;
        }
        "allow_ec_overwrites" => set_ec_overwrites(pool, value, pending.release())?,
        "allow_ec_optimizations" if pending.release() >= Release::Tentacle => {
            set_ec_optimizations(pool, value)?;
        }
        _ if TIER_ONLY.contains(&variable) => return refuse(EACCES, "(13) Permission denied"),
        _ => set_option(pending, pool, variable, value)?,
    }
    Ok(true)
}

fn set_size(pending: &Pending<'_>, pool: &mut Pool, value: &str) -> Result<(), Refusal> {
    locked(pool, NO_SIZE_CHANGE, "size")?;
    if pool.kind == PoolKind::Erasure {
        return refuse(ENOTSUP, "can not change the size of an erasure-coded pool");
    }
    let size = numbers::integer(value)?;
    if !(1..=10).contains(&size) {
        return refuse(EINVAL, "pool size must be between 1 and 10");
    }
    // The confirmation that monitors ask for goes with the command.
    if size == 1 && !pending.config().allow_pool_size_one {
        return refuse(EPERM, "configuring pool size as 1 is disabled by default.");
    }
    // 16 looks at it also where copies become fewer.
    if size > pool.size || pending.release() < Release::Quincy {
        pending.check_pg_num(
            Some(pool.id),
            pool.crush_rule,
            pool.placement_groups.pg_num,
            size,
        )?;
    }
    pool.size = size;
    pool.min_size = default_min_size(size);
    Ok(())
}

/// The lower bound of an erasure-coded pool is k.
fn set_min_size(pending: &Pending<'_>, pool: &mut Pool, value: &str) -> Result<(), Refusal> {
    locked(pool, NO_SIZE_CHANGE, "min size")?;
    let min_size = numbers::integer(value)?;
    let least = pending.data_chunks(&pool.erasure_code_profile).unwrap_or(1);
    if !(least..=pool.size).contains(&min_size) {
        return refuse(
            EINVAL,
            format!(
                "pool min_size must be between {least} and size, which is set to {}",
                pool.size
            ),
        );
    }
    pool.min_size = min_size;
    Ok(())
}

/// Sets the targets; the manager does the rest. The present target is no change at all.
fn set_pg_num(pending: &Pending<'_>, pool: &mut Pool, value: &str) -> Result<bool, Refusal> {
    locked(pool, NO_PG_CHANGE, "pg_num")?;
    let pg_num = numbers::integer(value)?;
    let target = pool.placement_groups.pg_num_target;
    if pg_num == target {
        return Ok(false);
    }
    let most = pending.config().max_pool_pg_num;
    if !(1..=most).contains(&pg_num) {
        return refuse(
            ERANGE,
            format!(
                "'pg_num' must be greater than 0 and less than or equal to {most} \
                 (you may adjust 'mon max pool pg num' for higher values)"
            ),
        );
    }
    if pg_num > target {
        pending.check_pg_num(Some(pool.id), pool.crush_rule, pg_num, pool.size)?;
    }
    if let Some(least) = bound(pool, "pg_num_min").filter(|least| pg_num < *least) {
        return refuse(
            EINVAL,
            format!("specified pg_num {pg_num} < pg_num_min {least}"),
        );
    }
    if let Some(most) = bound(pool, "pg_num_max").filter(|most| pg_num > *most) {
        return refuse(
            EINVAL,
            format!("specified pg_num {pg_num} < pg_num_max {most}"),
        );
    }
    // pgp_num follows unless somebody has set it apart.
    if pool.placement_groups.pgp_num_target == target {
        pool.placement_groups.pgp_num_target = pg_num;
    }
    pool.placement_groups.pg_num_target = pg_num;
    Ok(true)
}

fn set_pgp_num(pool: &mut Pool, value: &str) -> Result<(), Refusal> {
    locked(pool, NO_PG_CHANGE, "pgp_num")?;
    let pgp_num = numbers::integer(value)?;
    let target = pool.placement_groups.pg_num_target;
    if pgp_num <= 0 {
        return refuse(
            EINVAL,
            format!("specified pgp_num must > 0, but you set to {pgp_num}"),
        );
    }
    if pgp_num > target {
        return refuse(
            EINVAL,
            format!("specified pgp_num {pgp_num} > pg_num {target}"),
        );
    }
    pool.placement_groups.pgp_num_target = pgp_num;
    Ok(())
}

fn set_ec_overwrites(pool: &mut Pool, value: &str, release: Release) -> Result<(), Refusal> {
    if pool.kind == PoolKind::Replicated {
        return refuse(
            EINVAL,
            "ec overwrites can only be enabled for an erasure coded pool",
        );
    }
    if boolean(value)? {
        set_flag(pool, "ec_overwrites", true);
        return Ok(());
    }
    // 20 looks whether they are on.
    if release < Release::Tentacle || pool.has_flag("ec_overwrites") {
        return refuse(EINVAL, "ec overwrites cannot be disabled once enabled");
    }
    Ok(())
}

fn set_ec_optimizations(pool: &mut Pool, value: &str) -> Result<(), Refusal> {
    let on = boolean(value)?;
    if pool.kind == PoolKind::Replicated {
        return refuse(
            EINVAL,
            "ec optimizations can only be enabled for an erasure coded pool",
        );
    }
    if !on && pool.has_flag("ec_optimizations") {
        return refuse(EINVAL, "ec optimizations cannot be disabled once enabled");
    }
    set_flag(pool, "ec_optimizations", on);
    Ok(())
}

fn locked(pool: &Pool, flag: &str, what: &str) -> Result<(), Refusal> {
    if pool.has_flag(flag) {
        return refuse(
            EPERM,
            format!(
                "pool {what} change is disabled; you must unset {flag} flag for the pool first"
            ),
        );
    }
    Ok(())
}

fn bound(pool: &Pool, name: &str) -> Option<i64> {
    match pool.options.get(name) {
        Some(OptionValue::Integer(number)) if *number != 0 => Some(*number),
        _ => None,
    }
}

fn set_flag(pool: &mut Pool, flag: &str, on: bool) {
    if on {
        pool.flags.insert(flag.to_owned());
    } else {
        pool.flags.remove(flag);
    }
}

/// The words in lower case only, or a number that is 0 or 1.
fn boolean(value: &str) -> Result<bool, Refusal> {
    match (value, numbers::integer(value)) {
        ("true", _) | (_, Ok(1)) => Ok(true),
        ("false", _) | (_, Ok(0)) => Ok(false),
        _ => refuse(EINVAL, "expecting value 'true', 'false', '0', or '1'"),
    }
}

/// Refused, without a word, on a pool that is no cache tier.
const TIER_ONLY: [&str; 16] = [
    "hit_set_type",
    "hit_set_period",
    "hit_set_count",
    "hit_set_fpp",
    "target_max_objects",
    "target_max_bytes",
    "cache_target_full_ratio",
    "cache_target_dirty_ratio",
    "cache_target_dirty_high_ratio",
    "use_gmt_hitset",
    "cache_min_flush_age",
    "cache_min_evict_age",
    "hit_set_grade_decay_rate",
    "hit_set_search_last_n",
    "min_read_recency_for_promote",
    "min_write_recency_for_promote",
];

/// Numbers of the checksums: the map keeps these, not the names.
const CHECKSUMS: [(&str, i64); 7] = [
    ("unset", 0),
    ("none", 1),
    ("xxhash32", 2),
    ("xxhash64", 3),
    ("crc32c", 4),
    ("crc32c_16", 5),
    ("crc32c_8", 6),
];

/// Sets or unsets one of `options{}`: 0 unsets a number, `unset` a word.
fn set_option(
    pending: &Pending<'_>,
    pool: &mut Pool,
    variable: &str,
    value: &str,
) -> Result<(), Refusal> {
    let release = pending.release();
    let set = match variable {
        "compression_mode" => word(variable, value, &["none", "passive", "aggressive", "force"])?,
        "compression_algorithm" => {
            word(variable, value, &["none", "snappy", "zlib", "zstd", "lz4"])?
        }
        // Any other word will do on 16, which is what was run.
        "fingerprint_algorithm" | "dedup_chunk_algorithm" if value != "none" => {
            word(variable, value, &[value])?
        }
        "fingerprint_algorithm" | "dedup_chunk_algorithm" => word(variable, value, &[])?,
        "csum_type" => match CHECKSUMS.iter().find(|(name, _)| *name == value) {
            Some((_, number)) => integer(*number),
            None => return refuse(EINVAL, format!("unrecognized csum_type '{value}'")),
        },
        "compression_max_blob_size"
        | "compression_min_blob_size"
        | "csum_max_block"
        | "csum_min_block"
        | "target_size_bytes" => integer(numbers::bytes(value, release)?),
        "pg_num_min" | "pg_num_max" => integer(pg_bound(pool, variable, value)?),
        "recovery_priority" => {
            let number = numbers::integer(value)?;
            if !(-10..=10).contains(&number) {
                return refuse(EINVAL, "pool recovery_priority must be between -10 and 10");
            }
            integer(number)
        }
        "recovery_op_priority" | "scrub_priority" | "dedup_cdc_chunk_size" => {
            integer(numbers::integer(value)?)
        }
        "pct_update_delay" if release >= Release::Tentacle => integer(numbers::integer(value)?),
        "read_ratio" if release >= Release::Squid => integer(read_ratio(pool, value)?),
        "scrub_min_interval" | "scrub_max_interval" | "deep_scrub_interval" => {
            double(variable, value, f64::MIN..=f64::MAX)?
        }
        "target_size_ratio" => double(variable, value, 0.0..=f64::MAX)?,
        "compression_required_ratio" => double(variable, value, 0.0..=1.0)?,
        "pg_autoscale_bias" => double(variable, value, 0.0..=1000.0)?,
        _ => return refuse(EINVAL, format!("unrecognized variable '{variable}'")),
    };
    match set {
        Some(set) => pool.options.insert(variable.to_owned(), set),
        None => pool.options.remove(variable),
    };
    Ok(())
}

/// Judged against the pending target, so that `pg_num` of the same round counts.
fn pg_bound(pool: &Pool, variable: &str, value: &str) -> Result<i64, Refusal> {
    let number = numbers::integer(value)?;
    let target = pool.placement_groups.pg_num_target;
    if variable == "pg_num_min" && number > target {
        return refuse(
            EINVAL,
            format!("specified pg_num_min {number} > pg_num {target}"),
        );
    }
    if variable == "pg_num_max" && number != 0 && number < target {
        return refuse(
            EINVAL,
            format!("specified pg_num_max {number} < pg_num {target}"),
        );
    }
    Ok(number)
}

fn read_ratio(pool: &Pool, value: &str) -> Result<i64, Refusal> {
    if pool.kind == PoolKind::Erasure {
        return refuse(EACCES, "(13) Permission denied");
    }
    let number = numbers::integer(value)?;
    if !(0..=100).contains(&number) {
        return refuse(ERANGE, "value must be in the range 0..100");
    }
    Ok(number)
}

fn integer(number: i64) -> Option<OptionValue> {
    (number != 0).then_some(OptionValue::Integer(number))
}

/// `nan` and `inf` are refused here; monitors take them, and then print a dump that is not JSON.
fn double(
    variable: &str,
    value: &str,
    range: std::ops::RangeInclusive<f64>,
) -> Result<Option<OptionValue>, Refusal> {
    let number = numbers::double(value)?;
    if !range.contains(&number) {
        return refuse(
            EINVAL,
            match variable {
                "pg_autoscale_bias" => "pg_autoscale_bias must be between 0 and 1000".to_owned(),
                "target_size_ratio" => "target_size_ratio cannot be negative".to_owned(),
                _ => format!("{variable} is out of range (0-1): '{value}'"),
            },
        );
    }
    Ok((number != 0.0).then_some(OptionValue::Double(number)))
}

fn word(variable: &str, value: &str, words: &[&str]) -> Result<Option<OptionValue>, Refusal> {
    if value == "unset" {
        return Ok(None);
    }
    if !words.contains(&value) {
        let what = match variable {
            "compression_mode" => "compression mode",
            _ => variable,
        };
        return refuse(EINVAL, format!("unrecognized {what} '{value}'"));
    }
    Ok(Some(OptionValue::Text(value.to_owned())))
}
