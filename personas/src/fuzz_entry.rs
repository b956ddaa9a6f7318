//! Ways in for the fuzz targets (`tests/fuzz/src/personas.rs`) to parsers that are private otherwise. Not for production use.

use http::{HeaderMap, HeaderValue};
use rustls::server::Acceptor;
use tbi_bench::proof::Token;
use tbi_bench::wire::TOKEN_HEADER;

use crate::answer;
use crate::tls::hello_fields;

/// Length of the object a request path stands for.
#[must_use]
pub fn object_len(path: &str) -> Option<usize> {
    answer::object(path).map(|body| body.len())
}

/// The token in a request whose token header holds `value`.
#[must_use]
pub fn token(value: &[u8]) -> Option<Token> {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN_HEADER, HeaderValue::from_bytes(value).ok()?);
    answer::token_of(&headers)
}

/// Fingerprint of the ClientHello in the TLS records a client opens with; `None` when rustls finds no whole one in them.
#[must_use]
pub fn hello_fingerprint(mut records: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    // From a slice the records come without an I/O error, and all that rustls has room for at once.
    acceptor.read_tls(&mut records).ok()?;
    let accepted = acceptor.accept().ok()??;
    Some(hello_fields(&accepted.client_hello(), false).fingerprint())
}
