//! `cargo tbi image boot`: the built image in a virtual machine of this one, with a disk of its own on top, so that the image stays as it was
//! built. The serial console is on the terminal; the dashboard's port and, in the debug variant, the agent's are forwarded to loopback.

mod accel;
mod machine;
mod options;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::command::{output_of, say};
use crate::image::manifest::{Manifest, OutputKind};
use crate::image::tools::Tools;
use crate::image::{Places, Variant, cache, files, pe};
use crate::packages;
use crate::workspace::Workspace;
use machine::{Goal, Helper, Machine};
use options::{Firmware, Forward, Vm};

/// Where the dashboard and, in the debug variant, the agent's API listen in the machine.
const DASHBOARD: Forward = Forward { name: "dashboard", host: 8443, guest: 443, udp: true };
const API: Forward = Forward { name: "agent's API", host: 8440, guest: 8440, udp: false };
/// Ports tried after the wanted one is taken.
const PORTS_TRIED: u16 = 100;

/// Boot the image in a virtual machine.
#[derive(Args)]
#[command(
    after_help = "Ctrl-C powers the machine off; twice ends it at once. Its disk is kept until the image is built anew (--fresh throws it away,
--snapshot keeps nothing of this start).

Examples:
  cargo tbi image boot
  cargo tbi image boot --variant debug --headless --until ready
  cargo tbi image boot --disk 64G --trunk -- -smp 4"
)]
pub(crate) struct Boot {
    /// Which appliance.
    #[arg(long, value_enum, default_value_t = Variant::Release)]
    variant: Variant,
    /// Size of the machine's disk.
    #[arg(long, default_value = "16G", value_parser = size)]
    disk: String,
    /// Memory of the machine.
    #[arg(long, default_value = "2G", value_parser = size)]
    memory: String,
    /// No screen; the serial console is on the terminal in any case.
    #[arg(long)]
    headless: bool,
    /// Start the kernel directly: no firmware, no boot counting, no Secure Boot, some seconds faster.
    #[arg(long, conflicts_with = "tpm")]
    direct: bool,
    /// With a TPM 2.0 (emulated by swtpm; what it keeps stays with the disk).
    #[arg(long)]
    tpm: bool,
    /// With a second network card, whose wire is a socket that another machine can be plugged into.
    #[arg(long)]
    trunk: bool,
    /// Throw away what this start writes to the disk.
    #[arg(long)]
    snapshot: bool,
    /// Begin with a new disk.
    #[arg(long)]
    fresh: bool,
    /// End as soon as this is reached: exit code 0, or 1 when it is not in time.
    #[arg(long, value_enum)]
    until: Option<Until>,
    /// Seconds that may take.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: u64,
    /// Handed to QEMU as they are.
    #[arg(last = true, value_name = "QEMU ARGS")]
    qemu: Vec<String>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// The machine says that it is ready.
    Ready,
}

/// What the disk in the machine's folder was made for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    image: String,
    disk: String,
}

impl Boot {
    /// Returns when the machine is off.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::ensure(&[packages::IMAGE])?;
        let workspace = Workspace::find()?;
        let places = Places::new(&workspace, self.variant);
        let manifest = Manifest::read(&places.manifest()).with_context(|| {
            format!("no {0} image was built yet; type: cargo tbi image build --variant {0}", self.variant.name())
        })?;
        let tools = cache::tools(&workspace, &places)?;
        let home = places.vm();
        files::make(&home)?;
        let raw = file(&manifest, OutputKind::Raw, &places)?;
        let uki = file(&manifest, OutputKind::Uki, &places)?;
        let kernel = self.kernel(&uki, &home)?;
        self.disk(&raw, &manifest, &home, &tools)?;
        let accel = accel::choose(&tools, &kernel.linux, &places)?;
        say(&accel.sentence());
        // Sockets have short names only; the target directory's may be long.
        let sockets = Sockets::make()?;
        let forwards = self.forwards()?;
        for (forward, port) in &forwards {
            say(&format!("{} on 127.0.0.1:{port}", forward.name));
        }
        let screen = if self.headless { None } else { Some(free_port(5900)?) };
        if let Some(port) = screen {
            say(&format!("screen on 127.0.0.1:{port} (VNC)"));
        }
        if self.trunk {
            say(&format!(
                "trunk's wire: QEMU's -netdev stream,server=off,addr.type=unix,addr.path={}",
                sockets.trunk().display()
            ));
        }
        let variables = home.join("variables.fd");
        let secure = tools.tree().join(options::SECURE_CODE.trim_start_matches('/')).is_file();
        if !secure && !self.direct {
            say("the tools tree has no firmware with protected Secure Boot keys; starting with a plain one");
        }
        let vm = Vm {
            accel: accel.kind,
            cpus: std::thread::available_parallelism().map_or(1, usize::from).min(4),
            memory: &self.memory,
            disk: &home.join("disk.qcow2"),
            firmware: if self.direct {
                Firmware::None { linux: &kernel.linux, initrd: &kernel.initrd, command_line: &kernel.command_line }
            } else if secure {
                Firmware::Secure { variables: &variables }
            } else {
                Firmware::Uefi { variables: &variables }
            },
            tpm: self.tpm.then(|| sockets.tpm()),
            trunk: self.trunk.then(|| sockets.trunk()),
            debug_port: (self.variant == Variant::Debug).then(|| sockets.debug()),
            control: &sockets.control(),
            forwards: &forwards,
            screen,
            snapshot: self.snapshot,
        };
        if self.variant == Variant::Debug {
            say(&format!("root shell on {} (socat - UNIX-CONNECT:…)", sockets.debug().display()));
        }
        let mut qemu = tools.held("qemu-system-x86_64");
        qemu.args(options::arguments(&vm)).args(&self.qemu);
        let helper = if self.tpm { Some(Helper::start(&mut swtpm(&tools, &home, &sockets)?)?) } else { None };
        let goal = self.until.map(|Until::Ready| Goal {
            within: Duration::from_secs(self.within),
            api: forwards.iter().find(|(forward, _)| *forward == API).map(|(_, port)| *port),
        });
        let outcome = Machine::start(&mut qemu, &sockets.control())?.watch(goal);
        drop(helper);
        outcome
    }

    /// Kernel, initrd and command line as files: for a direct start and for trying KVM.
    fn kernel(&self, uki: &Path, home: &Path) -> Result<Kernel> {
        let bytes = fs::read(uki).with_context(|| format!("cannot read {}", uki.display()))?;
        let part =
            |name: &str| pe::section(&bytes, name).with_context(|| format!("{} is no kernel image", uki.display()));
        let kernel = Kernel {
            linux: home.join("linux"),
            initrd: home.join("initrd"),
            command_line: String::from_utf8_lossy(part(".cmdline")?).trim_end_matches(['\0', '\n', ' ']).to_owned(),
        };
        files::write(&kernel.linux, part(".linux")?)?;
        files::write(&kernel.initrd, part(".initrd")?)?;
        Ok(kernel)
    }

    /// The machine's disk: what it writes lies in a file of its own over the image.
    fn disk(&self, raw: &Path, manifest: &Manifest, home: &Path, tools: &Tools) -> Result<()> {
        let made = Made { image: manifest.inputs.clone(), disk: self.disk.clone() };
        let note = home.join("made.json");
        let before: Option<Made> = fs::read(&note).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if !self.fresh && before.as_ref() == Some(&made) && home.join("disk.qcow2").is_file() {
            return Ok(());
        }
        let image = |arguments: &[&str], file: &Path| {
            output_of(
                tools.command("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw"]).args(arguments).arg(file),
            )
        };
        // Without the note, a disk that is made only half-way is made again.
        let _none_yet = fs::remove_file(&note);
        let (backing, disk) = (raw.to_string_lossy(), home.join("disk.qcow2"));
        image(&["-b", &backing], &disk)?;
        // Growing says which sizes are too small for the image; creating does not.
        let mut grow = tools.command("qemu-img");
        let image_bytes = files::length(raw)?;
        output_of(grow.args(["resize", "-q"]).arg(&disk).arg(&self.disk)).with_context(|| {
            format!("the image of {} MB does not fit on a disk of {}", image_bytes / 1_000_000, self.disk)
        })?;
        let mut variables = tools.command("cp");
        output_of(variables.arg(options::VARIABLES).arg(home.join("variables.fd")))?;
        files::make_empty(&home.join("tpm"))?;
        files::write(&note, &serde_json::to_vec(&made)?)
    }

    /// Ports on loopback, the next free one when the usual one is taken.
    fn forwards(&self) -> Result<Vec<(Forward, u16)>> {
        let wanted: &[Forward] = match self.variant {
            Variant::Release => &[DASHBOARD],
            Variant::Debug => &[DASHBOARD, API],
        };
        wanted.iter().map(|forward| Ok((*forward, free_port(forward.host)?))).collect()
    }
}

struct Kernel {
    linux: PathBuf,
    initrd: PathBuf,
    command_line: String,
}

fn file(manifest: &Manifest, kind: OutputKind, places: &Places) -> Result<PathBuf> {
    let output = manifest.still_there(kind, &places.outputs());
    let output =
        output.with_context(|| format!("the last build's *{} is gone; build the image again", kind.ending()))?;
    Ok(places.outputs().join(&output.file))
}

fn swtpm(tools: &Tools, home: &Path, sockets: &Sockets) -> Result<std::process::Command> {
    files::make(&home.join("tpm"))?;
    let mut swtpm = tools.held("swtpm");
    swtpm.args(["socket", "--tpm2", "--terminate", "--tpmstate"]).arg(format!("dir={}", home.join("tpm").display()));
    swtpm.arg("--ctrl").arg(format!("type=unixio,path={}", sockets.tpm().display()));
    Ok(swtpm)
}

fn free_port(wanted: u16) -> Result<u16> {
    let free = |port: &u16| {
        let here = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(here).is_ok() && UdpSocket::bind(here).is_ok()
    };
    let last = wanted.saturating_add(PORTS_TRIED);
    (wanted..last).find(free).with_context(|| format!("no port from {wanted} to {last} is free on loopback"))
}

/// A folder for the machine's sockets that goes away with it.
struct Sockets(PathBuf);

impl Sockets {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tbi-vm-{}", std::process::id()));
        files::make_empty(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .with_context(|| format!("cannot protect {}", path.display()))?;
        Ok(Self(path))
    }

    fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    fn tpm(&self) -> PathBuf {
        self.0.join("tpm.sock")
    }

    fn trunk(&self) -> PathBuf {
        self.0.join("trunk.sock")
    }

    fn debug(&self) -> PathBuf {
        self.0.join("shell.sock")
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // A leftover folder with sockets nobody listens on harms nobody.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// `16G`, `512M`: what QEMU takes, checked here for a sentence of ours.
fn size(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['G', 'M']).unwrap_or_default();
    let fits = number.parse::<u32>().is_ok_and(|number| number > 0);
    if fits { Ok(text.to_owned()) } else { Err("a size is a number and G or M, e.g. 16G".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn sizes() {
        assert!(size("16G").is_ok() && size("512M").is_ok());
        for bad in ["16", "G", "0G", "-1G", "16GB", "16g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fault_port_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free_port(port).is_ok_and(|other| other > port));
    }
}
