//! Keeps the programs of the bench running: what is wanted is compared with what runs, and the difference is made good.
//!
//! ```text
//!  want(workloads) ─▶ Supervisor (one task) ──start, stop──▶ Backend ──▶ programs
//!                        ▲  nudge, once a second                │
//!                        └──────────── states ◀─────────────────┘
//!                        └──▶ events (bounded), standing (latest)
//! ```
//!
//! The reconciler takes no hint about what changed: a nudge only makes it look sooner. Decisions are [`plan::decide`], a pure function.
//! [`Children`] carries them out in the lab, as child processes in the namespaces of the network plan. A program is ready when its
//! socket says so, never before. What ends is started again after a growing pause ([`Backoff`]).

mod backoff;
mod children;
mod log;
mod plan;
mod supervisor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tbi_bench::netplan::Namespace;
use tokio::sync::Notify;

use crate::network::NetworkError;

pub(crate) use backoff::Backoff;
pub(crate) use children::Children;
pub(crate) use supervisor::{SuperviseError, Supervisor};

/// A program that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Unique name, also of its log file.
    pub(crate) name: String,
    /// Where it runs.
    pub(crate) namespace: Namespace,
    /// Its file.
    pub(crate) program: PathBuf,
    /// Its arguments, among them the socket.
    pub(crate) arguments: Vec<OsString>,
    /// Where it says whether it is ready.
    pub(crate) socket: PathBuf,
    /// Workloads that must be ready before it starts.
    pub(crate) needs: Vec<String>,
    /// Not ready after this long, it is ended and started again.
    pub(crate) ready_within: Duration,
    /// Between the request to end and the force.
    pub(crate) drain: Duration,
}

/// What a backend says of a workload. One that it does not mention does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Runs, and has not said that it is ready.
    Starting { pid: u32 },
    /// Has said that it is ready.
    Ready { pid: u32, since: Instant },
    /// Was asked to end.
    Stopping,
    /// Has ended; until [`Backend::forget`].
    Ended { status: String, ready_for: Option<Duration> },
}

/// Starts and stops workloads: children in the lab, units on the appliance.
pub(crate) trait Backend: Send + 'static {
    /// Starts a workload that does not run.
    fn start(&mut self, workload: &Workload) -> impl Future<Output = Result<(), StartError>> + Send;
    /// Asks a workload to end, and forces it after its drain time. Returns at once; [`State::Ended`] follows.
    fn stop(&mut self, name: &str);
    /// Drops the memory of a workload that ended.
    fn forget(&mut self, name: &str);
    /// What runs and what has ended.
    fn states(&self) -> BTreeMap<String, State>;
    /// Told whenever a state changes.
    fn changed(&self) -> Arc<Notify>;
}

/// A workload could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Not in its namespace.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No log file.
    #[error("cannot write the log {} ({source}); check that the directory is writable and the disk not full", path.display())]
    Log { path: PathBuf, source: std::io::Error },
    /// Ended within its first moments.
    #[error("'{name}' ended before it could be watched; look at its log")]
    Gone { name: String },
}

/// Something happened to a workload. A receiver that is too slow learns that it missed some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Which workload.
    pub(crate) workload: String,
    /// What happened.
    pub(crate) what: Happening,
}

/// See [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// Runs for the first time.
    Started { pid: u32 },
    /// Runs again.
    Restarted { pid: u32, times: u32 },
    /// Said that it is ready.
    Ready,
    /// Ended without being asked to, was ended because it did not become ready, or could not be started.
    Died { status: String },
    /// Ended because it was asked to.
    Stopped,
}
