//! A walk over an object and its schema: defaults, unknown fields, types and bounds, in the API server's own words.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

use super::Problem;
use crate::api::rules::join;

/// The object without nulls, which an API server drops, and with the defaults of its schema.
pub(super) fn defaulted(schema: &JSONSchemaProps, value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(defaulted_map(schema, map)),
        Value::Array(list) => match items(schema) {
            Some(items) => list.iter().map(|item| defaulted(items, item)).collect(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// The same for a map.
fn defaulted_map(schema: &JSONSchemaProps, map: &Map<String, Value>) -> Map<String, Value> {
    let mut complete = Map::new();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let value = field(schema, key)
            .or_else(|| values(schema))
            .map_or_else(|| value.clone(), |below| defaulted(below, value));
        complete.insert(key.clone(), value);
    }
    for (key, below) in schema.properties.iter().flatten() {
        if let Some(default) = &below.default
            && !complete.contains_key(key)
        {
            complete.insert(key.clone(), defaulted(below, &default.0));
        }
    }
    complete
}

/// What is wrong with an object, the fields of every object apart: unknown ones, missing ones, wrong types and bounds.
pub(super) fn problems(schema: &JSONSchemaProps, object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(schema, object, "", &mut problems);
    problems
}

/// Checks a value and everything below it.
fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    if let Some(problem) = wrong_type(schema, value) {
        problems.push(Problem::new(path, problem));
        return;
    }
    match value {
        Value::Object(map) => walk_map(schema, map, path, problems),
        Value::Array(list) => walk_list(schema, list, path, problems),
        Value::String(text) => {
            problems.extend(text_bounds(schema, text).map(|message| Problem::new(path, message)));
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            problems
                .extend(number_bounds(schema, number).map(|message| Problem::new(path, message)));
        }
        Value::Bool(_) | Value::Null => {}
    }
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|allowed| allowed.0 == *value)
    {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|allowed| allowed.0.to_string())
            .collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            allowed.join(", ")
        );
        problems.push(Problem::new(path, message));
    }
}

/// Checks the fields of a map.
fn walk_map(
    schema: &JSONSchemaProps,
    map: &Map<String, Value>,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    for required in schema
        .required
        .iter()
        .flatten()
        .filter(|name| !map.contains_key(*name))
    {
        problems.push(Problem::new(join(path, required), "Required value"));
    }
    if let Some(most) = above(map.len(), schema.max_properties) {
        problems.push(Problem::new(
            path,
            format!("Too many: {}: must have at most {most} items", map.len()),
        ));
    }
    for (key, value) in map {
        let path = join(path, key);
        match field(schema, key).or_else(|| values(schema)) {
            Some(below) => walk(below, value, &path, problems),
            // The object's own fields are checked elsewhere, and a schema without fields takes any.
            None if schema.properties.is_none() || is_own(&path) => {}
            None => problems.push(Problem::unknown_field(&path)),
        }
    }
}

/// Checks the items of a list, and that no two have the same key.
fn walk_list(schema: &JSONSchemaProps, list: &[Value], path: &str, problems: &mut Vec<Problem>) {
    if let Some(most) = above(list.len(), schema.max_items) {
        problems.push(Problem::new(
            path,
            format!("Too many: {}: must have at most {most} items", list.len()),
        ));
    }
    if let Some(least) = below(list.len(), schema.min_items) {
        problems.push(Problem::new(
            path,
            format!("should have at least {least} items"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(key) = key_of(schema, item)
            && !seen.insert(key.clone())
        {
            problems.push(Problem::new(&path, format!("Duplicate value: {key}")));
        }
        if let Some(items) = items(schema) {
            walk(items, item, &path, problems);
        }
    }
}

/// What makes an item of a list the same as another, as JSON.
fn key_of(schema: &JSONSchemaProps, item: &Value) -> Option<String> {
    match schema.x_kubernetes_list_type.as_deref()? {
        "set" => Some(item.to_string()),
        "map" => {
            let names = schema.x_kubernetes_list_map_keys.iter().flatten();
            let key: Map<_, _> = names
                .filter_map(|name| Some((name.clone(), item.get(name)?.clone())))
                .collect();
            Some(Value::Object(key).to_string())
        }
        _ => None,
    }
}

/// What is wrong with the type of a value, if anything is.
fn wrong_type(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let is_integer = value.as_i64().is_some();
    if schema.x_kubernetes_int_or_string == Some(true) {
        let fits = value.is_string() || is_integer;
        return (!fits).then(|| format!("must be of type integer,string: \"{}\"", type_of(value)));
    }
    let wanted = schema.type_.as_deref()?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_integer,
        "number" => value.is_number(),
        _ => true,
    };
    (!fits).then(|| format!("must be of type {wanted}: \"{}\"", type_of(value)))
}

/// The type of a value in the API server's words.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is wrong with the length of a text, in characters, or with a time.
fn text_bounds(schema: &JSONSchemaProps, text: &str) -> Option<String> {
    let length = text.chars().count();
    if let Some(most) = above(length, schema.max_length) {
        return Some(format!("Too long: may not be more than {most} bytes"));
    }
    if let Some(least) = below(length, schema.min_length) {
        return Some(format!("should be at least {least} chars long"));
    }
    let is_time = schema.format.as_deref() == Some("date-time");
    (is_time && text.parse::<jiff::Timestamp>().is_err())
        .then(|| format!("must be of type date-time: \"{text}\""))
}

/// What is wrong with the range of a number.
fn number_bounds(schema: &JSONSchemaProps, number: f64) -> Option<String> {
    if let Some(most) = schema.maximum.filter(|most| number > *most) {
        return Some(format!("should be less than or equal to {most}"));
    }
    schema
        .minimum
        .filter(|least| number < *least)
        .map(|least| format!("should be greater than or equal to {least}"))
}

/// The bound, if a length is above it.
fn above(length: usize, most: Option<i64>) -> Option<i64> {
    most.filter(|most| i64::try_from(length).is_ok_and(|length| length > *most))
}

/// The bound, if a length is below it.
fn below(length: usize, least: Option<i64>) -> Option<i64> {
    least.filter(|least| i64::try_from(length).is_ok_and(|length| length < *least))
}

/// Whether a path is one of the fields that every object has, which no schema of a kind describes.
fn is_own(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata")
}

/// The schema of a named field.
fn field<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    schema.properties.as_ref()?.get(name)
}

/// The schema of the values of a map.
fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(values) => Some(values),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

/// The schema of the items of a list.
fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}
