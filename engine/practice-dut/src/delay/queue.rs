//! The netfilter queue's socket: opens and binds it, receives announcements, lets packets go. The bytes are [`super::message`]'s.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::message::{self, Message, Packet};

/// Announcements are some hundred bytes; metadata never exceeds a page.
const BUFFER: usize = 8192;
/// Asked-for receive buffer of the socket, clipped by `net.core.rmem_max`: room for announcements while this thread does not run.
const ROOM: usize = 8 << 20;
/// Longest wait for an acknowledgement; the kernel answers within the call.
const ANSWER: Duration = Duration::from_secs(1);

/// A bound queue.
#[derive(Debug)]
pub(super) struct Queue {
    socket: OwnedFd,
    number: u16,
    buffer: Vec<u8>,
}

impl Queue {
    /// Opens and binds queue `number` for at most `len` waiting packets.
    pub(super) fn open(number: u16, len: u32) -> io::Result<Self> {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
        // Less room only means more packets lost while this thread is kept from running.
        let _best_effort =
            setsockopt(&socket, sockopt::RcvBufForce, &ROOM).or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &ROOM));
        let mut queue = Self { socket, number, buffer: vec![0; BUFFER] };
        for request in message::setup(number, len) {
            queue.send(&request)?;
            queue.acknowledged()?;
        }
        Ok(queue)
    }

    /// The next announced packet, if there is one now.
    pub(super) fn receive(&mut self) -> io::Result<Option<Packet>> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => {
                    if let Message::Packet(packet) = message::parse(&self.buffer[..len]) {
                        return Ok(Some(packet));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                // ENOBUFS: announcements were lost for want of room, and their packets with them, as in any full queue.
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets go of every packet up to and including `id`.
    pub(super) fn release(&self, id: u32) -> io::Result<()> {
        self.send(&message::accept_up_to(self.number, id))
    }

    /// Waits for an announcement, at most `time`, precise to what the timer slack of the thread allows.
    pub(super) fn wait(&self, time: Duration) -> io::Result<()> {
        let mut descriptors = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut descriptors, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    fn acknowledged(&mut self) -> io::Result<()> {
        loop {
            self.wait(ANSWER)?;
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => match message::parse(&self.buffer[..len]) {
                    Message::Done(0) => return Ok(()),
                    Message::Done(number) => return Err(io::Error::from_raw_os_error(number.saturating_neg())),
                    Message::Packet(_) | Message::Other => {}
                },
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
