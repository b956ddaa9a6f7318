//! Leaves: one certificate per site, made anew at each start and kept in memory only.
//!
//! ECDSA keys are made per site. An RSA key takes a hundred milliseconds (2048) to seconds (4096) to find, a hundred of them minutes,
//! so RSA leaves share one key of this process. That changes nothing a device or client measures: certificates differ, and the cost of
//! a signature does not depend on whose key it is.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tbi_bench::control::personas::KeyKind;

use super::{Authority, BACKDATE, CaError, DAY, LEAF_DAYS, generate, set_validity};
use crate::tls::random;

/// Where leaf keys come from.
pub(crate) enum LeafKeys {
    /// A new one each.
    Fresh(KeyKind),
    /// One for all.
    Shared(Box<KeyPair>),
}

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl LeafKeys {
    pub(crate) fn new(kind: KeyKind) -> Result<Self, rcgen::Error> {
        match kind {
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => Ok(Self::Fresh(kind)),
            KeyKind::Rsa2048 | KeyKind::Rsa4096 => {
                tracing::info!(?kind, "making the RSA key that the leaves share");
                generate(kind).map(|key| Self::Shared(Box::new(key)))
            }
        }
    }
}

impl Authority {
    /// A leaf for `server_name` and `addresses`, valid from an hour ago for [`LEAF_DAYS`].
    pub(crate) fn leaf(
        &self,
        server_name: &str,
        addresses: &[IpAddr],
        keys: &LeafKeys,
        now: i64,
    ) -> Result<Leaf, rcgen::Error> {
        let fresh;
        let key = match keys {
            LeafKeys::Fresh(kind) => {
                fresh = generate(*kind)?;
                &fresh
            }
            LeafKeys::Shared(key) => key,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // RFC 5280 appendix A.1 allows 64 characters; the name that counts is in the SAN.
        if server_name.len() <= 64 {
            params.distinguished_name.push(DnType::CommonName, server_name);
        }
        params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from(server_name)?)];
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // rcgen would derive it from the key, which RSA leaves share. RFC 5280 §4.1.2.2: positive, at most 20 octets.
        let mut serial: [u8; 16] = random().map_err(|_error| rcgen::Error::RingUnspecified)?;
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        set_validity(&mut params, now - BACKDATE, now + LEAF_DAYS * DAY);
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Leaf {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    pub(crate) fn failed(dir: &std::path::Path, what: &'static str) -> impl FnOnce(rcgen::Error) -> CaError {
        move |error| CaError::Crypto { path: dir.to_owned(), what, reason: error.to_string() }
    }
}
