//! The two bodies of the door: [`RequestBody`], what a client sends, counted against the limit of its operation; and [`AnswerBody`], what goes
//! back, counted for the metrics. Neither buffers: a piece is taken from one side when the other side asks for it.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::measure::InFlight;
use crate::proxy::Relay;

/// How long either side may be silent between two pieces of a body.
pub(crate) const SILENCE: Duration = Duration::from_secs(120);

/// Receiving half of an HTTP/3 request.
pub(crate) type Http3Body = h3::server::RequestStream<h3_quinn::RecvStream, Bytes>;

/// Why a request's body did not go through. Found again as the source of hyper's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request's body is larger than {0} bytes, which is what this operation takes; send less")]
    TooLarge(u64),
    #[error("the request's body broke off: {0}; send it again")]
    Broken(String),
    #[error("the request's body made no progress for 120 s; send it again")]
    Silent,
}

/// Where the bytes come from.
pub(crate) enum Source {
    Empty,
    Http(Incoming),
    /// With what is left of the length that was declared, which the `h3` crate does not compare.
    Http3(Box<Http3Body>, Option<u64>),
}

/// A request's body on its way to a daemon.
pub(crate) struct RequestBody {
    source: Source,
    limit: u64,
    left: u64,
    sent: Option<Sent>,
    clock: Option<Pin<Box<Sleep>>>,
}

/// Whether the body has gone out; the wait for the answer begins then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl RequestBody {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, limit: u64::MAX, left: u64::MAX, sent: None, clock: None }
    }

    /// The same, refusing to hand on more than `limit` bytes.
    pub(crate) fn limited(mut self, limit: u64) -> Self {
        (self.limit, self.left) = (limit, limit);
        self
    }

    /// Something that says when the last byte is out; `None` when there is no body, and so nothing to wait for.
    pub(crate) fn watch(&mut self) -> Option<Sent> {
        if self.is_end_stream() {
            return None;
        }
        let sent = Sent::default();
        self.sent = Some(sent.clone());
        Some(sent)
    }

    /// Waits for the end of a body that is not expected to have anything in it, which follows the head closely; what does come is dropped.
    pub(crate) async fn ended(mut self) -> Self {
        let _dropped = poll_fn(|cx| self.poll_source(cx)).await;
        Self::new(Source::Empty)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            return match &mut self.source {
                Source::Empty => Poll::Ready(None),
                Source::Http(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    None => Poll::Ready(None),
                    Some(Err(error)) => Poll::Ready(Some(Err(BodyError::Broken(error.to_string())))),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => Poll::Ready(Some(Ok(data))),
                        // Trailers of a request mean nothing here and are not passed on.
                        Err(_trailers) => continue,
                    },
                },
                Source::Http3(body, left) => match ready!(body.poll_recv_data(cx)) {
                    Err(error) => Poll::Ready(Some(Err(BodyError::Broken(error.to_string())))),
                    Ok(data) => {
                        let data = data.map(|mut data| data.copy_to_bytes(data.remaining()));
                        Poll::Ready(as_declared(data, left))
                    }
                },
            };
        }
    }

    fn over(&mut self) {
        self.source = Source::Empty;
        self.clock = None;
        if let Some(sent) = &self.sent {
            sent.0.store(true, Ordering::Release);
        }
    }
}

/// Holds a body to the length that its head declared: whoever reads it behind the door believes the head.
fn as_declared(data: Option<Bytes>, left: &mut Option<u64>) -> Option<Result<Bytes, BodyError>> {
    let other = || Some(Err(BodyError::Broken("it is not as long as its Content-Length says".to_owned())));
    match (data, left) {
        (Some(data), Some(left)) => match left.checked_sub(data.len() as u64) {
            Some(rest) => {
                *left = rest;
                Some(Ok(data))
            }
            None => other(),
        },
        (None, Some(1..)) => other(),
        (data, _) => data.map(Ok),
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Poll::Ready(piece) = this.poll_source(cx) else {
            let clock = this.clock.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
            ready!(clock.as_mut().poll(cx));
            this.over();
            return Poll::Ready(Some(Err(BodyError::Silent)));
        };
        if let Some(clock) = &mut this.clock {
            clock.as_mut().reset(Instant::now() + SILENCE);
        }
        let piece = match piece {
            None => None,
            Some(Ok(data)) => match this.left.checked_sub(data.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Some(Ok(Frame::data(data)))
                }
                None => Some(Err(BodyError::TooLarge(this.limit))),
            },
            Some(Err(error)) => Some(Err(error)),
        };
        let went_on = matches!(piece, Some(Ok(_)));
        if !went_on || matches!(&this.source, Source::Http(body) if body.is_end_stream()) {
            this.over();
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Http(body) => body.is_end_stream(),
            Source::Http3(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http(body) => body.size_hint(),
            Source::Http3(_, left) => left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// What is answered.
pub(crate) enum Content {
    Whole(Option<Bytes>),
    /// From a router of this process.
    Local(axum::body::Body),
    /// From a daemon, as it comes.
    Relay(Box<Relay>),
}

/// An answer's body.
pub(crate) struct AnswerBody {
    content: Content,
    in_flight: Option<InFlight>,
}

impl AnswerBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(crate) fn new(content: Content) -> Self {
        Self { content, in_flight: None }
    }

    pub(crate) fn content_mut(&mut self) -> &mut Content {
        &mut self.content
    }

    /// The same, counting its bytes and, until it is dropped, its request as in flight.
    pub(crate) fn counted(mut self, in_flight: InFlight) -> Self {
        self.in_flight = Some(in_flight);
        self
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Content::Local(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Content::Relay(relay) => ready!(relay.poll(cx)).map(|data| data.map(Frame::data).map_err(Into::into)),
        };
        if let (Some(in_flight), Some(Ok(frame))) = (&this.in_flight, &frame)
            && let Some(data) = frame.data_ref()
        {
            in_flight.sent(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Local(body) => body.is_end_stream(),
            Content::Relay(relay) => relay.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Local(body) => body.size_hint(),
            Content::Relay(relay) => relay.size_hint(),
        }
    }
}
