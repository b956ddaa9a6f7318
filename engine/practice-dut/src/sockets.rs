//! Transparent sockets: they receive what `tproxy` steers to them and answer in the name of the original destination.
//!
//! `IP_TRANSPARENT` (ip(7)) is one flag for both families in Linux, settable at the IPv4 level on an IPv6 socket too. Several sockets
//! share port 443 with `SO_REUSEPORT`; the kernel spreads flows over them by hash.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tbi_bench::wire::PORT;

/// Pending connections per listener; the kernel clips it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Asked-for UDP buffer, bytes; the kernel clips it to `net.core.{r,w}mem_max`.
const UDP_BUFFER: usize = 8 << 20;

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    fn domain(self) -> Domain {
        match self {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        }
    }

    fn any(self, port: u16) -> SocketAddr {
        match self {
            Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }
}

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the transparent {what} socket on port {PORT}: {source}; run as root of the gateway's own network namespace and let nothing else use the port there"
)]
pub struct SocketError {
    what: &'static str,
    source: io::Error,
}

/// Listener whose accepted sockets carry the original destination as their local address.
///
/// # Errors
/// [`SocketError`] without the right or the port.
pub fn listener(family: Family) -> Result<std::net::TcpListener, SocketError> {
    let make = || {
        let socket = transparent(family, Type::STREAM, Protocol::TCP)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&family.any(PORT).into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    make().map_err(|source| SocketError { what: "TCP", source })
}

/// UDP socket whose packet information carries the original destination.
///
/// # Errors
/// [`SocketError`] without the right or the port.
pub fn datagrams(family: Family) -> Result<std::net::UdpSocket, SocketError> {
    let make = || {
        let socket = transparent(family, Type::DGRAM, Protocol::UDP)?;
        enlarge(&socket);
        socket.bind(&family.any(PORT).into())?;
        Ok(socket.into())
    };
    make().map_err(|source| SocketError { what: "UDP", source })
}

/// Ordinary UDP socket on a port of the kernel's choice, for leg 2.
///
/// # Errors
/// [`SocketError`] when the system has no socket left.
pub fn client_datagrams(family: Family) -> Result<std::net::UdpSocket, SocketError> {
    let make = || {
        let socket = Socket::new(family.domain(), Type::DGRAM, Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        socket.bind(&family.any(0).into())?;
        Ok(socket.into())
    };
    make().map_err(|source| SocketError { what: "upstream UDP", source })
}

fn transparent(family: Family, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(family.domain(), kind, Some(protocol))?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    socket.set_ip_transparent_v4(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Larger buffers are welcome but not needed; a refusal is no error.
fn enlarge(socket: &Socket) {
    let _best_effort = socket.set_recv_buffer_size(UDP_BUFFER);
    let _best_effort = socket.set_send_buffer_size(UDP_BUFFER);
}
