//! HTTP/3: QUIC connections under the same caps as TCP ones, their requests answered by the same [`Door::answer`].
//!
//! Tasks: one per UDP socket ([`accept`]), one per connection, one per request in the connection's set.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use h3::error::Code;
use h3::server::RequestResolver;
use http::Response;
use http_body_util::BodyExt as _;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::body::{RequestBody, Source};
use crate::caps::Place;
use crate::connection::{CONNECTION_WINDOW, HANDSHAKE, STREAM_WINDOW, STREAMS};
use crate::door::{Client, Door};
use crate::gate::Peer;

/// H3_NO_ERROR (RFC 9114 section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// A connection that is silent for this long is over; QUIC has no other way to notice.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client has to take the last answers in before the connection is closed under it: QUIC does not flush at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Above the door's own limit, so that a head somewhat too large is answered with a problem document.
const HEAD: u64 = 32 << 10;
/// Handshakes under way above which an address must first prove that it receives.
const UNPROVEN: usize = 128;

type Stream = h3::server::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// An endpoint on `socket`.
///
/// # Errors
/// When the system refuses the socket.
pub(crate) fn endpoint(socket: UdpSocket, crypto: Arc<QuicServerConfig>) -> std::io::Result<Endpoint> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        // Control, QPACK encoder and decoder, and room for a reserved type.
        .max_concurrent_uni_streams(8_u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_idle_timeout(Some(VarInt::from_u32(u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX)).into()));
    let mut config = quinn::ServerConfig::with_crypto(crypto);
    config.transport_config(Arc::new(transport));
    let runtime = Arc::new(quinn::TokioRuntime);
    socket.set_nonblocking(true)?;
    Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)
}

/// Accepts until the door drains, then waits for the connections to end. Dropping it cuts them.
pub(crate) async fn accept(door: Arc<Door>, endpoint: Endpoint) {
    let mut open = JoinSet::new();
    loop {
        // Cancel safe: an attempt not yet taken stays with the endpoint, a task not yet joined in its set.
        let incoming = tokio::select! {
            () = door.stop.cancelled() => break,
            incoming = endpoint.accept() => incoming,
            Some(_ended) = open.join_next() => continue,
        };
        let Some(incoming) = incoming else { break };
        if !incoming.remote_address_validated() && endpoint.open_connections() > UNPROVEN {
            // An attempt that came with a token is validated, so this cannot fail here.
            let _validated = incoming.retry();
            continue;
        }
        match door.caps.take(incoming.remote_address().ip().to_canonical()) {
            Some(place) => {
                open.spawn(serve(Arc::clone(&door), incoming, place));
            }
            None => {
                door.connections.refused.fetch_add(1, Relaxed);
                incoming.refuse();
            }
        }
    }
    endpoint.set_server_config(None);
    while open.join_next().await.is_some() {}
    endpoint.close(NO_ERROR, b"");
    endpoint.wait_idle().await;
}

async fn serve(door: Arc<Door>, incoming: Incoming, _place: Place) {
    let address = incoming.remote_address().ip().to_canonical();
    let shaken = match incoming.accept() {
        Ok(connecting) => timeout(HANDSHAKE, connecting).await,
        Err(error) => Ok(Err(error)),
    };
    let Ok(Ok(quic)) = shaken else {
        door.connections.handshakes_failed.fetch_add(1, Relaxed);
        return;
    };
    door.connections.http3.fetch_add(1, Relaxed);
    let chain = quic.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = chain.and_then(|chain| chain.first().map(|leaf| Arc::from(leaf.as_ref())));
    let client = Arc::new(Client::new(Peer { address, certificate }, None));
    if let Err(error) = requests(&door, &quic, &client).await {
        tracing::debug!(%error, "an HTTP/3 connection broke");
    }
    quic.close(NO_ERROR, b"");
}

async fn requests(
    door: &Arc<Door>,
    quic: &quinn::Connection,
    client: &Arc<Client>,
) -> Result<(), h3::error::ConnectionError> {
    let mut http: h3::server::Connection<_, Bytes> = h3::server::builder()
        .send_grease(false)
        .max_field_section_size(HEAD)
        .build(h3_quinn::Connection::new(quic.clone()))
        .await?;
    // When this set goes, because the client went, its requests are cut, and with them what daemons do for them.
    let mut open = JoinSet::new();
    loop {
        // Cancel safe: `accept` keeps what it has read in the connection, joining leaves tasks in the set.
        tokio::select! {
            Some(_ended) = open.join_next() => {}
            accepted = http.accept() => match accepted? {
                Some(resolver) => {
                    open.spawn(respond(Arc::clone(door), resolver, Arc::clone(client)));
                }
                // The peer said goodbye; its open requests are still answered.
                None => break,
            },
            () = door.stop.cancelled() => {
                http.shutdown(0).await?;
                break;
            }
        }
    }
    // From here on nothing new is taken, but the connection still has to be turned.
    let rest = async {
        while open.join_next().await.is_some() {}
        let _closed_or_late = timeout(LAST_WORDS, quic.closed()).await;
    };
    let turning = async {
        while let Ok(Some(_late)) = http.accept().await {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = rest => {}
        () = turning => {}
    }
    Ok(())
}

async fn respond(door: Arc<Door>, resolver: RequestResolver<h3_quinn::Connection, Bytes>, client: Arc<Client>) {
    let (request, stream) = match timeout(HANDSHAKE, resolver.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            tracing::debug!(%error, "an HTTP/3 request was not read");
            return;
        }
        Err(_slow) => return,
    };
    let (mut sending, receiving) = Stream::split(stream);
    let (parts, ()) = request.into_parts();
    let declared =
        parts.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = RequestBody::new(Source::Http3(Box::new(receiving), declared));
    if bodyless(&parts) {
        // Read to its end, so that quinn does not send a STOP_SENDING for each request.
        match timeout(HANDSHAKE, body.ended()).await {
            Ok(ended) => body = ended,
            Err(_slow) => return,
        }
    }
    let (parts, mut body) = door.answer(http::Request::from_parts(parts, body), &client).await.into_parts();
    let sent = async {
        sending.send_response(Response::from_parts(parts, ())).await?;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => sending.send_data(data).await?,
                    Err(_trailers) => {}
                },
                Err(error) => {
                    tracing::debug!(%error, "an answer broke off");
                    sending.stop_stream(Code::H3_INTERNAL_ERROR);
                    return Ok(());
                }
            }
        }
        sending.finish().await
    };
    let sent: Result<(), h3::error::StreamError> = sent.await;
    if let Err(error) = sent {
        tracing::debug!(%error, "an HTTP/3 answer was not sent");
    }
}

/// Safe methods carry no body here, so that such a request can be asked twice and has an end.
fn bodyless(parts: &http::request::Parts) -> bool {
    parts.method.is_safe() && !parts.headers.contains_key(http::header::CONTENT_LENGTH)
}
