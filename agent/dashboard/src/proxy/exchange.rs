//! One request to a daemon and the head of its answer. What belongs to one hop stays on it, what the client may not say about itself is
//! taken away, and the identity that the door found is put in its place.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::pool::{Lease, PoolError};
use super::{Pool, Relay};
use crate::body::{AnswerBody, BodyError, Content, RequestBody};

/// How long the first byte of an answer may take once the request is out.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// Answers up to this size are read whole before they are passed on, when they are there at once.
const SMALL: u64 = 64 << 10;

/// `x-tlsstress-…`: only the door says who asks.
const ACTOR: HeaderName = HeaderName::from_static("x-tlsstress-actor");
const ROLE: HeaderName = HeaderName::from_static("x-tlsstress-role");
const SOURCE: HeaderName = HeaderName::from_static("x-tlsstress-source");

/// Fields that concern one hop only (RFC 9110 section 7.6.1).
const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];
/// What the door alone reads: a daemon has no use for what proves who somebody is.
const DOOR_ONLY: [HeaderName; 4] =
    [header::COOKIE, header::AUTHORIZATION, HeaderName::from_static("x-tbi-csrf"), header::EXPECT];

/// Who asks, and how it is traced.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) actor: Option<HeaderValue>,
    pub(crate) role: Option<HeaderValue>,
    pub(crate) source: Option<HeaderValue>,
    pub(crate) correlation_id: HeaderValue,
}

/// Why there is no answer. Nothing of an answer went out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("{0}")]
    NoConnection(#[from] PoolError),
    #[error("{0}")]
    Body(BodyError),
    #[error("the connection broke before it answered ({0})")]
    Broke(String),
    #[error("it did not begin to answer within 30 s")]
    Silent,
}

/// Passes a request on to a daemon as `target` (path and query) and gives its answer back, its body as it comes.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn forward(
    pool: &Arc<Pool>,
    mut request: Request<RequestBody>,
    target: PathAndQuery,
    asking: Asking,
) -> Result<Response<AnswerBody>, ProxyError> {
    prepare(&mut request, target, asking);
    let mut lease = pool.take().await?;
    let answer = match exchange(&mut lease, request).await {
        // An idle connection may turn out to be dead only when it is used. What was not sent can be sent again, whatever it is.
        Err(Failure { not_sent: Some(again), .. }) => {
            drop(lease);
            lease = pool.fresh().await?;
            exchange(&mut lease, *again).await.map_err(|failure| failure.error)?
        }
        answered => answered.map_err(|failure| failure.error)?,
    };
    Ok(receive(lease, answer).await)
}

fn prepare(request: &mut Request<RequestBody>, target: PathAndQuery, asking: Asking) {
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();
    let headers = request.headers_mut();
    one_hop_less(headers);
    for name in &DOOR_ONLY {
        headers.remove(name);
    }
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    for (name, value) in [(ACTOR, asking.actor), (ROLE, asking.role), (SOURCE, asking.source)] {
        match value {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
    headers.insert(tbi_daemon::CORRELATION_HEADER, asking.correlation_id);
}

/// Takes away what concerns one hop, also what `Connection` names.
fn one_hop_less(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    // Nearly every head has none of them, and looking costs less than removing what is not there.
    while let Some(name) = headers.keys().find(|name| HOP.contains(name)).cloned() {
        headers.remove(name);
    }
}

/// A request that was not answered, and the request when none of it went out.
struct Failure {
    error: ProxyError,
    not_sent: Option<Box<Request<RequestBody>>>,
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self { error, not_sent: None }
    }
}

async fn exchange(lease: &mut Lease, mut request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
    let sent = request.body_mut().watch();
    let upstream = &mut lease.upstream;
    let mut answer = pin!(upstream.sender.try_send_request(request));
    // The wait begins when the request is out.
    let mut waits = false;
    poll_fn(|cx| {
        // Both are polled in one go: the connection reads, and the answer sees it in the same turn.
        let over = upstream.drive(cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut failed| {
                let not_sent = failed.take_message().map(Box::new);
                Failure { error: explain(failed.into_error()), not_sent }
            }));
        }
        if over.is_ready() {
            // The connection is over and said nothing more; the next poll of `answer` would wait for ever.
            return Poll::Ready(Err(ProxyError::Broke("it closed the connection".to_owned()).into()));
        }
        if !waits && sent.as_ref().is_none_or(crate::body::Sent::is_done) {
            waits = true;
            upstream.clock.as_mut().reset(Instant::now() + FIRST_BYTE);
        }
        if waits { upstream.clock.as_mut().poll(cx).map(|()| Err(ProxyError::Silent.into())) } else { Poll::Pending }
    })
    .await
}

/// A failure of the client's body is the client's, not the daemon's.
fn explain(error: hyper::Error) -> ProxyError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(body) = cause.downcast_ref::<BodyError>() {
            return ProxyError::Body(match body {
                BodyError::TooLarge(limit) => BodyError::TooLarge(*limit),
                BodyError::Broken(reason) => BodyError::Broken(reason.clone()),
                BodyError::Silent => BodyError::Silent,
            });
        }
        source = cause.source();
    }
    ProxyError::Broke(error.to_string())
}

/// Takes over an answer: whole when it is small and there, else as a relay.
async fn receive(mut lease: Lease, answer: Response<Incoming>) -> Response<AnswerBody> {
    let (mut parts, mut body) = answer.into_parts();
    one_hop_less(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if body.is_end_stream() {
        lease.give_back();
        return Response::from_parts(parts, AnswerBody::new(Content::Whole(None)));
    }
    let mut first = None;
    if body.size_hint().exact().is_some_and(|size| size <= SMALL) {
        // Looks once and does not wait: what is not there yet comes through the relay.
        let pieces = poll_fn(|cx| {
            let mut pieces: Option<Bytes> = None;
            loop {
                let _over = lease.upstream.drive(cx);
                match std::pin::Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            pieces = Some(joined(pieces.take(), data));
                        }
                        if body.is_end_stream() {
                            return Poll::Ready(pieces);
                        }
                    }
                    // An end or an error is met again by the relay.
                    Poll::Ready(_) | Poll::Pending => return Poll::Ready(pieces),
                }
            }
        })
        .await;
        if body.is_end_stream() {
            lease.give_back();
            return Response::from_parts(parts, AnswerBody::new(Content::Whole(pieces)));
        }
        first = pieces;
    }
    let events =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let relay = Relay::new(lease, body, first, events);
    Response::from_parts(parts, AnswerBody::new(Content::Relay(Box::new(relay))))
}

fn joined(before: Option<Bytes>, data: Bytes) -> Bytes {
    match before {
        None => data,
        Some(before) => {
            let mut both = BytesMut::with_capacity(before.len() + data.len());
            both.extend_from_slice(&before);
            both.extend_from_slice(&data);
            both.freeze()
        }
    }
}
