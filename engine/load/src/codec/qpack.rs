//! QPACK with the static table only (RFC 9204): field sections of responses, and the encodings our requests need.
//!
//! We announce a dynamic table of capacity 0, so a peer that refers to one is in error. No state between sections.

use super::head::FieldName;
use super::prefixed::{Coding, PrimitiveError, Reader, write_integer, write_string};
use super::static_tables::QPACK as STATIC;

pub use super::hpack::Field;

/// Most a section may decode to, counted as RFC 9114 §4.2.2 does (32 bytes extra per field).
pub const MAX_SECTION: usize = 16 * 1024;
const ENTRY_OVERHEAD: usize = 32;

/// Why a section cannot be decoded (error code QPACK_DECOMPRESSION_FAILED).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QpackError {
    /// Integer or string.
    #[error(transparent)]
    Primitive(#[from] PrimitiveError),
    /// Any reference to the dynamic table.
    #[error("a QPACK section refers to the dynamic table although its capacity is 0; the peer's encoder is broken")]
    DynamicReference,
    /// Static index above 98.
    #[error("a QPACK section refers to a static entry that does not exist; the peer's encoder is broken")]
    Index,
    /// Decodes to more than [`MAX_SECTION`].
    #[error("the HTTP/3 response headers decode to more than 16 KiB; look at the server or the device between")]
    TooLong,
}

/// Decodes one complete section and hands out its fields in order. `scratch` is for strings; keep it for the next section.
///
/// # Errors
/// [`QpackError`].
pub fn decode(section: &[u8], scratch: &mut Vec<u8>, mut on_field: impl FnMut(Field<'_>)) -> Result<(), QpackError> {
    let mut reader = Reader::new(section);
    // §4.5.1: without a dynamic table the required insert count is 0, and a negative base cannot be.
    let first = reader.byte()?;
    if reader.integer(first, 8)? != 0 {
        return Err(QpackError::DynamicReference);
    }
    let first = reader.byte()?;
    reader.integer(first, 7)?;
    if first & 0x80 != 0 {
        return Err(QpackError::DynamicReference);
    }
    let mut budget = MAX_SECTION;
    while !reader.is_empty() {
        let first = reader.byte()?;
        scratch.clear();
        match first {
            // §4.5.2
            0xc0..=0xff => {
                let row = reader.integer(first, 6)?;
                let &(name, value) = STATIC.get(row).ok_or(QpackError::Index)?;
                spend(&mut budget, name.len() + value.len())?;
                on_field(Field { kind: static_kind(row), name, value });
            }
            // §4.5.4
            0x50..=0x5f | 0x70..=0x7f => {
                let row = reader.integer(first, 4)?;
                let &(name, _) = STATIC.get(row).ok_or(QpackError::Index)?;
                let first = reader.byte()?;
                reader.string(first, 7, scratch, budget)?;
                spend(&mut budget, name.len() + scratch.len())?;
                on_field(Field { kind: static_kind(row).with_value(scratch), name, value: scratch });
            }
            // §4.5.6
            0x20..=0x3f => {
                reader.string(first, 3, scratch, budget)?;
                let name_len = scratch.len();
                let first = reader.byte()?;
                reader.string(first, 7, scratch, budget)?;
                spend(&mut budget, scratch.len())?;
                let (name, value) = scratch.split_at(name_len);
                on_field(Field { kind: FieldName::classify(name).with_value(value), name, value });
            }
            // §4.5.2 and §4.5.4 with T = 0, §4.5.3 and §4.5.5 (post-base).
            0x80..=0xbf | 0x40..=0x4f | 0x60..=0x6f | 0x00..=0x1f => return Err(QpackError::DynamicReference),
        }
    }
    Ok(())
}

fn spend(budget: &mut usize, length: usize) -> Result<(), QpackError> {
    *budget = budget.checked_sub(length + ENTRY_OVERHEAD).ok_or(QpackError::TooLong)?;
    Ok(())
}

/// [`FieldName::classify`] of the static rows; a test compares the two.
fn static_kind(row: usize) -> FieldName {
    match row {
        // Request pseudo-headers have no place in a response.
        0 | 1 | 15..=23 => FieldName::Malformed,
        24..=28 | 63..=71 => FieldName::Status,
        4 => FieldName::ContentLength,
        83 => FieldName::AltSvc,
        _ => FieldName::Other,
    }
}

/// Appends the prefix of a section without dynamic references (RFC 9204 §4.5.1).
pub fn write_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends an indexed field of the static table; `row` counts from 0.
pub fn write_indexed(row: usize, out: &mut Vec<u8>) {
    write_integer(0xc0, 6, row, out);
}

/// Appends a literal whose name is in the static table.
pub fn write_named_literal(row: usize, value: &[u8], out: &mut Vec<u8>) {
    write_integer(0x50, 4, row, out);
    write_string(0, 7, value, Coding::Shortest, out);
}

/// Appends a literal with its name. The N bit asks that it be indexed nowhere: such values are used once.
pub fn write_literal(name: &[u8], value: &[u8], coding: Coding, out: &mut Vec<u8>) {
    write_string(0x30, 3, name, Coding::Shortest, out);
    write_string(0, 7, value, coding, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_kinds_are_what_classify_says() {
        for (row, (name, _)) in STATIC.iter().enumerate() {
            assert_eq!(static_kind(row), FieldName::classify(name), "{}", String::from_utf8_lossy(name));
        }
    }
}
