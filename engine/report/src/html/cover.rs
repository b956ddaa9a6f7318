//! The cover: verdict, validity, and what decryption costs in one sentence and four numbers per protocol.

use tbi_bench::preflight::Preflight;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, RunRecord, Verdict};

use crate::claim::{self, Bound, Claim};
use crate::number;
use crate::text;
use crate::words;

pub(crate) struct Cover {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) verdict: &'static str,
    pub(crate) verdict_class: &'static str,
    pub(crate) verdict_sentence: String,
    pub(crate) labels: Vec<String>,
    pub(crate) protocols: Vec<Headline>,
    pub(crate) reasons: Vec<String>,
    pub(crate) facts: Vec<(&'static str, String)>,
}

/// What a protocol costs.
pub(crate) struct Headline {
    pub(crate) name: &'static str,
    /// What follows the name.
    pub(crate) sentence: String,
    /// Whether the arms were what their labels say.
    pub(crate) proof: String,
    pub(crate) proof_class: &'static str,
    pub(crate) cards: Vec<Card>,
}

/// One large number.
pub(crate) struct Card {
    pub(crate) title: String,
    pub(crate) ratio: String,
    pub(crate) interval: String,
    pub(crate) values: String,
    pub(crate) mark: &'static str,
}

impl Cover {
    pub(crate) fn of(record: &RunRecord) -> Self {
        let verdict_class = match record.verdict {
            Verdict::Passed => "good",
            Verdict::Failed => "bad",
            Verdict::NotMeasured => "void",
        };
        let bypass = record.preflight.as_ref().and_then(Preflight::caution);
        Self {
            name: record.plan.name.clone(),
            id: record.id.clone(),
            verdict: words::verdict(record.verdict),
            verdict_class,
            verdict_sentence: words::verdict_sentence(record),
            labels: claim::labels(record),
            protocols: claim::protocols(record).into_iter().map(|protocol| headline(record, protocol)).collect(),
            // The bypass stands above, in a place of its own.
            reasons: record.reasons.iter().filter(|reason| Some(*reason) != bypass.as_ref()).cloned().collect(),
            facts: facts(record),
        }
    }
}

fn headline(record: &RunRecord, protocol: Protocol) -> Headline {
    let name = words::protocol(protocol);
    let sentence = claim::headline(record, protocol);
    let proof: Vec<String> = [Arm::On, Arm::Bypass]
        .into_iter()
        .filter_map(|arm| record.proof.iter().find(|row| row.protocol == protocol && row.arm == arm))
        .map(|row| format!("{}: {}", words::arm(row.arm), text::proof_sentence(record, row)))
        .collect();
    let holds = record.proof.iter().filter(|row| row.protocol == protocol).all(|row| row.as_expected);
    Headline {
        name,
        sentence: sentence.strip_prefix(name).map_or_else(|| sentence.clone(), str::to_owned),
        proof: match (proof.is_empty(), holds) {
            (true, _) => "Not proven: no connection was measured.".to_owned(),
            (false, true) => format!("Proven. {}.", proof.join("; ")),
            (false, false) => format!("Not as expected. {}.", proof.join("; ")),
        },
        proof_class: if holds { "" } else { "bad" },
        cards: cards(record, protocol),
    }
}

/// A time stamp as people read it; anything that is not `2026-11-21T10:15:00Z` as it is.
fn moment(stamp: &str) -> String {
    match stamp.strip_suffix('Z').and_then(|stamp| stamp.split_once('T')) {
        Some((day, time)) if day.len() == 10 => {
            let time = time.split_once('.').map_or(time, |(seconds, _)| seconds);
            format!("{day} {time} UTC")
        }
        _ => stamp.to_owned(),
    }
}

fn cards(record: &RunRecord, protocol: Protocol) -> Vec<Card> {
    [Kpi::HandshakeTime, Kpi::TimeToFirstByte, Kpi::TransactionsPerSecond, Kpi::Throughput]
        .into_iter()
        .filter_map(|kpi| claim::headline_row(record, protocol, kpi))
        .filter_map(|row| {
            let Claim::Claimed(cost, bound) = Claim::of(record, row) else { return None };
            let interval = match (cost.low, cost.high) {
                (Some(low), Some(high)) => format!("{} – {}", number::ratio(low), number::ratio(high)),
                _ => "one pair, no interval".to_owned(),
            };
            let ratio = match bound {
                Bound::Neither => number::NONE.to_owned(),
                _ => format!("{}{}", bound.sign(), number::ratio(cost.ratio)),
            };
            Some(Card {
                title: format!("{}, {}", row.kpi.title(), words::object(row.object)),
                ratio,
                interval,
                values: format!("{} against {} {}", number::optional(row.on), number::optional(row.bypass), row.unit),
                mark: match bound {
                    Bound::Exact if cost.indicative => "indicative",
                    Bound::Exact if claim::covers_one(&cost) => "not distinguishable from no cost",
                    Bound::Exact => "",
                    Bound::AtLeast => "bench-limited: the cost is at least this",
                    Bound::Neither => "bench-limited in both arms: no claim",
                    Bound::BenchShare => "bench-limited",
                },
            })
        })
        .collect()
}

fn facts(record: &RunRecord) -> Vec<(&'static str, String)> {
    let plan = &record.plan;
    let dut = &record.dut;
    let device = [&dut.vendor, &dut.model, &dut.version].map(String::as_str);
    let device: Vec<&str> = device.into_iter().filter(|word| !word.is_empty()).collect();
    let measured = record.blocks.iter().filter(|block| block.void.is_none()).count();
    vec![
        ("Started", moment(&record.started)),
        ("Ended", format!("{}, {}", moment(&record.ended), words::status(record.status))),
        ("Device under test", if device.is_empty() { "not known".to_owned() } else { device.join(" ") }),
        ("Tester", format!("TLSStress.Art TBI, {} {}", record.tool.name, record.tool.version)),
        ("Experiment", words::experiment(plan.experiment).to_owned()),
        ("Protocols", claim::protocols(record).into_iter().map(words::protocol).collect::<Vec<_>>().join(", ")),
        ("TLS", format!("{}; {} certificates", words::tls(plan), words::key(plan.key))),
        (
            "Addresses",
            format!("{}; {} personas as servers", words::family(plan.family), number::count(plan.personas.into())),
        ),
        (
            "Measured",
            format!(
                "{} of {} blocks count; plan: {} and {} reference blocks, sustain phase {}, seed {}",
                measured,
                record.blocks.len(),
                words::pairs(plan.pairs),
                plan.reference_blocks,
                number::span(plan.phases.sustain),
                plan.seed
            ),
        ),
        ("Run", record.id.clone()),
    ]
}
