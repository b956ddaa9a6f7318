//! A run as a table for spreadsheets (RFC 4180): one line for each KPI of each block, and one for each result. Pure: the same run in the same
//! zone gives the same bytes. Numbers are written as the record has them, with a point and without separators; times are ISO 8601 with their
//! offset in the zone asked for.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tbi_bench::record::ResultRow;

use super::series::Kept;

/// Names of the columns. Units are in `unit`; `cost_*` are ratios of ON to BYPASS with their 95 % interval.
const COLUMNS: [&str; 24] = [
    "run",
    "run_started",
    "run_ended",
    "line",
    "block",
    "arm",
    "pair",
    "began",
    "counts",
    "protocol",
    "object",
    "kpi",
    "unit",
    "value",
    "on",
    "bypass",
    "reference",
    "cost_ratio",
    "cost_low",
    "cost_high",
    "cost_pairs",
    "indicative",
    "headroom",
    "note",
];

/// The whole table.
pub(crate) fn table(kept: &Kept, zone: &TimeZone) -> String {
    let said = &kept.said;
    let moment = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    let start = said.started.parse::<Timestamp>().ok();
    let (started, ended) = (
        start.map_or_else(|| said.started.clone(), moment),
        said.ended.as_deref().map(|ended| ended.parse().map_or_else(|_| ended.to_owned(), moment)).unwrap_or_default(),
    );
    let run = [said.id.as_str(), &started, &ended];
    let mut text = String::new();
    line(&mut text, COLUMNS);
    for block in &kept.told.blocks {
        for trial in &block.trials {
            let began = start.and_then(|start| {
                let since = i64::try_from(trial.at.as_micros()).ok().map(SignedDuration::from_micros)?;
                start.checked_add(since).ok().map(moment)
            });
            let (number, pair) = (block.index + 1, block.pair.map(|pair| pair + 1));
            for (kpi, value) in &trial.kpis {
                let known = [
                    "block".to_owned(),
                    number.to_string(),
                    block.arm.to_string(),
                    pair.map(|pair| pair.to_string()).unwrap_or_default(),
                    began.clone().unwrap_or_default(),
                    if block.void.is_none() { "yes" } else { "no" }.to_owned(),
                    trial.protocol.to_string(),
                    trial.object.to_string(),
                    word(kpi),
                    kpi.unit().to_owned(),
                    value.to_string(),
                ];
                let void = block.void.clone().unwrap_or_default();
                let rest = std::iter::repeat_n(String::new(), 9).chain([void]);
                line(&mut text, run.into_iter().map(str::to_owned).chain(known).chain(rest));
            }
        }
    }
    for row in kept.results() {
        line(&mut text, run.into_iter().map(str::to_owned).chain(result(&row)));
    }
    text
}

fn result(row: &ResultRow) -> Vec<String> {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let cost = row.cost.as_ref();
    let mut cells = vec!["result".to_owned()];
    cells.extend(std::iter::repeat_n(String::new(), 5));
    cells.extend([row.protocol.to_string(), row.object.to_string(), word(&row.kpi), row.unit.clone(), String::new()]);
    cells.extend([number(row.on), number(row.bypass), number(row.reference)]);
    cells.extend([
        number(cost.map(|cost| cost.ratio)),
        number(cost.and_then(|cost| cost.low)),
        number(cost.and_then(|cost| cost.high)),
        cost.map(|cost| cost.pairs.to_string()).unwrap_or_default(),
        cost.map(|cost| if cost.indicative { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
        number(row.headroom),
        row.note.clone().unwrap_or_default(),
    ]);
    cells
}

/// A word as the record has it.
fn word(kpi: &tbi_bench::record::Kpi) -> String {
    let word = serde_json::to_value(kpi).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn line<C: AsRef<str>>(text: &mut String, cells: impl IntoIterator<Item = C>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&field(cell.as_ref()));
    }
    text.push_str("\r\n");
}

/// A cell that neither ends before its end nor is taken for a formula by a spreadsheet (a text that begins with `=`, `+`, `-`, `@`; a number
/// may begin with a sign).
fn field(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one_cell_and_is_no_formula() {
        for (cell, written) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"\r\n", "\"say \"\"no\"\"\r\n\""),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1.5", "-1.5"),
            ("-1+2", "'-1+2"),
            ("@sum", "'@sum"),
        ] {
            assert_eq!(field(cell), written);
        }
    }
}
