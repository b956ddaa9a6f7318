//! An HTTP/2 client connection as a pure state machine (RFC 9113): requests become bytes in an output buffer, received bytes become events.
//!
//! One read may hold many frames and all answers to them leave in one write, which is where the CPU of small requests goes. Frames are
//! handled in place; only a frame that the end of the input cuts is held. Each stream carries a context of the
//! driver's, handed back with its end, so that the driver needs no second map. Invariants: nothing depends on where the input
//! is cut (but the split of [`Event::Data`]); every stream ends in exactly one `End` or `Failed`, or is returned by `cancel` or `drain`; buffers
//! are bounded; a broken rule ends the connection with GOAWAY in the output.

mod receive;
mod streams;

use std::collections::HashMap;

use super::h2_frames::{
    DEFAULT_WINDOW, ErrorCode, FrameHeader, HEADER_LEN, MAX_WINDOW, PREFACE, flag, kind, setting, write_goaway,
    write_reset, write_settings, write_window_update,
};
use super::head::{Malformed, ResponseHead};
use super::hpack::{self, Decoder, HpackError, Indexing};
use super::prefixed::Coding;
use super::request::{Prebuilt, Request, TokenHex, USER_AGENT};
use streams::{Stream, Streams, Window};
use tbi_bench::wire::TOKEN_HEADER;

/// Streams to open before the peer's SETTINGS say how many (the least RFC 9113 §6.5.2 recommends to allow).
const STREAMS_BEFORE_SETTINGS: u32 = 100;

/// The HEADERS frame of a `GET`, made once.
///
/// Path and authority are literals a device may index in its own encoder, the token is marked as never to be indexed.
#[derive(Debug, Clone)]
pub struct RequestTemplate(Prebuilt);

impl RequestTemplate {
    /// Builds both forms.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        Self(Prebuilt::new(|token| {
            let mut fields = Vec::new();
            hpack::write_indexed(2, &mut fields); // :method GET
            hpack::write_indexed(7, &mut fields); // :scheme https
            // :authority, :path, user-agent
            for (index, value) in [(1, request.host()), (4, request.path()), (58, USER_AGENT)] {
                let value = value.as_bytes();
                hpack::write_named_literal(index, value, Indexing::Without, Coding::Shortest, &mut fields);
            }
            if let Some(token) = token {
                hpack::write_literal(TOKEN_HEADER.as_bytes(), token, Indexing::Never, Coding::Raw, &mut fields);
            }
            let flags = flag::END_STREAM | flag::END_HEADERS;
            let mut bytes = Vec::new();
            FrameHeader { length: fields.len(), kind: kind::HEADERS, flags, stream: 0 }.write(&mut bytes);
            bytes.append(&mut fields);
            bytes
        }))
    }
}

/// What the connection announces and allows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_INITIAL_WINDOW_SIZE, bytes.
    pub stream_window: u32,
    /// Window of the connection, bytes; at least 65535.
    pub connection_window: u32,
    /// Streams at once, whatever more the server allows.
    pub max_streams: u32,
}

impl Default for Settings {
    /// RFC 9411 §4.3.1.4 wants windows of 65535; the connection's is larger so that streams do not wait for each other.
    fn default() -> Self {
        Self { stream_window: DEFAULT_WINDOW, connection_window: 16 << 20, max_streams: 100 }
    }
}

/// What [`H2Client::receive`] hands out.
#[derive(Debug)]
pub enum Event<'a, T> {
    /// The final response head of a stream.
    Head {
        /// Stream.
        stream: u32,
        /// Context given with the request.
        context: &'a mut T,
        /// The head.
        head: &'a ResponseHead,
    },
    /// Body bytes; one frame may come as several of these.
    Data {
        /// Stream.
        stream: u32,
        /// Context given with the request.
        context: &'a mut T,
        /// Bytes, without padding.
        bytes: u32,
    },
    /// The response is complete.
    End {
        /// Stream.
        stream: u32,
        /// Context, given back.
        context: T,
        /// Body bytes.
        body: u64,
    },
    /// The request failed; the connection goes on.
    Failed {
        /// Stream.
        stream: u32,
        /// Context, given back.
        context: T,
        /// Why.
        failure: StreamFailure,
    },
    /// The server takes no more requests on this connection; those it did not process come as `Failed` first.
    GoAway {
        /// Its error code (RFC 9113 §7).
        code: u32,
    },
    /// The server has seen our SETTINGS.
    SettingsAcked,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFailure {
    /// RST_STREAM with this code.
    #[error("the server reset the HTTP/2 stream with code {0}; look at the server or the device between")]
    Reset(u32),
    /// GOAWAY said that it was not processed: safe to repeat on another connection.
    #[error("the server closed the HTTP/2 connection before it processed the request; repeat it on another connection")]
    NotProcessed,
    /// The response is malformed (RFC 9113 §8.1.1).
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Why no request can be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// As many streams as server or settings allow.
    #[error("all HTTP/2 streams are in use; wait for one to end")]
    AtLimit,
    /// GOAWAY, a broken rule, or no ids left.
    #[error("the HTTP/2 connection takes no more requests; open another one")]
    Closed,
}

/// The peer broke a rule; the connection is over (RFC 9113 §5.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum H2Error {
    /// PROTOCOL_ERROR.
    #[error("the HTTP/2 peer breaks RFC 9113 ({0}); look at the server or the device between")]
    Protocol(&'static str),
    /// FRAME_SIZE_ERROR.
    #[error("an HTTP/2 frame has a wrong length ({0}); look at the server or the device between")]
    FrameSize(&'static str),
    /// FLOW_CONTROL_ERROR.
    #[error("the HTTP/2 peer sends or grants more than flow control allows; look at the server or the device between")]
    FlowControl,
    /// STREAM_CLOSED.
    #[error("the HTTP/2 peer sends on a stream it has ended; look at the server or the device between")]
    StreamClosed,
    /// COMPRESSION_ERROR.
    #[error(transparent)]
    Compression(#[from] HpackError),
    /// ENHANCE_YOUR_CALM.
    #[error("the HTTP/2 peer floods the connection ({0}); look at the server or the device between")]
    Flood(&'static str),
}

impl H2Error {
    /// Code of the GOAWAY that is in the output.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            H2Error::Protocol(_) => ErrorCode::Protocol,
            H2Error::FrameSize(_) => ErrorCode::FrameSize,
            H2Error::FlowControl => ErrorCode::FlowControl,
            H2Error::StreamClosed => ErrorCode::StreamClosed,
            H2Error::Compression(HpackError::TooLong) | H2Error::Flood(_) => ErrorCode::EnhanceYourCalm,
            H2Error::Compression(_) => ErrorCode::Compression,
        }
    }
}

/// What the next input byte belongs to.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Header,
    /// Payload of a cut frame, collected in `cut`.
    Payload(FrameHeader),
    Data(Data),
}

/// A DATA frame under way.
#[derive(Debug, Clone, Copy)]
struct Data {
    stream: u32,
    end: bool,
    /// The next byte is the padding length.
    padding_due: bool,
    content: usize,
    padding: usize,
}

/// A header block whose END_HEADERS has not come; its bytes are in `block`.
#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    stream: u32,
    end: bool,
    continuations: u8,
}

/// A client connection. `T` is the driver's context of a request.
#[derive(Debug)]
pub struct H2Client<T> {
    settings: Settings,
    output: Vec<u8>,
    acks_in_output: u32,
    streams: Streams<T>,
    next_stream: u32,
    /// Whether a RST_STREAM of ours may cross with frames of the peer.
    reset_sent: bool,
    peer_max_streams: u32,
    settings_seen: bool,
    /// The peer forbade a dynamic table; the next block must say that we keep none (RFC 9113 §4.3.1).
    table_update: TableUpdate,
    closed: bool,
    failed: Option<H2Error>,
    window: Window,
    send_window: u32,
    decoder: Decoder,
    head: ResponseHead,
    reading: Reading,
    cut: Vec<u8>,
    open_block: Option<OpenBlock>,
    block: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableUpdate {
    NotNeeded,
    Due,
    Done,
}

impl<T> H2Client<T> {
    /// A new connection: preface, SETTINGS and the connection's window are in the output.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let stream_window = settings.stream_window.min(MAX_WINDOW);
        let connection_window = settings.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW);
        let settings = Settings { stream_window, connection_window, ..settings };
        let mut output = Vec::with_capacity(4096);
        output.extend_from_slice(PREFACE);
        write_settings(
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::INITIAL_WINDOW_SIZE, stream_window),
                (setting::MAX_HEADER_LIST_SIZE, hpack::MAX_LIST as u32),
            ],
            &mut output,
        );
        if connection_window > DEFAULT_WINDOW {
            write_window_update(0, connection_window - DEFAULT_WINDOW, &mut output);
        }
        Self {
            settings,
            output,
            acks_in_output: 0,
            streams: HashMap::with_capacity_and_hasher(settings.max_streams.min(1024) as usize, Default::default()),
            next_stream: 1,
            reset_sent: false,
            peer_max_streams: STREAMS_BEFORE_SETTINGS,
            settings_seen: false,
            table_update: TableUpdate::NotNeeded,
            closed: false,
            failed: None,
            window: Window::new(connection_window),
            send_window: DEFAULT_WINDOW,
            decoder: Decoder::new(),
            head: ResponseHead::default(),
            reading: Reading::Header,
            cut: Vec::new(),
            open_block: None,
            block: Vec::new(),
        }
    }

    /// Bytes to send.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The first `sent` bytes of the output are on their way.
    pub fn advance_output(&mut self, sent: usize) {
        self.output.drain(..sent.min(self.output.len()));
        if self.output.is_empty() {
            self.acks_in_output = 0;
        }
    }

    /// Streams in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.streams.len()
    }

    /// Whether [`Self::request`] would be taken now.
    ///
    /// # Errors
    /// [`RequestRefused`] says whether waiting helps.
    pub fn may_request(&self) -> Result<(), RequestRefused> {
        if self.closed || self.failed.is_some() || self.next_stream > MAX_WINDOW {
            return Err(RequestRefused::Closed);
        }
        if self.streams.len() >= self.settings.max_streams.min(self.peer_max_streams) as usize {
            return Err(RequestRefused::AtLimit);
        }
        Ok(())
    }

    /// Opens a stream: its HEADERS frame is in the output. Returns the stream id.
    ///
    /// # Errors
    /// [`RequestRefused`]; the context is dropped, so ask [`Self::may_request`] before making one of value.
    pub fn request(
        &mut self,
        template: &RequestTemplate,
        token: Option<&TokenHex>,
        context: T,
    ) -> Result<u32, RequestRefused> {
        self.may_request()?;
        let stream = self.next_stream;
        // Ids are odd and end at 2^31 - 1 (§5.1.1); `may_request` stops above.
        self.next_stream += 2;
        let start = self.output.len();
        template.0.write(token, &mut self.output);
        if self.table_update == TableUpdate::Due {
            self.table_update = TableUpdate::Done;
            self.announce_no_table(start);
        }
        if let Some(id) = self.output.get_mut(start + 5..start + HEADER_LEN) {
            id.copy_from_slice(&stream.to_be_bytes());
        }
        self.streams.insert(stream, Stream::new(context, self.settings.stream_window));
        Ok(stream)
    }

    /// Puts "table size 0" (RFC 7541 §6.3) at the beginning of the block of the frame at `start`.
    fn announce_no_table(&mut self, start: usize) {
        let Some(bytes) = self.output[start..].first_chunk().copied() else { return };
        let header = FrameHeader::parse(bytes);
        let block = self.output.split_off(start + HEADER_LEN);
        self.output.truncate(start);
        FrameHeader { length: header.length + 1, ..header }.write(&mut self.output);
        self.output.push(0x20);
        self.output.extend_from_slice(&block);
    }

    /// Gives a request up (RST_STREAM with CANCEL) and returns its context; `None` when it has ended already.
    pub fn cancel(&mut self, stream: u32) -> Option<T> {
        let ended = self.streams.remove(&stream)?;
        self.reset_sent = true;
        write_reset(stream, ErrorCode::Cancel, &mut self.output);
        Some(ended.context)
    }

    /// Contexts of all requests in flight, for deadlines.
    pub fn contexts(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.streams.iter_mut().map(|(&stream, state)| (stream, &mut state.context))
    }

    /// Takes the contexts of all requests in flight: the connection is lost.
    pub fn drain(&mut self) -> impl Iterator<Item = (u32, T)> {
        self.closed = true;
        self.streams.drain().map(|(stream, state)| (stream, state.context))
    }

    /// Says goodbye: GOAWAY is in the output and no more requests are taken; those in flight may end.
    pub fn close(&mut self) {
        if !self.closed && self.failed.is_none() {
            write_goaway(ErrorCode::NoError, &mut self.output);
        }
        self.closed = true;
    }

    /// Takes received bytes, all of them, and hands out what they mean. Answers are in the output.
    ///
    /// # Errors
    /// [`H2Error`]: GOAWAY is in the output; send it, take the contexts with [`Self::drain`] and close. Every later call
    /// answers the same.
    pub fn receive(&mut self, input: &[u8], mut on_event: impl FnMut(Event<'_, T>)) -> Result<(), H2Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.read_frames(input, &mut on_event);
        if let Err(error) = result {
            self.failed = Some(error);
            write_goaway(error.code(), &mut self.output);
        }
        result
    }
}
