//! A fingerprint of a ClientHello that agent, practice DUT and persona compute alike, over TCP and over QUIC.
//!
//! In the spirit of JA4 but limited to what both ends can know without raw bytes: transport, cipher suites, named groups, signature
//! schemes and ALPN, lists sorted because rustls and browsers shuffle. The agent publishes what it sent; a persona that saw another
//! fingerprint saw another client. It corroborates; [`crate::proof`] decides.

use sha2::{Digest, Sha256};

/// Fields of a ClientHello that go into the fingerprint. IANA code points; ALPN as wire bytes.
#[derive(Debug, Clone, Default)]
pub struct HelloFields {
    /// Whether the hello came in QUIC CRYPTO frames.
    pub quic: bool,
    /// Offered cipher suites.
    pub cipher_suites: Vec<u16>,
    /// Offered named groups.
    pub named_groups: Vec<u16>,
    /// Offered signature schemes.
    pub signature_schemes: Vec<u16>,
    /// Offered ALPN ids.
    pub alpn: Vec<Vec<u8>>,
}

impl HelloFields {
    /// `t` or `q`, then counts of suites, groups, schemes and ALPN ids, then 12 hex digits of SHA-256 over the sorted lists;
    /// GREASE values (RFC 8701) and the TLS_EMPTY_RENEGOTIATION_INFO_SCSV are left out.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let suites = sorted(&self.cipher_suites);
        let groups = sorted(&self.named_groups);
        let schemes = sorted(&self.signature_schemes);
        let mut hash = Sha256::new();
        for list in [&suites, &groups, &schemes] {
            for value in list.iter() {
                hash.update(value.to_be_bytes());
            }
            hash.update([0xff, 0xff]);
        }
        for id in &self.alpn {
            hash.update([id.len().min(255) as u8]);
            hash.update(id);
        }
        let digest = hash.finalize();
        let tail: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let transport = if self.quic { 'q' } else { 't' };
        format!("{transport}{:02}{:02}{:02}{:02}_{tail}", suites.len(), groups.len(), schemes.len(), self.alpn.len())
    }
}

fn sorted(list: &[u16]) -> Vec<u16> {
    const SCSV: u16 = 0x00ff;
    let mut list: Vec<u16> = list.iter().copied().filter(|&value| !is_grease(value) && value != SCSV).collect();
    list.sort_unstable();
    list
}

fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_grease_do_not_matter_but_content_does() {
        let one = HelloFields { cipher_suites: vec![0x1301, 0x1302], alpn: vec![b"h2".to_vec()], ..Default::default() };
        let two = HelloFields { cipher_suites: vec![0x2a2a, 0x1302, 0x1301, 0x00ff], ..one.clone() };
        let three = HelloFields { cipher_suites: vec![0x1301, 0x1303], ..one.clone() };
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.fingerprint(), three.fingerprint());
        assert_ne!(one.fingerprint(), HelloFields { quic: true, ..one.clone() }.fingerprint());
    }
}
