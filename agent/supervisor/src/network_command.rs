//! `tbi-agent network`: lays the bench's network on the appliance, as root, and ends (docs/decisions/0008).
//!
//! Its only input is `network.json`, written by the agent and read here as input from outside: bounded, no unknown fields, a topology
//! that is wrong is refused and never replaced by another. Its only output is the outcome file, written whole or not at all. Two of
//! them never lay a network at once: a lock file makes the second wait.

mod await_routes;
mod config;
mod outcome;
mod probe;
#[cfg(test)]
mod tests;

use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::{NetworkPlan, Path, Route, Via};

use crate::network::{NetworkError, NetworkHost, TrunkReport, TrunkState};
use await_routes::AwaitRoutesArgs;
use config::{Config, ConfigError};
use outcome::{Lock, Outcome};
use probe::ProbeArgs;

/// Where lock and outcome are: the unit's runtime directory.
const DIRECTORY: &str = "/run/tlsstress-network";
/// FRR needs a fraction of a second for a route after a link; after its own start some seconds.
const ROUTE_PATIENCE: Duration = Duration::from_secs(15);
/// Laying a path takes a few seconds; a change of path may overtake the one before it.
const LOCK_PATIENCE: Duration = Duration::from_secs(45);

/// What to do with the network.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Lays a path and writes how it went.
    Apply(ApplyArgs),
    /// Prints the plan and how the trunk is doing, and changes nothing.
    Show(ShowArgs),
    /// Waits until the ISP router's routes are in force, and changes nothing.
    AwaitRoutes(AwaitRoutesArgs),
    /// Asks the trunk who has the addresses of the topology, inside the namespace it is started in.
    Probe(ProbeArgs),
}

/// A path as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PathName {
    ThroughDut,
    Reference,
}

impl From<PathName> for Path {
    fn from(name: PathName) -> Self {
        match name {
            PathName::ThroughDut => Self::ThroughDut,
            PathName::Reference => Self::Reference,
        }
    }
}

/// See [`NetworkCommand::Apply`].
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Which way traffic goes.
    #[arg(long)]
    path: PathName,
    /// What to lay it on (`network.json`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to write how it went.
    #[arg(long, value_name = "FILE", default_value = "/run/tlsstress-network/outcome.json")]
    outcome: PathBuf,
    /// Does not wait for the ISP router's routes: for the first time, when the router itself still waits for its namespace.
    #[arg(long)]
    no_wait: bool,
}

/// See [`NetworkCommand::Show`].
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which way traffic would go.
    #[arg(long, default_value = "through-dut")]
    path: PathName,
    /// What it would be laid on (`network.json`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Why a path was not laid.
#[derive(Debug, thiserror::Error)]
enum LayError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("{0}")]
    Trunk(String),
    #[error(
        "the ISP router does not show the route to {prefix} over {way} after {seconds} s; check that the ISP router runs and has the configuration made for this topology"
    )]
    Routes { prefix: String, way: String, seconds: u64 },
    #[error(
        "the router's container ended before it had set the routes of the bench; its words are in the journal of its unit: check that its root file system has /etc/os-release and /sbin/init"
    )]
    Ended,
}

impl NetworkCommand {
    /// Exit code 0 when the network is as the plan says, 1 when it is not.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        tbi_daemon::init_tracing("tbi-agent", "warn");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match self {
            Self::Apply(arguments) => runtime.block_on(arguments.run()),
            Self::Show(arguments) => runtime.block_on(arguments.run()),
            Self::AwaitRoutes(arguments) => runtime.block_on(arguments.run()),
            Self::Probe(arguments) => arguments.run(),
        }
    }
}

impl ApplyArgs {
    #[expect(clippy::print_stderr, reason = "the unit's last line in the journal")]
    async fn run(self) -> anyhow::Result<ExitCode> {
        let path = Path::from(self.path);
        // Nothing is written without the lock: the outcome is that of whoever has it.
        let _lock = match Lock::take(FilePath::new(DIRECTORY), LOCK_PATIENCE).await {
            Ok(lock) => lock,
            Err(error) => {
                eprintln!("{error}");
                return Ok(ExitCode::FAILURE);
            }
        };
        let mut outcome = Outcome::new(path);
        if let Err(error) = self.lay(path, &mut outcome).await {
            outcome.ok = false;
            outcome.sentence = error.to_string();
        }
        if !outcome.trunk.sentence.is_empty() && outcome.trunk.sentence != outcome.sentence {
            eprintln!("{}", outcome.trunk.sentence);
        }
        if !outcome.sentence.is_empty() {
            eprintln!("{}", outcome.sentence);
        }
        outcome.write(&self.outcome)?;
        Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn lay(&self, path: Path, outcome: &mut Outcome) -> Result<(), LayError> {
        let plan = plan(&self.config, path)?;
        let mut host = NetworkHost::default();
        if plan.state.trunk.is_none() {
            host.release_trunk().await?;
        }
        let laid = host.lay(&plan).await;
        if laid.is_err() {
            // The step that failed is the sentence; the trunk is told beside it if it can be.
            outcome.trunk = host.trunk(plan.state.trunk).await.unwrap_or_else(|_| TrunkReport::not_used());
        }
        let laid = laid?;
        outcome.steps = laid.steps;
        outcome.trunk = laid.trunk;
        if outcome.trunk.state == TrunkState::Missing {
            return Err(LayError::Trunk(outcome.trunk.sentence.clone()));
        }
        let patience = if self.no_wait { return Ok(()) } else { ROUTE_PATIENCE };
        match host.missing_routes(&plan.expected, patience).await?.first() {
            None => Ok(()),
            Some(route) => Err(missing_route(route, patience)),
        }
    }
}

fn missing_route(route: &Route, patience: Duration) -> LayError {
    let way = match &route.via {
        Via::Gateway { gateway, interface } => format!("{gateway} on {interface}"),
        Via::Local => "this machine".to_owned(),
    };
    LayError::Routes { prefix: route.destination.to_string(), way, seconds: patience.as_secs() }
}

impl ShowArgs {
    #[expect(clippy::print_stdout, reason = "what it is for")]
    async fn run(self) -> anyhow::Result<ExitCode> {
        let plan = plan(&self.config, self.path.into())?;
        let trunk = NetworkHost::default().trunk(plan.state.trunk).await?;
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "plan": plan, "trunk": trunk }))?);
        Ok(ExitCode::SUCCESS)
    }
}

fn plan(config: &FilePath, path: Path) -> Result<NetworkPlan, ConfigError> {
    let catalogue = Catalogue::builtin();
    let config = Config::read(config, &catalogue)?;
    Ok(NetworkPlan::on(config.fabric, &config.topology, &catalogue, path))
}
