//! Which authority a verified chain ends in, by comparing raw issuer names: cheap enough for every connection.
//!
//! Does not verify anything: rustls has already done so when this is asked. Walks just enough DER to find the issuer, bounded by the
//! certificate's length, and never panics on garbage.

const SEQUENCE: u8 = 0x30;

/// Raw DER of the issuer name of a certificate (`Certificate.tbsCertificate.issuer`, RFC 5280 §4.1).
#[must_use]
pub fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    Some(tagged(SEQUENCE, tbs_fields(certificate)?)?.0)
}

/// Raw DER of the subject name.
#[must_use]
pub fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (_issuer, rest) = tagged(SEQUENCE, tbs_fields(certificate)?)?;
    let (_validity, rest) = tagged(SEQUENCE, rest)?;
    Some(tagged(SEQUENCE, rest)?.0)
}

/// What follows version, serial number and signature algorithm.
fn tbs_fields(certificate: &[u8]) -> Option<&[u8]> {
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let inner = content(certificate, SEQUENCE)?;
    let mut rest = content(inner, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = split(rest)?.1;
    }
    let (_serial, rest) = tagged(INTEGER, rest)?;
    let (_algorithm, rest) = tagged(SEQUENCE, rest)?;
    Some(rest)
}

fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (element, _rest) = tagged(tag, der)?;
    let (header, _length) = header(element)?;
    element.get(header..)
}

/// Splits one element of that tag from the rest. Without looking at tags an unexpected element would shift all that follow.
fn tagged(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    if der.first() == Some(&tag) { split(der) } else { None }
}

/// Splits one element, header included, from the rest.
fn split(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, length) = header(der)?;
    der.split_at_checked(header.checked_add(length)?)
}

/// Lengths of header and content; certificates need at most three length bytes.
fn header(der: &[u8]) -> Option<(usize, usize)> {
    let first = *der.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let bytes = usize::from(first & 0x7f);
    if !(1..=3).contains(&bytes) {
        return None;
    }
    let length = der.get(2..2 + bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    Some((2 + bytes, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_and_every_truncation_give_none_or_a_slice() {
        let bytes = [0x30, 0x0a, 0x30, 0x08, 0x02, 0x01, 0x01, 0x30, 0x00, 0x30, 0x01, 0x05];
        assert_eq!(issuer(&bytes), Some(&[0x30, 0x01, 0x05][..]));
        assert_eq!(subject(&bytes), None);
        for end in 0..bytes.len() {
            assert_eq!(subject(&bytes[..end]), None);
        }
        assert_eq!(issuer(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(issuer(&[0x30, 0x80]), None);
        // An element nobody expects before the serial number.
        assert_eq!(issuer(&[0x30, 0x0b, 0x30, 0x09, 0x80, 0x00, 0x02, 0x00, 0x30, 0x00, 0x30, 0x01, 0x05]), None);
    }
}
