//! HTTP/3 with a client of the `h3` crate.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::{Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::version::TLS13;
use tokio::time::timeout;

use super::{AS, SOON, Stand};

pub(super) type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

pub(super) async fn connect(stand: &Stand) -> (quinn::Endpoint, quinn::Connection, Sender) {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let crypto = QuicClientConfig::try_from(stand.client_config("h3", &[&TLS13])).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let quic = timeout(SOON, endpoint.connect(stand.address, "localhost").unwrap()).await.unwrap().unwrap();
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
    tokio::spawn(async move { driver.wait_idle().await });
    (endpoint, quic, sender)
}

pub(super) async fn ask(sender: &mut Sender, request: Request<()>, body: &[u8]) -> (http::Response<()>, Vec<u8>) {
    let whole = async {
        let mut stream = sender.send_request(request).await.unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body)).await.unwrap();
        }
        stream.finish().await.unwrap();
        let answer = stream.recv_response().await.unwrap();
        let mut read = Vec::new();
        while let Some(data) = stream.recv_data().await.unwrap() {
            read.extend_from_slice(data.chunk());
        }
        (answer, read)
    };
    timeout(SOON, whole).await.unwrap()
}

#[tokio::test]
async fn http3_works() {
    let stand = Stand::start().await;
    let (_endpoint, _quic, mut sender) = connect(&stand).await;
    let get = |path: &str| Request::get(format!("https://localhost{path}")).header(AS, "operator").body(()).unwrap();
    let (answer, body) = ask(&mut sender, get("/api/v1/agent/headers"), b"").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("strict-transport-security") && !answer.headers().contains_key("alt-svc"));
    let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(seen["x-tlsstress-actor"], "tester");
    let post = Request::post("https://localhost/api/v1/agent/echo/1").header(AS, "operator").body(()).unwrap();
    let sent = vec![7; 300 << 10];
    let (answer, body) = ask(&mut sender, post, &sent).await;
    assert_eq!((answer.status(), body == sent), (StatusCode::OK, true));
    let large =
        Request::post("https://localhost/api/v1/agent/echo/1").header(AS, "operator").header("content-length", 2 << 20);
    let (answer, _) = ask(&mut sender, large.body(()).unwrap(), b"").await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for (declared, sent) in [("3", &b"four"[..]), ("5", b"four")] {
        let post = Request::post("https://localhost/api/v1/agent/echo/1").header(AS, "operator");
        let (answer, _) = ask(&mut sender, post.header("content-length", declared).body(()).unwrap(), sent).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "a length that is not the body's");
    }
    for (name, value) in [("transfer-encoding", "chunked"), ("content-length", "+3")] {
        let post = Request::post("https://localhost/api/v1/agent/echo/1").header(AS, "operator");
        let (answer, _) = ask(&mut sender, post.header(name, value).body(()).unwrap(), b"").await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
    }
    let (answer, _) = ask(&mut sender, get("/api/v1/agent/%2e%2e/x"), b"").await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let mut head = get("/health/live");
    *head.method_mut() = http::Method::HEAD;
    let (answer, body) = ask(&mut sender, head, b"").await;
    assert_eq!((answer.status(), body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn an_http3_client_that_goes_cancels_upstream() {
    let stand = Stand::start().await;
    let (endpoint, quic, mut sender) = connect(&stand).await;
    let request = Request::get("https://localhost/api/v1/agent/hang").header(AS, "viewer").body(()).unwrap();
    let mut stream = sender.send_request(request).await.unwrap();
    stream.finish().await.unwrap();
    stand.daemon.until_working(1).await;
    quic.close(0x100_u32.into(), b"");
    stand.daemon.until_working(0).await;
    drop(endpoint);
}
