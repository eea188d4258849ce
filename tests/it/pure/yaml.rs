//! YAML as kubectl reads it, both ways. What is expected here was compared with kubectl 1.34.

use poolwright::api::yaml;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is written for people and for kubectl keeps its type: what YAML 1.1 takes for something else is in quotes.
#[test]
fn texts_are_quoted_where_yaml_needs_it() {
    for text in [
        "on",
        "On",
        "OFF",
        "no",
        "y",
        "N",
        "yes",
        "true",
        "False",
        "null",
        "~",
        "",
        "1_000",
        "0o7",
        "0777",
        "0x1f",
        "1e3",
        ".5",
        "1.",
        "+1",
        "-1",
        "1:30",
        "190:20:30",
        "2026-11-23",
        "2026-11-23T04:05:06Z",
        ".inf",
        ".NaN",
        "=",
        "<<",
        "-",
        "- a",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "[a]",
        "{a}",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "'a'",
        "\"a\"",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "\na",
        "a\n",
        "a\n\n",
        "a\\b",
        "\u{85}",
        "\u{2028}",
        "\u{feff}a",
        "\u{7f}",
        "ä 池",
        "? a",
        "1E",
        "12e03",
        "0b1",
        "1_0.5",
        "NaN",
        "inf",
    ] {
        let value = json!({"text": text, "list": [text, [text]], text: {"below": text}});
        let written = yaml::to_text(&value);
        assert_eq!(yaml::documents(&written).unwrap(), [value], "{written}");
        let plain = written.contains(&format!("text: {text}\n"));
        assert_eq!(plain, ["inf"].contains(&text), "{written}");
    }
    let readable = json!({"a": "foopool", "b": "100Gi", "c": "10m", "d": "Ceph's own words, as in `ceph osd dump`", "e": 1.0, "f": "x/y"});
    let expected = "a: foopool\nb: 100Gi\nc: 10m\nd: \"Ceph's own words, as in `ceph osd dump`\"\ne: 1\nf: x/y\n";
    assert_eq!(yaml::to_text(&readable), expected);
}

/// What is read means what kubectl takes it for.
#[test]
fn plain_texts_mean_what_kubectl_takes_them_for() {
    for (text, value) in [
        ("on", json!(true)),
        ("\"on\"", json!("on")),
        ("'on'", json!("on")),
        ("Off", json!(false)),
        ("y", json!(true)),
        ("1_000", json!(1000)),
        ("0777", json!(511)),
        ("\"0777\"", json!("0777")),
        ("0o17", json!(15)),
        ("-0x1F", json!(-31)),
        ("3.0", json!(3)),
        ("2.5", json!(2.5)),
        ("1:30", json!("1:30")),
        ("2026-11-23", json!("2026-11-23")),
        ("100Gi", json!("100Gi")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("~", json!(null)),
        ("", json!(null)),
        ("|-\n  on", json!("on")),
        ("!!str on", json!("on")),
        ("1e3", json!(1000)),
        ("v2:1.2.3.4:3300/0", json!("v2:1.2.3.4:3300/0")),
        ("-", json!([null])),
    ] {
        assert_eq!(
            yaml::documents(&format!("a:\n  {text}")).unwrap(),
            [json!({"a": value})],
            "{text}"
        );
    }
    let text = "on: 1\n1: x\n---\n---\nkind: List\nitems: [{a: 1}, {b: on}]\n";
    let expected = [
        json!({"true": 1, "1": "x"}),
        json!({"a": 1}),
        json!({"b": true}),
    ];
    assert_eq!(yaml::documents(text).unwrap(), expected);
}

/// Any JSON value.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000.0..1000.0).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[-+.:0-9_eExXobnyNY~ #'\"\\[{&*!|>%@`\n\t]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[-+.:0-9_eExyn~ #'a-f]{0,5}", inner, 0..4).prop_map(
                |map| Value::Object(map.into_iter().filter(|(key, _)| key != "<<").collect())
            ),
        ]
    })
}

/// What kubectl does not read, or reads as something that nobody means, is an error.
#[test]
fn what_is_no_yaml_is_refused() {
    for text in [
        "a: [",
        "a: b: c",
        "a: 1\na: 2",
        "{a: 1, a: 2}",
        "? [a]\n: b",
        "\t- x",
        "a: .inf",
        "a: &b [*b]",
        "a: *b",
    ] {
        assert!(yaml::documents(text).is_err(), "{text}");
    }
    let error = yaml::documents("a: 1\n---\nb: [").unwrap_err().to_string();
    assert!(
        error.starts_with("document 2 is not valid YAML: "),
        "{error}"
    );
}

proptest! {
    /// Whatever is written is read as the same.
    #[test]
    fn writing_and_reading_are_inverse(value in any_json()) {
        let whole = json!({"value": value});
        let written = yaml::to_text(&whole);
        let read = yaml::documents(&written);
        prop_assert!(read.is_ok(), "{written}: {read:?}");
        prop_assert_eq!(read.unwrap(), [whole], "{}", written);
    }
}
