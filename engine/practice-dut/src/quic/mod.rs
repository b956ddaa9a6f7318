//! QUIC interception: two QUIC connections per client connection, streams relayed one to one ([`relay`]), HTTP/3 never interpreted.
//!
//! The transparent socket is quinn's own: packet information carries the original destination in and the source address out (ip(7)
//! `IP_PKTINFO`, which a transparent socket may fill with any address), and the socket is bound to port 443, so replies come from where
//! the client sent to, offloads included. The server's name is only known once the client's first flight is decrypted, so the forged
//! leaf is signed inside the certificate resolver and leg 2 is opened at the same moment. No stream is relayed before leg 2's server
//! verified against the persona CA and leg 1's handshake is complete.
//!
//! Tasks: one acceptor per socket, owned by the worker; one task per connection plus its streams, owned by the epoch.

mod relay;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tbi_bench::control::practice_dut::{Forge, QuicPolicy};
use tbi_bench::wire::PORT;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::counters::Watch;
use crate::gateway::{Epoch, Shared};
use crate::sockets::{self, Family, SocketError};
use crate::tls::forge::Subject;
use crate::tls::{NoCertificate, Versions};

/// HTTP/3's ALPN name (RFC 9114 §3.1): all that is intercepted.
const ALPN: &[u8] = b"h3";
/// Longest time for each handshake.
const STEP: Duration = Duration::from_secs(10);
/// Longer than clients and personas use, so that theirs decides.
const IDLE_MS: u32 = 120_000;
/// Streams a peer may have open at a time, each direction: bounds tasks and memory.
const MAX_STREAMS: u32 = 512;
/// Unread bytes a connection may hold in each direction.
const WINDOW: u32 = 8 << 20;
/// Connections one socket carries at a time; further ones are refused.
const MAX_CONNECTIONS: usize = 25_000;
/// Application close codes of HTTP/3 (RFC 9114 §8.1).
const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);
const H3_INTERNAL_ERROR: VarInt = VarInt::from_u32(0x102);

/// Why there is no QUIC interception.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// No socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No endpoint on it.
    #[error("cannot open a QUIC endpoint: {0}; check the limit of open files")]
    Endpoint(std::io::Error),
    /// No usable suite; a defect.
    #[error("the TLS library offers no suite for QUIC: {0}; report this as a defect")]
    Suite(#[from] NoInitialCipherSuite),
}

/// Sockets of one worker and family, opened before any thread starts so that errors are told at start.
#[derive(Debug)]
pub struct Sockets {
    inside: std::net::UdpSocket,
    outside: std::net::UdpSocket,
}

impl Sockets {
    /// Opens them.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open(family: Family) -> Result<Self, SocketError> {
        Ok(Self { inside: sockets::datagrams(family)?, outside: sockets::client_datagrams(family)? })
    }
}

/// Both endpoints of one worker and family.
#[derive(Debug)]
pub struct Interceptor {
    inside: Endpoint,
    outside: Endpoint,
    transport: Arc<TransportConfig>,
    shared: Arc<Shared>,
}

impl Interceptor {
    /// Endpoints on `sockets`, inside the current runtime.
    ///
    /// # Errors
    /// [`QuicError`].
    pub fn new(sockets: Sockets, shared: Arc<Shared>) -> Result<Self, QuicError> {
        let transport = Arc::new(transport());
        let nobody = shared.templates.server(Versions::Tls13, vec![ALPN.to_vec()], Arc::new(NoCertificate));
        let server = server_config(nobody, transport.clone())?;
        let open = |socket, server| {
            Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
                .map_err(QuicError::Endpoint)
        };
        Ok(Self {
            inside: open(sockets.inside, Some(server))?,
            outside: open(sockets.outside, None)?,
            transport,
            shared,
        })
    }

    /// Accepts until `stop`, then tells every peer and waits for the goodbyes to leave.
    pub async fn accept(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // An attempt not taken stays with the endpoint, which is closed next.
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                incoming = this.inside.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let epoch = this.shared.epoch();
            if epoch.behaviour.quic != QuicPolicy::Decrypt {
                // Came in the instant in which interception ended: the client's next try is forwarded.
                incoming.ignore();
                continue;
            }
            let Ok(permit) = room.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let (this, connections) = (this.clone(), epoch.connections.clone());
            connections.spawn(async move {
                let (_permit, _watch) = (permit, Watch::new(&this.shared.tally));
                this.intercept(incoming, &epoch).await;
            });
        }
        for endpoint in [&this.inside, &this.outside] {
            endpoint.close(H3_NO_ERROR, b"gateway stopped");
        }
        let quiet = async { tokio::join!(this.inside.wait_idle(), this.outside.wait_idle()) };
        if timeout(Duration::from_secs(1), quiet).await.is_err() {
            tracing::debug!("QUIC connections closed without waiting for their peers");
        }
    }

    async fn intercept(&self, incoming: Incoming, epoch: &Epoch) {
        let tally = &self.shared.tally;
        let ended = epoch.ended.clone();
        // Dropping a half-made connection closes it.
        let established = ended.run_until_cancelled(Box::pin(self.establish(incoming, epoch.behaviour.forge))).await;
        match established {
            None => {}
            Some(Ok((client, server))) => {
                tally.count_quic_decrypted();
                relay::run(client, server, &ended).await;
            }
            Some(Err(error)) => {
                tally.count_failed();
                if matches!(error, InterceptError::Untrusted { .. }) {
                    tally.count_upstream_untrusted();
                }
                tracing::debug!(%error, "QUIC connection given up on");
            }
        }
    }

    /// Both legs, complete.
    async fn establish(&self, incoming: Incoming, forge: Forge) -> Result<(Connection, Connection), InterceptError> {
        let address = incoming.local_ip().ok_or(InterceptError::Destination)?.to_canonical();
        let destination = SocketAddr::new(address, PORT);
        let (resolver, asked) = Asked::new(address, forge, self.shared.clone());
        let leg1 = self.shared.templates.server(Versions::Tls13, vec![ALPN.to_vec()], Arc::new(resolver));
        let config = server_config(leg1, self.transport.clone()).map_err(|_| InterceptError::Suite)?;
        let connecting = incoming.accept_with(Arc::new(config)).map_err(InterceptError::Client)?;
        // A server may use its side before the client's last flight (0.5-RTT); here it only serves to have something to close.
        let (client, complete) = connecting.into_0rtt().map_err(|_| InterceptError::Suite)?;
        let server = async {
            let name = timeout(STEP, asked).await.ok().and_then(Result::ok).ok_or(InterceptError::Hello)?;
            self.connect(destination, name).await
        };
        let finished = async {
            // The client may end the handshake at any time; leg 2 is then not waited for.
            let done = timeout(STEP, complete).await.is_ok();
            match client.close_reason() {
                Some(error) => Err(InterceptError::Client(error)),
                None if done => Ok(()),
                None => Err(InterceptError::Client(ConnectionError::TimedOut)),
            }
        };
        match tokio::try_join!(server, finished) {
            Ok((server, ())) => Ok((client, server)),
            Err(error) => {
                // Says why in what RFC 9000 §10.2.3 leaves of it while keys are still being made.
                client.close(H3_INTERNAL_ERROR, error.for_client());
                Err(error)
            }
        }
    }

    async fn connect(&self, destination: SocketAddr, name: String) -> Result<Connection, InterceptError> {
        let name = if name.is_empty() { destination.ip().to_string() } else { name };
        let tls = self.shared.templates.client(Versions::Tls13, vec![ALPN.to_vec()]);
        let mut config =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|_| InterceptError::Suite)?));
        config.transport_config(self.transport.clone());
        let connecting = self
            .outside
            .connect_with(config, destination, &name)
            .map_err(|source| InterceptError::Connect { destination, source })?;
        match timeout(STEP, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) if is_untrusted(&source) => Err(InterceptError::Untrusted { destination, source }),
            Ok(Err(source)) => Err(InterceptError::Upstream { destination, source }),
            Err(_) => Err(InterceptError::Upstream { destination, source: ConnectionError::TimedOut }),
        }
    }
}

/// Why a connection was given up on.
#[derive(Debug, thiserror::Error)]
enum InterceptError {
    #[error("the packet does not say where it was sent")]
    Destination,
    #[error("the TLS library refuses QUIC")]
    Suite,
    #[error("the client sent no usable ClientHello")]
    Hello,
    #[error("the client broke off the handshake: {0}")]
    Client(ConnectionError),
    #[error("cannot connect to {destination}: {source}")]
    Connect { destination: SocketAddr, source: quinn::ConnectError },
    #[error("the chain of {destination} does not verify against the persona CA: {source}")]
    Untrusted { destination: SocketAddr, source: ConnectionError },
    #[error("the handshake with {destination} failed: {source}")]
    Upstream { destination: SocketAddr, source: ConnectionError },
}

impl InterceptError {
    fn for_client(&self) -> &'static [u8] {
        match self {
            Self::Untrusted { .. } => b"server not trusted by the gateway",
            _ => b"server not reachable through the gateway",
        }
    }
}

/// We refused the server's certificate ourselves: an error raised here whose code is a TLS alert (RFC 9001 §4.8) about certificates,
/// 42 to 48, or about a signature, 51 (RFC 8446 §6.2).
fn is_untrusted(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TransportError(error) if matches!(u64::from(error.code), 0x12a..=0x130 | 0x133))
}

fn server_config(
    mut tls: rustls::ServerConfig,
    transport: Arc<TransportConfig>,
) -> Result<quinn::ServerConfig, NoInitialCipherSuite> {
    tls.max_early_data_size = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    // The kernel spreads flows over workers by address; a client that moves would reach another worker.
    config.migration(false).transport_config(transport);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MS).into()))
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_STREAMS))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(None);
    transport
}

/// Answers one ClientHello with a leaf forged on the spot and says which name was asked for.
struct Asked {
    address: IpAddr,
    forge: Forge,
    shared: Arc<Shared>,
    name: Mutex<Option<oneshot::Sender<String>>>,
}

impl Asked {
    fn new(address: IpAddr, forge: Forge, shared: Arc<Shared>) -> (Self, oneshot::Receiver<String>) {
        let (sender, receiver) = oneshot::channel();
        (Self { address, forge, shared, name: Mutex::new(Some(sender)) }, receiver)
    }
}

impl ResolvesServerCert for Asked {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_owned();
        let leaf = self.shared.forger.leaf(self.forge, Subject::Name(name.clone(), self.address));
        if let Some(sender) = self.name.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The connection task may already have given up.
            let _given_up = sender.send(name);
        }
        leaf.map_err(|error| tracing::debug!(%error, "no leaf")).ok()
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("address", &self.address).finish_non_exhaustive()
    }
}
