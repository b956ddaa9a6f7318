//! Stopping a run, with a reason that goes to the audit chain. A page of its own, so that nothing typed is lost when the page of the run
//! renews itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use tbi_api::runs::{Run, Stop};

use super::super::api_call::ApiCall;
use super::super::form::SignedForm;
use super::super::refused::{Refused, Shown};
use super::super::rooms::because;
use super::super::run::silent;
use super::super::runs::{Row, is_id};
use super::super::visit::Visit;
use super::super::why::{Deed, Fact, Why};
use super::super::{Pages, html, see_other};

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

async fn page_of(visit: &Visit, run: Run) -> Why {
    let look = &visit.look;
    let row = Row::of(run, look);
    let deed = Deed {
        title: "stop-title",
        lead: "stop-what",
        button: "stop-now",
        back_words: "stop-not",
        action: format!("{}/stop", row.link),
        back: row.link,
        call: ApiCall::new("DELETE", &format!("{}?reason=WHY", row.api), None),
        facts: vec![
            Fact::text(look, "stop-run", row.name).in_state(row.state, row.state_words),
            Fact::code(look.say("stop-run-id"), row.id),
        ],
    };
    Why::new(visit, &visit.agent.status().await, deed)
}

/// The form. A run that is over has nothing to stop: its own page says how it ended.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    let run = run_of(&visit, &id).await?;
    if run.state.is_over() {
        return Ok(see_other(&format!("/runs/{id}")));
    }
    Ok(html(&page_of(&visit, run).await))
}

/// Stops it.
pub(super) async fn send(State(pages): State<Arc<Pages>>, Path(id): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, &format!("/runs/{id}/stop"));
    let run = run_of(&visit, &id).await?;
    let reason = match because(&visit.look, &fields) {
        Ok(reason) => reason.as_str().to_owned(),
        Err(words) => return Ok(page_of(&visit, run).await.again(&fields, words)),
    };
    match visit.agent.stop_run(&id, &Stop { reason: Some(reason) }).await {
        Ok(()) => Ok(see_other(&format!("/runs/{id}"))),
        Err(error) if error.code() == Some("reason-refused") => {
            Ok(page_of(&visit, run).await.again(&fields, error.to_string()))
        }
        Err(error) => Err(silent(&error)),
    }
}
