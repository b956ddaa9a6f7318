//! HTTP/3 over QUIC: handshake with the right site, then the `h3` crate. QPACK stays static: it has no dynamic table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h3::error::Code;
use h3::server::RequestResolver;
use quinn::{ConnectionError, Incoming, VarInt};
use tbi_bench::protocol::Protocol;
use tokio::task::JoinSet;

use crate::answer::answer;
use crate::connection::{Connection, Facts, TlsSession};
use crate::counters::Transport;
use crate::quic_tls::{QuicHello, unrecognized_name};
use crate::tcp::HANDSHAKE_LIMIT;
use crate::worker::Worker;

/// H3_NO_ERROR (RFC 9114 §8.1).
pub(crate) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// Largest request field section; agents send some 300 bytes.
const HEAD_LIMIT: u64 = 16 << 10;

/// Serves one incoming QUIC connection to its end. Failures are counted here and interest nobody else.
pub(crate) async fn serve(worker: Arc<Worker>, incoming: Incoming) {
    let began = Instant::now();
    let peer = incoming.remote_address();
    let Some(site) = incoming.local_ip().and_then(|address| worker.sites.at(address)).cloned() else {
        incoming.refuse();
        return worker.counters.sni_mismatch(Transport::Quic);
    };
    let shaken = match incoming.accept_with(Arc::clone(&site.quic)) {
        // Dropping the handshake at the deadline drops the connection.
        Ok(connecting) => {
            tokio::time::timeout(HANDSHAKE_LIMIT, connecting).await.unwrap_or(Err(ConnectionError::TimedOut))
        }
        Err(error) => Err(error),
    };
    let quic = match shaken {
        Ok(quic) => quic,
        Err(ConnectionError::TransportError(error)) if error.code == unrecognized_name() => {
            return worker.counters.sni_mismatch(Transport::Quic);
        }
        Err(error) => {
            tracing::debug!(%error, %peer, "QUIC handshake failed");
            return worker.counters.failure(Transport::Quic);
        }
    };
    worker.counters.handshake(Transport::Quic);
    let handshake_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let facts = facts(peer, &quic);
    let session = TlsSession::Quic(quic.clone());
    let connection = Arc::new(Connection::new(worker, site, Protocol::H3, facts, session, handshake_us));
    if let Err(error) = requests(&connection, quic.clone()).await {
        tracing::debug!(%error, %peer, "HTTP/3 connection ended");
    }
    quic.close(NO_ERROR, b"");
}

fn facts(peer: SocketAddr, quic: &quinn::Connection) -> Facts {
    // Our own session type gives this after every completed handshake.
    let hello = quic.handshake_data().and_then(|data| data.downcast::<QuicHello>().ok());
    let (hello, server_name, cipher_suite) = match hello {
        Some(hello) => (hello.fields, hello.server_name, hello.suite),
        None => (Default::default(), String::new(), None),
    };
    Facts { peer, tls_version: "TLS 1.3", cipher_suite, hello, server_name }
}

/// Accepts requests until the peer closes or the worker stops, then lets open ones finish.
async fn requests(connection: &Arc<Connection>, quic: quinn::Connection) -> Result<(), h3::error::ConnectionError> {
    let mut http: h3::server::Connection<_, Bytes> = h3::server::builder()
        .send_grease(false)
        .max_field_section_size(HEAD_LIMIT)
        .build(h3_quinn::Connection::new(quic))
        .await?;
    let stop = connection.worker.shutdown.requested();
    tokio::pin!(stop);
    let mut open = JoinSet::new();
    loop {
        // Cancel safe: `accept` keeps what it has read in the connection, joining leaves tasks in the set; `stop` lives outside.
        tokio::select! {
            biased;
            Some(ended) = open.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    connection.worker.counters.panic();
                }
            }
            accepted = http.accept() => match accepted {
                Ok(Some(resolver)) => {
                    open.spawn(respond(Arc::clone(connection), resolver));
                }
                Ok(None) => break,
                Err(error) => return Err(error),
            },
            () = &mut stop => {
                http.shutdown(0).await?;
                break;
            }
        }
    }
    while open.join_next().await.is_some() {}
    Ok(())
}

async fn respond(connection: Arc<Connection>, resolver: RequestResolver<h3_quinn::Connection, Bytes>) {
    let answered = async {
        let (request, mut stream) = resolver.resolve_request().await?;
        let (parts, body) = answer(&connection, request.method(), request.uri().path(), request.headers()).into_parts();
        stream.send_response(http::Response::from_parts(parts, ())).await?;
        if !body.is_empty() {
            stream.send_data(body).await?;
        }
        stream.finish().await?;
        // Requests have no body. Reading to the end keeps quinn from sending a STOP_SENDING for each; the wait is bounded by the number of
        // streams and the idle time of the connection, and nobody waits for it.
        if stream.recv_data().await?.is_some() {
            stream.stop_sending(Code::H3_NO_ERROR);
        }
        Ok::<_, h3::error::StreamError>(())
    };
    if let Err(error) = answered.await {
        tracing::debug!(%error, "HTTP/3 request failed");
    }
}
