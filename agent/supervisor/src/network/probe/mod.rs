//! Asks the wire who has the addresses that the topology puts on the trunk, and counts the frames that come in with each of its tags.
//!
//! | module | job |
//! |---|---|
//! | [`frames`] | questions and answers as bytes |
//! | [`round`] | when what is asked, and what is made of answers |
//! | [`outcome`] | what is left for the agent |
//!
//! The caller is already in the namespace that has the VLAN interfaces, and has CAP_NET_RAW there and nothing else. A frame on a VLAN
//! interface has had that VLAN's tag on the wire: the kernel takes it off and hands the frame to that interface only. Blocking; bounded by
//! [`round::LONGEST`]. What we send does not come back to us, and our kernel, which has the addresses, does not hear it.

mod frames;
mod outcome;
mod round;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom, sendto, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tbi_bench::netplan::{Namespace, NetworkPlan, Uplink, Via};

pub(crate) use outcome::{ProbeOutcome, Probed, VlanSeen, Whose};
use round::{Line, Round};

/// A frame's beginning is enough to know it.
const BYTES: usize = 256;
/// What the kernel calls a frame that we sent (`PACKET_OUTGOING`, linux/if_packet.h).
const OUTGOING: u8 = 4;

/// The wire cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("cannot open a raw socket in this network namespace ({0}); run as a unit with CAP_NET_RAW")]
    Socket(io::Error),
    #[error("cannot list the network interfaces ({0}); try again")]
    Interfaces(io::Error),
    #[error(
        "interface '{interface}' of VLAN {vlan} is not in this network namespace; the network is not laid, look at the check 'vlans' first"
    )]
    NoInterface { interface: String, vlan: u16 },
    #[error("listening on the trunk failed ({0}); try again")]
    Listen(io::Error),
}

/// What is asked in a namespace: on each VLAN of the trunk our own addresses, and those of the device that routes lead to.
pub(crate) fn targets(plan: &NetworkPlan, namespace: Namespace) -> Vec<Target> {
    let uplinks = plan.state.uplinks.iter().filter(|uplink| uplink.end.namespace == namespace);
    uplinks.map(|uplink| target(plan, uplink)).collect()
}

/// One VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    vlan: u16,
    interface: String,
    addresses: Vec<(IpAddr, Whose)>,
}

fn target(plan: &NetworkPlan, uplink: &Uplink) -> Target {
    let own = plan.state.addresses.iter().filter(|address| address.end == uplink.end);
    let own: BTreeSet<IpAddr> = own.map(|address| address.address.addr()).collect();
    let routes = plan.state.routes.iter().chain(&plan.expected);
    let gateways: BTreeSet<IpAddr> = routes
        .filter(|route| route.end().as_ref() == Some(&uplink.end))
        .filter_map(|route| match &route.via {
            Via::Gateway { gateway, .. } => Some(*gateway),
            Via::Local => None,
        })
        .filter(|gateway| !own.contains(gateway))
        .collect();
    let ours = own.into_iter().map(|address| (address, Whose::Ours));
    let addresses = ours.chain(gateways.into_iter().map(|address| (address, Whose::Device))).collect();
    Target { vlan: uplink.vlan.number(), interface: uplink.end.interface.to_string(), addresses }
}

/// Asks, listens, and tells what was heard. `chance` gives numbers from 0 to 1.
///
/// # Errors
/// [`ProbeError`]; a question that could not be sent is in what was seen.
pub(crate) fn ask(targets: Vec<Target>, chance: impl FnMut() -> f64) -> Result<Vec<VlanSeen>, ProbeError> {
    // The ears first.
    let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .map_err(|errno| ProbeError::Socket(errno.into()))?;
    let cards = cards()?;
    let (mut lines, mut ends) = (Vec::new(), Vec::new());
    for target in targets {
        let Target { vlan, interface, addresses } = target;
        let Some((_, end)) = cards.iter().find(|(name, _)| *name == interface) else {
            return Err(ProbeError::NoInterface { interface, vlan });
        };
        let mac = end.as_link_addr().and_then(LinkAddr::addr).unwrap_or_default();
        lines.push(Line { vlan, interface, mac, addresses });
        ends.push(*end);
    }
    let mut round = Round::new(lines, chance);
    let begun = Instant::now();
    loop {
        for question in round.due(begun.elapsed()) {
            let end = ends.get(question.line);
            let sent = end.map(|end| sendto(wire.as_raw_fd(), &question.frame, end, MsgFlags::empty()));
            if let Some(Err(errno)) = sent {
                round.not_sent(question.line, errno.desc());
            }
        }
        let Some(wait) = round.wait(begun.elapsed()) else { return Ok(round.seen()) };
        if let Some((index, frame)) = listen(&wire, wait)?
            && let Some(line) = ends.iter().position(|end| index_of(end) == Some(index))
        {
            round.heard(line, &frame);
        }
    }
}

/// Cards of this namespace with their link addresses, which say where a frame goes.
fn cards() -> Result<Vec<(String, SockaddrStorage)>, ProbeError> {
    let all = getifaddrs().map_err(|errno| ProbeError::Interfaces(errno.into()))?;
    let link = |address: &SockaddrStorage| address.as_link_addr().is_some();
    Ok(all.filter_map(|card| Some((card.interface_name, card.address.filter(link)?))).collect())
}

fn index_of(end: &SockaddrStorage) -> Option<usize> {
    end.as_link_addr().map(LinkAddr::ifindex)
}

/// The next frame that came in, with the interface it came in on; nothing when time is up or it was one of our own.
fn listen(wire: &OwnedFd, within: Duration) -> Result<Option<(usize, Vec<u8>)>, ProbeError> {
    let failed = |errno: Errno| ProbeError::Listen(errno.into());
    // 0 would be for ever.
    let milliseconds = i64::try_from(within.as_millis()).unwrap_or(i64::MAX).max(1);
    setsockopt(wire, ReceiveTimeout, &TimeVal::milliseconds(milliseconds)).map_err(failed)?;
    let mut bytes = [0; BYTES];
    match recvfrom::<LinkAddr>(wire.as_raw_fd(), &mut bytes) {
        Ok((length, Some(from))) if from.pkttype() != OUTGOING => {
            Ok(Some((from.ifindex(), bytes.get(..length).unwrap_or_default().to_vec())))
        }
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        // Says that some interface of the namespace went down; its own questions will say so.
        Err(Errno::ENETDOWN) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}
