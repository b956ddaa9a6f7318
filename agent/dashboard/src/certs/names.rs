//! The names a certificate is for: from flags, from the agent's status, from an order, from a certificate. Parsed here once. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tbi_api::status::Status;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// Names in one certificate, at most: a box has a handful of addresses.
pub(crate) const MOST: usize = 64;

/// What a leaf is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// Why names cannot stand in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoNames {
    #[error(
        "'{0}' is neither a host name nor an address; give names like tbi.example.org or 192.0.2.7, without a port"
    )]
    Malformed(String),
    #[error("a certificate here is for 1 to {MOST} names; give so many")]
    Number,
}

impl Names {
    /// Both together.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            hosts: self.hosts.union(&other.hosts).cloned().collect(),
            addresses: self.addresses.union(&other.addresses).copied().collect(),
        }
    }

    /// Whether all of `others` are among these.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        self.hosts.is_superset(&others.hosts) && self.addresses.is_superset(&others.addresses)
    }

    /// As words.
    pub(crate) fn words(&self) -> Vec<String> {
        self.hosts.iter().cloned().chain(self.addresses.iter().map(IpAddr::to_string)).collect()
    }

    /// From words.
    ///
    /// # Errors
    /// [`NoNames`].
    pub(crate) fn parse(words: &[String]) -> Result<Self, NoNames> {
        if !(1..=MOST).contains(&words.len()) {
            return Err(NoNames::Number);
        }
        let mut names = Self::default();
        for word in words {
            if let Ok(address) = word.parse::<IpAddr>() {
                names.addresses.insert(address);
            } else if is_host(word.strip_prefix("*.").unwrap_or(word)) {
                names.hosts.insert(word.to_ascii_lowercase());
            } else {
                return Err(NoNames::Malformed(word.chars().take(80).collect()));
            }
        }
        Ok(names)
    }

    /// What the box is called and where it is reached. `None` without an address: nobody sees the certificate then, and one that was made
    /// for the addresses of a moment ago would be made again a moment later.
    pub(crate) fn of_box(status: &Status) -> Option<Self> {
        let address = |text: &String| text.split('/').next()?.parse::<IpAddr>().ok();
        let addresses: BTreeSet<IpAddr> =
            status.addresses.iter().filter_map(address).filter(is_reachable).take(MOST / 2).collect();
        if addresses.is_empty() {
            return None;
        }
        let host = status.host_name.to_ascii_lowercase();
        // Every machine calls itself localhost.
        let hosts = Some(host).filter(|host| is_host(host) && host != "localhost").into_iter().collect();
        Some(Self { hosts, addresses })
    }

    /// The names of a certificate; `None` when it has others than hosts and addresses.
    pub(crate) fn of_certificate(certificate: &X509Certificate<'_>) -> Option<Self> {
        let mut names = Self::default();
        for name in &certificate.subject_alternative_name().ok()??.value.general_names {
            match name {
                GeneralName::DNSName(host) => {
                    names.hosts.insert((*host).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    names.addresses.insert(address_of(bytes)?);
                }
                _ => return None,
            }
        }
        Some(names)
    }
}

/// The names of any certificate, those that are neither hosts nor addresses left out.
pub(crate) fn words_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let words = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(bytes) => address_of(bytes).map(|address| address.to_string()),
        _ => None,
    });
    words.take(MOST).collect()
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        _ => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
    }
}

/// Whether a browser elsewhere can be pointed at it. A link-local address needs a zone, which is another one on each machine.
fn is_reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// RFC 1123 section 2.1, in the form that RFC 5280 section 4.2.1.6 asks of a `dNSName`.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn words(words: &[&str]) -> Result<Names, NoNames> {
        Names::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_and_addresses_are_names_and_nothing_else_is() {
        let names = words(&["TBI.example.org", "*.bench.test", "192.0.2.7", "2001:db8::1", "a"]).unwrap();
        assert_eq!(names.words(), ["*.bench.test", "a", "tbi.example.org", "192.0.2.7", "2001:db8::1"]);
        let long = format!("{}.test", "a".repeat(64));
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "ä.test", "a:443", "[::1]", "a/24", "*", "a.*.b", "a\n", &long]
        {
            assert!(matches!(words(&[bad]), Err(NoNames::Malformed(_))), "{bad}");
        }
        assert_eq!(words(&[]), Err(NoNames::Number));
        assert_eq!(words(&["a"; MOST + 1]), Err(NoNames::Number));
    }
}
