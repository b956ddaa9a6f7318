//! A running machine. Dropping it ends QEMU; if the test is failing at that moment, the end of the serial line is told.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::api::Api;
use super::image::Image;
use super::monitor::Monitor;
use super::screen::Screen;
use super::setup::{DEBUG, MONITOR, QEMU_LOG, SERIAL, SERIAL_LOG, Setup, TRUNK_BOX, TRUNK_PCI, TRUNK_TEST};
use super::shell::{Output, Shell};
use super::snapshot;
use super::tpm::Tpm;
use super::trunk::Trunk;
use crate::child::until;

/// A first start without KVM takes two minutes on a busy machine.
pub const BOOT: Duration = Duration::from_secs(420);
/// For a command that does next to nothing.
const COMMAND: Duration = Duration::from_secs(60);
/// What a kernel says whose second processor no longer gets its timer. QEMU without KVM loses it now and then, in the first second of the
/// kernel, and the start goes no further; no machine of metal does.
const TIMER_LOST: &str = "rcu_preempt kthread timer wakeup didn't happen";
/// So often a start that QEMU lost is begun again.
const LOST_STARTS: u32 = 2;
/// Lines of the serial log that a failed test shows.
const SHOWN: usize = 60;

const IS_UP: &str = "systemctl is-active --quiet boot-complete.target && cat /proc/uptime";

/// How a machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// OVMF, systemd-boot, signed kernel image: all of it.
    Firmware,
    /// The same, with keys that only the firmware itself can change, as in a real machine: behind system management mode.
    SecureBoot,
    /// Kernel and initrd of the kernel image, with its command line: no boot counting, no Secure Boot.
    Kernel,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// `None` only while the value is taken apart.
    setup: Option<Setup>,
    child: Child,
    tpm: Option<Tpm>,
    monitor: Monitor,
    shell: Shell,
    trunk: Option<Trunk>,
    /// What QEMU says of its network, if the machine has one.
    usernet: Option<String>,
}

impl Machine {
    /// A machine of this image that has reached `boot-complete.target`, a second or two from now; the first call for an image boots it.
    #[must_use]
    pub fn booted(image: &Image) -> Self {
        snapshot::restore(image)
    }

    pub(super) fn start(setup: Setup) -> Self {
        let folder = setup.directory.path().to_owned();
        for socket in [SERIAL, DEBUG, MONITOR, TRUNK_BOX] {
            // Left by the machine that had this folder before.
            let _absent = fs::remove_file(folder.join(socket));
        }
        let trunk = setup.has_trunk().then(|| Trunk::plug(&folder.join(TRUNK_TEST), &folder.join(TRUNK_BOX)));
        let log = match File::create(folder.join(QEMU_LOG)) {
            Ok(log) => log,
            Err(error) => panic!("cannot make QEMU's log: {error}"),
        };
        let tpm = setup.tpm_name().map(|name| Tpm::start(&folder, name));
        // In the test's own process group: whoever ends the test ends the machine.
        let child = setup.qemu().stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => panic!("cannot start QEMU: {error}"),
        };
        let monitor = Monitor::connect(&folder.join(MONITOR), || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!(
                    "QEMU ended at once ({status}): {}",
                    fs::read_to_string(folder.join(QEMU_LOG)).unwrap_or_default()
                );
            }
        });
        let shell = Shell::connect(&folder.join(DEBUG));
        let (network, state) = (setup.has_network(), setup.incoming().map(|state| format!("file:{}", state.display())));
        let mut machine = Self { setup: Some(setup), child, tpm, monitor, shell, trunk, usernet: None };
        if let Some(state) = state {
            let _nothing = machine.monitor.ask("migrate-incoming", json!({ "uri": state }));
            until("the saved state", COMMAND, || {
                let status = machine.monitor.ask("query-status", json!(null));
                (status["status"] != "inmigrate").then_some(())
            });
        }
        if network {
            machine.usernet = Some(machine.monitor.human("info usernet"));
        }
        machine.resume();
        machine
    }

    /// The agent's API.
    ///
    /// # Panics
    /// For a machine without network.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.forwarded("TCP", 8440))
    }

    /// Where its front door is reached over TCP.
    ///
    /// # Panics
    /// For a machine without network.
    #[must_use]
    pub fn door_tcp(&self) -> SocketAddr {
        self.forwarded("TCP", 443)
    }

    /// Where its front door is reached over UDP.
    ///
    /// # Panics
    /// For a machine without network.
    #[must_use]
    pub fn door_udp(&self) -> SocketAddr {
        self.forwarded("UDP", 443)
    }

    /// The port of ours that leads to one of the machine's.
    fn forwarded(&self, transport: &str, port: u16) -> SocketAddr {
        let Some(usernet) = &self.usernet else {
            panic!("this machine has no network, so nothing of it is reached from outside");
        };
        match forwarded_port(usernet, transport, port) {
            Some(ours) => SocketAddr::from(([127, 0, 0, 1], ours)),
            None => panic!("QEMU forwards no port to {transport} {port}: {usernet}"),
        }
    }

    /// The far end of its trunk cable.
    ///
    /// # Panics
    /// For a machine without trunk interface.
    #[must_use]
    pub fn trunk(&self) -> &Trunk {
        match &self.trunk {
            Some(trunk) => trunk,
            None => panic!("this machine has no trunk interface"),
        }
    }

    /// Runs a command in the machine as root.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> Output {
        self.sh_within(command, COMMAND)
    }

    /// The same for one that takes longer.
    #[track_caller]
    pub fn sh_within(&mut self, command: &str, deadline: Duration) -> Output {
        match self.try_sh(command, deadline) {
            Some(output) => output,
            None => panic!("'{command}' did not end within {} s", deadline.as_secs()),
        }
    }

    /// The same; `None` when there is no answer in time.
    pub fn try_sh(&mut self, command: &str, deadline: Duration) -> Option<Output> {
        self.shell.run(command, deadline)
    }

    /// Waits until a command in the machine succeeds, and gives its output.
    #[track_caller]
    pub fn until_sh(&mut self, command: &str, deadline: Duration) -> String {
        match self.until_sh_unless(command, deadline, |_| false) {
            Some(text) => text,
            None => unreachable!("nothing makes it give up"),
        }
    }

    /// The same; `None` as soon as it is `hopeless`.
    #[track_caller]
    fn until_sh_unless(&mut self, command: &str, deadline: Duration, hopeless: fn(&Self) -> bool) -> Option<String> {
        let end = Instant::now() + deadline;
        let mut last = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "'{command}' did not succeed within {} s; last: {last:?}", deadline.as_secs());
            // Answers may be lost while the machine starts again; each attempt has its own deadline.
            match self.try_sh(command, left.min(Duration::from_secs(20))) {
                Some(output) if output.code == 0 => return Some(output.text),
                other => last = other.or(last),
            }
            if hopeless(self) {
                return None;
            }
            // Only a pause between two looks, for the machine's sake: it has work to do.
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }

    /// Waits until `boot-complete.target` is reached, and gives the seconds since power-on as the machine counts them. A start that QEMU lost is told, and
    /// begun again with the reset button.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "a start that did not count is worth a line")]
    pub fn wait_boot_complete(&mut self) -> f64 {
        for _lost in 0..LOST_STARTS {
            if let Some(text) = self.until_sh_unless(IS_UP, BOOT, Self::start_is_lost) {
                return uptime(&text);
            }
            eprintln!("QEMU lost a processor's timer, and the start with it; pressing the reset button");
            self.reset();
            until("the firmware after the reset", COMMAND, || (!self.start_is_lost()).then_some(()));
        }
        uptime(&self.until_sh(IS_UP, BOOT))
    }

    fn start_is_lost(&self) -> bool {
        is_lost(&String::from_utf8_lossy(&self.serial()))
    }

    /// Identifier of this boot: another one after every start.
    #[track_caller]
    pub fn boot_id(&mut self) -> String {
        self.sh("cat /proc/sys/kernel/random/boot_id").ok().trim().to_owned()
    }

    /// Everything the serial line carried.
    #[must_use]
    pub fn serial(&self) -> Vec<u8> {
        self.setup
            .as_ref()
            .map(|setup| setup.directory.path().join(SERIAL_LOG))
            .map_or_else(Vec::new, |log| fs::read(log).unwrap_or_default())
    }

    /// What a person sees on the serial line.
    #[must_use]
    pub fn screen(&self) -> Screen {
        Screen::replay(&self.serial())
    }

    /// Waits until the screen on the serial line shows a sentence, however it is broken into rows. A key is pressed first, so that the whole
    /// screen is drawn.
    #[track_caller]
    pub fn until_screen(&mut self, sentence: &str, deadline: Duration) {
        self.press_key();
        let end = Instant::now() + deadline;
        loop {
            let screen = self.screen();
            if screen.words().contains(sentence) {
                return;
            }
            assert!(Instant::now() < end, "'{sentence}' is not on the screen:\n{}", screen.rows().join("\n"));
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Presses the space bar on the serial line.
    pub fn press_key(&mut self) {
        let Some(setup) = &self.setup else { return };
        let sent = UnixStream::connect(setup.directory.path().join(SERIAL)).and_then(|mut line| line.write_all(b" "));
        if let Err(error) = sent {
            panic!("cannot press a key on the serial line: {error}");
        }
    }

    /// Lets it run.
    pub fn resume(&mut self) {
        let _nothing = self.monitor.ask("cont", json!(null));
    }

    /// Presses the reset button: no shutdown.
    pub fn reset(&mut self) {
        let _nothing = self.monitor.ask("system_reset", json!(null));
    }

    /// Presses the power button for a moment, and waits until the machine has switched itself off. It can be started again.
    #[track_caller]
    #[must_use]
    pub fn power_button(mut self, deadline: Duration) -> Setup {
        let _nothing = self.monitor.ask("system_powerdown", json!(null));
        self.monitor.wait_event("SHUTDOWN", deadline);
        self.power_cut()
    }

    /// Waits until the machine starts again, whoever ordered it.
    #[track_caller]
    pub fn wait_reset(&mut self, deadline: Duration) {
        self.monitor.wait_event("RESET", deadline);
    }

    /// Plugs (`true`) or pulls a cable: `nic0` (management) or `nic1` (trunk).
    pub fn plug(&mut self, cable: &str, plugged: bool) {
        let _nothing = self.monitor.ask("set_link", json!({ "name": cable, "up": plugged }));
    }

    /// Takes the trunk interface away while the machine runs. The kernel lets go of it, as it would of a broken card.
    #[track_caller]
    pub fn remove_trunk(&mut self) {
        self.sh(&format!("echo 1 > /sys/bus/pci/devices/{TRUNK_PCI}/remove")).ok();
    }

    /// Cuts the power: nothing is shut down, only what reached the disk is kept. The machine can be started again.
    #[must_use]
    pub fn power_cut(mut self) -> Setup {
        // The connection ends with QEMU, with or without an answer.
        let _gone = self.monitor.try_ask("quit", json!(null));
        let _reaped = self.child.wait();
        if let Some(tpm) = self.tpm.take() {
            tpm.wait_end();
        }
        match self.setup.take() {
            Some(setup) => setup.after_power_cut(),
            None => panic!("the machine was taken apart before"),
        }
    }

    /// Halts the machine and saves all of it into its folder; it is of no use afterwards.
    pub(super) fn save_state(&mut self, to: &std::path::Path) {
        let _nothing = self.monitor.ask("stop", json!(null));
        let _nothing = self.monitor.ask("migrate-set-parameters", json!({ "max-bandwidth": 1_u64 << 40 }));
        let _nothing = self.monitor.ask("migrate", json!({ "uri": format!("file:{}", to.display()) }));
        until("the machine's state on disk", Duration::from_secs(120), || {
            let progress = self.monitor.ask("query-migrate", json!(null));
            assert!(progress["status"] != "failed", "the state was not saved: {progress}");
            (progress["status"] == "completed").then_some(())
        });
    }

    fn tell(&self) -> String {
        let serial = self.serial();
        let text = String::from_utf8_lossy(&serial);
        let lines: Vec<&str> = text.lines().collect();
        let log = self.setup.as_ref().map(|setup| setup.directory.path().join(QEMU_LOG));
        format!(
            "the screen of the serial line:\n{}\nits last lines:\n{}\nQEMU said: {}\n",
            Screen::replay(&serial).rows().join("\n"),
            lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default().join("\n").replace('\x1b', "^["),
            log.map_or_else(String::new, |log| fs::read_to_string(log).unwrap_or_default()),
        )
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "a failing test tells what the machine said")]
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.tell());
        }
    }
}

/// Whether the kernel of the latest start hangs where QEMU loses timers: before anything of ours ran.
fn is_lost(serial: &str) -> bool {
    let latest = serial.rfind("BdsDxe: starting").map_or(serial, |at| &serial[at..]);
    latest.contains(TIMER_LOST) && !latest.contains("TLSStress.Art")
}

/// Seconds, of `/proc/uptime`.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// The port of ours that leads to the machine's `port`, from `info usernet`.
fn forwarded_port(usernet: &str, transport: &str, port: u16) -> Option<u16> {
    // TCP[HOST_FORWARD]  12  127.0.0.1  40123  10.0.2.15  8440  0 0
    let kind = format!("{transport}[HOST_FORWARD]");
    usernet.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|words| match words[..] {
        [first, _, _, ours, _, theirs, ..] if first == kind && theirs.parse() == Ok(port) => ours.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_port_is_that_of_its_transport() {
        let said = "Hub -1 (management):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
                    TCP[HOST_FORWARD]  14  127.0.0.1 40001  10.0.2.15  443  0  0\n  \
                    TCP[HOST_FORWARD]  12  127.0.0.1 40002  10.0.2.15  8440  0  0\n  \
                    UDP[HOST_FORWARD]  13  127.0.0.1 40003  10.0.2.15  443  0  0\n";
        assert_eq!(forwarded_port(said, "TCP", 443), Some(40001));
        assert_eq!(forwarded_port(said, "TCP", 8440), Some(40002));
        assert_eq!(forwarded_port(said, "UDP", 443), Some(40003));
        assert_eq!(forwarded_port(said, "UDP", 8440), None);
    }

    #[test]
    fn a_start_is_lost_only_before_anything_of_ours_ran_and_only_the_latest() {
        let lost = format!("BdsDxe: starting Boot0001\n[   21.0] rcu: {TIMER_LOST} for 5251 jiffies!\n");
        assert!(is_lost(&lost));
        assert!(
            is_lost(&format!("BdsDxe: starting Boot0001\n TLSStress.Art TBI\n{lost}")),
            "the start before was well"
        );
        assert!(!is_lost(&format!("{lost}BdsDxe: starting Boot0001\n")), "begun again");
        assert!(
            !is_lost(&format!("BdsDxe: starting Boot0001\n TLSStress.Art TBI\n{TIMER_LOST}")),
            "it ran: no such fault"
        );
        assert!(!is_lost("BdsDxe: starting Boot0001\n[    1.0] Linux version\n"));
    }
}
