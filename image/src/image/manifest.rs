//! `manifest.json`: every output with its bytes and SHA-256, what it was made from, and how full it is; and `SHA256SUMS`, the same for a program
//! everybody has.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::image::gates::Fill;
use crate::image::{digest, files};

/// Version of the manifest's own format.
const FORMAT: u32 = 1;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OutputKind {
    /// The disk, ready for `dd`.
    Raw,
    /// The same, compressed: the download.
    RawZst,
    /// For virtual machines.
    Qcow2,
    /// The root file system as an OCI archive.
    Oci,
    /// The kernel image of the slot.
    Uki,
    /// Bill of materials.
    Sbom,
}

impl OutputKind {
    /// How its file name ends.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            OutputKind::Raw => ".raw",
            OutputKind::RawZst => ".raw.zst",
            OutputKind::Qcow2 => ".qcow2",
            OutputKind::Oci => ".oci.tar",
            OutputKind::Uki => ".uki.efi",
            OutputKind::Sbom => ".spdx.json",
        }
    }
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// Beside the manifest.
    pub(crate) file: String,
    /// What it is.
    pub(crate) kind: OutputKind,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its hash.
    pub(crate) sha256: String,
}

impl Output {
    /// Measures a file.
    pub(crate) fn of(path: &Path, kind: OutputKind) -> Result<Self> {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let file = file.with_context(|| format!("{} has no name", path.display()))?;
        Ok(Self { file, kind, bytes: files::length(path)?, sha256: digest::of_file(path)? })
    }
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of this format.
    pub(crate) format: u32,
    /// Of the appliance.
    pub(crate) version: String,
    /// `release` or `debug`.
    pub(crate) variant: String,
    /// The commit, `-dirty` with changes; nothing outside git.
    pub(crate) commit: Option<String>,
    /// Time in the image (`SOURCE_DATE_EPOCH`), Unix seconds.
    pub(crate) source_date_epoch: u64,
    /// Signed with keys this tool made; no device of a customer may trust them.
    pub(crate) development_keys: bool,
    /// Everything that went in, hashed: the same inputs are not built again.
    pub(crate) inputs: String,
    /// What verifies the root file system.
    pub(crate) root_hash: String,
    /// Root file system in its slot.
    pub(crate) root: Fill,
    /// Kernel image in the ESP.
    pub(crate) esp: Fill,
    /// Gates that were broken and built past (`--keep-going`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) broken_gates: Vec<String>,
    /// Everything that can be given away.
    pub(crate) outputs: Vec<Output>,
}

impl Manifest {
    /// Format of manifests made now.
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Reads one; `None` when there is none, or none of this format.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (manifest.format == FORMAT).then_some(manifest)
    }

    /// Writes it, and `SHA256SUMS` beside it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().context("a manifest lies in a folder")?;
        files::write(&folder.join("SHA256SUMS"), self.sums().as_bytes())?;
        files::write(path, (serde_json::to_string_pretty(self)? + "\n").as_bytes())
    }

    /// In the format of `sha256sum --check`.
    pub(crate) fn sums(&self) -> String {
        self.outputs.iter().map(|output| format!("{}  {}\n", output.sha256, output.file)).collect()
    }

    /// An output of a kind.
    pub(crate) fn output(&self, kind: OutputKind) -> Option<&Output> {
        self.outputs.iter().find(|output| output.kind == kind)
    }

    /// The output of a kind if it lies in `folder` as it was made; by its length, as hashing takes as long as making it.
    pub(crate) fn still_there(&self, kind: OutputKind, folder: &Path) -> Option<&Output> {
        self.output(kind)
            .filter(|output| std::fs::metadata(folder.join(&output.file)).is_ok_and(|it| it.len() == output.bytes))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    pub(crate) fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            version: "0.1.0".to_owned(),
            variant: "debug".to_owned(),
            commit: Some("0123456789ab".to_owned()),
            source_date_epoch: 1_700_000_000,
            development_keys: true,
            inputs: "aa".repeat(32),
            root_hash: "bb".repeat(32),
            root: Fill::new(1, 10),
            esp: Fill::new(1, 10),
            broken_gates: Vec::new(),
            outputs: Vec::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_sums_check() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tbi.raw"), b"disk").unwrap();
        let mut manifest = manifest();
        manifest.outputs.push(Output::of(&home.path().join("tbi.raw"), OutputKind::Raw).unwrap());
        let path = home.path().join("manifest.json");
        manifest.write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), manifest);
        let check = std::process::Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(home.path())
            .output()
            .unwrap();
        assert!(check.status.success(), "{check:?}");
    }

    #[test]
    fn an_output_that_changed_its_length_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tbi.raw"), b"disk").unwrap();
        let mut manifest = manifest();
        manifest.outputs.push(Output::of(&home.path().join("tbi.raw"), OutputKind::Raw).unwrap());
        assert!(manifest.still_there(OutputKind::Raw, home.path()).is_some());
        std::fs::write(home.path().join("tbi.raw"), b"cut").unwrap();
        assert!(manifest.still_there(OutputKind::Raw, home.path()).is_none());
    }

    #[test]
    fn a_manifest_of_another_format_is_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("manifest.json");
        let other = Manifest { format: FORMAT + 1, ..manifest() };
        other.write(&path).unwrap();
        assert!(Manifest::read(&path).is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(Manifest::read(&path).is_none());
    }
}
