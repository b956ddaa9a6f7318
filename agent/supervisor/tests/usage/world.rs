//! A box and its endpoint: the real agent on a state directory of its own, and the real report program.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tbi_api::client::AgentClient;
use tbi_api::health::Component;
use tbi_api::settings::{Change, Settings, Usage};
use tbi_daemon::UnixClient;
use tbi_ledger::spool::{LOST, Limits, NewTick, Spool};
use tempfile::TempDir;

use super::SOON;
use super::bridge::Bridge;
use super::endpoint::{Book, Endpoint, Papers};
use super::points::Points;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tbi-agent");

pub(crate) struct World {
    // Ends before its folder goes.
    agent: Option<Child>,
    bridge: Bridge,
    pub(crate) endpoint: Endpoint,
    pub(crate) points: Arc<Points>,
    /// Every tick that was counted, in order.
    made: Vec<NewTick>,
    pub(crate) dir: TempDir,
}

impl World {
    /// A box that has counted `ticks` and is told to report to its endpoint.
    pub(crate) fn new(ticks: usize) -> Self {
        let papers = Papers::new("127.0.0.1", |_| {});
        let mut world = Self::unconfigured(&papers, ticks);
        let url = world.endpoint.url();
        world.report_to(&url, &papers.ca_pem);
        world
    }

    pub(crate) fn unconfigured(papers: &Papers, ticks: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let points = Arc::new(Points::default());
        let endpoint = Endpoint::start(papers, &points, Book::default());
        let bridge = Bridge::start(dir.path().join("bridge.sock"), dir.path().join("a.sock"), Arc::clone(&points));
        let mut world = Self { agent: None, bridge, endpoint, points, made: Vec::new(), dir };
        world.count(ticks);
        world.start_agent();
        world
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.dir.path().join("state/spool")
    }

    /// Counts work while the agent is away.
    pub(crate) fn count(&mut self, ticks: usize) {
        assert!(self.agent.is_none(), "one process opens the spool");
        let mut spool = Spool::open(&self.spool(), Limits::default()).unwrap();
        for _ in 0..ticks {
            let number = self.made.len() as u64 + 1;
            let when = Timestamp::from_second(1_800_000_000 + i64::try_from(number).unwrap()).unwrap();
            let (run, unit) = (format!("run-{number}"), "run".to_owned());
            let tick = NewTick { when, kind: "run".to_owned(), run, unit, quantity: number };
            assert_eq!(spool.append(tick.clone()).unwrap(), number);
            self.made.push(tick);
        }
    }

    pub(crate) fn start_agent(&mut self) {
        let agent = Command::new(PROGRAM)
            .args(["serve", "--bus", "unix:path=/nonexistent", "--state"])
            .arg(self.dir.path().join("state"))
            .arg("--run")
            .arg(self.dir.path())
            .arg("--socket")
            .arg(self.dir.path().join("a.sock"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.agent = Some(agent);
        self.ask(async |_, socket| socket.wait_ready(SOON).await.unwrap());
    }

    /// With SIGTERM, orderly.
    pub(crate) fn stop_agent(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.agent_pid()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.agent_ended().success());
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub(crate) fn agent_ended(&mut self) -> std::process::ExitStatus {
        self.agent.take().unwrap().wait().unwrap()
    }

    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(AgentClient, UnixClient) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = self.dir.path().join("a.sock");
        runtime.block_on(async { question(AgentClient::new(&socket), UnixClient::new(&socket)).await })
    }

    pub(crate) fn report_to(&mut self, url: &str, ca_pem: &str) {
        let usage = Usage { url: Some(url.to_owned()), ca_pem: Some(ca_pem.to_owned()) };
        self.ask(async |agent, _| {
            let based_on = agent.settings().await.unwrap().version;
            agent
                .change_settings(&Change { based_on, settings: Settings { usage, ..Settings::default() } })
                .await
                .unwrap();
        });
    }

    /// The report program; it reaches the agent over the bridge.
    pub(crate) fn program(&self, options: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["usage", "report", "--batch", "2", "--agent"]).arg(self.bridge.socket()).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn report(&self, options: &[&str]) -> Said {
        Said::of(&self.program(options).output().unwrap())
    }

    /// A tick that was counted cannot be read any more: what is reported in its place.
    pub(crate) fn lose(&mut self, number: usize) {
        let before = self.made[number - 2].when;
        let (kind, nothing) = (LOST.to_owned(), String::new());
        self.made[number - 1] = NewTick { when: before, kind, run: nothing.clone(), unit: nothing, quantity: 0 };
    }

    pub(crate) fn part(&self, name: &str) -> Component {
        let health = self.ask(async |agent, _| agent.health().await.unwrap());
        health.components.into_iter().find(|part| part.name == name).unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        self.ask(async |_, socket| socket.get_text("/metrics").await.unwrap())
    }

    pub(crate) fn standing(&self) -> tbi_api::usage::Usage {
        self.ask(async |_, socket| socket.get_json("/v1/usage").await.unwrap())
    }

    /// That the endpoint has each tick exactly once, as it was counted, and the box knows it.
    #[track_caller]
    pub(crate) fn assert_all_is_there_once(&self) {
        self.assert_is_there(self.made.len());
        let standing = self.standing();
        assert_eq!((standing.acknowledged, standing.last), (self.made.len() as u64, self.made.len() as u64));
    }

    /// That the endpoint has the first so many ticks, each exactly once.
    #[track_caller]
    pub(crate) fn assert_is_there(&self, ticks: usize) {
        let book = self.endpoint.book();
        let found: Vec<_> = book.ticks.into_values().flatten().collect();
        assert_eq!(found.len(), ticks);
        for (at, (found, made)) in found.iter().zip(&self.made).enumerate() {
            assert_eq!(found.client_seq, at as u64 + 1);
            let same = (&found.run, found.when, found.quantity) == (&made.run, made.when, made.quantity);
            assert!(same && found.kind == made.kind && found.unit == made.unit, "{found:?}, not {made:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _killed = agent.kill();
            let _ended = agent.wait();
        }
    }
}

/// What the report program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// That it ended with `code` and one line has all of `words`.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, words: &[&str]) {
        let mut lines = self.stdout.lines().chain(self.stderr.lines());
        let one = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(self.code == Some(code) && one, "not {code} with {words:?}: {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
