//! Request smuggling, each shape by raw bytes over TLS: it is answered with a problem document, the connection ends, and the daemon saw nothing.

use std::sync::atomic::Ordering;

use http::{Request, StatusCode, header};
use http_body_util::Full;

use super::{AS, Stand, code};

/// Sends one shape, and a second request behind it that must never be answered.
async fn refused(stand: &Stand, shape: &str) -> String {
    let answer = stand.raw(format!("{shape}GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shape:?}: {answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{shape:?}: {answer}");
    assert!(answer.contains("\r\nx-correlation-id: ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(stand.daemon.served.load(Ordering::Relaxed), 0);
    answer
}

macro_rules! shapes {
    ($($name:ident: $shape:expr => $status:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let stand = Stand::start().await;
            let answer = refused(&stand, $shape).await;
            assert!(answer.starts_with(concat!("HTTP/1.1 ", $status, " ")), "{answer}");
        }
    )*};
}

shapes! {
    content_length_and_transfer_encoding: "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\nx-test-role: operator\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" => 400;
    two_content_lengths: "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\n" => 400;
    odd_transfer_encoding: "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n" => 400;
    transfer_encoding_with_space: "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n" => 400;
    obsolete_folding: "GET /api/v1/agent/headers HTTP/1.1\r\nhost: a\r\nx: y\r\n z: w\r\n\r\n" => 400;
    bare_line_feed: "GET /api/v1/agent/headers HTTP/1.1\nhost: a\n\n" => 400;
    bare_carriage_return: "GET /api/v1/agent/headers HTTP/1.1\r\nhost: a\r\nx: y\rz: w\r\n\r\n" => 400;
    absolute_form: "GET https://localhost/api/v1/agent/headers HTTP/1.1\r\nhost: a\r\n\r\n" => 400;
    connect: "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n" => 400;
    two_hosts: "GET /api/v1/agent/headers HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n" => 400;
    no_host: "GET /api/v1/agent/headers HTTP/1.1\r\n\r\n" => 400;
    http_1_0: "GET /api/v1/agent/headers HTTP/1.0\r\nhost: a\r\n\r\n" => 505;
    http_2_without_alpn: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" => 505;
    the_stand_in_of_the_guard_itself: "REFUSED / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" => 404;
}

#[tokio::test]
async fn the_request_before_a_refused_one_is_answered() {
    let stand = Stand::start().await;
    let good = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = stand.raw(format!("{good}GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n{good}").as_bytes()).await;
    let statuses: Vec<&str> = answer.matches("HTTP/1.1 200").chain(answer.matches("HTTP/1.1 400")).collect();
    assert_eq!(statuses, ["HTTP/1.1 200", "HTTP/1.1 400"], "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
}

#[tokio::test]
async fn a_malformed_chunk_is_refused() {
    let stand = Stand::start().await;
    let head =
        "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\nx-test-role: operator\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer =
        stand.raw(format!("{head}3;x=y\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn authority_and_host_that_differ_are_refused() {
    let stand = Stand::start().await;
    let request =
        Request::get("https://localhost/api/v1/agent/headers").header(header::HOST, "other").header(AS, "viewer");
    let answer = stand.http2().await.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(code(answer).await, (400, "malformed-request".to_owned()));
    assert_eq!(stand.daemon.served.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn bad_utf8_and_paths_that_are_read_in_two_ways_are_refused() {
    let stand = Stand::start().await;
    for path in [
        "/api/v1/agent/%ff",
        "/api/v1/agent/../headers",
        "/api/v1/agent/%2e%2e/headers",
        "/api//v1",
        "/a%00",
        "/a%2fb",
        "/a%zz",
    ] {
        assert_eq!(code(stand.get(path, Some("viewer")).await).await, (400, "malformed-request".to_owned()), "{path}");
    }
    let raw = b"GET /api/v1/agent/\xff HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(stand.raw(raw).await.starts_with("HTTP/1.1 400 "));
    let mut http2 = stand.http2().await;
    let request =
        Request::get("https://localhost/api/v1/agent/%2e%2e/headers").header(AS, "viewer").body(Full::default());
    assert_eq!(http2.send_request(request.unwrap()).await.unwrap().status(), StatusCode::BAD_REQUEST);
    // Bytes that are no UTF-8 in a field are the gate's and the handler's to read; they break nothing.
    let answer = stand
        .raw(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: \xff\xfe\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
