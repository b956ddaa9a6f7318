//! The agent's books after what it could not foresee, with the real program on real files: a kill in the middle of a run, a database that was
//! put back. One test per fault, named after it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tbi_bench::protocol::Arm;
use tbi_bench::record::BlockRecord;
use tbi_bench::units::Span;
use tbi_daemon::UnixClient;
use tbi_ledger::spool::{Limits, NewTick, Spool};
use tbi_ledger::{Hash, Ledger, Run, RunFilter};

const SOON: Duration = Duration::from_secs(20);
const RUN: &str = "20260131T235959Z";

/// A running agent.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("a.sock");
        let child = Command::new(env!("CARGO_BIN_EXE_tbi-agent"))
            .arg("serve")
            .args(["--state".into(), dir.join("state"), "--run".into(), dir.join("run")])
            .args(["--socket".into(), socket.clone()])
            .args(["--bus", "unix:path=/nonexistent"])
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    /// The answer to a question as soon as it is `right`.
    fn answer(&self, path: &str, right: impl Fn(&Value) -> bool) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = UnixClient::new(&self.socket);
            socket.wait_ready(SOON).await.unwrap();
            let end = tokio::time::Instant::now() + SOON;
            loop {
                let answer: Value = socket.get_json(path).await.unwrap();
                if right(&answer) {
                    return answer;
                }
                assert!(tokio::time::Instant::now() < end, "not in time: {path} {answer}");
            }
        })
    }

    fn end(mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn now() -> jiff::Timestamp {
    "2026-01-31T23:59:59Z".parse().unwrap()
}

fn ledger(state: &Path) -> Ledger {
    Ledger::open(state, now()).ledger
}

/// The row of a run that was allowed and never ended.
fn allowed(id: &str) -> Run {
    Run {
        id: id.to_owned(),
        name: "quick".to_owned(),
        state: "running".to_owned(),
        actor: "anna".to_owned(),
        started: now(),
        ended: None,
        sentence: String::new(),
        plan_sha256: Hash::of(b"plan"),
        record_sha256: None,
        receipt: None,
    }
}

#[test]
fn a_run_whose_agent_was_killed_does_not_stay_running_in_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let folder = state.join("runs").join(RUN);
    fs::create_dir_all(&folder).unwrap();
    let block = BlockRecord {
        index: 0,
        arm: Arm::Reference,
        pair: None,
        at: Span::ZERO,
        took: Span::from_secs(1),
        void: None,
        trials: Vec::new(),
        dut_configuration_sha256: None,
    };
    let block = serde_json::to_string(&block).unwrap();
    fs::write(folder.join("plan.json"), r#"{"name":"quick"}"#).unwrap();
    fs::write(folder.join("blocks.jsonl"), format!("{block}\n")).unwrap();
    let mut before = ledger(&state);
    before.store_run(&allowed(RUN)).unwrap();
    // And one whose folder somebody deleted.
    before.store_run(&allowed("20260130T000000Z")).unwrap();
    drop(before);

    let entries = |agent: &Agent| {
        let both = |all: &Value| all.as_array().is_some_and(|all| all.len() >= 2);
        agent.answer("/v1/audit?action=run.end", both)
    };
    let agent = Agent::start(dir.path());
    let said = entries(&agent);
    // The pages are closed before the runs are shown.
    let runs = agent.answer("/v1/runs?state=interrupted", |all| all.as_array().is_some_and(|all| !all.is_empty()));
    assert_eq!(said.as_array().unwrap().len(), 2, "{said}");
    assert!(said.as_array().unwrap().iter().all(|entry| entry["actor"] == "agent"), "{said}");
    let usage = agent.answer("/v1/usage", |_| true);
    assert_eq!(usage["last"], 1, "the block that was measured is counted: {usage}");
    agent.end();

    let mut after = ledger(&state);
    let row = after.run(RUN).unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.actor.as_str()), ("interrupted", "anna"));
    assert_eq!(row.record_sha256, Some(Hash::of(&fs::read(folder.join("run.json")).unwrap())));
    assert_eq!((runs[0]["id"].as_str(), runs[0]["sentence"].as_str()), (Some(RUN), Some(row.sentence.as_str())));
    let ended: jiff::Timestamp = runs[0]["ended"].as_str().unwrap().parse().unwrap();
    assert_eq!(ended.as_microsecond(), row.ended.unwrap().as_microsecond());
    let gone = after.run("20260130T000000Z").unwrap().unwrap();
    assert!(gone.state == "interrupted" && gone.sentence.contains("no record"), "{gone:?}");
    let running = RunFilter { state: Some("running"), limit: 10, ..RunFilter::default() };
    assert!(after.runs(&running).unwrap().runs.is_empty() && after.open_runs().unwrap().is_empty());

    // The agent dies between the tick and the page: the unit is not counted a second time.
    after.remove_run(RUN).unwrap();
    after.store_run(&allowed(RUN)).unwrap();
    drop(after);
    let agent = Agent::start(dir.path());
    let three = |all: &Value| all.as_array().is_some_and(|all| all.len() == 3);
    agent.answer("/v1/audit?action=run.end", three);
    assert_eq!(agent.answer("/v1/usage", |_| true)["last"], 1);
    agent.end();
    let spool = Spool::open(&state.join("spool"), Limits::default()).unwrap();
    let NewTick { run, unit, quantity, .. } = spool.newest().unwrap().unwrap().tick;
    assert_eq!((run.as_str(), unit.as_str(), quantity), (RUN, "run", 1));
}

#[test]
fn a_restored_database_says_so_in_its_audit_chain() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let agent = Agent::start(dir.path());
    agent.answer("/v1/status", |_| true);
    agent.end();
    let made = ledger(&state).backup(&state.join("backups"), now(), 7).unwrap();
    let restored = Command::new(env!("CARGO_BIN_EXE_tbi-agent"))
        .args(["backup", "restore", &made.name, "--state"])
        .arg(&state)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    // At the first start, and not again at the next one.
    for _ in 0..2 {
        let agent = Agent::start(dir.path());
        let entries = agent.answer("/v1/audit?action=backup.restore", |all| !all.as_array().unwrap().is_empty());
        assert_eq!(entries.as_array().unwrap().len(), 1, "{entries}");
        assert_eq!((&entries[0]["target"], &entries[0]["actor"]), (&made.name.clone().into(), &"local".into()));
        assert!(entries[0]["detail"].as_str().unwrap().contains("head_before"), "{entries}");
        assert_eq!(agent.answer("/v1/audit/verification", |_| true)["intact"], true);
        agent.end();
    }
}
