//! The lines of an exported chain. Each is one JSON object with one key that says what it is. Pure; usable without a database.
//!
//! Invariant: a line has exactly one spelling. What is read is written again and compared, so that white space, escapes, the order of the
//! fields and the spelling of numbers cannot be changed without being found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Anchor, Checkpoint, Entry};
use crate::bytes::{Bytes, Encoding, Hash};

/// Name and version of the format.
pub const FORMAT: &str = "tbi-audit-v1";
/// Longest line: eight fields and a detail of their greatest length, each character escaped.
pub const LONGEST_LINE: usize = 256 * 1024;

/// First line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The box.
    #[serde(rename = "box")]
    pub box_id: String,
    /// Name of the database's chain.
    pub chain: String,
    /// Name of the key that signs the end.
    pub key_id: String,
    /// That key (SubjectPublicKeyInfo).
    pub public_key: Bytes,
}

/// Last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Entries in the file.
    pub count: u64,
    /// Number of the last entry of the chain at the time of the export.
    pub seq: u64,
    /// Hash of it.
    pub head: Hash,
    /// Checkpoints in the file.
    pub checkpoints: u64,
    /// SHA-256 of all bytes before this line.
    pub digest: Hash,
    /// The caller's clock.
    pub when: Timestamp,
    /// Over all of this and the header.
    pub signature: Bytes,
}

impl End {
    pub(crate) fn message(&self, header: &Header) -> Vec<u8> {
        Encoding::of("tbi-audit-end-v1")
            .text(&header.format)
            .text(&header.box_id)
            .text(&header.chain)
            .bytes(&header.public_key.0)
            .number(self.count)
            .number(self.seq)
            .bytes(&self.head.0)
            .number(self.checkpoints)
            .bytes(&self.digest.0)
            .text(&self.when.to_string())
            .done()
    }
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// First.
    Header(Header),
    /// Second, when entries were pruned.
    Anchor(Anchor),
    /// In order.
    Entry(Entry),
    /// Behind the entry it signs.
    Checkpoint(Checkpoint),
    /// Last.
    End(End),
}

/// A line is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Too long.
    #[error("it is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// Not JSON of this shape.
    #[error("it is not a line of this format ({0})")]
    Malformed(String),
    /// The same content in another spelling.
    #[error("it is spelt in another way than the appliance writes it")]
    NotCanonical,
}

/// Reads a line without its line feed.
///
/// # Errors
/// [`LineError`].
pub fn parse_line(bytes: &[u8]) -> Result<Line, LineError> {
    if bytes.len() > LONGEST_LINE {
        return Err(LineError::TooLong);
    }
    let line: Line = serde_json::from_slice(bytes).map_err(|error| LineError::Malformed(error.to_string()))?;
    let spelt = write_line(&line)?;
    if spelt.strip_suffix(b"\n") == Some(bytes) { Ok(line) } else { Err(LineError::NotCanonical) }
}

/// A line with its line feed.
pub(crate) fn write_line(line: &Line) -> Result<Vec<u8>, LineError> {
    let mut bytes = serde_json::to_vec(line).map_err(|error| LineError::Malformed(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
