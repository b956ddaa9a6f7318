//! What is made from the disk image mkosi left: download, virtual disk, OCI archive, bill of materials. Each can be made again without mkosi.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::{output_of, say};
use crate::image::disk::{Disk, Kind};
use crate::image::manifest::{Manifest, Output, OutputKind};
use crate::image::spdx::{self, Bill, Crate, DebianPackage, Described};
use crate::image::stage::PROGRAMS;
use crate::image::steps::Steps;
use crate::image::tools::Tools;
use crate::image::{Places, files, oci};
use crate::run::civil_from_days;
use crate::workspace::Workspace;

/// Trees in the image.
const TREES: [&str; 3] = [ROOT, "initrd", "isp"];
/// mkosi calls it as it calls the image.
const ROOT: &str = "root";

/// Keeps mkosi's lists of packages of the image it has just built.
pub(crate) fn keep_lists(places: &Places, version: &str) -> Result<()> {
    for tree in TREES {
        let made = match tree {
            ROOT => places.made(version, ".manifest"),
            other => places.work().join(format!("{other}.manifest")),
        };
        let list = fs::read(&made).with_context(|| format!("mkosi left no list of packages in {}", made.display()))?;
        files::write(&places.lists().join(format!("{tree}.json")), &list)?;
    }
    Ok(())
}

/// Makes outputs.
pub(crate) struct Maker<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) places: &'a Places,
    /// mkosi's package cache: the packages as they were installed.
    pub(crate) packages: PathBuf,
    /// What earlier builds found out about packages.
    pub(crate) notes: PathBuf,
    pub(crate) crates: &'a [Crate],
}

impl Maker<'_> {
    /// Makes one output of the image `manifest` describes so far.
    pub(crate) fn make(&self, kind: OutputKind, manifest: &Manifest, steps: &mut Steps) -> Result<Output> {
        let raw = self.places.output(&manifest.version, OutputKind::Raw.ending());
        let path = self.places.output(&manifest.version, kind.ending());
        match kind {
            OutputKind::Raw | OutputKind::Uki => {}
            OutputKind::RawZst => {
                let mut zstd = self.tools.command("zstd");
                zstd.args(["-T0", "-10", "--force", "--quiet", "-o"]).arg(&path).arg(&raw);
                steps.run("compressing the disk image", "zstd", &mut zstd)?;
            }
            OutputKind::Qcow2 => {
                let mut qemu = self.tools.command("qemu-img");
                qemu.args(["convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"])
                    .arg(&raw)
                    .arg(&path);
                steps.run("disk for virtual machines", "qcow2", &mut qemu)?;
            }
            OutputKind::Oci => steps.step("OCI archive of the root file system", || self.oci(&raw, &path, manifest))?,
            OutputKind::Sbom => steps.step("bill of materials", || self.sbom(&path, manifest))?,
        }
        steps.step(&format!("checksum of {}", path.file_name().unwrap_or_default().to_string_lossy()), || {
            Output::of(&path, kind)
        })
    }

    fn oci(&self, raw: &Path, archive: &Path, manifest: &Manifest) -> Result<()> {
        let work = self.places.work();
        let (root, pieces) = (work.join("root"), work.join("oci"));
        let clean = || output_of(self.tools.owning("rm").args(["-rf", "--"]).arg(&root));
        clean()?;
        let start = Disk::open(raw)?.one(Kind::Root)?.start;
        let mut extract = self.tools.owning("fsck.erofs");
        extract.arg(format!("--offset={start}")).arg(format!("--extract={}", root.display())).args([
            "--overwrite",
            "--preserve",
            "--xattrs",
        ]);
        output_of(extract.arg(raw))?;
        let created = rfc3339(manifest.source_date_epoch);
        let about = oci::About {
            version: &manifest.version,
            variant: &manifest.variant,
            commit: manifest.commit.as_deref(),
            epoch: manifest.source_date_epoch,
            created: &created,
        };
        oci::pack(self.tools, &root, &pieces, archive, &about)?;
        clean()?;
        Ok(())
    }

    fn sbom(&self, path: &Path, manifest: &Manifest) -> Result<()> {
        let mut trees = BTreeMap::new();
        for name in TREES {
            let file = self.places.lists().join(format!("{name}.json"));
            let json =
                fs::read(&file).with_context(|| format!("mkosi left no list of packages in {}", file.display()))?;
            let mut packages =
                spdx::from_mkosi(&json).with_context(|| format!("{} is no list of packages", file.display()))?;
            for package in &mut packages {
                package.licences = self.licences(package);
            }
            trees.insert(name, packages);
        }
        let all: Vec<&DebianPackage> = trees.values().flatten().collect();
        let known = all.iter().filter(|package| !package.licences.is_empty()).count();
        say(&format!("  {} Debian packages, licences known of {known}; {} crates", all.len(), self.crates.len()));
        let outputs = manifest.outputs.iter().map(|it| Described { file: &it.file, sha256: &it.sha256 }).collect();
        let created = rfc3339(manifest.source_date_epoch);
        let bill = Bill {
            version: &manifest.version,
            inputs: &manifest.inputs,
            created: &created,
            trees,
            crates: self.crates.to_vec(),
            outputs,
        };
        files::write(path, spdx::render(&bill).as_bytes())
    }

    /// From the copyright file of the package that was installed: the image itself carries no documentation. Empty when not known.
    fn licences(&self, package: &DebianPackage) -> BTreeSet<String> {
        let archive = format!("{}_{}_{}.deb", package.name, package.version.replace(':', "%3a"), package.architecture);
        let note = self.notes.join(&archive);
        if let Ok(text) = fs::read_to_string(&note) {
            return text.lines().map(str::to_owned).collect();
        }
        let archive = self.packages.join("cache/apt/archives").join(&archive);
        if !archive.is_file() {
            return BTreeSet::new();
        }
        let found = copyright(&archive, &package.name).map(|text| spdx::licences(&text)).unwrap_or_default();
        let lines = found.iter().fold(String::new(), |text, name| text + name + "\n");
        // Only time is lost when the note cannot be kept.
        let _again_next_time = files::write(&note, lines.as_bytes());
        found
    }
}

/// The copyright file in a package.
fn copyright(archive: &Path, name: &str) -> Option<String> {
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--fsys-tarfile").arg(archive).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut unpack = unpack.spawn().ok()?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file=-"]).arg(format!("./usr/share/doc/{name}/copyright"));
    let text = tar.stdin(unpack.stdout.take()?).stderr(Stdio::null()).output();
    // tar may be done before the package ends; how unpacking ends says nothing.
    let _reaped = unpack.wait();
    let text = text.ok().filter(|output| output.status.success())?.stdout;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// What cargo says of packages and what each needs.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Crates compiled into our programs on this architecture: what tests and build scripts need is not in them.
pub(crate) fn crates(workspace: &Workspace) -> Result<Vec<Crate>> {
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]);
    let json = output_of(&mut cargo)?;
    let lock = fs::read_to_string(workspace.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    crates_of(&json, &lock)
}

fn crates_of(json: &str, lock: &str) -> Result<Vec<Crate>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let metadata: Metadata = serde_json::from_str(json).context("cargo metadata printed unknown JSON")?;
    let lock: Lock = toml::from_str(lock).context("Cargo.lock has an unknown format")?;
    let sums: BTreeMap<(&str, &str), &str> = lock
        .package
        .iter()
        .filter_map(|it| Some(((it.name.as_str(), it.version.as_str()), it.checksum.as_deref()?)))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut open: Vec<&str> =
        metadata.packages.iter().filter(|it| PROGRAMS.contains(&it.name.as_str())).map(|it| it.id.as_str()).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let shipped = |it: &&Dependency| it.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(
                nodes.get(id).into_iter().flat_map(|node| &node.deps).filter(shipped).map(|it| it.pkg.as_str()),
            );
        }
    }
    let mut crates: Vec<Crate> = metadata
        .packages
        .iter()
        .filter(|package| reached.contains(package.id.as_str()))
        .map(|package| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            licence: package.license.clone(),
            sha256: sums.get(&(package.name.as_str(), package.version.as_str())).map(|sum| (*sum).to_owned()),
        })
        .collect();
    crates.sort();
    Ok(crates)
}

/// `2026-01-31T23:59:59Z` from Unix seconds.
pub(crate) fn rfc3339(unix: u64) -> String {
    let (year, month, day) = civil_from_days(unix / 86_400);
    let second = unix % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_crates_that_end_up_in_programs_are_listed() {
        let json = r#"{"packages":[
            {"id":"1","name":"tbi-agent","version":"0.1.0","license":"Apache-2.0"},
            {"id":"2","name":"serde","version":"1.0.0","license":"MIT"},
            {"id":"3","name":"cc","version":"1.0.0","license":"MIT"},
            {"id":"4","name":"proptest","version":"1.0.0","license":"MIT"}],
            "resolve":{"nodes":[
            {"id":"1","deps":[{"pkg":"2","dep_kinds":[{"kind":null}]},{"pkg":"3","dep_kinds":[{"kind":"build"}]},{"pkg":"4","dep_kinds":[{"kind":"dev"}]}]},
            {"id":"2","deps":[]},{"id":"3","deps":[]},{"id":"4","deps":[]}]}}"#;
        let lock = "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"tbi-agent\"\nversion = \"0.1.0\"\n";
        let crates = crates_of(json, lock).unwrap();
        let found: Vec<_> = crates.iter().map(|it| (it.name.as_str(), it.sha256.as_deref())).collect();
        assert_eq!(found, [("serde", Some("ff")), ("tbi-agent", None)]);
    }

    #[test]
    fn times_are_written_as_everybody_reads_them() {
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
    }
}
