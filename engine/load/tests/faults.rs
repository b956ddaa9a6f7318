//! One server per defect: the cause and the fault are named, the sums hold in both load models, and no trial hangs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::UdpSocket;
use std::time::Instant;

use common::faulty::{Defect, Faulty, stranger_pem};
use common::{Stand, check_sums, order_for};
use tbi_bench::control::engine::{
    Arrivals, Cause, Fault, Load, Target, TlsProfile, TlsVersions, TrialOrder, TrialReport,
};
use tbi_bench::protocol::Protocol;
use tbi_bench::units::{Rate, Span};
use tbi_engine::order::{OrderError, Trial};

/// Runs an order in both load models, with timeouts that end within the ramp-down, and checks what must hold for any fault.
fn both(mut order: TrialOrder, cause: Cause, fault: Fault) -> Vec<TrialReport> {
    // Short only where waiting is the point: on a busy machine an answer may well take 300 ms.
    if matches!(cause, Cause::HandshakeTimeout | Cause::RequestTimeout) {
        order.handshake_timeout = Span::from_millis(300);
        order.request_timeout = Span::from_millis(300);
    }
    order.phases.ramp_down = Span::from_millis(800);
    let open = Load::Open { rate: Rate::per_second(20).unwrap(), arrivals: Arrivals::Constant, max_in_flight: 1000 };
    [Load::Closed { connections: 3, streams: 1 }, open]
        .into_iter()
        .map(|load| {
            let report = common::run(TrialOrder { load: load.clone(), ..order.clone() }, 2);
            check_sums(&report);
            assert!(report.attempts.failed > 0, "{cause:?} {load:?}: {:?}", report.attempts);
            assert_eq!(
                report.attempts.succeeded + report.attempts.unfinished,
                0,
                "{cause:?} {load:?}: {:?}",
                report.attempts
            );
            assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
            assert_eq!((report.errors[0].cause, report.errors[0].fault), (cause, fault), "{:?}", report.errors);
            assert!(
                report.proof.total() > 0 && report.proof.end_to_end + report.proof.intercepted == 0,
                "{:?}",
                report.proof
            );
            report
        })
        .collect()
}

fn against(defect: Defect, cause: Cause, fault: Fault) -> Vec<TrialReport> {
    let server = Faulty::start(defect);
    both(order_for(vec![server.target.clone()], server.ca_pem.clone(), Protocol::H1), cause, fault)
}

#[test]
fn a_server_that_is_silent_before_tls_is_a_handshake_timeout() {
    against(Defect::SilentBeforeTls, Cause::HandshakeTimeout, Fault::Path);
}

#[test]
fn garbage_instead_of_tls_is_a_tls_failure() {
    against(Defect::GarbageInsteadOfTls, Cause::TlsFailure, Fault::Path);
}

#[test]
fn rst_after_the_handshake_is_a_reset() {
    let reports = against(Defect::ResetAfterHandshake, Cause::Reset, Fault::Path);
    assert!(reports.iter().all(|report| report.proof.unknown == report.proof.total()));
}

#[test]
fn silence_after_the_request_is_a_request_timeout() {
    against(Defect::SilentAfterRequest, Cause::RequestTimeout, Fault::Path);
}

#[test]
fn responses_that_are_not_what_was_asked_for_are_the_peers_fault() {
    for (text, cause, fault) in [
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Cause::HttpStatus, Fault::Peer),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Cause::BodyLength, Fault::Peer),
        ("SMTP is spoken here\r\n\r\n", Cause::ProtocolViolation, Fault::Peer),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\nabc", Cause::Truncated, Fault::Path),
    ] {
        against(Defect::Answer(text), cause, fault);
    }
}

#[test]
fn a_response_without_an_echo_is_altered() {
    let reports =
        against(Defect::Answer("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n"), Cause::HttpStatus, Fault::Peer);
    assert!(reports.iter().all(|report| report.proof.altered == report.proof.total()), "{:?}", reports[0].proof);
}

#[test]
fn half_a_head_says_nothing_about_the_connection() {
    let reports = against(Defect::Answer("HTTP/1.1 200 OK\r\nx-tlsstress-"), Cause::Truncated, Fault::Path);
    assert!(reports.iter().all(|report| report.proof.unknown == report.proof.total()), "{:?}", reports[0].proof);
}

#[test]
fn an_interceptor_is_recognised_by_the_echo_and_counted_under_its_own_authority() {
    let echo = "x-tlsstress-echo: 00112233445566778899aabbccddeeff";
    let text = format!("HTTP/1.1 200 OK\r\n{echo}\r\nalt-svc: h3\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
    let device = Faulty::start(Defect::Answer(text.leak()));
    let mut order = order_for(vec![device.target.clone()], stranger_pem(2100), Protocol::H1);
    order.trust.dut_ca_pem = Some(device.ca_pem.clone());
    let report = common::run(order, 1);
    check_sums(&report);
    assert!(report.errors.is_empty() && report.attempts.succeeded > 0, "{:?}", report.errors);
    assert_eq!(report.proof.intercepted, report.proof.total(), "{:?}", report.proof);
    let observed = &report.observed;
    assert_eq!((observed.issuer_persona_ca, observed.issuer_dut_ca), (0, report.proof.total()), "{observed:?}");
    assert_eq!(observed.tls13, report.proof.total());
}

#[test]
fn another_alpn_is_a_mismatch() {
    against(Defect::OtherAlpn, Cause::AlpnMismatch, Fault::Peer);
}

#[test]
fn an_unknown_authority_is_named_with_the_remedy() {
    let stand = Stand::start(1);
    for protocol in Protocol::ALL {
        let order = order_for(stand.targets.clone(), stranger_pem(2100), protocol);
        for report in both(order, Cause::CertificateUntrusted, Fault::Path) {
            assert!(
                report.errors[0].example.contains("give the CA the device signs with"),
                "{protocol}: {:?}",
                report.errors
            );
        }
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_whoever_signed_it() {
    let server = Faulty::start(Defect::SilentAfterRequest);
    let mut target = server.target.clone();
    target.server_name = "other.test".to_owned();
    for report in
        both(order_for(vec![target], server.ca_pem.clone(), Protocol::H1), Cause::CertificateUntrusted, Fault::Path)
    {
        assert!(report.errors[0].example.contains("NotValidForName"), "{:?}", report.errors);
        assert_eq!(report.attempts.connections, 0);
    }
}

#[test]
fn closed_ports_refuse_and_silent_udp_times_out() {
    let socket = UdpSocket::bind("127.0.3.2:0").unwrap();
    let address = socket.local_addr().unwrap();
    let target = Target {
        persona: "nobody".to_owned(),
        address: address.ip(),
        port: address.port(),
        server_name: "nobody.test".to_owned(),
    };
    let pem = stranger_pem(2100);
    both(order_for(vec![target.clone()], pem.clone(), Protocol::H2), Cause::ConnectRefused, Fault::Path);
    both(order_for(vec![target], pem, Protocol::H3), Cause::HandshakeTimeout, Fault::Path);
}

#[test]
fn a_source_that_is_not_ours_is_the_benchs_own_fault() {
    let server = Faulty::start(Defect::SilentAfterRequest);
    let mut order = order_for(vec![server.target.clone()], server.ca_pem.clone(), Protocol::H1);
    order.sources = vec!["203.0.113.0/29".parse().unwrap()];
    both(order, Cause::SourceExhausted, Fault::Local);
}

#[test]
fn what_a_silent_device_holds_is_unfinished_and_the_trial_ends_on_time() {
    let server = Faulty::start(Defect::SilentAfterRequest);
    let mut order = order_for(vec![server.target.clone()], server.ca_pem.clone(), Protocol::H1);
    order.load = Load::Open { rate: Rate::per_second(50).unwrap(), arrivals: Arrivals::Poisson, max_in_flight: 8 };
    order.transactions_per_connection = 3;
    order.request_timeout = Span::from_secs(60);
    let begun = Instant::now();
    let report = common::run(order, 2);
    // 1.6 s of phases, 3 s of drain, and what a loaded machine adds.
    assert!(begun.elapsed().as_millis() < 1600 + 3000 + 2000, "{:?}", begun.elapsed());
    check_sums(&report);
    let attempts = report.attempts;
    assert!(attempts.skipped > 0 && attempts.unfinished > 0 && attempts.failed == 0, "{attempts:?}");
    assert_eq!(attempts.unfinished, attempts.sent);
    assert_eq!(attempts.scheduled % 3, 0);
    assert_eq!(report.proof.unknown, report.proof.total());
}

#[test]
fn impossible_orders_are_refused_at_the_door() {
    let stand_less = |change: &dyn Fn(&mut TrialOrder)| {
        let target = Target {
            persona: "p".to_owned(),
            address: [127, 0, 0, 1].into(),
            port: 1,
            server_name: "p.test".to_owned(),
        };
        let mut order = order_for(vec![target], stranger_pem(2100), Protocol::H1);
        change(&mut order);
        Trial::new(order).map(|_| ()).unwrap_err()
    };
    let refused = |change: &dyn Fn(&mut TrialOrder), word: &str| {
        let error: OrderError = stand_less(change);
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&|order| order.targets.clear(), "no target");
    refused(&|order| order.load = Load::Closed { connections: 1, streams: 2 }, "one request at a time");
    refused(&|order| order.load = Load::Closed { connections: 0, streams: 1 }, "connections is zero");
    refused(&|order| order.phases.sustain = Span::ZERO, "sustain");
    refused(&|order| order.phases.init = Span::from_secs(25 * 3600), "24 hours");
    refused(&|order| order.sources = vec!["2001:2::/64".parse().unwrap()], "IPv4");
    refused(&|order| order.trust.persona_ca_pem = "hello".to_owned(), "the persona CA");
    refused(&|order| order.trust.dut_ca_pem = Some(stranger_pem(2001)), "the device's CA");
    refused(&|order| order.tls.suites.clear(), "cipher suite");
    refused(&|order| order.targets[0].server_name = "a b".to_owned(), "'a b'");
    refused(&|order| order.targets[0].port = 0, "port 0");
    refused(
        &|order| {
            order.protocol = Protocol::H3;
            order.tls = TlsProfile { versions: TlsVersions::Tls12, ..TlsProfile::default() };
        },
        "TLS 1.3",
    );
    refused(
        &|order| {
            order.transactions_per_connection = 0;
            order.load =
                Load::Open { rate: Rate::per_second(1).unwrap(), arrivals: Arrivals::Constant, max_in_flight: 1 };
        },
        "must end",
    );
}
