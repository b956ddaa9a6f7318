//! The certificate the door shows: its own, signed by the CA of this device and kept in `--state`, or one that was brought. It is judged
//! again at every [`Certificates::reload`] and replaced for new connections without a restart. A certificate that was brought and is not
//! usable is refused with a sentence, and the one in use stays.

mod authority;
mod brought;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tbi_daemon::{Access, ReplaceError, replace_file};

use self::authority::Pair;
pub(crate) use self::brought::Brought;

const CA: (&str, &str) = ("ca.crt", "ca.key");
const LEAF: (&str, &str) = ("door.crt", "door.key");

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertError {
    #[error("no certificate can be made for the door: {0}; check the host name")]
    Make(#[from] rcgen::Error),
    #[error("the door's certificate cannot be kept: {0}")]
    Keep(#[from] ReplaceError),
    #[error("cannot read {}: {reason}; check the path and that the door's user may read it", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("{} holds no PEM certificate; give the certificate and its chain as PEM", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no PEM private key; give the key unencrypted as PEM", .0.display())]
    NoKey(PathBuf),
    #[error("the key in {} does not belong to the certificate in {}; give the two that belong together", key.display(), chain.display())]
    OtherKey { chain: PathBuf, key: PathBuf },
    #[error("the certificate in {} ended on {ended}; renew it", chain.display())]
    Expired { chain: PathBuf, ended: String },
    #[error("the certificate in {} begins only on {begins}; check the clock", chain.display())]
    NotYet { chain: PathBuf, begins: String },
    #[error("the chain in {} is out of order: certificate {place} is not signed by the next one; put the leaf first, then each issuer", chain.display())]
    Order { chain: PathBuf, place: usize },
    #[error("the certificate in {} cannot be used: {reason}; give one that rustls can use (ECDSA or RSA)", chain.display())]
    Unusable { chain: PathBuf, reason: String },
}

/// What the leaf is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// The certificate in use. Shared by every TLS and QUIC connection.
#[derive(Debug)]
pub(crate) struct Certificates {
    state: PathBuf,
    names: Names,
    brought: Option<Brought>,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<Shown>>,
}

#[derive(Debug)]
struct Shown {
    leaf: Arc<CertifiedKey>,
    ca_pem: String,
    ca_der: Vec<u8>,
}

impl Certificates {
    /// Loads what there is, makes what is missing.
    ///
    /// # Errors
    /// [`CertError`].
    pub(crate) fn load(
        state: &Path,
        names: Names,
        brought: Option<Brought>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, CertError> {
        let shown = look(state, &names, brought.as_ref(), &provider, Timestamp::now())?;
        Ok(Arc::new(Self { state: state.to_owned(), names, brought, provider, shown: RwLock::new(Arc::new(shown)) }))
    }

    /// Looks again: a brought certificate may have been replaced, an own one may end soon. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`]; the certificate in use stays.
    pub(crate) fn reload(&self) -> Result<(), CertError> {
        let shown = look(&self.state, &self.names, self.brought.as_ref(), &self.provider, Timestamp::now())?;
        // A writer does nothing but this assignment, so even after a panic elsewhere the value is whole.
        *self.shown.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(shown);
        Ok(())
    }

    /// The device's CA, PEM.
    pub(crate) fn ca_pem(&self) -> String {
        self.shown().ca_pem.clone()
    }

    /// The device's CA, DER.
    pub(crate) fn ca_der(&self) -> Vec<u8> {
        self.shown().ca_der.clone()
    }

    /// SHA-256 of the leaf that is shown, as browsers print it.
    pub(crate) fn leaf_fingerprint(&self) -> String {
        self.shown().leaf.cert.first().map(|leaf| fingerprint(leaf)).unwrap_or_default()
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown().leaf))
    }
}

/// SHA-256 in upper case hexadecimal with colons, as browsers print it.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn look(
    state: &Path,
    names: &Names,
    brought: Option<&Brought>,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Shown, CertError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.map_err(|reason| CertError::Read { path: state.to_owned(), reason })?;
    let ca = match read(state, CA)?.filter(|ca| authority::ca_is_usable(ca, now)) {
        Some(ca) => ca,
        None => keep(state, CA, authority::make_ca(now)?)?,
    };
    let leaf = match brought {
        Some(brought) => brought.check(provider, now)?,
        None => {
            let leaf = read(state, LEAF)?.filter(|leaf| authority::leaf_is_usable(leaf, &ca, names, now));
            let leaf = match leaf {
                Some(leaf) => leaf,
                None => keep(state, LEAF, authority::make_leaf(&ca, names, now)?)?,
            };
            let unusable = |reason: String| CertError::Unusable { chain: state.join(LEAF.0), reason };
            let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes());
            let key =
                PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).map_err(|error| unusable(error.to_string()))?;
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            CertifiedKey::from_der(vec![certificate], key, provider).map_err(|error| unusable(error.to_string()))?
        }
    };
    let ca_der = CertificateDer::from_pem_slice(ca.certificate.as_bytes())
        .map_err(|_error| CertError::NoCertificate(state.join(CA.0)))?
        .to_vec();
    Ok(Shown { leaf: Arc::new(leaf), ca_pem: ca.certificate, ca_der })
}

fn read(state: &Path, (certificate, key): (&str, &str)) -> Result<Option<Pair>, CertError> {
    let text = |name: &str| match fs::read_to_string(state.join(name)) {
        Ok(text) => Ok(Some(text)),
        // What is no text is as good as missing: it is replaced.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(reason) => Err(CertError::Read { path: state.join(name), reason }),
    };
    Ok(text(certificate)?.zip(text(key)?).map(|(certificate, key)| Pair { certificate, key }))
}

/// Key first: a certificate without its key would be judged broken at the next start, and so is replaced.
fn keep(state: &Path, (certificate, key): (&str, &str), pair: Pair) -> Result<Pair, CertError> {
    replace_file(&state.join(key), pair.key.as_bytes(), Access::Owner)?;
    replace_file(&state.join(certificate), pair.certificate.as_bytes(), Access::Owner)?;
    Ok(pair)
}

#[cfg(test)]
mod tests;
