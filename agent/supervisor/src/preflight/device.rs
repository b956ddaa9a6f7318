//! The device under test: whether traffic passes it in both decrypt modes of the plan, and whether it is what answers on its API.

use std::time::Duration;

use tbi_bench::control::engine::ProbeReport;
use tbi_bench::mode_check::{self, Expected};
use tbi_bench::netplan::Path;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Finding;
use tbi_bench::preflight::device::{Said, judge};
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::units::Span;

use super::{bounded, pki};
use crate::run::floor::Floor;

/// Probes per mode: one for each address family. Every block begins with as many as the plan says.
const PROBES: u32 = 2;
/// A probe that takes longer is given up, so that both modes fit into the time of a check.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lays the device's path, then switches to each mode and probes through it.
pub(super) async fn modes(plan: &Plan, floor: &Floor, limit: Duration) -> Finding {
    if let Err(error) = floor.lay_path(Path::ThroughDut).await {
        return told(&error.to_string());
    }
    bounded(limit, probe(plan, floor)).await
}

async fn probe(plan: &Plan, floor: &Floor) -> Finding {
    let patience = Span::from_micros(PATIENCE.as_micros() as u64);
    let few = Plan {
        verify_probes: plan.verify_probes.min(PROBES),
        handshake_timeout: plan.handshake_timeout.min(patience),
        ..plan.clone()
    };
    let mut seen = Vec::new();
    for arm in [Arm::On, Arm::Bypass] {
        let Some(protocol) = telling(plan, arm) else {
            return Finding::failed("the plan names no protocol to probe with", "name at least one in the plan");
        };
        if let Err(error) = floor.switch_mode(arm).await {
            return told(&error.to_string());
        }
        let expected = plan.expectation(arm, protocol);
        let silent = |report: &ProbeReport| report.probes.iter().any(|probe| probe.failure.is_some());
        let report = match floor.probe(&few, protocol).await {
            // A plan may ask for loss, and then one of a few probes may well be lost.
            Ok(report) if silent(&report) && expected != Expected::Blocked => floor.probe(&few, protocol).await,
            report => report,
        };
        let report = match report {
            Ok(report) => report,
            Err(error) => return told(&error.to_string()),
        };
        let name = arm.to_string().to_uppercase();
        if let Err(leak) = mode_check::verify(&report, expected) {
            let leak = leak.to_string();
            let (evidence, remedy) = leak.rsplit_once("; ").unwrap_or((&leak, ""));
            let silent = report.probes.iter().all(|probe| probe.failure.is_some());
            let remedy = if silent && expected != Expected::Blocked {
                "see that the device is up and passes traffic between agents and personas, then run again"
            } else {
                remedy
            };
            return Finding::failed(format!("with the device in mode {name}, {protocol}: {evidence}"), remedy);
        }
        let words = match expected {
            Expected::Blocked => "blocked",
            Expected::Class(tbi_bench::proof::Interception::Intercepted) => "decrypted",
            Expected::Class(_) => "end to end",
        };
        seen.push(format!("in mode {name} {} of {0} {protocol} probes were {words}", report.probes.len()));
    }
    Finding::passed(format!("through the device, {}, as the plan says", seen.join(" and ")))
}

/// A protocol that shows the mode: one that is let through, if possible, and over TCP, where silence is soonest noticed.
fn telling(plan: &Plan, arm: Arm) -> Option<Protocol> {
    let rank = |protocol: &Protocol| (plan.expectation(arm, *protocol) == Expected::Blocked, protocol.is_quic());
    plan.protocols.iter().copied().min_by_key(rank)
}

/// Something said why not, in a sentence of its own that ends with the remedy.
fn told(sentence: &str) -> Finding {
    let sentence = sentence.trim_end_matches('.');
    match sentence.rsplit_once("; ") {
        Some((evidence, remedy)) => Finding::failed(evidence, remedy),
        None => Finding::failed(sentence, "mend that, then run again"),
    }
}

/// Asks the device who it is and for the CA it names.
pub(super) async fn api(floor: &Floor) -> Finding {
    let adapter = floor.dut.name();
    let said = async {
        let identity = floor.dut.identity().await?;
        let given = floor.dut.ca_pem().await?;
        Ok::<_, tbi_dut::DutError>((identity, given))
    };
    match said.await {
        Ok((identity, given)) => {
            let given_ca_sha256 = match given.as_deref().map(pki::certificates) {
                Some(Ok(certificates)) => certificates.first().map(|certificate| certificate.sha256.clone()),
                Some(Err(why)) => return judge(adapter, Err(&format!("the CA that the device gives is {why}"))),
                None => None,
            };
            let said = Said {
                vendor: identity.vendor,
                model: identity.model,
                version: identity.version,
                ca_sha256: identity.ca_sha256,
                given_ca_sha256,
            };
            judge(adapter, Ok(&said))
        }
        Err(error) => judge(adapter, Err(&error.to_string())),
    }
}
