//! Where a run is kept while it runs: a folder with `plan.json`, on an appliance `ordered.json` (by whom), `admission.json` (what let it begin), `blocks.jsonl` (one line per finished block, on disk before the next
//! begins), `open.jsonl` (what is shown of the block under way) and `seconds.jsonl` (of the trial under way), and at the end `run.json` and `report.html`.
//!
//! A run is never lost to a full disk: room for the final files is reserved at the start and given back just before they are written. The
//! reserve is a file without a name, so that not even a killed run leaves it behind.
//! Files are replaced whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use tbi_api::series::Second;
use tbi_bench::campaign::{sequence, trials_of};
use tbi_bench::control::engine::Tick;
use tbi_bench::object::Object;
use tbi_bench::plan::Plan;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{BlockRecord, TrialKind, TrialRecord};
use tbi_bench::units::Span;
use tbi_daemon::{Access, ReplaceError, replace_file};

use super::admission::Admission;

/// Bytes reserved for `run.json` and `report.html` at least; a short campaign needs about a tenth.
const LEAST_ROOM: i64 = 32 << 20;
/// Bytes that a second of a trial takes in both files together, generously.
const ROOM_PER_SECOND: i64 = 1 << 10;

/// What let the run begin.
pub(crate) const ADMISSION: &str = "admission.json";
/// Trials of the block under way, one line each: what is shown of it until it is in `blocks.jsonl`.
pub(crate) const OPEN: &str = "open.jsonl";
/// Seconds of the trial under way, one line each: what is shown of it until it is in [`OPEN`].
pub(crate) const SECONDS: &str = "seconds.jsonl";
/// Lines of it at most, of a trial that may take a day: then the older half goes, which is shown again when the trial is over.
const MOST_SECONDS: usize = 7200;
/// Who ordered it.
const ORDERED: &str = "ordered.json";

/// Room that a plan's final files need.
pub(crate) fn room(plan: &Plan) -> i64 {
    let trials: usize = sequence(plan).into_iter().map(|block| trials_of(plan, block).len()).sum();
    let seconds = plan.trial_length().duration().as_secs() + 2;
    LEAST_ROOM.saturating_add((trials as i64).saturating_mul(seconds as i64).saturating_mul(ROOM_PER_SECOND))
}

/// Who ordered a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ordered {
    /// Account, or `local`.
    pub actor: String,
    /// Address, or `local`.
    pub source: String,
}

impl Ordered {
    /// What a folder says; runs of before say nothing.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(ORDERED)).ok()?).ok()
    }
}

/// A trial of a block that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenTrial {
    /// Position of the block in the campaign, from 0.
    pub block: u32,
    /// What it stands for.
    pub arm: Arm,
    /// Pair, from 0.
    pub pair: Option<u32>,
    /// Start of the block since the start of the run.
    pub block_at: Span,
    /// The trial.
    pub trial: TrialRecord,
}

/// A second of a trial that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenSecond {
    /// Position of the block in the campaign, from 0.
    pub block: u32,
    /// Position of the trial in the block, from 0.
    pub trial: u32,
    /// What the block stands for.
    pub arm: Arm,
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    pub kind: TrialKind,
    /// Start of the trial since the start of the run.
    pub trial_at: Span,
    /// As the engine counted it.
    pub tick: Tick,
}

impl OpenSecond {
    /// As it is told to who watches.
    pub(crate) fn told(&self) -> Second {
        let Self { arm, protocol, object, kind, trial_at, tick, .. } = self;
        Second {
            protocol: *protocol,
            object: *object,
            kind: *kind,
            arm: *arm,
            at_ms: (trial_at.as_micros() + tick.at.as_micros()) / 1000,
            length_us: tick.length.as_micros(),
            connections: tick.connections,
            succeeded: tick.succeeded,
            failed: tick.failed,
            body_bytes: tick.body_bytes,
            ttfb_p50_us: tick.ttfb_p50_us,
        }
    }
}

/// [`SECONDS`], open for the next line.
#[derive(Debug)]
struct Seconds {
    block: u32,
    trial: u32,
    file: File,
    lines: usize,
}

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    blocks: File,
    /// Position of the block whose trials [`OPEN`] has.
    open: Option<u32>,
    seconds: Option<Seconds>,
    /// Its blocks are free again when it is closed.
    reserve: File,
}

/// The record could not be written. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The disk is full.
    #[error("The disk that holds {} is full, so the run's record cannot be written there; free some space or choose another folder with --out.", .path.display())]
    Full {
        /// File that was being written.
        path: PathBuf,
    },
    /// Another run writes there.
    #[error("Another run is under way in {}; choose another folder with --out or wait for its end.", .dir.display())]
    InUse {
        /// Folder.
        dir: PathBuf,
    },
    /// Any other failure.
    #[error("The run's record {} cannot be written: {source}; check the folder's permissions or choose another one with --out.", .path.display())]
    Io {
        /// File that was being written.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl JournalError {
    fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}

impl Journal {
    /// Opens the folder, makes it when absent, reserves room, and writes the plan. What an earlier run left there, blocks of one that was
    /// killed among it, is kept under its name with `.old`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn open(dir: &Path, plan_json: &str, room: i64) -> Result<Self, JournalError> {
        fs::create_dir_all(dir).map_err(JournalError::at(dir))?;
        if File::open(dir.join("blocks.jsonl"))
            .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
        {
            return Err(JournalError::InUse { dir: dir.to_owned() });
        }
        for name in ["run.json", "report.html", "blocks.jsonl", OPEN, SECONDS, ORDERED, ADMISSION] {
            let old = dir.join(name);
            if old.exists() {
                fs::rename(&old, dir.join(format!("{name}.old"))).map_err(JournalError::at(&old))?;
            }
        }
        let reserve = reserve(&dir.join("reserve"), room)?;
        replace(&dir.join("plan.json"), plan_json.as_bytes())?;
        let path = dir.join("blocks.jsonl");
        let blocks =
            OpenOptions::new().create(true).write(true).truncate(true).open(&path).map_err(JournalError::at(&path))?;
        // The lock tells a run under way from one whose agent was killed; see `close`.
        blocks.try_lock().map_err(|error| JournalError::at(&path)(error.into()))?;
        Ok(Self { dir: dir.to_owned(), blocks, open: None, seconds: None, reserve })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps who ordered the run.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn ordered(&self, ordered: &Ordered) -> Result<(), JournalError> {
        let path = self.dir.join(ORDERED);
        let json = serde_json::to_vec_pretty(ordered).map_err(|error| JournalError::at(&path)(error.into()))?;
        replace(&path, &json)
    }

    /// Keeps what let the run begin.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn admit(&self, admission: &Admission) -> Result<(), JournalError> {
        let path = self.dir.join(ADMISSION);
        let json = serde_json::to_vec_pretty(admission).map_err(|error| JournalError::at(&path)(error.into()))?;
        replace(&path, &json)
    }

    /// Appends a finished block and waits until it is on disk.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn append(&mut self, block: &BlockRecord) -> Result<(), JournalError> {
        let path = self.dir.join("blocks.jsonl");
        let mut line = serde_json::to_vec(block).map_err(|error| JournalError::at(&path)(error.into()))?;
        line.push(b'\n');
        self.blocks.write_all(&line).and_then(|()| self.blocks.sync_data()).map_err(JournalError::at(&path))
    }

    /// Notes a trial of the block under way, so that whoever looks sees it before its block is finished. It is no part of the record and not
    /// waited for: what cannot be noted is only not shown.
    pub(crate) fn trial(&mut self, trial: &OpenTrial) {
        let first = self.open.replace(trial.block) != Some(trial.block);
        let mut how = OpenOptions::new();
        how.create(true).write(true).append(!first).truncate(first);
        let noted = serde_json::to_vec(trial).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            how.open(self.dir.join(OPEN))?.write_all(&line)
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "a trial cannot be shown before its block is finished");
        }
    }

    /// Notes a second of the trial under way; as little part of the record as [`Journal::trial`].
    pub(crate) fn second(&mut self, second: &OpenSecond) {
        if let Err(error) = self.note_second(second) {
            self.seconds = None;
            tracing::debug!(%error, "a second cannot be shown before its trial is finished");
        }
    }

    fn note_second(&mut self, second: &OpenSecond) -> io::Result<()> {
        let path = self.dir.join(SECONDS);
        let (block, trial) = (second.block, second.trial);
        let mut open = match self.seconds.take().filter(|open| (open.block, open.trial) == (block, trial)) {
            Some(open) if open.lines >= MOST_SECONDS => {
                let text = fs::read_to_string(&path)?;
                let kept: Vec<&str> = text.lines().skip(MOST_SECONDS / 2).collect();
                let mut file = File::create(&path)?;
                for line in &kept {
                    file.write_all(format!("{line}\n").as_bytes())?;
                }
                Seconds { lines: kept.len(), file, ..open }
            }
            Some(open) => open,
            None => Seconds { block, trial, file: File::create(&path)?, lines: 0 },
        };
        let mut line = serde_json::to_vec(second)?;
        line.push(b'\n');
        open.file.write_all(&line)?;
        open.lines += 1;
        self.seconds = Some(open);
        Ok(())
    }

    /// Gives the reserved room back and writes the final files; the report only when there is one.
    ///
    /// # Errors
    /// [`JournalError`]; `blocks.jsonl` is untouched in any case.
    pub(crate) fn finish(self, run_json: &str, report_html: Option<&str>) -> Result<(), JournalError> {
        drop(self.reserve);
        write_final(&self.dir, run_json, report_html)
    }
}

/// Writes the final files of a run.
///
/// # Errors
/// [`JournalError`].
pub(crate) fn write_final(dir: &Path, run_json: &str, report_html: Option<&str>) -> Result<(), JournalError> {
    replace(&dir.join("run.json"), run_json.as_bytes())?;
    report_html.map_or(Ok(()), |html| replace(&dir.join("report.html"), html.as_bytes()))
}

/// An open file of `room` bytes that has no name any more.
fn reserve(path: &Path, room: i64) -> Result<File, JournalError> {
    let file = File::create(path).map_err(JournalError::at(path))?;
    fs::remove_file(path).map_err(JournalError::at(path))?;
    match fallocate(&file, FallocateFlags::empty(), 0, room) {
        // File systems without fallocate cannot promise room; the final write then reports what happens.
        Ok(()) | Err(nix::Error::EOPNOTSUPP) => Ok(file),
        Err(error) => Err(JournalError::at(path)(error.into())),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    replace_file(path, bytes, Access::Everybody).map_err(|error| match error {
        ReplaceError::Full { path } => JournalError::Full { path },
        ReplaceError::Io { path, source } => JournalError::Io { path, source },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tbi_bench::plan::Profile;

    fn block(index: u32) -> BlockRecord {
        BlockRecord {
            index,
            arm: Arm::Reference,
            pair: None,
            at: Span::ZERO,
            took: Span::from_secs(1),
            void: None,
            trials: Vec::new(),
            dut_configuration_sha256: None,
        }
    }

    #[test]
    fn an_earlier_record_is_kept_and_blocks_are_on_disk_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("run.json"), "earlier").unwrap();
        fs::write(dir.path().join("blocks.jsonl"), "of a run that was killed").unwrap();
        let mut journal = Journal::open(dir.path(), "{}", 4096).unwrap();
        journal.append(&block(0)).unwrap();
        journal.append(&block(1)).unwrap();
        assert!(!dir.path().join("reserve").exists(), "a killed run would leave it behind");
        let lines = fs::read_to_string(dir.path().join("blocks.jsonl")).unwrap();
        let indexes: Vec<u32> =
            lines.lines().map(|line| serde_json::from_str::<BlockRecord>(line).unwrap().index).collect();
        assert_eq!(indexes, [0, 1]);
        journal.finish("{}", Some("<html>")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("run.json.old")).unwrap(), "earlier");
        assert_eq!(fs::read_to_string(dir.path().join("blocks.jsonl.old")).unwrap(), "of a run that was killed");
    }

    /// A trial as the engine measured it.
    fn trial() -> TrialRecord {
        let record = include_str!("../../../../engine/report/fixtures/run-v1.json");
        let mut record: tbi_bench::record::RunRecord = serde_json::from_str(record).unwrap();
        record.blocks.swap_remove(0).trials.swap_remove(0)
    }

    #[test]
    fn trials_of_the_open_block_are_there_at_once_and_give_way_to_those_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "{}", 4096).unwrap();
        let open = |block| OpenTrial { block, arm: Arm::On, pair: Some(0), block_at: Span::ZERO, trial: trial() };
        let there = || -> Vec<OpenTrial> {
            let text = fs::read_to_string(dir.path().join(OPEN)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        journal.trial(&open(0));
        journal.trial(&open(0));
        assert_eq!(there(), [open(0), open(0)]);
        journal.append(&block(0)).unwrap();
        journal.trial(&open(1));
        assert_eq!(there(), [open(1)]);
        // What cannot be noted harms nothing.
        fs::remove_file(dir.path().join(OPEN)).unwrap();
        fs::create_dir(dir.path().join(OPEN)).unwrap();
        journal.trial(&open(1));
        journal.append(&block(1)).unwrap();
        journal.finish("{}", None).unwrap();
    }

    #[test]
    fn seconds_of_the_trial_under_way_are_there_at_once_and_never_more_than_fit() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "{}", 4096).unwrap();
        let tick = trial().ticks.swap_remove(0);
        let second = |trial, number: usize| OpenSecond {
            block: 0,
            trial,
            arm: Arm::On,
            protocol: Protocol::H2,
            object: Object::Kb1,
            kind: TrialKind::Latency,
            trial_at: Span::from_secs(1),
            tick: Tick { at: Span::from_secs(number as u64 + 1), ..tick.clone() },
        };
        let there = || -> Vec<OpenSecond> {
            let text = fs::read_to_string(dir.path().join(SECONDS)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        journal.second(&second(0, 0));
        journal.second(&second(0, 1));
        assert_eq!(there(), [second(0, 0), second(0, 1)]);
        assert_eq!(second(0, 1).told().at_ms, 3000);
        journal.second(&second(1, 0));
        assert_eq!(there(), [second(1, 0)], "those of a finished trial are with it");
        for number in 1..=MOST_SECONDS {
            journal.second(&second(1, number));
        }
        let kept = there();
        assert_eq!((kept.len(), kept.last()), (MOST_SECONDS / 2 + 1, Some(&second(1, MOST_SECONDS))));
        // What cannot be noted harms nothing.
        fs::remove_file(dir.path().join(SECONDS)).unwrap();
        fs::create_dir(dir.path().join(SECONDS)).unwrap();
        journal.second(&second(2, 0));
        journal.append(&block(0)).unwrap();
    }

    #[test]
    fn long_campaigns_reserve_more() {
        let (short, full) = (Plan::of_profile(Profile::Short), Plan::of_profile(Profile::Full));
        assert!(room(&short) < 34 << 20, "{}", room(&short));
        // 330 trials of 325 s, some 350 bytes of JSON for each second.
        assert!(room(&full) > 330 * 325 * 350 + LEAST_ROOM, "{}", room(&full));
        assert!(room(&Plan { pairs: 1000, ..full }) > 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Journal::open(&file.join("run"), "{}", 4096).unwrap_err().to_string();
        assert!(error.contains("file/run") && error.contains("--out"), "{error}");
    }
}
