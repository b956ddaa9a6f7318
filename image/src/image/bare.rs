//! The bare Debian image the appliance is measured against (`mkosi/bare`), built by the same mkosi from the same package sources. It is no
//! product: it is neither signed for anybody nor given away, and lies apart from the variants.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::output_of;
use crate::image::cache::{Cache, machine_sources};
use crate::image::inputs::Inputs;
use crate::image::keys::keys;
use crate::image::places::Places;
use crate::image::sources;
use crate::image::steps::Steps;
use crate::image::tools::Tools;
use crate::image::{files, spdx};
use crate::workspace::Workspace;

/// Time in the image. Not the commit's: the image does not change with our programs, so it need not be built with every commit.
const EPOCH: &str = "1700000000";
/// Of the image; it has only this one.
const VERSION: &str = "1";
/// What the definition takes from the appliance's.
const SHARED: [&str; 2] = ["mkosi/mkosi.conf", "mkosi/mkosi.images/initrd/mkosi.conf"];

/// A bare image that is built.
#[derive(Debug)]
pub(crate) struct Bare {
    folder: PathBuf,
}

impl Bare {
    /// The disk.
    pub(crate) fn raw(&self) -> PathBuf {
        self.folder.join(format!("bare_{VERSION}.raw"))
    }

    /// The same, compressed like the appliance's download.
    pub(crate) fn raw_zst(&self) -> PathBuf {
        self.folder.join(format!("bare_{VERSION}.raw.zst"))
    }

    /// For virtual machines.
    pub(crate) fn qcow2(&self) -> PathBuf {
        self.folder.join(format!("bare_{VERSION}.qcow2"))
    }

    /// The kernel image.
    pub(crate) fn uki(&self) -> PathBuf {
        self.folder.join(format!("bare_{VERSION}.efi"))
    }

    /// The root file system (ext4) as a file of its own.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join(format!("bare_{VERSION}.root-x86-64.raw"))
    }

    /// Debian packages in the root file system.
    pub(crate) fn packages(&self) -> Result<Vec<spdx::DebianPackage>> {
        packages(&self.folder.join(format!("bare_{VERSION}.manifest")))
    }
}

/// Packages of a list that mkosi wrote.
pub(crate) fn packages(list: &Path) -> Result<Vec<spdx::DebianPackage>> {
    let json = fs::read(list).with_context(|| format!("mkosi left no list of packages in {}", list.display()))?;
    spdx::from_mkosi(&json).with_context(|| format!("{} is no list of packages", list.display()))
}

/// The bare image; built when it is not there, when its definition changed, or when the appliance has another `kernel`.
pub(crate) fn ready(workspace: &Workspace, places: &Places, tools: &Tools, kernel: &str) -> Result<Bare> {
    let bare = Bare { folder: places.bare() };
    let note = places.bare_note();
    let inputs = inputs(workspace, tools, kernel)?;
    let there = [bare.raw(), bare.raw_zst(), bare.qcow2(), bare.uki(), bare.root()].iter().all(|file| file.is_file());
    if there && fs::read_to_string(&note).is_ok_and(|before| before == inputs) {
        return Ok(bare);
    }
    // Without the note, an image that is made only half-way is made again.
    let _none_yet = fs::remove_file(&note);
    build(workspace, places, &bare)?;
    files::write(&note, inputs.as_bytes())?;
    Ok(bare)
}

fn inputs(workspace: &Workspace, tools: &Tools, kernel: &str) -> Result<String> {
    let mut inputs = Inputs::new();
    inputs.word("kernel", kernel);
    inputs.word("tools", &tools.tree().to_string_lossy());
    inputs.tree("bare", &workspace.root().join("mkosi/bare"))?;
    for file in SHARED {
        inputs.file(file, &workspace.root().join(file))?;
    }
    Ok(inputs.finish())
}

fn build(workspace: &Workspace, places: &Places, bare: &Bare) -> Result<()> {
    let mut steps = Steps::new(places.logs())?;
    let cache = Cache::open()?;
    let mirrors = sources::mirrors(&machine_sources(), None)?;
    let (mkosi, tools) = cache.ready(workspace, &mirrors, &places.sandbox(), &mut steps)?;
    let keys = keys(None, &places.keys(), &tools)?;
    // The last build's trees have owners an ordinary user cannot delete alone.
    output_of(tools.owning("rm").args(["-rf", "--"]).arg(&bare.folder))?;
    let incremental = cache.incremental("bare");
    for folder in [&bare.folder, &incremental, &cache.packages()] {
        files::make(folder)?;
    }
    let mut command = mkosi.command();
    command.arg("--directory").arg(workspace.root().join("mkosi/bare"));
    command.args(["--image-version", VERSION, "--source-date-epoch", EPOCH]).env("SOURCE_DATE_EPOCH", EPOCH);
    command.arg("--tools-tree").arg(tools.tree());
    command.arg("--sandbox-tree").arg(places.sandbox());
    command.arg("--package-cache-directory").arg(cache.packages());
    command.arg("--cache-directory").arg(incremental).args(["--incremental", "yes"]);
    command.arg("--output-directory").arg(&bare.folder);
    // The definition it shares with the appliance asks for a signature.
    command.arg("--secure-boot-key").arg(&keys.key).arg("--secure-boot-certificate").arg(&keys.certificate);
    command.args(["--force", "build"]);
    steps.run("mkosi: bare Debian to compare with (minutes, once)", "mkosi-bare", &mut command)?;
    // As the appliance's outputs are made.
    let mut zstd = tools.command("zstd");
    zstd.args(["-T0", "-10", "--force", "--quiet", "-o"]).arg(bare.raw_zst()).arg(bare.raw());
    steps.run("compressing it", "zstd-bare", &mut zstd)?;
    let mut qemu = tools.command("qemu-img");
    qemu.args(["convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]);
    steps.run("its disk for virtual machines", "qcow2-bare", qemu.arg(bare.raw()).arg(bare.qcow2()))
}
