//! The forms of proof as the fuzz targets see them: nothing is decided here that the door does not decide in the same way.

use std::path::Path;

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tbi_api::access::AccountName;

use super::cookie::{self, SESSION_COOKIE, SessionId};
use super::identify::{Header, name_and_password, read};
use super::keys::Keys;
use super::token;
use crate::limits::throttle::Device;

/// What an `Authorization` field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// A token, with what would be looked up, when it has the form of one.
    Bearer(Option<String>),
    /// Name and password, when they can be read.
    Basic(Option<(String, String)>),
    /// Nothing that is understood.
    None,
}

/// Reads the value of an `Authorization` field.
#[must_use]
pub fn authorization(value: &[u8]) -> Authorization {
    match read(value) {
        Some(Header::Bearer(text)) => Authorization::Bearer(token::digest_of(text).map(String::from)),
        Some(Header::Basic(pair)) => {
            Authorization::Basic(name_and_password(pair).map(|(name, password)| (name, password.reveal().to_owned())))
        }
        None => Authorization::None,
    }
}

/// What the cookies of a request say: the outer `None` for two of one name, the inner one for none.
#[must_use]
pub fn session_cookie(lines: &[&[u8]]) -> Option<Option<Vec<u8>>> {
    cookie::one(&headers(lines), SESSION_COOKIE).ok().map(|value| value.map(<[u8]>::to_vec))
}

fn headers(lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, value);
        }
    }
    headers
}

/// A door's cookie keys.
#[derive(Debug)]
pub struct Signer {
    keys: Keys,
}

impl Signer {
    /// Keys kept in a directory; `None` when the system gives no randomness.
    #[must_use]
    pub fn new(state: &Path) -> Option<Self> {
        Keys::open(state, Timestamp::UNIX_EPOCH).ok().map(|keys| Self { keys })
    }

    /// Value of the cookie of a new session, and the token that goes with it.
    #[must_use]
    pub fn session(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let id = SessionId::random().ok()?;
        Some((value(&id.set_cookie(&self.keys)?), id.csrf(&self.keys).into_bytes()))
    }

    /// Value of the cookie of a device that logged in to an account.
    #[must_use]
    pub fn device(&self, device: Device, account: &AccountName, now: Timestamp) -> Option<Vec<u8>> {
        cookie::set_device(&self.keys, &device, account, now).map(|header| value(&header))
    }

    /// Whether a session's cookie is taken, and whether its token is, when it is.
    #[must_use]
    pub fn opens(&self, value: &[u8], csrf: &[u8]) -> Option<bool> {
        SessionId::open(&self.keys, value).map(|id| id.csrf_is(&self.keys, csrf))
    }

    /// The device that a line of cookies proves.
    #[must_use]
    pub fn device_of(&self, line: &[u8], account: &AccountName, now: Timestamp) -> Option<Device> {
        cookie::device(&self.keys, &headers(&[line]), account, now)
    }
}

fn value(header: &HeaderValue) -> Vec<u8> {
    let pair = header.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    pair.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or_default().to_vec()
}
