//! RFC 9113.

use crate::hex;
use tbi_engine::codec::h2_client::{Event, H2Client, H2Error, RequestRefused, RequestTemplate, Settings};
use tbi_engine::codec::h2_frames::{ErrorCode, FrameHeader, PREFACE};
use tbi_engine::codec::hpack::{self, Decoder, HpackError, Indexing};
use tbi_engine::codec::prefixed::Coding;
use tbi_engine::codec::request::Request;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { length: payload.len(), kind, flags, stream }.write(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::write_literal(name.as_bytes(), value.as_bytes(), Indexing::Without, Coding::Shortest, &mut block);
    }
    block
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

fn template() -> RequestTemplate {
    RequestTemplate::new(&Request::new("/o/1KB", "www.example").unwrap())
}

/// A client with `requests` streams open (1, 3, 5 …), its output emptied.
fn client(requests: u32) -> H2Client<u32> {
    let mut client = H2Client::new(Settings::default());
    for number in 0..requests {
        client.request(&template(), None, number).unwrap();
    }
    let sent = client.output().len();
    client.advance_output(sent);
    client
}

/// Events in words, those of DATA summed up.
fn receive(client: &mut H2Client<u32>, bytes: &[u8], pieces: usize) -> Result<Vec<String>, H2Error> {
    let mut log: Vec<String> = Vec::new();
    for chunk in bytes.chunks(pieces) {
        client.receive(chunk, |event| match event {
            Event::Head { stream, context, head } => log.push(format!("head {stream} #{context} {}", head.status)),
            Event::Data { .. } => {}
            Event::End { stream, context, body } => log.push(format!("end {stream} #{context} {body}")),
            Event::Failed { stream, context, failure } => log.push(format!("failed {stream} #{context} {failure:?}")),
            Event::GoAway { code } => log.push(format!("goaway {code}")),
            Event::SettingsAcked => log.push("acked".to_owned()),
        })?;
    }
    Ok(log)
}

/// Frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<9>() {
        let header = FrameHeader::parse(*header);
        frames.push((header, rest[..header.length].to_vec()));
        bytes = &rest[header.length..];
    }
    frames
}

#[test]
fn request_decodes_to_what_was_asked() {
    let mut client = H2Client::new(Settings::default());
    assert_eq!(client.request(&template(), None, ()).unwrap(), 1);
    assert_eq!(client.request(&template(), Some(b"0123456789abcdef0123456789abcdef"), ()).unwrap(), 3);
    let output = client.output().strip_prefix(PREFACE).unwrap();
    let frames = frames(output);
    assert_eq!(frames[0].0.kind, SETTINGS);
    // ENABLE_PUSH 0, INITIAL_WINDOW_SIZE 65535, MAX_HEADER_LIST_SIZE 16384.
    assert_eq!(frames[0].1, hex("0002 00000000 0004 0000ffff 0006 00004000"));
    assert_eq!(frames[1].0.kind, WINDOW_UPDATE);
    for (index, token) in [(2, ""), (3, "x-tlsstress-token=0123456789abcdef0123456789abcdef\n")] {
        let (header, payload) = &frames[index];
        assert_eq!((header.kind, header.flags), (HEADERS, END_STREAM | END_HEADERS));
        assert_eq!(header.stream as usize, index * 2 - 3);
        let mut lines = String::new();
        Decoder::new()
            .decode(payload, |field| {
                lines += &format!("{}={}\n", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value));
            })
            .unwrap();
        let plain = ":method=GET\n:scheme=https\n:authority=www.example\n:path=/o/1KB\nuser-agent=tlsstress\n";
        assert_eq!(lines, format!("{plain}{token}"));
    }
}

#[test]
fn interleaved_responses_whatever_the_cut() {
    let stream = [
        frame(SETTINGS, 0, 0, &hex("0003 00000064 0001 00001000 00ff 00000001")),
        frame(SETTINGS, ACK, 0, &[]),
        headers(3, 0, &[(":status", "103"), ("link", "x")]),
        headers(3, 0, &[(":status", "200"), ("content-length", "5")]),
        frame(
            HEADERS,
            END_HEADERS | PADDED | PRIORITY,
            1,
            &[&hex("02 00000000 10")[..], &block(&[(":status", "404")]), &[0, 0]].concat(),
        ),
        frame(PING, 0, 0, b"12345678"),
        frame(DATA, PADDED, 1, b"\x03helloxxx"),
        frame(0xfa, 0xff, 77, b"unknown"),
        frame(2, 0, 9, b"12345"),
        frame(DATA, 0, 3, b""),
        frame(DATA, END_STREAM, 3, b"hello"),
        frame(WINDOW_UPDATE, 0, 0, &hex("00000001")),
        frame(DATA, PADDED | END_STREAM, 1, b"\x00world"),
        frame(HEADERS, END_STREAM, 5, &block(&[(":status", "204")])[..1]),
        frame(CONTINUATION, 0, 5, &block(&[(":status", "204")])[1..4]),
        frame(CONTINUATION, 0, 5, b""),
        frame(CONTINUATION, END_HEADERS, 5, &block(&[(":status", "204")])[4..]),
        headers(7, 0, &[(":status", "200")]),
        headers(7, END_STREAM, &[("x-checksum", "1")]),
        frame(RST_STREAM, 0, 9, &hex("00000007")),
    ]
    .concat();
    let expected = [
        "acked",
        "head 3 #1 200",
        "head 1 #0 404",
        "end 3 #1 5",
        "end 1 #0 10",
        "head 5 #2 204",
        "end 5 #2 0",
        "head 7 #3 200",
        "end 7 #3 0",
        "failed 9 #4 Reset(7)",
    ];
    for pieces in 1..=stream.len() {
        let mut client = client(5);
        assert_eq!(receive(&mut client, &stream, pieces).unwrap(), expected, "in pieces of {pieces}");
        assert_eq!(client.in_flight(), 0);
        let answers = [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, b"12345678")].concat();
        assert_eq!(client.output(), answers, "in pieces of {pieces}");
    }
}

#[test]
fn hostile_peers_end_the_connection_by_their_defect() {
    let ok = |stream| headers(stream, 0, &[(":status", "200")]);
    let first = |frames: Vec<Vec<u8>>| [vec![settings()], frames].concat().concat();
    let open = frame(HEADERS, 0, 1, &block(&[(":status", "200")]));
    let interrupted = H2Error::Protocol("a header block is interrupted");
    let unopened = H2Error::Protocol("a frame on a stream that was never opened");
    let cases: Vec<(&str, Vec<u8>, H2Error)> = vec![
        ("not HTTP/2", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), H2Error::FrameSize("a frame above 16384 bytes")),
        (
            "first frame not SETTINGS",
            frame(PING, 0, 0, b"12345678"),
            H2Error::Protocol("the first frame is not SETTINGS"),
        ),
        (
            "first frame an acknowledgement",
            frame(SETTINGS, ACK, 0, b""),
            H2Error::Protocol("the first frame is not SETTINGS"),
        ),
        (
            "frame above the maximum",
            first(vec![hex("004001 00 00 00000001")]),
            H2Error::FrameSize("a frame above 16384 bytes"),
        ),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"12345"), H2Error::FrameSize("SETTINGS")),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), H2Error::Protocol("SETTINGS on a stream")),
        (
            "full SETTINGS acknowledgement",
            first(vec![frame(SETTINGS, ACK, 0, b"123456")]),
            H2Error::FrameSize("SETTINGS acknowledgement with content"),
        ),
        (
            "push enabled by a server",
            frame(SETTINGS, 0, 0, &hex("0002 00000001")),
            H2Error::Protocol("a server enables push"),
        ),
        ("window above 2^31-1", frame(SETTINGS, 0, 0, &hex("0004 80000000")), H2Error::FlowControl),
        (
            "frame size below 16384",
            frame(SETTINGS, 0, 0, &hex("0005 00003fff")),
            H2Error::Protocol("an impossible SETTINGS_MAX_FRAME_SIZE"),
        ),
        (
            "PUSH_PROMISE",
            first(vec![frame(PUSH_PROMISE, END_HEADERS, 1, &hex("00000002"))]),
            H2Error::Protocol("PUSH_PROMISE although push is off"),
        ),
        ("HEADERS on stream 0", first(vec![ok(0)]), H2Error::Protocol("a stream frame on stream 0")),
        ("HEADERS on an even stream", first(vec![ok(2)]), unopened),
        ("HEADERS on an idle stream", first(vec![ok(9)]), unopened),
        ("DATA on an idle stream", first(vec![frame(DATA, 0, 9, b"x")]), unopened),
        ("RST_STREAM on an idle stream", first(vec![frame(RST_STREAM, 0, 9, b"1234")]), unopened),
        ("RST_STREAM of 3 bytes", first(vec![frame(RST_STREAM, 0, 1, b"123")]), H2Error::FrameSize("RST_STREAM")),
        ("PING of 7 bytes", first(vec![frame(PING, 0, 0, b"1234567")]), H2Error::FrameSize("PING")),
        ("PING on a stream", first(vec![frame(PING, 0, 1, b"12345678")]), H2Error::Protocol("PING on a stream")),
        ("GOAWAY of 7 bytes", first(vec![frame(GOAWAY, 0, 0, b"1234567")]), H2Error::FrameSize("GOAWAY")),
        ("PRIORITY of 4 bytes", first(vec![frame(2, 0, 1, b"1234")]), H2Error::FrameSize("PRIORITY")),
        (
            "WINDOW_UPDATE of 0",
            first(vec![frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0")]),
            H2Error::Protocol("WINDOW_UPDATE of 0"),
        ),
        ("window overflow", first(vec![frame(WINDOW_UPDATE, 0, 0, &hex("7fffffff"))]), H2Error::FlowControl),
        (
            "padding longer than DATA",
            first(vec![ok(1), frame(DATA, PADDED, 1, b"\x05abcd")]),
            H2Error::Protocol("padding longer than its DATA frame"),
        ),
        (
            "padded DATA without length",
            first(vec![ok(1), frame(DATA, PADDED, 1, b"")]),
            H2Error::FrameSize("padded DATA without a padding length"),
        ),
        (
            "padding longer than HEADERS",
            first(vec![frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05\x88")]),
            H2Error::Protocol("padding longer than its HEADERS frame"),
        ),
        (
            "HEADERS cut in priority",
            first(vec![frame(HEADERS, END_HEADERS | PRIORITY, 1, b"\0\0\0\0")]),
            H2Error::FrameSize("HEADERS without its priority"),
        ),
        (
            "CONTINUATION alone",
            first(vec![frame(CONTINUATION, END_HEADERS, 1, b"")]),
            H2Error::Protocol("CONTINUATION without a header block"),
        ),
        ("block interrupted by PING", first(vec![open.clone(), frame(PING, 0, 0, b"12345678")]), interrupted),
        (
            "block interrupted by another stream",
            first(vec![open.clone(), frame(CONTINUATION, END_HEADERS, 3, b"")]),
            interrupted,
        ),
        ("block interrupted by an unknown frame", first(vec![open.clone(), frame(0xfa, 0, 0, b"")]), interrupted),
        (
            "empty CONTINUATION flood",
            first(vec![open.clone(), frame(CONTINUATION, 0, 1, b"").repeat(65)]),
            H2Error::Flood("header block too long"),
        ),
        (
            "header block above 16 KiB",
            first(vec![open, frame(CONTINUATION, 0, 1, &[0; 16_380])]),
            H2Error::Flood("header block too long"),
        ),
        ("PING flood", first(vec![frame(PING, 0, 0, b"12345678").repeat(4096)]), H2Error::Flood("SETTINGS and PING")),
        ("SETTINGS flood", settings().repeat(4097), H2Error::Flood("SETTINGS and PING")),
        ("broken HPACK", first(vec![frame(HEADERS, END_HEADERS, 1, &[0x80])]), HpackError::Index.into()),
        (
            "DATA after END_STREAM",
            first(vec![headers(1, END_STREAM, &[(":status", "200")]), frame(DATA, 0, 1, b"x")]),
            H2Error::StreamClosed,
        ),
        (
            "HEADERS after END_STREAM",
            first(vec![headers(1, END_STREAM, &[(":status", "200")]), ok(1)]),
            H2Error::StreamClosed,
        ),
    ];
    for (name, bytes, expected) in cases {
        for pieces in [1, 2, 5, bytes.len()] {
            let mut client = client(3);
            assert_eq!(receive(&mut client, &bytes, pieces), Err(expected), "{name} in pieces of {pieces}");
            assert_eq!(receive(&mut client, b"", 1), Ok(Vec::new()));
            assert_eq!(client.receive(&settings(), |_| {}), Err(expected), "{name}: the error stays");
            let goaway = frames(client.output()).pop().unwrap();
            assert_eq!(
                (goaway.0.kind, &goaway.1[4..8]),
                (GOAWAY, &(expected.code() as u32).to_be_bytes()[..]),
                "{name}"
            );
            assert_eq!(client.may_request(), Err(RequestRefused::Closed));
            assert_eq!(client.drain().count() + usize::from(name.contains("after END_STREAM")), 3, "{name}");
        }
    }
}

#[test]
fn malformed_responses_fail_only_their_stream() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("DATA before HEADERS", frame(DATA, 0, 1, b"x"), "Malformed(Status)"),
        ("no status", headers(1, END_STREAM, &[("x", "y")]), "Malformed(Status)"),
        ("interim with END_STREAM", headers(1, END_STREAM, &[(":status", "100")]), "Malformed(Status)"),
        ("endless interim", headers(1, 0, &[(":status", "100")]).repeat(17), "Malformed(Status)"),
        ("switching protocols", headers(1, 0, &[(":status", "101")]), "Malformed(SwitchingProtocols)"),
        ("upper-case name", headers(1, 0, &[(":status", "200"), ("Server", "x")]), "Malformed(Field)"),
        ("connection header", headers(1, 0, &[(":status", "200"), ("connection", "close")]), "Malformed(Field)"),
        ("line break in value", headers(1, 0, &[(":status", "200"), ("x", "a\nb")]), "Malformed(Field)"),
        ("late status", headers(1, 0, &[("x", "y"), (":status", "200")]), "Malformed(PseudoHeader)"),
        ("second head", headers(1, 0, &[(":status", "200")]).repeat(2), "Malformed(PseudoHeader)"),
        (
            "trailers without END_STREAM",
            [headers(1, 0, &[(":status", "200")]), headers(1, 0, &[("x", "y")])].concat(),
            "Malformed(PseudoHeader)",
        ),
        (
            "body too long",
            [headers(1, 0, &[(":status", "200"), ("content-length", "1")]), frame(DATA, 0, 1, b"xy")].concat(),
            "Malformed(BodyLength)",
        ),
        (
            "body too short",
            [headers(1, 0, &[(":status", "200"), ("content-length", "3")]), frame(DATA, END_STREAM, 1, b"xy")].concat(),
            "Malformed(BodyLength)",
        ),
        ("no body", headers(1, END_STREAM, &[(":status", "200"), ("content-length", "3")]), "Malformed(BodyLength)"),
    ];
    for (name, bytes, failure) in cases {
        let bytes = [settings(), bytes, headers(3, END_STREAM, &[(":status", "200")])].concat();
        for pieces in [1, 2, 3, bytes.len()] {
            let mut client = client(2);
            let log = receive(&mut client, &bytes, pieces).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(log.contains(&format!("failed 1 #0 {failure}")), "{name} in pieces of {pieces}: {log:?}");
            assert_eq!(log.last().unwrap(), "end 3 #1 0", "{name}");
            assert_eq!(client.in_flight(), 0);
        }
    }
}

#[test]
fn windows_are_enforced_and_refilled_by_halves() {
    let piece = frame(DATA, 0, 1, &[0; 16_384]);
    let head = [settings(), headers(1, 0, &[(":status", "200")])].concat();
    let mut fresh = client(1);
    receive(&mut fresh, &head, 1000).unwrap();
    let sent = fresh.output().len();
    fresh.advance_output(sent);
    receive(&mut fresh, &piece, 100_000).unwrap();
    assert_eq!(fresh.output(), b"", "less than half is not worth an update");
    receive(&mut fresh, &piece, 1000).unwrap();
    assert_eq!(fresh.output(), frame(WINDOW_UPDATE, 0, 1, &32_768u32.to_be_bytes()));

    // A response known to fit needs no update of its stream.
    let mut fits = client(1);
    receive(&mut fits, &[settings(), headers(1, 0, &[(":status", "200"), ("content-length", "65535")])].concat(), 1000)
        .unwrap();
    let sent = fits.output().len();
    fits.advance_output(sent);
    receive(&mut fits, &piece.repeat(3), 100_000).unwrap();
    assert_eq!(fits.output(), b"");

    // The connection's window is refilled too, and both are enforced.
    let small = Settings { stream_window: 30_000, connection_window: 0, max_streams: 10 };
    let mut overrun = H2Client::new(small);
    overrun.request(&template(), None, 0).unwrap();
    let input = [head.clone(), piece.clone(), piece.clone()].concat();
    assert_eq!(receive(&mut overrun, &input, 100_000), Ok(vec!["head 1 #0 200".to_owned()]));
    let mut overrun = H2Client::new(Settings { stream_window: 16_383, ..small });
    overrun.request(&template(), None, 0).unwrap();
    assert_eq!(receive(&mut overrun, &[head, piece].concat(), 100_000), Err(H2Error::FlowControl));
}

#[test]
fn cancelled_streams_may_still_be_answered() {
    let mut client = client(2);
    assert_eq!(client.cancel(1), Some(0));
    assert_eq!(client.cancel(1), None);
    assert_eq!(client.output(), frame(RST_STREAM, 0, 1, &(ErrorCode::Cancel as u32).to_be_bytes()));
    // The head of the cancelled stream fills the dynamic table that the next one uses.
    let mut first = hex("88 40 0a");
    first.extend_from_slice(b"alt-svc-no");
    first.extend(hex("01 31"));
    let bytes = [
        settings(),
        frame(HEADERS, END_HEADERS, 1, &first),
        frame(DATA, END_STREAM, 1, b"late"),
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &hex("88 be")),
    ]
    .concat();
    assert_eq!(receive(&mut client, &bytes, 3).unwrap(), ["head 3 #1 200", "end 3 #1 0"]);
}

#[test]
fn goaway_fails_what_was_not_processed() {
    let mut client = client(3);
    let goaway = frame(GOAWAY, 0, 0, &hex("00000003 00000000 6465627567"));
    let log = receive(&mut client, &[settings(), goaway].concat(), 4).unwrap();
    assert_eq!(log, ["failed 5 #2 NotProcessed", "goaway 0"]);
    assert_eq!(client.request(&template(), None, 9), Err(RequestRefused::Closed));
    let rest = [headers(1, END_STREAM, &[(":status", "200")]), headers(3, END_STREAM, &[(":status", "200")])].concat();
    assert_eq!(receive(&mut client, &rest, 1000).unwrap().len(), 4);
}

#[test]
fn limits_of_both_sides_hold() {
    let mut client: H2Client<u32> = H2Client::new(Settings { max_streams: 3, ..Settings::default() });
    for number in 0..3 {
        client.request(&template(), None, number).unwrap();
    }
    assert_eq!(client.request(&template(), None, 3), Err(RequestRefused::AtLimit));
    receive(&mut client, &frame(SETTINGS, 0, 0, &hex("0003 00000001")), 100).unwrap();
    receive(&mut client, &headers(1, END_STREAM, &[(":status", "200")]), 100).unwrap();
    receive(&mut client, &headers(3, END_STREAM, &[(":status", "200")]), 100).unwrap();
    assert_eq!(client.may_request(), Err(RequestRefused::AtLimit));
    receive(&mut client, &headers(5, END_STREAM, &[(":status", "200")]), 100).unwrap();
    assert_eq!(client.may_request(), Ok(()));
    client.close();
    assert_eq!(client.may_request(), Err(RequestRefused::Closed));
    let sent = frames(client.output().strip_prefix(PREFACE).unwrap());
    assert_eq!(sent.last().map(|(header, _)| header.kind), Some(GOAWAY));
}

#[test]
fn forbidden_dynamic_table_is_acknowledged_in_the_next_block() {
    let mut client = client(0);
    receive(&mut client, &frame(SETTINGS, 0, 0, &hex("0001 00000000")), 100).unwrap();
    let sent = client.output().len();
    client.advance_output(sent);
    client.request(&template(), None, 0).unwrap();
    client.request(&template(), None, 1).unwrap();
    let frames = frames(client.output());
    assert_eq!((frames[0].0.stream, frames[1].0.stream), (1, 3));
    assert_eq!(frames[0].1[0], 0x20);
    assert_eq!(frames[0].1[1..], frames[1].1);
}
