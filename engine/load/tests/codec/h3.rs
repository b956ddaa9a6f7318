//! RFC 9114.

use crate::hex;
use tbi_engine::codec::h3_control::{PeerStreams, UniEvent, UniKind, UniReader, control_stream_preamble};
use tbi_engine::codec::h3_frames::{H3Code, H3Error, RequestTemplate, ResponseReader};
use tbi_engine::codec::head::Malformed;
use tbi_engine::codec::prefixed::Coding;
use tbi_engine::codec::qpack::{self, QpackError};
use tbi_engine::codec::request::Request;
use tbi_engine::codec::varint;

const DATA: u64 = 0;
const HEADERS: u64 = 1;

pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::write(kind, &mut bytes);
    varint::write(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A HEADERS frame with these fields as literals.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    qpack::write_prefix(&mut section);
    for (name, value) in fields {
        qpack::write_literal(name.as_bytes(), value.as_bytes(), Coding::Shortest, &mut section);
    }
    frame(HEADERS, &section)
}

fn read(stream: &[u8], pieces: usize) -> Result<ResponseReader, H3Error> {
    let mut reader = ResponseReader::new();
    let mut heads = 0;
    for mut chunk in stream.chunks(pieces) {
        while !chunk.is_empty() {
            let progress = reader.feed(chunk)?;
            heads += usize::from(progress.head);
            chunk = &chunk[progress.consumed..];
        }
    }
    reader.finish()?;
    assert_eq!(heads, 1);
    Ok(reader)
}

#[test]
fn request_decodes_to_what_was_asked() {
    let template = RequestTemplate::new(&Request::new("/o/1KB", "www.example").unwrap());
    for token in [None, Some(b"0123456789abcdef0123456789abcdef")] {
        let mut bytes = Vec::new();
        template.write(token, &mut bytes);
        let (kind, kind_len) = varint::read(&bytes).unwrap();
        let (length, length_len) = varint::read(&bytes[kind_len..]).unwrap();
        let section = &bytes[kind_len + length_len..];
        assert_eq!((kind, length), (HEADERS, section.len() as u64));
        let mut lines = String::new();
        qpack::decode(section, &mut Vec::new(), |field| {
            lines += &format!("{}={}\n", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value));
        })
        .unwrap();
        let mut expected =
            ":method=GET\n:scheme=https\n:authority=www.example\n:path=/o/1KB\nuser-agent=tlsstress\n".to_owned();
        if let Some(token) = token {
            expected += &format!("x-tlsstress-token={}\n", String::from_utf8_lossy(token));
        }
        assert_eq!(lines, expected);
    }
}

#[test]
fn response_with_grease_interim_head_and_trailers() {
    let mut stream = frame(0x21, b"grease");
    stream.extend(headers(&[(":status", "103"), ("link", "x")]));
    stream.extend(headers(&[
        (":status", "200"),
        ("content-length", "10"),
        ("x-tlsstress-echo", "00ff"),
        ("server-timing", "hs;dur=1"),
        ("alt-svc", "h3"),
    ]));
    stream.extend(frame(DATA, b"hello"));
    stream.extend(frame(0x40 * 0x1f + 0x21, b""));
    stream.extend(frame(DATA, b""));
    stream.extend(frame(DATA, b"world"));
    stream.extend(headers(&[("x-checksum", "1")]));
    stream.extend(frame(0x21, b"more"));
    for pieces in 1..=stream.len() {
        let reader = read(&stream, pieces).unwrap();
        let head = reader.head();
        assert_eq!((head.status, head.content_length, reader.body_bytes()), (200, Some(10), 10));
        assert_eq!(head.echo.as_bytes(), Some(&b"00ff"[..]));
        assert_eq!(head.server_timing.as_bytes(), Some(&b"hs;dur=1"[..]));
        assert!(head.alt_svc);
    }
}

#[test]
fn reader_is_reusable() {
    let mut stream = headers(&[(":status", "204")]);
    let mut reader = ResponseReader::new();
    for _ in 0..3 {
        assert!(reader.feed(&stream).unwrap().head);
        reader.finish().unwrap();
        reader.reset();
    }
    stream.truncate(5);
    reader.feed(&stream).unwrap();
    reader.reset();
    assert_eq!(reader.finish(), Err(Malformed::Status.into()));
}

#[test]
fn hostile_responses_are_refused_by_their_defect() {
    let ok = headers(&[(":status", "200")]);
    let after = |more: Vec<u8>| [ok.clone(), more].concat();
    let one = |field: (&str, &str)| headers(&[(":status", "200"), field]);
    let cases: Vec<(&str, Vec<u8>, H3Error)> = vec![
        ("DATA before HEADERS", frame(DATA, b"x"), H3Error::Unexpected("DATA before HEADERS")),
        (
            "DATA after trailers",
            after([headers(&[("x", "y")]), frame(DATA, b"x")].concat()),
            H3Error::Unexpected("frames after trailers"),
        ),
        (
            "HEADERS after trailers",
            after([headers(&[("x", "y")]), headers(&[("x", "y")])].concat()),
            H3Error::Unexpected("frames after trailers"),
        ),
        ("SETTINGS on a request stream", frame(4, b""), H3Error::Unexpected("a control frame on a request stream")),
        (
            "GOAWAY on a request stream",
            after(frame(7, b"\0")),
            H3Error::Unexpected("a control frame on a request stream"),
        ),
        ("PUSH_PROMISE", after(frame(5, b"\0")), H3Error::Id),
        ("HTTP/2 PING", frame(6, b"12345678"), H3Error::Unexpected("an HTTP/2 frame type")),
        ("empty HEADERS", frame(HEADERS, b""), qpack_truncated()),
        ("HEADERS above 16 KiB", hex("01 8000 4001"), H3Error::TooLong),
        ("HEADERS of 2^62-1", hex("01 ffff ffff ffff ffff"), H3Error::TooLong),
        ("endless interim", headers(&[(":status", "100")]).repeat(17), H3Error::TooLong),
        ("cut frame header", after(hex("40")), H3Error::Frame),
        ("cut frame", after(hex("00 05 61")), H3Error::Frame),
        ("cut grease", after(hex("21 05 61")), H3Error::Frame),
        ("no head", Vec::new(), Malformed::Status.into()),
        ("only an interim head", headers(&[(":status", "100")]), Malformed::Status.into()),
        ("no status", headers(&[("x", "y")]), Malformed::Status.into()),
        ("bad status", headers(&[(":status", "2000")]), Malformed::Status.into()),
        ("switching protocols", headers(&[(":status", "101")]), Malformed::SwitchingProtocols.into()),
        ("two statuses", one((":status", "200")), Malformed::PseudoHeader.into()),
        ("late status", headers(&[("x", "y"), (":status", "200")]), Malformed::PseudoHeader.into()),
        ("status in trailers", after(headers(&[(":status", "200")])), Malformed::PseudoHeader.into()),
        ("request pseudo-header", one((":path", "/")), Malformed::Field.into()),
        ("upper-case name", one(("Server", "x")), Malformed::Field.into()),
        ("empty name", one(("", "x")), Malformed::Field.into()),
        ("connection header", one(("connection", "close")), Malformed::Field.into()),
        ("transfer-encoding", one(("transfer-encoding", "chunked")), Malformed::Field.into()),
        ("line break in value", one(("x", "a\r\nb: c")), Malformed::Field.into()),
        ("space before value", one(("x", " a")), Malformed::Field.into()),
        (
            "conflicting lengths",
            headers(&[(":status", "200"), ("content-length", "1"), ("content-length", "2")]),
            Malformed::ConflictingLengths.into(),
        ),
        ("negative length", one(("content-length", "-1")), Malformed::ContentLength.into()),
        ("body too short", [one(("content-length", "2")), frame(DATA, b"x")].concat(), Malformed::BodyLength.into()),
        ("body too long", [one(("content-length", "2")), frame(DATA, b"xyz")].concat(), Malformed::BodyLength.into()),
        ("body after 204", [headers(&[(":status", "204")]), frame(DATA, b"x")].concat(), Malformed::BodyLength.into()),
    ];
    for (name, stream, expected) in cases {
        for pieces in [1, 2, 3, stream.len().max(1)] {
            let error = read(&stream, pieces).map(|reader| reader.body_bytes()).expect_err(name);
            assert_eq!(error, expected, "{name} in pieces of {pieces}");
        }
    }
}

fn qpack_truncated() -> H3Error {
    qpack::decode(&[], &mut Vec::new(), |_| {}).map_err(H3Error::from).unwrap_err()
}

fn control(stream: &[u8], pieces: usize) -> Result<Vec<UniEvent>, H3Error> {
    let (mut reader, mut streams, mut events) = (UniReader::default(), PeerStreams::default(), Vec::new());
    for chunk in stream.chunks(pieces) {
        reader.feed(chunk, &mut streams, |event| events.push(event))?;
    }
    Ok(events)
}

#[test]
fn control_stream_with_settings_grease_and_goaway() {
    let stream =
        [control_stream_preamble(), frame(0x21, b"grease"), frame(7, &hex("4100")), frame(7, &hex("08"))].concat();
    for pieces in 1..=stream.len() {
        let events = control(&stream, pieces).unwrap();
        assert_eq!(
            events,
            [UniEvent::Settings, UniEvent::GoAway { stream: 0x100 }, UniEvent::GoAway { stream: 8 }],
            "in pieces of {pieces}"
        );
    }
}

#[test]
fn hostile_control_streams_are_refused_by_their_defect() {
    let settings = |payload: &str| [vec![0], frame(4, &hex(payload))].concat();
    let after = |more: Vec<u8>| [control_stream_preamble(), more].concat();
    for (name, stream, expected) in [
        ("GOAWAY first", [vec![0], frame(7, b"\0")].concat(), H3Error::MissingSettings),
        ("grease first", [vec![0], frame(0x21, b"")].concat(), H3Error::MissingSettings),
        ("second SETTINGS", after(frame(4, b"")), H3Error::Unexpected("a second SETTINGS")),
        ("DATA", after(frame(0, b"")), H3Error::Unexpected("a request frame on the control stream")),
        ("MAX_PUSH_ID", after(frame(13, b"\0")), H3Error::Unexpected("MAX_PUSH_ID from a server")),
        ("CANCEL_PUSH", after(frame(3, b"\0")), H3Error::Id),
        ("HTTP/2 PRIORITY", after(frame(2, b"")), H3Error::Unexpected("an HTTP/2 frame type")),
        ("repeated setting", settings("0600 0601"), H3Error::Settings),
        ("HTTP/2 setting", settings("0400"), H3Error::Settings),
        ("cut setting", settings("06"), H3Error::Frame),
        ("huge SETTINGS", hex("00 04 6000"), H3Error::TooLong),
        ("GOAWAY with a server's stream", after(frame(7, b"\x01")), H3Error::Id),
        ("growing GOAWAY", after([frame(7, b"\x04"), frame(7, b"\x08")].concat()), H3Error::Id),
        ("empty GOAWAY", after(frame(7, b"")), H3Error::Frame),
        ("GOAWAY with a tail", after(frame(7, b"\x04\x04")), H3Error::Frame),
        ("push stream", hex("01 00"), H3Error::Id),
    ] {
        for pieces in [1, 2, stream.len()] {
            assert_eq!(control(&stream, pieces), Err(expected), "{name} in pieces of {pieces}");
        }
    }
}

#[test]
fn critical_streams_are_opened_once_and_stay_open() {
    let mut streams = PeerStreams::default();
    for (kind, bytes) in [(UniKind::Control, "00"), (UniKind::QpackEncoder, "02 3f"), (UniKind::QpackDecoder, "03 ff")]
    {
        let mut first = UniReader::default();
        first.feed(&hex(bytes), &mut streams, |_| {}).unwrap();
        assert_eq!(first.kind(), Some(kind));
        assert_eq!(first.finish(), Err(H3Error::ClosedCriticalStream));
        let second = UniReader::default().feed(&hex(bytes), &mut streams, |_| {});
        assert_eq!(second, Err(H3Error::StreamCreation));
    }
    for _ in 0..2 {
        let mut grease = UniReader::default();
        grease.feed(&hex("7f ff 00"), &mut streams, |_| {}).unwrap();
        assert_eq!((grease.kind(), grease.finish()), (Some(UniKind::Unknown), Ok(())));
    }
}

#[test]
fn codes_are_those_of_the_registry() {
    assert_eq!(H3Error::Unexpected("").code() as u64, 0x105);
    assert_eq!(H3Error::Qpack(QpackError::DynamicReference).code(), H3Code::Decompression);
    assert!(H3Error::from(Malformed::Status).is_stream_error());
    assert!(!H3Error::Frame.is_stream_error());
}
