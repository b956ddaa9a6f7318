//! One connection from its intended start to its end, as the record sees it: the only place that counts attempts and classes.
//!
//! What is counted where (RFC 9411 §4.3.4: only the sustain phase is measured):
//! * Open loop: an arrival with N transactions counts N at its intended start; if the connection ends early the rest counts as failed,
//!   if the trial ends before it the rest counts as unfinished.
//! * Closed loop: the first transaction of a connection counts when the connection starts, each later one when it is sent.
//! * Class of the connection: always, in every phase, exactly once; without a response it is `unknown`, also when the trial's end
//!   aborts it. Dropping an [`Attempt`] does the counting, so that no way out can forget it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use tbi_bench::control::engine::Target;
use tbi_bench::proof::{Answer, Echo, Interception, Token};
use tbi_bench::wire::ServerTiming;

use crate::codec::head::ResponseHead;
use crate::failure::Failure;
use crate::tls::trust::Issuer;
use crate::worker::Worker;

/// How transactions of a connection are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Open loop: so many counted at the start.
    Arrival(u32),
    /// Closed loop: each when it starts.
    EachStart,
}

/// A connection.
pub struct Attempt {
    worker: Rc<Worker>,
    target: usize,
    token: Token,
    intended: Instant,
    started: Instant,
    measured: bool,
    counting: Counting,
    /// Open loop: counted and not yet ended.
    owed: Cell<u32>,
    first_pending: Cell<bool>,
    established: Cell<bool>,
    class: Cell<Option<Interception>>,
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    measured: bool,
    /// First of its connection: carries the token, and its times count from the connection's start too.
    pub first: bool,
    /// When the request was handed to the kernel or to QUIC.
    pub sent: Instant,
}

/// What the handshake showed.
#[derive(Debug, Clone, Copy)]
pub struct Handshake {
    /// SYN acknowledged; `None` for QUIC.
    pub connected: Option<Instant>,
    /// End of the handshake.
    pub complete: Instant,
    /// TLS 1.3 rather than 1.2.
    pub tls13: bool,
    /// Resumed, although that was never offered.
    pub resumed: bool,
}

/// A whole response.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// Its head.
    pub head: &'a ResponseHead,
    /// Body bytes.
    pub body: u64,
    /// First byte of it here.
    pub first_byte: Instant,
    /// Last byte of it here.
    pub last_byte: Instant,
}

impl Attempt {
    /// Starts a connection whose time was `intended` to a target, now.
    #[must_use]
    pub fn start(worker: &Rc<Worker>, target: usize, intended: Instant, counting: Counting) -> Self {
        let started = Instant::now();
        let (belongs_to, count) = match counting {
            Counting::Arrival(transactions) => (intended, transactions),
            Counting::EachStart => (started, 1),
        };
        let measured = worker.timeline.is_sustain(belongs_to);
        if measured {
            let mut recorder = worker.recorder.borrow_mut();
            let attempts = &mut recorder.attempts;
            attempts.scheduled += u64::from(count);
            attempts.sent += u64::from(count);
            attempts.transactions += u64::from(count);
            if matches!(counting, Counting::Arrival(_)) {
                let lag = started.saturating_duration_since(intended);
                if lag > LATE {
                    attempts.late += u64::from(count);
                }
                recorder.timings.schedule_lag.record(us(lag));
            }
        }
        Self {
            worker: Rc::clone(worker),
            target,
            token: worker.token(),
            intended,
            started,
            measured,
            counting,
            owed: Cell::new(if matches!(counting, Counting::Arrival(_)) { count } else { 0 }),
            first_pending: Cell::new(true),
            established: Cell::new(false),
            class: Cell::new(None),
        }
    }

    /// Counts an arrival for which the in-flight budget had no room.
    pub fn skip(worker: &Worker, intended: Instant, transactions: u32) {
        if worker.timeline.is_sustain(intended) {
            let attempts = &mut worker.recorder.borrow_mut().attempts;
            attempts.scheduled += u64::from(transactions);
            attempts.skipped += u64::from(transactions);
        }
    }

    /// Where to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.worker.trial.targets[self.target]
    }

    /// Index of the target in the order.
    #[must_use]
    pub fn target_index(&self) -> usize {
        self.target
    }

    /// Token of this connection.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Actual start.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The handshake is complete and its chain has been verified.
    pub fn established(&self, handshake: Handshake, chain: &[CertificateDer<'_>]) {
        self.established.set(true);
        let issuer = self.worker.trial.issuer_of(chain, self.target);
        let service = us(handshake.complete.saturating_duration_since(self.started));
        let mut recorder = self.worker.recorder.borrow_mut();
        recorder.open_connections += 1;
        recorder.second.connections += 1;
        recorder.second.handshake.record(service);
        let observed = &mut recorder.observed;
        match issuer {
            Some(Issuer::Persona) => observed.issuer_persona_ca += 1,
            Some(Issuer::Dut) => observed.issuer_dut_ca += 1,
            None => {}
        }
        observed.tls13 += u64::from(handshake.tls13);
        observed.tls12 += u64::from(!handshake.tls13);
        observed.resumed += u64::from(handshake.resumed);
        if !self.measured {
            return;
        }
        recorder.attempts.connections += 1;
        let timings = &mut recorder.timings;
        if let Some(connected) = handshake.connected {
            timings.tcp_connect.record(us(connected.saturating_duration_since(self.started)));
        }
        let hello = handshake.connected.unwrap_or(self.started);
        timings.tls_handshake.record(us(handshake.complete.saturating_duration_since(hello)));
        timings.handshake_service.record(service);
        timings.handshake_response.record(us(handshake.complete.saturating_duration_since(self.intended)));
    }

    /// A request is about to be sent.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        let sent = Instant::now();
        let first = self.first_pending.replace(false);
        let measured = match self.counting {
            _ if first => self.measured,
            Counting::Arrival(_) => self.measured,
            Counting::EachStart => self.worker.timeline.is_sustain(sent),
        };
        if measured && !first && self.counting == Counting::EachStart {
            let attempts = &mut self.worker.recorder.borrow_mut().attempts;
            attempts.scheduled += 1;
            attempts.sent += 1;
            attempts.transactions += 1;
        }
        Transaction { measured, first, sent }
    }

    /// The head of the first response arrived: classifies the connection, once.
    pub fn classify(&self, own: Echo, head: &ResponseHead) {
        if self.class.get().is_none() {
            self.class.set(Some(Interception::classify(own, Answer::Response(head.echo.as_bytes()))));
        }
    }

    /// A response came to its end; whether it counts as success follows from status and length.
    pub fn end(&self, transaction: Transaction, response: Response<'_>, expected: u64) {
        if let Err(failure) = judge(response.head, response.body, expected) {
            self.fail(transaction, &failure);
            return;
        }
        self.settle(1);
        let mut recorder = self.worker.recorder.borrow_mut();
        recorder.second.succeeded += 1;
        recorder.second.body_bytes += response.body;
        recorder.observed.alt_svc += u64::from(response.head.alt_svc);
        let since = |start: Instant, end: Instant| us(end.saturating_duration_since(start));
        let service = since(self.started, response.first_byte);
        if transaction.first {
            recorder.second.ttfb.record(service);
        }
        if !transaction.measured {
            return;
        }
        recorder.attempts.succeeded += 1;
        recorder.body_bytes += response.body;
        let timings = &mut recorder.timings;
        let request_ttfb = since(transaction.sent, response.first_byte);
        timings.request_ttfb.record(request_ttfb);
        timings.request_ttlb.record(since(transaction.sent, response.last_byte));
        if transaction.first {
            timings.ttfb_service.record(service);
            timings.ttfb_response.record(since(self.intended, response.first_byte));
            timings.ttlb_service.record(since(self.started, response.last_byte));
            timings.ttlb_response.record(since(self.intended, response.last_byte));
            if let Some(timing) = response.head.server_timing.as_bytes().and_then(ServerTiming::parse) {
                timings.dut_added.record(request_ttfb.saturating_sub(timing.app_us));
            }
        }
    }

    /// A transaction failed; the connection may live on.
    pub fn fail(&self, transaction: Transaction, failure: &Failure) {
        self.settle(1);
        self.count_failed(transaction.measured, failure, 1);
    }

    /// The connection ended with this failure before its first request went out.
    pub fn fail_start(&self, failure: &Failure) {
        if self.first_pending.get() {
            let transaction = self.begin();
            self.fail(transaction, failure);
        }
    }

    /// The connection is over: what an arrival still owed will never be sent.
    pub fn fail_rest(&self, failure: &Failure) {
        let owed = self.owed.replace(0);
        if owed > 0 {
            self.count_failed(self.measured, failure, u64::from(owed));
        }
    }

    /// Whether an arrival still owes transactions.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.get() > 0
    }

    /// Packets of a QUIC connection, as the congestion controller counts them.
    pub fn quic_packets(&self, sent: u64, lost: u64) {
        let observed = &mut self.worker.recorder.borrow_mut().observed;
        observed.quic_packets_sent += sent;
        observed.quic_packets_lost += lost;
    }

    fn settle(&self, transactions: u32) {
        self.owed.set(self.owed.get().saturating_sub(transactions));
    }

    fn count_failed(&self, measured: bool, failure: &Failure, count: u64) {
        let mut recorder = self.worker.recorder.borrow_mut();
        recorder.second.failed += count;
        if measured {
            recorder.attempts.failed += count;
            recorder.errors.add(failure, &self.target().persona, count);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut recorder = self.worker.recorder.borrow_mut();
        recorder.proof.add(self.class.get().unwrap_or(Interception::Unknown));
        if self.established.get() {
            recorder.open_connections = recorder.open_connections.saturating_sub(1);
        }
    }
}

/// Whether a whole response is the one asked for.
///
/// # Errors
/// The peer's [`Failure`].
pub fn judge(head: &ResponseHead, body: u64, expected: u64) -> Result<(), Failure> {
    use tbi_bench::control::engine::Cause;
    if head.status != 200 {
        return Err(Failure::peer(Cause::HttpStatus, format!("answered with status {} instead of 200", head.status)));
    }
    if body != expected {
        return Err(Failure::peer(Cause::BodyLength, format!("answered with {body} body bytes instead of {expected}")));
    }
    Ok(())
}

/// A start later than this is counted `late`.
const LATE: Duration = Duration::from_millis(1);

fn us(duration: Duration) -> u64 {
    // Histograms end at 60 s, far below 2^64 µs.
    duration.as_micros() as u64
}
