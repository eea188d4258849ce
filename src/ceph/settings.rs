//! The settings table: the one place that knows a pool's variables.
//!
//! A new Ceph option is one row here. What differs, the command that sets it, what its
//! removal from a manifest means and the words of a plan all follow from the row.
//! Sources of the facts: Ceph's `OSDMonitor.cc` (`prepare_command_pool_set`) and
//! `osd_types.cc` (`pg_pool_t::dump`), checked on running monitors.

use std::fmt;

use super::command::MonCommand;
use super::osd_map::{OptionValue, Pool};
use super::types::PoolName;

/// One row: a pool variable.
#[derive(Debug)]
pub struct Setting {
    /// Where it stands in a `CephPool`, such as `quota.maxBytes`; what statuses and plans call it.
    pub field: &'static str,
    /// What Ceph calls it in its commands.
    pub variable: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Where the OSD map shows it.
    pub shown: Shown,
    /// The command that sets it.
    pub form: Form,
    /// What happens when the field leaves the manifest.
    pub removal: Removal,
    /// The flag that makes monitors refuse to change it.
    pub locked_by: Option<&'static str>,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer,
    /// A decimal number, kept by Ceph in 32 or 64 bits.
    Double,
    /// One of a few words.
    Word,
    /// A flag of the pool.
    Flag,
}

/// Where the OSD map shows a setting.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// A field that every pool has.
    Field(fn(&Pool) -> Value),
    /// `options{}`, absent when unset.
    Option(&'static str),
    /// `flags_names`.
    Flag(&'static str),
}

/// The command that sets a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `osd pool set`.
    PoolSet,
    /// `osd pool set-quota`.
    Quota,
}

/// What happens when a field that was applied leaves the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is set to this value, which Ceph takes as "unset".
    Unset(&'static str),
    /// It stays as it is and is no longer looked after: Ceph has no unset for it.
    Released,
}

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A decimal number.
    Double(f64),
    /// A word.
    Word(String),
    /// On or off.
    Flag(bool),
}

impl fmt::Display for Value {
    /// As the monitor reads it: plain integers, `true` and `false`, words.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(formatter),
            Self::Double(number) => number.fmt(formatter),
            Self::Word(word) => word.fmt(formatter),
            Self::Flag(on) => on.fmt(formatter),
        }
    }
}

impl Value {
    /// Whether two values are the same for Ceph, which keeps some decimals in 32 bits.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Double(_) | Self::Integer(_), Self::Double(_))
            | (Self::Double(_), Self::Integer(_)) => {
                let (a, b) = (self.as_double(), other.as_double());
                (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
            }
            _ => self == other,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "only compared with a decimal, whose tolerance is wider"
    )]
    fn as_double(&self) -> f64 {
        match self {
            Self::Integer(number) => *number as f64,
            Self::Double(number) => *number,
            Self::Word(_) | Self::Flag(_) => f64::NAN,
        }
    }
}

impl Setting {
    /// What the map shows; `None` where the pool has Ceph's default.
    pub fn observe(&self, pool: &Pool) -> Option<Value> {
        match self.shown {
            Shown::Field(read) => Some(read(pool)),
            Shown::Flag(name) => Some(Value::Flag(pool.has_flag(name))),
            Shown::Option(name) => pool.options.get(name).map(|value| match value {
                OptionValue::Integer(number) => Value::Integer(*number),
                OptionValue::Double(number) => Value::Double(*number),
                OptionValue::Text(text) => Value::Word(text.clone()),
            }),
        }
    }

    /// Whether the pool has this value. An optional number of 0 is the same as none.
    pub fn holds(&self, pool: &Pool, value: &Value) -> bool {
        match self.observe(pool) {
            Some(observed) => observed.same(value),
            None => self.is_unset_value(value),
        }
    }

    /// Whether the pool has Ceph's default, as far as that can be said of this setting.
    pub fn is_unset(&self, pool: &Pool) -> bool {
        self.observe(pool)
            .is_none_or(|observed| self.is_unset_value(&observed))
    }

    fn is_unset_value(&self, value: &Value) -> bool {
        match (self.removal, value) {
            (Removal::Unset(_), Value::Integer(0) | Value::Flag(false)) => true,
            (Removal::Unset(_), Value::Double(number)) => *number == 0.0,
            (Removal::Unset(word), Value::Word(value)) => word == value,
            (Removal::Released, _) | (Removal::Unset(_), Value::Integer(_) | Value::Flag(_)) => {
                false
            }
        }
    }

    /// The command that gives a pool this value.
    pub fn set(&self, pool: &PoolName, value: &Value) -> MonCommand {
        self.command(pool, value.to_string())
    }

    /// The command that takes the setting off; `None` where Ceph has none.
    pub fn unset(&self, pool: &PoolName) -> Option<MonCommand> {
        match self.removal {
            Removal::Unset(value) => Some(self.command(pool, value.to_owned())),
            Removal::Released => None,
        }
    }

    /// What a person reads: the value, or `not set`.
    pub fn observed_text(&self, pool: &Pool) -> String {
        self.observe(pool)
            .map_or_else(|| "not set".to_owned(), |value| value.to_string())
    }

    fn command(&self, pool: &PoolName, value: String) -> MonCommand {
        match self.form {
            Form::PoolSet => MonCommand::PoolSet {
                pool: pool.clone(),
                variable: self.variable.to_owned(),
                value,
            },
            Form::Quota => MonCommand::PoolSetQuota {
                pool: pool.clone(),
                field: self.variable.to_owned(),
                value,
            },
        }
    }
}

/// The flag by which monitors refuse changes of size and `min_size`.
pub const NO_SIZE_CHANGE: &str = "nosizechange";
/// The flag by which they refuse changes of the placement groups.
pub const NO_PG_CHANGE: &str = "nopgchange";
/// The flag by which they refuse to remove the pool.
pub const NO_DELETE: &str = "nodelete";

const fn field(
    field: &'static str,
    variable: &'static str,
    kind: Kind,
    read: fn(&Pool) -> Value,
    locked_by: Option<&'static str>,
) -> Setting {
    Setting {
        field,
        variable,
        kind,
        shown: Shown::Field(read),
        form: Form::PoolSet,
        removal: Removal::Released,
        locked_by,
    }
}

const fn option(field: &'static str, variable: &'static str, kind: Kind) -> Setting {
    Setting {
        field,
        variable,
        kind,
        shown: Shown::Option(variable),
        form: Form::PoolSet,
        removal: Removal::Unset("0"),
        locked_by: None,
    }
}

const fn flag(field: &'static str, variable: &'static str) -> Setting {
    Setting {
        field,
        variable,
        kind: Kind::Flag,
        shown: Shown::Flag(variable),
        form: Form::PoolSet,
        removal: Removal::Unset("false"),
        locked_by: None,
    }
}

const fn quota(field: &'static str, variable: &'static str, read: fn(&Pool) -> Value) -> Setting {
    Setting {
        field,
        variable,
        kind: Kind::Integer,
        shown: Shown::Field(read),
        form: Form::Quota,
        removal: Removal::Unset("0"),
        locked_by: None,
    }
}

/// `size`: setting it makes the monitors choose `min_size` anew.
pub static SIZE: Setting = field(
    "size",
    "size",
    Kind::Integer,
    |pool| Value::Integer(pool.size),
    Some(NO_SIZE_CHANGE),
);
/// `min_size`: refused when above `size`.
pub static MIN_SIZE: Setting = field(
    "minSize",
    "min_size",
    Kind::Integer,
    |pool| Value::Integer(pool.min_size),
    Some(NO_SIZE_CHANGE),
);
/// `pg_autoscale_mode`.
pub static AUTOSCALE_MODE: Setting = field(
    "placementGroups.autoscale",
    "pg_autoscale_mode",
    Kind::Word,
    |pool| Value::Word(pool.autoscale_mode.clone()),
    None,
);
/// `pg_num`: only the target is set and compared, the manager walks there.
pub static PG_NUM: Setting = field(
    "placementGroups.count",
    "pg_num",
    Kind::Integer,
    |pool| Value::Integer(pool.placement_groups.pg_num_target),
    Some(NO_PG_CHANGE),
);
/// `pgp_num`: follows `pg_num` unless somebody has set it apart.
pub static PGP_NUM: Setting = field(
    "placementGroups.count",
    "pgp_num",
    Kind::Integer,
    |pool| Value::Integer(pool.placement_groups.pgp_num_target),
    Some(NO_PG_CHANGE),
);
/// `pg_num_min`: refused when above the target of `pg_num`.
pub static PG_NUM_MIN: Setting = option("placementGroups.min", "pg_num_min", Kind::Integer);
/// `pg_num_max`: refused when below the target of `pg_num`.
pub static PG_NUM_MAX: Setting = option("placementGroups.max", "pg_num_max", Kind::Integer);
/// `pg_autoscale_bias`.
pub static BIAS: Setting = option("placementGroups.bias", "pg_autoscale_bias", Kind::Double);
/// `target_size_bytes`.
pub static TARGET_SIZE_BYTES: Setting = option(
    "placementGroups.targetSizeBytes",
    "target_size_bytes",
    Kind::Integer,
);
/// `target_size_ratio`.
pub static TARGET_SIZE_RATIO: Setting = option(
    "placementGroups.targetSizeRatio",
    "target_size_ratio",
    Kind::Double,
);
/// `bulk`.
pub static BULK: Setting = flag("placementGroups.bulk", "bulk");
/// `max_bytes`.
pub static QUOTA_BYTES: Setting = quota("quota.maxBytes", "max_bytes", |pool| {
    Value::Integer(pool.quota_max_bytes)
});
/// `max_objects`.
pub static QUOTA_OBJECTS: Setting = quota("quota.maxObjects", "max_objects", |pool| {
    Value::Integer(pool.quota_max_objects)
});
/// `noscrub`.
pub static NO_SCRUB_FLAG: Setting = flag("flags.noScrub", "noscrub");
/// `nodeep-scrub`.
pub static NO_DEEP_SCRUB_FLAG: Setting = flag("flags.noDeepScrub", "nodeep-scrub");
/// `nosizechange`.
pub static NO_SIZE_CHANGE_FLAG: Setting = flag("flags.noSizeChange", NO_SIZE_CHANGE);
/// `nopgchange`.
pub static NO_PG_CHANGE_FLAG: Setting = flag("flags.noPgChange", NO_PG_CHANGE);
/// `nodelete`.
pub static NO_DELETE_FLAG: Setting = flag("flags.noDelete", NO_DELETE);

/// All rows, in the order in which plans name them.
pub static SETTINGS: [&Setting; 18] = [
    &SIZE,
    &MIN_SIZE,
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
    &NO_SCRUB_FLAG,
    &NO_DEEP_SCRUB_FLAG,
    &NO_SIZE_CHANGE_FLAG,
    &NO_PG_CHANGE_FLAG,
    &NO_DELETE_FLAG,
];

/// The rows of a field: two for `placementGroups.count`, which is `pg_num` and `pgp_num`.
pub fn of_field(field: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.into_iter().filter(move |row| row.field == field)
}

/// The row of a variable.
pub fn of_variable(variable: &str) -> Option<&'static Setting> {
    SETTINGS.into_iter().find(|row| row.variable == variable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A variable has one row, or two answers would compete.
    #[test]
    fn variables_are_unique() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|row| row.variable).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }

    /// Ceph keeps ratios in 32 bits: 0.3 comes back as 0.30000001192092896.
    #[test]
    fn ratios_compare_as_ceph_keeps_them() {
        assert!(Value::Double(0.3).same(&Value::Double(f64::from(0.3_f32))));
        assert!(Value::Double(4.0).same(&Value::Integer(4)));
        assert!(!Value::Double(0.3).same(&Value::Double(0.31)));
    }
}
