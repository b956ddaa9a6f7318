//! One worker: a thread with its own runtime, sockets and record. Shares nothing with other workers while a trial runs.
//!
//! Tasks of a worker: one per connection slot (closed loop) or arrival (open loop) and one per closed connection that waits for its
//! FIN, all in one set whose exits are watched; one ticker, which is joined at the end. A panic in any of them fails the trial.
//! The arrival pacer runs in the worker's own main future.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tbi_bench::control::engine::Arrivals;
use tbi_bench::proof::Token;
use tbi_bench::schedule::{Schedule, WorkerSchedule};
use tbi_bench::units::Rate;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::attempt::{Attempt, Counting};
use crate::conn::quic::Endpoints;
use crate::conn::tcp::{READ_BUFFER, ReadBuffer, TlsStream};
use crate::conn::{self, Errand};
use crate::failure::Failure;
use crate::order::{Model, Trial};
use crate::pace::Pacer;
use crate::record::{Recorder, Second};
use crate::sources::Sources;
use crate::timeline::Timeline;
use crate::witness;

/// What is in flight at the end of the ramp-down may still end, so that every connection that gets an answer is classified by it. A
/// device that went silent holds a trial up by no more than this.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause of a closed-loop slot after a failed connection, so that a device that refuses everything is not hammered.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long the last CONNECTION_CLOSE frames may take.
const QUIC_CLOSE: Duration = Duration::from_millis(100);
/// Longest sleep of the main future: bounds the wait when the schedule has nothing more.
const FAR: Duration = Duration::from_secs(3600);

/// What the connections of a worker share.
pub struct Worker {
    /// What is run.
    pub trial: Arc<Trial>,
    /// When.
    pub timeline: Timeline,
    /// What was seen.
    pub recorder: RefCell<Recorder>,
    /// Where from.
    pub sources: RefCell<Sources>,
    /// Room for reads.
    pub read_buffer: Rc<ReadBuffer>,
    quic: Option<Endpoints>,
    rng: RefCell<ChaCha8Rng>,
    next_target: Cell<usize>,
    requests: Cell<u64>,
    closing: RefCell<Vec<TlsStream>>,
    closing_added: tokio::sync::Notify,
    last_tick: Cell<Instant>,
}

/// Which worker of how many.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// From 0.
    pub index: u32,
    /// Workers of the trial.
    pub of: u32,
}

/// One worker's part of a tick.
#[derive(Debug)]
pub struct TickPart {
    /// End of the second since the trial's start.
    pub at: Duration,
    /// Its length.
    pub length: Duration,
    /// What happened in it.
    pub second: Second,
    /// Open connections at its end.
    pub open_connections: u64,
}

/// What a worker leaves behind.
#[derive(Debug)]
pub struct Leftover {
    /// Its record, closed.
    pub recorder: Recorder,
    /// CPU share of one core during the sustain phase, 0..=1.
    pub busy: f64,
    /// Whether its QUIC sockets segment in the kernel or NIC.
    pub gso: bool,
}

/// A worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No runtime or timer.
    #[error("a load worker cannot start: {0}; raise the limit of open files or lower the load")]
    Start(std::io::Error),
    /// No QUIC sockets.
    #[error("a load worker has no QUIC sockets: {0}")]
    Quic(Failure),
    /// A bug.
    #[error("a load worker panicked ({0}); this is a bug, please report it with the engine's log")]
    Panicked(String),
}

impl Worker {
    fn new(trial: Arc<Trial>, timeline: Timeline, share: Share) -> Result<Self, WorkerError> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&trial.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&share.index.to_le_bytes());
        seed[12..].copy_from_slice(b"engine worker seed..");
        let mut rng = ChaCha8Rng::from_seed(seed);
        let start = rng.next_u64() as usize % trial.targets.len();
        let mut sources = Sources::new(&trial.sources, share.index, share.of);
        let quic = if trial.protocol.is_quic() {
            let patience = trial.handshake_timeout.max(trial.request_timeout);
            Some(Endpoints::bind(&trial.setup, &mut sources, patience).map_err(WorkerError::Quic)?)
        } else {
            None
        };
        Ok(Self {
            sources: RefCell::new(sources),
            quic,
            timeline,
            recorder: RefCell::default(),
            read_buffer: Rc::new(RefCell::new(vec![0; READ_BUFFER].into_boxed_slice())),
            rng: RefCell::new(rng),
            next_target: Cell::new(start),
            requests: Cell::new(u64::from(share.index)),
            closing: RefCell::default(),
            closing_added: tokio::sync::Notify::new(),
            last_tick: Cell::new(timeline.start),
            trial,
        })
    }

    /// QUIC sockets, in a trial of h3.
    #[must_use]
    pub fn quic(&self) -> Option<&Endpoints> {
        self.quic.as_ref()
    }

    /// A fresh token.
    #[must_use]
    pub fn token(&self) -> Token {
        let mut bytes = [0; 16];
        self.rng.borrow_mut().fill_bytes(&mut bytes);
        Token::new(bytes)
    }

    /// Running number of the next request, for the mix.
    #[must_use]
    pub fn next_request(&self) -> u64 {
        let number = self.requests.get();
        self.requests.set(number.wrapping_add(1));
        number
    }

    /// Closes a connection cleanly without holding up the one that follows it.
    pub fn linger(&self, stream: TlsStream) {
        self.closing.borrow_mut().push(stream);
        self.closing_added.notify_one();
    }

    fn target(&self) -> usize {
        let target = self.next_target.get();
        self.next_target.set((target + 1) % self.trial.targets.len());
        target
    }
}

/// Runs one worker's share of a trial on the calling thread and returns what it saw. Blocks until the trial ends or `stop` says so.
///
/// # Errors
/// [`WorkerError`]; the trial is then worthless.
pub fn run(
    trial: Arc<Trial>,
    timeline: Timeline,
    share: Share,
    ticks: mpsc::Sender<TickPart>,
    stop: watch::Receiver<bool>,
) -> Result<Leftover, WorkerError> {
    // Sockets and the arrival timer are looked at after so many task polls. A handshake's step takes 0.1 ms and more, so an open
    // loop looks after each; a closed loop has no schedule to keep and saves the system calls.
    let event_interval = if matches!(trial.model, Model::Open { .. }) { 1 } else { 31 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(event_interval)
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(WorkerError::Start)?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(trial, timeline, share)?);
        let mut tasks = JoinSet::new();
        let outcome = drive(&worker, share, &mut tasks, ticks.clone(), stop).await;
        // Aborts what is left; every attempt counts itself as it is dropped.
        tasks.shutdown().await;
        let busy = outcome?;
        // The coordinator takes parts until the channel closes, so this ends; if it is gone nobody wants the part.
        let _gone = ticks.send(take_tick(&worker, Instant::now())).await;
        let mut gso = false;
        if let Some(endpoints) = worker.quic() {
            gso = endpoints.gso();
            endpoints.close(QUIC_CLOSE).await;
        }
        let mut recorder = worker.recorder.take();
        recorder.close();
        Ok(Leftover { recorder, busy, gso })
    })
}

/// Runs the phases; returns the CPU share of the sustain phase.
async fn drive(
    worker: &Rc<Worker>,
    share: Share,
    tasks: &mut JoinSet<()>,
    ticks: mpsc::Sender<TickPart>,
    mut stop: watch::Receiver<bool>,
) -> Result<f64, WorkerError> {
    let pacer = Pacer::new().map_err(WorkerError::Start)?;
    let busy = Rc::new(Cell::new(0.0));
    let mut ticker = tokio::task::spawn_local(tick(Rc::clone(worker), ticks, Rc::clone(&busy)));
    let mut arrivals = match worker.trial.model {
        Model::Open { rate, arrivals, max_in_flight, transactions } => {
            Some(OpenLoop::new(worker, share, rate, arrivals, max_in_flight, transactions))
        }
        Model::Closed { connections, .. } => {
            for index in (share.index..connections).step_by(share.of.max(1) as usize) {
                tasks.spawn_local(closed_slot(Rc::clone(worker), index, connections));
            }
            None
        }
    };
    let outcome = loop {
        let now = Instant::now();
        let Timeline { ramp_down, end, .. } = worker.timeline;
        let exhausted = arrivals.as_ref().is_none_or(|arrivals| arrivals.next.is_none());
        if now >= end + DRAIN || (now >= ramp_down && exhausted && tasks.is_empty()) {
            break Ok(());
        }
        let look_again = [ramp_down, end].into_iter().find(|&at| now < at).unwrap_or(end + DRAIN);
        let due = arrivals.as_ref().and_then(|arrivals| arrivals.next).unwrap_or(now + FAR);
        // Every arm may be cancelled: each only waits, and what it says is acted upon outside.
        tokio::select! {
            biased;
            paced = pacer.until(due) => {
                if let Err(error) = paced {
                    break Err(WorkerError::Start(error));
                }
                if let Some(arrivals) = &mut arrivals {
                    arrivals.dispatch(worker, tasks);
                }
            }
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    break Err(WorkerError::Panicked(panic_text(error)));
                }
            }
            () = worker.closing_added.notified() => {
                for stream in worker.closing.borrow_mut().drain(..) {
                    tasks.spawn_local(stream.close());
                }
            }
            () = tokio::time::sleep_until(look_again.into()) => {}
            changed = stop.changed() => {
                // A coordinator that is gone wants nothing any more either.
                if changed.is_err() || *stop.borrow() {
                    break Ok(());
                }
            }
        }
    };
    ticker.abort();
    if let Err(error) = (&mut ticker).await
        && error.is_panic()
    {
        return Err(WorkerError::Panicked(panic_text(error)));
    }
    outcome.map(|()| busy.get())
}

/// The arrivals of one worker.
struct OpenLoop {
    schedule: WorkerSchedule,
    next: Option<Instant>,
    last: Instant,
    in_flight: Rc<Cell<u32>>,
    budget: u32,
    transactions: u32,
}

impl OpenLoop {
    fn new(
        worker: &Worker,
        share: Share,
        rate: Rate,
        arrivals: Arrivals,
        max_in_flight: u32,
        transactions: u32,
    ) -> Self {
        let schedule =
            Schedule::new(rate, arrivals, worker.trial.seed, &worker.trial.phases).worker(share.index, share.of);
        let mut open = Self {
            schedule,
            next: None,
            // Nothing starts in the second half of the ramp-down, so that what is in flight can end.
            last: worker.timeline.closed_stop(1, 1),
            in_flight: Rc::default(),
            budget: max_in_flight.div_ceil(share.of.max(1)),
            transactions,
        };
        open.advance(worker);
        open
    }

    fn advance(&mut self, worker: &Worker) {
        let at = self.schedule.next().map(|ns| worker.timeline.start + Duration::from_nanos(ns));
        self.next = at.filter(|&at| at < self.last);
    }

    /// Starts everything that is due.
    fn dispatch(&mut self, worker: &Rc<Worker>, tasks: &mut JoinSet<()>) {
        let now = Instant::now();
        while let Some(intended) = self.next.filter(|&at| at <= now) {
            if self.in_flight.get() >= self.budget {
                Attempt::skip(worker, intended, self.transactions);
            } else {
                self.in_flight.set(self.in_flight.get() + 1);
                let (worker, in_flight) = (Rc::clone(worker), Rc::clone(&self.in_flight));
                let transactions = self.transactions;
                let mut arrival = Box::pin(async move {
                    arrival(&worker, intended, transactions).await;
                    in_flight.set(in_flight.get().saturating_sub(1));
                });
                // Started right here rather than behind the tasks that are ready: that is what keeps the schedule under load. The
                // set polls it again at once, so the waker that does nothing is never the only one.
                if arrival.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    tasks.spawn_local(arrival);
                }
            }
            self.advance(worker);
        }
    }
}

async fn arrival(worker: &Rc<Worker>, intended: Instant, transactions: u32) {
    let attempt = Attempt::start(worker, worker.target(), intended, Counting::Arrival(transactions));
    let errand = Errand { streams: 1, transactions: Some(transactions), stop: worker.timeline.end };
    // Counted where it happened; an open loop does not back off.
    let _counted = conn::run(worker, &attempt, errand).await;
}

async fn closed_slot(worker: Rc<Worker>, index: u32, of: u32) {
    let Model::Closed { streams, transactions, .. } = worker.trial.model else { return };
    let stop = worker.timeline.closed_stop(index, of);
    tokio::time::sleep_until(worker.timeline.closed_start(index, of).into()).await;
    while Instant::now() < stop {
        let attempt = Attempt::start(&worker, worker.target(), Instant::now(), Counting::EachStart);
        let ended = conn::run(&worker, &attempt, Errand { streams, transactions, stop }).await;
        drop(attempt);
        if ended.is_err() {
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}

/// Hands over a part of a tick each second and measures the thread's CPU over the sustain phase.
async fn tick(worker: Rc<Worker>, ticks: mpsc::Sender<TickPart>, busy: Rc<Cell<f64>>) {
    let Timeline { start, sustain, ramp_down, .. } = worker.timeline;
    let mut cpu = witness::ThreadShare::new(sustain, ramp_down);
    let mut from = start;
    loop {
        let at = from + Duration::from_secs(1);
        for boundary in [sustain, ramp_down] {
            if from < boundary && boundary <= at {
                tokio::time::sleep_until(boundary.into()).await;
                busy.set(cpu.sample());
            }
        }
        tokio::time::sleep_until(at.into()).await;
        busy.set(cpu.sample());
        if ticks.send(take_tick(&worker, at)).await.is_err() {
            return;
        }
        from = at;
    }
}

/// The part of the tick that ends at `at`.
fn take_tick(worker: &Worker, at: Instant) -> TickPart {
    let length = at.saturating_duration_since(worker.last_tick.replace(at));
    let mut recorder = worker.recorder.borrow_mut();
    TickPart {
        at: at.saturating_duration_since(worker.timeline.start),
        length,
        second: std::mem::take(&mut recorder.second),
        open_connections: recorder.open_connections,
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
