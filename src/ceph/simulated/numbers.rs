//! Numbers as monitors read them from `val`.

use super::reply::{EINVAL, Refusal, refuse};
use crate::ceph::types::Release;

/// A plain decimal number.
pub(super) fn integer(text: &str) -> Result<i64, Refusal> {
    text.trim_start().parse().or_else(|_| {
        refuse(
            EINVAL,
            format!(
                "error parsing integer value '{text}': Expected option value to be integer, got '{text}'"
            ),
        )
    })
}

/// A decimal number with a fraction.
pub(super) fn double(text: &str) -> Result<f64, Refusal> {
    text.trim_start().parse().or_else(|_| {
        refuse(
            EINVAL,
            format!(
                "error parsing floating point value '{text}': strict_strtod: expected double, got: '{text}'"
            ),
        )
    })
}

/// Bytes: a plain number, or one with a unit, whose `G`, `Gi` and `GB` all mean 2^30.
pub(super) fn bytes(text: &str, release: Release) -> Result<i64, Refusal> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let mut letters = unit.chars();
    let (first, rest) = (letters.next(), letters.as_str());
    let known = match rest {
        "" => true,
        "i" | "B" => first != Some('B'),
        // Ceph 20 learnt to read these.
        "iB" => first != Some('B') && release >= Release::Tentacle,
        _ => false,
    };
    scaled(text, digits, first, known, 1024)
}

/// A count: a plain number, or one with `K`, `M` … in steps of 1000.
pub(super) fn count(text: &str) -> Result<i64, Refusal> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let mut letters = text.get(digits.len()..).unwrap_or_default().chars();
    let (first, rest) = (letters.next(), letters.as_str());
    scaled(
        text,
        digits,
        first,
        rest.is_empty() && first != Some('B'),
        1000,
    )
}

fn scaled(
    text: &str,
    digits: &str,
    unit: Option<char>,
    known: bool,
    step: i64,
) -> Result<i64, Refusal> {
    let power = match unit {
        None | Some('B') => Some(0),
        Some('K') => Some(1),
        Some('M') => Some(2),
        Some('G') => Some(3),
        Some('T') => Some(4),
        Some('P') => Some(5),
        Some('E') => Some(6),
        Some(_) => None,
    };
    power
        .filter(|_| known)
        .and_then(|power| step.checked_pow(power))
        .and_then(|factor| digits.parse::<i64>().ok()?.checked_mul(factor))
        .map_or_else(
            || {
                refuse(
                    EINVAL,
                    format!("error parsing value '{text}': illegal unit or number"),
                )
            },
            Ok,
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units as measured: `G`, `Gi` and `GB` are the same, `10GiB` is for Ceph 20 only.
    #[test]
    fn units() {
        for text in ["1073741824", "1G", "1Gi", "1GB"] {
            assert_eq!(bytes(text, Release::Reef).ok(), Some(1 << 30), "{text}");
        }
        assert!(bytes("10GiB", Release::Reef).is_err());
        assert_eq!(bytes("10GiB", Release::Tentacle).ok(), Some(10 << 30));
        assert_eq!(bytes("-1", Release::Reef).ok(), Some(-1));
        assert_eq!(count("10K").ok(), Some(10_000));
        for text in ["10k", "10Ki", "", "x", "1.5K"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
