//! The generated pages under `docs/` say what the code says.

use std::fmt::Write as _;
use std::path::Path;

use poolwright::api::conditions::Reason;

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

/// `docs/conditions.md` is generated.
#[test]
fn conditions_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conditions.md");
    let page = conditions_page();
    if std::env::var_os("POOLWRIGHT_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/conditions.md is not what the code says; write it anew with POOLWRIGHT_WRITE_DOCS=1 make test-pure"
    );
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
