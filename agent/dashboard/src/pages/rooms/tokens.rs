//! API tokens: one's own, and for administrators and auditors all; with a way to end one, for which a reason is asked.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use tbi_api::access::{Role, Token};

use super::super::form::SignedForm;
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::why::{Deed, Fact, Why};
use super::super::{Pages, api_call, html, see_other};
use super::{because, missing};
use crate::access::{Who, page};

/// One token.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    label: String,
    account: String,
    scopes: String,
    created: String,
    expires: String,
    is_over: bool,
    last_used: String,
    may_end: bool,
}

#[derive(Template)]
#[template(path = "rooms/tokens.html")]
struct TokensPage {
    look: Look,
    frame: Frame,
    rows: Vec<Row>,
}

/// Words of scopes, in the order of their list.
pub(super) fn scopes(token: &Token, look: &Look) -> String {
    let words: Vec<_> = token.scopes.iter().map(|scope| look.word("scope-", scope.as_str())).collect();
    words.join(", ")
}

fn may_end(token: &Token, who: &Who) -> bool {
    who.role == Role::Administrator || token.account == who.identity.account().name
}

fn row(token: &Token, pages: &Pages, who: &Who, look: &Look) -> Row {
    Row {
        id: token.id.to_string(),
        label: token.label.clone(),
        account: token.account.to_string(),
        scopes: scopes(token, look),
        created: look.time(token.created),
        expires: look.time(token.expires),
        is_over: token.expires <= pages.access.now(),
        last_used: token.last_used.map(|at| look.time(at)).unwrap_or_default(),
        may_end: may_end(token, who),
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let (status, tokens) = tokio::join!(visit.agent.status(), page::tokens(&pages.access, visit.who.clone()));
    let mut tokens = tokens?;
    tokens.sort_by_key(|token| std::cmp::Reverse(token.created));
    let rows = tokens.iter().map(|token| row(token, &pages, &visit.who, &visit.look)).collect();
    Ok(html(&TokensPage { frame: visit.frame("tokens-title", &status), rows, look: visit.look.clone() }))
}

async fn revoke_page(pages: &Arc<Pages>, visit: &Visit, id: &str) -> Result<Why, Refused> {
    let (status, tokens) = tokio::join!(visit.agent.status(), page::tokens(&pages.access, visit.who.clone()));
    let tokens = tokens?;
    let token = tokens.iter().find(|token| token.id.as_str() == id && may_end(token, &visit.who));
    // Whose something is is not told to those whom it does not concern.
    let token = token.ok_or_else(|| missing("there is no such token of yours; the list has those there are"))?;
    let look = &visit.look;
    let row = row(token, pages, &visit.who, look);
    let deed = Deed {
        title: "token-revoke",
        lead: "token-revoke-lead",
        button: "token-revoke",
        back_words: "cancel",
        back: "/tokens".to_owned(),
        action: format!("/tokens/revoke/{id}"),
        call: api_call::line("DELETE", format!("/api/v1/access/tokens/{id}?reason=WHY"), ""),
        facts: vec![
            Fact::text(look, "token-label", row.label),
            Fact::code(look.say("token-id"), format!("tbi_{id}…")),
            Fact::text(look, "account", row.account),
            Fact::text(look, "token-scopes", row.scopes),
            Fact::text(
                look,
                "token-last-used",
                if row.last_used.is_empty() { look.say("user-never").into_owned() } else { row.last_used },
            ),
        ],
    };
    Ok(Why::new(visit, &status, deed))
}

/// Asks why.
pub(super) async fn ask(State(pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    Ok(html(&revoke_page(&pages, &visit, &id).await?))
}

/// Ends it.
pub(super) async fn revoke(State(pages): State<Arc<Pages>>, Path(id): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/tokens");
    match because(&visit.look, &fields) {
        Ok(reason) => {
            page::remove_token(&pages.access, visit.who.clone(), &id, &reason).await?;
            Ok(see_other("/tokens"))
        }
        Err(words) => Ok(revoke_page(&pages, &visit, &id).await?.again(&fields, words)),
    }
}
