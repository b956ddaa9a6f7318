//! Restart and power off, always with a reason, which the audit chain keeps and the next start shows.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::power::{Action, Order};

use super::super::form::{Asked, SignedForm};
use super::super::frame::{Choice, Frame};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, number, see_other, unprocessable};
use super::{Wrong, because, unanswered};

const PATH: &str = "/system";

#[derive(Template)]
#[template(path = "rooms/system.html")]
struct SystemPage {
    look: Look,
    frame: Frame,
    token: String,
    last_start: Option<String>,
    up: String,
    /// A run that would be cut off.
    running: Option<String>,
    actions: Vec<Choice>,
    reason: String,
    /// What was ordered a moment ago.
    ordered: Option<&'static str>,
    error: Option<Wrong>,
    action_error: Option<String>,
    reason_error: Option<String>,
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Reboot => "reboot",
        Action::PowerOff => "power-off",
    }
}

fn action_of(text: &str) -> Option<Action> {
    [Action::Reboot, Action::PowerOff].into_iter().find(|action| word(*action) == text)
}

async fn page_of(visit: &Visit, chosen: Option<Action>) -> SystemPage {
    let status = visit.agent.status().await;
    let choice = |action: Action| Choice {
        value: word(action).to_owned(),
        text: visit.look.word("system-", word(action)).into_owned(),
        chosen: chosen == Some(action),
    };
    let run = status.as_ref().ok().and_then(|status| status.run.clone()).filter(|run| !run.state.is_over());
    SystemPage {
        frame: visit.frame("system-title", &status),
        token: visit.token().to_owned(),
        last_start: status.as_ref().ok().map(|status| status.last_boot.sentence.clone()),
        up: status.as_ref().map(|status| number::span(status.uptime_seconds)).unwrap_or_default(),
        running: run.map(|run| run.name),
        actions: [Action::Reboot, Action::PowerOff].map(choice).into(),
        reason: String::new(),
        ordered: None,
        error: None,
        action_error: None,
        reason_error: None,
        look: visit.look.clone(),
    }
}

/// The form.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let mut shown = page_of(&visit, Some(Action::Reboot)).await;
    shown.ordered = action_of(asked.text("ordered")).map(word);
    Ok(html(&shown))
}

/// Orders it.
pub(super) async fn order(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, PATH);
    let (action, reason) = (action_of(fields.text("what")), because(&visit.look, &fields));
    let mut shown = page_of(&visit, action).await;
    fields.text("reason").clone_into(&mut shown.reason);
    if action.is_none() {
        shown.action_error = Some(visit.look.say("system-what-wrong").into_owned());
    }
    shown.reason_error = reason.as_ref().err().cloned();
    let (Some(action), Ok(reason)) = (action, reason) else { return Ok(unprocessable(&shown)) };
    let error = match visit.agent.power(&Order { action, reason: reason.to_string() }).await {
        Ok(_order) => return Ok(see_other(&format!("{PATH}?ordered={}", word(action)))),
        Err(error) => error,
    };
    match error.code() {
        Some("reason-refused") => shown.reason_error = Some(visit.look.say("reason-wrong").into_owned()),
        Some("power-refused") => shown.error = Wrong::with(&visit.look, "system-refused", &error.to_string()),
        _ => return Err(unanswered(&error)),
    }
    Ok(unprocessable(&shown))
}
