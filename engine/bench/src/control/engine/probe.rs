//! Probes: a few connections whose every detail is wanted.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Fault, Target, TlsProfile, Trust};
use crate::control::personas::Saw;
use crate::proof::Interception;
use crate::protocol::Protocol;
use crate::units::Span;

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
    /// Source addresses, as in [`super::TrialOrder::sources`].
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
    pub saw: Option<Saw>,
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
