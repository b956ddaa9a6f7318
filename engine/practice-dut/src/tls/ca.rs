//! The gateway's own CA: made on first start, read on every later one, refused in one sentence when it cannot be used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tbi_bench::control::personas::KeyKind;
use tbi_daemon::{Access, ReplaceError, replace_file};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

/// Common name of the CA: how a person recognises a re-signed leaf.
pub const COMMON_NAME: &str = "TLSStress.Art practice DUT CA";
/// Organisation of the CA.
pub const ORGANISATION: &str = "TLSStress.Art";
/// Ten years: a lab keeps its state directory.
const VALIDITY_S: i64 = 10 * 365 * 86_400;
/// Clocks in a lab differ; a fresh CA is already valid for a clock an hour behind.
const BACKDATE_S: i64 = 3600;

/// Why there is no usable CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}: {source}; make its directory accessible to the gateway")]
    File {
        /// Read or write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] ReplaceError),
    /// One of the two files is missing.
    #[error(
        "{missing} is missing although its counterpart exists; restore it, or remove both ca.pem and ca.key to have a new CA made"
    )]
    Half {
        /// The missing file.
        missing: PathBuf,
    },
    /// A file cannot be understood.
    #[error("{path} is not usable: {reason}; restore it, or remove both ca.pem and ca.key to have a new CA made")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The certificate has run out.
    #[error(
        "the CA certificate {path} is outside its validity ({not_before} to {not_after}); set the clock right, or remove ca.pem and ca.key to have a new CA made"
    )]
    Expired {
        /// The file.
        path: PathBuf,
        /// Start of validity.
        not_before: String,
        /// End of validity.
        not_after: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the CA key {path} does not belong to the ca.pem beside it; restore the matching file, or remove both to have a new CA made"
    )]
    Mismatch {
        /// The key file.
        path: PathBuf,
    },
    /// Not the key type asked for.
    #[error(
        "the CA key {path} is not of the configured type {wanted:?}; configure the type it has, or remove ca.pem and ca.key to have a new CA made"
    )]
    Kind {
        /// The key file.
        path: PathBuf,
        /// What the configuration asks for.
        wanted: KeyKind,
    },
    /// The crypto library refused.
    #[error("cannot make the gateway's CA: {0}; report this as a defect")]
    Make(#[from] rcgen::Error),
}

/// A CA that can sign.
#[derive(Debug)]
pub struct Ca {
    /// Certificate as a PEM file.
    pub pem: String,
    /// SHA-256 of the certificate's DER, lower-case hex.
    pub sha256: String,
    /// Start of validity, Unix seconds.
    pub not_before: i64,
    /// End of validity, Unix seconds.
    pub not_after: i64,
    /// Signs leaves.
    pub issuer: Issuer<'static, KeyPair>,
}

/// Reads the CA in `dir`, or makes one there when the directory has neither file.
///
/// # Errors
/// [`CaError`] naming the file and the remedy.
pub fn open(dir: &Path, kind: KeyKind) -> Result<Ca, CaError> {
    let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    match (certificate.exists(), key.exists()) {
        (true, true) => {}
        (false, false) => make(dir, kind, &certificate, &key)?,
        (true, false) => return Err(CaError::Half { missing: key }),
        (false, true) => return Err(CaError::Half { missing: certificate }),
    }
    read(&certificate, &key, kind)
}

/// New key of a kind.
///
/// # Errors
/// The crypto library's.
pub fn generate_key(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

fn make(dir: &Path, kind: KeyKind, certificate: &Path, key: &Path) -> Result<(), CaError> {
    let pair = generate_key(kind)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = unix_now();
    let time = |seconds| {
        ASN1Time::from_timestamp(seconds).map(|time| time.to_datetime()).map_err(|error| CaError::Malformed {
            path: certificate.to_owned(),
            reason: format!("the clock is out of range ({error})"),
        })
    };
    params.not_before = time(now - BACKDATE_S)?;
    params.not_after = time(now + VALIDITY_S)?;
    let signed = params.self_signed(&pair)?;
    fs::create_dir_all(dir).map_err(|source| CaError::File { doing: "make", path: dir.to_owned(), source })?;
    // The key first: a certificate without key would be refused at the next start, a key without certificate too, and a power cut
    // between the two leaves a sentence that says what to remove.
    replace_file(key, pair.serialize_pem().as_bytes(), Access::Owner)?;
    Ok(replace_file(certificate, signed.pem().as_bytes(), Access::Everybody)?)
}

fn read(certificate: &Path, key: &Path, kind: KeyKind) -> Result<Ca, CaError> {
    let text = |path: &Path| {
        fs::read_to_string(path).map_err(|source| CaError::File { doing: "read", path: path.to_owned(), source })
    };
    let malformed = |path: &Path, reason: String| CaError::Malformed { path: path.to_owned(), reason };
    let pem = text(certificate)?;
    let der =
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| malformed(certificate, error.to_string()))?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| malformed(certificate, error.to_string()))?;
    if !parsed.is_ca() {
        return Err(malformed(certificate, "it is not a CA certificate".to_owned()));
    }
    let pair = KeyPair::from_pem(&text(key)?).map_err(|error| malformed(key, error.to_string()))?;
    if pair.subject_public_key_info() != parsed.public_key().raw {
        return Err(CaError::Mismatch { path: key.to_owned() });
    }
    if kind_of(&parsed) != Some(kind) {
        return Err(CaError::Kind { path: key.to_owned(), wanted: kind });
    }
    let (not_before, not_after) = (parsed.validity().not_before, parsed.validity().not_after);
    if !(not_before.timestamp()..=not_after.timestamp()).contains(&unix_now()) {
        let path = certificate.to_owned();
        return Err(CaError::Expired { path, not_before: not_before.to_string(), not_after: not_after.to_string() });
    }
    let sha256 = Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect();
    let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(|error| malformed(certificate, error.to_string()))?;
    Ok(Ca { sha256, not_before: not_before.timestamp(), not_after: not_after.timestamp(), issuer, pem })
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

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_ca_is_made_once_and_kept() {
        for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048] {
            let dir = tempfile::tempdir().unwrap();
            let inner = dir.path().join("new");
            let first = open(&inner, kind).unwrap();
            assert_eq!(open(&inner, kind).unwrap().sha256, first.sha256);
            assert_eq!(fs::metadata(inner.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_ca_that_cannot_be_used_is_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        open(one.path(), KeyKind::EcdsaP256).unwrap();
        open(two.path(), KeyKind::EcdsaP256).unwrap();
        assert!(matches!(open(one.path(), KeyKind::Rsa2048), Err(CaError::Kind { .. })));
        fs::copy(two.path().join("ca.key"), one.path().join("ca.key")).unwrap();
        assert!(matches!(open(one.path(), KeyKind::EcdsaP256), Err(CaError::Mismatch { .. })));
        fs::write(one.path().join("ca.pem"), "nonsense").unwrap();
        assert!(matches!(open(one.path(), KeyKind::EcdsaP256), Err(CaError::Malformed { .. })));
        fs::remove_file(one.path().join("ca.key")).unwrap();
        assert!(matches!(open(one.path(), KeyKind::EcdsaP256), Err(CaError::Half { .. })));
    }

    #[test]
    fn an_expired_ca_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pair = generate_key(KeyKind::EcdsaP256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        fs::write(dir.path().join("ca.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(dir.path().join("ca.key"), pair.serialize_pem()).unwrap();
        let error = open(dir.path(), KeyKind::EcdsaP256).unwrap_err();
        assert!(matches!(error, CaError::Expired { .. }) && error.to_string().contains("ca.pem"), "{error}");
    }
}
