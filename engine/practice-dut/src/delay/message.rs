//! Netfilter queue messages as bytes (kernel: `include/uapi/linux/netfilter/nfnetlink_queue.h`). Pure, no sockets.
//!
//! Own code because the crate for it reads 64-bit values through misaligned pointers and offers no descriptor to wait on. Numbers in
//! headers are in host order, numbers in payloads in network order; attributes are padded to four bytes (netlink(7)).

use std::time::{Duration, SystemTime};

/// `nlmsghdr` and `nfgenmsg`.
const HEADER: usize = 16 + 4;
/// `NLMSG_ERROR`: an acknowledgement when its number is zero.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Subsystem in the upper byte of the message type.
const SUBSYSTEM: u16 = 3 << 8;
const MSG_PACKET: u16 = SUBSYSTEM;
const MSG_CONFIG: u16 = SUBSYSTEM | 2;
const MSG_VERDICT_BATCH: u16 = SUBSYSTEM | 3;

const CFG_CMD: u16 = 1;
const CFG_PARAMS: u16 = 2;
const CFG_QUEUE_MAXLEN: u16 = 3;
const CFG_MASK: u16 = 4;
const CFG_FLAGS: u16 = 5;
const CMD_BIND: u8 = 1;
const COPY_META: u8 = 1;
const FLAG_FAIL_OPEN: u32 = 1;
const FLAG_GSO: u32 = 4;

const PACKET_HDR: u16 = 1;
const VERDICT_HDR: u16 = 2;
const TIMESTAMP: u16 = 4;
const NF_ACCEPT: u32 = 1;

/// What the kernel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A packet waits.
    Packet(Packet),
    /// The last request was carried out, or failed with this error number.
    Done(i32),
    /// Something else.
    Other,
}

/// A waiting packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Number by which it is released; numbers of one queue grow.
    pub id: u32,
    /// When it reached the interface, if the kernel stamps packets.
    pub arrived: Option<SystemTime>,
}

/// Requests that set up a queue, each to be acknowledged: bind; metadata only; its length; offloaded packets whole and never let
/// through for want of room.
#[must_use]
pub fn setup(queue: u16, len: u32) -> [Vec<u8>; 4] {
    let config = |attributes: &[(u16, &[u8])]| request(MSG_CONFIG, REQUEST | ACK, queue, attributes);
    [
        config(&[(CFG_CMD, &[CMD_BIND, 0, 0, 0])]),
        config(&[(CFG_PARAMS, &[0, 0, 0, 0, COPY_META])]),
        config(&[(CFG_QUEUE_MAXLEN, &len.to_be_bytes())]),
        config(&[(CFG_FLAGS, &FLAG_GSO.to_be_bytes()), (CFG_MASK, &(FLAG_GSO | FLAG_FAIL_OPEN).to_be_bytes())]),
    ]
}

/// Lets go of every packet up to and including `id`.
#[must_use]
pub fn accept_up_to(queue: u16, id: u32) -> Vec<u8> {
    let mut verdict = [0; 8];
    verdict[..4].copy_from_slice(&NF_ACCEPT.to_be_bytes());
    verdict[4..].copy_from_slice(&id.to_be_bytes());
    request(MSG_VERDICT_BATCH, REQUEST, queue, &[(VERDICT_HDR, &verdict)])
}

/// Reads the first message of a datagram; the queue never packs several into one.
#[must_use]
pub fn parse(bytes: &[u8]) -> Message {
    let kind = bytes.get(4..6).and_then(|field| field.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(ERROR) => array(bytes, 16).map_or(Message::Other, |number| Message::Done(i32::from_ne_bytes(number))),
        Some(MSG_PACKET) => packet(bytes).map_or(Message::Other, Message::Packet),
        _ => Message::Other,
    }
}

fn packet(bytes: &[u8]) -> Option<Packet> {
    let (mut id, mut arrived) = (None, None);
    let mut rest = bytes.get(HEADER..)?;
    while let (Some(len), Some(kind)) = (array(rest, 0).map(u16::from_ne_bytes), array(rest, 2).map(u16::from_ne_bytes))
    {
        let payload = rest.get(4..usize::from(len))?;
        match kind & 0x3fff {
            PACKET_HDR => id = array(payload, 0).map(u32::from_be_bytes),
            TIMESTAMP => {
                let (seconds, micros) =
                    (array(payload, 0).map(u64::from_be_bytes)?, array(payload, 8).map(u64::from_be_bytes)?);
                arrived = SystemTime::UNIX_EPOCH
                    .checked_add(Duration::from_secs(seconds).checked_add(Duration::from_micros(micros))?);
            }
            _ => {}
        }
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
    id.map(|id| Packet { id, arrived })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn request(kind: u16, flags: u16, queue: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[18..20].copy_from_slice(&queue.to_be_bytes());
    for (kind, payload) in attributes {
        // Every payload above is a handful of bytes.
        bytes.extend_from_slice(&(payload.len() as u16 + 4).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: u32, stamp: Option<(u64, u64)>) -> Vec<u8> {
        let mut header = [0; 7];
        header[..4].copy_from_slice(&id.to_be_bytes());
        let stamp = stamp.map(|(seconds, micros)| [seconds.to_be_bytes(), micros.to_be_bytes()].concat());
        let mut attributes: Vec<(u16, &[u8])> = vec![(PACKET_HDR, &header), (9, b"abc")];
        attributes.extend(stamp.as_deref().map(|stamp| (TIMESTAMP, stamp)));
        request(MSG_PACKET, 0, 443, &attributes)
    }

    #[test]
    fn packets_are_read_with_and_without_stamp() {
        assert_eq!(parse(&example(7, None)), Message::Packet(Packet { id: 7, arrived: None }));
        let arrived = Some(SystemTime::UNIX_EPOCH + Duration::new(5, 6000));
        assert_eq!(parse(&example(u32::MAX, Some((5, 6)))), Message::Packet(Packet { id: u32::MAX, arrived }));
    }

    #[test]
    fn cut_or_absurd_messages_are_never_a_panic() {
        let whole = example(7, Some((u64::MAX, u64::MAX)));
        for end in 0..=whole.len() {
            let _any = parse(&whole[..end]);
        }
        for index in 0..whole.len() {
            for value in [0, 1, 3, 0xff] {
                let mut bent = whole.clone();
                bent[index] = value;
                let _any = parse(&bent);
            }
        }
    }

    #[test]
    fn requests_have_the_layout_of_the_kernel() {
        let bytes = accept_up_to(443, 9);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[18..20], [1, 187]);
        assert_eq!(bytes[24..], [0, 0, 0, 1, 0, 0, 0, 9]);
        for request in setup(443, 1) {
            assert_eq!(request.len() % 4, 0);
        }
        let mut acknowledged = vec![0; 36];
        acknowledged[4] = 2;
        assert_eq!(parse(&acknowledged), Message::Done(0));
    }
}
