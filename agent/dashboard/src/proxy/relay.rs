//! An answer that comes in pieces, on its way to the client. It reads from the daemon only when the client takes more, so a slow client slows
//! the daemon and fills no memory. An event stream may go on for ever as long as its heartbeat comes, and
//! ends with `bye` when the door drains.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;
use tbi_daemon::HEARTBEAT;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::pool::Lease;
use crate::body::SILENCE;

/// An event stream that missed this many heartbeats is dead, as for `tbi_daemon::UnixClient`.
const MISSED_HEARTBEATS: u32 = 4;

/// The last event of a stream that the door ends, in the form of `tbi_daemon::sse`.
const BYE: &[u8] = b"event: bye\ndata: {\"reason\":\"stopping\"}\n\n";

/// Why an answer was cut after its head had gone out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the daemon's connection broke in the middle of its answer: {0}")]
    Broke(#[from] hyper::Error),
    #[error("the daemon was silent for {} s in the middle of its answer", .0.as_secs())]
    Silent(Duration),
}

/// See the module.
pub(crate) struct Relay {
    lease: Option<Lease>,
    body: Incoming,
    first: Option<Bytes>,
    /// How long it may be silent, and the clock while it is.
    patience: Duration,
    clock: Option<Pin<Box<Sleep>>>,
    events: Option<Events>,
    over: bool,
}

#[derive(Default)]
struct Events {
    /// Whether the last piece ended within an event.
    inside: bool,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    stopping: bool,
}

impl Relay {
    pub(super) fn new(lease: Lease, body: Incoming, first: Option<Bytes>, events: bool) -> Self {
        let patience = if events { HEARTBEAT * MISSED_HEARTBEATS } else { SILENCE };
        let events = events.then(Events::default);
        Self { lease: Some(lease), body, first, patience, clock: None, events, over: false }
    }

    /// An event stream is to end when `stop` is cancelled.
    pub(crate) fn ends_with(&mut self, token: &CancellationToken) {
        if let Some(events) = &mut self.events {
            events.stop = Some(Box::pin(token.clone().cancelled_owned()));
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
        if let Some(events) = &mut self.events {
            if let Some(stop) = &mut events.stop
                && !events.stopping
            {
                events.stopping = stop.as_mut().poll(cx).is_ready();
            }
            // In the middle of an event its rest is waited for: half an event is no event.
            if events.stopping && !events.inside {
                return Poll::Ready(Some(Ok(self.bye())));
            }
        }
        if let Some(lease) = &mut self.lease {
            let _over = lease.upstream.drive(cx);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let patience = self.patience;
            ready!(self.clock.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
            self.end();
            return Poll::Ready(Some(Err(RelayError::Silent(patience))));
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
                if let Some(clock) = &mut self.clock {
                    clock.as_mut().reset(Instant::now() + self.patience);
                }
                if let Some(events) = &mut self.events {
                    events.inside = !data.ends_with(b"\n\n");
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
