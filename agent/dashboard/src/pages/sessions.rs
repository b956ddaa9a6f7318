//! Sessions: one's own, and for administrators and auditors everybody's; with a way to end them. Why is asked for another account's.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use tbi_api::access::{Role, Session};

use super::form::SignedForm;
use super::frame::Frame;
use super::look::Look;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::why::{Deed, Fact, Why};
use super::{Pages, api_call, html, rooms, see_other};
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
    /// Of the reader's account.
    mine: bool,
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
    let mine = session.account == who.identity.account().name;
    Row {
        own,
        mine,
        may_end: !own && (who.role == Role::Administrator || mine),
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
    let hash = fields.text("hash");
    let sessions = page::sessions(&pages.access, who.clone()).await?;
    let other = sessions.iter().find(|session| session.hash.to_string() == hash);
    if other.is_some_and(|session| session.account != who.identity.account().name) {
        // A form of before, or none of ours: this takes a reason.
        return Ok(see_other(&format!("/sessions/end/{hash}")));
    }
    page::end_session(&pages.access, who, hash.to_owned(), None).await?;
    Ok(see_other("/sessions"))
}

async fn end_page(pages: &Arc<Pages>, visit: &Visit, hash: &str) -> Result<Why, Refused> {
    let (status, sessions) = tokio::join!(visit.agent.status(), page::sessions(&pages.access, visit.who.clone()));
    let look = &visit.look;
    let rows = sessions?.into_iter().map(|session| row(session, &visit.who, look));
    let row = rows.into_iter().find(|row| row.hash == hash && row.may_end);
    // Whose something is is not told to those whom it does not concern.
    let row = row.ok_or_else(|| rooms::missing("there is no such session of yours; the list has those there are"))?;
    let deed = Deed {
        title: "session-end-title",
        lead: "session-end-lead",
        button: "session-end",
        back_words: "cancel",
        back: "/sessions".to_owned(),
        action: format!("/sessions/end/{hash}"),
        call: api_call::line("DELETE", format!("/api/v1/access/sessions/{hash}?reason=WHY"), ""),
        facts: vec![
            Fact::text(look, "account", row.account),
            Fact::code(look.say("session-source"), row.source),
            Fact::text(look, "session-agent", row.user_agent),
            Fact::text(look, "session-seen", row.last_seen),
        ],
    };
    Ok(Why::new(visit, &status, deed))
}

/// Asks why another account's is to end.
pub(super) async fn ask(State(pages): State<Arc<Pages>>, visit: Visit, Path(hash): Path<String>) -> Shown {
    Ok(html(&end_page(&pages, &visit, &hash).await?))
}

/// Ends it.
pub(super) async fn end_for(State(pages): State<Arc<Pages>>, Path(hash): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/sessions");
    let shown = end_page(&pages, &visit, &hash).await?;
    match rooms::because(&visit.look, &fields) {
        Ok(reason) => {
            page::end_session(&pages.access, visit.who.clone(), hash, Some(&reason)).await?;
            Ok(see_other("/sessions"))
        }
        Err(words) => Ok(shown.again(&fields, words)),
    }
}
