//! TCP connections: accepted under the caps, shaken hands with, and served as HTTP/1.1 or HTTP/2, whichever ALPN chose. Plain HTTP gets nothing:
//! what is no TLS handshake ends the connection.
//!
//! Tasks: one per listening socket ([`accept`]) and one per connection in its set; both end when the door drains.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::body::{AnswerBody, RequestBody, Source};
use crate::caps::Place;
use crate::door::{Client, Door};
use crate::gate::Peer;
use crate::guard::{Guarded, Verdict};

/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a request's head may take from its first byte on.
const HEAD: Duration = Duration::from_secs(10);
/// A connection that asked for nothing from one look to the next is told to go: after one to two minutes.
const IDLE: Duration = Duration::from_secs(60);
/// Streams of one HTTP/2 or HTTP/3 connection.
pub(crate) const STREAMS: u32 = 128;
/// What one stream, and one connection, may send ahead.
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;
pub(crate) const CONNECTION_WINDOW: u32 = 1 << 20;
/// Pause after accepting failed, which means that descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Settings of the servers, shared by all connections.
pub(crate) struct Servers {
    door: Arc<Door>,
    tls: TlsAcceptor,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Servers {
    pub(crate) fn new(door: Arc<Door>, tls: Arc<rustls::ServerConfig>) -> Arc<Self> {
        let mut http1 = http1::Builder::new();
        http1
            // The guard hands heads on whole and has a clock of its own, and `until_idle` looks after the rest.
            .header_read_timeout(None)
            .max_buf_size(32 << 10)
            .max_headers(crate::guard::head::FIELD_LIMIT);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(16 << 10)
            // Above the limit, so that a head above the limit, but not far, is answered with a problem document; h2 cuts what is larger.
            .max_header_list_size(32 << 10)
            .header_table_size(4096)
            .max_send_buf_size(64 << 10)
            // Rapid reset (CVE-2023-44487) and its relatives end the connection.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(64)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        Arc::new(Self { door, tls: TlsAcceptor::from(tls), http1, http2 })
    }
}

/// Accepts until the door drains, then waits for the connections to end. Dropping it cuts them.
pub(crate) async fn accept(servers: Arc<Servers>, listener: TcpListener) {
    let door = Arc::clone(&servers.door);
    let mut open = JoinSet::new();
    loop {
        // Cancel safe: a connection not yet accepted stays in the kernel's queue, a task not yet joined in its set.
        let accepted = tokio::select! {
            () = door.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_ended) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, from)) => match door.caps.take(from.ip().to_canonical()) {
                Some(place) => {
                    open.spawn(serve(Arc::clone(&servers), stream, from, place));
                }
                // Closed at once: there is no room to say why, and TLS for saying it would be what an attacker wants.
                None => drop(door.connections.refused.fetch_add(1, Relaxed)),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Each part has memory of its own, which is given back when it is done: a connection lies idle for most of its life.
async fn serve(servers: Arc<Servers>, stream: TcpStream, from: SocketAddr, _place: Place) {
    // Answers are written whole; waiting for more to send only delays them. Failing that, they are a little later.
    let _slower = stream.set_nodelay(true);
    let Some(stream) = Box::pin(shake_hands(&servers, stream)).await else { return };
    speak(&servers, stream, from).await;
}

async fn shake_hands(servers: &Servers, stream: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
    tokio::select! {
        // A handshake has nothing to lose.
        () = servers.door.stop.cancelled() => None,
        shaken = timeout(HANDSHAKE, servers.tls.accept(stream)) => match shaken {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err(_)) | Err(_) => {
                servers.door.connections.handshakes_failed.fetch_add(1, Relaxed);
                None
            }
        },
    }
}

/// The protocol that was chosen, boxed by its own size.
fn speak<'a>(
    servers: &'a Servers,
    stream: Box<TlsStream<TcpStream>>,
    from: SocketAddr,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates().and_then(<[_]>::first).map(|leaf| Arc::from(leaf.as_ref()));
    let peer = Peer { address: from.ip().to_canonical(), certificate };
    if session.alpn_protocol() == Some(b"h2") {
        servers.door.connections.http2.fetch_add(1, Relaxed);
        Box::pin(serve_http2(servers, stream, peer))
    } else {
        servers.door.connections.http1.fetch_add(1, Relaxed);
        Box::pin(serve_http1(servers, stream, peer))
    }
}

async fn serve_http1(servers: &Servers, stream: Box<TlsStream<TcpStream>>, peer: Peer) {
    let verdict = Verdict::default();
    let guarded = Guarded::new(stream, verdict.clone(), HEAD);
    let client = Arc::new(Client::new(peer, Some(verdict)));
    let (door, asking) = (Arc::clone(&servers.door), Arc::clone(&client));
    let service = service_fn(move |request| respond(&door, request, &asking));
    let mut connection = pin!(servers.http1.serve_connection(TokioIo::new(guarded), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = time_to_go(&servers.door, &client) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    told(ended);
}

async fn serve_http2(servers: &Servers, stream: Box<TlsStream<TcpStream>>, peer: Peer) {
    let client = Arc::new(Client::new(peer, None));
    let (door, asking) = (Arc::clone(&servers.door), Arc::clone(&client));
    let service = service_fn(move |request| respond(&door, request, &asking));
    let mut connection = pin!(servers.http2.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = time_to_go(&servers.door, &client) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    told(ended);
}

/// Waits until the door drains, or until the client has asked for nothing for a while. Who is told to go may finish what is open, so a long
/// download or an event stream is not cut.
async fn time_to_go(door: &Door, client: &Client) {
    let idle = async {
        let mut before = None;
        loop {
            sleep(IDLE).await;
            let now = Some(client.requests());
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::select! {
        () = door.stop.cancelled() => {}
        () = idle => {}
    }
}

fn told(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

/// Boxed, so that a connection that is idle does not keep the room of a request.
fn respond(door: &Arc<Door>, request: Request<Incoming>, client: &Arc<Client>) -> Answering {
    let (door, client) = (Arc::clone(door), Arc::clone(client));
    Box::pin(async move {
        let request =
            request.map(|body| RequestBody::new(if body.is_end_stream() { Source::Empty } else { Source::Http(body) }));
        Ok(door.answer(request, &client).await)
    })
}
