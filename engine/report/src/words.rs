//! The words of the report for the closed vocabularies of the record.

use tbi_bench::control::engine::{Arrivals, Cause, CipherSuite, Fault, Group, TlsVersions};
use tbi_bench::control::personas::KeyKind;
use tbi_bench::mode_check::Expected;
use tbi_bench::object::Object;
use tbi_bench::plan::{Experiment, Family, Plan, Profile};
use tbi_bench::proof::Interception;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::quic_class::{AltSvc, PenaltyKind, QuicClass};
use tbi_bench::record::{RunRecord, RunStatus, TrialKind, Verdict};

use crate::number;

pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H3 => "HTTP/3",
        Protocol::H2 => "HTTP/2",
        Protocol::H1 => "HTTP/1.1",
    }
}

pub(crate) fn arm(arm: Arm) -> &'static str {
    match arm {
        Arm::On => "ON",
        Arm::Bypass => "BYPASS",
        Arm::Reference => "reference",
    }
}

pub(crate) fn object(object: Object) -> &'static str {
    match object {
        Object::Kb1 => "1 KB",
        Object::Kb2 => "2 KB",
        Object::Kb4 => "4 KB",
        Object::Kb16 => "16 KB",
        Object::Kb64 => "64 KB",
        Object::Kb256 => "256 KB",
        Object::Mix => "mix",
    }
}

pub(crate) fn kind(kind: TrialKind) -> &'static str {
    match kind {
        TrialKind::Latency => "latency",
        TrialKind::ConnectionRate => "connection rate",
        TrialKind::Capacity => "capacity",
    }
}

/// The load behind a kind of trial, with the plan's numbers.
pub(crate) fn load(kind: TrialKind, plan: &Plan) -> String {
    let arrivals = match plan.latency.arrivals {
        Arrivals::Constant => "constant",
        Arrivals::Poisson => "Poisson",
    };
    let capacity = plan.capacity;
    match kind {
        TrialKind::Latency => {
            let rate = number::value(plan.latency.rate.as_per_second());
            format!("open loop, {rate} connections/s, {arrivals} arrivals, full handshake and one transaction each")
        }
        TrialKind::ConnectionRate => {
            format!("closed loop, {} connections, full handshake and one transaction each", capacity.connections)
        }
        TrialKind::Capacity => format!(
            "closed loop, {} connections, {} requests in flight on each (h2, h3), {} transactions per connection",
            capacity.connections, capacity.streams, capacity.transactions_per_connection
        ),
    }
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "Passed",
        Verdict::Failed => "Failed",
        Verdict::NotMeasured => "Not measured",
    }
}

pub(crate) fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "every block of the plan was run",
        RunStatus::Interrupted => "interrupted; what was measured until then is kept",
    }
}

/// The verdict in one sentence; when nothing is claimed, with the decisive reason, which the record has first.
pub(crate) fn verdict_sentence(record: &RunRecord) -> String {
    let bypassed = if crate::claim::bypassed(record) { ", with its pre-flight bypassed" } else { "" };
    match (record.verdict, record.thresholds.len()) {
        (Verdict::Passed, 0) => format!("The run is valid{bypassed}; the plan sets no thresholds."),
        (Verdict::Passed, _) if bypassed.is_empty() => {
            "The run is valid and every threshold of the plan holds.".to_owned()
        }
        (Verdict::Passed, _) => format!("The run is valid{bypassed}, and every threshold of the plan holds."),
        (Verdict::Failed, _) => format!("The run is valid{bypassed}, but a threshold of the plan is broken."),
        (Verdict::NotMeasured, _) => match record.reasons.first() {
            Some(reason) => format!("No cost is claimed: {reason}"),
            None => "No cost is claimed, and the record does not say why.".to_owned(),
        },
    }
}

pub(crate) fn pairs(pairs: u32) -> String {
    match pairs {
        1 => "1 pair".to_owned(),
        _ => format!("{pairs} pairs"),
    }
}

/// Whether the phases are those of RFC 9411.
pub(crate) fn profile(plan: &Plan) -> String {
    let name = match plan.profile {
        Profile::Quick => "quick",
        Profile::Short => "short",
        Profile::Full => "full",
    };
    if plan.phases.as_rfc9411_recommends() {
        format!("{name} profile, phases as RFC 9411 recommends")
    } else {
        format!("not RFC 9411: sustain phase {}", number::span(plan.phases.sustain))
    }
}

pub(crate) fn experiment(experiment: Experiment) -> &'static str {
    match experiment {
        Experiment::DecryptionCost => "decryption cost: ON decrypts, BYPASS does not",
        Experiment::Control => "control: neither arm decrypts",
    }
}

pub(crate) fn expectation(expected: Expected) -> &'static str {
    match expected {
        Expected::Class(Interception::Intercepted) => "intercepted",
        Expected::Class(Interception::EndToEnd) => "end to end",
        Expected::Class(Interception::Altered) => "altered",
        Expected::Class(Interception::Unknown) => "unknown",
        Expected::Blocked => "blocked",
    }
}

pub(crate) fn quic_class(class: QuicClass) -> (&'static str, &'static str) {
    match class {
        QuicClass::Decrypt => ("decrypt", "HTTP/3 is terminated and re-encrypted"),
        QuicClass::Pass => ("pass", "HTTP/3 passes end to end and stays on offer"),
        QuicClass::BlockSilent => {
            ("block, silent", "QUIC is dropped without a word; clients wait for their own timeout")
        }
        QuicClass::BlockActive => ("block, active", "QUIC is refused; clients fall back at once"),
        QuicClass::Strip => ("strip", "HTTP/3 works, but its offer is removed from HTTP/2 responses"),
        QuicClass::Degrade => ("degrade", "HTTP/3 works in part: attempts fail or packets are lost"),
        QuicClass::Mixed => ("mixed", "different connections are treated differently: a policy leak"),
        QuicClass::Unclear => ("unclear", "the probes do not allow a judgement"),
    }
}

pub(crate) fn alt_svc(alt_svc: AltSvc) -> &'static str {
    match alt_svc {
        AltSvc::Kept => "kept",
        AltSvc::Stripped => "stripped",
        AltSvc::Partly => "kept on some responses only",
        AltSvc::Unseen => "no response to look at",
    }
}

pub(crate) fn penalty_kind(kind: PenaltyKind) -> &'static str {
    match kind {
        PenaltyKind::Timeout => "mostly the client's own timeout",
        PenaltyKind::Refusal => "after a refusal by the path",
    }
}

pub(crate) fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Local => "bench",
        Fault::Path => "path or device",
        Fault::Peer => "server",
    }
}

pub(crate) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::HandshakeTimeout => "handshake timeout",
        Cause::ConnectRefused => "connection refused",
        Cause::Unreachable => "unreachable",
        Cause::CertificateUntrusted => "certificate not trusted",
        Cause::TlsFailure => "TLS failure",
        Cause::AlpnMismatch => "other protocol than asked for",
        Cause::Reset => "reset",
        Cause::QuicClosed => "QUIC connection closed",
        Cause::Truncated => "truncated response",
        Cause::HttpStatus => "HTTP status other than 200",
        Cause::BodyLength => "wrong body length",
        Cause::ProtocolViolation => "protocol violation",
        Cause::RequestTimeout => "request timeout",
        Cause::SourceExhausted => "source ports exhausted",
        Cause::LocalResource => "engine out of resources",
    }
}

pub(crate) fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4 only",
        Family::Ipv6 => "IPv6 only",
        Family::Both => "IPv4 and IPv6, half each",
    }
}

pub(crate) fn key(key: KeyKind) -> &'static str {
    match key {
        KeyKind::EcdsaP256 => "ECDSA P-256",
        KeyKind::EcdsaP384 => "ECDSA P-384",
        KeyKind::Rsa2048 => "RSA 2048",
        KeyKind::Rsa4096 => "RSA 4096",
    }
}

/// What the ClientHello offers.
pub(crate) fn tls(plan: &Plan) -> String {
    let version = match plan.tls.versions {
        TlsVersions::Tls13 => "TLS 1.3",
        TlsVersions::Tls12 => "TLS 1.2",
    };
    let suites: Vec<_> = plan
        .tls
        .suites
        .iter()
        .map(|suite| match suite {
            CipherSuite::Aes128Gcm => "AES-128-GCM",
            CipherSuite::Aes256Gcm => "AES-256-GCM",
            CipherSuite::Chacha20Poly1305 => "ChaCha20-Poly1305",
        })
        .collect();
    let groups: Vec<_> = plan
        .tls
        .groups
        .iter()
        .map(|group| match group {
            Group::X25519 => "X25519",
            Group::P256 => "P-256",
            Group::P384 => "P-384",
            Group::X25519MlKem768 => "X25519MLKEM768",
        })
        .collect();
    format!("{version}; {}; {}; full handshakes, no resumption", suites.join(", "), groups.join(", "))
}
