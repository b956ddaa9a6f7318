//! A new API token. Making one takes a fresh proof, also where the API takes none, so that nobody fills in a form that is then refused. The
//! token is shown on the answer, once.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use jiff::ToSpan as _;
use tbi_api::access::{Role, Scope};

use super::super::form::{Fields, SignedForm};
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::{Pages, html, unprocessable};
use super::tokens::scopes;
use crate::access::{MadeToken, TokenOrder, page};

/// Days a token lives when nobody says otherwise.
const USUAL_DAYS: i64 = 90;

/// A scope to choose.
struct Offered {
    name: &'static str,
    words: String,
    hint: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "rooms/new_token.html")]
struct NewTokenPage {
    look: Look,
    frame: Frame,
    token: String,
    may_choose_account: bool,
    account: String,
    /// In templates `label` is a word of the macros.
    purpose: String,
    expires: String,
    scopes: Vec<Offered>,
    account_error: Option<String>,
    label_error: Option<String>,
    scopes_error: Option<String>,
    expires_error: Option<String>,
}

#[derive(Template)]
#[template(path = "rooms/made_token.html")]
struct MadePage {
    look: Look,
    frame: Frame,
    secret: String,
    label: String,
    account: String,
    scopes: String,
    expires: String,
}

/// Scopes that the reader can give: an administrator those of every role, because the token may be another's.
fn offered(look: &Look, role: Role, chosen: impl Fn(Scope) -> bool) -> Vec<Offered> {
    let may = |scope: &Scope| role == Role::Administrator || page::may_grant(role, *scope);
    let one = |scope: Scope| Offered {
        name: scope.as_str(),
        words: look.word("scope-", scope.as_str()).into_owned(),
        hint: look.word("about-scope-", scope.as_str()).into_owned(),
        chosen: chosen(scope),
    };
    Scope::ALL.into_iter().filter(may).map(one).collect()
}

async fn page_of(pages: &Pages, visit: &Visit, given: Option<&Fields>) -> NewTokenPage {
    let own = visit.who.identity.account().name.to_string();
    let usual = pages.access.now().checked_add((USUAL_DAYS * 24).hours()).unwrap_or(jiff::Timestamp::MAX);
    let text = |name: &str, usual: String| given.map_or(usual, |fields| fields.text(name).trim().to_owned());
    let chosen = |scope: Scope| match given {
        None => scope == Scope::Read,
        Some(fields) => fields.text(&field_of(scope)) == "yes",
    };
    NewTokenPage {
        frame: visit.frame("new-token-title", &visit.agent.status().await),
        token: visit.token().to_owned(),
        may_choose_account: visit.who.role == Role::Administrator,
        account: text("account", own),
        purpose: text("label", String::new()),
        expires: text("expires", visit.look.zone.day(usual)),
        scopes: offered(&visit.look, visit.who.role, chosen),
        account_error: None,
        label_error: None,
        scopes_error: None,
        expires_error: None,
        look: visit.look.clone(),
    }
}

fn field_of(scope: Scope) -> String {
    format!("scope_{}", scope.as_str())
}

/// The form.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&pages, &visit, None).await))
}

/// Makes it.
pub(super) async fn make(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/tokens/new");
    let mut shown = page_of(&pages, &visit, Some(&fields)).await;
    let say = |id: &str| Some(visit.look.say(id).into_owned());
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| fields.text(&field_of(*scope)) == "yes").collect();
    let expires = visit.look.zone.moment(&shown.expires);
    if shown.purpose.is_empty() {
        shown.label_error = say("field-missing");
    }
    if scopes.is_empty() {
        shown.scopes_error = say("token-scopes-none");
    }
    let Some(expires) = expires else {
        shown.expires_error = say("token-expires-wrong");
        return Ok(unprocessable(&shown));
    };
    if shown.label_error.is_some() || shown.scopes_error.is_some() {
        return Ok(unprocessable(&shown));
    }
    let account = Some(shown.account.clone()).filter(|name| shown.may_choose_account && !name.is_empty());
    let order = TokenOrder { account, label: shown.purpose.clone(), scopes, expires };
    let fault = match page::create_token(&pages.access, visit.who.clone(), order).await {
        Ok(made) => return Ok(html(&made_page(&visit, made).await)),
        Err(fault) => fault,
    };
    match fault.0.code {
        "no-such-account" => shown.account_error = say("token-no-account"),
        "label-not-taken" => shown.label_error = say("label-rule"),
        "scopes-not-taken" => shown.scopes_error = say("token-scopes-more"),
        "expiry-not-taken" => shown.expires_error = say("token-expires-rule"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(&shown))
}

async fn made_page(visit: &Visit, made: MadeToken) -> MadePage {
    MadePage {
        frame: visit.frame("token-made-title", &visit.agent.status().await),
        secret: made.secret.reveal().to_owned(),
        scopes: scopes(&made.token, &visit.look),
        expires: visit.look.time(made.token.expires),
        label: made.token.label,
        account: made.token.account.to_string(),
        look: visit.look.clone(),
    }
}
