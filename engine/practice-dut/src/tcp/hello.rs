//! What a ClientHello asks for, as far as leg 2 repeats it. Pure.

use rustls::CipherSuite;
use rustls::server::ClientHello;

use crate::tls::Versions;

/// ALPN names taken over from a client at most.
const MAX_ALPN: usize = 16;

/// The client's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// SNI, if any.
    pub(crate) name: Option<String>,
    /// ALPN, in the client's order; empty when it sent none.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// TLS versions.
    pub(crate) versions: Versions,
}

impl Wishes {
    pub(crate) fn of(hello: &ClientHello<'_>) -> Self {
        Self {
            name: hello.server_name().map(str::to_owned),
            alpn: hello.alpn().map(|names| names.take(MAX_ALPN).map(<[u8]>::to_vec).collect()).unwrap_or_default(),
            versions: versions(hello.cipher_suites()),
        }
    }
}

/// Versions a client can mean with these suites: the suites of TLS 1.3 and those of before are disjoint (RFC 8446 §B.4), and a client
/// offers suites for exactly the versions it supports.
fn versions(suites: &[CipherSuite]) -> Versions {
    const SIGNALLING: [u16; 2] = [0x00ff, 0x5600]; // renegotiation (RFC 5746), fallback (RFC 7507): no suites
    let new = |suite: &CipherSuite| u16::from(*suite) >> 8 == 0x13;
    // GREASE values (RFC 8701) have equal bytes that end in 0xa.
    let grease = |suite: &CipherSuite| u16::from(*suite) & 0x0f0f == 0x0a0a;
    let old = |suite: &CipherSuite| !new(suite) && !grease(suite) && !SIGNALLING.contains(&u16::from(*suite));
    match (suites.iter().any(new), suites.iter().any(old)) {
        (true, true) => Versions::Both,
        (true, false) => Versions::Tls13,
        (false, _) => Versions::Tls12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_tell_versions() {
        let suites = |values: &[u16]| values.iter().map(|value| CipherSuite::from(*value)).collect::<Vec<_>>();
        assert_eq!(versions(&suites(&[0x1301, 0x1302])), Versions::Tls13);
        assert_eq!(versions(&suites(&[0x0a0a, 0x1301, 0x00ff])), Versions::Tls13);
        assert_eq!(versions(&suites(&[0x1301, 0xc02b])), Versions::Both);
        assert_eq!(versions(&suites(&[0xc02b, 0x00ff])), Versions::Tls12);
        assert_eq!(versions(&[]), Versions::Tls12);
    }
}
