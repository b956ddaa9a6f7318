//! QEMU's command line for the appliance. Pure.

use std::path::{Path, PathBuf};

use crate::image::boot::accel::Kind;

/// Firmware of the tools tree that keeps its keys behind system management mode, as real machines do: Secure Boot that the system it
/// starts cannot switch off.
pub(super) const SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Firmware for a tools tree without it.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Its variables, as a factory ships them: no keys yet.
pub(super) const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// Fixed, so that a machine looks the same in every start.
const MANAGEMENT_MAC: &str = "52:54:00:7b:10:01";
const TRUNK_MAC: &str = "52:54:00:7b:10:02";

/// A port of the machine on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) name: &'static str,
    /// Wanted here.
    pub(super) host: u16,
    /// In the machine.
    pub(super) guest: u16,
    /// UDP as well as TCP.
    pub(super) udp: bool,
}

impl Forward {
    /// Words of QEMU's `user` network that lead `port` here to the machine.
    fn words(&self, port: u16) -> String {
        let word = |transport: &str| format!(",hostfwd={transport}:127.0.0.1:{port}-:{}", self.guest);
        if self.udp { word("tcp") + &word("udp") } else { word("tcp") }
    }
}

/// How it starts.
pub(super) enum Firmware<'a> {
    Secure { variables: &'a Path },
    Uefi { variables: &'a Path },
    None { linux: &'a Path, initrd: &'a Path, command_line: &'a str },
}

/// A machine.
pub(super) struct Vm<'a> {
    pub(super) accel: Kind,
    pub(super) cpus: usize,
    pub(super) memory: &'a str,
    pub(super) disk: &'a Path,
    pub(super) firmware: Firmware<'a>,
    pub(super) tpm: Option<PathBuf>,
    pub(super) trunk: Option<PathBuf>,
    pub(super) debug_port: Option<PathBuf>,
    /// QEMU's own socket (QMP).
    pub(super) control: &'a Path,
    pub(super) forwards: &'a [(Forward, u16)],
    pub(super) screen: Option<u16>,
    pub(super) snapshot: bool,
}

/// Arguments for `qemu-system-x86_64`.
pub(super) fn arguments(vm: &Vm<'_>) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-name", "tbi", "-nodefaults", "-no-user-config", "-machine", "q35,vmport=off"]);
    match vm.accel {
        Kind::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        Kind::Tcg => add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
    }
    add(&["-smp", &vm.cpus.to_string(), "-m", vm.memory, "-device", "virtio-rng-pci"]);
    match &vm.firmware {
        Firmware::Secure { variables } => {
            // Only code in system management mode may write to the variables; sleeping (S3) would open a way around it (OVMF's README).
            add(&["-machine", "smm=on", "-global", "ICH9-LPC.disable_s3=1"]);
            add(&["-global", "driver=cfi.pflash01,property=secure,value=on"]);
            add(&flash(SECURE_CODE, variables).each_ref().map(String::as_str));
        }
        Firmware::Uefi { variables } => add(&flash(CODE, variables).each_ref().map(String::as_str)),
        Firmware::None { linux, initrd, command_line } => {
            add(&["-kernel", &linux.to_string_lossy(), "-initrd", &initrd.to_string_lossy(), "-append", command_line]);
        }
    }
    add(&["-drive", &format!("if=none,id=disk,format=qcow2,discard=unmap,file={}", escaped(vm.disk))]);
    add(&["-device", "virtio-blk-pci,drive=disk,serial=tbi,bootindex=1"]);
    let forwards: String = vm.forwards.iter().map(|(forward, port)| forward.words(*port)).collect();
    add(&["-netdev", &format!("user,id=management{forwards}")]);
    add(&["-device", &format!("virtio-net-pci,netdev=management,mac={MANAGEMENT_MAC}")]);
    if let Some(wire) = &vm.trunk {
        add(&["-netdev", &format!("stream,id=trunk,server=on,addr.type=unix,addr.path={}", escaped(wire))]);
        add(&["-device", &format!("virtio-net-pci,netdev=trunk,mac={TRUNK_MAC}")]);
    }
    if let Some(socket) = &vm.tpm {
        add(&["-chardev", &format!("socket,id=tpm,path={}", escaped(socket))]);
        add(&["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]);
    }
    if let Some(socket) = &vm.debug_port {
        add(&[
            "-device",
            "virtio-serial-pci",
            "-chardev",
            &format!("socket,id=debug,server=on,wait=off,path={}", escaped(socket)),
        ]);
        add(&["-device", "virtserialport,chardev=debug,name=tbi.debug"]);
    }
    // Signals are ours: QEMU's own answer to Ctrl-C is to pull the plug.
    add(&["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]);
    add(&["-chardev", &format!("socket,id=control,server=on,wait=off,path={}", escaped(vm.control))]);
    add(&["-mon", "chardev=control,mode=control"]);
    match vm.screen {
        Some(port) => {
            add(&["-device", "virtio-vga", "-display", &format!("vnc=127.0.0.1:{}", port.saturating_sub(5900))])
        }
        None => add(&["-display", "none"]),
    }
    if vm.snapshot {
        add(&["-snapshot"]);
    }
    list
}

/// Code that cannot be written, and variables that can.
fn flash(code: &str, variables: &Path) -> [String; 4] {
    let drive = |rest: String| format!("if=pflash,format=raw,{rest}");
    [
        "-drive".to_owned(),
        drive(format!("unit=0,readonly=on,file={code}")),
        "-drive".to_owned(),
        drive(format!("unit=1,file={}", escaped(variables))),
    ]
}

/// In QEMU's option lists a comma in a value is two commas.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> Vm<'static> {
        Vm {
            accel: Kind::Tcg,
            cpus: 2,
            memory: "2G",
            disk: Path::new("/t/a,b/disk.qcow2"),
            firmware: Firmware::Uefi { variables: Path::new("/t/variables.fd") },
            tpm: None,
            trunk: None,
            debug_port: None,
            control: Path::new("/t/control.sock"),
            forwards: &[
                (Forward { name: "dashboard", host: 8443, guest: 443, udp: true }, 9000),
                (Forward { name: "API", host: 8440, guest: 8440, udp: false }, 8440),
            ],
            screen: None,
            snapshot: false,
        }
    }

    #[test]
    fn only_loopback_is_forwarded_and_paths_may_hold_commas() {
        let line = arguments(&vm()).join(" ");
        assert!(line.contains("hostfwd=tcp:127.0.0.1:9000-:443,hostfwd=udp:127.0.0.1:9000-:443"), "{line}");
        assert!(line.contains("hostfwd=tcp:127.0.0.1:8440-:8440") && !line.contains("udp:127.0.0.1:8440"), "{line}");
        assert!(line.contains("file=/t/a,,b/disk.qcow2"), "{line}");
        assert!(line.contains("-accel tcg,thread=multi") && line.contains("-display none"), "{line}");
        assert!(
            !line.contains("tpm")
                && !line.contains("trunk")
                && !line.contains("-snapshot")
                && !line.contains("tbi.debug"),
            "{line}"
        );
    }

    #[test]
    fn secure_boot_is_behind_system_management_mode() {
        let line = |firmware| arguments(&Vm { firmware, ..vm() }).join(" ");
        let variables = Path::new("/t/variables.fd");
        let secure = line(Firmware::Secure { variables });
        for part in ["-machine smm=on", "cfi.pflash01,property=secure,value=on", "disable_s3=1", SECURE_CODE] {
            assert!(secure.contains(part), "{part} in {secure}");
        }
        let plain = line(Firmware::Uefi { variables });
        assert!(plain.contains(CODE) && !plain.contains("smm=on") && !plain.contains("secure"), "{plain}");
    }

    #[test]
    fn what_is_asked_for_is_there() {
        let asked = Vm {
            accel: Kind::Kvm,
            tpm: Some(PathBuf::from("/t/tpm.sock")),
            trunk: Some(PathBuf::from("/t/trunk.sock")),
            debug_port: Some(PathBuf::from("/t/shell.sock")),
            screen: Some(5903),
            snapshot: true,
            firmware: Firmware::None {
                linux: Path::new("/t/linux"),
                initrd: Path::new("/t/initrd"),
                command_line: "quiet roothash=00",
            },
            ..vm()
        };
        let list = arguments(&asked);
        assert!(list.contains(&"quiet roothash=00".to_owned()), "the command line is one word");
        let line = list.join(" ");
        for part in [
            "-accel kvm -cpu host",
            "tpm-crb",
            "netdev=trunk",
            "name=tbi.debug",
            "vnc=127.0.0.1:3",
            "-snapshot",
            "-kernel /t/linux",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("pflash"), "{line}");
    }
}
