//! Runs beside a baseline: chosen with `baseline=ID&run-ID=yes`, or `runs=ID,ID` as in the API. The list of runs has no baseline to choose: of
//! those that are ticked there it is the first that was measured, and the form of this page changes it. What cannot be compared says why.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;
use tbi_api::runs::{Compare, Filter, Limit, Run};
use tbi_bench::compare::{Cell, Comparison, MOST_RUNS, Side};

use super::super::api_call::ApiCall;
use super::super::form::{Asked, Fields};
use super::super::frame::{Choice, Frame};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::runs::is_id;
use super::super::visit::Visit;
use super::super::{Pages, html};
use super::figures;

/// Runs that are offered; older ones are compared by their address.
const OFFERED: usize = 50;

/// A run at the head of its column.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    id: String,
    plan: String,
    started: String,
    device: String,
    cautions: Vec<String>,
}

/// A cost, and how it stands to the baseline's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shift {
    cost: String,
    interval: String,
    change: String,
    change_interval: String,
    /// `differs`, `same`, or nothing where there is no change to speak of.
    verdict: &'static str,
    /// Why there is none.
    why: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    protocol: String,
    object: String,
    kpi: String,
    baseline: Shift,
    runs: Vec<Shift>,
}

#[derive(Debug, PartialEq, Eq)]
struct Table {
    baseline: Head,
    runs: Vec<Head>,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "live/compare.html")]
struct ComparePage {
    look: Look,
    frame: Frame,
    baselines: Vec<Choice>,
    others: Vec<Choice>,
    baseline_error: Option<String>,
    runs_error: Option<String>,
    /// The agent's sentence.
    refused: Option<String>,
    table: Option<Table>,
    call: Option<ApiCall>,
}

/// Ids of the runs that were chosen, once each, in the order in which they stand.
fn chosen(fields: &Fields) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let ticked = fields
        .names()
        .filter_map(|name| name.strip_prefix("run-"))
        .filter(|id| fields.text(&format!("run-{id}")) == "yes");
    let listed = ["run", "runs"].into_iter().flat_map(|name| fields.text(name).split(','));
    for id in ticked.chain(listed).filter(|id| is_id(id)) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The baseline and the others.
fn asked(fields: &Fields) -> (String, Vec<String>) {
    let mut ids = chosen(fields);
    if fields.names().any(|name| name == "baseline") || ids.len() < 2 {
        return (fields.text("baseline").to_owned(), ids);
    }
    // Ids begin with the time of the run.
    ids.sort();
    (ids.remove(0), ids)
}

fn head(side: Side, look: &Look) -> Head {
    let device = side.device;
    Head {
        started: look.time_of(&side.started),
        device: [device.vendor, device.model, device.version].join(" "),
        id: side.id,
        plan: side.plan,
        cautions: side.cautions,
    }
}

fn shift(cell: Option<&Cell>, against: Option<bool>, look: &Look) -> Shift {
    let Some(cell) = cell else { return Shift { why: "compare-not-measured", ..Shift::default() } };
    let Some(cost) = &cell.cost else { return Shift { why: "compare-no-cost", ..Shift::default() } };
    let change = cell.change.as_ref();
    Shift {
        cost: figures::ratio(cost.ratio, look),
        interval: figures::interval_of(cost, look),
        change: change.map(|it| figures::ratio(it.ratio, look)).unwrap_or_default(),
        change_interval: change.map(|it| figures::interval(Some(it.low), Some(it.high), look)).unwrap_or_default(),
        verdict: change.map(|it| if it.differs { "differs" } else { "same" }).unwrap_or_default(),
        why: match (against, change) {
            (None, _) | (_, Some(_)) => "",
            (Some(false), None) => "compare-no-baseline",
            (Some(true), None) => "compare-no-interval",
        },
    }
}

fn table(comparison: Comparison, look: &Look) -> Table {
    let lines = comparison.rows.iter().map(|row| {
        let has = row.baseline.as_ref().is_some_and(|cell| cell.cost.is_some());
        Line {
            protocol: row.protocol.to_string(),
            object: row.object.to_string(),
            kpi: look.word("kpi-", row.kpi.name()).into_owned(),
            baseline: shift(row.baseline.as_ref(), None, look),
            runs: row.runs.iter().map(|cell| shift(cell.as_ref(), Some(has), look)).collect(),
        }
    });
    Table {
        lines: lines.collect(),
        runs: comparison.runs.into_iter().map(|side| head(side, look)).collect(),
        baseline: head(comparison.baseline, look),
    }
}

fn choice(run: &Run, chosen: bool, look: &Look) -> Choice {
    let text = format!("{} · {} · {}", look.time_of(&run.started), run.name, run.id);
    Choice { value: run.id.clone(), text, chosen }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(fields): Asked) -> Shown {
    let look = visit.look.clone();
    let over = "passed,failed,not_measured,interrupted".parse().ok();
    let filter = Filter { state: over, limit: Limit::of(OFFERED), ..Filter::default() };
    let (status, runs) = tokio::join!(visit.agent.status(), visit.agent.runs(&filter));
    let mut frame = visit.frame("compare-title", &status);
    if let Err(error) = &runs {
        frame.silent(&look, error);
    }
    let (baseline, ids) = asked(&fields);
    let baseline = baseline.as_str();
    let known: Vec<Run> = runs.unwrap_or_default().into_iter().filter(|run| is_id(&run.id)).collect();
    let mut page = ComparePage {
        baselines: known.iter().map(|run| choice(run, run.id == baseline, &look)).collect(),
        others: known.iter().map(|run| choice(run, ids.contains(&run.id), &look)).collect(),
        baseline_error: None,
        runs_error: None,
        refused: None,
        table: None,
        call: None,
        look,
        frame,
    };
    let mut answer = StatusCode::OK;
    // A link from a run's page names that run and leaves the baseline to be chosen.
    let is_asked = !baseline.is_empty() || fields.names().any(|name| name == "baseline");
    if is_asked && !(baseline.is_empty() && ids.is_empty()) {
        let say = |id: &str| Some(visit.look.say(id).into_owned());
        if !is_id(baseline) {
            page.baseline_error = say("compare-baseline-wrong");
        }
        if ids.is_empty() || ids.len() > MOST_RUNS {
            page.runs_error = say("compare-runs-wrong");
        }
        answer = StatusCode::UNPROCESSABLE_ENTITY;
        if page.baseline_error.is_none() && page.runs_error.is_none() {
            let wanted = Compare { baseline: baseline.to_owned(), runs: ids.join(",") };
            let path = format!("/api/v1/agent/runs/compare?baseline={}&runs={}", wanted.baseline, wanted.runs);
            page.call = Some(ApiCall::new("GET", &path, None));
            match visit.agent.compare_runs(&wanted).await {
                Ok(comparison) => {
                    page.table = Some(table(comparison, &visit.look));
                    answer = StatusCode::OK;
                }
                Err(error) if error.code().is_some() => page.refused = Some(error.to_string()),
                Err(error) => {
                    page.frame.silent(&visit.look, &error);
                    answer = StatusCode::OK;
                }
            }
        }
    }
    let mut response = html(&page);
    *response.status_mut() = answer;
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn of_runs_ticked_in_the_list_the_first_that_was_measured_is_the_baseline() {
        let of = |query: &str| asked(&Fields::parse(query.as_bytes()).unwrap());
        let (baseline, ids) = of("run-20260203T000000Z=yes&run-20260201T000000Z=yes&run-20260202T000000Z=yes");
        assert_eq!(baseline, "20260201T000000Z");
        assert_eq!(ids, ["20260202T000000Z", "20260203T000000Z"]);
        // One alone has nothing to stand beside, and a form that asks for a baseline means what it says.
        assert_eq!(of("run-a=yes"), (String::new(), vec!["a".to_owned()]));
        assert_eq!(of("baseline=&run-a=yes&run-b=yes").0, "");
        assert_eq!(of("baseline=b&run-a=yes"), ("b".to_owned(), vec!["a".to_owned()]));
        assert_eq!(of(""), (String::new(), Vec::new()));
    }
}
