//! HTTP/3 straight on quinn: prebuilt HEADERS, frames read in place, bodies counted.
//!
//! The server's unidirectional streams are read on connections that live for more than one transaction, because GOAWAY comes there;
//! on one-transaction connections they wait in QUIC's flow control, which RFC 9114 §6.2 allows and which saves their wake-ups.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt, WriteError};
use rustls::pki_types::CertificateDer;
use tbi_bench::control::engine::{Cause, Fault};
use tbi_bench::proof::{EXPORTER_LABEL, Echo, KEYING_MATERIAL_LEN, Token};

use super::Errand;
use super::watchdog::Watchdog;
use crate::attempt::{Attempt, Handshake, Response, Transaction};
use crate::codec::h3_control::{PeerStreams, UniEvent, UniReader, control_stream_preamble};
use crate::codec::h3_frames::{H3Error, ResponseReader};
use crate::failure::Failure;
use crate::sources::Family;
use crate::worker::Worker;

/// RFC 9114 §8.1.
pub const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// RFC 9114 §8.1.
const H3_REQUEST_CANCELLED: VarInt = VarInt::from_u32(0x10c);

/// A connection under way, shared by its streams.
struct Shared<'a> {
    worker: &'a Worker,
    attempt: &'a Attempt,
    connection: Connection,
    own: Echo,
    errand: Errand,
    started: Cell<u32>,
    /// The server takes no more requests.
    going_away: Cell<bool>,
    /// Why we closed the connection ourselves.
    failure: RefCell<Option<Failure>>,
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let path = self.connection.stats().path;
        self.attempt.quic_packets(path.sent_packets, path.lost_packets);
        self.connection.close(H3_NO_ERROR, b"");
    }
}

/// Drives one HTTP/3 connection.
///
/// # Errors
/// The [`Failure`] that ended it; transactions that began have been counted.
pub async fn run(worker: &Rc<Worker>, attempt: &Attempt, errand: Errand) -> Result<(), Failure> {
    let connection = establish(worker, attempt).await?;
    let own = echo(&connection, attempt.token())?;
    // Dropping our control stream would finish it, which RFC 9114 §6.2.1 forbids; so it lives as long as the connection.
    let _control = open_control(&connection).await?;
    let shared = Shared {
        worker,
        attempt,
        connection,
        own,
        errand,
        started: Cell::new(0),
        going_away: Cell::new(false),
        failure: RefCell::new(None),
    };
    if errand.transactions == Some(1) {
        return stream_loop(&shared).await;
    }
    // Peer streams never end the connection by themselves: what they find ends it through `Shared::abort`. Cancelled with it.
    tokio::select! {
        biased;
        result = all_streams(&shared) => result,
        () = read_peer_streams(&shared) => Ok(()),
    }
}

async fn establish(worker: &Worker, attempt: &Attempt) -> Result<Connection, Failure> {
    let target = attempt.target();
    let (endpoint, config) = worker
        .quic()
        .and_then(|endpoints| endpoints.next(Family::of(target.address)))
        .ok_or_else(|| Failure::local(Cause::LocalResource, "no QUIC socket of the target's address family"))?;
    let address = SocketAddr::new(target.address, target.port);
    let connecting = endpoint
        .connect_with(config, address, &target.server_name)
        .map_err(|error| Failure::local(Cause::LocalResource, format!("cannot start a QUIC connection: {error}")))?;
    let deadline = attempt.started() + worker.trial.handshake_timeout;
    let connection = tokio::time::timeout_at(deadline.into(), connecting)
        .await
        .map_err(|_| Failure::handshake_timeout())?
        .map_err(|error| Failure::quic(&error, false))?;
    // QUIC has no TLS 1.2 (RFC 9001 §4.2). quinn does not tell whether a handshake was resumed; with the session store switched off
    // ([`crate::tls::profile`]) there is nothing to resume from.
    let handshake = Handshake { connected: None, complete: Instant::now(), tls13: true, resumed: false };
    let chain = if worker.trial.has_several_authorities() { peer_chain(&connection) } else { Vec::new() };
    attempt.established(handshake, &chain);
    Ok(connection)
}

/// Certificates the peer showed, leaf first.
#[must_use]
pub fn peer_chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|chain| *chain)
        .unwrap_or_default()
}

/// What this end of the session derives for a token.
///
/// # Errors
/// A local failure if TLS cannot export, which an established session always can.
pub fn echo(connection: &Connection, token: &Token) -> Result<Echo, Failure> {
    let mut material = [0; KEYING_MATERIAL_LEN];
    connection
        .export_keying_material(&mut material, EXPORTER_LABEL, token.as_bytes())
        .map_err(|_| Failure::local(Cause::LocalResource, "QUIC cannot export keying material"))?;
    Ok(Echo::from_keying_material(&material))
}

/// Opens our control stream and says SETTINGS.
///
/// # Errors
/// The [`Failure`] of the connection.
pub async fn open_control(connection: &Connection) -> Result<SendStream, Failure> {
    let mut control = connection.open_uni().await.map_err(|error| Failure::quic(&error, true))?;
    control.write_chunk(control_preamble()).await.map_err(|error| write_failure(&error))?;
    Ok(control)
}

fn control_preamble() -> Bytes {
    thread_local! {
        static PREAMBLE: Bytes = Bytes::from(control_stream_preamble());
    }
    PREAMBLE.with(Bytes::clone)
}

async fn all_streams(shared: &Shared<'_>) -> Result<(), Failure> {
    if shared.errand.streams == 1 {
        return stream_loop(shared).await;
    }
    let mut loops: FuturesUnordered<_> = (0..shared.errand.streams).map(|_| stream_loop(shared)).collect();
    let mut outcome = Ok(());
    while let Some(ended) = loops.next().await {
        outcome = outcome.and(ended);
    }
    outcome
}

/// One request after the other, until the errand is done or the connection is.
async fn stream_loop(shared: &Shared<'_>) -> Result<(), Failure> {
    let patience = shared.worker.trial.request_timeout;
    let mut reader = ResponseReader::new();
    let mut watchdog = Watchdog::new(Instant::now() + patience);
    while shared.may_start() {
        let opened = Instant::now();
        watchdog.restart(opened, patience);
        let streams = watchdog.guard(shared.connection.open_bi()).await;
        let transaction = shared.attempt.begin();
        let exchanged = match streams {
            None => Err(shared.abort(Failure::request_timeout(), H3_REQUEST_CANCELLED)),
            Some(Err(error)) => Err(shared.lost(&error)),
            Some(Ok((send, recv))) => {
                reader.reset();
                match watchdog.guard(exchange(shared, transaction, send, recv, &mut reader)).await {
                    Some(exchanged) => exchanged,
                    None => Err(shared.abort(Failure::request_timeout(), H3_REQUEST_CANCELLED)),
                }
            }
        };
        match exchanged {
            Ok(None) => {}
            Ok(Some(failure)) => shared.attempt.fail(transaction, &failure),
            Err(failure) => {
                shared.attempt.fail(transaction, &failure);
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// One request; `Ok(Some)` when only this one failed.
async fn exchange(
    shared: &Shared<'_>,
    transaction: Transaction,
    mut send: SendStream,
    mut recv: RecvStream,
    reader: &mut ResponseReader,
) -> Result<Option<Failure>, Failure> {
    let token = transaction.first.then(|| shared.attempt.token().to_hex());
    let number = shared.worker.next_request();
    let (request, expected) =
        shared.worker.trial.templates.bytes(shared.attempt.target_index(), number, token.as_ref());
    match send.write_chunk(request).await {
        // A server may stop reading once it has seen enough to answer (RFC 9114 §4.1).
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(WriteError::ConnectionLost(error)) => return Err(shared.lost(&error)),
        Err(error) => return Err(write_failure(&error)),
    }
    // Fails only on a stopped stream, which is finished anyway.
    let _stopped = send.finish();
    let mut first_byte = None;
    loop {
        let chunk = match recv.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => break,
            Err(ReadError::Reset(code)) => {
                return Ok(Some(Failure::peer(
                    Cause::Truncated,
                    format!("the server reset the HTTP/3 stream with code {code}"),
                )));
            }
            Err(ReadError::ConnectionLost(error)) => return Err(shared.lost(&error)),
            Err(error) => {
                return Err(Failure::local(Cause::LocalResource, format!("reading an HTTP/3 stream failed: {error}")));
            }
        };
        first_byte.get_or_insert_with(Instant::now);
        if let Err(error) = shared.feed(reader, &chunk, transaction) {
            return shared.broken(error);
        }
    }
    if let Err(error) = reader.finish() {
        return shared.broken(error);
    }
    let last_byte = Instant::now();
    let first_byte = first_byte.unwrap_or(last_byte);
    let response = Response { head: reader.head(), body: reader.body_bytes(), first_byte, last_byte };
    shared.attempt.end(transaction, response, expected);
    Ok(None)
}

impl Shared<'_> {
    fn may_start(&self) -> bool {
        let started = self.started.get();
        let allowed = match self.errand.transactions {
            Some(limit) => started < limit,
            None => true,
        } && !self.going_away.get()
            && self.failure.borrow().is_none()
            && (started == 0 || Instant::now() < self.errand.stop);
        if allowed {
            self.started.set(started.saturating_add(1));
        }
        allowed
    }

    fn feed(&self, reader: &mut ResponseReader, mut chunk: &[u8], transaction: Transaction) -> Result<(), H3Error> {
        while !chunk.is_empty() {
            let progress = reader.feed(chunk)?;
            if progress.head && transaction.first {
                self.attempt.classify(self.own, reader.head());
            }
            chunk = chunk.get(progress.consumed..).unwrap_or_default();
        }
        Ok(())
    }

    /// A broken rule of HTTP/3 fails the request, or the whole connection.
    fn broken(&self, error: H3Error) -> Result<Option<Failure>, Failure> {
        let failure = Failure::peer(Cause::ProtocolViolation, error.to_string());
        if error.is_stream_error() {
            return Ok(Some(failure));
        }
        Err(self.abort(failure, VarInt::from_u32(error.code() as u32)))
    }

    /// Ends the connection from our side; other streams will see it end for the same reason.
    fn abort(&self, failure: Failure, code: VarInt) -> Failure {
        self.connection.close(code, b"");
        self.failure.borrow_mut().get_or_insert(failure).clone()
    }

    /// The connection is gone: for our own reason if we had one.
    fn lost(&self, error: &quinn::ConnectionError) -> Failure {
        self.failure.borrow().clone().unwrap_or_else(|| Failure::quic(error, true))
    }
}

fn write_failure(error: &WriteError) -> Failure {
    match error {
        WriteError::ConnectionLost(error) => Failure::quic(error, true),
        other => Failure {
            cause: Cause::QuicClosed,
            fault: Fault::Peer,
            active: true,
            detail: format!("the server closed a stream: {other}"),
        },
    }
}

/// Reads the streams the server opens until the connection ends; then waits to be cancelled.
async fn read_peer_streams(shared: &Shared<'_>) {
    let seen = RefCell::new(PeerStreams::default());
    let mut readers = FuturesUnordered::new();
    loop {
        // Both arms only wait for the connection; nothing is lost when one is cancelled.
        tokio::select! {
            opened = shared.connection.accept_uni() => match opened {
                Ok(stream) => readers.push(read_peer_stream(shared, stream, &seen)),
                Err(_ended) => break,
            },
            Some(()) = readers.next() => {}
        }
    }
    std::future::pending::<()>().await;
}

async fn read_peer_stream(shared: &Shared<'_>, mut stream: RecvStream, seen: &RefCell<PeerStreams>) {
    let mut reader = UniReader::default();
    loop {
        let result = match stream.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => reader.feed(&chunk.bytes, &mut seen.borrow_mut(), |event| match event {
                UniEvent::GoAway { .. } => shared.going_away.set(true),
                UniEvent::Settings => {}
            }),
            Ok(None) | Err(ReadError::Reset(_)) => {
                if let Err(error) = reader.finish() {
                    shared.abort(
                        Failure::peer(Cause::ProtocolViolation, error.to_string()),
                        VarInt::from_u32(error.code() as u32),
                    );
                }
                return;
            }
            Err(_ended) => return,
        };
        if let Err(error) = result {
            shared.abort(
                Failure::peer(Cause::ProtocolViolation, error.to_string()),
                VarInt::from_u32(error.code() as u32),
            );
            return;
        }
    }
}
