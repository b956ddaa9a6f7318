//! What the image takes from this tree, laid out as it will lie in it: our programs, our units, a bill of our crates, and who built it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::succeed;
use crate::image::{Variant, files};
use crate::workspace::Workspace;

/// Our programs on the appliance; package and binary have the same name.
pub(crate) const PROGRAMS: [&str; 6] =
    ["tbi-agent", "tbi-engine", "tbi-personas", "tbi-practice-dut", "tbi-console", "tbi-dashboard"];
/// Where they lie in the image.
const HOME: &str = "usr/lib/tlsstress";

/// What is said about the build inside the image.
pub(crate) struct About<'a> {
    pub(crate) variant: Variant,
    pub(crate) version: &'a str,
    pub(crate) commit: Option<&'a str>,
    /// Bill of materials of our programs.
    pub(crate) sbom: &'a str,
}

/// Builds the programs in release. cargo shows its progress.
pub(crate) fn build_programs(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked"]);
    if let Some(commit) = workspace.commit() {
        // The agent writes it into every record.
        cargo.env("TBI_COMMIT", commit);
    }
    for program in PROGRAMS {
        cargo.args(["--package", program, "--bin", program]);
    }
    succeed(&mut cargo)
}

/// Lays everything out in `stage`, which is emptied first; our programs lie in `programs`.
pub(crate) fn stage(workspace: &Workspace, programs: &Path, stage: &Path, about: &About<'_>) -> Result<()> {
    files::make_empty(stage)?;
    let home = stage.join(HOME);
    files::make(&home)?;
    for program in PROGRAMS {
        let target = home.join(program);
        let source = programs.join(program);
        fs::copy(&source, &target).with_context(|| format!("cannot take {}; is it built?", source.display()))?;
        if about.variant == Variant::Debug {
            // Programs that come from the tests carry lines of their sources, which nobody reads there and every boot would verify.
            succeed(Command::new("strip").arg("--strip-debug").arg(&target))?;
        }
        mode(&target, 0o755)?;
    }
    let units = workspace.root().join("units");
    if units.is_dir() {
        // units/ mirrors the paths below /usr/lib.
        files::copy_tree(&units, &stage.join("usr/lib"))?;
    }
    files::write(&home.join("os-release"), os_release(about).as_bytes())?;
    files::write(&home.join("sbom.spdx.json"), about.sbom.as_bytes())?;
    // An image must not depend on the umask of who builds it.
    for file in files::walk(stage)? {
        let path = stage.join(&file);
        if path.is_symlink() {
            continue;
        }
        let executable = fs::metadata(&path).is_ok_and(|it| it.permissions().mode() & 0o100 != 0);
        mode(&path, if executable { 0o755 } else { 0o644 })?;
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != stage) {
            mode(parent, 0o755)?;
        }
    }
    mode(stage, 0o755)
}

/// Lines for the image's os-release, beside what Debian and mkosi write there.
fn os_release(about: &About<'_>) -> String {
    let commit = about.commit.map_or(String::new(), |commit| format!("BUILD_ID={commit}\n"));
    format!("VARIANT_ID={}\nTBI_VERSION={}\n{commit}", about.variant.name(), about.version)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot protect {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_says_who_built_it() {
        let about = About { variant: Variant::Debug, version: "0.1.0", commit: Some("abc-dirty"), sbom: "{}" };
        assert_eq!(os_release(&about), "VARIANT_ID=debug\nTBI_VERSION=0.1.0\nBUILD_ID=abc-dirty\n");
        assert!(!os_release(&About { commit: None, ..about }).contains("BUILD_ID"));
    }
}
