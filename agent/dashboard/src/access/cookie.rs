//! What a browser carries: the session's cookie, the device's cookie, and the CSRF token that goes with a session. All are signed, so that a
//! forged one is refused without asking anybody.

use aws_lc_rs::error::Unspecified;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tbi_api::access::{AccountName, Digest};

use super::clock::between;
use super::keys::{Keys, Purpose};
use crate::digest::sha256;
use crate::limits::throttle::Device;

/// The prefix makes browsers insist on Secure, Path=/ and no Domain.
pub(crate) const SESSION_COOKIE: &str = "__Host-tbi-session";
const DEVICE_COOKIE: &str = "__Host-tbi-device";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// How long a device is known: 180 days.
const DEVICE_SECONDS: u64 = 180 * 86_400;

/// Secret name of a session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionId([u8; 32]);

impl std::fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SessionId(…)")
    }
}

impl SessionId {
    /// A new one.
    pub(crate) fn random() -> Result<Self, Unspecified> {
        let mut id = [0; 32];
        aws_lc_rs::rand::fill(&mut id)?;
        Ok(Self(id))
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> Digest {
        sha256(&self.0)
    }

    /// What stands for the session where a device is asked for.
    pub(crate) fn as_device(&self) -> Device {
        let mut device = [0; 16];
        device.copy_from_slice(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0).as_ref()[..16]);
        device
    }

    /// The cookie, for `Set-Cookie`.
    pub(crate) fn set_cookie(&self, keys: &Keys) -> Option<HeaderValue> {
        let signature = keys.sign(Purpose::Session, &self.0);
        let value = format!("{}.{}", BASE64URL_NOPAD.encode(&self.0), BASE64URL_NOPAD.encode(&signature));
        secret_header(&format!("{SESSION_COOKIE}={value}; {ATTRIBUTES}"))
    }

    /// From the cookie's value.
    pub(crate) fn open(keys: &Keys, value: &[u8]) -> Option<Self> {
        // 43 characters, a dot, 43 characters.
        let (id, signature) = (value.get(..43)?, value.get(44..)?);
        if value.len() != 87 || value.get(43) != Some(&b'.') {
            return None;
        }
        let id: [u8; 32] = BASE64URL_NOPAD.decode(id).ok()?.try_into().ok()?;
        let signature = BASE64URL_NOPAD.decode(signature).ok()?;
        keys.verify(Purpose::Session, &id, &signature).then_some(Self(id))
    }

    /// Token that a page sends back with each change.
    pub(crate) fn csrf(&self, keys: &Keys) -> String {
        BASE64URL_NOPAD.encode(&keys.sign(Purpose::Csrf, &self.0))
    }

    /// Whether a request carries the token of its session.
    pub(crate) fn csrf_is(&self, keys: &Keys, given: &[u8]) -> bool {
        BASE64URL_NOPAD.decode(given).is_ok_and(|tag| keys.verify(Purpose::Csrf, &self.0, &tag))
    }
}

/// Takes the session's cookie away.
pub(crate) fn no_session() -> HeaderValue {
    HeaderValue::from_static("__Host-tbi-session=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Cookie of a device that logged in to an account.
pub(crate) fn set_device(keys: &Keys, device: &Device, account: &AccountName, now: Timestamp) -> Option<HeaderValue> {
    let made = now.as_second().to_be_bytes();
    let signature = keys.sign(Purpose::Device, &device_message(device, account, &made));
    let value: Vec<String> = [&device[..], &made, &signature].map(|part| BASE64URL_NOPAD.encode(part)).into();
    secret_header(&format!("{DEVICE_COOKIE}={}; {ATTRIBUTES}; Max-Age={DEVICE_SECONDS}", value.join(".")))
}

/// The device, when its cookie is of this account and not too old.
pub(crate) fn device(keys: &Keys, headers: &HeaderMap, account: &AccountName, now: Timestamp) -> Option<Device> {
    let value = one(headers, DEVICE_COOKIE).ok()??;
    let mut parts = value.split(|byte| *byte == b'.').map(|part| BASE64URL_NOPAD.decode(part).ok());
    let device: Device = parts.next()??.try_into().ok()?;
    let made: [u8; 8] = parts.next()??.try_into().ok()?;
    let signature = parts.next()??;
    let over = parts.next().is_some();
    let age = between(Timestamp::from_second(i64::from_be_bytes(made)).ok()?, now);
    let good = !over
        && keys.verify(Purpose::Device, &device_message(&device, account, &made), &signature)
        && age.as_secs() < DEVICE_SECONDS;
    good.then_some(device)
}

fn device_message(device: &Device, account: &AccountName, made: &[u8; 8]) -> Vec<u8> {
    [&device[..], made, account.as_str().as_bytes()].concat()
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// More than one cookie of one name: it cannot be known whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The value of the cookie `name`, of which there may be one.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut values = headers
        .get_all(header::COOKIE)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let first = values.next();
    if values.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), now()).unwrap();
        (dir, keys)
    }

    fn value(set_cookie: &HeaderValue) -> String {
        set_cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn the_session_cookie_has_the_attributes_of_its_prefix() {
        let (_dir, keys) = keys();
        let cookie = SessionId::random().unwrap().set_cookie(&keys).unwrap();
        assert!(cookie.is_sensitive());
        let text = cookie.to_str().unwrap();
        assert!(text.starts_with("__Host-tbi-session="));
        assert!(text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{text}");
    }

    #[test]
    fn a_forged_session_cookie_is_refused_at_every_byte() {
        let (_dir, keys) = keys();
        let id = SessionId::random().unwrap();
        let good = value(&id.set_cookie(&keys).unwrap()).into_bytes();
        assert_eq!(SessionId::open(&keys, &good), Some(id));
        for position in 0..good.len() {
            let mut forged = good.clone();
            forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
            assert_eq!(SessionId::open(&keys, &forged), None, "byte {position}");
            assert_eq!(SessionId::open(&keys, &good[..position]), None, "cut at {position}");
        }
        for bad in [&b"\xff\xfe"[..], &[b'A'; 87], &[0; 100_000], b"", b"."] {
            assert_eq!(SessionId::open(&keys, bad), None);
        }
        let (_dir, other) = super::tests::keys();
        assert_eq!(SessionId::open(&other, &good), None, "signed by another box");
    }

    #[test]
    fn a_csrf_token_belongs_to_its_session() {
        let (_dir, keys) = keys();
        let (one, other) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        let token = one.csrf(&keys);
        assert!(one.csrf_is(&keys, token.as_bytes()));
        for bad in [&other.csrf(&keys), "", "A", &token[1..], &value(&one.set_cookie(&keys).unwrap())[44..]] {
            assert!(!one.csrf_is(&keys, bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_device_is_known_for_its_account_and_its_time() {
        let (_dir, keys) = keys();
        let (anna, ben): (AccountName, AccountName) = ("anna".parse().unwrap(), "ben".parse().unwrap());
        let cookie = value(&set_device(&keys, &[7; 16], &anna, now()).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {DEVICE_COOKIE}={cookie}").parse().unwrap());
        assert_eq!(device(&keys, &headers, &anna, now()), Some([7; 16]));
        assert_eq!(device(&keys, &headers, &ben, now()), None);
        let late = now() + std::time::Duration::from_secs(DEVICE_SECONDS);
        assert_eq!(device(&keys, &headers, &anna, late), None);
        for forged in [cookie.replacen('B', "C", 1), format!("{cookie}.AAAA"), cookie[1..].to_owned(), String::new()] {
            headers.insert(header::COOKIE, format!("{DEVICE_COOKIE}={forged}").parse().unwrap());
            assert_eq!(device(&keys, &headers, &anna, now()), None, "{forged}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_ambiguous_in_one_line_and_in_two() {
        let mut headers = HeaderMap::new();
        assert_eq!(one(&headers, "a"), Ok(None));
        headers.append(header::COOKIE, HeaderValue::from_bytes(b"b=1; a=\xff; aa=3").unwrap());
        assert_eq!(one(&headers, "a"), Ok(Some(&b"\xff"[..])));
        headers.append(header::COOKIE, HeaderValue::from_static("a=4"));
        assert_eq!(one(&headers, "a"), Err(Ambiguous));
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1;a=1"));
        assert_eq!(one(&headers, "a"), Err(Ambiguous));
    }
}
