//! What a supporter asks for first: how the box is, and the files to send. None of them has a secret in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::Role;

use super::super::frame::{Frame, state_name};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html};

#[derive(Template)]
#[template(path = "rooms/support.html")]
struct SupportPage {
    look: Look,
    frame: Frame,
    state: Option<&'static str>,
    problems: Vec<String>,
    may_take: bool,
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let status = visit.agent.status().await;
    Ok(html(&SupportPage {
        frame: visit.frame("support-title", &status),
        may_take: matches!(visit.who.role, Role::Administrator | Role::Auditor),
        state: status.as_ref().ok().map(|status| state_name(status.health)),
        problems: status.map(|status| status.problems).unwrap_or_default(),
        look: visit.look,
    }))
}
