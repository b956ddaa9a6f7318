//! The bench behind the API of a lab that has a dashboard: the same seams as an appliance's ([`crate::bench`]), over programs that are
//! children of this process.
//!
//! What runs is what the last run needed, until the next one needs it otherwise or the lab ends. Everything that only a whole machine has
//! (switching it off, settings of its system, another network) is refused with a sentence.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tbi_api::access::By;
use tbi_api::bench::Examination;
use tbi_api::health::{Component, State};
use tbi_api::power::Action;
use tbi_api::runs::{Order, Run};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::plan::Plan;
use tbi_bench::topology::Topology;
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::appliance::checks::Checks;
use crate::appliance::seams::{Change, ChosenRouter, Power, Reapply, Reporting, RunRefused, Runs, Workloads};
use crate::process::{Standing, State as ProgramState, Supervisor};
use crate::run::desk::RunDesk;
use crate::run::environment::Life;
use crate::run::home::Home;
use crate::run::lab::{Authorities, Lab};
use crate::run::place::{PlaceError, Up};

/// Programs of a lab.
const NAMES: [&str; 3] = ["engine", "personas", "practice-dut"];
/// Where a program's words are.
const LOG: &str = "its log is under logs/ in the folder of the lab's state";
/// Time the programs of the run before get to end by themselves.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a lab's runs are measured.
#[derive(Debug)]
pub(crate) struct LabHome {
    topology: Topology,
    authorities: Authorities,
    logs: PathBuf,
    /// One at a time brings the lab up or takes it down.
    building: AsyncMutex<()>,
    programs: Mutex<Option<Supervisor>>,
}

impl LabHome {
    /// A lab of which nothing is up yet; its programs write their logs into the folder `logs`.
    pub(crate) fn new(authorities: Authorities, logs: PathBuf) -> Self {
        Self {
            topology: Topology::builtin(),
            authorities,
            logs,
            building: AsyncMutex::default(),
            programs: Mutex::default(),
        }
    }

    /// Ends what runs, cleanly where it lets us; the rest dies with the sandbox.
    pub(crate) async fn take_down(&self) {
        let _alone = self.building.lock().await;
        self.end_programs().await;
    }

    async fn end_programs(&self) {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(programs) = programs
            && let Err(error) = programs.shut_down(DRAIN).await
        {
            tracing::warn!("{error}");
        }
    }

    fn standing(&self) -> Option<Standing> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.as_ref().map(Supervisor::standing)
    }
}

impl Home for LabHome {
    fn life(&self) -> Life {
        Life { again: "order the run again", log: LOG, ..Life::lab() }
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn up<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<Up, PlaceError>> {
        async move {
            let _alone = self.building.lock().await;
            self.end_programs().await;
            let Lab { up, programs } = Lab::up(plan, &self.authorities, &self.logs).await?;
            *self.programs.lock().unwrap_or_else(PoisonError::into_inner) = Some(programs);
            Ok(up)
        }
        .boxed()
    }

    fn idle(&self) {}
}

/// See the module.
pub(crate) struct LabBench {
    home: Arc<LabHome>,
    desk: RunDesk,
}

impl LabBench {
    /// The bench of this lab and its desk.
    pub(crate) fn new(home: Arc<LabHome>, desk: RunDesk) -> Self {
        Self { home, desk }
    }
}

fn component(name: &str, standing: &Standing) -> Component {
    let (state, sentence) = match standing.states.get(name) {
        Some(ProgramState::Ready { .. }) => (State::Healthy, String::new()),
        Some(ProgramState::Ended { status, .. }) => {
            (State::Failed, format!("'{name}' does not run ({status}); it is started again by itself, {LOG}."))
        }
        Some(ProgramState::Stopping) => (State::Starting, format!("'{name}' is being stopped.")),
        Some(ProgramState::Queued | ProgramState::Starting { .. }) | None => {
            (State::Starting, format!("'{name}' is starting."))
        }
    };
    Component { name: name.to_owned(), state, sentence, restarts: 0, memory_bytes: None }
}

impl Workloads for LabBench {
    fn components(&self) -> Vec<Component> {
        let standing = self.home.standing().unwrap_or_default();
        NAMES.iter().map(|name| component(name, &standing)).collect()
    }

    /// The management card is the machine's own business, and what lays an appliance's network is a unit of it; here each run lays its own.
    fn lacks(&self) -> &'static [&'static str] {
        &["management", "network"]
    }
}

impl Runs for LabBench {
    fn start(&self, order: Order, by: By) -> BoxFuture<'_, Result<Run, RunRefused>> {
        std::future::ready(self.desk.start(&order, by).map_err(RunRefused::from)).boxed()
    }

    fn stop(&self, id: &str) -> bool {
        self.desk.stop(id).is_ok()
    }

    fn list(&self) -> Vec<Run> {
        self.desk.list()
    }

    fn get(&self, id: &str) -> Option<Run> {
        self.desk.get(id)
    }

    fn watch(&self, id: &str) -> Option<watch::Receiver<Run>> {
        self.desk.watch(id)
    }

    fn folder(&self, id: &str) -> Option<PathBuf> {
        self.desk.folder(id)
    }
}

impl Checks for LabBench {
    fn examine(&self, order: tbi_api::bench::Order) -> Result<Examination, RunRefused> {
        self.desk.examine(&order).map_err(RunRefused::from)
    }

    fn cancel(&self) -> bool {
        self.desk.cancel_checks()
    }

    fn examination(&self) -> Examination {
        self.desk.examination()
    }
}

impl Power for LabBench {
    fn ask(&self, _action: Action) -> BoxFuture<'_, Result<(), String>> {
        let refused = "this is a lab on somebody's machine, which is not ours to switch off; press Ctrl-C where it was started to end it";
        std::future::ready(Err(refused.to_owned())).boxed()
    }
}

impl Reporting for LabBench {
    fn report(&self) -> BoxFuture<'_, Result<(), String>> {
        let refused = "a lab reports no usage, because it has no network but its own; reports are an appliance's";
        std::future::ready(Err(refused.to_owned())).boxed()
    }
}

impl Reapply for LabBench {
    fn reapply(&self, change: Change) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(fits(&change)).boxed()
    }
}

/// Whether a lab can be what settings and topology say. Names, addresses and time are the machine's own and stay as they are.
fn fits(change: &Change) -> Result<(), String> {
    if change.trunk.is_some() {
        return Err("a lab has no NIC for a trunk; choose none, and the practice DUT is measured".to_owned());
    }
    if change.router != ChosenRouter::Frr {
        return Err("a lab routes by itself and starts no router of your own; set isp_router to frr".to_owned());
    }
    let catalogue = Catalogue::builtin();
    let wanted = Topology::parse(&change.topology, &catalogue).map_err(|error| error.to_string())?;
    if wanted != Topology::builtin() {
        return Err("a lab always has the built-in topology; another one is an appliance's".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::seams::Changed;

    fn change(router: ChosenRouter) -> Change {
        let topology = crate::appliance::memory::BUILTIN_TOPOLOGY.to_owned();
        Change { what: Changed::Start, topology, trunk: None, router }
    }

    #[test]
    fn what_only_an_appliance_can_be_is_refused_with_a_sentence() {
        assert_eq!(fits(&change(ChosenRouter::Frr)), Ok(()));
        let refused = fits(&change(ChosenRouter::Own(None)));
        assert!(refused.is_err_and(|why| why.contains("isp_router")));
    }

    #[test]
    fn a_lab_that_is_coming_up_says_so_of_each_program() {
        let starting = component("engine", &Standing::default());
        assert_eq!(starting.state, State::Starting);
        assert!(starting.sentence.contains("engine"));
    }
}
