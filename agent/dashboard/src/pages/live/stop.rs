//! Stopping a run, with a reason that goes to the audit chain. A page of its own, so that nothing typed is lost when the page of the run
//! renews itself.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use tbi_api::runs::{Run, Stop};

use super::super::api_call::ApiCall;
use super::super::form::SignedForm;
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::run::silent;
use super::super::runs::{Row, is_id};
use super::super::visit::Visit;
use super::super::{Pages, html, see_other, unprocessable};

#[derive(Template)]
#[template(path = "live/stop.html")]
struct StopPage {
    look: Look,
    frame: Frame,
    token: String,
    row: Row,
    reason: String,
    reason_error: Option<String>,
    call: ApiCall,
}

async fn run_of(visit: &Visit, id: &str) -> Result<Run, Refused> {
    let no_run = || Refused::new(StatusCode::NOT_FOUND, "no-such-run", "there is no run with this id");
    if !is_id(id) {
        return Err(no_run());
    }
    visit.agent.run(id).await.map_err(|error| match error.code() {
        Some("no-such-run") => no_run(),
        _ => silent(&error),
    })
}

async fn page_of(visit: &Visit, run: Run, reason: &str, reason_error: Option<String>) -> StopPage {
    let look = visit.look.clone();
    StopPage {
        frame: visit.frame("stop-title", &visit.agent.status().await),
        token: visit.token().to_owned(),
        call: ApiCall::new("DELETE", &format!("/api/v1/agent/runs/{}?reason=WHY", run.id), None),
        row: Row::of(run, &look),
        reason: reason.to_owned(),
        reason_error,
        look,
    }
}

/// The form. A run that is over has nothing to stop: its own page says how it ended.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    let run = run_of(&visit, &id).await?;
    if run.state.is_over() {
        return Ok(see_other(&format!("/runs/{id}")));
    }
    Ok(html(&page_of(&visit, run, "", None).await))
}

/// Stops it.
pub(super) async fn send(State(pages): State<Arc<Pages>>, Path(id): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, &format!("/runs/{id}/stop"));
    let run = run_of(&visit, &id).await?;
    let typed = fields.text("reason");
    let reason = match Stop::checked(typed) {
        Ok(reason) => reason,
        Err(_wrong) => {
            let error = Some(visit.look.say("stop-reason-wrong").into_owned());
            return Ok(unprocessable(&page_of(&visit, run, typed, error).await));
        }
    };
    match visit.agent.stop_run(&id, &Stop { reason: Some(reason) }).await {
        Ok(()) => Ok(see_other(&format!("/runs/{id}"))),
        Err(error) if error.code() == Some("reason-refused") => {
            Ok(unprocessable(&page_of(&visit, run, typed, Some(error.to_string())).await))
        }
        Err(error) => Err(silent(&error)),
    }
}
