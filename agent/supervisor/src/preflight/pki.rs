//! Certificates of both authorities as the agents have them, and of the sites as the personas tell.

use sha2::{Digest, Sha256};
use tbi_bench::control::personas::PersonasStatus;
use tbi_bench::mode_check::Expected;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Finding;
use tbi_bench::preflight::pki::{Authority, Validity, judge, planned_seconds};
use tbi_bench::proof::Interception;
use tbi_bench::protocol::Arm;
use x509_parser::pem::Pem;

use crate::run::floor::Floor;

const PERSONA_CA: &str =
    "let a new persona CA be made (remove ca.pem and ca.key of the old one) and give it to the device";
const LEAVES: &str = "restart the box, so that the personas sign new ones, and run again";
const DEVICE_CA: &str = "renew the CA with which the device re-signs, give it to the agents, and run again";
const TRUST: &str =
    "give the agents the CA with which the device re-signs (--dut-ca, or the adapter's own), and run again";
const AGAIN: &str = "run again, so that the agents are given the CA in force";

/// What is needed of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// SHA-256 of its DER, lower-case hex.
    pub sha256: String,
    /// Valid from, Unix seconds.
    pub from: i64,
    /// Valid until, Unix seconds.
    pub until: i64,
}

/// All of a PEM text, at least one; the words of an error complete "the certificate is …".
pub(super) fn certificates(pem: &str) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| format!("no PEM ({error})"))?;
        let parsed = block.parse_x509().map_err(|error| format!("no certificate ({error})"))?;
        found.push(Certificate {
            sha256: Sha256::digest(&block.contents).iter().map(|byte| format!("{byte:02x}")).collect(),
            from: parsed.validity().not_before.timestamp(),
            until: parsed.validity().not_after.timestamp(),
        });
    }
    if found.is_empty() { Err("no certificate in PEM".to_owned()) } else { Ok(found) }
}

/// Looks at them, for a run that begins at `now`.
pub(super) async fn look(plan: &Plan, floor: &Floor, now: i64) -> Finding {
    let status: PersonasStatus = match floor.personas.get_json("/v1/status").await {
        Ok(status) => status,
        Err(error) => {
            return Finding::failed(
                format!("the personas do not tell until when their certificates are valid ({error})"),
                format!("see that they are up ({}), then run again", floor.log),
            );
        }
    };
    let mut validities = Vec::new();
    let mut authorities = Vec::new();
    let persona_ca = match certificates(&floor.trust.persona_ca_pem) {
        Ok(certificates) => certificates,
        Err(why) => return Finding::failed(format!("the persona CA that the agents trust is {why}"), PERSONA_CA),
    };
    add("the persona CA", persona_ca, Some(status.ca_sha256), (PERSONA_CA, AGAIN), &mut validities, &mut authorities);
    let (from, until) = status.leaves_valid;
    validities.push(Validity { what: "the personas' certificates", from, until, remedy: LEAVES });
    if decrypts(plan) {
        let in_force = floor.dut.identity().await.ok().and_then(|identity| identity.ca_sha256);
        let trusted = match floor.trust.dut_ca_pem.as_deref().map(certificates) {
            Some(Ok(certificates)) => certificates,
            Some(Err(why)) => return Finding::failed(format!("the device's CA that the agents trust is {why}"), TRUST),
            None => Vec::new(),
        };
        add("the device's CA", trusted, in_force, (DEVICE_CA, TRUST), &mut validities, &mut authorities);
    }
    let end = now.saturating_add(i64::try_from(planned_seconds(plan)).unwrap_or(i64::MAX));
    judge(now, end, &validities, &authorities)
}

/// An operator's file may hold several; the one in force counts, or else the first.
fn add(
    what: &'static str,
    trusted: Vec<Certificate>,
    in_force: Option<String>,
    (renew, remedy): (&'static str, &'static str),
    validities: &mut Vec<Validity>,
    authorities: &mut Vec<Authority>,
) {
    let known = trusted.iter().find(|certificate| Some(&certificate.sha256) == in_force.as_ref());
    let chosen = known.or(trusted.first());
    if let Some(&Certificate { from, until, .. }) = chosen {
        validities.push(Validity { what, from, until, remedy: renew });
    }
    authorities.push(Authority { what, trusted: chosen.map(|it| it.sha256.clone()), in_force, remedy });
}

/// Whether any connection of the plan will be re-signed.
fn decrypts(plan: &Plan) -> bool {
    [Arm::On, Arm::Bypass].into_iter().any(|arm| {
        let intercepted = Expected::Class(Interception::Intercepted);
        plan.protocols.iter().any(|protocol| plan.expectation(arm, *protocol) == intercepted)
    })
}
