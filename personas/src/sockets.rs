//! One pair of listening sockets per worker, all on the same port. The kernel spreads connections over workers by their four-tuple
//! (SO_REUSEPORT), so all packets of a QUIC connection reach the same worker as long as the client keeps its address.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel holds for a worker that is busy.
const BACKLOG: i32 = 4096;
/// Wanted size of UDP socket buffers, bytes: 50 ms of 1.2 Gbit/s.
const UDP_BUFFER: usize = 8 << 20;

/// Sockets of one worker.
pub(crate) struct Sockets {
    pub(crate) tcp: TcpListener,
    pub(crate) udp: UdpSocket,
}

/// Why sockets cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {protocol} port {port}: {reason}; stop what uses it, or start with the right to bind it (CAP_NET_BIND_SERVICE)"
)]
pub struct SocketError {
    protocol: &'static str,
    port: u16,
    reason: io::Error,
}

/// Sockets for `workers` workers on `port`, or on any port that is free for both TCP and UDP when it is 0. Gives the port, too.
pub(crate) fn open(workers: u32, port: u16) -> Result<(Vec<Sockets>, u16), SocketError> {
    /// A port free for TCP but not for UDP is rare; so many in a row mean that something else is wrong.
    const TRIES: usize = 16;
    if port != 0 {
        must_be_free(port)?;
    }
    let mut tried = 0;
    let (first, port) = loop {
        let tcp = tcp(port).map_err(|reason| SocketError { protocol: "TCP", port, reason })?;
        let bound = tcp.local_addr().map_err(|reason| SocketError { protocol: "TCP", port, reason })?.port();
        tried += 1;
        match udp(bound) {
            Ok(udp) => break (Sockets { tcp, udp }, bound),
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse && tried < TRIES => {}
            Err(reason) => return Err(SocketError { protocol: "UDP", port: bound, reason }),
        }
    };
    let mut all = vec![first];
    for _ in 1..workers {
        all.push(Sockets {
            tcp: tcp(port).map_err(|reason| SocketError { protocol: "TCP", port, reason })?,
            udp: udp(port).map_err(|reason| SocketError { protocol: "UDP", port, reason })?,
        });
    }
    Ok((all, port))
}

/// SO_REUSEPORT would let a forgotten predecessor of the same user keep its share of the connections, so somebody on the port is an error.
fn must_be_free(port: u16) -> Result<(), SocketError> {
    let probe = |kind, protocol| {
        let socket = unbound(kind, protocol)?;
        bind(&socket, port)
    };
    probe(Type::STREAM, Protocol::TCP).map_err(|reason| SocketError { protocol: "TCP", port, reason })?;
    probe(Type::DGRAM, Protocol::UDP).map_err(|reason| SocketError { protocol: "UDP", port, reason })
}

fn tcp(port: u16) -> io::Result<TcpListener> {
    let socket = bound(Type::STREAM, Protocol::TCP, port)?;
    // Accepted sockets inherit it (tcp(7)), which saves a system call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp(port: u16) -> io::Result<UdpSocket> {
    let socket = bound(Type::DGRAM, Protocol::UDP, port)?;
    // Beyond net.core.{r,w}mem_max only with CAP_NET_ADMIN in the namespace; without it the kernel grants what it allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &UDP_BUFFER).is_err() {
        socket.set_recv_buffer_size(UDP_BUFFER)?;
    }
    socket.set_send_buffer_size(UDP_BUFFER)?;
    tracing::debug!(
        receive = socket.recv_buffer_size()?,
        send = socket.send_buffer_size()?,
        "UDP socket buffers, bytes"
    );
    Ok(socket.into())
}

fn bound(kind: Type, protocol: Protocol, port: u16) -> io::Result<Socket> {
    let socket = unbound(kind, protocol)?;
    socket.set_reuse_port(true)?;
    bind(&socket, port)?;
    Ok(socket)
}

fn unbound(kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, kind, Some(protocol))?;
    socket.set_only_v6(false)?;
    if kind == Type::STREAM {
        // A restarted daemon must not wait for TIME_WAIT of its predecessor.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind(socket: &Socket, port: u16) -> io::Result<()> {
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())
}
