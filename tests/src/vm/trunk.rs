//! The far end of the trunk cable: raw Ethernet frames, one datagram each (QEMU's `dgram` network over unix sockets). So the test is the
//! switch and the firewall: it sees every VLAN tag that leaves the box, and nothing the box sends can go anywhere else.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ethertype of RFC 903.
const RARP: u16 = 0x8035;

/// A cable's end.
#[derive(Debug)]
pub struct Trunk {
    socket: UnixDatagram,
    box_end: PathBuf,
}

/// A frame that came out of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// VLAN id of an 802.1Q tag; `None` for an untagged frame.
    pub vlan: Option<u16>,
    /// What it carries: 0x0806 ARP, 0x0800 IPv4, 0x86dd IPv6.
    pub ethertype: u16,
    /// What follows.
    pub payload: Vec<u8>,
}

impl Trunk {
    pub(super) fn plug(own: &Path, box_end: &Path) -> Self {
        // A machine that was restarted in the same folder finds the socket of before.
        let _absent = std::fs::remove_file(own);
        match UnixDatagram::bind(own) {
            Ok(socket) => Self { socket, box_end: box_end.to_owned() },
            Err(error) => panic!("cannot hold the trunk's end at {}: {error}", own.display()),
        }
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        while self.next(Duration::from_millis(1)).is_some() {}
    }

    /// The next frame, if one comes in time.
    #[must_use]
    pub fn next(&self, within: Duration) -> Option<Frame> {
        let end = Instant::now() + within;
        let mut bytes = vec![0; 70_000];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if let Err(error) = self.socket.set_read_timeout(Some(left)) {
                panic!("cannot wait for a frame: {error}");
            }
            let length = self.socket.recv(&mut bytes).ok()?;
            // After a continued state QEMU itself announces the card to its new switch with RARP frames, which the box never sent. (Not with
            // `announce-rounds=0`: virtio-net of QEMU 10.0 then dies at its next reset.)
            if let Some(frame) = bytes.get(..length).and_then(Frame::parse).filter(|frame| frame.ethertype != RARP) {
                return Some(frame);
            }
        }
    }

    /// All frames until `enough` or the time is over.
    #[must_use]
    pub fn collect(&self, within: Duration, mut enough: impl FnMut(&[Frame]) -> bool) -> Vec<Frame> {
        let end = Instant::now() + within;
        let mut frames = Vec::new();
        while !enough(&frames) {
            let Some(frame) = self.next(end.saturating_duration_since(Instant::now())) else { break };
            frames.push(frame);
        }
        frames
    }

    /// Sends a frame into the box.
    pub fn send(&self, frame: &Frame) {
        if let Err(error) = self.socket.send_to(&frame.bytes(), &self.box_end) {
            panic!("no frame goes into {}: {error}", self.box_end.display());
        }
    }
}

impl Frame {
    /// Reads a frame; `None` for what is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let destination = bytes.get(..6)?.try_into().ok()?;
        let source = bytes.get(6..12)?.try_into().ok()?;
        let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let (vlan, at) = if word(12)? == 0x8100 { (Some(word(14)? & 0x0fff), 16) } else { (None, 12) };
        Some(Self { destination, source, vlan, ethertype: word(at)?, payload: bytes.get(at + 2..)?.to_vec() })
    }

    /// The frame as it goes over the cable.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.destination, self.source].concat();
        if let Some(vlan) = self.vlan {
            bytes.extend_from_slice(&[0x81, 0x00]);
            bytes.extend_from_slice(&vlan.to_be_bytes());
        }
        bytes.extend_from_slice(&self.ethertype.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Answers a request for a link-layer address (ARP, RFC 826) as if `mac` had the address; `None` for any other frame.
    #[must_use]
    pub fn answered_by(&self, mac: [u8; 6]) -> Option<Self> {
        let arp = self.payload.get(..28).filter(|arp| self.ethertype == 0x0806 && arp[6..8] == [0, 1])?;
        let mut payload = arp.to_vec();
        payload[7] = 2;
        payload[8..14].copy_from_slice(&mac);
        payload[14..18].copy_from_slice(&arp[24..28]);
        payload[18..24].copy_from_slice(&arp[8..14]);
        payload[24..28].copy_from_slice(&arp[14..18]);
        Some(Self { destination: self.source, source: mac, vlan: self.vlan, ethertype: 0x0806, payload })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written_tagged_or_not() {
        for vlan in [None, Some(120)] {
            let frame = Frame { destination: [1; 6], source: [2; 6], vlan, ethertype: 0x86dd, payload: vec![7; 40] };
            assert_eq!(Frame::parse(&frame.bytes()), Some(frame.clone()));
            assert_eq!(Frame::parse(&frame.bytes()[..13]), None);
        }
        let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
        request.extend_from_slice(&[2, 2, 2, 2, 2, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        let asked = Frame { destination: [255; 6], source: [2; 6], vlan: Some(5), ethertype: 0x0806, payload: request };
        let answer = asked.answered_by([9; 6]).unwrap();
        assert_eq!(
            (answer.destination, answer.vlan, &answer.payload[14..18]),
            ([2; 6], Some(5), [10, 0, 0, 2].as_slice())
        );
        assert_eq!(answer.answered_by([9; 6]), None, "an answer is no request");
    }
}
