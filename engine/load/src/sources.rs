//! Source addresses: which one a connection binds to, and the sockets bound to it.
//!
//! Prefixes are walked in strides so that workers do not share addresses. Addresses inside a locally routed prefix need not be on an
//! interface (AnyIP). TCP binds late: the kernel picks the port at `connect`, so one source address serves a full port range for
//! *each* destination.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use tbi_bench::control::engine::Cause;

use crate::failure::Failure;

/// Addresses of one prefix that are used at most; more than any trial can keep busy.
const MAX_PER_PREFIX: u128 = 1 << 20;
/// Asked of the kernel, which caps it at `net.core.{r,w}mem_max`. QUIC bursts overflow the default buffers.
const UDP_BUFFER: usize = 4 << 20;

/// Address family, as far as binding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// One worker's walk through the source prefixes.
#[derive(Debug)]
pub struct Sources {
    v4: Walk,
    v6: Walk,
    /// First address of an IPv6 prefix that is not ours.
    foreign: Option<IpAddr>,
}

#[derive(Debug)]
struct Walk {
    prefixes: Vec<IpNet>,
    position: u128,
    stride: u128,
    total: u128,
}

impl Sources {
    /// The walk of worker `worker` of `workers`.
    #[must_use]
    pub fn new(prefixes: &[IpNet], worker: u32, workers: u32) -> Self {
        let walk = |v4: bool| {
            let prefixes: Vec<IpNet> =
                prefixes.iter().copied().filter(|prefix| prefix.addr().is_ipv4() == v4).collect();
            let total = prefixes.iter().map(hosts).sum();
            Walk { prefixes, position: u128::from(worker), stride: u128::from(workers.max(1)), total }
        };
        let (v4, v6) = (walk(true), walk(false));
        let foreign = v6.prefixes.iter().map(|prefix| host(prefix, 0)).find(|&first| !is_local(first));
        Self { v4, v6, foreign }
    }

    /// Whether the order names any source of this family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.walk(family).total > 0
    }

    /// How many addresses there are.
    #[must_use]
    pub fn count(&self, family: Family) -> u128 {
        self.walk(family).total
    }

    /// Next source address; unspecified (the kernel chooses) when the order names none of this family.
    ///
    /// # Errors
    /// A local [`Failure`] when an IPv6 prefix is not routed to this namespace: unlike IPv4, binding would not tell.
    pub fn next(&mut self, family: Family) -> Result<IpAddr, Failure> {
        if let (Family::V6, Some(foreign)) = (family, self.foreign) {
            return Err(Failure::local(
                Cause::SourceExhausted,
                format!("source {foreign} is not routed to this namespace; add `ip -6 route add local PREFIX dev lo`"),
            ));
        }
        let walk = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        Ok(walk.next().unwrap_or_else(|| family.unspecified()))
    }

    fn walk(&self, family: Family) -> &Walk {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Walk {
    fn next(&mut self) -> Option<IpAddr> {
        if self.total == 0 {
            return None;
        }
        let mut index = self.position % self.total;
        self.position = self.position.wrapping_add(self.stride);
        for prefix in &self.prefixes {
            let hosts = hosts(prefix);
            if index < hosts {
                return Some(host(prefix, index));
            }
            index -= hosts;
        }
        None
    }
}

/// Usable addresses: without the network's own and broadcast (IPv4) or subnet-router anycast (IPv6) where the prefix has them.
fn hosts(prefix: &IpNet) -> u128 {
    let bits = prefix.max_prefix_len() - prefix.prefix_len();
    match bits {
        0 => 1,
        1 => 2,
        _ => ((1u128 << bits.min(64)) - 2).min(MAX_PER_PREFIX),
    }
}

fn host(prefix: &IpNet, index: u128) -> IpAddr {
    let single = prefix.max_prefix_len() - prefix.prefix_len() <= 1;
    let offset = if single { index } else { index + 1 };
    match prefix.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + offset as u32).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + offset).into(),
    }
}

/// A non-blocking TCP socket bound to `source`, port left to `connect`.
///
/// # Errors
/// [`Failure`] with [`tbi_bench::control::engine::Fault::Local`].
pub fn tcp_socket(source: IpAddr) -> Result<tokio::net::TcpSocket, Failure> {
    let open = || -> io::Result<tokio::net::TcpSocket> {
        let socket = if source.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        // Without it the Finished and the first request wait for each other's acknowledgement.
        socket.set_nodelay(true)?;
        if !source.is_unspecified() {
            // The port is chosen at connect, when the destination is known: 4-tuples instead of ports are what runs out.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            allow_routed(&SockRef::from(&socket), source)?;
            socket.bind(SocketAddr::new(source, 0))?;
        }
        Ok(socket)
    };
    open().map_err(|error| Failure::bind(&error, &format!("TCP source {source}")))
}

/// A non-blocking UDP socket bound to `source` and a port of the kernel's choice.
///
/// # Errors
/// [`Failure`] with [`tbi_bench::control::engine::Fault::Local`].
pub fn udp_socket(source: IpAddr) -> Result<std::net::UdpSocket, Failure> {
    let open = || -> io::Result<std::net::UdpSocket> {
        let domain = if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if source.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        allow_routed(&SockRef::from(&socket), source)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        // The kernel caps silently; the witness counts drops, so a small buffer cannot pass unnoticed.
        SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
        SockRef::from(&socket).set_send_buffer_size(UDP_BUFFER)?;
        Ok(socket.into())
    };
    open().map_err(|error| Failure::bind(&error, &format!("UDP source {source}")))
}

/// IPv6 binds to interface addresses only, unless told otherwise; IPv4 also to anything in a local route. [`Sources::next`] has
/// checked that the address is in one.
fn allow_routed(socket: &SockRef<'_>, source: IpAddr) -> io::Result<()> {
    if source.is_ipv6() && !source.is_unspecified() { socket.set_freebind_v6(true) } else { Ok(()) }
}

/// Whether packets to this address are delivered here: then there is a route to it through the loopback device.
fn is_local(address: IpAddr) -> bool {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let asked = || {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(b"lo"))?;
        // Connecting a datagram socket looks up the route and sends nothing; the port does not matter.
        socket.connect(&SocketAddr::new(address, 9).into())
    };
    asked().is_ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn workers_walk_disjoint_addresses_of_the_right_family() {
        let prefixes: Vec<IpNet> =
            ["198.18.0.0/29", "198.18.1.1/32", "2001:2::/126"].iter().map(|text| text.parse().unwrap()).collect();
        let mut one = Sources::new(&prefixes, 0, 2);
        let mut two = Sources::new(&prefixes, 1, 2);
        assert_eq!(one.count(Family::V4), 7);
        let first: Vec<IpAddr> = (0..3).map(|_| one.next(Family::V4).unwrap()).collect();
        let second: Vec<IpAddr> = (0..3).map(|_| two.next(Family::V4).unwrap()).collect();
        assert_eq!(first[0], "198.18.0.1".parse::<IpAddr>().unwrap());
        assert!(first.iter().all(|address| address.is_ipv4() && !second.contains(address)));
        // Nobody routes the benchmarking prefix to the machine that runs the tests.
        assert_eq!(one.next(Family::V6).unwrap_err().cause, Cause::SourceExhausted);
        let mut loopback = Sources::new(&["::1/128".parse().unwrap()], 0, 1);
        assert_eq!(loopback.next(Family::V6), Ok(Ipv6Addr::LOCALHOST.into()));
        assert!(Sources::new(&[], 0, 1).next(Family::V6).unwrap().is_unspecified());
    }
}
