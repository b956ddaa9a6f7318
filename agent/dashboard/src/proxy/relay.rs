//! An answer that comes in pieces, on its way to the client. It reads from the daemon only when the client takes more, so a slow client slows
//! the daemon and fills no memory. An event stream has no time limit, and ends with `bye` when the door drains.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::pool::Lease;
use crate::body::SILENCE;

/// The last event of a stream that the door ends, in the form of `tbi_daemon::sse`.
const BYE: &[u8] = b"event: bye\ndata: {\"reason\":\"stopping\"}\n\n";

/// Why an answer was cut after its head had gone out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the daemon's connection broke in the middle of its answer: {0}")]
    Broke(#[from] hyper::Error),
    #[error("the daemon was silent for 120 s in the middle of its answer")]
    Silent,
}

/// See the module.
pub(crate) struct Relay {
    lease: Option<Lease>,
    body: Incoming,
    first: Option<Bytes>,
    pace: Pace,
    over: bool,
}

enum Pace {
    /// Pieces must come one after another.
    Steady(Option<Pin<Box<Sleep>>>),
    /// Events come when something happens.
    Events { at_boundary: bool, stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>, stopping: bool },
}

impl Relay {
    pub(super) fn new(lease: Lease, body: Incoming, first: Option<Bytes>, events: bool) -> Self {
        let pace = match events {
            true => Pace::Events { at_boundary: true, stop: None, stopping: false },
            false => Pace::Steady(None),
        };
        Self { lease: Some(lease), body, first, pace, over: false }
    }

    /// An event stream is to end when `stop` is cancelled.
    pub(crate) fn ends_with(&mut self, token: &CancellationToken) {
        if let Pace::Events { stop, .. } = &mut self.pace {
            *stop = Some(Box::pin(token.clone().cancelled_owned()));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        match (rest.exact(), &self.first) {
            (Some(rest), first) => SizeHint::with_exact(rest + first.as_ref().map_or(0, |first| first.len() as u64)),
            (None, _) => SizeHint::new(),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, RelayError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        if let Pace::Events { at_boundary, stop: Some(stop), stopping } = &mut self.pace {
            *stopping = *stopping || stop.as_mut().poll(cx).is_ready();
            // In the middle of an event its rest is waited for: half an event is no event.
            if *stopping && *at_boundary {
                return Poll::Ready(Some(Ok(self.bye())));
            }
        }
        if let Some(lease) = &mut self.lease {
            let _over = lease.upstream.drive(cx);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if let Pace::Steady(clock) = &mut self.pace {
                let clock = clock.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
                ready!(clock.as_mut().poll(cx));
                self.end();
                return Poll::Ready(Some(Err(RelayError::Silent)));
            }
            return Poll::Pending;
        };
        match frame {
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.end();
                Poll::Ready(Some(Err(error.into())))
            }
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                match &mut self.pace {
                    Pace::Steady(Some(clock)) => clock.as_mut().reset(Instant::now() + SILENCE),
                    Pace::Steady(None) => {}
                    Pace::Events { at_boundary, .. } => *at_boundary = data.ends_with(b"\n\n"),
                }
                if self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(data)))
            }
        }
    }

    /// The answer is complete.
    fn finish(&mut self) {
        self.over = true;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// Nothing more is wanted: the connection is closed.
    fn end(&mut self) {
        self.over = true;
        self.lease = None;
    }

    fn bye(&mut self) -> Bytes {
        self.end();
        Bytes::from_static(BYE)
    }
}
