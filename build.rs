//! Finds the commit that is built, for `poolwright version`: `POOLWRIGHT_COMMIT`, else what git's HEAD names, else `unknown`.
//!
//! git's own files are read, so that no git is needed where there is a `.git`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    // With at least one of these lines, cargo no longer looks at every file of the package.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=POOLWRIGHT_COMMIT");
    let commit = env::var("POOLWRIGHT_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(from_git);
    println!(
        "cargo::rustc-env=POOLWRIGHT_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

/// The commit of git's HEAD, where this is a git working tree with a commit.
fn from_git() -> Option<String> {
    let own = git_folder(&PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).join(".git"))?;
    // A linked working tree has its own HEAD and shares the rest.
    let shared = fs::read_to_string(own.join("commondir"))
        .map_or_else(|_| own.clone(), |path| own.join(path.trim()));
    let head = watched(&own.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    // A commit writes the reference's file, which may not be there before.
    watch(&shared.join("refs/heads"));
    watched(&shared.join(reference)).or_else(|| {
        let packed = watched(&shared.join("packed-refs"))?;
        packed
            .lines()
            .find_map(|line| line.strip_suffix(reference)?.strip_suffix(' '))
            .map(str::to_owned)
    })
}

/// `.git` itself, or what it names where it is a file.
fn git_folder(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let named = watched(path)?;
    Some(path.parent()?.join(named.strip_prefix("gitdir: ")?))
}

/// A file's text without the end of its last line; building again when it changes.
fn watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    watch(path);
    Some(text.trim_end().to_owned())
}

/// Builds again when this changes. One that is not there would be taken for changed each time.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}
