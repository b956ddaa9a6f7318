//! TLS material: the gateway's own CA ([`ca`]), leaves forged with it ([`forge`]), and configurations for both legs.
//!
//! Neither leg ever resumes: tickets and session ids are off, so each connection pays a full handshake on both sides (RFC 9411 §4.3.1.4).

pub mod ca;
pub mod forge;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// Largest certificate file that is read.
const MAX_PEM: u64 = 1 << 20;

/// TLS versions a peer offers or a leg uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
    /// Either.
    Both,
}

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static NEWEST_FIRST: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Versions::Tls12 => &NEWEST_FIRST[1..],
            Versions::Tls13 => &NEWEST_FIRST[..1],
            Versions::Both => &NEWEST_FIRST,
        }
    }

    /// The one version a connection negotiated.
    #[must_use]
    pub fn negotiated(version: Option<ProtocolVersion>) -> Self {
        if version == Some(ProtocolVersion::TLSv1_2) { Versions::Tls12 } else { Versions::Tls13 }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The persona CA is not there or not readable.
    #[error(
        "cannot read the persona CA file {path}: {reason}; start the personas first and point persona_ca_file to the ca.pem they made"
    )]
    PersonaCa {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The crypto library refused; a defect, not an input error.
    #[error("the TLS library refused the gateway's settings: {0}; report this as a defect")]
    Settings(#[from] rustls::Error),
}

/// Configuration templates; a connection clones one and fills in ALPN and leaf, which costs a few reference counts.
#[derive(Debug)]
pub struct Templates {
    clients: [Arc<ClientConfig>; 3],
    servers: [Arc<ServerConfig>; 3],
}

impl Templates {
    /// Templates with `roots` as the only trusted issuers of leg 2.
    ///
    /// # Errors
    /// [`TlsError::Settings`], which would be a defect.
    pub fn new(roots: Arc<RootCertStore>) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let client = |versions: Versions| -> Result<_, TlsError> {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions.list())?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.resumption = rustls::client::Resumption::disabled();
            Ok(Arc::new(config))
        };
        let server = |versions: Versions| -> Result<_, TlsError> {
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions.list())?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(NoCertificate));
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(Arc::new(config))
        };
        Ok(Self {
            clients: [client(Versions::Tls12)?, client(Versions::Tls13)?, client(Versions::Both)?],
            servers: [server(Versions::Tls12)?, server(Versions::Tls13)?, server(Versions::Both)?],
        })
    }

    /// Configuration for leg 2.
    #[must_use]
    pub fn client(&self, versions: Versions, alpn: Vec<Vec<u8>>) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.clients[versions as usize]);
        config.alpn_protocols = alpn;
        config
    }

    /// Configuration for leg 1.
    #[must_use]
    pub fn server(&self, versions: Versions, alpn: Vec<Vec<u8>>, leaf: Arc<dyn ResolvesServerCert>) -> ServerConfig {
        let mut config = ServerConfig::clone(&self.servers[versions as usize]);
        config.alpn_protocols = alpn;
        config.cert_resolver = leaf;
        config
    }
}

/// aws-lc-rs with X25519 first on both legs: fixed here, so that feature flags elsewhere in the build cannot change what is measured.
#[must_use]
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1, kx_group::X25519MLKEM768];
    provider
}

/// Reads the persona CA as the only root.
///
/// # Errors
/// [`TlsError::PersonaCa`] when the file is missing, too large, or holds no usable certificate.
pub fn persona_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let error = |reason: String| TlsError::PersonaCa { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|source| error(source.to_string()))?.len();
    if size > MAX_PEM {
        return Err(error(format!("it has {size} bytes")));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|source| error(source.to_string()))? {
        let certificate = certificate.map_err(|source| error(source.to_string()))?;
        roots.add(certificate).map_err(|source| error(source.to_string()))?;
    }
    if roots.is_empty() { Err(error("it holds no certificate".to_owned())) } else { Ok(Arc::new(roots)) }
}

/// Placeholder of the server templates.
#[derive(Debug)]
pub struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}
