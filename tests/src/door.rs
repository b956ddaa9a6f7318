//! A front door on a test stand: the real agent and the real door on loopback, with accounts of every role, asked with curl over HTTPS.
//!
//! There is no service manager here, so the box cannot measure and cannot be switched off; everything else is as on an appliance.
//! Invariants: certificates are verified against the CA of the door's state directory, and both programs end with the test.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is a failed test")]

mod client;

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tbi_api::access::Role;
use tempfile::TempDir;

use crate::child::{Running, run, until};
use crate::program;
use crate::stand::{free_port, write};

pub use client::{ADA, Answer, As, Client, PASSWORD, Session};

/// Longest wait for a program to start or to end.
pub const SOON: Duration = Duration::from_secs(30);
const CLAIM_CODE: &str = "the-stands-own-claim-code";

/// Requests per address within ten seconds and within five minutes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Within ten seconds.
    pub burst: u32,
    /// Within five minutes.
    pub sustained: u32,
}

impl Limits {
    /// So many that no test meets them.
    pub const HIGH: Self = Self { burst: 1_000_000, sustained: 1_000_000 };
}

/// Agent and door.
#[derive(Debug)]
pub struct Door {
    home: TempDir,
    port: u16,
    agent: Option<Started>,
    door: Option<Started>,
}

#[derive(Debug)]
struct Started {
    running: Running,
    at: Instant,
}

impl Started {
    fn new(command: &mut Command) -> Option<Self> {
        Some(Self { running: Running::start(command), at: Instant::now() })
    }

    /// Ends it as its service manager would.
    fn stop(self) {
        self.running.signal(Signal::SIGTERM);
        let finished = self.running.finish(self.at.elapsed() + SOON);
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
    }
}

impl Door {
    /// Starts both, without an account.
    #[must_use]
    pub fn start(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("state")).unwrap();
        write(&home.path().join("claim-code"), CLAIM_CODE);
        let mut stand = Self { home, port: free_port(), agent: None, door: None };
        stand.start_agent();
        stand.start_door(limits);
        stand
    }

    /// A file of the stand.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The door's CA.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path("door/ca.crt")
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Starts the agent on the stand's state directory.
    pub fn start_agent(&mut self) {
        let mut agent = Command::new(program("tbi-agent"));
        agent.arg("serve").arg("--state").arg(self.path("state")).arg("--run").arg(self.path("run"));
        agent.arg("--socket").arg(self.path("agent.sock")).arg("--access-socket").arg(self.path("access.sock"));
        // No bus and no manager of the machine that runs the tests.
        agent.args(["--bus", "unix:path=/nonexistent"]).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        self.agent = Started::new(&mut agent);
    }

    /// Ends the agent as its service manager would.
    pub fn stop_agent(&mut self) {
        self.agent.take().unwrap().stop();
    }

    /// Starts the door on the stand's port and waits until it listens, which asks nothing and so counts against no limit.
    pub fn start_door(&mut self, limits: Limits) {
        let mut door = Command::new(program("tbi-dashboard"));
        door.args(["--listen", &self.authority(), "--address", "127.0.0.1", "--state"]).arg(self.path("door"));
        door.arg("--accounts").arg(self.path("access.sock")).arg("--claim-code").arg(self.path("claim-code"));
        door.arg("--daemon").arg(format!("agent={}", self.path("agent.sock").display()));
        door.args(["--burst-limit", &limits.burst.to_string(), "--sustained-limit", &limits.sustained.to_string()]);
        door.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("LISTEN_FDS");
        self.door = Started::new(&mut door);
        let address = self.authority();
        until("the door to listen", SOON, || TcpStream::connect(&address).ok());
    }

    /// Ends the door as its service manager would.
    pub fn stop_door(&mut self) {
        self.door.take().unwrap().stop();
    }

    /// Waits until the door heard the agent and knows its operations.
    pub fn wait_ready(&self) {
        until("the door to be ready", SOON, || {
            (self.client().try_ask(As::Nobody, "GET", "/health/ready", &[], None)?.status == 200).then_some(())
        });
    }

    /// How it is asked.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::of_address(&self.authority(), &self.ca())
    }

    /// Asks with curl; no answer is a failed test.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, who: As<'_>, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.client().ask(who, method, path, body)
    }

    /// The same, with header fields (`Name: value`).
    #[track_caller]
    #[must_use]
    pub fn ask_with(&self, who: As<'_>, method: &str, path: &str, fields: &[&str], body: Option<&Value>) -> Answer {
        self.client().ask_with(who, method, path, fields, body)
    }

    /// A curl that trusts the door's CA and nobody else.
    #[must_use]
    pub fn curl(&self) -> Command {
        self.client().curl()
    }

    /// Makes the first administrator with the claim code, and gives its session, with a fresh proof of the person.
    #[must_use]
    pub fn first_administrator(&self) -> Session {
        self.client().first_administrator(CLAIM_CODE)
    }

    /// Makes an account and a token of it that may all that its role may.
    #[must_use]
    pub fn token(&self, by: &Session, name: &str, role: Role) -> String {
        let account = json!({"name": name, "role": role, "password": PASSWORD});
        let _made = self.ask(As::Session(by), "POST", "/api/v1/access/users", Some(&account)).expect(201);
        let scopes = match role {
            Role::Viewer => json!(["read"]),
            Role::Operator => json!(["read", "run"]),
            Role::Administrator => json!(["read", "run", "configure", "administer", "audit"]),
            Role::Auditor => json!(["read", "audit"]),
        };
        let expires = tomorrow();
        let order = json!({"account": name, "label": "a test", "scopes": scopes, "expires": expires});
        let made = self.ask(As::Session(by), "POST", "/api/v1/access/tokens", Some(&order)).expect(201).json();
        made["secret"].as_str().unwrap().to_owned()
    }
}

/// RFC 3339. A token may live for a year; a day is enough for a test.
fn tomorrow() -> String {
    let said = run(Command::new("date").args(["--utc", "--date", "tomorrow", "+%Y-%m-%dT%H:%M:%SZ"]), SOON);
    said.stdout.trim().to_owned()
}
