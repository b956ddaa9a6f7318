//! Relays the streams of two QUIC connections one to one, in both directions, whoever opens them.
//!
//! Streams of each kind and initiator are opened on the other leg in the order of their ids, so ids are the same on both legs and what
//! refers to them (QPACK, GOAWAY) stays true. FIN, RESET_STREAM and STOP_SENDING pass on with their codes. Flow control passes on by
//! itself: a chunk is read only after the one before it was accepted by the other leg.
//!
//! When one side closes, what was already received is still delivered, for a bounded time, before the other side is closed with the same
//! code. A stream cut off by a lost connection is never ended with FIN: it is kept open until its connection is closed.

use std::time::Duration;

use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{H3_INTERNAL_ERROR, H3_NO_ERROR};

/// How long what was received before a close may take to be delivered.
const DELIVER: Duration = Duration::from_secs(1);

/// Stream halves that must not be dropped (which would end them) before their connection is closed.
type Cut = Option<SendStream>;

/// Relays until either side closes or the behaviour ends; both are closed then.
pub(super) async fn run(client: Connection, server: Connection, ended: &CancellationToken) {
    let mut streams: JoinSet<Cut> = JoinSet::new();
    let mut cut: Vec<SendStream> = Vec::new();
    let closed = loop {
        // Accepting is cancel-safe: a stream not taken stays with its connection. A taken one is opened on the other leg without
        // giving up halfway, inside `forward_*`, before the next is looked at, so order is kept.
        let opened = tokio::select! {
            () = ended.cancelled() => break None,
            error = client.closed() => break Some(error),
            error = server.closed() => break Some(error),
            Some(finished) = streams.join_next(), if !streams.is_empty() => {
                cut.extend(finished.ok().flatten());
                continue;
            }
            stream = accept(&client) => (stream, &server),
            stream = accept(&server) => (stream, &client),
        };
        let (Ok(stream), towards) = opened else { continue };
        // Waiting for the peer's stream limit is backpressure; a closed connection or the end of the behaviour ends the wait.
        let forwarded = tokio::select! {
            () = ended.cancelled() => break None,
            forwarded = forward(stream, towards, &mut streams) => forwarded,
        };
        if let Err(error) = forwarded {
            break Some(error);
        }
    };
    let (code, reason) = match closed {
        None => (H3_NO_ERROR, bytes::Bytes::from_static(b"behaviour changed")),
        Some(ConnectionError::ApplicationClosed(close)) => (close.error_code, close.reason),
        Some(error) => (H3_INTERNAL_ERROR, error.to_string().into_bytes().into()),
    };
    if !ended.is_cancelled() {
        let deliver = async {
            while let Some(finished) = streams.join_next().await {
                cut.extend(finished.ok().flatten());
            }
        };
        let _late = timeout(DELIVER, deliver).await;
    }
    client.close(code, &reason);
    server.close(code, &reason);
}

enum Opened {
    Bi(SendStream, RecvStream),
    Uni(RecvStream),
}

async fn accept(connection: &Connection) -> Result<Opened, ConnectionError> {
    tokio::select! {
        stream = connection.accept_bi() => stream.map(|(send, receive)| Opened::Bi(send, receive)),
        stream = connection.accept_uni() => stream.map(Opened::Uni),
    }
}

async fn forward(stream: Opened, towards: &Connection, streams: &mut JoinSet<Cut>) -> Result<(), ConnectionError> {
    match stream {
        Opened::Bi(send, receive) => {
            let (there, back) = towards.open_bi().await?;
            streams.spawn(pipe(receive, there));
            streams.spawn(pipe(back, send));
        }
        Opened::Uni(receive) => {
            let there = towards.open_uni().await?;
            streams.spawn(pipe(receive, there));
        }
    }
    Ok(())
}

/// Copies one direction of one stream to its end; returns the half that must be kept.
async fn pipe(mut from: RecvStream, mut to: SendStream) -> Cut {
    let mut stopped = Box::pin(to.stopped());
    loop {
        // Reading is cancel-safe, and a stream whose receiver said stop is not read further.
        let chunk = tokio::select! {
            biased;
            chunk = from.read_chunk(usize::MAX, true) => chunk,
            stop = &mut stopped => return stop_reading(stop.ok().flatten(), from, to),
        };
        match chunk {
            Ok(Some(chunk)) => match to.write_chunk(chunk.bytes).await {
                Ok(()) => {}
                Err(WriteError::Stopped(code)) => return stop_reading(Some(code), from, to),
                Err(_) => return Some(to),
            },
            Ok(None) => {
                // Finishing fails only on a stream that is already over. Done when everything has arrived, or never will.
                let _over = to.finish();
                if let Ok(Some(code)) = stopped.await {
                    let _over = from.stop(code);
                }
                return None;
            }
            Err(ReadError::Reset(code)) => {
                let _over = to.reset(code);
                return None;
            }
            Err(_) => return Some(to),
        }
    }
}

/// The receiver wants no more: say so to the sender. Without a code the connection is lost, and the half is kept.
fn stop_reading(code: Option<VarInt>, mut from: RecvStream, mut to: SendStream) -> Cut {
    let Some(code) = code else { return Some(to) };
    let _over = from.stop(code);
    // RFC 9000 §3.5 wants the stopped half reset, with the same code.
    let _over = to.reset(code);
    None
}
