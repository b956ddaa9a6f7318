//! Bench certificate (A7, RFC 9411 §5): what the bench does without a device, and how far what was asked stayed below it.

use crate::analysis::{counted, mean};
use crate::object::Object;
use crate::plan::Plan;
use crate::protocol::{Arm, Protocol};
use crate::record::{BlockRecord, Certificate, Headroom, Kpi, ReferenceDrift, TrialKind};

/// The certificate of a run; `None` when no reference block was measured.
#[must_use]
pub fn certificate(plan: &Plan, blocks: &[BlockRecord]) -> Option<Certificate> {
    let references = blocks.iter().filter(|block| block.arm == Arm::Reference && block.void.is_none()).count() as u32;
    if references == 0 {
        return None;
    }
    let mut headroom = Vec::new();
    let mut drift = Vec::new();
    let mut whole = true;
    for &protocol in &plan.protocols {
        for &object in &plan.objects {
            for kind in [TrialKind::Latency, TrialKind::ConnectionRate, TrialKind::Capacity] {
                if !plan.measures(kind, object) {
                    continue;
                }
                match headroom_of(plan, blocks, protocol, object, kind) {
                    Some(entry) => headroom.push(entry),
                    None => whole = false,
                }
            }
            for kpi in [Kpi::ConnectionsPerSecond, Kpi::TransactionsPerSecond] {
                let values = values(blocks, Arm::Reference, protocol, object, kpi);
                if let Some(relative) = spread(&values) {
                    drift.push(ReferenceDrift { protocol, object, kpi, relative });
                }
            }
        }
    }
    let limit = f64::from(plan.drift_limit_per_mille) / 1000.0;
    let mut lags: Vec<u64> = counted(blocks)
        .filter(|(block, trial)| block.arm != Arm::Reference && trial.kind == TrialKind::Latency)
        .filter_map(|(_, trial)| trial.schedule_lag_p99_us)
        .collect();
    lags.sort_unstable();
    Some(Certificate {
        blocks: references,
        holds: whole && drift.iter().all(|entry| entry.relative <= limit),
        headroom,
        drift,
        busiest_worker: counted(blocks).map(|(_, trial)| trial.witness.busiest_worker).fold(0.0, f64::max),
        schedule_lag_p99_us: lags.get(lags.len() / 2).copied(),
        udp_receive_drops: counted(blocks).map(|(_, trial)| trial.witness.udp_receive_drops).sum(),
    })
}

fn headroom_of(
    plan: &Plan,
    blocks: &[BlockRecord],
    protocol: Protocol,
    object: Object,
    kind: TrialKind,
) -> Option<Headroom> {
    // Latency is asked at a fixed rate of fresh connections, so its limit is the bench's own connection rate.
    let kpi = match kind {
        TrialKind::Latency | TrialKind::ConnectionRate => Kpi::ConnectionsPerSecond,
        TrialKind::Capacity => Kpi::TransactionsPerSecond,
    };
    let reached = mean(&values(blocks, Arm::Reference, protocol, object, kpi))?;
    let asked = match kind {
        TrialKind::Latency => plan.latency.rate.as_per_second(),
        TrialKind::ConnectionRate | TrialKind::Capacity => {
            let arms =
                [Arm::On, Arm::Bypass].map(|arm| mean(&values(blocks, arm, protocol, object, kpi)).unwrap_or(0.0));
            let larger = arms[0].max(arms[1]);
            if larger <= 0.0 {
                return None;
            }
            larger
        }
    };
    Some(Headroom { protocol, object, kind, reached, asked, headroom: reached / asked })
}

fn values(blocks: &[BlockRecord], arm: Arm, protocol: Protocol, object: Object, kpi: Kpi) -> Vec<f64> {
    counted(blocks)
        .filter(|(block, trial)| block.arm == arm && (trial.protocol, trial.object) == (protocol, object))
        .filter_map(|(_, trial)| trial.kpis.get(&kpi).copied())
        .collect()
}

/// Largest relative difference between two values; `None` for fewer than two.
fn spread(values: &[f64]) -> Option<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    (values.len() > 1 && low > 0.0).then(|| high / low - 1.0)
}
