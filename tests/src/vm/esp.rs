//! Files of the ESP, read and hurt while no machine runs: where a file lies on the disk, one byte of it changed, another file in its place.

use std::fs;
use std::path::Path;

use super::image::Image;
use super::tools;

/// Where the ESP begins: it is the first partition, and partitions begin at a mebibyte (`systemd-repart`).
const BEGIN: u64 = 1 << 20;
/// Its size (docs/decisions/0009).
const LENGTH: u64 = 1 << 30;

impl Image {
    /// A file of the ESP, `/EFI/BOOT/BOOTX64.EFI`.
    #[must_use]
    pub fn esp_file(&self, path: &str) -> Vec<u8> {
        let to = self.cache().join(format!("esp-file.{}", std::process::id()));
        tools::run("mcopy", |command| {
            command.args(["-n", "-o", "-i"]).arg(drive(&self.raw())).arg(format!("::{path}")).arg(&to);
        });
        let read = fs::read(&to).and_then(|bytes| fs::remove_file(&to).map(|()| bytes));
        read.unwrap_or_else(|error| panic!("cannot read what mcopy wrote to {}: {error}", to.display()))
    }

    /// Where on the disk a file of the ESP with this content begins; each of them, when it is there more than once. The build writes files
    /// in one piece, and on a machine nobody moves them.
    #[must_use]
    pub fn places_on_disk(&self, content: &[u8]) -> Vec<u64> {
        use std::io::{Read, Seek, SeekFrom};
        let mut esp = Vec::new();
        let raw = self.raw();
        let read = fs::File::open(&raw).and_then(|mut disk| {
            disk.seek(SeekFrom::Start(BEGIN))?;
            disk.take(LENGTH).read_to_end(&mut esp)
        });
        if let Err(error) = read {
            panic!("cannot read {}: {error}", raw.display());
        }
        // Files begin with a sector.
        let sectors = esp.len() / 512;
        let places: Vec<u64> = (0..sectors)
            .map(|sector| sector * 512)
            .filter(|at| esp.get(*at..at + content.len()) == Some(content))
            .map(|at| BEGIN + at as u64)
            .collect();
        assert!(!places.is_empty(), "no file of {} bytes in one piece in the ESP", content.len());
        places
    }

    /// A copy of the disk with another file in the ESP, at the path of one that is there.
    pub fn with_esp_file(&self, path: &str, content: &Path, to: &Path) {
        // `cp` keeps the holes of a disk that is mostly empty.
        tools::run("cp", |command| {
            command.args(["--sparse=always"]).arg(self.raw()).arg(to);
        });
        tools::run("mcopy", |command| {
            command.args(["-n", "-o", "-i"]).arg(drive(to)).arg(content).arg(format!("::{path}"));
        });
    }
}

/// The ESP inside a disk, as mtools names it.
fn drive(disk: &Path) -> String {
    format!("{}@@{BEGIN}", disk.display())
}
