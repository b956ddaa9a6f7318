//! A connected UDP socket for one QUIC probe that hears ICMP: quinn's own sockets are unconnected, so to them a device that blocks
//! QUIC actively looks the same as one that drops it.
//!
//! Errors the kernel reports are kept for [`IcmpSocket::refused`] and never shown to quinn, whose endpoint would end.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{setsockopt, sockopt};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::sources;

/// The socket.
#[derive(Debug)]
pub(super) struct IcmpSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    error: Mutex<Option<io::Error>>,
    told: Notify,
}

impl IcmpSocket {
    /// Binds to `source` and connects to `target`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Failure`] of bind or connect; connect already knows when there is no route.
    pub(super) fn connect(source: IpAddr, target: SocketAddr) -> Result<Arc<Self>, Failure> {
        let socket = sources::udp_socket(source)?;
        socket.connect(target).map_err(|error| Failure::connect(&error))?;
        let open = || {
            // Without it the kernel keeps "host unreachable" to itself, even on a connected socket (ip(7)).
            if target.is_ipv4() {
                setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
            } else {
                setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
            }
            let state = UdpSocketState::new((&socket).into())?;
            let io = tokio::net::UdpSocket::from_std(socket)?;
            Ok(Arc::new(Self { io, state, error: Mutex::new(None), told: Notify::new() }))
        };
        open().map_err(|error: io::Error| Failure::bind(&error, "QUIC probe socket"))
    }

    /// Waits until the path says that it does not deliver.
    pub(super) async fn refused(&self) -> Failure {
        loop {
            let kept = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(error) = kept.or_else(|| self.io.take_error().ok().flatten()) {
                return Failure::connect(&error);
            }
            // Nothing is lost when an arm is cancelled: the error stays with the socket or in `error`.
            tokio::select! {
                () = self.told.notified() => {}
                // An ICMP error alone makes the socket neither readable nor writable for tokio.
                _ready = self.io.ready(Interest::ERROR) => {
                    let _cleared = self.io.try_io(Interest::ERROR, || match self.io.take_error()? {
                        Some(error) => {
                            self.keep(error);
                            Ok(())
                        }
                        None => Err(io::ErrorKind::WouldBlock.into()),
                    });
                }
            }
        }
    }

    fn keep(&self, error: io::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.told.notify_one();
    }
}

impl AsyncUdpSocket for IcmpSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.keep(error);
                Ok(())
            }
            result => result,
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta)) {
                Ok(received) => return Poll::Ready(Ok(received)),
                // The attempt cleared readiness, so the next round waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.keep(error),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

#[derive(Debug)]
struct Writable(Arc<IcmpSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_send_ready(cx)
    }
}
