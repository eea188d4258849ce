//! Writing: block style, and quotes wherever a reader of YAML 1.1 or 1.2 would see something else than a text.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::Error;

/// Writes a value as a YAML document that ends with a newline.
pub fn write(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_value(value)
        .map(|value| to_text(&value))
        .map_err(Error::Write)
}

/// Writes a JSON value as a YAML document that ends with a newline.
#[must_use]
pub fn to_text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut out, value, 0),
        _ => {
            out.push_str(&scalar(value, 0));
            out.push('\n');
        }
    }
    out
}

/// Writes the lines of a map or list that is not empty. The first line gets no indentation: it is there already.
fn block(out: &mut String, value: &Value, depth: usize) {
    let mut first = true;
    let mut indent = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.extend(std::iter::repeat_n(' ', depth));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                indent(out);
                out.push_str(&quoted_if_needed(key));
                out.push(':');
                match value {
                    Value::Object(below) if !below.is_empty() => {
                        newline(out, depth + 2);
                        block(out, value, depth + 2);
                    }
                    // A list stands right below its key, as kubectl writes it.
                    Value::Array(list) if !list.is_empty() => {
                        newline(out, depth);
                        block(out, value, depth);
                    }
                    _ => line(out, value, depth),
                }
            }
        }
        Value::Array(list) => {
            for item in list {
                indent(out);
                out.push('-');
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        out.push(' ');
                        block(out, item, depth + 2);
                    }
                    Value::Array(list) if !list.is_empty() => {
                        out.push(' ');
                        block(out, item, depth + 2);
                    }
                    _ => line(out, item, depth),
                }
            }
        }
        _ => line(out, value, depth),
    }
}

/// Ends a line and indents the next.
fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

/// Writes a blank, a scalar or an empty map or list, and ends the line.
fn line(out: &mut String, value: &Value, depth: usize) {
    out.push(' ');
    out.push_str(&scalar(value, depth + 2));
    out.push('\n');
}

/// A scalar, or an empty map or list; `depth` is where the lines of a text of several lines begin.
fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        // A whole float is an integer: kubectl makes no difference, and `10` reads better than `10.0`.
        Value::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .and_then(super::reader::float)
            .map_or_else(|| number.to_string(), |number| number.to_string()),
        Value::Bool(_) => value.to_string(),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        Value::String(text) if is_literal(text) => literal(text, depth),
        Value::String(text) => quoted_if_needed(text),
    }
}

/// Whether a text can be written line by line: several lines that neither begin nor end with a blank, and nothing that
/// needs an escape.
fn is_literal(text: &str) -> bool {
    let readable = |c: char| c == '\n' || (!c.is_control() && !needs_escape(c));
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && text.chars().all(readable)
        && body.split('\n').all(|line| !line.ends_with(' '))
        && body.starts_with(|c: char| !c.is_whitespace())
}

/// A text of several lines.
fn literal(text: &str, depth: usize) -> String {
    let mut out = String::from(if text.ends_with('\n') { "|" } else { "|-" });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', depth));
            out.push_str(line);
        }
    }
    out
}

/// A text, in double quotes unless every reader takes it for the same text without.
fn quoted_if_needed(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Whether a text may stand without quotes. Narrow on purpose: a word that begins with a letter and is none of YAML's
/// own, or a number with a unit that no YAML knows.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan",
    ];
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric() || " _-./@+=,;()'*$<>^~|&!?".contains(c) || c == ':'
        })
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    word || is_measure(text)
}

/// Whether a text is digits and a unit, such as `30s`, `10m` or `100Gi`. `1e3` and `0x1f` are numbers; `E` and the like
/// are left out for that reason.
fn is_measure(text: &str) -> bool {
    const UNITS: [&str; 14] = [
        "s", "m", "h", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && text.get(digits..).is_some_and(|unit| UNITS.contains(&unit))
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || needs_escape(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a character that is no control character is one that YAML breaks lines at, or does not print.
fn needs_escape(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}
