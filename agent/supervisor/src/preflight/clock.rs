//! What there is to compare the clock with: files of the past, the monotonic clock, and what the time service says.
//!
//! The kernel would tell whether it is synchronised by adjtimex(2), which no safe interface here offers; systemd-timesyncd says the same by
//! a file, and writes the time down for the next start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tbi_bench::preflight::clock::{Past, Reading};

use crate::run::clock::Clocks;

/// Where the past can be seen.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// This program: on an appliance its time is that of the commit, elsewhere that of its build.
    pub executable: PathBuf,
    /// Time that the time service knew last.
    pub last_known: PathBuf,
    /// Folder of the time service; in it `synchronized` while it keeps the clock.
    pub service: PathBuf,
    /// Folder of runs, one folder each.
    pub runs: Option<PathBuf>,
}

impl Sources {
    /// Those of this machine, beside the folder of the run at hand.
    pub(crate) fn of_this_machine(run: &Path) -> Self {
        Self {
            executable: std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            last_known: "/var/lib/systemd/timesync/clock".into(),
            service: "/run/systemd/timesync".into(),
            runs: run.parent().map(Path::to_owned),
        }
    }
}

/// Reads all of it; `now` is the clock that is judged.
pub(crate) fn read(sources: &Sources, since: Clocks, now: Clocks) -> Reading {
    let past = |what: &str, path: &Path| written(path).map(|at| Past { what: what.to_owned(), at });
    let runs = sources.runs.iter().flat_map(|runs| fs::read_dir(runs).into_iter().flatten().flatten());
    let last_run = runs.filter_map(|entry| written(&entry.path().join("run.json"))).max();
    let pasts = [
        past("the build of this program", &sources.executable),
        past("what the time service knew last", &sources.last_known),
        last_run.map(|at| Past { what: "the end of an earlier run".to_owned(), at }),
    ];
    Reading {
        now: now.unix(),
        pasts: pasts.into_iter().flatten().collect(),
        synchronised: sources.service.is_dir().then(|| sources.service.join("synchronized").exists()),
        compared_ms: u64::try_from(now.monotonic.saturating_duration_since(since.monotonic).as_millis())
            .unwrap_or(u64::MAX),
        stepped: since.step_until(&now),
    }
}

fn written(path: &Path) -> Option<i64> {
    let since_epoch = fs::metadata(path).ok()?.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_secs()).ok()
}
