//! Ordering a run: a form filled with a template, checked and drawn before anything begins, then sent once. The same page says who measures
//! what when the bench is taken.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::json;
use tbi_api::preflight::Bypass;
use tbi_api::runs::{Filter, Order, Outline, Profile, Run};
use tbi_bench::plan::Plan;
use tbi_daemon::ClientError;

use super::super::api_call::ApiCall;
use super::super::form::{Asked, SignedForm};
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::run::silent;
use super::super::runs::is_id;
use super::super::visit::Visit;
use super::super::words::Said;
use super::super::{Pages, html, see_other};
use super::drawing::{Drawing, draw};
use super::plan_form::{self, Typed, Wanted, Wrong};

/// Bytes of an idempotency key: two forms of one person never meet.
const KEY_BYTES: usize = 16;

/// A run that has the bench.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    sentence: String,
    link: String,
}

#[derive(Template)]
#[template(path = "live/new_run.html")]
struct NewRunPage {
    look: Look,
    frame: Frame,
    token: String,
    key: String,
    typed: Typed,
    drawing: Option<Drawing>,
    /// What spending means on this box: what is left, or that nothing is spent.
    balance: String,
    taken: Option<Taken>,
    /// The agent's sentence why the run did not begin.
    refused: Option<String>,
    call: Option<ApiCall>,
    /// An earlier run that this one repeats.
    again: Option<String>,
    open_bypass: bool,
}

impl NewRunPage {
    fn answer(&self, status: StatusCode) -> Response {
        let mut response = html(self);
        *response.status_mut() = status;
        response
    }
}

/// A new key; without randomness none, and then sending twice is doing it twice.
fn key() -> String {
    let mut bytes = [0; KEY_BYTES];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => HEXLOWER.encode(&bytes),
        Err(_no_randomness) => String::new(),
    }
}

/// A key as this page gives them; anything else is none.
fn kept_key(text: &str) -> Option<&str> {
    Some(text).filter(|text| text.len() == KEY_BYTES * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn taken(runs: &Result<Vec<Run>, ClientError>, look: &Look) -> Option<Taken> {
    let run = runs.as_ref().ok()?.first()?;
    let said = Said::new("new-run-taken")
        .and("who", run.actor.clone().unwrap_or_else(|| look.say("somebody").into_owned()))
        .and("plan", run.name.clone())
        .and("since", look.time_of(&run.started));
    let link = if is_id(&run.id) { format!("/runs/{}", run.id) } else { "/runs".to_owned() };
    Some(Taken { sentence: look.tell(&said).into_owned(), link })
}

async fn page_of(visit: &Visit, typed: Typed) -> NewRunPage {
    let look = visit.look.clone();
    let under_way = Filter { state: "preparing,running".parse().ok(), limit: "1".parse().ok(), ..Filter::default() };
    let (status, runs, licences) =
        tokio::join!(visit.agent.status(), visit.agent.runs(&under_way), visit.agent.licences());
    let mut frame = visit.frame("new-run-title", &status);
    for error in [runs.as_ref().err(), licences.as_ref().err()].into_iter().flatten() {
        frame.silent(&look, error);
    }
    let balance = match licences {
        Ok(licences) if licences.enforced => {
            look.with("new-run-balance", "units", licences.balance as f64).into_owned()
        }
        Ok(_) => look.say("new-run-free").into_owned(),
        Err(_) => String::new(),
    };
    NewRunPage {
        taken: taken(&runs, &look),
        token: visit.token().to_owned(),
        key: key(),
        drawing: None,
        refused: None,
        call: None,
        again: None,
        open_bypass: typed.bypass.error.is_some() || !typed.bypass.value.is_empty(),
        balance,
        typed,
        look,
        frame,
    }
}

/// The form as an earlier run was.
fn as_it_was(outline: &Outline, look: &Look) -> Option<(Typed, bool)> {
    let plan: Plan = serde_json::from_value(outline.plan.clone()).ok()?;
    let profile = outline.plan.get("profile").and_then(|it| it.as_str()).and_then(plan_form::profile)?;
    let stopped_by_the_gate = outline.preflight.as_ref().is_some_and(|preflight| preflight.refusal().is_some());
    Some((plan_form::of_plan(&plan, profile, look), stopped_by_the_gate))
}

/// The form: of a template (`profile`), or of an earlier run (`again`).
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let profile = plan_form::profile(asked.text("profile")).unwrap_or(Profile::Quick);
    let again = Some(asked.text("again")).filter(|id| is_id(id));
    let (mut typed, mut open_bypass) = (plan_form::of_profile(profile, &visit.look), false);
    if let Some(id) = again {
        match visit.agent.run_outline(id).await {
            Ok(outline) => {
                if let Some(was) = as_it_was(&outline, &visit.look) {
                    (typed, open_bypass) = was;
                }
            }
            // A run without a record has nothing to repeat; the form is that of the template.
            Err(error) if matches!(error.code(), Some("no-such-run" | "not-written-yet")) => {}
            Err(error) => return Err(silent(&error)),
        }
    }
    let mut page = page_of(&visit, typed).await;
    page.open_bypass |= open_bypass;
    page.again = again.map(str::to_owned);
    Ok(html(&page))
}

fn order(wanted: &Wanted) -> Order {
    Order {
        profile: wanted.profile,
        plan: Some(wanted.value.clone()),
        preflight_bypass: wanted.bypass.clone().map(|reason| Bypass { reason }),
    }
}

/// Checks and draws, or orders.
pub(super) async fn send(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/runs/new");
    let (typed, wanted) = plan_form::read(&fields, &visit.look);
    let mut page = page_of(&visit, typed).await;
    // The same key however often the form comes back, until its run has begun.
    let key = kept_key(fields.text("key"));
    if let Some(key) = key {
        page.key = key.to_owned();
    }
    let Some(wanted) = wanted else { return Ok(page.answer(StatusCode::UNPROCESSABLE_ENTITY)) };
    page.drawing = Some(draw(&wanted.plan, &visit.look));
    let order = order(&wanted);
    page.call = Some(ApiCall::new("POST", "/api/v1/agent/runs", Some(&json!(order))));
    if fields.text("act") != "start" {
        return Ok(html(&page));
    }
    let agent = key.map_or_else(|| visit.agent.clone(), |key| visit.agent.with_key(key));
    let error = match agent.start_run(&order).await {
        Ok(run) if is_id(&run.id) => return Ok(see_other(&format!("/runs/{}", run.id))),
        Ok(_) => return Ok(see_other("/runs")),
        Err(error) => error,
    };
    let sentence = error.to_string();
    let status = match error.code() {
        Some("run-under-way") => {
            // It is taken since a moment ago at the earliest; whoever has it is asked for again.
            let again = page_of(&visit, page.typed.clone()).await;
            (page.taken, page.refused) = (again.taken, None);
            if page.taken.is_none() {
                page.refused = Some(sentence);
            }
            // The refusal is kept under the key; the next try is another request.
            page.key = self::key();
            StatusCode::CONFLICT
        }
        Some("plan-refused") => {
            page.typed.expert.error = Some(Wrong { text: sentence, english: true });
            page.key = self::key();
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Some("idempotency-key-reused") => {
            // The form was changed after its run had begun (a page from the history): this is another run.
            page.refused = Some(visit.look.say("new-run-changed").into_owned());
            page.key = self::key();
            StatusCode::CONFLICT
        }
        Some(_) => {
            page.refused = Some(sentence);
            StatusCode::SERVICE_UNAVAILABLE
        }
        None => return Err(silent(&error)),
    };
    Ok(page.answer(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ours_or_none() {
        let (one, other) = (key(), key());
        assert_ne!(one, other);
        assert_eq!(kept_key(&one), Some(one.as_str()));
        for wrong in ["", "a", "g".repeat(32).as_str(), &format!("{one}\r\n"), &one[1..]] {
            assert_eq!(kept_key(wrong), None);
        }
    }
}
