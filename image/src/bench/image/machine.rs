//! A virtual machine that is timed: started, watched on its serial line for the word that it is ready, and ended. Both images run in the same
//! one. It is a thinner machine than `image boot`'s: nobody sits in front of it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::{cpu, wait};
use crate::command::{output_of, typed};
use crate::image::files;
use crate::image::tools::Tools;
use crate::terminal::plain;

/// Firmware of the tools tree, and its variables as a factory ships them. This build knows no Secure Boot, which needs system management mode and so
/// costs time without KVM.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// As `image boot` has it.
const DISK_SIZE: &str = "16G";
const MEMORY: &str = "2G";
/// Serial output that is looked at again with what comes next: words may come in pieces.
const REMEMBERED: usize = 4096;
/// Pieces of serial output on their way.
const PIECES: usize = 64;
/// QEMU's own sockets are there within this time.
const SOCKETS: Duration = Duration::from_secs(30);
/// A machine whose power button was pressed gets this long.
const POWER_OFF: Duration = Duration::from_secs(90);

/// What is kept of a machine between its starts.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    tools: &'a Tools,
    home: PathBuf,
    /// What the serial line says when the machine is ready.
    word: &'static str,
}

/// Whether a start may write to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Keep,
    /// The next start finds the disk as this one did.
    Forget,
}

/// What it took until the word came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Took {
    pub(super) seconds: f64,
    /// Processor time of QEMU, user and system.
    pub(super) cpu_seconds: f64,
}

impl<'a> Setup<'a> {
    /// A new machine in `home` with a disk over the image `raw`.
    pub(super) fn new(tools: &'a Tools, home: PathBuf, raw: &Path, word: &'static str) -> Result<Self> {
        files::make_empty(&home)?;
        let disk = home.join("disk.qcow2");
        let mut create = tools.command("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(raw).arg(&disk).arg(DISK_SIZE);
        output_of(&mut create)?;
        output_of(tools.command("cp").arg(VARIABLES).arg(home.join("variables.fd")))?;
        Ok(Self { tools, home, word })
    }

    /// Starts it and waits until it is ready.
    pub(super) fn start(&self, writes: Writes, within: Duration) -> Result<(Machine, Took)> {
        for socket in [self.control(), self.debug()] {
            // QEMU does not replace one that is left over.
            let _none = fs::remove_file(socket);
        }
        let mut qemu = self.tools.held("qemu-system-x86_64");
        qemu.current_dir(&self.home).args(arguments(writes));
        let log = fs::File::create(self.home.join("qemu.log")).context("cannot write QEMU's log")?;
        let started = Instant::now();
        let mut child = qemu
            // Held open as long as it runs: a serial line whose other end is closed is hung up.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", typed(&qemu)))?;
        let serial = child.stdout.take().context("QEMU has no serial line")?;
        let serial = carry(serial, fs::File::create(self.home.join("serial.log")).context("cannot write a log")?);
        let mut machine = Machine { child, serial, control: self.control() };
        let took = machine.until(self.word, started, within).with_context(|| {
            format!("what the machine said is in {} and qemu.log beside it", self.home.join("serial.log").display())
        })?;
        Ok((machine, took))
    }

    fn control(&self) -> PathBuf {
        self.home.join("control.sock")
    }

    /// Where the debug variant's root shell is.
    pub(super) fn debug(&self) -> PathBuf {
        self.home.join("debug.sock")
    }
}

/// Arguments for QEMU, whose working directory is the machine's folder: names of sockets must be short (unix(7)). `TBI_KVM=1` is for machines where KVM
/// is known to work, as in the tests.
fn arguments(writes: Writes) -> Vec<String> {
    let accel = if kvm() { "-accel kvm -cpu host" } else { "-accel tcg,thread=multi -cpu max" };
    let snapshot = if writes == Writes::Forget { "-snapshot" } else { "" };
    let line = format!(
        "-name tbi-bench -nodefaults -no-user-config -display none -machine q35,vmport=off {accel} -smp 2 -m {MEMORY} {snapshot} \
         -device virtio-rng-pci \
         -drive if=pflash,unit=0,format=raw,readonly=on,file={CODE} -drive if=pflash,unit=1,format=raw,file=variables.fd \
         -drive if=none,id=disk,format=qcow2,discard=unmap,file=disk.qcow2 -device virtio-blk-pci,drive=disk,serial=tbi,bootindex=1 \
         -netdev user,id=management -device virtio-net-pci,netdev=management,mac=52:54:00:7b:10:01 \
         -device virtio-serial-pci -chardev socket,id=debug,server=on,wait=off,path=debug.sock \
         -device virtserialport,chardev=debug,name=tbi.debug \
         -chardev stdio,id=serial,signal=off -serial chardev:serial \
         -chardev socket,id=control,server=on,wait=off,path=control.sock -mon chardev=control,mode=control"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

fn kvm() -> bool {
    std::env::var_os("TBI_KVM").is_some_and(|value| value == "1")
}

/// For people.
pub(super) fn accel_name() -> &'static str {
    if kvm() { "with KVM" } else { "emulating, without KVM" }
}

/// A machine that is ready. Dropped, it is ended at once.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    serial: Receiver<Vec<u8>>,
    control: PathBuf,
}

impl Machine {
    fn until(&mut self, word: &str, started: Instant, within: Duration) -> Result<Took> {
        let mut seen = String::new();
        loop {
            let left = within.saturating_sub(started.elapsed());
            match self.serial.recv_timeout(left) {
                Ok(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => bail!("the machine was not ready within {} s", within.as_secs()),
                Err(RecvTimeoutError::Disconnected) => bail!("the machine ended before it was ready"),
            }
            if plain(&seen).contains(word) {
                let seconds = started.elapsed().as_secs_f64();
                return Ok(Took { seconds, cpu_seconds: cpu::used_us(self.child.id())? as f64 / 1e6 });
            }
            let surplus = seen.len().saturating_sub(REMEMBERED);
            if let Some((place, _)) = seen.char_indices().find(|(place, _)| *place >= surplus) {
                seen.drain(..place);
            }
        }
    }

    /// Lets it run on for a while.
    pub(super) fn run_on(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            match self.serial.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => bail!("the machine ended by itself"),
            }
        }
    }

    /// Presses the power button and waits until it is off.
    pub(super) fn power_off(mut self) -> Result<()> {
        press_power_button(&self.control).context("cannot press the machine's power button")?;
        let end = Instant::now() + POWER_OFF;
        loop {
            match self.serial.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the machine did not power off within {} s", POWER_OFF.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().context("cannot wait for QEMU")?;
        if !status.success() {
            bail!("QEMU ended with {status}");
        }
        Ok(())
    }

    /// Its serial line is not looked at any more, but must not fill up.
    pub(super) fn ignore_serial(&mut self) {
        while self.serial.try_recv().is_ok() {}
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for one of QEMU's sockets.
pub(super) fn connect(socket: &Path) -> Result<UnixStream> {
    // The path may be longer than a socket's name may be; the folder's descriptor is not.
    let folder =
        fs::File::open(socket.parent().context("a socket lies in a folder")?).context("no folder for sockets")?;
    let name = socket.file_name().context("a socket has a name")?.to_string_lossy().into_owned();
    let short = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&folder));
    wait::until(&format!("{} did not answer", socket.display()), SOCKETS, || Ok(UnixStream::connect(&short).ok()))
}

/// QMP: greeting, capabilities, command.
fn press_power_button(control: &Path) -> Result<()> {
    let mut stream = connect(control)?;
    stream.set_read_timeout(Some(SOCKETS))?;
    let mut answer = [0; 4096];
    for line in ["", r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"system_powerdown"}"#] {
        stream.write_all(line.as_bytes())?;
        if stream.read(&mut answer)? == 0 {
            bail!("QEMU closed its control socket");
        }
    }
    Ok(())
}

/// Carries serial output to a channel and a log until the line ends.
fn carry(mut serial: ChildStdout, mut log: fs::File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(PIECES);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match serial.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    // Only a look afterwards is lost without the log.
                    let _lost = log.write_all(bytes);
                    if sender.send(bytes.to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_starts_leave_the_disk_as_it_was() {
        assert!(arguments(Writes::Forget).contains(&"-snapshot".to_owned()));
        assert!(!arguments(Writes::Keep).contains(&"-snapshot".to_owned()));
    }
}
