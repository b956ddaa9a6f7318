//! Tests of the guard's core: each shape of request smuggling by its name, and that pieces make no difference.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::head::{HEAD_LIMIT, Refused};
use super::{Framer, Look};

fn look(bytes: &str) -> Look {
    Framer::new().look(bytes.as_bytes())
}

#[test]
fn requests_that_everybody_frames_alike_pass() {
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /a?b=c HTTP/1.1\r\nHost: [::1]:443\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-empty:\r\nx-text: \u{e4}\t b \r\n\r\n",
    ] {
        assert_eq!(look(request), Look { pass: request.len(), refused: None }, "{request}");
    }
}

#[test]
fn each_smuggling_shape_is_refused() {
    let fields = |fields: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n");
    let line = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    for (request, why) in [
        (fields("content-length: 3\r\ntransfer-encoding: chunked"), Refused::LengthAndEncoding),
        (fields("transfer-encoding: chunked\r\ncontent-length: 3"), Refused::LengthAndEncoding),
        (fields("content-length: 3\r\ncontent-length: 4"), Refused::TwoLengths),
        (fields("content-length: 3\r\nContent-Length: 3"), Refused::TwoLengths),
        (fields("content-length: 3, 3"), Refused::Length),
        (fields("content-length: +3"), Refused::Length),
        (fields("content-length: 0x3"), Refused::Length),
        (fields("content-length: -1"), Refused::Length),
        (fields("content-length:"), Refused::Length),
        (fields("content-length: 99999999999999999999"), Refused::Length),
        (fields("content-length: 18446744073709551615"), Refused::Length),
        (fields("transfer-encoding: chunked, chunked"), Refused::Encoding),
        (fields("transfer-encoding: identity"), Refused::Encoding),
        (fields("transfer-encoding: xchunked"), Refused::Encoding),
        (fields("transfer-encoding: gzip, chunked"), Refused::Encoding),
        (fields("transfer-encoding: \"chunked\""), Refused::Encoding),
        (fields("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), Refused::Encoding),
        (fields("transfer-encoding: chunked\u{b}"), Refused::FieldValue),
        (fields("transfer-encoding : chunked"), Refused::FieldName),
        (fields("transfer encoding: chunked"), Refused::FieldName),
        (fields(": chunked"), Refused::FieldName),
        (fields("no colon"), Refused::FieldName),
        (fields("x: a\r\n transfer-encoding: chunked"), Refused::Folded),
        (fields("x: a\r\n\tb"), Refused::Folded),
        (fields("x: a\0b"), Refused::FieldValue),
        (fields("x: a\nb: c"), Refused::BareLineFeed),
        (fields("x: a\rb: c"), Refused::BareCarriageReturn),
        (fields("host: b"), Refused::Host),
        (fields("expect: 200-ok"), Refused::Expectation),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Refused::Host),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned(), Refused::Host),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n".to_owned(), Refused::Host),
        ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), Refused::BareLineFeed),
        ("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), Refused::RequestLine),
        (line("GET  / HTTP/1.1"), Refused::RequestLine),
        (line("GET / x HTTP/1.1"), Refused::RequestLine),
        (line("GET /"), Refused::RequestLine),
        (line("GET / HTTP/1.0"), Refused::Version),
        (line("PRI * HTTP/2.0"), Refused::Version),
        (line("G(T / HTTP/1.1"), Refused::RequestLine),
        (line("GET https://a/ HTTP/1.1"), Refused::AbsoluteForm),
        (line("CONNECT a:443 HTTP/1.1"), Refused::Connect),
        (line("OPTIONS * HTTP/1.1"), Refused::Target),
        (line("GET a HTTP/1.1"), Refused::Target),
        (line("GET /\u{e4} HTTP/1.1"), Refused::Target),
        (line("GET /a\tb HTTP/1.1"), Refused::Target),
        (line("GET /a#b HTTP/1.1"), Refused::Target),
        (line("GET /a?b=<c> HTTP/1.1"), Refused::Target),
        (line("GET /a?b=\"c\" HTTP/1.1"), Refused::Target),
        (line("GET /`a HTTP/1.1"), Refused::Target),
    ] {
        assert_eq!(look(&request), Look { pass: 0, refused: Some(why) }, "{request:?}");
        assert_eq!(Refused::of_number(why as u8), Some(why));
    }
}

#[test]
fn a_second_request_that_is_refused_leaves_the_first_alone() {
    let first = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab";
    let look = look(&format!("{first}GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_eq!(look, Look { pass: first.len(), refused: Some(Refused::AbsoluteForm) });
}

#[test]
fn malformed_chunks_are_refused() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "3;a=b\r\n",
        "\r\n",
        "g\r\n",
        "3\nabc",
        "3\r\nabcd",
        "0\r\ntrailer: x\r\n\r\n",
        "0000000000000000\r\n",
        "-1\r\n",
    ] {
        let look = look(&format!("{head}{body}"));
        assert_eq!(look.refused, Some(Refused::Chunk), "{body:?}");
        assert!(look.pass >= head.len());
    }
}

#[test]
fn a_head_of_the_limit_passes_and_one_byte_more_does_not() {
    let head = |size: usize| {
        let frame = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(size - frame))
    };
    assert_eq!(look(&head(HEAD_LIMIT)).pass, HEAD_LIMIT);
    assert_eq!(look(&head(HEAD_LIMIT + 1)).refused, Some(Refused::HeadTooLarge));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    assert_eq!(look(&fields(100)).refused, None);
    assert_eq!(look(&fields(101)).refused, Some(Refused::TooManyFields));
}

proptest! {
    /// What passes does not depend on how the network cut it.
    #[test]
    fn pieces_make_no_difference(cuts in proptest::collection::vec(1usize..40, 1..40), which in 0usize..4) {
        let text = [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET /c HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: \rb\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabX",
        ][which];
        let whole = look(text);
        let mut framer = Framer::new();
        let (mut passed, mut shown, mut refused) = (0, 0, None);
        let mut cuts = cuts.into_iter().cycle();
        while shown < text.len() && refused.is_none() {
            shown = (shown + cuts.next().unwrap()).min(text.len());
            let look = framer.look(&text.as_bytes()[passed..shown]);
            passed += look.pass;
            refused = look.refused;
        }
        prop_assert_eq!(Look { pass: passed, refused }, whole);
    }

    /// Whatever comes, nothing panics and no more passes than came.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Framer::new().look(&bytes).pass <= bytes.len());
    }
}
