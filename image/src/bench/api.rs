//! A JSON request to a daemon on its unix socket, with nothing but the standard library: `bench` needs three requests and this tool must
//! compile in seconds. The programs themselves speak through `tbi-daemon`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest wait for an answer; trials are polled, so every answer comes at once.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest answer read; a trial report with full histograms stays far below.
const LARGEST: u64 = 64 << 20;

/// Sends one request and returns the JSON of the answer (`Null` when it has none); an error, with the problem's own words, from 400 on.
pub(super) fn request(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let name = socket.display();
    let mut stream = UnixStream::connect(socket).with_context(|| format!("nobody listens on {name}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: daemon\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).with_context(|| format!("{method} {path} on {name}: no answer"))?;
    let (status, body) = split(&answer).with_context(|| format!("{method} {path} on {name}: not an HTTP answer"))?;
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status >= 400 {
        bail!("{method} {path} on {name}: {status} {}", value["detail"].as_str().unwrap_or("without a reason"));
    }
    Ok(value)
}

/// Status and body of an HTTP/1.1 answer that ended with the connection.
fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    let chunked = head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    Some((status, if chunked { unchunk(body)? } else { body.to_vec() }))
}

/// Body out of the chunks of RFC 9112 §7.1.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_both_framings() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split(plain), Some((200, b"{}".to_vec())));
        let chunked =
            b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        assert_eq!(split(chunked), Some((409, b"{\"a\":1}".to_vec())));
    }

    #[test]
    fn refuses_what_is_no_answer() {
        for bad in [
            &b""[..],
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        ] {
            assert_eq!(split(bad), None);
        }
    }
}
