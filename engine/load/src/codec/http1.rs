//! HTTP/1.1 client framing (RFC 9112): prebuilt requests, and a response parser that takes chunks cut anywhere.
//!
//! One response at a time (the engine does not pipeline). Bodies are counted, never kept. The parser is strict: what
//! RFC 9112 lets a client tolerate but two parties could read differently (bare CR or LF, obs-fold, two lengths, a length
//! beside a transfer coding, spaces before the colon) is an error, because a device between that rewrites HTTP must be seen.
//! Invariants: the result does not depend on where the input is cut; at most [`MAX_HEAD`] bytes are ever held; in the
//! steady state nothing is allocated.

use super::head::{FieldName, Malformed, ResponseHead, is_field_value, is_token, parse_status};
use super::request::{Prebuilt, Request, TokenHex, USER_AGENT};
use tbi_bench::wire::{ECHO_HEADER, SERVER_TIMING_HEADER, TOKEN_HEADER};

/// Longest head, and longest trailer section, bytes with line ends.
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest chunk-size line with its extensions, bytes.
const MAX_CHUNK_LINE: usize = 1024;
/// Interim (1xx) heads before a final one.
const MAX_INTERIM: u8 = 16;

/// The bytes of a `GET`, made once.
#[derive(Debug, Clone)]
pub struct RequestTemplate(Prebuilt);

impl RequestTemplate {
    /// Builds both forms.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        Self(Prebuilt::new(|token| {
            let (path, host) = (request.path(), request.host());
            let mut bytes = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\n").into_bytes();
            if let Some(token) = token {
                bytes.extend_from_slice(TOKEN_HEADER.as_bytes());
                bytes.extend_from_slice(b": ");
                bytes.extend_from_slice(token);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            bytes
        }))
    }

    /// Appends one request.
    pub fn write(&self, token: Option<&TokenHex>, out: &mut Vec<u8>) {
        self.0.write(token, out);
    }
}

/// Why a response cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Http1Error {
    /// Head or trailers over [`MAX_HEAD`].
    #[error("the HTTP/1.1 response head is longer than 16 KiB; look at the server or the device between")]
    HeadTooLong,
    /// More than 16 interim responses.
    #[error(
        "more than 16 interim HTTP/1.1 responses came before a final one; look at the server or the device between"
    )]
    TooManyInterim,
    /// Not `HTTP/1.0` or `HTTP/1.1`, or no three-digit status.
    #[error("the HTTP/1.1 status line is malformed; check that the port speaks HTTP/1.1")]
    StatusLine,
    /// A line that ends in LF without CR, or has a CR elsewhere.
    #[error("an HTTP/1.1 line does not end in CR LF; look at the server or the device between")]
    LineEnd,
    /// A folded header line (RFC 9112 §5.2).
    #[error("the HTTP/1.1 response folds a header over two lines; look at the server or the device between")]
    ObsFold,
    /// Lengths, switching protocols, and other mistakes common to all protocols.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// RFC 9112 §6.1: two ways to say where the body ends.
    #[error(
        "the HTTP/1.1 response has a content-length beside a transfer coding; look at the server or the device between"
    )]
    LengthBesideCoding,
    /// Anything but a single `chunked`.
    #[error(
        "the HTTP/1.1 response has a transfer coding other than chunked, which was not offered; look at the server or the device between"
    )]
    TransferCoding,
    /// Chunk size missing, not hexadecimal, or too large to count.
    #[error("a chunk size of the HTTP/1.1 response is malformed; look at the server or the device between")]
    ChunkSize,
    /// Chunk data not followed by CR LF.
    #[error(
        "a chunk of the HTTP/1.1 response does not end where its size says; look at the server or the device between"
    )]
    ChunkEnd,
    /// Bytes after the response that answer no request.
    #[error("the server sent HTTP/1.1 bytes nobody asked for; look at the server or the device between")]
    Unrequested,
    /// The connection ended inside a response.
    #[error("the connection ended inside an HTTP/1.1 response; look at the server or the device between")]
    Truncated,
}

/// What came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The final head is complete: read [`ResponseParser::head`].
    Head,
    /// The response is complete: read [`ResponseParser::body_bytes`] and [`ResponseParser::keeps_alive`].
    End,
}

/// Answer of [`ResponseParser::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// What happened; `None` when all input is consumed and more is needed.
    pub event: Option<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StatusLine,
    Fields,
    /// Body with a known number of bytes to come.
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// Body up to the end of the connection.
    UntilClose,
    /// Complete, and said so.
    Ended,
}

/// Incremental parser of one response after the other.
///
/// Call [`feed`](Self::feed) with what is left of the input until it answers without an event (also when nothing is left: the
/// end of an empty body is an event of its own), then [`reset`](Self::reset) after `End` for the next response.
#[derive(Debug)]
pub struct ResponseParser {
    state: State,
    /// A line that the end of the input cut; keeps its capacity.
    line: Vec<u8>,
    /// Bytes of the section (head or trailers) so far.
    section_bytes: usize,
    interim: u8,
    head: ResponseHead,
    chunked: bool,
    version_1_0: bool,
    persistent: bool,
    body: u64,
}

impl Default for ResponseParser {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseParser {
    /// Ready for a first response.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::StatusLine,
            line: Vec::new(),
            section_bytes: 0,
            interim: 0,
            head: ResponseHead::default(),
            chunked: false,
            version_1_0: false,
            persistent: true,
            body: 0,
        }
    }

    /// Ready for the next response on the same connection.
    pub fn reset(&mut self) {
        self.interim = 0;
        self.body = 0;
        self.begin_head();
    }

    fn begin_head(&mut self) {
        self.state = State::StatusLine;
        self.line.clear();
        self.section_bytes = 0;
        self.head.clear();
        self.chunked = false;
        self.persistent = true;
    }

    /// Whether the final head has come whole: until [`reset`](Self::reset), from [`Event::Head`] on.
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(self.state, State::StatusLine | State::Fields)
    }

    /// The head; meaningful from [`Event::Head`] to [`reset`](Self::reset).
    #[must_use]
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Body bytes counted so far, without chunk framing.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    /// Whether the connection can carry another request after this response; meaningful from [`Event::Head`] on.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.persistent && self.state != State::UntilClose
    }

    /// Takes input up to the next event.
    ///
    /// # Errors
    /// [`Http1Error`]; the connection is of no use afterwards.
    pub fn feed(&mut self, input: &[u8]) -> Result<Progress, Http1Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let event = match self.state {
                State::StatusLine | State::Fields | State::ChunkSize | State::Trailers => {
                    let Some(line_feed) = memchr::memchr(b'\n', rest) else {
                        self.keep_cut_line(rest)?;
                        return Ok(Progress { consumed: input.len(), event: None });
                    };
                    at += line_feed + 1;
                    self.whole_line(&rest[..=line_feed])?
                }
                State::Length(0) => Some(Event::End),
                State::Length(left) => {
                    let taken = (rest.len() as u64).min(left);
                    self.body += taken;
                    self.state = State::Length(left - taken);
                    at += taken as usize;
                    None
                }
                State::ChunkData(left) => {
                    let taken = (rest.len() as u64).min(left);
                    self.body = self.body.checked_add(taken).ok_or(Http1Error::ChunkSize)?;
                    self.state = if taken == left { State::ChunkEnd } else { State::ChunkData(left - taken) };
                    at += taken as usize;
                    None
                }
                State::ChunkEnd => {
                    let taken = rest.len().min(2 - self.line.len().min(2));
                    self.line.extend_from_slice(&rest[..taken]);
                    at += taken;
                    if !b"\r\n".starts_with(&self.line) {
                        return Err(Http1Error::ChunkEnd);
                    }
                    if self.line.len() == 2 {
                        self.line.clear();
                        self.state = State::ChunkSize;
                    }
                    None
                }
                State::UntilClose => {
                    self.body = self.body.saturating_add(rest.len() as u64);
                    at = input.len();
                    None
                }
                State::Ended if rest.is_empty() => None,
                State::Ended => return Err(Http1Error::Unrequested),
            };
            if event == Some(Event::End) {
                self.state = State::Ended;
            }
            // Length(0) still owes its End although the input is used up.
            if event.is_some() || (at == input.len() && self.state != State::Length(0)) {
                return Ok(Progress { consumed: at, event });
            }
        }
    }

    /// The connection has ended cleanly. `Ok(true)`: this completes the response (a body without a length); `Ok(false)`: it ended
    /// between responses.
    ///
    /// # Errors
    /// [`Http1Error::Truncated`] inside a response.
    pub fn finish(&mut self) -> Result<bool, Http1Error> {
        match self.state {
            State::UntilClose => {
                self.state = State::Ended;
                self.persistent = false;
                Ok(true)
            }
            State::Ended => Ok(false),
            State::StatusLine if self.line.is_empty() && self.interim == 0 => Ok(false),
            _ => Err(Http1Error::Truncated),
        }
    }

    fn keep_cut_line(&mut self, part: &[u8]) -> Result<(), Http1Error> {
        self.check_room(part.len())?;
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Whether a line may have `more` bytes beside those kept of it.
    fn check_room(&self, more: usize) -> Result<(), Http1Error> {
        let length = self.line.len() + more;
        match self.state {
            State::ChunkSize if length > MAX_CHUNK_LINE => Err(Http1Error::ChunkSize),
            State::StatusLine | State::Fields | State::Trailers if self.section_bytes + length > MAX_HEAD => {
                Err(Http1Error::HeadTooLong)
            }
            _ => Ok(()),
        }
    }

    /// `end` completes a line; it includes the line feed.
    fn whole_line(&mut self, end: &[u8]) -> Result<Option<Event>, Http1Error> {
        self.check_room(end.len())?;
        if self.line.is_empty() {
            return self.apply_line(end);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let result = self.apply_line(&line);
        line.clear();
        self.line = line;
        result
    }

    fn apply_line(&mut self, line: &[u8]) -> Result<Option<Event>, Http1Error> {
        let text = line.strip_suffix(b"\r\n").ok_or(Http1Error::LineEnd)?;
        if memchr::memchr(b'\r', text).is_some() {
            return Err(Http1Error::LineEnd);
        }
        if self.state != State::ChunkSize {
            self.section_bytes += line.len();
        }
        match self.state {
            State::StatusLine => {
                self.status_line(text)?;
                self.state = State::Fields;
                Ok(None)
            }
            State::Fields if text.is_empty() => self.end_of_head(),
            State::Fields => {
                self.field(text)?;
                Ok(None)
            }
            State::ChunkSize => {
                self.chunk_size(text)?;
                Ok(None)
            }
            State::Trailers if text.is_empty() => Ok(Some(Event::End)),
            State::Trailers => {
                split_field(text)?;
                Ok(None)
            }
            // Only the four states above read lines.
            State::Length(_) | State::ChunkData(_) | State::ChunkEnd | State::UntilClose | State::Ended => Ok(None),
        }
    }

    /// RFC 9112 §4. The reason phrase is not looked at; a missing space before it is common and harmless.
    fn status_line(&mut self, text: &[u8]) -> Result<(), Http1Error> {
        let rest = text.strip_prefix(b"HTTP/1.").ok_or(Http1Error::StatusLine)?;
        let (version, rest) = rest.split_first().ok_or(Http1Error::StatusLine)?;
        // HTTP/1.0 connections do not persist unless negotiated, which the engine does not do.
        self.version_1_0 = match version {
            b'1' => false,
            b'0' => true,
            _ => return Err(Http1Error::StatusLine),
        };
        self.persistent = !self.version_1_0;
        let rest = rest.strip_prefix(b" ").ok_or(Http1Error::StatusLine)?;
        let (status, reason) = rest.split_at_checked(3).ok_or(Http1Error::StatusLine)?;
        if !matches!(reason.first(), None | Some(b' ')) || !is_field_value(reason) {
            return Err(Http1Error::StatusLine);
        }
        self.head.status = parse_status(status).ok_or(Http1Error::StatusLine)?;
        Ok(())
    }

    fn field(&mut self, text: &[u8]) -> Result<(), Http1Error> {
        let (name, value) = split_field(text)?;
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // By length first: most headers are of no interest and cost one comparison.
        let known = match name.len() {
            7 if is("alt-svc") => FieldName::AltSvc,
            10 if is("connection") => {
                if list(value).any(|option| option.eq_ignore_ascii_case(b"close")) {
                    self.persistent = false;
                }
                return Ok(());
            }
            13 if is(SERVER_TIMING_HEADER) => FieldName::ServerTiming,
            14 if is("content-length") => FieldName::ContentLength,
            16 if is(ECHO_HEADER) => FieldName::Echo,
            17 if is("transfer-encoding") => {
                // Chunked comes once, and does not exist in HTTP/1.0 (RFC 9112 §6.1).
                if self.chunked || self.version_1_0 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Http1Error::TransferCoding);
                }
                self.chunked = true;
                return Ok(());
            }
            _ => return Ok(()),
        };
        Ok(self.head.set(known, value)?)
    }

    /// RFC 9112 §6.3, in its order.
    fn end_of_head(&mut self) -> Result<Option<Event>, Http1Error> {
        if self.chunked && self.head.content_length.is_some() {
            return Err(Http1Error::LengthBesideCoding);
        }
        if self.head.status == 101 {
            return Err(Malformed::SwitchingProtocols.into());
        }
        if self.head.status < 200 {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Http1Error::TooManyInterim);
            }
            self.begin_head();
            return Ok(None);
        }
        self.section_bytes = 0;
        self.state = if self.head.is_bodiless() {
            State::Length(0)
        } else if self.chunked {
            State::ChunkSize
        } else if let Some(length) = self.head.content_length {
            State::Length(length)
        } else {
            State::UntilClose
        };
        Ok(Some(Event::Head))
    }

    /// RFC 9112 §7.1; extensions are ignored.
    fn chunk_size(&mut self, text: &[u8]) -> Result<(), Http1Error> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (number, extension) = text.split_at(digits);
        if number.is_empty()
            || !matches!(extension.first(), None | Some(b';' | b' ' | b'\t'))
            || !is_field_value(extension)
        {
            return Err(Http1Error::ChunkSize);
        }
        let mut size: u64 = 0;
        for &digit in number {
            let digit = char::from(digit).to_digit(16).ok_or(Http1Error::ChunkSize)?;
            size = size
                .checked_mul(16)
                .and_then(|size| size.checked_add(u64::from(digit)))
                .ok_or(Http1Error::ChunkSize)?;
        }
        if size >= 1 << 63 {
            return Err(Http1Error::ChunkSize);
        }
        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
        Ok(())
    }
}

/// RFC 9112 §5: name, colon, value without the spaces around it.
fn split_field(text: &[u8]) -> Result<(&[u8], &[u8]), Http1Error> {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err(Http1Error::ObsFold);
    }
    let colon = text.iter().position(|&byte| !is_token(byte)).ok_or(Malformed::Field)?;
    let (name, rest) = text.split_at(colon);
    let value = rest.strip_prefix(b":").ok_or(Malformed::Field)?;
    if name.is_empty() || !is_field_value(value) {
        return Err(Malformed::Field.into());
    }
    Ok((name, trim(value)))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}
