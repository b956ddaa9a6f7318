//! HTTP/1.1 and HTTP/2 over TLS over TCP: handshake with the right site, then hyper.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tbi_bench::protocol::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer::answer;
use crate::connection::{Connection, Facts, SharedTls, TlsSession};
use crate::counters::Transport;
use crate::site::Site;
use crate::tls::hello_fields;
use crate::worker::Worker;

/// From accepting to the end of the handshake.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A connection on which no request came for this long is closed at the next look, so after at most twice as long.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Largest request head; agents send some 300 bytes.
const HEAD_LIMIT: usize = 16 << 10;
const STREAMS: u32 = 256;
/// TLS record: fatal alert `unrecognized_name` (RFC 6066 §3), in the clear as no keys are agreed yet.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Serves one accepted connection to its end. Failures are counted here and interest nobody else.
pub(crate) async fn serve(worker: Arc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let began = Instant::now();
    let deadline = tokio::time::sleep(HANDSHAKE_LIMIT);
    tokio::pin!(deadline);
    // Cancelling the handshake drops the connection, which is what the deadline is for.
    let shaken = tokio::select! {
        biased;
        shaken = handshake(&worker, stream) => shaken,
        () = &mut deadline => Err(Refusal::Failed(io::ErrorKind::TimedOut.into())),
    };
    let (site, tls, mut facts) = match shaken {
        Ok(shaken) => shaken,
        Err(Refusal::WrongName) => return worker.counters.sni_mismatch(Transport::Tcp),
        Err(Refusal::Failed(error)) => {
            tracing::debug!(%error, %peer, "TLS handshake failed");
            return worker.counters.failure(Transport::Tcp);
        }
    };
    worker.counters.handshake(Transport::Tcp);
    facts.peer = peer;
    let handshake_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let protocol = tls.get_ref().1.alpn_protocol().and_then(Protocol::from_alpn).unwrap_or(Protocol::H1);
    let shared = SharedTls::new(tls);
    let session = TlsSession::Tcp(shared.clone());
    let connection = Arc::new(Connection::new(worker, site, protocol, facts, session, handshake_us));
    let service = Answers(Arc::clone(&connection));
    match protocol {
        Protocol::H2 => {
            let driver = http2::Builder::new(TokioExecutor::new())
                .max_frame_size(16_384)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEAD_LIMIT as u32)
                .serve_connection(TokioIo::new(shared), service);
            drive(driver, &connection, deadline).await;
        }
        Protocol::H1 | Protocol::H3 => {
            let driver = http1::Builder::new().max_buf_size(HEAD_LIMIT).serve_connection(TokioIo::new(shared), service);
            drive(driver, &connection, deadline).await;
        }
    }
}

enum Refusal {
    WrongName,
    Failed(io::Error),
}

async fn handshake(worker: &Worker, stream: TcpStream) -> Result<(Arc<Site>, TlsStream<TcpStream>, Facts), Refusal> {
    let local = stream.local_addr().map_err(Refusal::Failed)?;
    let mut start =
        LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.map_err(Refusal::Failed)?;
    let hello = start.client_hello();
    let server_name = hello.server_name().unwrap_or_default();
    let Some(site) = worker.sites.at(local.ip()).filter(|site| server_name.eq_ignore_ascii_case(&site.server_name))
    else {
        // The count is what matters; a peer that is gone need not be told.
        let _told = start.io.write_all(&UNRECOGNIZED_NAME).await;
        let _closed = start.io.shutdown().await;
        return Err(Refusal::WrongName);
    };
    let site = Arc::clone(site);
    let mut facts = Facts {
        peer: local,
        tls_version: "",
        cipher_suite: None,
        server_name: server_name.to_owned(),
        hello: hello_fields(&hello, false),
    };
    let tls = start.into_stream(Arc::clone(&site.tls)).await.map_err(Refusal::Failed)?;
    let session = tls.get_ref().1;
    facts.tls_version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    facts.cipher_suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    Ok((site, tls, facts))
}

/// A hyper connection of either protocol.
trait Driver: Future<Output = hyper::Result<()>> {
    fn wind_down(self: Pin<&mut Self>);
}

impl Driver for http1::Connection<TokioIo<SharedTls>, Answers> {
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Driver for http2::Connection<TokioIo<SharedTls>, Answers, TokioExecutor> {
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the connection until it ends, idles for too long, or the worker stops. The timer of the handshake goes on as the idle timer.
async fn drive(driver: impl Driver, connection: &Connection, mut look: Pin<&mut Sleep>) {
    let stop = connection.worker.shutdown.requested();
    tokio::pin!(driver, stop);
    let (mut seen, mut stopping) = (0, false);
    look.as_mut().reset(tokio::time::Instant::now() + IDLE_LIMIT);
    loop {
        // No arm loses anything: all three futures live outside the loop.
        tokio::select! {
            biased;
            ended = driver.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "HTTP connection ended");
                }
                return;
            }
            () = look.as_mut() => {
                let now = connection.requests();
                if now == seen {
                    return;
                }
                seen = now;
                look.as_mut().reset(tokio::time::Instant::now() + IDLE_LIMIT);
            }
            () = &mut stop, if !stopping => {
                stopping = true;
                driver.as_mut().wind_down();
            }
        }
    }
}

/// Answers at once, without a future that would have to be polled again.
struct Answers(Arc<Connection>);

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(answer(&self.0, request.method(), request.uri().path(), request.headers()).map(Full::new)))
    }
}
