//! Where usage is reported to, checked: a host that is spoken to by HTTPS and the authorities its certificate must come from. The agent checks
//! it when somebody changes the settings, and the program that reports parses the same words again before it connects.
//!
//! A refused URL is never repeated in a sentence: it may carry a password, and sentences end in logs.

use std::net::IpAddr;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tbi_api::settings::Usage;
use x509_parser::pem::Pem;

use super::is_label;

const SCHEME: &str = "https://";
/// Port of HTTPS.
const PORT: u16 = 443;
/// Longest host name (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;
/// Some thirty authorities; a whole public store is a mistake, and every request for the settings carries this text.
const MOST_PEM: usize = 64 * 1024;

/// An endpoint for usage reports.
#[derive(Debug, Clone)]
pub(crate) struct UsageEndpoint {
    name: ServerName<'static>,
    port: u16,
    roots: RootCertStore,
}

/// A fault in `settings.usage`, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error(
        "usage.url {0}; give https://HOST or https://HOST:PORT and nothing else, such as https://usage.example.net"
    )]
    Url(&'static str),
    #[error(
        "usage.url is given without usage.ca_pem; give the certificate of the authority (PEM) that the endpoint's certificate comes from"
    )]
    NoAuthority,
    #[error("usage.ca_pem is given without usage.url; give both, or neither to report nowhere")]
    NoUrl,
    #[error(
        "usage.ca_pem has {0} bytes, more than {MOST_PEM}; give only the authority that the endpoint's certificate comes from"
    )]
    TooLarge(usize),
    #[error("usage.ca_pem holds no certificate; give at least one as PEM, beginning with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    #[error(
        "usage.ca_pem holds something that is no certificate, such as a private key; give certificates only, and replace a key that was given"
    )]
    NotOnlyCertificates,
    #[error(
        "certificate {place} of usage.ca_pem cannot be used: {reason}; export the authority's certificate again, as PEM"
    )]
    Certificate { place: usize, reason: String },
}

impl UsageEndpoint {
    /// `None` when there is none.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn parse(usage: &Usage) -> Result<Option<Self>, UsageError> {
        match (&usage.url, &usage.ca_pem) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(UsageError::NoUrl),
            (Some(url), ca_pem) => {
                let (name, port) = host_and_port(url)?;
                let roots = authorities(ca_pem.as_deref().ok_or(UsageError::NoAuthority)?)?;
                Ok(Some(Self { name, port, roots }))
            }
        }
    }

    /// Whom its certificate must name.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The only authorities that are trusted.
    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Host and port as a `Host` header has them (RFC 9110, section 7.2).
    pub(crate) fn authority(&self) -> String {
        let host = match &self.name {
            ServerName::IpAddress(rustls::pki_types::IpAddr::V6(_)) => format!("[{}]", self.name.to_str()),
            _ => self.name.to_str().into_owned(),
        };
        if self.port == PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// Host and port of `https://HOST[:PORT]`.
pub(crate) fn host_and_port(url: &str) -> Result<(ServerName<'static>, u16), UsageError> {
    let rest = url.strip_prefix(SCHEME).ok_or(UsageError::Url("does not begin with https://"))?;
    if rest.contains('@') {
        return Err(UsageError::Url("carries a user or a password"));
    }
    if rest.contains(['/', '?', '#', '\\']) {
        return Err(UsageError::Url("goes on after host and port"));
    }
    let no_host = UsageError::Url("names no host");
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UsageError::Url("has a '[' without its ']'"))?;
            let address = address.parse().map_err(|_| no_host.clone())?;
            (ServerName::from(IpAddr::V6(address)), port)
        }
        None => {
            let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            let is_name = host.len() <= LONGEST_NAME && host.split('.').all(is_label);
            let name = is_name.then(|| ServerName::try_from(host.to_owned()).ok()).flatten();
            (name.ok_or_else(|| no_host.clone())?, port)
        }
    };
    if let ServerName::IpAddress(address) = host
        && (IpAddr::from(address).is_unspecified() || IpAddr::from(address).is_multicast())
    {
        return Err(no_host);
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, PORT)),
        // Not u16's own parser alone: it takes a plus sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port > 0);
            Ok((host, port.ok_or(UsageError::Url("has no port from 1 to 65535 after the colon"))?))
        }
        _ => Err(UsageError::Url("has no port from 1 to 65535 after the colon")),
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, UsageError> {
    if pem.len() > MOST_PEM {
        return Err(UsageError::TooLarge(pem.len()));
    }
    let mut roots = RootCertStore::empty();
    for (place, section) in Pem::iter_from_buffer(pem.as_bytes()).enumerate() {
        let unusable = |reason: String| UsageError::Certificate { place: place + 1, reason };
        let section = section.map_err(|error| unusable(error.to_string()))?;
        if section.label != "CERTIFICATE" {
            return Err(UsageError::NotOnlyCertificates);
        }
        let (rest, _certificate) =
            x509_parser::parse_x509_certificate(&section.contents).map_err(|error| unusable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unusable("something follows it".to_owned()));
        }
        roots.add(CertificateDer::from(section.contents)).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(UsageError::NoCertificate) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn authority() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn parse(url: Option<&str>, ca_pem: Option<&str>) -> Result<Option<UsageEndpoint>, UsageError> {
        UsageEndpoint::parse(&Usage { url: url.map(str::to_owned), ca_pem: ca_pem.map(str::to_owned) })
    }

    #[test]
    fn an_endpoint_is_a_host_and_perhaps_a_port() {
        let (ca, _) = authority();
        for (url, authority, port) in [
            ("https://usage.example.net", "usage.example.net", 443),
            ("https://usage.example.net:443", "usage.example.net", 443),
            ("https://usage:8443", "usage:8443", 8443),
            ("https://192.0.2.7:1", "192.0.2.7:1", 1),
            ("https://[2001:db8::7]", "[2001:db8::7]", 443),
            ("https://[2001:db8::7]:65535", "[2001:db8::7]:65535", 65535),
        ] {
            let endpoint = parse(Some(url), Some(&ca)).unwrap().unwrap();
            assert_eq!((endpoint.authority().as_str(), endpoint.port()), (authority, port), "{url}");
            assert_eq!(endpoint.roots().len(), 1);
        }
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        let (ca, _) = authority();
        for rest in [
            "http://secret.example",
            "secret.example",
            "HTTPS://secret.example",
            "https://",
            "https://:443",
            "https://secret.example/",
            "https://secret.example/api",
            "https://secret.example?token=1",
            "https://secret.example#x",
            "https://ada:secret@host",
            "https://secret.example:",
            "https://secret.example:0",
            "https://secret.example:65536",
            "https://secret.example:+443",
            "https://secret.example:443:443",
            "https://secret..example",
            "https://secret.example.",
            "https://secret example",
            "https://secret.example\r\nX: y",
            "https://[2001:db8::7",
            "https://[192.0.2.1]",
            "https://[2001:db8::7]443",
            "https://2001:db8::7",
            "https://0.0.0.0",
            "https://224.0.0.1",
            "https://999.1.1.1",
        ] {
            let error = parse(Some(rest), Some(&ca)).unwrap_err();
            let sentence = error.to_string();
            assert!(matches!(error, UsageError::Url(_)) && !sentence.contains("secret"), "{rest}: {sentence}");
        }
    }

    #[test]
    fn url_and_authority_come_together() {
        let (ca, _) = authority();
        assert!(parse(None, None).unwrap().is_none());
        assert_eq!(parse(None, Some(&ca)).unwrap_err(), UsageError::NoUrl);
        assert_eq!(parse(Some("https://a"), None).unwrap_err(), UsageError::NoAuthority);
    }

    #[test]
    fn authorities_are_certificates_and_nothing_else() {
        let (ca, key) = authority();
        let (other, _) = authority();
        let with = |pem: &str| parse(Some("https://a"), Some(pem));
        assert_eq!(with(&format!("{ca}{other}")).unwrap().unwrap().roots().len(), 2);
        assert_eq!(with("").unwrap_err(), UsageError::NoCertificate);
        assert_eq!(with("no PEM").unwrap_err(), UsageError::NoCertificate);
        assert_eq!(with(&format!("{ca}{key}")).unwrap_err(), UsageError::NotOnlyCertificates);
        assert!(matches!(with(&ca.repeat(200)).unwrap_err(), UsageError::TooLarge(_)));
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for bad in [format!("{ca}{cut}"), ca.replace("-----END", "----END")] {
            let error = with(&bad).unwrap_err();
            assert!(matches!(error, UsageError::Certificate { .. }), "{error}");
        }
    }
}
