//! RFC 9112.

use tbi_engine::codec::head::Malformed;
use tbi_engine::codec::http1::{Event, Http1Error, RequestTemplate, ResponseParser};
use tbi_engine::codec::request::Request;

/// Parses one response fed in pieces; `Ok` holds body bytes and whether the connection persists.
fn parse(input: &[u8], pieces: usize) -> Result<(ResponseParser, u64, bool), Http1Error> {
    let mut parser = ResponseParser::new();
    let mut ended = false;
    for mut chunk in input.chunks(pieces) {
        loop {
            let progress = parser.feed(chunk)?;
            chunk = &chunk[progress.consumed..];
            match progress.event {
                None => break,
                Some(Event::Head) => {}
                Some(Event::End) => ended = true,
            }
        }
    }
    if !ended {
        assert!(parser.finish()?, "the input holds a response");
    }
    let (body, keeps) = (parser.body_bytes(), parser.keeps_alive());
    Ok((parser, body, keeps))
}

#[test]
fn request_bytes_are_exact() {
    let template = RequestTemplate::new(&Request::new("/o/1KB?x=1", "www.example:8443").unwrap());
    let mut out = b"earlier ".to_vec();
    template.write(None, &mut out);
    let plain = "GET /o/1KB?x=1 HTTP/1.1\r\nhost: www.example:8443\r\nuser-agent: tlsstress\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("earlier {plain}\r\n"));
    let mut out = Vec::new();
    template.write(Some(b"0123456789abcdef0123456789abcdef"), &mut out);
    let token = "x-tlsstress-token: 0123456789abcdef0123456789abcdef";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{plain}{token}\r\n\r\n"));
}

#[test]
fn interesting_headers_are_kept_whatever_the_case() {
    let response = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nX-TLSStress-Echo:  00ff \t\r\nALT-SVC: h3=\":443\"\r\n\
        Server-Timing: hs;dur=1.000\r\nserver-timing: app;dur=0.002\r\nContent-Length: 3\r\n\r\nabc";
    for pieces in 1..=response.len() {
        let (parser, body, keeps) = parse(response, pieces).unwrap();
        let head = parser.head();
        assert_eq!((head.status, head.content_length, body, keeps), (200, Some(3), 3, true));
        assert_eq!(head.echo.as_bytes(), Some(&b"00ff"[..]));
        assert_eq!(head.server_timing.as_bytes(), Some(&b"hs;dur=1.000, app;dur=0.002"[..]));
        assert!(head.alt_svc);
    }
}

#[test]
fn overlong_echo_is_present_but_unreadable() {
    let response = format!("HTTP/1.1 200 OK\r\nx-tlsstress-echo: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(65));
    let (parser, ..) = parse(response.as_bytes(), 1000).unwrap();
    assert!(parser.head().echo.is_present());
    assert_eq!(parser.head().echo.as_bytes(), None);
}

#[test]
fn bodies_end_where_rfc_9112_section_6_3_says() {
    for (name, response, body, keeps) in [
        ("length", &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..], 5, true),
        ("length zero", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0, true),
        ("equal lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", 1, true),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n", 0, true),
        ("304 with a length", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 0, true),
        ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n", 15, true),
        ("until close", b"HTTP/1.1 200\r\n\r\nhello", 5, false),
        ("close", b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\ncontent-length: 1\r\n\r\nx", 1, false),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 1, false),
        ("interim", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 1, true),
    ] {
        for pieces in 1..=response.len() {
            let (_, counted, persists) = parse(response, pieces).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((counted, persists), (body, keeps), "{name} in pieces of {pieces}");
        }
    }
}

#[test]
fn hostile_responses_are_refused_by_their_defect() {
    let long_line = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(17_000));
    let many_lines = format!("HTTP/1.1 200 OK\r\n{}", "x: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(600));
    let endless_trailers = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{}",
        "x: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(800)
    );
    let endless_interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17);
    let long_extension = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}", "e".repeat(1100));
    let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let cases: Vec<(&str, String, Http1Error)> = vec![
        ("head without end in one line", long_line, Http1Error::HeadTooLong),
        ("head without end in many lines", many_lines, Http1Error::HeadTooLong),
        ("endless trailers", endless_trailers, Http1Error::HeadTooLong),
        ("endless interim responses", endless_interim, Http1Error::TooManyInterim),
        ("endless chunk extension", long_extension, Http1Error::ChunkSize),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n".into(), Http1Error::StatusLine),
        ("HTTP/1.2", "HTTP/1.2 200 OK\r\n".into(), Http1Error::StatusLine),
        ("empty line first", "\r\nHTTP/1.1 200 OK\r\n".into(), Http1Error::StatusLine),
        ("two digits", "HTTP/1.1 20 OK\r\n".into(), Http1Error::StatusLine),
        ("four digits", "HTTP/1.1 2000\r\n".into(), Http1Error::StatusLine),
        ("status below 100", "HTTP/1.1 099 x\r\n".into(), Http1Error::StatusLine),
        ("status with sign", "HTTP/1.1 +20 x\r\n".into(), Http1Error::StatusLine),
        ("nul in reason", "HTTP/1.1 200 O\0K\r\n".into(), Http1Error::StatusLine),
        ("bare LF", "HTTP/1.1 200 OK\n".into(), Http1Error::LineEnd),
        ("bare CR", "HTTP/1.1 200 OK\r\nx: a\rb\r\n".into(), Http1Error::LineEnd),
        ("doubled CR", "HTTP/1.1 200 OK\r\r\n".into(), Http1Error::LineEnd),
        ("obs-fold", with("x: a\r\n b: c"), Http1Error::ObsFold),
        ("space before colon", with("content-length : 5"), Malformed::Field.into()),
        ("no colon", with("content-length"), Malformed::Field.into()),
        ("empty name", with(": x"), Malformed::Field.into()),
        ("nul in value", with("x: a\0b"), Malformed::Field.into()),
        ("negative length", with("content-length: -1"), Malformed::ContentLength.into()),
        ("plus length", with("content-length: +1"), Malformed::ContentLength.into()),
        ("empty length", with("content-length:"), Malformed::ContentLength.into()),
        ("list of lengths", with("content-length: 5, 5"), Malformed::ContentLength.into()),
        ("hex length", with("content-length: 0x5"), Malformed::ContentLength.into()),
        ("overflowing length", with("content-length: 99999999999999999999"), Malformed::ContentLength.into()),
        ("length of 2^63", with("content-length: 9223372036854775808"), Malformed::ContentLength.into()),
        ("conflicting lengths", with("content-length: 5\r\ncontent-length: 6"), Malformed::ConflictingLengths.into()),
        (
            "length beside chunked",
            with("content-length: 5\r\ntransfer-encoding: chunked"),
            Http1Error::LengthBesideCoding,
        ),
        (
            "chunked beside length",
            with("transfer-encoding: chunked\r\ncontent-length: 5"),
            Http1Error::LengthBesideCoding,
        ),
        ("gzip coding", with("transfer-encoding: gzip, chunked"), Http1Error::TransferCoding),
        ("chunked twice", with("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), Http1Error::TransferCoding),
        (
            "chunked in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(),
            Http1Error::TransferCoding,
        ),
        ("switching protocols", "HTTP/1.1 101 x\r\n\r\n".into(), Malformed::SwitchingProtocols.into()),
        ("chunk size missing", chunked("\r\n"), Http1Error::ChunkSize),
        ("chunk size negative", chunked("-1\r\n"), Http1Error::ChunkSize),
        ("chunk size with prefix", chunked("0x5\r\n"), Http1Error::ChunkSize),
        ("chunk size overflows", chunked("10000000000000000\r\n"), Http1Error::ChunkSize),
        ("chunk size of 2^63", chunked("8000000000000000\r\n"), Http1Error::ChunkSize),
        ("chunk longer than said", chunked("1\r\nab\r\n"), Http1Error::ChunkEnd),
        ("chunk with bare LF", chunked("1\r\na\n"), Http1Error::ChunkEnd),
        ("chunk size line with bare LF", chunked("1\n"), Http1Error::LineEnd),
        ("folded trailer", chunked("0\r\n x: y\r\n"), Http1Error::ObsFold),
        ("unrequested bytes", "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 200 OK\r\n".into(), Http1Error::Unrequested),
        ("cut head", "HTTP/1.1 200 OK\r\nx".into(), Http1Error::Truncated),
        ("cut after interim", "HTTP/1.1 100 x\r\n\r\n".into(), Http1Error::Truncated),
        ("cut body", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell".into(), Http1Error::Truncated),
        ("cut chunk", chunked("5\r\nhell"), Http1Error::Truncated),
        ("cut trailers", chunked("0\r\n"), Http1Error::Truncated),
    ];
    for (name, input, expected) in cases {
        for pieces in [1, 2, 3, 7, input.len()] {
            let error = parse(input.as_bytes(), pieces).map(|(_, body, _)| body).expect_err(name);
            assert_eq!(error, expected, "{name} in pieces of {pieces}");
        }
    }
}

#[test]
fn close_between_responses_is_clean() {
    let mut parser = ResponseParser::new();
    assert_eq!(parser.finish(), Ok(false));
    let progress = parser.feed(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
    assert_eq!((progress.consumed, progress.event), (18, Some(Event::Head)));
    assert_eq!(parser.feed(b"").unwrap().event, Some(Event::End));
    assert_eq!(parser.finish(), Ok(false));
    parser.reset();
    assert_eq!(parser.finish(), Ok(false));
    assert_eq!(parser.feed(b"").unwrap().event, None);
}
