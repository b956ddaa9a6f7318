//! Words for the practice DUT (REQUIREMENTS A14): a decrypting gateway whose behaviour is switched at run time.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/identity` | | [`Identity`] |
//! | `GET /v1/behaviour` | | [`Behaviour`] |
//! | `PUT /v1/behaviour` | [`Behaviour`] | 200 with the behaviour in force, after it is; running connections of the old one are closed |
//! | `GET /v1/counters` | | [`Counters`] |
//! | `GET /v1/ca.pem` | | CA certificate with which leaves are re-signed |
//!
//! It starts with `tbi-practice-dut --config FILE --socket PATH`, FILE being a [`PracticeDutConfig`] in JSON, inside the namespace
//! in which it is the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CpuTime;
use super::personas::KeyKind;
use crate::units::Span;

/// What the practice DUT needs to know of its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PracticeDutConfig {
    /// Interfaces towards the agents; only traffic that comes in there is inspected.
    pub inside_interfaces: Vec<String>,
    /// Interfaces towards the ISP.
    pub outside_interfaces: Vec<String>,
    /// PEM file with the persona CA, against which leg 2 is verified.
    pub persona_ca_file: String,
    /// Directory with the DUT's own `ca.pem` and `ca.key`; made with a new CA when empty.
    pub ca_dir: String,
    /// Key type of its CA and the leaves it forges.
    pub key: KeyKind,
    /// Worker threads; each has its own runtime and sockets.
    pub workers: u32,
}

/// What happens to TCP port 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TcpPolicy {
    /// Forwarded untouched.
    #[default]
    Route,
    /// Decrypted and re-encrypted (h1 and h2).
    Decrypt,
}

/// What happens to UDP port 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuicPolicy {
    /// Forwarded untouched.
    #[default]
    Route,
    /// Decrypted and re-encrypted (h3).
    Decrypt,
    /// Dropped without a word.
    BlockSilent,
    /// Refused with ICMP.
    BlockActive,
}

/// What happens to the Alt-Svc header of decrypted responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AltSvcPolicy {
    /// Passed on.
    #[default]
    Keep,
    /// Removed, so that clients never learn of HTTP/3. Needs [`TcpPolicy::Decrypt`].
    Strip,
}

/// How forged leaves are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forge {
    /// Once per name, then from memory.
    #[default]
    Warm,
    /// Anew for every connection.
    Cold,
}

/// How the client side mirrors what the server side negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mirror {
    /// Same ALPN and same TLS version on both legs.
    #[default]
    Faithful,
    /// Leg 1 always TLS 1.2 and HTTP/1.1 (TCP only): a downgrading device.
    Downgrade,
}

/// Packets an impairment applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// TCP and UDP port 443.
    #[default]
    All,
    /// UDP port 443 only.
    Quic,
    /// TCP port 443 only.
    Tcp,
}

/// The whole switchable behaviour. The default is a plain router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// TCP port 443.
    pub tcp: TcpPolicy,
    /// UDP port 443.
    pub quic: QuicPolicy,
    /// Alt-Svc of decrypted responses.
    pub alt_svc: AltSvcPolicy,
    /// Leaf cache.
    pub forge: Forge,
    /// Mirroring.
    pub mirror: Mirror,
    /// Share of packets dropped at random, per mille, both directions.
    pub drop_per_mille: u16,
    /// What `drop_per_mille` applies to.
    pub drop_scope: Scope,
    /// Each packet from outside to inside is held back this long.
    pub delay: Span,
    /// What `delay` applies to.
    pub delay_scope: Scope,
}

/// Who the device says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Identity {
    /// Maker.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Software version.
    pub version: String,
    /// SHA-256 of its CA certificate's DER, lower-case hex.
    pub ca_sha256: String,
    /// End of its CA certificate's validity, Unix seconds.
    pub ca_not_after: i64,
}

/// Counts since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Counters {
    /// TCP connections decrypted.
    pub tcp_decrypted: u64,
    /// QUIC connections decrypted.
    pub quic_decrypted: u64,
    /// Connections given up on, for whatever reason.
    pub failed: u64,
    /// Connections refused because the server's chain did not verify against the persona CA.
    pub upstream_untrusted: u64,
    /// Leaves forged.
    pub leaves_forged: u64,
    /// Packets dropped on purpose.
    pub packets_dropped: u64,
    /// Packets delayed on purpose.
    pub packets_delayed: u64,
    /// Packets lost against its will, because the delay line had no room for their announcement.
    pub packets_overrun: u64,
    /// CPU used.
    pub cpu: CpuTime,
}
