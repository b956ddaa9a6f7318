//! TLS over TCP on rustls' buffered API: bytes go straight from one big read into rustls and from there to a sink, without a copy
//! of ours and with one system call per direction and request.
//!
//! The read buffer belongs to the worker, not to the connection, so that many idle connections cost little. Not thread safe, and
//! need not be: a worker is one thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion};
use tbi_bench::control::engine::Cause;
use tbi_bench::proof::{EXPORTER_LABEL, Echo, KEYING_MATERIAL_LEN, Token};
use tbi_bench::protocol::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::attempt::{Attempt, Handshake};
use crate::failure::Failure;
use crate::sources::{self, Family};
use crate::worker::Worker;

/// Bytes read at once; four TLS records of the largest size.
pub const READ_BUFFER: usize = 64 * 1024;
/// How long a closed connection waits for the peer's FIN before it is dropped.
const LINGER: Duration = Duration::from_secs(1);

/// A read buffer shared by the connections of one thread.
pub type ReadBuffer = RefCell<Box<[u8]>>;

/// An established connection, or one that is being established.
pub struct TlsStream {
    tcp: TcpStream,
    tls: ClientConnection,
    buffer: Rc<ReadBuffer>,
    /// What the peer sent in the same read as the end of its handshake (HTTP/2 servers send SETTINGS there).
    early: Vec<u8>,
    /// The peer has said close_notify or FIN.
    ended: bool,
}

/// What a receive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Something came; the sink has seen what was decrypted.
    Data,
    /// The peer closed its direction.
    End,
}

/// Connects, does the handshake and tells the attempt; ends with a failure after the trial's handshake timeout.
///
/// # Errors
/// [`Failure`] of socket, connect or handshake.
pub async fn establish(worker: &Rc<Worker>, attempt: &Attempt) -> Result<TlsStream, Failure> {
    let target = attempt.target();
    let source = worker.sources.borrow_mut().next(Family::of(target.address))?;
    let name = worker.trial.server_name(attempt.target_index()).clone();
    let address = SocketAddr::new(target.address, target.port);
    let (config, buffer) = (Arc::clone(&worker.trial.tls), Rc::clone(&worker.read_buffer));
    let connecting = async {
        let (mut stream, connected) = TlsStream::connect(source, address, config, name, buffer).await?;
        stream.handshake(worker.trial.protocol).await?;
        Ok((stream, connected))
    };
    let deadline = attempt.started() + worker.trial.handshake_timeout;
    let (stream, connected) =
        tokio::time::timeout_at(deadline.into(), connecting).await.map_err(|_| Failure::handshake_timeout())??;
    let handshake = Handshake {
        connected: Some(connected),
        complete: Instant::now(),
        tls13: stream.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3),
        resumed: stream.tls.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    attempt.established(handshake, stream.tls.peer_certificates().unwrap_or_default());
    Ok(stream)
}

impl TlsStream {
    /// Connects TCP; the second value is when.
    ///
    /// # Errors
    /// [`Failure`] of socket or connect.
    pub async fn connect(
        source: std::net::IpAddr,
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffer: Rc<ReadBuffer>,
    ) -> Result<(Self, Instant), Failure> {
        let source = match (source.is_ipv4(), address.is_ipv4()) {
            (true, true) | (false, false) => source,
            _ => {
                return Err(Failure::local(
                    Cause::LocalResource,
                    "source and target are of different address families",
                ));
            }
        };
        let socket = sources::tcp_socket(source)?;
        let tcp = socket.connect(address).await.map_err(|error| Failure::connect(&error))?;
        let connected = Instant::now();
        let mut tls = ClientConnection::new(config, name).map_err(|error| Failure::tls(&error, false))?;
        // What is buffered is bounded by what we ask at once: streams times one request.
        tls.set_buffer_limit(None);
        Ok((Self { tcp, tls, buffer, early: Vec::new(), ended: false }, connected))
    }

    /// Runs the handshake to its end. In TLS 1.3 our Finished stays in the buffer and goes out with the first request: one packet
    /// and one system call less.
    ///
    /// # Errors
    /// [`Failure`] of TLS, of the connection, or of ALPN.
    pub async fn handshake(&mut self, protocol: Protocol) -> Result<(), Failure> {
        let mut early = Vec::new();
        let outcome = poll_fn(|cx| {
            while self.tls.is_handshaking() {
                ready!(self.poll_flush(cx))?;
                if !self.tls.is_handshaking() {
                    break;
                }
                // At most one read of it, because the handshake is then over.
                let mut keep = |plain: &[u8]| {
                    early.extend_from_slice(plain);
                    Ok(())
                };
                if ready!(self.poll_receive(cx, &mut keep))? == Received::End {
                    return Poll::Ready(Err(Failure::truncated(false)));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await;
        self.early = early;
        if outcome.is_err() {
            self.send_alert().await;
        }
        outcome?;
        match self.tls.alpn_protocol() {
            Some(alpn) if alpn == protocol.alpn() => Ok(()),
            // RFC 7301 §3.2 lets a server ignore ALPN; for HTTP/1.1 that changes nothing.
            None if protocol == Protocol::H1 => Ok(()),
            other => Err(Failure::peer(
                Cause::AlpnMismatch,
                format!(
                    "the peer chose {} instead of {protocol}",
                    other.map_or("no protocol".into(), String::from_utf8_lossy)
                ),
            )),
        }
    }

    /// What this end of the session derives for a token.
    ///
    /// # Errors
    /// A local failure if TLS cannot export, which an established session always can.
    pub fn echo(&self, token: &Token) -> Result<Echo, Failure> {
        self.tls
            .export_keying_material([0; KEYING_MATERIAL_LEN], EXPORTER_LABEL, Some(token.as_bytes()))
            .map(|material| Echo::from_keying_material(&material))
            .map_err(|error| {
                Failure::local(Cause::LocalResource, format!("TLS cannot export keying material: {error}"))
            })
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &ClientConnection {
        &self.tls
    }

    /// Whether the peer is known to send nothing more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Encrypts `bytes`; [`Self::poll_flush`] sends them.
    ///
    /// # Errors
    /// A local failure when rustls' buffer is full, which requests of ours cannot fill.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.tls
            .writer()
            .write_all(bytes)
            .map_err(|error| Failure::local(Cause::LocalResource, format!("cannot buffer a request: {error}")))
    }

    /// Sends what is encrypted.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.tls.wants_write() {
            let handshaken = !self.tls.is_handshaking();
            let mut socket = Socket { tcp: &mut self.tcp, cx };
            match self.tls.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(Failure::stream(&error, handshaken))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket and passes everything decrypted to `sink`.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Poll<Result<Received, Failure>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            sink(&early)?;
            return Poll::Ready(Ok(Received::Data));
        }
        let handshaken = !self.tls.is_handshaking();
        let mut buffer = self.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        // Through poll_read, because it clears readiness after a short read and so saves the read that would say EAGAIN.
        match ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read)) {
            Ok(()) => {}
            Err(error) => return Poll::Ready(Err(Failure::stream(&error, handshaken))),
        }
        let mut encrypted = read.filled();
        if encrypted.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(Received::End));
        }
        while !encrypted.is_empty() {
            if let Err(error) = self.tls.read_tls(&mut encrypted) {
                return Poll::Ready(Err(Failure::local(
                    Cause::LocalResource,
                    format!("cannot buffer a TLS record: {error}"),
                )));
            }
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => return Poll::Ready(Err(Failure::tls(&error, handshaken))),
            };
            self.ended |= state.peer_has_closed();
            if state.plaintext_bytes_to_read() > 0 {
                drain(&mut self.tls, sink)?;
            }
        }
        Poll::Ready(Ok(if self.ended { Received::End } else { Received::Data }))
    }

    /// Sends close_notify and FIN, then waits a bounded time for the peer's FIN, because closing a socket that still receives
    /// makes the kernel send RST (RFC 9411 §6.3 asks for FIN).
    pub async fn close(mut self) {
        self.tls.send_close_notify();
        let closing = async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            poll_fn(|cx| Pin::new(&mut self.tcp).poll_shutdown(cx))
                .await
                .map_err(|error| Failure::stream(&error, true))?;
            while self.discard().await? > 0 {}
            Ok::<(), Failure>(())
        };
        // What goes wrong here concerns no transaction any more.
        let _ended = tokio::time::timeout(LINGER, closing).await;
    }

    /// Reads and forgets, still encrypted: after our close_notify nothing that comes matters.
    async fn discard(&mut self) -> Result<usize, Failure> {
        poll_fn(|cx| {
            let mut buffer = self.buffer.borrow_mut();
            let mut read = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read)).map_err(|error| Failure::stream(&error, true))?;
            Poll::Ready(Ok(read.filled().len()))
        })
        .await
    }

    /// After a failed handshake rustls has an alert for the peer; it is sent if that needs no waiting.
    async fn send_alert(&mut self) {
        let _sent = poll_fn(|cx| {
            let _flushed = self.poll_flush(cx);
            Poll::Ready(())
        })
        .await;
    }
}

fn drain(tls: &mut ClientConnection, sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut reader = tls.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(plain) => {
                sink(plain)?;
                plain.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Failure::stream(&error, true)),
        };
        reader.consume(length);
    }
}

/// A tokio socket as rustls wants it.
struct Socket<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        // One record is the rule, and write costs the kernel less than writev.
        match bytes {
            [one] => self.write(one),
            several => or_would_block(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, several)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(into);
        or_would_block(Pin::new(&mut *self.tcp).poll_read(self.cx, &mut read))?;
        Ok(read.filled().len())
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
