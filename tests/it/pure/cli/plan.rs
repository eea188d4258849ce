//! `plan` against a recorded cluster: what it prints, what it refuses, and its exit code.

use poolwright::api::{validate, yaml};
use poolwright::cli::{CHANGES, FAILED, OK};
use serde_json::Value;

use super::{Ran, run};

/// `plan` of a file in `data/` against the recorded cluster.
fn plan(file: &str, more: &[&str]) -> Ran {
    let file = format!("tests/it/data/{file}");
    let mut arguments = vec!["plan", "-f", &file];
    arguments.extend(["--osd-map", "tests/it/data/osd-dump.json"]);
    arguments.extend(["--crush-map", "tests/it/data/crush-dump.json"]);
    arguments.extend(more);
    run(&arguments, "")
}

/// The manifest of a replicated pool with this beside what it needs.
fn pool(name: &str, connection: &str, more: &str) -> String {
    format!(
        "{{apiVersion: poolwright.dev/v1alpha1, kind: CephPool, metadata: {{name: {name}}}, \
         spec: {{connectionRef: {{name: {connection}}}, type: Replicated, applications: [{{name: rbd}}], {more}}}}}"
    )
}

/// `plan` of standard input against the recorded OSD map alone.
fn plan_stdin(text: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "plan",
        "-f",
        "-",
        "--osd-map",
        "tests/it/data/osd-dump.json",
    ];
    arguments.extend(more);
    run(&arguments, text)
}

/// Nothing to do: exit code 0.
#[test]
fn in_sync() {
    let ran = plan("in-sync.yaml", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    insta::assert_snapshot!("in_sync_text", ran.out);
    let ran = plan("in-sync.yaml", &["-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (OK, ""));
    insta::assert_snapshot!("in_sync_json", ran.out);
}

/// Something to do: exit code 2, the rounds as a person would type them, and the same for programs.
#[test]
fn changes() {
    let ran = plan("changes.yaml", &[]);
    assert_eq!(ran.code, CHANGES);
    assert_eq!(
        ran.err,
        "tests/it/data/changes.yaml: Namespace default/team-a: left out, not of poolwright.dev\n"
    );
    insta::assert_snapshot!("changes_text", ran.out);
    let json = plan("changes.yaml", &["-o", "json"]);
    assert_eq!(json.code, CHANGES);
    insta::assert_snapshot!("changes_json", json.out);
    let as_yaml = plan("changes.yaml", &["-o", "yaml"]);
    assert_eq!(as_yaml.code, CHANGES);
    insta::assert_snapshot!("changes_yaml", as_yaml.out);
    let documents = yaml::documents(&as_yaml.out).unwrap();
    assert_eq!(
        documents,
        [serde_json::from_str::<Value>(&json.out).unwrap()]
    );
}

/// Refusals: exit code 1, with reason and message, for every pool that has one; the others are planned all the same.
#[test]
fn refusals() {
    let ran = plan("refused.yaml", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (FAILED, ""));
    insta::assert_snapshot!("refusals_text", ran.out);
    let ran = plan("refused.yaml", &["-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (FAILED, ""));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let refused = &report["pools"][0];
    assert_eq!(refused["inSync"], false);
    assert_eq!(refused["rounds"].as_array().map(Vec::len), Some(0));
    assert_eq!(refused["refusals"][0]["reason"], "PoolExists");
    assert_eq!(refused["refusals"][0]["field"], "poolName");
}

/// An object as it comes from a cluster: its record counts, so what left the manifest is unset.
#[test]
fn from_kubectl() {
    let ran = plan("from-kubectl.yaml", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (CHANGES, ""));
    insta::assert_snapshot!(ran.out);
}

/// Marks are compared with the instance that is given; without one there is a hint.
#[test]
fn instances() {
    let ran = plan("in-sync.yaml", &["--instance-id", "east-1"]);
    assert_eq!(ran.code, FAILED);
    assert!(
        ran.out
            .contains("OwnedByAnother: poolName: pool scratch (id 10)"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("--instance-id"));
    let mark = r#""poolwright":"cli/"#;
    let dump = std::fs::read_to_string("tests/it/data/osd-dump.json").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("dump.json");
    std::fs::write(&other, dump.replace(mark, r#""poolwright":"east-1/"#)).unwrap();
    let other = other.to_str().unwrap();
    let manifest = "tests/it/data/in-sync.yaml";
    let ran = run(&["plan", "-f", manifest, "--osd-map", other], "");
    assert_eq!(ran.code, FAILED);
    assert!(
        ran.out
            .contains("--instance-id \"$(kubectl get namespace kube-system"),
        "{}",
        ran.out
    );
    let ran = run(
        &[
            "plan",
            "-f",
            manifest,
            "--osd-map",
            other,
            "--instance-id",
            "east-1",
        ],
        "",
    );
    assert_eq!(ran.code, OK, "{}", ran.out);
}

/// What the cluster holds cannot break out of a comment.
#[test]
fn one_line_stays_one_line() {
    let dump = std::fs::read_to_string("tests/it/data/osd-dump.json").unwrap();
    let odd = r#""poolwright.object":"default/vm\nrm -rf x"#;
    let dump = dump.replace(r#""poolwright.object":"default/vm-images"#, odd);
    assert!(dump.contains(odd));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.json");
    std::fs::write(&path, dump).unwrap();
    let manifest = pool("thief", "main", "replicated: {}, poolName: vm-images");
    let ran = run(
        &["plan", "-f", "-", "--osd-map", path.to_str().unwrap()],
        &manifest,
    );
    assert_eq!(ran.code, FAILED);
    assert!(ran.out.contains(r"default/vm\nrm -rf x"), "{}", ran.out);
}

/// Every bad manifest is refused offline, with the sentence that the API server gives.
#[test]
fn bad_manifests() {
    let mut checked = 0;
    for entry in std::fs::read_dir("tests/it/manifests/bad").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# expect: "))
            .unwrap();
        let path = path.to_str().unwrap();
        let ran = run(
            &[
                "plan",
                "-f",
                path,
                "--osd-map",
                "tests/it/data/osd-dump.json",
            ],
            "",
        );
        assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""), "{path}");
        let prefix = format!("{path}: ");
        let mut lines = ran.err.lines();
        assert!(
            lines.clone().all(|line| line.starts_with(&prefix)),
            "each line names the file:\n{}",
            ran.err
        );
        assert!(
            lines.any(|line| line.contains(expected)),
            "{path}: expected {expected:?} in\n{}",
            ran.err
        );
        checked += 1;
    }
    assert!(checked >= 40, "{checked} bad manifests");
}

/// All problems of all files are said, each with file, object and field; nothing stops at the first.
#[test]
fn all_problems_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "a.yaml",
        &pool(
            "foo",
            "main",
            "replicated: {size: 0}, minSize: 0, poolname: foo",
        ),
    );
    write("b.yml", "a: [");
    write(
        "c.json",
        r#"{"apiVersion": "poolwright.dev/v1alpha1", "kind": "ClusterConnection", "metadata": {"name": "main"}}"#,
    );
    write(
        "d.yaml",
        &format!("{0}\n---\n{0}", pool("foo", "main", "replicated: {}")),
    );
    write("notes.txt", "not a manifest");
    let folder = folder.path().to_str().unwrap();
    let arguments = [
        "plan",
        "-f",
        folder,
        "-f",
        "missing.yaml",
        "--osd-map",
        "missing.json",
    ];
    let ran = run(&arguments, "");
    assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""));
    insta::assert_snapshot!(ran.err.replace(folder, "DIR"));
}

/// One plan is for one cluster.
#[test]
fn connections() {
    let (a, b) = (
        pool("a", "east", "replicated: {}"),
        pool("b", "west", "replicated: {}"),
    );
    let text = format!("{a}\n---\n{b}");
    let ran = plan_stdin(&text, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""));
    assert!(
        ran.err.contains("(east, west)") && ran.err.contains("--connection"),
        "{}",
        ran.err
    );
    let ran = plan_stdin(&text, &["--connection", "west"]);
    assert_eq!(ran.code, CHANGES);
    assert!(
        ran.out.contains("default/b") && !ran.out.contains("default/a "),
        "{}",
        ran.out
    );
    let ran = plan_stdin(&text, &["--connection", "north"]);
    assert_eq!((ran.code, ran.out.as_str()), (FAILED, ""));
    assert_eq!(
        ran.err,
        "error: there is no CephPool of connection north in what -f names\n"
    );
    let nothing = "{apiVersion: v1, kind: List, items: []}";
    let ran = plan_stdin(nothing, &[]);
    assert_eq!(ran.err, "error: there is no CephPool in what -f names\n");
}

/// The examples are valid, and can be planned.
#[test]
fn examples() {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir("examples").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for document in yaml::documents(&text).unwrap() {
            let kind = document["kind"].as_str().unwrap().to_owned();
            if document["apiVersion"] == "poolwright.dev/v1alpha1" {
                let verdict = validate::validate(&document);
                assert!(verdict.is_ok(), "{}: {verdict:?}", path.display());
            }
            kinds.push(kind);
        }
    }
    kinds.sort();
    let pools = kinds.iter().filter(|kind| *kind == "CephPool").count();
    assert!(
        pools >= 4 && kinds.contains(&"ClusterConnection".to_owned()),
        "{kinds:?}"
    );
    let dump = "tests/it/data/osd-dump.json";
    let ran = run(&["plan", "-f", "examples", "--osd-map", dump], "");
    assert_eq!(ran.code, CHANGES, "{}{}", ran.out, ran.err);
    assert!(
        ran.err
            .lines()
            .all(|line| line.ends_with("left out, not of poolwright.dev")),
        "{}",
        ran.err
    );
}
