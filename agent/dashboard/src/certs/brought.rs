//! A certificate that the operator brought: read and judged, never changed.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use super::CertError;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    /// PEM, leaf first.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Brought {
    /// # Errors
    /// [`CertError`], one sentence for each thing that can be wrong.
    pub(crate) fn check(&self, provider: &CryptoProvider, now: Timestamp) -> Result<CertifiedKey, CertError> {
        let chain = CertificateDer::pem_slice_iter(&read(&self.chain)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| CertError::NoCertificate(self.chain.clone()))?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_error| CertError::NoKey(self.key.clone()))?;
        let unusable = |reason: String| CertError::Unusable { chain: self.chain.clone(), reason };
        let mut parsed = Vec::with_capacity(chain.len());
        for der in &chain {
            let (_, certificate) = parse_x509_certificate(der).map_err(|error| unusable(error.to_string()))?;
            parsed.push(certificate);
        }
        for (place, two) in parsed.windows(2).enumerate() {
            if two[0].issuer().as_raw() != two[1].subject().as_raw() {
                return Err(CertError::Order { chain: self.chain.clone(), place: place + 1 });
            }
        }
        for certificate in &parsed {
            let validity = certificate.validity();
            if validity.not_after.timestamp() <= now.as_second() {
                return Err(CertError::Expired { chain: self.chain.clone(), ended: validity.not_after.to_string() });
            }
            if validity.not_before.timestamp() > now.as_second() {
                return Err(CertError::NotYet { chain: self.chain.clone(), begins: validity.not_before.to_string() });
            }
        }
        drop(parsed);
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertError::OtherKey { chain: self.chain.clone(), key: self.key.clone() }
            }
            error => unusable(error.to_string()),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|reason| CertError::Read { path: path.to_owned(), reason })
}
