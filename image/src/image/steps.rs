//! Steps of a build: what is done now, how long it took, and where its own words are when it fails.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{say, typed};

/// Lines of a failed program's output to show.
const LAST_LINES: usize = 20;
/// Bytes of the log's end in which they are looked for; longer lines than that help nobody.
const TAIL: u64 = 64 << 10;

/// Prints steps and keeps logs.
pub(crate) struct Steps {
    logs: PathBuf,
    started: Instant,
}

impl Steps {
    /// Logs go to `logs`, one file for each step.
    pub(crate) fn new(logs: PathBuf) -> Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self { logs, started: Instant::now() })
    }

    /// Does one step, saying so before and how long it took after.
    pub(crate) fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        say(&format!("· {what}"));
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        say(&format!("  {} {}", if outcome.is_ok() { "done in" } else { "failed after" }, seconds(took)));
        outcome
    }

    /// One step that is a program: its output goes to the log `name`, its last lines into the error.
    pub(crate) fn run(&mut self, what: &str, name: &str, command: &mut Command) -> Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        self.step(what, || run_logged(command, &log))
    }

    /// Since the beginning.
    pub(crate) fn total(&self) -> String {
        seconds(self.started.elapsed())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Runs to the end with everything it prints in `log`.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log file")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .with_context(|| format!("cannot start {}", typed(command)))?;
    if !status.success() {
        bail!("{}\nthe program ended with {status}; everything it said is in {}", last_lines(log), log.display());
    }
    Ok(())
}

/// The end of a log.
pub(crate) fn last_lines(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(LAST_LINES))
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_failed_program_shows_its_last_words_and_its_log() {
        let home = tempfile::tempdir().unwrap();
        let mut steps = Steps::new(home.path().join("logs")).unwrap();
        let error = steps
            .run("counting", "count", Command::new("sh").args(["-c", "seq 1 100; echo out of numbers >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("out of numbers") && error.contains("count.log"), "{error}");
        assert!(error.contains("| 100") && !error.contains("| 12\n"), "{error}");
    }
}
