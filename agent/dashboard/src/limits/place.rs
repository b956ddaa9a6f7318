//! Which addresses count as one client: an IPv4 address; a /64 of IPv6, because whoever has one address there has them all; the box itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use tbi_api::access::LOCAL;

/// Where a request comes from, as far as limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// The box itself, over loopback: somebody who is at the console, or has an account of the system.
    Local,
    /// Elsewhere. IPv6: the first address of the /64.
    Network(IpAddr),
}

impl Place {
    /// Place of an address as the socket gives it.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Local,
            IpAddr::V6(address) => {
                let bits = u128::from(address) & !u128::from(u64::MAX);
                Self::Network(IpAddr::V6(Ipv6Addr::from(bits)))
            }
            address @ IpAddr::V4(_) => Self::Network(address),
        }
    }
}

/// What the audit chain calls the source: the whole address, or `local`.
pub(crate) fn source(address: IpAddr) -> String {
    let address = address.to_canonical();
    if address.is_loopback() { LOCAL.to_owned() } else { address.to_string() }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => formatter.write_str(LOCAL),
            Self::Network(IpAddr::V6(address)) => write!(formatter, "{address}/64"),
            Self::Network(address) => write!(formatter, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn place(text: &str) -> String {
        Place::of(text.parse().unwrap()).to_string()
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        assert_eq!(place("2001:db8:1:2:3:4:5:6"), place("2001:db8:1:2::1"));
        assert_ne!(place("2001:db8:1:3::1"), place("2001:db8:1:2::1"));
        assert_eq!(place("2001:db8:1:2::1"), "2001:db8:1:2::/64");
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4_and_loopback_is_local() {
        assert_eq!(place("::ffff:192.0.2.1"), place("192.0.2.1"));
        for local in ["127.0.0.1", "127.3.4.5", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(place(local), "local");
            assert_eq!(source(local.parse().unwrap()), "local");
        }
        assert_eq!(source("2001:db8::7".parse().unwrap()), "2001:db8::7");
    }
}
