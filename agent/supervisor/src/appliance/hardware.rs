//! The hardware probe (REQUIREMENTS C7): what the machine is, read from sysfs and procfs. Nothing is measured and nothing is changed.

use tbi_api::hardware::{Cpu, Disk, Hardware, Nic};

use super::nic::{FoundNic, Roles};
use super::sysfs::{Root, basename};
use super::verdict;

/// Looks at the machine. Cards come in because their roles were decided elsewhere.
pub(crate) fn probe(root: &Root, nics: &[FoundNic], roles: &Roles) -> Hardware {
    let cpu = cpu(&root.text("proc/cpuinfo").unwrap_or_default());
    let memory_bytes = memory(&root.text("proc/meminfo").unwrap_or_default());
    let verdict = verdict::judge(&cpu, memory_bytes, roles);
    Hardware {
        machine: machine(root),
        virtualisation: virtualisation(root),
        cpu,
        memory_bytes,
        nics: nics.iter().map(|nic| described(nic, roles)).collect(),
        disks: disks(root),
        tpm: tpm(root),
        verdict,
    }
}

/// Cards in the words of the API.
pub(crate) fn described(nic: &FoundNic, roles: &Roles) -> Nic {
    Nic {
        name: nic.name.clone(),
        mac: nic.mac.to_string(),
        driver: nic.driver.clone(),
        speed_mbps: nic.speed_mbps,
        carrier: nic.carrier,
        rx_queues: nic.rx_queues,
        tx_queues: nic.tx_queues,
        sriov_vfs: nic.sriov_vfs,
        role: roles.role_of(nic).to_owned(),
    }
}

fn machine(root: &Root) -> String {
    let said = |file: &str| root.text(&format!("sys/class/dmi/id/{file}")).filter(|text| !text.is_empty());
    let words: Vec<String> = ["sys_vendor", "product_name"].into_iter().filter_map(said).collect();
    if words.is_empty() { "unknown".to_owned() } else { words.join(" ") }
}

/// `/proc/cpuinfo` (x86 and Arm): one block per logical processor, all of them alike.
fn cpu(cpuinfo: &str) -> Cpu {
    let value = |wanted: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == wanted)
            .map(|(_, value)| value.trim())
    };
    let flags: Vec<&str> =
        value("flags").or_else(|| value("Features")).unwrap_or_default().split_whitespace().collect();
    let has = |flag: &str| flags.contains(&flag);
    let threads =
        cpuinfo.lines().filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor")).count();
    Cpu {
        model: value("model name").unwrap_or("unknown").to_owned(),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        aes_ni: has("aes"),
        avx2: has("avx2"),
        avx512: has("avx512f") && has("vaes"),
        vaes: has("vaes") && (has("avx2") || has("avx512f")),
    }
}

fn memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// The hypervisor, by what it says of itself in the firmware tables and in the clocks it offers. The processor's own answer (CPUID leaf
/// 0x40000000) would need an instruction that safe code does not have.
fn virtualisation(root: &Root) -> Option<String> {
    let dmi = ["sys_vendor", "product_name", "bios_vendor"]
        .map(|file| root.text(&format!("sys/class/dmi/id/{file}")).unwrap_or_default().to_lowercase())
        .join(" ");
    let clocks = root.text("sys/devices/system/clocksource/clocksource0/available_clocksource").unwrap_or_default();
    let hypervisor = root.text("proc/cpuinfo").is_some_and(|text| text.contains(" hypervisor"));
    let by_clock = [("kvm-clock", "kvm"), ("hyperv_clocksource", "microsoft"), ("xen", "xen")];
    let by_name = [
        ("vmware", "vmware"),
        ("virtualbox", "oracle"),
        ("innotek", "oracle"),
        ("microsoft corporation virtual machine", "microsoft"),
        ("parallels", "parallels"),
        ("kvm", "kvm"),
        ("xen", "xen"),
        ("qemu", "qemu"),
        ("bochs", "qemu"),
    ];
    let found = by_clock.into_iter().find(|(clock, _)| clocks.contains(clock));
    let found = found.or_else(|| by_name.into_iter().find(|(name, _)| dmi.contains(name)));
    found.map(|(_, name)| name.to_owned()).or_else(|| hypervisor.then(|| "unknown hypervisor".to_owned()))
}

/// Devices of the kernel's that are no disks of the machine.
const NO_DISKS: [&str; 8] = ["loop", "zram", "ram", "dm-", "md", "sr", "fd", "nbd"];

fn disks(root: &Root) -> Vec<Disk> {
    let system = system_disks(root);
    let is_disk = |name: &String| {
        !NO_DISKS.iter().any(|kind| name.starts_with(kind))
            && !root.exists(&format!("sys/class/block/{name}/partition"))
    };
    let described = |name: String| {
        let at = |file: &str| format!("sys/class/block/{name}/{file}");
        // Always in units of 512 bytes, whatever the disk's sectors are (linux/types.h, sector_t).
        let bytes = root.number(&at("size"))?.saturating_mul(512);
        let model = root.text(&at("device/model")).unwrap_or_default();
        let rotational = root.number(&at("queue/rotational")) == Some(1);
        (bytes > 0).then(|| Disk { model, bytes, rotational, system: system.contains(&name), name })
    };
    root.names("sys/class/block").into_iter().filter(is_disk).filter_map(described).collect()
}

/// Disks below the file systems the running system lives on.
fn system_disks(root: &Root) -> Vec<String> {
    const PLACES: [&str; 5] = ["/", "/usr", "/var/lib/tlsstress", "/boot", "/efi"];
    let mounts = root.text("proc/self/mountinfo").unwrap_or_default();
    let devices = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, place) = (fields.nth(2)?, fields.nth(1)?);
        PLACES.contains(&place).then(|| device.to_owned())
    });
    let mut disks = Vec::new();
    let mut open: Vec<String> =
        devices.filter_map(|device| root.resolved(&format!("sys/dev/block/{device}"))).collect();
    // Device mapper stacks (verity, crypt) are a few levels deep; the bound keeps a damaged tree from going round for ever.
    for _level in 0..64 {
        let Some(path) = open.pop() else { break };
        let below = root.names(&format!("{path}/slaves"));
        let on_top = below.iter().filter_map(|name| root.resolved(&format!("sys/class/block/{name}")));
        open.extend(on_top);
        if below.is_empty() {
            let whole = if root.exists(&format!("{path}/partition")) {
                path.rsplit_once('/').map_or("", |(disk, _)| disk)
            } else {
                &path
            };
            disks.extend(basename(whole));
        }
    }
    disks
}

fn tpm(root: &Root) -> Option<String> {
    match root.text("sys/class/tpm/tpm0/tpm_version_major")?.as_str() {
        "2" => Some("2.0".to_owned()),
        "1" => Some("1.2".to_owned()),
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::nic::{Wanted, choose};
    use super::super::sysfs::nics;
    use super::super::sysfs::tests::{CARDS, fixture};
    use super::*;

    const XEON: &str = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold\nflags\t\t: fpu aes avx2 avx512f vaes hypervisor\n\n\
                        processor\t: 1\nmodel name\t: Intel(R) Xeon(R) Gold\nflags\t\t: fpu aes avx2 avx512f vaes hypervisor\n";

    #[test]
    fn processors_and_memory() {
        let xeon = cpu(XEON);
        assert_eq!((xeon.model.as_str(), xeon.threads), ("Intel(R) Xeon(R) Gold", 2));
        assert!(xeon.aes_ni && xeon.avx2 && xeon.avx512 && xeon.vaes);
        let arm = cpu("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd aes sha2\n");
        assert_eq!((arm.threads, arm.aes_ni, arm.avx2), (1, true, false));
        assert_eq!(
            cpu(""),
            Cpu { model: "unknown".to_owned(), threads: 0, aes_ni: false, avx2: false, avx512: false, vaes: false }
        );
        assert_eq!(memory("MemTotal:        8041300 kB\nMemFree: 1 kB\n"), 8_041_300 * 1024);
        assert_eq!(memory("nothing"), 0);
    }

    #[test]
    fn hypervisors_are_told_apart() {
        for (files, expected) in [
            (&[("sys/class/dmi/id/sys_vendor", "QEMU\n")][..], Some("qemu")),
            (
                &[
                    ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
                    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "kvm-clock tsc acpi_pm\n"),
                ],
                Some("kvm"),
            ),
            (&[("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n")], Some("vmware")),
            (&[("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"), ("proc/cpuinfo", "flags\t: fpu aes\n")], None),
            (&[("proc/cpuinfo", XEON)], Some("unknown hypervisor")),
            (&[], None),
        ] {
            let (_dir, root) = fixture(files);
            assert_eq!(virtualisation(&root).as_deref(), expected, "{files:?}");
        }
    }

    #[test]
    fn the_disk_the_system_came_from_is_found_through_verity() {
        let (_dir, root) = fixture(&[
            (
                "proc/self/mountinfo",
                "22 1 254:0 / / ro - erofs /dev/mapper/root ro\n23 22 0:21 / /proc rw - proc proc rw\n",
            ),
            ("sys/dev/block/254:0", "->../../devices/virtual/block/dm-0"),
            ("sys/class/block/dm-0", "->../../devices/virtual/block/dm-0"),
            ("sys/devices/virtual/block/dm-0/slaves/vda2", "->../../../../pci0000:00/virtio0/block/vda/vda2"),
            ("sys/devices/virtual/block/dm-0/size", "100\n"),
            ("sys/class/block/vda", "->../../devices/pci0000:00/virtio0/block/vda"),
            ("sys/class/block/vda2", "->../../devices/pci0000:00/virtio0/block/vda/vda2"),
            ("sys/devices/pci0000:00/virtio0/block/vda/size", "33554432\n"),
            ("sys/devices/pci0000:00/virtio0/block/vda/queue/rotational", "1\n"),
            ("sys/devices/pci0000:00/virtio0/block/vda/vda2/partition", "2\n"),
            ("sys/devices/pci0000:00/virtio0/block/vda/vda2/size", "2048\n"),
            ("sys/class/block/sdb/size", "7814037168\n"),
            ("sys/class/block/sdb/device/model", "ST4000  \n"),
            ("sys/class/block/loop0/size", "8\n"),
            ("sys/class/block/sdc/size", "0\n"),
        ]);
        let found = disks(&root);
        let shown: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.bytes, it.system, it.rotational)).collect();
        assert_eq!(shown, [("sdb", 4_000_787_030_016, false, false), ("vda", 17_179_869_184, true, true)]);
        assert_eq!(found[0].model, "ST4000");
    }

    #[test]
    fn an_empty_root_is_a_machine_of_unknowns() {
        let (_dir, root) = fixture(&[]);
        let found = probe(&root, &[], &choose(&[], Wanted::default()));
        assert_eq!((found.machine.as_str(), found.tpm, found.disks.len()), ("unknown", None, 0));
    }

    #[test]
    fn cards_carry_their_role() {
        let (_dir, root) = fixture(CARDS);
        let found = nics(&root);
        let roles = choose(&found, Wanted { management: None, trunk: "52:54:00:00:00:03".parse().ok() });
        let hardware = probe(&root, &found, &roles);
        let shown: Vec<_> = hardware.nics.iter().map(|nic| (nic.name.as_str(), nic.role.as_str())).collect();
        assert_eq!(shown, [("ens3", "trunk"), ("ens10", "management")]);
        assert!(hardware.verdict.throughput_mbps <= 25_000);
    }
}
