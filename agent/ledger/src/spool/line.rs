//! A line of the spool: `v1 NUMBER CHECKSUM {JSON}`. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bytes::{Encoding, to_hex};

/// Longest line, line feed included.
pub const LONGEST: usize = 4096;

/// A finished unit of work, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTick {
    /// When it was finished.
    pub when: Timestamp,
    /// What kind of unit, for example `block`.
    pub kind: String,
    /// The run it belongs to.
    pub run: String,
    /// Names the unit within the run, so that one that was noted twice (the agent died between the noting and its answer) is known.
    pub unit: String,
    /// How much.
    pub quantity: u64,
}

/// A tick with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Grows by one, from 1; never used twice for different ticks that were confirmed.
    pub client_seq: u64,
    /// What.
    pub tick: NewTick,
}

/// A line is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TickError {
    /// Not of this form.
    #[error("it does not have the form 'v1 NUMBER CHECKSUM JSON'")]
    Form,
    /// Edited or torn.
    #[error("its checksum does not belong to it")]
    Checksum,
    /// Too long.
    #[error("it has more than {LONGEST} bytes; use shorter names")]
    TooLong,
}

fn checksum(seq: u64, json: &str) -> String {
    to_hex(&Encoding::of("tbi-tick-v1").number(seq).text(json).hash().0[..8])
}

/// A tick as a line with its line feed. Public for the fuzz target, which cannot guess checksums.
///
/// # Errors
/// [`TickError::TooLong`].
#[doc(hidden)]
pub fn write_tick(tick: &Tick) -> Result<String, TickError> {
    let json = serde_json::to_string(&tick.tick).map_err(|_| TickError::Form)?;
    let line = format!("v1 {} {} {json}\n", tick.client_seq, checksum(tick.client_seq, &json));
    if line.len() > LONGEST { Err(TickError::TooLong) } else { Ok(line) }
}

/// Reads a line without its line feed.
///
/// # Errors
/// [`TickError`].
pub fn parse_tick(line: &[u8]) -> Result<Tick, TickError> {
    if line.len() >= LONGEST {
        return Err(TickError::TooLong);
    }
    let mut parts = std::str::from_utf8(line).map_err(|_| TickError::Form)?.splitn(4, ' ');
    let (Some("v1"), Some(number), Some(sum), Some(json)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TickError::Form);
    };
    let client_seq: u64 = number.parse().map_err(|_| TickError::Form)?;
    if client_seq.to_string() != number {
        return Err(TickError::Form);
    }
    if checksum(client_seq, json) != sum {
        return Err(TickError::Checksum);
    }
    Ok(Tick { client_seq, tick: serde_json::from_str(json).map_err(|_| TickError::Form)? })
}
