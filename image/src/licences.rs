//! `cargo tbi licences`: writes the list of others' work in our programs, which the page `/about/licences` shows. It is the list that the bill
//! of materials is made of, so that page and bill never differ; a test below holds the committed file to Cargo.lock.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::say;
use crate::image::outputs::crates;
use crate::image::spdx::Crate;
use crate::workspace::Workspace;

/// Where the list is, from the root of the repository.
const FILE: &str = "agent/dashboard/crates.tsv";

/// Write the list of crates in our programs with their licences (after any change of Cargo.lock).
#[derive(Args)]
pub(crate) struct Licences {}

impl Licences {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        let path = file(&workspace);
        let text = listed(&crates(&workspace)?);
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("{} has {} crates", path.display(), text.lines().count() - 1));
        Ok(ExitCode::SUCCESS)
    }
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.root().join(FILE)
}

/// One line for each crate of others: those from a registry, which have a checksum.
fn listed(crates: &[Crate]) -> String {
    let mut text = "# Written by `cargo tbi licences`: name, version, licence.\n".to_owned();
    for one in crates.iter().filter(|one| one.sha256.is_some()) {
        // "MIT/Apache-2.0" is how old crates wrote "OR".
        let licence = one.licence.as_deref().unwrap_or("not stated").replace('/', " OR ");
        text.push_str(&format!("{}\t{}\t{licence}\n", one.name, one.version));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_list_of_licences_is_that_of_cargo_lock() {
        let workspace = Workspace::find().unwrap();
        let kept = std::fs::read_to_string(file(&workspace)).unwrap();
        let made = listed(&crates(&workspace).unwrap());
        let missing: Vec<&str> = made.lines().filter(|line| !kept.lines().any(|other| other == *line)).collect();
        let stale: Vec<&str> = kept.lines().filter(|line| !made.lines().any(|other| other == *line)).collect();
        assert!(kept == made, "run `cargo tbi licences`; missing: {missing:?}, no longer there: {stale:?}");
    }

    #[test]
    fn ours_are_not_others_work_and_old_spellings_are_read() {
        let one = |name: &str, licence: Option<&str>, sha256: Option<&str>| Crate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            sha256: sha256.map(str::to_owned),
        };
        let text = listed(&[
            one("a", Some("MIT/Apache-2.0"), Some("x")),
            one("tbi-agent", Some("Apache-2.0"), None),
            one("b", None, Some("y")),
        ]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["a\t1.0.0\tMIT OR Apache-2.0", "b\t1.0.0\tnot stated"]);
    }
}
