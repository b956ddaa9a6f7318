//! HTTP/3 client framing (RFC 9114) on one request stream: prebuilt HEADERS, and a reader for the response.
//!
//! Knows nothing of QUIC; the driver hands over stream bytes as they come and closes the connection with [`H3Error::code`] when a
//! rule is broken. Unidirectional streams are in [`super::h3_control`]. Invariants: the result does not depend on where
//! the input is cut; at most one HEADERS frame of 16 KiB is held; bodies are counted.

use super::head::{Malformed, ResponseHead, Section};
use super::prefixed::Coding;
use super::qpack::{self, QpackError};
use super::request::{Prebuilt, Request, TokenHex, USER_AGENT};
use super::varint;
use tbi_bench::wire::TOKEN_HEADER;

/// Longest HEADERS frame accepted, bytes; announced as SETTINGS_MAX_FIELD_SECTION_SIZE.
pub const MAX_HEADERS: usize = 16 * 1024;
/// Interim (1xx) heads before a final one.
const MAX_INTERIM: u8 = 16;

/// Frame types (RFC 9114 §7.2).
pub(crate) mod frame {
    pub(crate) const DATA: u64 = 0x0;
    pub(crate) const HEADERS: u64 = 0x1;
    pub(crate) const CANCEL_PUSH: u64 = 0x3;
    pub(crate) const SETTINGS: u64 = 0x4;
    pub(crate) const PUSH_PROMISE: u64 = 0x5;
    pub(crate) const GOAWAY: u64 = 0x7;
    pub(crate) const MAX_PUSH_ID: u64 = 0xd;

    /// HTTP/2 types that must not appear (§7.2.8).
    pub(crate) fn is_reserved(kind: u64) -> bool {
        matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
    }
}

/// Error codes we close with (RFC 9114 §8.1, RFC 9204 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum H3Code {
    /// H3_STREAM_CREATION_ERROR.
    StreamCreation = 0x103,
    /// H3_CLOSED_CRITICAL_STREAM.
    ClosedCriticalStream = 0x104,
    /// H3_FRAME_UNEXPECTED.
    FrameUnexpected = 0x105,
    /// H3_FRAME_ERROR.
    Frame = 0x106,
    /// H3_EXCESSIVE_LOAD.
    ExcessiveLoad = 0x107,
    /// H3_ID_ERROR.
    Id = 0x108,
    /// H3_SETTINGS_ERROR.
    Settings = 0x109,
    /// H3_MISSING_SETTINGS.
    MissingSettings = 0x10a,
    /// H3_MESSAGE_ERROR.
    Message = 0x10e,
    /// QPACK_DECOMPRESSION_FAILED.
    Decompression = 0x200,
}

/// The peer broke a rule of HTTP/3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum H3Error {
    /// A frame where it may not be.
    #[error("an HTTP/3 frame came where it is not allowed ({0}); the server or the device between breaks RFC 9114")]
    Unexpected(&'static str),
    /// A frame whose length does not fit its content, or that the end of the stream cut.
    #[error("an HTTP/3 frame is cut or has a wrong length; the server or the device between breaks RFC 9114")]
    Frame,
    /// Larger than we accept.
    #[error(
        "an HTTP/3 frame is larger than 16 KiB or interim responses do not end; look at the server or the device between"
    )]
    TooLong,
    /// PUSH_PROMISE or CANCEL_PUSH although no push was allowed, or a GOAWAY with an impossible or growing id.
    #[error("the HTTP/3 peer names an id that cannot be; the server or the device between breaks RFC 9114")]
    Id,
    /// Setting repeated, reserved, or malformed.
    #[error("the HTTP/3 settings are malformed; the server or the device between breaks RFC 9114")]
    Settings,
    /// The control stream begins with something else.
    #[error("the HTTP/3 control stream does not begin with SETTINGS; the server or the device between breaks RFC 9114")]
    MissingSettings,
    /// Push stream, or a second stream of a kind that may exist once.
    #[error("the HTTP/3 server opened a stream it may not open; the server or the device between breaks RFC 9114")]
    StreamCreation,
    /// Control or QPACK stream ended.
    #[error("the HTTP/3 server closed its control or QPACK stream; the server or the device between breaks RFC 9114")]
    ClosedCriticalStream,
    /// QPACK.
    #[error(transparent)]
    Qpack(#[from] QpackError),
    /// The response is malformed (RFC 9114 §4.1.2): a stream error.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl H3Error {
    /// Code to close with: the stream when [`Self::is_stream_error`], else the connection.
    #[must_use]
    pub fn code(self) -> H3Code {
        match self {
            H3Error::Unexpected(_) => H3Code::FrameUnexpected,
            H3Error::Frame => H3Code::Frame,
            H3Error::TooLong => H3Code::ExcessiveLoad,
            H3Error::Id => H3Code::Id,
            H3Error::Settings => H3Code::Settings,
            H3Error::MissingSettings => H3Code::MissingSettings,
            H3Error::StreamCreation => H3Code::StreamCreation,
            H3Error::ClosedCriticalStream => H3Code::ClosedCriticalStream,
            H3Error::Qpack(_) => H3Code::Decompression,
            H3Error::Malformed(_) => H3Code::Message,
        }
    }

    /// Whether only this request failed; the connection can go on.
    #[must_use]
    pub fn is_stream_error(self) -> bool {
        matches!(self, H3Error::Malformed(_))
    }
}

/// The HEADERS frame of a `GET`, made once. After it the driver finishes its side of the stream.
#[derive(Debug, Clone)]
pub struct RequestTemplate(Prebuilt);

impl RequestTemplate {
    /// Builds both forms.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        Self(Prebuilt::new(|token| {
            let mut section = Vec::new();
            qpack::write_prefix(&mut section);
            qpack::write_indexed(17, &mut section); // :method GET
            qpack::write_indexed(23, &mut section); // :scheme https
            qpack::write_named_literal(0, request.host().as_bytes(), &mut section); // :authority
            qpack::write_named_literal(1, request.path().as_bytes(), &mut section); // :path
            qpack::write_named_literal(95, USER_AGENT.as_bytes(), &mut section); // user-agent
            if let Some(token) = token {
                qpack::write_literal(TOKEN_HEADER.as_bytes(), token, Coding::Raw, &mut section);
            }
            let mut bytes = Vec::new();
            varint::write(frame::HEADERS, &mut bytes);
            varint::write(section.len() as u64, &mut bytes);
            bytes.extend_from_slice(&section);
            bytes
        }))
    }

    /// Appends one request.
    pub fn write(&self, token: Option<&TokenHex>, out: &mut Vec<u8>) {
        self.0.write(token, out);
    }
}

/// Type and length of a frame, read from chunks cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct FrameHeader {
    bytes: [u8; 16],
    held: usize,
}

impl FrameHeader {
    /// Bytes consumed, and type and length once both are there.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Option<(u64, u64)>) {
        if self.held == 0
            && let Some((kind, length, used)) = parse_frame_header(input)
        {
            return (used, Some((kind, length)));
        }
        for (index, &byte) in input.iter().enumerate() {
            // Two varints have at most 16 bytes, so the array cannot be full before they are complete.
            self.bytes[self.held] = byte;
            self.held += 1;
            if let Some((kind, length, _)) = parse_frame_header(&self.bytes[..self.held]) {
                self.held = 0;
                return (index + 1, Some((kind, length)));
            }
        }
        (input.len(), None)
    }

    /// Whether a header is begun.
    pub(crate) fn is_cut(&self) -> bool {
        self.held > 0
    }
}

fn parse_frame_header(input: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, kind_len) = varint::read(input)?;
    let (length, length_len) = varint::read(&input[kind_len..])?;
    Some((kind, length, kind_len + length_len))
}

/// Answer of [`ResponseReader::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// Whether the final head has just become complete; otherwise all input is consumed.
    pub head: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// After trailers nothing but unknown frames may come.
    Trailers,
}

#[derive(Debug, Clone, Copy)]
enum Payload {
    Headers,
    Data,
    Skipped,
}

/// Reader of one response after the other (a fresh stream each time; [`reset`](Self::reset) keeps the buffers).
#[derive(Debug)]
pub struct ResponseReader {
    stage: Stage,
    header: FrameHeader,
    payload: Option<(Payload, u64)>,
    /// HEADERS payload that the end of the input cut.
    cut: Vec<u8>,
    scratch: Vec<u8>,
    interim: u8,
    head: ResponseHead,
    body: u64,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseReader {
    /// Ready for a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stage: Stage::Head,
            header: FrameHeader::default(),
            payload: None,
            cut: Vec::new(),
            scratch: Vec::new(),
            interim: 0,
            head: ResponseHead::default(),
            body: 0,
        }
    }

    /// Ready for the next stream.
    pub fn reset(&mut self) {
        self.stage = Stage::Head;
        self.header.held = 0;
        self.payload = None;
        self.cut.clear();
        self.interim = 0;
        self.head.clear();
        self.body = 0;
    }

    /// The head; meaningful once [`Progress::head`] said so.
    #[must_use]
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Body bytes counted so far.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    /// Takes input up to the end of the final head, or all of it. Call again with the rest until everything is consumed.
    ///
    /// # Errors
    /// [`H3Error`].
    pub fn feed(&mut self, input: &[u8]) -> Result<Progress, H3Error> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let Some((payload, left)) = self.payload else {
                let (used, header) = self.header.read(rest);
                at += used;
                if let Some((kind, length)) = header {
                    self.payload = Some((self.begin(kind, length)?, length));
                    // A HEADERS frame of length 0 has no byte that would bring us here again.
                    if length == 0 {
                        self.end_of_empty()?;
                    }
                }
                continue;
            };
            let taken = (rest.len() as u64).min(left) as usize;
            at += taken;
            let left = left - taken as u64;
            self.payload = (left > 0).then_some((payload, left));
            match payload {
                Payload::Skipped => {}
                Payload::Data => self.body += taken as u64,
                Payload::Headers if left == 0 && self.cut.is_empty() => {
                    if self.section(&rest[..taken])? {
                        return Ok(Progress { consumed: at, head: true });
                    }
                }
                Payload::Headers => {
                    self.cut.extend_from_slice(&rest[..taken]);
                    if left == 0 {
                        let mut whole = std::mem::take(&mut self.cut);
                        let result = self.section(&whole);
                        whole.clear();
                        self.cut = whole;
                        if result? {
                            return Ok(Progress { consumed: at, head: true });
                        }
                    }
                }
            }
        }
        Ok(Progress { consumed: at, head: false })
    }

    /// The server finished its side of the stream: checks that the response is complete (RFC 9114 §4.1, §7.1).
    ///
    /// # Errors
    /// [`H3Error::Frame`] when a frame is cut, [`H3Error::Malformed`] without a head or with a body of another length.
    pub fn finish(&mut self) -> Result<(), H3Error> {
        if self.payload.is_some() || self.header.is_cut() {
            return Err(H3Error::Frame);
        }
        if self.stage == Stage::Head {
            return Err(Malformed::Status.into());
        }
        let announced = if self.head.is_bodiless() { Some(0) } else { self.head.content_length };
        if announced.is_some_and(|length| length != self.body) {
            return Err(Malformed::BodyLength.into());
        }
        Ok(())
    }

    /// RFC 9114 §4.1 (order) and §7.2 (which frames a request stream may carry).
    fn begin(&mut self, kind: u64, length: u64) -> Result<Payload, H3Error> {
        match (kind, self.stage) {
            (frame::DATA, Stage::Body) => Ok(Payload::Data),
            (frame::DATA, Stage::Head) => Err(H3Error::Unexpected("DATA before HEADERS")),
            (frame::DATA | frame::HEADERS, Stage::Trailers) => Err(H3Error::Unexpected("frames after trailers")),
            (frame::HEADERS, _) if length > MAX_HEADERS as u64 => Err(H3Error::TooLong),
            (frame::HEADERS, _) => Ok(Payload::Headers),
            // We never send MAX_PUSH_ID (§7.2.5).
            (frame::PUSH_PROMISE, _) => Err(H3Error::Id),
            (frame::CANCEL_PUSH | frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID, _) => {
                Err(H3Error::Unexpected("a control frame on a request stream"))
            }
            (kind, _) if frame::is_reserved(kind) => Err(H3Error::Unexpected("an HTTP/2 frame type")),
            // §9: unknown types are ignored; grease relies on it.
            _ => Ok(Payload::Skipped),
        }
    }

    fn end_of_empty(&mut self) -> Result<(), H3Error> {
        match self.payload.take() {
            // Not even the QPACK prefix: always an error.
            Some((Payload::Headers, _)) => self.section(&[]).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// A complete field section; `true` when it is the final head.
    fn section(&mut self, section: &[u8]) -> Result<bool, H3Error> {
        if self.stage == Stage::Body {
            let mut trailers = Section::trailers();
            qpack::decode(section, &mut self.scratch, |field| trailers.field(field.kind, field.value))?;
            trailers.finish()?;
            self.stage = Stage::Trailers;
            return Ok(false);
        }
        let mut head = Section::head(&mut self.head);
        qpack::decode(section, &mut self.scratch, |field| head.field(field.kind, field.value))?;
        head.finish()?;
        if self.head.status < 200 {
            self.interim += 1;
            return if self.interim > MAX_INTERIM { Err(H3Error::TooLong) } else { Ok(false) };
        }
        self.stage = Stage::Body;
        Ok(true)
    }
}
