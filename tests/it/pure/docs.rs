//! The generated pages under `docs/` say what the code says.

use std::fmt::Write as _;
use std::path::Path;

use poolwright::api::conditions::Reason;
use poolwright::ceph::settings::{Danger, NOT_SET, PoolKind, Removal, SETTINGS};

fn conditions_page() -> String {
    let mut page = String::from(
        "# Conditions\n\n\
         `Ready` is the one summary: True means that Ceph holds what the spec of this generation asks for. `Reconciling` and\n\
         `Stalled` are there only while they are True: the one says that work goes on by itself, the other that nothing more\n\
         happens until the spec, an annotation, a grant or the cluster changes. `DeletionBlocked` says why a deleted object is\n\
         still there. Reasons are not renamed; this page is generated from the code, and a test keeps it so\n\
         (`POOLWRIGHT_WRITE_DOCS=1 make test-pure` writes it anew).\n\n\
         | reason | what it means | what to do |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            page,
            "| `{}` | {} | {} |",
            reason.as_str(),
            cell(reason.meaning()),
            cell(reason.remedy())
        )
        .unwrap();
    }
    page
}

fn settings_page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Every variable of a pool that a `CephPool` can set: its field in the spec, or its name under `spec.parameters` (values\n\
         in quotes). Only what a manifest names is managed. What is taken out of the manifest is unset where Ceph can unset it,\n\
         and otherwise let go: it stays as it is and is no longer looked after. This page is generated from the settings table,\n\
         and a test keeps it so (`POOLWRIGHT_WRITE_DOCS=1 make test-pure` writes it anew).\n\n\
         | field | variable in Ceph | values | pools | from Ceph | taken out | what it does |\n|---|---|---|---|---|---|---|\n",
    );
    for row in SETTINGS {
        let pools = match row.only {
            None => "all",
            Some(PoolKind::Replicated) => "replicated",
            Some(PoolKind::Erasure) => "erasure-coded",
        };
        let removal = match row.removal {
            Removal::Unset(_) => "unset",
            Removal::Released => "let go",
            Removal::Irreversible => "let go; it cannot be turned off",
        };
        let danger = match row.danger {
            Danger::Mild => "",
            Danger::Grave => " **A grant has to name it.**",
        };
        writeln!(
            page,
            "| `{}` | `{}` | {} | {pools} | {} | {removal} | {}{danger} |",
            row.field, row.variable, row.kind, row.since, row.meaning
        )
        .unwrap();
    }
    page.push_str(
        "\nOf the other variables that `ceph osd pool set` takes, none is set by Poolwright:\n\n",
    );
    for (variables, why) in NOT_SET {
        writeln!(page, "* `{}`: {why}", variables.join("`, `")).unwrap();
    }
    page
}

/// Compares a generated page with the file, which it writes where that is asked for.
fn is_up_to_date(file: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("POOLWRIGHT_WRITE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{file} is not what the code says; write it anew with POOLWRIGHT_WRITE_DOCS=1 make test-pure"
    );
}

/// `docs/conditions.md` is generated.
#[test]
fn conditions_are_documented() {
    is_up_to_date("docs/conditions.md", &conditions_page());
}

/// `docs/settings.md` is generated.
#[test]
fn settings_are_documented() {
    is_up_to_date("docs/settings.md", &settings_page());
}

/// The tests that `docs/life-cycle.md` names are there.
#[test]
fn the_tests_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/life-cycle.md")).unwrap();
    let named: Vec<&str> = page
        .split('`')
        .filter(|part| part.starts_with("real::") || part.starts_with("pure::"))
        .filter(|part| !part.ends_with('…'))
        .collect();
    assert!(!named.is_empty());
    for name in named {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = root.join(format!("tests/it/{}.rs", module.replace("::", "/")));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains(&format!("fn {test}(")), "{name}");
    }
}
