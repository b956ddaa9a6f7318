//! What was booted: version, slot, root hash, loader entry, Secure Boot. Read once; a running kernel does not change its mind.

use tbi_api::status::Slot;

use super::sysfs::{Root, basename};

/// Vendor of systemd's loader variables (systemd.io/BOOT_LOADER_INTERFACE).
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Vendor of the UEFI specification's global variables.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Facts of this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootFacts {
    pub(crate) version: String,
    pub(crate) commit: Option<String>,
    pub(crate) variant: String,
    pub(crate) slot: Slot,
    /// The kernel's id of this boot.
    pub(crate) boot_id: String,
    /// When the image was built, seconds since 1970: the date of its os-release, which the image tool sets. A clock before it is wrong.
    pub(crate) built: Option<i64>,
}

pub(crate) fn facts(root: &Root) -> BootFacts {
    let release = root.text("etc/os-release").or_else(|| root.text("usr/lib/os-release")).unwrap_or_default();
    let command_line = root.text("proc/cmdline").unwrap_or_default();
    let of_release = |key: &str| release_value(&release, key);
    let root_hash = command_line.split_whitespace().find_map(|word| word.strip_prefix("roothash=")).and_then(hex);
    BootFacts {
        version: of_release("IMAGE_VERSION")
            .or_else(|| of_release("TBI_VERSION"))
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        commit: of_release("BUILD_ID"),
        variant: of_release("VARIANT_ID").unwrap_or_else(|| "release".to_owned()),
        slot: Slot {
            label: label(root, root_hash.as_deref()).unwrap_or_else(|| "unknown".to_owned()),
            root_hash,
            entry: loader_entry(root),
            secure_boot: efi_byte(root, &format!("SecureBoot-{GLOBAL}")) == Some(1),
        },
        boot_id: root.text("proc/sys/kernel/random/boot_id").unwrap_or_else(|| "unknown".to_owned()),
        built: built(root),
    }
}

fn built(root: &Root) -> Option<i64> {
    // Without the link in /etc: that one is made anew at each start on an appliance.
    let modified = std::fs::metadata(root.path("usr/lib/os-release")).and_then(|file| file.modified()).ok()?;
    i64::try_from(modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// A value of os-release(5): shell-like, with or without quotes.
fn release_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

fn hex(text: &str) -> Option<String> {
    let good = (32..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| text.to_ascii_lowercase())
}

/// The GPT label of the root partition, as far as the kernel or udev tell it.
fn label(root: &Root, root_hash: Option<&str>) -> Option<String> {
    label_under_verity(root).or_else(|| label_by_uuid(root, root_hash))
}

/// The verified root is the device mapper's device `root` on two partitions, data and hashes, which carry the same label. Needs no device
/// node, so it works in the agent's sandbox.
fn label_under_verity(root: &Root) -> Option<String> {
    let devices = root.names("sys/class/block").into_iter();
    let mut mapped = devices
        .filter(|name| root.text(&format!("sys/class/block/{name}/dm/name")).is_some_and(|name| name.trim() == "root"));
    let device = mapped.next()?;
    let slaves = root.names(&format!("sys/class/block/{device}/slaves")).into_iter();
    let mut labels = slaves
        .filter_map(|partition| release_value(&root.text(&format!("sys/class/block/{partition}/uevent"))?, "PARTNAME"));
    labels.next()
}

/// With a verified root, the partition's UUID is the first half of the root hash (Discoverable Partitions Specification).
fn label_by_uuid(root: &Root, root_hash: Option<&str>) -> Option<String> {
    let uuid = root_hash.map(|hash| {
        let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
        [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
    })?;
    let device = root.resolved(&format!("dev/disk/by-partuuid/{uuid}")).as_deref().and_then(basename);
    if let Some(device) = device {
        // The kernel tells the label itself; udev's links are the same in another place, with characters escaped.
        let uevent = root.text(&format!("sys/class/block/{device}/uevent")).unwrap_or_default();
        if let Some(name) = release_value(&uevent, "PARTNAME") {
            return Some(name);
        }
    }
    // Without udev's links: every partition says its own UUID.
    let is_it =
        |uevent: &String| release_value(uevent, "PARTUUID").is_some_and(|found| found.eq_ignore_ascii_case(&uuid));
    let events = root.names("sys/class/block").into_iter();
    let mut events = events.filter_map(|name| root.text(&format!("sys/class/block/{name}/uevent")));
    events.find(is_it).and_then(|uevent| release_value(&uevent, "PARTNAME"))
}

fn efi(root: &Root, name: &str) -> Option<Vec<u8>> {
    // The first four bytes are the variable's attributes (Documentation/filesystems/efivarfs.rst).
    root.bytes(&format!("sys/firmware/efi/efivars/{name}")).and_then(|bytes| bytes.get(4..).map(<[u8]>::to_vec))
}

fn efi_byte(root: &Root, name: &str) -> Option<u8> {
    efi(root, name)?.first().copied()
}

/// `LoaderEntrySelected`: UTF-16 with a NUL at its end.
fn loader_entry(root: &Root) -> Option<String> {
    let bytes = efi(root, &format!("LoaderEntrySelected-{LOADER}"))?;
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::super::sysfs::tests::fixture;
    use super::*;

    const HASH: &str = "4c6f5f4cb9f94a0fb1d6d5f7a0e9c8d7b6a5948372615049382716055f4e3d2c";

    fn appliance() -> (tempfile::TempDir, Root) {
        let (dir, root) = fixture(&[
            (
                "usr/lib/os-release",
                "ID=debian\nIMAGE_ID=tbi\nIMAGE_VERSION=\"0.1.0\"\nVARIANT_ID=debug\nBUILD_ID=6473c3f\n",
            ),
            ("proc/cmdline", &format!("quiet roothash={HASH} console=ttyS0\n")),
            ("proc/sys/kernel/random/boot_id", "8d6f3c1e-0000-4000-8000-000000000001\n"),
            ("dev/disk/by-partuuid/4c6f5f4c-b9f9-4a0f-b1d6-d5f7a0e9c8d7", "->../../vda2"),
            ("dev/vda2", ""),
            ("sys/class/block/vda2/uevent", "DEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTNAME=tbi_0.1.0\n"),
        ]);
        let efivars = dir.path().join("sys/firmware/efi/efivars");
        fs::create_dir_all(&efivars).unwrap();
        let entry: Vec<u8> = "tbi_0.1.0+3.efi\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(efivars.join(format!("LoaderEntrySelected-{LOADER}")), [&[6, 0, 0, 0][..], &entry].concat()).unwrap();
        fs::write(efivars.join(format!("SecureBoot-{GLOBAL}")), [6, 0, 0, 0, 1]).unwrap();
        (dir, root)
    }

    #[test]
    fn an_appliance_knows_what_it_booted() {
        let (_dir, root) = appliance();
        let facts = facts(&root);
        assert_eq!((facts.version.as_str(), facts.variant.as_str()), ("0.1.0", "debug"));
        assert_eq!(facts.commit.as_deref(), Some("6473c3f"));
        assert!(facts.built.is_some_and(|built| built > 1_700_000_000), "the date of the file");
        let slot = Slot {
            label: "tbi_0.1.0".to_owned(),
            root_hash: Some(HASH.to_owned()),
            entry: Some("tbi_0.1.0+3.efi".to_owned()),
            secure_boot: true,
        };
        assert_eq!(facts.slot, slot);
    }

    #[test]
    fn the_label_is_found_under_verity_without_any_device_node() {
        let (_dir, root) = fixture(&[
            ("sys/class/block/dm-0/dm/name", "root\n"),
            ("sys/class/block/dm-0/slaves/vda3/dev", "253:3\n"),
            ("sys/class/block/vda3/uevent", "PARTN=3\nPARTNAME=tbi_0.2.0\n"),
        ]);
        assert_eq!(label(&root, None).as_deref(), Some("tbi_0.2.0"));
    }

    #[test]
    fn the_label_is_found_without_udev() {
        let (dir, root) = appliance();
        fs::remove_dir_all(dir.path().join("dev")).unwrap();
        fs::write(
            dir.path().join("sys/class/block/vda2/uevent"),
            "PARTN=2\nPARTNAME=tbi_0.1.0\nPARTUUID=4C6F5F4C-B9F9-4A0F-B1D6-D5F7A0E9C8D7\n",
        )
        .unwrap();
        assert_eq!(facts(&root).slot.label, "tbi_0.1.0");
    }

    #[test]
    fn a_machine_that_is_no_appliance_is_unknown() {
        let (_dir, root) = fixture(&[("proc/cmdline", "root=/dev/sda1 roothash=none\n")]);
        let facts = facts(&root);
        let slot = Slot { label: "unknown".to_owned(), root_hash: None, entry: None, secure_boot: false };
        assert_eq!((facts.slot, facts.commit, facts.version.as_str()), (slot, None, env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn damaged_loader_variables_are_no_entry() {
        let (dir, root) = appliance();
        let path = dir.path().join(format!("sys/firmware/efi/efivars/LoaderEntrySelected-{LOADER}"));
        for bad in [&[][..], &[6, 0], &[6, 0, 0, 0], &[6, 0, 0, 0, 0, 0xD8, 0, 0], &[6, 0, 0, 0, 7, 0, 0, 0]] {
            fs::write(&path, bad).unwrap();
            assert_eq!(facts(&root).slot.entry, None, "{bad:?}");
        }
    }
}
