//! The sockets the door listens on: handed over by systemd (TCP and UDP, told apart by what they are), or bound to `--listen`. For each TCP
//! port there should be the UDP port of the same number, which HTTP/3 is announced on.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted; a burst of a thousand must not be refused by the kernel.
const BACKLOG: i32 = 4096;

/// Bound sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
}

/// How often another port is asked for when nobody named one.
const ANOTHER_PORT: u32 = 16;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address} ({transport}): {reason}; free the port or give another --listen")]
    Bind { address: SocketAddr, transport: &'static str, reason: io::Error },
    #[error(
        "descriptor {number} handed over by systemd is neither a listening TCP socket nor a UDP socket ({reason}); correct the socket unit"
    )]
    Activation { number: usize, reason: io::Error },
    #[error("systemd handed over no TCP socket; add ListenStream= to the socket unit")]
    NoTcp,
}

impl Sockets {
    /// What systemd handed over, else new ones.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn open(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut handed = ListenFd::from_env();
        if handed.len() == 0 { Self::bind(addresses) } else { Self::activated(&mut handed) }
    }

    fn activated(handed: &mut ListenFd) -> Result<Self, ListenError> {
        let mut sockets = Self::default();
        for number in 0..handed.len() {
            // A descriptor of another kind is an error that leaves it in its place.
            if let Ok(Some(tcp)) = handed.take_tcp_listener(number) {
                sockets.tcp.push(tcp);
                continue;
            }
            match handed.take_udp_socket(number) {
                Ok(udp) => sockets.udp.extend(udp),
                Err(reason) => return Err(ListenError::Activation { number, reason }),
            }
        }
        if sockets.tcp.is_empty() { Err(ListenError::NoTcp) } else { Ok(sockets) }
    }

    /// TCP and UDP on each address. Port 0 takes what the kernel gives, the same for both.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut sockets = Self::default();
        for address in addresses {
            let mut pair = bind_both(*address);
            // The kernel gives a port that is free for TCP; somebody may have it for UDP.
            for _again in 0..if address.port() == 0 { ANOTHER_PORT } else { 0 } {
                if pair.is_ok() {
                    break;
                }
                pair = bind_both(*address);
            }
            let (tcp, udp) = pair?;
            sockets.tcp.push(tcp);
            sockets.udp.push(udp);
        }
        Ok(sockets)
    }
}

fn bind_both(address: SocketAddr) -> Result<(TcpListener, UdpSocket), ListenError> {
    let failed = |address, transport| move |reason| ListenError::Bind { address, transport, reason };
    let tcp = tcp(address).map_err(failed(address, "TCP"))?;
    let bound = tcp.local_addr().unwrap_or(address);
    let udp = udp(bound).map_err(failed(bound, "UDP"))?;
    Ok((tcp, udp))
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    both_families(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    both_families(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// `[::]` means every address, whatever `net.ipv6.bindv6only` says.
fn both_families(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(!address.ip().is_unspecified()) } else { Ok(()) }
}
