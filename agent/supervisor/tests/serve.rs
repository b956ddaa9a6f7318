//! The real daemon of an appliance on whatever machine the tests run on: it answers in every state of its disk, ends cleanly, and says why
//! the machine started. One test per fault, named after it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tbi_api::client::AgentClient;
use tbi_api::health::{Component, Health, State};
use tbi_api::node::KeyStorage;
use tbi_api::settings::{Change, Management, Settings};
use tbi_api::setup::{Locale, Mark, StepState};
use tbi_api::status::BootKind;
use tbi_api::trial::{Order, Outcome};
use tbi_daemon::UnixClient;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
/// What the agent may take at rest (issue "The image boots and is supervised").
const MOST_MEMORY_KB: u64 = 30 * 1024;

/// A running agent with its own directories.
struct Agent {
    child: Child,
    dir: TempDir,
}

impl Agent {
    /// On a new state directory, which `prepare` may spoil.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        prepare(&dir.path().join("state"));
        let state = dir.path().join("state");
        Self::spawn(dir, &state, &[])
    }

    fn spawn(dir: TempDir, state: &Path, environment: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbi-agent"));
        command
            .arg("serve")
            .arg("--state")
            .arg(state)
            .arg("--run")
            .arg(dir.path())
            .arg("--socket")
            .arg(dir.path().join("a.sock"));
        // No bus and no manager of the machine that runs the tests.
        command.args(["--bus", "unix:path=/nonexistent"]).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = command.env("WATCHDOG_USEC", "200000").spawn().unwrap();
        Self { child, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("a.sock")
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(AgentClient, UnixClient) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = UnixClient::new(self.socket());
            socket.wait_ready(SOON).await.unwrap();
            question(AgentClient::new(&self.socket()), socket).await
        })
    }

    fn health(&self) -> Health {
        self.ask(async |agent, _| agent.health().await.unwrap())
    }

    fn part(&self, name: &str) -> Component {
        let health = self.health();
        health
            .components
            .iter()
            .find(|part| part.name == name)
            .unwrap_or_else(|| panic!("no {name} in {health:?}"))
            .clone()
    }

    /// Waits for its own, orderly end.
    fn ended(mut self) -> TempDir {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    fn end(mut self, signal: Signal) -> TempDir {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Every `GET` without parameters that the document lists, and that it answers.
fn every_get_answers(agent: &Agent) {
    agent.ask(async |_, socket| {
        let document: Value = socket.get_json("/openapi.json").await.unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut asked = 0;
        for (path, methods) in paths {
            let asks = |get: &Value| {
                get["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["required"] == true))
            };
            let Some(get) = methods.get("get").filter(|get| !asks(get)) else { continue };
            // Of the kind that the document promises.
            let answered = match get["responses"]["200"]["content"]["application/json"].is_object() {
                true => socket.get_json::<Value>(path).await.map(|_value| ()),
                false => socket.get_text(path).await.map(|_text| ()),
            };
            // Ticks that cannot be read are no ticks, so this one path says that instead of giving an empty list.
            let broken = answered.as_ref().is_err_and(|error| error.code() == Some("meter-broken"));
            let broken = broken && path == "/v1/usage/pending";
            // Without systemd there are no personas to give their CA.
            let silent = answered.as_ref().is_err_and(|error| error.code() == Some("personas-silent"));
            let unknown = silent && path == "/v1/personas/ca.pem";
            assert!(answered.is_ok() || broken || unknown, "{path}: {answered:?}");
            asked += 1;
        }
        assert!(asked > 15, "a document of an agent has more to ask for than {asked} of {:?}", paths.keys());
        for path in ["/metrics", "/health/live", "/health/startup"] {
            socket.get_text(path).await.unwrap();
        }
    });
}

#[test]
fn a_fresh_box_answers_everything_and_takes_little_memory() {
    let agent = Agent::start(|_| {});
    every_get_answers(&agent);
    let health = agent.health();
    for name in ["state", "database", "identity", "topology", "settings"] {
        let part = health.components.iter().find(|part| part.name == name).unwrap();
        assert!(part.state == State::Healthy || name == "state", "{part:?}");
    }
    // Without systemd there is no bench, and the box says so instead of not answering.
    let bench = agent.part("bench");
    assert!(bench.state == State::Failed && bench.sentence.contains("systemd cannot be asked"), "{bench:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes <= MOST_MEMORY_KB, "{kilobytes} kB");
}

#[test]
fn a_corrupt_state_database() {
    let agent = Agent::start(|state| fs::write(state.join("tbi.db"), "x".repeat(9000)).unwrap());
    every_get_answers(&agent);
    let part = agent.part("database");
    assert_eq!(part.state, State::Degraded);
    assert!(part.sentence.contains("tbi.db.corrupt-") && part.sentence.contains("check settings"), "{part:?}");
    agent.ask(async |agent, _| {
        let settings = Settings { host_name: "bench-1".to_owned(), ..Settings::default() };
        assert_eq!(agent.change_settings(&Change { based_on: 0, settings }).await.unwrap().version, 1);
    });
}

#[test]
fn a_state_partition_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let state = dir.path().join("file/state");
    let agent = Agent::spawn(dir, &state, &[]);
    every_get_answers(&agent);
    for name in ["state", "database", "identity"] {
        let part = agent.part(name);
        assert!(part.state == State::Failed && !part.sentence.is_empty(), "{part:?}");
    }
    // What is spent and what is done would be forgotten, and the box says so.
    let trail = agent.part("audit");
    assert!(trail.state == State::Degraded && trail.sentence.contains("lost at the next start"), "{trail:?}");
    agent.ask(async |agent, _| {
        assert_eq!(agent.identity().await.unwrap().key_storage, KeyStorage::ThisStartOnly);
        let refused = agent.change_settings(&Change { based_on: 0, settings: Settings::default() }).await.unwrap_err();
        assert_eq!(refused.code(), Some("state-not-writable"));
    });
}

/// A small file system of its own, filled; `None` without the right to mount.
fn full_disk(dir: &Path) -> Option<()> {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir).status().unwrap();
    mounted.success().then_some(())?;
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "status=none"])
        .arg(format!("of={}/filler", dir.display()))
        .status();
    assert!(!filled.unwrap().success(), "it should end because the disk is full");
    Some(())
}

#[test]
fn a_full_state_partition() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    if full_disk(&state).is_none() {
        return;
    }
    let agent = Agent::spawn(dir, &state, &[]);
    every_get_answers(&agent);
    let part = agent.part("state");
    assert!(part.state == State::Failed && part.sentence.contains("delete old runs"), "{part:?}");
    let database = agent.part("database");
    assert!(
        database.state == State::Failed && database.sentence.contains("forgotten at the next start"),
        "{database:?}"
    );
    drop(agent.end(Signal::SIGTERM));
    assert!(Command::new("umount").arg("-l").arg(&state).status().is_ok());
}

#[test]
fn a_kill_amid_the_setup_takes_a_trial_back_and_loses_no_step() {
    let agent = Agent::start(|_| {});
    agent.ask(async |agent, _| {
        let locale = Locale { language: "pt-BR".to_owned(), zone: "America/Sao_Paulo".to_owned() };
        agent.change_locale(&locale).await.unwrap();
        let done = Mark::of(StepState::Done);
        agent.mark_step("language", &done).await.unwrap();
        let json = r#"{"addressing":{"method":"static","address":"192.0.2.10/24","gateway":null,"dns":[]}}"#;
        let order = Order { based_on: 0, management: serde_json::from_str(json).unwrap(), seconds: None };
        agent.begin_trial(&order).await.unwrap();
    });
    let dir = agent.end(Signal::SIGKILL);
    let (state, file) = (dir.path().join("state"), dir.path().join("state/settings.json"));
    assert!(fs::read_to_string(&file).unwrap().contains("192.0.2.10"), "it was in force");
    let agent = Agent::spawn(dir, &state, &[]);
    agent.ask(async |agent, _| {
        let trials = agent.trials().await.unwrap();
        assert_eq!((trials.on, trials.last.unwrap().outcome), (None, Outcome::Restarted));
        assert_eq!(agent.settings().await.unwrap().settings.management, Management::default());
        let setup = agent.setup().await.unwrap();
        let language = setup.steps.iter().find(|step| step.name == "language").unwrap();
        assert_eq!(language.state, StepState::Done);
        assert_eq!(agent.locale().await.unwrap().zone, "America/Sao_Paulo");
        let verification = agent.audit_verification().await.unwrap();
        assert!(verification.intact, "{verification:?}");
    });
    assert!(!fs::read_to_string(&file).unwrap().contains("192.0.2.10"), "the file for the system is the old one again");
}

#[test]
fn a_wrong_topology_file() {
    let wrong = include_str!("../../../engine/bench/topology.yaml").replace("vlan: 30", "vlan: 20");
    let agent = Agent::start(|state| fs::write(state.join("topology.yaml"), &wrong).unwrap());
    every_get_answers(&agent);
    let part = agent.part("topology");
    assert_eq!(part.state, State::Degraded);
    assert!(part.sentence.contains("the built-in one is") && part.sentence.contains("VLAN 20"), "{part:?}");
    agent.ask(async |agent, socket| {
        let stored: Value = socket.get_json("/v1/topology").await.unwrap();
        assert_eq!(stored["yaml"], wrong);
        let right = wrong.replacen("vlan: 20", "vlan: 31", 1);
        agent.change_topology(&tbi_api::settings::TopologyText { yaml: right }).await.unwrap();
    });
    // Another topology is another bench: the agent ends by itself, to be started again by its service manager.
    let dir = agent.ended();
    let state = dir.path().join("state");
    let agent = Agent::spawn(dir, &state, &[]);
    assert_eq!(agent.part("topology").state, State::Healthy);
}

#[test]
fn a_broken_key() {
    let agent = Agent::start(|state| {
        fs::create_dir(state.join("secrets")).unwrap();
        fs::write(state.join("secrets/node.key"), "garbage").unwrap();
    });
    every_get_answers(&agent);
    let part = agent.part("identity");
    assert!(part.state == State::Degraded && part.sentence.contains("fingerprint"), "{part:?}");
}

#[test]
fn it_is_known_again_after_sigterm_and_after_sigkill() {
    let agent = Agent::start(|_| {});
    let first = agent.ask(async |agent, _| {
        let settings = Settings { host_name: "bench-1".to_owned(), ..Settings::default() };
        agent.change_settings(&Change { based_on: 0, settings }).await.unwrap();
        (agent.identity().await.unwrap(), agent.status().await.unwrap().last_boot)
    });
    assert_eq!(first.1.kind, BootKind::First);
    let mut dir = agent.end(Signal::SIGTERM);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let state = dir.path().join("state");
        let agent = Agent::spawn(dir, &state, &[]);
        let again = agent.ask(async |agent, _| {
            assert_eq!(agent.settings().await.unwrap().settings.host_name, "bench-1");
            (agent.identity().await.unwrap(), agent.status().await.unwrap().last_boot)
        });
        // The machine did not start anew, only the agent did.
        assert_eq!(again, first);
        assert_eq!(agent.part("database").state, State::Healthy);
        dir = agent.end(signal);
    }
}

#[test]
fn the_service_manager_hears_ready_life_signs_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let (state, notify) = (dir.path().join("state"), dir.path().join("notify"));
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let agent = Agent::spawn(dir, &state, &[("NOTIFY_SOCKET", &notify)]);
    let hear = |wanted: &str| {
        let (end, mut buffer) = (Instant::now() + SOON, [0; 4096]);
        while Instant::now() < end {
            let n = manager.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..n]).lines().any(|line| line == wanted) {
                return;
            }
        }
        panic!("the manager never heard {wanted}");
    };
    hear("READY=1");
    // More than one: the loop goes on turning.
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    kill(Pid::from_raw(i32::try_from(agent.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    hear("STOPPING=1");
}

#[test]
fn the_gate_names_what_is_missing() {
    let agent = Agent::start(|_| {});
    agent.health();
    let gate = Command::new(env!("CARGO_BIN_EXE_tbi-agent"))
        .args(["gate", "--deadline", "1", "--stable", "0", "--socket"])
        .arg(agent.socket())
        .output()
        .unwrap();
    assert_eq!(gate.status.code(), Some(1));
    let said = String::from_utf8_lossy(&gate.stderr).into_owned();
    for part in ["engine", "personas", "network"] {
        assert!(said.lines().any(|line| line.starts_with(part)), "{said}");
    }
    assert!(!said.contains("management") && !said.contains("clock"), "{said}");
}
