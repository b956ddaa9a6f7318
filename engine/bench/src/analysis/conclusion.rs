//! Whether a run is valid, why not, what a reader must be told, and the verdict that becomes the exit code.

use crate::analysis::counted;
use crate::campaign::{Outcome, Stop, sentence_of};
use crate::mode_check::Expected;
use crate::plan::{Plan, Profile};
use crate::protocol::Arm;
use crate::record::{BlockRecord, Certificate, ProofRow, ResultRow, RunStatus, ThresholdResult, Verdict};

/// Failed transactions of a trial above which its numbers are those of a broken path, per thousand.
const BROKEN_PER_MILLE: u64 = 50;

/// Drift between reference blocks that a reader must be told of.
const TELL_DRIFT: f64 = 0.1;

/// What a conclusion rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// How the campaign ended.
    pub outcome: &'a Outcome,
    /// Blocks measured.
    pub blocks: &'a [BlockRecord],
    /// Rows made from them.
    pub results: &'a [ResultRow],
    /// Proof made from them.
    pub proof: &'a [ProofRow],
    /// Certificate made from them.
    pub certificate: Option<&'a Certificate>,
}

/// What the run says.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// How it ended.
    pub status: RunStatus,
    /// Whether any claim may be made.
    pub valid: bool,
    /// Reasons and cautions, the decisive one first.
    pub reasons: Vec<String>,
    /// Thresholds.
    pub thresholds: Vec<ThresholdResult>,
    /// Verdict.
    pub verdict: Verdict,
}

/// Draws the conclusion.
#[must_use]
pub fn conclude(evidence: Evidence<'_>) -> Conclusion {
    let mut against = Vec::new();
    let status = match evidence.outcome {
        Outcome::Completed => RunStatus::Completed,
        Outcome::Stopped(Stop::Interrupt(sentence)) => {
            against.push(sentence.clone());
            RunStatus::Interrupted
        }
        Outcome::Stopped(Stop::Invalidate(sentence)) => {
            against.push(sentence.clone());
            RunStatus::Interrupted
        }
    };
    against_proof(&evidence, &mut against);
    against_errors(&evidence, &mut against);
    against_certificate(&evidence, status, &mut against);
    let valid = against.is_empty();
    let thresholds: Vec<ThresholdResult> =
        evidence.plan.thresholds.iter().map(|threshold| threshold.check(evidence.results)).collect();
    let verdict = match (valid, thresholds.iter().all(|threshold| threshold.holds)) {
        (false, _) => Verdict::NotMeasured,
        (true, true) => Verdict::Passed,
        (true, false) => Verdict::Failed,
    };
    let mut reasons = against;
    reasons.extend(cautions(&evidence));
    Conclusion { status, valid, reasons, thresholds, verdict }
}

fn against_proof(evidence: &Evidence<'_>, against: &mut Vec<String>) {
    for row in evidence.proof.iter().filter(|row| !row.as_expected) {
        let total = row.intercepted + row.end_to_end + row.altered + row.unknown;
        let wanted = match evidence.plan.expectation(row.arm, row.protocol) {
            Expected::Class(crate::proof::Interception::Intercepted) => "intercepted",
            Expected::Class(_) => "end to end",
            Expected::Blocked => "blocked",
        };
        against.push(format!(
            "Of {total} {} connections with {} not 99.99 % were {wanted} ({} intercepted, {} end to end, {} altered, {} unknown); \
             correct the device's policy or what disturbed the path, then run again.",
            row.protocol,
            row.arm.to_string().to_uppercase(),
            row.intercepted,
            row.end_to_end,
            row.altered,
            row.unknown,
        ));
    }
}

fn against_errors(evidence: &Evidence<'_>, against: &mut Vec<String>) {
    for (block, trial) in counted(evidence.blocks) {
        let ended = trial.attempts.succeeded + trial.attempts.failed;
        if trial.attempts.failed * 1000 > ended * BROKEN_PER_MILLE {
            let why = trial.errors.first().map_or("for no recorded cause", |error| sentence_of(error.cause));
            against.push(format!(
                "In block {} ({}) {} of {ended} {} {} transactions failed, most often because {why}; such a path is broken rather than \
                 slow, so repair it and run again.",
                block.index + 1,
                block.arm,
                trial.attempts.failed,
                trial.protocol,
                trial.object,
            ));
            return; // one sentence is enough: later blocks usually fail for the same reason
        }
    }
}

fn against_certificate(evidence: &Evidence<'_>, status: RunStatus, against: &mut Vec<String>) {
    match evidence.certificate {
        None if status == RunStatus::Completed => {
            against
                .push("There is no bench certificate, because no reference block was measured; run again.".to_owned());
        }
        Some(certificate) if !certificate.holds && status == RunStatus::Completed => {
            let limit = f64::from(evidence.plan.drift_limit_per_mille) / 10.0;
            let sentence = certificate.drift.iter().max_by(|a, b| a.relative.total_cmp(&b.relative)).map_or_else(
                || "The bench certificate is incomplete: a reference trial measured nothing; run again.".to_owned(),
                |worst| {
                    format!(
                        "The bench itself drifted: {} of {} {} changed by {:.0} % between reference blocks, the limit is {limit} %; stop other \
                         work on this machine and run again.",
                        worst.kpi,
                        worst.protocol,
                        worst.object,
                        worst.relative * 100.0,
                    )
                },
            );
            against.push(sentence);
        }
        _ => {}
    }
}

/// What does not void the run but must be said.
fn cautions(evidence: &Evidence<'_>) -> Vec<String> {
    let mut cautions = Vec::new();
    let failed: u64 = counted(evidence.blocks).map(|(_, trial)| trial.attempts.failed).sum();
    let ended: u64 = failed + counted(evidence.blocks).map(|(_, trial)| trial.attempts.succeeded).sum::<u64>();
    if failed > 0 {
        cautions.push(format!("{failed} of {ended} transactions failed; the report lists them by cause."));
    }
    let skipped: u64 = counted(evidence.blocks).map(|(_, trial)| trial.attempts.skipped).sum();
    if skipped > 0 {
        cautions.push(format!(
            "{skipped} scheduled connections were skipped because latency.max_in_flight was used up; they count in no time, so times look \
             better than they were."
        ));
    }
    let drifted = evidence.certificate.iter().flat_map(|certificate| &certificate.drift);
    if let Some(worst) =
        drifted.filter(|drift| drift.relative > TELL_DRIFT).max_by(|a, b| a.relative.total_cmp(&b.relative))
    {
        cautions.push(format!(
            "The bench was not steady: {} of {} {} differed by {:.0} % between reference blocks; pairs cancel slow drift, but stop other work \
             on this machine for narrower intervals.",
            worst.kpi,
            worst.protocol,
            worst.object,
            worst.relative * 100.0,
        ));
    }
    let limited = evidence.results.iter().filter(|row| row.bench_limited).count();
    if limited > 0 {
        cautions.push(format!(
            "{limited} of {} numbers are bench-limited (headroom under 1.3): they bound the cost, they do not measure it.",
            evidence.results.len()
        ));
    }
    if evidence.plan.profile != Profile::Full {
        cautions.push(format!(
            "Profile '{}' is not RFC 9411: its sustain phases last {}, the RFC recommends at least 300 s.",
            if evidence.plan.profile == Profile::Quick { "quick" } else { "short" },
            evidence.plan.phases.sustain
        ));
    }
    let pairs = evidence.blocks.iter().filter(|block| block.arm == Arm::On && block.void.is_none()).count();
    if pairs < 6 {
        cautions
            .push(format!("{pairs} pairs are an indication, not a measurement; six are the least for an interval."));
    }
    cautions
}
