//! `tbi-agent gate`: whether this start of the machine may be called good (`tbi-gate.service`, required by `boot-complete.target`). Only what
//! an update can break counts: a cable that is unplugged, a clock that nobody set or a trunk that is missing would roll back a sound release.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tbi_api::client::AgentClient;
use tbi_api::health::{Component, Health, State};
use tokio::time::{Instant, sleep};

/// Parts without which the box cannot do its main job.
const REQUIRED: [&str; 3] = ["engine", "personas", "network"];
/// Parts that must be well where they exist: which do depends on settings.
const IF_PRESENT: [&str; 2] = ["isp", "practice-dut"];
/// Parts of the agent itself that must not have failed; degraded (little room, a database made anew) is good enough.
const NOT_FAILED: [&str; 2] = ["state", "database"];
/// Between two looks.
const POLL: Duration = Duration::from_millis(500);
/// A request that takes longer counts as no answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Waits until the box is well and stays so; exit code 0 then, 1 at the deadline.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// Socket of the agent
    #[arg(long, value_name = "PATH", default_value = tbi_api::AGENT_SOCKET)]
    socket: PathBuf,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    deadline: u64,
    /// Seconds for which everything must be well without a restart
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    stable: u64,
}

impl GateArgs {
    /// # Errors
    /// When there is no runtime.
    #[expect(clippy::print_stderr, reason = "the sentences are the result of the command")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let missing = runtime.block_on(self.wait());
        for sentence in &missing {
            eprintln!("{sentence}");
        }
        Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What was missing when the deadline came; nothing when the box was well.
    async fn wait(&self) -> Vec<String> {
        let client = AgentClient::new(&self.socket).with_timeout(ANSWER);
        let deadline = Instant::now() + Duration::from_secs(self.deadline);
        let mut stability = Stability::new(Duration::from_secs(self.stable));
        loop {
            let (missing, restarts) = match client.health().await {
                Ok(health) => (missing(&health), restarts(&health)),
                Err(error) => (vec![format!("The agent's API does not answer: {error}.")], 0),
            };
            let now = Instant::now();
            let verdict = stability.see(now.into_std(), missing, restarts);
            match verdict {
                Ok(()) => return Vec::new(),
                Err(missing) if now >= deadline => return missing,
                Err(_) => sleep(POLL).await,
            }
        }
    }
}

/// One sentence for each point that is missing.
fn missing(health: &Health) -> Vec<String> {
    let find = |name: &str| health.components.iter().find(|part| part.name == name);
    let unwell = |part: &Component| {
        let state = match part.state {
            State::Healthy => return None,
            State::Starting => "is still starting",
            State::Degraded => "is degraded",
            State::Failed => "has failed",
        };
        let because = if part.sentence.is_empty() { String::new() } else { format!(": {}", part.sentence) };
        Some(format!("{} {state}{because}", part.name))
    };
    let required = REQUIRED.iter().filter_map(|name| match find(name) {
        Some(part) => unwell(part),
        None => Some(format!("{name} is not among the parts the agent watches.")),
    });
    let if_present = IF_PRESENT.iter().filter_map(|name| find(name).and_then(unwell));
    let not_failed = NOT_FAILED.iter().filter_map(|name| match find(name) {
        Some(part) if part.state != State::Failed => None,
        Some(part) => unwell(part),
        None => Some(format!("the agent says nothing about its {name}.")),
    });
    required.chain(if_present).chain(not_failed).collect()
}

fn restarts(health: &Health) -> u64 {
    health.components.iter().map(|part| u64::from(part.restarts)).sum()
}

/// Since when everything is well without a restart in between.
#[derive(Debug)]
struct Stability {
    wanted: Duration,
    since: Option<(std::time::Instant, u64)>,
}

impl Stability {
    fn new(wanted: Duration) -> Self {
        Self { wanted, since: None }
    }

    /// # Errors
    /// What is still missing, among it the time.
    fn see(&mut self, now: std::time::Instant, missing: Vec<String>, restarts: u64) -> Result<(), Vec<String>> {
        if !missing.is_empty() {
            self.since = None;
            return Err(missing);
        }
        let (since, before) = *self.since.get_or_insert((now, restarts));
        if before != restarts {
            self.since = Some((now, restarts));
            return Err(vec!["A part was started again while the gate watched.".to_owned()]);
        }
        if now.duration_since(since) < self.wanted {
            return Err(vec![format!("Everything is well, but not for {} s yet.", self.wanted.as_secs())]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, state: State) -> Component {
        let sentence = if state == State::Healthy { String::new() } else { "Look at it.".to_owned() };
        Component { name: name.to_owned(), state, sentence, restarts: 0, memory_bytes: None }
    }

    fn with(changed: &[(&str, State)]) -> Vec<String> {
        let names = [
            "engine",
            "personas",
            "network",
            "isp",
            "practice-dut",
            "state",
            "database",
            "clock",
            "management",
            "trunk",
        ];
        let state = |name: &str| changed.iter().find(|(it, _)| *it == name).map_or(State::Healthy, |(_, state)| *state);
        missing(&Health::of(names.iter().map(|name| part(name, state(name))).collect()))
    }

    #[test]
    fn a_sound_box_passes() {
        assert_eq!(with(&[]), Vec::<String>::new());
    }

    #[test]
    fn cables_clocks_and_trunks_do_not_roll_an_update_back() {
        let unplugged = with(&[
            ("management", State::Failed),
            ("clock", State::Degraded),
            ("trunk", State::Failed),
            ("state", State::Degraded),
        ]);
        assert_eq!(unplugged, Vec::<String>::new());
    }

    #[test]
    fn every_part_that_must_be_well_is_asked_for() {
        for name in ["engine", "personas", "network", "isp", "practice-dut"] {
            for state in [State::Starting, State::Degraded, State::Failed] {
                let found = with(&[(name, state)]);
                assert!(
                    found.len() == 1 && found[0].starts_with(name) && found[0].contains("Look at it."),
                    "{found:?}"
                );
            }
        }
        for name in ["state", "database"] {
            assert_eq!(with(&[(name, State::Failed)]).len(), 1);
        }
    }

    #[test]
    fn parts_that_are_absent() {
        let found = missing(&Health::of(vec![part("state", State::Healthy), part("database", State::Healthy)]));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|sentence| sentence.contains("not among the parts")), "{found:?}");
        assert_eq!(missing(&Health::of(Vec::new())).len(), 5);
    }

    #[test]
    fn well_must_last() {
        let mut stability = Stability::new(Duration::from_secs(5));
        let start = std::time::Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(stability.see(at(0), Vec::new(), 0).is_err());
        assert!(stability.see(at(4), vec!["engine has failed".to_owned()], 0).is_err());
        assert!(stability.see(at(5), Vec::new(), 1).is_err());
        assert!(stability.see(at(9), Vec::new(), 2).is_err(), "started again");
        assert!(stability.see(at(13), Vec::new(), 2).is_err());
        assert_eq!(stability.see(at(14), Vec::new(), 2), Ok(()));
    }

    #[test]
    fn an_agent_that_does_not_answer_fails_the_gate_at_the_deadline() {
        let gate = GateArgs { socket: "/nonexistent/agent.sock".into(), deadline: 0, stable: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let missing = runtime.map(|runtime| runtime.block_on(gate.wait())).unwrap_or_default();
        assert!(missing.len() == 1 && missing[0].contains("does not answer"), "{missing:?}");
    }
}
