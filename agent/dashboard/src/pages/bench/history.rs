//! The last day, week or month of the box: processors, memory, temperature and cards, drawn and as a table with the same steps. What was not
//! sampled is a gap in both.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use tbi_api::history::{self, History, Spread, Step};

use super::super::form::Asked;
use super::super::frame::{Choice, Frame};
use super::super::look::Look;
use super::super::number;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, unprocessable};
use super::chart::{self, Chart, Series};
use super::moment;

/// What can be looked at: name, seconds in all, seconds of a step, seconds between two marks of time.
const SPANS: [(&str, i64, u64, i64); 3] =
    [("day", 86_400, 900, 4 * 3600), ("week", 7 * 86_400, 7200, 86_400), ("month", 30 * 86_400, 28_800, 5 * 86_400)];

/// A step as the table has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    time: String,
    gap: bool,
    run: String,
    cells: Vec<String>,
}

#[derive(Debug, PartialEq)]
struct Drawn {
    charts: Vec<Chart>,
    rows: Vec<Row>,
    /// Minutes in which nothing was sampled.
    missing: String,
    nothing: bool,
    sentence: String,
}

#[derive(Template)]
#[template(path = "bench/history.html")]
struct HistoryPage {
    look: Look,
    frame: Frame,
    spans: Vec<Choice>,
    span_error: Option<String>,
    drawn: Option<Drawn>,
    width: f64,
    height: f64,
}

type Take = fn(&Step) -> Option<Spread>;

/// Columns of the table: id of the name, divisor, decimals, value.
const COLUMNS: [(&str, f64, usize, Take); 7] = [
    ("history-cpu", 1.0, 0, |step| step.cpu_percent),
    ("history-memory", 1_073_741_824.0, 2, |step| step.memory_bytes),
    ("history-temperature", 1.0, 0, |step| step.temperature_celsius),
    ("history-management-rx", 1e6, 1, |step| step.management_rx),
    ("history-management-tx", 1e6, 1, |step| step.management_tx),
    ("history-trunk-rx", 1e6, 1, |step| step.trunk_rx),
    ("history-trunk-tx", 1e6, 1, |step| step.trunk_tx),
];

/// Charts: id of the name, unit, least value at the upper end, columns.
const CHARTS: [(&str, &str, f64, &[usize]); 4] = [
    ("history-cpu", "%", 100.0, &[0]),
    ("history-memory", "GiB", 0.0, &[1]),
    ("history-temperature", "°C", 50.0, &[2]),
    ("history-links", "Mbit/s", 0.0, &[3, 4, 5, 6]),
];

fn drawn(told: History, every: i64, now: i64, look: &Look) -> Drawn {
    let running: Vec<bool> = told.steps.iter().map(|step| step.run_minutes > 0).collect();
    let step_seconds = i64::try_from(told.step).unwrap_or(i64::MAX).max(1);
    let end = told.from + step_seconds * i64::try_from(told.steps.len()).unwrap_or(0);
    let first = told.from.div_euclid(every) * every + every;
    let mark = |at: i64| ((at - told.from) as f64 / step_seconds as f64, short(look, at, every));
    let times: Vec<(f64, String)> =
        std::iter::successors(Some(first), |at| Some(at + every)).take_while(|at| *at < end).map(mark).collect();
    let chart = |(id, unit, floor, columns): &(&'static str, &'static str, f64, &[usize])| {
        let values = |(_, divisor, _, take): &(&str, f64, usize, Take)| -> Vec<Option<f64>> {
            told.steps.iter().map(|step| take(step).map(|spread| spread.mean / divisor)).collect()
        };
        let mut series: Vec<Series> = columns
            .iter()
            .map(|column| &COLUMNS[*column])
            .map(|column| Series { name: look.say(column.0).into_owned(), values: values(column) })
            .collect();
        // A card or a sensor that there is not has no line and no name.
        series.retain(|series| series.values.iter().any(Option::is_some));
        if series.is_empty() {
            return None;
        }
        let peak = columns
            .iter()
            .flat_map(|column| {
                told.steps.iter().filter_map(|step| COLUMNS[*column].3(step)).map(|it| it.max / COLUMNS[*column].1)
            })
            .fold(f64::NEG_INFINITY, f64::max);
        let peak = number::decimal(peak, 1, look.lang);
        let summary = format!("{} {peak} {unit}", look.say("history-peak"));
        let level = |value: f64| {
            let decimals = if value.fract() == 0.0 {
                0
            } else if value < 0.1 {
                2
            } else {
                1
            };
            number::decimal(value, decimals, look.lang)
        };
        Some(chart::draw((*id, look.say(id).into_owned(), *unit, summary), series, &running, *floor, level, &times))
    };
    let row = |(place, step): (usize, &Step)| Row {
        time: moment(look, told.from + step_seconds * i64::try_from(place).unwrap_or(0)),
        gap: step.samples == 0,
        run: if step.run_minutes == 0 { String::new() } else { format!("{} min", step.run_minutes) },
        cells: COLUMNS
            .iter()
            .map(|(_, divisor, decimals, take)| {
                take(step).map_or_else(
                    || "–".to_owned(),
                    |spread| {
                        let write = |value: f64| number::decimal(value / divisor, *decimals, look.lang);
                        format!("{} / {}", write(spread.mean), write(spread.max))
                    },
                )
            })
            .collect(),
    };
    let sampled: u64 = told.steps.iter().map(|step| u64::from(step.samples).min(told.step / history::EVERY)).sum();
    // The last step is not over, and what is to come is not missing.
    let whole = u64::try_from(end.min(now) - told.from).unwrap_or(0) / history::EVERY;
    Drawn {
        charts: CHARTS.iter().filter_map(chart).collect(),
        rows: told.steps.iter().enumerate().map(row).rev().collect(),
        missing: number::span(whole.saturating_sub(sampled) * history::EVERY),
        nothing: sampled == 0,
        sentence: told.sentence,
    }
}

/// A time at the axis: hour and minute within a day, else month and day.
fn short(look: &Look, at: i64, every: i64) -> String {
    // `2026-01-31 23:59:59 +00:00`
    let whole = moment(look, at);
    let part = if every < 86_400 { whole.get(11..16) } else { whole.get(5..16) };
    part.unwrap_or_default().to_owned()
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let chosen = Some(asked.text("span")).filter(|span| !span.is_empty()).unwrap_or("day");
    let found = SPANS.iter().find(|(name, ..)| *name == chosen);
    let &(_, length, step, every) = found.unwrap_or(&SPANS[0]);
    let now = Timestamp::now().as_second();
    let wanted = history::Asked {
        from: Timestamp::from_second(now - length).ok(),
        to: Timestamp::from_second(now).ok(),
        step: Some(step),
    };
    let (status, told) = tokio::join!(visit.agent.status(), visit.agent.history(&wanted));
    let mut frame = visit.frame("history-title", &status);
    let look = visit.look.clone();
    if let Err(error) = &told {
        frame.silent(&look, error);
    }
    let choice = |(name, ..): (&str, i64, u64, i64)| Choice {
        value: name.to_owned(),
        text: look.word("history-span-", name).into_owned(),
        chosen: name == chosen,
    };
    let page = HistoryPage {
        frame,
        spans: SPANS.map(choice).into(),
        span_error: found.is_none().then(|| look.say("history-span-wrong").into_owned()),
        drawn: told.ok().map(|told| drawn(told, every, now, &look)),
        width: chart::WIDTH,
        height: chart::HEIGHT,
        look,
    };
    Ok(if found.is_none() { unprocessable(&page) } else { html(&page) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_in_the_table_and_in_the_drawing() {
        let look = Look::of(&http::HeaderMap::new());
        let spread = |value: f64| Some(Spread { mean: value, max: value * 2.0 });
        let sampled = Step { samples: 15, run_minutes: 3, cpu_percent: spread(25.0), ..Step::default() };
        let steps = vec![sampled.clone(), Step::default(), sampled];
        let told = History { from: 1_800_000_000, step: 900, steps, sentence: String::new() };
        let shown = drawn(told, 4 * 3600, 1_800_002_700 + 60, &look);
        assert_eq!(shown.charts.len(), 1, "what no sensor tells is not drawn");
        assert_eq!(shown.charts[0].curves[0].path.matches('M').count(), 2);
        assert_eq!(shown.charts[0].bands.len(), 2);
        let gaps: Vec<_> = shown.rows.iter().map(|row| row.gap).collect();
        assert_eq!((gaps, shown.missing.as_str(), shown.nothing), (vec![false, true, false], "15 min", false));
        assert_eq!((shown.rows[0].cells[0].as_str(), shown.rows[0].run.as_str()), ("25 / 50", "3 min"));
        assert_eq!(shown.rows[1].cells[0], "–");
    }
}
