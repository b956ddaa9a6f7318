//! QUIC behaviour class of a path (REQUIREMENTS A6, facts: RFC 9312 §4.6): what the device does with HTTP/3, from probes alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// The classes; a path is classified before it is measured and never averaged over classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuicClass {
    /// HTTP/3 is decrypted and re-encrypted.
    Decrypt,
    /// HTTP/3 passes end to end and stays on offer.
    Pass,
    /// QUIC is dropped without a word.
    BlockSilent,
    /// QUIC is refused by ICMP or CONNECTION_CLOSE.
    BlockActive,
    /// The offer of HTTP/3 (Alt-Svc) is removed from responses.
    Strip,
    /// QUIC passes, but with loss or failures.
    Degrade,
    /// Some connections are intercepted and some are not, or too few probes gave an answer.
    Mixed,
}

/// What became of the Alt-Svc header personas always send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AltSvc {
    /// On every response.
    Kept,
    /// On none or not on all.
    Stripped,
    /// No response to look at.
    Unseen,
}

/// What users pay when HTTP/3 fails and HTTP/2 takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FallbackPenalty {
    /// Median of (start of the h3 attempt to first byte over h2) less the median time to first byte of h2 alone.
    pub median: Span,
    /// Probes it rests on.
    pub samples: u32,
}

/// Class with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuicVerdict {
    /// Class.
    pub class: QuicClass,
    /// The counts it rests on, one sentence.
    pub evidence: String,
    /// Alt-Svc.
    pub alt_svc: AltSvc,
    /// Fallback penalty, when h3 failed and h2 worked.
    pub fallback_penalty: Option<FallbackPenalty>,
    /// Personas whose probes were unlike the others.
    pub leaks: Vec<String>,
}
