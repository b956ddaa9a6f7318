//! The bench of an appliance behind the API: implements what [`crate::appliance::seams`] asks for with systemd, the network units and the
//! desk of runs. It translates between the two and decides only one thing: what a change of settings or topology sets in motion.
//!
//! ```text
//!  Reapply ─▶ network.json, frr.conf, config.boot ─▶ tbi-settings.service (settings changed)
//!                                    └▶ first time: Appliance (units) + RunDesk; later, when topology, trunk or router changed: the agent ends,
//!                                       systemd starts it again, and it goes on with the units as it finds them
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use tbi_api::access::By;
use tbi_api::bench::Examination;
use tbi_api::health::{Component, State};
use tbi_api::power::Action;
use tbi_api::runs::{Order, Run};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::isp::frr::FrrFiles;
use tbi_bench::isp::vyos;
use tbi_bench::topology::Topology;
use tbi_daemon::{Access, Shutdown, replace_file};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::appliance::checks::{Checks, ProbeRefused};
use crate::appliance::seams::{Change, Changed, ChosenRouter, Power, Reapply, Reporting, RunRefused, Runs, Workloads};
use crate::process::{Happening, Standing, State as UnitState};
use crate::run::appliance::{Appliance, Directories, NO_ROOT, OWN_ROUTER, READY_WITHIN, Site};
use crate::run::authorize::Authorizer;
use crate::run::desk::{DeskError, RunDesk};
use crate::systemd::{NEEDS_FAILED, Systemd};

/// Memory of the units is asked this often.
const LOOK: Duration = Duration::from_secs(10);
/// Host name, addresses and time are applied in a moment; a slow disk may take some.
const SETTINGS_WITHIN: Duration = Duration::from_secs(60);

/// One in each namespace that has VLANs of the trunk.
const PROBES: [&str; 2] = ["tbi-network-probe@agents.service", "tbi-network-probe@isp.service"];
/// RFC 5227 takes seven seconds at most; the unit has twenty.
const PROBE_WITHIN: Duration = Duration::from_secs(25);

/// See the module.
pub(crate) struct Bench {
    systemd: Systemd,
    directories: Directories,
    runs: PathBuf,
    authorizer: Arc<dyn Authorizer>,
    shutdown: Shutdown,
    up: OnceLock<Up>,
}

/// The bench once it is known what it stands on.
#[derive(Debug)]
struct Up {
    network: String,
    router: ChosenRouter,
    appliance: Arc<Appliance>,
    desk: Result<RunDesk, String>,
    seen: Arc<Mutex<Seen>>,
    watching: AbortHandle,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What is not in the supervisor's standing, by workload.
#[derive(Debug, Default)]
struct Seen {
    memory: BTreeMap<String, u64>,
    restarts: BTreeMap<String, u32>,
}

impl Bench {
    /// A bench that keeps its runs in `runs`; nothing is touched before the first [`Reapply::reapply`].
    pub(crate) fn new(
        systemd: Systemd,
        directories: Directories,
        runs: PathBuf,
        authorizer: Arc<dyn Authorizer>,
        shutdown: Shutdown,
    ) -> Self {
        Self { systemd, directories, runs, authorizer, shutdown, up: OnceLock::new() }
    }

    fn desk(&self) -> Result<&RunDesk, RunRefused> {
        match self.up.get() {
            Some(up) => up.desk.as_ref().map_err(|why| RunRefused::NotNow(why.clone())),
            None => Err(RunRefused::NotNow("the bench is being prepared; try again in a moment".to_owned())),
        }
    }

    async fn bring_up(&self, change: Change) -> Result<(), String> {
        let topology = Topology::parse(&change.topology, &Catalogue::builtin()).map_err(|error| error.to_string())?;
        let trunk = change.trunk.map(|mac| json!({ "mac": mac.to_string() }));
        let network = json!({ "version": 1, "topology": change.topology, "trunk": trunk, "isp": "frr" }).to_string();
        std::fs::create_dir_all(&self.directories.config)
            .map_err(|error| format!("cannot make {}: {error}", self.directories.config.display()))?;
        let frr = FrrFiles::new(&topology).frr_conf;
        let config_boot = vyos::write_for_the_slot(&topology).to_string();
        for (name, text) in [("network.json", &network), ("frr.conf", &frr), ("config.boot", &config_boot)] {
            let path = self.directories.config.join(name);
            replace_file(&path, text.as_bytes(), Access::Group).map_err(|error| error.to_string())?;
        }
        if change.what == Changed::Settings {
            let applied = self.systemd.oneshot("tbi-settings.service", SETTINGS_WITHIN).await;
            applied.map_err(|error| error.to_string())?;
        }
        match self.up.get() {
            Some(up) if up.network == network && up.router == change.router => Ok(()),
            Some(_) => {
                tracing::info!("topology, trunk or router changed; starting again with the new one");
                self.shutdown.request();
                Ok(())
            }
            None => {
                let router = change.router.clone();
                let site = Site { topology, trunk: trunk.is_some(), router, ready_within: READY_WITHIN };
                let appliance = Arc::new(Appliance::new(self.directories.clone(), self.systemd.clone(), site));
                let desk = RunDesk::open(self.runs.clone(), Arc::clone(&appliance), Arc::clone(&self.authorizer))
                    .map_err(|error| error.to_string());
                if let Ok(desk) = &desk {
                    desk.catch_up().await;
                }
                let trouble = desk.as_ref().err().cloned();
                let seen = Arc::default();
                let watching = tokio::spawn(look(Arc::clone(&appliance), Arc::clone(&seen))).abort_handle();
                // Changes are carried out one at a time, so nobody else has set it.
                let _first = self.up.set(Up { network, router: change.router, appliance, desk, seen, watching });
                trouble.map_or(Ok(()), Err)
            }
        }
    }
}

/// Counts restarts and asks for memory until it is aborted.
async fn look(appliance: Arc<Appliance>, seen: Arc<Mutex<Seen>>) {
    let mut events = appliance.events();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        // Both only wake, and an event stays in the channel until it is received.
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => if let Happening::Restarted { times, .. } = event.what {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).restarts.insert(event.workload, times);
                },
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = ticks.tick() => {
                let mut memory = BTreeMap::new();
                for name in appliance.names() {
                    if let Some(bytes) = appliance.memory(name).await {
                        memory.insert(name.to_owned(), bytes);
                    }
                }
                seen.lock().unwrap_or_else(PoisonError::into_inner).memory = memory;
            }
        }
    }
}

/// Which part of the box a workload is: there is one ISP router, whoever's it is.
fn shown(name: &str) -> &str {
    if name == OWN_ROUTER { "isp" } else { name }
}

/// One component of a workload.
fn component(name: &str, standing: &Standing, seen: &Seen) -> Component {
    let death = standing.deaths.get(name);
    let ended = |how: &str| {
        match name {
        "isp" => format!(
            "The ISP router does not run ({how}), so the path between device and personas is broken; it is started again by itself."
        ),
        // Its mount is all that it depends on.
        OWN_ROUTER if how == NEEDS_FAILED => {
            "The operator's own ISP router does not run, because its root file system cannot be mounted, so the path between device and \
             personas is broken: set isp_router to frr in the settings, and send the file again with PUT /v1/isp/root."
                .to_owned()
        }
        OWN_ROUTER => format!(
            "The operator's own ISP router does not run ({how}), so the path between device and personas is broken; it is started again by \
             itself, its log is in the journal of tbi-{OWN_ROUTER}.service, and isp_router: frr in the settings brings the built-in one back."
        ),
        _ => format!(
            "'{name}' does not run ({how}); it is started again by itself, its log is in the journal of tbi-{name}.service."
        ),
    }
    };
    // What starts again and again without getting ready says why it ended the last time.
    let starting = |how: &str| {
        let before = death.map_or_else(String::new, |death| format!("; it ended the last time because: {death}"));
        (State::Starting, format!("'{}' {how}{before}.", shown(name)))
    };
    let (state, sentence) = match standing.states.get(name) {
        Some(UnitState::Ready { .. }) => (State::Healthy, String::new()),
        Some(UnitState::Queued) => starting("is about to start"),
        Some(UnitState::Starting { .. }) => starting("is starting"),
        Some(UnitState::Stopping) => starting("is being stopped, to start with another configuration"),
        Some(UnitState::Ended { status, .. }) => (State::Failed, ended(status)),
        None => match death {
            Some(how) => (State::Failed, ended(how)),
            None => starting("waits for what it needs"),
        },
    };
    Component {
        name: shown(name).to_owned(),
        state,
        sentence,
        restarts: seen.restarts.get(name).copied().unwrap_or(0),
        memory_bytes: seen.memory.get(name).copied(),
    }
}

impl Workloads for Bench {
    fn components(&self) -> Vec<Component> {
        let part = |name: &str, state, sentence: String| Component {
            name: name.to_owned(),
            state,
            sentence,
            restarts: 0,
            memory_bytes: None,
        };
        let Some(up) = self.up.get() else {
            return vec![part("bench", State::Starting, "The bench is being prepared.".to_owned())];
        };
        let standing = up.appliance.standing();
        let seen = up.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks_router = up.appliance.lacks_router();
        let of_workload = |name: &str| match name {
            OWN_ROUTER if lacks_router => part(
                shown(name),
                State::Failed,
                format!("There is no ISP router, so the path between device and personas is broken: {NO_ROOT}."),
            ),
            _ => component(name, &standing, &seen),
        };
        let mut components: Vec<Component> = up.appliance.names().map(of_workload).collect();
        components.push(match up.appliance.trouble() {
            Some(why) => part("bench", State::Failed, why),
            None => part("bench", State::Healthy, String::new()),
        });
        components
    }
}

impl From<DeskError> for RunRefused {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::UnderWay { id } => Self::UnderWay { id },
            DeskError::Checking => Self::Checking,
            DeskError::Plan(error) => Self::Plan(error.to_string()),
            DeskError::Bypass(error) => Self::Plan(error.to_string()),
            other => Self::NotNow(other.to_string()),
        }
    }
}

impl Runs for Bench {
    fn start(&self, order: Order, by: By) -> BoxFuture<'_, Result<Run, RunRefused>> {
        let started = self.desk().and_then(|desk| desk.start(&order, by).map_err(RunRefused::from));
        std::future::ready(started).boxed()
    }

    fn stop(&self, id: &str) -> bool {
        self.desk().is_ok_and(|desk| desk.stop(id).is_ok())
    }

    fn list(&self) -> Vec<Run> {
        self.desk().map(RunDesk::list).unwrap_or_default()
    }

    fn get(&self, id: &str) -> Option<Run> {
        self.desk().ok()?.get(id)
    }

    fn watch(&self, id: &str) -> Option<watch::Receiver<Run>> {
        self.desk().ok()?.watch(id)
    }

    fn folder(&self, id: &str) -> Option<PathBuf> {
        self.desk().ok()?.folder(id)
    }
}

impl Checks for Bench {
    fn examine(&self, order: tbi_api::bench::Order) -> Result<Examination, RunRefused> {
        self.desk()?.examine(&order).map_err(RunRefused::from)
    }

    fn cancel(&self) -> bool {
        self.desk().is_ok_and(RunDesk::cancel_checks)
    }

    fn examination(&self) -> Examination {
        self.desk().map(RunDesk::examination).unwrap_or_default()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), ProbeRefused>> {
        async move {
            let desk = self.desk()?;
            // The questions are few, but a run counts every frame, and hearing all of a run's frames would take its processors.
            if let Some(run) = desk.list().into_iter().find(|run| !run.state.is_over()) {
                return Err(RunRefused::UnderWay { id: run.id }.into());
            }
            if desk.examination().phase.is_going() {
                return Err(RunRefused::Checking.into());
            }
            let [agents, isp] = PROBES.map(|unit| self.systemd.oneshot(unit, PROBE_WITHIN));
            let (agents, isp) = tokio::join!(agents, isp);
            agents.and(isp).map_err(|error| ProbeRefused::NotDone(error.to_string()))
        }
        .boxed()
    }
}

impl Power for Bench {
    fn ask(&self, action: Action) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let asked = match action {
                Action::Reboot => self.systemd.reboot().await,
                Action::PowerOff => self.systemd.power_off().await,
            };
            asked.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

impl Reporting for Bench {
    fn report(&self) -> BoxFuture<'_, Result<(), String>> {
        async move { self.systemd.start("tbi-usage.service").await.map_err(|error| error.to_string()) }.boxed()
    }
}

impl Reapply for Bench {
    fn reapply(&self, change: Change) -> BoxFuture<'_, Result<(), String>> {
        self.bring_up(change).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_stopped_isp_router_is_told_as_a_broken_path() {
        let mut standing = Standing::default();
        standing.deaths.insert("isp".to_owned(), "killed by SIGKILL".to_owned());
        let part = component("isp", &standing, &Seen::default());
        assert_eq!(part.state, State::Failed);
        assert!(part.sentence.contains("path between device and personas is broken"), "{}", part.sentence);
        assert!(part.sentence.contains("SIGKILL"), "{}", part.sentence);
    }

    #[test]
    fn an_operators_own_router_is_the_part_isp_and_says_what_to_do() {
        let mut standing = Standing::default();
        for (how, words) in [("exit status 1", "(exit status 1)"), (NEEDS_FAILED, "cannot be mounted")] {
            standing.deaths.insert(OWN_ROUTER.to_owned(), how.to_owned());
            let part = component(OWN_ROUTER, &standing, &Seen::default());
            assert_eq!((part.name.as_str(), part.state), ("isp", State::Failed));
            assert!(part.sentence.contains(words) && part.sentence.contains("frr"), "{}", part.sentence);
        }
    }

    #[test]
    fn a_unit_that_never_becomes_ready_says_how_it_ended_the_last_time() {
        let mut standing = Standing::default();
        standing.deaths.insert("personas".to_owned(), "not ready within 180 s".to_owned());
        standing.states.insert("personas".to_owned(), UnitState::Starting { pid: 7 });
        let part = component("personas", &standing, &Seen::default());
        assert_eq!(part.state, State::Starting);
        assert!(
            part.sentence.contains("is starting") && part.sentence.contains("not ready within 180 s"),
            "{}",
            part.sentence
        );
    }

    #[test]
    fn what_runs_again_is_healthy_and_its_restarts_are_told() {
        let mut standing = Standing::default();
        standing.deaths.insert("engine".to_owned(), "killed by SIGKILL".to_owned());
        standing.states.insert("engine".to_owned(), UnitState::Ready { pid: 7, since: Instant::now() });
        let seen = Seen { restarts: [("engine".to_owned(), 2)].into(), ..Seen::default() };
        let part = component("engine", &standing, &seen);
        assert_eq!((part.state, part.restarts, part.sentence.as_str()), (State::Healthy, 2, ""));
    }
}
