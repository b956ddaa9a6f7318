//! The lab: network and programs in private namespaces of a developer's machine, up and down.
//!
//! Everything lives under `/run/tlsstress`, which inside the sandbox is a file system of its own: sockets, configuration, and the keys
//! of both authorities, which are gone with the run unless the operator keeps the persona CA in a folder (`--persona-ca`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tbi_bench::catalogue::Catalogue;
use tbi_bench::control::engine::Trust;
use tbi_bench::netplan::{self, Namespace};
use tbi_bench::plan::{Adapter, Plan};
use tbi_bench::topology::Topology;
use tbi_daemon::UnixClient;
use tbi_dut::DutAdapter;
use tbi_dut::practice::PracticeDut;
use tokio::sync::Mutex;

use super::environment::Life;
use super::floor::Floor;
use super::place::{self, PathError, PathLayer, Paths, PlaceError, Up, make_dir, write_json};
use crate::network::NetworkHost;
use crate::process::{Backoff, Children, Launch, Readiness, Supervisor, Workload};

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

/// A lab that is up.
pub(crate) struct Lab {
    /// For the campaign, with what happens to its programs from before they started.
    pub up: Up,
    /// What runs in it.
    pub programs: Supervisor,
}

/// Namespaces of the sandbox with a plan for each path.
struct LabPaths {
    network: Arc<Mutex<NetworkHost>>,
    paths: Paths,
}

impl PathLayer for LabPaths {
    fn lay(&self, path: netplan::Path) -> BoxFuture<'_, Result<(), PathError>> {
        async move {
            let plan = match path {
                netplan::Path::Reference => &self.paths.reference,
                netplan::Path::ThroughDut => &self.paths.through_dut,
            };
            // One path at a time: restarts of programs wait for the lock, too.
            let steps = self.network.lock().await.apply(plan).await?;
            tracing::debug!(?path, steps, "path laid");
            Ok(())
        }
        .boxed()
    }
}

impl Lab {
    /// Builds the network, starts the programs and waits until each says that it is ready.
    ///
    /// # Errors
    /// [`PlaceError`]; whatever was started ends with the sandbox.
    pub(crate) async fn up(plan: &Plan, authorities: &Authorities, logs: &Path) -> Result<Self, PlaceError> {
        let (catalogue, topology) = (Catalogue::builtin(), Topology::builtin());
        topology.check_lab()?;
        let paths = Paths::new(&topology, &catalogue);
        let network = Arc::new(Mutex::new(NetworkHost::default()));
        network.lock().await.apply(&paths.through_dut).await.map_err(PathError::from)?;

        let run = Path::new(RUN);
        make_dir(run)?;
        make_dir(logs)?;
        let persona_ca = authorities.persona_ca.clone().unwrap_or_else(|| run.join("persona-ca"));
        let config = place::personas_config(plan, &catalogue, &persona_ca);
        let workers = vec!["--workers".into(), plan.workers.engine.to_string().into()];
        let mut workloads = vec![
            workload("personas", Namespace::Personas, configured("personas", &config)?, &[])?,
            workload("engine", Namespace::Agents, workers, &[])?,
        ];
        let dut: Box<dyn DutAdapter> = match plan.dut.adapter {
            Adapter::Practice => {
                let config = place::practice_dut_config(plan, &paths, &persona_ca.join("ca.pem"), &run.join("dut-ca"));
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
            death = place::first_death(&mut events) => return Err(death),
        }
        let (personas, engine) = (client("personas"), client("engine"));
        let persona_ca_pem =
            personas.get_text("/v1/ca.pem").await.map_err(|source| PlaceError::Daemon { name: "personas", source })?;
        let dut_ca_pem = match &authorities.dut_ca {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| PlaceError::File {
                path: path.clone(),
                why: format!("{error}; give the device's CA certificate in PEM with --dut-ca"),
            })?),
            None => dut.ca_pem().await?,
        };
        let floor = Floor {
            targets: place::targets(plan, &catalogue),
            sources: paths.sources(plan),
            network: Box::new(LabPaths { network, paths }),
            engine,
            personas,
            dut,
            trust: Trust { persona_ca_pem, dut_ca_pem },
            log: Life::lab().log,
        };
        Ok(Self { up: Up { floor, events }, programs })
    }
}

/// A program whose socket, configuration and log carry its name.
fn workload(
    name: &'static str,
    namespace: Namespace,
    mut arguments: Vec<OsString>,
    needs: &[&str],
) -> Result<Workload, PlaceError> {
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

fn socket(name: &str) -> PathBuf {
    Path::new(RUN).join(format!("{name}.sock"))
}

fn client(name: &str) -> UnixClient {
    UnixClient::new(socket(name))
}

fn beside_the_agent(name: &'static str) -> Result<PathBuf, PlaceError> {
    let agent = std::env::current_exe()
        .map_err(|error| PlaceError::File { path: PathBuf::from("/proc/self/exe"), why: error.to_string() })?;
    let path = agent.with_file_name(format!("tbi-{name}"));
    if path.is_file() { Ok(path) } else { Err(PlaceError::Missing { path, name }) }
}

/// Writes a daemon's configuration and gives the arguments that point to it.
fn configured<C: serde::Serialize>(name: &str, config: &C) -> Result<Vec<OsString>, PlaceError> {
    let path = Path::new(RUN).join(format!("{name}.json"));
    write_json(&path, config)?;
    Ok(vec!["--config".into(), path.into()])
}
