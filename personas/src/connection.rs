//! What is known of one connection after its handshake: enough to prove it ([`Connection::echo`]) and to describe it
//! ([`Connection::saw`]).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::{io, io::IoSlice};

use http::HeaderValue;
use tbi_bench::control::personas::Saw;
use tbi_bench::fingerprint::HelloFields;
use tbi_bench::proof::{EXPORTER_LABEL, Echo, KEYING_MATERIAL_LEN, Token};
use tbi_bench::protocol::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::site::Site;
use crate::worker::Worker;

/// One connection, shared by its requests.
pub(crate) struct Connection {
    pub(crate) worker: Arc<Worker>,
    pub(crate) site: Arc<Site>,
    pub(crate) protocol: Protocol,
    pub(crate) facts: Facts,
    pub(crate) session: TlsSession,
    /// From accepting to the end of the handshake, µs.
    pub(crate) handshake_us: u64,
    requests: AtomicU64,
    /// The last token and its echo: a token belongs to a connection, so one export serves all its requests.
    echo: Mutex<Option<(Token, HeaderValue)>>,
}

/// What the handshake showed; kept raw, because few connections are ever asked.
pub(crate) struct Facts {
    pub(crate) peer: SocketAddr,
    pub(crate) tls_version: &'static str,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) hello: HelloFields,
    pub(crate) server_name: String,
}

/// Where keying material is exported from.
pub(crate) enum TlsSession {
    Tcp(SharedTls),
    Quic(quinn::Connection),
}

impl Connection {
    pub(crate) fn new(
        worker: Arc<Worker>,
        site: Arc<Site>,
        protocol: Protocol,
        facts: Facts,
        session: TlsSession,
        handshake_us: u64,
    ) -> Self {
        Self {
            worker,
            site,
            protocol,
            facts,
            session,
            handshake_us,
            requests: AtomicU64::new(0),
            echo: Mutex::new(None),
        }
    }

    /// Counts a request; gives the number of those before.
    pub(crate) fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Header value of the echo for `token`; `None` when the TLS library refuses to export, which it does only before the handshake ended.
    pub(crate) fn echo(&self, token: Token) -> Option<HeaderValue> {
        let mut last = self.echo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, echo)) = &*last
            && *of == token
        {
            return Some(echo.clone());
        }
        let echo = Echo::from_keying_material(&self.session.export(token)?);
        let value = HeaderValue::from_bytes(&echo.to_hex()).ok()?;
        *last = Some((token, value.clone()));
        Some(value)
    }

    /// The answer to `GET /saw`.
    pub(crate) fn saw(&self, requests_before: u64) -> Saw {
        let facts = &self.facts;
        Saw {
            persona: self.site.persona.clone(),
            peer: SocketAddr::new(facts.peer.ip().to_canonical(), facts.peer.port()).to_string(),
            tls_version: facts.tls_version.to_owned(),
            cipher_suite: facts.cipher_suite.map(crate::tls::suite_name).unwrap_or_default(),
            alpn: String::from_utf8_lossy(self.protocol.alpn()).into_owned(),
            client_hello: facts.hello.fingerprint(),
            server_name: facts.server_name.clone(),
            requests_before,
        }
    }
}

impl TlsSession {
    fn export(&self, token: Token) -> Option<[u8; KEYING_MATERIAL_LEN]> {
        let mut material = [0; KEYING_MATERIAL_LEN];
        match self {
            Self::Tcp(shared) => {
                let stream = shared.lock();
                stream
                    .get_ref()
                    .1
                    .export_keying_material(&mut material[..], EXPORTER_LABEL, Some(token.as_bytes()))
                    .ok()?;
            }
            Self::Quic(connection) => {
                connection.export_keying_material(&mut material, EXPORTER_LABEL, token.as_bytes()).ok()?;
            }
        }
        Some(material)
    }
}

/// A TLS stream that the HTTP library drives and requests export from. The lock is never contended (one thread drives both) and never
/// held across an await; it is there because the HTTP library owns its stream.
#[derive(Clone)]
pub(crate) struct SharedTls(Arc<Mutex<TlsStream<TcpStream>>>);

impl SharedTls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for SharedTls {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for SharedTls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_write_vectored()
    }
}
