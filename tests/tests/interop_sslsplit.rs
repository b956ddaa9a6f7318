//! An interceptor nobody here wrote: sslsplit between engine and persona, as the only way through. Every connection must be proven
//! intercepted; sslsplit 0.5 speaks TLS 1.2 and no ALPN, so it is HTTP/1.1 over TLS 1.2.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;
use std::time::Duration;

use tbi_bench::control::engine::{Cause, Group, TlsVersions};
use tbi_bench::protocol::Protocol;
use tbi_daemon::UnixClient;
use tbi_tests::child::Running;
use tbi_tests::repository::root;
use tbi_tests::stand::{self, Daemon, SERVER_NAME, assert_adds_up, trial};
use tbi_tests::{peers, program};

#[tokio::test]
async fn interop_sslsplit_is_seen_on_every_connection() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    peers::certificates(home);
    let address = "198.18.2.2".parse().unwrap();
    let (_command, personas_socket) = stand::personas_command(home, address, 443);

    let mut rooms = Command::new("unshare");
    rooms.args(["--user", "--map-root-user", "--net", "--mount", "bash"]);
    rooms.arg(root().join("tests/tests/data/sslsplit.sh")).arg(home);
    rooms.arg(program("tbi-engine")).arg(program("tbi-personas")).env("PATH", peers::with_system_places());
    let engine = Daemon::adopt(Running::start(&mut rooms), &home.join("engine.sock")).await;
    UnixClient::new(personas_socket).wait_ready(Duration::from_secs(30)).await.unwrap();

    let mut order = stand::order(Protocol::H1, address, 443, SERVER_NAME, &home.join("persona-ca/ca.pem"));
    order.tls.versions = TlsVersions::Tls12;
    // RFC 8422 §5.1.1: in TLS 1.2 the groups also say which certificates are understood; OpenSSL holds to it.
    order.tls.groups = vec![Group::X25519, Group::P256];

    // An agent that does not trust the interceptor's CA says so, and claims nothing.
    let report = trial(&engine, "untrusted", &order).await;
    assert_eq!(report.attempts.succeeded, 0, "{:?}", report.attempts);
    assert_eq!(report.errors[0].cause, Cause::CertificateUntrusted, "{:?}", report.errors);
    assert_eq!(report.proof.intercepted + report.proof.end_to_end, 0, "{:?}", report.proof);

    // One that does measures through it, and not one connection passes for end to end.
    order.trust.dut_ca_pem = Some(stand::read(&home.join("ca.pem")));
    let report = trial(&engine, "trusted", &order).await;
    assert!(report.attempts.succeeded > 0 && report.attempts.failed == 0, "{:?} {:?}", report.attempts, report.errors);
    assert_adds_up(&report);
    assert!(report.proof.intercepted > 0, "{:?}", report.proof);
    assert_eq!((report.proof.end_to_end, report.proof.altered), (0, 0), "{:?}", report.proof);
    assert_eq!(
        (report.observed.issuer_dut_ca > 0, report.observed.issuer_persona_ca),
        (true, 0),
        "{:?}",
        report.observed
    );
}
