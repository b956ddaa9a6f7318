//! Sessions: one's own, and for administrators and auditors everybody's; with a way to end them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::{Role, Session};

use super::form::SignedForm;
use super::frame::Frame;
use super::look::Look;
use super::refused::Shown;
use super::visit::Visit;
use super::{Pages, html, see_other};
use crate::access::{Who, page};

/// One session.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    hash: String,
    account: String,
    source: String,
    user_agent: String,
    created: String,
    last_seen: String,
    ends: String,
    /// The one that asks.
    own: bool,
    may_end: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    look: Look,
    frame: Frame,
    token: String,
    rows: Vec<Row>,
}

fn row(session: Session, who: &Who, look: &Look) -> Row {
    let own = who.session().is_ok_and(|(_id, mine, _stepped_up)| mine.hash == session.hash);
    Row {
        own,
        may_end: !own && (who.role == Role::Administrator || session.account == who.identity.account().name),
        hash: session.hash.to_string(),
        account: session.account.to_string(),
        source: session.source,
        user_agent: session.user_agent,
        created: look.time(session.created),
        last_seen: look.time(session.last_seen),
        ends: look.time(session.ends),
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let (status, sessions) = tokio::join!(visit.agent.status(), page::sessions(&pages.access, visit.who.clone()));
    let look = visit.look.clone();
    let mut sessions = sessions?;
    sessions.sort_by_key(|session| std::cmp::Reverse(session.last_seen));
    let rows = sessions.into_iter().map(|session| row(session, &visit.who, &look)).collect();
    let token = visit.token().to_owned();
    Ok(html(&SessionsPage { frame: visit.frame("sessions-title", &status), token, rows, look }))
}

/// Ends one.
pub(super) async fn end(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    page::end_session(&pages.access, who, fields.text("hash").to_owned()).await?;
    Ok(see_other("/sessions"))
}
