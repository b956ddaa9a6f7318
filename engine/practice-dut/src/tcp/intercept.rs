//! One intercepted TCP connection: two TLS sessions established, then bytes relayed between them.
//!
//! Order, as real gateways have it: read the client's hello, connect to where the client wanted to go, verify that server against the
//! persona CA, copy its leaf, and only then answer the client — with the ALPN and version the server chose. A server that does not
//! verify gets no byte of the client's, and the client gets a TLS alert.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::sign::SingleCertAndKey;
use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, Mirror};
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::hello::Wishes;
use super::strip;
use crate::gateway::{Epoch, Shared};
use crate::tls::Versions;
use crate::tls::forge::{ForgeError, Subject};

/// Longest time for each of: the client's hello, connecting to the server, each handshake.
const STEP: Duration = Duration::from_secs(10);
/// Relay buffer per direction: one full TLS record.
const BUFFER: usize = 16 * 1024;
/// HTTP/1.1's ALPN name (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Alert descriptions (RFC 8446 §6).
#[derive(Debug, Clone, Copy)]
enum Alert {
    UnknownCa = 48,
    InternalError = 80,
}

/// Why a connection was given up on.
#[derive(Debug, thiserror::Error)]
pub(super) enum InterceptError {
    #[error("the client sent no usable ClientHello: {0}")]
    Hello(io::Error),
    #[error("cannot tell where the client wanted to go: {0}")]
    Destination(io::Error),
    #[error("cannot reach {destination}: {source}")]
    Connect { destination: SocketAddr, source: io::Error },
    #[error("the chain of {destination} does not verify against the persona CA: {source}")]
    Untrusted { destination: SocketAddr, source: rustls::Error },
    #[error("the handshake with {destination} failed: {source}")]
    Upstream { destination: SocketAddr, source: io::Error },
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error("the client broke off the handshake: {0}")]
    Client(io::Error),
}

impl InterceptError {
    pub(super) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Untrusted { .. })
    }

    fn alert(&self) -> Alert {
        if self.is_untrusted() { Alert::UnknownCa } else { Alert::InternalError }
    }
}

/// Both TLS sessions of a connection.
pub(super) struct Legs {
    pub(super) client: server::TlsStream<TcpStream>,
    pub(super) server: client::TlsStream<TcpStream>,
}

/// Establishes both legs.
pub(super) async fn establish(
    stream: TcpStream,
    shared: &Shared,
    behaviour: &Behaviour,
) -> Result<Legs, InterceptError> {
    // The accepted socket of a transparent listener carries the original destination as its own address.
    let destination = stream.local_addr().map_err(InterceptError::Destination)?;
    // Latency over batching; refusal would only cost some of it.
    let _best_effort = stream.set_nodelay(true);
    let hello = timed(LazyConfigAcceptor::new(Acceptor::default(), stream)).await.map_err(InterceptError::Hello)?;
    let wishes = Wishes::of(&hello.client_hello());
    let prepared = prepare(shared, behaviour, wishes, destination).await;
    let (server, config) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            refuse(hello.io, error.alert()).await;
            return Err(error);
        }
    };
    let client = timed(hello.into_stream(Arc::new(config))).await.map_err(InterceptError::Client)?;
    Ok(Legs { client, server })
}

/// Leg 2, and what leg 1 is to be answered with.
async fn prepare(
    shared: &Shared,
    behaviour: &Behaviour,
    wishes: Wishes,
    destination: SocketAddr,
) -> Result<(client::TlsStream<TcpStream>, rustls::ServerConfig), InterceptError> {
    let downgrade = behaviour.mirror == Mirror::Downgrade;
    let (versions, alpn) = if downgrade {
        let alpn = if wishes.alpn.is_empty() { Vec::new() } else { vec![HTTP_1_1.to_vec()] };
        (Versions::Both, alpn)
    } else {
        (wishes.versions, wishes.alpn)
    };
    let name = match wishes.name.map(ServerName::try_from) {
        Some(Ok(name)) => name,
        _ => ServerName::from(destination.ip()),
    };
    let stream = timed(TcpStream::connect(destination))
        .await
        .map_err(|source| InterceptError::Connect { destination, source })?;
    let _best_effort = stream.set_nodelay(true);
    let connector = TlsConnector::from(Arc::new(shared.templates.client(versions, alpn)));
    let server = timed(connector.connect(name, stream)).await.map_err(|source| verdict(destination, source))?;
    let (_, session) = server.get_ref();
    let chosen = session.alpn_protocol().map(<[u8]>::to_vec);
    let leaf = session.peer_certificates().and_then(<[_]>::first).cloned();
    let leaf = leaf.ok_or_else(|| ForgeError::Upstream("it sent none".to_owned()))?;
    let versions = if downgrade { Versions::Tls12 } else { Versions::negotiated(session.protocol_version()) };
    let forged = shared.forger.leaf(behaviour.forge, Subject::Upstream(leaf.into_owned()))?;
    let resolver = Arc::new(SingleCertAndKey::from(forged));
    Ok((server, shared.templates.server(versions, chosen.into_iter().collect(), resolver)))
}

/// Relays until both sides are done or one breaks.
pub(super) async fn relay(legs: Legs, epoch: &Arc<Epoch>) {
    if epoch.behaviour.alt_svc == AltSvcPolicy::Strip {
        return strip::serve(legs, epoch).await;
    }
    let Legs { mut client, mut server } = legs;
    // An end of stream passes on as close_notify and FIN. A side that breaks off without close_notify is an error here, and dropping
    // the other leg without close_notify tells its peer the same (RFC 8446 §6.1).
    if let Err(error) = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await {
        tracing::debug!(%error, "connection broke off");
    }
}

/// Tells the client in the clear, as no keys exist yet, why there will be no handshake.
async fn refuse(mut stream: TcpStream, alert: Alert) {
    const FATAL: u8 = 2;
    let record = [0x15, 3, 3, 0, 2, FATAL, alert as u8];
    let say = async {
        stream.write_all(&record).await?;
        stream.shutdown().await
    };
    // A client that has gone away meanwhile needs no explanation.
    let _gone = timed(say).await;
}

fn verdict(destination: SocketAddr, source: io::Error) -> InterceptError {
    let tls = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            InterceptError::Untrusted { destination, source: error.clone() }
        }
        _ => InterceptError::Upstream { destination, source },
    }
}

async fn timed<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
