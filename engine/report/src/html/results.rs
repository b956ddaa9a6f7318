//! The executive table: every KPI of every cell with ON, BYPASS, reference, cost and headroom.

use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::record::{Cost, Kpi, ResultRow, RunRecord};

use crate::chart::{Interval, Scale};
use crate::claim::{self, Bound, Claim, HeadroomGrade};
use crate::number;
use crate::words;

pub(crate) struct Results {
    pub(crate) protocols: Vec<ProtocolResults>,
    /// Words under the interval graphics: what their ends stand for.
    pub(crate) axis: String,
    pub(crate) all_indicative: bool,
    pub(crate) notes: Vec<String>,
}

pub(crate) struct ProtocolResults {
    pub(crate) name: &'static str,
    pub(crate) objects: Vec<ObjectResults>,
}

pub(crate) struct ObjectResults {
    pub(crate) name: &'static str,
    pub(crate) bytes: String,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) kpi: &'static str,
    pub(crate) unit: String,
    pub(crate) on: String,
    pub(crate) bypass: String,
    pub(crate) reference: String,
    pub(crate) ratio: String,
    pub(crate) interval: String,
    pub(crate) bootstrap: String,
    pub(crate) cost_class: &'static str,
    pub(crate) graphic: String,
    pub(crate) difference: String,
    pub(crate) difference_interval: String,
    pub(crate) pairs: String,
    pub(crate) headroom: String,
    pub(crate) grade: &'static str,
    pub(crate) grade_class: &'static str,
    /// Numbers of the notes below the table.
    pub(crate) notes: Vec<usize>,
}

impl Results {
    pub(crate) fn of(record: &RunRecord) -> Self {
        let scale = scale(record);
        let mut notes = Vec::new();
        let protocols = claim::protocols(record)
            .into_iter()
            .map(|protocol| ProtocolResults {
                name: words::protocol(protocol),
                objects: claim::objects(record, protocol)
                    .into_iter()
                    .map(|object| object_results(record, protocol, object, &scale, &mut notes))
                    .collect(),
            })
            .filter(|protocol| !protocol.objects.is_empty())
            .collect();
        let axis = scale.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" · ");
        Self { protocols, axis, all_indicative: claim::all_indicative(record), notes }
    }
}

/// How much worse ON is, whichever way the KPI counts: right of 1 is always slower.
fn slower(kpi: Kpi, ratio: f64) -> f64 {
    if kpi.more_is_worse() { ratio } else { 1.0 / ratio }
}

fn scale(record: &RunRecord) -> Scale {
    let (mut low, mut high) = (0.8, 2.0);
    for row in &record.results {
        let Claim::Claimed(cost, _) = Claim::of(record, row) else { continue };
        for ratio in [Some(cost.ratio), cost.low, cost.high].into_iter().flatten() {
            let factor = slower(row.kpi, ratio);
            if factor.is_finite() && factor > 0.0 {
                low = f64::min(low, factor / 1.1);
                high = f64::max(high, factor * 1.1);
            }
        }
    }
    Scale::log(low, high)
}

fn object_results(
    record: &RunRecord,
    protocol: Protocol,
    object: Object,
    scale: &Scale,
    notes: &mut Vec<String>,
) -> ObjectResults {
    let rows: Vec<&ResultRow> =
        record.results.iter().filter(|row| row.protocol == protocol && row.object == object).collect();
    let bytes = rows.first().map_or_else(|| object.bytes(), |row| row.object_bytes);
    ObjectResults {
        name: words::object(object),
        bytes: number::count(bytes),
        rows: Kpi::ALL
            .into_iter()
            .filter_map(|kpi| rows.iter().find(|row| row.kpi == kpi))
            .map(|row| result(record, row, scale, notes))
            .collect(),
    }
}

fn result(record: &RunRecord, row: &ResultRow, scale: &Scale, notes: &mut Vec<String>) -> Row {
    let claim = Claim::of(record, row);
    let grade = HeadroomGrade::of(row);
    let values = |value: Option<f64>| match claim {
        Claim::Withheld => number::NONE.to_owned(),
        Claim::NotMeasured | Claim::NotClaimed(_) | Claim::Claimed(..) => number::optional(value),
    };
    let numbers = claim::remarks(record, row, claim)
        .into_iter()
        .map(|remark| {
            notes.iter().position(|known| *known == remark).unwrap_or_else(|| {
                notes.push(remark);
                notes.len() - 1
            }) + 1
        })
        .collect();
    let dash = || number::NONE.to_owned();
    let mut view = Row {
        kpi: row.kpi.title(),
        unit: row.unit.clone(),
        on: values(row.on),
        bypass: values(row.bypass),
        reference: values(row.reference),
        ratio: dash(),
        interval: String::new(),
        bootstrap: String::new(),
        cost_class: "void",
        graphic: String::new(),
        difference: dash(),
        difference_interval: String::new(),
        pairs: row.cost.map_or_else(dash, |cost| number::count(cost.pairs.into())),
        headroom: row.headroom.map_or_else(dash, number::ratio),
        grade: grade.words(),
        grade_class: match grade {
            HeadroomGrade::Good => "good",
            HeadroomGrade::Flagged => "flagged",
            HeadroomGrade::Limited => "limited",
            HeadroomGrade::Missing => "void",
        },
        notes: numbers,
    };
    match claim {
        Claim::Withheld | Claim::NotMeasured => view.interval = "no claim".to_owned(),
        Claim::NotClaimed(cost) => {
            view.ratio = format!("({})", number::ratio(cost.ratio));
            view.interval = "measured, not claimed".to_owned();
        }
        Claim::Claimed(cost, bound) => claimed(&mut view, row, cost, bound, scale),
    }
    view
}

fn claimed(view: &mut Row, row: &ResultRow, cost: Cost, bound: Bound, scale: &Scale) {
    view.ratio = format!("{}{}", bound.sign(), number::ratio(cost.ratio));
    view.cost_class = if bound == Bound::Neither { "void" } else { "" };
    view.interval = match (cost.low, cost.high) {
        (Some(low), Some(high)) => format!("{} – {}", number::ratio(low), number::ratio(high)),
        _ => "one pair, no interval".to_owned(),
    };
    if let (Some(low), Some(high)) = (cost.bootstrap_low, cost.bootstrap_high) {
        view.bootstrap = format!("bootstrap {} – {}", number::ratio(low), number::ratio(high));
    }
    view.difference = number::signed(cost.difference);
    if let (Some(low), Some(high)) = (cost.difference_low, cost.difference_high) {
        view.difference_interval = format!("{} … {}", number::signed(low), number::signed(high));
    }
    let factor = |ratio: f64| slower(row.kpi, ratio);
    let (low, high) = if row.kpi.more_is_worse() { (cost.low, cost.high) } else { (cost.high, cost.low) };
    let interval = Interval {
        middle: factor(cost.ratio),
        low: low.map(factor),
        high: high.map(factor),
        open: bound == Bound::AtLeast,
    };
    let description = format!(
        "{} {}: ON is {} times slower than BYPASS",
        words::protocol(row.protocol),
        row.kpi.title(),
        number::ratio(interval.middle)
    );
    view.graphic = interval.svg(scale, &description);
}
