//! Reads a disk image's partition table and the head of an erofs file system: where things are, how full they are, and the root hash.
//! Read-only, and every number that comes from the image is checked before it is used.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::image::digest::hex;

/// Sector sizes disks have; images are made with the first.
const SECTORS: [u64; 2] = [512, 4096];
/// Tables with more entries are not ours.
const MOST_ENTRIES: u32 = 256;
/// The erofs superblock: its place and its first word.
const EROFS_PLACE: u64 = 1024;
const EROFS_MAGIC: u32 = 0xE0F5_E1E2;

/// Kinds of partitions the image has, by type identifier (Discoverable Partitions Specification, x86-64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Esp,
    Root,
    RootVerity,
    RootVeritySignature,
    Other,
}

impl Kind {
    fn of(id: &str) -> Self {
        match id {
            "c12a7328f81f11d2ba4b00a0c93ec93b" => Kind::Esp,
            "4f68bce3e8cd4db196e7fbcaf984b709" => Kind::Root,
            "2c7357edebd246d9aec123d437ec2bf5" => Kind::RootVerity,
            "41092b059fc84523994f2def0408b176" => Kind::RootVeritySignature,
            _ => Kind::Other,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Esp => "ESP",
            Kind::Root => "root",
            Kind::RootVerity => "root hashes",
            Kind::RootVeritySignature => "root hash signature",
            Kind::Other => "other",
        }
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// By its type.
    pub(crate) kind: Kind,
    /// Its label.
    pub(crate) label: String,
    /// Its own identifier: 32 hex digits without dashes.
    pub(crate) id: String,
    /// First byte in the image.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// A disk image's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    partitions: Vec<Partition>,
}

impl Disk {
    /// Reads the table of an image file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::read(&mut file).with_context(|| format!("{} is no image of ours", path.display()))
    }

    fn read(file: &mut (impl Read + Seek)) -> Result<Self> {
        let end = file.seek(SeekFrom::End(0))?;
        for sector in SECTORS {
            let mut header = [0; 92];
            if read_at(file, sector, &mut header).is_err() || !header.starts_with(b"EFI PART") {
                continue;
            }
            let (place, count, size) = (u64_at(&header, 72)?, u32_at(&header, 80)?, u32_at(&header, 84)?);
            if count > MOST_ENTRIES || !(128..=4096).contains(&size) {
                bail!("its partition table has {count} entries of {size} bytes");
            }
            let mut partitions = Vec::new();
            for number in 0..u64::from(count) {
                let at = place.checked_mul(sector).and_then(|it| it.checked_add(number * u64::from(size)));
                let mut entry = [0; 128];
                read_at(file, at.context("its partition table lies nowhere")?, &mut entry)
                    .context("its partition table is cut off")?;
                partitions.extend(partition(&entry, sector, end)?);
            }
            return Ok(Self { partitions });
        }
        bail!("it has no partition table (GPT)");
    }

    /// In the table's order.
    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The first of a kind.
    pub(crate) fn one(&self, kind: Kind) -> Result<&Partition> {
        let found = self.partitions.iter().find(|partition| partition.kind == kind);
        found.with_context(|| format!("the image has no {} partition", kind.name()))
    }

    /// Identifiers of root and hash partition are the two halves of the root hash (that is how the initrd finds them).
    pub(crate) fn root_hash(&self) -> Result<String> {
        Ok(format!("{}{}", self.one(Kind::Root)?.id, self.one(Kind::RootVerity)?.id))
    }
}

fn partition(entry: &[u8; 128], sector: u64, end: u64) -> Result<Option<Partition>> {
    let (kind, id) = (guid(&entry[..16]), guid(&entry[16..32]));
    if kind.bytes().all(|digit| digit == b'0') {
        return Ok(None);
    }
    let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
    let name: Vec<u16> = entry[56..128].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let label = String::from_utf16_lossy(name.split(|unit| *unit == 0).next().unwrap_or_default());
    let place = || {
        let start = first.checked_mul(sector)?;
        let length = last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?;
        (start.checked_add(length)? <= end).then_some((start, length))
    };
    let Some((start, length)) = place() else { bail!("partition '{label}' lies outside it") };
    Ok(Some(Partition { kind: Kind::of(&kind), label, id, start, length }))
}

/// Bytes a root file system really uses, from its own superblock (`fs/erofs/erofs_fs.h`: block size at 12, blocks at 36).
pub(crate) fn erofs_bytes(image: &Path, partition: &Partition) -> Result<u64> {
    let mut file = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
    let mut head = [0; 128];
    read_at(&mut file, partition.start.saturating_add(EROFS_PLACE), &mut head)
        .with_context(|| format!("cannot read {}", image.display()))?;
    erofs_used(&head).with_context(|| format!("partition '{}' holds no erofs file system", partition.label))
}

fn erofs_used(head: &[u8; 128]) -> Result<u64> {
    let (magic, bits) = (u32_at(head, 0)?, u32::from(head[12]));
    if magic != EROFS_MAGIC || !(9..=16).contains(&bits) {
        bail!("magic {magic:#x}, block size 2^{bits}");
    }
    Ok(u64::from(u32_at(head, 36)?) << bits)
}

fn read_at(file: &mut (impl Read + Seek), place: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(buffer)
}

/// Identifiers on disk are little-endian in their first three groups; as text they are not.
fn guid(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    hex(&order.map(|place: usize| bytes.get(place).copied().unwrap_or_default()))
}

/// A little-endian word of bytes that may be too short.
pub(super) fn u32_at(bytes: &[u8], place: usize) -> Result<u32> {
    let word = bytes.get(place..).and_then(|rest| rest.first_chunk()).context("it is cut off")?;
    Ok(u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], place: usize) -> Result<u64> {
    let word = bytes.get(place..).and_then(|rest| rest.first_chunk()).context("it is cut off")?;
    Ok(u64::from_le_bytes(*word))
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::Cursor;

    use super::*;

    /// A table with root and hashes of one megabyte each, an erofs head, and `end` bytes in all.
    pub(crate) fn image(end: usize) -> Vec<u8> {
        let mut bytes = vec![0; end];
        bytes[512..520].copy_from_slice(b"EFI PART");
        bytes[512 + 72..512 + 80].copy_from_slice(&2_u64.to_le_bytes());
        bytes[512 + 80..512 + 84].copy_from_slice(&4_u32.to_le_bytes());
        bytes[512 + 84..512 + 88].copy_from_slice(&128_u32.to_le_bytes());
        let root = [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09];
        let hashes = [0xed, 0x57, 0x73, 0x2c, 0xd2, 0xeb, 0xd9, 0x46, 0xae, 0xc1, 0x23, 0xd4, 0x37, 0xec, 0x2b, 0xf5];
        for (number, (kind, label)) in [(root, "tbi_0.1.0"), (hashes, "hashes")].into_iter().enumerate() {
            let entry = &mut bytes[1024 + number * 128..][..128];
            entry[..16].copy_from_slice(&kind);
            entry[16..32].copy_from_slice(&[3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]);
            entry[32..40].copy_from_slice(&(2048 + number as u64 * 2048).to_le_bytes());
            entry[40..48].copy_from_slice(&(4095 + number as u64 * 2048).to_le_bytes());
            for (place, unit) in label.encode_utf16().enumerate() {
                entry[56 + place * 2..58 + place * 2].copy_from_slice(&unit.to_le_bytes());
            }
        }
        bytes[(1 << 20) + 1024..(1 << 20) + 1028].copy_from_slice(&EROFS_MAGIC.to_le_bytes());
        bytes[(1 << 20) + 1024 + 12] = 12;
        bytes[(1 << 20) + 1024 + 36..(1 << 20) + 1024 + 40].copy_from_slice(&7_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn partitions_and_root_hash() {
        let disk = Disk::read(&mut Cursor::new(image(4 << 20))).unwrap();
        let root = disk.one(Kind::Root).unwrap();
        assert_eq!((root.label.as_str(), root.start, root.length), ("tbi_0.1.0", 1 << 20, 1 << 20));
        assert_eq!(disk.root_hash().unwrap(), "000102030405060708090a0b0c0d0e0f".repeat(2));
        assert!(disk.one(Kind::Esp).is_err());
    }

    #[test]
    fn a_table_that_lies_is_refused() {
        let mut bytes = image(4 << 20);
        bytes.truncate(2 << 20);
        assert!(Disk::read(&mut Cursor::new(&bytes)).unwrap_err().to_string().contains("'hashes' lies outside"));
        let mut bytes = image(4 << 20);
        bytes[512 + 80..512 + 84].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Disk::read(&mut Cursor::new(&bytes)).is_err());
        let mut bytes = image(4 << 20);
        bytes[512 + 72..512 + 80].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Disk::read(&mut Cursor::new(&bytes)).is_err());
        assert!(Disk::read(&mut Cursor::new(b"short")).unwrap_err().to_string().contains("no partition table"));
    }

    #[test]
    fn the_file_system_says_how_full_it_is() {
        let bytes = image(4 << 20);
        let head = bytes[(1 << 20) + 1024..].first_chunk().unwrap();
        assert_eq!(erofs_used(head).unwrap(), 7 * 4096);
        assert!(erofs_used(&[0; 128]).is_err());
    }
}
