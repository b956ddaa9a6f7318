//! [`Framer`] in a stream: reads go through it, writes do not. Bytes that may pass stay where they were read to; only an incomplete head is
//! copied, so an idle connection costs no buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{Framer, Refused, STAND_IN, Verdict};

/// A stream behind the guard.
pub(crate) struct Guarded<S> {
    stream: S,
    framer: Framer,
    verdict: Verdict,
    /// Read and not handed on: first `passable` bytes that may, then the beginning of a head.
    held: Vec<u8>,
    passable: usize,
    refused: Option<Refused>,
    /// Bytes of the stand-in that were handed on.
    told: usize,
    /// How long a head may take from its first byte on, and the clock while one does.
    patience: Duration,
    clock: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Nothing more is written; what still comes is thrown away until then.
    lingers: Option<Pin<Box<Sleep>>>,
}

/// How long a client may go on sending after the last answer. Were the connection closed before its bytes are read, the kernel would reset
/// it, and the client might never read that answer (a refusal of the very body that it is sending).
const LINGER: Duration = Duration::from_secs(2);

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, verdict: Verdict, patience: Duration) -> Self {
        Self {
            stream,
            framer: Framer::new(),
            verdict,
            held: Vec::new(),
            passable: 0,
            refused: None,
            told: 0,
            patience,
            clock: None,
            ended: false,
            lingers: None,
        }
    }

    /// Hands on what is held and may pass; then, if there is one, the refusal. `None` when more must be read.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        if self.passable > 0 {
            let count = self.passable.min(buffer.remaining());
            buffer.put_slice(&self.held[..count]);
            self.passable -= count;
            if count == self.held.len() {
                self.held = Vec::new();
            } else {
                self.held.drain(..count);
            }
            return Some(Ok(()));
        }
        let refused = self.refused?;
        if !self.framer.at_head() {
            // The head has passed: whoever reads the body learns of it as an error.
            self.verdict.set(refused);
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, refused.sentence())));
        }
        self.verdict.set(refused);
        let rest = &STAND_IN[self.told..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.told += count;
        (count > 0).then_some(Ok(()))
    }

    fn judge(&mut self, refused: Option<Refused>) {
        self.refused = refused;
        if refused.is_some() || !self.framer.inside_head() {
            self.clock = None;
        } else if self.clock.is_none() {
            self.clock = Some(Box::pin(sleep(self.patience)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(handed) = this.hand_on(buffer) {
                return Poll::Ready(handed);
            }
            if this.refused.is_some() {
                // All is told, and the stand-in ends the connection. What still comes is thrown away, as after the last answer.
                let mut room = [0; 2048];
                let mut more = ReadBuf::new(&mut room);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut more))?;
                if more.filled().is_empty() {
                    this.ended = true;
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if let Some(clock) = &mut this.clock
                && clock.as_mut().poll(cx).is_ready()
            {
                this.judge(Some(Refused::Slow));
                continue;
            }
            if this.held.is_empty() {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
                let fresh = &buffer.filled()[before..];
                if fresh.is_empty() {
                    this.ended = true;
                    return Poll::Ready(Ok(()));
                }
                let look = this.framer.look(fresh);
                this.held.extend_from_slice(&fresh[look.pass..]);
                buffer.set_filled(before + look.pass);
                this.judge(look.refused);
                if look.pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut room = [0; 2048];
                let mut more = ReadBuf::new(&mut room);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut more))?;
                if more.filled().is_empty() {
                    // The client went away in the middle of a head.
                    (this.clock, this.ended) = (None, true);
                    return Poll::Ready(Ok(()));
                }
                this.held.extend_from_slice(more.filled());
                let look = this.framer.look(&this.held);
                this.passable = look.pass;
                this.judge(look.refused);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingers.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.held = Vec::new();
            this.lingers = Some(Box::pin(sleep(LINGER)));
        }
        let mut room = [0; 4096];
        while !this.ended && this.lingers.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_pending()) {
            let mut more = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut more)) {
                Ok(()) => this.ended = more.filled().is_empty(),
                Err(_gone) => this.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}
