//! Evidence behind the claims: proof of decryption, QUIC class, bench certificate.

use tbi_bench::protocol::Arm;
use tbi_bench::record::{Kpi, RunRecord};

use super::table::Table;
use crate::claim::HeadroomGrade;
use crate::number;
use crate::text;
use crate::words;

/// Connections per class, protocol and arm.
pub(crate) fn proof(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Connections per class. A connection is intercepted when agent and persona derived different keying material from it, end to end \
         when they derived the same (TLS exporter, RFC 8446 §7.5). An arm is as expected when at least 99.99 % of its connections are \
         in the class its label stands for. DUT CA and persona CA corroborate: the authority to which the leaf certificates chain.",
        &[
            "Protocol",
            "Arm",
            "Expected",
            "#Intercepted",
            "#End to end",
            "#Altered",
            "#No answer",
            "#In class",
            "#DUT CA",
            "#Persona CA",
            "Verdict",
        ],
    );
    let mut rows: Vec<_> = record.proof.iter().collect();
    rows.sort_by_key(|row| (row.protocol, row.arm));
    for row in rows {
        let total = number::total([row.intercepted, row.end_to_end, row.altered, row.unknown]);
        let expected = text::expected_class(record, row.arm, row.protocol);
        let in_class = match expected {
            "intercepted" => row.intercepted,
            "blocked" => row.unknown,
            _ => row.end_to_end,
        };
        table.row(vec![
            words::protocol(row.protocol).to_owned(),
            words::arm(row.arm).to_owned(),
            expected.to_owned(),
            number::count(row.intercepted),
            number::count(row.end_to_end),
            number::count(row.altered),
            number::count(row.unknown),
            number::share(in_class, total),
            number::count(row.issuer_dut_ca),
            number::count(row.issuer_persona_ca),
            if row.as_expected { "✓ as expected" } else { "✗ not as expected" }.to_owned(),
        ]);
        table.mark_last(if row.as_expected { "good" } else { "bad" });
    }
    table
}

/// One judgement on QUIC.
pub(crate) struct Quic {
    pub(crate) arm: &'static str,
    pub(crate) class: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) evidence: String,
    pub(crate) alt_svc: &'static str,
    pub(crate) penalty: String,
    pub(crate) leaks: String,
}

pub(crate) fn quic(record: &RunRecord) -> Vec<Quic> {
    record
        .quic
        .iter()
        .map(|row| {
            let verdict = &row.verdict;
            let (class, meaning) = words::quic_class(verdict.class);
            Quic {
                arm: words::arm(row.arm),
                class,
                meaning,
                evidence: verdict.evidence.clone(),
                alt_svc: words::alt_svc(verdict.alt_svc),
                penalty: verdict.fallback_penalty.map_or_else(
                    || "none: no HTTP/3 attempt fell back to HTTP/2".to_owned(),
                    |penalty| {
                        format!(
                            "{} later first byte (median of {} fallbacks), {}",
                            number::span(penalty.median),
                            number::count(penalty.samples),
                            words::penalty_kind(penalty.kind)
                        )
                    },
                ),
                leaks: verdict.leaks.join(", "),
            }
        })
        .collect()
}

/// The bench certificate.
pub(crate) struct Certificate {
    pub(crate) sentence: String,
    pub(crate) class: &'static str,
    pub(crate) headroom: Table,
    pub(crate) drift: Table,
    pub(crate) witnesses: Table,
}

impl Certificate {
    pub(crate) fn of(record: &RunRecord) -> Self {
        let Some(certificate) = &record.certificate else {
            return Self {
                sentence: "There is none: no reference block was measured, so it is not known how much of any number is the bench itself. \
                           Every result is withheld."
                    .to_owned(),
                class: "void",
                headroom: Table::default(),
                drift: Table::default(),
                witnesses: witnesses(record),
            };
        };
        let worst =
            certificate.drift.iter().map(|drift| drift.relative).filter(|drift| drift.is_finite()).reduce(f64::max);
        let limit = number::percent(f64::from(record.plan.drift_limit_per_mille) / 1000.0);
        let drift = worst.map_or_else(
            || "whether the bench drifted is not known, for that takes two".to_owned(),
            |worst| format!("the largest drift between them is {} (limit {limit})", number::percent(worst)),
        );
        let blocks = match certificate.blocks {
            1 => "1 reference block".to_owned(),
            blocks => format!("{blocks} reference blocks"),
        };
        let sentence = format!(
            "{} It rests on {blocks} without device, measured in this run with this build; {drift}.",
            if certificate.holds { "The certificate holds." } else { "The certificate does not hold." },
        );
        Self {
            sentence,
            class: if certificate.holds { "good" } else { "bad" },
            headroom: headroom(record),
            drift: drift_table(record),
            witnesses: witnesses(record),
        }
    }
}

fn headroom(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Headroom: what the bench reached without device, divided by what was asked of it. 2 or more is good, 1.3 to 2 flagged, below \
         1.3 bench-limited.",
        &["Protocol", "Object", "Load", "#Reached (1/s)", "#Asked (1/s)", "#Headroom", "Verdict"],
    );
    for entry in record.certificate.iter().flat_map(|certificate| &certificate.headroom) {
        let grade = HeadroomGrade::grade(entry.headroom);
        table.row(vec![
            words::protocol(entry.protocol).to_owned(),
            words::object(entry.object).to_owned(),
            words::kind(entry.kind).to_owned(),
            number::value(entry.reached),
            number::value(entry.asked),
            number::ratio(entry.headroom),
            grade.words().to_owned(),
        ]);
        table.mark_last(match grade {
            HeadroomGrade::Good => "good",
            HeadroomGrade::Flagged => "flagged",
            HeadroomGrade::Limited | HeadroomGrade::Missing => "limited",
        });
    }
    table
}

fn drift_table(record: &RunRecord) -> Table {
    let drift: Vec<_> = record.certificate.iter().flat_map(|certificate| &certificate.drift).collect();
    let kpis: Vec<Kpi> = Kpi::ALL.into_iter().filter(|kpi| drift.iter().any(|drift| drift.kpi == *kpi)).collect();
    let heads: Vec<String> = kpis.iter().map(|kpi| format!("#{}", kpi.title())).collect();
    let heads: Vec<&str> = ["Protocol", "Object"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    let mut table = Table::new("Drift: largest relative difference between two reference blocks.", &heads);
    let mut cells: Vec<_> = drift.iter().map(|drift| (drift.protocol, drift.object)).collect();
    cells.sort_unstable();
    cells.dedup();
    for (protocol, object) in cells {
        let mut row = vec![words::protocol(protocol).to_owned(), words::object(object).to_owned()];
        row.extend(kpis.iter().map(|kpi| {
            let found =
                drift.iter().find(|drift| (drift.protocol, drift.object, drift.kpi) == (protocol, object, *kpi));
            found.map_or_else(|| number::NONE.to_owned(), |drift| number::percent(drift.relative))
        }));
        table.row(row);
    }
    table
}

fn witnesses(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Witnesses of the bench's own machine, sustain phases of all blocks that count. A share under 70 % of a core leaves the engine \
         free to send on time.",
        &[
            "Arm",
            "#Busiest worker",
            "#Schedule lag p99 (ms)",
            "#UDP drops",
            "#Late",
            "#Skipped",
            "UDP segmentation offload",
        ],
    );
    for arm in [Arm::On, Arm::Bypass, Arm::Reference] {
        let trials: Vec<_> = record
            .blocks
            .iter()
            .filter(|block| block.arm == arm && block.void.is_none())
            .flat_map(|block| &block.trials)
            .collect();
        if trials.is_empty() {
            continue;
        }
        let lag = record.distributions.iter().filter(|distribution| distribution.arm == arm).fold(
            tbi_bench::histogram::LatencyHistogram::new(),
            |mut sum, distribution| {
                sum.merge(&distribution.timings.schedule_lag);
                sum
            },
        );
        let quic: Vec<_> = trials.iter().filter(|trial| trial.protocol.is_quic()).collect();
        table.row(vec![
            words::arm(arm).to_owned(),
            number::percent(trials.iter().map(|trial| trial.witness.busiest_worker).fold(0.0, f64::max)),
            lag.quantile(0.99).map_or_else(|| number::NONE.to_owned(), |us| number::us_as_ms(us as f64)),
            number::count(number::total(trials.iter().map(|trial| trial.witness.udp_receive_drops))),
            number::count(number::total(trials.iter().map(|trial| trial.attempts.late))),
            number::count(number::total(trials.iter().map(|trial| trial.attempts.skipped))),
            match quic.iter().filter(|trial| trial.witness.gso).count() {
                _ if quic.is_empty() => number::NONE,
                0 => "not in use",
                on if on == quic.len() => "in use",
                _ => "in some trials",
            }
            .to_owned(),
        ]);
    }
    table
}
