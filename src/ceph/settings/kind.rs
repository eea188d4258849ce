//! What values a setting takes: the range that is checked before anything is sent, since monitors check few of them.

use std::fmt;

use super::Value;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number, both bounds included.
    Integer {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// A decimal number above 0, kept by Ceph in 32 or 64 bits.
    Double {
        /// The most.
        most: f64,
    },
    /// One of these words, as Ceph spells them.
    Word(&'static [&'static str]),
    /// A flag of the pool.
    Flag,
    /// A name of something else in the cluster.
    Name,
}

impl fmt::Display for Kind {
    /// What a person is told to write.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer {
                least,
                most: i64::MAX,
            } => write!(formatter, "a whole number of at least {least}"),
            Self::Integer { least, most } => {
                write!(formatter, "a whole number from {least} to {most}")
            }
            Self::Double { most: f64::MAX } => formatter.write_str("a decimal number above 0"),
            Self::Double { most } => {
                write!(formatter, "a decimal number above 0 and at most {most}")
            }
            Self::Word(words) => write!(formatter, "one of {}", words.join(", ")),
            Self::Flag => formatter.write_str("true or false"),
            Self::Name => formatter.write_str("a name"),
        }
    }
}

impl Kind {
    /// Reads a value as `spec.parameters` has it; `None` when it is not one.
    ///
    /// Decimals have no sign and no exponent: `nan` and `inf` make the cluster's JSON unreadable for everybody, and
    /// monitors take them.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match self {
            Self::Integer { least, most } => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let plain = (1..=18).contains(&digits.len())
                    && digits.bytes().all(|digit| digit.is_ascii_digit());
                let number = plain.then(|| text.parse().ok()).flatten()?;
                (*least..=*most)
                    .contains(&number)
                    .then_some(Value::Integer(number))
            }
            Self::Double { most } => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
                let digits = |part: &str| {
                    (1..=18).contains(&part.len())
                        && part.bytes().all(|digit| digit.is_ascii_digit())
                };
                let number: f64 = (digits(whole) && digits(fraction))
                    .then(|| text.parse().ok())
                    .flatten()?;
                (number > 0.0 && number <= *most).then_some(Value::Double(number))
            }
            Self::Word(words) => words.contains(&text).then(|| Value::Word(text.to_owned())),
            Self::Name => {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                let clean = !text.is_empty() && text.chars().all(allowed);
                clean.then(|| Value::Word(text.to_owned()))
            }
            Self::Flag => match text {
                "true" => Some(Value::Flag(true)),
                "false" => Some(Value::Flag(false)),
                _ => None,
            },
        }
    }

    /// The same as [`Self::parse`] in CEL, on the text `value`.
    #[must_use]
    pub fn cel(&self, value: &str) -> String {
        match self {
            Self::Integer { least, most } => {
                let most = match most {
                    &i64::MAX => String::new(),
                    most => format!(" && int({value}) <= {most}"),
                };
                format!("{value}.matches('^-?[0-9]{{1,18}}$') && int({value}) >= {least}{most}")
            }
            Self::Double { most } => {
                let most = if *most < f64::MAX {
                    format!(" && double({value}) <= {most:?}")
                } else {
                    String::new()
                };
                format!(
                    "{value}.matches('^[0-9]{{1,18}}([.][0-9]{{1,18}})?$') && double({value}) > 0.0{most}"
                )
            }
            Self::Word(words) => format!("{value} in ['{}']", words.join("', '")),
            Self::Flag => format!("{value} in ['true', 'false']"),
            Self::Name => format!("{value}.matches('^[A-Za-z0-9_.-]+$')"),
        }
    }
}

/// The one of `known` that a mistyped name most likely means; `None` when nothing is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|other| (distance(name, other), other));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, other)| *distance <= 2.max(other.len() / 4))
        .map(|(_, other)| other)
}

/// How many letters have to be put in, taken out or changed to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (b, above) in other.bytes().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(a != b);
            left = changed.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are plain, within their bounds, and never what makes a dump unreadable.
    #[test]
    fn numbers_are_read_within_their_bounds() {
        let priority = Kind::Integer {
            least: -10,
            most: 10,
        };
        assert_eq!(priority.parse("-10"), Some(Value::Integer(-10)));
        for wrong in [
            "-11",
            "11",
            "",
            "-",
            "+1",
            "1.0",
            "1e1",
            " 1",
            "99999999999999999999",
        ] {
            assert_eq!(priority.parse(wrong), None, "{wrong}");
        }
        let seconds = Kind::Double { most: 100.0 };
        assert_eq!(seconds.parse("0.5"), Some(Value::Double(0.5)));
        for wrong in ["0", "0.0", "100.1", "nan", "inf", "-1", ".5", "5.", "1e1"] {
            assert_eq!(seconds.parse(wrong), None, "{wrong}");
        }
    }

    /// Words and flags are Ceph's own, to the letter.
    #[test]
    fn words_are_read_to_the_letter() {
        let word = Kind::Word(&["crc32c", "none"]);
        assert_eq!(word.parse("none"), Some(Value::Word("none".into())));
        assert_eq!(word.parse("None"), None);
        assert_eq!(Kind::Flag.parse("true"), Some(Value::Flag(true)));
        assert_eq!(Kind::Flag.parse("yes"), None);
    }

    /// A slip of the pen is recognised, something else is not.
    #[test]
    fn the_nearest_name_is_found() {
        let known = ["scrub_min_interval", "scrub_max_interval", "eio"];
        assert_eq!(
            nearest("scrub_min_intervall", known),
            Some("scrub_min_interval")
        );
        assert_eq!(
            nearest("scrub-max-interval", known),
            Some("scrub_max_interval")
        );
        assert_eq!(nearest("eoi", known), Some("eio"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
