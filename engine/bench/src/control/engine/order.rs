//! What the engine is told to do in a trial.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::Object;
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
