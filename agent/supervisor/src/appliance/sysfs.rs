//! Reads the kernel's small files below a root, which is `/` on a box and a folder of fixtures in tests. What is missing is `None`: files
//! differ from kernel to kernel and from card to card, and a probe that stops at the first surprise is of no use.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::nic::{BusPosition, FoundNic, Mac};

/// The kernel's files are small; what is larger is not one.
const MOST: u64 = 256 * 1024;
/// `ARPHRD_ETHER` of linux/if_arp.h.
const ETHERNET: &str = "1";

/// Where `/sys`, `/proc`, `/etc`, `/dev` and `/run` are.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// The file's text without white space around it.
    pub(crate) fn text(&self, below: &str) -> Option<String> {
        let mut text = String::new();
        fs::File::open(self.path(below)).ok()?.take(MOST).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned())
    }

    pub(crate) fn bytes(&self, below: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(below)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(crate) fn number(&self, below: &str) -> Option<u64> {
        self.text(below)?.parse().ok()
    }

    /// Names in a directory, sorted.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(below)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Where a link leads, relative to the root.
    pub(crate) fn resolved(&self, below: &str) -> Option<String> {
        let root = fs::canonicalize(&self.0).ok()?;
        let path = fs::canonicalize(self.path(below)).ok()?;
        path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
    }

    pub(crate) fn exists(&self, below: &str) -> bool {
        self.path(below).exists()
    }
}

/// Network cards of the machine itself: those with a device behind them. VLANs, veths and bridges of ours have none.
pub(crate) fn nics(root: &Root) -> Vec<FoundNic> {
    let mut nics: Vec<FoundNic> = root.names("sys/class/net").into_iter().filter_map(|name| nic(root, name)).collect();
    nics.sort_by(|a, b| (&a.position, &a.name).cmp(&(&b.position, &b.name)));
    nics
}

fn nic(root: &Root, name: String) -> Option<FoundNic> {
    let at = |file: &str| format!("sys/class/net/{name}/{file}");
    if !root.exists(&at("device")) || root.text(&at("type"))? != ETHERNET {
        return None;
    }
    let queues = root.names(&at("queues"));
    let count = |kind: &str| u32::try_from(queues.iter().filter(|queue| queue.starts_with(kind)).count()).unwrap_or(0);
    let driver = root.resolved(&at("device/driver")).as_deref().and_then(basename).unwrap_or_default();
    Some(FoundNic {
        mac: root.text(&at("address"))?.parse::<Mac>().ok()?,
        // 0 is NET_ADDR_PERM (linux/netdevice.h).
        permanent: root.number(&at("addr_assign_type")) == Some(0),
        position: BusPosition::of(root.resolved(&format!("sys/class/net/{name}")).as_deref().unwrap_or(&name)),
        driver,
        // Without a link the kernel answers with an error or with -1 (unknown), both of which are no number here.
        speed_mbps: root.number(&at("speed")).filter(|speed| *speed < u64::from(u32::MAX)),
        carrier: root.number(&at("carrier")) == Some(1),
        rx_queues: count("rx-"),
        tx_queues: count("tx-"),
        sriov_vfs: root.number(&at("device/sriov_totalvfs")).and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
        wireless: root.exists(&at("phy80211")),
        name,
    })
}

pub(crate) fn basename(path: &str) -> Option<String> {
    Path::new(path).file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with files; a text that begins with `->` makes a link.
    pub(crate) fn fixture(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("->") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        let root = Root::new(dir.path());
        (dir, root)
    }

    /// Two virtio cards, the second without a link; loopback; a VLAN of ours.
    pub(crate) const CARDS: &[(&str, &str)] = &[
        ("sys/class/net/ens3", "->../../devices/pci0000:00/0000:00:03.0/virtio1/net/ens3"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/device", "->../../../virtio1"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/driver", "->../../../../bus/virtio/drivers/virtio_net"),
        ("sys/bus/virtio/drivers/virtio_net/uevent", ""),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/type", "1\n"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/address", "52:54:00:00:00:03\n"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/addr_assign_type", "0\n"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/speed", "25000\n"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/carrier", "1\n"),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/queues/rx-0/x", ""),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/queues/rx-1/x", ""),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/queues/tx-0/x", ""),
        ("sys/devices/pci0000:00/0000:00:03.0/virtio1/sriov_totalvfs", "7\n"),
        ("sys/class/net/ens10", "->../../devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10"),
        ("sys/devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10/device", "->../../../virtio2"),
        ("sys/devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10/type", "1\n"),
        ("sys/devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10/address", "52:54:00:00:00:0a\n"),
        ("sys/devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10/addr_assign_type", "3\n"),
        ("sys/devices/pci0000:00/0000:00:0a.0/virtio2/net/ens10/speed", "-1\n"),
        ("sys/class/net/lo/type", "772\n"),
        ("sys/class/net/ens10.20/type", "1\n"),
        ("sys/class/net/ens10.20/address", "52:54:00:00:00:0a\n"),
    ];

    #[test]
    fn cards_are_found_with_what_they_can_do() {
        let (_dir, root) = fixture(CARDS);
        let found = nics(&root);
        assert_eq!(found.iter().map(|nic| nic.name.as_str()).collect::<Vec<_>>(), ["ens3", "ens10"]);
        let first = &found[0];
        assert_eq!((first.driver.as_str(), first.speed_mbps, first.carrier), ("virtio_net", Some(25_000), true));
        assert_eq!((first.rx_queues, first.tx_queues, first.sriov_vfs, first.permanent), (2, 1, 7, true));
        let second = &found[1];
        assert_eq!((second.speed_mbps, second.carrier, second.permanent), (None, false, false));
        assert!(first.position < second.position);
    }

    #[test]
    fn no_network_cards_at_all() {
        let (_dir, root) = fixture(&[("sys/class/net/lo/type", "772\n")]);
        assert_eq!(nics(&root), []);
        assert_eq!(nics(&Root::new("/nonexistent")), []);
    }
}
