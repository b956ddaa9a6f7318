//! The first-boot wizard: one page that says how far it is, and one for each step. What a step sets goes the ways of the API; this only shows
//! it, takes what was typed, and leads on. The agent says which steps are done, so that reload, another browser and a restart find the same.
//!
//! | module | job |
//! |---|---|
//! | [`view`] | what a step's page consists of: facts, tables, fields |
//! | [`account`], [`language`], [`name`], [`management`], [`time`], [`certificate`], [`topology`], [`trunk`], [`device`], [`authorities`], [`preflight`], [`summary`] | one step each |
//! | [`calls`] | what the forms do, as lines for a shell |
//! | [`locale`] | language and zone of the box, for readers who chose none |
//!
//! A step is one entry of [`STEPS`], one arm of [`Step::view`], and one of [`Step::keep`] when something is typed. Invariant: a finished setup
//! shows what it was and takes nothing.

mod account;
mod authorities;
mod calls;
mod certificate;
mod device;
mod language;
pub(super) mod locale;
mod management;
mod name;
mod preflight;
mod summary;
mod time;
mod topology;
mod trunk;
mod view;

#[cfg(test)]
pub(super) use self::calls::{ACTIONS, call_of};

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use http::header::{self, HeaderValue};
use tbi_api::setup::{Mark, Setup, StepState};
use tbi_api::status::Status;
use tbi_daemon::ClientError;

use self::view::{Kind, Problems, View};
use super::api_call::ApiCall;
use super::form::{Fields, SignedForm};
use super::frame::{Banner, Frame};
use super::look::Look;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::{ADMINISTRATORS, Page, Pages, Proof, html, see_other, unprocessable};

/// A step: its name with the agent, its path, and what proof its page takes. In the agent's order.
struct Step(&'static str, &'static str, Proof);

const STEPS: &[Step] = &[
    Step("account", "/setup/account", Proof::Usual),
    Step("language", "/setup/language", Proof::Usual),
    Step("name", "/setup/name", Proof::Usual),
    Step("management", "/setup/management", Proof::Usual),
    Step("time", "/setup/time", Proof::Usual),
    Step("certificate", "/setup/certificate", Proof::Usual),
    Step("topology", "/setup/topology", Proof::Usual),
    Step("trunk", "/setup/trunk", Proof::Usual),
    Step("device", "/setup/device", Proof::Fresh),
    Step("authorities", "/setup/authorities", Proof::Fresh),
    Step("preflight", "/setup/preflight", Proof::Usual),
    Step("summary", "/setup/summary", Proof::Usual),
];
const PERSONA_CA: &str = "/setup/persona-ca.pem";

/// All pages of the setup with their claims.
pub(super) const PAGES: &[Page] = &ALL;
const ALL: [Page; STEPS.len() + 2] = {
    let mut all = [Page("/setup", &["get"], ADMINISTRATORS, Proof::Usual); STEPS.len() + 2];
    all[1] = Page(PERSONA_CA, &["get"], ADMINISTRATORS, Proof::Usual);
    let mut at = 0;
    while at < STEPS.len() {
        let Step(_, path, proof) = STEPS[at];
        all[at + 2] = Page(path, &["get", "post"], ADMINISTRATORS, proof);
        at += 1;
    }
    all
};

pub(super) fn routes() -> Router<Arc<Pages>> {
    Router::new()
        .route("/setup", get(show))
        .route(PERSONA_CA, get(authorities::persona_ca))
        .route("/setup/{step}", get(show_step).post(send_step))
}

/// What a step's keeping came to.
enum Kept {
    /// Stored; the page shows what it came to.
    Stay,
    /// Stored, and nothing is left to look at: the step is done.
    Done,
    /// Stored, and this is what to see now.
    Shown(Box<View>),
    /// Not stored; why, at its field.
    Wrong(Problems),
}

impl From<Problems> for Kept {
    fn from(problems: Problems) -> Self {
        Self::Wrong(problems)
    }
}

/// What is asked of the agent for every page of the setup.
struct Around {
    setup: Result<Setup, ClientError>,
    status: Result<Status, ClientError>,
}

impl Around {
    async fn of(visit: &Visit) -> Self {
        let (setup, status) = tokio::join!(visit.agent.setup(), visit.agent.status());
        Self { setup, status }
    }

    fn frame(&self, visit: &Visit, title: &str) -> Frame {
        let mut frame = visit.frame("setup-title", &self.status);
        title.clone_into(&mut frame.title);
        if let Err(error) = &self.setup {
            frame.silent(&visit.look, error);
        }
        frame
    }
}

/// A step in the list of all.
struct Row {
    word: String,
    path: &'static str,
    state: &'static str,
    when: String,
    current: bool,
}

fn rows(setup: &Setup, here: &str, look: &Look) -> Vec<Row> {
    let row = |Step(name, path, _): &Step| {
        let step = setup.steps.iter().find(|step| step.name == *name);
        Row {
            word: look.word("setup-step-", name).into_owned(),
            path,
            state: step.map_or("todo", |step| state_name(step.state)),
            when: step.and_then(|step| step.when.as_deref()).map(|when| look.time_of(when)).unwrap_or_default(),
            current: *name == here,
        }
    };
    STEPS.iter().map(row).collect()
}

fn state_name(state: StepState) -> &'static str {
    match state {
        StepState::Todo => "todo",
        StepState::Done => "done",
        StepState::Skipped => "skipped",
    }
}

#[derive(Template)]
#[template(path = "setup/overview.html")]
struct SetupPage {
    look: Look,
    frame: Frame,
    rows: Vec<Row>,
    /// Where to go on; none when the setup is finished or not known.
    onward: Option<&'static str>,
    finished: Option<String>,
    /// What was set up, once it is finished.
    summary: Option<View>,
}

#[derive(Template)]
#[template(path = "setup/step.html")]
struct StepPage {
    look: Look,
    frame: Frame,
    token: String,
    path: &'static str,
    rows: Vec<Row>,
    place: String,
    view: View,
    back: Option<&'static str>,
    may_skip: bool,
    /// Whether the agent said how far the setup is; without, nothing is sent.
    known: bool,
    /// The step's name.
    step: &'static str,
}

impl StepPage {
    fn call(&self, action: &str) -> ApiCall {
        calls::call_of(self.step, action)
    }
}

/// How far the setup is, and where to go on.
async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let around = Around::of(&visit).await;
    let look = &visit.look;
    let frame = around.frame(&visit, &look.say("setup-title"));
    let (mut onward, mut finished, mut summary) = (None, None, None);
    let rows = around.setup.as_ref().map(|setup| rows(setup, "", look)).unwrap_or_default();
    if let Ok(setup) = &around.setup {
        finished = setup.finished.as_deref().map(|when| look.time_of(when));
        if finished.is_some() {
            summary = Some(summary::view(&pages, &visit, &around).await);
        } else {
            let current = setup.current.as_deref().unwrap_or("summary");
            onward = STEPS.iter().find(|Step(name, _, _)| *name == current).map(|Step(_, path, _)| *path);
        }
    }
    Ok(html(&SetupPage { look: look.clone(), frame, rows, onward, finished, summary }))
}

fn step_of(name: &str) -> Result<&'static Step, Refused> {
    let nowhere = || Refused::new(StatusCode::NOT_FOUND, "not-found", "there is no step of this name");
    STEPS.iter().find(|Step(known, _, _)| *known == name).ok_or_else(nowhere)
}

impl Step {
    /// What the page shows; `typed` is what was sent and not taken.
    async fn view(&self, pages: &Arc<Pages>, visit: &Visit, around: &Around, typed: Option<&Fields>) -> View {
        match self.0 {
            "account" => account::view(visit),
            "language" => language::view(visit, typed).await,
            "name" => name::view(visit, around, typed).await,
            "management" => management::view(visit, around, typed).await,
            "time" => time::view(visit, typed).await,
            "certificate" => certificate::view(visit, around),
            "topology" => topology::view(visit, typed).await,
            "trunk" => trunk::view(visit, typed).await,
            "device" => device::view(visit, typed).await,
            "authorities" => authorities::view(visit, typed).await,
            "preflight" => preflight::view(visit, typed).await,
            _ => summary::view(pages, visit, around).await,
        }
    }

    /// Stores what was typed.
    async fn keep(&self, visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
        match (self.0, fields.text("action")) {
            ("language", "keep") => language::keep(visit, fields).await,
            ("name", "keep") => name::keep(visit, fields).await,
            ("management", "keep") => management::keep(visit, fields).await,
            ("management", "confirm") => visit.agent.confirm_trial().await.map(|_trials| Kept::Done),
            ("management", "withdraw") => visit.agent.withdraw_trial().await.map(|()| Kept::Stay),
            ("time", "keep") => time::keep(visit, fields).await,
            ("topology", "keep") => topology::keep(visit, fields).await,
            ("trunk", "keep") => trunk::keep(visit, fields).await,
            ("trunk", "probe") => trunk::probe(visit).await,
            ("device", "keep") => device::keep(visit, fields).await,
            ("preflight", "check") => preflight::begin(visit).await,
            ("preflight", "cancel") => preflight::cancel(visit).await,
            ("authorities", "keep") => authorities::keep(visit, fields).await,
            ("authorities", "remove") => authorities::remove(visit, fields).await,
            _ => Ok(Kept::Wrong(Problems::page(visit.look.say("setup-no-action")))),
        }
    }

    /// Path of the neighbour in the order of the steps.
    fn neighbour(&self, by: isize) -> Option<&'static str> {
        let at = STEPS.iter().position(|Step(name, _, _)| *name == self.0)?;
        STEPS.get(at.checked_add_signed(by)?).map(|Step(_, path, _)| *path)
    }

    fn page(&self, visit: &Visit, around: &Around, view: View) -> StepPage {
        let look = &visit.look;
        let title = look.word("setup-step-", self.0).into_owned();
        let number = STEPS.iter().position(|Step(name, _, _)| *name == self.0).map_or(0, |at| at + 1);
        let place =
            super::words::Said::new("setup-place").and("number", number.to_string()).and("of", STEPS.len().to_string());
        let known = around.setup.as_ref().ok();
        let step = known.and_then(|setup| setup.steps.iter().find(|step| step.name == self.0));
        StepPage {
            frame: around.frame(visit, &title),
            token: visit.token().to_owned(),
            path: self.1,
            rows: known.map(|setup| rows(setup, self.0, look)).unwrap_or_default(),
            place: look.tell(&place).into_owned(),
            view,
            back: self.neighbour(-1),
            may_skip: step.is_some_and(|step| step.optional),
            known: step.is_some(),
            step: self.0,
            look: look.clone(),
        }
    }
}

/// A step.
async fn show_step(State(pages): State<Arc<Pages>>, visit: Visit, Path(name): Path<String>) -> Shown {
    let step = step_of(&name)?;
    let around = Around::of(&visit).await;
    if around.setup.as_ref().is_ok_and(|setup| setup.finished.is_some()) {
        return Ok(see_other("/setup"));
    }
    let view = step.view(&pages, &visit, &around, None).await;
    let refresh = view.reload_after.map(|seconds| seconds + 2);
    let mut response = html(&step.page(&visit, &around, view));
    if let Some(refresh) = refresh.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    Ok(response)
}

/// Does what a step's form asks for.
async fn send_step(State(pages): State<Arc<Pages>>, Path(name): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let step = step_of(&name)?;
    let visit = Visit::new(&pages, who, step.1);
    let kept = match fields.text("action") {
        "done" if step.0 == "preflight" => preflight::done(&visit, &fields).await,
        "done" => done(step, &visit, &fields).await,
        "skip" => visit.agent.mark_step(step.0, &Mark::of(StepState::Skipped)).await.map(|_setup| Kept::Done),
        "finish" if step.0 == "summary" => match visit.agent.finish_setup().await {
            Ok(_finished) => return Ok(see_other("/setup")),
            Err(error) => Err(error),
        },
        _ => match step.keep(&visit, &fields).await {
            Ok(Kept::Done) => done(step, &visit, &fields).await,
            other => other,
        },
    };
    if step.0 == "language" {
        pages.heard.forget();
    }
    let (problems, view) = match kept {
        Ok(Kept::Done) => return Ok(see_other(step.neighbour(1).unwrap_or("/setup"))),
        Ok(Kept::Stay) => return Ok(see_other(step.1)),
        Ok(Kept::Shown(view)) => {
            let around = Around::of(&visit).await;
            return Ok(html(&step.page(&visit, &around, *view)));
        }
        Ok(Kept::Wrong(problems)) => (problems, None),
        Err(error) => match error.code() {
            Some("setup-finished") => return Ok(see_other("/setup")),
            // Somebody else's, or one that ended meanwhile: the page shows which.
            Some("trial-under-way" | "no-trial") if step.0 == "management" => return Ok(see_other(step.1)),
            _ => (Problems::of(&visit.look, &error), Some(error)),
        },
    };
    let around = Around::of(&visit).await;
    let mut shown = step.view(&pages, &visit, &around, Some(&fields)).await;
    shown.take(problems);
    let mut page = step.page(&visit, &around, shown);
    match view {
        Some(error) if error.code().is_none() => {
            // Not the reader's fault: what was typed is there to be sent again.
            page.frame.silent(&visit.look, &error);
            let mut response = html(&page);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok(response.into_response())
        }
        _ => Ok(unprocessable(&page)),
    }
}

async fn done(step: &Step, visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let seen = Some(fields.text("certificate_sha256")).filter(|seen| !seen.is_empty()).map(str::to_owned);
    if step.0 == "certificate" && fields.text("compared") != "yes" {
        let problem = visit.look.say("setup-certificate-compare");
        return Ok(Problems::at("compared", problem).into());
    }
    let mark = Mark { certificate_sha256: seen, ..Mark::of(StepState::Done) };
    visit.agent.mark_step(step.0, &mark).await.map(|_setup| Kept::Done)
}

/// Where an administrator goes on with a setup that is not finished; for the start page.
pub(super) async fn unfinished(visit: &Visit) -> bool {
    match visit.who.role {
        tbi_api::access::Role::Administrator => visit.agent.setup().await.is_ok_and(|setup| setup.finished.is_none()),
        _ => false,
    }
}

/// The words of a refusal by the agent, with its English sentence.
fn refused(look: &Look, error: &ClientError) -> Banner {
    let reason = match error {
        ClientError::Problem(problem) => problem.detail.clone(),
        other => other.to_string(),
    };
    Banner { text: look.say("setup-refused").into_owned(), reason }
}
