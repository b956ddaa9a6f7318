//! Proof of decryption (REQUIREMENTS A4): did one TLS session span agent and persona, or two?
//!
//! Both ends derive keying material from their own TLS session with the same label and, as context, a token the agent chose
//! (RFC 5705, RFC 8446 §7.5). Only the two ends of the *same* session derive the same bytes. The persona returns
//! [`Echo::from_keying_material`]; the agent compares with its own. The class of a connection is decided here and nowhere else,
//! and every connection ends in exactly one class.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// Exporter label (RFC 5705 §4: labels that begin with `EXPORTER` may be used without registration in private).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-tlsstress-echo";
/// Bytes of keying material to export.
pub const KEYING_MATERIAL_LEN: usize = 32;

/// The request token: exporter context and correlation id of both legs. 16 bytes, 32 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

/// A persona's answer to a token: first 16 bytes of SHA-256 over the keying material, 32 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Echo([u8; 16]);

impl Token {
    /// Token of these bytes; they must be unpredictable enough not to repeat within a run.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Exporter context.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Wire form.
    #[must_use]
    pub fn to_hex(self) -> [u8; 32] {
        encode_hex(self.0)
    }

    /// Parses the wire form: exactly 32 hex digits of either case.
    #[must_use]
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        decode_hex(hex).map(Self)
    }
}

impl Echo {
    /// The echo both ends compute from [`KEYING_MATERIAL_LEN`] exported bytes.
    #[must_use]
    pub fn from_keying_material(material: &[u8; KEYING_MATERIAL_LEN]) -> Self {
        let digest = Sha256::digest(material);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }

    /// Wire form.
    #[must_use]
    pub fn to_hex(self) -> [u8; 32] {
        encode_hex(self.0)
    }

    /// Parses the wire form: exactly 32 hex digits of either case.
    #[must_use]
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        decode_hex(hex).map(Self)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", String::from_utf8_lossy(&self.to_hex()))
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Echo({})", String::from_utf8_lossy(&self.to_hex()))
    }
}

/// What is known about one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interception {
    /// One TLS session from agent to persona: not decrypted.
    EndToEnd,
    /// Two TLS sessions: something between terminated TLS.
    Intercepted,
    /// A response came, but without a well-formed echo: content altered, or not our persona.
    Altered,
    /// No response came, so nothing can be said.
    Unknown,
}

/// What came back on a connection, as far as proof is concerned.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Response headers arrived; the echo header's bytes if there was one.
    Response(Option<&'a [u8]>),
    /// The connection ended before response headers arrived.
    Nothing,
}

impl Interception {
    /// Classifies one connection from the agent's own echo and what came back.
    #[must_use]
    pub fn classify(own: Echo, answer: Answer<'_>) -> Self {
        match answer {
            Answer::Nothing => Interception::Unknown,
            Answer::Response(header) => match header.and_then(Echo::from_hex) {
                None => Interception::Altered,
                Some(echo) if echo == own => Interception::EndToEnd,
                Some(_) => Interception::Intercepted,
            },
        }
    }
}

/// Connections per class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct InterceptionCounts {
    /// Connections proven intercepted.
    pub intercepted: u64,
    /// Connections proven end to end.
    pub end_to_end: u64,
    /// Responses without a well-formed echo.
    pub altered: u64,
    /// Connections that gave no response.
    pub unknown: u64,
}

impl InterceptionCounts {
    /// Counts one connection.
    pub fn add(&mut self, class: Interception) {
        match class {
            Interception::EndToEnd => self.end_to_end += 1,
            Interception::Intercepted => self.intercepted += 1,
            Interception::Altered => self.altered += 1,
            Interception::Unknown => self.unknown += 1,
        }
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        self.intercepted += other.intercepted;
        self.end_to_end += other.end_to_end;
        self.altered += other.altered;
        self.unknown += other.unknown;
    }

    /// All connections.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.intercepted + self.end_to_end + self.altered + self.unknown
    }

    /// How many ended in `class`.
    #[must_use]
    pub fn of(&self, class: Interception) -> u64 {
        match class {
            Interception::EndToEnd => self.end_to_end,
            Interception::Intercepted => self.intercepted,
            Interception::Altered => self.altered,
            Interception::Unknown => self.unknown,
        }
    }
}

fn encode_hex(bytes: [u8; 16]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 32];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    hex
}

fn decode_hex(hex: &[u8]) -> Option<[u8; 16]> {
    let hex: &[u8; 32] = hex.try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_one_class() {
        let own = Echo::from_keying_material(&[1; 32]);
        let other = Echo::from_keying_material(&[2; 32]);
        let hex = own.to_hex();
        assert_eq!(Interception::classify(own, Answer::Response(Some(&hex))), Interception::EndToEnd);
        assert_eq!(Interception::classify(own, Answer::Response(Some(&other.to_hex()))), Interception::Intercepted);
        assert_eq!(Interception::classify(own, Answer::Response(Some(&hex[..31]))), Interception::Altered);
        assert_eq!(Interception::classify(own, Answer::Response(Some(b"zz"))), Interception::Altered);
        assert_eq!(Interception::classify(own, Answer::Response(None)), Interception::Altered);
        assert_eq!(Interception::classify(own, Answer::Nothing), Interception::Unknown);
    }

    #[test]
    fn hex_round_trips() {
        let token = Token::new(std::array::from_fn(|i| (i * 17) as u8));
        assert_eq!(Token::from_hex(&token.to_hex()), Some(token));
        assert_eq!(Token::from_hex(b"0011"), None);
    }
}
