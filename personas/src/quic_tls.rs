//! TLS inside QUIC with the two things quinn's own adapter does not do: refuse a wrong SNI with the right alert, and keep what the
//! ClientHello said. Everything else is passed through to quinn's adapter.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::CipherSuite;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tbi_bench::fingerprint::HelloFields;

use crate::tls::hello_fields;

/// TLS alert `unrecognized_name` (RFC 6066 §3) as QUIC error (RFC 9001 §4.8).
pub(crate) fn unrecognized_name() -> TransportErrorCode {
    const ALERT: u8 = 112;
    TransportErrorCode::crypto(ALERT)
}

/// Crypto configuration of one site.
pub(crate) struct SiteCrypto {
    inner: Arc<QuicServerConfig>,
    base: rustls::ServerConfig,
    initial: rustls::quic::Suite,
    server_name: String,
    certificate: Arc<CertifiedKey>,
}

/// What the ClientHello said; quinn hands it out as handshake data.
#[derive(Debug, Clone)]
pub(crate) struct QuicHello {
    pub(crate) fields: HelloFields,
    pub(crate) server_name: String,
    /// Suite in use. rustls takes the client's first that the server has (`ignore_client_order` is off).
    pub(crate) suite: Option<CipherSuite>,
}

impl SiteCrypto {
    /// `base` is TLS 1.3 only; `initial` is AES-128-GCM (RFC 9001 §5.2). `None` when they do not fit.
    pub(crate) fn new(
        mut base: rustls::ServerConfig,
        initial: rustls::quic::Suite,
        server_name: &str,
        certificate: Arc<CertifiedKey>,
    ) -> Option<Self> {
        base.cert_resolver = Arc::new(RefuseAll);
        let inner = Arc::new(QuicServerConfig::with_initial(Arc::new(base.clone()), initial).ok()?);
        Some(Self { inner, base, initial, server_name: server_name.to_owned(), certificate })
    }
}

impl ServerConfig for SiteCrypto {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let seen = Arc::new(OnceLock::new());
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(Resolver { site: Arc::clone(&self), seen: Arc::clone(&seen) });
        // `new` made the same configuration and suite work, so the fallback, which refuses every handshake, is never taken.
        let inner = QuicServerConfig::with_initial(Arc::new(config), self.initial)
            .map_or_else(|_error| Arc::clone(&self.inner), Arc::new);
        Box::new(SiteSession { inner: inner.start_session(version, params), seen })
    }
}

/// Stands in the shared configuration, with which no handshake is to succeed.
#[derive(Debug)]
struct RefuseAll;

impl ResolvesServerCert for RefuseAll {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Answers one connection's hello, and remembers it.
struct Resolver {
    site: Arc<SiteCrypto>,
    seen: Arc<OnceLock<Option<QuicHello>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("site", &self.site.server_name).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let server_name = hello.server_name().filter(|name| name.eq_ignore_ascii_case(&self.site.server_name));
        let ours = &self.site.base.crypto_provider().cipher_suites;
        let suite =
            |&offered: &CipherSuite| ours.iter().any(|suite| suite.tls13().is_some() && suite.suite() == offered);
        let seen = server_name.map(|server_name| QuicHello {
            fields: hello_fields(&hello, true),
            server_name: server_name.to_owned(),
            suite: hello.cipher_suites().iter().copied().find(suite),
        });
        let matches = seen.is_some();
        // Set once: rustls resolves once for each handshake, also after HelloRetryRequest.
        let _first = self.seen.set(seen);
        matches.then(|| Arc::clone(&self.site.certificate))
    }
}

struct SiteSession {
    inner: Box<dyn Session>,
    /// `Some(None)` after a hello with the wrong name.
    seen: Arc<OnceLock<Option<QuicHello>>>,
}

impl Session for SiteSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let hello = self.seen.get()?.clone()?;
        Some(Box::new(hello))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf).map_err(|mut error| {
            if matches!(self.seen.get(), Some(None)) {
                error.code = unrecognized_name();
                error.reason = "the server name is not the one of this address".to_owned();
            }
            error
        })
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}
