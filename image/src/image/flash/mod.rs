//! `cargo tbi image flash`: writes the image to a stick or disk, after making sure that it is the right one, and reads it back.

mod device;
mod write;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, IsTerminal, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::fcntl::OFlag;

use crate::command::{print, say};
use crate::image::manifest::{Manifest, OutputKind};
use crate::image::{Places, Variant, files};
use crate::packages;
use crate::workspace::Workspace;
use device::{Consent, check};
use write::Target;

/// Write the image to a stick or disk. Everything on it is lost.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo tbi image flash /dev/sdb
  cargo tbi image flash /dev/sdb --image tbi_0.1.0.raw --yes")]
pub(crate) struct Flash {
    /// The whole disk, e.g. /dev/sdb; `lsblk` lists them.
    device: PathBuf,
    /// Ask nothing, and allow disks larger than 2 TB.
    #[arg(long)]
    yes: bool,
    /// Disk image to write (.raw) [default: the last release build].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

impl Flash {
    /// Checks, asks, writes, reads back.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::ensure(&[packages::DISKS])?;
        let image = match &self.image {
            Some(image) => image.clone(),
            None => last_build()?,
        };
        let length = files::length(&image)?;
        let path = self
            .device
            .canonicalize()
            .with_context(|| format!("{} is not there; lsblk lists disks", self.device.display()))?;
        let kind = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.file_type();
        if !kind.is_block_device() {
            bail!("{} is no disk; lsblk lists disks", path.display());
        }
        let consent = if self.yes { Consent::Given } else { Consent::ToBeAsked };
        let disk = check(device::probe(&path)?, length, consent)?;
        print(&disk.describe());
        if consent == Consent::ToBeAsked {
            ask(&path)?;
        }
        say(&format!("writing {} MB from {}", length.div_ceil(1_000_000), image.display()));
        let source = File::open(&image).with_context(|| format!("cannot read {}", image.display()))?;
        let mut target = Block::open(&path)?;
        let sum = write::write(source, length, &mut target, &mut write::progress("written", length))?;
        say("reading back");
        write::verify(&sum, length, &mut target, &mut write::progress("read", length))?;
        print(&format!(
            "written and read back: SHA-256 {sum}\n\nNext: remove the stick, put it into the machine, start it from there (UEFI).\n\
             The first start makes the second slot and the state partition on the rest of the disk, which takes a minute; then the\n\
             screen shows the machine's address and the fingerprint of its certificate. docs/image.md says how to enrol our key for Secure Boot.\n"
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn last_build() -> Result<PathBuf> {
    let places = Places::new(&Workspace::find()?, Variant::Release);
    let manifest = Manifest::read(&places.manifest()).context("no image was built yet; type: cargo tbi image build")?;
    let raw = manifest.still_there(OutputKind::Raw, &places.outputs());
    let raw = raw.context("the disk image of the last build is gone; type: cargo tbi image build")?;
    if manifest.development_keys {
        say("warning: this image is signed with development keys");
    }
    Ok(places.outputs().join(&raw.file))
}

/// Typing the name takes longer than pressing a key, and is about one disk only.
fn ask(path: &Path) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is here to confirm; --yes confirms");
    }
    say(&format!("everything on {0} will be lost. Type {0} to go on:", path.display()));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    if Path::new(line.trim()) != path {
        bail!("nothing was written: the answer was not {}", path.display());
    }
    Ok(())
}

/// A disk, opened so that nobody else can mount it, and read back past the page cache.
struct Block {
    path: PathBuf,
    file: File,
}

impl Block {
    fn open(path: &Path) -> Result<Self> {
        // O_EXCL on a block device: refused while somebody has it mounted, checked by the kernel itself.
        let file = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_EXCL.bits()).open(path);
        let file = file.with_context(|| {
            format!("cannot open {} for writing; it is in use, or you are not root", path.display())
        })?;
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Target for Block {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut self.file, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync_all()
    }

    fn reread(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        // Direct reads come from the medium, not from what we have just put into memory.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(&self.path)?;
        Ok(Box::new(write::Aligned::new(file)))
    }
}
