//! Licence envelopes: a JSON text, signed with Ed25519 by an issuer whose public key the box knows. This file reads and judges them, pure;
//! [`store`] keeps the installed ones.
//!
//! The signature is over the text exactly as it is, never over a parsed form. Parsing is strict: unknown fields, sizes and forms out of
//! bounds are refused. Judging takes the highest time that was ever seen, so that a clock set back does not revive what has expired.

mod store;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Encoding, Hash, to_hex};

pub use store::Installed;
pub(crate) use store::{installed, see};

/// Largest document.
pub const LARGEST: usize = 32 * 1024;
/// Name and version of the format.
pub const FORMAT: &str = "tbi-licence-v1";

/// Whose envelopes are taken.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Vec<[u8; 32]>);

impl Issuers {
    /// From Ed25519 public keys.
    #[must_use]
    pub fn new(keys: Vec<[u8; 32]>) -> Self {
        Self(keys)
    }

    fn key(&self, id: &str) -> Option<&[u8; 32]> {
        self.0.iter().find(|key| issuer_id(key) == id)
    }
}

/// Short name of an issuer's key.
#[must_use]
pub fn issuer_id(public_key: &[u8; 32]) -> String {
    to_hex(&Hash::of(public_key).0[..16])
}

/// What an issuer signs for an envelope's text.
#[must_use]
pub fn signed_message(envelope: &str) -> Vec<u8> {
    Encoding::of(FORMAT).text(envelope).done()
}

/// The document as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`FORMAT`].
    pub format: String,
    /// Name of the issuer's key, see [`issuer_id`].
    pub issuer: String,
    /// [`Envelope`] as JSON text.
    pub envelope: String,
    /// Ed25519 over [`signed_message`].
    pub signature: Bytes,
}

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Unique among all envelopes.
    pub id: String,
    /// For whom.
    pub customer: String,
    /// What may be used.
    pub features: Vec<String>,
    /// Runs under way at once.
    pub concurrency: u32,
    /// Not before.
    pub not_before: Timestamp,
    /// Good until.
    pub expires: Timestamp,
    /// Days after it in which runs still start, with a warning.
    pub grace_days: u16,
    /// Test stress units that are granted, once, when it is installed.
    pub tsu: u64,
    /// Whether runs spend nothing.
    #[serde(default)]
    pub developer: bool,
}

/// A document that is none, or of nobody we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Too long.
    #[error("the licence file is larger than {LARGEST} bytes; send the file as you received it")]
    TooLarge,
    /// Not JSON of this shape.
    #[error("the licence file cannot be read ({0}); send the file as you received it")]
    Malformed(String),
    /// A value out of its bounds.
    #[error("the licence says something impossible about {field} ({why}); ask its issuer for another one")]
    OutOfBounds {
        /// Which.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// No such key here.
    #[error(
        "the licence is signed by issuer key {0}, which this appliance does not know; ask for one for this appliance"
    )]
    UnknownIssuer(String),
    /// The signature does not hold.
    #[error("the licence is forged or damaged: its signature does not hold; send the file as you received it")]
    Forged,
}

/// Reads a document without looking at its signature. For display and for fuzzing; whoever grants something uses [`open`].
///
/// # Errors
/// [`EnvelopeError`].
pub fn parse(document: &str) -> Result<(Document, Envelope), EnvelopeError> {
    if document.len() > LARGEST {
        return Err(EnvelopeError::TooLarge);
    }
    let malformed = |error: serde_json::Error| EnvelopeError::Malformed(error.to_string());
    let document: Document = serde_json::from_str(document).map_err(malformed)?;
    if document.format != FORMAT {
        return Err(EnvelopeError::OutOfBounds { field: "its format", why: "another version" });
    }
    let envelope: Envelope = serde_json::from_str(&document.envelope).map_err(malformed)?;
    check(&envelope)?;
    Ok((document, envelope))
}

/// Reads a document and proves its signature.
///
/// # Errors
/// [`EnvelopeError`].
pub fn open(document: &str, issuers: &Issuers) -> Result<Envelope, EnvelopeError> {
    let (document, envelope) = parse(document)?;
    let key = issuers.key(&document.issuer).ok_or(EnvelopeError::UnknownIssuer(document.issuer))?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&signed_message(&document.envelope), &document.signature.0)
        .map_err(|_| EnvelopeError::Forged)?;
    Ok(envelope)
}

fn check(envelope: &Envelope) -> Result<(), EnvelopeError> {
    let word = |text: &str, most: usize| {
        (1..=most).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let must = |held: bool, field, why| if held { Ok(()) } else { Err(EnvelopeError::OutOfBounds { field, why }) };
    must(word(&envelope.id, 64), "id", "1 to 64 letters, digits, dots, dashes")?;
    let customer = &envelope.customer;
    let printable = (1..=200).contains(&customer.len()) && !customer.chars().any(char::is_control);
    must(printable, "customer", "1 to 200 printable bytes")?;
    must(envelope.features.len() <= 64, "features", "at most 64")?;
    must(envelope.features.iter().all(|it| word(it, 64)), "features", "1 to 64 letters, digits, dots, dashes each")?;
    must((1..=1000).contains(&envelope.concurrency), "concurrency", "1 to 1000")?;
    must(envelope.not_before < envelope.expires, "expires", "it must be after not_before")?;
    must(envelope.grace_days <= 366, "grace_days", "at most 366")?;
    must(envelope.tsu <= 1_000_000_000_000, "tsu", "at most 10^12")
}

/// How an envelope stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In force.
    Valid,
    /// Expired, but runs still start.
    Grace {
        /// Until then.
        until: Timestamp,
    },
    /// Over.
    Expired {
        /// Since then, the days of grace included.
        since: Timestamp,
    },
    /// Not yet in force.
    NotYet {
        /// From then.
        from: Timestamp,
    },
    /// The signature does not hold.
    Forged,
    /// Signed by a key that is not known.
    UnknownIssuer,
    /// It cannot be read.
    Unreadable,
}

/// How a document stands at `now`, when `last_seen` is the highest time that was ever seen.
#[must_use]
pub fn judge(document: &str, issuers: &Issuers, now: Timestamp, last_seen: Timestamp) -> Standing {
    match open(document, issuers) {
        Ok(envelope) => judge_time(&envelope, now, last_seen),
        Err(EnvelopeError::Forged) => Standing::Forged,
        Err(EnvelopeError::UnknownIssuer(_)) => Standing::UnknownIssuer,
        Err(_) => Standing::Unreadable,
    }
}

/// How an envelope that is genuine stands.
#[must_use]
pub fn judge_time(envelope: &Envelope, now: Timestamp, last_seen: Timestamp) -> Standing {
    let now = now.max(last_seen);
    let grace = SignedDuration::from_hours(24 * i64::from(envelope.grace_days));
    let until = envelope.expires.checked_add(grace).unwrap_or(Timestamp::MAX);
    if now < envelope.not_before {
        Standing::NotYet { from: envelope.not_before }
    } else if now < envelope.expires {
        Standing::Valid
    } else if now < until {
        Standing::Grace { until }
    } else {
        Standing::Expired { since: until }
    }
}
