//! Fights over a field: somebody changes it back as often as it is corrected.
//!
//! A field corrected three times in ten minutes is contested. From then on it is corrected
//! ever more rarely, doubling from ten minutes to an hour, until it has been left alone for
//! twice that time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

const WINDOW: SignedDuration = SignedDuration::from_mins(10);
const LIMIT: usize = 3;
const LONGEST: SignedDuration = SignedDuration::from_mins(60);

/// The corrections of one pool's fields.
#[derive(Clone, Debug, Default)]
pub struct Contest {
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug, Default)]
struct Field {
    /// The last corrections, oldest first, at most [`LIMIT`].
    corrections: Vec<Timestamp>,
    /// How often it was corrected since it is contested; `None` while it is not.
    level: Option<u32>,
}

impl Contest {
    /// Notes a correction of these fields.
    pub fn corrected<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>, now: Timestamp) {
        for name in fields {
            let field = self.fields.entry(name.to_owned()).or_default();
            field.level = field.contested(now).map(|level| level + 1);
            field.corrections.push(now);
            if field.corrections.len() > LIMIT {
                field.corrections.remove(0);
            }
            let first = field.corrections.first().copied().unwrap_or(now);
            if field.level.is_none()
                && field.corrections.len() == LIMIT
                && now.duration_since(first) <= WINDOW
            {
                field.level = Some(0);
            }
        }
    }

    /// Until when a field must be left alone; `None` when it may be corrected now.
    pub fn held_until(&self, field: &str, now: Timestamp) -> Option<Timestamp> {
        let field = self.fields.get(field)?;
        let level = field.contested(now)?;
        let until = field
            .corrections
            .last()?
            .saturating_add(delay(level))
            .ok()?;
        (now < until).then_some(until)
    }

    /// Forgets everything: the wish has changed, or a person asked for another try.
    pub fn clear(&mut self) {
        self.fields.clear();
    }
}

impl Field {
    /// The level, unless the field has been left alone for long enough.
    fn contested(&self, now: Timestamp) -> Option<u32> {
        let level = self.level?;
        let last = self.corrections.last()?;
        (now.duration_since(*last) < delay(level) * 2).then_some(level)
    }
}

fn delay(level: u32) -> SignedDuration {
    WINDOW
        .checked_mul(1 << level.min(8))
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minutes * 60).expect("a time")
    }

    /// Three corrections in ten minutes; then ten minutes, twenty, forty, an hour.
    #[test]
    fn corrections_back_off() {
        let mut contest = Contest::default();
        for minute in [0, 1, 2] {
            assert_eq!(contest.held_until("size", at(minute)), None);
            contest.corrected(["size"], at(minute));
        }
        assert_eq!(contest.held_until("size", at(3)), Some(at(12)));
        assert_eq!(contest.held_until("quota.maxBytes", at(3)), None);
        let mut last = 12;
        for next in [20, 40, 60, 60] {
            assert_eq!(contest.held_until("size", at(last)), None);
            contest.corrected(["size"], at(last));
            assert_eq!(
                contest.held_until("size", at(last + 1)),
                Some(at(last + next))
            );
            last += next;
        }
    }

    /// Slow drift is no fight, and a field that was left alone starts anew.
    #[test]
    fn peace() {
        let mut contest = Contest::default();
        for minute in [0, 6, 12, 18] {
            assert_eq!(contest.held_until("size", at(minute)), None);
            contest.corrected(["size"], at(minute));
        }
        for minute in [100, 101, 102] {
            contest.corrected(["size"], at(minute));
        }
        assert!(contest.held_until("size", at(103)).is_some());
        assert_eq!(contest.held_until("size", at(123)), None);
        contest.corrected(["size"], at(123));
        assert_eq!(contest.held_until("size", at(124)), None);
    }
}
