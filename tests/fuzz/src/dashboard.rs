//! Bodies of the fuzz targets for what the front door reads from the network; see `bench.rs`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tbi_dashboard::fuzzing::{self, Authorization, Counters, Signer};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[
    ("door_guard", guard),
    ("door_credentials", credentials),
    ("door_cookie", cookie),
    ("door_limits", limits),
    ("door_certificate", certificate),
    ("door_path", path),
];

/// A request as somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    body: Vec<u8>,
}

/// What the guard passes, others see as the same requests: httparse, with the framing of RFC 9112 section 6.3 done here, finds the same ends,
/// hyper the same requests, and nothing that passed is malformed to either. It does not depend on where the stream is cut: the first byte
/// chooses the size of the pieces and is not input.
pub fn guard(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let single = fuzzing::guard(stream.chunks(1));
    for pieces in [usize::from(size) + 2, stream.len().max(1)] {
        let other = fuzzing::guard(stream.chunks(pieces));
        assert_eq!((other.passed, other.refused), (single.passed, single.refused), "pieces of {pieces}");
        assert!(other.ends.iter().all(|end| single.ends.contains(end)), "pieces of {pieces}");
    }
    let passed = &stream[..single.passed];
    let (ends, requests, closes) = by_httparse(passed);
    assert_eq!(ends, single.ends, "httparse finds other ends");
    let seen = by_hyper(passed, usize::from(size) + 1);
    assert!(requests.starts_with(&seen), "hyper reads {seen:?}, httparse {requests:?}");
    // After a request that says `close` hyper reads no further.
    assert!(closes || seen.len() == requests.len(), "hyper reads {seen:?}, httparse {requests:?}");
}

/// Ends of whole requests, the requests, and whether one of them has a Connection field.
fn by_httparse(bytes: &[u8]) -> (Vec<usize>, Vec<Seen>, bool) {
    let (mut at, mut ends, mut requests, mut closes) = (0, Vec::new(), Vec::new(), false);
    while at < bytes.len() {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        let head = request.parse(&bytes[at..]).expect("what passed is malformed to httparse");
        let httparse::Status::Complete(head) = head else { panic!("a part of a head passed") };
        at += head;
        let values = |name: &'static str| {
            let of_name = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
            request.headers.iter().filter(of_name).map(|field| field.value).collect::<Vec<_>>()
        };
        closes |= !values("connection").is_empty();
        let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
            ([], []) => Some(Vec::new()),
            ([length], []) => {
                let length: u64 =
                    std::str::from_utf8(length).unwrap().parse().expect("a length that is no number passed");
                let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
                end.and_then(|end| bytes.get(at..end)).map(|body| {
                    at += body.len();
                    body.to_vec()
                })
            }
            ([], [coding]) => {
                assert!(coding.eq_ignore_ascii_case(b"chunked"));
                chunks(bytes, &mut at)
            }
            (lengths, codings) => panic!("two framings passed: {lengths:?} {codings:?}"),
        };
        let Some(body) = body else { break };
        ends.push(at);
        let (method, target) = (request.method.unwrap().to_owned(), request.path.unwrap().to_owned());
        requests.push(Seen { method, target, body });
    }
    (ends, requests, closes)
}

/// The body in chunks that begins at `at`; `None` when it is not whole.
fn chunks(bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let (mut body, mut here) = (Vec::new(), *at);
    loop {
        let size = httparse::parse_chunk_size(&bytes[here..]).expect("a malformed chunk passed");
        let httparse::Status::Complete((line, size)) = size else { return None };
        here += line;
        let end = here.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(bytes.get(here..end)?);
        let after = bytes.get(end..end + 2)?;
        assert_eq!(after, b"\r\n", "a chunk without its end, or with trailers, passed");
        here = end + 2;
        if size == 0 {
            *at = here;
            return Some(body);
        }
    }
}

/// A connection on which bytes come and nobody listens.
struct Canned {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl Read for Canned {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let most = self.piece.min(buffer.remaining()).min(self.bytes.len() - self.at);
        buffer.put_slice(&self.bytes[self.at..self.at + most]);
        self.at += most;
        Poll::Ready(Ok(()))
    }
}

impl Write for Canned {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O"));

/// The requests that came whole, as hyper reads them with the door's settings.
fn by_hyper(bytes: &[u8], piece: usize) -> Vec<Seen> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            match body.collect().await {
                Ok(body) => seen.lock().unwrap().push(Seen {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    body: body.to_bytes().to_vec(),
                }),
                Err(error) => assert!(is_early_end(&error), "what passed is a malformed body to hyper: {error:?}"),
            }
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        }
    });
    let io = Canned { bytes: bytes.to_vec(), at: 0, piece };
    let mut server = http1::Builder::new();
    server.header_read_timeout(None).max_buf_size(32 << 10).max_headers(100).half_close(true);
    if let Err(error) = RUNTIME.block_on(server.serve_connection(io, service)) {
        assert!(!error.is_parse(), "what passed is malformed to hyper: {error:?}");
    }
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn is_early_end(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || source.is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// An `Authorization` field and cookies are read in one way, and only what has the exact form of a token is looked up.
pub fn credentials(data: &[u8]) {
    match fuzzing::authorization(data) {
        Authorization::Bearer(found) => {
            assert!(data[..7].eq_ignore_ascii_case(b"bearer "));
            let text = data[7..].trim_ascii();
            let base32 = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
            let form = text.len() == 65 && text.starts_with(b"tbi_") && text[12] == b'_';
            assert_eq!(found.is_some(), form && base32(&text[4..12]) && base32(&text[13..]));
        }
        Authorization::Basic(pair) => {
            assert!(data[..6].eq_ignore_ascii_case(b"basic "));
            if let Some((name, password)) = pair {
                // One spelling: what was read is what is written.
                let written = data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes());
                assert_eq!(written.as_bytes(), data[6..].trim_ascii());
                assert!(!name.contains(':'));
            }
        }
        Authorization::None => {}
    }
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let sent = lines.iter().filter(|line| hyper::header::HeaderValue::from_bytes(line).is_ok());
    let pairs = sent.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let values: Vec<&[u8]> = pairs.filter_map(|pair| pair.strip_prefix(b"__Host-tbi-session=")).collect();
    let expected = (values.len() < 2).then(|| values.first().map(|value| value.to_vec()));
    assert_eq!(fuzzing::session_cookie(&lines), expected);
}

struct Genuine {
    signer: Signer,
    session: Vec<u8>,
    csrf: Vec<u8>,
    device: Vec<u8>,
}

/// Made once: the keys are random, and so is what they sign.
static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let home = tempfile::tempdir().expect("a directory for keys");
    let signer = Signer::new(home.path()).expect("randomness");
    let (session, csrf) = signer.session().expect("randomness");
    let account = "anna".parse().expect("a name");
    let device = signer.device([7; 16], &account, jiff::Timestamp::UNIX_EPOCH).expect("a cookie");
    Genuine { signer, session, csrf, device }
});

/// A cookie that was edited opens nothing: the input is a list of edits (what, where, how) to genuine ones.
pub fn cookie(data: &[u8]) {
    let genuine = &*GENUINE;
    let mut edited = [genuine.session.clone(), genuine.csrf.clone(), genuine.device.clone()];
    for edit in data.chunks_exact(4) {
        let text = &mut edited[usize::from(edit[0] % 3)];
        let at = usize::from(edit[1]) % (text.len() + 1);
        match (edit[2] % 4, text.get_mut(at)) {
            (0, Some(byte)) => *byte = edit[3],
            (1, Some(_)) => drop(text.remove(at)),
            (2, _) => text.truncate(at),
            (3, _) => text.insert(at, edit[3]),
            _ => {}
        }
    }
    let [session, csrf, device] = edited;
    let expected = (session == genuine.session).then_some(csrf == genuine.csrf);
    assert_eq!(genuine.signer.opens(&session, &csrf), expected);
    let line = [b"__Host-tbi-device=", &device[..]].concat();
    let account = "anna".parse().expect("a name");
    let known = genuine.signer.device_of(&line, &account, jiff::Timestamp::UNIX_EPOCH);
    // White space around a cookie is not part of it.
    let same = device.trim_ascii_end() == genuine.device && hyper::header::HeaderValue::from_bytes(&line).is_ok();
    let split = device.contains(&b';');
    assert!(known == same.then_some([7; 16]) || split, "{known:?}");
    assert!(known.is_none() || device.starts_with(&genuine.device));
}

/// Whatever the clock does: nobody gets more than the limit within nine tenths of a window, nobody who stays below it is refused, and
/// whoever waits as long as is said is let in. Seven bytes choose the limits; then each four are a request: whose, and how the clock moves.
pub fn limits(data: &[u8]) {
    let Some((setting, requests)) = data.split_at_checked(7) else { return };
    let ms = |high: u8, low: u8| Duration::from_millis(10 + (u64::from(high) << 8 | u64::from(low)));
    let window = |count: u8, length| (1 + u32::from(count % 16), length);
    let (short, long) =
        (window(setting[0], ms(setting[1], setting[2])), window(setting[3], ms(setting[4], setting[5])));
    let few = setting[6] % 8 == 0;
    // With room for two only, keys share a place; then there is nothing to compare with but that it does not break.
    let mut counters = Counters::new(short, long, if few { 2 } else { 8 });
    let (mut reading, mut last, mut now) = (Duration::from_secs(1000), None, Duration::ZERO);
    let mut admitted: HashMap<u8, Vec<Duration>> = HashMap::new();
    let mut promised: HashMap<u8, Duration> = HashMap::new();
    for request in requests.chunks_exact(4).take(500) {
        let (key, step) =
            (request[0] % 6, Duration::from_millis(u64::from(u16::from_be_bytes([request[2], request[3]]))));
        reading = match request[1] % 16 {
            0 => reading.saturating_sub(step),
            1 => Duration::ZERO,
            2 => reading.saturating_add(step * 1000),
            3 if few => Duration::MAX,
            _ => reading.saturating_add(step / 16),
        };
        now = now.saturating_add(last.map_or(Duration::ZERO, |last| reading.saturating_sub(last)));
        last = Some(reading);
        let (let_in, reset) = counters.take(key, reading);
        if few {
            continue;
        }
        let longest = short.1.max(long.1);
        assert!(Duration::from_secs(reset) < longest + Duration::from_secs(1), "{reset} s");
        let mine = admitted.entry(key).or_default();
        let within = |length: Duration| mine.iter().filter(|time| now.saturating_sub(**time) < length).count();
        let room = |(count, length): (u32, Duration)| within(length) < count as usize;
        if room(short) && room(long) {
            assert!(let_in, "below both limits and refused");
        }
        if promised.get(&key).is_some_and(|then| now >= *then) {
            assert!(let_in, "waited as long as was said and refused");
        }
        if let_in {
            for (count, length) in [short, long] {
                assert!(within(length / 10 * 9) < count as usize, "more than the limit within nine tenths of a window");
            }
            mine.push(now);
            promised.remove(&key);
        } else {
            assert!(reset > 0, "refused, and told to come at once");
            promised.insert(key, now + Duration::from_secs(reset));
        }
    }
}

/// A chain and a key (behind the first NUL) are taken, or refused with a code and a sentence that holds nothing of the key.
pub fn certificate(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (chain, key) = data.split_at(at);
    if let Err((code, sentence)) = fuzzing::brought(chain, key) {
        assert!(!code.is_empty() && sentence.contains(';'), "{sentence}");
    }
}

/// A path that passes says the same before and after it is decoded.
pub fn path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if !fuzzing::path_is_plain(path) {
        return;
    }
    assert!(path.starts_with('/') && path.is_ascii() && !path.contains("//"));
    for segment in path.split('/').skip(1) {
        let decoded = decode(segment.as_bytes());
        let text = String::from_utf8(decoded).expect("what passed is text");
        assert!(text != "." && text != ".." && !text.contains(['/', '\\', '\0', '\r', '\n']), "{text:?}");
    }
}

fn decode(mut segment: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((first, rest)) = segment.split_first() {
        let escape = (*first == b'%').then(|| rest.split_at_checked(2)).flatten();
        let byte = escape.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        segment = if byte.is_some() { &rest[2..] } else { rest };
    }
    bytes
}
