//! Prefixed integers and string literals, as HPACK (RFC 7541 §5) and QPACK (RFC 9204 §4.1) share them.
//!
//! Decoding reads from a complete field block; integers above 2^30 are refused, which no length or index of ours reaches.

use super::huffman::{self, HuffmanError};

/// Largest integer accepted.
const MAX: u64 = 1 << 30;

/// Why a primitive cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrimitiveError {
    /// The block ends inside.
    #[error("a header block ends inside an integer or string; the peer's encoder is broken")]
    Truncated,
    /// Above 2^30.
    #[error("an integer in a header block is above 2^30; the peer's encoder is broken")]
    Overflow,
    /// Longer than the header limit.
    #[error("a string in a header block is longer than the header limit; look at the server or the device between")]
    TooLong,
    /// Huffman coding.
    #[error(transparent)]
    Huffman(#[from] HuffmanError),
}

/// Cursor over a complete field block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, PrimitiveError> {
        let (&byte, rest) = self.rest.split_first().ok_or(PrimitiveError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// The integer that begins in the low `prefix` bits (1–8) of `first`, which is already read.
    pub(crate) fn integer(&mut self, first: u8, prefix: u32) -> Result<usize, PrimitiveError> {
        let mask = (1u64 << prefix) - 1;
        let mut value = u64::from(first) & mask;
        if value < mask {
            return Ok(value as usize);
        }
        // Five continuation bytes carry 35 bits; more could only be zeros or too large.
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if value > MAX {
                return Err(PrimitiveError::Overflow);
            }
            if byte & 0x80 == 0 {
                return Ok(value as usize);
            }
        }
        Err(PrimitiveError::Overflow)
    }

    /// The string whose length begins in the low `prefix` bits of `first`, with the Huffman flag in the bit above: appended
    /// to `out`, at most `limit` bytes.
    pub(crate) fn string(
        &mut self,
        first: u8,
        prefix: u32,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), PrimitiveError> {
        let length = self.integer(first, prefix)?;
        let (raw, rest) = self.rest.split_at_checked(length).ok_or(PrimitiveError::Truncated)?;
        self.rest = rest;
        if first & (1 << prefix) != 0 {
            Ok(huffman::decode(raw, out, limit)?)
        } else if raw.len() > limit {
            Err(PrimitiveError::TooLong)
        } else {
            out.extend_from_slice(raw);
            Ok(())
        }
    }
}

/// Appends an integer with a prefix of `prefix` bits (1–8); `pattern` holds the bits above the prefix.
pub fn write_integer(pattern: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How a string literal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Huffman where that is shorter.
    Shortest,
    /// As it is: the length does not depend on the bytes.
    Raw,
}

/// Appends a string literal with a length prefix of `prefix` bits (1–7), the Huffman flag in the bit above, and `pattern` above that.
pub fn write_string(pattern: u8, prefix: u32, text: &[u8], coding: Coding, out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coding == Coding::Shortest && coded < text.len() {
        write_integer(pattern | 1 << prefix, prefix, coded, out);
        huffman::encode(text, out);
    } else {
        write_integer(pattern, prefix, text.len(), out);
        out.extend_from_slice(text);
    }
}
