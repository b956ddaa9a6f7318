//! The door's own certificate authority (one per device) and the leaf it signs: made, read back, judged. Files are the caller's.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, date_time_ymd,
};
use tbi_api::access::Hidden;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

use super::names::Names;
use super::{CertError, Wanted, fingerprint};

/// A person installs the CA once in a browser; it should outlive the box's years of service.
const CA_DAYS: i64 = 3653;
/// Longest life that platforms accept of a leaf under a CA a person installed is 825 days; some days less for clocks that differ.
const LEAF_DAYS: i64 = 820;
/// A leaf that ends sooner is replaced.
const RENEW_DAYS: i64 = 60;

/// Certificate and key, both PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Makes the CA of a device.
///
/// # Errors
/// [`CertError::Make`], which only a broken random source brings about.
pub(crate) fn make_ca(now: Timestamp) -> Result<Pair, CertError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mark: String = fingerprint(&key.subject_public_key_info()).chars().filter(|c| *c != ':').take(8).collect();
    let mut params = CertificateParams::default();
    // The mark keeps the CAs of two boxes, or of one box before and after its state was lost, apart in a browser's list.
    params.distinguished_name = name(&format!("TLSStress.Art TBI {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lifetime(&mut params, now, CA_DAYS);
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Makes a leaf for `names`.
///
/// # Errors
/// [`CertError::Make`] also when a name cannot stand in a certificate.
pub(crate) fn make_leaf(ca: &Pair, names: &Names, now: Timestamp) -> Result<Pair, CertError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params_of(names)?;
    params.use_authority_key_identifier_extension = true;
    lifetime(&mut params, now, LEAF_DAYS);
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

/// Whether a CA read from disk can go on: its key is its own and it has not ended.
pub(crate) fn ca_is_usable(ca: &Pair, now: Timestamp) -> bool {
    let Ok(key) = KeyPair::from_pem(&ca.key) else { return false };
    with(&ca.certificate, |certificate| {
        certificate.is_ca()
            && certificate.public_key().raw == key.subject_public_key_info()
            && certificate.validity().not_after.timestamp() > now.as_second()
    })
}

/// Whether a leaf read from disk can go on: of this CA, with its key and the names it should have, valid now and for a while.
pub(crate) fn leaf_is_usable(leaf: &Pair, ca: &Pair, wanted: &Wanted<'_>, now: Timestamp) -> bool {
    let Ok(key) = KeyPair::from_pem(&leaf.key) else { return false };
    let Some(subject) = subject(&ca.certificate) else { return false };
    with(&leaf.certificate, |certificate| {
        let validity = certificate.validity();
        certificate.issuer().as_raw() == subject
            && certificate.public_key().raw == key.subject_public_key_info()
            && validity.not_before.timestamp() <= now.as_second()
            && validity.not_after.timestamp() > now.as_second() + RENEW_DAYS * 86_400
            && Names::of_certificate(certificate).is_some_and(|found| wanted.fits(&found))
    })
}

/// Makes a key, and a request (PKCS#10) with which somebody else's CA can make a leaf for it. Both PEM.
///
/// # Errors
/// [`CertError::Make`] also when a name cannot stand in a certificate.
pub(crate) fn make_request(names: &Names) -> Result<(String, Hidden), CertError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = params_of(names)?.serialize_request(&key)?.pem()?;
    Ok((request, Hidden::new(key.serialize_pem())))
}

/// What stands alike in our leaf and in a request for somebody else's.
fn params_of(names: &Names) -> Result<CertificateParams, CertError> {
    let mut params = CertificateParams::new(names.hosts.iter().cloned().collect::<Vec<_>>())?;
    params.subject_alt_names.extend(names.addresses.iter().map(|address| SanType::IpAddress(*address)));
    // RFC 5280 appendix A.1: a common name has at most 64 characters.
    let common = names.hosts.iter().find(|host| host.len() <= 64);
    params.distinguished_name = name(common.map_or("tbi.local", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn subject(pem: &str) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.parse_x509().ok()?.subject().as_raw().to_vec())
}

fn with(pem: &str, judge: impl FnOnce(&X509Certificate<'_>) -> bool) -> bool {
    let Ok((_, pem)) = parse_x509_pem(pem.as_bytes()) else { return false };
    pem.parse_x509().is_ok_and(|certificate| judge(&certificate))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// From the day before, because the clocks of box and browser differ.
fn lifetime(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let date = |offset: i64| {
        let today = now.to_zoned(TimeZone::UTC).date();
        let date = today.saturating_add(Span::new().days(offset));
        let (month, day) = (u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1));
        date_time_ymd(i32::from(date.year()), month, day)
    };
    (params.not_before, params.not_after) = (date(-1), date(days - 1));
}
