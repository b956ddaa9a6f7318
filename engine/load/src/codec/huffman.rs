//! The Huffman code of HPACK and QPACK (RFC 7541 Appendix B and §5.2).
//!
//! The code is canonical: within one length, codes ascend with the symbol. So only the lengths are written down here and the
//! compiler derives codes and decoding tables; a test compares with vectors of RFC 7541 Appendix C. Decoding never writes more than
//! the caller allows.

/// Code length in bits per symbol; the last is EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
const SYMBOLS: usize = LENGTHS.len();
const EOS: u16 = 256;
const LONGEST: usize = 30;
/// Codes up to this length are decoded with one table look-up; they cover letters, digits and common punctuation.
const SHORT: u32 = 8;

struct Canonical {
    /// Symbols ordered by code.
    ordered: [u16; SYMBOLS],
    /// Per length: position in `ordered` of its first symbol.
    first_symbol: [u16; LONGEST + 1],
    /// Per length: its first code.
    first_code: [u32; LONGEST + 1],
    /// Per length: first 32-bit left-aligned pattern that belongs to a longer code.
    limit: [u64; LONGEST + 1],
    /// Per symbol.
    codes: [u32; SYMBOLS],
    /// Per leading byte: symbol and length of a code of at most [`SHORT`] bits, or length 0.
    short: [(u8, u8); 1 << SHORT],
}

static CANONICAL: Canonical = {
    let mut built = Canonical {
        ordered: [0; SYMBOLS],
        first_symbol: [0; LONGEST + 1],
        first_code: [0; LONGEST + 1],
        limit: [0; LONGEST + 1],
        codes: [0; SYMBOLS],
        short: [(0, 0); 1 << SHORT],
    };
    let (mut code, mut position, mut length) = (0u32, 0usize, 1usize);
    while length <= LONGEST {
        code <<= 1;
        built.first_code[length] = code;
        built.first_symbol[length] = position as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                built.ordered[position] = symbol as u16;
                built.codes[symbol] = code;
                if length <= SHORT as usize {
                    let free = SHORT as usize - length;
                    let mut tail = 0;
                    while tail < 1 << free {
                        built.short[((code as usize) << free) | tail] = (symbol as u8, length as u8);
                        tail += 1;
                    }
                }
                position += 1;
                code += 1;
            }
            symbol += 1;
        }
        built.limit[length] = (code as u64) << (32 - length);
        length += 1;
    }
    built
};

/// The coded string is none (RFC 7541 §5.2), or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HuffmanError {
    /// The code for end-of-string inside the string.
    #[error("a Huffman-coded string contains the end-of-string code; the peer's encoder is broken")]
    EndOfString,
    /// More than seven padding bits, or padding that is not all ones.
    #[error("a Huffman-coded string ends in wrong padding; the peer's encoder is broken")]
    Padding,
    /// More than the caller allows.
    #[error(
        "a Huffman-coded string decodes to more bytes than the header limit allows; look at the server or the device between"
    )]
    TooLong,
}

/// Appends the decoded string, at most `limit` bytes.
///
/// # Errors
/// [`HuffmanError`]; `out` is as before.
pub fn decode(coded: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), HuffmanError> {
    let start = out.len();
    // No code is shorter than five bits, so this much room is enough and the loop need not grow the vector.
    let room = (coded.len() * 8 / 5).min(limit);
    out.resize(start + room, 0);
    let result = decode_into(coded, &mut out[start..]);
    out.truncate(start + result.unwrap_or(0));
    result.map(|_| ())
}

/// Bytes decoded to the beginning of `room`.
fn decode_into(coded: &[u8], room: &mut [u8]) -> Result<usize, HuffmanError> {
    // Left-aligned window over the input; `held` of its bits are input.
    let (mut window, mut held) = (0u64, 0u32);
    let mut rest = coded;
    let mut decoded = 0;
    loop {
        if held <= 32
            && let Some((&bytes, after)) = rest.split_first_chunk()
        {
            window |= u64::from(u32::from_be_bytes(bytes)) << (32 - held);
            held += 32;
            rest = after;
        } else {
            while held <= 56
                && let Some((&byte, after)) = rest.split_first()
            {
                window |= u64::from(byte) << (56 - held);
                held += 8;
                rest = after;
            }
        }
        // At least one long code or four short ones are in the window, or the input is used up.
        loop {
            let (symbol, length) = match CANONICAL.short[(window >> 56) as usize] {
                (_, 0) if held < LONGEST as u32 && !rest.is_empty() => break,
                (_, 0) => long_symbol(window)?,
                (symbol, length) => (symbol, u32::from(length)),
            };
            if length > held {
                break;
            }
            *room.get_mut(decoded).ok_or(HuffmanError::TooLong)? = symbol;
            decoded += 1;
            window <<= length;
            held -= length;
        }
        if rest.is_empty() {
            break;
        }
    }
    // The input is used up, so what is left is the padding.
    let ones = !(u64::MAX.checked_shr(held).unwrap_or(0));
    if held < 8 && window == ones { Ok(decoded) } else { Err(HuffmanError::Padding) }
}

/// Symbol and length of a code longer than [`SHORT`]. Bits past the end of input are zeros, so an incomplete code comes back as some
/// symbol whose length exceeds what is held.
fn long_symbol(window: u64) -> Result<(u8, u32), HuffmanError> {
    let head = window >> 32;
    for length in SHORT as usize + 1..=LONGEST {
        if head < CANONICAL.limit[length] {
            let code = (head >> (32 - length)) as u32;
            let offset = code - CANONICAL.first_code[length];
            let symbol = CANONICAL.ordered[usize::from(CANONICAL.first_symbol[length]) + offset as usize];
            return u8::try_from(symbol).map(|symbol| (symbol, length as u32)).map_err(|_| HuffmanError::EndOfString);
        }
    }
    // 30 ones or more: the table above is complete, so only EOS is left.
    Err(HuffmanError::EndOfString)
}

/// Appends the coded string.
pub fn encode(plain: &[u8], out: &mut Vec<u8>) {
    let (mut window, mut held) = (0u64, 0u32);
    for &byte in plain {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        window = (window << length) | u64::from(CANONICAL.codes[usize::from(byte)]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((window >> held) as u8);
        }
    }
    if held > 0 {
        let padding = 8 - held;
        // Padding is the beginning of EOS: ones.
        out.push(((window << padding) as u8) | ((1u16 << padding) - 1) as u8);
    }
}

/// Bytes [`encode`] would append.
#[must_use]
pub fn encoded_len(plain: &[u8]) -> usize {
    plain.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum::<usize>().div_ceil(8)
}

const _: () = assert!(CANONICAL.codes[EOS as usize] == 0x3fff_ffff, "RFC 7541 Appendix B: EOS is thirty ones");
