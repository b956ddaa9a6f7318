//! What the engine keeps of a response head, the same for the three protocols: status, length, and the headers in which
//! persona and engine talk ([`tbi_bench::wire`]), in fixed buffers.
//!
//! Everything else in a head is checked for form and dropped. Header values come from outside, so their room is bounded: a
//! value too long for its buffer counts as present but unreadable, which for the echo means "altered" and never a panic.

use std::fmt;

/// A header value in place. Repeated headers are joined with `, ` (RFC 9110 §5.3).
#[derive(Clone, Copy)]
pub struct Value<const N: usize> {
    bytes: [u8; N],
    len: usize,
    state: Presence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    Present,
    Overlong,
}

impl<const N: usize> Value<N> {
    /// The value; `None` when the header was missing or longer than `N` bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        (self.state == Presence::Present).then(|| &self.bytes[..self.len])
    }

    /// Whether the header was there at all, readable or not.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.state != Presence::Absent
    }

    fn clear(&mut self) {
        self.state = Presence::Absent;
        self.len = 0;
    }

    fn add(&mut self, value: &[u8]) {
        let separator: &[u8] = if self.state == Presence::Absent { b"" } else { b", " };
        let (middle, end) = (self.len + separator.len(), self.len + separator.len() + value.len());
        if self.state == Presence::Overlong || end > N {
            self.state = Presence::Overlong;
            return;
        }
        self.bytes[self.len..middle].copy_from_slice(separator);
        self.bytes[middle..end].copy_from_slice(value);
        self.len = end;
        self.state = Presence::Present;
    }
}

impl<const N: usize> Default for Value<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0, state: Presence::Absent }
    }
}

impl<const N: usize> PartialEq for Value<N> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state && self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for Value<N> {}

impl<const N: usize> fmt::Debug for Value<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_bytes() {
            Some(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            None if self.is_present() => f.write_str("overlong"),
            None => f.write_str("absent"),
        }
    }
}

/// The interesting part of a final response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHead {
    /// Status code, 200–999 (an interim head is never handed out).
    pub status: u16,
    /// `Content-Length`, bytes.
    pub content_length: Option<u64>,
    /// [`tbi_bench::wire::ECHO_HEADER`].
    pub echo: Value<64>,
    /// [`tbi_bench::wire::SERVER_TIMING_HEADER`].
    pub server_timing: Value<192>,
    /// Whether `Alt-Svc` (RFC 7838) was present.
    pub alt_svc: bool,
}

impl ResponseHead {
    pub(crate) fn clear(&mut self) {
        self.status = 0;
        self.content_length = None;
        self.echo.clear();
        self.server_timing.clear();
        self.alt_svc = false;
    }

    /// Whether a response with this status has no body whatever its headers say (RFC 9112 §6.3 rule 1, RFC 9110 §15.4.5).
    pub(crate) fn is_bodiless(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    /// Takes one of the headers of interest over.
    pub(crate) fn set(&mut self, name: FieldName, value: &[u8]) -> Result<(), Malformed> {
        match name {
            FieldName::ContentLength => {
                let length = parse_length(value).ok_or(Malformed::ContentLength)?;
                if self.content_length.is_some_and(|earlier| earlier != length) {
                    return Err(Malformed::ConflictingLengths);
                }
                self.content_length = Some(length);
            }
            FieldName::Echo => self.echo.add(value),
            FieldName::ServerTiming => self.server_timing.add(value),
            FieldName::AltSvc => self.alt_svc = true,
            FieldName::Status | FieldName::Other | FieldName::Malformed => {}
        }
        Ok(())
    }
}

/// What is wrong with a response, whatever protocol carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A name or value with bytes it may not have, or a header that may not be there (RFC 9113 §8.2, RFC 9114 §4.2).
    #[error("the response has a malformed or forbidden header field; look at the server or the device between")]
    Field,
    /// A pseudo-header that is unknown, repeated, late, or in trailers.
    #[error(
        "the response has a pseudo-header that is unknown, repeated or out of place; look at the server or the device between"
    )]
    PseudoHeader,
    /// No or no valid `:status`.
    #[error("the response has no valid status code; look at the server or the device between")]
    Status,
    /// 101 answers an upgrade that was never asked for.
    #[error(
        "the response switches protocols although no upgrade was asked for; look at the server or the device between"
    )]
    SwitchingProtocols,
    /// Not a decimal number below 2^63.
    #[error(
        "the content-length of the response is not a decimal number below 2^63; look at the server or the device between"
    )]
    ContentLength,
    /// Two different lengths.
    #[error("the response has two content-length values that differ; look at the server or the device between")]
    ConflictingLengths,
    /// The body ended early or went on.
    #[error("the response body is not as long as its content-length says; look at the server or the device between")]
    BodyLength,
}

/// Decimal digits only, below 2^63: a length that counters can add without care.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut length: u64 = 0;
    for &byte in value {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length = length.checked_mul(10)?.checked_add(digit)?;
    }
    (length < 1 << 63).then_some(length)
}

/// Three digits, 100–999 (RFC 9110 §15: anything from 600 on is to be treated like a 5xx, not refused).
pub(crate) fn parse_status(value: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = value.try_into().ok()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    (status >= 100).then_some(status)
}

/// A field name as far as the engine cares, for compressed heads (HTTP/2, HTTP/3) whose tables know it by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// `:status`.
    Status,
    /// `content-length`.
    ContentLength,
    /// The persona's echo.
    Echo,
    /// `server-timing`.
    ServerTiming,
    /// `alt-svc`.
    AltSvc,
    /// Well-formed and of no interest.
    Other,
    /// Name or value must not occur in a response (RFC 9113 §8.2, RFC 9114 §4.2).
    Malformed,
}

impl FieldName {
    /// Classifies a lower-case field name.
    #[must_use]
    pub fn classify(name: &[u8]) -> Self {
        match name {
            b":status" => FieldName::Status,
            b"alt-svc" => FieldName::AltSvc,
            b"server-timing" => FieldName::ServerTiming,
            b"content-length" => FieldName::ContentLength,
            b"x-tlsstress-echo" => FieldName::Echo,
            // Connection-specific fields make a response malformed (RFC 9113 §8.2.2, RFC 9114 §4.2).
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
                FieldName::Malformed
            }
            _ if !name.is_empty() && name.iter().all(|&byte| is_token(byte) && !byte.is_ascii_uppercase()) => {
                FieldName::Other
            }
            // Also every other pseudo-header: ':' is no token character.
            _ => FieldName::Malformed,
        }
    }

    /// `Malformed` when the value is (RFC 9113 §8.2.1), else unchanged.
    #[must_use]
    pub fn with_value(self, value: &[u8]) -> Self {
        if is_compressed_value(value) { self } else { FieldName::Malformed }
    }
}

/// No control characters, no space at either end.
fn is_compressed_value(value: &[u8]) -> bool {
    let padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_field_value(value) && !padded(value.first()) && !padded(value.last())
}

/// RFC 9110 §5.5: visible characters, spaces, tabs and obs-text. Written without early exit so that it vectorises.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    !value.iter().fold(false, |bad, &byte| bad | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f))
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"!#$%&'*+-.^_`|~";
        let mut index = 0;
        while index < others.len() {
            table[others[index] as usize] = true;
            index += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// Checks the order and form of a compressed head or trailer section while its fields arrive (RFC 9113 §8.3, RFC 9114 §4.3).
///
/// Fields go on being decoded after the first mistake, because the compression state must stay in step; the mistake is
/// kept and handed out at the end.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    head: Option<&'a mut ResponseHead>,
    regular_seen: bool,
    mistake: Option<Malformed>,
}

impl<'a> Section<'a> {
    /// A response head, written into `head`.
    pub(crate) fn head(head: &'a mut ResponseHead) -> Self {
        head.clear();
        Self { head: Some(head), regular_seen: false, mistake: None }
    }

    /// Trailers: checked and dropped.
    pub(crate) fn trailers() -> Self {
        Self { head: None, regular_seen: false, mistake: None }
    }

    /// One field line.
    pub(crate) fn field(&mut self, name: FieldName, value: &[u8]) {
        let result = match (name, &mut self.head) {
            (FieldName::Malformed, _) => Err(Malformed::Field),
            (FieldName::Status, Some(head)) if !self.regular_seen && head.status == 0 => match parse_status(value) {
                Some(status) => {
                    head.status = status;
                    Ok(())
                }
                None => Err(Malformed::Status),
            },
            (FieldName::Status, _) => Err(Malformed::PseudoHeader),
            (_, head) => {
                self.regular_seen = true;
                head.as_mut().map_or(Ok(()), |head| head.set(name, value))
            }
        };
        if let Err(mistake) = result {
            self.mistake.get_or_insert(mistake);
        }
    }

    /// The verdict.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        match (self.mistake, self.head) {
            (Some(mistake), _) => Err(mistake),
            (None, Some(head)) if head.status == 0 => Err(Malformed::Status),
            (None, Some(head)) if head.status == 101 => Err(Malformed::SwitchingProtocols),
            (None, _) => Ok(()),
        }
    }
}
