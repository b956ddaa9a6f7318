//! What an agent gets from a persona over each protocol: the right objects, the proof, the timing, and what the persona saw.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{BANK, BOTH, ONLY_12, SHOP, start};
use http::StatusCode;
use tbi_bench::control::personas::KeyKind;
use tbi_bench::object::{MIX_BYTES, Object};
use tbi_bench::protocol::Protocol;
use tbi_bench::wire::{SERVER_TIMING_HEADER, ServerTiming};

#[tokio::test]
async fn the_echo_is_the_same_at_both_ends() {
    let running = start(KeyKind::EcdsaP256);
    for (protocol, versions) in [
        (Protocol::H1, BOTH),
        (Protocol::H1, ONLY_12),
        (Protocol::H2, BOTH),
        (Protocol::H2, ONLY_12),
        (Protocol::H3, BOTH),
    ] {
        for (address, name) in [("127.0.0.1", BANK), ("127.0.0.2", SHOP), ("::1", BANK)] {
            let replies = running
                .client
                .requests(protocol, versions, address, name, &[("GET", "/o/1KB"), ("GET", "/o/1KB")])
                .await;
            for reply in replies.unwrap() {
                assert_eq!(reply.echo(), Some(reply.own_echo), "{protocol} {address}");
                let timing = ServerTiming::parse(reply.headers[SERVER_TIMING_HEADER].as_bytes()).unwrap();
                assert!(timing.handshake_us > 0, "{protocol} {timing:?}");
            }
        }
    }
    running.stop();
}

#[tokio::test]
async fn two_sessions_have_two_echoes() {
    let running = start(KeyKind::EcdsaP256);
    for protocol in Protocol::ALL {
        let one = running.client.get(protocol, "127.0.0.1", BANK, "/o/1KB").await.unwrap();
        let two = running.client.get(protocol, "127.0.0.1", BANK, "/o/1KB").await.unwrap();
        assert_ne!(one.echo(), two.echo());
    }
    running.stop();
}

#[tokio::test]
async fn saw_tells_what_arrived() {
    let running = start(KeyKind::EcdsaP256);
    for (protocol, versions, tls_version) in [
        (Protocol::H1, BOTH, "TLS 1.3"),
        (Protocol::H1, ONLY_12, "TLS 1.2"),
        (Protocol::H2, BOTH, "TLS 1.3"),
        (Protocol::H3, BOTH, "TLS 1.3"),
    ] {
        let requests = [("GET", "/o/1KB"), ("GET", "/saw")];
        let replies = running.client.requests(protocol, versions, "127.0.0.2", SHOP, &requests).await.unwrap();
        let saw = replies[1].saw();
        assert_eq!((saw.persona.as_str(), saw.server_name.as_str()), ("shop", SHOP));
        assert_eq!(saw.tls_version, tls_version);
        assert_eq!(saw.alpn.as_bytes(), protocol.alpn());
        assert_eq!(saw.client_hello, replies[1].hello.fingerprint(), "{protocol} {tls_version}");
        assert_eq!(saw.requests_before, 1);
        assert_eq!(saw.peer, replies[1].local.to_string(), "{protocol}");
        let suite =
            if tls_version == "TLS 1.3" { "TLS_AES_256_GCM_SHA384" } else { "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" };
        assert_eq!(saw.cipher_suite, suite, "{protocol}");
    }
    running.stop();
}

#[tokio::test]
async fn objects_have_their_sizes() {
    let running = start(KeyKind::EcdsaP256);
    for protocol in Protocol::ALL {
        let mut paths: Vec<(String, usize)> = Object::ALL
            .iter()
            .filter(|object| **object != Object::Mix)
            .map(|object| (format!("/o/{object}"), object.bytes() as usize))
            .collect();
        paths.extend(MIX_BYTES.iter().enumerate().map(|(i, bytes)| (format!("/o/mix/{i}"), *bytes as usize)));
        let requests: Vec<_> =
            paths.iter().flat_map(|(path, _)| [("GET", path.as_str()), ("HEAD", path.as_str())]).collect();
        let replies = running.client.requests(protocol, BOTH, "127.0.0.1", BANK, &requests).await.unwrap();
        for (pair, (path, bytes)) in replies.chunks(2).zip(&paths) {
            assert_eq!(pair[0].body.len(), *bytes, "{protocol} {path}");
            assert!(pair[1].body.is_empty());
            for reply in pair {
                assert_eq!(reply.status, StatusCode::OK);
                assert_eq!(reply.headers["content-length"], bytes.to_string().as_str(), "{protocol} {path}");
            }
        }
    }
    running.stop();
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let running = start(KeyKind::EcdsaP256);
    for protocol in Protocol::ALL {
        let requests = [("GET", "/"), ("GET", "/o/3KB"), ("GET", "/etc/passwd"), ("POST", "/o/1KB"), ("DELETE", "/")];
        let replies = running.client.requests(protocol, BOTH, "127.0.0.1", BANK, &requests).await.unwrap();
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [200, 404, 404, 405, 405], "{protocol}");
        assert!(String::from_utf8_lossy(&replies[0].body).contains("<h1>bank</h1>"));
        assert_eq!(replies[3].headers["allow"], "GET, HEAD");
        assert_eq!(replies[0].headers.contains_key("alt-svc"), protocol != Protocol::H3);
    }
    running.stop();
}

#[tokio::test]
async fn every_key_type_serves_every_protocol() {
    // RSA 4096 is left to `ca.rs`: finding two such keys takes seconds, and serving differs in nothing.
    for kind in [KeyKind::EcdsaP384, KeyKind::Rsa2048] {
        let running = start(kind);
        for protocol in Protocol::ALL {
            let reply = running.client.get(protocol, "::1", BANK, "/o/2KB").await.unwrap();
            assert_eq!((reply.body.len(), reply.echo()), (2048, Some(reply.own_echo)), "{kind:?} {protocol}");
        }
        running.stop();
    }
}
