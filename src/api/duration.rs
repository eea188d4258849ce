//! Durations as people write them: `30s`, `10m`, `1h30m`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A duration as it was written: hours, minutes and seconds in that order, each a whole number with its unit, at least
/// one of them (`30s`, `10m`, `1h30m`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct DurationText(#[schemars(length(min = 2, max = 16))] pub String);

impl DurationText {
    /// The duration, if it is written as it has to be.
    #[must_use]
    pub fn value(&self) -> Option<Duration> {
        parse(&self.0)
    }
}

impl From<&str> for DurationText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads `1h30m20s` and shorter; nothing else, and no more than 5 digits a unit.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let Some(after) = tail.strip_prefix(unit) else {
            continue;
        };
        if !(1..=5).contains(&digits) {
            return None;
        }
        seconds += number.parse::<u64>().ok()? * factor;
        rest = after;
    }
    (rest.is_empty() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours, minutes and seconds, in this order, whole numbers.
    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [
            ("30s", 30),
            ("10m", 600),
            ("1h", 3600),
            ("1h30m", 5400),
            ("2m5s", 125),
            ("1h1s", 3601),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "", "s", "10", "1d", "1m1h", "-1s", "1.5h", "1h ", "123456s", "1s1s", "10ms",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
