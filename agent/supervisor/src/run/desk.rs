//! The runs of an appliance, or of a lab with a dashboard: one at a time, each a folder, each with a state and a sentence in the end, whatever happens.
//!
//! The desk does not measure; it opens the journal, has [`super::measure`] do it, and keeps what a person sees of each run. A run that
//! ends badly leaves the desk as usable as one that ends well.

mod check;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tbi_api::access::{By, LOCAL};
use tbi_api::runs::{self, Run, RunState};
use tbi_bench::plan::{Plan, PlanError, PlanFile, PlanFormat, Profile};
use tbi_bench::preflight::{Bypass, ReasonError};
use tbi_bench::record::{RunStatus, Verdict};
use tbi_daemon::Shutdown;
use tokio::sync::watch;

use super::admission::Applicant;
use super::authorize::{Authorizer, Finished, OpenPage};
use super::clock::Clocks;
use super::home::Home;
use super::journal::{self, Journal, JournalError, Ordered};
use super::progress::Sink;
use super::{KeepError, Terms, close, id_of, keep, measure, record_of};

/// An order, or a question about a run, was refused. One sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// One at a time.
    #[error("run {id} is under way; wait for its end or stop it first")]
    UnderWay {
        /// Which.
        id: String,
    },
    /// Somebody looks at the bench.
    #[error("the pre-flight checks are being made; wait for their end or cancel them")]
    Checking,
    /// No such run.
    #[error("there is no run {id}; look at the list of runs")]
    Unknown {
        /// Which.
        id: String,
    },
    /// Too late to stop it.
    #[error("run {id} is over; there is nothing to stop")]
    Over {
        /// Which.
        id: String,
    },
    /// Not a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A bypass of the pre-flight gate without a reason that can be printed.
    #[error(transparent)]
    Bypass(#[from] ReasonError),
    /// No folder for it.
    #[error(
        "the run cannot be kept ({why}); free space on the state partition by deleting runs, or give the box a larger disk"
    )]
    Keep {
        /// What is wrong.
        why: String,
    },
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct RunDesk {
    inner: Arc<Inner>,
}

struct Inner {
    appliance: Arc<dyn Home>,
    authorizer: Arc<dyn Authorizer>,
    /// Folder with one folder for each run.
    runs: PathBuf,
    book: Mutex<Book>,
    examined: Mutex<check::Examined>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("runs", &self.runs).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Book {
    /// By id, which is also by time.
    runs: BTreeMap<String, watch::Sender<Run>>,
    under_way: Option<(String, Shutdown)>,
    /// The pre-flight checks are being made without a run; asks them to end.
    checking: Option<Shutdown>,
}

impl RunDesk {
    /// A desk over the folder `runs`, whose runs are measured by `appliance`, or a lab in its place, and `authorizer` allows. Runs whose agent was killed are closed first.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(crate) fn open(
        runs: PathBuf,
        appliance: Arc<impl Home>,
        authorizer: Arc<dyn Authorizer>,
    ) -> Result<Self, DeskError> {
        fs::create_dir_all(&runs).map_err(|error| DeskError::Keep { why: format!("{}: {error}", runs.display()) })?;
        close::all_in(&runs, Path::new(""), &appliance.life());
        let mut book = Book::default();
        for entry in fs::read_dir(&runs).into_iter().flatten().flatten() {
            // A lab has a link to the latest one beside them.
            let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if !linked && let Some(run) = read(&entry.path()) {
                book.runs.insert(run.id.clone(), watch::Sender::new(run));
            }
        }
        Ok(Self {
            inner: Arc::new(Inner { appliance, authorizer, runs, book: Mutex::new(book), examined: Mutex::default() }),
        })
    }

    /// Begins a run.
    ///
    /// # Errors
    /// [`DeskError`]; nothing has begun then.
    pub(crate) fn start(&self, order: &runs::Order, by: By) -> Result<Run, DeskError> {
        let plan = plan_of(order)?;
        let bypass =
            order.preflight_bypass.as_ref().map(|bypass| Bypass::new(&bypass.reason, by.actor.clone())).transpose()?;
        let mut book = self.inner.book();
        if let Some((id, _)) = &book.under_way {
            return Err(DeskError::UnderWay { id: id.clone() });
        }
        if book.checking.is_some() {
            return Err(DeskError::Checking);
        }
        let started = self.free_moment(&book);
        let id = id_of(started);
        let dir = self.inner.runs.join(&id);
        let text = serde_json::to_string_pretty(&plan).map_err(|error| DeskError::Keep { why: error.to_string() })?;
        let ordered = Ordered { actor: by.actor.clone(), source: by.source.clone() };
        let opened = Journal::open(&dir, &text, journal::room(&plan));
        let kept = opened.and_then(|journal| journal.ordered(&ordered).map(|()| journal));
        let journal = kept.map_err(|error| {
            // It holds nothing yet but what could not be written.
            let _best_effort = fs::remove_dir_all(&dir);
            DeskError::Keep { why: why(&error) }
        })?;
        let run = Run {
            id: id.clone(),
            name: plan.name.clone(),
            state: RunState::Preparing,
            started: started.to_string(),
            ended: None,
            progress: None,
            sentence: String::new(),
            actor: Some(ordered.actor),
            source: Some(ordered.source),
        };
        let stop = Shutdown::new();
        book.runs.insert(id.clone(), watch::Sender::new(run.clone()));
        book.under_way = Some((id.clone(), stop.clone()));
        let applicant = Applicant {
            id: id.clone(),
            by,
            bypass,
            topology: self.inner.appliance.topology().clone(),
            authorizer: Arc::clone(&self.inner.authorizer),
            since: Clocks::now(),
        };
        let end = End { inner: Arc::clone(&self.inner), id };
        // Its end is told by the guard, even when it panics; it ends with the campaign, which has deadlines everywhere.
        tokio::spawn(conduct(end, plan, journal, started, stop, applicant));
        Ok(run)
    }

    /// Closes the pages of runs whose agent was killed before it could: as their folders say. Call it before the first run begins.
    pub(crate) async fn catch_up(&self) {
        for page in self.inner.authorizer.open_pages().await {
            let run = match self.get(&page.id) {
                Some(run) if run.state.is_over() => run,
                Some(_under_way) => continue,
                None => without_a_record(&page),
            };
            tracing::warn!(run.id, ?run.state, "closed the page of a run that was cut off");
            let record = self.inner.runs.join(&run.id).join("run.json");
            let record_sha256 = sha256_of(record.clone()).await;
            let blocks = tokio::task::spawn_blocking(move || blocks_in(&record)).await.ok().flatten().unwrap_or(0);
            self.inner.authorizer.finished(Finished { run, by: the_agent(), blocks, record_sha256 }).await;
        }
    }

    /// The first moment from now on whose id no run has.
    fn free_moment(&self, book: &Book) -> jiff::Timestamp {
        let mut moment = jiff::Timestamp::now();
        while book.runs.contains_key(&id_of(moment)) || self.inner.runs.join(id_of(moment)).exists() {
            moment = moment.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(moment);
        }
        moment
    }

    /// Asks a run to end; what was measured is kept.
    ///
    /// # Errors
    /// When it is unknown or over.
    pub(crate) fn stop(&self, id: &str) -> Result<(), DeskError> {
        let book = self.inner.book();
        match &book.under_way {
            Some((running, stop)) if running == id => stop.request(),
            _ if book.runs.contains_key(id) => return Err(DeskError::Over { id: id.to_owned() }),
            _ => return Err(DeskError::Unknown { id: id.to_owned() }),
        }
        Ok(())
    }

    /// All runs, newest first.
    pub(crate) fn list(&self) -> Vec<Run> {
        self.inner.book().runs.values().rev().map(|run| run.borrow().clone()).collect()
    }

    /// One run.
    pub(crate) fn get(&self, id: &str) -> Option<Run> {
        self.inner.book().runs.get(id).map(|run| run.borrow().clone())
    }

    /// Follows a run.
    pub(crate) fn watch(&self, id: &str) -> Option<watch::Receiver<Run>> {
        self.inner.book().runs.get(id).map(watch::Sender::subscribe)
    }

    /// Where a run is kept: `run.json` and `report.html`, once it is over.
    pub(crate) fn folder(&self, id: &str) -> Option<PathBuf> {
        self.inner.book().runs.contains_key(id).then(|| self.inner.runs.join(id))
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.book().runs.get(id) {
            run.send_modify(change);
        }
    }
}

/// Frees the desk when a run is over, however that came.
struct End {
    inner: Arc<Inner>,
    id: String,
}

impl Drop for End {
    fn drop(&mut self) {
        self.inner.change(&self.id, |run| {
            if !run.state.is_over() {
                run.state = RunState::Interrupted;
                run.ended = Some(jiff::Timestamp::now().to_string());
                "The run's task ended before its record was made; this is a defect, report it with the box's journal."
                    .clone_into(&mut run.sentence);
            }
        });
        self.inner.book().under_way = None;
        self.inner.appliance.idle();
    }
}

async fn conduct(
    end: End,
    plan: Plan,
    mut journal: Journal,
    started: jiff::Timestamp,
    stop: Shutdown,
    applicant: Applicant,
) {
    let (inner, id, by) = (Arc::clone(&end.inner), end.id.clone(), applicant.by.clone());
    let teller = (Arc::clone(&inner), id.clone());
    let tell = move |progress: runs::Progress| {
        teller.0.change(&teller.1, |run| {
            run.state = RunState::Running;
            run.progress = Some(progress);
        });
    };
    let terms = Terms { stop, life: inner.appliance.life(), sink: Sink::Tell(Box::new(tell)), applicant };
    let up = async { inner.appliance.up(&plan).await.map(|up| (up, ())) };
    let (measured, _) = measure(&plan, &mut journal, terms, up).await;
    let record = record_of(plan, measured, id.clone(), started);
    let kept = keep(journal, &record);
    let whole = kept.is_ok();
    inner.change(&id, |run| {
        run.state = state_of(record.status, record.verdict);
        run.ended = Some(record.ended.clone());
        run.progress = None;
        run.sentence = sentence_of(run.state, record.reasons.first());
        if let Err(error) = kept {
            run.state = RunState::Interrupted;
            let why = match &error {
                KeepError::Journal(error) => why(error),
                KeepError::Report(error) => error.to_string(),
            };
            run.sentence = format!(
                "The record could not be kept whole ({why}); free space on the state partition by deleting runs. {}",
                run.sentence
            );
        }
    });
    drop(end);
    let book = |run: &watch::Sender<Run>| run.borrow().clone();
    let run = inner.book().runs.get(&id).map(book);
    if let Some(run) = run {
        let record_sha256 = if whole { sha256_of(inner.runs.join(&id).join("run.json")).await } else { None };
        let blocks = record.blocks.len() as u64;
        inner.authorizer.finished(Finished { run, by, blocks, record_sha256 }).await;
    }
}

/// SHA-256 of a file, in pieces; `None` when it cannot be read.
async fn sha256_of(path: PathBuf) -> Option<String> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        std::io::copy(&mut fs::File::open(path).ok()?, &mut hash).ok()?;
        Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    });
    hashing.await.ok().flatten()
}

/// Who closes what others left open.
fn the_agent() -> By {
    By { actor: "agent".to_owned(), role: None, source: LOCAL.to_owned(), correlation_id: String::new() }
}

/// A run that began and has no folder, or one that cannot be read.
fn without_a_record(page: &OpenPage) -> Run {
    Run {
        id: page.id.clone(),
        name: page.name.clone(),
        state: RunState::Interrupted,
        started: page.started.clone(),
        ended: Some(jiff::Timestamp::now().to_string()),
        progress: None,
        sentence: "The agent was killed during it, and no record of it can be read; order the run again.".to_owned(),
        actor: None,
        source: None,
    }
}

/// How many blocks a record has.
fn blocks_in(record: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Blocks {
        blocks: Vec<serde::de::IgnoredAny>,
    }
    let file = std::io::BufReader::new(fs::File::open(record).ok()?);
    serde_json::from_reader::<_, Blocks>(file).ok().map(|record| record.blocks.len() as u64)
}

/// What a journal's error means on an appliance, where nobody chooses folders.
fn why(error: &JournalError) -> String {
    match error {
        JournalError::Full { path } => format!("the disk that holds {} is full", path.display()),
        JournalError::InUse { dir } => format!("another run writes to {}", dir.display()),
        JournalError::Io { path, source } => format!("{}: {source}", path.display()),
    }
}

fn plan_of(order: &runs::Order) -> Result<Plan, PlanError> {
    let fallback = match order.profile {
        runs::Profile::Quick => Profile::Quick,
        runs::Profile::Short => Profile::Short,
        runs::Profile::Full => Profile::Full,
    };
    match &order.plan {
        Some(plan) => PlanFile::parse(&plan.to_string(), PlanFormat::Json)?.resolve(fallback),
        None => Ok(Plan::of_profile(fallback)),
    }
}

fn state_of(status: RunStatus, verdict: Verdict) -> RunState {
    match (status, verdict) {
        (RunStatus::Interrupted, _) => RunState::Interrupted,
        (RunStatus::Completed, Verdict::Passed) => RunState::Passed,
        (RunStatus::Completed, Verdict::Failed) => RunState::Failed,
        (RunStatus::Completed, Verdict::NotMeasured) => RunState::NotMeasured,
    }
}

fn sentence_of(state: RunState, reason: Option<&String>) -> String {
    match (reason, state) {
        (Some(reason), _) => reason.clone(),
        (None, RunState::Passed) => "Measured, and every threshold holds.".to_owned(),
        (None, RunState::Failed) => "Measured, but a threshold is broken; the report names it.".to_owned(),
        (None, _) => String::new(),
    }
}

/// What a person sees of a run that is over, from its folder.
fn read(dir: &Path) -> Option<Run> {
    /// The few words of a record that are needed; the rest is skipped.
    #[derive(Deserialize)]
    struct Words {
        started: String,
        ended: String,
        status: RunStatus,
        verdict: Verdict,
        reasons: Vec<String>,
        plan: Name,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    let id = dir.file_name()?.to_str()?.to_owned();
    let file = std::io::BufReader::new(fs::File::open(dir.join("run.json")).ok()?);
    let words: Words = match serde_json::from_reader(file) {
        Ok(words) => words,
        Err(error) => {
            tracing::warn!("{} is not a run record: {error}", dir.display());
            return None;
        }
    };
    let state = state_of(words.status, words.verdict);
    let ordered = Ordered::read(dir);
    Some(Run {
        id,
        name: words.plan.name,
        state,
        started: words.started,
        ended: Some(words.ended),
        progress: None,
        sentence: sentence_of(state, words.reasons.first()),
        actor: ordered.as_ref().map(|ordered| ordered.actor.clone()),
        source: ordered.map(|ordered| ordered.source),
    })
}
