//! `cargo tbi image compare`: what differs between two builds, partition by partition and, where they differ, file by file. Two builds of one
//! commit must have the same root file system bytes; signatures and what carries them may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{output_of, print};
use crate::image::disk::{Disk, Kind, Partition};
use crate::image::manifest::{Manifest, OutputKind};
use crate::image::tools::Tools;
use crate::image::{Places, Variant, cache, digest, files, pe};
use crate::workspace::Workspace;

/// The root file systems differ.
const DIFFERENT: u8 = 1;
const BLOCK: usize = 4096;
/// Files that are named; the rest is counted.
const MOST_NAMES: usize = 40;

/// Compare two builds.
#[derive(Args)]
#[command(after_help = "A and B are disk images (.raw) or folders with a manifest.json.
Exit codes: 0 the root file systems are the same bytes, 1 they are not, 2 could not compare.

Example:
  cargo tbi image compare target/tbi/image ../other-checkout/target/tbi/image")]
pub(crate) struct Compare {
    /// One build.
    a: PathBuf,
    /// The other.
    b: PathBuf,
}

impl Compare {
    /// Compares and says what differs.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        let places = Places::new(&workspace, Variant::Release);
        let tools = cache::tools(&workspace, &places)?;
        report(&tools, &image(&self.a)?, &image(&self.b)?, &places.work())
    }
}

/// Prints what differs between two disk images. `work` is a place for what is taken out of them.
pub(crate) fn report(tools: &Tools, a: &Path, b: &Path, work: &Path) -> Result<ExitCode> {
    let (disk_a, disk_b) = (Disk::open(a)?, Disk::open(b)?);
    if disk_a.partitions().len() != disk_b.partitions().len() {
        bail!(
            "{} has {} partitions, {} has {}",
            a.display(),
            disk_a.partitions().len(),
            b.display(),
            disk_b.partitions().len()
        );
    }
    let mut same_root = true;
    for (one, other) in disk_a.partitions().iter().zip(disk_b.partitions()) {
        if one.kind != other.kind {
            bail!("'{}' is {}, '{}' is {}", one.label, one.kind.name(), other.label, other.kind.name());
        }
        let differing = blocks(a, one, b, other)?;
        if differing == 0 {
            print(&format!("{:<20} same\n", one.kind.name()));
            continue;
        }
        print(&format!("{:<20} {differing} of {} blocks differ\n", one.kind.name(), one.length.div_ceil(BLOCK as u64)));
        if matches!(one.kind, Kind::Root | Kind::RootVerity) {
            same_root = false;
        }
        if matches!(one.kind, Kind::Root | Kind::Esp) {
            let (left, right) = (work.join("compare-a"), work.join("compare-b"));
            take_out(tools, a, one, &left)?;
            take_out(tools, b, other, &right)?;
            name_files(&left, &right)?;
            output_of(tools.owning("rm").args(["-rf", "--"]).args([&left, &right]))?;
        }
    }
    print(if same_root { "the root file systems are the same bytes\n" } else { "the root file systems DIFFER\n" });
    Ok(if same_root { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// The disk image of a build.
fn image(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let manifest = Manifest::read(&path.join("manifest.json"));
    let manifest = manifest.with_context(|| format!("{} holds no manifest.json of a build", path.display()))?;
    let raw = manifest.output(OutputKind::Raw).with_context(|| format!("{} lists no disk image", path.display()))?;
    Ok(path.join(&raw.file))
}

/// How many blocks differ.
fn blocks(a: &Path, one: &Partition, b: &Path, other: &Partition) -> Result<u64> {
    let open = |path: &Path, partition: &Partition| -> Result<_> {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.seek(SeekFrom::Start(partition.start)).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(std::io::BufReader::with_capacity(1 << 20, file.take(partition.length)))
    };
    differing(open(a, one)?, open(b, other)?).context("cannot read the images")
}

fn differing(mut a: impl Read, mut b: impl Read) -> std::io::Result<u64> {
    let (mut left, mut right) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let mut count = 0;
    loop {
        left.clear();
        right.clear();
        (&mut a).take(BLOCK as u64).read_to_end(&mut left)?;
        (&mut b).take(BLOCK as u64).read_to_end(&mut right)?;
        if left.is_empty() && right.is_empty() {
            return Ok(count);
        }
        count += u64::from(left != right);
    }
}

fn take_out(tools: &Tools, image: &Path, partition: &Partition, to: &Path) -> Result<()> {
    output_of(tools.owning("rm").args(["-rf", "--"]).arg(to))?;
    if partition.kind == Kind::Root {
        let mut fsck = tools.owning("fsck.erofs");
        fsck.arg(format!("--offset={}", partition.start)).arg(format!("--extract={}", to.display()));
        output_of(fsck.arg(image))?;
    } else {
        files::make(to)?;
        let mut mcopy = tools.command("mcopy");
        // mtools distrusts file systems larger than it would make them.
        mcopy.env("MTOOLS_SKIP_CHECK", "1").args(["-s", "-n", "-i"]);
        mcopy.arg(format!("{}@@{}", image.display(), partition.start)).arg("::/").arg(to);
        output_of(&mut mcopy)?;
    }
    Ok(())
}

fn name_files(a: &Path, b: &Path) -> Result<()> {
    let (left, right) = (contents(a)?, contents(b)?);
    let names: BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (left.get(name), right.get(name)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(_), None) => found.push(format!("  only in A: {}", name.display())),
            (None, Some(_)) => found.push(format!("  only in B: {}", name.display())),
            _ => found.push(format!("  differs: {}{}", name.display(), sections(&a.join(name), &b.join(name)))),
        }
    }
    if found.is_empty() {
        found.push("  every file is the same: only the file system's own data differ".to_owned());
    }
    let more = found.len().saturating_sub(MOST_NAMES);
    found.truncate(MOST_NAMES);
    if more > 0 {
        found.push(format!("  and {more} more"));
    }
    print(&(found.join("\n") + "\n"));
    Ok(())
}

/// Mode and content (or target) of every file.
fn contents(root: &Path) -> Result<BTreeMap<PathBuf, (u32, String)>> {
    files::walk(root)?
        .into_iter()
        .map(|file| {
            let path = root.join(&file);
            let meta = fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let what = match fs::read_link(&path) {
                Ok(link) => link.to_string_lossy().into_owned(),
                Err(_) if meta.is_file() => digest::of_file(&path)?,
                Err(_) => "special".to_owned(),
            };
            Ok((file, (meta.permissions().mode(), what)))
        })
        .collect()
}

/// Which sections of two kernel images differ; nothing for other files.
fn sections(a: &Path, b: &Path) -> String {
    let (Ok(left), Ok(right)) = (fs::read(a), fs::read(b)) else { return String::new() };
    let (Ok(one), Ok(other)) = (pe::sections(&left), pe::sections(&right)) else { return String::new() };
    let hash = |file: &[u8], list: Vec<(String, std::ops::Range<usize>)>| -> BTreeMap<String, String> {
        list.into_iter().filter_map(|(name, range)| Some((name, digest::of_bytes(file.get(range)?)))).collect()
    };
    let (one, other) = (hash(&left, one), hash(&right, other));
    let differing: Vec<&str> =
        one.iter().filter(|(name, sum)| other.get(*name) != Some(*sum)).map(|(name, _)| name.as_str()).collect();
    if differing.is_empty() {
        " (every section is the same: the signature differs)".to_owned()
    } else {
        format!(" (sections {})", differing.join(" "))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::image::pe::tests::file;

    #[test]
    fn differing_blocks_are_counted_to_the_end_of_the_longer() {
        let one = vec![0; 3 * BLOCK];
        let mut other = one.clone();
        assert_eq!(differing(&one[..], &other[..]).unwrap(), 0);
        other[BLOCK] = 1;
        other[2 * BLOCK - 1] = 1;
        other.push(0);
        assert_eq!(differing(&one[..], &other[..]).unwrap(), 2);
    }

    #[test]
    fn a_kernel_image_names_the_sections_that_differ() {
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (home.path().join("a"), home.path().join("b"));
        fs::write(&a, file(&[(".linux", b"1"), (".initrd", b"2")])).unwrap();
        fs::write(&b, file(&[(".linux", b"1"), (".initrd", b"3")])).unwrap();
        assert_eq!(sections(&a, &b), " (sections .initrd)");
        fs::write(&b, [file(&[(".linux", b"1"), (".initrd", b"2")]), b"signature".to_vec()].concat()).unwrap();
        assert!(sections(&a, &b).contains("signature differs"));
        fs::write(&b, "text").unwrap();
        assert_eq!(sections(&a, &b), "");
    }

    #[test]
    fn trees_differ_in_content_mode_and_presence() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a"), "1").unwrap();
        let before = contents(home.path()).unwrap();
        fs::set_permissions(home.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_ne!(before, contents(home.path()).unwrap());
    }
}
