//! Faults, each by its name.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use rustls::pki_types::ServerName;
use rustls::version::TLS12;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{AS, SOON, Stand, TestDaemon, code, text};
use crate::caps::Most;

#[tokio::test]
async fn oversized_body() {
    let stand = Stand::start().await;
    let post = |path: &str, size: usize| {
        Request::put(path).header(header::HOST, "a").header(AS, "operator").body(Full::from(vec![b'x'; size])).unwrap()
    };
    let limit = 4 << 20;
    assert_eq!(text(stand.send(post("/api/v1/agent/large", limit)).await).await, limit.to_string());
    assert_eq!(
        code(stand.send(post("/api/v1/agent/large", limit + 1)).await).await,
        (413, "body-too-large".to_owned())
    );
    // Without a length, the door counts.
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let head = "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\nx-test-role: operator\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = stand.raw(format!("{head}{chunk}1\r\nx\r\n0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{}", answer.lines().next().unwrap());
    let answer = stand.raw(format!("{head}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{}", answer.lines().next().unwrap());
}

/// The refusal is there before the body is sent, and the client reads it after.
#[tokio::test]
async fn a_body_that_nobody_wants_does_not_cost_the_client_the_answer() {
    let stand = Stand::start().await;
    let body = "x".repeat(8 << 20);
    for (role, status) in [("nobody", 401), ("operator", 413)] {
        let head = format!(
            "POST /api/v1/agent/echo/1 HTTP/1.1\r\nhost: a\r\nx-test-role: {role}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = stand.raw(format!("{head}{body}").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn oversized_headers() {
    let stand = Stand::start().await;
    let large = format!("GET /health/live HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(17 << 10));
    let many = format!("GET /health/live HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    for head in [large, many] {
        let answer = stand.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("headers-too-large"), "{answer}");
    }
    let mut http2 = stand.http2().await;
    let request = Request::get("https://localhost/health/live").header("x", "a".repeat(17 << 10)).body(Full::default());
    let answer = http2.send_request(request.unwrap()).await.unwrap();
    assert_eq!(code(answer).await, (431, "headers-too-large".to_owned()));
}

/// The clock of the door is real, so this takes its ten seconds.
#[tokio::test]
async fn slowloris() {
    let stand = Stand::start().await;
    let mut tls = stand.connect("http/1.1").await;
    tls.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(tls);
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if writing.write_all(b"x: y\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        read = timeout(SOON, reading.read_to_end(&mut answer)) => { let _how = read.expect("the connection stayed open"); }
        () = dripping => {}
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request-timeout"), "{answer}");
    assert_eq!(stand.get("/health/live", None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn daemon_down_and_back() {
    let mut stand = Stand::start().await;
    stand.daemon.stop().await;
    let answer = stand.get("/api/v1/agent/headers", Some("viewer")).await;
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(code(answer).await, (503, "daemon-down".to_owned()));
    // What nobody may ask is still refused, daemon or not.
    assert_eq!(stand.get("/api/v1/agent/headers", None).await.status(), StatusCode::UNAUTHORIZED);
    stand.until_ready(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(stand.get("/health/live", None).await.status(), StatusCode::OK);
    stand.daemon = TestDaemon::start(stand.daemon.socket.clone());
    assert_eq!(stand.get("/api/v1/agent/headers", Some("viewer")).await.status(), StatusCode::OK);
    stand.until_ready(StatusCode::OK).await;
}

#[tokio::test]
async fn a_degraded_daemon_serves_and_is_not_called_healthy() {
    let stand = Stand::start().await;
    stand.daemon.health.set_ready(Err("the disk is full; free some space".to_owned()));
    stand.until_ready(StatusCode::SERVICE_UNAVAILABLE).await;
    let ready = text(stand.get("/health/ready", None).await).await;
    assert!(ready.contains("degraded") && ready.contains("the disk is full"), "{ready}");
    assert_eq!(stand.get("/api/v1/agent/headers", Some("viewer")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn daemon_dies_mid_stream() {
    let stand = Stand::start().await;
    let answer = stand.get("/api/v1/agent/torn", Some("viewer")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = timeout(SOON, answer.into_body().collect()).await.unwrap();
    assert!(body.is_err(), "a torn answer must not look whole");
    let request =
        Request::get("https://localhost/api/v1/agent/torn").header(AS, "viewer").body(Full::default()).unwrap();
    let answer = stand.http2().await.send_request(request).await.unwrap();
    assert!(timeout(SOON, answer.into_body().collect()).await.unwrap().is_err());
    assert_eq!(stand.get("/api/v1/agent/headers", Some("viewer")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn client_gone_cancels_upstream() {
    let stand = Stand::start().await;
    for path in ["hang", "events"] {
        let mut tls = stand.connect("http/1.1").await;
        let request = format!("GET /api/v1/agent/{path} HTTP/1.1\r\nhost: a\r\nx-test-role: viewer\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        stand.daemon.until_working(1).await;
        drop(tls);
        stand.daemon.until_working(0).await;

        // HTTP/2: one stream is reset, the connection goes on.
        let mut http2 = stand.http2().await;
        let uri = format!("https://localhost/api/v1/agent/{path}");
        let request = Request::get(uri).header(AS, "viewer").body(Full::default()).unwrap();
        let sent = tokio::spawn(http2.send_request(request));
        stand.daemon.until_working(1).await;
        if path == "events" {
            drop(sent.await.unwrap().unwrap());
        } else {
            sent.abort();
        }
        stand.daemon.until_working(0).await;
        let live = Request::get("https://localhost/health/live").body(Full::default()).unwrap();
        assert_eq!(http2.send_request(live).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let stand = Stand::start().await;
    let tcp = TcpStream::connect(stand.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(stand.client_config("http/1.1", &[&TLS12])));
    let refused = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let stand = Stand::start().await;
    let mut tcp = TcpStream::connect(stand.address).await.unwrap();
    tcp.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _how = timeout(SOON, tcp.read_to_end(&mut answer)).await.expect("the connection stayed open");
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP was answered");
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_and_places_come_back() {
    let stand = Stand::with(Most { all: 2, per_address: 2 }).await;
    let connector = TlsConnector::from(Arc::new(stand.client_config("http/1.1", &[&rustls::version::TLS13])));
    let attempt = || async {
        let tcp = TcpStream::connect(stand.address).await?;
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    };
    // Connections of the start may still be closing.
    let first = timeout(SOON, async {
        loop {
            if let Ok(tls) = attempt().await {
                break tls;
            }
        }
    })
    .await
    .unwrap();
    let second = timeout(SOON, async {
        loop {
            if let Ok(tls) = attempt().await {
                break tls;
            }
        }
    })
    .await
    .unwrap();
    assert!(attempt().await.is_err());
    drop((first, second));
    timeout(SOON, async { while attempt().await.is_err() {} }).await.expect("no place came back");
}
