//! The port of this machine on which a lab's dashboard is seen. It is bound before the lab goes into a network of its own, and handed
//! over from process to process (`LISTEN_FDS`, as systemd does it) to the door, which is inside: a socket stays in the network it was made
//! in. So nothing outside outlives the lab, however that ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Asked for when nobody names one, so that a browser that knows the lab knows it again.
const USUAL: u16 = 8443;
/// How often another port is asked for: one that is free for TCP may be taken for UDP.
const ANOTHER_PORT: u32 = 16;

/// TCP and UDP on one address: HTTP/1.1 and HTTP/2, HTTP/3.
#[derive(Debug)]
pub(crate) struct Front {
    tcp: TcpListener,
    udp: UdpSocket,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontError {
    #[error("cannot listen on {address} for the dashboard: {reason}; give another --listen, or --no-dashboard")]
    Bind { address: SocketAddr, reason: io::Error },
    #[error("the dashboard's port was not handed over to the lab ({0}); start it again with cargo tbi run")]
    HandOver(io::Error),
}

impl Front {
    /// The address that was asked for, else the usual port of loopback or any free one.
    ///
    /// # Errors
    /// [`FrontError::Bind`].
    pub(crate) fn bind(asked: Option<SocketAddr>) -> Result<Self, FrontError> {
        let address = asked.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, USUAL).into());
        let mut bound = both(address);
        let any = SocketAddr::new(address.ip(), 0);
        for _again in 0..if asked.is_none_or(|asked| asked.port() == 0) { ANOTHER_PORT } else { 0 } {
            if bound.is_ok() {
                break;
            }
            bound = both(any);
        }
        bound.map_err(|reason| FrontError::Bind { address, reason })
    }

    /// What the process before handed over.
    ///
    /// # Errors
    /// [`FrontError::HandOver`].
    pub(crate) fn handed_over() -> Result<Self, FrontError> {
        let mut handed = listenfd::ListenFd::from_env();
        let missing = || FrontError::HandOver(io::Error::from(io::ErrorKind::NotFound));
        let tcp = handed.take_tcp_listener(0).map_err(FrontError::HandOver)?.ok_or_else(missing)?;
        let udp = handed.take_udp_socket(1).map_err(FrontError::HandOver)?.ok_or_else(missing)?;
        Ok(Self { tcp, udp })
    }

    /// Where it is seen.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Has the next child of this process inherit both, and tells it so.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn hand_over(&self, child: &mut Command) -> io::Result<()> {
        // `LISTEN_FDS` counts on from the first one.
        let first = self.tcp.as_raw_fd();
        if self.udp.as_raw_fd() != first + 1 {
            return Err(io::Error::other("the two descriptors do not follow each other"));
        }
        inherited(&self.tcp, FdFlag::empty())?;
        inherited(&self.udp, FdFlag::empty())?;
        child.env("LISTEN_FDS", "2").env("LISTEN_FDS_FIRST_FD", first.to_string()).env_remove("LISTEN_PID");
        Ok(())
    }

    /// No child inherits them any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn keep_back(&self) -> io::Result<()> {
        inherited(&self.tcp, FdFlag::FD_CLOEXEC)?;
        inherited(&self.udp, FdFlag::FD_CLOEXEC)
    }
}

fn inherited(socket: impl AsFd, flag: FdFlag) -> io::Result<()> {
    fcntl(socket, FcntlArg::F_SETFD(flag))?;
    Ok(())
}

fn both(address: SocketAddr) -> io::Result<Front> {
    let tcp = TcpListener::bind(address)?;
    let udp = UdpSocket::bind(tcp.local_addr()?)?;
    Ok(Front { tcp, udp })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_by_name_and_the_usual_one_is_not_insisted_on() {
        let taken = Front::bind(Some((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        let address = taken.address().unwrap();
        let refused = Front::bind(Some(address)).unwrap_err().to_string();
        assert!(refused.contains(&address.to_string()) && refused.contains("--no-dashboard"), "{refused}");
        let (first, second) = (Front::bind(None).unwrap(), Front::bind(None).unwrap());
        assert_ne!(first.address().unwrap(), second.address().unwrap());
    }
}
