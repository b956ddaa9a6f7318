//! The appliance's place for runs: units of systemd that are kept up all the time, and paths laid by oneshot units.
//!
//! ```text
//!  idle() / up(plan) ──order──▶ one task: lay the device's path, write configuration, want units, fetch the persona CA, want the DUT
//!                                 └──▶ Supervisor ──▶ systemd::Units
//! ```
//!
//! An idle box runs everything with the default plan, so that a run begins at once; a plan that needs other threads or keys changes the
//! configuration and so replaces what it concerns. What cannot be done is tried again with pauses and told as a sentence meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::control::engine::Trust;
use tbi_bench::netplan;
use tbi_bench::plan::{Adapter, Plan, Profile};
use tbi_bench::topology::Topology;
use tbi_daemon::UnixClient;
use tbi_dut::DutAdapter;
use tbi_dut::practice::PracticeDut;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::environment::Life;
use super::floor::Floor;
use super::place::{self, PathError, PathLayer, Paths, PlaceError, Up};
use crate::appliance::seams::ChosenRouter;
use crate::process::{Backoff, Event, Launch, Readiness, Standing, Supervisor, Workload};
use crate::systemd::{Systemd, SystemdError, Units, unit_of};

/// Everything that may run.
const NAMES: [&str; 5] = ["engine", "isp", OWN_ROUTER, "personas", "practice-dut"];
/// The operator's own ISP router, in the place of `isp`.
pub(crate) const OWN_ROUTER: &str = "isp-own";
/// A whole system starts there; its unit (tbi-isp-own.service) gives up earlier and says why.
const OWN_ROUTER_WITHIN: Duration = Duration::from_secs(300);
/// Said where the chosen router is not there.
pub(crate) const NO_ROOT: &str = "the settings choose the operator's own ISP router, but its slot is empty; send its root file system with \
                                  PUT /v1/isp/root, or set isp_router to frr with PUT /v1/settings";
/// Time a path may take to be laid.
const LAY_WITHIN: Duration = Duration::from_secs(60);
/// A hundred RSA-4096 leaves take their time on two cores.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(180);

/// Where files are.
#[derive(Debug, Clone)]
pub(crate) struct Directories {
    /// What the daemons read.
    pub config: PathBuf,
    /// Control sockets.
    pub sockets: PathBuf,
    /// With which definition each unit was started; must not outlive the units.
    pub records: PathBuf,
    /// Persona CA, as the personas see it.
    pub personas_ca: PathBuf,
    /// The practice DUT's CA, as it sees it.
    pub dut_ca: PathBuf,
    /// What the unit that lays a path says about it.
    pub outcome: PathBuf,
}

impl Directories {
    /// Those of the image, with the runtime directory `run` (`/run/tlsstress`).
    pub(crate) fn of_the_image(run: &Path) -> Self {
        Self {
            config: run.join("config"),
            sockets: run.to_owned(),
            records: run.join("units"),
            personas_ca: "/var/lib/tlsstress-personas/ca".into(),
            dut_ca: "/var/lib/tlsstress-practice-dut/ca".into(),
            outcome: "/run/tlsstress-network/outcome.json".into(),
        }
    }
}

/// What the operator decided about this box.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Network.
    pub topology: Topology,
    /// A NIC is chosen as trunk, so the device is outside.
    pub trunk: bool,
    /// What routes between device and personas.
    pub router: ChosenRouter,
    /// Time a program may take to become ready ([`READY_WITHIN`]).
    pub ready_within: Duration,
}

impl Site {
    /// The router, for records.
    fn isp(&self) -> String {
        match &self.router {
            ChosenRouter::Frr => "FRR in a container, static routes".to_owned(),
            ChosenRouter::Own(root) => format!(
                "the operator's own router in a container, static routes; root file system with SHA-256 {}",
                root.as_deref().unwrap_or("unknown")
            ),
        }
    }
}

/// An appliance whose bench is kept up.
#[derive(Debug)]
pub(crate) struct Appliance {
    inner: Arc<Inner>,
    orders: watch::Sender<Order>,
    tended: watch::Receiver<Tended>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    directories: Directories,
    site: Site,
    catalogue: Catalogue,
    paths: Paths,
    systemd: Systemd,
    programs: Supervisor,
}

/// A plan for which everything should be up, numbered so that nobody takes an answer to an earlier one for theirs.
#[derive(Debug, Clone)]
struct Order {
    number: u64,
    plan: Plan,
}

/// How far an order is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tended {
    number: u64,
    /// Of the personas that are ready now.
    persona_ca: Option<String>,
    trouble: Option<String>,
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Appliance {
    /// Begins to keep the bench up with the default plan.
    pub(crate) fn new(directories: Directories, systemd: Systemd, site: Site) -> Self {
        let catalogue = Catalogue::builtin();
        let paths = Paths::new(&site.topology, &catalogue);
        let units = Units::new(systemd.clone(), &NAMES, directories.records.clone());
        let programs = Supervisor::start(units, Backoff::PROGRAMS);
        let inner = Arc::new(Inner { directories, site, catalogue, paths, systemd, programs });
        let (orders, taken) = watch::channel(Order { number: 1, plan: default_plan() });
        let (tell, tended) = watch::channel(Tended::default());
        let task = tokio::spawn(tend(Arc::clone(&inner), taken, tell));
        Self { inner, orders, tended, task }
    }

    /// For records and sentences.
    pub(crate) fn life(&self) -> Life {
        Life::appliance(self.inner.site.isp())
    }

    /// Ranges of the bench.
    pub(crate) fn topology(&self) -> &Topology {
        &self.inner.site.topology
    }

    /// What runs, and how each unit ended last.
    pub(crate) fn standing(&self) -> Standing {
        self.inner.programs.standing()
    }

    /// What should run here: without a practice DUT when the device is outside, and with one router.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let outside = self.inner.site.trunk;
        let own = matches!(self.inner.site.router, ChosenRouter::Own(_));
        NAMES.into_iter().filter(move |name| match *name {
            "practice-dut" => !outside,
            "isp" => !own,
            OWN_ROUTER => own,
            _ => true,
        })
    }

    /// Whether the router that is chosen is not there.
    pub(crate) fn lacks_router(&self) -> bool {
        self.inner.site.router == ChosenRouter::Own(None)
    }

    /// What happens to units from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.programs.events()
    }

    /// Why the bench cannot be brought up now; `None` when nothing is known to stand in the way.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.inner.systemd.trouble().or_else(|| self.tended.borrow().trouble.clone())
    }

    /// Memory of a workload, bytes.
    pub(crate) async fn memory(&self, name: &str) -> Option<u64> {
        self.inner.systemd.memory(&unit_of(name)).await
    }

    /// Back to the default plan.
    pub(crate) fn idle(&self) {
        self.order(default_plan());
    }

    fn order(&self, plan: Plan) -> u64 {
        let mut number = 0;
        self.orders.send_modify(|order| {
            *order = Order { number: order.number + 1, plan };
            number = order.number;
        });
        number
    }

    /// Brings everything up for a plan and waits until it is ready.
    ///
    /// # Errors
    /// [`PlaceError`], at the first program that ends or the first thing that cannot be done; the box goes on trying.
    pub(crate) async fn up(&self, plan: &Plan) -> Result<Up, PlaceError> {
        let inner = &self.inner;
        if inner.site.trunk {
            return Err(PlaceError::NoAdapter);
        }
        if self.lacks_router() {
            return Err(PlaceError::NotReady { name: "The ISP router".to_owned(), why: NO_ROOT.to_owned() });
        }
        let mut events = inner.programs.events();
        let number = self.order(plan.clone());
        let within = inner.site.ready_within;
        let mut tended = self.tended.clone();
        let brought = async {
            let done =
                |tended: &Tended| tended.number == number && (tended.trouble.is_some() || tended.persona_ca.is_some());
            let tended = match timeout(within, tended.wait_for(done)).await {
                Ok(Ok(tended)) => tended.clone(),
                Ok(Err(_ended)) => Tended::default(),
                Err(_elapsed) => Tended { trouble: inner.systemd.trouble(), ..Tended::default() },
            };
            match (tended.trouble, tended.persona_ca) {
                (None, Some(ca)) => inner.programs.wait_ready(within).await.map(|()| ca).map_err(PlaceError::from),
                (Some(why), _) => Err(PlaceError::NotReady { name: "the bench".to_owned(), why }),
                (None, None) => Err(inner.programs.wait_ready(Duration::ZERO).await.err().map_or_else(
                    || PlaceError::NotReady { name: "personas".to_owned(), why: "its CA cannot be had".to_owned() },
                    PlaceError::from,
                )),
            }
        };
        let persona_ca_pem = tokio::select! {
            brought = brought => brought?,
            death = place::first_death(&mut events) => return Err(death),
        };
        let Adapter::Practice = plan.dut.adapter;
        let dut = PracticeDut::new(inner.client("practice-dut"), plan.dut.on, plan.dut.bypass);
        let dut_ca_pem = dut.ca_pem().await?;
        let layer = AppliancePaths { systemd: inner.systemd.clone(), outcome: inner.directories.outcome.clone() };
        let floor = Floor {
            network: Box::new(layer),
            engine: inner.client("engine"),
            personas: inner.client("personas"),
            dut: Box::new(dut),
            targets: place::targets(plan, &inner.catalogue),
            sources: inner.paths.sources(plan),
            trust: Trust { persona_ca_pem, dut_ca_pem },
            log: self.life().log,
        };
        Ok(Up { floor, events })
    }
}

fn default_plan() -> Plan {
    Plan::of_profile(Profile::Short)
}

/// Carries out one order after the other, and goes on with the last one as long as there is no newer.
async fn tend(inner: Arc<Inner>, mut orders: watch::Receiver<Order>, tell: watch::Sender<Tended>) {
    let mut laid = false;
    let mut persona_ca = None;
    let mut failures = 0;
    loop {
        let order = orders.borrow_and_update().clone();
        let step = inner.step(&order, &mut laid, &mut persona_ca, &tell);
        // A step that is dropped is begun again with the newer order; each of its parts may be done twice.
        let result = tokio::select! {
            result = step => result,
            newer = orders.changed() => match newer {
                Ok(()) => { failures = 0; continue }
                Err(_gone) => return,
            },
        };
        let Err(error) = result else {
            failures = 0;
            continue;
        };
        tracing::warn!(%error, "the bench cannot be brought up; trying again");
        tell.send_replace(Tended { number: order.number, persona_ca: None, trouble: Some(error.to_string()) });
        let pause = tokio::time::sleep(Backoff::PROGRAMS.pause(failures));
        failures = failures.saturating_add(1);
        // Both are levels.
        tokio::select! {
            () = pause => {}
            newer = orders.changed() => if newer.is_err() { return },
        }
    }
}

impl Inner {
    /// From an order to everything wanted; returns when the personas must be looked at again.
    async fn step(
        &self,
        order: &Order,
        laid: &mut bool,
        persona_ca: &mut Option<String>,
        tell: &watch::Sender<Tended>,
    ) -> Result<(), PlaceError> {
        if !*laid {
            // Units live in namespaces that this makes.
            self.paths_layer().start("tbi-network-prepare.service", netplan::Path::ThroughDut).await?;
            *laid = true;
        }
        self.programs.want(self.workloads(&order.plan, persona_ca.as_deref())?);
        self.programs.ready("personas").await?;
        let pem = self.client("personas").get_text("/v1/ca.pem").await;
        let pem = pem.map_err(|source| PlaceError::Daemon { name: "personas", source })?;
        if persona_ca.as_ref() != Some(&pem) {
            write(&self.persona_ca_file(), &pem)?;
            *persona_ca = Some(pem.clone());
            self.programs.want(self.workloads(&order.plan, Some(&pem))?);
        }
        tell.send_replace(Tended { number: order.number, persona_ca: Some(pem), trouble: None });
        self.programs.lost("personas").await?;
        Ok(())
    }

    fn paths_layer(&self) -> AppliancePaths {
        AppliancePaths { systemd: self.systemd.clone(), outcome: self.directories.outcome.clone() }
    }

    fn client(&self, name: &str) -> UnixClient {
        UnixClient::new(self.socket(name))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directories.sockets.join(format!("{name}.sock"))
    }

    fn persona_ca_file(&self) -> PathBuf {
        self.directories.config.join("persona-ca.pem")
    }

    /// Writes the configuration for a plan and gives what should run with it. The practice DUT verifies leg 2 against the persona CA,
    /// so it does not run before that is known.
    fn workloads(&self, plan: &Plan, persona_ca: Option<&str>) -> Result<Vec<Workload>, PlaceError> {
        let config = &self.directories.config;
        place::make_dir(config)?;
        let personas = place::personas_config(plan, &self.catalogue, &self.directories.personas_ca);
        let personas = place::write_json(&config.join("personas.json"), &personas)?;
        let engine = format!("TBI_ENGINE_WORKERS={}\n", plan.workers.engine);
        write(&config.join("engine.env"), &engine)?;
        let mut workloads = vec![self.workload("personas", &personas, &[]), self.workload("engine", &engine, &[])];
        // Whoever renders it, another one is another router.
        let configured = |file: &str| std::fs::read_to_string(config.join(file)).unwrap_or_default();
        let router = match &self.site.router {
            ChosenRouter::Frr => Some(self.workload("isp", &configured("frr.conf"), &[])),
            ChosenRouter::Own(Some(root)) => Some(Workload {
                ready_within: self.site.ready_within.max(OWN_ROUTER_WITHIN),
                ..self.workload(OWN_ROUTER, &(configured("config.boot") + root), &[])
            }),
            ChosenRouter::Own(None) => None,
        };
        workloads.extend(router.map(|router| Workload { readiness: Readiness::Unit, ..router }));
        if let Some(pem) = persona_ca.filter(|_| !self.site.trunk) {
            let dut = place::practice_dut_config(plan, &self.paths, &self.persona_ca_file(), &self.directories.dut_ca);
            let dut = place::write_json(&config.join("practice-dut.json"), &dut)?;
            workloads.push(self.workload("practice-dut", &(dut + pem), &["personas"]));
        }
        Ok(workloads)
    }

    fn workload(&self, name: &str, configuration: &str, needs: &[&str]) -> Workload {
        let definition = Sha256::digest(configuration.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Workload {
            name: name.to_owned(),
            launch: Launch::Unit { definition },
            readiness: Readiness::Socket(self.socket(name)),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            ready_within: self.site.ready_within,
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), PlaceError> {
    let refuse = |error: std::io::Error| PlaceError::File { path: path.to_owned(), why: error.to_string() };
    std::fs::write(path, text).map_err(refuse)
}

/// Paths laid by `tbi-network@`.
#[derive(Debug)]
pub(crate) struct AppliancePaths {
    /// Who starts it.
    pub systemd: Systemd,
    /// Where it says why it failed.
    pub outcome: PathBuf,
}

/// What the oneshot unit says.
#[derive(Debug, Deserialize)]
struct Said {
    path: netplan::Path,
    ok: bool,
    sentence: String,
}

impl PathLayer for AppliancePaths {
    fn lay(&self, path: netplan::Path) -> BoxFuture<'_, Result<(), PathError>> {
        async move {
            let unit = match path {
                netplan::Path::ThroughDut => "tbi-network@through-dut.service",
                netplan::Path::Reference => "tbi-network@reference.service",
            };
            self.start(unit, path).await
        }
        .boxed()
    }
}

impl AppliancePaths {
    /// Starts a oneshot unit that lays a path, and says in its own words why it did not.
    async fn start(&self, unit: &str, path: netplan::Path) -> Result<(), PathError> {
        let laid = self.systemd.oneshot(unit, LAY_WITHIN).await;
        let Err(error @ SystemdError::Job { .. }) = laid else { return Ok(laid?) };
        // A file of another path or of an earlier success is not about this failure.
        let text = std::fs::read(&self.outcome).ok();
        let said = text.and_then(|text| serde_json::from_slice::<Said>(&text).ok());
        match said.filter(|said| said.path == path && !said.ok && !said.sentence.is_empty()) {
            Some(said) => Err(PathError::Said(said.sentence)),
            None => Err(error.into()),
        }
    }
}
