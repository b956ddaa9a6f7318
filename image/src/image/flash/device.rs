//! Is this the right disk? What lsblk says of it, and the reasons to refuse. Pure but for `probe`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::output_of;

/// Larger disks are rarely sticks.
const LARGE: u64 = 2_000_000_000_000;
/// Where a running system lives.
const SYSTEM: [&str; 7] = ["/", "/usr", "/var", "/boot", "/boot/efi", "/efi", "[SWAP]"];
const COLUMNS: &str = "PATH,TYPE,SIZE,RO,MODEL,SERIAL,TRAN,FSTYPE,LABEL,MOUNTPOINTS";

/// Whether somebody has already agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// `--yes`.
    Given,
    ToBeAsked,
}

/// Why a disk is not written to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error("{0} is a {1}, not a whole disk; lsblk shows which disk it belongs to")]
    NotAWholeDisk(String, String),
    #[error("{0} is this machine's own disk ({1} is on it)")]
    SystemDisk(String, String),
    #[error("{0} is in use: {1} is mounted on {2}; unmount it first")]
    Mounted(String, String, String),
    #[error("{0} is write-protected")]
    ReadOnly(String),
    #[error("{path} holds {size} MB, the image has {image} MB; take a larger one")]
    TooSmall { path: String, size: u64, image: u64 },
    #[error("{0} holds {1} GB; no stick is that large. --yes writes to it all the same")]
    TooLarge(String, u64),
}

/// A disk or something on it, as lsblk lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Disk {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    ro: bool,
    model: Option<String>,
    serial: Option<String>,
    tran: Option<String>,
    fstype: Option<String>,
    label: Option<String>,
    #[serde(default)]
    mountpoints: Vec<Option<String>>,
    #[serde(default)]
    children: Vec<Disk>,
}

#[derive(Deserialize)]
struct Listing {
    blockdevices: Vec<Disk>,
}

/// Asks lsblk about one device.
pub(super) fn probe(path: &Path) -> Result<Disk> {
    let json = output_of(Command::new("lsblk").args(["--json", "--bytes", "--output", COLUMNS]).arg(path))?;
    parse(&json).with_context(|| format!("lsblk says nothing of {}", path.display()))
}

fn parse(json: &str) -> Result<Disk> {
    let listing: Listing = serde_json::from_str(json).context("lsblk printed unknown JSON")?;
    listing.blockdevices.into_iter().next().context("it listed nothing")
}

/// The disk, unless there is a reason not to write `image` bytes to it.
pub(super) fn check(disk: Disk, image: u64, consent: Consent) -> Result<Disk, Refusal> {
    let path = disk.path.clone();
    if disk.kind != "disk" && disk.kind != "loop" {
        return Err(Refusal::NotAWholeDisk(path, disk.kind));
    }
    let mounts = disk.mounts();
    if let Some((_, place)) = mounts.iter().find(|(_, place)| SYSTEM.contains(&place.as_str())) {
        return Err(Refusal::SystemDisk(path, place.clone()));
    }
    if let Some((part, place)) = mounts.first() {
        return Err(Refusal::Mounted(path, part.clone(), place.clone()));
    }
    if disk.ro {
        return Err(Refusal::ReadOnly(path));
    }
    if disk.size < image {
        return Err(Refusal::TooSmall { path, size: disk.size / 1_000_000, image: image.div_ceil(1_000_000) });
    }
    if disk.size > LARGE && consent == Consent::ToBeAsked {
        return Err(Refusal::TooLarge(path, disk.size / 1_000_000_000));
    }
    Ok(disk)
}

impl Disk {
    /// Everything mounted from it, whatever lies in between (encryption, volumes).
    fn mounts(&self) -> Vec<(String, String)> {
        let own = self.mountpoints.iter().flatten().map(|place| (self.path.clone(), place.clone()));
        own.chain(self.children.iter().flat_map(Disk::mounts)).collect()
    }

    /// For who must recognise it.
    pub(super) fn describe(&self) -> String {
        let word = |it: &Option<String>| {
            it.as_deref().map(str::trim).filter(|it| !it.is_empty()).unwrap_or("unknown").to_owned()
        };
        let mut text = format!(
            "{}: {:.1} GB, model {}, serial {}, connected by {}\n",
            self.path,
            self.gigabytes(),
            word(&self.model),
            word(&self.serial),
            word(&self.tran)
        );
        if self.children.is_empty() {
            text += "  no partitions\n";
        }
        for part in &self.children {
            text += &format!(
                "  {}: {:.1} GB, {}, label {}\n",
                part.path,
                part.gigabytes(),
                word(&part.fstype),
                word(&part.label)
            );
        }
        text
    }

    #[expect(clippy::cast_precision_loss, reason = "one decimal of a size in gigabytes")]
    fn gigabytes(&self) -> f64 {
        self.size as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const STICK: &str = r#"{"blockdevices": [{"path":"/dev/sdb","type":"disk","size":16000000000,"ro":false,"model":"Ultra Fit ","serial":"4C53","tran":"usb","fstype":null,"label":null,
        "mountpoints":[null],"children":[{"path":"/dev/sdb1","type":"part","size":15999000000,"ro":false,"model":null,"serial":null,"tran":null,"fstype":"vfat","label":"PHOTOS","mountpoints":[null]}]}]}"#;
    const IMAGE: u64 = 3_000_000_000;

    fn stick() -> Disk {
        parse(STICK).unwrap()
    }

    #[test]
    fn a_stick_is_taken_and_recognised() {
        let disk = check(stick(), IMAGE, Consent::ToBeAsked).unwrap();
        let text = disk.describe();
        assert!(text.contains("16.0 GB, model Ultra Fit, serial 4C53, connected by usb"), "{text}");
        assert!(text.contains("/dev/sdb1: 16.0 GB, vfat, label PHOTOS"), "{text}");
    }

    #[test]
    fn fault_too_small() {
        let small = Disk { size: IMAGE - 1, ..stick() };
        assert!(matches!(check(small, IMAGE, Consent::Given), Err(Refusal::TooSmall { .. })));
        assert!(check(Disk { size: IMAGE, ..stick() }, IMAGE, Consent::Given).is_ok());
    }

    #[test]
    fn fault_mounted_however_deep() {
        let mut disk = stick();
        let mut volume = disk.children[0].clone();
        volume.path = "/dev/mapper/secrets".to_owned();
        volume.kind = "crypt".to_owned();
        volume.mountpoints = vec![Some("/media/secrets".to_owned())];
        disk.children[0].children.push(volume);
        let refusal = check(disk, IMAGE, Consent::Given).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "/dev/sdb is in use: /dev/mapper/secrets is mounted on /media/secrets; unmount it first"
        );
    }

    #[test]
    fn fault_the_systems_own_disk() {
        for place in ["/", "/boot/efi", "[SWAP]"] {
            let mut disk = stick();
            disk.children[0].mountpoints = vec![None, Some(place.to_owned())];
            assert_eq!(
                check(disk, IMAGE, Consent::Given),
                Err(Refusal::SystemDisk("/dev/sdb".to_owned(), place.to_owned()))
            );
        }
    }

    #[test]
    fn fault_a_partition_is_no_disk() {
        let part = stick().children[0].clone();
        assert!(matches!(check(part, IMAGE, Consent::Given), Err(Refusal::NotAWholeDisk(..))));
    }

    #[test]
    fn fault_write_protected() {
        assert!(matches!(check(Disk { ro: true, ..stick() }, IMAGE, Consent::Given), Err(Refusal::ReadOnly(_))));
    }

    #[test]
    fn fault_too_large_to_be_meant() {
        let large = Disk { size: LARGE + 1, ..stick() };
        assert!(matches!(check(large.clone(), IMAGE, Consent::ToBeAsked), Err(Refusal::TooLarge(..))));
        assert!(check(large, IMAGE, Consent::Given).is_ok());
    }
}
