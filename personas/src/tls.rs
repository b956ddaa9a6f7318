//! What all personas speak: TLS 1.2 and 1.3 with one explicit provider, no resumption of any kind, and the view of a ClientHello that
//! goes into [`tbi_bench::control::personas::Saw`].

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};
use tbi_bench::fingerprint::HelloFields;
use tbi_bench::protocol::Protocol;

/// aws-lc-rs with the groups browsers offer. The classical ones come first: which group is measured must not depend on what a device
/// adds, and X25519 is what every peer has.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
        aws_lc_rs::kx_group::X25519MLKEM768,
    ];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// Random bytes of the provider.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], rustls::crypto::GetRandomFailed> {
    let mut bytes = [0; N];
    aws_lc_rs::default_provider().secure_random.fill(&mut bytes)?;
    Ok(bytes)
}

/// A server without memory: RFC 9411 §4.3.2.2 wants full handshakes.
pub(crate) fn server_config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    certificates: Arc<dyn ResolvesServerCert>,
    protocols: &[Protocol],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
    // TLS 1.2 session ids, TLS 1.3 tickets, early data; TLS 1.2 tickets are off as long as `ticketer` is left alone.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The parts of a hello that go into its fingerprint.
pub(crate) fn hello_fields(hello: &ClientHello<'_>, quic: bool) -> HelloFields {
    HelloFields {
        quic,
        cipher_suites: hello.cipher_suites().iter().map(|&suite| suite.into()).collect(),
        named_groups: hello.named_groups().unwrap_or_default().iter().map(|&group| group.into()).collect(),
        signature_schemes: hello.signature_schemes().iter().map(|&scheme| scheme.into()).collect(),
        alpn: hello.alpn().map(|ids| ids.map(<[u8]>::to_vec).collect()).unwrap_or_default(),
    }
}

/// IANA name of a suite; rustls names those of TLS 1.3 differently.
pub(crate) fn suite_name(suite: CipherSuite) -> String {
    match suite.as_str() {
        Some(name) => name.replacen("TLS13_", "TLS_", 1),
        None => format!("0x{:04x}", u16::from(suite)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_their_iana_names() {
        assert_eq!(suite_name(CipherSuite::TLS13_AES_128_GCM_SHA256), "TLS_AES_128_GCM_SHA256");
        let tls12 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
        assert_eq!(suite_name(tls12), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(suite_name(CipherSuite::Unknown(0xfefe)), "0xfefe");
    }
}
