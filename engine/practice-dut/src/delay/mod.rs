//! The delay line: packets from outside wait in a netfilter queue until they have been here for the wanted time.
//!
//! A packet's time counts from when it reached the interface, not from when this program heard of it: a socket with `SO_TIMESTAMPNS`
//! makes the kernel stamp every packet on arrival, and the queue hands the stamp over. So neither the queue's own latency nor the
//! interval at which it is asked adds to the delay. Release is precise to some ten microseconds: sleep until shortly before, then spin.
//!
//! One thread, `delay`, owns the queue ([`line`] holds its pure core); orders reach it through [`Orders`]. It ends when told so, after
//! letting go of every packet.

pub mod line;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nfq::{Message, Queue, Verdict};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
use tbi_bench::units::Span;

use self::line::{Line, Next};
use crate::counters::Tally;
use crate::rules::QUEUE;

/// Packets the kernel may hold for us: a second of a million per second would not fit, 20 ms of it does.
const QUEUE_LEN: u32 = 1 << 17;
/// How often an idle line looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);
/// Packets taken in one go before looking at the clock again.
const BATCH: usize = 64;

/// The delay line cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot hold packets back: {doing} netfilter queue {QUEUE}: {source}; the kernel needs NETFILTER_NETLINK_QUEUE and no other program may use that queue")]
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
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl DelayLine {
    /// A line that holds nothing yet.
    #[must_use]
    pub fn new(tally: Arc<Tally>) -> Self {
        Self { tally, orders: Arc::default(), thread: None }
    }

    /// Holds every packet that comes for `delay` from now on.
    ///
    /// # Errors
    /// [`DelayError`] when the queue cannot be opened.
    pub fn hold(&mut self, delay: Span) -> Result<(), DelayError> {
        self.orders.delay_us.store(delay.as_micros(), Ordering::Relaxed);
        match &self.thread {
            Some(thread) if !thread.is_finished() => thread.thread().unpark(),
            _ => {
                let queue = open_queue()?;
                let stamping = stamp_arrivals();
                let (orders, tally) = (self.orders.clone(), self.tally.clone());
                let run = move || {
                    let _stamping = stamping;
                    Runner { queue, line: Line::default(), orders, tally }.run();
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
            thread.thread().unpark();
            let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !matches!(ended, Ok(true)) {
                tracing::error!("the delay line panicked; packets it held are lost");
            }
        }
    }
}

fn open_queue() -> Result<Queue, DelayError> {
    let error = |doing| move |source| DelayError { doing, source };
    let mut queue = Queue::open().map_err(error("open"))?;
    queue.bind(QUEUE).map_err(error("bind"))?;
    // Headers and payload stay in the kernel: only the decision travels.
    queue.set_copy_range(QUEUE, 0).map_err(error("configure"))?;
    queue.set_queue_max_len(QUEUE, QUEUE_LEN).map_err(error("size"))?;
    // Without this the kernel would cut offloaded packets into pieces, and the delay line would change what it only holds back.
    queue.set_recv_gso(QUEUE, true).map_err(error("configure"))?;
    queue.set_fail_open(QUEUE, false).map_err(error("configure"))?;
    queue.set_nonblocking(true);
    Ok(queue)
}

/// As long as the socket lives, the kernel stamps packets on arrival. Without it the time of receipt is used.
fn stamp_arrivals() -> Option<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).ok()?;
    setsockopt(&socket, ReceiveTimestampns, &true).ok()?;
    Some(socket)
}

struct Runner {
    queue: Queue,
    line: Line<Message>,
    orders: Arc<Orders>,
    tally: Arc<Tally>,
}

impl Runner {
    fn run(mut self) {
        // The default slack of 50 µs would be most of the error budget. Refusal costs precision, nothing else.
        let _best_effort = nix::sys::prctl::set_timerslack(1);
        loop {
            let delay = Duration::from_micros(self.orders.delay_us.load(Ordering::Relaxed));
            let stopping = self.orders.stop.load(Ordering::Relaxed);
            if let Err(error) = self.take_in(delay) {
                tracing::error!(%error, "the delay line lost its queue; packets from outside are lost until the behaviour changes");
                return;
            }
            if delay.is_zero() {
                self.line.expire();
            }
            while let Some(mut packet) = self.line.pop_due(Instant::now()) {
                packet.set_verdict(Verdict::Accept);
                match self.queue.verdict(packet) {
                    Ok(()) => self.tally.count_packet_delayed(),
                    Err(error) => tracing::debug!(%error, "verdict refused"),
                }
            }
            match self.line.next(Instant::now(), delay) {
                Next::Nothing if stopping => return,
                Next::Nothing if delay.is_zero() => thread::park_timeout(IDLE),
                Next::Nothing => thread::sleep(line::poll_interval(delay)),
                Next::Sleep(time) => thread::sleep(time),
                Next::Spin(until) => {
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                }
            }
        }
    }

    fn take_in(&mut self, delay: Duration) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.queue.recv() {
                Ok(packet) => {
                    let arrival = line::arrival(Instant::now(), SystemTime::now(), packet.get_timestamp());
                    self.line.push(packet, arrival + delay);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else's netlink complaint must not end the line; a dead socket must.
                Err(error) if error.raw_os_error() == Some(nix::libc::EBADF) => return Err(error),
                Err(error) => tracing::debug!(%error, "netfilter queue"),
            }
        }
        Ok(())
    }
}
