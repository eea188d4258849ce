//! Rules about single texts that more than one field has: sizes, decimals, durations, names.

use serde_json::Value;

use super::Rule;
use crate::api::duration;
use crate::api::quantity::{BYTES_PATTERN, parse_bytes, parse_decimal};

/// The bytes of a quantity in JSON.
pub(super) fn bytes(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .filter(|bytes| (0..i64::MAX).contains(bytes)),
        Value::String(text) => parse_bytes(text),
        _ => None,
    }
}

/// CEL for a quantity that [`bytes`] can read.
fn is_bytes() -> String {
    format!(
        "string(self).matches('{BYTES_PATTERN}') && \
         quantity(string(self)).isLessThan(quantity('9223372036854775807'))"
    )
}

/// A size in bytes, 0 included.
pub(super) fn size_or_zero(at: &'static str) -> Rule {
    const SENTENCE: &str =
        "write a whole number of bytes, such as 107374182400, 100Gi, 1.5Ti or 10G";
    Rule::new(at, is_bytes(), SENTENCE, |value| bytes(value).is_some())
}

/// A size in bytes above 0.
pub(super) fn size(at: &'static str) -> Rule {
    const SENTENCE: &str =
        "write a whole number of bytes above 0, such as 4096, 64Ki, 1.5Ti or 10G";
    let cel = format!(
        "{} && quantity(string(self)).isGreaterThan(quantity('0'))",
        is_bytes()
    );
    Rule::new(at, cel, SENTENCE, |value| {
        bytes(value).is_some_and(|bytes| bytes > 0)
    })
}

/// CEL for a decimal number above 0 and up to a limit, if there is one.
pub(super) fn decimal(limit: Option<&str>) -> String {
    let most = limit
        .map(|limit| format!(" && double(self) <= {limit}"))
        .unwrap_or_default();
    format!("self.matches('^[0-9]+([.][0-9]+)?$') && double(self) > 0.0{most}")
}

/// Whether a value is a decimal number above 0 and up to a limit.
pub(super) fn is_decimal(value: &Value, limit: f64) -> bool {
    value
        .as_str()
        .and_then(parse_decimal)
        .is_some_and(|number| number > 0.0 && number <= limit)
}

/// CEL for a duration between two others.
pub(super) fn duration_between(least: &str, most: &str) -> String {
    format!(
        "self.matches('^([0-9]{{1,5}}h)?([0-9]{{1,5}}m)?([0-9]{{1,5}}s)?$') && duration(self) >= duration('{least}') && \
         duration(self) <= duration('{most}')"
    )
}

/// Whether a value is a duration between two others, in seconds.
pub(super) fn is_duration_between(value: &Value, least: u64, most: u64) -> bool {
    value
        .as_str()
        .and_then(duration::parse)
        .is_some_and(|length| (least..=most).contains(&length.as_secs()))
}

/// Whether a text is not empty and consists of ASCII letters, digits and the characters of `more`.
pub(super) fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Whether a value is a text as in [`is_word`].
pub(super) fn word(value: &Value, more: &str) -> bool {
    value.as_str().is_some_and(|text| is_word(text, more))
}

/// CEL for the name of a pool variable.
pub(super) const VARIABLE: &str = "^[a-z0-9_]+$";

/// Whether a text is the name of a pool variable.
pub(super) fn is_variable(text: &str) -> bool {
    is_word(text, "_") && !text.contains(|c: char| c.is_ascii_uppercase())
}

/// CEL for a DNS label.
pub(super) const LABEL: &str = "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')";

/// Whether a value is a DNS label, apart from its length.
pub(super) fn is_label(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| is_dns_shaped(text) && !text.contains('.'))
}

/// Whether a text has the characters of a DNS name, and begins and ends with a letter or digit.
pub(super) fn is_dns_shaped(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inside)
        && text.ends_with(inside)
        && text.chars().all(|c| inside(c) || c == '-' || c == '.')
}

/// Whether a text has the shape of a UUID, of the given version if one is named.
pub(super) fn is_uuid(text: &str, version: Option<char>) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let shape = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
    let hexadecimal = groups
        .iter()
        .all(|group| group.chars().all(|c| c.is_ascii_hexdigit()));
    let versioned = version.is_none_or(|version| {
        groups
            .get(2)
            .is_some_and(|group| group.starts_with(version))
    });
    shape && hexadecimal && versioned
}
