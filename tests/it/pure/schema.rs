//! The CustomResourceDefinitions: complete, clean, described and bounded.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use poolwright::api::crd::{self, Kind};
use poolwright::api::{rules, yaml};
use serde_json::{Value, json};

/// Calls a function with every schema of a kind and its path.
fn each_schema(
    schema: &JSONSchemaProps,
    path: &str,
    visit: &mut impl FnMut(&str, &JSONSchemaProps),
) {
    visit(path, schema);
    for (name, below) in schema.properties.iter().flatten() {
        each_schema(below, &format!("{path}.{name}"), visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        each_schema(items, &format!("{path}.[]"), visit);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        each_schema(values, &format!("{path}.{{}}"), visit);
    }
}

/// The files in `crds/` are what the types give, and the chart has the same.
#[test]
fn crds_are_up_to_date() {
    for crd in crd::crds() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("crds")
            .join(crd::file_name(&crd));
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        let now = crd::to_yaml(&crd).unwrap();
        assert!(
            stored == now,
            "{} is not what the types give: run `make crds`",
            path.display()
        );
        let copied = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("charts/poolwright/files/crds")
            .join(crd::file_name(&crd));
        assert!(
            std::fs::read_to_string(&copied).unwrap_or_default() == stored,
            "{} is not the one in crds/: run `make crds`",
            copied.display()
        );
        let read = yaml::documents(&now).unwrap().remove(0);
        assert!(
            serde_json::from_value::<CustomResourceDefinition>(read).unwrap() == crd,
            "{}",
            path.display()
        );
    }
}

/// No rule gets lost on its way into a schema.
#[test]
fn every_rule_is_in_its_schema() {
    for kind in Kind::ALL {
        let mut attached = 0;
        each_schema(kind.schema(), "", &mut |_, schema| {
            attached += schema.x_kubernetes_validations.as_ref().map_or(0, Vec::len);
        });
        assert_eq!(attached, rules::of(kind).len(), "{}", kind.as_str());
    }
}

/// What an API server stores or warns about for no use is gone, and every field says what it is.
#[test]
fn schemas_are_clean_and_described() {
    for kind in Kind::ALL {
        let text = crd::to_yaml(kind.crd()).unwrap();
        assert!(
            !text.contains("nullable") && !text.contains("uint"),
            "{}",
            kind.as_str()
        );
        each_schema(kind.schema(), kind.as_str(), &mut |path, schema| {
            let allowed = schema.enum_.iter().flatten();
            assert!(
                allowed.clone().all(|value| value.0.is_string()),
                "{path}: {:?}",
                schema.enum_
            );
            assert!(schema.any_of.is_none() && schema.one_of.is_none(), "{path}");
            for name in schema
                .properties
                .iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .chain(allowed.map(|value| value.0.as_str().unwrap().to_owned()))
            {
                assert_eq!(
                    yaml::documents(&name).unwrap(),
                    [json!(name)],
                    "{path}: a YAML boolean"
                );
            }
            let is_item = path.ends_with("[]") || path.ends_with("{}");
            let described = schema
                .description
                .as_ref()
                .is_some_and(|text| text.len() > 10 && !text.contains("Auto-generated"));
            let is_own = ["apiVersion", "kind", "metadata"]
                .iter()
                .any(|own| path == format!("{}.{own}", kind.as_str()));
            assert!(described || is_item || is_own, "{path} has no description");
        });
    }
}

/// Whatever a user writes is bounded, which keeps the cost of the rules in their budget.
#[test]
fn specs_are_bounded() {
    for kind in Kind::ALL {
        let spec = &kind.schema().properties.as_ref().unwrap()["spec"];
        each_schema(spec, "spec", &mut |path, schema| {
            // A label selector is Kubernetes' own type.
            if path.contains(".selector") {
                return;
            }
            let bounded = match schema.type_.as_deref() {
                _ if schema.enum_.is_some() || schema.format.as_deref() == Some("date-time") => {
                    true
                }
                Some("string") | None => schema.max_length.is_some(),
                Some("array") => schema.max_items.is_some(),
                Some("object") => {
                    schema.additional_properties.is_none() || schema.max_properties.is_some()
                }
                _ => true,
            };
            assert!(bounded, "{}: {path} has no bound", kind.as_str());
        });
    }
}

/// Defaults exist only where Ceph stores nothing.
#[test]
fn defaults_are_only_those_that_ceph_does_not_store() {
    let mut defaults = BTreeMap::new();
    for kind in Kind::ALL {
        each_schema(kind.schema(), kind.as_str(), &mut |path, schema| {
            if let Some(default) = &schema.default {
                defaults.insert(path.to_owned(), default.0.clone());
            }
        });
    }
    let expected: BTreeMap<String, Value> = [
        ("CephPool.spec.adoptionPolicy", json!("Never")),
        ("CephPool.spec.deletionPolicy", json!("Retain")),
        ("CephPool.spec.management", json!("Manage")),
        ("CephPool.status", json!({"observedGeneration": -1})),
        (
            "ClusterConnection.spec.client",
            json!({"maxCommandsInFlight": 512, "commandTimeout": "30s"}),
        ),
        ("ClusterConnection.spec.client.commandTimeout", json!("30s")),
        (
            "ClusterConnection.spec.client.maxCommandsInFlight",
            json!(512),
        ),
        (
            "ClusterConnection.spec.grants.[].allow",
            json!(["Create", "Update"]),
        ),
        (
            "ClusterConnection.spec.grants.[].namespaces.all",
            json!(false),
        ),
        ("ClusterConnection.spec.grants.[].poolNames", json!(["*"])),
        ("ClusterConnection.spec.keySecretRef.key", json!("key")),
        ("ClusterConnection.spec.management", json!("Manage")),
        ("ClusterConnection.spec.resyncInterval", json!("10m")),
        ("ClusterConnection.spec.user", json!("poolwright")),
        (
            "ClusterConnection.status",
            json!({"observedGeneration": -1}),
        ),
    ]
    .map(|(path, value)| (path.to_owned(), value))
    .into();
    assert_eq!(defaults, expected);
}

/// Names, columns and the like are as designed.
#[test]
fn definitions_are_as_designed() {
    let columns = |kind: Kind, wide: bool| -> Vec<String> {
        let version = &kind.crd().spec.versions[0];
        let columns = version.additional_printer_columns.iter().flatten();
        columns
            .filter(|column| (column.priority == Some(1)) == wide)
            .map(|column| column.name.clone())
            .collect()
    };
    assert_eq!(
        columns(Kind::CephPool, false),
        [
            "Connection",
            "Pool",
            "Type",
            "Size",
            "PGs",
            "Ready",
            "Epoch",
            "Age"
        ]
    );
    assert_eq!(
        columns(Kind::CephPool, true),
        ["Pool-ID", "Request", "Message"]
    );
    for (kind, scope, short) in [
        (Kind::ClusterConnection, "Cluster", "cephconn"),
        (Kind::CephPool, "Namespaced", "cpool"),
        (Kind::CephRequest, "Namespaced", "creq"),
    ] {
        let spec = &kind.crd().spec;
        assert_eq!(
            (spec.scope.as_str(), kind.is_namespaced()),
            (scope, scope == "Namespaced")
        );
        assert_eq!(
            spec.names.short_names.as_deref(),
            Some([short.to_owned()].as_slice())
        );
        assert_eq!(
            spec.names.categories.as_deref(),
            Some(["poolwright".to_owned()].as_slice())
        );
        assert_eq!(columns(kind, false).last().map(String::as_str), Some("Age"));
    }
    let selectable = Kind::CephPool.crd().spec.versions[0]
        .selectable_fields
        .as_ref()
        .unwrap();
    assert_eq!(selectable[0].json_path, ".spec.connectionRef.name");
}
