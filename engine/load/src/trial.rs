//! The coordinator of one trial: starts the workers' threads, puts their ticks together, merges their records into the report.
//!
//! Runs on the main thread beside the API and touches no traffic. A worker that panics or cannot start ends the trial with an
//! error that every reader is told; a trial never hangs, because each worker ends by its own clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tbi_bench::control::CpuTime;
use tbi_bench::control::engine::{Tick, TrialReport, TrialStatus, Witness};
use tbi_bench::units::Span;
use tokio::sync::{mpsc, oneshot, watch};

use crate::order::Trial;
use crate::record::{Recorder, Second};
use crate::timeline::Timeline;
use crate::witness;
use crate::worker::{self, Leftover, Share, TickPart, WorkerError};

/// Parts of ticks a worker may be ahead of the coordinator.
const TICK_ROOM: usize = 8;

/// A trial under way or ended; cheap to share.
#[derive(Debug)]
pub struct Running {
    id: String,
    start: Instant,
    stop: watch::Sender<bool>,
    /// Number of ticks, and whether there will be more.
    progress: watch::Sender<Progress>,
    state: Mutex<State>,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Ticks so far.
    pub ticks: usize,
    /// No more will come.
    pub ended: bool,
}

#[derive(Debug, Default)]
struct State {
    ticks: Vec<Tick>,
    outcome: Option<Result<Box<TrialReport>, String>>,
}

impl Running {
    /// Starts a trial on `workers` threads. Needs a tokio runtime.
    #[must_use]
    pub fn start(id: String, trial: Trial, workers: u32) -> Arc<Self> {
        let start = Instant::now();
        let running = Arc::new(Self {
            id,
            start,
            stop: watch::Sender::new(false),
            progress: watch::Sender::new(Progress { ticks: 0, ended: false }),
            state: Mutex::default(),
        });
        let coordinated = coordinate(Arc::clone(&running), Arc::new(trial), workers.max(1));
        let watched = Arc::clone(&running);
        let task = tokio::spawn(coordinated);
        tokio::spawn(async move {
            let outcome = match task.await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(error) => Err(format!("the trial's coordinator ended ({error}); this is a bug, please report it")),
            };
            watched.finish(outcome);
        });
        running
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.progress.borrow().ended
    }

    /// Asks all workers to stop now; harmless when they have.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Its state, or in a sentence why it failed.
    ///
    /// # Errors
    /// The sentence.
    pub fn status(&self) -> Result<TrialStatus, String> {
        match &self.state().outcome {
            None => Ok(TrialStatus::Running { elapsed: span(self.start.elapsed()) }),
            Some(Ok(report)) => Ok(TrialStatus::Ended { report: report.clone() }),
            Some(Err(reason)) => Err(reason.clone()),
        }
    }

    /// Follows the ticks.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Tick number `index`, if there is one yet.
    #[must_use]
    pub fn tick(&self, index: usize) -> Option<Tick> {
        self.state().ticks.get(index).cloned()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing is left half-changed under this lock, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_tick(&self, tick: Tick) {
        let ticks = {
            let mut state = self.state();
            state.ticks.push(tick);
            state.ticks.len()
        };
        self.progress.send_replace(Progress { ticks, ended: false });
    }

    fn finish(&self, outcome: Result<TrialReport, String>) {
        if let Err(reason) = &outcome {
            tracing::error!(trial = self.id, reason, "trial failed");
        }
        self.state().outcome = Some(outcome.map(Box::new));
        self.progress.send_modify(|progress| progress.ended = true);
    }
}

async fn coordinate(running: Arc<Running>, trial: Arc<Trial>, workers: u32) -> Result<TrialReport, WorkerError> {
    let timeline = Timeline::new(running.start, &trial.phases);
    let watched = tokio::spawn(watch_machine(timeline, running.stop.subscribe()));
    let (mut parts, mut results) = (Vec::new(), Vec::new());
    for index in 0..workers {
        let (tick_sender, tick_receiver) = mpsc::channel(TICK_ROOM);
        let (result_sender, result_receiver) = oneshot::channel();
        let (trial, stop) = (Arc::clone(&trial), running.stop.subscribe());
        let alarm = Alarm(Arc::clone(&running));
        let share = Share { index, of: workers };
        std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
                let result = worker::run(trial, timeline, share, tick_sender, stop);
                if result.is_err() {
                    alarm.0.stop();
                }
                // The receiver is dropped only when the trial has failed already.
                let _unwanted = result_sender.send(result);
            })
            .map_err(WorkerError::Start)
            .inspect_err(|_| running.stop())?;
        parts.push(tick_receiver);
        results.push(result_receiver);
    }
    while let Some(part) = next_tick(&mut parts).await {
        running.add_tick(to_tick(&part, &timeline));
    }
    let mut record = Recorder::default();
    let mut busiest: f64 = 0.0;
    let mut gso = false;
    for result in results {
        // A thread that panicked drops its sender.
        let left = result.await.unwrap_or_else(|_| Err(WorkerError::Panicked("outside its tasks".to_owned())));
        let Leftover { recorder, busy, gso: offload } = left.inspect_err(|_| running.stop())?;
        record.merge(recorder);
        busiest = busiest.max(busy);
        gso |= offload;
    }
    let stopped = *running.stop.borrow();
    let measured_until = Instant::now().min(timeline.ramp_down);
    let ended = running.stop.send_replace(true);
    debug_assert_eq!(ended, stopped, "nobody else ends a trial that is being reported");
    let (cpu, udp_receive_drops) = watched.await.unwrap_or_default();
    record.observed.client_hello.clone_from(&trial.client_hello);
    let sustain = if stopped {
        measured_until.saturating_duration_since(timeline.sustain)
    } else {
        trial.phases.sustain.duration()
    };
    Ok(TrialReport {
        id: running.id.clone(),
        stopped,
        sustain: span(sustain),
        attempts: record.attempts,
        errors: record.errors.into_counts(),
        body_bytes: record.body_bytes,
        timings: record.timings,
        proof: record.proof,
        observed: record.observed,
        witness: Witness { cpu, busiest_worker: busiest, workers, gso, udp_receive_drops },
        ticks: running.state().ticks.clone(),
    })
}

/// Stops the other workers when one dies without a word.
struct Alarm(Arc<Running>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// The same second of every worker, merged; `None` when all have ended.
async fn next_tick(parts: &mut [mpsc::Receiver<TickPart>]) -> Option<TickPart> {
    let mut merged: Option<TickPart> = None;
    for receiver in parts {
        let Some(part) = receiver.recv().await else { continue };
        match &mut merged {
            None => merged = Some(part),
            Some(merged) => {
                merged.at = merged.at.max(part.at);
                merged.length = merged.length.max(part.length);
                merged.second.merge(&part.second);
                merged.open_connections += part.open_connections;
            }
        }
    }
    merged
}

fn to_tick(part: &TickPart, timeline: &Timeline) -> Tick {
    let Second { connections, succeeded, failed, body_bytes, handshake, ttfb } = &part.second;
    Tick {
        at: span(part.at),
        sustain: timeline.covers(timeline.start + part.at, part.length),
        length: span(part.length),
        connections: *connections,
        succeeded: *succeeded,
        failed: *failed,
        body_bytes: *body_bytes,
        open_connections: part.open_connections,
        handshake_p50_us: handshake.quantile(0.5),
        ttfb_p50_us: ttfb.quantile(0.5),
        ttfb_p99_us: ttfb.quantile(0.99),
    }
}

/// CPU of the process and dropped datagrams, from the start of the sustain phase to its end or to an early stop.
async fn watch_machine(timeline: Timeline, mut stop: watch::Receiver<bool>) -> (CpuTime, u64) {
    let mut until = async |at: Instant| {
        // Both arms only wait. An error means that the trial is gone, which is a stop too.
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            _stopped = stop.wait_for(|stop| *stop) => {}
        }
    };
    until(timeline.sustain).await;
    let before = (tbi_daemon::cpu_time(), witness::udp_receive_drops());
    until(timeline.ramp_down).await;
    let after = (tbi_daemon::cpu_time(), witness::udp_receive_drops());
    (after.0.since(before.0), after.1.saturating_sub(before.1))
}

fn span(duration: Duration) -> Span {
    Span::from_micros(duration.as_micros() as u64)
}
