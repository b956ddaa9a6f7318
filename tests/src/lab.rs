//! Whole runs: `tbi-agent lab run` with a plan, and the record it wrote.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::child::{Finished, Running};
use crate::program;

/// A place for one run's results, removed with it.
#[derive(Debug)]
pub struct Lab {
    home: TempDir,
}

impl Lab {
    /// An empty place.
    #[must_use]
    pub fn new() -> Self {
        match tempfile::Builder::new().prefix("tbi-test-").tempdir() {
            Ok(home) => Self { home },
            Err(error) => panic!("no temporary directory: {error}"),
        }
    }

    /// Where the run writes.
    #[must_use]
    pub fn out(&self) -> &Path {
        self.home.path()
    }

    /// Starts a run with these options; `plan`, when given, is the text of a TOML plan.
    #[must_use]
    pub fn start(&self, plan: Option<&str>, options: &[&str]) -> Running {
        let mut agent = Command::new(program("tbi-agent"));
        agent.args(["lab", "run", "--out"]).arg(self.out()).args(options);
        if let Some(plan) = plan {
            let file = self.out().join("plan.toml");
            if let Err(error) = fs::write(&file, plan) {
                panic!("cannot write {}: {error}", file.display());
            }
            agent.arg("--plan").arg(file);
        }
        Running::start(&mut agent)
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(&self, plan: Option<&str>, options: &[&str], deadline: Duration) -> Finished {
        self.start(plan, options).finish(deadline)
    }

    /// `run.json`.
    #[must_use]
    pub fn record(&self) -> Value {
        let file = self.out().join("run.json");
        let text = fs::read_to_string(&file);
        match text.map(|text| serde_json::from_str(&text)) {
            Ok(Ok(record)) => record,
            Ok(Err(error)) => panic!("{} is not JSON: {error}", file.display()),
            Err(error) => panic!("no {}: {error}", file.display()),
        }
    }

    /// `report.html`.
    #[must_use]
    pub fn report(&self) -> String {
        let file = self.out().join("report.html");
        match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => panic!("no {}: {error}", file.display()),
        }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
