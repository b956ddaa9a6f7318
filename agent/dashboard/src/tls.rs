//! TLS of the door: version 1.3 only, the aws-lc-rs provider, the certificate of [`Certificates`], and client certificates when a CA for them
//! was given: asked for, never demanded, because a person with a password comes by the same port.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

use crate::certs::Certificates;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the client CA {}: {reason}; give a PEM file that the door's user may read", path.display())]
    ClientCa { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}; report it, it depends on nothing that can be configured")]
    Library(String),
}

/// Configurations for TCP and for QUIC.
pub(crate) struct Tls {
    pub(crate) tcp: Arc<ServerConfig>,
    pub(crate) quic: Arc<QuicServerConfig>,
}

/// The one provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Tls {
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn new(certificates: &Arc<Certificates>, client_ca: Option<&Path>) -> Result<Self, TlsError> {
        let library = |error: &dyn ToString| TlsError::Library(error.to_string());
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| library(&error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let wrong = |reason: String| TlsError::ClientCa { path: path.to_owned(), reason };
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut tcp = builder.with_cert_resolver(Arc::clone(certificates) as _);
        // Tickets, not a store: ten thousand connections leave nothing behind. One ticket for each handshake is what a client uses.
        tcp.session_storage = Arc::new(NoServerSessionStorage {});
        tcp.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| library(&error))?;
        tcp.send_tls13_tickets = 1;
        let mut quic = tcp.clone();
        tcp.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        quic.alpn_protocols = vec![b"h3".to_vec()];
        let quic = QuicServerConfig::try_from(quic).map_err(|error| library(&error))?;
        Ok(Self { tcp: Arc::new(tcp), quic: Arc::new(quic) })
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let wrong = |reason: String| TlsError::ClientCa { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(roots) }
}
