//! What the engine tells of a trial: counts, timings, proof, corroboration, witnesses, seconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::CpuTime;
use crate::histogram::LatencyHistogram;
use crate::proof::InterceptionCounts;
use crate::units::Span;

/// Whether a trial has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TrialStatus {
    /// Phases are under way.
    Running {
        /// Time since the start of the init phase.
        elapsed: Span,
    },
    /// Ended; also when stopped early.
    Ended {
        /// What was measured.
        report: Box<TrialReport>,
    },
}

/// Whose fault an error is (STYLE 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The bench: out of ports, out of memory, a bug.
    Local,
    /// The path or the device in it: silence, reset, ICMP, verification failure.
    Path,
    /// The server: wrong status, wrong length, wrong protocol.
    Peer,
}

/// Why a transaction or connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No answer to SYN or Initial, or no end of the handshake in time.
    HandshakeTimeout,
    /// TCP RST or ICMP while connecting.
    ConnectRefused,
    /// No route, network unreachable.
    Unreachable,
    /// The chain did not verify against persona CA and DUT CA.
    CertificateUntrusted,
    /// The peer sent a TLS alert, or TLS failed otherwise.
    TlsFailure,
    /// The peer did not agree to the protocol asked for.
    AlpnMismatch,
    /// TCP RST after the connection was up.
    Reset,
    /// QUIC CONNECTION_CLOSE or stateless reset from the peer.
    QuicClosed,
    /// Closed before the response was whole.
    Truncated,
    /// Status other than 200.
    HttpStatus,
    /// Body length other than asked for.
    BodyLength,
    /// Bytes that are not the protocol.
    ProtocolViolation,
    /// No complete response in time.
    RequestTimeout,
    /// No source port or address left to bind.
    SourceExhausted,
    /// The engine could not allocate, open or bind.
    LocalResource,
}

/// A cause with its count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ErrorCount {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub fault: Fault,
    /// How often, in the sustain phase.
    pub count: u64,
    /// One example, with the target's name.
    pub example: String,
}

/// What was started and what became of it, sustain phase only. Nothing is dropped silently:
/// `scheduled = sent + skipped`, `sent = succeeded + failed + unfinished`, `late` is a part of `sent`.
///
/// All but `connections` count transactions. Open loop: an arrival with N transactions counts N, all at its intended start; what
/// a connection still owes when it ends early is `failed`. Closed loop: a connection's first transaction counts when the connection
/// starts, each later one when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Attempts {
    /// Arrivals the schedule asked for (open loop) or starts (closed loop).
    pub scheduled: u64,
    /// Started.
    pub sent: u64,
    /// Started more than 1 ms after their time.
    pub late: u64,
    /// Not started because the in-flight budget was used up.
    pub skipped: u64,
    /// Connections that reached the end of the handshake.
    pub connections: u64,
    /// Transactions asked for.
    pub transactions: u64,
    /// Whole, correct responses.
    pub succeeded: u64,
    /// Failed transactions, including those whose connection never came up.
    pub failed: u64,
    /// Still in flight when the ramp-down and the drain that follows it (3 s at most) ended.
    pub unfinished: u64,
}

/// Timings of the sustain phase, µs each. *Service* time counts from the actual start, *response* time from the intended one; in a
/// closed loop both are the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Timings {
    /// TCP SYN to connected; empty for h3.
    pub tcp_connect: LatencyHistogram,
    /// ClientHello to handshake complete; for h3 QUIC Initial to handshake complete.
    pub tls_handshake: LatencyHistogram,
    /// Actual start (SYN or Initial) to handshake complete.
    pub handshake_service: LatencyHistogram,
    /// Intended start to handshake complete.
    pub handshake_response: LatencyHistogram,
    /// Time to first byte of the first transaction of a connection as RFC 9411 §6.3 has it: actual start (SYN or Initial) to first byte.
    pub ttfb_service: LatencyHistogram,
    /// The same from the intended start.
    pub ttfb_response: LatencyHistogram,
    /// Actual start to last byte of the first transaction.
    pub ttlb_service: LatencyHistogram,
    /// The same from the intended start.
    pub ttlb_response: LatencyHistogram,
    /// Request sent to first byte, every transaction.
    pub request_ttfb: LatencyHistogram,
    /// Request sent to last byte, every transaction.
    pub request_ttlb: LatencyHistogram,
    /// Intended start to actual start (open loop only).
    pub schedule_lag: LatencyHistogram,
    /// DUT-added time (A9) of requests that carried a token: request sent to first byte less the persona's own share.
    pub dut_added: LatencyHistogram,
}

impl Timings {
    /// Adds every count of `other`; exact.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            tcp_connect,
            tls_handshake,
            handshake_service,
            handshake_response,
            ttfb_service,
            ttfb_response,
            ttlb_service,
            ttlb_response,
            request_ttfb,
            request_ttlb,
            schedule_lag,
            dut_added,
        } = self;
        for (mine, theirs) in [
            (tcp_connect, &other.tcp_connect),
            (tls_handshake, &other.tls_handshake),
            (handshake_service, &other.handshake_service),
            (handshake_response, &other.handshake_response),
            (ttfb_service, &other.ttfb_service),
            (ttfb_response, &other.ttfb_response),
            (ttlb_service, &other.ttlb_service),
            (ttlb_response, &other.ttlb_response),
            (request_ttfb, &other.request_ttfb),
            (request_ttlb, &other.request_ttlb),
            (schedule_lag, &other.schedule_lag),
            (dut_added, &other.dut_added),
        ] {
            mine.merge(theirs);
        }
    }
}

/// Corroborating observations of established connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Observed {
    /// Leaf chains to the persona CA.
    pub issuer_persona_ca: u64,
    /// Leaf chains to the DUT CA.
    pub issuer_dut_ca: u64,
    /// Negotiated TLS 1.3.
    pub tls13: u64,
    /// Negotiated TLS 1.2.
    pub tls12: u64,
    /// Handshakes that were resumed although nothing was offered; must be 0.
    pub resumed: u64,
    /// Responses with Alt-Svc (h1, h2).
    pub alt_svc: u64,
    /// QUIC packets sent and lost as the congestion controller counts them.
    pub quic_packets_sent: u64,
    /// See above.
    pub quic_packets_lost: u64,
    /// Fingerprint of the ClientHello the engine sends for this order ([`crate::fingerprint`]).
    pub client_hello: String,
}

/// How the engine's own machine felt during the sustain phase: witnesses that the bench was not the limit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Witness {
    /// CPU used by the engine.
    pub cpu: CpuTime,
    /// Busiest worker's CPU share of one core, 0..=1.
    pub busiest_worker: f64,
    /// Worker threads.
    pub workers: u32,
    /// Whether UDP segmentation offload was in use (h3).
    pub gso: bool,
    /// Datagrams the kernel dropped for want of receive buffer, whole engine namespace.
    pub udp_receive_drops: u64,
}

/// One second of a trial, any phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Tick {
    /// End of this second, since the start of the trial.
    pub at: Span,
    /// Whether it lies wholly in the sustain phase.
    pub sustain: bool,
    /// Length; the last tick may be shorter than 1 s.
    pub length: Span,
    /// Connections established.
    pub connections: u64,
    /// Transactions that succeeded.
    pub succeeded: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Body bytes received.
    pub body_bytes: u64,
    /// Open connections at its end.
    pub open_connections: u64,
    /// Median handshake (service), µs.
    pub handshake_p50_us: Option<u64>,
    /// Median time to first byte (service, first transaction), µs.
    pub ttfb_p50_us: Option<u64>,
    /// 99th percentile of the same, µs.
    pub ttfb_p99_us: Option<u64>,
}

/// What one trial measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct TrialReport {
    /// Id under which it was ordered.
    pub id: String,
    /// Whether it ran to its end or was stopped.
    pub stopped: bool,
    /// Measured length of the sustain phase.
    pub sustain: Span,
    /// Counts.
    pub attempts: Attempts,
    /// Failures by cause, most frequent first.
    pub errors: Vec<ErrorCount>,
    /// Body bytes of successful transactions in the sustain phase.
    pub body_bytes: u64,
    /// Timings.
    pub timings: Timings,
    /// Class of every connection that was opened (all phases: one misclassified in the ramp counts too).
    pub proof: InterceptionCounts,
    /// Corroboration.
    pub observed: Observed,
    /// Witnesses.
    pub witness: Witness,
    /// One per second, all phases.
    pub ticks: Vec<Tick>,
}
