//! Fetching one small resource with its body, for probes. The hot path's parsers only count bodies; fed byte by byte they also tell
//! which bytes are body, and a probe has the time.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, ReadError};
use tbi_bench::control::engine::Cause;

use crate::codec::h2_client::{self, Event, H2Client};
use crate::codec::h3_frames::{self, ResponseReader};
use crate::codec::head::ResponseHead;
use crate::codec::http1::{self, ResponseParser};
use crate::codec::request::{Request, TokenHex};
use crate::conn::tcp::{Received, TlsStream};
use crate::failure::Failure;

/// Most body bytes kept; more are counted only.
const MAX_BODY: usize = 64 * 1024;

/// A whole response.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Head.
    pub(super) head: ResponseHead,
    /// First byte of the response.
    pub(super) first_byte: Instant,
    /// Body, at most 64 KiB of it.
    pub(super) body: Vec<u8>,
    /// Body bytes in all.
    pub(super) length: u64,
}

/// A response in the making.
#[derive(Default)]
struct Collector {
    head: Option<ResponseHead>,
    first_byte: Option<Instant>,
    body: Vec<u8>,
    length: u64,
    ended: bool,
}

impl Collector {
    fn touch(&mut self) {
        self.first_byte.get_or_insert_with(Instant::now);
    }

    fn push(&mut self, byte: u8) {
        self.length += 1;
        if self.body.len() < MAX_BODY {
            self.body.push(byte);
        }
    }

    fn finish(self) -> Result<Fetched, Failure> {
        let (Some(head), Some(first_byte)) = (self.head, self.first_byte) else { return Err(Failure::truncated(true)) };
        Ok(Fetched { head, first_byte, body: self.body, length: self.length })
    }
}

fn violation(error: impl std::fmt::Display) -> Failure {
    Failure::peer(Cause::ProtocolViolation, error.to_string())
}

/// One request over HTTP/1.1.
///
/// # Errors
/// The [`Failure`] of connection or response.
pub(super) async fn h1(
    stream: &mut TlsStream,
    request: &Request,
    token: Option<&TokenHex>,
) -> Result<Fetched, Failure> {
    let mut bytes = Vec::new();
    http1::RequestTemplate::new(request).write(token, &mut bytes);
    stream.write(&bytes)?;
    let mut parser = ResponseParser::new();
    let mut collector = Collector::default();
    poll_fn(|cx| {
        ready!(stream.poll_flush(cx))?;
        while !collector.ended {
            let received = ready!(stream.poll_receive(cx, &mut |plain| feed_h1(&mut parser, &mut collector, plain)))?;
            if received == Received::End && !collector.ended {
                match parser.finish() {
                    Ok(true) => collector.ended = true,
                    Ok(false) | Err(_) => return Poll::Ready(Err(Failure::truncated(true))),
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    collector.finish()
}

fn feed_h1(parser: &mut ResponseParser, collector: &mut Collector, plain: &[u8]) -> Result<(), Failure> {
    collector.touch();
    for byte in plain {
        let before = parser.body_bytes();
        let mut input = std::slice::from_ref(byte);
        loop {
            let progress = parser.feed(input).map_err(violation)?;
            input = input.get(progress.consumed..).unwrap_or_default();
            match progress.event {
                Some(http1::Event::Head) => collector.head = Some(*parser.head()),
                Some(http1::Event::End) => collector.ended = true,
                None => break,
            }
        }
        if parser.body_bytes() > before {
            collector.push(*byte);
        }
    }
    Ok(())
}

/// One request over HTTP/2.
///
/// # Errors
/// The [`Failure`] of connection or response.
pub(super) async fn h2(
    stream: &mut TlsStream,
    client: &mut H2Client<()>,
    request: &Request,
    token: Option<&TokenHex>,
) -> Result<Fetched, Failure> {
    client.request(&h2_client::RequestTemplate::new(request), token, ()).map_err(violation)?;
    let mut collector = Collector::default();
    let mut failure = None;
    while !collector.ended {
        stream.write(client.output())?;
        client.advance_output(client.output().len());
        let received = poll_fn(|cx| {
            ready!(stream.poll_flush(cx))?;
            stream.poll_receive(cx, &mut |plain| {
                for byte in plain {
                    client
                        .receive(std::slice::from_ref(byte), |event| match event {
                            Event::Head { head, .. } => {
                                collector.touch();
                                collector.head = Some(*head);
                            }
                            Event::Data { bytes: 1.., .. } => collector.push(*byte),
                            Event::End { .. } => collector.ended = true,
                            Event::Failed { failure: reason, .. } => failure = Some(reason),
                            Event::Data { .. } | Event::GoAway { .. } | Event::SettingsAcked => {}
                        })
                        .map_err(violation)?;
                }
                Ok(())
            })
        })
        .await?;
        if let Some(reason) = failure {
            return Err(Failure::peer(Cause::Truncated, reason.to_string()));
        }
        if received == Received::End && !collector.ended {
            return Err(Failure::truncated(true));
        }
    }
    collector.finish()
}

/// One request over HTTP/3.
///
/// # Errors
/// The [`Failure`] of connection or response.
pub(super) async fn h3(
    connection: &Connection,
    request: &Request,
    token: Option<&TokenHex>,
) -> Result<Fetched, Failure> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| Failure::quic(&error, true))?;
    let mut bytes = Vec::new();
    h3_frames::RequestTemplate::new(request).write(token, &mut bytes);
    // A server that stops reading may answer all the same; a lost connection shows when reading.
    let _stopped = send.write_chunk(Bytes::from(bytes)).await;
    let _stopped = send.finish();
    let mut reader = ResponseReader::new();
    let mut collector = Collector::default();
    loop {
        let chunk = match recv.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => break,
            Err(ReadError::ConnectionLost(error)) => return Err(Failure::quic(&error, true)),
            Err(error) => {
                return Err(Failure::peer(Cause::Truncated, format!("the HTTP/3 stream ended early: {error}")));
            }
        };
        collector.touch();
        for byte in &chunk {
            let before = reader.body_bytes();
            if reader.feed(std::slice::from_ref(byte)).map_err(violation)?.head {
                collector.head = Some(*reader.head());
            }
            if reader.body_bytes() > before {
                collector.push(*byte);
            }
        }
    }
    reader.finish().map_err(violation)?;
    collector.finish()
}
