//! Answers that the door itself gives, and what it puts around every answer: problem documents, and the headers that tell a browser what a page
//! from here may do (nothing, unless it says otherwise).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::AnswerBody;
use crate::gate::Refusal;

pub(crate) type Answer = Response<AnswerBody>;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// On every answer, whatever it is.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];
/// Pages may say otherwise: a report carries its styles and pictures inside, and a browser that sends no referrer calls the origin of a form
/// `null` (Fetch, "append a request Origin header").
const UNLESS_SAID: [(HeaderName, HeaderValue); 3] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Puts the headers around an answer.
pub(crate) fn dress(headers: &mut HeaderMap) {
    headers.reserve(ALWAYS.len() + UNLESS_SAID.len() + 2);
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    for (name, value) in UNLESS_SAID {
        headers.entry(name).or_insert(value);
    }
    headers.remove(header::SERVER);
}

/// A refusal without headers of its own.
pub(crate) fn refusal(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal { status, code, detail: detail.into(), headers: HeaderMap::new() }
}

/// The same with `Retry-After`.
pub(crate) fn later(status: StatusCode, code: &'static str, detail: impl Into<String>, seconds: u32) -> Refusal {
    let mut refusal = refusal(status, code, detail);
    refusal.headers.insert(header::RETRY_AFTER, seconds.into());
    refusal
}

/// A refusal as a problem document (RFC 9457).
pub(crate) fn problem(refusal: Refusal) -> Answer {
    let problem = tbi_daemon::problem(refusal.status, refusal.code, refusal.detail);
    // Four fields of text and number: serialising them does not fail.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut answer = whole(PROBLEM, body);
    *answer.status_mut() = refusal.status;
    answer.headers_mut().extend(refusal.headers);
    answer
}

pub(crate) fn json(value: &Value) -> Answer {
    whole(JSON, value.to_string())
}

pub(crate) fn text(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    whole(HeaderValue::from_static(kind), body)
}

fn whole(kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let length = body.len();
    let mut answer = Response::new(AnswerBody::whole(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    answer
}
