//! The reconciler's shell: one task that looks when nudged and once a second, and does what [`super::plan::decide`] says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::plan::{Decision, Memories, Step, decide};
use super::{Backend, Backoff, Event, State, Workload};

/// Between two looks when nobody nudges.
const TICK: Duration = Duration::from_secs(1);
/// Events a slow receiver may be behind before it is told that it missed some.
const EVENTS: usize = 256;

/// Latest look: what runs, and how each workload ended last without being asked to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Workloads that run or have just ended.
    pub(crate) states: BTreeMap<String, State>,
    /// Last unwanted end of each wanted workload.
    pub(crate) deaths: BTreeMap<String, String>,
    /// Which wish this look already knew.
    wish: u64,
}

/// What should run, numbered so that nobody takes an answer to an earlier wish for one to theirs.
#[derive(Debug, Clone, Default)]
struct Wish {
    number: u64,
    workloads: Vec<Workload>,
}

impl Standing {
    /// Whether a workload has said that it is ready.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        matches!(self.states.get(name), Some(State::Ready { .. }))
    }
}

/// Programs did not do what they should in time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    /// Not ready.
    #[error("'{name}' is not ready after {} s ({why}); look at its log in the run's directory", after.as_secs())]
    NotReady { name: String, after: Duration, why: String },
    /// Not ended.
    #[error("'{name}' still runs {} s after it was told to end; kill it by hand", after.as_secs())]
    StillRuns { name: String, after: Duration },
    /// The reconciler is gone.
    #[error("the supervisor's own task has ended; start the run again")]
    Gone,
}

/// Keeps the wanted workloads running until it is dropped or shut down.
#[derive(Debug)]
pub(crate) struct Supervisor {
    wanted: watch::Sender<Wish>,
    standing: watch::Receiver<Standing>,
    events: broadcast::Sender<Event>,
    task: JoinHandle<()>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Starts reconciling; nothing is wanted yet.
    pub(crate) fn start(backend: impl Backend, backoff: Backoff) -> Self {
        let (wanted, wishes) = watch::channel(Wish::default());
        let (looks, standing) = watch::channel(Standing::default());
        let (events, _) = broadcast::channel(EVENTS);
        let reconciler = Reconciler { backend, backoff, memories: Memories::default(), events: events.clone(), looks };
        Self { wanted, standing, events, task: tokio::spawn(reconciler.run(wishes)) }
    }

    /// From now on these workloads should run, defined so, and no others.
    pub(crate) fn want(&self, workloads: Vec<Workload>) {
        self.wanted.send_modify(|wish| *wish = Wish { number: wish.number + 1, workloads });
    }

    /// What happens from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Latest look.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Returns when every wanted workload is ready.
    ///
    /// # Errors
    /// Names the first that is not ready in time, and why it ended last.
    pub(crate) async fn wait_ready(&self, within: Duration) -> Result<(), SuperviseError> {
        let wanted: Vec<String> = self.wanted.borrow().workloads.iter().map(|workload| workload.name.clone()).collect();
        let all_ready = |standing: &Standing| wanted.iter().all(|name| standing.is_ready(name));
        self.wait(within, all_ready).await?.map_err(|standing| {
            let name = wanted.iter().find(|name| !standing.is_ready(name)).cloned().unwrap_or_default();
            let why = standing.deaths.get(&name).cloned();
            let why = why.unwrap_or_else(|| "it has not said so, and it has not ended".to_owned());
            SuperviseError::NotReady { name, after: within, why }
        })
    }

    /// Returns when one of the wanted workloads, defined as it is wanted now, is ready.
    ///
    /// # Errors
    /// When there is no supervisor any more.
    pub(crate) async fn ready(&self, name: &str) -> Result<(), SuperviseError> {
        self.look_at(|standing| standing.is_ready(name)).await
    }

    /// Returns when a workload is not ready, or no longer.
    ///
    /// # Errors
    /// When there is no supervisor any more.
    pub(crate) async fn lost(&self, name: &str) -> Result<(), SuperviseError> {
        self.look_at(|standing| !standing.is_ready(name)).await
    }

    async fn look_at(&self, mut is: impl FnMut(&Standing) -> bool) -> Result<(), SuperviseError> {
        let mut standing = self.standing.clone();
        let number = self.wanted.borrow().number;
        let seen = standing.wait_for(|standing| standing.wish >= number && is(standing)).await;
        seen.map(|_standing| ()).map_err(|_closed| SuperviseError::Gone)
    }

    /// Ends all workloads, cleanly where they let us, and then itself.
    ///
    /// # Errors
    /// Names a workload that survived; it dies with this process at the latest.
    pub(crate) async fn shut_down(self, within: Duration) -> Result<(), SuperviseError> {
        self.want(Vec::new());
        self.wait(within, |standing| standing.states.is_empty()).await?.map_err(|standing| {
            let name = standing.states.keys().next().cloned().unwrap_or_default();
            SuperviseError::StillRuns { name, after: within }
        })
    }

    /// The inner result holds the last standing when the time was over.
    async fn wait(
        &self,
        within: Duration,
        mut wanted: impl FnMut(&Standing) -> bool,
    ) -> Result<Result<(), Standing>, SuperviseError> {
        let mut standing = self.standing.clone();
        let number = self.wanted.borrow().number;
        match timeout(within, standing.wait_for(|standing| standing.wish == number && wanted(standing))).await {
            Ok(Ok(_)) => Ok(Ok(())),
            Ok(Err(_closed)) => Err(SuperviseError::Gone),
            Err(_elapsed) => Ok(Err(self.standing())),
        }
    }
}

struct Reconciler<B> {
    backend: B,
    backoff: Backoff,
    memories: Memories,
    events: broadcast::Sender<Event>,
    looks: watch::Sender<Standing>,
}

impl<B: Backend> Reconciler<B> {
    async fn run(mut self, mut wishes: watch::Receiver<Wish>) {
        let changed = self.backend.changed();
        loop {
            let wish = wishes.borrow_and_update().clone();
            let wake = self.look(&wish).await;
            let pause = wake.map_or(TICK, |time| time.saturating_duration_since(Instant::now()).min(TICK));
            // All three only wake; dropping one loses nothing, because the next look sees everything.
            tokio::select! {
                () = changed.notified() => {}
                wish = wishes.changed() => if wish.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look and what follows from it; returns when to look again at the latest.
    async fn look(&mut self, wish: &Wish) -> Option<Instant> {
        let wanted = &wish.workloads;
        let now = Instant::now();
        let actual = self.backend.states();
        if wish.number == 0 {
            // Nobody has said what is wanted: what runs already is left alone.
            self.looks.send_replace(Standing { states: actual, ..Standing::default() });
            return None;
        }
        for workload in wanted {
            let runs = matches!(actual.get(&workload.name), Some(State::Starting { .. } | State::Ready { .. }));
            if runs && self.memories.of(&workload.name).is_strange() && self.backend.adopt(workload) {
                self.memories.of(&workload.name).adopt(workload);
            }
        }
        let Decision { steps, events, wake } = decide(wanted, &actual, &mut self.memories, self.backoff, now);
        for event in events {
            self.tell(event);
        }
        for step in steps {
            match step {
                Step::Forget(name) => self.backend.forget(&name),
                Step::Stop(name) => self.backend.stop(&name),
                Step::Start(workload) => {
                    if let Err(error) = self.backend.start(&workload).await {
                        let told = self.memories.start_failed(&workload.name, error.to_string(), self.backoff, now);
                        self.tell(told);
                    }
                }
            }
        }
        let deaths = wanted.iter().filter_map(|workload| {
            let death = self.memories.of(&workload.name).last_death.clone()?;
            Some((workload.name.clone(), death))
        });
        let deaths = deaths.collect();
        let mut states = self.backend.states();
        for (name, state) in &mut states {
            // Asked to end, although the backend may not have come to it yet.
            if self.memories.of(name).is_stopping() && !matches!(state, State::Ended { .. }) {
                *state = State::Stopping;
            }
        }
        let standing = Standing { states, deaths, wish: wish.number };
        self.looks.send_if_modified(|last| {
            let changed = *last != standing;
            *last = standing;
            changed
        });
        wake
    }

    fn tell(&self, event: Event) {
        tracing::info!(workload = %event.workload, what = ?event.what, "supervision");
        // No receiver is no error: events are for those who care.
        drop(self.events.send(event));
    }
}
