//! From a [`TlsProfile`] to rustls and quinn configurations and to the fingerprint of the hello they send.
//!
//! Provider is aws-lc-rs, named explicitly; resumption, tickets and early data are off (RFC 9411 §4.3.1.4).

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{ClientConfig, SupportedCipherSuite};
use tbi_bench::control::engine::{CipherSuite, Group, TlsProfile, TlsVersions};
use tbi_bench::fingerprint::HelloFields;
use tbi_bench::protocol::Protocol;

/// The profile cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No suites.
    #[error("the TLS profile names no cipher suite; name at least one, for example aes128_gcm")]
    NoSuite,
    /// No groups.
    #[error("the TLS profile names no key-exchange group; name at least one, for example x25519")]
    NoGroup,
    /// TLS 1.2 over QUIC.
    #[error("h3 needs TLS 1.3 (RFC 9001), but the TLS profile asks for 1.2; set versions to 1.3")]
    QuicNeedsTls13,
    /// A hybrid group with TLS 1.2.
    #[error("x25519mlkem768 exists in TLS 1.3 only; take it out of the TLS 1.2 profile")]
    HybridNeedsTls13,
    /// rustls refused.
    #[error("rustls refuses the TLS profile: {0}")]
    Refused(rustls::Error),
}

/// Provider that offers exactly what the profile says, in its order.
///
/// # Errors
/// [`ProfileError`] for an empty or impossible profile.
pub fn provider(profile: &TlsProfile, protocol: Protocol) -> Result<Arc<CryptoProvider>, ProfileError> {
    if profile.suites.is_empty() {
        return Err(ProfileError::NoSuite);
    }
    if profile.groups.is_empty() {
        return Err(ProfileError::NoGroup);
    }
    if profile.versions == TlsVersions::Tls12 {
        if protocol.is_quic() {
            return Err(ProfileError::QuicNeedsTls13);
        }
        if profile.groups.contains(&Group::X25519MlKem768) {
            return Err(ProfileError::HybridNeedsTls13);
        }
    }
    Ok(Arc::new(CryptoProvider {
        cipher_suites: without_repeats(profile.suites.iter().flat_map(|&wanted| suites(wanted, profile.versions))),
        kx_groups: without_repeats(profile.groups.iter().map(|&wanted| group(wanted)).collect::<Vec<_>>().into_iter()),
        ..aws_lc_rs::default_provider()
    }))
}

/// Client configuration with this provider and verifier, ALPN of `protocol` only.
///
/// # Errors
/// [`ProfileError::Refused`] if rustls finds the combination impossible.
pub fn client_config(
    provider: Arc<CryptoProvider>,
    versions: TlsVersions,
    verifier: Arc<dyn ServerCertVerifier>,
    protocol: Protocol,
) -> Result<ClientConfig, ProfileError> {
    let version = match versions {
        TlsVersions::Tls13 => &rustls::version::TLS13,
        TlsVersions::Tls12 => &rustls::version::TLS12,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .map_err(ProfileError::Refused)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// The same for QUIC. Initial packets always use AES-128-GCM (RFC 9001 §5.2), whatever the profile offers.
///
/// # Errors
/// [`ProfileError::QuicNeedsTls13`] if the configuration has no TLS 1.3.
pub fn quic_config(config: Arc<ClientConfig>) -> Result<QuicClientConfig, ProfileError> {
    let initial = suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .ok_or(ProfileError::QuicNeedsTls13)?;
    QuicClientConfig::with_initial(config, initial).map_err(|_| ProfileError::QuicNeedsTls13)
}

/// Fingerprint of the hello a configuration sends.
#[must_use]
pub fn fingerprint(provider: &CryptoProvider, verifier: &dyn ServerCertVerifier, protocol: Protocol) -> String {
    HelloFields {
        quic: protocol.is_quic(),
        cipher_suites: provider.cipher_suites.iter().map(|suite| suite.suite().into()).collect(),
        named_groups: provider.kx_groups.iter().map(|group| group.name().into()).collect(),
        signature_schemes: verifier.supported_verify_schemes().into_iter().map(Into::into).collect(),
        alpn: vec![protocol.alpn().to_vec()],
    }
    .fingerprint()
}

/// Both certificate kinds of TLS 1.2, because the personas' key decides.
fn suites(wanted: CipherSuite, versions: TlsVersions) -> Vec<SupportedCipherSuite> {
    match (versions, wanted) {
        (TlsVersions::Tls13, CipherSuite::Aes128Gcm) => vec![suite::TLS13_AES_128_GCM_SHA256],
        (TlsVersions::Tls13, CipherSuite::Aes256Gcm) => vec![suite::TLS13_AES_256_GCM_SHA384],
        (TlsVersions::Tls13, CipherSuite::Chacha20Poly1305) => vec![suite::TLS13_CHACHA20_POLY1305_SHA256],
        (TlsVersions::Tls12, CipherSuite::Aes128Gcm) => {
            vec![suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        }
        (TlsVersions::Tls12, CipherSuite::Aes256Gcm) => {
            vec![suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]
        }
        (TlsVersions::Tls12, CipherSuite::Chacha20Poly1305) => vec![
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
    }
}

fn group(wanted: Group) -> &'static dyn SupportedKxGroup {
    match wanted {
        Group::X25519 => kx_group::X25519,
        Group::P256 => kx_group::SECP256R1,
        Group::P384 => kx_group::SECP384R1,
        Group::X25519MlKem768 => kx_group::X25519MLKEM768,
    }
}

fn without_repeats<T: std::fmt::Debug>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items.filter(|item| seen.insert(format!("{item:?}"))).collect()
}
