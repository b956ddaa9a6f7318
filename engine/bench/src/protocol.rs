//! Small closed vocabularies that every room shares: protocol, address family, arm.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// HTTP version of a connection, named by its ALPN family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/3 over QUIC (RFC 9114).
    H3,
    /// HTTP/2 over TLS over TCP (RFC 9113).
    H2,
    /// HTTP/1.1 over TLS over TCP (RFC 9112).
    H1,
}

impl Protocol {
    /// All protocols, in the order in which reports show them.
    pub const ALL: [Protocol; 3] = [Protocol::H3, Protocol::H2, Protocol::H1];

    /// ALPN protocol id (RFC 7301 registry).
    #[must_use]
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Protocol::H3 => b"h3",
            Protocol::H2 => b"h2",
            Protocol::H1 => b"http/1.1",
        }
    }

    /// The protocol a negotiated ALPN id stands for.
    #[must_use]
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == alpn)
    }

    /// Short lower-case name, as in plans and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::H3 => "h3",
            Protocol::H2 => "h2",
            Protocol::H1 => "h1",
        }
    }

    /// Whether the connection rides on UDP.
    #[must_use]
    pub fn is_quic(self) -> bool {
        self == Protocol::H3
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a block stands for in the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The device decrypts (or shows whatever behaviour the plan calls ON).
    On,
    /// The device forwards without decrypting.
    Bypass,
    /// No device in the path (RFC 9411 §5).
    Reference,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arm::On => "on",
            Arm::Bypass => "bypass",
            Arm::Reference => "reference",
        })
    }
}
