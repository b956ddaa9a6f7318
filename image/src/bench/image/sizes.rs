//! How large things are: outputs by their manifest, the rest by looking into the two root file systems the same way.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::page::Row;
use crate::command::{output_of, say};
use crate::image::bare::{self, Bare};
use crate::image::disk::{Disk, Kind};
use crate::image::manifest::{Manifest, OutputKind};
use crate::image::spdx::DebianPackage;
use crate::image::tools::Tools;
use crate::image::{Places, files, gates};

/// What the build's gates say (image/src/image/gates.rs), in words; whether they are met is asked of the gates themselves.
const DOWNLOAD_BAR: &str = "<= 300 MB";
const ROOT_BAR: &str = "<= 70 %";
const UKI_BAR: &str = "<= 30 %";

/// Takes a tree (`$1`) out of an image (`$2`, at byte `$3`) and prints the length of each of its files. `/var` is state, which the appliance's image
/// has none of.
const EROFS: &str = r#"fsck.erofs --offset="$3" --extract="$1" --overwrite "$2" >/dev/null"#;
const EXT4: &str = r#"debugfs -R "rdump / $1" "$2" >/dev/null 2>&1"#;
const COUNT: &str = r#"cd "$1" && find . -path ./var -prune -o -path ./lost+found -prune -o \( -type f -o -type l \) -printf '%s\n' && cd / && rm -rf "$1""#;

/// Packages of the release's root file system.
pub(super) fn our_packages(places: &Places) -> Result<Vec<DebianPackage>> {
    bare::packages(&places.lists().join("root.json"))
}

/// Name of the kernel package, which carries its version.
pub(super) fn kernel(packages: &[DebianPackage]) -> Result<String> {
    let versioned = |name: &str| {
        name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    let kernel = packages.iter().find(|it| versioned(&it.name)).context("the image has no kernel package")?;
    Ok(format!("{} {}", kernel.name, kernel.version))
}

/// All rows about size.
pub(super) fn measure(release: &Manifest, places: &Places, bare: &Bare, tools: &Tools) -> Result<Vec<Row>> {
    say("sizes");
    let bytes = |kind| release.output(kind).map(|output| output.bytes);
    let row = |name: &str, ours: Option<u64>, bare: Option<u64>| {
        Row::new(name, "MB", ours.map(megabytes), bare.map(megabytes))
    };
    let length = |file: &Path| files::length(file).map(Some);
    let download = bytes(OutputKind::RawZst);
    // Two of three made to pass: each gate answers for itself.
    let (none, nothing) = (gates::Fill::new(0, 1), Some(0));
    let met = |root, uki, download| gates::broken(root, uki, download).is_empty();
    let percent = |fill: gates::Fill| Row::new("", "%", Some(fill.percent), None);
    let raw = places.outputs().join(&release.output(OutputKind::Raw).context("the manifest lists no disk")?.file);
    let start = Disk::open(&raw)?.one(Kind::Root)?.start;
    let work = places.bench();
    let isp = bare::packages(&places.lists().join("isp.json"))?.len();
    let (our_packages, bare_packages) = (our_packages(places)?.len() + isp, bare.packages()?.len());
    Ok(vec![
        row("download (.raw.zst)", download, length(&bare.raw_zst())?).barred(DOWNLOAD_BAR, met(none, none, download)),
        row("disk for virtual machines (.qcow2)", bytes(OutputKind::Qcow2), length(&bare.qcow2())?),
        row("disk (.raw, sparse)", bytes(OutputKind::Raw), length(&bare.raw())?),
        row("kernel image (UKI)", bytes(OutputKind::Uki), length(&bare.uki())?),
        row(
            "installed size (files in the root)",
            Some(installed(tools, EROFS, &work, &raw, start)?),
            Some(installed(tools, EXT4, &work, &bare.root(), 0)?),
        ),
        Row::new("Debian packages in the root", "", Some(our_packages as f64), Some(bare_packages as f64)),
        Row { name: "root file system in its slot".to_owned(), ..percent(release.root) }
            .barred(ROOT_BAR, met(release.root, none, nothing)),
        Row { name: "kernel image in the ESP".to_owned(), ..percent(release.esp) }
            .barred(UKI_BAR, met(none, release.esp, nothing)),
    ])
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Sum of the lengths of the files in a root file system.
fn installed(tools: &Tools, extract: &str, work: &Path, image: &Path, start: u64) -> Result<u64> {
    files::make(work)?;
    let work = fs::canonicalize(work).with_context(|| format!("cannot find {}", work.display()))?;
    let tree = work.join("root");
    // Owners an ordinary user cannot delete alone.
    output_of(tools.owning("rm").args(["-rf", "--"]).arg(&tree))?;
    files::make(&tree)?;
    let mut command = tools.owning("sh");
    command.args(["-c", &format!("{extract} && {COUNT}"), "sh"]).arg(&tree).arg(image).arg(start.to_string());
    sum(&output_of(&mut command)?).with_context(|| format!("cannot count the files in {}", image.display()))
}

fn sum(lengths: &str) -> Result<u64> {
    let mut all = 0;
    for line in lengths.lines() {
        all += line.parse::<u64>().with_context(|| format!("'{line}' is no length"))?;
    }
    if all == 0 { anyhow::bail!("it holds no files") } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;
    use crate::image::gates::{Fill, broken};

    #[test]
    fn bars_in_words_are_the_builds_gates() {
        let number = |bar: &str| bar.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        let (root, uki, download) = (number(ROOT_BAR), number(UKI_BAR), number(DOWNLOAD_BAR) * 1_000_000);
        assert!(broken(Fill::new(root, 100), Fill::new(uki, 100), Some(download)).is_empty());
        assert_eq!(broken(Fill::new(root + 1, 100), Fill::new(uki + 1, 100), Some(download + 1)).len(), 3);
    }

    #[test]
    fn the_kernel_is_the_package_with_a_version() {
        let package = |name: &str| DebianPackage {
            name: name.to_owned(),
            version: "6.12-1".to_owned(),
            architecture: "amd64".to_owned(),
            licences: BTreeSet::new(),
        };
        let all = [package("kmod"), package("linux-image-amd64"), package("linux-image-6.12+deb13-amd64")];
        assert_eq!(kernel(&all).unwrap(), "linux-image-6.12+deb13-amd64 6.12-1");
        assert!(kernel(&all[..2]).is_err());
    }

    #[test]
    fn lengths_are_summed_and_none_is_an_error() {
        assert_eq!(sum("1\n20\n300\n").unwrap(), 321);
        assert!(sum("").is_err() && sum("find: nothing\n").is_err());
    }
}
