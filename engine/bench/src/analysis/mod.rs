//! From blocks to claims: KPI values, costs, proof, certificate, and whether anything may be claimed at all.
//!
//! Pure and deterministic: the same blocks give the same rows, so a record can be re-analysed from itself. Costs are formed only from
//! whole pairs of blocks that count. Percentiles of an arm come from merged histograms; ON, BYPASS and reference of a row are means over
//! blocks, because a block is what is compared ([`crate::stats`]).

mod certificate;
mod conclusion;
mod results;

use std::collections::BTreeMap;

pub use certificate::certificate;
pub use conclusion::{Conclusion, Evidence, conclude};
pub use results::{proof, results};

use crate::control::engine::TrialReport;
use crate::record::{BlockRecord, Kpi, TrialKind, TrialRecord};

/// Connections of an arm that must be in the expected class, per ten thousand (A4: 99.99 %).
pub const REQUIRED_PER_10_000: u64 = 9_999;
/// Headroom under which a KPI is bench-limited (A7).
pub const BENCH_LIMITED: f64 = 1.3;

/// KPI values of one trial. A KPI without a single sample is absent.
#[must_use]
pub fn kpis(kind: TrialKind, report: &TrialReport) -> BTreeMap<Kpi, f64> {
    let mut values = BTreeMap::new();
    let seconds = report.sustain.as_secs_f64();
    match kind {
        TrialKind::Latency => {
            let timings = &report.timings;
            for (kpi, histogram) in [
                (Kpi::HandshakeTime, &timings.handshake_service),
                (Kpi::TimeToFirstByte, &timings.ttfb_service),
                (Kpi::TimeToLastByte, &timings.ttlb_service),
                (Kpi::DutAddedTime, &timings.dut_added),
            ] {
                if let Some(us) = histogram.quantile(0.5) {
                    values.insert(kpi, us as f64 / 1000.0);
                }
            }
        }
        TrialKind::ConnectionRate if seconds > 0.0 => {
            values.insert(Kpi::ConnectionsPerSecond, report.attempts.succeeded as f64 / seconds);
        }
        TrialKind::Capacity if seconds > 0.0 => {
            values.insert(Kpi::TransactionsPerSecond, report.attempts.succeeded as f64 / seconds);
            values.insert(Kpi::Throughput, report.body_bytes as f64 * 8.0 / seconds / 1e6);
        }
        TrialKind::ConnectionRate | TrialKind::Capacity => {}
    }
    values
}

/// Trials of the blocks that count.
fn counted(blocks: &[BlockRecord]) -> impl Iterator<Item = (&BlockRecord, &TrialRecord)> {
    blocks
        .iter()
        .filter(|block| block.void.is_none())
        .flat_map(|block| block.trials.iter().map(move |trial| (block, trial)))
}

/// Mean of values; `None` for none.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests;
