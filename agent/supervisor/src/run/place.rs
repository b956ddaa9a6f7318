//! What a run needs of the place it runs in, be it the lab or an appliance: how paths are laid, what it finds up and ready, and the
//! words for what was not. Common parts of both places; neither is named here.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use serde::Serialize;
use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::control::engine::Target;
use tbi_bench::control::personas::PersonasConfig;
use tbi_bench::control::practice_dut::PracticeDutConfig;
use tbi_bench::netplan::{self, Interface, NetworkPlan};
use tbi_bench::plan::{Family, Plan};
use tbi_bench::topology::{Topology, TopologyError};
use tbi_bench::wire;
use tbi_daemon::ClientError;
use tbi_dut::DutError;
use tokio::sync::broadcast;

use super::floor::Floor;
use crate::network::NetworkError;
use crate::process::{Event, Happening, SuperviseError};
use crate::systemd::SystemdError;

/// Makes traffic take one way and no other.
pub(crate) trait PathLayer: Send + Sync {
    /// Returns when the path is laid. Laying the one that lies already is harmless.
    fn lay(&self, path: netplan::Path) -> BoxFuture<'_, Result<(), PathError>>;
}

/// Why a path does not lie.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// The kernel.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The service manager.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The program that lays it says why.
    #[error("{0}")]
    Said(String),
}

/// A floor with everything up and ready.
pub(crate) struct Up {
    /// For the campaign.
    pub floor: Floor,
    /// What happens to programs, from before they were ready.
    pub events: broadcast::Receiver<Event>,
}

/// What a run needs did not come up. One sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Network.
    #[error("The bench's network could not be built: {0}")]
    Network(#[from] PathError),
    /// The topology is not one that can be built here.
    #[error("{0}")]
    Topology(#[from] TopologyError),
    /// A program is not beside the agent.
    #[error("{} is not there; build it with `cargo build --release -p tbi-{name}` or start the run with `cargo tbi run`.", .path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
        /// Its package.
        name: &'static str,
    },
    /// A program did not become ready.
    #[error("{name} did not become ready: {why}")]
    NotReady {
        /// Program.
        name: String,
        /// Its last words, or why it could not be asked.
        why: String,
    },
    /// A program neither ended nor became ready.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// A file.
    #[error("{} cannot be used: {why}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The device.
    #[error(transparent)]
    Dut(#[from] DutError),
    /// There is no way to speak to the device.
    #[error(
        "A NIC is chosen as trunk, so the device under test is outside the box, and there is no adapter that can switch it yet; choose no \
         trunk to measure through the practice DUT."
    )]
    NoAdapter,
    /// A daemon refused.
    #[error("{name} does not answer as it should: {source}")]
    Daemon {
        /// Which.
        name: &'static str,
        /// Why.
        source: ClientError,
    },
}

/// Network plans of both paths.
#[derive(Debug)]
pub(crate) struct Paths {
    /// For reference blocks.
    pub reference: NetworkPlan,
    /// For ON and BYPASS.
    pub through_dut: NetworkPlan,
}

impl Paths {
    /// Both, for a topology.
    pub(crate) fn new(topology: &Topology, catalogue: &Catalogue) -> Self {
        Self {
            reference: NetworkPlan::new(topology, catalogue, netplan::Path::Reference),
            through_dut: NetworkPlan::new(topology, catalogue, netplan::Path::ThroughDut),
        }
    }

    /// Where agents' connections come from in the plan's family.
    pub(crate) fn sources(&self, plan: &Plan) -> Vec<IpNet> {
        match plan.family {
            Family::Ipv4 => self.through_dut.sources_of(AddressFamily::Ipv4),
            Family::Ipv6 => self.through_dut.sources_of(AddressFamily::Ipv6),
            Family::Both => self.through_dut.sources.clone(),
        }
    }
}

/// What the personas are told.
pub(crate) fn personas_config(plan: &Plan, catalogue: &Catalogue, ca_dir: &Path) -> PersonasConfig {
    PersonasConfig {
        sites: catalogue.sites(),
        key: plan.key,
        ca_dir: ca_dir.display().to_string(),
        workers: plan.workers.personas,
        port: wire::PORT,
    }
}

/// What the practice DUT is told.
pub(crate) fn practice_dut_config(plan: &Plan, paths: &Paths, persona_ca: &Path, ca_dir: &Path) -> PracticeDutConfig {
    PracticeDutConfig {
        inside_interfaces: names(&paths.through_dut.inside_interfaces),
        outside_interfaces: names(&paths.through_dut.outside_interfaces),
        persona_ca_file: persona_ca.display().to_string(),
        ca_dir: ca_dir.display().to_string(),
        key: plan.key,
        workers: plan.workers.dut,
    }
}

fn names(interfaces: &[Interface]) -> Vec<String> {
    interfaces.iter().map(|interface| interface.as_str().to_owned()).collect()
}

/// Writes a daemon's configuration and gives its text.
pub(crate) fn write_json<C: Serialize>(path: &Path, config: &C) -> Result<String, PlaceError> {
    let refuse = |why: String| PlaceError::File { path: path.to_owned(), why };
    let json = serde_json::to_string_pretty(config).map_err(|error| refuse(error.to_string()))?;
    std::fs::write(path, &json).map_err(|error| refuse(error.to_string()))?;
    Ok(json)
}

/// Makes a folder with all above it.
pub(crate) fn make_dir(path: &Path) -> Result<(), PlaceError> {
    std::fs::create_dir_all(path)
        .map_err(|error| PlaceError::File { path: path.to_owned(), why: format!("{error}; check its permissions") })
}

/// While a place comes up a program that ends is not tried again and again: its last words are the operator's sentence.
pub(crate) async fn first_death(events: &mut broadcast::Receiver<Event>) -> PlaceError {
    loop {
        match events.recv().await {
            Ok(Event { workload, what: Happening::Died { status } }) => {
                return PlaceError::NotReady { name: workload, why: status };
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The supervisor is gone; waiting for readiness tells so.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Servers of the plan: so many personas, spread over all countries, in the plan's family.
pub(crate) fn targets(plan: &Plan, catalogue: &Catalogue) -> Vec<Target> {
    let families: &[AddressFamily] = match plan.family {
        Family::Ipv4 => &[AddressFamily::Ipv4],
        Family::Ipv6 => &[AddressFamily::Ipv6],
        Family::Both => &[AddressFamily::Ipv4, AddressFamily::Ipv6],
    };
    let per_family: Vec<Vec<Target>> = families.iter().map(|family| catalogue.targets(*family)).collect();
    let all = per_family.first().map_or(0, Vec::len);
    let wanted = (plan.personas as usize).min(all);
    // Every `all / wanted`-th persona; with both families they alternate, so that any stretch of the rotation has both.
    (0..wanted)
        .flat_map(|index| per_family.iter().filter_map(move |list| list.get(index * all / wanted).cloned()))
        .collect()
}
