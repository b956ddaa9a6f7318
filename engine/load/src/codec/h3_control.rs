//! HTTP/3 unidirectional streams (RFC 9114 §6.2, §7.2): what we send first on ours, and a reader for the server's.
//!
//! The driver keeps one [`PeerStreams`] per connection and one [`UniReader`] per stream the server opens. Encoder and decoder
//! streams of QPACK are read and dropped: with capacity 0 they have nothing to say to us. Bounds: a control frame is held up to 4 KiB.

use super::h3_frames::{FrameHeader, H3Error, MAX_HEADERS, frame};
use super::varint;

/// Longest SETTINGS or GOAWAY frame accepted, bytes.
const MAX_CONTROL_FRAME: u64 = 4096;

/// SETTINGS identifiers (RFC 9114 §7.2.4.1, RFC 9204 §5).
const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;

/// First bytes of our control stream: its type and our SETTINGS (no dynamic table, no blocked streams, 16 KiB heads).
#[must_use]
pub fn control_stream_preamble() -> Vec<u8> {
    let mut settings = Vec::new();
    for (id, value) in
        [(QPACK_MAX_TABLE_CAPACITY, 0), (MAX_FIELD_SECTION_SIZE, MAX_HEADERS as u64), (QPACK_BLOCKED_STREAMS, 0)]
    {
        varint::write(id, &mut settings);
        varint::write(value, &mut settings);
    }
    let mut bytes = Vec::new();
    varint::write(UniKind::CONTROL, &mut bytes);
    varint::write(frame::SETTINGS, &mut bytes);
    varint::write(settings.len() as u64, &mut bytes);
    bytes.extend_from_slice(&settings);
    bytes
}

/// What a unidirectional stream is for (RFC 9114 §6.2, RFC 9204 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniKind {
    /// Control stream.
    Control,
    /// QPACK encoder stream.
    QpackEncoder,
    /// QPACK decoder stream.
    QpackDecoder,
    /// Unknown or grease: read and dropped.
    Unknown,
}

impl UniKind {
    const CONTROL: u64 = 0x00;
    const PUSH: u64 = 0x01;
}

/// Which critical streams the server has opened; each may exist once.
#[derive(Debug, Default)]
pub struct PeerStreams {
    control: bool,
    encoder: bool,
    decoder: bool,
}

impl PeerStreams {
    fn open(&mut self, kind: UniKind) -> Result<(), H3Error> {
        let seen = match kind {
            UniKind::Control => &mut self.control,
            UniKind::QpackEncoder => &mut self.encoder,
            UniKind::QpackDecoder => &mut self.decoder,
            UniKind::Unknown => return Ok(()),
        };
        if std::mem::replace(seen, true) { Err(H3Error::StreamCreation) } else { Ok(()) }
    }
}

/// What a chunk of a unidirectional stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniEvent {
    /// The server's SETTINGS.
    Settings,
    /// GOAWAY: requests on streams with this id or above were not processed; open no more.
    GoAway {
        /// First client-initiated bidirectional stream id not processed.
        stream: u64,
    },
}

/// Reader of one unidirectional stream of the server.
#[derive(Debug, Default)]
pub struct UniReader {
    kind: Option<UniKind>,
    /// A cut stream type.
    kind_bytes: [u8; 8],
    kind_held: usize,
    header: FrameHeader,
    frame: Option<(u64, u64)>,
    cut: Vec<u8>,
    settings_seen: bool,
    goaway: Option<u64>,
}

impl UniReader {
    /// Stream type, once known.
    #[must_use]
    pub fn kind(&self) -> Option<UniKind> {
        self.kind
    }

    /// Takes all of `input` and hands out what it brought, in order.
    ///
    /// # Errors
    /// [`H3Error`]: close the connection.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        streams: &mut PeerStreams,
        mut on_event: impl FnMut(UniEvent),
    ) -> Result<(), H3Error> {
        while self.kind.is_none() {
            let Some((&byte, rest)) = input.split_first() else { return Ok(()) };
            // A varint has at most eight bytes, so it is complete before the array is full.
            self.kind_bytes[self.kind_held] = byte;
            self.kind_held += 1;
            input = rest;
            if let Some((kind, _)) = varint::read(&self.kind_bytes[..self.kind_held]) {
                self.kind = Some(Self::open(kind, streams)?);
            }
        }
        if self.kind != Some(UniKind::Control) {
            return Ok(());
        }
        while !input.is_empty() {
            let Some((kind, left)) = self.frame else {
                let (used, header) = self.header.read(input);
                input = &input[used..];
                if let Some((kind, length)) = header {
                    self.begin(kind, length)?;
                    self.frame = Some((kind, length));
                    if length == 0 {
                        self.end(kind, &[], &mut on_event)?;
                    }
                }
                continue;
            };
            let taken = (input.len() as u64).min(left) as usize;
            let (part, rest) = input.split_at(taken);
            input = rest;
            let left = left - taken as u64;
            self.frame = Some((kind, left));
            if is_kept(kind) {
                self.cut.extend_from_slice(part);
            }
            if left == 0 {
                let mut payload = std::mem::take(&mut self.cut);
                let result = self.end(kind, &payload, &mut on_event);
                payload.clear();
                self.cut = payload;
                result?;
            }
        }
        Ok(())
    }

    /// The server finished the stream.
    ///
    /// # Errors
    /// [`H3Error::ClosedCriticalStream`] unless it is one of no importance.
    pub fn finish(&self) -> Result<(), H3Error> {
        match self.kind {
            // §6.2: a stream may end before its type is known.
            None | Some(UniKind::Unknown) => Ok(()),
            Some(UniKind::Control | UniKind::QpackEncoder | UniKind::QpackDecoder) => {
                Err(H3Error::ClosedCriticalStream)
            }
        }
    }

    fn open(kind: u64, streams: &mut PeerStreams) -> Result<UniKind, H3Error> {
        let kind = match kind {
            UniKind::CONTROL => UniKind::Control,
            // §4.6: we never allow push.
            UniKind::PUSH => return Err(H3Error::Id),
            0x02 => UniKind::QpackEncoder,
            0x03 => UniKind::QpackDecoder,
            _ => UniKind::Unknown,
        };
        streams.open(kind)?;
        Ok(kind)
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<(), H3Error> {
        if !self.settings_seen && kind != frame::SETTINGS {
            return Err(H3Error::MissingSettings);
        }
        match kind {
            frame::SETTINGS if self.settings_seen => Err(H3Error::Unexpected("a second SETTINGS")),
            frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
                Err(H3Error::Unexpected("a request frame on the control stream"))
            }
            // Only a client sends it.
            frame::MAX_PUSH_ID => Err(H3Error::Unexpected("MAX_PUSH_ID from a server")),
            frame::CANCEL_PUSH => Err(H3Error::Id),
            kind if frame::is_reserved(kind) => Err(H3Error::Unexpected("an HTTP/2 frame type")),
            kind if is_kept(kind) && length > MAX_CONTROL_FRAME => Err(H3Error::TooLong),
            _ => Ok(()),
        }
    }

    fn end(&mut self, kind: u64, payload: &[u8], on_event: &mut impl FnMut(UniEvent)) -> Result<(), H3Error> {
        self.frame = None;
        match kind {
            frame::SETTINGS => {
                check_settings(payload)?;
                self.settings_seen = true;
                on_event(UniEvent::Settings);
            }
            frame::GOAWAY => {
                let (stream, used) = varint::read(payload).ok_or(H3Error::Frame)?;
                if used != payload.len() {
                    return Err(H3Error::Frame);
                }
                // §5.2: a client-initiated bidirectional stream, never growing.
                if stream % 4 != 0 || self.goaway.is_some_and(|earlier| stream > earlier) {
                    return Err(H3Error::Id);
                }
                self.goaway = Some(stream);
                on_event(UniEvent::GoAway { stream });
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_kept(kind: u64) -> bool {
    matches!(kind, frame::SETTINGS | frame::GOAWAY)
}

/// RFC 9114 §7.2.4: pairs, none twice, none of the HTTP/2 ids. No value changes what we send.
fn check_settings(mut payload: &[u8]) -> Result<(), H3Error> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let (id, id_len) = varint::read(payload).ok_or(H3Error::Frame)?;
        let (_, value_len) = varint::read(&payload[id_len..]).ok_or(H3Error::Frame)?;
        payload = &payload[id_len + value_len..];
        if matches!(id, 0x00 | 0x02..=0x05) || seen.contains(&id) {
            return Err(H3Error::Settings);
        }
        seen.push(id);
    }
    Ok(())
}
