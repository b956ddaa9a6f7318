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
        note: note(plan, protocol, kpi, cost.is_some(), headroom, bench_limited),
    }
}

fn mean_of(values: &[(Option<u32>, f64)]) -> Option<f64> {
    mean(&values.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

/// Words without which the number would mislead.
fn note(
    plan: &Plan,
    protocol: Protocol,
    kpi: Kpi,
    has_cost: bool,
    headroom: Option<f64>,
    limited: bool,
) -> Option<String> {
    if plan.expectation(Arm::On, protocol) == Expected::Blocked {
        return Some(format!(
            "the device blocks {protocol} when ON, so there is no {kpi} to compare; see the QUIC class and its fallback penalty"
        ));
    }
    if headroom.is_none() {
        return Some("no bench certificate for this number, so nothing may be claimed from it".to_owned());
    }
    if limited && kpi.more_is_worse() {
        return Some("bench-limited: the offered rate is close to what the bench itself can open, so queueing in the bench is in this time".to_owned());
    }
    if limited {
        return Some(
            "bench-limited: the bench itself was the limit with BYPASS, so decryption costs at least this much"
                .to_owned(),
        );
    }
    (!has_cost).then(|| "no whole pair of ON and BYPASS blocks was measured".to_owned())
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
