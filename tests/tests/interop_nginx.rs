//! The engine and a server nobody here wrote: nginx, HTTP/1.1 and HTTP/2, both TLS versions, every object class.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};

use tbi_bench::control::engine::{Cause, Group, TlsVersions};
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_tests::peers::{Nginx, PEER_NAME};
use tbi_tests::stand::{self, assert_adds_up, trial};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn interop_engine_loads_nginx() {
    let home = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(home.path());
    let engine = stand::engine(home.path()).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        for versions in [TlsVersions::Tls13, TlsVersions::Tls12] {
            for object in [Object::Kb1, Object::Kb256, Object::Mix] {
                let what = format!("{protocol}-{versions:?}-{object}");
                let mut order = stand::order(protocol, LOOPBACK, nginx.port, PEER_NAME, &nginx.ca);
                order.tls.versions = versions;
                // RFC 8422 §5.1.1: in TLS 1.2 the groups also say which certificates are understood; OpenSSL holds to it.
                order.tls.groups = vec![Group::X25519, Group::P256];
                order.object = object;
                let report = trial(&engine, &what.to_lowercase().replace('.', ""), &order).await;
                assert!(report.attempts.succeeded > 0 && report.attempts.failed == 0, "{what}: {:?}", report.errors);
                assert_adds_up(&report);
                // nginx echoes no exporter value: no claim is made about interception, whatever the issuer is.
                assert_eq!(report.proof.intercepted + report.proof.end_to_end, 0, "{what}: {:?}", report.proof);
                assert_eq!(report.observed.resumed, 0, "{what}");
                if object == Object::Kb256 {
                    // Only what succeeded counts as goodput, and it counts whole.
                    assert!(report.body_bytes >= report.attempts.succeeded * 262_144, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn interop_engine_says_why_nginx_cannot_be_trusted() {
    let home = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(home.path());
    let engine = stand::engine(home.path()).await;
    let mut order = stand::order(Protocol::H2, LOOPBACK, nginx.port, PEER_NAME, &nginx.ca);
    let other = tempfile::tempdir().unwrap();
    tbi_tests::peers::certificates(other.path());
    order.trust.persona_ca_pem = stand::read(&other.path().join("ca.pem"));
    let report = trial(&engine, "untrusted", &order).await;
    assert_eq!(report.attempts.succeeded, 0);
    let Some(first) = report.errors.first() else { panic!("no error was counted: {:?}", report.attempts) };
    assert_eq!(first.cause, Cause::CertificateUntrusted, "{:?}", report.errors);
}
