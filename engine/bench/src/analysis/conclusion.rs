//! Whether a run is valid, why not, what a reader must be told, and the verdict that becomes the exit code.

use std::collections::BTreeSet;

use crate::analysis::counted;
use crate::campaign::{Outcome, Stop, sentence_of};
use crate::control::engine::Fault;
use crate::mode_check::Expected;
use crate::plan::Plan;
use crate::protocol::Arm;
use crate::record::{BlockRecord, Certificate, ProofRow, ResultRow, RunStatus, ThresholdResult, Verdict};

/// Transactions of a trial that failed or never ended above which its numbers are those of a broken path, and scheduled ones that were
/// skipped above which the rate was not the plan's; per thousand.
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
    against_resumption(&evidence, &mut against);
    against_errors(&evidence, &mut against);
    against_configuration(&evidence, &mut against);
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

/// A resumed handshake is another, cheaper thing than the full one whose cost is compared (RFC 9411 §4.3.1.4).
fn against_resumption(evidence: &Evidence<'_>, against: &mut Vec<String>) {
    let resumed: u64 = counted(evidence.blocks).map(|(_, trial)| trial.observed.resumed).sum();
    if resumed > 0 {
        against.push(format!(
            "{resumed} handshakes were resumed although nothing was offered, so they are not what is compared; switch session resumption \
             off in the path and run again."
        ));
    }
}

fn against_errors(evidence: &Evidence<'_>, against: &mut Vec<String>) {
    for (block, trial) in counted(evidence.blocks) {
        let attempts = &trial.attempts;
        // What never ended has no time: leaving it out would make a device that swallows responses look fast.
        let lost = attempts.failed + attempts.unfinished;
        let sent = attempts.succeeded + lost;
        let place = format!("In block {} ({})", block.index + 1, block.arm);
        let cell = format!("{} {}", trial.protocol, trial.object);
        // One sentence is enough: later blocks usually fail for the same reason.
        if lost * 1000 > sent * BROKEN_PER_MILLE {
            let why = trial.errors.first().map_or("they were not answered in time", |error| sentence_of(error.cause));
            let remedy = match trial.errors.first().map(|error| error.fault) {
                Some(Fault::Local) => "that is the bench's own limit, so lower the load and run again",
                _ => "such a path is broken rather than slow, so repair it and run again",
            };
            against.push(format!(
                "{place} {lost} of {sent} {cell} transactions failed or never ended, most often because {why}; {remedy}."
            ));
            return;
        }
        if attempts.skipped * 1000 > attempts.scheduled * BROKEN_PER_MILLE {
            against.push(format!(
                "{place} {} of {} scheduled {cell} connections were skipped because latency.max_in_flight was used up, so the rate was not \
                 the plan's; lower latency.rate or raise latency.max_in_flight and run again.",
                attempts.skipped, attempts.scheduled
            ));
            return;
        }
    }
}

/// All blocks of an arm must have been measured with one configuration of the device (RFC 9411 §4.2).
fn against_configuration(evidence: &Evidence<'_>, against: &mut Vec<String>) {
    for arm in [Arm::On, Arm::Bypass] {
        let mut versions: Vec<&str> = evidence
            .blocks
            .iter()
            .filter(|block| block.arm == arm && block.void.is_none())
            .filter_map(|block| block.dut_configuration_sha256.as_deref())
            .collect();
        versions.sort_unstable();
        versions.dedup();
        if versions.len() > 1 {
            against.push(format!(
                "The device had {} different configurations in the {} blocks, so they do not measure one thing; keep others from changing \
                 it and run again.",
                versions.len(),
                arm.to_string().to_uppercase(),
            ));
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
            let limit = f64::from(evidence.plan.drift_limit_per_mille);
            let worst = certificate.drift.iter().max_by(|a, b| a.relative.total_cmp(&b.relative));
            let sentence = worst.filter(|worst| worst.relative * 1000.0 > limit).map_or_else(
                || "The bench certificate is incomplete: a reference trial measured nothing; run again.".to_owned(),
                |worst| {
                    format!(
                        "The bench itself drifted: {} of {} {} changed by {:.1} % between reference blocks, the limit is {} %; stop other \
                         work on this machine and run again.",
                        worst.kpi,
                        worst.protocol,
                        worst.object,
                        worst.relative * 100.0,
                        limit / 10.0,
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
    let unfinished: u64 = counted(evidence.blocks).map(|(_, trial)| trial.attempts.unfinished).sum();
    if unfinished > 0 {
        cautions.push(format!(
            "{unfinished} transactions never ended before their trial did; they count in no time, so times look better than they were."
        ));
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
            "{limited} of {} numbers are bench-limited (headroom under 1.3): at best they bound the cost; the note beside each says which way.",
            evidence.results.len()
        ));
    }
    for threshold in &evidence.plan.thresholds {
        let subject = threshold.subject();
        let row = evidence.results.iter().find(|row| (row.protocol, row.object, row.kpi) == subject);
        if row.is_some_and(|row| row.bench_limited) {
            cautions.push(format!("Threshold '{threshold}' was judged by a bench-limited number."));
        }
    }
    if evidence.certificate.is_some_and(|certificate| certificate.blocks == 1) {
        cautions.push(
            "One reference block cannot show whether the bench drifted; set reference_blocks to 2 or more.".to_owned(),
        );
    }
    if let Some(drops) =
        evidence.certificate.map(|certificate| certificate.udp_receive_drops).filter(|drops| *drops > 0)
    {
        cautions.push(format!(
            "The bench itself dropped {drops} datagrams for want of receive buffer; raise net.core.rmem_max or lower the load."
        ));
    }
    if !evidence.plan.phases.as_rfc9411_recommends() {
        cautions.push(format!(
            "The phases are shorter than RFC 9411 §4.3.4 recommends (at least 300 s of sustain): the sustain phase lasts {}.",
            evidence.plan.phases.sustain
        ));
    }
    match whole_pairs(evidence.blocks) {
        0 => cautions.push("No whole pair of ON and BYPASS blocks was measured, so there is no cost.".to_owned()),
        pairs @ 1..6 => cautions.push(format!(
            "Fewer than six pairs ({pairs}) are an indication, not a measurement; six are the least for an interval."
        )),
        _ => {}
    }
    cautions
}

fn whole_pairs(blocks: &[BlockRecord]) -> usize {
    let pairs_of = |arm: Arm| -> BTreeSet<u32> {
        blocks.iter().filter(|block| block.arm == arm && block.void.is_none()).filter_map(|block| block.pair).collect()
    };
    pairs_of(Arm::On).intersection(&pairs_of(Arm::Bypass)).count()
}
