//! This repository as data: its packages as cargo sees them, its source files, and licence expressions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// `cargo metadata` of our own packages, the parts the rules look at.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Our packages.
    pub packages: Vec<Package>,
    workspace_root: PathBuf,
}

/// One package of ours.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Direct dependencies of every kind.
    pub dependencies: Vec<Dependency>,
    manifest_path: PathBuf,
}

/// One direct dependency.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// Package name.
    pub name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    pub kind: Option<String>,
}

impl Dependency {
    /// Whether it becomes part of what is installed.
    #[must_use]
    pub fn ships(&self) -> bool {
        self.kind.as_deref() != Some("dev")
    }
}

/// A package that is compiled into something of ours, or into its tests.
#[derive(Debug)]
pub struct Compiled {
    /// Name.
    pub name: String,
    /// SPDX expression, as its author wrote it; empty when there is none.
    pub licence: String,
}

impl Metadata {
    /// Top-level directory a package of ours lies in.
    #[must_use]
    pub fn room(&self, package: &Package) -> String {
        let inside = package.manifest_path.strip_prefix(&self.workspace_root).ok();
        inside.and_then(|path| path.iter().next()).map(|room| room.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Directory of a package of ours.
    #[must_use]
    pub fn directory(&self, package: &Package) -> PathBuf {
        package.manifest_path.parent().map(Path::to_owned).unwrap_or_default()
    }
}

/// Root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Our own packages, without the network.
#[must_use]
pub fn metadata() -> Metadata {
    match serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--offline", "--no-deps"])) {
        Ok(metadata) => metadata,
        Err(error) => panic!("cargo metadata: {error}"),
    }
}

/// Every package the features in use switch on. Neither Cargo.lock nor `cargo metadata` would do: both list what *could* be switched on.
#[must_use]
pub fn compiled() -> Vec<Compiled> {
    let tree = cargo(&[
        "tree",
        "--workspace",
        "--offline",
        "--locked",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}|{l}",
    ]);
    let mut lines: Vec<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    let parse = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        Some(Compiled { name: package.split(' ').next()?.to_owned(), licence: licence.to_owned() })
    };
    lines.into_iter().filter_map(parse).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    match cargo.args(arguments).current_dir(root()).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => panic!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("cargo cannot be started: {error}"),
    }
}

/// Every `.rs` file below `directory`, build products left out, sorted.
#[must_use]
pub fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Whether an SPDX expression can be satisfied with the allowed licences alone. `/` is the old way to write `OR`; `AND` binds closer.
#[must_use]
pub fn licence_is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced =
        expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "\u{1}WITH\u{1}");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace('\u{1}', " ")).collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[String], allowed: &[String]) -> bool {
    let mut satisfied = all_of(rest, allowed);
    while rest.first().is_some_and(|word| word == "OR") {
        *rest = &rest[1..];
        satisfied |= all_of(rest, allowed);
    }
    satisfied
}

fn all_of(rest: &mut &[String], allowed: &[String]) -> bool {
    let mut satisfied = one(rest, allowed);
    while rest.first().is_some_and(|word| word == "AND") {
        *rest = &rest[1..];
        satisfied &= one(rest, allowed);
    }
    satisfied
}

fn one(rest: &mut &[String], allowed: &[String]) -> bool {
    let Some((word, after)) = rest.split_first() else { return false };
    *rest = after;
    if word != "(" {
        return allowed.contains(word);
    }
    let satisfied = any_of(rest, allowed);
    match rest.split_first() {
        Some((word, after)) if word == ")" => *rest = after,
        _ => return false,
    }
    satisfied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_licence_expressions() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"].map(String::from);
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "ISC AND (GPL-3.0 OR ISC)",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(licence_is_allowed(good, &allowed), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT AND", "GPL-3.0 OR MIT AND GPL-2.0", "MIT MIT"]
        {
            assert!(!licence_is_allowed(bad, &allowed), "{bad}");
        }
    }
}
