//! From a place that is up, or not, to the permission to measure: pre-flight, then authorization, in this order and nowhere else.
//!
//! What was found and given is kept on disk before the first block, so that a killed run has it in its record, too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbi_api::access::By;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::{Bypass, Check, CheckVerdict, Preflight};
use tbi_bench::record::Authorization;
use tbi_bench::topology::Topology;

use super::authorize::{Authorizer, Request, plan_sha256};
use super::clock::Clocks;
use super::floor::Floor;
use super::journal::Journal;
use crate::preflight::clock::Sources;
use crate::preflight::{self, Absent, Ground};

/// What a run asks for permission with.
pub(crate) struct Applicant {
    /// Id of the run.
    pub id: String,
    /// Who ordered it.
    pub by: By,
    /// Ordered bypass.
    pub bypass: Option<Bypass>,
    /// Ranges of the bench.
    pub topology: Topology,
    /// Who allows it.
    pub authorizer: Arc<dyn Authorizer>,
    /// Both clocks when the order came.
    pub since: Clocks,
}

/// What the record says of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Admission {
    /// The gate; `None` when the run ended before it.
    #[serde(default)]
    pub preflight: Option<Preflight>,
    /// The receipt.
    #[serde(default)]
    pub authorization: Option<Authorization>,
}

/// The gate in one line, for a terminal.
pub(crate) fn line(preflight: &Preflight) -> String {
    let mut words: Vec<String> = Vec::new();
    for verdict in [CheckVerdict::Passed, CheckVerdict::Warning, CheckVerdict::Failed, CheckVerdict::Skipped] {
        let checks: Vec<&Check> = preflight.checks.iter().filter(|check| check.verdict == verdict).collect();
        if verdict == CheckVerdict::Passed {
            words.push(format!("{} of {} checks passed", checks.len(), preflight.checks.len()));
        } else {
            words.extend(
                checks.iter().map(|check| format!("{}: '{}' ({})", verdict.as_str(), check.name, check.evidence)),
            );
        }
    }
    let bypass = preflight.bypass.as_ref();
    words.extend(bypass.map(|bypass| format!("bypassed by {}: {}", bypass.actor, bypass.reason)));
    format!("pre-flight: {}", words.join("; "))
}

impl Applicant {
    /// The five checks, whether or not there is a floor.
    pub(crate) async fn check(&self, plan: &Plan, floor: Result<&Floor, &Absent>, journal: &Journal) -> Preflight {
        let sources = Sources::of_this_machine(journal.dir());
        let ground = Ground { plan, topology: &self.topology, floor, sources: &sources, since: self.since };
        let checks: Vec<Check> = preflight::check(&ground).await;
        for check in checks.iter().filter(|check| !check.remedy.is_empty()) {
            let (name, verdict) = (check.name.title(), check.verdict.as_str());
            tracing::info!(name, verdict, evidence = check.evidence, "pre-flight");
        }
        Preflight { checks, bypass: self.bypass.clone() }
    }

    /// Asks for permission, unless the gate is closed. An error is the sentence the run ends with; what is to be recorded stands in either case.
    pub(crate) async fn admit(
        &self,
        plan: &Plan,
        preflight: Preflight,
        journal: &Journal,
    ) -> (Admission, Result<(), String>) {
        let refusal = preflight.refusal();
        let mut admission = Admission { preflight: Some(preflight), authorization: None };
        if let Some(refusal) = refusal {
            return (admission, Err(refusal));
        }
        let asked = async {
            let plan_sha256 = plan_sha256(plan).map_err(|error| error.to_string())?;
            let request = Request {
                run: self.id.clone(),
                plan: plan.clone(),
                plan_sha256,
                by: self.by.clone(),
                bypass: self.bypass.clone(),
            };
            self.authorizer.authorize(request).await
        };
        match asked.await {
            Ok(receipt) => admission.authorization = receipt,
            Err(why) => return (admission, Err(format!("The run was not authorized, so nothing was measured: {why}"))),
        }
        let kept = journal.admit(&admission).map_err(|error| error.to_string());
        (admission, kept)
    }
}
