//! Reading: every document of a text, as `kubectl` understands it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Error;

/// Reads every document of a YAML or JSON text. Empty documents are left out, and a `kind: List` becomes its items, as
/// `kubectl` has it. A key that stands twice in one map is an error.
pub fn documents(text: &str) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let value = Plain { source: text }
            .deserialize(document)
            .map_err(|error| Error::Read {
                document: index + 1,
                reason: error.to_string(),
            })?;
        flatten(value, &mut found);
    }
    Ok(found)
}

/// Adds a document, or the items of a list.
fn flatten(value: Value, found: &mut Vec<Value>) {
    match value {
        Value::Null => {}
        Value::Object(mut map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            if let Some(Value::Array(items)) = map.remove("items") {
                for item in items {
                    flatten(item, found);
                }
            }
        }
        value => found.push(value),
    }
}

/// Reads a value of any type. It keeps the whole text at hand because the library hands out plain and quoted texts
/// alike, and only the character before a text tells which it was.
#[derive(Clone, Copy)]
struct Plain<'s> {
    source: &'s str,
}

impl Plain<'_> {
    /// Whether a text that lies within the source stands there without quotes.
    fn is_plain(self, text: &str) -> bool {
        let offset = text
            .as_ptr()
            .addr()
            .checked_sub(self.source.as_ptr().addr());
        let before = offset.and_then(|offset| self.source.get(..offset));
        // After a quote, or the tag that says it is a text.
        before.is_some_and(|before| {
            let tag = before.trim_end_matches(' ');
            !before.ends_with(['"', '\'']) && !tag.ends_with("!!str") && !tag.ends_with('!')
        })
    }
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    // An empty file, or one of comments only.
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "kubectl rounds it too, and no field takes it"
    )]
    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "kubectl rounds it too, and no field takes it"
    )]
    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        float(value).ok_or_else(|| E::custom("a number has to be finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value, E> {
        let plain = self.is_plain(text).then(|| resolve(text)).flatten();
        Ok(plain.unwrap_or_else(|| Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        while let Some((key, value)) = entries.next_entry_seed(Key(self), self)? {
            let Some(key) = key else {
                merged.push(value);
                continue;
            };
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "key \"{key}\" already set in map"
                )));
            }
            map.insert(key, value);
        }
        for value in merged {
            merge(&mut map, value);
        }
        Ok(Value::Object(map))
    }
}

/// Reads the key of a map: a text, or nothing where it is a merge key.
struct Key<'s>(Plain<'s>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as a key")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Option<String>, E> {
        if !self.0.is_plain(text) {
            return Ok(Some(text.to_owned()));
        }
        let resolved = resolve(text).map_or_else(|| text.to_owned(), |value| value.to_string());
        Ok(Some(resolved).filter(|key| key != "<<"))
    }
}

/// Adds to a map what a merge key (`<<`) brings: a map or a list of maps, the earlier winning.
fn merge(map: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(other) => {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(list) => {
            for other in list {
                merge(map, other);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A finite number. A whole one is an integer, as it is after `kubectl` has turned it into JSON.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked first"
)]
pub(super) fn float(value: f64) -> Option<Value> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

/// What YAML 1.1 takes a plain text for that YAML 1.2 calls a text: booleans, and numbers with `_` or a leading 0.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some(Value::Bool(false)),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let digits = text.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    let integer = match unsigned.split_at_checked(2) {
        Some(("0x" | "0X", rest)) => i64::from_str_radix(rest, 16).ok(),
        Some(("0b" | "0B", rest)) => i64::from_str_radix(rest, 2).ok(),
        Some(("0o" | "0O", rest)) => i64::from_str_radix(rest, 8).ok(),
        Some(_)
            if unsigned.starts_with('0') && unsigned.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            i64::from_str_radix(unsigned, 8).ok()
        }
        _ => unsigned.parse().ok(),
    };
    if let Some(integer) = integer {
        return Some(Value::from(if digits.starts_with('-') {
            -integer
        } else {
            integer
        }));
    }
    let is_float = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    is_float
        .then(|| digits.parse().ok().and_then(float))
        .flatten()
}
