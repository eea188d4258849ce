//! Who may use whom: the layers of the design, read off the sources.

mod proof;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use self::source::{Source, sources};

/// The layer of each module; the longest name that fits counts.
const LAYERS: &[(&str, &str)] = &[
    ("main", "main"),
    ("cli", "cli"),
    ("telemetry", "telemetry"),
    ("health", "health"),
    ("failpoint", "failpoint"),
    ("metrics", "metrics"),
    ("lease", "lease"),
    ("lease::candidate", "election"),
    ("rest", "rest"),
    ("rest::access", "contract"),
    ("rest::attributes", "contract"),
    ("rest::bodies", "contract"),
    ("rest::certificate", "contract"),
    ("rest::defaults", "contract"),
    ("rest::ids", "contract"),
    ("rest::live", "contract"),
    ("rest::merge", "contract"),
    ("rest::naming", "contract"),
    ("rest::openapi", "contract"),
    ("rest::paging", "contract"),
    ("rest::problem", "contract"),
    ("rest::shapes", "contract"),
    ("controller", "controller"),
    ("controller::status", "judgement"),
    ("controller::record", "judgement"),
    ("controller::grants", "judgement"),
    ("controller::connection_status", "judgement"),
    ("controller::backoff", "judgement"),
    ("request::executor", "work"),
    ("request::collection", "work"),
    ("request::journal", "work"),
    ("request::locks", "work"),
    ("request::moves", "work"),
    ("request::work", "work"),
    ("request::wish", "planning"),
    ("request::factory", "planning"),
    ("request::pool_factory", "planning"),
    ("request::registry", "planning"),
    ("request::round", "planning"),
    ("request::refusal", "planning"),
    ("request::token", "planning"),
    ("request::rejection", "planning"),
    ("request::guard", "planning"),
    ("request::needs", "planning"),
    ("request::preview", "planning"),
    ("request::ownership", "planning"),
    ("request::placement", "planning"),
    ("request::contest", "planning"),
    ("request::coding", "planning"),
    ("request::user_request", "planning"),
    ("monitor", "monitor"),
    ("ceph::rados", "rados"),
    ("ceph::simulated::client", "simulated client"),
    ("ceph::simulated", "simulated"),
    ("ceph::client", "door"),
    ("ceph::types", "data"),
    ("ceph::osd_map", "data"),
    ("ceph::crush_map", "data"),
    ("ceph::encoding", "data"),
    ("ceph::view", "data"),
    ("ceph::settings", "settings"),
    ("ceph::command", "data"),
    ("ceph::errno", "data"),
    ("ceph::contents", "data"),
    ("api", "api"),
];

/// What a layer may use of ours besides itself; `cli` may use everything, and nothing but `main` uses it.
const MAY_USE: &[(&str, &[&str])] = &[
    // What may be written follows from the table.
    ("api", &["settings"]),
    ("data", &[]),
    ("settings", &["data"]),
    ("door", &["data"]),
    ("simulated", &["data", "door", "settings"]),
    ("simulated client", &["data", "door", "simulated"]),
    ("rados", &["data", "door"]),
    ("monitor", &["data", "door"]),
    (
        "planning",
        &["api", "data", "door", "settings", "simulated"],
    ),
    (
        "work",
        &["api", "data", "door", "monitor", "planning", "settings"],
    ),
    ("judgement", &["api", "data", "planning", "settings"]),
    (
        "controller",
        &[
            "api",
            "data",
            "settings",
            "door",
            "rados",
            "monitor",
            "planning",
            "work",
            "judgement",
            "metrics",
            "failpoint",
            "health",
            "lease",
        ],
    ),
    ("contract", &["api", "data", "planning", "settings"]),
    (
        "rest",
        &[
            "api",
            "contract",
            "data",
            "door",
            "settings",
            "planning",
            "judgement",
            "monitor",
            "controller",
            "failpoint",
            "health",
            "metrics",
        ],
    ),
    ("metrics", &["api", "data", "door"]),
    ("health", &["metrics"]),
    ("lease", &["election"]),
    ("election", &[]),
    ("telemetry", &[]),
    ("failpoint", &[]),
    ("main", &["cli"]),
];

/// Layers without I/O, tasks, clock and randomness: those come in as arguments.
const PURE: &[&str] = &[
    "api",
    "data",
    "settings",
    "door",
    "simulated",
    "planning",
    "judgement",
    "contract",
    "election",
];

/// What brings them in.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["tokio_util"],
    &["futures"],
    &["axum"],
    &["libloading"],
    &["uuid"],
    &["rand"],
    &["getrandom"],
    &["kube", "Client"],
    &["kube", "Api"],
    &["kube", "Config"],
    &["kube", "client"],
    &["kube", "api"],
    &["kube", "config"],
    &["kube", "runtime"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

/// The same by the end of a path, however it was imported.
const IMPURE_CALLS: &[[&str; 2]] = &[
    ["Timestamp", "now"],
    ["Zoned", "now"],
    ["Instant", "now"],
    ["SystemTime", "now"],
    ["Uuid", "new_v4"],
];

/// Layers that do not know Kubernetes.
const NO_KUBERNETES: &[&str] = &[
    "data",
    "settings",
    "door",
    "simulated",
    "simulated client",
    "rados",
    "monitor",
    "planning",
    "work",
];

/// Libraries that stand behind a module.
const AT_HOME: &[(&str, &[&str])] = &[
    ("libloading", &["ceph::rados"]),
    ("serde_yaml", &["api::yaml"]),
    ("schemars", &["api"]),
    ("clap", &["cli", "telemetry"]),
    ("axum", &["health", "rest"]),
    ("axum_server", &["rest"]),
    ("moka", &["rest"]),
    ("rustls", &["rest"]),
    ("utoipa", &["rest"]),
    ("utoipa_axum", &["rest"]),
    ("prometheus_client", &["metrics"]),
    ("tracing_subscriber", &["telemetry"]),
    ("tower", &["controller::fence", "rest::accept"]),
    ("http", &["controller::fence"]),
];

/// Longer files hold more than one thing.
const LONGEST: usize = 600;

fn is_below(module: &str, top: &str) -> bool {
    module == top
        || module
            .strip_prefix(top)
            .is_some_and(|rest| rest.starts_with("::"))
}

/// A module's layer and the name by which it has it.
fn layer(module: &str) -> Option<(&'static str, &'static str)> {
    let fitting = LAYERS.iter().filter(|(top, _)| is_below(module, top));
    fitting
        .max_by_key(|(top, _)| top.len())
        .map(|(top, layer)| (*layer, *top))
}

fn may_use(from: &str, to: &str) -> bool {
    let allowed = MAY_USE.iter().find(|(layer, _)| *layer == from);
    from == to || from == "cli" || allowed.is_some_and(|(_, allowed)| allowed.contains(&to))
}

/// The module of ours that a path leads into.
fn target(segments: &[String], modules: &BTreeSet<String>) -> Option<String> {
    let (first, rest) = segments.split_first()?;
    if first != "crate" {
        return None;
    }
    (1..=rest.len())
        .rev()
        .map(|length| rest[..length].join("::"))
        .find(|name| modules.contains(name))
}

/// Everything that is wrong with a file.
fn violations(source: &Source, modules: &BTreeSet<String>) -> Vec<String> {
    let module = source.module();
    let mut wrong = Vec::new();
    if !source.text.starts_with("//!") {
        wrong.push(format!("{}: does not begin with what it is", source.path));
    }
    let lines = source.text.lines().count();
    if lines > LONGEST {
        wrong.push(format!("{}: {lines} lines", source.path));
    }
    for (line, word) in source.words() {
        if (word == "unsafe" || word == "unsafe_code") && module != "ceph::rados::ffi" {
            wrong.push(format!("{}:{line}: {word}", source.path));
        }
    }
    if source.is_test() {
        return wrong;
    }
    for line in source.inline_modules() {
        wrong.push(format!("{}:{line}: a module inside of a file", source.path));
    }
    let Some((own, _)) = layer(&module) else {
        // The roots only list what is below them.
        let said = source
            .named()
            .into_iter()
            .find_map(|named| target(&named.segments, modules));
        if !["", "ceph", "request"].contains(&module.as_str()) {
            wrong.push(format!("{}: no layer", source.path));
        } else if let Some(said) = said.filter(|said| *said != module) {
            wrong.push(format!("{}: a root that uses {said}", source.path));
        }
        return wrong;
    };
    for named in source.named() {
        let segments: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        let path = segments.join("::");
        let mut says =
            |what: &str| wrong.push(format!("{}:{}: {what}: {path}", source.path, named.line));
        if let Some(used) = target(&named.segments, modules) {
            match layer(&used) {
                None => says("a root is no address"),
                Some((layer, _)) if !may_use(own, layer) => {
                    says(&format!("{own} may not use {layer}"));
                }
                Some(_) => {}
            }
        }
        let impure = IMPURE.iter().any(|ban| segments.starts_with(ban))
            || IMPURE_CALLS.iter().any(|call| segments.ends_with(call));
        if impure && PURE.contains(&own) {
            says(&format!("{own} is pure"));
        }
        if ["kube", "k8s_openapi"].contains(&segments[0])
            && segments.len() > 1
            && NO_KUBERNETES.contains(&own)
        {
            says(&format!("{own} does not know Kubernetes"));
        }
        let home = AT_HOME.iter().find(|(library, _)| *library == segments[0]);
        if let Some((library, homes)) = home
            && segments.len() > 1
            && !homes.iter().any(|home| is_below(&module, home))
        {
            says(&format!("{library} stands behind {}", homes.join(" and ")));
        }
    }
    wrong
}

fn modules(sources: &[Source]) -> BTreeSet<String> {
    sources
        .iter()
        .map(Source::module)
        .filter(|module| !module.is_empty())
        .collect()
}

/// Which of these use which, outside of tests.
fn uses(
    sources: &[Source],
    node: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(sources);
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(from) = node(&source.module()) else {
            continue;
        };
        let named = source.named().into_iter();
        let reached = named.filter_map(|named| node(&target(&named.segments, &modules)?));
        uses.entry(from.clone())
            .or_default()
            .extend(reached.filter(|to| *to != from));
    }
    uses
}

/// Whoever can come back to itself.
fn cycles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let comes_back = |start: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for next in uses.get(at).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    uses.keys()
        .filter(|start| comes_back(start))
        .cloned()
        .collect()
}

/// The first part of a module's name.
fn top(module: &str) -> Option<String> {
    module
        .split("::")
        .next()
        .filter(|top| !top.is_empty())
        .map(str::to_owned)
}

/// The name by which a pure module has its layer.
fn pure_part(module: &str) -> Option<String> {
    layer(module)
        .filter(|(layer, _)| PURE.contains(layer))
        .map(|(_, name)| name.to_owned())
}

/// Every file keeps to its layer, says what it is, is not too long, and is safe Rust but for the one door to C.
#[test]
fn layers_are_kept() {
    let sources = sources();
    let modules = modules(&sources);
    let wrong: Vec<String> = sources
        .iter()
        .flat_map(|source| violations(source, &modules))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sources.len() > 50, "the sources were found");
}

/// No two parts of the program use each other, and no two pure modules either.
#[test]
fn nothing_goes_in_circles() {
    let sources = sources();
    assert_eq!(cycles(&uses(&sources, top)), [""; 0]);
    assert_eq!(cycles(&uses(&sources, pure_part)), [""; 0]);
}

/// The layers are those that the library's root tells.
#[test]
fn every_layer_exists() {
    let modules = modules(&sources());
    for (module, layer) in LAYERS {
        assert!(modules.contains(*module), "{module} is not there");
        assert!(
            *layer == "cli" || MAY_USE.iter().any(|(known, _)| known == layer),
            "{layer}"
        );
    }
    for home in AT_HOME.iter().flat_map(|(_, homes)| *homes) {
        assert!(modules.contains(*home), "{home} is not there");
    }
}
