//! Accounts, for those who look after them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::{Account, Role};

use super::frame::Frame;
use super::look::Look;
use super::refused::Shown;
use super::visit::Visit;
use super::{Pages, html};
use crate::access::page;

/// One account.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    role: String,
    enabled: bool,
    second_factor: bool,
    codes_left: String,
    created: String,
    last_login: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    look: Look,
    frame: Frame,
    rows: Vec<Row>,
    may_change: bool,
}

fn row(account: Account, look: &Look) -> Row {
    Row {
        name: account.name.to_string(),
        role: look.word("role-", account.role).into_owned(),
        enabled: account.enabled,
        second_factor: account.second_factor,
        codes_left: look.count(account.recovery_codes_left.into()),
        created: look.time(account.created),
        last_login: account.last_login.map(|at| look.time(at)).unwrap_or_default(),
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let (status, users) = tokio::join!(visit.agent.status(), page::users(&pages.access, visit.who.clone()));
    let look = visit.look.clone();
    let rows = users?.into_iter().map(|account| row(account, &look)).collect();
    let may_change = visit.who.role == Role::Administrator;
    Ok(html(&UsersPage { frame: visit.frame("users-title", &status), rows, may_change, look }))
}
