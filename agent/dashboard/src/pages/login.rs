//! Login and logout. The password is never shown again, whatever was wrong; everything else that was typed is.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;
use tbi_api::access::Hidden;

use super::form::{Asked, OwnForm, SignedForm};
use super::frame::Frame;
use super::look::Look;
use super::next::Next;
use super::refused::{Refused, Shown};
use super::visit::Guest;
use super::{Pages, html, see_other, unprocessable};
use crate::access::{Access, Fault, Login, page};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    look: Look,
    frame: Frame,
    next: String,
    account: String,
    /// The browser came with a session that has ended.
    is_over: bool,
    /// Words at the whole form.
    error: Option<String>,
    account_error: Option<String>,
    password_error: Option<String>,
    code_error: Option<String>,
}

impl LoginPage {
    fn new(look: Look, next: &str) -> Self {
        let frame = Frame::new(&look, &look.say("login-title"), &Next::after_login(next).login());
        let next = Next::after_login(next).as_str().to_owned();
        Self {
            look,
            frame,
            next,
            account: String::new(),
            is_over: false,
            error: None,
            account_error: None,
            password_error: None,
            code_error: None,
        }
    }

    fn has_errors(&self) -> bool {
        [&self.error, &self.account_error, &self.password_error, &self.code_error].into_iter().any(Option::is_some)
    }
}

/// The form. Who is logged in is led on, and on a new box to the welcome.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Guest(visitor): Guest, Asked(asked): Asked) -> Shown {
    if !pages.is_claimed().await? {
        return Ok(see_other("/welcome"));
    }
    let identity = pages.access.reader(&visitor.headers, &visitor.peer, &visitor.correlation_id).await?;
    if identity.is_some() {
        return Ok(see_other(Next::after_login(asked.text("next")).as_str()));
    }
    let mut shown = LoginPage::new(Look::of(&visitor.headers), asked.text("next"));
    shown.is_over = Access::had_session(&visitor.headers);
    Ok(html(&shown))
}

/// Logs in.
pub(super) async fn log_in(State(pages): State<Arc<Pages>>, form: OwnForm) -> Shown {
    let OwnForm { visitor, fields, .. } = form;
    let mut shown = LoginPage::new(Look::of(&visitor.headers), fields.text("next"));
    let missing = |name: &str| fields.text(name).is_empty().then(|| shown.look.say("field-missing").into_owned());
    let (no_account, no_password) = (missing("account"), missing("password"));
    // Many paste a name or a code with a blank at its end; in a password a blank may be meant.
    let account = fields.text("account").trim().to_owned();
    shown.account.clone_from(&account);
    (shown.account_error, shown.password_error) = (no_account, no_password);
    if shown.has_errors() {
        return Ok(unprocessable(&shown));
    }
    let code = Some(fields.text("code").trim()).filter(|code| !code.is_empty()).map(Hidden::new);
    let order = Login { account, password: Hidden::new(fields.text("password")), code };
    let fault = match page::log_in(&pages.access, visitor, order).await {
        Ok(cookies) => {
            let mut response = see_other(&shown.next);
            cookies.put(&mut response);
            return Ok(response);
        }
        Err(fault) => fault,
    };
    let say = |id: &str| Some(shown.look.say(id).into_owned());
    match fault.0.code {
        "second-factor-required" => shown.code_error = say("login-code-required"),
        "login-refused" => shown.error = say("login-refused"),
        "login-throttled" => shown.error = Some(waiting(&shown.look, &fault)),
        _ => return Err(Refused::from(fault)),
    }
    let mut response = unprocessable(&shown);
    if fault.0.status == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = fault.0.status;
        response.headers_mut().extend(fault.0.headers);
    }
    Ok(response)
}

/// How long somebody has to wait after wrong passwords.
pub(super) fn waiting(look: &Look, fault: &Fault) -> String {
    let seconds = fault.0.headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    look.with("login-throttled", "seconds", seconds.unwrap_or("60").to_owned()).into_owned()
}

/// Ends the session.
pub(super) async fn log_out(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let cookies = page::log_out(&pages.access, form.who).await?;
    let mut response = see_other("/login");
    cookies.put(&mut response);
    Ok(response)
}
