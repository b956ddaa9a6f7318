//! Words for the load engine. It runs one *trial* at a time (RFC 9411's word for one run of the four phases) and knows nothing of
//! arms, pairs or campaigns.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `PUT /v1/trials/{id}` | [`TrialOrder`] | 202; 409 `busy` when another trial runs; repeating the same id is harmless |
//! | `GET /v1/trials/{id}` | | [`TrialStatus`] |
//! | `GET /v1/trials/{id}/ticks` | | SSE: event `tick` ([`Tick`]) once a second, `bye` at the end |
//! | `DELETE /v1/trials/{id}` | | stops early; the report says `stopped` |
//! | `POST /v1/probes` | [`ProbeOrder`] | [`ProbeReport`] when all probes ended |

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CpuTime;
use crate::histogram::LatencyHistogram;
use crate::object::Object;
use crate::proof::{Interception, InterceptionCounts};
use crate::protocol::Protocol;
use crate::units::{Rate, Span};

/// One server to send to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name in the catalogue, for counters and errors.
    pub persona: String,
    /// Where to connect; port is [`crate::wire::PORT`] unless `port` says otherwise.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// TCP and UDP port.
    pub port: u16,
    /// SNI and `Host`/`:authority`.
    pub server_name: String,
}

/// Which authorities the engine trusts, and how it names them in its counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Persona CA, PEM, one or more certificates.
    pub persona_ca_pem: String,
    /// CA with which the device re-signs, PEM; `None` means that intercepted connections fail verification, and say so.
    pub dut_ca_pem: Option<String>,
}

/// How connections and transactions are started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// Open loop: starts at scheduled times whatever happened to earlier ones ([`crate::schedule`]).
    /// Each arrival is one connection (with [`TrialOrder::transactions_per_connection`] transactions).
    Open {
        /// Arrivals per second, all workers together.
        rate: Rate,
        /// Distribution of gaps.
        arrivals: Arrivals,
        /// Arrivals that may be in flight at once; one that finds the budget used up is counted `skipped`.
        max_in_flight: u32,
    },
    /// Closed loop: so many connections, each starting again when it ends.
    Closed {
        /// Connections held at once, all workers together.
        connections: u32,
        /// Requests in flight on each connection (streams for h2 and h3; must be 1 for h1).
        streams: u32,
    },
}

/// Distribution of gaps between arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps.
    Poisson,
}

/// Lengths of the phases of RFC 9411 §4.3.4. Only the sustain phase is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// No traffic.
    pub init: Span,
    /// From nothing to the target load.
    pub ramp_up: Span,
    /// Constant load; all KPIs come from here.
    pub sustain: Span,
    /// Back to nothing; what is in flight may end.
    pub ramp_down: Span,
}

/// TLS versions offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum TlsVersions {
    /// Only TLS 1.3 (always so for h3).
    #[serde(rename = "1.3")]
    Tls13,
    /// Only TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
}

/// Cipher suites offered (names of rustls and IANA without the `TLS_` prefix for 1.2 key exchange, which follows the certificate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CipherSuite {
    /// AES-128-GCM with SHA-256.
    Aes128Gcm,
    /// AES-256-GCM with SHA-384.
    Aes256Gcm,
    /// ChaCha20-Poly1305 with SHA-256.
    Chacha20Poly1305,
}

/// Key-exchange groups offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum Group {
    /// X25519.
    #[serde(rename = "x25519")]
    X25519,
    /// NIST P-256.
    #[serde(rename = "p256")]
    P256,
    /// NIST P-384.
    #[serde(rename = "p384")]
    P384,
    /// X25519MLKEM768, post-quantum hybrid.
    #[serde(rename = "x25519mlkem768")]
    X25519MlKem768,
}

/// What the engine offers in its ClientHello. Full handshakes always: no resumption, no early data (RFC 9411 §4.3.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsProfile {
    /// Versions.
    pub versions: TlsVersions,
    /// Suites, most wanted first.
    pub suites: Vec<CipherSuite>,
    /// Groups, most wanted first.
    pub groups: Vec<Group>,
}

impl Default for TlsProfile {
    /// TLS 1.3, AES-128-GCM, X25519: what most of the web negotiates and one suite on both arms.
    fn default() -> Self {
        Self { versions: TlsVersions::Tls13, suites: vec![CipherSuite::Aes128Gcm], groups: vec![Group::X25519] }
    }
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialOrder {
    /// Protocol of every connection.
    pub protocol: Protocol,
    /// What is fetched.
    pub object: Object,
    /// Load model.
    pub load: Load,
    /// Transactions on each connection before it is closed cleanly; 0 means until the end of the trial.
    pub transactions_per_connection: u32,
    /// Phases.
    pub phases: Phases,
    /// Targets, used in rotation from a seeded start.
    pub targets: Vec<Target>,
    /// Source addresses; the engine binds each connection to one of them, of the family of the target. Empty: the kernel chooses.
    #[schema(value_type = Vec<String>)]
    #[schemars(with = "Vec<String>")]
    pub sources: Vec<IpNet>,
    /// Trust.
    pub trust: Trust,
    /// ClientHello.
    pub tls: TlsProfile,
    /// From start to end of handshake at most.
    pub handshake_timeout: Span,
    /// From request to last byte at most.
    pub request_timeout: Span,
    /// Seed of everything random: gaps, target rotation, tokens.
    pub seed: u64,
}

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

/// A few connections whose every detail is wanted: to verify a mode before measuring and to find the QUIC class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeOrder {
    /// Protocol of every probe.
    pub protocol: Protocol,
    /// Targets; each gets `per_target` probes.
    pub targets: Vec<Target>,
    /// Probes per target.
    pub per_target: u32,
    /// Probes under way at once.
    pub parallel: u32,
    /// When an h3 probe gives up (or is refused), try h2 to the same target and time it: the fallback penalty.
    pub fall_back: bool,
    /// Source addresses, as in [`TrialOrder::sources`].
    #[schema(value_type = Vec<String>)]
    #[schemars(with = "Vec<String>")]
    pub sources: Vec<IpNet>,
    /// Trust.
    pub trust: Trust,
    /// ClientHello.
    pub tls: TlsProfile,
    /// Give up after.
    pub timeout: Span,
    /// Seed for tokens.
    pub seed: u64,
}

/// Result of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Probe {
    /// Target's persona.
    pub persona: String,
    /// Class.
    pub interception: Interception,
    /// Failure, when there was no whole response.
    pub failure: Option<ProbeFailure>,
    /// Start to handshake complete.
    pub handshake: Option<Span>,
    /// Start to first byte.
    pub ttfb: Option<Span>,
    /// Issuer common name of the leaf.
    pub issuer: Option<String>,
    /// Whether Alt-Svc was on the response (h1, h2).
    pub alt_svc: Option<bool>,
    /// What the persona says it saw of this connection (`GET /saw` on the same connection).
    pub saw: Option<super::personas::Saw>,
    /// Fingerprint of the ClientHello sent.
    pub client_hello: String,
    /// QUIC packets sent and lost on this connection.
    pub quic_packets: Option<(u64, u64)>,
    /// The h2 attempt after an h3 failure.
    pub fallback: Option<Fallback>,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ProbeFailure {
    /// Cause.
    pub cause: Cause,
    /// Whose fault.
    pub fault: Fault,
    /// ICMP or CONNECTION_CLOSE told us rather than silence.
    pub active: bool,
    /// After how long.
    pub after: Span,
    /// In words.
    pub detail: String,
}

/// The h2 attempt that followed a failed h3 attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Fallback {
    /// Class of the h2 connection.
    pub interception: Interception,
    /// From the start of the *h3* attempt to the first byte over h2; `None` if h2 failed too.
    pub ttfb_from_quic_start: Option<Span>,
    /// From the start of the h2 attempt to its first byte.
    pub ttfb: Option<Span>,
}

/// All probes of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ProbeReport {
    /// One per probe, in the order in which they ended.
    pub probes: Vec<Probe>,
}
