//! The two authorities of an order and the verifier that tries one after the other.
//!
//! Verification is always on. A chain that fits neither is refused with the persona authority's reason; [`Authorities::issuer_of`]
//! then says for an accepted chain which of the two it was. Says nothing about interception: the exporter echo decides that.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tbi_bench::control::engine::{TlsVersions, Trust};

use super::issuer;

/// Longest PEM accepted for one authority, bytes.
const MAX_PEM: usize = 256 * 1024;
/// Code points of ML-DSA, which exists in TLS 1.3 only: offered in a TLS 1.2 hello it would be ignored by the server, and the hello
/// would not have the fingerprint both ends agree on.
const ML_DSA: std::ops::RangeInclusive<u16> = 0x0904..=0x0906;

/// The trust of an order cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No certificate in the PEM text.
    #[error("{0} holds no readable PEM certificate; give the CA certificate itself (BEGIN CERTIFICATE), not its key")]
    Unreadable(&'static str),
    /// Not valid now.
    #[error(
        "{which} '{subject}' is valid from {from} to {to} only, and it is now outside that; renew it or set the clock"
    )]
    NotValidNow {
        /// Which authority.
        which: &'static str,
        /// Its subject.
        subject: String,
        /// Start of validity.
        from: String,
        /// End of validity.
        to: String,
    },
    /// Parsed, but cannot be a trust anchor.
    #[error("{which} cannot be used as a trust anchor ({reason}); give a CA certificate")]
    NotAnAnchor {
        /// Which authority.
        which: &'static str,
        /// Why.
        reason: String,
    },
}

/// Whose certificate it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// Persona CA.
    Persona,
    /// The device's CA.
    Dut,
}

/// Verifies against the persona CA, then against the device's CA.
#[derive(Debug)]
pub struct Authorities {
    persona: Authority,
    dut: Option<Authority>,
    schemes: Vec<SignatureScheme>,
}

#[derive(Debug)]
struct Authority {
    verifier: Arc<WebPkiServerVerifier>,
    /// Raw subject names of its anchors.
    subjects: Vec<Vec<u8>>,
}

impl Authorities {
    /// Parses and checks both authorities at Unix time `now`, s, for handshakes of these versions.
    ///
    /// # Errors
    /// [`TrustError`] names the authority and the remedy.
    pub fn new(
        trust: &Trust,
        provider: &Arc<CryptoProvider>,
        versions: TlsVersions,
        now: i64,
    ) -> Result<Self, TrustError> {
        let persona = Authority::new("the persona CA", &trust.persona_ca_pem, provider, now)?;
        let dut = match &trust.dut_ca_pem {
            Some(pem) => Some(Authority::new("the device's CA", pem, provider, now)?),
            None => None,
        };
        let mut schemes = persona.verifier.supported_verify_schemes();
        if versions == TlsVersions::Tls12 {
            schemes.retain(|&scheme| !ML_DSA.contains(&u16::from(scheme)));
        }
        Ok(Self { persona, dut, schemes })
    }

    /// Which authority a chain that has been accepted belongs to; `None` only for an empty chain where there are two.
    #[must_use]
    pub fn issuer_of(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Option<Issuer> {
        let names = |authority: &Authority| {
            chain.iter().any(|certificate| {
                issuer::issuer(certificate)
                    .is_some_and(|issuer| authority.subjects.iter().any(|subject| subject == issuer))
            })
        };
        let Some(dut) = &self.dut else { return Some(Issuer::Persona) };
        match (names(&self.persona), names(dut)) {
            (true, false) => Some(Issuer::Persona),
            (false, true) => Some(Issuer::Dut),
            // A device may copy the persona CA's name, or its chain may end elsewhere: verify again to know.
            _ => {
                let (leaf, rest) = chain.split_first()?;
                let persona = self.persona.verifier.verify_server_cert(leaf, rest, name, &[], UnixTime::now());
                Some(if persona.is_ok() { Issuer::Persona } else { Issuer::Dut })
            }
        }
    }
}

impl Authority {
    fn new(which: &'static str, pem: &str, provider: &Arc<CryptoProvider>, now: i64) -> Result<Self, TrustError> {
        if pem.len() > MAX_PEM {
            return Err(TrustError::Unreadable(which));
        }
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TrustError::Unreadable(which))?;
        let mut roots = RootCertStore::empty();
        let mut subjects = Vec::new();
        for certificate in &certificates {
            check_validity(which, certificate, now)?;
            roots
                .add(certificate.clone())
                .map_err(|error| TrustError::NotAnAnchor { which, reason: error.to_string() })?;
            subjects.extend(issuer::subject(certificate).map(<[u8]>::to_vec));
        }
        if roots.is_empty() {
            return Err(TrustError::Unreadable(which));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| TrustError::NotAnAnchor { which, reason: error.to_string() })?;
        Ok(Self { verifier, subjects })
    }
}

fn check_validity(which: &'static str, certificate: &CertificateDer<'_>, now: i64) -> Result<(), TrustError> {
    let (_rest, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| TrustError::Unreadable(which))?;
    let validity = parsed.validity();
    if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
        return Ok(());
    }
    Err(TrustError::NotValidNow {
        which,
        subject: parsed.subject().to_string(),
        from: validity.not_before.to_string(),
        to: validity.not_after.to_string(),
    })
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |authority: &Authority| {
            authority.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        verify(&self.persona).or_else(|reason| match &self.dut {
            Some(dut) => verify(dut).map_err(|dut_reason| more_telling(reason, dut_reason)),
            None => Err(reason),
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.persona.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.persona.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// An expired or misnamed certificate of the right authority tells more than "unknown issuer" of the other one.
fn more_telling(persona: rustls::Error, dut: rustls::Error) -> rustls::Error {
    match dut {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => persona,
        other => other,
    }
}
