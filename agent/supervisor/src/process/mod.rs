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
//! [`Children`] carries them out in the lab, as child processes in the namespaces of the network plan; `systemd::Units` on the
//! appliance. A program is ready when its socket (or, to its service manager, it itself) says so, never before. Before the first wish
//! nothing is started or stopped: what runs already may be wanted. What ends is started again after a growing pause ([`Backoff`]).

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
use crate::systemd::SystemdError;

pub(crate) use backoff::Backoff;
pub(crate) use children::Children;
pub(crate) use supervisor::{Standing, SuperviseError, Supervisor};

/// A program that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Unique name, also of its log file or unit.
    pub(crate) name: String,
    /// What is started. Another one replaces the program that runs.
    pub(crate) launch: Launch,
    /// How it says that it is ready.
    pub(crate) readiness: Readiness,
    /// Workloads that must be ready before it starts.
    pub(crate) needs: Vec<String>,
    /// Not ready after this long, it is ended and started again.
    pub(crate) ready_within: Duration,
}

/// See [`Workload::launch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Launch {
    /// A child process.
    Program {
        /// Where it runs.
        namespace: Namespace,
        /// Its file.
        program: PathBuf,
        /// Its arguments, among them the socket.
        arguments: Vec<OsString>,
        /// Between the request to end and the force.
        drain: Duration,
    },
    /// A unit of systemd, which says how it is started and ended. What the agent decides about it is in files that whoever makes the
    /// workload has written already.
    Unit {
        /// Stands for the content of those files; opaque.
        definition: String,
    },
}

/// How a workload says that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Over its control socket.
    Socket(PathBuf),
    /// To the service manager (`Type=notify`), for what has no control socket.
    Unit,
}

/// What a backend says of a workload. One that it does not mention does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Its start was asked for; there is no process yet.
    Queued,
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
    /// Whether a workload that runs already, not started by this process, is the wanted one and is looked after from now on.
    fn adopt(&mut self, _wanted: &Workload) -> bool {
        false
    }
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
    /// Not for this backend.
    #[error("'{name}' cannot be started: {what}; this is a defect of the agent, report it")]
    Foreign { name: String, what: &'static str },
    /// systemd would not.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
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
    /// Ran already when the agent came.
    Adopted { pid: u32 },
    /// Runs again.
    Restarted { pid: u32, times: u32 },
    /// Said that it is ready.
    Ready,
    /// Ended without being asked to, was ended because it did not become ready, or could not be started.
    Died { status: String },
    /// Ended because it was asked to.
    Stopped,
}
