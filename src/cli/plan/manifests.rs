//! Manifests from files, folders and standard input: read, and checked as an API server would.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::crd::Kind;
use crate::api::v1alpha1::{CephPool, ClusterConnection, GROUP};
use crate::api::validate::{self, Problem};
use crate::api::yaml;
use crate::cli::chain;

/// The name of standard input.
const STDIN: &str = "-";
/// What counts as a manifest in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What the manifests hold.
#[derive(Debug, Default)]
pub(in crate::cli) struct Manifests {
    /// The CephPools that have no fault.
    pub(in crate::cli) pools: Vec<Given>,
    /// The ClusterConnections that have no fault.
    pub(in crate::cli) connections: Vec<ClusterConnection>,
    /// Everything that is wrong, a line each.
    pub(in crate::cli) problems: Vec<String>,
    /// What is left out, a line each.
    pub(in crate::cli) notes: Vec<String>,
}

/// A CephPool of a manifest.
#[derive(Debug)]
pub(in crate::cli) struct Given {
    /// Where it stands.
    file: String,
    /// Its namespace, or `default`.
    pub(in crate::cli) namespace: String,
    /// Its name.
    pub(in crate::cli) name: String,
    /// The object, with its status where the manifest has one.
    pub(in crate::cli) object: CephPool,
}

impl Manifests {
    /// Reads and checks everything that the paths name. Nothing stops at the first problem.
    pub(in crate::cli) fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> Self {
        let mut manifests = Self::default();
        for path in paths {
            if path.as_os_str() == STDIN {
                let mut text = String::new();
                let read = stdin.read_to_string(&mut text);
                manifests.add(STDIN, read.map(|_| text));
                continue;
            }
            match files(path) {
                Ok(files) => {
                    for file in files {
                        manifests.add(&file.display().to_string(), fs::read_to_string(&file));
                    }
                }
                Err(error) => manifests.problem(&path.display().to_string(), &error.to_string()),
            }
        }
        manifests
    }

    /// Leaves only the CephPools of one connection, where it is given.
    pub(in crate::cli) fn choose(&mut self, connection: Option<&str>) {
        if let Some(name) = connection {
            self.pools
                .retain(|given| given.object.spec.connection_ref.name == name);
        }
    }

    /// The connections that CephPools refer to, each once.
    pub(in crate::cli) fn connections(&self) -> Vec<String> {
        let names = self
            .pools
            .iter()
            .map(|given| given.object.spec.connection_ref.name.clone());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Takes in the documents of one file.
    fn add(&mut self, file: &str, text: io::Result<String>) {
        let documents = match text {
            Ok(text) => yaml::documents(&text).map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        match documents {
            Ok(documents) => documents
                .iter()
                .for_each(|document| self.document(file, document)),
            Err(error) => self.problem(file, &error),
        }
    }

    /// Checks one document, and keeps it if it is a CephPool.
    fn document(&mut self, file: &str, document: &Value) {
        let title = title(document);
        if is_foreign(document) {
            self.notes
                .push(format!("{file}: {title}: left out, not of {GROUP}"));
            return;
        }
        let kind = match validate::validate(document) {
            Ok(kind) => kind,
            Err(problems) => return self.wrong(file, &title, &problems),
        };
        if kind == Kind::ClusterConnection {
            return self.connection(file, &title, document);
        }
        if kind != Kind::CephPool {
            return;
        }
        let mut object = match validate::decode_pool(document) {
            Ok(object) => object,
            Err(problems) => return self.wrong(file, &title, &problems),
        };
        // The checks leave the status out; here it tells which pool is the object's.
        match document.get("status").filter(|status| !status.is_null()) {
            None => {}
            Some(status) => match serde_json::from_value(status.clone()) {
                Ok(status) => object.status = Some(status),
                Err(error) => {
                    return self
                        .problem(file, &format!("{title}: status: cannot be read: {error}"));
                }
            },
        }
        let given = Given {
            file: file.to_owned(),
            namespace: namespace(document).to_owned(),
            name: object.metadata.name.clone().unwrap_or_default(),
            object,
        };
        match self
            .pools
            .iter()
            .find(|other| other.address() == given.address())
        {
            Some(first) => {
                let line = format!("{title}: stands twice, also in {}", first.file);
                self.problem(file, &line);
            }
            None => self.pools.push(given),
        }
    }

    /// Keeps a ClusterConnection that was checked.
    fn connection(&mut self, file: &str, title: &str, document: &Value) {
        match serde_json::from_value(document.clone()) {
            Ok(connection) => self.connections.push(connection),
            Err(error) => self.problem(file, &format!("{title}: cannot be read: {error}")),
        }
    }

    fn wrong(&mut self, file: &str, title: &str, problems: &[Problem]) {
        for problem in problems {
            self.problem(file, &format!("{title}: {problem}"));
        }
    }

    fn problem(&mut self, file: &str, problem: &str) {
        self.problems.push(format!("{file}: {problem}"));
    }
}

impl Given {
    fn address(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// A file itself, or the manifests of a folder in the order of their names.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && path.is_file() {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(io::Error::other(
            "the folder holds no *.yaml, *.yml or *.json",
        ));
    }
    found.sort();
    Ok(found)
}

/// `kind namespace/name`, or `kind name` for what lives in no namespace.
fn title(document: &Value) -> String {
    let kind = document
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("(no kind)");
    let name = metadata(document, "name").unwrap_or("(no name)");
    if Kind::of(document) == Some(Kind::ClusterConnection) {
        format!("{kind} {name}")
    } else {
        format!("{kind} {}/{name}", namespace(document))
    }
}

fn namespace(document: &Value) -> &str {
    metadata(document, "namespace").unwrap_or("default")
}

fn metadata<'a>(document: &'a Value, field: &str) -> Option<&'a str> {
    let value = document.get("metadata")?.get(field)?.as_str()?;
    Some(value).filter(|value| !value.is_empty())
}

/// Whether an object is a whole one of another API group, as they stand beside ours in a repository.
fn is_foreign(document: &Value) -> bool {
    let field = |name: &str| {
        let text = document.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    match (field("apiVersion"), field("kind")) {
        (Some(version), Some(_)) => {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            group != GROUP
        }
        _ => false,
    }
}
