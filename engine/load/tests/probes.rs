//! Probes against real personas: what engine and persona say of the same connection agrees; refusals are told from silence.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::time::Instant;

use common::Stand;
use socket2::{Domain, Socket, Type};
use tbi_bench::control::engine::{
    Cause, CipherSuite, Group, Probe, ProbeOrder, Target, TlsProfile, TlsVersions, Trust,
};
use tbi_bench::proof::Interception;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_engine::probe::{self, Plan};

fn order(targets: Vec<Target>, ca_pem: &str, protocol: Protocol) -> ProbeOrder {
    ProbeOrder {
        protocol,
        targets,
        per_target: 2,
        parallel: 3,
        fall_back: protocol == Protocol::H3,
        sources: vec!["127.0.2.0/28".parse().unwrap()],
        trust: Trust { persona_ca_pem: ca_pem.to_owned(), dut_ca_pem: None },
        tls: TlsProfile::default(),
        timeout: Span::from_millis(1500),
        seed: 1,
    }
}

fn probe(order: ProbeOrder) -> Vec<Probe> {
    common::runtime().block_on(probe::run(Plan::new(order).unwrap(), ())).unwrap().probes
}

#[test]
fn engine_and_persona_agree_on_the_connection_for_every_protocol() {
    let stand = Stand::start(2);
    for protocol in Protocol::ALL {
        let probes = probe(order(stand.targets.clone(), &stand.ca_pem, protocol));
        assert_eq!(probes.len(), 4);
        for probe in probes {
            assert_eq!(probe.failure, None, "{protocol}");
            assert_eq!(probe.interception, Interception::EndToEnd, "{protocol}");
            let saw = probe.saw.unwrap();
            assert_eq!(saw.client_hello, probe.client_hello, "{protocol}");
            assert_eq!((saw.persona, saw.requests_before), (probe.persona, 1), "{protocol}");
            assert!(saw.peer.starts_with("127.0.2."), "{}", saw.peer);
            assert!(probe.handshake.unwrap() <= probe.ttfb.unwrap());
            assert!(probe.issuer.is_some());
            assert_eq!(probe.alt_svc, (protocol != Protocol::H3).then_some(true), "{protocol}");
            assert_eq!(probe.quic_packets.is_some(), protocol == Protocol::H3);
            assert!(probe.fallback.is_none());
        }
    }
}

#[test]
fn every_profile_is_offered_as_ordered_and_seen_so() {
    let stand = Stand::start(1);
    let tls12 = TlsProfile {
        versions: TlsVersions::Tls12,
        suites: vec![CipherSuite::Aes256Gcm, CipherSuite::Chacha20Poly1305],
        groups: vec![Group::P256, Group::P384],
    };
    let hybrid = TlsProfile { groups: vec![Group::X25519MlKem768, Group::X25519], ..TlsProfile::default() };
    let chacha = TlsProfile { suites: vec![CipherSuite::Chacha20Poly1305], ..TlsProfile::default() };
    for (protocol, tls, version) in [
        (Protocol::H1, tls12.clone(), "TLS 1.2"),
        (Protocol::H2, tls12, "TLS 1.2"),
        (Protocol::H2, hybrid.clone(), "TLS 1.3"),
        (Protocol::H3, hybrid, "TLS 1.3"),
        (Protocol::H3, chacha, "TLS 1.3"),
    ] {
        let words = ProbeOrder { tls, per_target: 1, ..order(stand.targets.clone(), &stand.ca_pem, protocol) };
        for probe in probe(words) {
            assert_eq!((probe.failure, probe.interception), (None, Interception::EndToEnd), "{protocol} {version}");
            let saw = probe.saw.unwrap();
            assert_eq!((saw.tls_version.as_str(), saw.client_hello), (version, probe.client_hello), "{protocol}");
        }
    }
}

#[test]
fn a_refused_quic_probe_says_so_at_once_and_falls_back_to_h2() {
    let stand = Stand::start(1);
    // TCP of a persona, but a UDP port where nobody listens: the kernel answers with ICMP port unreachable.
    let mut target = stand.targets[0].clone();
    target.address = [127, 0, 1, 200].into();
    let h2_only = std::net::TcpListener::bind((target.address, 0)).unwrap();
    target.port = h2_only.local_addr().unwrap().port();
    let begun = Instant::now();
    let probes = probe(ProbeOrder { per_target: 1, ..order(vec![target], &stand.ca_pem, Protocol::H3) });
    let failure = probes[0].failure.clone().unwrap();
    assert_eq!((failure.cause, failure.active), (Cause::ConnectRefused, true), "{failure:?}");
    assert!(failure.after < Span::from_millis(500), "{failure:?}");
    let fallback = probes[0].fallback.clone().unwrap();
    assert_eq!((fallback.interception, fallback.ttfb), (Interception::Unknown, None));
    assert!(begun.elapsed().as_secs() < 4);
}

#[test]
fn a_silent_quic_probe_is_passive_and_its_fallback_is_timed_from_the_quic_start() {
    let stand = Stand::start(1);
    let target = stand.targets[0].clone();
    // The personas listen on every address; a socket bound to this one outranks theirs, and says nothing.
    let silent = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    silent.set_reuse_port(true).unwrap();
    silent.bind(&SocketAddr::new(target.address, target.port).into()).unwrap();
    let probes = probe(ProbeOrder { per_target: 1, ..order(vec![target], &stand.ca_pem, Protocol::H3) });
    let failure = probes[0].failure.clone().unwrap();
    assert_eq!((failure.cause, failure.active), (Cause::HandshakeTimeout, false), "{failure:?}");
    let fallback = probes[0].fallback.clone().unwrap();
    assert_eq!(fallback.interception, Interception::EndToEnd);
    assert!(fallback.ttfb_from_quic_start.unwrap() >= Span::from_millis(1500));
    assert!(fallback.ttfb.unwrap() < Span::from_millis(1500));
}
