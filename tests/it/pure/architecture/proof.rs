//! That the checks of the layers find what they are for, and nothing else.

use super::source::{Source, sources};
use super::{LONGEST, cycles, modules, top, uses, violations};

/// The checks can fail: each of these is found, in the file that it is put into.
#[test]
fn violations_are_found() {
    let modules = modules(&sources());
    let long = "// a line\n".repeat(LONGEST + 1);
    for (path, code, expected) in [
        (
            "api/crd.rs",
            "use crate::ceph::types::Epoch;",
            "api may not use data",
        ),
        (
            "api/v1alpha1/pool.rs",
            "use super::super::super::monitor::Contact;",
            "api may not use monitor",
        ),
        (
            "api/crd.rs",
            "fn f() { std::fs::read(\"x\"); }",
            "api is pure",
        ),
        (
            "ceph/view.rs",
            "use super::client::MonClient;",
            "data may not use door",
        ),
        (
            "ceph/types.rs",
            "use crate::{api::crd, ceph};",
            "data may not use api",
        ),
        (
            "ceph/osd_map/json.rs",
            "use kube::ResourceExt;",
            "data does not know Kubernetes",
        ),
        (
            "ceph/simulated/pending.rs",
            "use tokio::time::sleep;",
            "simulated is pure",
        ),
        (
            "ceph/simulated.rs",
            "fn f() { self::client::lock(); }",
            "simulated may not use simulated client",
        ),
        (
            "ceph/rados/handle.rs",
            "use crate::monitor::Snapshot;",
            "rados may not use monitor",
        ),
        (
            "ceph/rados/handle.rs",
            "fn f() { unsafe { g() } }",
            "unsafe",
        ),
        (
            "ceph/rados/exit.rs",
            "#![allow(unsafe_code)]",
            "unsafe_code",
        ),
        (
            "monitor.rs",
            "use k8s_openapi::api::core::v1::Secret;",
            "monitor does not know Kubernetes",
        ),
        (
            "monitor/state.rs",
            "use crate::request::wish::Wish;",
            "monitor may not use planning",
        ),
        (
            "monitor.rs",
            "use crate::ceph::rados::Library;",
            "monitor may not use rados",
        ),
        (
            "request/wish.rs",
            "use super::executor::RunEnd;",
            "planning may not use work",
        ),
        (
            "request/wish.rs",
            "use crate::request::{factory, collection::PoolKey as Key};",
            "planning may not use work",
        ),
        (
            "request/pool_factory/locate.rs",
            "use super::super::journal::Entry;",
            "planning may not use work",
        ),
        (
            "request/pool_factory.rs",
            "fn f(x: crate::monitor::Contact) {}",
            "planning may not use monitor",
        ),
        (
            "request/guard.rs",
            "fn f() { let now = jiff::Timestamp::now(); }",
            "planning is pure",
        ),
        (
            "request/guard.rs",
            "fn f() -> T { g(Timestamp::now()) }",
            "planning is pure",
        ),
        (
            "request/round.rs",
            "use std::time::{Duration, Instant};",
            "planning is pure",
        ),
        (
            "request/round.rs",
            "use std::{collections::BTreeMap, time::SystemTime};",
            "planning is pure",
        ),
        (
            "request/preview.rs",
            "fn f() { uuid::Uuid::new_v4(); }",
            "planning is pure",
        ),
        (
            "request/preview.rs",
            "fn f() { tokio::spawn(g()); }",
            "planning is pure",
        ),
        (
            "request/user_request.rs",
            "use kube::Client;",
            "planning is pure",
        ),
        (
            "request/factory.rs",
            "use crate::request::Wish;",
            "a root is no address",
        ),
        (
            "request/executor.rs",
            "use k8s_openapi::jiff::Timestamp;",
            "work does not know Kubernetes",
        ),
        (
            "request/collection.rs",
            "use crate::controller::pools::Pools;",
            "work may not use controller",
        ),
        (
            "request/collection.rs",
            "use crate::controller::status;",
            "work may not use judgement",
        ),
        (
            "request/executor.rs",
            "use crate::ceph::simulated::SimulatedCluster;",
            "work may not use simulated",
        ),
        (
            "request/executor.rs",
            "use crate::ceph::rados::RadosClient;",
            "work may not use rados",
        ),
        ("request/novelty.rs", "", "no layer"),
        (
            "request.rs",
            "pub use executor::run; use crate::monitor::Contact;",
            "a root that uses monitor",
        ),
        (
            "controller/status.rs",
            "use crate::request::work::{RunEnd};",
            "judgement may not use work",
        ),
        (
            "controller/status/conditions.rs",
            "use crate::controller::pools::Pools;",
            "judgement may not use controller",
        ),
        (
            "controller/record.rs",
            "use kube::{Api, ResourceExt};",
            "judgement is pure",
        ),
        (
            "controller/grants.rs",
            "fn f() { kube::Client::try_default(); }",
            "judgement is pure",
        ),
        (
            "controller/pool.rs",
            "use crate::cli::run;",
            "controller may not use cli",
        ),
        (
            "controller/pool.rs",
            "use crate::telemetry;",
            "controller may not use telemetry",
        ),
        (
            "controller/pool.rs",
            "use crate::ceph::simulated::client::SimulatedClient;",
            "controller may not use simulated",
        ),
        (
            "health/server.rs",
            "fn f() { crate::controller::run(); }",
            "health may not use controller",
        ),
        (
            "metrics.rs",
            "use crate::controller::run;",
            "metrics may not use controller",
        ),
        (
            "metrics.rs",
            "use crate::request::wish::Wish;",
            "metrics may not use planning",
        ),
        (
            "main.rs",
            "use poolwright::controller;",
            "main may not use controller",
        ),
        (
            "cli/crds.rs",
            "use serde_yaml::Value;",
            "serde_yaml stands behind api::yaml",
        ),
        (
            "cli/run.rs",
            "use libloading::Library;",
            "libloading stands behind ceph::rados",
        ),
        (
            "controller.rs",
            "fn f() { axum::serve(); }",
            "axum stands behind health",
        ),
        (
            "controller.rs",
            "mod inner { use super::pools; }",
            "a module inside of a file",
        ),
        ("controller.rs", &long, "601 lines"),
    ] {
        let source = Source {
            path: path.into(),
            text: format!("//! A file.\n{code}\n"),
        };
        let source = if expected.contains("lines") {
            Source {
                text: long.replacen("//", "//!", 1),
                ..source
            }
        } else {
            source
        };
        let wrong = violations(&source, &modules);
        assert!(
            wrong.iter().any(|wrong| wrong.contains(expected)),
            "{path}: {code}: {wrong:?}"
        );
    }
    let silent = Source {
        path: "api/crd.rs".into(),
        text: "// Says nothing.\n".into(),
    };
    assert_eq!(violations(&silent, &modules).len(), 1);
    let circle = |path: &str, text: &str| Source {
        path: path.into(),
        text: text.into(),
    };
    let circle = [
        circle("metrics.rs", "use crate::controller::run;"),
        circle("controller.rs", "use crate::metrics::Metrics;"),
        circle("health.rs", ""),
    ];
    assert_eq!(cycles(&uses(&circle, top)), ["controller", "metrics"]);
}

/// And they find nothing where there is nothing: comments, texts and tests may say what they like.
#[test]
fn nothing_is_found_where_nothing_is() {
    let modules = modules(&sources());
    for code in [
        "// use tokio::time::sleep;",
        "/* use /* tokio:: */ crate::monitor::Contact; */",
        "/// See [`crate::request::executor`].\nfn f() {}",
        "const TEXT: &str = \"tokio::spawn \\\" unsafe\";",
        "const TEXT: &str = r#\"crate::monitor::Contact \" unsafe\"#;",
        "const BYTES: &[u8] = b\"unsafe\"; const C: char = '\"'; const D: char = '\\''; fn f<'a>(x: &'a str) {}",
        "#[cfg(test)]\nmod tests { use crate::request::work::RunEnd; fn f() { tokio::spawn(g()); } }\nfn f() {}",
        "#[cfg(test)]\nuse crate::request::work::RunEnd;\nfn f() {}",
        "use super::{round::{Round, Step}, refusal::Refusal as No};\nuse std::time::Duration;",
        "use kube_cel::X; fn f(kube: K) { kube.client(); }",
    ] {
        let source = Source {
            path: "request/wish.rs".into(),
            text: format!("//! A file.\n{code}\n"),
        };
        assert_eq!(violations(&source, &modules), [""; 0], "{code}");
    }
}
