//! What a machine is to be like, and how QEMU is told. Memory, devices and their order are the same for every machine with the same
//! choices: a saved state continues only in a machine that is the same to the last slot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::image::Image;
use super::machine::{Boot, Machine};
use super::tools;
use super::tpm::Tpm;

/// MAC address of the management interface.
pub const MANAGEMENT_MAC: &str = "52:54:00:00:00:01";
/// MAC address of the interface that can be chosen as trunk.
pub const TRUNK_MAC: &str = "52:54:00:00:00:02";

/// Ports of the machine that a port of ours leads to, as long as it has a network: the agent's API (debug variant) and the front door.
const FORWARDED: [(&str, u16); 3] = [("tcp", 8440), ("tcp", 443), ("udp", 443)];

/// Where the machine's kernel finds that interface: alone behind the only port.
pub(super) const TRUNK_PCI: &str = "0000:01:00.0";

/// Files of a machine in its folder. Sockets are named without it (QEMU runs there), as paths of sockets may have 107 bytes only.
pub(super) const DISK: &str = "disk.qcow2";
pub(super) const VARIABLES: &str = "vars.fd";
pub(super) const SERIAL_LOG: &str = "serial.log";
pub(super) const SERIAL: &str = "serial.sock";
pub(super) const DEBUG: &str = "debug.sock";
pub(super) const MONITOR: &str = "qmp.sock";
pub(super) const TRUNK_BOX: &str = "trunk.box";
pub(super) const TRUNK_TEST: &str = "trunk.test";
pub(super) const QEMU_LOG: &str = "qemu.log";

/// Builder of a [`Machine`].
#[derive(Debug)]
pub struct Setup {
    image: Image,
    pub(super) directory: TempDir,
    boot: Boot,
    disk_bytes: u64,
    clock: Option<String>,
    network: bool,
    trunk: bool,
    tpm: Option<String>,
    append: String,
    incoming: Option<PathBuf>,
}

impl Setup {
    /// A box as it comes: started through its firmware, a 16 GB disk, one network, a second NIC for the trunk.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let directory = match tempfile::Builder::new().prefix("tbi-vm-").tempdir() {
            Ok(directory) => directory,
            Err(error) => panic!("no folder for the machine: {error}"),
        };
        Self {
            image: image.clone(),
            directory,
            boot: Boot::Firmware,
            disk_bytes: 16_000_000_000,
            clock: None,
            network: true,
            trunk: true,
            tpm: None,
            append: String::new(),
            incoming: None,
        }
    }

    /// How it starts.
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// Size of its disk.
    #[must_use]
    pub fn disk_bytes(mut self, bytes: u64) -> Self {
        self.disk_bytes = bytes;
        self
    }

    /// What its hardware clock says when it starts, `2001-01-01T00:00:00`.
    #[must_use]
    pub fn clock(mut self, time: &str) -> Self {
        self.clock = Some(time.to_owned());
        self
    }

    /// Without any network interface.
    #[must_use]
    pub fn without_network(mut self) -> Self {
        (self.network, self.trunk) = (false, false);
        self
    }

    /// Without the second interface.
    #[must_use]
    pub fn without_trunk(mut self) -> Self {
        self.trunk = false;
        self
    }

    /// With a TPM 2.0. Every name is a TPM of its own, which stays what it is over all starts of this machine.
    #[must_use]
    pub fn tpm(mut self, name: &str) -> Self {
        self.tpm = Some(name.to_owned());
        self
    }

    /// More words on the kernel's command line; only for [`Boot::Kernel`], as the other is sealed.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append = words.to_owned();
        self
    }

    /// Its disk, made when it is not there yet: before the first start it can be hurt here.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        let disk = self.directory.path().join(DISK);
        if !disk.exists() {
            tools::overlay(&self.image.raw(), "raw", &disk, Some(self.disk_bytes));
        }
        disk
    }

    /// Overwrites bytes of the disk while the machine is off.
    pub fn overwrite_disk(&self, offset: u64, length: u64, pattern: u8) {
        let disk = self.disk();
        let said = tools::run("qemu-io", |command| {
            command.args(["-f", "qcow2", "-c", &format!("write -P {pattern} {offset} {length}")]).arg(disk);
        });
        assert!(said.contains("wrote"), "qemu-io wrote nothing: {said}");
    }

    /// Puts another disk into the machine: the image's, with another file in its ESP.
    pub fn replace_disk(&self, esp_path: &str, content: &Path) {
        let folder = self.directory.path();
        let (raw, disk) = (folder.join("other.raw"), folder.join(DISK));
        self.image.with_esp_file(esp_path, content, &raw);
        let _absent = fs::remove_file(&disk);
        tools::overlay(&raw, "raw", &disk, Some(self.disk_bytes));
    }

    /// The machine's folder; it goes with the machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The image it runs.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Continues from a state saved in `folder` instead of starting.
    pub(super) fn continue_from(mut self, folder: &Path) -> Self {
        tools::overlay(&folder.join(DISK), "qcow2", &self.directory.path().join(DISK), None);
        let variables = self.directory.path().join(VARIABLES);
        if let Err(error) = fs::copy(folder.join(VARIABLES), &variables) {
            panic!("cannot copy the firmware's variables to {}: {error}", variables.display());
        }
        self.incoming = Some(folder.join("state"));
        self
    }

    /// After the power was cut, the machine starts anew from its disk.
    pub(super) fn after_power_cut(mut self) -> Self {
        self.incoming = None;
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Machine {
        Machine::start(self)
    }

    /// The saved state to continue from.
    pub(super) fn incoming(&self) -> Option<&Path> {
        self.incoming.as_deref()
    }

    pub(super) fn has_trunk(&self) -> bool {
        self.trunk
    }

    pub(super) fn tpm_name(&self) -> Option<&str> {
        self.tpm.as_deref()
    }

    pub(super) fn has_network(&self) -> bool {
        self.network
    }

    pub(super) fn qemu(&self) -> Command {
        let disk = self.disk();
        let mut qemu = tools::command("qemu-system-x86_64");
        qemu.current_dir(self.directory.path());
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-m", "2G", "-smp", "2"]);
        // A machine that has switched itself off is seen to have done so; QEMU stays until it is told to go.
        qemu.arg("-no-shutdown");
        qemu.args(acceleration());
        self.add_boot(&mut qemu);
        qemu.arg("-drive")
            .arg(format!("file={},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap", disk.display()));
        qemu.args(["-device", "virtio-blk-pci,drive=disk,bootindex=0", "-device", "virtio-rng-pci"]);
        if self.network {
            let forwards = FORWARDED.map(|(transport, port)| format!(",hostfwd={transport}:127.0.0.1:0-:{port}"));
            qemu.arg("-netdev").arg(format!("user,id=management{}", forwards.concat()));
            qemu.arg("-device").arg(format!("virtio-net-pci,id=nic0,netdev=management,mac={MANAGEMENT_MAC},romfile="));
        }
        if self.trunk {
            let ends = format!("local.type=unix,local.path={TRUNK_BOX},remote.type=unix,remote.path={TRUNK_TEST}");
            qemu.arg("-netdev").arg(format!("dgram,id=trunk,{ends}"));
            // Behind a port of its own: its address is known, and it comes after the management interface by position.
            qemu.args(["-device", "pcie-root-port,id=port1,chassis=1"]);
            qemu.arg("-device").arg(format!("virtio-net-pci,id=nic1,bus=port1,netdev=trunk,mac={TRUNK_MAC},romfile="));
        }
        if self.tpm.is_some() {
            Tpm::plug(&mut qemu);
        }
        qemu.arg("-chardev").arg(format!("socket,id=serial,path={SERIAL},server=on,wait=off,logfile={SERIAL_LOG}"));
        qemu.args(["-serial", "chardev:serial", "-device", "virtio-serial-pci"]);
        qemu.arg("-chardev").arg(format!("socket,id=debug,path={DEBUG},server=on,wait=off"));
        qemu.args(["-device", "virtserialport,chardev=debug,name=tbi.debug"]);
        qemu.arg("-qmp").arg(format!("unix:{MONITOR},server=on,wait=off"));
        match &self.clock {
            Some(time) => qemu.arg("-rtc").arg(format!("base={time},clock=vm")),
            None => qemu.args(["-rtc", "base=utc"]),
        };
        if self.incoming.is_some() {
            // From where is told over the monitor, see `Machine::start`.
            qemu.args(["-incoming", "defer"]);
        }
        // Nothing runs before the debug port has its reader.
        qemu.arg("-S");
        qemu
    }

    fn add_boot(&self, qemu: &mut Command) {
        if let Boot::Kernel = self.boot {
            let parts = self.image.kernel_parts();
            qemu.arg("-kernel").arg(parts.kernel).arg("-initrd").arg(parts.initrd);
            qemu.arg("-append").arg(format!("{} {}", parts.command_line, self.append));
            return;
        }
        assert!(self.append.is_empty(), "the command line of a machine with firmware is sealed in its kernel image");
        let variables = self.directory.path().join(VARIABLES);
        if !variables.exists()
            && let Err(error) = fs::copy(tools::file("/usr/share/OVMF/OVMF_VARS_4M.fd"), &variables)
        {
            panic!("cannot copy the firmware's variables to {}: {error}", variables.display());
        }
        let code = match self.boot {
            Boot::SecureBoot => {
                // Only code in system management mode may write to the variables; sleeping (S3) would open a way around it (OVMF's README).
                qemu.args(["-machine", "smm=on", "-global", "ICH9-LPC.disable_s3=1"]);
                qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
            }
            Boot::Firmware | Boot::Kernel => "/usr/share/OVMF/OVMF_CODE_4M.fd",
        };
        qemu.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
        qemu.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,file={VARIABLES}"));
    }
}

/// KVM only where somebody says that it works: a device node promises nothing.
pub(super) fn acceleration() -> [&'static str; 4] {
    if std::env::var_os("TBI_KVM").is_some_and(|value| value == "1") {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=multi", "-cpu", "max"]
    }
}
