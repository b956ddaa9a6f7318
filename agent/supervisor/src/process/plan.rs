//! The reconciler's decision: what is wanted, what is and what was, in; steps and news, out. No clock, no process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Backoff, Event, Happening, State, Workload};

/// A program that was ready this long before it ended has not failed in a row.
const STEADY: Duration = Duration::from_secs(30);

/// What the reconciler remembers of a workload between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Failures in a row.
    failures: u32,
    /// Not to be started before.
    not_before: Option<Instant>,
    /// Times it was started.
    starts: u32,
    /// With which definition it was started last; `None` when it does not run.
    running: Option<Workload>,
    /// What was already told.
    told: Told,
    /// It was asked to end.
    stopping: bool,
    /// How it ended last without being asked to.
    pub(super) last_death: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Told {
    #[default]
    Nothing,
    /// Was running when we came.
    Found,
    Started,
    Ready,
}

/// A step for the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Start(Workload),
    Stop(String),
    Forget(String),
}

/// What to do now, what to tell, and when to look again at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Decision {
    pub(super) steps: Vec<Step>,
    pub(super) events: Vec<Event>,
    pub(super) wake: Option<Instant>,
}

/// Everything the reconciler knows of the past.
#[derive(Debug, Default)]
pub(super) struct Memories(BTreeMap<String, Memory>);

impl Memories {
    pub(super) fn of(&mut self, name: &str) -> &mut Memory {
        self.0.entry(name.to_owned()).or_default()
    }

    /// A start failed before there was a process.
    pub(super) fn start_failed(&mut self, name: &str, reason: String, backoff: Backoff, now: Instant) -> Event {
        let memory = self.of(name);
        memory.running = None;
        memory.fail(None, backoff, now);
        memory.last_death = Some(reason.clone());
        Event { workload: name.to_owned(), what: Happening::Died { status: reason } }
    }
}

impl Memory {
    /// A workload that runs, although nobody here started it, is the wanted one.
    pub(super) fn adopt(&mut self, workload: &Workload) {
        self.running = Some(workload.clone());
        self.starts = self.starts.max(1);
        if self.told == Told::Nothing {
            self.told = Told::Found;
        }
    }

    /// Whether what runs was neither started nor adopted here.
    pub(super) fn is_strange(&self) -> bool {
        self.running.is_none() && !self.stopping
    }

    /// Whether the workload was asked to end and has not yet.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn fail(&mut self, ready_for: Option<Duration>, backoff: Backoff, now: Instant) {
        if ready_for.is_some_and(|time| time >= STEADY) {
            self.failures = 0;
        }
        self.not_before = Some(now + backoff.pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Compares `wanted` with `actual`. Every call may be the first after any number of changes.
pub(super) fn decide(
    wanted: &[Workload],
    actual: &BTreeMap<String, State>,
    memories: &mut Memories,
    backoff: Backoff,
    now: Instant,
) -> Decision {
    let mut decision = Decision::default();
    for (name, state) in actual {
        let definition = wanted.iter().find(|workload| workload.name == *name);
        let memory = memories.of(name);
        tell(name, state, memory, &mut decision);
        match state {
            State::Ended { status, ready_for } => {
                let what = if memory.stopping {
                    memory.not_before = None;
                    Happening::Stopped
                } else {
                    memory.fail(*ready_for, backoff, now);
                    memory.last_death = Some(status.clone());
                    Happening::Died { status: status.clone() }
                };
                decision.events.push(Event { workload: name.clone(), what });
                decision.steps.push(Step::Forget(name.clone()));
                (memory.running, memory.stopping, memory.told) = (None, false, Told::Nothing);
            }
            State::Queued | State::Starting { .. } | State::Ready { .. }
                if (definition.is_none() || definition != memory.running.as_ref()) && !memory.stopping =>
            {
                memory.stopping = true;
                decision.steps.push(Step::Stop(name.clone()));
            }
            State::Queued | State::Starting { .. } | State::Ready { .. } | State::Stopping => {}
        }
    }
    let ready: BTreeSet<&str> = actual
        .iter()
        .filter(|(_, state)| matches!(state, State::Ready { .. }))
        .map(|(name, _)| name.as_str())
        .collect();
    for workload in wanted {
        let ended = actual.get(&workload.name).is_none_or(|state| matches!(state, State::Ended { .. }));
        if !ended || !workload.needs.iter().all(|need| ready.contains(need.as_str())) {
            continue;
        }
        let memory = memories.of(&workload.name);
        match memory.not_before.filter(|time| *time > now) {
            Some(time) => decision.wake = Some(decision.wake.map_or(time, |wake| wake.min(time))),
            None => {
                memory.running = Some(workload.clone());
                memory.starts = memory.starts.saturating_add(1);
                decision.steps.push(Step::Start(workload.clone()));
            }
        }
    }
    memories.0.retain(|name, _| actual.contains_key(name) || wanted.iter().any(|workload| workload.name == *name));
    decision
}

/// Started before ready, each once per process, however fast they followed one another.
fn tell(name: &str, state: &State, memory: &mut Memory, decision: &mut Decision) {
    let (State::Starting { pid } | State::Ready { pid, .. }) = state else { return };
    let mut say = |what| decision.events.push(Event { workload: name.to_owned(), what });
    if matches!(memory.told, Told::Nothing | Told::Found) {
        say(match memory.starts {
            _ if memory.told == Told::Found => Happening::Adopted { pid: *pid },
            0 | 1 => Happening::Started { pid: *pid },
            starts => Happening::Restarted { pid: *pid, times: starts - 1 },
        });
        memory.told = Told::Started;
    }
    if memory.told == Told::Started && matches!(state, State::Ready { .. }) {
        say(Happening::Ready);
        memory.told = Told::Ready;
    }
}
