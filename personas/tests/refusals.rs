//! What personas refuse: names that are not of the address, resumption, and work after the wish to stop.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use common::{BANK, BOTH, Client, ONLY_12, SHOP, SOON, command, daemon, metric, start, words};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use tbi_bench::control::personas::{KeyKind, PersonasStatus, SiteCertificate};
use tbi_bench::protocol::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_wrong_name_is_refused_with_unrecognized_name() {
    let daemon = daemon().await;
    for (protocol, alert) in [
        (Protocol::H1, "UnrecognisedName"),
        (Protocol::H2, "UnrecognisedName"),
        // CRYPTO_ERROR 0x100 + 112 (RFC 9001 §4.8).
        (Protocol::H3, "Code::crypto(70)"),
    ] {
        for (address, name) in
            [("127.0.0.1", SHOP), ("127.0.0.2", BANK), ("127.0.0.1", "elsewhere.example"), ("127.0.0.3", BANK)]
        {
            let error = daemon.client.get(protocol, address, name, "/").await.unwrap_err();
            // An address of no site: QUIC is refused before TLS begins.
            let expected =
                if protocol == Protocol::H3 && address == "127.0.0.3" { "CONNECTION_REFUSED" } else { alert };
            assert!(error.contains(expected), "{protocol} {address} {name}: {error}");
        }
        // No SNI at all: names that are addresses are never sent as SNI.
        let error = daemon.client.get(protocol, "127.0.0.1", "127.0.0.1", "/").await.unwrap_err();
        assert!(error.contains(alert), "{protocol}: {error}");
    }
    let status: PersonasStatus = daemon.control.get_json("/v1/status").await.unwrap();
    assert_eq!((status.sni_mismatches, status.handshakes), (15, 0));
    assert_eq!(metric(&daemon.control, "tbi_personas_sni_mismatches_total{transport=\"quic\"}").await, 5);
    assert_eq!((status.sites, status.ca_sha256.len()), (2, 64));
}

#[tokio::test]
async fn no_session_is_ever_resumed_over_tcp() {
    let running = start(KeyKind::EcdsaP256);
    for versions in [BOTH, ONLY_12] {
        // One configuration for both connections: its session memory is what resumption would use.
        let config = Arc::new(running.client.config(versions, Protocol::H1));
        for _ in 0..3 {
            assert_eq!(handshake_kind(&running.client, &config).await, Some(HandshakeKind::Full));
        }
    }
    running.stop();
}

async fn handshake_kind(client: &Client, config: &Arc<rustls::ClientConfig>) -> Option<HandshakeKind> {
    let tcp = TcpStream::connect(("127.0.0.1", client.port)).await.unwrap();
    let name = ServerName::try_from(BANK).unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap();
    // A whole exchange, so that a ticket sent after the handshake would have been read.
    tls.write_all(format!("GET /o/1KB HTTP/1.1\r\nhost: {BANK}\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    let session = tls.get_ref().1;
    assert_eq!(session.tls13_tickets_received(), 0);
    session.handshake_kind()
}

#[tokio::test]
async fn no_early_data_and_no_ticket_over_quic() {
    let running = start(KeyKind::EcdsaP256);
    let mut tls = running.client.config(&[&rustls::version::TLS13], Protocol::H3);
    tls.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], running.client.port));
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), address, BANK).unwrap();
        // Early data is possible only with a ticket of an earlier connection.
        let connecting = connecting.into_0rtt().map(|_early| ()).unwrap_err();
        let quic = connecting.await.unwrap();
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(quic)).await.unwrap();
        let request = http::Request::get(format!("https://{BANK}/o/1KB")).body(()).unwrap();
        let mut stream = sender.send_request(request).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        drop((stream, sender));
        let _closed = tokio::time::timeout(SOON, std::future::poll_fn(|cx| driver.poll_close(cx))).await.unwrap();
    }
    running.stop();
}

#[tokio::test]
async fn stopping_tells_open_connections_and_ends_in_time() {
    let running = start(KeyKind::EcdsaP256);
    let tcp = TcpStream::connect(("127.0.0.1", running.client.port)).await.unwrap();
    let config = Arc::new(running.client.config(BOTH, Protocol::H1));
    let name = ServerName::try_from(BANK).unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    tls.write_all(format!("GET /o/1KB HTTP/1.1\r\nhost: {BANK}\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 16];
    tls.read_exact(&mut first).await.unwrap();
    let health = running.health.clone();
    tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
    // close_notify, not a cut: rustls reports a cut as an error.
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).await.unwrap();
    assert_eq!(health.readiness(), Ok(()), "workers that end by wish are no failure");
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let running = start(KeyKind::EcdsaP256);
    let path = format!("/{}", "x".repeat(40_000));
    for protocol in Protocol::ALL {
        if let Ok(reply) = running.client.get(protocol, "127.0.0.1", BANK, &path).await {
            assert!(reply.status.is_client_error() && reply.status != 404, "{protocol} {}", reply.status);
        }
        running.client.get(protocol, "127.0.0.1", BANK, "/").await.unwrap();
    }
    running.stop();
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_let_go() {
    let daemon = daemon().await;
    let mut silent = TcpStream::connect(("127.0.0.1", daemon.client.port)).await.unwrap();
    let mut slow = TcpStream::connect(("127.0.0.1", daemon.client.port)).await.unwrap();
    // A record header that announces more than ever comes.
    slow.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    for tcp in [&mut silent, &mut slow] {
        let mut nothing = Vec::new();
        tokio::time::timeout(SOON, tcp.read_to_end(&mut nothing)).await.unwrap().unwrap();
        assert!(nothing.is_empty());
    }
    // Counted after the connection was closed.
    let end = Instant::now() + SOON;
    while metric(&daemon.control, "tbi_personas_handshake_failures_total{transport=\"tcp\"}").await < 2 {
        assert!(Instant::now() < end, "two that were let go are not counted");
    }
}

#[tokio::test]
async fn the_program_stops_by_signal_and_cleans_up() {
    let mut daemon = daemon().await;
    daemon.client.get(Protocol::H3, "127.0.0.1", BANK, "/").await.unwrap();
    let openapi: serde_json::Value = daemon.control.get_json("/openapi.json").await.unwrap();
    assert!(openapi["paths"]["/v1/status"].is_object() && openapi["paths"]["/v1/ca.pem"].is_object(), "{openapi}");
    let pid = nix::unistd::Pid::from_raw(daemon.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let (code, socket) =
        tokio::task::spawn_blocking(move || (daemon.child.wait().unwrap().code(), daemon.control.socket().exists()))
            .await
            .unwrap();
    assert_eq!((code, socket), (Some(0), false));
}

#[tokio::test]
async fn a_port_in_use_is_one_sentence() {
    let first = daemon().await;
    let mut words = words(&first.dir.path().join("ca"), KeyKind::EcdsaP256);
    words.port = first.client.port;
    let (config, socket) = (first.dir.path().join("second.json"), first.dir.path().join("second.sock"));
    std::fs::write(&config, serde_json::to_vec(&words).unwrap()).unwrap();
    let output = tokio::task::spawn_blocking(move || command(&config, &socket).output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("cannot listen on TCP port {}", first.client.port)), "{said}");
}

#[tokio::test]
async fn every_metric_is_documented_as_it_is() {
    let daemon = daemon().await;
    let text = daemon.control.get_text("/metrics").await.unwrap();
    let document = include_str!("../../docs/metrics.md");
    let found = tbi_daemon::exposition::differences(document, &["personas", "every"], &text, &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn each_site_tells_which_certificate_it_shows() {
    let daemon = daemon().await;
    let told: Vec<SiteCertificate> = daemon.control.get_json("/v1/certificates").await.unwrap();
    let status: PersonasStatus = daemon.control.get_json("/v1/status").await.unwrap();
    assert_eq!((told.len(), told[0].key), (2, KeyKind::EcdsaP256));
    for certificate in &told {
        assert_eq!((certificate.not_before, certificate.not_after), status.leaves_valid, "{certificate:?}");
        assert!(certificate.subject.contains("CN=") && certificate.issuer.contains("CN="), "{certificate:?}");
        assert_eq!(certificate.sha256.len(), 64);
    }
    assert_ne!(told[0].sha256, told[1].sha256);
    let tcp = TcpStream::connect(("127.0.0.1", daemon.client.port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(daemon.client.config(BOTH, Protocol::H1)));
    let tls = connector.connect(ServerName::try_from(BANK).unwrap(), tcp).await.unwrap();
    let digest = Sha256::digest(&tls.get_ref().1.peer_certificates().unwrap()[0]);
    let shown: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(told.iter().any(|certificate| certificate.sha256 == shown), "it is the one on the wire");
}
