//! The sites, made ready to answer: certificate, TLS and QUIC configuration, home page; found by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use tbi_bench::control::personas::{KeyKind, SiteCertificate};
use tbi_bench::protocol::Protocol;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ca::{Authority, CaError, Leaf, LeafKeys};
use crate::config::Config;
use crate::quic_tls::SiteCrypto;
use crate::tls::{provider, server_config};

/// One persona, ready.
pub(crate) struct Site {
    pub(crate) persona: String,
    pub(crate) server_name: String,
    pub(crate) home: Bytes,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) quic: Arc<quinn::ServerConfig>,
}

/// All personas.
pub(crate) struct Sites {
    by_address: HashMap<IpAddr, Arc<Site>>,
    count: usize,
    pub(crate) certificates: Vec<SiteCertificate>,
    /// The endpoint wants a configuration before it knows the site; it is never used for a handshake.
    pub(crate) any_quic: quinn::ServerConfig,
}

/// Why a site cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The CA cannot sign.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The TLS library refuses.
    #[error("site {persona} cannot be served: {reason}; report this")]
    Tls {
        /// Which site.
        persona: String,
        /// What the library said.
        reason: String,
    },
}

impl Sites {
    /// Signs a leaf for every site and builds its configurations; progress is logged, as slow keys take their time.
    pub(crate) fn build(config: &Config, authority: &Authority, now: i64) -> Result<Self, SiteError> {
        let provider = provider();
        let keys = LeafKeys::new(config.key).map_err(Authority::failed(&config.ca_dir, "a leaf key"))?;
        let transport = Arc::new(transport());
        let (mut by_address, mut any_quic) = (HashMap::new(), None);
        let mut certificates = Vec::with_capacity(config.sites.len());
        for (i, words) in config.sites.iter().enumerate() {
            let leaf = authority
                .leaf(&words.server_name, &words.addresses, &keys, now)
                .map_err(Authority::failed(&config.ca_dir, "a leaf"))?;
            certificates.push(certificate(&words.persona, config.key, &leaf.certificate)?);
            let site = Arc::new(Site::new(&words.persona, &words.server_name, leaf, &provider, &transport)?);
            any_quic.get_or_insert_with(|| quinn::ServerConfig::clone(&site.quic));
            by_address.extend(words.addresses.iter().map(|&address| (address, Arc::clone(&site))));
            if (i + 1) % 100 == 0 {
                tracing::info!(made = i + 1, of = config.sites.len(), "certificates");
            }
        }
        // `Config` has at least one site, so the error below cannot be seen.
        let any_quic =
            any_quic.ok_or_else(|| SiteError::Tls { persona: String::new(), reason: "no site".to_owned() })?;
        Ok(Self { by_address, count: config.sites.len(), certificates, any_quic })
    }

    /// The site at `address`, also when it was written IPv4-mapped.
    pub(crate) fn at(&self, address: IpAddr) -> Option<&Arc<Site>> {
        self.by_address.get(&address.to_canonical())
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// What a leaf says of itself, read back from its bytes.
fn certificate(persona: &str, key: KeyKind, leaf: &CertificateDer<'_>) -> Result<SiteCertificate, SiteError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| SiteError::Tls {
        persona: persona.to_owned(),
        reason: format!("its certificate cannot be read ({error})"),
    })?;
    Ok(SiteCertificate {
        persona: persona.to_owned(),
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        key,
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        sha256: Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

impl Site {
    fn new(
        persona: &str,
        server_name: &str,
        leaf: Leaf,
        provider: &Arc<CryptoProvider>,
        transport: &Arc<quinn::TransportConfig>,
    ) -> Result<Self, SiteError> {
        let failed = |reason: String| SiteError::Tls { persona: persona.to_owned(), reason };
        let key = provider.key_provider.load_private_key(leaf.key).map_err(|error| failed(error.to_string()))?;
        let certified = CertifiedKey::new(vec![leaf.certificate], key);
        let resolver = Arc::new(SingleCertAndKey::from(certified.clone()));
        let tls = server_config(provider, &[&TLS13, &TLS12], resolver.clone(), &[Protocol::H2, Protocol::H1])
            .map_err(|error| failed(error.to_string()))?;
        let quic =
            server_config(provider, &[&TLS13], resolver, &[Protocol::H3]).map_err(|error| failed(error.to_string()))?;
        let initial = provider
            .cipher_suites
            .iter()
            .filter_map(|suite| suite.tls13())
            .find(|suite| suite.common.suite == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256)
            .and_then(|suite| suite.quic_suite());
        let crypto = initial
            .and_then(|initial| SiteCrypto::new(quic, initial, server_name, Arc::new(certified)))
            .ok_or_else(|| failed("the provider has no AES-128-GCM for QUIC".to_owned()))?;
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        // A connection that changes its address has met a device that should not do that; it must not go unnoticed.
        quic.migration(false).transport_config(Arc::clone(transport));
        Ok(Self {
            persona: persona.to_owned(),
            server_name: server_name.to_owned(),
            home: home_page(persona, server_name),
            tls: Arc::new(tls),
            quic: Arc::new(quic),
        })
    }
}

/// Transport parameters of all personas. GSO is on by quinn's default.
fn transport() -> quinn::TransportConfig {
    const IDLE_MS: u32 = 30_000;
    let mut transport = quinn::TransportConfig::default();
    transport
        // Connection set-up costs more the more streams are allowed (quinn-rs/quinn#2782); agents use at most a hundred.
        .max_concurrent_bidi_streams(128_u32.into())
        // Control, QPACK encoder and decoder; a few more for grease.
        .max_concurrent_uni_streams(8_u32.into())
        .max_idle_timeout(Some(quinn::IdleTimeout::from(quinn::VarInt::from_u32(IDLE_MS))))
        // Requests have no bodies worth mentioning.
        .stream_receive_window(65_536_u32.into())
        .receive_window(1_048_576_u32.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(None::<Duration>);
    transport
}

fn home_page(persona: &str, server_name: &str) -> Bytes {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let (persona, server_name) = (escape(persona), escape(server_name));
    Bytes::from(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{persona}</title>\n<h1>{persona}</h1>\n\
         <p>This is {server_name}, a persona of TLSStress.Art. It answers test traffic only.</p>\n</html>\n"
    ))
}
