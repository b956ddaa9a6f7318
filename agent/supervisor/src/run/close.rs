//! Closes runs whose agent was killed: what is on disk becomes a record that says `interrupted`, so that no run is ever lost.
//!
//! A run under way holds a lock on its `blocks.jsonl`; the kernel gives it back when the agent dies, however it dies.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tbi_bench::campaign::{Outcome, Stop, sequence};
use tbi_bench::plan::{Plan, PlanFile, PlanFormat, Profile};
use tbi_bench::record::{BlockRecord, RunRecord};

use super::admission::Admission;
use super::assemble::{self, Facts};
use super::drive::Harvest;
use super::environment::{self, Life};
use super::journal::{self, ADMISSION, JournalError};

/// Why a folder cannot be closed. Names it and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseError {
    /// Nothing of a run.
    #[error("{} holds no run that was cut off ({why}); give the folder of one, with plan.json and blocks.jsonl.", .dir.display())]
    NoRun {
        /// Folder.
        dir: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// Its agent lives.
    #[error("the run in {} is still under way; stop it with Ctrl-C or wait for its end.", .0.display())]
    UnderWay(PathBuf),
    /// The record could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The record could not be rendered.
    #[error(transparent)]
    Report(#[from] tbi_report::ReportError),
}

/// Closes one run and gives its record.
///
/// # Errors
/// [`CloseError`]; the folder is then as it was.
pub(crate) fn close(dir: &Path, life: &Life) -> Result<RunRecord, CloseError> {
    let refuse = |why: String| CloseError::NoRun { dir: dir.to_owned(), why };
    if dir.join("run.json").exists() {
        return Err(refuse("it has a run.json already".to_owned()));
    }
    let read = |name: &str| fs::read_to_string(dir.join(name)).map_err(|error| refuse(format!("{name}: {error}")));
    let lock = File::open(dir.join("blocks.jsonl")).map_err(|error| refuse(format!("blocks.jsonl: {error}")))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(CloseError::UnderWay(dir.to_owned())),
        Err(TryLockError::Error(error)) => return Err(refuse(format!("blocks.jsonl: {error}"))),
    }
    let plan = PlanFile::parse(&read("plan.json")?, PlanFormat::Json)
        .and_then(|file| file.resolve(Profile::Short))
        .map_err(|error| refuse(format!("plan.json: {error}")))?;
    // The last line may be torn: the agent died while it wrote.
    let blocks: Vec<BlockRecord> =
        read("blocks.jsonl")?.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    // A run that was killed before it was let to begin has none.
    let admission = read(ADMISSION).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let record = interrupted(plan, blocks, admission, began(dir), life);
    journal::write_final(dir, &tbi_report::json(&record)?, Some(&tbi_report::html(&record)?))?;
    Ok(record)
}

/// Closes every run beside `out` that was cut off, when `out` is one of the default folders; what cannot be closed stays as it is.
pub(crate) fn abandoned(out: &Path) {
    if let Some(runs) = out.parent().filter(|parent| parent.ends_with("tbi/runs")) {
        all_in(runs, out, &Life::lab());
    }
}

/// Closes every run in the folder `runs` that was cut off, but for the one in `spare`; what cannot be closed stays as it is.
pub(crate) fn all_in(runs: &Path, spare: &Path, life: &Life) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let dir = entry.path();
        if dir != spare && dir.join("blocks.jsonl").exists() && !dir.join("run.json").exists() {
            match close(&dir, life) {
                Ok(_) => tracing::warn!("closed the run in {}, which was cut off", dir.display()),
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }
}

/// When the run began: its plan is written first.
fn began(dir: &Path) -> jiff::Timestamp {
    let written = fs::metadata(dir.join("plan.json")).and_then(|metadata| metadata.modified()).ok();
    written.and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_else(jiff::Timestamp::now)
}

fn interrupted(
    plan: Plan,
    blocks: Vec<BlockRecord>,
    admission: Admission,
    began: jiff::Timestamp,
    life: &Life,
) -> RunRecord {
    let sentence = format!(
        "The agent was killed after {} of {} blocks; what was measured before is kept without its histograms, {}.",
        blocks.len(),
        sequence(&plan).len(),
        life.again
    );
    let environment = environment::environment(&plan, life);
    let harvest = Harvest { blocks, ..Harvest::nothing(Outcome::Stopped(Stop::Interrupt(sentence))) };
    assemble::record(
        plan,
        harvest,
        Facts {
            id: began.strftime("%Y%m%dT%H%M%SZ").to_string(),
            started: began.to_string(),
            ended: jiff::Timestamp::now().to_string(),
            adapter: "practice",
            identity: None,
            environment,
            admission,
        },
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::run::journal::Journal;
    use tbi_bench::preflight::{Bypass, Preflight};
    use tbi_bench::protocol::Arm;
    use tbi_bench::record::{RunStatus, Verdict};
    use tbi_bench::units::Span;

    #[test]
    fn a_killed_agents_run_is_closed_with_what_was_measured() {
        let dir = tempfile::tempdir().unwrap();
        let plan = serde_json::to_string(&Plan::of_profile(Profile::Quick)).unwrap();
        let mut journal = Journal::open(dir.path(), &plan, 1 << 20).unwrap();
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
        journal.append(&block).unwrap();
        assert!(matches!(close(dir.path(), &Life::lab()), Err(CloseError::UnderWay(_))), "its agent lives");
        let preflight = Preflight {
            checks: Vec::new(),
            bypass: Some(Bypass::new("the clock is known to be dead", "anna").unwrap()),
        };
        journal.admit(&Admission { preflight: Some(preflight.clone()), authorization: None }).unwrap();
        drop(journal);
        let torn = dir.path().join("blocks.jsonl");
        fs::write(&torn, fs::read_to_string(&torn).unwrap() + "{\"index\":1,\"ar").unwrap();

        let record = close(dir.path(), &Life::lab()).unwrap();
        assert_eq!((record.status, record.verdict), (RunStatus::Interrupted, Verdict::NotMeasured));
        assert_eq!(record.blocks, [block]);
        assert!(record.reasons[0].contains("killed after 1 of 6 blocks"), "{:?}", record.reasons);
        assert_eq!(record.preflight, Some(preflight));
        assert!(record.reasons[1].starts_with("Pre-flight bypassed by anna"), "{:?}", record.reasons);
        assert!(dir.path().join("run.json").exists() && dir.path().join("report.html").exists());
        assert!(close(dir.path(), &Life::lab()).unwrap_err().to_string().contains("has a run.json already"));
    }
}
