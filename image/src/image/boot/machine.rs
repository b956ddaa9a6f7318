//! A running QEMU: its serial line on our terminal, its end, ours. One event at a time (serial output, a signal, a tick), applied at once.
//!
//! Threads only carry: one reads the serial line, one waits for signals, one feeds it from the terminal. The process is ours alone: it is asked to
//! power off when we are asked to end, killed when it does not, and ended by the kernel when we are.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::command::{say, typed};
use crate::terminal::plain;

/// What was waited for did not come in time, or the machine ended before.
const NOT_REACHED: u8 = 1;
/// How often goal and deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A machine that was asked to power off gets this long.
const POWER_OFF: Duration = Duration::from_secs(90);
/// Serial output on its way to the terminal; when it is full, the machine's serial line waits.
const PIECES: usize = 64;
/// Enough of the last output to find words that came in pieces.
const MEMORY: usize = 4096;
/// On the serial line: systemd's words, and the status screen's.
const READY_WORDS: [&str; 3] = ["Reached target boot-complete.target", "Boot Completion Check", " healthy"];
/// An answer of the agent's that does not come in this time is none.
const ANSWER: Duration = Duration::from_secs(3);

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// How long.
    pub(super) within: Duration,
    /// Port on loopback where the agent's API can be asked, where there is one.
    pub(super) api: Option<u16>,
}

enum Event {
    Serial(Vec<u8>),
    /// QEMU closed its side: it has ended or is about to.
    SerialEnd,
    Signal,
    Tick,
}

/// A running machine.
pub(super) struct Machine {
    child: Child,
    control: PathBuf,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    started: Instant,
    seen: String,
    /// Asked to power off; when patience ends.
    ending: Option<Instant>,
    outcome: Option<ExitCode>,
    _terminal: Option<Terminal>,
}

impl Machine {
    /// Starts QEMU. Signals meant for us are ours from here on.
    pub(super) fn start(qemu: &mut Command, control: &Path) -> Result<Self> {
        let mut mask = SigSet::empty();
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| mask.add(signal));
        // Before any thread: each inherits the mask. A child's is emptied by the standard library.
        mask.thread_block().context("cannot hold back signals")?;
        let signals = SignalFd::new(&mask).context("cannot wait for signals")?;
        // A group of its own: Ctrl-C on the terminal reaches us only, and we ask the machine to power off.
        std::os::unix::process::CommandExt::process_group(qemu, 0);
        let mut child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", typed(qemu)))?;
        let (sender, events) = sync_channel(PIECES);
        let serial = child.stdout.take().context("QEMU has no serial line")?;
        let to_serial = child.stdin.take().context("QEMU has no serial line")?;
        carry_signals(signals, sender.clone());
        carry_serial(serial, sender.clone());
        let terminal = Terminal::take();
        carry_keys(to_serial);
        Ok(Self {
            child,
            control: control.to_owned(),
            events,
            sender,
            started: Instant::now(),
            seen: String::new(),
            ending: None,
            outcome: None,
            _terminal: terminal,
        })
    }

    /// Until the machine is off. With a goal: until it is reached, or cannot be any more.
    pub(super) fn watch(mut self, goal: Option<Goal>) -> Result<ExitCode> {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let event = match self.events.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => Event::Tick,
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => Event::SerialEnd,
            };
            if matches!(event, Event::Tick) {
                next_tick = Instant::now() + TICK;
            }
            match event {
                Event::Serial(bytes) => self.show(&bytes),
                Event::SerialEnd => break,
                Event::Signal => self.asked_to_end(),
                Event::Tick => self.look(goal),
            }
        }
        let status = self.child.wait().context("cannot wait for QEMU")?;
        if !status.success() && self.ending.is_none() {
            bail!("QEMU ended with {status}; what it said is above");
        }
        if let (Some(_), None) = (goal, self.outcome) {
            say("the machine ended before it was ready");
            return Ok(ExitCode::from(NOT_REACHED));
        }
        Ok(self.outcome.unwrap_or(ExitCode::SUCCESS))
    }

    fn show(&mut self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        // Whoever closed our output still gets the machine ended properly.
        let _closed = out.write_all(bytes).and_then(|()| out.flush());
        self.seen.push_str(&String::from_utf8_lossy(bytes));
        let surplus = self.seen.len().saturating_sub(MEMORY);
        if let Some((place, _)) = self.seen.char_indices().find(|(place, _)| *place >= surplus) {
            self.seen.drain(..place);
        }
    }

    fn look(&mut self, goal: Option<Goal>) {
        if let Some(deadline) = self.ending {
            if Instant::now() >= deadline {
                say("the machine does not power off; ending it");
                self.kill();
            }
            return;
        }
        let Some(goal) = goal else { return };
        let took = self.started.elapsed();
        if says_ready(&self.seen) || goal.api.is_some_and(answers_ready) {
            say(&format!("\nready after {:.1} s", took.as_secs_f64()));
            self.outcome = Some(ExitCode::SUCCESS);
            self.power_off();
        } else if took >= goal.within {
            say(&format!("\nnot ready after {} s; powering off", took.as_secs()));
            self.outcome = Some(ExitCode::from(NOT_REACHED));
            self.power_off();
        }
    }

    fn asked_to_end(&mut self) {
        if self.ending.is_some() {
            self.kill();
        } else {
            say("\npowering the machine off; once more ends it at once");
            self.power_off();
        }
    }

    fn power_off(&mut self) {
        self.ending = Some(Instant::now() + POWER_OFF);
        if let Err(error) = powerdown(&self.control) {
            say(&format!("cannot ask the machine to power off ({error}); ending it"));
            self.kill();
        }
    }

    fn kill(&mut self) {
        // It may have ended in this moment.
        let _already_gone = self.child.kill();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Errors on the way out must not leave a QEMU behind, which would keep its disk's lock.
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
        let _threads_end_with_us = &self.sender;
    }
}

/// A program that runs beside the machine and ends with it.
pub(super) struct Helper(Child);

impl Helper {
    /// Starts it.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {}", typed(command)))?;
        Ok(Self(child))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn carry_signals(signals: SignalFd, sender: SyncSender<Event>) {
    thread::spawn(move || {
        while let Ok(Some(_)) = signals.read_signal() {
            if sender.send(Event::Signal).is_err() {
                return;
            }
        }
    });
}

fn carry_serial(mut serial: impl Read + Send + 'static, sender: SyncSender<Event>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        loop {
            let event = match serial.read(&mut buffer) {
                Ok(0) => Event::SerialEnd,
                Ok(count) => Event::Serial(buffer.get(..count).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Event::SerialEnd,
            };
            let last = matches!(event, Event::SerialEnd);
            if sender.send(event).is_err() || last {
                return;
            }
        }
    });
}

fn carry_keys(mut to: ChildStdin) {
    thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut keys = std::io::stdin();
        while let Ok(count) = keys.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() || to.write_all(bytes).and_then(|()| to.flush()).is_err() {
                break;
            }
        }
        // Without a terminal there are no keys; the line stays open as long as the machine runs, or QEMU would see it hung up.
        std::mem::forget(to);
    });
}

/// The terminal with single keys instead of lines, until dropped. Ctrl-C stays ours.
struct Terminal;

impl Terminal {
    fn take() -> Option<Self> {
        // Not then_some: a terminal that is not ours must not be made and dropped.
        (std::io::stdin().is_terminal() && stty(&["-icanon", "-echo"])).then(|| Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _as_it_was = stty(&["sane"]);
    }
}

fn stty(words: &[&str]) -> bool {
    Command::new("stty").args(words).status().is_ok_and(|status| status.success())
}

fn says_ready(serial: &str) -> bool {
    let text = plain(serial);
    READY_WORDS.iter().any(|words| text.contains(words))
}

/// One question to the agent's API, by hand: this tool holds no HTTP library for it.
fn answers_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: tbi\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// The power button, through QEMU's control socket (QMP): greeting, capabilities, command.
fn powerdown(control: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut answer = [0; 4096];
    for line in ["", r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"system_powerdown"}"#] {
        stream.write_all(line.as_bytes())?;
        if stream.read(&mut answer)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::net::TcpListener;

    use super::*;

    /// Something with a serial line that is no QEMU.
    fn machine(script: &str) -> Machine {
        Machine::start(Command::new("sh").args(["-c", script]), Path::new("/nonexistent/control.sock")).unwrap()
    }

    #[test]
    fn ready_words_are_found_through_colours_and_cursor_moves() {
        assert!(says_ready(
            "[  OK  ] Reached target \u{1b}[0;1;39mboot-complete.target\u{1b}[0m - Boot Completion Check.\r\n"
        ));
        assert!(says_ready("\u{1b}[2J\u{1b}[13;2HHealth        healthy\u{1b}[K"));
        assert!(says_ready("\u{1b}[13;16Hhealthy"));
        assert!(!says_ready("Health        FAILED unhealthy"));
        assert!(!says_ready("\u{1b}[31"));
    }

    #[test]
    fn a_machine_that_says_it_is_ready_reaches_its_goal_and_is_ended() {
        // It cannot be asked to power off, so it is killed; that is no failure.
        let goal = Goal { within: Duration::from_secs(60), api: None };
        let outcome = machine("printf 'Health  healthy'; exec sleep 600").watch(Some(goal)).unwrap();
        assert_eq!(outcome, ExitCode::SUCCESS);
    }

    #[test]
    fn fault_never_ready() {
        let goal = Goal { within: Duration::ZERO, api: None };
        assert_eq!(machine("exec sleep 600").watch(Some(goal)).unwrap(), ExitCode::from(NOT_REACHED));
    }

    #[test]
    fn fault_ends_before_it_is_ready() {
        let goal = Goal { within: Duration::from_secs(60), api: None };
        assert_eq!(machine("echo starting").watch(Some(goal)).unwrap(), ExitCode::from(NOT_REACHED));
        assert!(machine("exit 3").watch(None).is_err());
    }

    #[test]
    fn fault_no_machine_is_left_behind() {
        let machine = machine("exec sleep 600");
        let id = machine.child.id();
        drop(machine);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn only_200_is_ready() {
        for (answer, ready) in
            [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false), ("", false)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; 64];
                let _some = stream.read(&mut question).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(answers_ready(port), ready, "{answer:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn the_power_button_waits_for_its_turn() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(br#"{"QMP":{}}"#).unwrap();
            let mut said = Vec::new();
            for _ in 0..2 {
                let mut buffer = [0; 256];
                let count = stream.read(&mut buffer).unwrap();
                said.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
                stream.write_all(br#"{"return":{}}"#).unwrap();
            }
            said
        });
        powerdown(&path).unwrap();
        assert!(server.join().unwrap()[1].contains("system_powerdown"));
        assert!(powerdown(&home.path().join("none")).is_err());
    }
}
