//! The settings table: the one place that knows a pool's variables.
//!
//! A new Ceph option is one row here. What differs, the command that sets it, what its
//! removal from a manifest means and the words of a plan all follow from the row.
//! Sources of the facts: Ceph's `OSDMonitor.cc` (`prepare_command_pool_set`) and
//! `osd_types.cc` (`pg_pool_t::dump`), checked on running monitors.

mod kind;
mod table;

use std::fmt;

pub use self::kind::{Kind, nearest};
pub use self::table::*;
use super::command::MonCommand;
pub use super::osd_map::PoolKind;
use super::osd_map::{OptionValue, Pool};
use super::types::{PoolName, Release};

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
    /// The first release whose monitors know it.
    pub since: Release,
    /// The kind of pool that can have it; `None` is any.
    pub only: Option<PoolKind>,
    /// What a careless value of it can cost.
    pub danger: Danger,
    /// What it does, as a sentence for users, with its unit.
    pub meaning: &'static str,
}

/// What a careless value of a setting can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Nothing that setting it back would not mend.
    Mild,
    /// It can stop the pool's clients or is not for production: a grant has to name it.
    Grave,
}

/// Where the OSD map shows a setting.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// A field that every pool has.
    Field(fn(&Pool) -> Value),
    /// `options{}`, absent when unset.
    Option(&'static str),
    /// `options{}`, as a number that stands for a word.
    Numbered(&'static str, &'static [(&'static str, i64)]),
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
    /// The same, and it cannot be turned off at all: Ceph has no way back.
    Irreversible,
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
            Shown::Numbered(name, words) => match pool.options.get(name)? {
                OptionValue::Integer(number) => {
                    let word = words.iter().find(|(_, known)| known == number);
                    Some(word.map_or(Value::Integer(*number), |(word, _)| {
                        Value::Word((*word).to_owned())
                    }))
                }
                OptionValue::Double(number) => Some(Value::Double(*number)),
                OptionValue::Text(text) => Some(Value::Word(text.clone())),
            },
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
            (Removal::Irreversible, Value::Flag(on)) => !on,
            (Removal::Released | Removal::Irreversible, _)
            | (Removal::Unset(_), Value::Integer(_) | Value::Flag(_)) => false,
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
            Removal::Released | Removal::Irreversible => None,
        }
    }

    /// Whether a pool of this kind can have it.
    pub fn fits(&self, kind: PoolKind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// The name under `spec.parameters`, where it has no field of its own.
    pub fn parameter(&self) -> Option<&'static str> {
        self.field
            .starts_with("parameters[")
            .then_some(self.variable)
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

/// The rows of a field: two for `placementGroups.count`, which is `pg_num` and `pgp_num`.
pub fn of_field(field: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.into_iter().filter(move |row| row.field == field)
}

/// The row of a variable.
pub fn of_variable(variable: &str) -> Option<&'static Setting> {
    SETTINGS.into_iter().find(|row| row.variable == variable)
}

/// Where a row stands in the table.
pub fn place(setting: &Setting) -> usize {
    SETTINGS
        .iter()
        .position(|row| row.variable == setting.variable)
        .unwrap_or(SETTINGS.len())
}

/// The rows that have no field of their own and are reached by `spec.parameters`.
pub fn parameters() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.into_iter().filter(|row| row.parameter().is_some())
}

/// Why `osd pool set` knows a variable and this program does not set it; `None` for any other name.
pub fn not_set(variable: &str) -> Option<&'static str> {
    let (_, why) = NOT_SET
        .iter()
        .find(|(variables, _)| variables.contains(&variable))?;
    Some(why)
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
