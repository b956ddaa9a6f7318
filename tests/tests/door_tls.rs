//! The front door's TLS, judged by testssl.sh, which nobody here wrote: every finding above LOW fails unless `data/testssl-expected.json` names
//! it with a reason, and so does an expectation that is always met and was not. The device's CA is given to it, so that the chain of trust is
//! judged, too. It asks nobody but the door: an address instead of a name, no DNS, no revocation server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tbi_tests::child::run;
use tbi_tests::door::{Door, Limits};
use tbi_tests::repository::root;
use tbi_tests::stand::read;

/// Half a minute when the machine has nothing else to do.
const LONGEST: Duration = Duration::from_secs(280);
/// Severities of what is right, or of no weight.
const FINE: [&str; 3] = ["OK", "INFO", "LOW"];
/// Checks that must have been made, one or more of each section; without them the scan said nothing.
const MADE: [&str; 14] = [
    "SSLv2",
    "SSLv3",
    "TLS1",
    "TLS1_1",
    "TLS1_3",
    "ALPN_HTTP2",
    "cipherlist_NULL",
    "cipherlist_STRONG",
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "HSTS_time",
    "heartbleed",
    "ROBOT",
    "scanTime",
];

/// A finding as testssl.sh writes it.
#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// A finding that is right as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: String,
    /// What the finding contains.
    finding: String,
    /// Whether every scan has it; what depends on the machine or on timing does not.
    always: bool,
    reason: String,
}

impl Expected {
    fn is(&self, finding: &Finding) -> bool {
        self.id == finding.id && finding.finding.contains(&self.finding)
    }
}

fn scan(door: &Door) -> Vec<Finding> {
    let out = door.path("testssl.json");
    let mut testssl = Command::new("testssl");
    // Protocols, cipher categories, forward secrecy, server defaults, header fields, vulnerabilities.
    testssl.args(["-p", "-s", "-f", "-S", "-h", "-U"]);
    testssl.args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"]);
    testssl.args(["--connect-timeout", "20", "--openssl-timeout", "20", "--add-ca"]).arg(door.ca());
    testssl.arg("--jsonfile").arg(&out).arg(format!("https://{}", door.authority()));
    // Its exit code counts findings, which are looked at one by one here.
    let finished = run(testssl.current_dir(door.path("")), LONGEST);
    let record = std::fs::read_to_string(&out).unwrap_or_default();
    serde_json::from_str(&record)
        .unwrap_or_else(|error| panic!("{error}: {record}\n{}{}", finished.stdout, finished.stderr))
}

#[test]
fn door_tls_has_no_finding_above_low() {
    let expected: Vec<Expected> =
        serde_json::from_str(&read(&root().join("tests/tests/data/testssl-expected.json"))).unwrap();
    assert!(expected.iter().all(|it| it.reason.len() > 20), "each expectation has a reason");
    let findings = scan(&Door::start(Limits::HIGH));
    for id in MADE {
        assert!(findings.iter().any(|finding| finding.id == id), "{id} was not checked: {findings:#?}");
    }
    let above: Vec<&Finding> = findings
        .iter()
        .filter(|finding| !FINE.contains(&finding.severity.as_str()) && !expected.iter().any(|it| it.is(finding)))
        .collect();
    assert!(above.is_empty(), "{above:#?}");
    let gone: Vec<&Expected> =
        expected.iter().filter(|it| it.always && !findings.iter().any(|finding| it.is(finding))).collect();
    assert!(gone.is_empty(), "no longer found, so no longer to be expected: {gone:#?}");
    // Judged fine is not enough for these: the door speaks nothing older.
    for old in ["TLS1", "TLS1_1", "TLS1_2"] {
        let finding = findings.iter().find(|finding| finding.id == old).unwrap();
        assert!(finding.finding.starts_with("not offered"), "{finding:?}");
    }
}
