//! The delay line: packets from outside wait in a netfilter queue until they have been here for the wanted time.
//!
//! A packet's time counts from when it reached the interface, not from when this program heard of it: a socket with `SO_TIMESTAMPNS`
//! makes the kernel stamp every packet on arrival, and the queue hands the stamp over. So the queue's own latency adds nothing to the
//! delay. Release is precise to some ten microseconds: sleep until shortly before, then spin.
//!
//! One thread, `delay`, owns the queue's socket; [`line`] is its pure core, [`message`] the kernel's language. Orders reach it as atomics. It ends when told so, after
//! letting go of every packet.

pub mod line;
pub mod message;
mod queue;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
use tbi_bench::units::Span;
use tbi_daemon::{CriticalTask, Health};

use self::line::{Line, Next};
use self::queue::Queue;
use crate::counters::Tally;
use crate::rules::QUEUE;

/// Packets the kernel may hold for us: a second of a million per second would not fit, 20 ms of it does.
const QUEUE_LEN: u32 = 1 << 17;
/// How often an idle line looks whether it is still wanted; a packet wakes it at once.
const IDLE: Duration = Duration::from_millis(100);
/// Packets taken in one go before looking at the clock again.
const BATCH: usize = 64;

/// The delay line cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot hold packets back: {doing} netfilter queue {QUEUE}: {source}; the kernel needs NETFILTER_NETLINK_QUEUE and no other program may use that queue"
)]
pub struct DelayError {
    doing: &'static str,
    source: io::Error,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Orders {
    delay_us: AtomicU64,
    stop: AtomicBool,
}

/// Handle of the delay line; opens the queue when first needed.
#[derive(Debug)]
pub struct DelayLine {
    tally: Arc<Tally>,
    health: Health,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl DelayLine {
    /// A line that holds nothing yet; `health` learns when it breaks.
    #[must_use]
    pub fn new(tally: Arc<Tally>, health: Health) -> Self {
        Self { tally, health, orders: Arc::default(), thread: None }
    }

    /// Holds every packet that comes for `delay` from now on.
    ///
    /// # Errors
    /// [`DelayError`] when the queue cannot be opened.
    pub fn hold(&mut self, delay: Span) -> Result<(), DelayError> {
        self.orders.delay_us.store(delay.as_micros(), Ordering::Relaxed);
        match &self.thread {
            Some(thread) if !thread.is_finished() => {}
            _ => {
                let queue = Queue::open(QUEUE, QUEUE_LEN).map_err(|source| DelayError { doing: "bind", source })?;
                let stamping = stamp_arrivals();
                let alive = self.health.critical("the delay line");
                let (orders, tally) = (self.orders.clone(), self.tally.clone());
                let run = move || {
                    let _stamping = stamping;
                    Runner { queue, line: Line::default(), heard: None, orders, tally }.run(alive);
                };
                let spawned = thread::Builder::new().name("delay".to_owned()).spawn(run);
                self.thread = Some(spawned.map_err(|source| DelayError { doing: "start a thread for", source })?);
            }
        }
        Ok(())
    }

    /// Releases what is held and holds nothing any more.
    pub fn let_go(&mut self) {
        self.orders.delay_us.store(0, Ordering::Relaxed);
    }

    /// Releases what is held and ends the thread.
    pub async fn close(&mut self) {
        self.let_go();
        self.orders.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !matches!(ended, Ok(true)) {
                tracing::error!("the delay line panicked; packets it held are lost");
            }
        }
    }
}

/// As long as the socket lives, the kernel stamps packets on arrival. Without it the time of receipt is used.
fn stamp_arrivals() -> Option<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).ok()?;
    setsockopt(&socket, ReceiveTimestampns, &true).ok()?;
    Some(socket)
}

struct Runner {
    queue: Queue,
    /// Packets by their number.
    line: Line<u32>,
    /// Number announced last.
    heard: Option<u32>,
    orders: Arc<Orders>,
    tally: Arc<Tally>,
}

impl Runner {
    fn run(mut self, alive: CriticalTask) {
        // The default slack of 50 µs would be most of the error budget. Refusal costs precision, nothing else.
        let _best_effort = nix::sys::prctl::set_timerslack(1);
        loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return alive.finish(),
                Err(error) => {
                    tracing::error!(%error, "the delay line lost its queue; packets from outside are lost until the delay is set anew");
                    return;
                }
            }
        }
    }

    /// Takes in, lets go, waits; false when it is over.
    fn turn(&mut self) -> io::Result<bool> {
        let delay = Duration::from_micros(self.orders.delay_us.load(Ordering::Relaxed));
        let stopping = self.orders.stop.load(Ordering::Relaxed);
        for _ in 0..BATCH {
            let Some(packet) = self.queue.receive()? else { break };
            // Numbers are given in order, also to packets whose announcement finds no room.
            let lost = self.heard.map_or(0, |last| packet.id.wrapping_sub(last).wrapping_sub(1));
            self.tally.add_packets_overrun(u64::from(lost));
            self.heard = Some(packet.id);
            let arrival = line::arrival(Instant::now(), SystemTime::now(), packet.arrived);
            self.line.push(packet.id, arrival + delay);
        }
        if delay.is_zero() {
            self.line.expire();
        }
        let mut last = None;
        while let Some((packet, late)) = self.line.pop_due(Instant::now()) {
            self.tally.count_packet_delayed();
            self.tally.add_lateness_us(late.as_micros() as u64);
            last = Some(packet);
        }
        if let Some(packet) = last {
            self.queue.release(packet)?;
        }
        let now = Instant::now();
        match self.line.next(now) {
            Next::Nothing if stopping => return Ok(false),
            Next::Nothing => self.queue.wait(IDLE)?,
            Next::Sleep(time) => {
                self.queue.wait(time)?;
                // Woken before the time by an announcement, there is nothing to learn.
                if let Some(late) = now.elapsed().checked_sub(time) {
                    self.line.overslept(late);
                }
            }
            Next::Spin(until) => {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
        }
        Ok(true)
    }
}
