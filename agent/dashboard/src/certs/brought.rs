//! A certificate that the operator brought, in files that flags name or through the API: read and judged, never changed.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use super::CertError;

/// Longest chain: more would only be sent to every client for nothing.
const LONGEST_CHAIN: usize = 10;

/// Where flags say it is.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    /// PEM, leaf first.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// What is wrong with a certificate that was brought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("there is no PEM certificate in it; give the certificate and its chain as PEM")]
    NoCertificate,
    #[error("a PEM section of it is damaged; give the certificate and its chain as PEM, each whole")]
    Damaged,
    #[error("it has {0} certificates; give the leaf and its issuers, at most {LONGEST_CHAIN}")]
    LongChain(usize),
    #[error("there is no PEM private key; give the key as PEM")]
    NoKey,
    #[error("the key is encrypted; give it decrypted, for example with `openssl pkey -in KEY`")]
    EncryptedKey,
    #[error("the key does not belong to the certificate; give the two that belong together")]
    OtherKey,
    #[error("certificate {place} of the chain ended on {ended}; renew it")]
    Expired { place: usize, ended: String },
    #[error("certificate {place} of the chain begins only on {begins}; check the clock")]
    NotYet { place: usize, begins: String },
    #[error(
        "the chain is out of order: certificate {0} is not signed by the next one; put the leaf first, then each issuer"
    )]
    Order(usize),
    #[error("it cannot be used: {0}; give one that rustls can use (ECDSA, Ed25519 or RSA)")]
    Unusable(String),
}

impl Unfit {
    /// Stable code, for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Damaged => "certificate-damaged",
            Self::LongChain(_) => "chain-too-long",
            Self::NoKey => "no-key",
            Self::EncryptedKey => "key-encrypted",
            Self::OtherKey => "key-of-another",
            Self::Expired { .. } => "certificate-expired",
            Self::NotYet { .. } => "certificate-not-yet-valid",
            Self::Order(_) => "chain-out-of-order",
            Self::Unusable(_) => "certificate-unusable",
        }
    }
}

impl Brought {
    /// # Errors
    /// [`CertError`], which names the files.
    pub(crate) fn check(&self, provider: &CryptoProvider, now: Timestamp) -> Result<CertifiedKey, CertError> {
        let (chain, key) = (read(&self.chain)?, read(&self.key)?);
        judge(&chain, &key, provider, now).map_err(|unfit| CertError::Brought {
            chain: self.chain.clone(),
            key: self.key.clone(),
            unfit,
        })
    }
}

/// Judges chain and key, both PEM.
///
/// # Errors
/// [`Unfit`], one sentence for each thing that can be wrong.
pub(crate) fn judge(
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<CertifiedKey, Unfit> {
    let chain =
        CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|_error| Unfit::Damaged)?;
    if chain.is_empty() {
        return Err(Unfit::NoCertificate);
    }
    if chain.len() > LONGEST_CHAIN {
        return Err(Unfit::LongChain(chain.len()));
    }
    if is_encrypted(key) {
        return Err(Unfit::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_error| Unfit::NoKey)?;
    let mut parsed = Vec::with_capacity(chain.len());
    for der in &chain {
        let (_, certificate) = parse_x509_certificate(der).map_err(|error| Unfit::Unusable(error.to_string()))?;
        parsed.push(certificate);
    }
    for (place, two) in parsed.windows(2).enumerate() {
        if two[0].issuer().as_raw() != two[1].subject().as_raw() {
            return Err(Unfit::Order(place + 1));
        }
    }
    for (place, certificate) in parsed.iter().enumerate() {
        let (validity, place) = (certificate.validity(), place + 1);
        if validity.not_after.timestamp() <= now.as_second() {
            return Err(Unfit::Expired { place, ended: validity.not_after.to_string() });
        }
        if validity.not_before.timestamp() > now.as_second() {
            return Err(Unfit::NotYet { place, begins: validity.not_before.to_string() });
        }
    }
    drop(parsed);
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Unfit::OtherKey,
        error => Unfit::Unusable(error.to_string()),
    })
}

/// PKCS#8 says it in its label (RFC 7468 section 11), the older forms in a header line (RFC 1421 section 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    pem.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED")
            || line.starts_with(b"Proc-Type:") && line.trim_ascii().ends_with(b"ENCRYPTED")
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|reason| CertError::Read { path: path.to_owned(), reason })
}
