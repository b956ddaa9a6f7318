//! The agent's API of a machine, over its forwarded TCP port: the smallest HTTP/1.1 client that can be, so that what is tested is the box.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tbi_api::health::{Component, Health};
use tbi_api::runs::Run;
use tbi_api::status::Status;

/// Longest a request may take; a machine without KVM is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// The API of one machine.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    address: SocketAddr,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON of a type.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("not the expected JSON ({error}): {}", self.text()),
        }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// That the status is `wanted`.
    #[track_caller]
    #[must_use]
    pub fn expect(self, wanted: u16) -> Self {
        assert!(self.status == wanted, "status {} instead of {wanted}: {}", self.status, self.text());
        self
    }
}

impl Api {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// One request; an error when nobody answers (yet).
    ///
    /// # Errors
    /// The connection's.
    pub fn try_request(&self, method: &str, path: &str, body: Option<&[u8]>) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let body = body.unwrap_or_default();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: tbi\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no complete HTTP answer"))
    }

    /// One request that must be answered, whatever the status.
    #[track_caller]
    #[must_use]
    pub fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        match self.try_request(method, path, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    /// `GET` of a type.
    #[track_caller]
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.request("GET", path, None).expect(200).json()
    }

    /// A request with a JSON body, whatever the status.
    #[track_caller]
    #[must_use]
    pub fn send(&self, method: &str, path: &str, body: &impl Serialize) -> Answer {
        let body = serde_json::to_vec(body).unwrap_or_else(|error| panic!("not serializable: {error}"));
        self.request(method, path, Some(&body))
    }

    /// `GET /v1/status`, when it is answered.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let answer = self.try_request("GET", "/v1/status", None).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// `GET /v1/health`, when it is answered.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        let answer = self.try_request("GET", "/v1/health", None).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// One part of the box, when the agent answers and knows it.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<Component> {
        self.health()?.components.into_iter().find(|component| component.name == name)
    }

    /// One run, when it is answered.
    #[must_use]
    pub fn run(&self, id: &str) -> Option<Run> {
        let answer = self.try_request("GET", &format!("/v1/runs/{id}"), None).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Starts a run from an order.
    #[track_caller]
    #[must_use]
    pub fn start_run(&self, order: &Value) -> Run {
        self.send("POST", "/v1/runs", order).expect(202).json()
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    let body = if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunk(body)?
    } else {
        match header("content-length") {
            Some(length) => body.get(..length.parse().ok()?)?.to_vec(),
            None => body.to_vec(),
        }
    };
    Some(Answer { status, body })
}

/// Body of a chunked message (RFC 9112, section 7.1); `None` when its last chunk is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let plain = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(parse(plain).map(|answer| (answer.status, answer.text())), Some((404, "ok".to_owned())));
        assert!(parse(&plain[..plain.len() - 1]).is_none());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).map(|answer| answer.text()), Some("abc".to_owned()));
        assert!(parse(&chunked[..chunked.len() - 5]).is_none());
    }
}
