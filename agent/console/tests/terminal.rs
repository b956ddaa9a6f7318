//! The built console on a pseudo-terminal, with an agent of ours behind the socket: what arrives on the line, byte by byte.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{park_timeout, spawn};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use tbi_api::health::State;
use tbi_api::status::{BootKind, BootReason, Slot, Status};

const SOON: Duration = Duration::from_secs(20);

/// Agent whose clock advances a second with each answer.
struct Agent {
    socket: PathBuf,
    host_name: Arc<Mutex<String>>,
    answers: Arc<AtomicU64>,
    mute: Arc<AtomicBool>,
    setup: Arc<Mutex<String>>,
    _home: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let host_name = Arc::new(Mutex::new("box-one".to_owned()));
        let (answers, mute) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let setup = Arc::new(Mutex::new(r#"{"steps":[],"finished":"2026-01-31T12:00:00Z"}"#.to_owned()));
        let told = Arc::clone(&setup);
        let (name, count, silent) = (Arc::clone(&host_name), Arc::clone(&answers), Arc::clone(&mute));
        spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = [0; 4096];
                let length = connection.read(&mut request).unwrap_or(0);
                if silent.load(Ordering::SeqCst) {
                    continue;
                }
                let body = if request[..length].starts_with(b"GET /v1/setup ") {
                    told.lock().unwrap().clone()
                } else {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    serde_json::to_string(&status(&name.lock().unwrap(), number)).unwrap()
                };
                // The console may have given up.
                let _gone = write!(
                    connection,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { socket, host_name, answers, mute, setup, _home: home }
    }
}

fn status(host_name: &str, second: u64) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        commit: None,
        variant: "release".to_owned(),
        slot: Slot { label: "tbi_0.1.0".to_owned(), root_hash: Some("ab".repeat(32)), entry: None, secure_boot: true },
        host_name: host_name.to_owned(),
        addresses: vec!["192.0.2.7/24".to_owned()],
        management_interface: Some("eth0".to_owned()),
        certificate_sha256: "ab:".repeat(31) + "ab",
        door_certificate: None,
        health: State::Degraded,
        problems: vec!["The clock is not synchronised; name a time server.".to_owned()],
        last_boot: BootReason { kind: BootKind::First, sentence: "First start.".to_owned() },
        uptime_seconds: 100 + second,
        time: format!("2026-01-31T12:{:02}:{:02}Z", second / 60 % 60, second % 60),
        time_synchronised: false,
        claim_code: None,
        run: None,
    }
}

/// The other end of the line.
struct Line {
    master: PtyMaster,
    slave: File,
    path: PathBuf,
    seen: Vec<u8>,
}

impl Line {
    fn new() -> Self {
        // Closed on exec, else the console would hold its own line open.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname_r(&master).unwrap());
        let slave = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&path).unwrap();
        Self { master, slave, path, seen: Vec::new() }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.master.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => self.seen.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the line broke: {error}"),
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    #[track_caller]
    fn wait(&mut self, what: &str, mut is_there: impl FnMut(&str) -> bool) {
        let end = Instant::now() + SOON;
        loop {
            self.read();
            if is_there(&self.text()) {
                return;
            }
            assert!(Instant::now() < end, "{what} did not come; the line carried: {:?}", self.text());
            park_timeout(Duration::from_millis(20));
        }
    }
}

struct Console(Child);

impl Console {
    fn start(term: &str, socket: &Path, device: Option<&Path>, stdin: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbi-console"));
        command.env("TERM", term).arg("--socket").arg(socket).stdin(stdin).stdout(Stdio::null());
        if let Some(device) = device {
            command.arg("--device").arg(device);
        }
        Self(command.spawn().unwrap())
    }

    fn on(term: &str, agent: &Agent, line: &Line) -> Self {
        Self::start(term, &agent.socket, None, line.slave.try_clone().unwrap().into())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn steady_screen_costs_less_than_a_hundred_bytes_a_second() {
    for term in ["vt100", "vt220"] {
        let (agent, mut line) = (Agent::start(), Line::new());
        let _console = Console::on(term, &agent, &line);
        line.wait("the screen", |text| text.contains("https://192.0.2.7/") && text.contains("open the address above"));
        assert!(line.seen.len() < 2500, "a whole screen took {} bytes", line.seen.len());
        assert!(!line.text().contains("\x1b[?"), "no alternate screen, no mouse: {:?}", line.text());
        let (bytes, answers) = (line.seen.len(), agent.answers.load(Ordering::SeqCst));
        line.wait("eight seconds", |_| agent.answers.load(Ordering::SeqCst) >= answers + 9);
        let spent = line.seen.len() - bytes;
        assert!((8..800).contains(&spent), "8 s cost {spent} bytes: {:?}", line.text());
    }
}

#[test]
fn dumb_terminal_gets_lines_and_only_when_something_changed() {
    let (agent, mut line) = (Agent::start(), Line::new());
    let _console = Console::on("dumb", &agent, &line);
    line.wait("the page", |text| text.contains("open the address above.\r"));
    let page = line.seen.len();
    line.wait("some answers", |_| agent.answers.load(Ordering::SeqCst) >= 4);
    assert_eq!(line.seen.len(), page, "nothing changed but the time");
    "box-two".clone_into(&mut agent.host_name.lock().unwrap());
    line.wait("the change", |text| text.contains("box-two"));
    assert!(!line.seen.contains(&0x1b), "a dumb terminal knows no sequences: {:?}", line.text());
}

#[test]
fn a_key_draws_the_screen_again() {
    let (agent, mut line) = (Agent::start(), Line::new());
    let _console = Console::on("vt220", &agent, &line);
    line.wait("the screen", |text| text.contains("open the address above"));
    // Something else wrote over it.
    line.seen.clear();
    line.master.write_all(b"\x13 ").unwrap();
    line.wait("the screen again, Ctrl-S notwithstanding", |text| text.contains("open the address above"));
}

#[test]
fn lost_terminal_is_opened_again() {
    let (agent, mut line) = (Agent::start(), Line::new());
    let home = tempfile::tempdir().unwrap();
    let device = home.path().join("tty");
    std::os::unix::fs::symlink(&line.path, &device).unwrap();
    let mut console = Console::start("vt220", &agent.socket, Some(&device), Stdio::null());
    line.wait("the screen", |text| text.contains("box-one"));
    // First the name, as the kernel gives the number to the next pseudo-terminal that anybody opens.
    std::fs::remove_file(&device).unwrap();
    drop(line);
    // While there is no terminal, nothing is asked for and nothing ends.
    let answers = agent.answers.load(Ordering::SeqCst);
    let end = Instant::now() + SOON;
    while agent.answers.load(Ordering::SeqCst) < answers + 3 {
        assert!(Instant::now() < end, "the console stopped asking");
        park_timeout(Duration::from_millis(20));
    }
    let mut next = Line::new();
    std::os::unix::fs::symlink(&next.path, &device).unwrap();
    next.wait("the whole screen on the new line", |text| text.contains("box-one") && text.contains("address above"));
    assert!(console.0.try_wait().unwrap().is_none(), "it never exits");
}

#[test]
fn a_setup_is_followed_until_it_is_finished() {
    let (agent, mut line) = (Agent::start(), Line::new());
    let step =
        |name: &str, state: &str| format!(r#"{{"name":"{name}","state":"{state}","optional":false,"sentence":""}}"#);
    let steps = [step("account", "done"), step("language", "todo")].join(",");
    *agent.setup.lock().unwrap() = format!(r#"{{"steps":[{steps}],"current":"language"}}"#);
    let _console = Console::on("vt220", &agent, &line);
    line.wait("the setup", |text| text.contains("1 of 2 done; go on at https://192.0.2.7/setup/language"));
    *agent.setup.lock().unwrap() = format!(r#"{{"steps":[{steps}],"finished":"2026-01-31T12:00:00Z"}}"#);
    let asked = agent.answers.load(Ordering::SeqCst);
    line.wait("two more answers", |_| agent.answers.load(Ordering::SeqCst) > asked + 1);
    // A key brings the whole screen.
    line.seen.clear();
    line.master.write_all(b"x").unwrap();
    line.wait("the whole screen", |text| {
        text.contains("https://192.0.2.7/") && text.contains("This screen only shows")
    });
    assert!(!line.text().contains("of 2 done"), "{}", line.text());
}

#[test]
fn agent_that_falls_silent_is_a_screen_of_its_own() {
    let (agent, mut line) = (Agent::start(), Line::new());
    let _console = Console::on("vt220", &agent, &line);
    line.wait("the screen", |text| text.contains("box-one"));
    agent.mute.store(true, Ordering::SeqCst);
    line.wait("the silence", |text| text.contains("does not answer since") && text.contains("What it said last"));
    agent.mute.store(false, Ordering::SeqCst);
    line.seen.clear();
    line.wait("the answer", |text| text.contains("https://192.0.2.7/"));
}

#[test]
fn once_prints_the_screen_and_says_by_its_code_whether_the_agent_answered() {
    let agent = Agent::start();
    let once = |socket: &Path| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tbi-console")).arg("--once").arg("--socket").arg(socket).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = once(&agent.socket);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("\n Health        DEGRADED\n   * The clock is not synchronised; name a time server.\n"),
        "{text}"
    );
    let (code, text) = once(Path::new("/nonexistent/agent.sock"));
    assert_eq!(code, Some(2));
    assert!(text.contains("has not answered yet"), "{text}");
}
