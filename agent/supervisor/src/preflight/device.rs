//! The device under test: whether traffic passes it in both decrypt modes of the plan, and whether it is what answers on its API.

use std::time::Duration;

use tbi_bench::campaign::sequence;
use tbi_bench::control::engine::ProbeReport;
use tbi_bench::mode_check::{self, Expected};
use tbi_bench::netplan::Path;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Finding;
use tbi_bench::preflight::device::{Said, judge};
use tbi_bench::proof::Interception;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::units::Span;

use super::{late, pki};
use crate::run::floor::{Floor, FloorError};

/// Probes per mode: one for each address family. Every block begins with as many as the plan says.
const PROBES: u32 = 2;
/// A probe that takes longer is given up, so that both modes fit into the time of a check.
const PATIENCE: Span = Span::from_secs(2);

/// Lays the device's path, switches to each mode and probes through it; then, where the first block goes around the device, probes that
/// way, too, so that a fault of the personas is not taken for one of the device, and the first block finds a path that is in use.
///
/// Laying a path has a limit of its own; `limit` is that of the probes.
pub(super) async fn modes(plan: &Plan, floor: &Floor, limit: Duration) -> Finding {
    let around = sequence(plan).first().is_some_and(|block| block.arm == Arm::Reference);
    let mut seen = Vec::new();
    for (path, arms) in [(Path::ThroughDut, [Arm::On, Arm::Bypass].as_slice()), (Path::Reference, &[Arm::Reference])] {
        if path == Path::Reference && !around {
            continue;
        }
        if let Err(error) = floor.lay_path(path).await {
            return told(&error.to_string());
        }
        let shown = async {
            for &arm in arms {
                seen.push(shows(plan, floor, arm).await?);
            }
            Ok::<_, Finding>(())
        };
        match tokio::time::timeout(limit, shown).await {
            Ok(Ok(())) => {}
            Ok(Err(finding)) => return finding,
            Err(_elapsed) => return late(limit),
        }
    }
    Finding::passed(format!("{}, as the plan says", seen.join("; ")))
}

/// What probes show in one arm, in words; the finding when it is not what the plan says.
async fn shows(plan: &Plan, floor: &Floor, arm: Arm) -> Result<String, Finding> {
    let Some(protocol) = telling(plan, arm) else {
        return Err(Finding::failed("the plan names no protocol to probe with", "name at least one in the plan"));
    };
    let way = match arm {
        Arm::Reference => "around the device".to_owned(),
        arm => format!("through the device in mode {}", arm.to_string().to_uppercase()),
    };
    if arm != Arm::Reference {
        floor.switch_mode(arm).await.map_err(|error| told(&error.to_string()))?;
    }
    let expected = plan.expectation(arm, protocol);
    let report = probe(plan, floor, protocol, expected).await.map_err(|error| told(&error.to_string()))?;
    if let Err(leak) = mode_check::verify(&report, expected) {
        let leak = leak.to_string();
        let (evidence, remedy) = leak.rsplit_once("; ").unwrap_or((&leak, ""));
        let silent = expected != Expected::Blocked && report.probes.iter().all(|probe| probe.failure.is_some());
        let remedy = match (silent, arm) {
            (_, Arm::Reference) => "see that the personas and the ISP router are up, then run again",
            (true, _) => "see that the device is up and passes traffic between agents and personas, then run again",
            (false, _) => remedy,
        };
        return Err(Finding::failed(format!("{way}, {protocol}: {evidence}"), remedy));
    }
    let words = match expected {
        Expected::Blocked => "blocked",
        Expected::Class(Interception::Intercepted) => "decrypted",
        Expected::Class(_) => "end to end",
    };
    let count = report.probes.len();
    Ok(format!("{way} {count} of {count} {protocol} probes were {words}"))
}

async fn probe(plan: &Plan, floor: &Floor, protocol: Protocol, expected: Expected) -> Result<ProbeReport, FloorError> {
    let few = Plan {
        verify_probes: plan.verify_probes.min(PROBES),
        handshake_timeout: plan.handshake_timeout.min(PATIENCE),
        ..plan.clone()
    };
    let report = floor.probe(&few, protocol).await?;
    let silent = report.probes.iter().any(|probe| probe.failure.is_some());
    // A plan may ask for loss, and then one of a few probes may well be lost; so may the first packet on a path just laid.
    if silent && expected != Expected::Blocked { floor.probe(&few, protocol).await } else { Ok(report) }
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
