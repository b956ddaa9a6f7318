//! The lab: network and programs, up and down, and the floor a campaign runs on.
//!
//! Everything lives under `/run/tlsstress`, which inside the sandbox is a file system of its own: sockets, configuration, and the keys
//! of both authorities, which are gone with the run unless the operator keeps the persona CA in a folder (`--persona-ca`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::control::engine::{Target, Trust};
use tbi_bench::control::personas::PersonasConfig;
use tbi_bench::control::practice_dut::PracticeDutConfig;
use tbi_bench::netplan::{self, Interface, Namespace, NetworkPlan};
use tbi_bench::plan::{Adapter, Family, Plan};
use tbi_bench::topology::Topology;
use tbi_bench::wire;
use tbi_daemon::{ClientError, UnixClient};
use tbi_dut::practice::PracticeDut;
use tbi_dut::{DutAdapter, DutError};
use tokio::sync::{Mutex, broadcast};

use super::floor::{Floor, Paths};
use crate::network::{NetworkError, NetworkHost};
use crate::process::{Backoff, Children, Event, Happening, Launch, Readiness, SuperviseError, Supervisor, Workload};

/// Sockets, configuration and keys of the lab; a private file system inside the sandbox.
pub(crate) const RUN: &str = "/run/tlsstress";
/// A hundred RSA-4096 leaves take their time on two cores; everything else is ready within a second.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Time a program gets to end by itself.
const DRAIN: Duration = Duration::from_secs(5);

/// Authorities that come from outside the lab.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Authorities {
    /// Folder with the persona CA (ca.pem, ca.key), made there when empty, so that a device needs to learn it only once
    /// [default: a new CA for every run].
    #[arg(long, value_name = "DIR")]
    pub persona_ca: Option<PathBuf>,
    /// CA certificate (PEM) with which the device re-signs, instead of the one its adapter gives.
    #[arg(long, value_name = "FILE")]
    pub dut_ca: Option<PathBuf>,
}

/// The lab did not come up. One sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// Network.
    #[error("The lab's network could not be built: {0}")]
    Network(#[from] NetworkError),
    /// The topology is not one the lab can build.
    #[error("{0}")]
    Topology(#[from] tbi_bench::topology::TopologyError),
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
    /// A file of the lab.
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
    /// A daemon refused.
    #[error("{name} does not answer as it should: {source}")]
    Daemon {
        /// Which.
        name: &'static str,
        /// Why.
        source: ClientError,
    },
}

/// A lab that is up.
pub(crate) struct Lab {
    /// For the campaign.
    pub floor: Floor,
    /// What happens to its programs from before they started.
    pub events: broadcast::Receiver<Event>,
    /// What runs in it.
    pub programs: Supervisor,
}

impl Lab {
    /// Builds the network, starts the programs and waits until each says that it is ready.
    ///
    /// # Errors
    /// [`LabError`]; whatever was started ends with the sandbox.
    pub(crate) async fn up(plan: &Plan, authorities: &Authorities, logs: &Path) -> Result<Self, LabError> {
        let (catalogue, topology) = (Catalogue::builtin(), Topology::builtin());
        topology.check_lab()?;
        let paths = Paths {
            reference: NetworkPlan::new(&topology, &catalogue, netplan::Path::Reference),
            through_dut: NetworkPlan::new(&topology, &catalogue, netplan::Path::ThroughDut),
        };
        let network = Arc::new(Mutex::new(NetworkHost::default()));
        network.lock().await.apply(&paths.through_dut).await?;

        let run = Path::new(RUN);
        make_dir(run)?;
        make_dir(logs)?;
        let persona_ca = authorities.persona_ca.clone().unwrap_or_else(|| run.join("persona-ca"));
        let text = |path: &Path| path.display().to_string();
        let mut workloads = vec![
            workload(
                "personas",
                Namespace::Personas,
                configured(
                    "personas",
                    &PersonasConfig {
                        sites: catalogue.sites(),
                        key: plan.key,
                        ca_dir: text(&persona_ca),
                        workers: plan.workers.personas,
                        port: wire::PORT,
                    },
                )?,
                &[],
            )?,
            workload(
                "engine",
                Namespace::Agents,
                vec!["--workers".into(), plan.workers.engine.to_string().into()],
                &[],
            )?,
        ];
        let dut: Box<dyn DutAdapter> = match plan.dut.adapter {
            Adapter::Practice => {
                let config = PracticeDutConfig {
                    inside_interfaces: names(&paths.through_dut.inside_interfaces),
                    outside_interfaces: names(&paths.through_dut.outside_interfaces),
                    persona_ca_file: text(&persona_ca.join("ca.pem")),
                    ca_dir: text(&run.join("dut-ca")),
                    key: plan.key,
                    workers: plan.workers.dut,
                };
                // It verifies leg 2 against the persona CA, which the personas make.
                let arguments = configured("practice-dut", &config)?;
                workloads.push(workload("practice-dut", Namespace::Dut, arguments, &["personas"])?);
                Box::new(PracticeDut::new(client("practice-dut"), plan.dut.on, plan.dut.bypass))
            }
        };
        let programs = Supervisor::start(Children::new(Arc::clone(&network), logs.to_owned()), Backoff::PROGRAMS);
        let mut events = programs.events();
        programs.want(workloads);
        tokio::select! {
            ready = programs.wait_ready(READY_WITHIN) => ready?,
            death = first_death(&mut events) => return Err(death),
        }
        let (personas, engine) = (client("personas"), client("engine"));
        let persona_ca_pem =
            personas.get_text("/v1/ca.pem").await.map_err(|source| LabError::Daemon { name: "personas", source })?;
        let dut_ca_pem = match &authorities.dut_ca {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| LabError::File {
                path: path.clone(),
                why: format!("{error}; give the device's CA certificate in PEM with --dut-ca"),
            })?),
            None => dut.ca_pem().await?,
        };
        let sources = match plan.family {
            Family::Ipv4 => paths.through_dut.sources_of(AddressFamily::Ipv4),
            Family::Ipv6 => paths.through_dut.sources_of(AddressFamily::Ipv6),
            Family::Both => paths.through_dut.sources.clone(),
        };
        let floor = Floor {
            network,
            targets: targets(plan, &catalogue),
            sources,
            paths,
            engine,
            personas,
            dut,
            trust: Trust { persona_ca_pem, dut_ca_pem },
        };
        Ok(Self { floor, events, programs })
    }
}

/// A program whose socket, configuration and log carry its name.
fn workload(
    name: &'static str,
    namespace: Namespace,
    mut arguments: Vec<OsString>,
    needs: &[&str],
) -> Result<Workload, LabError> {
    let socket = socket(name);
    arguments.extend(["--socket".into(), socket.clone().into()]);
    Ok(Workload {
        name: name.to_owned(),
        launch: Launch::Program { namespace, program: beside_the_agent(name)?, arguments, drain: DRAIN },
        readiness: Readiness::Socket(socket),
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        ready_within: READY_WITHIN,
    })
}

/// While the lab comes up a program that ends is not tried again and again: its last words are the operator's sentence.
async fn first_death(events: &mut broadcast::Receiver<Event>) -> LabError {
    loop {
        match events.recv().await {
            Ok(Event { workload, what: Happening::Died { status } }) => {
                return LabError::NotReady { name: workload, why: status };
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The supervisor is gone; waiting for readiness tells so.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn socket(name: &str) -> PathBuf {
    Path::new(RUN).join(format!("{name}.sock"))
}

fn client(name: &str) -> UnixClient {
    UnixClient::new(socket(name))
}

fn beside_the_agent(name: &'static str) -> Result<PathBuf, LabError> {
    let agent = std::env::current_exe()
        .map_err(|error| LabError::File { path: PathBuf::from("/proc/self/exe"), why: error.to_string() })?;
    let path = agent.with_file_name(format!("tbi-{name}"));
    if path.is_file() { Ok(path) } else { Err(LabError::Missing { path, name }) }
}

fn names(interfaces: &[Interface]) -> Vec<String> {
    interfaces.iter().map(|interface| interface.as_str().to_owned()).collect()
}

fn make_dir(path: &Path) -> Result<(), LabError> {
    std::fs::create_dir_all(path)
        .map_err(|error| LabError::File { path: path.to_owned(), why: format!("{error}; check its permissions") })
}

/// Writes a daemon's configuration and gives the arguments that point to it.
fn configured<C: Serialize>(name: &str, config: &C) -> Result<Vec<OsString>, LabError> {
    let path = Path::new(RUN).join(format!("{name}.json"));
    let refuse = |why: String| LabError::File { path: path.clone(), why };
    let json = serde_json::to_vec_pretty(config).map_err(|error| refuse(error.to_string()))?;
    std::fs::write(&path, json).map_err(|error| refuse(error.to_string()))?;
    Ok(vec!["--config".into(), path.into()])
}

/// Servers of the plan: so many personas, spread over all countries, in the plan's family.
fn targets(plan: &Plan, catalogue: &Catalogue) -> Vec<Target> {
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
