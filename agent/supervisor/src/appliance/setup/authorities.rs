//! Certificates with which the device signs what it decrypts, as the operator brought them: authorities and nothing else, each once. They are
//! public, so they lie in the database.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::device::Authority;
use tbi_ledger::{Hash, Ledger, LedgerError, to_hex};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

use super::super::node::{Appliance, Lost};
use super::{text_of, understood};

/// Document of the certificates.
const DOCUMENT: &str = "device.authorities";
/// A root and what is below it, for the old and the new one of a renewal.
const MOST: usize = 16;
/// Some eight certificates at once.
const MOST_PEM: usize = 32 * 1024;
/// Names are shown on pages; one that is longer is no name.
const LONGEST_NAME: usize = 512;

/// All that were brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept(Vec<Authority>);

impl Kept {
    pub(super) fn read(ledger: &Ledger) -> Result<Self, LedgerError> {
        Ok(ledger.document(DOCUMENT)?.and_then(|text| understood(DOCUMENT, &text)).unwrap_or_default())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Why a certificate is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("pem has {0} bytes, more than {MOST_PEM}; give only the authorities with which the device signs")]
    TooLarge(usize),
    #[error("pem holds no certificate; give at least one as PEM, beginning with -----BEGIN CERTIFICATE-----")]
    Empty,
    #[error(
        "pem holds something that is no certificate, such as a private key; give certificates only, and replace on the device a key that \
         was given"
    )]
    NotOnlyCertificates,
    #[error("certificate {place} of pem cannot be read: {reason}; export it from the device again, as PEM")]
    Unreadable { place: usize, reason: String },
    #[error(
        "certificate {place} of pem is no authority ({reason}); export the CA certificate with which the device signs, not that of its web page"
    )]
    NoAuthority { place: usize, reason: &'static str },
    #[error("certificate {place} of pem was valid until {until}; renew it on the device and export the new one")]
    Expired { place: usize, until: String },
    #[error("with these there would be {0} certificates, more than {MOST}; remove those of before first")]
    TooMany(usize),
    #[error("there is no certificate with this fingerprint; GET /v1/device/authorities lists them")]
    NoSuch,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<Lost> for AuthorityError {
    fn from(lost: Lost) -> Self {
        Self::Ledger(lost.into())
    }
}

/// Checks all of a text.
fn parse(pem: &str, now: Timestamp) -> Result<Vec<Authority>, AuthorityError> {
    if pem.len() > MOST_PEM {
        return Err(AuthorityError::TooLarge(pem.len()));
    }
    let mut found = Vec::new();
    for (index, section) in Pem::iter_from_buffer(pem.as_bytes()).enumerate() {
        let place = index + 1;
        let unreadable = |reason: String| AuthorityError::Unreadable { place, reason };
        let section = section.map_err(|error| unreadable(error.to_string()))?;
        if section.label != "CERTIFICATE" {
            return Err(AuthorityError::NotOnlyCertificates);
        }
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(&section.contents).map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("something follows it".to_owned()));
        }
        signs(&certificate).map_err(|reason| AuthorityError::NoAuthority { place, reason })?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_or_else(|_| String::new(), |at| at.to_string())
        };
        let until = time(certificate.validity().not_after);
        if certificate.validity().not_after.timestamp() <= now.as_second() {
            return Err(AuthorityError::Expired { place, until });
        }
        found.push(Authority {
            sha256: to_hex(&Hash::of(&section.contents).0),
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            not_before: time(certificate.validity().not_before),
            not_after: until,
            added: now.to_string(),
            pem: armour(&section.contents),
        });
    }
    if found.is_empty() { Err(AuthorityError::Empty) } else { Ok(found) }
}

/// Whether it may sign certificates (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
fn signs(certificate: &X509Certificate<'_>) -> Result<(), &'static str> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {}
        Ok(_) => return Err("its basic constraints do not say CA"),
        Err(_) => return Err("its basic constraints come twice"),
    }
    match certificate.key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.key_cert_sign() => Ok(()),
        Ok(Some(_)) => Err("its key usage does not allow it to sign certificates"),
        Err(_) => Err("its key usage comes twice"),
    }
}

fn name(name: &x509_parser::x509::X509Name<'_>) -> String {
    // A line break or a mark of direction in a name would let it look like another one.
    let clean = |c: char| if c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c) { '\u{fffd}' } else { c };
    name.to_string().chars().map(clean).take(LONGEST_NAME).collect()
}

/// As PEM (RFC 7468), made anew, so that nothing of what stood around it is kept.
fn armour(der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        (0..base64.len()).step_by(64).filter_map(|at| base64.get(at..base64.len().min(at + 64))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

impl Appliance {
    /// Those that were brought.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn authorities(&self) -> Result<Vec<Authority>, AuthorityError> {
        self.ledger(|ledger, _| Ok(Kept::read(ledger)?.0)).await
    }

    /// Takes some more; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(crate) async fn add_authorities(&self, pem: String) -> Result<Vec<Authority>, AuthorityError> {
        let new = parse(&pem, Timestamp::now())?;
        let added = self.ledger(move |ledger, _| {
            ledger.together(|ledger| {
                let Kept(mut all) = Kept::read(ledger)?;
                for one in new {
                    if !all.iter().any(|known| known.sha256 == one.sha256) {
                        all.push(one);
                    }
                }
                if all.len() > MOST {
                    return Err(AuthorityError::TooMany(all.len()));
                }
                ledger.keep_document(DOCUMENT, &text_of(&all))?;
                Ok(all)
            })
        });
        added.await
    }

    /// Forgets one.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(crate) async fn remove_authority(&self, sha256: String) -> Result<Authority, AuthorityError> {
        let removed = self.ledger(move |ledger, _| {
            ledger.together(|ledger| {
                let Kept(mut all) = Kept::read(ledger)?;
                let at = all.iter().position(|one| one.sha256 == sha256).ok_or(AuthorityError::NoSuch)?;
                let one = all.remove(at);
                ledger.keep_document(DOCUMENT, &text_of(&all))?;
                Ok(one)
            })
        });
        removed.await
    }
}

#[cfg(test)]
pub(in super::super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "FW re-sign CA");
        change(&mut params);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    pub(in super::super::super) fn authority() -> String {
        made(|_| {}).0
    }

    fn now() -> Timestamp {
        "2026-01-31T23:59:59Z".parse().unwrap()
    }

    #[test]
    fn authorities_are_read_and_shown_by_fingerprint() {
        let (one, other) = (authority(), authority());
        let found = parse(&format!("what an export says before it\n{one}{other}"), now()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].subject.contains("FW re-sign CA") && found[0].sha256.len() == 64);
        assert_eq!(found[0].pem.replace('\r', ""), one.replace('\r', ""));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let (ca, key) = made(|_| {});
        let leaf = made(|params| params.is_ca = IsCa::NoCa).0;
        let cannot = made(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]).0;
        let old = made(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)).0;
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (pem, part) in [
            (String::new(), "no certificate"),
            ("<script>alert(1)</script>".to_owned(), "no certificate"),
            ("\0".repeat(100), "no certificate"),
            (format!("{ca}{key}"), "private key"),
            (leaf, "no authority"),
            (cannot, "key usage"),
            (old, "2020-01-01"),
            (cut.to_owned(), "cannot be read"),
            (ca.repeat(100), "more than"),
        ] {
            let error = parse(&pem, now()).unwrap_err().to_string();
            assert!(error.contains(part) && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn a_hostile_name_stays_one_line() {
        let hostile = made(|params| params.distinguished_name.push(DnType::CommonName, "a\nb\u{202e}<script>")).0;
        let found = parse(&hostile, now()).unwrap();
        assert!(!found[0].subject.contains(['\n', '\u{202e}']), "{:?}", found[0].subject);
    }
}
