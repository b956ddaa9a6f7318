//! Where things are: the repository, its target directory, the programs built there, and the cargo that started us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The programs a run consists of; their package and binary names are the same.
pub(crate) const DAEMONS: [&str; 5] = ["tbi-agent", "tbi-dashboard", "tbi-engine", "tbi-personas", "tbi-practice-dut"];

/// How programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Checked arithmetic and debug assertions, dependencies optimised: for tests.
    Dev,
    /// For anything that measures.
    Release,
}

/// Paths of this checkout.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and every other way of moving the target directory are obeyed.
    pub(crate) fn find() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(if here.is_dir() { here } else { Path::new(".") })
            .output()
            .context("cargo cannot be started; install Rust from https://rustup.rs")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed unknown JSON")?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory })
    }

    /// Root of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Commit of the checkout, with `-dirty` when the tree has changes; `None` outside git.
    pub(crate) fn commit(&self) -> Option<String> {
        let output = Command::new("git")
            .args(["describe", "--always", "--abbrev=12", "--dirty"])
            .current_dir(&self.root)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    }

    /// Directory for what this tool writes: runs, tables.
    pub(crate) fn output(&self) -> PathBuf {
        self.target.join("tbi")
    }

    /// Directory in which a profile's programs lie.
    pub(crate) fn programs(&self, profile: Profile) -> PathBuf {
        self.target.join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        })
    }

    /// One built program; says how to build it when it is missing.
    pub(crate) fn program(&self, profile: Profile, name: &str) -> Result<PathBuf> {
        let path = self.programs(profile).join(name);
        if !path.is_file() {
            bail!("{} is missing; build it with cargo build --release --package {name}", path.display());
        }
        Ok(path)
    }

    /// A cargo command in the repository.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        command
    }
}

/// The cargo that runs us (it sets `CARGO`), else the one in the path.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
