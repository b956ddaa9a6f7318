//! Runs beside one another: each row of a chosen baseline with the same row of other runs, and how much dearer decryption was there, with an
//! interval. Pure; reads of a record only what it needs. It does not judge whether runs *should* be compared: what differs between them is
//! said in [`Side`] and in `cautions`, and the reader decides.
//!
//! Invariant: a change is given only where both costs have an interval; nothing is averaged across protocols, objects or KPIs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::Object;
use crate::protocol::Protocol;
use crate::record::{Kpi, ResultRow, RunStatus, Tool};
use crate::stats::paired::CostEstimate;
use crate::stats::student;

/// Runs beside the baseline at most; a person compares no more, and each record is read from the disk.
pub const MOST_RUNS: usize = 8;
/// Confidence of every interval here, as in the records.
const CONFIDENCE: f64 = 0.95;

/// The words of a record that a comparison needs; the rest is skipped unread.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Comparable {
    /// Id of the run.
    pub id: String,
    /// Start, RFC 3339.
    pub started: String,
    /// Program that made the record.
    pub tool: Tool,
    /// How it ended.
    pub status: RunStatus,
    /// Whether any claim may be made from it.
    pub valid: bool,
    /// Its rows.
    pub results: Vec<ResultRow>,
    /// The device.
    pub dut: Device,
    /// The plan's name.
    pub plan: Named,
}

/// Of the device, what tells it from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Who made it.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Software version.
    pub version: String,
}

/// Of a plan, its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Name.
    pub name: String,
}

/// Runs beside one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// The run the others are compared with.
    pub baseline: Side,
    /// The others, in the order asked for.
    pub runs: Vec<Side>,
    /// One row for each protocol, object and KPI that any of them has, in the order of the baseline, then of the others.
    pub rows: Vec<Row>,
}

/// One run of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Side {
    /// Id.
    pub id: String,
    /// The plan's name.
    pub plan: String,
    /// Start, RFC 3339.
    pub started: String,
    /// The device.
    pub device: Device,
    /// Whether any claim may be made from it.
    pub valid: bool,
    /// What a reader must know before comparing it with the baseline; one sentence each.
    pub cautions: Vec<String>,
}

/// One protocol, object and KPI across the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// Protocol.
    pub protocol: Protocol,
    /// Object class.
    pub object: Object,
    /// KPI.
    pub kpi: Kpi,
    /// Unit of `on` and `bypass`.
    pub unit: String,
    /// The baseline's; `None` when it has no such row.
    pub baseline: Option<Cell>,
    /// Those of the other runs, in their order.
    pub runs: Vec<Option<Cell>>,
}

/// One row of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cell {
    /// Mean over the ON blocks.
    pub on: Option<f64>,
    /// Mean over the BYPASS blocks.
    pub bypass: Option<f64>,
    /// Cost of decryption in that run.
    pub cost: Option<CostEstimate>,
    /// The number says something about the bench.
    pub bench_limited: bool,
    /// Its cost against that of the baseline; `None` for the baseline, and where one of the two has no interval.
    pub change: Option<Change>,
}

/// How the cost of a run stands to that of the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Cost ratio of the run divided by that of the baseline; above 1 the ratio grew.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The interval leaves out 1: the two costs differ.
    pub differs: bool,
}

/// Puts runs beside `baseline`.
#[must_use]
pub fn compare(baseline: &Comparable, others: &[Comparable]) -> Comparison {
    let mut keys: Vec<(Protocol, Object, Kpi, &str)> = Vec::new();
    for row in baseline.results.iter().chain(others.iter().flat_map(|run| &run.results)) {
        let key = (row.protocol, row.object, row.kpi, row.unit.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let rows = keys.into_iter().map(|key| {
        let of = |run: &Comparable| {
            run.results.iter().find(|row| (row.protocol, row.object, row.kpi, row.unit.as_str()) == key).map(cell)
        };
        let first = of(baseline);
        let against = first.as_ref().and_then(|cell| cell.cost);
        let runs = others.iter().map(|run| {
            let mut cell = of(run)?;
            cell.change = against.zip(cell.cost).and_then(|(baseline, cost)| change(&baseline, &cost));
            Some(cell)
        });
        let (protocol, object, kpi, unit) = key;
        Row { protocol, object, kpi, unit: unit.to_owned(), runs: runs.collect(), baseline: first }
    });
    Comparison {
        rows: rows.collect(),
        runs: others.iter().map(|run| side(run, Some(baseline))).collect(),
        baseline: side(baseline, None),
    }
}

fn cell(row: &ResultRow) -> Cell {
    Cell { on: row.on, bypass: row.bypass, cost: row.cost, bench_limited: row.bench_limited, change: None }
}

/// Ratio of two independent ratios. Each interval is `exp(mean ± t·se)` over its pairs, so the standard errors come back out of it; their
/// degrees of freedom are joined after Welch and Satterthwaite (B. L. Welch, Biometrika 34, 1947).
fn change(baseline: &CostEstimate, run: &CostEstimate) -> Option<Change> {
    let (one, two) = (spread(baseline)?, spread(run)?);
    let variance = one.variance + two.variance;
    let mean = (run.ratio / baseline.ratio).ln();
    let margin = if variance > 0.0 {
        let df = variance.powi(2) / (one.variance.powi(2) / one.df + two.variance.powi(2) / two.df);
        // Rounded down: fewer degrees of freedom give the wider interval.
        student::quantile(CONFIDENCE, df.floor().clamp(1.0, 1e6) as u32)? * variance.sqrt()
    } else {
        0.0
    };
    let change = Change {
        ratio: mean.exp(),
        low: (mean - margin).exp(),
        high: (mean + margin).exp(),
        differs: mean.abs() > margin,
    };
    [change.ratio, change.low, change.high].iter().all(|number| number.is_finite()).then_some(change)
}

struct Spread {
    /// Variance of the mean of the logarithms.
    variance: f64,
    df: f64,
}

fn spread(cost: &CostEstimate) -> Option<Spread> {
    let (low, high) = (cost.low?, cost.high?);
    let df = cost.pairs.checked_sub(1)?;
    let t = student::quantile(CONFIDENCE, df)?;
    let standard_error = (high / low).ln() / 2.0 / t;
    (standard_error.is_finite() && cost.ratio > 0.0)
        .then(|| Spread { variance: standard_error.powi(2), df: f64::from(df) })
}

fn side(run: &Comparable, baseline: Option<&Comparable>) -> Side {
    let mut cautions = Vec::new();
    if !run.valid {
        cautions.push("Nothing may be claimed from this run; its report says why.".to_owned());
    }
    if run.status == RunStatus::Interrupted {
        cautions.push("This run was interrupted, so it has fewer blocks than its plan.".to_owned());
    }
    if let Some(baseline) = baseline {
        if run.plan.name != baseline.plan.name {
            cautions
                .push(format!("Its plan '{}' is another than the baseline's '{}'.", run.plan.name, baseline.plan.name));
        }
        if run.dut != baseline.dut {
            cautions.push("The device or its software is another than the baseline's.".to_owned());
        }
        if run.tool != baseline.tool {
            cautions.push("It was measured by another build of the bench than the baseline.".to_owned());
        }
    }
    Side {
        id: run.id.clone(),
        plan: run.plan.name.clone(),
        started: run.started.clone(),
        device: run.dut.clone(),
        valid: run.valid,
        cautions,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::stats::paired::cost;

    fn run(id: &str, pairs: &[(f64, f64)]) -> Comparable {
        let row = ResultRow {
            protocol: Protocol::H3,
            object: Object::Kb1,
            object_bytes: 1024,
            kpi: Kpi::HandshakeTime,
            unit: "ms".to_owned(),
            on: Some(3.0),
            bypass: Some(2.0),
            reference: None,
            cost: Some(cost(pairs).unwrap()),
            headroom: Some(2.0),
            bench_limited: false,
            note: None,
        };
        Comparable {
            id: id.to_owned(),
            started: "2026-01-31T23:59:59Z".to_owned(),
            tool: Tool { name: "tbi".to_owned(), version: "0.1.0".to_owned(), commit: None },
            status: RunStatus::Completed,
            valid: true,
            results: vec![row],
            dut: Device { vendor: "v".to_owned(), model: "m".to_owned(), version: "1".to_owned() },
            plan: Named { name: "quick".to_owned() },
        }
    }

    const STEADY: [(f64, f64); 6] = [(2.0, 1.0), (2.02, 1.0), (1.98, 1.0), (2.01, 1.0), (1.99, 1.0), (2.0, 1.0)];

    #[test]
    fn a_cost_that_doubled_differs_and_the_same_one_does_not() {
        let dearer: Vec<_> = STEADY.iter().map(|(on, bypass)| (on * 2.0, *bypass)).collect();
        let compared = compare(&run("a", &STEADY), &[run("b", &STEADY), run("c", &dearer)]);
        let change = |index: usize| compared.rows[0].runs[index].as_ref().unwrap().change.unwrap();
        assert!(!change(0).differs && (change(0).ratio - 1.0).abs() < 1e-9);
        assert!(change(1).differs && (change(1).ratio - 2.0).abs() < 1e-9, "{:?}", change(1));
        assert!(change(1).low > 1.95 && change(1).high < 2.05);
        assert_eq!(compared.rows[0].baseline.as_ref().unwrap().change, None);
    }

    #[test]
    fn with_one_pair_there_is_no_interval_and_so_no_change() {
        let compared = compare(&run("a", &STEADY), &[run("b", &STEADY[..1])]);
        assert_eq!(compared.rows[0].runs[0].as_ref().unwrap().change, None);
    }

    #[test]
    fn what_differs_between_runs_is_said_and_rows_of_only_one_of_them_are_kept() {
        let mut other = run("b", &STEADY);
        other.dut.version = "2".to_owned();
        other.plan.name = "mine".to_owned();
        other.valid = false;
        other.results[0].protocol = Protocol::H2;
        let compared = compare(&run("a", &STEADY), &[other]);
        assert_eq!(compared.rows.len(), 2);
        assert!(compared.rows[0].runs[0].is_none() && compared.rows[1].baseline.is_none());
        let said = compared.runs[0].cautions.join(" ");
        for words in ["may be claimed", "'mine'", "device"] {
            assert!(said.contains(words), "{said}");
        }
        assert!(compared.baseline.cautions.is_empty());
    }

    proptest! {
        #[test]
        fn the_other_way_round_is_the_inverse(
            one in prop::collection::vec((0.5f64..5.0, 0.5f64..5.0), 2..12),
            two in prop::collection::vec((0.5f64..5.0, 0.5f64..5.0), 2..12),
        ) {
            let (one, two) = (run("a", &one), run("b", &two));
            let there = compare(&one, std::slice::from_ref(&two)).rows[0].runs[0].as_ref().unwrap().change;
            let back = compare(&two, &[one]).rows[0].runs[0].as_ref().unwrap().change;
            if let (Some(there), Some(back)) = (there, back) {
                prop_assert!((there.ratio * back.ratio - 1.0).abs() < 1e-9);
                prop_assert!((there.low * back.high - 1.0).abs() < 1e-6);
                prop_assert_eq!(there.differs, back.differs);
                prop_assert!(there.low <= there.ratio && there.ratio <= there.high);
            }
        }
    }
}
