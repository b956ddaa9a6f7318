//! Questions and answers about who has an address, as Ethernet frames: ARP probes for IPv4 (RFC 5227, section 2.1.1), neighbour solicitations
//! without a source for IPv6 (RFC 4862, section 5.4.2). Pure. What comes in is anybody's: every length is looked at before it is used, and
//! what is no claim to an address is nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub(crate) type Octets = [u8; 6];

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const BROADCAST: Octets = [0xff; 6];
/// Hardware type Ethernet, protocol IPv4, lengths 6 and 4 (RFC 826).
const ARP_HEAD: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const ICMPV6: u8 = 58;
/// Neighbour discovery is only believed from the same link (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Option "target link-layer address" of an advertisement.
const TARGET_ADDRESS: u8 = 2;
/// Type, code, checksum, reserved, target.
const NEIGHBOUR: usize = 24;
const IPV6_HEAD: usize = 40;

/// What somebody on the wire says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) address: IpAddr,
    /// Who has it, or is about to take it.
    pub(crate) mac: Octets,
}

/// The frame that asks who has `address`, from a card that says nothing of itself but its hardware address.
pub(crate) fn question(from: Octets, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_probe(from, address),
        IpAddr::V6(address) => solicitation(from, address),
    }
}

fn arp_probe(from: Octets, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend(BROADCAST);
    frame.extend(from);
    frame.extend(ARP);
    frame.extend(ARP_HEAD);
    frame.extend(REQUEST.to_be_bytes());
    frame.extend(from);
    // "sender IP address" must be all zeroes, so that nobody's cache is spoilt if it is taken.
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    // The least that Ethernet carries, without its check sequence.
    frame.resize(60, 0);
    frame
}

fn solicitation(from: Octets, address: Ipv6Addr) -> Vec<u8> {
    let target = address.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&target[13..]);
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target);
    let sum = checksum(&[0; 16], &group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::with_capacity(ETHERNET + IPV6_HEAD + NEIGHBOUR);
    frame.extend([0x33, 0x33, group[12], group[13], group[14], group[15]]);
    frame.extend(from);
    frame.extend(IPV6);
    frame.extend([0x60, 0, 0, 0, 0, NEIGHBOUR as u8, ICMPV6, HOP_LIMIT]);
    frame.extend([0; 16]);
    frame.extend(group);
    frame.extend(message);
    frame
}

/// Sum over pseudo header and message (RFC 4443, section 2.3); over a message with its sum in place, it is 0.
fn checksum(source: &[u8; 16], destination: &[u8; 16], message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head = [&source[..], destination, &length, &[0, 0, 0, ICMPV6]].concat();
    let words = |bytes: &[u8]| -> u64 {
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
    };
    let mut sum = words(&head) + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Sender of a frame; `None` for what is no frame.
pub(crate) fn sender(frame: &[u8]) -> Option<Octets> {
    array(frame, 6)
}

/// The claim that a frame makes, if it makes one.
pub(crate) fn claim(frame: &[u8]) -> Option<Claim> {
    match array::<2>(frame, 12)? {
        ARP => arp_claim(frame.get(ETHERNET..)?),
        IPV6 => neighbour_claim(sender(frame)?, frame.get(ETHERNET..)?),
        _ => None,
    }
}

fn arp_claim(packet: &[u8]) -> Option<Claim> {
    if array::<6>(packet, 0)? != ARP_HEAD {
        return None;
    }
    let operation = u16::from_be_bytes(array(packet, 6)?);
    let mac = array(packet, 8)?;
    let (sender, target) = (Ipv4Addr::from(array::<4>(packet, 14)?), Ipv4Addr::from(array::<4>(packet, 24)?));
    match operation {
        // Another card probes for the same address: as good as having it (RFC 5227, section 2.1.1).
        REQUEST if sender.is_unspecified() => Some(Claim { address: target.into(), mac }),
        REQUEST | REPLY if !sender.is_unspecified() => Some(Claim { address: sender.into(), mac }),
        _ => None,
    }
}

fn neighbour_claim(sender: Octets, packet: &[u8]) -> Option<Claim> {
    let head: [u8; 8] = array(packet, 0)?;
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if head[0] >> 4 != 6 || head[6] != ICMPV6 || head[7] != HOP_LIMIT || length < NEIGHBOUR {
        return None;
    }
    let (source, destination) = (array::<16>(packet, 8)?, array::<16>(packet, 24)?);
    // Ethernet pads short frames: what counts is what the header says.
    let message = packet.get(IPV6_HEAD..IPV6_HEAD + length)?;
    if checksum(&source, &destination, message) != 0 || message[1] != 0 {
        return None;
    }
    let address = Ipv6Addr::from(array::<16>(message, 8)?);
    if address.is_multicast() {
        return None;
    }
    match message[0] {
        ADVERTISEMENT => {
            let mac = target_option(message.get(NEIGHBOUR..)?)?.unwrap_or(sender);
            Some(Claim { address: address.into(), mac })
        }
        // Somebody else does duplicate address detection for it (RFC 4862, section 5.4.3); one with a source only looks for a neighbour.
        SOLICITATION if source == [0; 16] => Some(Claim { address: address.into(), mac: sender }),
        _ => None,
    }
}

/// The hardware address among the options; `None` when they are malformed (RFC 4861, section 4.6: a length of 0 must be discarded).
fn target_option(mut options: &[u8]) -> Option<Option<Octets>> {
    while let [kind, length, ..] = *options {
        let length = usize::from(length) * 8;
        if length == 0 || length > options.len() {
            return None;
        }
        if kind == TARGET_ADDRESS {
            return Some(array(options, 2));
        }
        options = &options[length..];
    }
    Some(None)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// As people write it.
pub(crate) fn written(mac: Octets) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const OURS: Octets = [0x52, 0x54, 0, 0, 0, 1];
    pub(in super::super) const THEIRS: Octets = [0x52, 0x54, 0, 0, 0, 9];

    /// What a host that has the address answers, as Linux and firewalls do.
    pub(in super::super) fn answer(of: Octets, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => {
                let mut frame = arp_probe(of, address);
                frame[..6].copy_from_slice(&OURS);
                frame[ETHERNET + 7] = 2;
                frame[ETHERNET + 14..ETHERNET + 18].copy_from_slice(&address.octets());
                frame
            }
            IpAddr::V6(address) => {
                advertisement(of, address, &[TARGET_ADDRESS, 1, of[0], of[1], of[2], of[3], of[4], of[5]])
            }
        }
    }

    fn advertisement(of: Octets, address: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        let (source, all) = (address.octets(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend(address.octets());
        message.extend(options);
        let sum = checksum(&source, &all, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
        frame.extend(of);
        frame.extend(IPV6);
        frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT]);
        frame.extend(source);
        frame.extend(all);
        frame.extend(message);
        frame
    }

    #[test]
    fn an_arp_probe_is_that_of_rfc_5227() {
        let frame = question(OURS, "172.16.0.2".parse().unwrap());
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0,
            0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 172, 16, 0, 2,
        ];
        assert_eq!((&frame[..42], frame.len()), (&expected[..], 60));
    }

    /// The sum was computed by hand from RFC 4443.
    #[test]
    fn a_solicitation_is_that_of_rfc_4862() {
        let frame = question(OURS, "fd00:172:16::2".parse().unwrap());
        assert_eq!(frame[..14], [0x33, 0x33, 0xff, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 24, 58, 255]);
        assert_eq!(frame[22..38], [0; 16], "no source");
        let group: Ipv6Addr = "ff02::1:ff00:2".parse().unwrap();
        assert_eq!(frame[38..54], group.octets());
        assert_eq!((frame[54], frame.len()), (135, 78));
        // ff02+1+ff00+2 (group) + 18 (length) + 3a + 8700 + fd00+172+16+2 (target).
        let by_hand = [0xff02_u32, 1, 0xff00, 2, 0x18, 0x3a, 0x8700, 0xfd00, 0x172, 0x16, 2].iter().sum::<u32>();
        let by_hand = !(((by_hand & 0xffff) + (by_hand >> 16)) as u16);
        assert_eq!(u16::from_be_bytes([frame[56], frame[57]]), by_hand);
    }

    #[test]
    fn whoever_answers_or_asks_for_itself_claims_the_address() {
        for address in ["172.16.0.2", "fd00:172:16::2"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let expected = Some(Claim { address, mac: THEIRS });
            assert_eq!(claim(&answer(THEIRS, address)), expected, "an answer");
            assert_eq!(claim(&question(THEIRS, address)), expected, "a probe of somebody else");
            assert_eq!(sender(&answer(THEIRS, address)), Some(THEIRS));
        }
        // An advertisement without the option is its sender's.
        let address = "fd00:172:16::2".parse().unwrap();
        assert_eq!(claim(&advertisement(THEIRS, address, &[])).unwrap().mac, THEIRS);
    }

    #[test]
    fn what_is_cut_off_forwarded_damaged_or_malformed_claims_nothing() {
        for address in ["172.16.0.2", "fd00:172:16::2"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let good = answer(THEIRS, address);
            let needed = if address.is_ipv4() { 42 } else { good.len() };
            for length in 0..needed {
                assert_eq!(claim(&good[..length]), None, "{address} at {length}");
            }
        }
        let address: Ipv6Addr = "fd00:172:16::2".parse().unwrap();
        let good = answer(THEIRS, address.into());
        for (at, what) in [(21, "came through a router"), (60, "a wrong sum"), (20, "is no ICMPv6"), (14, "is no IPv6")]
        {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(claim(&bad), None, "{what}");
        }
        assert_eq!(claim(&advertisement(THEIRS, address, &[2, 0, 1, 2, 3, 4, 5, 6])), None, "an option of length 0");
        assert_eq!(
            claim(&advertisement(THEIRS, address, &[2, 9, 1, 2, 3, 4, 5, 6])),
            None,
            "an option that is too long"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            claim(&bytes);
            sender(&bytes);
        }

        /// Bytes that look right at the beginning get further than random ones.
        #[test]
        fn no_change_of_a_good_frame_makes_it_panic_or_invents_an_ipv6_address(
            ipv6 in any::<bool>(), at in 12_usize..86, value in any::<u8>(), length in 0_usize..100,
        ) {
            let address: IpAddr = if ipv6 { "fd00:172:16::2" } else { "172.16.0.2" }.parse().unwrap();
            let good = answer(THEIRS, address);
            let mut bad = good.clone();
            if let Some(byte) = bad.get_mut(at) {
                *byte = value;
            }
            bad.truncate(length);
            let found = claim(&bad);
            // The sum protects what IPv6 says from a single wrong byte; ARP has none.
            if ipv6 && bad != good && found.is_some() {
                prop_assert_eq!(found.unwrap().address, address);
            }
        }

        #[test]
        fn every_question_is_a_claim_of_its_own_sender(address in any::<IpAddr>(), mac in any::<Octets>()) {
            let multicast = matches!(address, IpAddr::V6(address) if address.is_multicast());
            let expected = (!multicast).then_some(Claim { address, mac });
            prop_assert_eq!(claim(&question(mac, address)), expected);
        }
    }
}
