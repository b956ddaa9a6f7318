//! From a request to its answer, the same for all three protocols. Synchronous; touches no socket.

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tbi_bench::object::{MIX_BYTES, Object};
use tbi_bench::proof::Token;
use tbi_bench::protocol::Protocol;
use tbi_bench::wire::{ECHO_HEADER, SAW_PATH, SERVER_TIMING_HEADER, ServerTiming, TOKEN_HEADER};

use crate::connection::Connection;

/// Size of the largest object.
const LARGEST: usize = {
    let mut largest = 262_144;
    let mut i = 0;
    while i < MIX_BYTES.len() {
        if MIX_BYTES[i] as usize > largest {
            largest = MIX_BYTES[i] as usize;
        }
        i += 1;
    }
    largest
};

/// Every object is a prefix of these bytes. Pseudo-random (xorshift64, fixed seed), so that no device on the way gains from compressing
/// them; static, so that slices cost no reference counting.
static BODY: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(LARGEST + 8);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    while bytes.len() < LARGEST {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Bytes::from_static(Vec::leak(bytes))
});

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A device that caches would answer in our place.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const GET_AND_HEAD: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Answers one request on `connection` and counts it. For HEAD the body is empty and `content-length` says how long it would be.
pub(crate) fn answer(connection: &Connection, method: &Method, path: &str, headers: &HeaderMap) -> Response<Bytes> {
    let token = token_of(headers);
    let began = token.is_some().then(Instant::now);
    let requests_before = connection.count_request();
    let is_head = method == Method::HEAD;
    let (status, kind, body) = if is_head || method == Method::GET {
        content(connection, path, requests_before)
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, TEXT, Bytes::from_static(b"only GET and HEAD\n"))
    };

    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len();
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(header::CONTENT_TYPE, kind);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    fields.insert(header::CACHE_CONTROL, NO_STORE);
    if connection.protocol != Protocol::H3 {
        fields.insert(header::ALT_SVC, connection.worker.alt_svc.clone());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        fields.insert(header::ALLOW, GET_AND_HEAD);
    }
    if let (Some(token), Some(began)) = (token, began) {
        if let Some(echo) = connection.echo(token) {
            fields.insert(ECHO_HEADER, echo);
        }
        let app_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let timing = ServerTiming { handshake_us: connection.handshake_us, app_us }.to_header();
        if let Ok(timing) = HeaderValue::from_maybe_shared(Bytes::from(timing)) {
            fields.insert(SERVER_TIMING_HEADER, timing);
        }
    }
    *response.headers_mut() = fields;
    if is_head {
        *response.body_mut() = Bytes::new();
    }
    connection.worker.counters.request(connection.protocol, response.body().len());
    response
}

/// The token of a request, if it has a whole one.
pub(crate) fn token_of(headers: &HeaderMap) -> Option<Token> {
    headers.get(TOKEN_HEADER).and_then(|token| Token::from_hex(token.as_bytes()))
}

fn content(connection: &Connection, path: &str, requests_before: u64) -> (StatusCode, HeaderValue, Bytes) {
    if let Some(body) = object(path) {
        return (StatusCode::OK, BINARY, body);
    }
    match path {
        "/" => (StatusCode::OK, HTML, connection.site.home.clone()),
        SAW_PATH => match serde_json::to_vec(&connection.saw(requests_before)) {
            Ok(json) => (StatusCode::OK, JSON, Bytes::from(json)),
            Err(_error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, TEXT, Bytes::from_static(b"cannot describe the connection\n"))
            }
        },
        _ => (StatusCode::NOT_FOUND, TEXT, Bytes::from_static(b"no such object\n")),
    }
}

/// The object a path stands for.
pub(crate) fn object(path: &str) -> Option<Bytes> {
    let size = Object::size_of_path(path)?;
    // `LARGEST` covers every size there is; `min` keeps a size added later from panicking here.
    let end = (size as usize).min(BODY.len());
    Some(BODY.slice(..end))
}

/// Makes the body before the first request would have to wait for it.
pub(crate) fn prepare() {
    LazyLock::force(&BODY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_holds_every_object_and_does_not_repeat() {
        for object in Object::ALL {
            for n in 0..10 {
                assert!(object.request(n).1 as usize <= BODY.len());
            }
        }
        let mut seen = std::collections::HashSet::new();
        assert!(BODY.chunks_exact(8).all(|chunk| seen.insert(chunk.to_vec())));
    }
}
