//! Relays the streams of two QUIC connections one to one, in both directions, whoever opens them.
//!
//! Streams of each kind and initiator are opened on the other leg in the order of their ids, so ids are the same on both legs and what
//! refers to them (QPACK, GOAWAY) stays true. FIN, RESET_STREAM and STOP_SENDING pass on with their codes. Flow control passes on by
//! itself: a chunk is read only after the one before it was accepted by the other leg.
//!
//! When one side closes, what was already received is still delivered, for a bounded time, before the other side is closed with the same
//! code. A stream cut off by a lost connection is never ended with FIN: it is kept open until its connection is closed.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{H3_INTERNAL_ERROR, H3_NO_ERROR};

/// How long what was received before a close may take to be delivered.
const DELIVER: Duration = Duration::from_secs(1);

/// A stream half that must not be dropped (which would end it) before its connection is closed.
type Cut = Option<SendStream>;

/// Stream tasks of one connection pair. The lock is only ever held to add or reap.
#[derive(Default)]
struct Streams(Mutex<(JoinSet<Cut>, Vec<SendStream>)>);

impl Streams {
    fn spawn(&self, from: RecvStream, to: SendStream) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tasks, cut) = &mut *guard;
        while let Some(finished) = tasks.try_join_next() {
            cut.extend(finished.ok().flatten());
        }
        tasks.spawn(pipe(from, to));
    }

    fn into_parts(self) -> (JoinSet<Cut>, Vec<SendStream>) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relays until either side closes or the behaviour ends; both are closed then.
pub(super) async fn run(client: Connection, server: Connection, ended: &CancellationToken) {
    let streams = Streams::default();
    // Whatever ends the others ends both connections, so a stream caught between accepting and opening loses nothing more.
    let closed = tokio::select! {
        () = ended.cancelled() => None,
        error = client.closed() => Some(error),
        error = server.closed() => Some(error),
        error = forward(&client, &server, &streams) => Some(error),
        error = forward(&server, &client, &streams) => Some(error),
    };
    let (code, reason) = match closed {
        None => (H3_NO_ERROR, bytes::Bytes::from_static(b"behaviour changed")),
        Some(ConnectionError::ApplicationClosed(close)) => (close.error_code, close.reason),
        Some(error) => (H3_INTERNAL_ERROR, error.to_string().into_bytes().into()),
    };
    let (mut tasks, mut cut) = streams.into_parts();
    if !ended.is_cancelled() {
        let deliver = async {
            while let Some(finished) = tasks.join_next().await {
                cut.extend(finished.ok().flatten());
            }
        };
        let _late = timeout(DELIVER, deliver).await;
    }
    client.close(code, &reason);
    server.close(code, &reason);
}

/// Opens on one side what the other opens, until either is lost. The two kinds do not wait for each other: each waits only for the
/// peer's own limit of that kind, which is the backpressure wanted.
async fn forward(from: &Connection, to: &Connection, streams: &Streams) -> ConnectionError {
    let both_ways = async {
        loop {
            let (back, there) = from.accept_bi().await?;
            let (send, receive) = to.open_bi().await?;
            streams.spawn(there, send);
            streams.spawn(receive, back);
        }
    };
    let one_way = async {
        loop {
            let there = from.accept_uni().await?;
            streams.spawn(there, to.open_uni().await?);
        }
    };
    let ended: Result<Infallible, ConnectionError> = tokio::select! {
        ended = both_ways => ended,
        ended = one_way => ended,
    };
    match ended {
        Err(error) => error,
    }
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
