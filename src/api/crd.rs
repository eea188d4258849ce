//! The CustomResourceDefinitions as they are installed.
//!
//! What `kube`'s derive gives is cleaned of what an API server stores or warns about for no use (`nullable`, unknown
//! formats, null defaults), the rules of [`super::rules`] are put where they belong, and the status gets the default
//! that keeps kstatus from taking a new object for a finished one.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::rules::{self, Rule};
use super::v1alpha1::{API_VERSION, CephPool, CephRequest, ClusterConnection};
use super::yaml;

/// The kinds of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`ClusterConnection`].
    ClusterConnection,
    /// [`CephPool`].
    CephPool,
    /// [`CephRequest`].
    CephRequest,
}

impl Kind {
    /// Every kind, in the order in which they are installed.
    pub const ALL: [Self; 3] = [Self::ClusterConnection, Self::CephPool, Self::CephRequest];

    /// The `kind` of an object.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterConnection => "ClusterConnection",
            Self::CephPool => "CephPool",
            Self::CephRequest => "CephRequest",
        }
    }

    /// The kind that an object says it is, if its `apiVersion` and `kind` are ours.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let field = |name: &str| object.get(name).and_then(Value::as_str);
        let kind = field("kind").filter(|_| field("apiVersion") == Some(API_VERSION))?;
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// Whether objects of the kind live in namespaces.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self != Self::ClusterConnection
    }

    /// The definition to install.
    #[must_use]
    pub fn crd(self) -> &'static CustomResourceDefinition {
        static CONNECTION: LazyLock<CustomResourceDefinition> =
            LazyLock::new(|| build(Kind::ClusterConnection));
        static POOL: LazyLock<CustomResourceDefinition> = LazyLock::new(|| build(Kind::CephPool));
        static REQUEST: LazyLock<CustomResourceDefinition> =
            LazyLock::new(|| build(Kind::CephRequest));
        match self {
            Self::ClusterConnection => &CONNECTION,
            Self::CephPool => &POOL,
            Self::CephRequest => &REQUEST,
        }
    }

    /// The schema of the kind's one version.
    #[must_use]
    pub fn schema(self) -> &'static JSONSchemaProps {
        static EMPTY: LazyLock<JSONSchemaProps> = LazyLock::new(JSONSchemaProps::default);
        let version = self.crd().spec.versions.first();
        version
            .and_then(|version| version.schema.as_ref())
            .and_then(|schema| schema.open_api_v3_schema.as_ref())
            .unwrap_or(&EMPTY)
    }
}

/// The definitions of all kinds, in the order in which they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    Kind::ALL
        .into_iter()
        .map(|kind| kind.crd().clone())
        .collect()
}

/// The name of a definition's file in `crds/`, such as `cephpools.yaml`.
#[must_use]
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

/// A definition as a YAML document that ends with a newline.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, yaml::Error> {
    yaml::write(crd)
}

/// Makes a kind's definition from its derived one.
fn build(kind: Kind) -> CustomResourceDefinition {
    let mut crd = match kind {
        Kind::ClusterConnection => ClusterConnection::crd(),
        Kind::CephPool => CephPool::crd(),
        Kind::CephRequest => CephRequest::crd(),
    };
    for version in &mut crd.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        clean(schema);
        schema.title = None;
        if let Some(status) = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            without_defaults(status);
            if status
                .properties
                .as_ref()
                .is_some_and(|properties| properties.contains_key("observedGeneration"))
            {
                status.default = Some(JSON(json!({ "observedGeneration": -1 })));
            }
        }
        for rule in rules::of(kind) {
            attach(schema, rule);
        }
    }
    crd
}

/// Removes what an API server has no use for, from a schema and everything below it.
fn clean(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.take().map(|text| unwrapped(&text));
    schema.format = schema
        .format
        .take()
        .filter(|format| !format.starts_with("uint"));
    schema.default = schema
        .default
        .take()
        .filter(|default| !is_nothing(&default.0));
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    below(schema).for_each(clean);
}

/// Removes the defaults from a schema and everything below it: a status holds what was written.
fn without_defaults(schema: &mut JSONSchemaProps) {
    schema.default = None;
    below(schema).for_each(without_defaults);
}

/// The schemas directly below a schema: properties, items, values.
fn below(schema: &mut JSONSchemaProps) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let items = match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&mut **items),
        _ => None,
    };
    let values = match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(&mut **values),
        _ => None,
    };
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .chain(items)
        .chain(values)
}

/// A text with one line a paragraph: `kubectl explain` breaks the lines itself.
fn unwrapped(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect();
    paragraphs.join("\n\n")
}

/// Whether a default would store nothing worth storing.
fn is_nothing(default: &Value) -> bool {
    match default {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Puts a rule onto its node. A rule whose node is not there would be lost; a test counts them.
fn attach(schema: &mut JSONSchemaProps, rule: &Rule) {
    let mut node = schema;
    for step in rule.at.split('.').filter(|step| !step.is_empty()) {
        let below = match step {
            "[]" => match &mut node.items {
                Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&mut **items),
                _ => None,
            },
            "{}" => match &mut node.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(values)) => Some(&mut **values),
                _ => None,
            },
            name => node
                .properties
                .as_mut()
                .and_then(|properties| properties.get_mut(name)),
        };
        let Some(below) = below else { return };
        node = below;
    }
    node.x_kubernetes_validations
        .get_or_insert_default()
        .push(ValidationRule {
            rule: rule.cel.clone().into_owned(),
            message: Some(rule.sentence.clone().into_owned()),
            // An API server takes no path into the metadata.
            field_path: rule
                .field
                .filter(|field| !field.starts_with("metadata"))
                .map(|field| format!(".{field}")),
            ..ValidationRule::default()
        });
}
