//! The checked request and the bytes made of it once per target: every request of a trial is a copy of one of two prebuilt
//! byte strings with at most 32 bytes patched.
//!
//! Does not know any protocol: [`super::http1`], [`super::h2_client`] and [`super::h3_frames`] each build their own
//! `Prebuilt` from a [`Request`]. Invariant: a [`Request`] holds only bytes that need no escaping in any of the three.

use std::ops::Range;

/// Hex digits of a token on the wire ([`tbi_bench::proof::Token::to_hex`]).
pub type TokenHex = [u8; 32];

/// What the engine calls itself; RFC 9411 §4.3.1.4 asks for a `User-Agent`.
pub const USER_AGENT: &str = "tlsstress";

/// Longest path and longest host accepted, bytes: one HEADERS frame of the smallest legal size must hold both.
pub const MAX_PART: usize = 2048;

/// Path or host cannot be put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not absolute, too long, or with bytes outside visible ASCII.
    #[error(
        "the request path must begin with '/' and have at most 2048 visible ASCII characters; correct the path in the plan"
    )]
    Path,
    /// Empty, too long, or with bytes a host cannot have.
    #[error(
        "the host must have 1 to 2048 visible ASCII characters without '/', '@', '?' or '#'; correct the server name in the plan"
    )]
    Host,
}

/// A `GET` for one path of one host.
///
/// ```
/// use tbi_engine::codec::request::Request;
/// assert!(Request::new("/o/1KB", "www.example").is_ok());
/// assert!(Request::new("o/1KB", "www.example").is_err());
/// assert!(Request::new("/a b", "www.example").is_err());
/// assert!(Request::new("/", "www.example\r\nx: y").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    path: String,
    host: String,
}

impl Request {
    /// Checks path and host.
    ///
    /// # Errors
    /// [`RequestError`] names the part that cannot be sent.
    pub fn new(path: &str, host: &str) -> Result<Self, RequestError> {
        let visible = |text: &str| text.len() <= MAX_PART && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !visible(path) {
            return Err(RequestError::Path);
        }
        if host.is_empty() || !visible(host) || host.contains(['/', '@', '?', '#']) {
            return Err(RequestError::Host);
        }
        Ok(Self { path: path.to_owned(), host: host.to_owned() })
    }

    /// Absolute path with query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `Host` and `:authority`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The two byte strings of a request, without and with a token.
#[derive(Debug, Clone)]
pub(crate) struct Prebuilt {
    plain: Vec<u8>,
    with_token: Vec<u8>,
    token: Range<usize>,
}

impl Prebuilt {
    /// `build` writes the request; given `Some(token)` it must write these 32 bytes exactly once, and nothing may
    /// depend on their value.
    pub(crate) fn new(build: impl Fn(Option<&TokenHex>) -> Vec<u8>) -> Self {
        // A filler that cannot occur otherwise: a request holds only visible ASCII and framing below 0xff runs of this length.
        const FILLER: TokenHex = [0xff; 32];
        let with_token = build(Some(&FILLER));
        let at = with_token.windows(FILLER.len()).position(|window| window == FILLER).unwrap_or(with_token.len());
        let token = at..(at + FILLER.len()).min(with_token.len());
        Self { plain: build(None), with_token, token }
    }

    /// Appends the request.
    pub(crate) fn write(&self, token: Option<&TokenHex>, out: &mut Vec<u8>) {
        let Some(token) = token else {
            out.extend_from_slice(&self.plain);
            return;
        };
        out.extend_from_slice(&self.with_token[..self.token.start]);
        out.extend_from_slice(token);
        out.extend_from_slice(&self.with_token[self.token.end..]);
    }
}
