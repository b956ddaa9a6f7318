//! Forged leaves: certificates the gateway signs for names it was asked for, and the memory of them.
//!
//! For TCP the persona's leaf is seen before the client is answered, so subject, names and validity are copied from it. For QUIC the
//! client is answered at once, so the leaf is made from the name it asked for and the address it went to. All leaves of a process share
//! one key, as gateways do; what a first contact costs is the signature. Warm forging remembers up to [`CACHE_SIZE`] leaves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::crypto::SecureRandom;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use tbi_bench::control::personas::KeyKind;
use tbi_bench::control::practice_dut::Forge as Policy;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::ca::{Ca, generate_key};
use crate::counters::Tally;

/// Leaves remembered; forty times the persona catalogue.
pub const CACHE_SIZE: usize = 4096;
/// Names copied from one upstream leaf at most; a chain is input from outside.
const MAX_NAMES: usize = 256;
/// Serial numbers: RFC 5280 §4.1.2.2 allows 20 octets.
const SERIAL_LEN: usize = 16;

/// Why a leaf was not forged.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The upstream leaf cannot be read.
    #[error("the server's certificate cannot be read: {0}; give the server a certificate that follows RFC 5280")]
    Upstream(String),
    /// A name cannot be put into a certificate.
    #[error("cannot forge a certificate for the name the client asked for: {0}; ask for a host name")]
    Name(rcgen::Error),
    /// The crypto library refused.
    #[error("cannot sign the forged certificate: {0}; report this as a defect")]
    Sign(String),
}

/// What a leaf is made from, and by which it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Copy of this upstream leaf. A persona that renews its leaf gets a new copy.
    Upstream(CertificateDer<'static>),
    /// Leaf for a name and the address the client went to.
    Name(String, IpAddr),
}

/// Signs leaves; shared by all workers.
pub struct Forger {
    ca: Ca,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    random: &'static dyn SecureRandom,
    tally: Arc<Tally>,
    /// Held while forging, so that warm forging happens exactly once per subject.
    cache: Mutex<Cache>,
}

impl Forger {
    /// Forger with a fresh leaf key of `kind`.
    ///
    /// # Errors
    /// [`ForgeError::Sign`] when no key can be made.
    pub fn new(ca: Ca, kind: KeyKind, tally: Arc<Tally>) -> Result<Self, ForgeError> {
        let key = generate_key(kind).map_err(|error| ForgeError::Sign(error.to_string()))?;
        let provider = super::provider();
        let signing = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(str::to_owned)
            .and_then(|der| provider.key_provider.load_private_key(der).map_err(|error| error.to_string()))
            .map_err(ForgeError::Sign)?;
        Ok(Self { ca, key, signing, random: provider.secure_random, tally, cache: Mutex::default() })
    }

    /// The CA that signs.
    #[must_use]
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Leaf for `subject`, from memory or newly signed as `policy` says.
    ///
    /// # Errors
    /// [`ForgeError`]; nothing is remembered then.
    pub fn leaf(&self, policy: Policy, subject: Subject) -> Result<Arc<CertifiedKey>, ForgeError> {
        if policy == Policy::Cold {
            return self.sign(&subject);
        }
        // A panic while forging leaves the cache whole: entries are inserted after they are complete.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = cache.find(&subject) {
            return Ok(leaf);
        }
        let leaf = self.sign(&subject)?;
        cache.insert(subject, leaf.clone());
        Ok(leaf)
    }

    fn sign(&self, subject: &Subject) -> Result<Arc<CertifiedKey>, ForgeError> {
        let mut params = match subject {
            Subject::Upstream(leaf) => copied(leaf)?,
            Subject::Name(name, address) => self.named(name, *address)?,
        };
        let mut serial = [0; SERIAL_LEN];
        self.random.fill(&mut serial).map_err(|_| ForgeError::Sign("the system gives no random bytes".to_owned()))?;
        // The top bit makes an integer negative, which RFC 5280 forbids; the next keeps the length constant.
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.key, &self.ca.issuer).map_err(|error| ForgeError::Sign(error.to_string()))?;
        self.tally.count_leaf_forged();
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], self.signing.clone())))
    }

    fn named(&self, name: &str, address: IpAddr) -> Result<CertificateParams, ForgeError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let time = |seconds| {
            ASN1Time::from_timestamp(seconds)
                .map(|time| time.to_datetime())
                .map_err(|error| ForgeError::Sign(error.to_string()))
        };
        (params.not_before, params.not_after) = (time(self.ca.not_before)?, time(self.ca.not_after)?);
        params.subject_alt_names.push(SanType::IpAddress(address));
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(ForgeError::Name)?));
        }
        Ok(params)
    }
}

impl std::fmt::Debug for Forger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forger").field("ca", &self.ca.sha256).finish_non_exhaustive()
    }
}

/// Subject, names and validity of an upstream leaf.
fn copied(leaf: &CertificateDer<'_>) -> Result<CertificateParams, ForgeError> {
    let unreadable = |error: &dyn std::fmt::Display| ForgeError::Upstream(error.to_string());
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| unreadable(&error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for attribute in leaf.subject().iter_attributes().take(MAX_NAMES) {
        let Some(oid) = attribute.attr_type().iter().map(Iterator::collect::<Vec<u64>>) else { continue };
        if let (true, Ok(text)) = (can_be_written(&oid), attribute.as_str()) {
            params.distinguished_name.push(dn_type(&oid), text);
        }
    }
    let names = leaf.subject_alternative_name().map_err(|error| unreadable(&error))?;
    for name in names.iter().flat_map(|extension| &extension.value.general_names).take(MAX_NAMES) {
        match name {
            GeneralName::DNSName(name) => {
                params.subject_alt_names.push(SanType::DnsName((*name).try_into().map_err(ForgeError::Name)?));
            }
            GeneralName::IPAddress(octets) => {
                let address = <[u8; 4]>::try_from(*octets)
                    .map(IpAddr::from)
                    .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
                params.subject_alt_names.extend(address.ok().map(SanType::IpAddress));
            }
            // Clients of the bench identify servers by host name or address only (RFC 9525).
            _ => {}
        }
    }
    params.not_before = leaf.validity().not_before.to_datetime();
    params.not_after = leaf.validity().not_after.to_datetime();
    Ok(params)
}

/// Whether rcgen's encoder takes an identifier; it panics when the first two arcs are none (X.660 §7.6) or their sum overflows.
fn can_be_written(oid: &[u64]) -> bool {
    match oid {
        [0 | 1, second, ..] => *second < 40,
        [2, second, ..] => *second < u64::MAX - 80,
        _ => false,
    }
}

/// rcgen compares the well-known types by variant, not by identifier.
fn dn_type(oid: &[u64]) -> DnType {
    match oid {
        [2, 5, 4, 3] => DnType::CommonName,
        [2, 5, 4, 6] => DnType::CountryName,
        [2, 5, 4, 7] => DnType::LocalityName,
        [2, 5, 4, 8] => DnType::StateOrProvinceName,
        [2, 5, 4, 10] => DnType::OrganizationName,
        [2, 5, 4, 11] => DnType::OrganizationalUnitName,
        other => DnType::from_oid(other),
    }
}

/// Bounded memory; the least recently used entry goes first.
#[derive(Default)]
struct Cache {
    entries: HashMap<Subject, (Arc<CertifiedKey>, u64)>,
    clock: u64,
}

impl Cache {
    fn find(&mut self, subject: &Subject) -> Option<Arc<CertifiedKey>> {
        self.clock += 1;
        let (leaf, used) = self.entries.get_mut(subject)?;
        *used = self.clock;
        Some(leaf.clone())
    }

    fn insert(&mut self, subject: Subject, leaf: Arc<CertifiedKey>) {
        if self.entries.len() >= CACHE_SIZE {
            // A scan of 4096 entries costs less than the signature that made it necessary.
            let oldest = self.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(subject, _)| subject.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(subject, (leaf, self.clock));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::tls::ca;

    fn forger() -> (Forger, Arc<Tally>) {
        let dir = tempfile::tempdir().unwrap();
        let tally = Arc::new(Tally::default());
        let ca = ca::open(dir.path(), KeyKind::EcdsaP256).unwrap();
        (Forger::new(ca, KeyKind::EcdsaP256, tally.clone()).unwrap(), tally)
    }

    fn name(index: usize) -> Subject {
        Subject::Name(format!("p{index}.example"), IpAddr::from([192, 0, 2, 1]))
    }

    #[test]
    fn warm_forges_once_and_cold_always() {
        let (forger, tally) = forger();
        let one = forger.leaf(Policy::Warm, name(1)).unwrap();
        assert!(Arc::ptr_eq(&one, &forger.leaf(Policy::Warm, name(1)).unwrap()));
        assert_eq!(tally.leaves_forged(), 1);
        for _ in 0..3 {
            assert_ne!(forger.leaf(Policy::Cold, name(1)).unwrap().cert, one.cert);
        }
        assert_eq!(tally.leaves_forged(), 4);
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let (forger, tally) = forger();
        for index in 0..CACHE_SIZE {
            forger.leaf(Policy::Warm, name(index)).unwrap();
        }
        forger.leaf(Policy::Warm, name(0)).unwrap();
        forger.leaf(Policy::Warm, name(CACHE_SIZE)).unwrap();
        forger.leaf(Policy::Warm, name(0)).unwrap();
        assert_eq!(tally.leaves_forged() as usize, CACHE_SIZE + 1);
        assert_eq!(forger.cache.lock().unwrap().entries.len(), CACHE_SIZE);
        forger.leaf(Policy::Warm, name(1)).unwrap();
        assert_eq!(tally.leaves_forged() as usize, CACHE_SIZE + 2);
    }

    #[test]
    fn a_copy_keeps_subject_names_and_validity() {
        let (forger, _) = forger();
        let mut params =
            CertificateParams::new(vec!["shop.example".to_owned(), "192.0.2.7".to_owned(), "2001:db8::7".to_owned()])
                .unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Shop");
        params.distinguished_name.push(DnType::CommonName, "shop.example");
        params.not_after = rcgen::date_time_ymd(2040, 2, 3);
        let original = params.self_signed(&generate_key(KeyKind::EcdsaP256).unwrap()).unwrap();
        let copy = forger.leaf(Policy::Warm, Subject::Upstream(original.der().clone())).unwrap();
        let (_, original) = X509Certificate::from_der(original.der()).unwrap();
        let (_, copy) = X509Certificate::from_der(&copy.cert[0]).unwrap();
        assert_eq!(copy.subject().to_string(), original.subject().to_string());
        assert_eq!(copy.validity(), original.validity());
        let names = |certificate: &X509Certificate<'_>| {
            format!("{:?}", certificate.subject_alternative_name().unwrap().unwrap().value)
        };
        assert_eq!(names(&copy), names(&original));
        assert!(copy.issuer().to_string().contains(ca::COMMON_NAME));
        assert!(copy.raw_serial().len() == SERIAL_LEN && copy.raw_serial() != original.raw_serial());
    }

    #[test]
    fn attribute_types_that_cannot_be_written_are_left_out() {
        for good in [&[0, 9, 2342][..], &[2, 5, 4, 3], &[2, 999, 3], &[1, 39]] {
            assert!(can_be_written(good), "{good:?}");
        }
        for bad in [&[][..], &[2], &[6, 15], &[1, 40], &[2, u64::MAX]] {
            assert!(!can_be_written(bad), "{bad:?}");
        }
    }

    #[test]
    fn nonsense_from_upstream_is_an_error() {
        let (forger, tally) = forger();
        assert!(forger.leaf(Policy::Warm, Subject::Upstream(CertificateDer::from(vec![0x30, 0x03, 1]))).is_err());
        assert!(forger.leaf(Policy::Warm, Subject::Name("\u{e9}".to_owned(), IpAddr::from([0, 0, 0, 0]))).is_err());
        assert_eq!(tally.leaves_forged(), 0);
    }
}
