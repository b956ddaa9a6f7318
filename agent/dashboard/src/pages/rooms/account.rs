//! One's own account: what it is, another password, and the ways to its second factor, sessions and tokens.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;
use tbi_api::access::Hidden;

use super::super::form::{Asked, SignedForm};
use super::super::frame::Frame;
use super::super::login::waiting;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::{Pages, html, see_other, unprocessable};
use crate::access::{PasswordChange, page};

#[derive(Template)]
#[template(path = "rooms/account.html")]
struct AccountPage {
    look: Look,
    frame: Frame,
    token: String,
    account: String,
    role: String,
    second_factor: bool,
    codes_left: String,
    password_changed: String,
    /// The password was changed a moment ago.
    done: bool,
    error: Option<String>,
    old_error: Option<String>,
    password_error: Option<String>,
    again_error: Option<String>,
}

async fn page_of(visit: &Visit) -> AccountPage {
    let account = visit.who.identity.account();
    AccountPage {
        frame: visit.frame("account-title", &visit.agent.status().await),
        token: visit.token().to_owned(),
        account: account.name.to_string(),
        role: visit.look.word("role-", account.role).into_owned(),
        second_factor: account.second_factor,
        codes_left: visit.look.count(account.recovery_codes_left.into()),
        password_changed: visit.look.time(account.password_changed),
        done: false,
        error: None,
        old_error: None,
        password_error: None,
        again_error: None,
        look: visit.look.clone(),
    }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let mut shown = page_of(&visit).await;
    shown.done = asked.text("done") == "yes";
    Ok(html(&shown))
}

/// Changes the password.
pub(super) async fn change(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/account");
    let mut shown = page_of(&visit).await;
    let say = |id: &str| Some(visit.look.say(id).into_owned());
    if fields.text("old").is_empty() {
        shown.old_error = say("field-missing");
    }
    if fields.text("password").is_empty() {
        shown.password_error = say("field-missing");
    } else if fields.text("password") != fields.text("again") {
        shown.again_error = say("welcome-again-differs");
    }
    if [&shown.old_error, &shown.password_error, &shown.again_error].into_iter().any(Option::is_some) {
        return Ok(unprocessable(&shown));
    }
    let order = PasswordChange { old: Hidden::new(fields.text("old")), new: Hidden::new(fields.text("password")) };
    let fault = match page::change_password(&pages.access, visit.who.clone(), order).await {
        Ok(cookies) => {
            let mut response = see_other("/account?done=yes");
            cookies.put(&mut response);
            return Ok(response);
        }
        Err(fault) => fault,
    };
    match fault.0.code {
        "password-wrong" => shown.old_error = say("account-old-wrong"),
        "password-not-taken" => shown.password_error = say("password-rule"),
        "account-changed" => shown.error = say("user-changed"),
        "login-throttled" => shown.error = Some(waiting(&visit.look, &fault)),
        _ => return Err(Refused::from(fault)),
    }
    let mut response = unprocessable(&shown);
    if fault.0.status == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = fault.0.status;
        response.headers_mut().extend(fault.0.headers);
    }
    Ok(response)
}
