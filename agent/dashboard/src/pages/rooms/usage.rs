//! Whether runs need a licence, and where usage is reported to; and a report at once. The settings are changed as a whole, based on the
//! version that the form was filled in on, so that two administrators do not undo each other.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::settings::{Change, Settings, Snapshot};
use tbi_daemon::ClientError;

use super::super::form::SignedForm;
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, see_other, unprocessable};
use super::{Wrong, unanswered};

#[derive(Template)]
#[template(path = "rooms/usage.html")]
struct UsagePage {
    look: Look,
    frame: Frame,
    token: String,
    version: u64,
    enforce: bool,
    url: String,
    ca: String,
    error: Option<Wrong>,
    url_error: Option<Wrong>,
    ca_error: Option<Wrong>,
}

async fn page_of(visit: &Visit, snapshot: &Snapshot) -> UsagePage {
    let Settings { licence, usage, .. } = &snapshot.settings;
    UsagePage {
        frame: visit.frame("licence-settings", &visit.agent.status().await),
        token: visit.token().to_owned(),
        version: snapshot.version,
        enforce: licence.enforce,
        url: usage.url.clone().unwrap_or_default(),
        ca: usage.ca_pem.clone().unwrap_or_default(),
        error: None,
        url_error: None,
        ca_error: None,
        look: visit.look.clone(),
    }
}

/// The form.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let snapshot = visit.agent.settings().await.map_err(|error| unanswered(&error))?;
    Ok(html(&page_of(&visit, &snapshot).await))
}

/// Changes them.
pub(super) async fn change(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/licence/settings");
    let snapshot = visit.agent.settings().await.map_err(|error| unanswered(&error))?;
    let given = |name: &str| Some(fields.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    let mut shown = page_of(&visit, &snapshot).await;
    shown.enforce = fields.text("enforce") == "yes";
    shown.url = given("url").unwrap_or_default();
    let ca = given("ca_pem");
    // A key that was pasted by mistake is not shown again.
    shown.ca = ca.clone().filter(|text| !super::client_certificate::has_key(text)).unwrap_or_default();
    // What is no number is none that the agent has, and it says that somebody was faster.
    let based_on = fields.text("version").parse().unwrap_or(u64::MAX);
    let mut settings = snapshot.settings;
    settings.licence.enforce = shown.enforce;
    settings.usage.url = given("url");
    settings.usage.ca_pem = ca;
    match visit.agent.change_settings(&Change { based_on, settings }).await {
        Ok(_snapshot) => Ok(see_other("/licence")),
        Err(error) => refused(shown, &error),
    }
}

/// The agent's sentence at the field that it is about.
fn refused(mut shown: UsagePage, error: &ClientError) -> Shown {
    let ClientError::Problem(problem) = error else { return Err(unanswered(error)) };
    let sentence = problem.detail.as_str();
    match problem.status {
        409 => shown.error = Wrong::with(&shown.look, "settings-changed", sentence),
        422 if sentence.contains("usage.url is given without")
            || sentence.contains("usage.ca_pem has")
            || sentence.contains("usage.ca_pem holds")
            || sentence.contains("of usage.ca_pem") =>
        {
            shown.ca_error = Wrong::with(&shown.look, "usage-ca-wrong", sentence);
        }
        422 if sentence.contains("usage.") => shown.url_error = Wrong::with(&shown.look, "usage-url-wrong", sentence),
        422 => shown.error = Wrong::with(&shown.look, "settings-refused", sentence),
        _ => return Err(unanswered(error)),
    }
    Ok(unprocessable(&shown))
}

/// Reports now.
pub(super) async fn report(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let visit = Visit::new(&pages, form.who, "/licence");
    match visit.agent.report_usage().await {
        Ok(_started) => Ok(see_other("/licence?reported=yes")),
        Err(error) => Err(unanswered(&error)),
    }
}
