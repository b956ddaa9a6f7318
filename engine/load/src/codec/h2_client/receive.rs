//! The receiving half of [`H2Client`]: frames in, events and answers out.
//!
//! Order of a frame's way: header (§4.1), rules that concern every frame (§4.2, §4.3), then one function per type (§6).

use super::streams::{Stage, Stream};
use super::{Data, Event, H2Client, H2Error, OpenBlock, Reading, StreamFailure, TableUpdate};
use crate::codec::h2_frames::{
    ErrorCode, FrameHeader, HEADER_LEN, MAX_FRAME, MAX_WINDOW, flag, kind, number, setting, strip_padding,
    write_ping_ack, write_reset, write_settings_ack, write_window_update,
};
use crate::codec::head::{Malformed, Section};
use crate::codec::hpack;

/// Longest header block before decompression, bytes.
const MAX_BLOCK: usize = 16 * 1024;
/// CONTINUATION frames in one block; a flood of empty ones would otherwise cost nothing to send.
const MAX_CONTINUATIONS: u8 = 64;
/// PING and SETTINGS answers that may wait in the output: a peer that does not read must not make us hold more.
const MAX_ACKS: u32 = 4096;
/// Interim (1xx) heads before a final one.
const MAX_INTERIM: u8 = 16;

impl<T> H2Client<T> {
    pub(super) fn read_frames(
        &mut self,
        mut input: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        while !input.is_empty() {
            match self.reading {
                Reading::Header => {
                    let Some(header) = self.frame_header(&mut input) else { return Ok(()) };
                    self.check_frame(header)?;
                    if header.kind == kind::DATA {
                        let data = self.begin_data(header)?;
                        self.reading = Reading::Data(data);
                        self.data(data, &mut input, on_event)?;
                    } else if let Some((payload, rest)) = input.split_at_checked(header.length) {
                        input = rest;
                        self.frame(header, payload, on_event)?;
                    } else {
                        self.reading = Reading::Payload(header);
                    }
                }
                Reading::Payload(header) => {
                    let missing = header.length.saturating_sub(self.cut.len());
                    let (part, rest) = input.split_at(missing.min(input.len()));
                    input = rest;
                    self.cut.extend_from_slice(part);
                    if self.cut.len() >= header.length {
                        self.reading = Reading::Header;
                        let mut payload = std::mem::take(&mut self.cut);
                        let result = self.frame(header, &payload, on_event);
                        payload.clear();
                        self.cut = payload;
                        result?;
                    }
                }
                Reading::Data(data) => self.data(data, &mut input, on_event)?,
            }
        }
        Ok(())
    }

    /// The next header, or `None` with all input kept.
    fn frame_header(&mut self, input: &mut &[u8]) -> Option<FrameHeader> {
        if self.cut.is_empty()
            && let Some((&bytes, rest)) = input.split_first_chunk::<HEADER_LEN>()
        {
            *input = rest;
            return Some(FrameHeader::parse(bytes));
        }
        let missing = HEADER_LEN.saturating_sub(self.cut.len());
        let (part, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        self.cut.extend_from_slice(part);
        let header = self.cut.first_chunk::<HEADER_LEN>().map(|&bytes| FrameHeader::parse(bytes))?;
        self.cut.clear();
        Some(header)
    }

    /// What holds for every frame.
    fn check_frame(&self, header: FrameHeader) -> Result<(), H2Error> {
        // §4.2
        if header.length > MAX_FRAME {
            return Err(H2Error::FrameSize("a frame above 16384 bytes"));
        }
        // §3.4
        if !self.settings_seen && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(H2Error::Protocol("the first frame is not SETTINGS"));
        }
        // §4.3: nothing between the frames of a header block.
        match self.open_block {
            Some(open) if header.kind != kind::CONTINUATION || header.stream != open.stream => {
                Err(H2Error::Protocol("a header block is interrupted"))
            }
            None if header.kind == kind::CONTINUATION => Err(H2Error::Protocol("CONTINUATION without a header block")),
            _ => Ok(()),
        }
    }

    fn frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        match header.kind {
            kind::HEADERS => self.headers(header, payload, on_event),
            kind::CONTINUATION => self.continuation(header, payload, on_event),
            kind::RST_STREAM => self.reset(header, payload, on_event),
            kind::SETTINGS => self.settings(header, payload, on_event),
            kind::PING => self.ping(header, payload),
            kind::GOAWAY => self.goaway(header, payload, on_event),
            kind::WINDOW_UPDATE => self.window_update(header, payload),
            kind::PUSH_PROMISE => Err(H2Error::Protocol("PUSH_PROMISE although push is off")),
            kind::PRIORITY if header.stream == 0 => Err(H2Error::Protocol("PRIORITY on stream 0")),
            kind::PRIORITY if header.length != 5 => Err(H2Error::FrameSize("PRIORITY")),
            // §5.5: unknown types are ignored, and so is priority (§5.3.2).
            _ => Ok(()),
        }
    }

    // §6.1 DATA

    fn begin_data(&mut self, header: FrameHeader) -> Result<Data, H2Error> {
        self.check_stream(header.stream)?;
        // Padding counts too (§6.9.1). MAX_FRAME fits 32 bits.
        let length = header.length as u32;
        self.window.take(length).ok_or(H2Error::FlowControl)?;
        match self.streams.get_mut(&header.stream) {
            Some(stream) => stream.window.take(length).ok_or(H2Error::FlowControl)?,
            None => self.check_late_frame()?,
        }
        let padding_due = header.has(flag::PADDED);
        if padding_due && header.length == 0 {
            return Err(H2Error::FrameSize("padded DATA without a padding length"));
        }
        Ok(Data {
            stream: header.stream,
            end: header.has(flag::END_STREAM),
            padding_due,
            content: header.length,
            padding: 0,
        })
    }

    fn data(
        &mut self,
        mut data: Data,
        input: &mut &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        if data.padding_due
            && let Some((&padding, rest)) = input.split_first()
        {
            *input = rest;
            data.padding_due = false;
            data.padding = usize::from(padding);
            data.content = (data.content - 1)
                .checked_sub(data.padding)
                .ok_or(H2Error::Protocol("padding longer than its DATA frame"))?;
        }
        if !data.padding_due {
            let taken = data.content.min(input.len());
            self.count(data, taken, on_event);
            data.content -= taken;
            *input = &input[taken..];
            let skipped = if data.content == 0 { data.padding.min(input.len()) } else { 0 };
            data.padding -= skipped;
            *input = &input[skipped..];
        }
        if data.padding_due || data.content > 0 || data.padding > 0 {
            self.reading = Reading::Data(data);
            return Ok(());
        }
        self.reading = Reading::Header;
        // At the end of a frame, not of the input: the output must not depend on where the input is cut.
        if let Some(increment) = self.window.due() {
            write_window_update(0, increment, &mut self.output);
        }
        if data.end {
            self.end(data.stream, on_event);
        } else if let Some(stream) = self.streams.get_mut(&data.stream)
            && !stream.needs_no_more()
            && let Some(increment) = stream.window.due()
        {
            write_window_update(data.stream, increment, &mut self.output);
        }
        Ok(())
    }

    /// Counts `bytes` of what is left of a frame. Whether the frame fits is judged by all that is left, not by what the input holds.
    fn count(&mut self, data: Data, bytes: usize, on_event: &mut impl FnMut(Event<'_, T>)) {
        let id = data.stream;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.stage != Stage::Body {
            return self.fail(id, Malformed::Status, on_event);
        }
        if stream.expected.is_some_and(|expected| stream.body + data.content as u64 > expected) {
            return self.fail(id, Malformed::BodyLength, on_event);
        }
        stream.body += bytes as u64;
        if bytes > 0 {
            on_event(Event::Data { stream: id, context: &mut stream.context, bytes: bytes as u32 });
        }
    }

    /// END_STREAM.
    fn end(&mut self, id: u32, on_event: &mut impl FnMut(Event<'_, T>)) {
        let Some(stream) = self.streams.remove(&id) else { return };
        let verdict = stream.check_end();
        let Stream { context, body, .. } = stream;
        match verdict {
            Ok(()) => on_event(Event::End { stream: id, context, body }),
            Err(malformed) => on_event(Event::Failed { stream: id, context, failure: malformed.into() }),
        }
    }

    /// A malformed response: a stream error (§8.1.1).
    fn fail(&mut self, id: u32, malformed: Malformed, on_event: &mut impl FnMut(Event<'_, T>)) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.reset_sent = true;
        write_reset(id, ErrorCode::Protocol, &mut self.output);
        on_event(Event::Failed { stream: id, context: stream.context, failure: malformed.into() });
    }

    /// §5.1: frames of a response only on streams we opened.
    fn check_stream(&self, stream: u32) -> Result<(), H2Error> {
        if stream == 0 {
            return Err(H2Error::Protocol("a stream frame on stream 0"));
        }
        if stream.is_multiple_of(2) || stream >= self.next_stream {
            return Err(H2Error::Protocol("a frame on a stream that was never opened"));
        }
        Ok(())
    }

    /// A frame on a stream that has ended: it may have crossed with a RST_STREAM of ours, else it is an error (§5.1).
    fn check_late_frame(&self) -> Result<(), H2Error> {
        if self.reset_sent { Ok(()) } else { Err(H2Error::StreamClosed) }
    }

    // §6.2 HEADERS, §6.10 CONTINUATION

    fn headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        self.check_stream(header.stream)?;
        let mut fragment =
            strip_padding(header, payload).ok_or(H2Error::Protocol("padding longer than its HEADERS frame"))?;
        if header.has(flag::PRIORITY) {
            fragment = fragment.get(5..).ok_or(H2Error::FrameSize("HEADERS without its priority"))?;
        }
        let end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.header_block(header.stream, end, fragment, on_event);
        }
        self.block.clear();
        self.block.extend_from_slice(fragment);
        self.open_block = Some(OpenBlock { stream: header.stream, end, continuations: 0 });
        Ok(())
    }

    fn continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        // `check_frame` lets CONTINUATION pass only inside a block.
        let Some(open) = &mut self.open_block else { return Ok(()) };
        open.continuations += 1;
        if open.continuations > MAX_CONTINUATIONS || self.block.len() + payload.len() > MAX_BLOCK {
            return Err(H2Error::Flood("header block too long"));
        }
        self.block.extend_from_slice(payload);
        if header.has(flag::END_HEADERS) {
            let (stream, end) = (open.stream, open.end);
            self.open_block = None;
            let block = std::mem::take(&mut self.block);
            let result = self.header_block(stream, end, &block, on_event);
            self.block = block;
            return result;
        }
        Ok(())
    }

    /// A complete header block. It is decoded whatever becomes of it: the compression state is the connection's (§4.3).
    fn header_block(
        &mut self,
        id: u32,
        end: bool,
        block: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        let Some(stream) = self.streams.get_mut(&id) else {
            self.decoder.decode(block, |_| {})?;
            return self.check_late_frame();
        };
        let Stage::Head { interim } = stream.stage else {
            let mut trailers = Section::trailers();
            self.decoder.decode(block, |field| trailers.field(field.kind, field.value))?;
            match trailers.finish() {
                Ok(()) if end => self.end(id, on_event),
                // §8.1: a second header block ends the stream.
                Ok(()) => self.fail(id, Malformed::PseudoHeader, on_event),
                Err(malformed) => self.fail(id, malformed, on_event),
            }
            return Ok(());
        };
        let mut section = Section::head(&mut self.head);
        self.decoder.decode(block, |field| section.field(field.kind, field.value))?;
        if let Err(malformed) = section.finish() {
            self.fail(id, malformed, on_event);
        } else if self.head.status >= 200 {
            stream.begin_body(&self.head);
            on_event(Event::Head { stream: id, context: &mut stream.context, head: &self.head });
            if end {
                self.end(id, on_event);
            }
        } else if end || interim >= MAX_INTERIM {
            self.fail(id, Malformed::Status, on_event);
        } else {
            stream.stage = Stage::Head { interim: interim + 1 };
        }
        Ok(())
    }

    // §6.4 RST_STREAM

    fn reset(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        self.check_stream(header.stream)?;
        let code = number(payload).filter(|_| payload.len() == 4).ok_or(H2Error::FrameSize("RST_STREAM"))?;
        if let Some(stream) = self.streams.remove(&header.stream) {
            let failure = StreamFailure::Reset(code);
            on_event(Event::Failed { stream: header.stream, context: stream.context, failure });
        }
        Ok(())
    }

    // §6.5 SETTINGS

    fn settings(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        if header.stream != 0 {
            return Err(H2Error::Protocol("SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(H2Error::FrameSize("SETTINGS acknowledgement with content"));
            }
            on_event(Event::SettingsAcked);
            return Ok(());
        }
        let (pairs, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(H2Error::FrameSize("SETTINGS"));
        }
        // §6.5.2: until the server says otherwise there is no limit; ours holds.
        if !self.settings_seen {
            self.peer_max_streams = u32::MAX;
        }
        self.settings_seen = true;
        for &[i0, i1, v0, v1, v2, v3] in pairs {
            self.setting(u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3]))?;
        }
        self.count_ack()?;
        write_settings_ack(&mut self.output);
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), H2Error> {
        match id {
            setting::HEADER_TABLE_SIZE
                if (value as usize) < hpack::TABLE_SIZE && self.table_update == TableUpdate::NotNeeded =>
            {
                self.table_update = TableUpdate::Due;
            }
            setting::ENABLE_PUSH if value != 0 => return Err(H2Error::Protocol("a server enables push")),
            setting::MAX_CONCURRENT_STREAMS => self.peer_max_streams = value,
            setting::INITIAL_WINDOW_SIZE if value > MAX_WINDOW => return Err(H2Error::FlowControl),
            setting::MAX_FRAME_SIZE if !(MAX_FRAME as u32..1 << 24).contains(&value) => {
                return Err(H2Error::Protocol("an impossible SETTINGS_MAX_FRAME_SIZE"));
            }
            // Nothing else changes what a client without request bodies sends; unknown ones are ignored.
            _ => {}
        }
        Ok(())
    }

    fn count_ack(&mut self) -> Result<(), H2Error> {
        self.acks_in_output += 1;
        if self.acks_in_output > MAX_ACKS { Err(H2Error::Flood("SETTINGS and PING")) } else { Ok(()) }
    }

    // §6.7 PING

    fn ping(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), H2Error> {
        if header.stream != 0 {
            return Err(H2Error::Protocol("PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(H2Error::FrameSize("PING"));
        }
        if !header.has(flag::ACK) {
            self.count_ack()?;
            write_ping_ack(payload, &mut self.output);
        }
        Ok(())
    }

    // §6.8 GOAWAY

    fn goaway(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_, T>),
    ) -> Result<(), H2Error> {
        if header.stream != 0 {
            return Err(H2Error::Protocol("GOAWAY on a stream"));
        }
        let (Some(last), Some(code)) = (number(payload), payload.get(4..).and_then(number)) else {
            return Err(H2Error::FrameSize("GOAWAY"));
        };
        self.closed = true;
        let last = last & MAX_WINDOW;
        for (id, stream) in self.streams.extract_if(|&id, _| id > last) {
            on_event(Event::Failed { stream: id, context: stream.context, failure: StreamFailure::NotProcessed });
        }
        on_event(Event::GoAway { code });
        Ok(())
    }

    // §6.9 WINDOW_UPDATE

    /// We send no bodies, so credit is only checked for form; the connection's sum also for overflow.
    fn window_update(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), H2Error> {
        let increment = number(payload).filter(|_| payload.len() == 4).ok_or(H2Error::FrameSize("WINDOW_UPDATE"))?;
        let increment = increment & MAX_WINDOW;
        // §6.9 wants only a stream error for 0 on a stream; §5.4.2 lets us treat that as a connection error.
        if increment == 0 {
            return Err(H2Error::Protocol("WINDOW_UPDATE of 0"));
        }
        if header.stream != 0 {
            return self.check_stream(header.stream);
        }
        let sum = self.send_window.saturating_add(increment);
        if sum > MAX_WINDOW {
            return Err(H2Error::FlowControl);
        }
        self.send_window = sum;
        Ok(())
    }
}
