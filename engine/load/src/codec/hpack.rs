//! HPACK (RFC 7541): a decoder with the dynamic table other implementations use, and the few encodings our requests need.
//!
//! The encoder keeps no dynamic table: requests are prebuilt bytes. The decoder holds the dynamic table in one byte arena with the
//! oldest entry first; strings are decoded straight to the arena's end and stay there when they enter the table, so the steady state
//! neither allocates nor copies. Bounds: table 4096 bytes, one block 16 KiB decoded.

use std::collections::VecDeque;
use std::ops::Range;

use super::head::FieldName;
use super::prefixed::{Coding, PrimitiveError, Reader, write_integer, write_string};
use super::static_tables::HPACK as STATIC;

/// SETTINGS_HEADER_TABLE_SIZE we leave at its default (RFC 9113 §6.5.2), bytes.
pub const TABLE_SIZE: usize = 4096;
/// Most a block may decode to, counted as RFC 7541 §4.1 does (32 bytes extra per field).
pub const MAX_LIST: usize = 16 * 1024;
/// RFC 7541 §4.1.
const ENTRY_OVERHEAD: usize = 32;
/// When the arena is this long, dead bytes in front of the table are dropped before the next block.
const ARENA_TIDY: usize = 4 * TABLE_SIZE;

/// Why a block cannot be decoded. The compression state is lost: a connection error (RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// Integer or string.
    #[error(transparent)]
    Primitive(#[from] PrimitiveError),
    /// Index 0 or beyond both tables.
    #[error("an HPACK block refers to an entry that does not exist; the peer's encoder is broken")]
    Index,
    /// Above what we allow.
    #[error("an HPACK block raises the dynamic table above 4096 bytes; the peer's encoder is broken")]
    TableSize,
    /// RFC 7541 §4.2: only at the beginning of a block.
    #[error("an HPACK block changes the table size after its first field; the peer's encoder is broken")]
    LateTableSize,
    /// Decodes to more than [`MAX_LIST`].
    #[error("the HTTP/2 response headers decode to more than 16 KiB; look at the server or the device between")]
    TooLong,
}

/// A decoded field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// What it is to the engine.
    pub kind: FieldName,
    /// Name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

#[derive(Debug, Clone)]
enum Name {
    /// Row of the static table.
    Static(usize),
    /// Bytes of the arena.
    Arena(Range<usize>),
}

#[derive(Debug)]
struct Entry {
    name: Name,
    /// Judged once, when the entry is made.
    kind: FieldName,
    value: Range<usize>,
    size: usize,
}

/// Decoder of one connection's response direction.
#[derive(Debug)]
pub struct Decoder {
    /// Newest first, as HPACK counts.
    entries: VecDeque<Entry>,
    arena: Vec<u8>,
    size: usize,
    capacity: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Empty table of the default size.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: VecDeque::new(), arena: Vec::new(), size: 0, capacity: TABLE_SIZE }
    }

    /// Bytes in the dynamic table (RFC 7541 §4.1).
    #[must_use]
    pub fn table_size(&self) -> usize {
        self.size
    }

    /// Decodes one complete block and hands out its fields in order.
    ///
    /// # Errors
    /// [`HpackError`]; the decoder is of no use afterwards.
    pub fn decode(&mut self, block: &[u8], mut on_field: impl FnMut(Field<'_>)) -> Result<(), HpackError> {
        self.tidy();
        let mut reader = Reader::new(block);
        let mut budget = MAX_LIST;
        let mut fields_seen = false;
        while !reader.is_empty() {
            let first = reader.byte()?;
            if first & 0xe0 == 0x20 {
                // §6.3
                if fields_seen {
                    return Err(HpackError::LateTableSize);
                }
                self.resize(reader.integer(first, 5)?)?;
                continue;
            }
            fields_seen = true;
            if first & 0x80 != 0 {
                // §6.1
                let index = reader.integer(first, 7)?;
                let field = self.indexed(index)?;
                budget = spend(budget, field.name.len() + field.value.len())?;
                on_field(field);
                continue;
            }
            // §6.2.1 has a prefix of six bits, §6.2.2 and §6.2.3 of four.
            let (prefix, indexing) = if first & 0x40 != 0 { (6, true) } else { (4, false) };
            let index = reader.integer(first, prefix)?;
            self.literal(&mut reader, index, indexing, &mut budget, &mut on_field)?;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        reader: &mut Reader<'_>,
        index: usize,
        indexing: bool,
        budget: &mut usize,
        on_field: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        let start = self.arena.len();
        let (name, kind) = if index == 0 {
            let first = reader.byte()?;
            reader.string(first, 7, &mut self.arena, *budget)?;
            (Name::Arena(start..self.arena.len()), FieldName::classify(&self.arena[start..]))
        } else if index <= STATIC.len() {
            (Name::Static(index - 1), static_kind(index - 1))
        } else {
            let entry = self.entries.get(index - STATIC.len() - 1).ok_or(HpackError::Index)?;
            let kind = entry.kind;
            match entry.name.clone() {
                Name::Static(row) => (Name::Static(row), static_kind(row)),
                Name::Arena(bytes) => {
                    // The entry may be evicted by this very insertion (§4.4), so the name is copied.
                    self.arena.extend_from_within(bytes);
                    // A bad value taints the kind of its entry, not its name: judge the name again.
                    let kind =
                        if kind == FieldName::Malformed { FieldName::classify(&self.arena[start..]) } else { kind };
                    (Name::Arena(start..self.arena.len()), kind)
                }
            }
        };
        let value_start = self.arena.len();
        let first = reader.byte()?;
        reader.string(first, 7, &mut self.arena, *budget)?;
        let value = value_start..self.arena.len();
        let kind = kind.with_value(&self.arena[value.clone()]);
        let name_bytes = self.name(&name);
        let length = name_bytes.len() + value.len();
        *budget = spend(*budget, length)?;
        on_field(Field { kind, name: name_bytes, value: &self.arena[value.clone()] });
        let size = length + ENTRY_OVERHEAD;
        if indexing {
            self.evict_to(self.capacity.saturating_sub(size));
        }
        // §4.4: an entry larger than the table empties it and is not added.
        if indexing && size <= self.capacity {
            self.size += size;
            self.entries.push_front(Entry { name, kind, value, size });
        } else {
            self.arena.truncate(start);
        }
        Ok(())
    }

    fn indexed(&self, index: usize) -> Result<Field<'_>, HpackError> {
        let row = index.checked_sub(1).ok_or(HpackError::Index)?;
        if let Some(&(name, value)) = STATIC.get(row) {
            return Ok(Field { kind: static_kind(row), name, value });
        }
        let entry = self.entries.get(row - STATIC.len()).ok_or(HpackError::Index)?;
        Ok(Field { kind: entry.kind, name: self.name(&entry.name), value: &self.arena[entry.value.clone()] })
    }

    fn name(&self, name: &Name) -> &[u8] {
        match name {
            Name::Static(row) => STATIC[*row].0,
            Name::Arena(bytes) => &self.arena[bytes.clone()],
        }
    }

    fn resize(&mut self, capacity: usize) -> Result<(), HpackError> {
        if capacity > TABLE_SIZE {
            return Err(HpackError::TableSize);
        }
        self.capacity = capacity;
        self.evict_to(capacity);
        Ok(())
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size;
        }
    }

    /// Drops the arena's bytes in front of the oldest entry once they are worth a copy of the live ones (at most one table).
    fn tidy(&mut self) {
        if self.arena.len() < ARENA_TIDY {
            return;
        }
        let dead = self.entries.back().map_or(self.arena.len(), |oldest| match &oldest.name {
            Name::Static(_) => oldest.value.start,
            Name::Arena(bytes) => bytes.start,
        });
        self.arena.drain(..dead);
        let shift = |range: &mut Range<usize>| *range = range.start - dead..range.end - dead;
        for entry in &mut self.entries {
            shift(&mut entry.value);
            if let Name::Arena(bytes) = &mut entry.name {
                shift(bytes);
            }
        }
    }
}

fn spend(budget: usize, length: usize) -> Result<usize, HpackError> {
    budget.checked_sub(length + ENTRY_OVERHEAD).ok_or(HpackError::TooLong)
}

/// [`FieldName::classify`] of the static rows; a test compares the two.
fn static_kind(row: usize) -> FieldName {
    match row {
        // Request pseudo-headers and transfer-encoding have no place in a response.
        0..=6 | 56 => FieldName::Malformed,
        7..=13 => FieldName::Status,
        27 => FieldName::ContentLength,
        _ => FieldName::Other,
    }
}

/// Whether intermediaries may put a literal into their tables (RFC 7541 §6.2.2, §6.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// Not in ours; a device that encodes anew may.
    Without,
    /// Nowhere: the value is used once.
    Never,
}

impl Indexing {
    fn pattern(self) -> u8 {
        match self {
            Indexing::Without => 0x00,
            Indexing::Never => 0x10,
        }
    }
}

/// Appends an indexed field of the static table; `index` counts from 1.
pub fn write_indexed(index: usize, out: &mut Vec<u8>) {
    write_integer(0x80, 7, index, out);
}

/// Appends a literal whose name is in the static table.
pub fn write_named_literal(index: usize, value: &[u8], indexing: Indexing, coding: Coding, out: &mut Vec<u8>) {
    write_integer(indexing.pattern(), 4, index, out);
    write_string(0, 7, value, coding, out);
}

/// Appends a literal with its name.
pub fn write_literal(name: &[u8], value: &[u8], indexing: Indexing, coding: Coding, out: &mut Vec<u8>) {
    out.push(indexing.pattern());
    write_string(0, 7, name, Coding::Shortest, out);
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
