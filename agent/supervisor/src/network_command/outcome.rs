//! How laying a path went, in a file that is there whole or not at all, and the lock that keeps two from laying one at once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use tbi_bench::netplan::Path;
use tbi_daemon::{Access, ReplaceError, replace_file};
use tokio::time::{Instant, interval};

use crate::network::TrunkReport;

const LOCK_EVERY: Duration = Duration::from_millis(50);

/// `outcome.json`.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    path: Path,
    /// Whether the network is as the plan says. An unplugged trunk is: its cable is no part of the plan.
    pub(super) ok: bool,
    /// Steps it took, 0 when nothing was to be done.
    pub(super) steps: usize,
    /// What is wrong and what to do; empty when nothing is.
    pub(super) sentence: String,
    pub(super) trunk: TrunkReport,
}

/// The outcome could not be written, or the lock not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutcomeError {
    #[error("cannot write {path} ({source}); check that its folder exists and has room")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    #[error("cannot open the lock {path} ({source}); run as root")]
    Lock { path: PathBuf, source: io::Error },
    #[error(
        "another `tbi-agent network apply` has held {path} for {seconds} s; let it end, or stop its unit, and try again"
    )]
    Busy { path: PathBuf, seconds: u64 },
}

impl Outcome {
    /// Of a path that is laid unless somebody says otherwise.
    pub(super) fn new(path: Path) -> Self {
        Self { path, ok: true, steps: 0, sentence: String::new(), trunk: TrunkReport::not_used() }
    }

    /// Replaces the file; everybody may read it.
    pub(super) fn write(&self, path: &FilePath) -> Result<(), OutcomeError> {
        let failed = |source| OutcomeError::Write { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        folder.map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        Ok(replace_file(path, &text, Access::Everybody)?)
    }
}

/// Held until it is dropped, or until the process ends however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "kept for its drop")] Flock<File>);

impl Lock {
    /// Waits for the lock in a folder, which is made if need be.
    pub(super) async fn take(folder: &FilePath, patience: Duration) -> Result<Self, OutcomeError> {
        let path = folder.join("lock");
        let failed = |source| OutcomeError::Lock { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(failed)?;
        let deadline = Instant::now() + patience;
        let mut ticks = interval(LOCK_EVERY);
        loop {
            ticks.tick().await;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => {
                    return Err(OutcomeError::Busy { path, seconds: patience.as_secs() });
                }
                Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
                Err((_, errno)) => return Err(failed(errno.into())),
            }
        }
    }
}
