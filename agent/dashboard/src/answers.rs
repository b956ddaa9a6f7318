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
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];
/// Also on what a browser shows as a document, unless it says otherwise: a browser that sends no referrer calls the origin of a form `null`
/// (Fetch, "append a request Origin header"), so pages with forms allow their own origin. On anything else they mean nothing (and cost a tenth of an answer).
const OF_DOCUMENTS: [(HeaderName, HeaderValue); 3] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];
/// Of documents, unless a daemon says otherwise of its own: a report carries its styles and pictures inside.
const DOCUMENT_CONTENT: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
);
/// Of everything else: whoever opens it by itself sees it, and nothing in it runs or loads.
const OTHER_CONTENT: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// Types that a browser shows as a document and that may run scripts.
const DOCUMENTS: [&[u8]; 3] = [b"text/html", b"application/xhtml+xml", b"image/svg+xml"];

/// Puts the headers around an answer.
pub(crate) fn dress(headers: &mut HeaderMap) {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_document = DOCUMENTS.iter().any(|document| kind.starts_with(document));
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if is_document {
        for (name, value) in OF_DOCUMENTS {
            headers.entry(name).or_insert(value);
        }
    }
    let content = if is_document { DOCUMENT_CONTENT } else { OTHER_CONTENT };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(content);
    headers.entry(header::CACHE_CONTROL).or_insert(NOT_KEPT);
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
