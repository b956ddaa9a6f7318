//! The list of runs, with filters in the query, so that a filtered list has an address and a browser's history works. Wrong filters are said at
//! their fields, and what was typed stays.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use tbi_api::runs::{Filter, Limit, Run, RunState, States};

use super::form::{Asked, Fields};
use super::frame::{Choice, Frame};
use super::look::Look;
use super::refused::Shown;
use super::visit::Visit;
use super::{Pages, html, number, unprocessable};

/// Runs on one page.
const PAGE: usize = 50;
/// Longest name that is looked for.
const NAME: usize = 200;
/// All states, in the order in which a run may have them.
const STATES: [RunState; 6] = [
    RunState::Preparing,
    RunState::Running,
    RunState::Passed,
    RunState::Failed,
    RunState::NotMeasured,
    RunState::Interrupted,
];

/// The name of a state in words, classes and queries.
pub(super) fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Preparing => "preparing",
        RunState::Running => "running",
        RunState::Passed => "passed",
        RunState::Failed => "failed",
        RunState::NotMeasured => "not_measured",
        RunState::Interrupted => "interrupted",
    }
}

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    /// Its page, and its place in the API.
    pub(super) link: String,
    pub(super) api: String,
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) state_words: String,
    pub(super) started: String,
    pub(super) took: String,
    pub(super) sentence: String,
    /// Whether there is a report.
    pub(super) over: bool,
}

impl Row {
    pub(super) fn of(run: Run, look: &Look) -> Self {
        let state = state_name(run.state);
        let at = |base: &str| if is_id(&run.id) { format!("{base}/{}", run.id) } else { base.to_owned() };
        Self {
            link: at("/runs"),
            api: at("/api/v1/agent/runs"),
            state,
            state_words: look.word("run-state-", state).into_owned(),
            started: look.time_of(&run.started),
            took: took(&run).unwrap_or_default(),
            over: run.state.is_over(),
            id: run.id,
            name: run.name,
            sentence: run.sentence,
        }
    }

    /// Whether it can be put beside others.
    pub(super) fn comparable(&self) -> bool {
        self.over && is_id(&self.id)
    }
}

/// Ids are letters, digits and hyphens; anything else is no run, and goes nowhere.
pub(super) fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// How long a run took, or has been under way.
pub(super) fn took(run: &Run) -> Option<String> {
    if let Some(progress) = &run.progress {
        return Some(number::span(progress.elapsed_seconds));
    }
    let (began, ended) = (run.started.parse::<Timestamp>().ok()?, run.ended.as_ref()?.parse::<Timestamp>().ok()?);
    u64::try_from(ended.duration_since(began).as_secs()).ok().map(number::span)
}

/// What somebody typed, and what was wrong with it.
#[derive(Debug, Default)]
struct Typed {
    name: String,
    name_error: Option<String>,
    from: String,
    from_error: Option<String>,
    to: String,
    to_error: Option<String>,
    state_error: Option<String>,
    states: Vec<Choice>,
    /// Whether anything is left out at all.
    filtered: bool,
}

impl Typed {
    fn is_right(&self) -> bool {
        [&self.name_error, &self.from_error, &self.to_error, &self.state_error].into_iter().all(Option::is_none)
    }
}

fn read(fields: &Fields, look: &Look) -> (Typed, Filter) {
    let say = |id: &str| Some(look.say(id).into_owned());
    let given = |name: &str| Some(fields.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    let (state, name, before) = (given("state"), given("name"), given("before"));
    let mut typed = Typed {
        name: name.clone().unwrap_or_default(),
        from: given("from").unwrap_or_default(),
        to: given("to").unwrap_or_default(),
        filtered: ["state", "name", "from", "to"].into_iter().any(|name| given(name).is_some()),
        ..Typed::default()
    };
    let choice = |known: RunState| {
        let value = state_name(known);
        let text = look.word("run-state-", value).into_owned();
        Choice { value: value.to_owned(), text, chosen: state.as_deref() == Some(value) }
    };
    typed.states = STATES.map(choice).into();
    let mut filter = Filter { before, limit: Limit::of(PAGE + 1), ..Filter::default() };
    match state.map(|state| state.parse::<States>()) {
        None => {}
        Some(Ok(states)) => filter.state = Some(states),
        Some(Err(_unknown)) => typed.state_error = say("runs-state-wrong"),
    }
    match name {
        Some(name) if name.chars().count() > NAME => typed.name_error = say("runs-name-long"),
        name => filter.name = name,
    }
    let moment = |text: &str| if text.is_empty() { Ok(None) } else { look.zone.moment(text).map(Some).ok_or(()) };
    match moment(&typed.from) {
        Ok(from) => filter.from = from,
        Err(()) => typed.from_error = say("runs-moment-wrong"),
    }
    match moment(&typed.to) {
        Ok(to) => filter.to = to,
        Err(()) => typed.to_error = say("runs-moment-wrong"),
    }
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && from >= to
    {
        typed.to_error = say("runs-order-wrong");
    }
    (typed, filter)
}

/// The address of the next, older page.
fn older(fields: &Fields, last: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["state", "name", "from", "to"] {
        if !fields.text(name).is_empty() {
            query.append_pair(name, fields.text(name));
        }
    }
    format!("/runs?{}", query.append_pair("before", last).finish())
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    look: Look,
    frame: Frame,
    typed: Typed,
    rows: Option<Vec<Row>>,
    older: Option<String>,
    later: bool,
    may_order: bool,
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(fields): Asked) -> Shown {
    let look = visit.look.clone();
    let (typed, filter) = read(&fields, &look);
    let may_order = visit.may_order();
    if !typed.is_right() {
        let frame = visit.frame("runs-title", &visit.agent.status().await);
        let page = RunsPage { look, frame, typed, rows: None, older: None, later: false, may_order };
        return Ok(unprocessable(&page));
    }
    let (status, runs) = tokio::join!(visit.agent.status(), visit.agent.runs(&filter));
    let mut frame = visit.frame("runs-title", &status);
    if let Err(error) = &runs {
        frame.silent(&look, error);
    }
    let mut rows: Option<Vec<Row>> = runs.ok().map(|runs| runs.into_iter().map(|run| Row::of(run, &look)).collect());
    let more = rows.as_ref().is_some_and(|rows| rows.len() > PAGE);
    if let Some(rows) = &mut rows {
        rows.truncate(PAGE);
    }
    let last = rows.iter().flatten().next_back().filter(|_last| more);
    let older = last.map(|last| older(&fields, &last.id));
    let later = filter.before.is_some();
    Ok(html(&RunsPage { look, frame, typed, rows, older, later, may_order }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(query: &str) -> (Typed, Filter) {
        read(&Fields::parse(query.as_bytes()).unwrap(), &Look::of(&http::HeaderMap::new()))
    }

    #[test]
    fn only_ids_reach_the_agents_paths() {
        assert!(is_id("20260131T235959Z") && is_id("20260131T235959Z-2"));
        for other in ["", "..", "a/b", "a?b", "a b", "a%2fb", "ä", &"a".repeat(65)] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn a_query_becomes_a_filter() {
        let (typed, filter) = of("state=not_measured&name=+a%26b+&from=2026-01-31T00:00&to=2026-02-01T00:00&before=X");
        assert!(typed.is_right() && typed.filtered);
        assert_eq!(filter.state.unwrap().to_string(), "not_measured");
        assert_eq!((filter.name.as_deref(), filter.before.as_deref()), (Some("a&b"), Some("X")));
        assert_eq!(filter.from.unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert!(
            typed.states.iter().filter(|state| state.chosen).map(|state| state.value.as_str()).eq(["not_measured"])
        );
        let (typed, filter) = of("state=&name=&from=&to=");
        assert!(typed.is_right() && !typed.filtered && filter.state.is_none() && filter.name.is_none());
    }

    #[test]
    fn wrong_filters_are_said_at_their_fields_and_stay() {
        let (typed, _filter) = of("state=done");
        assert!(typed.state_error.is_some() && !typed.is_right());
        let (typed, _filter) = of("from=yesterday&to=%3Cscript%3E");
        assert!(typed.from_error.is_some() && typed.to_error.is_some());
        assert_eq!((typed.from.as_str(), typed.to.as_str()), ("yesterday", "<script>"));
        let (typed, _filter) = of("from=2026-02-01T00:00&to=2026-01-31T00:00");
        assert!(typed.to_error.is_some(), "the wrong way round");
        let (typed, _filter) = of(&format!("name={}", "a".repeat(NAME + 1)));
        assert!(typed.name_error.is_some() && typed.name.len() == NAME + 1);
    }

    #[test]
    fn the_next_page_keeps_the_filter() {
        let fields = Fields::parse(b"state=passed&name=a%26b&before=Y").unwrap();
        assert_eq!(older(&fields, "X"), "/runs?state=passed&name=a%26b&before=X");
    }
}
