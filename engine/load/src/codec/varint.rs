//! QUIC variable-length integers (RFC 9000 §16).

/// Largest value, 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Value and length of the integer at the beginning of `input`; `None` when it is cut.
#[must_use]
pub fn read(input: &[u8]) -> Option<(u64, usize)> {
    let &first = input.first()?;
    let length = 1usize << (first >> 6);
    let bytes = input.get(..length)?;
    let value = bytes[1..].iter().fold(u64::from(first & 0x3f), |value, &byte| value << 8 | u64::from(byte));
    Some((value, length))
}

/// Appends `value` in its shortest form; values above [`MAX`] are cut to it.
pub fn write(value: u64, out: &mut Vec<u8>) {
    let value = value.min(MAX);
    let bytes = value.to_be_bytes();
    match value {
        0..=0x3f => out.push(bytes[7]),
        0x40..=0x3fff => out.extend_from_slice(&[bytes[6] | 0x40, bytes[7]]),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&[bytes[4] | 0x80, bytes[5], bytes[6], bytes[7]]),
        _ => {
            out.push(bytes[0] | 0xc0);
            out.extend_from_slice(&bytes[1..]);
        }
    }
}
