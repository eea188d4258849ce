//! Sizes in bytes and decimal numbers as they are written in manifests, and their exact values.
//!
//! Kubernetes and Ceph disagree on units: `10G` is 10 × 10^9 bytes in Kubernetes and 10 × 2^30 in a `ceph` command. Here
//! it is always what Kubernetes says, and Ceph is only ever sent plain integers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of bytes as it was written: an integer, or a Kubernetes quantity such as `100Gi`, `1.5Ti` or `10G`.
///
/// What it was written as is kept, so equality is that of the text; compare [`Quantity::bytes`] for equal sizes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Written as a number.
    Integer(i64),
    /// Written as a text.
    Text(String),
}

impl Quantity {
    /// The whole, non-negative number of bytes, if this is one as [`parse_bytes`] reads it.
    #[must_use]
    pub fn bytes(&self) -> Option<i64> {
        match self {
            Self::Integer(bytes) => (0..i64::MAX).contains(bytes).then_some(*bytes),
            Self::Text(text) => parse_bytes(text),
        }
    }
}

impl From<i64> for Quantity {
    fn from(bytes: i64) -> Self {
        Self::Integer(bytes)
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(bytes) => bytes.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 32 })
    }
}

/// A decimal number as it was written, in quotes: `"0.2"`, `"1.0"`, `"4"`. A number without quotes would be rounded on
/// its way through JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Decimal(#[schemars(length(min = 1, max = 16))] pub String);

impl Decimal {
    /// The number, if it is written as [`parse_decimal`] reads it.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        parse_decimal(&self.0)
    }
}

impl From<&str> for Decimal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads digits, perhaps with a point and more digits; no sign, no exponent, no `inf`.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    (is_digits(whole) && is_digits(fraction))
        .then(|| text.parse().ok())
        .flatten()
}

/// The regular expression (RE2, for CEL) of what [`parse_bytes`] reads, apart from the largest value. Each form gives a
/// whole number of bytes, which CEL has no other way to find out: its `isInteger()` is wrong about `100Ti`.
pub const BYTES_PATTERN: &str = "^([0-9]{1,19}|[0-9]{1,19}[eE](1[0-8]|[0-9])|[0-9]{1,16}([.][0-9]{1,3})?[kMGTPE]|[0-9]{1,16}([.](0|5|25|75|125|375|625|875)0*)?[KMGTPE]i)$";

/// The number of bytes that a Kubernetes quantity stands for, where that is a whole number from 0 to below 2^63 - 1 and
/// it is written as
///
/// * digits, perhaps with an exponent of ten: `1073741824`, `1e9`;
/// * a number with up to three decimals and one of `k M G T P E` (powers of 1000): `10G`, `1.5T`;
/// * a number, perhaps with a fraction in halves, quarters or eighths, and one of `Ki Mi Gi Ti Pi Ei` (powers of 1024):
///   `100Gi`, `1.5Ti`.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<i64> {
    const EIGHTHS: [&str; 8] = ["", "5", "25", "75", "125", "375", "625", "875"];
    let end = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let (factor, longest, fraction_fits) = match suffix.as_bytes() {
        [] => (1, 19, fraction.is_empty()),
        [unit, b'i'] => {
            let power = 10 * power_of(*unit, b"KMGTPE")?;
            (
                1_i128 << power,
                16,
                EIGHTHS.contains(&fraction.trim_end_matches('0')),
            )
        }
        [unit] => (
            1000_i128.pow(power_of(*unit, b"kMGTPE")?),
            16,
            fraction.len() <= 3,
        ),
        [b'e' | b'E', _] | [b'e' | b'E', b'1', _] => {
            let exponent = suffix
                .get(1..)
                .filter(|text| is_digits(text))?
                .parse()
                .ok()?;
            (
                10_i128.pow(exponent),
                19,
                fraction.is_empty() && exponent <= 18,
            )
        }
        _ => return None,
    };
    if !is_digits(whole) || whole.len() > longest || !fraction_fits {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    i64::try_from(digits.checked_mul(factor)? / scale)
        .ok()
        .filter(|bytes| *bytes < i64::MAX)
}

/// Which power, counted from 1, a unit stands for.
fn power_of(unit: u8, units: &[u8]) -> Option<u32> {
    units
        .iter()
        .position(|known| *known == unit)
        .and_then(|at| u32::try_from(at).ok())
        .map(|at| at + 1)
}

/// Whether a text is one or more ASCII digits.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kubernetes' units, exactly.
    #[test]
    fn reads_kubernetes_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1073741824", 1 << 30),
            ("100Gi", 100 << 30),
            ("10G", 10_000_000_000),
            ("1Ti", 1 << 40),
            ("100Ti", 100 << 40),
            ("1.5Ti", 3 << 39),
            ("1.50Ti", 3 << 39),
            ("0.125Ki", 128),
            ("2.0Gi", 2 << 30),
            ("1.234k", 1234),
            ("1e9", 1_000_000_000),
            ("1E3", 1000),
            ("2E", 2_000_000_000_000_000_000),
            ("7Ei", 7 << 60),
            ("9223372036854775806", i64::MAX - 1),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
    }

    /// What is no whole number of bytes, or too large, or no quantity, is refused.
    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            "Gi",
            "-1",
            "+1",
            "1.5",
            "1.",
            ".5Gi",
            "1.1Gi",
            "1.5.5Gi",
            "1K",
            "1g",
            "1GiB",
            "1GB",
            "10 Gi",
            "1m",
            "1e",
            "1e19",
            "1e-3",
            "1.5e3",
            "8Ei",
            "10E",
            "9223372036854775807",
            "99999999999999999999",
            "1Gi ",
            "0x10",
            "NaN",
            "1.2345k",
            "１Gi",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(Quantity::from(-1).bytes(), None);
        assert_eq!(Quantity::from(4096).bytes(), Some(4096));
    }

    /// Decimal numbers are plain.
    #[test]
    fn reads_plain_decimals() {
        assert_eq!(parse_decimal("0.2"), Some(0.2));
        assert_eq!(parse_decimal("4"), Some(4.0));
        for text in [
            "", ".", "1.", ".5", "1e3", "-1", "inf", "NaN", "0x1", "1,5", " 1",
        ] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }
}
