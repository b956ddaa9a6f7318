//! The start page: how the box and each of its parts is, what ran last, and on a box that measured nothing yet the one next step.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::health::{Component, Health};
use tbi_api::runs::{Filter, Run};
use tbi_api::status::Status;

use super::frame::{Frame, state_name};
use super::look::Look;
use super::refused::Shown;
use super::runs::Row;
use super::visit::Visit;
use super::{Pages, html, number, setup};

/// Runs that are shown.
const LAST: &str = "5";

/// A part of the box.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    state: &'static str,
    sentence: String,
    restarts: String,
    memory: String,
}

/// The box as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    state: &'static str,
    problems: Vec<String>,
    addresses: Vec<String>,
    certificate: String,
    slot: String,
    secure_boot: bool,
    version: String,
    up: String,
    time: String,
    synchronised: bool,
    last_boot: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    look: Look,
    frame: Frame,
    whole: Option<Whole>,
    parts: Option<Vec<Part>>,
    runs: Option<Vec<Row>>,
    may_order: bool,
    /// The setup is not finished, and the reader may go on with it.
    unfinished: bool,
}

fn part(component: Component, look: &Look) -> Part {
    Part {
        state: state_name(component.state),
        restarts: look.count(component.restarts.into()),
        memory: component.memory_bytes.map(|bytes| number::memory(bytes, look.lang)).unwrap_or_default(),
        name: component.name,
        sentence: component.sentence,
    }
}

/// What is wrong first, and among equals by name, as they come.
fn parts(health: Health, look: &Look) -> Vec<Part> {
    let mut components = health.components;
    components.sort_by_key(|component| std::cmp::Reverse(component.state));
    components.into_iter().map(|component| part(component, look)).collect()
}

/// The claim code in the status is for the console, and is not taken over.
fn whole(status: Status, look: &Look) -> Whole {
    Whole {
        state: state_name(status.health),
        problems: status.problems,
        addresses: status.addresses,
        certificate: status.certificate_sha256,
        slot: status.slot.label,
        secure_boot: status.slot.secure_boot,
        version: status.version,
        up: number::span(status.uptime_seconds),
        time: look.time_of(&status.time),
        synchronised: status.time_synchronised,
        last_boot: status.last_boot.sentence,
    }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let filter = Filter { limit: LAST.parse().ok(), ..Filter::default() };
    let (status, health, runs, unfinished) =
        tokio::join!(visit.agent.status(), visit.agent.health(), visit.agent.runs(&filter), setup::unfinished(&visit));
    let mut frame = visit.frame("overview-title", &status);
    let look = &visit.look;
    for error in [health.as_ref().err(), runs.as_ref().err()].into_iter().flatten() {
        frame.silent(look, error);
    }
    let row = |run: Run| Row::of(run, look);
    Ok(html(&OverviewPage {
        whole: status.ok().map(|status| whole(status, look)),
        parts: health.ok().map(|health| parts(health, look)),
        runs: runs.ok().map(|runs| runs.into_iter().map(row).collect()),
        may_order: visit.may_order(),
        unfinished,
        look: look.clone(),
        frame,
    }))
}

#[cfg(test)]
mod tests {
    use tbi_api::health::State;

    use super::*;

    #[test]
    fn what_is_wrong_comes_first() {
        let component = |name: &str, state| Component {
            name: name.to_owned(),
            state,
            sentence: String::new(),
            restarts: 1200,
            memory_bytes: Some(5 << 20),
        };
        let health = Health::of(vec![
            component("engine", State::Healthy),
            component("network", State::Failed),
            component("clock", State::Degraded),
            component("isp", State::Failed),
        ]);
        let shown = parts(health, &Look::of(&http::HeaderMap::new()));
        let names: Vec<_> = shown.iter().map(|part| (part.name.as_str(), part.state)).collect();
        assert_eq!(names, [("isp", "failed"), ("network", "failed"), ("clock", "degraded"), ("engine", "healthy")]);
        assert_eq!((shown[0].restarts.as_str(), shown[0].memory.as_str()), ("1,200", "5 MiB"));
    }
}
