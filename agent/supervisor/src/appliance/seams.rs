//! What the API needs from parts it does not know: who drives runs, who watches workloads, who talks to systemd. Each is a small trait,
//! implemented in [`crate::bench`].

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use tbi_api::access::By;
use tbi_api::health::Component;
use tbi_api::power::Action;
use tbi_api::runs::{Order, Run};
use tokio::sync::watch;

use super::nic::Mac;

/// Drives runs, one at a time, and remembers those that ended.
pub(crate) trait Runs: Send + Sync + 'static {
    /// Starts one; returns when it is under way, not when it ends.
    fn start(&self, order: Order, by: By) -> BoxFuture<'_, Result<Run, RunRefused>>;
    /// Asks it to end `interrupted`; `false` when it is not under way.
    fn stop(&self, id: &str) -> bool;
    /// All that are known, newest first.
    fn list(&self) -> Vec<Run>;
    /// One.
    fn get(&self, id: &str) -> Option<Run>;
    /// Its changes; `None` when it is not under way.
    fn watch(&self, id: &str) -> Option<watch::Receiver<Run>>;
    /// Where its `run.json` and `report.html` are.
    fn folder(&self, id: &str) -> Option<PathBuf>;
}

/// Why a run does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RunRefused {
    #[error("the run {id} is under way; wait for its end or stop it")]
    UnderWay { id: String },
    #[error("the pre-flight checks are being made; wait for their end, which GET /v1/preflight tells, or cancel them")]
    Checking,
    /// The plan is wrong; the sentence says where.
    #[error("{0}")]
    Plan(String),
    /// The box cannot measure now; the sentence says why and what to do.
    #[error("{0}")]
    NotNow(String),
}

/// How the programs of the bench are.
pub(crate) trait Workloads: Send + Sync + 'static {
    /// One component each.
    fn components(&self) -> Vec<Component>;

    /// Parts of a box that there are none of here, so that nobody is told what is wrong with them.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Restarts or ends the machine.
pub(crate) trait Power: Send + Sync + 'static {
    /// Asks for it; the sentence of an error says what to do.
    fn ask(&self, action: Action) -> BoxFuture<'_, Result<(), String>>;
}

/// Reports usage by a program of its own, because the agent has no IP network.
pub(crate) trait Reporting: Send + Sync + 'static {
    /// Starts a report, or lets one go on that is under way; the sentence of an error says what to do.
    fn report(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// What was changed, with everything that follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Which of them.
    pub(crate) what: Changed,
    /// `topology.yaml` in force.
    pub(crate) topology: String,
    /// Card towards the device that the settings name, whether or not it is there now.
    pub(crate) trunk: Option<Mac>,
    /// Router between device and personas.
    pub(crate) router: ChosenRouter,
}

/// The router that the settings choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChosenRouter {
    /// The one that ships.
    Frr,
    /// The one in the slot, by the SHA-256 of its root file system; `None` when the slot is empty.
    Own(Option<String>),
}

/// See [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Nothing: the agent has started, and the system may be at anything.
    Start,
    Settings,
    Topology,
    /// The root file system in the slot for the operator's own router.
    Root,
}

/// Brings the system to what settings and topology say.
pub(crate) trait Reapply: Send + Sync + 'static {
    /// Called once at the start and after each change that was stored; the sentence of an error says what to do.
    fn reapply(&self, change: Change) -> BoxFuture<'_, Result<(), String>>;
}
