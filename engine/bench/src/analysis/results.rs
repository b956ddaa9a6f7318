//! Result rows (ON, BYPASS, cost, headroom) and proof rows.

use crate::analysis::{BENCH_LIMITED, REQUIRED_PER_10_000, counted, mean};
use crate::mode_check::Expected;
use crate::object::Object;
use crate::plan::Plan;
use crate::proof::InterceptionCounts;
use crate::protocol::{Arm, Protocol};
use crate::record::{BlockRecord, Certificate, Kpi, ProofRow, ResultRow};
use crate::stats::paired;

/// Resamples of the block bootstrap; enough that its own noise is below the second digit of an interval.
const RESAMPLES: u32 = 2000;

/// One row per protocol, object and KPI that the plan measures.
#[must_use]
pub fn results(plan: &Plan, blocks: &[BlockRecord], certificate: Option<&Certificate>) -> Vec<ResultRow> {
    let mut rows = Vec::new();
    for &protocol in &plan.protocols {
        for &object in &plan.objects {
            for kpi in Kpi::ALL {
                if !plan.measures(kpi.trial(), object) {
                    continue;
                }
                rows.push(row(plan, blocks, certificate, protocol, object, kpi));
            }
        }
    }
    rows
}

fn row(
    plan: &Plan,
    blocks: &[BlockRecord],
    certificate: Option<&Certificate>,
    protocol: Protocol,
    object: Object,
    kpi: Kpi,
) -> ResultRow {
    let values = |arm: Arm| -> Vec<(Option<u32>, f64)> {
        counted(blocks)
            .filter(|(block, trial)| block.arm == arm && (trial.protocol, trial.object) == (protocol, object))
            .filter_map(|(block, trial)| trial.kpis.get(&kpi).map(|value| (block.pair, *value)))
            .collect()
    };
    let (on, bypass, reference) = (values(Arm::On), values(Arm::Bypass), values(Arm::Reference));
    let pairs: Vec<(f64, f64)> = on
        .iter()
        .filter_map(|(pair, on)| bypass.iter().find(|(other, _)| other == pair).map(|(_, bypass)| (*on, *bypass)))
        .collect();
    let headroom = certificate.and_then(|certificate| {
        certificate
            .headroom
            .iter()
            .find(|entry| (entry.protocol, entry.object, entry.kind) == (protocol, object, kpi.trial()))
            .map(|entry| entry.headroom)
    });
    let bench_limited = headroom.is_some_and(|headroom| headroom < BENCH_LIMITED);
    let cost = paired::estimate(&pairs, plan.seed, RESAMPLES).ok();
    ResultRow {
        protocol,
        object,
        object_bytes: object.bytes(),
        kpi,
        unit: kpi.unit().to_owned(),
        on: mean_of(&on),
        bypass: mean_of(&bypass),
        reference: mean_of(&reference),
        cost,
        headroom,
        bench_limited,
        note: if let Some(note) = blocked(plan, protocol, kpi) {
            Some(note)
        } else if headroom.is_none() {
            Some("no bench certificate for this number, so nothing may be claimed from it".to_owned())
        } else if bench_limited {
            Some(limited(kpi, mean_of(&on), mean_of(&reference)).to_owned())
        } else if cost.is_some() {
            None
        } else if pairs.is_empty() {
            Some("no whole pair of ON and BYPASS blocks was measured".to_owned())
        } else {
            Some("a value was zero, and no ratio can be formed with zero".to_owned())
        },
    }
}

fn mean_of(values: &[(Option<u32>, f64)]) -> Option<f64> {
    mean(&values.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

/// What to say instead of a cost when the device lets the protocol through in one arm only.
fn blocked(plan: &Plan, protocol: Protocol, kpi: Kpi) -> Option<String> {
    (plan.expectation(Arm::On, protocol) == Expected::Blocked).then(|| {
        format!(
            "the device blocks {protocol} when ON, so there is no {kpi} to compare; see the QUIC class and its fallback penalty"
        )
    })
}

/// What a bench-limited number still says. The row's headroom is that of the faster arm; a rate of ON has its own.
fn limited(kpi: Kpi, on: Option<f64>, reference: Option<f64>) -> &'static str {
    if kpi.more_is_worse() {
        return "bench-limited: the offered rate is close to what the bench itself can open, so queueing in the bench is in this time";
    }
    match (on, reference) {
        (Some(on), Some(reference)) if on > 0.0 && reference / on >= BENCH_LIMITED => {
            "bench-limited: the bench itself was the limit with BYPASS, so decryption costs at least this much"
        }
        _ => "bench-limited in both arms: the bench itself was the limit, so the ratio bounds nothing",
    }
}

/// One row per protocol and arm that had connections.
#[must_use]
pub fn proof(plan: &Plan, blocks: &[BlockRecord]) -> Vec<ProofRow> {
    let mut rows = Vec::new();
    for &protocol in &plan.protocols {
        for arm in [Arm::On, Arm::Bypass, Arm::Reference] {
            let mut counts = InterceptionCounts::default();
            let (mut issuer_dut_ca, mut issuer_persona_ca) = (0, 0);
            for (_, trial) in counted(blocks).filter(|(block, trial)| block.arm == arm && trial.protocol == protocol) {
                counts.merge(&trial.proof);
                issuer_dut_ca += trial.observed.issuer_dut_ca;
                issuer_persona_ca += trial.observed.issuer_persona_ca;
            }
            if counts.total() == 0 {
                continue;
            }
            let expected = match plan.expectation(arm, protocol) {
                Expected::Class(class) => counts.of(class),
                Expected::Blocked => counts.unknown,
            };
            rows.push(ProofRow {
                protocol,
                arm,
                intercepted: counts.intercepted,
                end_to_end: counts.end_to_end,
                altered: counts.altered,
                unknown: counts.unknown,
                as_expected: expected * 10_000 >= counts.total() * REQUIRED_PER_10_000,
                issuer_dut_ca,
                issuer_persona_ca,
            });
        }
    }
    rows
}
