//! From a campaign's harvest to the run record. Pure but for what its caller hands in.

use tbi_bench::analysis::{self, Evidence};
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Preflight;
use tbi_bench::record::{DutRecord, Environment, RECORD_VERSION, RunRecord, Tool};
use tbi_dut::DutIdentity;

use super::admission::Admission;
use super::drive::Harvest;

/// What the record says beside the harvest.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Run id.
    pub id: String,
    /// Start, RFC 3339.
    pub started: String,
    /// End, RFC 3339.
    pub ended: String,
    /// Adapter's name.
    pub adapter: &'static str,
    /// Device, when it could be asked.
    pub identity: Option<DutIdentity>,
    /// Machine.
    pub environment: Environment,
    /// What let it begin.
    pub admission: Admission,
}

/// Makes the record.
pub(crate) fn record(plan: Plan, harvest: Harvest, facts: Facts) -> RunRecord {
    let certificate = analysis::certificate(&plan, &harvest.blocks);
    let results = analysis::results(&plan, &harvest.blocks, certificate.as_ref());
    let proof = analysis::proof(&plan, &harvest.blocks);
    let conclusion = analysis::conclude(Evidence {
        plan: &plan,
        outcome: &harvest.outcome,
        blocks: &harvest.blocks,
        results: &results,
        proof: &proof,
        certificate: certificate.as_ref(),
    });
    let mut reasons = conclusion.reasons;
    let Admission { preflight, authorization } = facts.admission;
    if let Some(caution) = preflight.as_ref().and_then(Preflight::caution) {
        // The decisive reason of a run that claims nothing stays first.
        reasons.insert(usize::from(!conclusion.valid).min(reasons.len()), caution);
    }
    let identity = facts.identity;
    let field =
        |pick: fn(&DutIdentity) -> &String| identity.as_ref().map_or_else(String::new, |device| pick(device).clone());
    RunRecord {
        version: RECORD_VERSION,
        id: facts.id,
        started: facts.started,
        ended: facts.ended,
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("TBI_COMMIT").map(str::to_owned),
        },
        status: conclusion.status,
        valid: conclusion.valid,
        reasons,
        verdict: conclusion.verdict,
        thresholds: conclusion.thresholds,
        results,
        proof,
        quic: harvest.quic,
        certificate,
        distributions: harvest.distributions,
        blocks: harvest.blocks,
        dut: DutRecord {
            adapter: facts.adapter.to_owned(),
            vendor: field(|device| &device.vendor),
            model: field(|device| &device.model),
            version: field(|device| &device.version),
            ca_sha256: identity.as_ref().and_then(|device| device.ca_sha256.clone()),
            configurations: harvest.configurations,
        },
        environment: facts.environment,
        preflight,
        authorization,
        plan,
    }
}
