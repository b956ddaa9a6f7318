//! The persona CA: made at first start, loaded afterwards, and the leaves it signs, anew at each start.
//!
//! Files: `ca.pem` and `ca.key` (PKCS #8, mode 0600) in one directory. The key is written first, so an interrupted first start leaves no
//! certificate anybody could have trusted, and the next start makes a new pair. Time is an argument (Unix seconds).

mod files;
mod leaf;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, RsaKeySize,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tbi_bench::control::personas::KeyKind;
use tbi_daemon::{Access, ReplaceError, replace_file};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

pub(crate) use leaf::{Leaf, LeafKeys};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
pub(crate) const DAY: i64 = 86_400;
/// Long enough that an appliance in the field does not meet its end, short enough that the end exists.
const CA_DAYS: i64 = 3650;
/// Leaves are made at each start; no process runs longer.
pub(crate) const LEAF_DAYS: i64 = 30;
/// Clocks of agents may lag behind ours.
pub(crate) const BACKDATE: i64 = 3600;

/// The authority, ready to sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    not_after: i64,
}

/// Why there is no usable persona CA. Each sentence names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Reading failed.
    #[error("cannot read {}: {reason}; make it readable for this user, or remove ca.pem and ca.key there so that a new persona CA is made", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The directory cannot be made.
    #[error("cannot write {}: {reason}; make the directory writable for this user and see that the disk has room", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file holds something else.
    #[error("{} is not understood ({reason}); restore it, or remove ca.pem and ca.key there so that a new persona CA is made", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate without key.
    #[error("the persona CA {} has no ca.key beside it; restore the key, or remove ca.pem so that a new persona CA is made", .0.display())]
    KeyMissing(PathBuf),
    /// Key of another certificate.
    #[error("the key {} does not belong to the ca.pem beside it; restore the right one, or remove both so that a new persona CA is made", .0.display())]
    Mismatch(PathBuf),
    /// Its time is over.
    #[error("the persona CA {} expired on {at}; remove ca.pem and ca.key there so that a new one is made, and give that to agents and device", path.display())]
    Expired {
        /// Which file.
        path: PathBuf,
        /// When.
        at: jiff::Timestamp,
    },
    /// Its time has not come.
    #[error("the persona CA {} is valid from {from} on, which is in the future; set this machine's clock", path.display())]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// When.
        from: jiff::Timestamp,
    },
    /// Leaves would outlive it.
    #[error("the persona CA {} ends on {at}, before the {LEAF_DAYS} days of leaves made now; remove ca.pem and ca.key there so that a new one is made", path.display())]
    EndsTooSoon {
        /// Which file.
        path: PathBuf,
        /// When.
        at: jiff::Timestamp,
    },
    /// Another key type than configured.
    #[error("the persona CA {} has a key of type {found:?} but the configuration asks for {wanted:?}; give another ca_dir, or remove ca.pem and ca.key there", path.display())]
    OtherKind {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: KeyKind,
        /// What is configured.
        wanted: KeyKind,
    },
    /// Key generation or signing failed.
    #[error("the persona CA in {} cannot make {what}: {reason}; report this", path.display())]
    Crypto {
        /// Directory of the CA.
        path: PathBuf,
        /// What was to be made.
        what: &'static str,
        /// What the library said.
        reason: String,
    },
}

impl Authority {
    /// Loads the CA in `dir`, or makes one when there is none.
    ///
    /// # Errors
    /// [`CaError`]; nothing is overwritten that might be of use to somebody.
    pub fn open(dir: &Path, kind: KeyKind, now: i64) -> Result<Self, CaError> {
        let (certificate_path, key_path) = (dir.join(CERTIFICATE), dir.join(KEY));
        let Some(pem) = files::read(&certificate_path)? else {
            return Self::make(dir, kind, now);
        };
        let key_pem = files::read(&key_path)?.ok_or_else(|| CaError::KeyMissing(certificate_path.clone()))?;
        Self::load(&certificate_path, &key_path, pem, &key_pem, kind, now)
    }

    /// Certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate in DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// End of validity, Unix seconds.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    fn make(dir: &Path, kind: KeyKind, now: i64) -> Result<Self, CaError> {
        let failed =
            |what| move |error: rcgen::Error| CaError::Crypto { path: dir.to_owned(), what, reason: error.to_string() };
        tracing::info!(dir = %dir.display(), ?kind, "making a new persona CA");
        let key = generate(kind).map_err(failed("its key"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "TLSStress.Art TBI persona CA");
        params.distinguished_name.push(DnType::OrganizationName, "TLSStress.Art");
        // Signs leaves only, never another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now - DAY, now + CA_DAYS * DAY);
        let pem = params.self_signed(&key).map_err(failed("its certificate"))?.pem();
        std::fs::create_dir_all(dir).map_err(|reason| CaError::Write { path: dir.to_owned(), reason })?;
        let (certificate_path, key_path) = (dir.join(CERTIFICATE), dir.join(KEY));
        let key_pem = key.serialize_pem();
        replace_file(&key_path, key_pem.as_bytes(), Access::Owner)?;
        replace_file(&certificate_path, pem.as_bytes(), Access::Everybody)?;
        Self::load(&certificate_path, &key_path, pem, &key_pem, kind, now)
    }

    fn load(
        certificate_path: &Path,
        key_path: &Path,
        pem: String,
        key_pem: &str,
        kind: KeyKind,
        now: i64,
    ) -> Result<Self, CaError> {
        let malformed = |path: &Path, reason: &dyn ToString| CaError::Malformed {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| malformed(certificate_path, &error))?;
        // The parser's own words about DER help nobody who restores a file.
        let key = KeyPair::from_pem(key_pem).map_err(|_error| malformed(key_path, &"no private key in PKCS #8 PEM"))?;
        let (_rest, parsed) = X509Certificate::from_der(&der).map_err(|error| malformed(certificate_path, &error))?;
        if !parsed.is_ca() {
            return Err(malformed(certificate_path, &"the certificate is no CA"));
        }
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let moment = |second| jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
        let path = certificate_path.to_owned();
        if now >= not_after {
            return Err(CaError::Expired { path, at: moment(not_after) });
        }
        if now < not_before {
            return Err(CaError::NotYetValid { path, from: moment(not_before) });
        }
        if now + LEAF_DAYS * DAY > not_after {
            return Err(CaError::EndsTooSoon { path, at: moment(not_after) });
        }
        let found = kind_of(&parsed).ok_or_else(|| malformed(certificate_path, &"an unusual key type"))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(CaError::Mismatch(key_path.to_owned()));
        }
        if found != kind {
            return Err(CaError::OtherKind { path, found, wanted: kind });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|error| malformed(certificate_path, &error))?;
        Ok(Self { issuer, der: der.clone(), pem, not_after })
    }
}

fn kind_of(certificate: &X509Certificate<'_>) -> Option<KeyKind> {
    match certificate.public_key().parsed().ok()? {
        PublicKey::EC(point) if point.key_size() == 256 => Some(KeyKind::EcdsaP256),
        PublicKey::EC(point) if point.key_size() == 384 => Some(KeyKind::EcdsaP384),
        PublicKey::RSA(key) if key.key_size() == 2048 => Some(KeyKind::Rsa2048),
        PublicKey::RSA(key) if key.key_size() == 4096 => Some(KeyKind::Rsa4096),
        _ => None,
    }
}

pub(crate) fn generate(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

/// Sets the validity to `from` until `to`, Unix seconds; times before 1970 become 1970.
pub(crate) fn set_validity(params: &mut CertificateParams, from: i64, to: i64) {
    let date = |unix| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    params.not_before = date(from);
    params.not_after = date(to);
}
