//! The command line: what is printed, and the exit codes that scripts go by.

mod permissions;
mod plan;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use poolwright::api::{crd, yaml};
use poolwright::cli::{self, CHANGES, FAILED, OK, Streams};
use serde_json::Value;

/// What a command printed, and its exit code.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

/// Runs a command in the repository's root, as `cargo test` does.
fn run(arguments: &[&str], stdin: &str) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut stdin.as_bytes(),
        out: &mut out,
        err: &mut err,
    };
    let code = cli::main(["poolwright"].iter().chain(arguments), &mut streams);
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// What cannot be read is said with the reason, and is exit code 1: never 2, which means changes.
#[test]
fn mistakes() {
    let manifest = "tests/it/data/in-sync.yaml";
    for (arguments, expected) in [
        (&["plan"][..], "--filename <FILE>"),
        (
            &["plan", "-f", manifest],
            "--conf <CEPH_CONF>|--osd-map <DUMP>",
        ),
        (
            &["plan", "-f", manifest, "--conf", "a", "--osd-map", "b"],
            "cannot be used with",
        ),
        (
            &["plan", "-f", manifest, "--conf", "a", "--crush-map", "b"],
            "cannot be used with",
        ),
        (
            &["plan", "-f", manifest, "--osd-map", "b", "--user", "c"],
            "cannot be used with",
        ),
        (
            &["plan", "-f", manifest, "--osd-map", "none.json"],
            "cannot read none.json: No such file",
        ),
        (
            &["plan", "-f", manifest, "--osd-map", manifest],
            "is not the JSON of an OSD map",
        ),
        (
            &[
                "plan",
                "-f",
                manifest,
                "--osd-map",
                "b",
                "--instance-id",
                "a/b",
            ],
            "letters, digits",
        ),
        (
            &["permissions", "-f", "none.yaml"],
            "none.yaml: No such file",
        ),
        (&["plans"], "unrecognized subcommand"),
        (&["run", "--http-addr", "nowhere"], "invalid socket address"),
        (
            &["run", "--log-level", "poolwright=loud"],
            "log level \"poolwright=loud\"",
        ),
        (&["crds", "--dir", "Cargo.toml"], "cannot write Cargo.toml/"),
    ] {
        let ran = run(arguments, "");
        assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""), "{arguments:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

/// The definitions, printed as one text or written to a folder as they are in `crds/`.
#[test]
fn crds() {
    let ran = run(&["crds"], "");
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    let printed = yaml::documents(&ran.out).unwrap();
    let names: Vec<&str> = printed
        .iter()
        .map(|crd| crd["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "clusterconnections.poolwright.dev",
            "cephpools.poolwright.dev",
            "cephrequests.poolwright.dev"
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("new/crds");
    let ran = run(&["crds", "--dir", below.to_str().unwrap()], "");
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    assert_eq!(ran.out.lines().count(), names.len());
    for definition in crd::crds() {
        let name = crd::file_name(&definition);
        let written = std::fs::read_to_string(below.join(&name)).unwrap();
        assert_eq!(
            written,
            std::fs::read_to_string(Path::new("crds").join(name)).unwrap()
        );
    }
}

/// The version names the commit and the library, or says why there is none.
#[test]
fn version() {
    let ran = run(&["version"], "");
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    let mut lines = ran.out.lines();
    let first = format!("poolwright {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines.next(), Some(first.as_str()));
    assert_eq!(
        lines.next(),
        Some(format!("commit     {}", cli::COMMIT).as_str())
    );
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("librados   "))
    );
    assert_eq!(run(&["--version"], "").out.trim_end(), first);
    assert_eq!(run(&["--help"], "").code, OK);
}

/// Runs the program itself.
fn program(arguments: &[&str], library: &str, stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_poolwright"))
        .args(arguments)
        .env("POOLWRIGHT_LIBRADOS", library)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The program gives the codes to the shell, reads its own standard input, and needs no librados for that.
#[test]
fn the_program_itself() {
    let offline = [
        "plan",
        "-f",
        "-",
        "--osd-map",
        "tests/it/data/osd-dump.json",
    ];
    let missing = "/nowhere/librados.so";
    for (file, code) in [
        ("in-sync.yaml", OK),
        ("changes.yaml", CHANGES),
        ("refused.yaml", FAILED),
    ] {
        let text = std::fs::read_to_string(Path::new("tests/it/data").join(file)).unwrap();
        let (ended, out, _) = program(&offline, missing, &text);
        assert_eq!(ended, Some(code.into()), "{file}: {out}");
    }
    let (ended, out, _) = program(&["version"], missing, "");
    assert_eq!(ended, Some(OK.into()));
    assert!(
        out.contains("librados   not found: /nowhere/librados.so: "),
        "{out}"
    );
    let manifest = "tests/it/data/in-sync.yaml";
    let (ended, out, err) = program(
        &["plan", "-f", manifest, "--conf", "ceph.conf"],
        missing,
        "",
    );
    assert_eq!((ended, out.as_str()), (Some(FAILED.into()), ""));
    assert!(
        err.contains("librados is not available: /nowhere/librados.so: "),
        "{err}"
    );
}

/// The controller that cannot start ends with 1 and says why in its log, in the format that was asked for.
#[test]
fn a_controller_without_a_cluster_ends() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwright"));
    command
        .args(["run", "--log-format", "json", "--http-addr", "127.0.0.1:0"])
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .env("HOME", "/nowhere")
        .env_remove("RUST_LOG")
        .env_remove("KUBERNETES_SERVICE_HOST");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(FAILED.into()));
    assert!(output.stdout.is_empty());
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("Kubernetes API server"), "{message}");
}
